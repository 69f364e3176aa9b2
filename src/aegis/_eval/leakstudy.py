"""The experiments of a leak audit: which cases depend on others, on whom, and by what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from aegis._eval.leakbench import Bench, Leftovers
from aegis.audit import carriers, compare, search
from aegis.audit.carriers import Carrier
from aegis.audit.findings import Experiment, Finding
from aegis.audit.model import Mode, Seen, Tally, Trial, by_case, tally
from aegis.audit.model import Sequence as Ran
from aegis.engine.shrink import smallest
from aegis.report.text import listed

Say = Callable[[str], None]
CARRIER_PROBES = 6
"""Of a case's share of the probes, kept for what carried it."""


async def study(
    bench: Bench,
    mode: Mode,
    fresh: Sequence[Seen],
    sequences: Sequence[Ran],
    *,
    max_probes: int,
    with_reset: bool,
    say: Say,
) -> tuple[Finding, ...]:
    """Look into every case that ended otherwise in a sequence than alone. At most `max_probes` machines are started for
    it, in equal shares, besides trials alone. `with_reset`: also whether reset steps would have helped."""
    names = compare.candidates(fresh, sequences)
    if not names:
        return ()
    values = compare.case_values(fresh, compare.pooled(sequences))
    alone = by_case(fresh)
    suspicions = {name: search.suspicion(name, tally(alone[name]).majority, sequences) for name in names}
    repeats = compare.repeats(len(names))
    say(
        f"{len(names)} of {len(alone)} cases ended otherwise than alone: looking for who ran before them "
        f"(at most {max_probes} probes)"
    )
    victims = [each.victim for each in suspicions.values() if each is not None]
    again = [victim for victim in victims for _ in range(repeats.alone)]
    if again:
        say(f"{len(again)} more trials in fresh machines, to tell a leak from chance")
    more = by_case(await bench.fresh(again))
    share = max_probes // len(names)

    async def one(name: str) -> Finding:
        suspicion = suspicions[name]
        start = Finding(
            name,
            usual=tally(alone[name]).majority,
            dependent=values[name] <= compare.LEVEL / 2,
            value=values[name],
            why="" if values[name] <= compare.LEVEL / 2 else "chance",
        )
        if suspicion is None:
            return start
        work = _Case(
            bench, mode, start, suspicion, tally(more.get(name, ())), repeats, len(names), share, say
        )
        found = await work.run(with_reset=with_reset)
        say(told(found))
        return found

    tasks = [asyncio.create_task(one(name)) for name in names]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def told(finding: Finding) -> str:
    """One line of progress."""
    if not finding.dependent:
        return f"{finding.case}: not shown to depend on others ({finding.why})"
    by = " + ".join(trial.case for trial in finding.culprits) or "nobody that could be found"
    return f"{finding.case}: {finding.effect} by {by} ({finding.probes} probes)"


class _Case:
    """One case that differed."""

    def __init__(
        self,
        bench: Bench,
        mode: Mode,
        start: Finding,
        suspicion: search.Suspicion,
        alone: Tally,
        repeats: compare.Repeats,
        experiments: int,
        share: int,
        say: Say,
    ) -> None:
        self._bench = bench
        self._mode = mode
        self._start = start
        self._suspicion = suspicion
        self._alone = alone
        self._repeats = repeats
        self._experiments = experiments
        self._share = share
        self._say = say
        self._used = 0

    async def run(self, *, with_reset: bool) -> Finding:
        start, victim = self._start, self._suspicion.victim
        if self._share < self._repeats.after + 2:
            return replace(start, victim=victim, why=start.why and "budget")
        budget = max(2, self._share - self._repeats.after - CARRIER_PROBES)
        culprits = await search.find_culprits(self._suspicion, self._flips, budget=budget)
        finding = replace(start, victim=victim, culprits=culprits.trials, minimal=culprits.minimal)
        if culprits.trials:
            finding = await self._confirm(finding)
        if finding.dependent and finding.culprits:
            finding = await self._carriers(finding)
            if with_reset and self._left:
                again = await self._after("reset", finding.culprits)
                finding = replace(finding, cleaned=again.passed == finding.usual if again.judged else None)
        return replace(finding, probes=self._used)

    @property
    def _left(self) -> int:
        return self._share - self._used

    async def _after(self, mode: Mode, before: tuple[Trial, ...]) -> Seen:
        self._used += 1
        seen = await self._bench.after(mode, before, self._suspicion.victim)
        names = listed([trial.case for trial in before])
        reset = ", reset" if mode == "reset" else ""
        self._say(f"probe: {self._suspicion.victim} {seen.outcome} after {names}{reset}")
        return seen

    async def _flips(self, before: tuple[Trial, ...]) -> bool:
        seen = await self._after(self._mode, before)
        return seen.judged and seen.passed != self._start.usual

    async def _confirm(self, finding: Finding) -> Finding:
        runs = [self._after(self._mode, finding.culprits) for _ in range(self._repeats.after)]
        after = tally(await asyncio.gather(*runs))
        sure, value = compare.confirmed(finding.usual, self._alone, after, self._experiments)
        experiment = Experiment(self._alone, after, value, compare.LEVEL / 2 / self._experiments)
        if sure:
            return replace(finding, experiment=experiment, dependent=True, why="")
        why = finding.why
        if why and (self._alone.errors or after.errors):
            why = "errors"
        elif why and self._repeats.least > experiment.level:
            why = "budget"
        return replace(finding, experiment=experiment, why=why)

    async def _carriers(self, finding: Finding) -> Finding:
        """What the culprits left, and which part of it, undone, gives the victim its usual result back."""
        if not self._left:
            return replace(
                finding, carriers_note="the probes were used up before what carried it was looked for"
            )
        first = await self._leftovers(finding, ())
        if first.note:
            return replace(finding, carriers_note=first.note)
        finding = replace(finding, carriers=first.carriers)
        able = tuple(carrier for carrier in first.carriers if carriers.can_undo(carrier))

        async def restores(undo: tuple[Carrier, ...]) -> bool:
            found = await self._leftovers(finding, undo)
            return found.undone and found.victim.judged and found.victim.passed == finding.usual

        if not able:
            return replace(finding, carriers_note="nothing that was left could be undone")
        if not self._left:
            return replace(finding, carriers_note="not confirmed: the probes were used up")
        if not await restores(able):
            most = "all of it" if len(able) == len(first.carriers) else "what of it can be undone"
            note = f"undoing {most} did not give the usual result back: something else carried it"
            return replace(finding, carriers_note=note)
        guilty = await smallest(able, restores, budget=max(0, self._left - 1))
        return replace(
            finding,
            carriers=carriers.mark_confirmed(first.carriers, guilty.kept),
            carriers_note="" if guilty.minimal else "the probes were used up: some of these may be innocent",
        )

    async def _leftovers(self, finding: Finding, undo: tuple[Carrier, ...]) -> Leftovers:
        self._used += 1
        found = await self._bench.leftovers(self._mode, finding.culprits, self._suspicion.victim, undo)
        without = f" without {listed([carrier.name for carrier in undo])}" if undo else ""
        names = listed([trial.case for trial in finding.culprits])
        self._say(f"probe: {self._suspicion.victim} {found.victim.outcome} after {names}{without}")
        return found
