"""Where main's results live, and which of them a run is compared with.

`lookup.find` goes from what a user names (a branch, a tag, a commit, a run, a file) to snapshots; `store` keeps
snapshots in a git ref of the repository itself; `git` is what both ask of git.
"""
