"""The example project as plain processes of this host: the whole way through the gateway, without a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_command import Aegis, outcomes, read_json

pytestmark = pytest.mark.e2e

RUN = ("eval", "run", "--suite", "production-v2", "--isolation=none", "--trials", "1", "--json", "out.json")


@pytest.mark.slow
def test_it_passes_and_its_trace_tells_what_it_did(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, cwd=example)
    assert ran.code == 0, ran
    assert len(outcomes(read_json(example / "out.json"))) == 11
    shown = aegis("trace", "show", "latest/refund-within-policy/1", cwd=example)
    assert shown.code == 0, shown
    for words in ('lookup_order {"order": 1042}', "POST https://shop.example/refunds", "gpt-5-mini", "$0.00"):
        assert words in shown.stdout


@pytest.mark.slow
def test_with_the_defect_exactly_one_case_fails(aegis: Aegis, example: Path) -> None:
    ran = aegis(*RUN, "--env", "REFUND_BUG=1", cwd=example)
    assert ran.code == 1, ran
    by_case = outcomes(read_json(example / "out.json"))
    assert [case for case, trials in by_case.items() if trials != ["passed"]] == ["already-refunded"]
