"""Secrets on the path: placeholders out of the guest become values for the hosts that may see them, and values that
come back become placeholders again. Pure functions of values.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from aegis.errors import UsageError
from aegis.gateway.base import RawHeaders
from aegis.gateway.failures import Failure
from aegis.gateway.matching import (
    Needles,
    PromptReplacer,
    StreamMatcher,
    StreamReplacer,
    Watcher,
    replace_all,
)
from aegis.gateway.names import Host
from aegis.gateway.placeholders import MIN_LENGTH, check_value, make_placeholder
from aegis.gateway.policy import Pattern, parse_pattern

CREDENTIAL_HEADERS = frozenset(
    {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"private-token", b"x-auth-token"}
)
_REMEMBERED = 256
"""Credentials whose hash is kept; a guest may send any number."""

_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, slots=True)
class Secret:
    name: str
    value: str
    placeholder: str
    hosts: tuple[Pattern, ...]

    def may_go_to(self, host: Host, port: int, *, protected: bool) -> bool:
        """`protected`: the way there is TLS, or the user routed it."""
        return any(
            item.covers_host(host) and (item.port == port or (item.port is None and protected))
            for item in self.hosts
        )


class Vault:
    """The secrets of one run. Nothing else in the room knows a value; `repr` shows names only."""

    def __init__(
        self,
        hosts: Mapping[str, tuple[str, ...]],
        values: Mapping[str, str],
        rng: random.Random | None = None,
        placeholders: Mapping[str, str] | None = None,
    ) -> None:
        """`placeholders`: by name, where machines hold some already."""
        rng = rng or random.SystemRandom()
        self._secrets: list[Secret] = []
        for name, patterns in hosts.items():
            if name not in values:
                raise UsageError(
                    f"the secret {name} has no value on this host",
                    fix=f"export {name}, or take it out of the suite",
                )
            check_value(name, values[name])
            placeholder = (placeholders or {}).get(name) or make_placeholder(values[name], rng)
            parsed = tuple(parse_pattern(text) for text in patterns)
            self._secrets.append(Secret(name, values[name], placeholder, parsed))
        self._hash_key = os.urandom(32)
        self._hashed: dict[bytes, str] = {}
        self.placeholders = Needles(item.placeholder.encode() for item in self._secrets)
        self._names = {item.placeholder.encode(): item.name for item in self._secrets}
        self._echo: dict[bytes, bytes] = {}
        self._markers: dict[bytes, bytes] = {}
        for item in self._secrets:
            marker = f"[secret:{item.name}]".encode()
            self._markers[item.placeholder.encode()] = marker
            echoes = _echoes(item.value, item.placeholder)
            self._echo.update(echoes)
            self._markers.update(dict.fromkeys(echoes, marker))
        self._echo_needles = Needles(self._echo)
        self._marker_needles = Needles(self._markers)
        self._restore = {
            marker: placeholder for placeholder, marker in self._markers.items() if placeholder in self._names
        }
        self._restore_needles = Needles(self._restore)

    def __repr__(self) -> str:
        return f"Vault({', '.join(item.name for item in self._secrets)})"

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def environment(self) -> dict[str, str]:
        """What the guest gets: name → placeholder."""
        return {item.name: item.placeholder for item in self._secrets}

    def declared_for(self, host: Host, port: int, *, protected: bool) -> bool:
        return any(item.may_go_to(host, port, protected=protected) for item in self._secrets)

    def release(
        self, target: str, headers: RawHeaders, host: Host, port: int, *, protected: bool
    ) -> tuple[str, RawHeaders]:
        """Target and headers with values in place of placeholders. Raises `Failure` when a placeholder stands where
        no value may go; nothing has left then."""
        if not self._secrets or not self._shows(self.placeholders, headers, target.encode("latin-1")):
            return target, headers
        granted = [item for item in self._secrets if item.may_go_to(host, port, protected=protected)]
        self._refuse(b"\n".join([name for name, _ in headers]), "a header name", host)
        out: list[tuple[bytes, bytes]] = []
        for name, value in headers:
            if self.placeholders.find(value) or _is_basic(value):
                value = _swap_header(value, granted)
                self._refuse(_readable(value), f"the header {name.decode('latin-1')}", host)
            out.append((name, value))
        return self._release_target(target, granted, host), tuple(out)

    def _release_target(self, target: str, granted: list[Secret], host: Host) -> str:
        if not self.placeholders.find(target.encode("latin-1")):
            return target
        path, mark, query = target.partition("?")
        for item in granted:
            query = query.replace(item.placeholder, quote(item.value, safe="-._~"))
        self._refuse(path.encode("latin-1"), "the path", host)
        self._refuse(query.encode("latin-1"), "the query", host)
        return path + mark + query

    def refuse_host(self, text: str) -> None:
        """Raises `Failure` when a placeholder stands in a host name."""
        found = self._find(text.lower().encode("latin-1", "replace"), lower=True)
        if found:
            raise Failure("secret-refused", f"the placeholder of {found} stands in a host name", status=403)

    def guard(self) -> StreamMatcher:
        """For what the guest sends in a body: a match means that a placeholder would leave."""
        return StreamMatcher(self.placeholders)

    def refusal(self, placeholder: bytes, where: str, host: str) -> Failure:
        name = self._names[placeholder]
        text = f"the placeholder of {name} stands in {where} for {host}, where its value may not go"
        return Failure("secret-refused", text, status=403)

    def echo_filter(self) -> StreamReplacer:
        """For what upstream sends: values become placeholders of the same length."""
        return StreamReplacer(self._echo_needles, self._echo)

    def watcher(self) -> Watcher:
        """For what the guest sends through a tunnel, where every byte may be waited for: the piece in which a
        placeholder ends is the first that does not leave."""
        return Watcher(self.placeholders)

    def prompt_echo_filter(self) -> PromptReplacer:
        """For what comes back through a tunnel. At most the first bytes of a value, which are its format's prefix in
        most, can come through, and only when the server pauses right behind them."""
        return PromptReplacer(self._echo_needles, self._echo, free=MIN_LENGTH // 2)

    def without_values(self, headers: RawHeaders) -> RawHeaders:
        """Response headers as the guest may see them."""
        if not self._secrets or not self._shows(self._echo_needles, headers):
            return headers
        return tuple((name, self._hide(value)) for name, value in headers)

    def redact(self, data: bytes, *, cut: bool = False) -> bytes:
        """For everything that is stored: values and placeholders become `[secret:NAME]`. `cut` says that `data` was
        cut off at its end, where half a value may stand: it is dropped."""
        if not self._secrets:
            return data
        if not cut:
            return replace_all(data, self._marker_needles, self._markers)
        return StreamReplacer(self._marker_needles, self._markers).feed(data)

    def redact_text(self, text: str) -> str:
        if not self._secrets:
            return text
        return self.redact(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def redact_headers(self, headers: RawHeaders) -> tuple[tuple[str, str], ...]:
        if not self._secrets:
            return tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
        # One search through all of them, for none holds a line end.
        flat = [text.replace(b"\n", b" ") for header in headers for text in header]
        hidden = self.redact(b"\n".join(flat)).decode("latin-1").split("\n") if flat else []
        for at, text in enumerate(flat):
            if _is_basic(text):
                hidden[at] = self.redact_header(text)
        return tuple(zip(hidden[::2], hidden[1::2], strict=True))

    def redact_header(self, value: bytes) -> str:
        """Also looks inside Basic credentials."""
        decoded = _basic(value) if self._secrets else None
        if decoded is not None and (hidden := self.redact(decoded)) != decoded:
            return "Basic " + hidden.decode("latin-1")
        return self.redact(value).decode("latin-1")

    def unredact(self, data: bytes) -> bytes:
        """For replay: `[secret:NAME]` becomes this run's placeholder."""
        return replace_all(data, self._restore_needles, self._restore)

    def credential(self, headers: RawHeaders) -> str | None:
        """A stable hash, keyed for this run, of the credential that these headers carry."""
        for name, value in headers:
            if name.lower() in CREDENTIAL_HEADERS:
                if value not in self._hashed:
                    if len(self._hashed) >= _REMEMBERED:
                        self._hashed.clear()
                    real = _swap_header(value, self._secrets)
                    self._hashed[value] = hmac.new(self._hash_key, real, hashlib.sha256).hexdigest()[:16]
                return self._hashed[value]
        return None

    @staticmethod
    def _shows(needles: Needles, headers: RawHeaders, also: bytes = b"") -> bool:
        """Whether it is worth looking closer: one search through everything."""
        values = [value for _, value in headers]
        if any(_is_basic(value) for value in values):
            return True
        return needles.find(b"\n".join([also, *[name for name, _ in headers], *values])) is not None

    def _hide(self, value: bytes) -> bytes:
        hidden = replace_all(value, self._echo_needles, self._echo)
        if (decoded := _basic(hidden)) is not None:
            inner = replace_all(decoded, self._echo_needles, self._echo)
            if inner != decoded:
                return hidden[:6] + base64.b64encode(inner)
        return hidden

    def _find(self, data: bytes, *, lower: bool = False) -> str | None:
        for placeholder, name in self._names.items():
            if (placeholder.lower() if lower else placeholder) in data:
                return name
        return None

    def _refuse(self, data: bytes, where: str, host: Host) -> None:
        if self._names and (found := self.placeholders.find(data)):
            raise self.refusal(found[1], where, host.name)


def _swap_header(value: bytes, granted: list[Secret]) -> bytes:
    for item in granted:
        value = value.replace(item.placeholder.encode(), item.value.encode())
    if (decoded := _basic(value)) is None:
        return value
    swapped = decoded
    for item in granted:
        swapped = swapped.replace(item.placeholder.encode(), item.value.encode())
    return value if swapped == decoded else value[:6] + base64.b64encode(swapped)


def _readable(value: bytes) -> bytes:
    """The value with what its Basic credentials hold appended, so that one search sees both."""
    if (decoded := _basic(value)) is not None:
        return value + b"\n" + decoded
    return value


def _is_basic(value: bytes) -> bool:
    return value[:6].lower() == b"basic "


def _basic(value: bytes) -> bytes | None:
    """What Basic credentials say; None when it is something else."""
    if not _is_basic(value):
        return None
    try:
        return base64.b64decode(value[6:].strip(), validate=True)
    except binascii.Error:
        return None


def _echoes(value: str, placeholder: str) -> dict[bytes, bytes]:
    """The ways in which a server commonly writes back a text that it was sent (as it is, percent-encoded, inside JSON,
    inside Base64 at each of the three alignments), each with what the guest gets in its place."""
    forms = {value, quote(value, safe="-._~"), quote(value, safe=""), json.dumps(value)[1:-1]}
    forms.add(json.dumps(value)[1:-1].replace("/", "\\/"))
    found = {form.encode(): _fit(placeholder.encode(), len(form)) for form in forms}
    for shift in range(3):
        core, other = (_base64_core(text.encode(), shift) for text in (value, placeholder))
        if len(core) >= MIN_LENGTH:
            found[core] = other
            found[core.translate(_URL_SAFE)] = other.translate(_URL_SAFE)
    return found


def _base64_core(data: bytes, shift: int) -> bytes:
    """The characters that depend on nothing but `data` when it stands `shift` bytes into a group of three."""
    encoded = base64.b64encode(b"\0" * shift + data)
    return encoded[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6]


def _fit(placeholder: bytes, length: int) -> bytes:
    """The placeholder made exactly so long: a replacement never changes a Content-Length."""
    if len(placeholder) >= length:
        return placeholder[:length]
    filler = hashlib.sha256(placeholder).hexdigest().encode() * (length // 64 + 1)
    return placeholder + filler[: length - len(placeholder)]
