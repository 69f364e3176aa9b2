"""What an agent changed, as text."""

from __future__ import annotations

import io
from typing import Any

import pytest

from aegis.report import junit
from aegis.report.changedlines import MAX_LINES, changed_lines
from aegis.report.terminal import print_table
from aegis.report.trialdiff import MAX_DIFF_LINES, MAX_LISTED, heading, render, summary
from aegis.results import document as documents
from support.run_records import RUN_ID, run_record, trial_record


def item(
    path: str, how: str = "changed", before: str | None = None, after: str | None = None, **other: Any
) -> Any:
    sizes = [None if text is None else len(text.encode(errors="replace")) for text in (before, after)]
    modes = [None if how == "added" else 0o644, None if how == "deleted" else 0o644]
    return {
        "path": path,
        "how": how,
        "kind": "file",
        "bytes": sizes,
        "mode": modes,
        "text": [before, after],
        "binary": False,
    } | other


def added(path: str, text: str = "x\n") -> Any:
    return item(path, "added", None, text)


def lines(*items: Any, unfold: bool = False, diffs: bool = True, whole: bool = False) -> list[str]:
    return [text for text, _ in render(items, unfold=unfold, diffs=diffs, whole=whole)]


def counts(**other: Any) -> dict[str, Any]:
    return {"added": 0, "changed": 0, "deleted": 0, "more": 0, "first": [], "note": "", "blob": None} | other


def test_a_summary_and_what_differs() -> None:
    assert lines(
        item("/workspace/a", "changed", "one\ntwo\nthree\n", "one\n2\nthree\n"),
        item("/workspace/gone", "deleted", "bye\n", None),
        added("/workspace/new", "no end"),
    ) == [
        "  ~ /workspace/a     14 bytes → 12 bytes",
        "  - /workspace/gone  4 bytes",
        "  + /workspace/new   6 bytes",
        "",
        "--- a/workspace/a",
        "+++ b/workspace/a",
        "@@ -1,3 +1,3 @@",
        " one",
        "-two",
        "+2",
        " three",
        "",
        "--- a/workspace/gone",
        "+++ /dev/null",
        "@@ -1 +0,0 @@",
        "-bye",
        "",
        "--- /dev/null",
        "+++ b/workspace/new",
        "@@ -0,0 +1 @@",
        "+no end",
        "\\ No newline at end of file",
    ]


def test_what_is_no_text_is_told_in_a_line() -> None:
    assert lines(
        item("/bin/tool", "changed", bytes=[5, 5], mode=[0o644, 0o755]),
        item("/data.bin", "changed", bytes=[2048, 3 << 20], binary=True),
        item("/link", "changed", "a", "b", kind="link", bytes=[None, None]),
        item("/pipe", "added", kind="other", bytes=[None, None]),
        item("/empty", "added", kind="folder", bytes=[None, None]),
    ) == [
        "  ~ /bin/tool  5 bytes, mode 644 → 755",
        "  ~ /data.bin  2.0 KiB → 3.0 MiB, binary",
        "  + /empty/",
        "  ~ /link      link",
        "  + /pipe      no regular file",
        "",
        "--- a/link",
        "+++ b/link",
        "@@ -1 +1 @@",
        "-a",
        "\\ No newline at end of file",
        "+b",
        "\\ No newline at end of file",
    ]


def test_many_changes_below_a_folder_are_one_line() -> None:
    data = [item(f"/srv/db/data/base/{i}", "changed", bytes=[8192, 8192], binary=True) for i in range(14)]
    data += [item(f"/srv/db/data/wal/{i}", "added", bytes=[None, 1024]) for i in range(2)]
    mine = [added("/workspace/a", "mine\n"), added("/srv/db/log", "l\n")]
    assert lines(*data, *mine, diffs=False) == [
        "  ~ /srv/db/data/base/  14 files, 112.0 KiB",
        "  + /srv/db/data/wal/0  1.0 KiB",
        "  + /srv/db/data/wal/1  1.0 KiB",
        "  + /srv/db/log         2 bytes",
        "  + /workspace/a        5 bytes",
    ]
    assert len(lines(*data, *mine, diffs=False, unfold=True)) == 18
    spread = [item(f"/srv/d/{i}/{j}", "changed", bytes=[1, 1]) for i in range(5) for j in range(3)]
    spread[0] = item("/srv/d/0/0", "deleted", bytes=[1, None])
    assert lines(*spread, diffs=False) == ["  ~ /srv/d/  15 files (14 changed, 1 deleted), 14 bytes"]
    folded = lines(*data, *mine)
    assert "+++ b/workspace/a" in folded
    assert not any("+++ b/srv/db/data" in line for line in folded)


def test_the_workspace_itself_is_never_folded_but_ends_somewhere() -> None:
    shown = lines(*(added(f"/workspace/{i:03}") for i in range(MAX_LISTED + 5)), diffs=False)
    assert shown[0] == "  + /workspace/000  2 bytes"
    assert shown[-1] == "  … 5 more (--all shows them)"
    assert len(shown) == MAX_LISTED + 1


def test_a_long_difference_ends_and_says_how_to_go_on() -> None:
    text = "".join(f"{i}\n" for i in range(MAX_DIFF_LINES * 2))
    cut = lines(added("/workspace/a", text))
    assert cut[-1] == f"… {MAX_DIFF_LINES + 3} more lines (--path '/workspace/a' shows them)"
    assert lines(added("/workspace/a", text), whole=True)[-1] == f"+{MAX_DIFF_LINES * 2 - 1}"


def test_texts_that_would_take_for_ever_to_compare_are_not() -> None:
    before = "".join(f"{i % 7}\n" for i in range(30_000))
    after = "".join(f"{i % 5}\n" for i in range(30_000))
    shown = lines(item("/a", "changed", before, after), whole=True)
    assert shown[4] == "@@ -6,29990 +6,29990 @@"
    assert shown.count("-6") == before.count("6\n")


def test_a_small_change_of_a_long_text_shows_where_it_is() -> None:
    before = [f"line {i}\n" for i in range(5000)]
    after = [*before[:2999], "other\n", *before[3000:]]
    assert lines(item("/a", "changed", "".join(before), "".join(after)))[4:] == [
        "@@ -2997,7 +2997,7 @@",
        " line 2996",
        " line 2997",
        " line 2998",
        "-line 2999",
        "+other",
        " line 3000",
        " line 3001",
        " line 3002",
    ]


def test_agents_cannot_speak_to_the_terminal() -> None:
    evil = "\x1b]0;title\x07\u202e\udcff\r"
    shown = lines(
        added(f"/workspace/{evil}\n", f"a\tb{evil}\n"),
        item(f"/{evil}", "changed", evil, evil * 2),
        *(added(f"/{evil}d/{i}") for i in range(20)),
    )
    assert all(line.replace("\t", "").isprintable() for line in shown), shown
    assert any("a\tb\\x1b]0;title" in line for line in shown)
    told = summary(counts(added=1, first=[f"+{evil}"])) + heading(counts(note=evil))
    assert told.isprintable()


def test_names_deeper_than_any_stack() -> None:
    deep = "/workspace" + "/d" * 1900
    assert len(lines(*(added(f"{deep}/{i}") for i in range(20)), diffs=False)) == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (counts(), "nothing was changed"),
        (counts(note="could not be told"), "could not be told"),
        (counts(added=1), "1 file: 1 added"),
        (
            counts(added=1500, deleted=500, more=2000),
            "2,000 files: 1,500 added, 500 deleted, and 2,000 more that were not kept",
        ),
    ],
)
def test_the_heading(changes: dict[str, Any], line: str) -> None:
    assert heading(changes) == line


def run(*changes: dict[str, Any] | None, outcome: str = "failed") -> dict[str, Any]:
    trials = []
    for number, each in enumerate(changes, 1):
        record = trial_record(number=number, outcome=outcome, reason="answer: wrong")
        assert record.result is not None
        record.result["changes"] = each
        trials.append(record)
    return documents.build(run_record(), trials)


THREE = counts(
    added=1, changed=1, deleted=1, first=["+outbox/1.json", "~orders.json", "-notes.txt"], blob="b" * 64
)
LINE = "changed: 3 files (+outbox/1.json, ~orders.json, -notes.txt)"


def test_a_failed_trial_tells_what_it_changed_below_the_table_and_in_junit() -> None:
    document = run(THREE, None, counts())
    documents.validate(document)
    out = io.StringIO()
    print_table(document, file=out)
    assert f"refund/1 {LINE}\nall of it: aegis trial diff {RUN_ID}/refund/1\n" in out.getvalue()
    assert "refund/2" not in out.getvalue()
    assert LINE in junit.render(document).decode()


def test_passed_trials_and_older_documents_tell_nothing() -> None:
    assert list(changed_lines(run(THREE, outcome="passed"))) == []
    old = run(THREE)
    del old["trials"][0]["changes"]
    assert list(changed_lines(old)) == []
    assert "changed:" not in junit.render(old).decode()


def test_only_the_first_failed_trials_are_told() -> None:
    told = list(changed_lines(run(*[THREE] * (MAX_LINES + 3))))
    assert len(told) == MAX_LINES + 1
    assert told[-1] == f"… and 3 more trials; all of it: aegis trial diff {RUN_ID}/refund/1"


def test_a_long_list_of_names_ends() -> None:
    many = counts(added=9, more=91, first=[f"+{i}" for i in range(5)])
    assert summary(many) == "100 files (+0, +1, +2, 97 more)"
