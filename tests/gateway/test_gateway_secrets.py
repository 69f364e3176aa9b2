"""Placeholders, swapping, refusing, echo: as values."""

from __future__ import annotations

import base64
import itertools
import json
import random
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import UsageError
from aegis.gateway.failures import Failure
from aegis.gateway.matching import Needles, PromptReplacer, StreamReplacer, Watcher
from aegis.gateway.names import parse_host
from aegis.gateway.placeholders import make_placeholder
from aegis.gateway.secrets import Vault

KEY = "sk-proj-Zk3vQ9aB7xLmN2pR8tYw4uHs6dFg1jKc"
ODD = 'pa"ss/wo+rd=%41&x\\y'
API = parse_host("api.example")


def vault(**values: str) -> Vault:
    return Vault(dict.fromkeys(values, ("api.example",)), values, random.Random(1))


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    points = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(points)]


@pytest.mark.parametrize(
    ("value", "prefix", "alphabet"),
    [
        (KEY, "sk-proj-", "alnum"),
        ("sk-ant-api03-" + "aB3-x_Y9" * 12, "sk-ant-api03-", "alnum"),
        ("ghp_" + "aB3xY9" * 6, "ghp_", "alnum"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA", "upper"),
        ("d41d8cd98f00b204e9800998ecf8427e", "", "hex"),
        ("4242424242424242", "", "digits"),
        ("xoxb-123456789012-abcdefABCDEF", "xoxb-", "alnum"),
    ],
)
def test_a_placeholder_has_the_shape_of_the_value(value: str, prefix: str, alphabet: str) -> None:
    made = make_placeholder(value, random.Random(7))
    assert len(made) == len(value)
    assert made.startswith(prefix)
    assert made != value
    assert [char for char in made if char in "-_"] == [char for char in value if char in "-_"]
    rest = made[len(prefix) :]
    assert {
        "alnum": True,
        "upper": rest == rest.upper(),
        "hex": set(rest) <= set("0123456789abcdef"),
        "digits": rest.isdigit(),
    }[alphabet]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=80), st.integers())
def test_a_placeholder_reads_the_same_in_urls_and_json(value: str, seed: int) -> None:
    made = make_placeholder(value, random.Random(seed))
    assert len(made) == len(value)
    assert made != value
    assert quote(made, safe="") == made
    assert json.dumps(made) == f'"{made}"'


def test_two_runs_have_different_placeholders() -> None:
    made = [Vault({"K": ()}, {"K": KEY}).environment()["K"] for _ in range(2)]
    assert made[0] != made[1]


@pytest.mark.parametrize("value", ["short", "line one\nline two", "nul\0nul\0nul", "schlüssel-für-alle"])
def test_a_value_that_cannot_be_protected_is_refused_without_being_told(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        vault(K=value)
    assert value not in f"{caught.value} {caught.value.fix}"


def test_a_secret_without_a_value_names_itself() -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        Vault({"OPENAI_API_KEY": ("api.openai.com",)}, {})


def test_headers_basic_credentials_and_query_get_the_value() -> None:
    box = vault(K=ODD)
    mine = box.environment()["K"]
    basic = base64.b64encode(f"user:{mine}".encode())
    target, headers = box.release(
        f"/v1/x?key={mine}&b=1",
        ((b"Authorization", f"Bearer {mine}".encode()), (b"X-Auth", b"Basic " + basic)),
        API,
        443,
        protected=True,
    )
    assert target == f"/v1/x?key={quote(ODD, safe='-._~')}&b=1"
    assert headers[0] == (b"Authorization", f"Bearer {ODD}".encode())
    assert base64.b64decode(headers[1][1][6:]) == f"user:{ODD}".encode()


@pytest.mark.parametrize("place", ["header", "basic", "query", "path", "name"])
@pytest.mark.parametrize("host", ["api.example", "other.example"])
def test_a_placeholder_elsewhere_is_refused(place: str, host: str) -> None:
    box = vault(K=KEY)
    mine = box.environment()["K"]
    headers = {
        "header": ((b"Authorization", f"Bearer {mine}".encode()),),
        "basic": ((b"Authorization", b"Basic " + base64.b64encode(f"u:{mine}".encode())),),
        "name": ((mine.encode(), b"x"),),
    }.get(place, ())
    target = {"query": f"/?k={mine}", "path": f"/bot{mine}/send"}.get(place, "/")

    def release() -> object:
        return box.release(target, headers, parse_host(host), 443, protected=True)

    if host == "api.example" and place in ("header", "basic", "query"):
        assert KEY.encode() not in repr(headers).encode()
        release()
        return
    with pytest.raises(Failure) as caught:
        release()
    assert caught.value.kind == "secret-refused"
    assert "K" in str(caught.value)
    assert mine not in str(caught.value)


def test_without_tls_only_an_entry_with_its_port_gives_the_value_away() -> None:
    box = Vault({"A": ("api.example",), "B": ("api.example:8080",)}, {"A": KEY, "B": ODD}, random.Random(1))
    env = box.environment()
    header = ((b"X-Key", env["A"].encode()),)
    with pytest.raises(Failure):
        box.release("/", header, API, 8080, protected=False)
    assert box.release("/", header, API, 8080, protected=True)[1][0][1] == KEY.encode()
    header = ((b"X-Key", env["B"].encode()),)
    assert box.release("/", header, API, 8080, protected=False)[1][0][1] == ODD.encode()


@pytest.mark.parametrize("value", [KEY, ODD, "AKIAIOSFODNN7EXAMPLE"])
@given(cuts=st.lists(st.integers(0, 10_000), max_size=12), shift=st.integers(0, 5))
def test_an_echo_in_any_common_form_never_comes_through(value: str, cuts: list[int], shift: int) -> None:
    box = vault(K=value)
    body = b"|".join(
        [
            value.encode(),
            quote(value).encode(),
            quote(value, safe="").encode(),
            json.dumps({"echo": value}).encode(),
            base64.b64encode(b"u" * shift + b":" + value.encode()),
            value.encode() * 2,
        ]
    )
    replacer = box.echo_filter()
    out = b"".join(replacer.feed(piece) for piece in pieces_of(body, cuts)) + replacer.flush()
    assert len(out) == len(body)
    assert value.encode() not in out
    assert quote(value, safe="").encode() not in out
    assert json.dumps(value)[1:-1].encode() not in out
    assert box.environment()["K"].encode() in out
    assert value.encode() not in base64.b64decode(out.split(b"|")[4])


@given(
    st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=4),
    st.binary(max_size=200),
    st.lists(st.integers(0, 300), max_size=10),
)
def test_replacing_in_a_stream_is_replacing_in_the_whole(
    needles: list[bytes], data: bytes, cuts: list[int]
) -> None:
    data = data.translate(bytes(byte % 3 for byte in range(256)))
    needles = [needle.translate(bytes(byte % 3 for byte in range(256))) for needle in needles]
    table = {needle: b"<" + b"x" * (len(needle) - 1) for needle in needles}

    def run(pieces: list[bytes]) -> bytes:
        replacer = StreamReplacer(Needles(needles), table)
        return b"".join(replacer.feed(piece) for piece in pieces) + replacer.flush()

    whole = run([data])
    cut = run(pieces_of(data, cuts))
    assert len(cut) == len(data)
    for out in (whole, cut):
        rest = out.replace(b"<", b"\xff").replace(b"x", b"\xff")
        assert not any(needle in rest for needle in needles)


@given(cuts=st.lists(st.integers(0, 300), max_size=10), noise=st.binary(max_size=60))
def test_a_tunnel_shows_no_more_of_a_value_than_its_first_bytes(cuts: list[int], noise: bytes) -> None:
    value, stand_in = b"abcabdabcabcabe1", b"0123456789ABCDEF"
    data = noise + value + value[:3] + value + b"abc" + noise
    replacer = PromptReplacer(Needles([value]), {value: stand_in}, free=4)
    out = b""
    for at, piece in enumerate(pieces := pieces_of(data, cuts)):
        out += replacer.feed(piece)
        sent = sum(len(item) for item in pieces[: at + 1])
        assert sent - len(out) < len(value)
        assert value[4:] not in out
    out += replacer.flush()
    assert len(out) == len(data)
    assert value not in out
    assert value[4:] not in out
    assert stand_in[4:] in out


def test_a_tunnel_never_waits_for_a_few_bytes() -> None:
    replacer = PromptReplacer(Needles([b"abcdefgh"]), {b"abcdefgh": b"12345678"}, free=4)
    assert replacer.feed(b"query ab") == b"query ab"
    assert replacer.feed(b"cdef") == b""
    assert replacer.feed(b"gh ok abcd") == b"345678 ok abcd"
    assert replacer.feed(b"e") == b""
    assert replacer.feed(b"x") == b"ex"


@given(cuts=st.lists(st.integers(0, 300), max_size=10))
def test_a_watcher_finds_what_pieces_hold_together(cuts: list[int]) -> None:
    data = b"x" * 50 + b"needle" + b"y" * 50
    watcher = Watcher(Needles([b"needle", b"other"]))
    before, found = b"", None
    for piece in pieces_of(data, cuts):
        found = watcher.found(piece)
        if found:
            break
        before += piece
    assert found == b"needle"
    assert b"needle" not in before


def test_text_that_begins_no_value_is_not_held_back() -> None:
    replacer = vault(K=KEY).echo_filter()
    assert replacer.feed(b"data: {}\n\n") == b"data: {}\n\n"
    assert replacer.feed(b"data: sk-pro") == b"data: "
    assert replacer.feed(b"fit\n\n") == b"sk-profit\n\n"


def test_what_is_stored_holds_neither_value_nor_placeholder() -> None:
    box = vault(K=KEY)
    mine = box.environment()["K"]
    assert box.redact(f"{KEY} and {mine}".encode()) == b"[secret:K] and [secret:K]"
    assert box.redact(f"text {KEY[:20]}".encode(), cut=True) == b"text "
    basic = b"Basic " + base64.b64encode(f"user:{KEY}".encode())
    assert box.redact_header(basic) == "Basic user:[secret:K]"
    assert box.unredact(b"x [secret:K] y") == f"x {mine} y".encode()
    assert KEY not in repr(box)


def test_the_credential_is_a_hash_that_differs_between_runs() -> None:
    headers = ((b"X-Api-Key", b"something"),)
    boxes = [vault(K=KEY), vault(K=KEY)]
    hashes = [box.credential(headers) for box in boxes]
    assert hashes[0] != hashes[1]
    assert boxes[0].credential(headers) == hashes[0]
    assert boxes[0].credential(((b"X-Api-Key", b"other"),)) != hashes[0]
    assert boxes[0].credential(((b"Accept", b"x"),)) is None
