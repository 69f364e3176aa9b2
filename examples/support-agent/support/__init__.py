"""A tool-calling agent: `loop` asks the model (`chat`) for the next step, `tools` does it at the `shop`, `web` carries
both."""
