"""What stress transforms have the gateway change in an exchange: a harder world, and no fault.

A rewrite is a `Fault` of stage `rewrite`, one a file, `rewrite` in its module; rules name it `rewrite/NAME`. It acts
next to upstream, so that faults act on what it has made. It is no part of `aegis faults`, and of no report: the
exchange holds its id in `Exchange.rewrites`.
"""
