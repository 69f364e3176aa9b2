"""Random sequences of begin and finish against a model: each trial counts exactly once, whatever the
order."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aegis.results import Ledger
from aegis.results.records import OUTCOMES
from support.fuzzing import examples
from support.run_records import RUN_ID, run_record

PLAN = [("a", "baseline", 1), ("a", "baseline", 2), ("a", "stressed", 1), ("b", "baseline", 1)]

trial_strategy = st.sampled_from(PLAN)


@dataclass
class ModelTrial:
    outcomes: list[str | None] = field(default_factory=list)
    """Of each attempt, by epoch - 1."""
    final: int | None = None
    """Epoch of the attempt that counts."""
    token: int | None = None


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ledger = Ledger(self.folder)
        self.ledger.create_run(run_record(), PLAN)
        self.model = {trial: ModelTrial() for trial in PLAN}
        self.tokens = 0

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

    @rule(trial=trial_strategy)
    def begin(self, trial: tuple[str, str, int]) -> None:
        epoch = self.ledger.begin_attempt(RUN_ID, *trial)
        self.model[trial].outcomes.append(None)
        assert epoch == len(self.model[trial].outcomes)

    @rule(
        trial=trial_strategy,
        behind=st.integers(-1, 3),
        outcome=st.sampled_from(OUTCOMES),
        final=st.booleans(),
    )
    def finish(self, trial: tuple[str, str, int], behind: int, outcome: str, final: bool) -> None:
        """Report the attempt that is `behind` the newest one (-1: one that was never begun)."""
        model = self.model[trial]
        epoch = len(model.outcomes) - behind
        self.tokens += 1
        expected = behind == 0 and epoch > 0 and model.final is None and model.outcomes[-1] is None
        result: dict[str, Any] = {"token": self.tokens}
        accepted = self.ledger.finish_attempt(
            RUN_ID, *trial, epoch, outcome=outcome, result=result, final=final
        )
        assert accepted == expected
        if accepted:
            model.outcomes[-1] = outcome
            if final and outcome != "cancelled":
                model.final, model.token = epoch, self.tokens

    @precondition(lambda self: self.tokens % 5 == 4)
    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.folder)
        assert self.ledger.run(RUN_ID).status == "interrupted"
        self.ledger.claim_run(RUN_ID)

    @invariant()
    def same_as_the_model(self) -> None:
        trials = self.ledger.trials(RUN_ID)
        assert [(trial.case, trial.variant, trial.number) for trial in trials] == PLAN
        for trial in trials:
            model = self.model[trial.case, trial.variant, trial.number]
            assert trial.epoch == trial.attempts == len(model.outcomes)
            assert trial.outcome == (model.outcomes[model.final - 1] if model.final else None)
            assert trial.result == ({"token": model.token} if model.final else None)
        assert self.ledger.missing(RUN_ID) == [trial for trial in PLAN if self.model[trial].final is None]
        counts = self.ledger.counts(RUN_ID)
        finals = sum(model.final is not None for model in self.model.values())
        assert sum(counts[name] for name in OUTCOMES) == finals

    @invariant()
    def every_attempt_is_a_row(self) -> None:
        for trial, model in self.model.items():
            attempts = self.ledger.attempts(RUN_ID, *trial)
            assert [attempt.outcome for attempt in attempts] == model.outcomes
            assert [attempt.epoch for attempt in attempts if attempt.final] == (
                [model.final] if model.final else []
            )


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=examples(25), stateful_step_count=30)
