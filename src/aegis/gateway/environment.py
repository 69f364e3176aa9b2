"""Variables that make common clients trust the run's authority and use its proxy. Nothing in them is out of place
on a company's server."""

from __future__ import annotations

_BUNDLE = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
)
"""Each replaces the client's list of authorities: OpenSSL, Go and Ruby; requests; curl; botocore; pip; git; …"""

_ADDED = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
"""Each adds to the client's list."""

NO_PROXY = "localhost,127.0.0.1,::1"


def guest_environment(*, ca_file: str | None, ca_bundle: str | None, proxy: str | None) -> dict[str, str]:
    """`ca_file`: guest path of the authority alone; `ca_bundle`: of all authorities, it included; `proxy`: URL of
    the proxy inside the guest. What is None is left out."""
    found: dict[str, str] = {}
    if ca_bundle is not None:
        found.update(dict.fromkeys(_BUNDLE, ca_bundle))
    if ca_file is not None:
        found.update(dict.fromkeys(_ADDED, ca_file))
    if proxy is not None:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            found[name] = found[name.upper()] = proxy
        found["no_proxy"] = found["NO_PROXY"] = NO_PROXY
        # Node reads the variables above from version 24 on, and only when asked to.
        found["NODE_USE_ENV_PROXY"] = "1"
    return found
