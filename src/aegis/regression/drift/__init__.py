"""What an agent does differently, whether or not it still passes: reported, and blocking only when asked for.

`behaviour` is what is looked at, `compare.compare` finds the differences, `findings` says them.
"""
