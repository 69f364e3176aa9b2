cut -d' ' -f1 /proc/uptime
python3 -m aegis doctor
cut -d' ' -f1 /proc/uptime
cd /srv/checkout
cat > /tmp/test_x.py <<'X'
import pytest
from collections.abc import Iterator
from pathlib import Path
from aegis.sandbox.select import open_driver
from support.conformance_exec import *
from support.sandbox_bench import Bench, open_bench
@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with open_bench(lambda: open_driver("vm", base_dir=Path("/tmp"), jobs=1, require_kvm=True)) as opened:
        yield opened
class TestExec(ExecConformance): pass
class TestTerminal(TerminalConformance): pass
class TestEnding(EndingConformance): pass
class TestAttach(AttachConformance): pass
class TestRun(RunConformance): pass
X
python3 -m pytest -x -p no:cacheprovider --durations=0 -v --timeout=300 /tmp/test_x.py
cut -d' ' -f1 /proc/uptime
python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
