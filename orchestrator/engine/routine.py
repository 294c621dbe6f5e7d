"""Routines: the run of a job that names one, and what becomes of what it says."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orchestrator
from orchestrator.adapters.run_values import LaunchSpec, LimitsSpec, RunKind, RunResult, RunSpec
from orchestrator.core.attempt import not_started, run_lost
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.codec import from_mapping
from orchestrator.core.ids import RunId
from orchestrator.core.job import Job
from orchestrator.core.routine import MOST_FIGURES, REPORT_CHARS, Health, Report, RoutineRecord
from orchestrator.core.routine_steps import routine_ended
from orchestrator.core.transitions import Move, one_line
from orchestrator.engine.launch import Start
from orchestrator.engine.workspace import Workspace

WALL_S = 1800
OWN_MODULES = {"PYTHONPATH": str(Path(orchestrator.__file__).resolve().parent.parent)}
"""So a process finds the same orc as this one, wherever that was loaded from."""
_NOT_BEGUN = (RunStatus.NOT_STARTED, RunStatus.PREPARE_FAILED, RunStatus.SETUP_FAILED)


def command(root: Path, *words: str) -> tuple[str, ...]:
    """The command of a process of its own that does a routine in the workspace at `root`."""
    return (sys.executable, "-P", "-m", "orchestrator", "-C", str(root), "routine", *words)


def routine_start(ws: Workspace, job: Job, run: RunId) -> Start:
    """The run of a job's routine, from what the ledger holds of it."""
    spec = RunSpec(
        run=str(run),
        kind=RunKind.ROUTINE,
        job=job.id,
        number=run.number,
        orcdir=ws.paths.orcdir,
        agent=None,
        project="",
        tree={"path": str(ws.paths.root)},
        limits=LimitsSpec(wall_s=WALL_S, silent_s=0),
        launch=LaunchSpec(argv=command(ws.paths.root, job.spec.routine, "--json"), env=OWN_MODULES),
    )
    return Start(spec)


def collect_routine(ws: Workspace, job: Job, result: RunResult) -> Move:
    """The step that follows from the end of a routine's run."""
    now = ws.stamp()
    if result.status in _NOT_BEGUN:
        return not_started(job, f"{result.status}: {result.error}", ws.config.limits, now)
    said = _parse(result.report)
    if result.status is not RunStatus.ENDED or "status" not in said:
        why = result.error or str((said.get("error") or {}).get("message", "")) or "it said nothing that can be read"
        return run_lost(job, ws.config.limits, now, error=f"came to nothing ({result.status}): {one_line(why)[:300]}")
    before = ws.ledger.record(RoutineRecord, ws.open_job(job.id), f"routine-{job.at.routine}")
    try:
        record = _with(before, said)
    except ValueError as error:
        return run_lost(job, ws.config.limits, now, error=f"said what no record can hold: {error}"[:400])
    return routine_ended(job, replace(record, seconds=round(result.seconds, 2)), now)


def _parse(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _with(before: RoutineRecord, said: Mapping[str, Any]) -> RoutineRecord:
    """The record with what the routine said. Raises ValueError."""
    keys = ("status", "summary", "report", "key", "states", "figures")
    found = from_mapping(RoutineRecord, {**_known(before), **{key: said[key] for key in keys if key in said}})
    return replace(
        found,
        summary=one_line(found.summary)[:200],
        report=found.report[:REPORT_CHARS],
        figures=dict(list(found.figures.items())[:MOST_FIGURES]),
    )


def _known(before: RoutineRecord) -> dict[str, Any]:
    return {"number": before.number, "run": before.run, "routine": before.routine, "started": before.started}


def report_json(name: str, report: Report) -> dict[str, Any]:
    """What a routine says, as `--json` shows it."""
    return {
        "routine": name,
        "status": report.status.value,
        "summary": report.summary,
        "report": "\n".join(report.lines)[:REPORT_CHARS],
        "key": report.key,
        "states": {part: Health(state).value for part, state in report.states.items()},
        "figures": dict(report.figures),
    }
