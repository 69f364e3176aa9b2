"""Two servers to try the agent against on one host: `model` (OpenAI's chat completions, answered by rules) and `orders`
(the shop). Run them with `PORT=8001 python3 -m upstream.model`."""
