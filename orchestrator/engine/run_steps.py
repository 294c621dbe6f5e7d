"""The steps of one run: prepare the tree, set it up, start the backend or the checks, seal what is left.

Everything here happens in the shim's process. A step that fails raises `RunOver` with the status of the run.
"""

from __future__ import annotations

import json
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from orchestrator.adapters import clock
from orchestrator.adapters.backends.base import SAME_SESSION, Output
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.adapters.files import ensure_folder, remove, sync_name, write_atomic
from orchestrator.adapters.locks import lease_is_free
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.run_folder import (
    SPEC_BYTES,
    RunFolder,
    add_launch_environment,
    build_environment,
    cut_report,
    read_bounded,
    read_end,
    read_report,
    secret_values,
    with_orc,
)
from orchestrator.adapters.run_values import (
    CommandResult,
    CommandSpec,
    LaunchSpec,
    RunKind,
    RunResult,
    RunSpec,
    SealedWork,
)
from orchestrator.adapters.spans import mark
from orchestrator.adapters.supervised import End, Limits, Outcome, Supervised
from orchestrator.adapters.worktrees import Prepared, TreeSpec, prepare_tree, seal_tree, take_place
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.evidence_record import Outcome as CheckOutcome
from orchestrator.core.said import NOTHING_USED, Said
from orchestrator.core.times import iso
from orchestrator.errors import HostileFileError, OrcError

if TYPE_CHECKING:
    from orchestrator.core.verdict import Question

ERROR_LINE_CHARS = 300
GO_POLL_S = 0.003
LOOKS_AT_GATE = 50
"""A run that is held looks so rarely whether somebody still waits for it."""
LEAST_OUTPUT = 64 * 1024
"""Bytes that each command of the checks may print, however much those before it have printed."""

SETUP_INPUTS = (
    *(
        "Makefile",
        "makefile",
        "GNUmakefile",
        "justfile",
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
    ),
    *(
        "pnpm-lock.yaml",
        "yarn.lock",
        "bun.lock",
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "requirements.txt",
    ),
    *(
        "requirements-dev.txt",
        "constraints.txt",
        "poetry.lock",
        "uv.lock",
        "Pipfile.lock",
        "Cargo.toml",
        "Cargo.lock",
    ),
    *(
        "go.mod",
        "go.sum",
        "Gemfile.lock",
        "composer.lock",
        "mix.lock",
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
    ),
)
"""Files at the root of a project that usually decide what its setup installs."""
SETUP_INPUT_BYTES = 16 * 1024 * 1024

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
            with _open_output(self.folder.events, os.O_APPEND) as file:
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


def execute(run: Run, spec: RunSpec) -> None:
    """The whole run, up to and with the seal. Raises RunOver and whatever else goes wrong."""
    if spec.kind is RunKind.ROUTINE:
        run_routine(run, spec)
        return
    place, run.place = take_place(spec.tree)
    run.spec = spec = replace(spec, tree=place)
    tree = TreeSpec.from_json(dict(spec.tree))
    _stop_if_asked(run)
    run.enter("preparing")
    prepared = prepare_tree(tree, alone=bool(spec.awaited_by))
    run.notes += prepared.notes
    run.note_event("prepared", fresh=prepared.fresh)
    _wait_for_go(run, spec)
    _stop_if_asked(run)
    for folder in (run.folder.home, run.folder.tmp):
        ensure_folder(folder)
    environment = build_environment(run.folder, spec, os.environ)
    try:
        set_up(run, spec, prepared, environment)
        _stop_if_asked(run)
        if spec.kind is RunKind.CHECKS:
            run_checks(run, spec, environment)
        else:
            # After a power cut a run whose lease is there has begun, and one without has not: or it would begin again.
            sync_name(run.folder.lease)
            run_backend(run, spec, with_orc(environment, spec.orc_folder))
    finally:
        if run.launched and spec.kind is RunKind.ATTEMPT and tree_is_sealed(spec):
            seal(run, tree)


def run_routine(run: Run, spec: RunSpec) -> None:
    """Maintenance: a program of orc's own, which sees nothing of the engine's environment and is no agent's run."""
    assert spec.launch is not None  # `RunSpec.from_json` refuses such a run without it.
    run.spec = spec
    _stop_if_asked(run)
    for folder in (run.folder.home, run.folder.tmp):
        ensure_folder(folder)
    environment = build_environment(run.folder, spec, os.environ)
    # By these names orc knows that it was called by an agent, to which it gives no such verb.
    environment = {name: value for name, value in environment.items() if not name.startswith("ORC_")}
    sync_name(run.folder.lease)
    run.phase = "running"
    run.said = _play(run, spec, spec.launch, environment)


def tree_is_sealed(spec: RunSpec) -> bool:
    """Whether the work in this tree is kept under a ref."""
    return spec.tree.get("mode") == "work" and bool(spec.tree.get("seal_ref"))


def _wait_for_go(run: Run, spec: RunSpec) -> None:
    """Wait until nothing speaks any more against what a run that is held is for."""
    looks = 0
    while spec.awaited_by and not os.path.lexists(run.folder.go):
        _stop_if_asked(run)
        if looks % LOOKS_AT_GATE == 0 and lease_is_free(Path(spec.awaited_by)):
            raise RunOver(RunStatus.STOPPED, "Nobody waits for this run any more.")
        looks += 1
        time.sleep(GO_POLL_S)


def _stop_if_asked(run: Run) -> None:
    if run.stop_requested():
        raise RunOver(RunStatus.STOPPED, "The run was asked to stop before its program started.")


# --- setup ---


def set_up(run: Run, spec: RunSpec, prepared: Prepared, environment: Mapping[str, str]) -> None:
    """Run the project's setup where the tree needs it. Raises RunOver when it does not succeed."""
    if spec.setup is None:
        return
    stamp_file, stamp = _stamp_file(spec), _setup_stamp(spec, environment)
    if _is_set_up(spec, prepared, stamp_file, stamp):
        return
    run.enter("setup", run=spec.setup.run)
    if stamp_file is not None:
        remove(stamp_file)
    with _open_output(run.folder.setup_log, os.O_TRUNC) as log:
        outcome = _supervise(run, spec, spec.setup, environment, (log, log), spec.limits.output_bytes)
    if outcome.end is End.STOPPED:
        raise RunOver(RunStatus.STOPPED, "The run was asked to stop during the setup.")
    if outcome.end is not End.ENDED or outcome.exit != 0:
        raise RunOver(RunStatus.SETUP_FAILED, _setup_error(spec.setup, outcome))
    if stamp_file is not None:
        write_atomic(stamp_file, stamp.encode(), mode=0o600, sync=False)


def _is_set_up(spec: RunSpec, prepared: Prepared, stamp_file: Path | None, stamp: str) -> bool:
    # What is not kept is swept away between two jobs, and the setup's work with it.
    if stamp_file is None or prepared.fresh or not spec.tree.get("keep"):
        return False
    try:
        return read_bounded(stamp_file, 200)[0].decode("utf-8", "replace") == stamp
    except (OSError, HostileFileError):
        return False


def _stamp_file(spec: RunSpec) -> Path | None:
    """Beside the tree's record, where the agent does not write. None for an exported tree, which is always set up."""
    record = spec.tree.get("record")
    return Path(record).with_suffix(".setup") if record and spec.tree.get("mode") == "work" else None


def _setup_stamp(spec: RunSpec, environment: Mapping[str, str]) -> str:
    """A digest of the setup command and of the files that usually decide what it does."""
    import hashlib  # Slow to load, and most runs have no setup.

    digest = hashlib.sha256(json.dumps([spec.setup.run if spec.setup else "", environment["PATH"]]).encode())
    for name in SETUP_INPUTS:
        try:
            data, more = read_bounded(Path(spec.tree["path"]) / name, SETUP_INPUT_BYTES)
        except FileNotFoundError:
            continue
        except (OSError, HostileFileError) as error:
            data, more = str(error).encode(), False
        digest.update(json.dumps([name, hashlib.sha256(data).hexdigest(), more]).encode())
    return digest.hexdigest()


def _setup_error(setup: CommandSpec, outcome: Outcome) -> str:
    last = last_error_line(outcome)
    why = {
        End.TIMEOUT: f"did not end within {setup.timeout_s:g} s",
        End.OUTPUT_LIMIT: "wrote more than a run may",
        End.NOT_STARTED: outcome.problem,
    }.get(outcome.end, f"ended with {_end_text(outcome)}")
    return f"The setup `{setup.run}` {why}" + (f": {last}" if last else "")


# --- backend ---


def run_backend(run: Run, spec: RunSpec, environment: Mapping[str, str]) -> None:
    """Start the agent's program, see it end, and read what it reports."""
    assert spec.launch is not None  # `RunSpec.from_json` refuses such a run without it.
    launch = spec.launch
    # Read before it begins: it may write there.
    question = _question(run.folder) if launch.again is not None else None
    run.phase = "running"
    run.said = _play(run, spec, launch, environment)
    if question is not None:
        ask_again(run, spec, question, environment)


def ask_again(run: Run, spec: RunSpec, question: Question, environment: Mapping[str, str]) -> None:
    """Ask a reviewer once more, in the session that it is in, if its answer has not the form of a verdict.

    Its second answer takes the place of the first; if it comes to none, all is as it was.
    """
    from orchestrator.core.prompt import ask_for_form
    from orchestrator.core.verdict import judge_reply

    assert spec.launch is not None
    again, first = spec.launch.again, run.said
    if again is None or first is None or not (first.ok and first.session) or run.exit != 0 or run.stop_requested():
        return
    judged = judge_reply(run.report, question)
    if not judged.malformed:
        return
    run.note_event("again", session=first.session, why=judged.why)
    ended = (run.error, run.report, run.report_from)
    with suppress(OSError):
        remove(run.folder.report)
    message = ask_for_form(judged.why).encode("utf-8", "replace")
    write_atomic(run.folder.path / again.stdin, message, mode=0o600, sync=False)
    argv = tuple(word.replace(SAME_SESSION, first.session) for word in again.argv)
    before = first.so_far or NOTHING_USED
    said = _play(run, spec, replace(again, argv=argv, session=first.session, before=before), environment)
    run.asked_again, run.first_report = True, ended[1]
    has_answered = said is not None and said.ok and run.exit == 0
    if said is not None:
        run.said = said.with_uses_of(first) if has_answered else first.with_uses_of(said)
    if not has_answered and run.status is not RunStatus.STOPPED:
        run.notes.append(f"It was asked once more and gave no other answer: {run.error}")
        run.status, run.exit, run.signal = RunStatus.ENDED, 0, None
        run.error, run.report, run.report_from = ended


def _question(folder: RunFolder) -> Question | None:
    """What a reviewer is asked, from what its run was told; None where that cannot be read."""
    from orchestrator.core.verdict import Question, hash_nonce  # No other run needs them.

    try:
        facts = json.loads(read_bounded(folder.facts, SPEC_BYTES)[0])
        items, claims = (tuple(each["id"] for each in facts[key]) for key in ("items", "claims"))
        about = (facts["job"], facts["commit"], hash_nonce(facts["nonce"]), frozenset(facts["files"]))
        return Question(*about, items=items, required=frozenset(), threshold=0.0, claims=claims)
    except (OrcError, OSError, ValueError, KeyError, TypeError):
        return None


def _play(run: Run, spec: RunSpec, launch: LaunchSpec, environment: Mapping[str, str]) -> Said | None:
    """The agent's program from its start to its end; what it said, if its backend keeps to a form."""
    if launch.state:
        ensure_folder(Path(launch.state))
    for path, text in launch.files.items():
        ensure_folder(Path(path).parent)
        write_atomic(Path(path), text.encode("utf-8", "replace"), mode=0o600, sync=False)
    with (
        _open_output(run.folder.stdout, os.O_TRUNC) as out,
        _open_output(run.folder.stderr, os.O_TRUNC) as err,
    ):
        run.program = Supervised(
            argv=launch.argv,
            env=add_launch_environment(environment, launch, os.environ),
            cwd=Path(spec.tree["path"]),
            stdin=run.folder.path / launch.stdin if launch.stdin else None,
            stdout=out,
            stderr=err,
            limits=Limits(
                wall_s=spec.limits.wall_s,
                grace_s=spec.limits.grace_s,
                output_bytes=spec.limits.output_bytes,
                silent_s=spec.limits.silent_s,
            ),
            run_id=spec.run,
            run_dir=run.folder.path,
            secrets=run.secrets(),
            should_stop=run.stop_requested,
            on_start=_started(run),
            on_stopping=_stopping(run),
        )
        outcome = run.program.run()
        run.status = RunStatus(outcome.end.value)
        run.exit, run.signal = outcome.exit, outcome.signal
        run.output_bytes = outcome.output_bytes
        run.survivors += outcome.survivors
        said = _read_said(launch, outcome, out)
        # A program that says that it ended well may have grumbled on the way.
        last = said.why if said is not None else last_error_line(outcome)
        run.error = outcome.problem or last or _reason_text(spec, outcome.end)
        run.note_event("ended", status=run.status, exit=run.exit, signal=run.signal)
        _take_report(run, out, said)
    return said


def _read_said(launch: LaunchSpec, outcome: Outcome, out: BinaryIO) -> Said | None:
    if not launch.backend or outcome.end is End.NOT_STARTED:
        return None
    output = Output(
        stdout=out,
        stderr=outcome.error_tail.decode("utf-8", "replace"),
        exit=outcome.exit,
        signal=outcome.signal,
        ended=outcome.end is End.ENDED,
        before=launch.before,
    )
    return find_backend(launch.backend).read(output)


def _take_report(run: Run, out: BinaryIO, said: Said | None) -> None:
    report, note = read_report(run.folder, Redactor(run.secrets()))
    if note:
        run.notes.append(note)
    run.report_from = "file" if report.strip() else "stdout"
    spoken = read_end(out) if said is None else cut_report(said.text)
    run.report = report if report.strip() else spoken


def _started(run: Run) -> Callable[[int], None]:
    def note(pid: int) -> None:
        run.launched = True
        run.note_event("started", pid=pid)

    return note


def _stopping(run: Run) -> Callable[[End], None]:
    return lambda why: run.note_event("stopping", why=why)


def _reason_text(spec: RunSpec, end: End) -> str:
    return {
        End.TIMEOUT: f"It ran longer than {spec.limits.wall_s:g} s and was ended.",
        End.SILENT: f"It wrote nothing for {spec.limits.silent_s:g} s and was ended.",
        End.OUTPUT_LIMIT: f"It wrote more than {spec.limits.output_bytes} bytes and was ended.",
        End.STOPPED: "The run was asked to stop.",
    }.get(end, "")


def last_error_line(outcome: Outcome) -> str:
    """The last line on stderr with anything in it; of stdout if there is none and the program failed."""
    line = _last_line(outcome.error_tail)
    return line if line or outcome.exit == 0 else _last_line(outcome.stdout_tail)


def _last_line(tail: bytes) -> str:
    lines = (_CONTROL.sub("", line).strip() for line in re.split(r"[\r\n]", tail.decode("utf-8", "replace")))
    return next((line[:ERROR_LINE_CHARS] for line in reversed(list(lines)) if line), "")


def _end_text(outcome: Outcome) -> str:
    return f"exit code {outcome.exit}" if outcome.exit is not None else f"signal {outcome.signal}"


# --- checks ---


def run_checks(run: Run, spec: RunSpec, environment: Mapping[str, str]) -> None:
    """Run every command of the checks, each failed one twice. Ends early only when the whole run has to."""
    until = time.monotonic() + spec.limits.wall_s
    run.phase, run.launched = "running", True
    run.note_event("started", pid=os.getpid())
    with (
        _open_output(run.folder.stdout, os.O_TRUNC) as out,
        _open_output(run.folder.stderr, os.O_TRUNC) as err,
    ):
        for command in spec.commands:
            checked = _check_twice(run, spec, command, environment, (out, err), until)
            run.commands.append(checked)
            run.note_event("checked", name=checked.name, outcome=checked.outcome)
            if run.status is not RunStatus.ENDED:
                break
    bad = [item for item in run.commands if item.outcome in (CheckOutcome.FAILED, CheckOutcome.TIMEOUT)]
    run.exit = 1 if bad else 0
    if run.status is not RunStatus.ENDED:
        run.exit = None
    elif bad:
        run.error = f"{bad[0].name or bad[0].run}: {_last_line(bad[0].tail.encode()) or bad[0].outcome}"
    run.note_event("ended", status=run.status, exit=run.exit)


def _check_twice(
    run: Run,
    spec: RunSpec,
    command: CommandSpec,
    environment: Mapping[str, str],
    files: tuple[BinaryIO, BinaryIO],
    until: float,
) -> CommandResult:
    first = _check_once(run, spec, command, environment, files, until)
    is_loud = run.output_bytes >= spec.limits.output_bytes
    if first.outcome is not CheckOutcome.FAILED or run.status is not RunStatus.ENDED or is_loud:
        return first
    second = _check_once(run, spec, command, environment, files, until)
    passed = second.outcome is CheckOutcome.PASSED
    return CommandResult(
        name=first.name,
        run=first.run,
        exit=0 if passed else first.exit,
        seconds=round(first.seconds + second.seconds, 3),
        outcome=CheckOutcome.FLAKY if passed else CheckOutcome.FAILED,
        tail=first.tail,
    )


def _check_once(
    run: Run,
    spec: RunSpec,
    command: CommandSpec,
    environment: Mapping[str, str],
    files: tuple[BinaryIO, BinaryIO],
    until: float,
) -> CommandResult:
    left = max(0.0, until - time.monotonic())
    bounded = CommandSpec(command.run, min(command.timeout_s, left), command.name)
    # One that prints without end must not silence those behind it.
    room = max(LEAST_OUTPUT, spec.limits.output_bytes - run.output_bytes)
    outcome = _supervise(run, spec, bounded, environment, files, room)
    run.output_bytes += outcome.output_bytes
    _take_end(run, spec, outcome, whole_run_is_over=left < command.timeout_s)
    passed = outcome.end is End.ENDED and outcome.exit == 0
    good = CheckOutcome.PASSED if passed else CheckOutcome.FAILED
    return CommandResult(
        name=command.name,
        run=command.run,
        exit=outcome.exit,
        seconds=outcome.seconds,
        outcome=CheckOutcome.TIMEOUT if outcome.end is End.TIMEOUT else good,
        tail=outcome.tail.decode("utf-8", "replace") + _too_loud(spec, outcome),
    )


def _too_loud(spec: RunSpec, outcome: Outcome) -> str:
    return f"\n{_reason_text(spec, outcome.end)}" if outcome.end is End.OUTPUT_LIMIT else ""


def _take_end(run: Run, spec: RunSpec, outcome: Outcome, *, whole_run_is_over: bool) -> None:
    """Whether the end of one command is the end of the run. Too much output is a failure like any other."""
    if outcome.end in (End.ENDED, End.OUTPUT_LIMIT) or (outcome.end is End.TIMEOUT and not whole_run_is_over):
        return
    run.status = RunStatus(outcome.end.value)
    run.error = outcome.problem or _reason_text(spec, outcome.end)


def _supervise(
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
        on_stopping=_stopping(run),
    )
    outcome = run.program.run()
    run.survivors += outcome.survivors
    return outcome


# --- seal ---


def seal(run: Run, tree: TreeSpec) -> None:
    """Put what the agent left under a ref. A failure leaves `sealed` empty and says why in the notes."""
    run.phase = "sealing"
    try:
        sealed = seal_tree(tree, when=clock.now())
    except (OrcError, OSError) as error:
        run.notes.append(f"The work was not sealed: {error}")
        run.error = f"The work was not sealed: {error}"
        run.note_event("not_sealed", error=Redactor(run.secrets()).text(str(error)))
        return
    run.sealed = SealedWork(commit=sealed.commit, tree=sealed.tree, own_commits=bool(sealed.own_commits))
    run.notes += [str(note) for note in sealed.notes]
    run.note_event("sealed", commit=sealed.commit)


def _open_output(path: Path, how: int) -> BinaryIO:
    """Open a file of the run folder. It is read back through the same handle: the agent may swap the name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | how
    return os.fdopen(os.open(path, flags, 0o600), "r+b" if not how & os.O_APPEND else "ab")
