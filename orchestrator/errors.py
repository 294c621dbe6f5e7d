"""Every expected error of orc: what happened, what it usually means, what to try, and the exit code of its kind.

An expected error is shown without a traceback. Anything else that escapes is a defect of orc and says so.
"""

from __future__ import annotations

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the `orc` command, documented in `orc --help`."""

    OK = 0
    """All work asked for was produced."""
    FAILED = 1
    """Something was tried and did not succeed, or work is left that was not produced."""
    USAGE = 2
    """The command line was wrong."""
    NOT_FOUND = 3
    """The thing named does not exist, or there was nothing to do."""
    REFUSED = 4
    """A gate or a rule refused it."""
    BUSY = 5
    """Locked by another process; try again."""
    INVALID_FILE = 6
    """A file that a person wrote is not valid."""
    UNEXPECTED = 70
    """A defect of orc itself."""
    INTERRUPTED = 130
    """Interrupted from the keyboard."""


class OrcError(Exception):
    """Base of every expected error.

    `cause` says what the error usually means and `hint` what to try; either may be empty.
    """

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint


class NotFoundError(OrcError):
    """The job, card, agent or file that was named does not exist."""

    exit_code = ExitCode.NOT_FOUND


class RefusedError(OrcError):
    """A rule refused a request: the move is not legal, the fact it was bound to has changed, a gate is closed."""

    exit_code = ExitCode.REFUSED


class BusyError(OrcError):
    """Another process holds the lock."""

    exit_code = ExitCode.BUSY


class InvalidFileError(OrcError):
    """A file that a person wrote cannot be accepted. Carries the file, the line (1-based, 0 if unknown) and the key."""

    exit_code = ExitCode.INVALID_FILE

    def __init__(
        self, reason: str, *, file: str = "", line: int = 0, key: str = "", cause: str = "", hint: str = ""
    ) -> None:
        self.reason, self.file, self.line, self.key = reason, file, line, key
        self.place = file + (f":{line}" if line else "") if file else (f"line {line}" if line else "")
        self.told = f"{key}: {reason}" if key else reason
        """What is wrong, without where."""
        super().__init__(f"{self.place}: {self.told}" if self.place else self.told, cause=cause, hint=hint)

    def in_file(self, file: str) -> InvalidFileError:
        """The same error, naming `file`."""
        return type(self)(self.reason, file=file, line=self.line, key=self.key, cause=self.cause, hint=self.hint)


class HostileFileError(InvalidFileError):
    """A path that is not a plain, small, readable file: a link, a pipe, a device, a folder, something too large."""


class UnavailableError(OrcError):
    """Something outside orc that it needs is missing or cannot be used: a program, a repository, a disk."""


class LedgerError(OrcError):
    """The ledger cannot be read or written."""


_OF_THE_MACHINE = {
    errno.ENOSPC: "make room, then the same again; orc sweep --dry-run says what orc could give back",
    errno.EDQUOT: "make room, then the same again; orc sweep --dry-run says what orc could give back",
    errno.EROFS: "mount it so that it can be written, or work on a copy",
    errno.EACCES: "look who may write there (ls -ld), or call orc as that user",
    errno.EMFILE: "ulimit -n shows how many files may be open at once, and raises it",
    errno.ENFILE: "ask for fewer runs at once (slots in orc.yaml)",
}


def machine_error(error: OSError) -> UnavailableError | None:
    """What the machine refuses, in words; None for what no machine is to blame for."""
    hint = _OF_THE_MACHINE.get(error.errno or 0)
    if hint is None:
        return None
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    return UnavailableError(
        f"{where}{error.strerror}",
        cause="The machine refuses it. What was committed before stands.",
        hint=hint,
    )
