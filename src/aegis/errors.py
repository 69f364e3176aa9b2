"""Every error that Aegis raises on purpose.

A message says what happened, to what, and what to do next; `fix` holds the last part apart so that the command line
can print it on a line of its own. `exit_code` is the process exit code when the error ends a command
(docs/exit-codes.md).
"""

from __future__ import annotations


class AegisError(Exception):
    """Base of all errors. `str(error)` is one clear line or a short block, never a traceback."""

    exit_code = 4

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message


class UsageError(AegisError):
    """The command line, the API call, or the configuration cannot be used as given."""

    exit_code = 2


class SuiteError(UsageError):
    """A suite file is wrong. `problems` holds every problem found, each already formatted `file:line: text`."""

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.problems = problems

    def __str__(self) -> str:
        """The message, and every problem on a line of its own below it."""
        return "\n  ".join((self.message, *self.problems))


class NothingSelectedError(AegisError):
    """The selection (`-k`, `--last-failed`, tags) matches no trial."""

    exit_code = 5


class InfrastructureError(AegisError):
    """Aegis or its host failed; says nothing about the agent. A trial that ends in one has outcome `error`."""

    exit_code = 3


class HostNeedsError(InfrastructureError):
    """Something must be installed or allowed on this host first; `fix` names the command."""


class ImageError(InfrastructureError):
    """An image or the boot files cannot be found, built or trusted."""


class SandboxError(InfrastructureError):
    """Base of what a sandbox driver raises."""


class SandboxStartError(SandboxError):
    """A sandbox did not come up, or did not acknowledge its fresh identity, before the deadline."""


class SandboxLostError(SandboxError):
    """The sandbox went away in the middle.

    `by_guest` is True when the machine itself ended (it was rebooted, powered off, or its init was ended from inside),
    which only the workload can have caused; False when the monitor process died or the stream broke on the host's side.
    """

    def __init__(self, message: str, *, by_guest: bool = False, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.by_guest = by_guest


class GuestProtocolError(SandboxError):
    """The guest sent bytes that are not the protocol (docs/guest-protocol.md); the sandbox is destroyed."""


class GuestOperationError(SandboxError):
    """The guest refused or could not do one operation; the sandbox is still usable.

    `code` is one of the protocol's error codes: `not-found`, `not-executable`, `is-directory`, `too-large`,
    `permission`, `no-space`, `bad-request`, `failed`.
    """

    def __init__(self, message: str, *, code: str, fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.code = code


class HostileArchiveError(SandboxError):
    """What was copied out of a sandbox tried to leave its folder or exceeded its limits; nothing was written."""


class LedgerError(InfrastructureError):
    """The ledger cannot be opened, is corrupt, or belongs to another version."""
