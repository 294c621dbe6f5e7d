"""The commands of the checks in a run, one after another, each failed one twice."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import BinaryIO

from orchestrator.adapters.run_values import CommandResult, CommandSpec, RunSpec
from orchestrator.adapters.supervised import End, Outcome
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.evidence_record import Outcome as CheckOutcome
from orchestrator.engine.run_state import Run, last_line, open_output, reason_text, supervise

LEAST_OUTPUT = 64 * 1024
"""Bytes that each command of the checks may print, however much those before it have printed."""


def run_checks(run: Run, spec: RunSpec, environment: Mapping[str, str]) -> None:
    """Run every command of the checks, each failed one twice. Ends early only when the whole run has to."""
    until = time.monotonic() + spec.limits.wall_s
    run.phase, run.launched = "running", True
    run.note_event("started", pid=os.getpid())
    with (
        open_output(run.folder.stdout, os.O_TRUNC) as out,
        open_output(run.folder.stderr, os.O_TRUNC) as err,
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
        run.error = f"{bad[0].name or bad[0].run}: {last_line(bad[0].tail.encode()) or bad[0].outcome}"
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
    outcome = supervise(run, spec, bounded, environment, files, room)
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
    return f"\n{reason_text(spec, outcome.end)}" if outcome.end is End.OUTPUT_LIMIT else ""


def _take_end(run: Run, spec: RunSpec, outcome: Outcome, *, whole_run_is_over: bool) -> None:
    """Whether the end of one command is the end of the run. Too much output is a failure like any other."""
    if outcome.end in (End.ENDED, End.OUTPUT_LIMIT) or (outcome.end is End.TIMEOUT and not whole_run_is_over):
        return
    run.status = RunStatus(outcome.end.value)
    run.error = outcome.problem or reason_text(spec, outcome.end)
