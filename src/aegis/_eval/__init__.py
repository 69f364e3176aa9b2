"""What stands behind `aegis.eval`: from arguments to a plan (`request`, `prepare`), through the engine
(`session`, `sink`, `signals`), to a result (`outcome`, `outputs`). Like `aegis.eval` it may import every
room."""
