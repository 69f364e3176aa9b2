"""Where Debian packages come from, on hosts that have none of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.errors import HostNeedsError
from aegis.sandbox.images.apt import SOURCES_VARIABLE, Apt
from aegis.sandbox.images.tools import Log


def test_a_sources_file_replaces_the_hosts_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "other.list"
    sources.write_text("# nothing\n")
    monkeypatch.setenv(SOURCES_VARIABLE, str(sources))
    apt = Apt(tmp_path / "cache", Log.start(tmp_path, "apt"))
    with pytest.raises(HostNeedsError, match="no Debian repository") as caught:
        apt.repositories()
    assert SOURCES_VARIABLE in (caught.value.fix or "")
