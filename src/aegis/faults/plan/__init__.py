"""The plan: rules read from a suite (`reading.py`), which exchanges they are about (`match.py`), which of those they
hit (`when.py`), and the weather of one trial that comes of it (`weather.py`)."""
