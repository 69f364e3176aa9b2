"""Scorer `file`: one file of the sandbox, that it is there (or not) and what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.errors import GuestOperationError
from aegis.sandbox.base import MIB
from aegis.scoring import configs, matcher
from aegis.scoring.base import Score, ScoreContext
from aegis.scoring.configs import Problem, refuse
from aegis.scoring.words import failed, passed, why_unreadable
from aegis.suite.units import parse_size

MAX_FILE_BYTES = 8 * MIB
"""Bound of a file whose content is judged, unless `max_size` says otherwise."""

MAX_SIZE_BYTES = 64 * MIB

_KEYS = ("path", "exists", "max_size", *matcher.KEYS)


class FileScorer:
    name = "file"

    def check(self, config: Any) -> None:
        if isinstance(config, str):
            config = {"path": config}
        refuse(_problems(config))

    def files(self, config: Any) -> tuple[str, ...]:
        return ()

    async def score(self, config: Any, context: ScoreContext) -> Score:
        if isinstance(config, str):
            config = {"path": config}
        path, wanted = config["path"], config.get("exists", True)
        judged = matcher.has_conditions(config)
        size = parse_size(config["max_size"]) if "max_size" in config else None
        # One byte is enough to see that a file is there.
        limit = size if size is not None else MAX_FILE_BYTES if judged else 1
        try:
            content = await context.sandbox.get_file(path, max_bytes=limit)
        except GuestOperationError as error:
            return self._unreadable(path, error, limit, wanted, anything=not judged and size is None)
        if not wanted:
            return failed(self.name, f"expected {path} not to exist, but it does")
        if not judged:
            return passed(self.name, f"{path} exists")
        conditions = {key: value for key, value in config.items() if key in matcher.KEYS}
        judgement = await matcher.judge(conditions, content.decode("utf-8", "replace"), path)
        return Score(self.name, judgement.ok, float(judgement.ok), judgement.reason)

    def _unreadable(
        self, path: str, error: GuestOperationError, limit: int, wanted: bool, *, anything: bool
    ) -> Score:
        reason = why_unreadable(path, error, limit)
        if not wanted:
            gone = error.code == "not-found"
            return (
                passed(self.name, reason)
                if gone
                else failed(self.name, f"expected {path} not to exist: {reason}")
            )
        if error.code == "too-large" and anything:
            return passed(self.name, f"{path} exists")
        return failed(self.name, reason)


def _problems(config: Any) -> Iterator[Problem]:
    yield from configs.keys(config, _KEYS, required=("path",))
    if not isinstance(config, Mapping):
        return
    yield from configs.text(config, "path")
    yield from configs.flag(config, "exists")
    yield from configs.size(config, "max_size", most=MAX_SIZE_BYTES)
    yield from matcher.condition_problems(config)
    more = [key for key in (*matcher.CONDITIONS, "max_size") if key in config]
    if config.get("exists") is False and more:
        yield (more[0],), f"a file that must not exist can't have {more[0]!r}"


scorer = FileScorer()
