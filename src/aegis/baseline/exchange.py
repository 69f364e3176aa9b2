"""Results from and to a remote: fetched, united, pushed.

`refs/aegis/remotes/DIGEST` is the remote's state that was last united with ours (DIGEST: of its address). It tells
what somebody removed there from what we added here. Both refs move in one step: a state that is noted as united, and is
not, would look as if we had removed everything that is in it.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aegis.baseline import tree
from aegis.baseline.git import (
    CREDENTIALS,
    Deadline,
    Git,
    NoRemoteError,
    RefMovedError,
    RejectedError,
    RemoteError,
)
from aegis.baseline.store import REF, Store
from aegis.baseline.tree import Entries
from aegis.errors import UsageError

TOTAL_S = 300.0
_TRIES = 40
_LOCKED_TRIES = 8
"""How often a remote may say no without anything having changed there, which is what a lock looks like."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Synced:
    added: tuple[str, ...]
    """Runs that are new here."""
    removed: tuple[str, ...]
    """Runs that are no longer here."""
    sent: tuple[str, ...] = ()
    """Runs that are new at the remote."""
    pushed: bool = False
    """Whether the remote has changed."""
    entries: Entries = field(default_factory=Entries)
    """What is here now."""


def default_remote(git: Git, named: str | None = None) -> str | None:
    """The remote that was named, else `origin`, else the only one; None when there is none. Raises `UsageError`."""
    if named is not None:
        if named.startswith("-") or not named.isprintable() or not named:
            raise NoRemoteError(f"{named!r} is no remote", fix="git remote -v lists them")
        return named
    remotes = git.remotes()
    if not remotes or "origin" in remotes:
        return "origin" if remotes else None
    if len(remotes) > 1:
        raise UsageError(
            f"there are several remotes: {', '.join(remotes)}", fix=f"name one: --remote {remotes[0]}"
        )
    return remotes[0]


def tracking_ref(git: Git, remote: str) -> str:
    """Where the remote's last known state stands. By its address and not by its name: a remote that leads elsewhere
    than before has removed nothing."""
    return f"refs/aegis/remotes/{hashlib.sha256(git.url(remote).encode()).hexdigest()[:20]}"


class Exchange:
    def __init__(
        self, store: Store, remote: str, *, say: Say = lambda _: None, total_s: float = TOTAL_S
    ) -> None:
        """`total_s` bounds each call of a method, with all its tries. `say` gets a line of progress now and then."""
        self._store = store
        self._git = store.git
        self._remote = remote
        self._shown = CREDENTIALS.sub("", remote)
        self._say = say
        self._total_s = total_s
        self._tracking = tracking_ref(self._git, remote)

    def pull(self) -> Synced:
        """Fetch, and unite with what is here."""
        return self._sync(None, fresh=False, push=False)

    def push(self) -> Synced:
        """Unite, and make the remote have the same. Loses nothing, whoever pushes at the same time: raises
        `RejectedError` or `RemoteError` when it could not be done in time, and what is here stays."""
        return self._sync(None, fresh=False, push=True)

    def prune(self, keep: Callable[[Entries], Entries]) -> Synced:
        """Unite, leave out what `keep` leaves out, and push that as the beginning of a new chain, so that the space can
        be freed."""
        return self._sync(keep, fresh=True, push=True)

    def united(self) -> Entries:
        """What `pull` would make of the results here; changes nothing."""
        theirs = self._fetch(Deadline(self._total_s))
        return self._unite(self._git.ref(REF), self._git.ref(self._tracking), theirs)[2]

    def _sync(self, keep: Callable[[Entries], Entries] | None, *, fresh: bool, push: bool) -> Synced:
        deadline, before = Deadline(self._total_s), self._store.entries()
        refused, pause_s, rewrite = 0, _FIRST_PAUSE_S, False
        for number in range(1, _TRIES + 1):
            theirs = self._fetch(deadline)
            local, base = self._git.ref(REF), self._git.ref(self._tracking)
            ours, their_entries, united = self._unite(local, base, theirs)
            wanted = united if keep is None else keep(united)
            rewrite = fresh and (rewrite or wanted != united)
            commit = self._commit(wanted, local, ours, theirs, their_entries, fresh=rewrite)
            try:
                self._note(commit, local, base, theirs)
                if not push or commit is None or commit == theirs:
                    return _synced(before, their_entries, wanted, pushed=False)
                self._say(f"pushing results to {self._shown}")
                self._git.push(self._remote, commit, REF, theirs, max(1.0, deadline.left_s))
            except (RefMovedError, RejectedError) as error:
                if isinstance(error, RejectedError):
                    if rewrite and "non-fast-forward" in str(error):
                        self._say(
                            f"{self._shown} keeps all history: its results are removed, their space is not freed"
                        )
                        fresh = False
                        continue
                    moved = self._git.remote_ref(self._remote, REF, max(1.0, deadline.left_s)) != theirs
                    refused = 0 if moved else refused + 1
                    if not moved and (refused >= _LOCKED_TRIES or not _may_be_a_lock(str(error))):
                        raise
                if number == _TRIES or deadline.left_s < pause_s:
                    raise
                self._say(f"others were changing the results: trying again ({number})")
                time.sleep(random.uniform(0, pause_s))
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
            else:
                self._remember(theirs, commit)
                return _synced(before, their_entries, wanted, pushed=True)
        raise RemoteError(f"{self._shown} could not be brought to the same state", fix="try again")

    def _fetch(self, deadline: Deadline) -> str | None:
        """The commit of the remote's ref, whose objects are here now."""
        for _ in range(_TRIES):
            commit = self._git.remote_ref(self._remote, REF, self._left(deadline))
            if commit is None or (commit == self._git.ref(self._tracking) and self._git.has_commit(commit)):
                return commit
            self._say(f"fetching results from {self._shown}")
            try:
                self._git.fetch(self._remote, REF, self._left(deadline))
            except RemoteError as error:
                if "couldn't find remote ref" not in str(error):
                    raise
            if self._git.has_commit(commit):  # else it was replaced between the two
                return commit
        raise RemoteError(
            f"the results of {self._shown} change faster than they can be fetched", fix="try again"
        )

    def _left(self, deadline: Deadline) -> float:
        if deadline.left_s <= 0:
            raise RemoteError(
                f"{self._shown} took longer than {self._total_s:.0f} s", fix="--timeout gives it more time"
            )
        return deadline.left_s

    def _unite(
        self, local: str | None, base: str | None, theirs: str | None
    ) -> tuple[Entries, Entries, Entries]:
        """Ours, theirs, and both."""
        ours = tree.EMPTY if local is None else self._store.entries_of(local, REF)
        if theirs is None:  # never pushed to, or made anew: nobody has removed anything
            return ours, tree.EMPTY, ours
        their_entries = self._store.entries_of(theirs, f"{REF} of {self._shown}")
        # Without our own ref nothing of ours was removed: it was deleted to begin anew.
        known = base is not None and local is not None and self._git.has_commit(base)
        known_entries = (
            self._store.entries_of(base, self._tracking) if base is not None and known else tree.EMPTY
        )
        return ours, their_entries, tree.unite(known_entries, ours, their_entries)

    def _commit(
        self,
        wanted: Entries,
        local: str | None,
        ours: Entries,
        theirs: str | None,
        their_entries: Entries,
        *,
        fresh: bool,
    ) -> str | None:
        """A commit of the entries: one that there is already, or a new one on top of theirs."""
        if theirs is not None and wanted == their_entries:
            return theirs
        known = local is not None and (theirs is None or self._git.is_ancestor(theirs, local))
        if known and wanted == ours and not fresh:
            return local
        if theirs is None and local is None and wanted == tree.EMPTY:
            return None
        parent = theirs or local
        parents = () if fresh or parent is None else (parent,)
        return tree.write(self._git, wanted, parents, "Prune results" if fresh else "Unite results")

    def _note(self, commit: str | None, local: str | None, base: str | None, theirs: str | None) -> None:
        changes: dict[str, tuple[str | None, str]] = {}
        if commit is not None and commit != local:
            changes[REF] = (local, commit)
        if theirs is not None and theirs != base:
            changes[self._tracking] = (base, theirs)
        if changes:
            self._git.update(changes)

    def _remember(self, theirs: str | None, commit: str) -> None:
        """The remote has our commit now."""
        known = self._git.ref(self._tracking) if theirs is None else theirs
        try:
            self._git.update({self._tracking: (known, commit)})
        except RefMovedError:  # another process has seen a later state
            pass


def _may_be_a_lock(said: str) -> bool:
    return any(
        words in said
        for words in ("lock", "stale info", "failed to update", "incorrect old value", "fetch first")
    )


def _synced(before: Entries, theirs: Entries, now: Entries, *, pushed: bool) -> Synced:
    return Synced(
        added=tuple(sorted(now.runs.keys() - before.runs.keys())),
        removed=tuple(sorted(before.runs.keys() - now.runs.keys())),
        sent=tuple(sorted(now.runs.keys() - theirs.runs.keys())) if pushed else (),
        pushed=pushed,
        entries=now,
    )
