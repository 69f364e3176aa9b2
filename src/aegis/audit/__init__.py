"""Does a result depend on what ran before? The parts of the leak audit that are functions of values.

`model` (what was seen), `orders` (in which orders a shared machine gets the trials), `compare` (rates, and which
cases differ), `search` (who it was, by bisection), `rows` and `carriers` (what carried it), `findings` (what came out
for a case), `conclude` (exit code and `RESULT:` line), `document` (`aegis.audit/1`). What runs the trials is
`aegis/_eval/leaks.py`. The method: docs/leaks.md.
"""
