"""The connection is closed without an answer."""

from __future__ import annotations

from aegis.faults.base import Fault, Hit, Seen
from aegis.faults.endings import cut, undergo, upstream_key
from aegis.faults.streams import Ended
from aegis.gateway.base import ByteStream, Forward, ResponsePlan


class EmptyReply(Fault):
    """Closes the connection properly without a byte of an answer, as a worker that is killed while it handles a request
    or a proxy whose backend is gone does; curl calls it "Empty reply from server" (52).

    By default upstream has processed the request and only the answer is lost: an ambiguous failure. With `upstream:
    not-called` the request is lost. On plain TCP the connection is closed when the first byte would reach the client
    (`upstream: not-called`: when the client has sent its first bytes). An MCP server that is spoken to by its standard
    input and output is killed.

    Official provider clients try again twice. requests raises ConnectionError (RemoteDisconnected), httpx
    RemoteProtocolError.
    """

    name = "empty-reply"
    group = "connection"
    stage = "answer"
    layers = frozenset({"http", "tcp", "mcp"})
    keys = (upstream_key("called"),)

    async def apply(self, hit: Hit, seen: Seen, forward: Forward) -> ResponsePlan:
        await undergo(seen.request, forward, self.params["upstream"])
        raise cut("closed without an answer")

    def tunnel(self, hit: Hit, client: ByteStream) -> ByteStream:
        return Ended(client, "closed without a byte", self.params["upstream"], reset=False)


fault = EmptyReply
