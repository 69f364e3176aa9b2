"""Protocol `python` in a networked trial: libraries are imported ahead, the user's own code when the variables have
come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aegis.agents import get
from aegis.agents.base import AgentResult
from aegis.agents.python import shim_source
from aegis.suite.model import Agent, Secret
from support.certificates import UpstreamAuthority
from support.process_sandbox import converse

LATE = {"SERVICE_KEY": "sk-placeholder", "https_proxy": "http://127.0.0.1:3128"}


def call(
    files: Mapping[str, str],
    *messages: str,
    target: str = "agent:answer",
    late: Mapping[str, str] = LATE,
    timeout_s: float = 120.0,
    **env: str,
) -> AgentResult:
    secrets = {"SERVICE_KEY": Secret(hosts=("api.example",))}
    agent = Agent(command=target, protocol="python", env=env, secrets=secrets)
    return converse(agent, *(messages or ("x",)), files=files, late_env=late, timeout_s=timeout_s)


def answer(files: Mapping[str, str], **env: str) -> Any:
    """What the agent in `files` said, read as JSON."""
    result = call(files, **env)
    assert result.failure is None, result.failure
    return json.loads(result.trace.answer)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of the interpreter's packages; `marker` counts its imports in a file beside it."""
    folder = tmp_path / "lib" / "site-packages"
    folder.mkdir(parents=True)
    (folder / "marker.py").write_text(
        "import os\n"
        f"open({str(tmp_path / 'imports')!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "print('a library that prints')\n"
    )
    return folder


SEEN = """
import sys
ahead = set(sys.modules)
{imports}
import json
def answer(text):
    return json.dumps([name in ahead for name in {names!r}])
"""


def seen(imports: str, *names: str) -> str:
    """An agent that imports, and tells which of the names had been imported before its first line."""
    return SEEN.format(imports=imports, names=names)


def test_a_client_at_module_level_has_its_variables() -> None:
    module = """
import os
class Client:
    def __init__(self):
        self.key, self.proxy = os.environ["SERVICE_KEY"], os.environ["https_proxy"]
client = Client()
def answer(text):
    return client.key + " " + client.proxy + " " + os.environ["MODEL"]
"""
    result = call({"agent.py": module}, "a", "b", MODEL="small")
    assert result.failure is None
    assert [turn.answer for turn in result.trace.turns] == 2 * ["sk-placeholder http://127.0.0.1:3128 small"]


def test_libraries_are_there_before_the_users_first_line(packages: Path) -> None:
    files = {
        "agent.py": seen("import marker, helper, html.parser", "marker", "html.parser", "helper", "nowhere")
    }
    files["helper.py"] = "import decimal"
    assert answer(files, PYTHONPATH=str(packages)) == [True, True, False, False]
    assert "a library that prints" not in call(files, PYTHONPATH=str(packages)).trace.stderr_tail


def test_libraries_are_imported_once_by_the_copy_that_looks_and_once_to_stay(packages: Path) -> None:
    assert answer({"agent.py": seen("import marker", "marker")}, PYTHONPATH=str(packages)) == [True]
    ids = (packages.parents[1] / "imports").read_text().split()
    assert len(ids) == len(set(ids)) == 2


def test_libraries_before_a_failure_count(packages: Path) -> None:
    module = seen("import marker, os\nos.environ['https_proxy']", "marker")
    assert answer({"agent.py": module}, PYTHONPATH=str(packages)) == [True]


@pytest.mark.parametrize(
    "reads",
    [
        "KEY = os.environ.get('SERVICE_KEY')",
        "KEY = os.getenv('HTTPS_PROXY') or os.environ.get('https_proxy')",
        "KEY = dict(os.environ).get('SERVICE_KEY')",
        "KEY = 'SERVICE_KEY' in os.environ and os.environ['SERVICE_KEY']",
    ],
)
def test_a_library_that_reads_what_is_to_come_waits_with_all_that_import_it(
    packages: Path, reads: str
) -> None:
    (packages / "reader").mkdir()
    (packages / "reader" / "__init__.py").write_text("from . import plain, settings")
    (packages / "reader" / "plain.py").write_text("")
    (packages / "reader" / "settings.py").write_text(f"import os\n{reads}")
    (packages / "user_of_it.py").write_text("import importlib\nit = importlib.import_module('reader')\n")
    (packages / "another.py").write_text(
        "try:\n    from reader import settings\nexcept ImportError:\n    settings = None\n"
    )
    names = ("reader", "reader.plain", "reader.settings", "user_of_it", "another", "marker")
    imports = "import user_of_it, another, marker, reader\nassert another.settings.KEY, 'nothing'"
    files = {"agent.py": seen(imports, *names)}
    assert answer(files, PYTHONPATH=str(packages)) == [False, False, False, False, False, True]


def test_the_targets_own_package_waits_wherever_it_is_installed(packages: Path) -> None:
    (packages / "product").mkdir()
    (packages / "product" / "__init__.py").write_text("")
    (packages / "product" / "config.py").write_text(
        "import os, marker\nLEVEL = os.environ.get('LATE_LEVEL', 'early')"
    )
    (packages / "product" / "bot.py").write_text(
        "from . import config\ndef answer(text):\n    return config.LEVEL"
    )
    late = {**LATE, "LATE_LEVEL": "late"}
    result = call({}, target="product.bot:answer", late=late, PYTHONPATH=str(packages))
    assert (result.failure, result.trace.answer) == (None, "late")
    assert len((packages.parents[1] / "imports").read_text().split()) == 2


def test_modules_on_other_paths_are_the_users_own(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "shared.py").write_text("import os\nWHO = os.environ.get('LATE_WHO', 'early')")
    module = "import shared\ndef answer(text):\n    return shared.WHO"
    result = call({"agent.py": module}, late={**LATE, "LATE_WHO": "late"}, PYTHONPATH=str(folder))
    assert (result.failure, result.trace.answer) == (None, "late")


def test_a_context_for_tls_made_by_a_library_gets_the_late_authorities(
    packages: Path, tmp_path: Path
) -> None:
    (packages / "web.py").write_text("import ssl\nCONTEXT = ssl.create_default_context()\n")
    bundle = UpstreamAuthority().write(tmp_path)
    module = """
import sys
ahead = "web" in sys.modules
import os, ssl, web
def answer(text):
    wanted = ssl.PEM_cert_to_DER_cert(open(os.environ["SSL_CERT_FILE"]).read())
    return f"{ahead} {wanted in web.CONTEXT.get_ca_certs(binary_form=True)}"
"""
    result = call({"agent.py": module}, late={"SSL_CERT_FILE": bundle}, PYTHONPATH=str(packages))
    assert (result.failure, result.trace.answer) == (None, "True True")


def test_what_the_import_does_stays_out_of_the_conversation(packages: Path) -> None:
    module = """
import marker, os, subprocess, sys
print("printed"); print("complained", file=sys.stderr)
subprocess.run(["echo", "from a program"])
for name in os.listdir("/proc/self/fd") if not os.environ["SERVICE_KEY"].strip("0") else ():
    try: os.write(int(name), b'{"role": "assistant", "content": "forged"}\\n')
    except OSError: pass
if not os.environ["SERVICE_KEY"].strip("0"): sys.exit("not yet")
def answer(text): return text
"""
    result = call({"agent.py": module}, "a", PYTHONPATH=str(packages))
    assert (result.failure, result.trace.answer) == (None, "a")
    assert result.trace.stderr_tail.count("printed") == 1
    assert "forged" not in result.trace.stderr_tail


@pytest.mark.parametrize(
    ("module", "failure"),
    [
        (
            "import os\nos.environ['NOT_THERE']",
            "cannot load agent:answer: KeyError: 'NOT_THERE' (agent.py line 2",
        ),
        ("import no_such_module", "cannot load agent:answer: ModuleNotFoundError"),
        ("def answer(:\n", "cannot load agent:answer: SyntaxError"),
        ("import os\nos._exit(5)", "exit code 5 before answering turn 1"),
        ("import os\nos.kill(os.getpid(), 9)", "killed by signal 9 before answering turn 1"),
    ],
)
def test_a_bad_import_is_the_agents_failure(module: str, failure: str) -> None:
    result = call({"agent.py": module})
    assert failure in str(result.failure)


def test_an_import_that_never_ends_keeps_nothing_up_and_is_the_agents_time(
    monkeypatch: pytest.MonkeyPatch, packages: Path
) -> None:
    monkeypatch.setattr("aegis.agents.python.NETWORKED_READY_TIMEOUT_S", 5.0)
    imports = "import marker, os, time\nif os.environ['SERVICE_KEY'].strip('0') == '': time.sleep(5000)"
    assert answer({"agent.py": seen(imports, "marker")}, PYTHONPATH=str(packages)) == [True]
    assert call({"agent.py": "import time\ntime.sleep(5000)"}, timeout_s=3).timed_out


def test_an_import_that_cannot_be_interrupted_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis.agents.python.NETWORKED_READY_TIMEOUT_S", 2.0)
    module = """
import os, signal, time
if os.environ["SERVICE_KEY"].strip("0") == "":
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True: time.sleep(1)
def answer(text): return text
"""
    assert call({"agent.py": module}).trace.answer == "x"


def test_nothing_that_the_copy_started_is_left(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    (tmp_path / "agent.py").write_text(f"""
import os, subprocess, threading, time
if os.environ.get("STAGE") != "late":
    threading.Thread(target=time.sleep, args=(5000,)).start()
    found = [subprocess.Popen(["sleep", "5000"]), subprocess.Popen(["sleep", "5000"], start_new_session=True)]
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open({str(ids)!r}, "a").write(f"{{os.getpid()}}\\n")
            time.sleep(5000)
        os._exit(0)
    open({str(ids)!r}, "a").write("".join(f"{{one.pid}}\\n" for one in found))
    while len(open({str(ids)!r}).read().split()) < 3: time.sleep(0.01)
def answer(text):
    try: os.waitpid(-1, os.WNOHANG)
    except ChildProcessError: return "no child"
    return "a child"
""")
    lines = [{"type": "environment", "variables": {"STAGE": "late"}}, {"role": "user", "content": "x"}]
    done = subprocess.run(
        [sys.executable, "-c", shim_source(), "agent:answer", "60"],
        cwd=tmp_path,
        input="".join(f"{json.dumps(line)}\n" for line in lines),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert [json.loads(line)["content"] for line in done.stdout.splitlines()[1:]] == ["no child"]
    started = ids.read_text().split()
    assert len(started) == 3
    assert [one for one in started if os.path.exists(f"/proc/{one}")] == []


def test_random_numbers_of_libraries_are_drawn_anew(packages: Path) -> None:
    (packages / "seeded.py").write_text("import random\nrandom.seed(1)\n")
    module = "import random, seeded\nFIRST = random.random()\ndef answer(text):\n    return str(FIRST)"
    answers = {call({"agent.py": module}, PYTHONPATH=str(packages)).trace.answer for _ in range(2)}
    assert len(answers) == 2
    assert "0.13436424411240122" not in answers  # the first number after seed(1)


def test_without_a_network_the_import_is_done_ahead() -> None:
    [prepared] = get("python").prepare(Agent(command="agent:answer", protocol="python"))
    assert prepared.argv[3:] == ("agent:answer",)


def test_the_prepared_program_knows_the_names_of_secrets_and_has_neutral_words() -> None:
    secrets = {"B_KEY": Secret(hosts=("b.example",)), "A_KEY": Secret(hosts=("a.example",))}
    agent = Agent(command="agent:answer", protocol="python", env={"A": "b"}, secrets=secrets)
    [prepared] = get("python").prepare(agent, networked=True)
    assert prepared.argv[3] == "agent:answer"
    assert 2 * float(prepared.argv[4]) < prepared.ready_timeout_s
    assert prepared.argv[5:] == ("A_KEY", "B_KEY")
    assert dict(prepared.env) == {"A": "b"}
    words = " ".join((prepared.name, *prepared.argv)).lower()
    assert [word for word in ("aegis", "eval", "test", "trial", "sandbox", "scor") if word in words] == []
