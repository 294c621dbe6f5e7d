"""One run in progress, and what each of its steps needs: its files, its commands, and its end in words.

Everything here happens in the shim's process. A step that fails raises `RunOver` with the status of the run.
"""

from __future__ import annotations

import json
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.adapters import clock
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.run_folder import RunFolder, secret_values
from orchestrator.adapters.run_values import CommandResult, CommandSpec, RunResult, RunSpec, SealedWork
from orchestrator.adapters.spans import mark
from orchestrator.adapters.supervised import End, Limits, Outcome, Supervised
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.said import Said
from orchestrator.core.times import iso

ERROR_LINE_CHARS = 300
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]")


class RunOver(Exception):
    """The run ends here, with this status and this reason."""

    def __init__(self, status: RunStatus, error: str = "") -> None:
        super().__init__(error)
        self.status, self.error = status, error


@dataclass(slots=True)
class Run:
    """A run in progress: what it is told, what it has found so far."""

    folder: RunFolder
    began: datetime
    spec: RunSpec | None = None
    phase: str = "preparing"
    signalled: bool = False
    status: RunStatus = RunStatus.ENDED
    exit: int | None = None
    signal: int | None = None
    error: str = ""
    report: str = ""
    report_from: str = "stdout"
    sealed: SealedWork | None = None
    said: Said | None = None
    asked_again: bool = False
    first_report: str = ""
    """What a reviewer that was asked once more had answered before."""
    output_bytes: int = 0
    commands: list[CommandResult] = field(default_factory=list)
    survivors: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    program: Supervised | None = None
    launched: bool = False
    place: int | None = None
    """The lock of the tree that the run works in, which falls free with the process."""
    _clock: float = field(default_factory=time.monotonic)

    def stop_requested(self) -> bool:
        """Whether the engine, or a signal, asks for the end."""
        return self.signalled or os.path.lexists(self.folder.stop)

    def enter(self, phase: str, **facts: Any) -> None:
        """Note in the events that a phase begins."""
        self.phase = phase
        self.note_event(phase, **facts)

    def note_event(self, event: str, **facts: Any) -> None:
        """Append one line to the events. Nobody but people and the engine's display depends on it."""
        mark(f"run:{event}", self.folder.path.name)
        line = json.dumps({"at": iso(clock.now()), "event": event, **facts}) + "\n"
        try:
            with open_output(self.folder.events, os.O_APPEND) as file:
                file.write(line.encode())
        except OSError:
            traceback.print_exc()  # The agent may have put something in the way: that ends no run.

    def secrets(self) -> tuple[str, ...]:
        """Values that must not be written anywhere."""
        return secret_values(self.spec.launch, os.environ) if self.spec else ()

    def result(self) -> RunResult:
        """All found so far, without secrets."""
        redactor = Redactor(self.secrets())
        return RunResult(
            run=self.spec.run if self.spec else self.folder.path.name,
            status=self.status,
            started=iso(self.began),
            ended=iso(clock.now()),
            seconds=round(time.monotonic() - self._clock, 3),
            exit=self.exit,
            signal=self.signal,
            error=redactor.text(self.error),
            report=redactor.text(self.report),
            report_from=self.report_from,
            sealed=self.sealed,
            output_bytes=self.output_bytes,
            said=None if self.said is None else replace(self.said, text="", why=redactor.text(self.said.why)),
            commands=tuple(self.commands),
            survivors=tuple(self.survivors),
            notes=tuple(redactor.text(note) for note in self.notes),
            asked_again=self.asked_again,
            first_report=redactor.text(self.first_report),
        )


def stop_if_asked(run: Run) -> None:
    """Raises RunOver if the run is to end before its program has begun."""
    if run.stop_requested():
        raise RunOver(RunStatus.STOPPED, "The run was asked to stop before its program started.")


def open_output(path: Path, how: int) -> BinaryIO:
    """Open a file of the run folder. It is read back through the same handle: the agent may swap the name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | how
    return os.fdopen(os.open(path, flags, 0o600), "r+b" if not how & os.O_APPEND else "ab")


def supervise(
    run: Run,
    spec: RunSpec,
    command: CommandSpec,
    environment: Mapping[str, str],
    files: Sequence[BinaryIO],
    output_bytes: int,
) -> Outcome:
    """Run one line of shell in the tree. What it leaves running is ended and noted."""
    run.program = Supervised(
        argv=("/bin/sh", "-c", command.run),
        env=environment,
        cwd=Path(spec.tree["path"]),
        stdin=None,
        stdout=files[0],
        stderr=files[1],
        limits=Limits(wall_s=command.timeout_s, grace_s=spec.limits.grace_s, output_bytes=output_bytes),
        run_id=spec.run,
        run_dir=run.folder.path,
        secrets=run.secrets(),
        should_stop=run.stop_requested,
        on_stopping=note_stopping(run),
    )
    outcome = run.program.run()
    run.survivors += outcome.survivors
    return outcome


def note_stopping(run: Run) -> Callable[[End], None]:
    """What notes in the events that the program is being ended."""
    return lambda why: run.note_event("stopping", why=why)


# --- its end in words ---


def reason_text(spec: RunSpec, end: End) -> str:
    """Why a program was ended before its time; '' if it was not."""
    return {
        End.TIMEOUT: f"It ran longer than {spec.limits.wall_s:g} s and was ended.",
        End.SILENT: f"It wrote nothing for {spec.limits.silent_s:g} s and was ended.",
        End.OUTPUT_LIMIT: f"It wrote more than {spec.limits.output_bytes} bytes and was ended.",
        End.STOPPED: "The run was asked to stop.",
    }.get(end, "")


def end_text(outcome: Outcome) -> str:
    """`exit code 1` or `signal 9`."""
    return f"exit code {outcome.exit}" if outcome.exit is not None else f"signal {outcome.signal}"


def last_error_line(outcome: Outcome) -> str:
    """The last line on stderr with anything in it; of stdout if there is none and the program failed."""
    line = last_line(outcome.error_tail)
    return line if line or outcome.exit == 0 else last_line(outcome.stdout_tail)


def last_line(tail: bytes) -> str:
    """The last line with anything in it, without what moves a terminal's cursor; '' if there is none."""
    lines = (_CONTROL.sub("", line).strip() for line in re.split(r"[\r\n]", tail.decode("utf-8", "replace")))
    return next((line[:ERROR_LINE_CHARS] for line in reversed(list(lines)) if line), "")
