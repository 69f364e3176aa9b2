"""The rules for hosts in a suite are those of the policy that decides about connections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import UsageError
from aegis.gateway import entries
from aegis.gateway.names import parse_host
from aegis.gateway.policy import Policy, parse_pattern

HOSTS = ("a.example", "b.a.example", "c.b.a.example", "example", "10.0.0.5", "::1")
PORTS = (80, 443, 5432)
ENTRIES = (
    *("a.example", "*.a.example", "*.b.a.example", "*.example", "*", "10.0.0.5", "[::1]"),
    *("a.example:443", "a.example:5432", "*.a.example:5432", "*:5432", "10.0.0.5:5432", "*:443"),
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("API.Example.", "api.example"),
        ("*.CRM.example:443", "*.crm.example:443"),
        ("*", "*"),
        ("*:5432", "*:5432"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("0x7f.1", "127.0.0.1"),
        ("[::0001]:80", "[::1]:80"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
    ],
)
def test_normal_forms(text: str, normal: str) -> None:
    assert entries.entry(text) == normal
    assert entries.entry(normal) == normal


def test_targets_have_one_too() -> None:
    assert entries.target("HTTP://H.example/") == "http://h.example:80"
    assert entries.target("https://h.example") == "https://h.example:443"
    assert entries.target("h.example:5432") == "h.example:5432"


@given(st.text(alphabet=st.sampled_from("a.*:[]19@/ é\x00x-_%"), max_size=12))
def test_what_is_right_here_is_right_for_the_policy(text: str) -> None:
    try:
        normal = entries.entry(text)
    except ValueError:
        return
    assert parse_pattern(normal) == parse_pattern(text)
    Policy((text,), {})


@pytest.mark.parametrize(
    "text", ["a:b:c", "a..b", "a.example:0", "a.example:99999", "", "x/y", "a@b", "*a.example"]
)
def test_what_is_wrong_for_the_policy_is_wrong_here(text: str) -> None:
    with pytest.raises(UsageError):
        parse_pattern(text)
    with pytest.raises(ValueError, match=r"."):
        entries.entry(text)


@pytest.mark.parametrize("user", ENTRIES)
@pytest.mark.parametrize("allowed", ENTRIES)
def test_two_entries_meet_where_the_policy_says(user: str, allowed: str) -> None:
    policy = Policy((allowed,), {})
    pattern = parse_pattern(user)
    both = [
        (host, port)
        for host in HOSTS
        for port in PORTS
        if policy.admit(parse_host(host), port)
        and pattern.covers_host(parse_host(host))
        and pattern.port in (None, port)
    ]
    assert entries.meet(user, allowed) is bool(both)


@pytest.mark.parametrize("inner", ENTRIES)
@pytest.mark.parametrize("outer", ENTRIES)
def test_one_entry_is_within_another(inner: str, outer: str) -> None:
    one, other = parse_pattern(inner), parse_pattern(outer)
    ports = (1, *PORTS)

    def covered(pattern: object, host: str, port: int) -> bool:
        entry = one if pattern is one else other
        return entry.covers_host(parse_host(host)) and entry.port in (None, port)

    # A name that nothing else here names tells the wildcards apart.
    hosts = (*HOSTS, "any.name", "z.example", "z.a.example", "z.b.a.example")
    everywhere = all(
        covered(other, host, port) for host in hosts for port in ports if covered(one, host, port)
    )
    assert entries.within(inner, outer) is everywhere
