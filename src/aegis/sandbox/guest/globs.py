"""Patterns of absolute paths: `*` and `?` stand for characters of one name, `**` alone for any folders. Nothing else is
special, and names that begin with a dot are names like any other."""

from __future__ import annotations


def parts_of(pattern: str) -> tuple[str, ...]:
    """The names of a pattern. `**` twice in a row is `**`."""
    found: list[str] = []
    for part in pattern.split("/"):
        if part not in ("", ".") and not (part == "**" and found and found[-1] == "**"):
            found.append(part)
    return tuple(found)


def is_wild(part: str) -> bool:
    return "*" in part or "?" in part


def fits(part: str, name: str) -> bool:
    """Whether a part without `/` matches all of a name. Takes time in proportion to both lengths at most: names
    are chosen by the workload, and a regular expression could be made to try for ever."""
    at = after = begun = 0
    # The last star that was met: what follows it was last tried at `begun`, and only that is ever tried again.
    star = -1
    while at < len(name):
        if after < len(part) and part[after] == "*":
            star, begun = after, at
            after += 1
        elif after < len(part) and part[after] in ("?", name[at]):
            at += 1
            after += 1
        elif star >= 0:
            begun += 1
            at, after = begun, star + 1
        else:
            return False
    return part[after:].strip("*") == ""


def covers(pattern: str, path: str) -> bool:
    """Whether an absolute path is one that the pattern stands for, or lies in a folder that it stands for."""
    names = parts_of(path)
    reached = {0}
    """How many parts of the pattern may be used up."""
    parts = parts_of(pattern)
    for name in names:
        reached = _skipping(parts, reached)
        if len(parts) in reached:
            return True
        following = {at + 1 for at in reached if fits(parts[at], name)}
        reached = following | {at for at in reached if parts[at] == "**"}
        if not reached:
            return False
    return len(parts) in reached


def _skipping(parts: tuple[str, ...], reached: set[int]) -> set[int]:
    """`**` stands for no folder, too; at the end of a pattern it stands for something in the folder."""
    more = set(reached)
    for at in sorted(reached):
        while at < len(parts) - 1 and parts[at] == "**":
            at += 1
            more.add(at)
    return more
