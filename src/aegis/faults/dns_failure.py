"""A name does not resolve."""

from __future__ import annotations

from aegis.faults.base import Fault, Hit
from aegis.gateway.base import Shut
from aegis.suite.kinds import Choice, Key


class DnsFailure(Fault):
    """Lets the lookup of a name fail: `nxdomain` says that there is no such name, as after a wrong deployment of a DNS
    zone; `servfail` is the answer of a resolver that cannot reach the zone's servers; `timeout` is a resolver that
    doesn't answer.

    In a machine, `getaddrinfo()` fails with EAI_NONAME (`nxdomain`), with EAI_AGAIN at once (`servfail`), or with
    EAI_AGAIN after the resolver's own tries (`timeout`: 2 of 5 s in glibc). What a program looks up counts once,
    however often its resolver asks: for A and AAAA, and again with the same number after a failure. (Go's own resolver
    makes a new question for each try, and each counts.) A lookup is of no port, so `match.port` says nothing about it.
    Connections to a literal address are never hit. A client that goes through a proxy gets its 502 instead
    (`--isolation=none`, or one that uses the machine's proxy port by itself), and each of its connections counts; in a
    machine whose weather may break lookups, programs get no proxy variables.
    """

    name = "dns-failure"
    group = "connection"
    stage = "connect"
    moment = "lookup"
    layers = frozenset({"http", "tcp"})
    keys = (
        Key(
            "answer",
            Choice("answer", ("nxdomain", "servfail", "timeout")),
            "How the lookup fails",
            default="nxdomain",
        ),
    )

    def shut(self, hit: Hit) -> Shut:
        return Shut("unresolved", dns=self.params["answer"])


fault = DnsFailure
