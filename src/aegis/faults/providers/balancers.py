"""The error pages of load balancers: HTML where a client expects JSON.

Compared on 2026-11-23:

- nginx: https://github.com/nginx/nginx/blob/master/src/http/ngx_http_special_response.c (pages, line ends, the padding
  for Chrome; since 1.17 without `bgcolor`) and ngx_http_header_filter_module.c (reason phrases);
- AWS ALB: `Server: awselb/2.0` and the same page without a signature, 138 bytes with its CRLFs in 2018
  (https://github.com/esi/esi-issues/issues/902), without `bgcolor` since
  (https://github.com/CodeGenieApp/serverless-express/issues/688);
- Cloudflare: an error of its own is nginx's page signed `cloudflare`
  (https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/error-502-504/).
"""

from __future__ import annotations

from aegis.faults.answers import answer
from aegis.faults.providers.base import HEX, At
from aegis.gateway.base import ResponsePlan

NAMES = ("nginx", "alb", "cloudflare")

PHRASES = {
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}
_SIGNATURES = {"nginx": "<hr><center>nginx</center>", "cloudflare": "<hr><center>cloudflare</center>"}
_PADDING = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n" * 6


def page(name: str, status: int, *, padded: bool = False) -> bytes:
    phrase = f"{status} {PHRASES[status]}"
    lines = [
        "<html>",
        f"<head><title>{phrase}</title></head>",
        "<body>",
        f"<center><h1>{phrase}</h1></center>",
        *([_SIGNATURES[name]] if name in _SIGNATURES else []),
        "</body>",
        "</html>",
    ]
    return ("\r\n".join(lines) + "\r\n" + (_PADDING if padded else "")).encode()


def reply(name: str, status: int, at: At) -> ResponsePlan:
    """The balancer's whole response."""
    headers: dict[str, str]
    if name == "cloudflare":
        headers = {"Server": "cloudflare", "CF-RAY": f"{at.text('ray', 16, HEX)}-FRA"}
    else:
        headers = {"Server": "awselb/2.0" if name == "alb" else "nginx"}
    padded = name == "nginx" and "Chrome/" in (at.seen.request.header("user-agent") or "")
    return answer(
        status,
        page(name, status, padded=padded),
        content_type="text/html",
        headers=headers,
        method=at.seen.request.method,
        reason=PHRASES[status],
    )
