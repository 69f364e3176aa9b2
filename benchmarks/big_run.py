"""Large runs to measure with, as snapshots: what agents that are language models do, as far as size and speed go.

Each case has an order of its own, which stands in arguments, paths and answers. A fifth of the trials goes another way
(a tool more, two swapped); a third of the cases has a tool with a note in the agent's own words. No two answers are the
same: about 200 characters, half of it what every trial of that case says, in sentences of words that follow one another
as they do in docs/*.md.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

from aegis.regression.drift.behaviour import Behaviour, Request, ToolUse
from aegis.regression.snapshot import Facts, Snapshot
from aegis.regression.trials import CaseKey, Trials, from_outcomes

DOCS = Path(__file__).parents[1] / "docs"
ANSWER_CHARS = 200
TOOLS = tuple(
    f"{verb}_{noun}"
    for verb in ("get", "list", "update", "create", "cancel")
    for noun in ("order", "customer", "refund", "ticket", "shipment", "invoice")
)


class Words:
    """Texts in which each word follows the one before it somewhere in the documentation."""

    def __init__(self) -> None:
        self._next: defaultdict[str, list[str]] = defaultdict(list)
        for page in sorted(DOCS.glob("*.md")):
            words = re.findall(r"[A-Za-z][a-z'-]*[,.]?", page.read_text())
            for word, following in pairwise(words):
                self._next[word].append(following)
        self._begin = [word for word in self._next if word[0].isupper()]

    def text(self, random: Random, words: int) -> str:
        said = [random.choice(self._begin)]
        while len(said) < words:
            following = self._next.get(said[-1])
            said.append(random.choice(following or self._begin))
        return " ".join(said)


class Case:
    """What its trials have in common; the same in every run."""

    def __init__(self, number: int, words: Words) -> None:
        random = Random(number)
        self.order = f"A-{random.randrange(10**6):06}"
        self.usual = tuple(random.sample(TOOLS, random.randint(2, 5)))
        self.with_note = random.random() < 1 / 3
        self.phrases = [words.text(random, 5) for _ in range(10)]
        self.rate = 1.0 if (rate := random.random()) < 0.5 else 2 * (rate - 0.5)
        self.tokens = random.randrange(800, 20_000)
        self.content = f"{random.getrandbits(256):064x}"

    def behaviour(self, random: Random, words: Words) -> Behaviour:
        names = list(self.usual)
        if random.random() < 0.2:
            random.shuffle(names)
        if random.random() < 0.1:
            names.append(random.choice(TOOLS))
        calls = [
            ToolUse(name, {"order_id": self.order, "limit": 20}, name[:3] not in ("get", "lis"))
            for name in names
        ]
        if self.with_note:
            calls.append(ToolUse("add_note", {"order_id": self.order, "note": words.text(random, 8)}, True))
        requests = [Request("api.openai.com", "POST", "/v1/chat/completions", to_model=True)]
        for call in calls:
            noun = call.name.split("_")[1]
            requests.append(
                Request("crm.example", "POST" if call.writes else "GET", f"/{noun}s/{self.order}")
            )
            requests.append(requests[0])
        tokens = int(self.tokens * random.uniform(0.9, 1.1))
        return Behaviour(
            tuple(calls),
            tuple(requests),
            self.answer(random, words),
            tokens=tokens,
            cost_usd=tokens * 2.5e-6 * random.uniform(1, 1.2),
            latency_s=random.lognormvariate(1, 0.3),
            rules={"backoff": True},
        )

    def answer(self, random: Random, words: Words) -> str:
        parts = [f"Order {self.order}:"]
        for phrase in random.sample(self.phrases, len(self.phrases)):
            parts.append(phrase if random.random() < 0.5 else words.text(random, 5))
            if len(text := " ".join(parts)) >= ANSWER_CHARS:
                break
        return text


def snapshot(seed: int, cases: int, trials: int, words: Words, prototypes: Sequence[Case]) -> Snapshot:
    """A run of `prototypes`; another one for another `seed`."""
    random = Random(seed)
    counts: dict[CaseKey, Trials] = {}
    behaviours: dict[CaseKey, tuple[Behaviour, ...]] = {}
    for number, case in enumerate(prototypes[:cases]):
        key = CaseKey(f"case-{number:05}")
        found = [
            "error" if random.random() < 0.01 else "passed" if random.random() < case.rate else "failed"
            for _ in range(trials)
        ]
        counts[key] = from_outcomes(found, content=case.content)
        if judged := counts[key].judged:
            behaviours[key] = tuple(case.behaviour(random, words) for _ in range(judged))
    facts = Facts(
        f"20261123-1015{seed:02}-ab12",
        "big",
        "f" * 64,
        "qemu",
        commit=f"{seed:040x}",
        branch="main",
        passed=sum(item.passed for item in counts.values()),
        planned=cases * trials,
    )
    return Snapshot(facts, counts, behaviours)


def runs(how_many: int, cases: int, trials: int) -> list[Snapshot]:
    words = Words()
    prototypes = [Case(number, words) for number in range(cases)]
    return [snapshot(seed, cases, trials, words, prototypes) for seed in range(1, how_many + 1)]
