"""A tool-calling agent: `loop` asks a `Model` for the next step, `tools` does it, `shop` holds the data."""
