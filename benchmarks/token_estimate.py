"""How far `aegis.trace.tokens.estimate` is from a real tokenizer's count, by kind of text.

    pip install 'aegis-evals[tokens]'
    python benchmarks/token_estimate.py [--json] [--calibrate]

Half of the texts (benchmarks/token_corpora.py) are there to calibrate by, the other half is measured here: the error of
the whole kind, how far single texts are off, and what bytes / 4 would have said. The truth is `o200k_base`. With
`--calibrate` the constants are computed anew and printed as they stand in the module.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from token_corpora import KINDS, Texts, all_texts, split

from aegis.trace import tokens

ENCODING = "o200k_base"
FOREIGN = "other Latin"
"""The kinds of text whose words without accents are those of other languages."""


def exact(texts: Iterable[str]) -> list[int]:
    count = tokens.counter()
    if count is None:
        raise SystemExit("pip install 'aegis-evals[tokens]'")
    return count(list(texts), ENCODING)


def measure(texts: list[str]) -> dict[str, Any]:
    counts = exact(texts)
    started = time.perf_counter()
    estimates = [tokens.estimate(text) for text in texts]
    took_s = time.perf_counter() - started
    total = sum(counts)
    single = [estimate / count - 1 for estimate, count in zip(estimates, counts, strict=True) if count >= 20]
    size = sum(len(text.encode()) for text in texts)
    return {
        "texts": len(texts),
        "tokens": total,
        "error": sum(estimates) / total - 1,
        "median_single": statistics.median(map(abs, single)),
        "worst_single": max(single, key=abs),
        "bytes_error": size / 4 / total - 1,
        "mb_per_s": size / took_s / 1e6,
    }


Sums = dict[tuple[str, int], list[float]]
"""(kind of text, length of piece) → share of the text's tokens, pieces and tokens."""


def calibrate(corpora: dict[str, Texts]) -> dict[str, tokens.Cost]:
    """Least squares for each kind of piece. Every kind of text weighs the same, customers' messages twice as much."""
    sums: dict[str, Sums] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
    for kind_of_text, texts in corpora.items():
        some = split(texts)[0]
        pieces = sum((tokens.pieces_of(text) for text in some), start=tokens.pieces_of(""))
        counts = dict(zip(pieces, exact(pieces), strict=True))
        total = sum(counts[piece] * number for piece, number in pieces.items())
        weight = (2 if kind_of_text.endswith("customers' messages") else 1) / total
        # Where pieces are cut that the tokenizer leaves whole, they have more tokens together than the text.
        scale = sum(exact(some)) / total
        for piece, number in pieces.items():
            kind, length = tokens.kind_of(piece)
            if kind_of_text.startswith(FOREIGN) and kind.startswith(("word", "capitals")):
                kind = f"foreign {kind}"
            entry = sums[kind][kind_of_text, length]
            entry[0] += number * weight
            entry[1] += number * weight * counts[piece] * scale
    return {
        kind: fit([(length, *entry) for (_, length), entry in sums[kind].items()]) for kind in sorted(sums)
    }


def fit(rows: list[tuple[int, float, float]]) -> tokens.Cost:
    """The best line through (length, weight, weight × tokens) that begins to rise after some characters."""
    found = [_line(rows, free) for free in range(1, 9)]
    return min(found, key=lambda item: item[0])[1]


def _line(rows: list[tuple[int, float, float]], free: int) -> tuple[float, tokens.Cost]:
    points = [(max(0, length - free), weight, total / weight) for length, weight, total in rows]
    weight = sum(w for _, w, _ in points)
    mean_x = sum(x * w for x, w, _ in points) / weight
    mean_y = sum(y * w for _, w, y in points) / weight
    spread = sum(w * (x - mean_x) ** 2 for x, w, _ in points)
    slope = sum(w * (x - mean_x) * (y - mean_y) for x, w, y in points) / spread if spread else 0.0
    base = mean_y - slope * mean_x
    error = sum(w * (base + slope * x - y) ** 2 for x, w, y in points)
    return round(error, 9), tokens.Cost(round(base, 3), free if spread else 1, round(slope, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--calibrate", action="store_true", help="print new constants")
    options = parser.parse_args()
    corpora = {kind: texts for kind, texts in all_texts().items() if texts}
    if options.calibrate:
        for kind, cost in calibrate(corpora).items():
            written = f"{cost.base}, {cost.free}, {cost.slope}" if cost.slope else cost.base
            print(f'    "{kind}": Cost({written}),')
        return
    measured = {kind: measure(held_out) for kind, texts in corpora.items() if (held_out := split(texts)[1])}
    if options.json:
        print(json.dumps(measured, indent=2))
        return
    print(
        "| text | texts | tokens | error | bytes / 4 | single texts, median | worst |\n|---|---|---|---|---|---|---|"
    )
    for kind, row in measured.items():
        print(
            f"| {kind} | {row['texts']} | {row['tokens']:,} | {row['error']:+.0%} | {row['bytes_error']:+.0%} "
            f"| {row['median_single']:.0%} | {row['worst_single']:+.0%} |"
        )
    speed = statistics.median(row["mb_per_s"] for row in measured.values())
    print(
        f"\n{speed:.1f} MB/s (median of the kinds; the first {tokens.MAX_CHARS:,} characters of a text count)"
    )
    print("not installed here: " + (", ".join(set(KINDS) - set(measured)) or "nothing"))


if __name__ == "__main__":
    main()
