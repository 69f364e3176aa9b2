"""Harder versions of a team's own cases: a transform makes a variant of a case, for which the case's expectations still
hold.

`base.py` is the contract of a transform, `registry.py` their list, one transform a file; `reading.py` reads the key
`stress`, `generate.py` makes the variants of a suite. What a transform cannot change in the case itself (results of
tools, instructions to the model), it has the gateway rewrite: `aegis.faults.rewrites`.
"""
