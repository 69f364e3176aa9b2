"""Continuous integration: what GitHub and GitLab want to read, one comment on a pull request, their pipeline files.

`outputs` writes a step's outputs, summaries and workflow commands; `comment` keeps one comment up to date, by way of
`github` and `gitlab`, which call their services through `service`; `pipeline` makes a project's pipeline file from
`templates/`. Nothing here decides anything: verdicts come from the run document.
"""
