"""One rule for each fault, ready to be pasted into a suite below `faults:`. They stand in docs/faults.md and in
`aegis faults show`; a test reads each of them."""

from __future__ import annotations

EXAMPLES: dict[str, str] = {
    "latency": """\
- inject: latency
  match: {host: crm.example, method: GET}
  distribution: lognormal
  median: 400ms
  sigma: 0.8
  max: 5s
""",
    "slow-body": """\
- inject: slow-body
  match: {call: model}
  on: 2
  by: event
  pause: 250ms
""",
    "bandwidth": """\
- inject: bandwidth
  match: {host: files.example, path: "/exports/*"}
  rate: 32KiB
""",
    "hang": """\
- inject: hang
  match: {host: crm.example, method: GET}
  on: 3
  for: 20s
""",
    "refuse": """\
- inject: refuse
  match: {host: crm.example}
  on: [1, 2]
""",
    "reset": """\
- inject: reset
  match: {host: crm.example, method: POST, path: /refunds}
  on: 1
""",
    "empty-reply": """\
- inject: empty-reply
  match: {host: crm.example, method: GET}
  on: 2
  upstream: not-called
""",
    "dns-failure": """\
- inject: dns-failure
  match: {host: crm.example}
  on: 1
  answer: servfail
""",
    "tls-failure": """\
- inject: tls-failure
  match: {host: crm.example}
  on: 1
  how: expired
""",
    "close-idle": """\
- inject: close-idle
  match: {host: crm.example}
  on: 2
""",
    "truncate": """\
- inject: truncate
  match: {host: crm.example, path: "/orders*"}
  on: 1
  how: wrong-length
  at: 0.7
""",
    "cut-stream": """\
- inject: cut-stream
  match: {call: model}
  from: 2
  until: 1
  how: clean
  at_event: 6
""",
    "drop-page": """\
- inject: drop-page
  match: {host: crm.example, path: /orders}
  until: 1
  page: empty
""",
    "malformed-json": """\
- inject: malformed-json
  match: {host: crm.example, method: GET}
  on: 2
  how: unterminated-string
""",
    "garbage": """\
- inject: garbage
  match: {host: files.example}
  on: 1
  how: middle
""",
    "rate-limit": """\
- inject: rate-limit
  match: {call: model}
  on: 2
  retry_after: 3s
""",
    "overloaded": """\
- inject: overloaded
  match: {call: model}
  on: [2, 3]
""",
    "server-error": """\
- inject: server-error
  match: {host: crm.example, method: POST, path: /refunds}
  on: 1
  carried_out: true
""",
    "gateway-html": """\
- inject: gateway-html
  match: {host: crm.example}
  every: 4
  status: 502
""",
    "quota-exceeded": """\
- inject: quota-exceeded
  match: {call: model}
  from: 3
""",
    "token-expired": """\
- inject: token-expired
  match: {host: crm.example}
  on: 4
  refresh: {host: auth.example, path: /oauth/token}
""",
    "refresh-revoked": """\
- inject: refresh-revoked
  match: {host: auth.example, method: POST, path: /oauth/token}
""",
    "forbidden": """\
- inject: forbidden
  match: {host: crm.example, method: POST, path: /refunds}
""",
    "stale": """\
- inject: stale
  match: {host: crm.example, method: GET, path: "/orders/*"}
  from: 2
""",
    "silent-noop": """\
- inject: silent-noop
  match: {host: crm.example, method: POST, path: /refunds}
  on: 1
""",
    "wrong-shape": """\
- inject: wrong-shape
  match: {host: crm.example, path: "/orders/*"}
  rename: {$.total: total_amount}
""",
    "tool-error": """\
- inject: tool-error
  match: {tool: lookup_order}
  on: [1, 2]
""",
    "graphql-errors": """\
- inject: graphql-errors
  match: {host: api.example, path: /graphql}
  on: 2
  partial: true
""",
    "duplicate-delivery": """\
- inject: duplicate-delivery
  match: {host: crm.example, method: POST, path: /refunds}
  on: 1
  times: 2
""",
}
