"""Certificates for machines that show another date."""

from __future__ import annotations

import datetime
import ssl
import time
from datetime import UTC

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.gateway import Authority
from aegis.gateway.authority import Bend
from aegis.gateway.names import Host

HOST = Host("crm.example")
NOW = datetime.datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC)
AUTHORITY = Authority(NOW)


def root_at(shown_s: float | None) -> x509.Certificate:
    return x509.load_pem_x509_certificate(AUTHORITY.pem_at(shown_s).encode())


def leaf_at(shown_s: float | None, bend: Bend = "") -> x509.Certificate:
    """The certificate that a client is shown, in a handshake that checks nothing."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = AUTHORITY.context(HOST, bend, shown_s).wrap_bio(to_server, to_client, server_side=True)
    one = client.wrap_bio(to_client, to_server, server_hostname=HOST.name)
    for _ in range(4):
        for side in (one, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = one.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found)


shown = st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2199, 12, 31)).map(
    lambda moment: moment.replace(tzinfo=UTC).timestamp()
)


@settings(max_examples=40)
@given(shown)
def test_certificates_are_valid_on_the_day_that_is_shown(shown_s: float) -> None:
    moment = datetime.datetime.fromtimestamp(shown_s, UTC)
    leaf, root = leaf_at(shown_s), root_at(shown_s)
    day = datetime.timedelta(days=1)
    assert leaf.not_valid_before_utc + 10 * day < moment < leaf.not_valid_after_utc - 60 * day
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < 398 * day
    assert root.not_valid_before_utc < min(moment, NOW) - 365 * day
    assert root.not_valid_after_utc > max(moment, NOW) + 365 * day
    assert root.not_valid_before_utc <= leaf.not_valid_before_utc
    leaf.verify_directly_issued_by(root)


def test_all_roots_are_one_authority() -> None:
    plain, other = root_at(None), root_at(1.8e9)
    assert plain.subject == other.subject
    assert plain.public_key() == other.public_key()
    assert AUTHORITY.pem == AUTHORITY.pem_at(None)


def test_an_expired_certificate_has_expired_on_that_day() -> None:
    shown_s = datetime.datetime(2028, 2, 29, tzinfo=UTC).timestamp()
    leaf = leaf_at(shown_s, "expired")
    assert leaf.not_valid_after_utc < datetime.datetime(2028, 2, 29, tzinfo=UTC)
    assert leaf.not_valid_before_utc > datetime.datetime(2027, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize("shown_s", [None, 1.8e9])
def test_a_context_is_made_once(shown_s: float | None) -> None:
    assert AUTHORITY.context(HOST, "", shown_s) is AUTHORITY.context(HOST, "", shown_s)
    assert AUTHORITY.context(HOST, "", shown_s) is not AUTHORITY.context(HOST, "", time.time())
