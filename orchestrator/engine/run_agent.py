"""The agent's program in a run: from its start to its end, and what it said and reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from orchestrator.adapters.backends.base import SAME_SESSION, Output
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.adapters.files import ensure_folder, remove, write_atomic
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.run_folder import (
    SPEC_BYTES,
    RunFolder,
    add_launch_environment,
    cut_report,
    read_bounded,
    read_end,
    read_report,
)
from orchestrator.adapters.run_values import LaunchSpec, RunSpec
from orchestrator.adapters.supervised import End, Limits, Outcome, Supervised
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.said import NOTHING_USED, Said
from orchestrator.engine.run_state import Run, last_error_line, note_stopping, open_output, reason_text
from orchestrator.errors import OrcError

if TYPE_CHECKING:
    from orchestrator.core.verdict import Question


def run_backend(run: Run, spec: RunSpec, environment: Mapping[str, str]) -> None:
    """Start the agent's program, see it end, and read what it reports."""
    assert spec.launch is not None  # `RunSpec.from_json` refuses such a run without it.
    launch = spec.launch
    # Read before it begins: it may write there.
    question = _question(run.folder) if launch.again is not None else None
    run.phase = "running"
    run.said = play(run, spec, launch, environment)
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
    said = play(run, spec, replace(again, argv=argv, session=first.session, before=before), environment)
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


def play(run: Run, spec: RunSpec, launch: LaunchSpec, environment: Mapping[str, str]) -> Said | None:
    """The agent's program from its start to its end; what it said, if its backend keeps to a form."""
    if launch.state:
        ensure_folder(Path(launch.state))
    for path, text in launch.files.items():
        ensure_folder(Path(path).parent)
        write_atomic(Path(path), text.encode("utf-8", "replace"), mode=0o600, sync=False)
    with (
        open_output(run.folder.stdout, os.O_TRUNC) as out,
        open_output(run.folder.stderr, os.O_TRUNC) as err,
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
            on_stopping=note_stopping(run),
        )
        outcome = run.program.run()
        run.status = RunStatus(outcome.end.value)
        run.exit, run.signal = outcome.exit, outcome.signal
        run.output_bytes = outcome.output_bytes
        run.survivors += outcome.survivors
        said = _read_said(launch, outcome, out)
        # A program that says that it ended well may have grumbled on the way.
        last = said.why if said is not None else last_error_line(outcome)
        run.error = outcome.problem or last or reason_text(spec, outcome.end)
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
