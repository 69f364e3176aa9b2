"""What stands behind `aegis.eval`: from arguments to a plan (`request`, `prepare`), through the engine
(`session`, `network`, `replay`, `sink`, `signals`), to a result (`outcome`, `outputs`, `spans`). Like
`aegis.eval` it may import every room."""
