"""What has changed against main: which cases broke, whether the suite as a whole is worse, what is done differently.

All of it is functions of values: `compare.compare` takes the trials of both sides, says which cases need confirming,
and is called again with the trials that confirm; `drift.compare.compare` looks at what was done rather than whether it
passed; `verdict.decide` makes of both the verdict of a run. docs/regression.md has the method, and what it was measured
to find.
"""
