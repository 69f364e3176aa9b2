from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.gateway_server import World, world

# A busy machine is no failure.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made
