"""Being here puts this folder on the import path: tests import their fakes as `support.…`."""

from __future__ import annotations

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # on the host of tests/nested, which runs none of the tests that need it
    pass
else:
    # A busy machine is no failure.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
