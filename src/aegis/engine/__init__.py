"""Plans trials and runs them.

A trial goes in as a `TrialSpec` and comes out as a `TrialResult`, both plain values that serialise to JSON,
so that any executor can run them; `LocalEngine` runs them on this host. The engine reads files from a
`BlobSource` and reports attempts to a `Sink`; it knows neither the ledger nor the report.

Modules: `spec` (the values), `plan` and `keyword` (what runs, in which order), `files` (packing), `template`
(what all trials start from), `fingerprint`, `resolve` (secrets and routes on this host), `network` (the gateway,
and a session of it for each attempt), `upstreams` with `keeper` (the project's server programs), `trial` (one
attempt), `local` (the executor), `events`, `ports` (the protocols). Only `network` imports the gateway's heavy parts.
"""
