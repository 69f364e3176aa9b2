"""Scorers: what must be true after a trial, judged from its trace and the machine as the agent left it.

Public names: `score_all`, `needed_files` (`aegis.scoring.judge_all`), `registry`; the contract is in
`aegis.scoring.base`, the scorers in docs/scorers.md. One scorer in one file; `registry.py` lists them.
"""
