"""Faults as a user meets them on the command line: what they do to a run, and the smallest set that breaks a trial."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e_command import Aegis

AGENT = """
import sys, time, urllib.error, urllib.request

text = sys.stdin.read()
for path in ("/orders/1042", "/orders/1043"):
    for attempt in range(2):
        try:
            with urllib.request.urlopen(f"http://shop.example{path}", timeout=20) as answer:
                said = answer.read().decode()
            break
        except (urllib.error.URLError, OSError):
            said = "nothing"
            time.sleep(0.05)
    print(f"{path}: {said}")
"""

SHOP = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"delivered"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

SUITE = """\
suite: shop
agent: {{command: python3 agent.py}}
sandbox: {{files: {{agent.py: /workspace/agent.py}}}}
network:
  routes: {{shop.example: {{upstream: shop}}}}
  upstreams: {{shop: {{command: python3 shop.py, scope: run}}}}
trials: {trials}
cases:
  - id: orders
    input: Where are my orders?
    faults:
{faults}
    expect:
      - answer: {{matches: '(?s)1042: delivered.*1043: delivered'}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "aegis.toml").touch()
    (tmp_path / "evals").mkdir()
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def write(shop: Path, *faults: str, trials: int = 1) -> None:
    lines = "\n".join(f"      - {fault}" for fault in faults)
    (shop / "evals" / "shop.yaml").write_text(SUITE.format(faults=lines, trials=trials))


def trials(shop: Path, aegis: Aegis, *options: str) -> list[dict[str, object]]:
    aegis("eval", "run", "--isolation=none", "--json", "run.json", "-q", *options, cwd=shop)
    found: list[dict[str, object]] = json.loads((shop / "run.json").read_text())["trials"]
    return found


def test_a_fault_that_the_agent_survives_is_told_and_so_is_one_that_never_came(
    shop: Path, aegis: Aegis
) -> None:
    write(
        shop,
        "{inject: server-error, match: {path: /orders/1042}, on: 1}",
        "{inject: latency, delay: 1s, match: {path: /carts/*}}",
    )
    done = aegis("eval", "run", "--isolation=none", cwd=shop)
    assert done.code == 0, done.stderr
    assert "faults: server-error ×1 in 1 trial" in done.stdout
    assert "never fired: latency in 1 trial (orders): nothing matched /carts/*" in done.stdout


def test_a_required_fault_that_never_came_makes_the_run_inconclusive(shop: Path, aegis: Aegis) -> None:
    write(shop, "{inject: latency, delay: 1s, match: {path: /carts/*}, require_fired: true}")
    done = aegis("eval", "run", "--isolation=none", "--retries", "0", cwd=shop)
    assert done.code == 3
    assert "a required fault did not fire: latency (nothing matched /carts/*)" in done.stdout


def test_no_faults_on_the_command_line_means_none_at_all(shop: Path, aegis: Aegis) -> None:
    write(shop, "{inject: server-error}")
    assert [trial["outcome"] for trial in trials(shop, aegis)] == ["failed"]
    assert [trial["faults"] for trial in trials(shop, aegis, "--faults", "none")] == [[]]


def test_the_same_trial_meets_the_same_weather_in_every_run(shop: Path, aegis: Aegis) -> None:
    write(
        shop,
        "{inject: server-error, probability: 0.4}",
        "{inject: latency, delay: 10ms, probability: 0.5}",
        trials=8,
    )

    def weather(*options: str) -> list[tuple[object, ...]]:
        found = trials(shop, aegis, *options)
        return [(trial["number"], trial["outcome"], trial["answer"], trial["faults"]) for trial in found]

    first = weather("--jobs", "1", "--seed", "1")
    assert weather("--jobs", "4", "--seed", "2") == first
    assert len({str(entry[3]) for entry in first}) > 1  # but the trials of a run differ


def test_shrink_finds_the_one_fault_that_matters_and_a_suite_that_shows_it(shop: Path, aegis: Aegis) -> None:
    write(
        shop,
        "{inject: latency, delay: 20ms}",
        "{inject: server-error, match: {path: /orders/1042}, on: 1}",
        "{inject: server-error, match: {path: /orders/1043}, probability: 0.99, id: the-one}",
        "{inject: slow-body, chunks: 2, duration: 20ms}",
    )
    assert [trial["outcome"] for trial in trials(shop, aegis)] == ["failed"]
    done = aegis("eval", "shrink", "latest/orders/1", "-o", "evals/shop-orders-shrunk.yaml", cwd=shop)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("1 of 4 faults break ")
    assert "  the-one (evals/shop.yaml:" in done.stdout
    again = aegis("eval", "run", "-s", "shop-orders-shrunk", "--isolation=none", cwd=shop)
    assert again.code == 1
    assert "faults: server-error ×2 in 1 trial" in again.stdout


@pytest.mark.parametrize(
    ("faults", "code", "says"),
    [
        (("{inject: latency, delay: 10ms}",), 2, "did not fail (passed): there is nothing to shrink"),
        (("{inject: server-error, match: {path: /carts}}",), 2, "did not fail"),
    ],
)
def test_what_cannot_be_shrunk(
    shop: Path, aegis: Aegis, faults: tuple[str, ...], code: int, says: str
) -> None:
    write(shop, *faults)
    trials(shop, aegis)
    done = aegis("eval", "shrink", "latest/orders/1", cwd=shop)
    assert done.code == code
    assert says in done.stderr


def test_a_failure_that_is_not_the_weathers_is_told_as_such(shop: Path, aegis: Aegis) -> None:
    write(shop, "{inject: latency, delay: 10ms}")
    path = shop / "evals" / "shop.yaml"
    path.write_text(path.read_text().replace("1043: delivered", "1043: lost"))
    trials(shop, aegis)
    done = aegis("eval", "shrink", "latest/orders/1", cwd=shop)
    assert done.code == 0
    assert "fails without any fault (2 runs): the weather is not why" in done.stdout
