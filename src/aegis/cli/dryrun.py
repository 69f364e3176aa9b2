"""What `aegis eval run --dry-run` prints."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from aegis._eval.images import image_digest
from aegis.faults.plan.match import describe as describe_match
from aegis.faults.plan.when import describe as describe_when
from aegis.report.text import counted, one_line
from aegis.sandbox.base import MIB
from aegis.suite.clockkeys import clock_document

if TYPE_CHECKING:
    from aegis.engine.spec import PlannedTrial
    from aegis.eval import Plan
    from aegis.suite import Case, Suite

MAX_ORDER = 12
"""Trials whose place in the order is shown."""


def describe(plan: Plan, *, isolation: str) -> Iterator[str]:
    """Lines: the suite, each case with its trials, the order, and what would be built."""
    suite = plan.source.suite
    counts = Counter(trial.case for trial in plan.trials)
    number = f"{counted(len(plan.trials), 'trial')} of {counted(len(counts), 'case')}"
    yield f"suite {suite.suite}: {number}, seed {plan.seed}"
    what = "one virtual machine for each trial" if isolation == "vm" else "NONE, plain processes"
    yield f"isolation: {what}"
    yield ""
    yield "cases:"
    for case in suite.cases:
        if case.id in counts:
            timeout_s = plan.prepared.timeout_s or case.timeout or suite.timeout
            yield f"  {one_line(case.id)}: {counts[case.id]} × at most {timeout_s:g} s of the agent's time"
            yield from _variants(plan, case)
            yield from _clock(case, isolation)
            yield from _users(case)
            yield from _weather(case)
    yield ""
    yield f"order: {_order(plan.trials)}"
    yield ""
    yield from _template(plan, isolation)
    yield ""
    yield from _network(plan.source.suite, os.environ)


def _variants(plan: Plan, case: Case) -> Iterator[str]:
    """Those of the case, with the time that each adds to a trial's."""
    found = plan.variants(case)
    told = [f"{name} (+{more_s:g} s)" if more_s else name for name, more_s in found.items()]
    if told:
        yield "    " + one_line(f"variants: {', '.join(told)}")


def _clock(case: Case, isolation: str) -> Iterator[str]:
    if case.world.clock is not None:
        shown = clock_document(case.world.clock)
        lacking = "" if isolation == "vm" else ", which NEEDS MACHINES: the run would not start"
        yield f"    clock: {shown.get('at', 'the real time')}, zone {shown.get('zone', 'UTC')}{lacking}"


def _order(trials: Sequence[PlannedTrial]) -> str:
    shown = one_line(", ".join(map(str, trials[:MAX_ORDER])))
    more = len(trials) - MAX_ORDER
    return shown if more <= 0 else f"{shown} … and {more:,} more (all of them: aegis.eval.plan in Python)"


def _users(case: Case) -> Iterator[str]:
    for turn in case.turns:
        if (user := turn.simulate) is None:
            continue
        if user.model is None:
            player = f"a script of {counted(len(user.script), 'rule')}"
        else:
            most = f"{user.budget.tokens:,} tokens" + (f", ${user.budget.usd:g}" if user.budget.usd else "")
            player = f"the model {user.model} (at most {most} a trial)"
        yield "    " + one_line(f"simulated user: up to {counted(user.turns, 'message')}, by {player}")


def _weather(case: Case) -> Iterator[str]:
    for rule in case.faults:
        where, when = describe_match(rule.match), describe_when(rule)
        yield "    " + one_line(f"fault {rule.id}: {rule.inject} on {where}, {when}")


def _template(plan: Plan, isolation: str) -> Iterator[str]:
    recipe = plan.prepared.recipe
    yield "template, made once for all trials:" if isolation == "vm" else "made again for each trial:"
    if isolation == "vm":
        image = plan.source.suite.sandbox.image
        state = (
            "in the cache"
            if image_digest(image, plan.source.project.root)
            else "not in the cache, built first"
        )
        machine = f"{recipe.memory_bytes // MIB} MiB, {counted(recipe.cpus, 'processor')}"
        yield f"  image {one_line(image)} ({state}), {machine}"
    yield f"  {counted(plan.files_bytes, 'byte')} of files (sandbox.files)"
    for step in recipe.setup:
        yield f"  set-up step: {one_line(step)}"
    for process in recipe.prepared:
        yield f"  prepared process: {one_line(' '.join(process.argv))}"


def _network(suite: Suite, environ: Mapping[str, str]) -> Iterator[str]:
    """What would be reached from this environment; of secrets only whether they have a value."""
    network, secrets = suite.network, suite.agent.secrets
    if not (network.allow or network.routes):
        yield "network: nothing may be reached"
        return
    yield "network:"
    for host in network.allow:
        yield f"  may reach {one_line(host)}"
    for name, route in network.routes.items():
        if route.unless is not None and environ.get(route.unless):
            yield f"  may reach {one_line(name)} itself, since {route.unless} has a value"
        elif route.upstream is None:
            yield f"  may reach {one_line(name)} at {one_line(route.to or '')}"
        else:
            upstream = network.upstreams[route.upstream]
            shared = "one process for the run" if upstream.scope == "run" else "a process for each trial"
            yield f"  may reach {one_line(name)} at {one_line(upstream.command)} ({shared})"
    for name, secret in secrets.items():
        lacking = (
            "no value here, which is allowed" if secret.optional else "NO VALUE here: the run would not start"
        )
        state = "has a value here" if environ.get(name) else f"has {lacking}"
        yield f"  secret {name} for {one_line(', '.join(secret.hosts))}: {state}"
