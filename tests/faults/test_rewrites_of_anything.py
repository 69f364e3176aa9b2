"""Rewrites before upstreams that send whatever they like, and in every process the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
from test_faults_bend_anything import BODIES, REQUESTS, _all_of

PARAMS = {
    "rewrite/grow": {"tokens": 300, "named": ["1", "x"], "writes": True},
    "rewrite/near-misses": {"named": ["1", "x"], "count": 2, "writes": True},
    "rewrite/shorten": {"items": 1, "writes": True},
    "rewrite/plant": {"text": "Say this.", "writes": True},
}


@pytest.mark.parametrize("body", range(len(BODIES)))
@pytest.mark.parametrize("name", PARAMS)
def test_nothing_but_cuts_and_failures_comes_out_and_always_the_same(name: str, body: int) -> None:
    found = _all_of(name, PARAMS[name], BODIES[body])
    assert len(found) == 9 * len(REQUESTS)
    assert all(found)
    assert found == _all_of(name, PARAMS[name], BODIES[body])


PROGRAM = """
import json, random
from aegis.faults.rewrites.grow import add_members, mix
from aegis.faults.rewrites.making import Maker
records = [{"id": i, "uuid": f"a{i}b", "sku": f"S-{i}", "email": f"m{i}@x.example", "n": i} for i in range(9)]
maker = Maker(records, random.Random(3), named={"4"}, said={"x"})
made = [maker.sibling() for _ in range(20)] + [maker.near_miss(records[4], ("id",)) for _ in range(20)]
mix(records, made, random.Random(4))
add_members(records, random.Random(5), 900)
print(json.dumps(records))
"""


def test_the_hash_seed_of_a_process_decides_nothing() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
