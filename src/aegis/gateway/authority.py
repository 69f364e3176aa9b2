"""The certificate authority of one run: made in memory, trusted inside the guest, gone with the process."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aegis.gateway.names import Host

_ORGANISATION = "Internal Services"
_ELSEWHERE = "default-backend.internal"
"""Whose certificate a load balancer shows that does not know the name it was asked for."""
_KEPT_CONTEXTS = 256

Bend = Literal["", "expired", "wrong-host", "untrusted", "alert", "reset"]
"""What is wrong with a certificate, as `Shut.tls` says; nothing is with the last two."""


_Period = tuple[datetime.datetime, datetime.datetime]


@dataclass(frozen=True, slots=True)
class _Issuer:
    name: x509.Name
    key: ec.EllipticCurvePrivateKey


class Authority:
    """Signs a certificate for each host that is opened. Keys are EC P-256 and never written to a file, but by who keeps
    machines that trust it (`dump`): OpenSSL reads them through an anonymous memory file.

    A machine whose clock shows another date (`shown_s`: seconds since 1970) sees certificates that suit it: the
    authority's is valid there and now, a host's for as long as any host's, around that date.
    """

    def __init__(self, now: datetime.datetime | None = None) -> None:
        now = now or datetime.datetime.now(datetime.UTC)
        # As a company's own authority looks: made some time ago, valid for years.
        self._issued = _full_hour(now)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign_root(None)
        self._contexts: OrderedDict[tuple[Host, Bend, float | None], ssl.SSLContext] = OrderedDict()
        self._issuer = _Issuer(self._certificate.subject, self._key)
        self._stranger: _Issuer | None = None

    def dump(self) -> str:
        """Key and certificate as PEM, for whoever goes on in this authority's place with machines that trust it. It is
        trusted nowhere else."""
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key.decode() + self.pem

    @classmethod
    def load(cls, dumped: str) -> Authority:
        """The inverse of `dump`. Raises ValueError."""
        key = serialization.load_pem_private_key(dumped.encode(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("not a key of this kind")
        authority = cls()
        authority._key = key
        authority._certificate = x509.load_pem_x509_certificate(dumped.encode())
        authority._issuer = _Issuer(authority._certificate.subject, key)
        return authority

    @property
    def pem(self) -> str:
        """The authority's certificate, for the guest's trust store."""
        return self.pem_at(None)

    def pem_at(self, shown_s: float | None) -> str:
        """The same for a machine whose clock shows this; None: the real time."""
        certificate = self._certificate if shown_s is None else self._sign_root(shown_s)
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def context(self, host: Host, bend: Bend = "", shown_s: float | None = None) -> ssl.SSLContext:
        """A server's TLS context with a certificate for this host, or with one that clients must not accept for it."""
        key = host, bend, shown_s
        if key in self._contexts:
            self._contexts.move_to_end(key)
            return self._contexts[key]
        context = self._make_context(host, bend, self._issued_at(shown_s))
        self._contexts[key] = context
        if len(self._contexts) > _KEPT_CONTEXTS:
            self._contexts.popitem(last=False)
        return context

    def _issued_at(self, shown_s: float | None) -> datetime.datetime:
        if shown_s is None:
            return self._issued
        return _full_hour(datetime.datetime.fromtimestamp(shown_s, datetime.UTC))

    def _make_context(self, host: Host, bend: Bend, issued: datetime.datetime) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        named = Host(_ELSEWHERE) if bend == "wrong-host" else host
        issuer = self._unknown_issuer() if bend == "untrusted" else self._issuer
        days = (-99, -9) if bend == "expired" else (-17, 73)
        leaf = self._sign_leaf(named, key, issuer, _period(issued, issued, *days))
        chain = leaf.public_bytes(serialization.Encoding.PEM)
        chain += key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_RENEGOTIATION
        # The module reads keys from files only; this file exists in memory alone.
        descriptor = os.memfd_create("chain", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, chain)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return context

    def _sign_root(self, shown_s: float | None) -> x509.Certificate:
        shown = self._issued_at(shown_s)
        name = _name(f"{_ORGANISATION} Root CA")
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        period = _period(min(shown, self._issued), max(shown, self._issued), -400, 3650)
        builder = _builder(name, name, self._key, period)
        return (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _unknown_issuer(self) -> _Issuer:
        """An authority that nobody has heard of; its own certificate is not shown."""
        if self._stranger is None:
            self._stranger = _Issuer(_name("Issuing CA 2"), ec.generate_private_key(ec.SECP256R1()))
        return self._stranger

    def _sign_leaf(
        self, host: Host, key: ec.EllipticCurvePrivateKey, issuer: _Issuer, period: _Period
    ) -> x509.Certificate:
        alternative: x509.GeneralName = x509.DNSName(host.name)
        if host.is_address:
            alternative = x509.IPAddress(ipaddress.ip_address(host.name))
        # A common name is at most 64 characters (RFC 5280, upper bounds); clients read the alternative name.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host.name[:64])])
        builder = _builder(subject, issuer.name, key, period)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(identifier, critical=False)
            .sign(issuer.key, hashes.SHA256())
        )


def _full_hour(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _period(first: datetime.datetime, last: datetime.datetime, from_days: int, to_days: int) -> _Period:
    return first + datetime.timedelta(days=from_days), last + datetime.timedelta(days=to_days)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, period: _Period
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, key_cert_sign: bool = False, digital_signature: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )
