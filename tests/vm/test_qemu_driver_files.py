"""The rest of every driver's contract in real machines: what the guest program does alike on a plain host, where
the usual checks try it."""

from __future__ import annotations

import pytest

from support.conformance_changes import ChangesConformance
from support.conformance_exec import TerminalConformance
from support.conformance_files import GetConformance, PutConformance, TreeConformance
from support.conformance_life import TemplateConformance

pytestmark = [pytest.mark.vm, pytest.mark.slow]


class TestTerminal(TerminalConformance):
    pass


class TestPut(PutConformance):
    pass


class TestGet(GetConformance):
    pass


class TestTree(TreeConformance):
    pass


class TestTemplate(TemplateConformance):
    pass


class TestChanges(ChangesConformance):
    pass
