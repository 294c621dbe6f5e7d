"""The steps of a job that names a routine: its run is reserved, and ends with what it has to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.core.ids import RunKind
from orchestrator.core.job import Job, State
from orchestrator.core.routine import RoutineRecord
from orchestrator.core.step import Step, next_run
from orchestrator.core.transitions import Event, Move


def reserve_routine(job: Job, now: str) -> Move:
    """A run of the job's routine is reserved, before anything is spawned."""
    run = next_run(job, RunKind.ROUTINE)
    record = RoutineRecord(run.number, str(run), job.spec.routine, now)
    step = Step(Event.RUN, job, now, {f"routine-{run.number}": record}, facts={"routine": record.routine})
    changes = {"routine": run.number, "starts": job.at.starts + 1, "run": record.run}
    return step.to(State.RUNNING, f"the routine {record.routine}", **changes)


def routine_ended(job: Job, record: RoutineRecord, now: str) -> Move:
    """A routine has said what it has to say: the job is done, however bad that is."""
    ended = replace(record, ended=now)
    changes = {"run": "", "crashes": 0, "failed_starts": 0}
    step = Step(Event.RAN, job, now, {f"routine-{ended.number}": ended}, changes, routine_facts(ended))
    return step.to(State.DONE, f"{ended.status}: {ended.summary}", reason=ended.summary)


def routine_facts(record: RoutineRecord) -> Mapping[str, object]:
    """What the commit says of a routine that has ended."""
    bad = sorted(f"{name}={state}" for name, state in record.states.items() if state != "ok")
    return {"routine": record.routine, "status": record.status, "not_well": " ".join(bad)}
