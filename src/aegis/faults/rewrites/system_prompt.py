"""One more instruction of whoever runs the agent."""

from __future__ import annotations

from aegis.faults.base import Hit, Seen
from aegis.faults.rewrites import bodies, documents, prompts
from aegis.faults.selective import Selective
from aegis.gateway.base import Forward, ResponsePlan
from aegis.suite.kinds import Key, Text
from aegis.trace.modelrequests import asks_a_model

_NO_PLACE = "the request is in no format whose instructions are known"
_SIGNED = "the request's body is signed"
_TOO_LONG = (
    f"the request is longer than {bodies.MAX_BODY_BYTES // (1024 * 1024)} MiB, or its coding cannot be undone"
)


class SystemPrompt(Selective):
    """Puts a text behind the system prompt of every request to a language model, in the formats of OpenAI (chat
    completions, responses), Anthropic, Google Gemini, and as Bedrock and Vertex AI carry them.

    The trace holds each request as the agent sent it. A request that the agent has signed (AWS) is left alone.
    """

    name = "rewrite/system-prompt"
    group = "semantic"
    stage = "rewrite"
    layers = frozenset({"http"})
    keys = (Key("text", Text("the instruction"), "What is added", required=True),)

    def admits(self, seen: Seen) -> bool:
        return asks_a_model(seen.request.method, seen.path)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        if (seen.request.header("authorization") or "").startswith("AWS4-"):
            self.pass_on(hit, _SIGNED)
            return await forward(seen.request)
        request, content = await bodies.read(seen.request)
        asked = None if content is None else documents.parse(content)
        if content is None:
            self.pass_on(hit, _TOO_LONG)
        elif not prompts.instruct(seen.path, asked, self.params["text"]):
            self.pass_on(hit, _NO_PLACE)
        else:
            request = bodies.with_body(request, documents.write(asked))
        return await forward(request)


rewrite = SystemPrompt
