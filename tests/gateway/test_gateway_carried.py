"""A gateway that stands in another one's place, for machines that know the first."""

from __future__ import annotations

import ssl

import pytest

from aegis.gateway import Gateway, GatewayConfig
from aegis.gateway.authority import Authority
from aegis.gateway.names import Host

KEY = "sk-proj-" + "a1B2c3D4" * 5


def handshake(server: ssl.SSLContext, trusted_pem: str) -> None:
    """A TLS handshake in memory. Raises SSLError when the client does not trust the server."""
    client = ssl.create_default_context(cadata=trusted_pem)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="api.example"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done = [False, False]
    for _ in range(10):
        for number, end in enumerate(ends):
            if not done[number]:
                try:
                    end.do_handshake()
                    done[number] = True
                except ssl.SSLWantReadError:
                    pass
        if all(done):
            return
    raise AssertionError("the handshake does not end")


def test_clients_that_trust_the_first_authority_trust_the_loaded_one() -> None:
    first = Authority()
    again = Authority.load(first.dump())
    assert again.pem == first.pem
    handshake(again.context(Host("api.example")), first.pem)
    with pytest.raises(ssl.SSLError):
        handshake(Authority().context(Host("api.example")), first.pem)


@pytest.mark.parametrize("dumped", ["", "no key", Authority().pem])
def test_what_is_no_authority_is_refused(dumped: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Authority.load(dumped)


def test_placeholders_that_machines_hold_stay() -> None:
    config = GatewayConfig(secrets={"OPENAI_API_KEY": ("api.example",), "NEW": ("api.example",)})
    values = {"OPENAI_API_KEY": KEY, "NEW": KEY[::-1]}
    first = Gateway(config, secret_values=values)
    held = {"OPENAI_API_KEY": first.vault.environment()["OPENAI_API_KEY"]}
    second = Gateway(config, secret_values=values, placeholders=held)
    try:
        told = second.vault.environment()
        assert told["OPENAI_API_KEY"] == held["OPENAI_API_KEY"]
        assert told["NEW"] not in (KEY[::-1], first.vault.environment()["NEW"])
    finally:
        first.close()
        second.close()
