"""A run's specification and its result as values, checked key by key where they come in as JSON. No files here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.codec import from_mapping
from orchestrator.core.evidence_record import CheckResult, Outcome
from orchestrator.core.said import NOTHING_USED, Said, Usage
from orchestrator.errors import InvalidFileError

PROTOCOL = 1

LARGEST = 10**15
"""Whole numbers of a result are taken as at most this, and at least its negative: every file can hold them."""
MAX_COMMANDS = 200
MAX_ITEMS = 200
"""So many entries of a list of a result are taken."""

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class RunKind(StrEnum):
    """What a run is for."""

    ATTEMPT = "attempt"
    REVIEW = "review"
    CHECKS = "checks"
    ROUTINE = "routine"
    """It has no tree of its own: its program works on the whole workspace."""


# --- specification ---


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A line for /bin/sh and how long it may take."""

    run: str
    timeout_s: float
    name: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CommandSpec:
        """Raises InvalidFileError."""
        return cls(
            run=_get(data, "run", str),
            timeout_s=_number(data, "timeout_s"),
            name=_get(data, "name", str, default=""),
        )


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """The program of a backend. `stdin` names a file of the run folder, or nothing."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """What must be there when it starts, by absolute path."""
    backend: str = ""
    """The backend that reads what it says; '' if its whole output is the answer."""
    session: str = ""
    """The session that it is started with, new or old."""
    state: str = ""
    """A folder that must be there, where the agent's program keeps its sessions."""
    before: Usage = NOTHING_USED
    """What earlier runs used in the same session."""
    again: LaunchSpec | None = None
    """How a reviewer is asked once more in the session that it is in, whose answer has not the form of a verdict."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LaunchSpec:
        """Raises InvalidFileError."""
        stdin = _get(data, "stdin", str, default="") or ""
        if "/" in stdin or stdin in (".", ".."):
            raise InvalidFileError("must be the name of a file in the run folder", key="launch.stdin")
        again = _get(data, "again", dict, default=None)
        return cls(
            argv=_texts(data, "argv"),
            env=_text_map(data, "env"),
            pass_env=_texts(data, "pass_env", default=[]),
            stdin=stdin,
            files=_text_map(data, "files"),
            backend=_get(data, "backend", str, default="") or "",
            session=_get(data, "session", str, default="") or "",
            state=_get(data, "state", str, default="") or "",
            before=_value(Usage, data, "before") or NOTHING_USED,
            again=None if again is None else cls.from_json(again),
        )


@dataclass(frozen=True, slots=True)
class LimitsSpec:
    """Bounds of a run. Seconds and bytes; `silent_s` 0 means none."""

    wall_s: float = 3600
    grace_s: float = 15
    output_bytes: int = 33554432
    silent_s: float = 600

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LimitsSpec:
        """Raises InvalidFileError."""
        return cls(
            wall_s=_number(data, "wall_s"),
            grace_s=_number(data, "grace_s", default=cls().grace_s),
            output_bytes=int(_number(data, "output_bytes", default=cls().output_bytes)),
            silent_s=_number(data, "silent_s", default=0),
        )


@dataclass(frozen=True, slots=True)
class RunSpec:
    """All that a run is told. `tree` is the part that the worktrees adapter reads."""

    run: str
    kind: RunKind
    job: str
    number: int
    orcdir: Path
    agent: str | None
    project: str
    tree: Mapping[str, Any]
    limits: LimitsSpec
    setup: CommandSpec | None = None
    launch: LaunchSpec | None = None
    commands: tuple[CommandSpec, ...] = ()
    orc_folder: str = ""
    """Where the command `orc` of the engine lies; '' if the run is not to have it, or it is not known."""
    awaited_by: str = ""
    """The lock file of a gate: somebody waits for this run and for nothing else; '' for a run of the engine.

    All processors write its tree, and its result need not outlast a power cut. Once the tree is ready the run waits to
    be let go, and ends if nobody holds that lock any more.
    """

    @classmethod
    def from_json(cls, data: object) -> RunSpec:
        """Raises InvalidFileError, naming the key."""
        if not isinstance(data, dict):
            raise InvalidFileError("must be a JSON object")
        if data.get("protocol") != PROTOCOL:
            raise InvalidFileError(
                f"is {data.get('protocol')!r}, this orc speaks {PROTOCOL}",
                key="protocol",
                hint="Let the orc that wrote it finish it, or cancel the job and submit it again.",
            )
        setup, launch = data.get("setup"), data.get("launch")
        spec = cls(
            run=_get(data, "run", str),
            kind=_member(data, "kind", RunKind),
            job=_get(data, "job", str),
            number=_get(data, "number", int),
            orcdir=Path(_get(data, "orcdir", str)),
            agent=_get(data, "agent", str, default=None),
            project=_get(data, "project", str),
            tree=_get(data, "tree", dict),
            limits=LimitsSpec.from_json(_get(data, "limits", dict)),
            setup=None if setup is None else CommandSpec.from_json(_get(data, "setup", dict)),
            launch=None if launch is None else LaunchSpec.from_json(_get(data, "launch", dict)),
            commands=tuple(
                CommandSpec.from_json(_object(item, "commands"))
                for item in _get(data, "commands", list, default=[]) or []
            ),
            orc_folder=_get(data, "orc_folder", str, default=""),
            awaited_by=_get(data, "awaited_by", str, default=""),
        )
        if spec.kind is not RunKind.CHECKS and spec.launch is None:
            raise InvalidFileError(f"is missing, and a run of kind {spec.kind} needs it", key="launch")
        _get(spec.tree, "path", str)
        return spec

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`."""
        return {"protocol": PROTOCOL, **asdict(self), "orcdir": str(self.orcdir)}


# --- result ---


@dataclass(frozen=True, slots=True)
class SealedWork:
    """The snapshot of what the agent left. `own_commits` tells whether it committed anything itself."""

    commit: str
    tree: str
    own_commits: bool

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SealedWork:
        """Raises InvalidFileError."""
        return cls(_get(data, "commit", str), _get(data, "tree", str), _get(data, "own_commits", bool))


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What one command of the checks said. `tail` is the last 4 KiB of its output, `exit` None after a signal."""

    name: str
    run: str
    exit: int | None
    seconds: float
    outcome: Outcome
    tail: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CommandResult:
        """Raises InvalidFileError."""
        return cls(
            name=_get(data, "name", str),
            run=_get(data, "run", str),
            exit=_bounded(_get(data, "exit", int, default=None)),
            seconds=_number(data, "seconds"),
            outcome=_member(data, "outcome", Outcome),
            tail=_get(data, "tail", str),
        )


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended and what it left."""

    run: str
    status: RunStatus
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    exit: int | None = None
    signal: int | None = None
    error: str = ""
    report: str = ""
    report_from: str = "stdout"
    sealed: SealedWork | None = None
    output_bytes: int = 0
    said: Said | None = None
    """What the agent's program said, where its backend keeps to a form."""
    commands: tuple[CommandResult, ...] = ()
    survivors: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    asked_again: bool = False
    """The answer of a reviewer had not the form of a verdict, so it was asked once more."""
    first_report: str = ""
    """What it had answered before."""

    @classmethod
    def from_json(cls, data: object) -> RunResult:
        """Raises InvalidFileError, naming the key."""
        if not isinstance(data, dict) or data.get("protocol") != PROTOCOL:
            raise InvalidFileError(f"is not a result of protocol {PROTOCOL}")
        sealed = data.get("sealed")
        return cls(
            run=_get(data, "run", str),
            status=_member(data, "status", RunStatus),
            started=_get(data, "started", str),
            ended=_get(data, "ended", str),
            seconds=_number(data, "seconds"),
            exit=_bounded(_get(data, "exit", int, default=None)),
            signal=_bounded(_get(data, "signal", int, default=None)),
            error=_get(data, "error", str),
            report=_get(data, "report", str),
            report_from=_get(data, "report_from", str),
            sealed=None if sealed is None else SealedWork.from_json(_object(sealed, "sealed")),
            output_bytes=_bounded(_get(data, "output_bytes", int)),
            said=_value(Said, data, "said"),
            commands=tuple(CommandResult.from_json(_object(item, "commands")) for item in _commands(data)),
            survivors=tuple(item for item in _get(data, "survivors", list, default=[]) if isinstance(item, int)),
            notes=tuple(str(item) for item in _get(data, "notes", list, default=[])),
            asked_again=_get(data, "asked_again", bool, default=False),
            first_report=_get(data, "first_report", str, default=""),
        )

    def check_results(self) -> tuple[CheckResult, ...]:
        """What the commands of the checks said, as the ledger keeps it."""
        return tuple(
            CheckResult(
                name=each.name or each.run,
                run=each.run,
                outcome=each.outcome,
                exit=each.exit,
                seconds=round(each.seconds, 2),
                tail=each.tail[-2000:],
            )
            for each in self.commands
        )

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`."""
        return {"protocol": PROTOCOL, **asdict(self)}


# --- typed look-ups ---

_REQUIRED: Any = object()


def _get(data: Mapping[str, Any], key: str, kind: type[T], *, default: Any = _REQUIRED) -> T:
    value = data.get(key, default)
    if value is default and default is not _REQUIRED:
        return value  # type: ignore[no-any-return]
    if value is None and default is None:
        return None  # type: ignore[return-value]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidFileError("is missing" if key not in data else f"must be of type {kind.__name__}", key=key)
    return value


def _number(data: Mapping[str, Any], key: str, *, default: float | None = None) -> float:
    value = data.get(key, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
        raise InvalidFileError("must be a number of 0 or more", key=key)
    return value


def _bounded(value: int | None) -> Any:
    return None if value is None else max(-LARGEST, min(LARGEST, value))


def _value(kind: type[T], data: Mapping[str, Any], key: str) -> T | None:
    value = data.get(key)
    if value is None:
        return None
    try:
        return from_mapping(kind, _clamped(value), where=key)
    except ValueError as error:
        raise InvalidFileError(str(error), key=key) from error


def _clamped(value: Any) -> Any:
    """The same with numbers and lists that every file can hold."""
    if isinstance(value, dict):
        return {key: _clamped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clamped(item) for item in value[:MAX_ITEMS]]
    if isinstance(value, float):
        return max(-float(LARGEST), min(float(LARGEST), value)) if value == value else 0.0
    return _bounded(value) if type(value) is int else value


def _text_map(data: Mapping[str, Any], key: str) -> dict[str, str]:
    value: dict[str, str] = _get(data, key, dict, default={})
    if not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise InvalidFileError("must map names to texts", key=f"launch.{key}")
    return dict(value)


def _commands(data: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = _get(data, "commands", list, default=[])
    if len(found) > MAX_COMMANDS:
        raise InvalidFileError(f"are more than {MAX_COMMANDS}", key="commands")
    return found


def _texts(data: Mapping[str, Any], key: str, *, default: Any = _REQUIRED) -> tuple[str, ...]:
    values: list[Any] = _get(data, key, list, default=default)
    if not all(isinstance(value, str) for value in values):
        raise InvalidFileError("must be a list of texts", key=key)
    return tuple(values)


def _object(value: object, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidFileError("must be an object", key=key)
    return value


def _member(data: Mapping[str, Any], key: str, kind: type[E]) -> E:
    try:
        return kind(str(data.get(key)))
    except ValueError as error:
        raise InvalidFileError(f"must be one of {', '.join(kind)}", key=key) from error
