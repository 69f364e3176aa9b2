"""Nothing listens."""

from __future__ import annotations

from aegis.faults.base import Fault, Hit
from aegis.gateway.base import Shut


class Refuse(Fault):
    """Refuses the connection, as the port of a service that is being restarted, has crashed, or was taken out of its
    load balancer.

    In a machine, `connect()` fails with ECONNREFUSED. Official clients take that for a connection error and try again
    (2 times); nothing was sent, so that trying again is safe for writes too. A client that goes through a proxy gets
    its 502 instead (`--isolation=none`, or one that uses the machine's proxy port by itself); in a machine whose
    weather may refuse connections, programs get no proxy variables.
    """

    name = "refuse"
    group = "connection"
    stage = "connect"
    moment = "opening"
    layers = frozenset({"http", "tcp"})

    def shut(self, hit: Hit) -> Shut:
        return Shut("refused")


fault = Refuse
