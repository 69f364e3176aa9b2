"""What the baseline asks of git: objects, refs, history and the exchange with a remote.

Nothing here touches the index or the work tree, so all of it works in a bare repository, a linked work tree, a shallow
clone and on a detached head. Hooks, signing and the user's settings for push and fetch are set aside; credentials are
those that git has, and nobody is asked for any.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aegis.errors import AegisError, InfrastructureError, UsageError

LOCAL_TIMEOUT_S = 60.0
_CHUNK = 500
"""Objects that are read at once."""

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
CREDENTIALS = re.compile(r"(?<=://)[^/@\s']+@")
# `git rev-parse --local-env-vars` lists them: inside a hook they point at the hook's repository. GIT_CONFIG_* stay:
# credentials are handed over by them.
_REPOSITORY_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
_SETTINGS = {
    # A checkout that another user owns is common in CI containers; fsmonitor and hooks are programs of the repository.
    "safe.directory": "*",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "off",
    "core.logAllRefUpdates": "false",
    "core.warnAmbiguousRefs": "false",
    "commit.gpgSign": "false",
    "push.gpgSign": "false",
    "push.pushOption": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
}
_GENERIC = (
    "fatal: Could not read from remote repository",
    "Please make sure you have the correct access rights",
    "and the repository exists",
    "hint:",
    "Could not fetch ",
    "To ",
)
_NO_CREDENTIALS = (
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "Permission denied",
    "Permission to",
    "terminal prompts disabled",
    "error: 401",
    "error: 403",
)


class NoGitError(UsageError):
    """There is no git program."""


class NoRepositoryError(UsageError):
    """The folder is in no git repository."""


class NoRemoteError(UsageError):
    """There is no such remote, or nothing of git's at its address."""


class GitError(InfrastructureError):
    """A git command failed; the message has git's own words."""


class BadObjectError(GitError):
    """An object is missing, corrupt, or of another kind than it should be."""


class RefMovedError(GitError):
    """A ref is no longer what it was when it was read; nothing was changed."""


class RemoteError(GitError):
    """The remote could not be reached, or did not let us in."""


class RejectedError(GitError):
    """The remote took the push and did not do it: the ref had moved, or it does not allow it."""


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: bytes
    err: str

    @property
    def line(self) -> str:
        """Git's own last line that says something."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        telling = [line for line in lines if not line.startswith(_GENERIC)]
        found = (telling or lines or [f"exit code {self.code}"])[-1]
        return CREDENTIALS.sub("", found)[:500]


class Git:
    """One repository. Methods raise the errors above; none of them changes what HEAD, a branch or the index is."""

    def __init__(self, folder: Path) -> None:
        """Raises `NoGitError`, and `NoRepositoryError` unless `folder` is in a repository."""
        self.folder = folder
        self.run("rev-parse", "--git-dir")

    # -- objects

    def put(self, data: bytes) -> str:
        return self._text("hash-object", "-w", "-t", "blob", "--no-filters", "--stdin", stdin=data)

    def tree(self, entries: Iterable[tuple[str, str, str]]) -> str:
        """A new tree of (name, kind: `blob` or `tree`, object)."""
        modes = {"blob": "100644", "tree": "040000"}
        rows = [f"{modes[kind]} {kind} {oid}\t{name}\0" for name, kind, oid in entries]
        return self._text("mktree", "-z", stdin="".join(rows).encode())

    def commit(self, tree: str, parents: Sequence[str], message: str) -> str:
        named = [arg for parent in parents for arg in ("-p", parent)]
        identity = {
            f"GIT_{who}_{what}": text
            for who in ("AUTHOR", "COMMITTER")
            for what, text in (("NAME", "Aegis"), ("EMAIL", "aegis@localhost"))
        }
        return self._text("commit-tree", "--no-gpg-sign", tree, *named, "-m", message, environment=identity)

    def listed(self, tree: str) -> list[tuple[str, str, str]]:
        """(name, kind, object) of a tree, a commit's, or a path in it (`COMMIT:PATH`)."""
        rows = self.run("ls-tree", "-z", "--full-tree", tree).out.split(b"\0")
        found = []
        for row in filter(None, rows):
            head, _, name = row.partition(b"\t")
            _, kind, oid = head.decode("ascii").split()
            found.append((os.fsdecode(name), kind, oid))
        return found

    def sizes(self, names: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Object and size in bytes of each blob (`TREE:PATH`); those that are missing are left out."""
        found = {}
        for chunk in _chunks(names):
            told = self.run("cat-file", "--batch-check", stdin="".join(f"{n}\n" for n in chunk).encode())
            for name, row in zip(chunk, told.out.decode().splitlines(), strict=True):
                match row.split(" "):
                    case [oid, "blob", size]:
                        found[name] = (oid, int(size))
        return found

    def blob(self, oid: str) -> bytes:
        return self.run("cat-file", "blob", oid).out

    def blobs(self, oids: Sequence[str]) -> dict[str, bytes]:
        """Blobs by object. Those that are missing or corrupt are left out."""
        found: dict[str, bytes] = {}
        for chunk in _chunks(oids):
            try:
                found |= _batch(
                    self.run("cat-file", "--batch", stdin="".join(f"{o}\n" for o in chunk).encode()).out
                )
            except GitError:  # a corrupt object ends git: the others are to be had one by one
                for oid in chunk:
                    with contextlib.suppress(GitError):
                        found[oid] = self.blob(oid)
        return found

    def has_commit(self, oid: str) -> bool:
        return self.run("cat-file", "-e", f"{oid}^{{commit}}", may_fail=True).code == 0

    # -- refs and history

    def ref(self, name: str) -> str | None:
        """What a ref (whole name) points at; None when it isn't there. The object need not be."""
        done = self.run("rev-parse", "--verify", "--quiet", name, may_fail=True)
        found = done.out.decode().strip()
        return found if done.code == 0 and _OID.fullmatch(found) else None

    def resolve(self, written: str) -> str | None:
        """The commit of a name as users write it; None when there is none. Raises `UsageError` for the beginning of
        several."""
        if written.startswith("-") or not written.isprintable() or not written:
            return None
        done = self.run("rev-parse", "--verify", f"{written}^{{commit}}", may_fail=True)
        found = done.out.decode().strip()
        if done.code == 0 and _OID.fullmatch(found):
            return found
        if "is ambiguous" in done.err:
            raise UsageError(
                f"{written!r} is the beginning of several objects of git", fix="write more of it"
            )
        return None

    def update(self, changes: Mapping[str, tuple[str | None, str]]) -> None:
        """Move refs: name → (what it must be now, None for not there; what it shall be). All or none of them. Raises
        `RefMovedError`."""
        steps = ["start"]
        for name, (old, new) in changes.items():
            steps.append(f"create {name} {new}" if old is None else f"update {name} {new} {old}")
        stdin = "\n".join([*steps, "prepare", "commit", ""]).encode()
        done = self.run("update-ref", "--no-deref", "--stdin", stdin=stdin, may_fail=True)
        if done.code != 0:
            moved = "cannot lock ref" in done.err or "Unable to create" in done.err
            kind = RefMovedError if moved and "Permission denied" not in done.err else GitError
            raise kind(f"git could not write {', '.join(changes)}: {done.line}")

    def head(self) -> str | None:
        return self.resolve("HEAD")

    def merge_base(self, one: str, other: str) -> str | None:
        done = self.run("merge-base", one, other, may_fail=True)
        if done.code > 1:
            raise self._failure(("merge-base",), done)
        return done.out.decode().split("\n")[0] or None

    def is_ancestor(self, older: str, newer: str) -> bool:
        """False also when one of them isn't here."""
        return self.run("merge-base", "--is-ancestor", older, newer, may_fail=True).code == 0

    def first_parents(self, commit: str, limit: int) -> list[str]:
        """The commit, its first parent, that one's, …"""
        return self._text("rev-list", "--first-parent", f"--max-count={limit}", commit).split()

    def is_shallow(self) -> bool:
        return self._text("rev-parse", "--is-shallow-repository") == "true"

    def prefix(self) -> str:
        """The folder in the repository: empty, or with a slash at its end."""
        return os.fsdecode(self.run("rev-parse", "--show-prefix").out).rstrip("\n")

    # -- remotes

    def remotes(self) -> list[str]:
        return self._text("remote").split()

    def url(self, remote: str) -> str:
        """The address of a remote (or what was given, when that is an address), without user name and password."""
        return CREDENTIALS.sub("", self._text("ls-remote", "--get-url", remote))

    def remote_ref(self, remote: str, name: str, timeout_s: float) -> str | None:
        """What a ref of the remote points at, or None. Raises `NoRemoteError` and `RemoteError`."""
        done = self.run("ls-remote", "--refs", remote, name, timeout_s=timeout_s, remote=remote)
        for row in done.out.decode("utf-8", "replace").splitlines():
            oid, _, found = row.partition("\t")
            if found == name and _OID.fullmatch(oid):
                return oid
        return None

    def fetch(self, remote: str, name: str, timeout_s: float) -> None:
        """Get the objects of a remote's ref, and move no ref here."""
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-prune")
        # An empty map: else a mirror's own settings would move our refs. No filter: else a partial clone would get
        # every snapshot by itself, when it is read.
        more = ("--no-auto-maintenance", "--refmap=", "--no-filter")
        self.run("fetch", *options, *more, remote, name, timeout_s=timeout_s, remote=remote)

    def push(self, remote: str, commit: str, name: str, expected: str | None, timeout_s: float) -> None:
        """Make the remote's ref this commit, if it is `expected` (None: not there). Raises `RejectedError`."""
        options = ("--porcelain", "--quiet", "--no-verify", "--no-signed", "--no-follow-tags")
        lease = f"--force-with-lease={name}:{expected or ''}"
        more = ("--recurse-submodules=no", "--no-force-if-includes", lease)
        # A mirror's remote refuses to push a single ref.
        mirror = ("-c", f"remote.{remote}.mirror=false") if remote in self.remotes() else ()
        done = self.run(
            *mirror, "push", *options, *more, remote, f"{commit}:{name}",
            timeout_s=timeout_s, remote=remote, may_fail=True,
        )  # fmt: skip
        if done.code == 0:
            return
        for row in done.out.decode("utf-8", "replace").splitlines():
            if row.startswith("!"):
                words = row.split("\t")[-1]
                said = [line for line in done.err.splitlines() if line.startswith("remote: ")]
                told = f" ({said[-1].removeprefix('remote: ').strip()[:300]})" if said else ""
                raise RejectedError(f"{self.url(remote)} did not take the results: {words}{told}")
        raise self._failure(("push",), done, remote)

    # -- how git is called

    def run(
        self,
        *args: str,
        stdin: bytes = b"",
        timeout_s: float = LOCAL_TIMEOUT_S,
        may_fail: bool = False,
        remote: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        settings = [arg for name, value in _SETTINGS.items() for arg in ("-c", f"{name}={value}")]
        done = _call(
            ["git", *settings, *args], self.folder, _environment() | dict(environment or {}), stdin, timeout_s
        )
        if done is None:
            what = f"git {args[0]}" if remote is None else f"git {args[0]} with {CREDENTIALS.sub('', remote)}"
            kind = GitError if remote is None else RemoteError
            raise kind(
                f"{what} took longer than {timeout_s:.0f} s", fix="try again; --timeout gives it more time"
            )
        if done.code != 0 and ("not a git repository" in done.err and remote is None):
            raise NoRepositoryError(
                f"{self.folder} is in no git repository", fix="git init, or name a run or a file"
            )
        if done.code != 0 and not may_fail:
            raise self._failure(args, done, remote)
        return done

    def _text(self, *args: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        return self.run(*args, stdin=stdin, environment=environment).out.decode("utf-8", "replace").strip()

    def _failure(self, args: Sequence[str], done: Done, remote: str | None = None) -> AegisError:
        if remote is None:
            bad = re.search(
                r"bad object|[Nn]ot a |corrupt|missing|unable to read|does not point|not found", done.err
            )
            return (BadObjectError if bad else GitError)(f"git {args[0]} failed: {done.line}")
        shown = CREDENTIALS.sub("", remote)
        if "does not appear to be a git repository" in done.err or "No such remote" in done.err:
            known = ", ".join(self.remotes()) or "none"
            return NoRemoteError(
                f"{shown} is no remote of this repository, and no address of one ({done.line})",
                fix=f"remotes here: {known}; git remote add NAME URL adds one",
            )
        fix = None
        if any(words in done.err for words in _NO_CREDENTIALS):
            fix = "let git in, for example by a credential helper; in GitHub Actions: permissions: contents: write"
        return RemoteError(f"{shown} could not be reached: {done.line}", fix=fix)


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _REPOSITORY_VARIABLES
        and not name.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_TRACE"))
    }
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never"}
    # Words of git are looked for in its messages.
    return kept | quiet | {"LC_ALL": "C", "LANGUAGE": "C", "SSH_ASKPASS_REQUIRE": "never"}


def _call(
    command: Sequence[str], folder: Path, environment: dict[str, str], stdin: bytes, timeout_s: float
) -> Done | None:
    """None when it took too long; it and its children are ended then, and so they are on Ctrl-C."""
    try:
        # A session of its own has no terminal on which ssh could ask for a password.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder") from error
        raise NoGitError(
            f"the program git cannot be run: {error.strerror}", fix="install git, or name a run or a file"
        ) from error
    try:
        out, err = process.communicate(stdin, timeout=max(0.1, timeout_s))
    except BaseException as ending:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGTERM)
        _reap(process)
        if isinstance(ending, subprocess.TimeoutExpired):
            return None
        raise
    return Done(process.returncode, out, err.decode("utf-8", "replace"))


def _reap(process: subprocess.Popen[bytes]) -> None:
    # On SIGTERM git removes its lock files.
    try:
        process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _batch(out: bytes) -> dict[str, bytes]:
    """The answers of `git cat-file --batch`."""
    found, place = {}, 0
    while place < len(out):
        end = out.index(b"\n", place)
        head = out[place:end].decode("utf-8", "replace").split(" ")
        place = end + 1
        if len(head) == 3:
            size = int(head[2])
            if head[1] == "blob":
                found[head[0]] = out[place : place + size]
            place += size + 1
    return found


def _chunks(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[at : at + _CHUNK] for at in range(0, len(names), _CHUNK))


class Deadline:
    """A bound for several commands together."""

    def __init__(self, total_s: float) -> None:
        self._end = time.monotonic() + total_s

    @property
    def left_s(self) -> float:
        return self._end - time.monotonic()
