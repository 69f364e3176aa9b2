from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway_server import World, world


@pytest.fixture
def net(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made
