"""The statistics of a comparison: pure functions of numbers, one method a file, each with its source.

They are written out here because each is a few lines, and numpy and scipy would be the largest things that an install
brings. scipy is the oracle of the tests instead (tests/regression/test_stats_*.py).
"""
