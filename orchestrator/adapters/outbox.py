"""The outbox of a run's folder: an agent's commands put requests in, the engine reads them and puts answers beside.

What lies there is hostile: every look is bounded, follows no link and never raises for what it finds.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.adapters import clock
from orchestrator.adapters.files import ring, write_atomic
from orchestrator.adapters.ledger_text import one_line
from orchestrator.adapters.reading import safe_read
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.run_folder import RunFolder
from orchestrator.adapters.schemas import validate
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.outbox import (
    LARGE_BYTES,
    MOST,
    MOST_REQUESTS,
    PROTOCOL,
    SCOPE,
    SMALL_BYTES,
    Request,
    RequestKind,
)
from orchestrator.errors import HostileFileError, InvalidFileError, OrcError, RefusedError

MOST_LISTED = 1000
"""So many names of an outbox are listed."""
MOST_READ = 2 * MOST_REQUESTS
"""So many files are read: more than a run may ask, because the same may have been asked twice."""
TORN_S = 2.0
"""How long a file that is no JSON must have stood still before it is refused: somebody may still be writing it."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}\.json\Z")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# --- in the run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Here:
    """The run that this process belongs to."""

    run: RunId
    folder: RunFolder


def find_here(environ: Mapping[str, str]) -> Here | None:
    """The run that an agent's program is in, told by its environment; None outside of any that may ask."""
    run, folder = RunId.parse(environ.get("ORC_RUN", "")), environ.get("ORC_RUN_DIR", "")
    if run is None or not folder or run.kind not in SCOPE:
        return None
    return Here(run, RunFolder(Path(folder)))


def write_request(here: Here, kind: RequestKind, content: Mapping[str, Any]) -> str:
    """Put a request into the outbox and wake the engine. The name of its file, which is also that of the answer.

    Raises RefusedError if this run may not ask it, InvalidFileError if it has not the right form.
    """
    if kind not in SCOPE[here.run.kind]:
        raise RefusedError(f"a {here.run.kind} may not {kind}", hint=_instead(here.run.kind))
    value = {"protocol": PROTOCOL, "kind": kind.value, "run": str(here.run), **content}
    validate(value, "request")
    if problem := Request.from_json(value).problem:
        raise InvalidFileError(problem)
    data = json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"
    if len(data) > _limit(kind):
        raise InvalidFileError(f"has {len(data)} bytes; at most {_limit(kind)} are allowed")
    count = _check_bounds(here, kind)
    # In the order of their names they are looked at.
    name = f"{clock.now():%Y%m%d-%H%M%S}-{count:02d}-{kind}-{secrets.token_hex(2)}.json"
    here.folder.outbox.mkdir(mode=0o700, exist_ok=True)
    write_atomic(here.folder.outbox / name, data, mode=0o600, sync=False)
    with suppress(OSError):
        ring(here.folder.path.parent.parent / "bell", str(here.run))
    return name


def _instead(kind: RunKind) -> str:
    return "orc verdict, or orc progress" if kind is RunKind.REVIEW else "orc help"


def _check_bounds(here: Here, kind: RequestKind) -> int:
    """How many requests the run has made. Raises RefusedError if it may make no more of this kind."""
    names, _ = _names(here.folder.outbox)
    most = MOST.get(kind, MOST_REQUESTS)
    granted = [name for name in names if f"-{kind}-" in name and not _was_refused(here.folder, name)]
    if len(names) >= MOST_REQUESTS or len(granted) >= most:
        many = f"{MOST_REQUESTS} requests" if len(names) >= MOST_REQUESTS else f"to {kind} {most} times"
        raise RefusedError(f"this run has made all the requests it may: {many}", hint="say the rest in your report")
    return len(names)


def _was_refused(folder: RunFolder, name: str) -> bool:
    try:
        return json.loads(safe_read(folder.answers / name).data).get("accepted") is False
    except (OrcError, OSError, ValueError, AttributeError):
        return False


# --- in the engine ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """One file of an outbox: the request in it, or the problem with it."""

    name: str
    value: Mapping[str, Any] | None = None
    problem: str = ""
    torn: bool = False
    """It is no JSON, and so new that it may be half written."""

    @property
    def can_be_answered(self) -> bool:
        """Whether a file of ours may bear its name."""
        return _NAME.match(self.name) is not None


def last_change(folder: RunFolder) -> int | None:
    """When a name was last put into the outbox, in nanoseconds; None if there is no such folder."""
    try:
        status = os.lstat(folder.outbox)
    except OSError:
        return None
    return status.st_mtime_ns if stat.S_ISDIR(status.st_mode) else None


def read_outbox(folder: RunFolder, redactor_of: Callable[[], Redactor]) -> tuple[tuple[Found, ...], int]:
    """What lies in the outbox, by name and without secrets, and how many files more were not looked at."""
    names, more = _names(folder.outbox)
    if not names:
        return (), more
    redactor = redactor_of()
    found = tuple(_read(folder.outbox / name, redactor) for name in names[:MOST_READ])
    return found, more + max(0, len(names) - MOST_READ)


def _names(outbox: Path) -> tuple[list[str], int]:
    """The names that are no temporary files', sorted; and how many there are beyond those that were listed."""
    names: list[str] = []
    seen = 0
    try:
        with _opened(outbox) as fd, os.scandir(fd) as entries:
            for entry in entries:
                seen += 1
                if seen > 10 * MOST_LISTED:
                    break
                if len(names) < MOST_LISTED and not entry.name.startswith("."):
                    names.append(entry.name)
    except OSError:
        return [], 0
    return sorted(names), max(0, seen - MOST_LISTED)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


def _read(path: Path, redactor: Redactor) -> Found:
    # Shown, stored and answered under this name.
    shown = one_line(os.fsencode(path.name).decode("utf-8", "backslashreplace"))
    if not _NAME.match(shown):
        return Found(shown, problem="its name is not small letters, digits and -._ that end in .json")
    try:
        read = safe_read(path, max_bytes=LARGE_BYTES)
    except HostileFileError as error:
        return Found(shown, problem=error.reason)
    except OSError as error:
        return Found(shown, problem=f"it cannot be read: {error.strerror}")
    try:
        value = json.loads(redactor.whole(read.data))
        # Half a character, written as an escape, could never be stored.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        age = clock.now().timestamp() - read.signature.mtime_ns / 1e9
        return Found(shown, problem=f"it is not JSON: {str(error)[:80]}", torn=age < TORN_S)
    return Found(shown, *_checked(value, len(read.data)))


def _checked(value: object, size: int) -> tuple[Mapping[str, Any] | None, str]:
    try:
        validate(value, "request")
    except InvalidFileError as error:
        return None, f"{error.key}: {error.reason}" if error.key else error.reason
    except RecursionError:
        return None, "it is nested too deeply"
    assert isinstance(value, dict)
    limit = _limit(RequestKind(value["kind"]))
    return (value, "") if size <= limit else (None, f"it has {size} bytes; at most {limit} are allowed")


def _limit(kind: RequestKind) -> int:
    return LARGE_BYTES if kind is RequestKind.SUBMIT else SMALL_BYTES


def write_answer(folder: RunFolder, name: str, answer: Mapping[str, object]) -> None:
    """Put the answer to a request where its run looks for it, unless it stands there. Follows no link.

    Raises OSError if that is not possible; the answer is on the ledger in any case.
    """
    data = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    with _opened(folder.answers) as fd:
        if _stands(folder.answers / name, data):
            return
        temporary = f".tmp-{secrets.token_hex(6)}"
        new = os.open(temporary, _NEW_FILE, 0o600, dir_fd=fd)
        try:
            with open(new, "wb") as file:
                file.write(data)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
            # A reader sees all of it or nothing: the name appears once it is written.
            os.link(temporary, name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
        finally:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=fd)


def _stands(path: Path, data: bytes) -> bool:
    try:
        return safe_read(path, max_bytes=SMALL_BYTES).data == data
    except (OrcError, OSError):
        return False
