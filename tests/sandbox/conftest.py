"""Assertions in the shared conformance tests are shown in full."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "support.conformance_changes",
    "support.conformance_dial",
    "support.conformance_exec",
    "support.conformance_files",
    "support.conformance_life",
    "support.conformance_network",
    "support.sandbox_bench",
)
