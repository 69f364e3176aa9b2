"""Time zones as files."""

from __future__ import annotations

import io
import zoneinfo

import pytest

from aegis.errors import SandboxError
from aegis.sandbox.zones import zone_data


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_a_zone_is_a_file_that_libraries_read(name: str) -> None:
    zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(zone_data(name)), key=name)
    assert zone.key == name


def test_a_host_without_zones_takes_them_from_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = zone_data("Europe/Berlin")
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    assert zone_data("Europe/Berlin")[:4] == expected[:4] == b"TZif"


@pytest.mark.parametrize("name", ["No/Such", "../../etc/passwd", "/etc/localtime", "", "Europe", "zone.tab"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(SandboxError, match="does not know the time zone"):
        zone_data(name)
