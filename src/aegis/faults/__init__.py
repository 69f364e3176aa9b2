"""The weather of production: faults, one a file, and the plan that decides which exchange meets which of them.

`base.py` is the contract of a fault, `registry.py` their list, `plan/` reads rules and applies them in a trial,
`profiles/` holds named bundles.
"""
