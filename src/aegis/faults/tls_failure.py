"""The TLS handshake fails."""

from __future__ import annotations

from aegis.faults.base import Fault, Hit
from aegis.gateway.base import Shut
from aegis.suite.kinds import Choice, Key


class TlsFailure(Fault):
    """Lets the TLS handshake fail. The server shows a certificate that is `expired` (its renewal was forgotten), that
    is for another name (`wrong-host`: the load balancer doesn't know this one) or that an unknown authority has signed
    (`untrusted`: an intermediate certificate is missing, or somebody listens in); or it ends the handshake by the
    `alert` handshake_failure (a change of its TLS versions or ciphers) or by a `reset`.

    Clients that check certificates refuse the first three by themselves; the `openai` and `anthropic` clients then
    take it for a connection error and try again (2 times). A client that does not check goes on as if nothing were
    wrong, and the trace says that it did. Only handshakes count as matches: connections without TLS don't. Where TLS is
    passed through unopened, only `alert` and `reset` can strike.
    """

    name = "tls-failure"
    group = "connection"
    stage = "connect"
    moment = "handshake"
    layers = frozenset({"http", "tcp"})
    keys = (
        Key(
            "how",
            Choice("failure", ("expired", "wrong-host", "untrusted", "alert", "reset")),
            "What is wrong with the handshake",
            default="expired",
        ),
    )

    def shut(self, hit: Hit) -> Shut:
        return Shut("tls", tls=self.params["how"])


fault = TlsFailure
