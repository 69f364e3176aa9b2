"""How long a suite of 10,000 JSONL cases takes to load, every check included: the target is under 1 second.

    python benchmarks/suite_load.py [--cases N] [--repeat N] [--json]

Each case has a world file, two tags and three expectations, checked by the real scorers. Prints the figures
of the best and the median of `--repeat` loads in one process (imports not counted), and of 200 cases written
as YAML for comparison.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from aegis.scoring import registry
from aegis.suite import load_suite

YAML_CASES = 200


def case(number: int) -> dict[str, Any]:
    return {
        "id": f"order-{number:05}",
        "tags": ["refund", f"shop-{number % 7}"],
        "input": f"I want a refund for order {number}, it arrived broken. My address has not changed.",
        "world": {"files": {"orders.json": "fixtures/orders.json"}},
        "timeout": "30s",
        "expect": [
            {"answer": {"contains": "refund"}},
            {"file": {"path": f"outbox/{number}.json", "json": {"amount": 42, "order": number}}},
            {"command": {"run": "test -s outbox/log.txt"}},
        ],
    }


def write_suites(root: Path, cases: int) -> tuple[Path, Path]:
    evals = root / "evals"
    (evals / "fixtures").mkdir(parents=True)
    (evals / "fixtures" / "orders.json").write_text("[]")
    lines = (json.dumps(case(number)) for number in range(cases))
    (evals / "cases.jsonl").write_text("\n".join(lines) + "\n")
    head = "agent: {command: python3 agent.py}\ncases:"
    (evals / "bulk.yaml").write_text(f"suite: bulk\n{head} {{jsonl: cases.jsonl}}\n")
    items = "".join(f"  - {json.dumps(case(number))}\n" for number in range(YAML_CASES))
    (evals / "small.yaml").write_text(f"suite: small\n{head}\n{items}")
    return evals / "bulk.yaml", evals / "small.yaml"


def measure(path: Path, expected: int, repeat: int) -> dict[str, float]:
    wall, processor = [], []
    for _ in range(repeat):
        started, used = time.perf_counter(), time.process_time()
        suite = load_suite(path, check_expectation=registry.check)
        processor.append(time.process_time() - used)
        wall.append(time.perf_counter() - started)
        if len(suite.cases) != expected:
            raise SystemExit(f"{path}: {len(suite.cases)} cases instead of {expected}")
    return {
        "cases": expected,
        "best_s": round(min(wall), 3),
        "median_s": round(statistics.median(wall), 3),
        "median_cpu_s": round(statistics.median(processor), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bulk, small = write_suites(Path(folder), options.cases)
        figures = {
            "jsonl": measure(bulk, options.cases, options.repeat),
            "yaml": measure(small, YAML_CASES, options.repeat),
        }
    if options.json:
        print(json.dumps(figures))
        return
    for name, row in figures.items():
        print(
            f"{name:6}{row['cases']:>7,} cases   best {row['best_s']:.3f} s   median {row['median_s']:.3f} s"
            f"   processor {row['median_cpu_s']:.3f} s"
        )


if __name__ == "__main__":
    main()
