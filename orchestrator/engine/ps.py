"""Ps: the runs that are alive now, what each is doing and using, and what is left over. Looks, and changes nothing.

Whether a run lives is asked of its lock. A process id is told only of the process that has that lock's file open.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.adapters.locks import lock_is_free
from orchestrator.adapters.process_table import ProcessFacts, command_of, holders_of, process_table, processes_of
from orchestrator.adapters.run_folder import RunFolder, read_bounded, read_events, read_spec
from orchestrator.adapters.run_values import RunSpec
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Job, Worker
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.times import iso
from orchestrator.engine.bases import base_record
from orchestrator.engine.launch import RunState, folder_of, state_of
from orchestrator.engine.notes import read_note
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import HostileFileError, OrcError

BASE = "base"
"""The kind of a run of the checks on a project's base, which belongs to no job."""
HEARTBEAT_BYTES = 4096
_PHASES = {
    "preparing": "preparing",
    "prepared": "preparing",
    "setup": "setup",
    "started": "running",
    "stopping": "stopping",
    "ended": "sealing",
    "sealed": "sealing",
}
"""What a run is doing after each of its events."""


@dataclass(frozen=True, slots=True)
class EngineNow:
    """The engine of this workspace. `pid`, `since` and `seconds` are None where the machine does not tell."""

    running: bool
    pid: int | None = None
    since: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LiveRun:
    """One run, as the ledger and the machine have it. Numbers are None where nothing is known.

    `named`: the ledger waits for it. Ages and `seconds` in seconds; `left_s` until its wall-time limit.
    """

    run: str
    kind: str
    state: RunState
    named: bool
    job: str = ""
    title: str = ""
    agent: str = ""
    model: str = ""
    project: str = ""
    phase: str = ""
    pid: int | None = None
    seconds: float | None = None
    limit_s: float | None = None
    left_s: float | None = None
    output_bytes: int = 0
    output_age_s: float | None = None
    beat_age_s: float | None = None
    processes: tuple[ProcessFacts, ...] | None = None

    @property
    def alive(self) -> bool:
        """Whether its lock is held."""
        return self.state is RunState.ALIVE


@dataclass(frozen=True, slots=True)
class Running:
    """What is running: the engine, the live runs that the ledger names, and what is left over."""

    engine: EngineNow
    runs: tuple[LiveRun, ...]
    leftovers: tuple[LiveRun, ...]


def look_at_runs(ws: Workspace, *, commands: bool = False) -> Running:
    """What is running now; `commands`: with the command line of every process."""
    found = find_runs(ws)
    alive = [each for each in found if each.alive]
    places = {each.run: folder_of(ws, each.run) for each in alive}
    beats = {run: _heartbeat(place) for run, place in places.items()}
    lock = ws.paths.orcdir / "engine.lock"
    is_engine = not lock_is_free(lock)
    guesses = {place.lease: _number(beats[run].get("pid")) for run, place in places.items()}
    holders = holders_of({**guesses, **({lock: _number(read_note(ws).get("pid"))} if is_engine else {})})
    table = process_table() if found or is_engine else None
    pids = {folder_of(ws, each.run).path: holders.get(folder_of(ws, each.run).lease) for each in found}
    # Of a run that died too: what its supervisor could not end any more.
    below = processes_of(pids, table) if table is not None and pids else {}
    found = [replace(each, processes=below.get(folder_of(ws, each.run).path)) for each in found]
    shown: list[LiveRun] = []
    for each in found:
        if (place := places.get(each.run)) is not None:
            each = _measured(ws, replace(each, pid=pids[place.path]), place, beats[each.run], table or {})
        shown.append(_with_commands(each) if commands else each)
    return Running(
        _engine(ws, running=is_engine, pid=holders.get(lock), table=table or {}),
        tuple(each for each in shown if each.alive and each.named),
        tuple(each for each in shown if not (each.alive and each.named)),
    )


def _engine(ws: Workspace, *, running: bool, pid: int | None, table: Mapping[int, ProcessFacts]) -> EngineNow:
    facts = table.get(pid) if pid is not None else None
    if not running or facts is None:
        return EngineNow(running, pid if running else None)
    return EngineNow(running, pid, iso(ws.now() - timedelta(seconds=facts.seconds)), facts.seconds)


# --- which runs there are ---


def find_runs(ws: Workspace) -> list[LiveRun]:
    """Every run that the ledger names, and every one that has a folder or a lease, in the order of their ids."""
    found = {job.at.run: _of_job(ws, job) for job in _jobs_with_runs(ws)}
    for name, project in ws.config.projects.items():
        record = base_record(ws, name)
        if record is not None and record.run:
            title = f"the checks of {name} on its base, {project.target} at {record.commit[:12]}"
            state = state_of(folder_of(ws, record.run))
            found[record.run] = LiveRun(record.run, BASE, state, True, title=title, project=name)
    for run in sorted(_names(ws.paths.runs) | _names(ws.paths.orcdir / "leases")):
        if run not in found:
            found[run] = _unnamed(ws, run)
    return [found[run] for run in sorted(found)]


def _jobs_with_runs(ws: Workspace) -> list[Job]:
    return [folder.job for folder in ws.ledger.snapshot().folders.values() if folder.job.at.run]


def _names(folder: Path) -> set[str]:
    try:
        return {name for name in os.listdir(folder) if not name.startswith(".")}
    except OSError:
        return set()


def _of_job(ws: Workspace, job: Job) -> LiveRun:
    run = RunId.parse(job.at.run)
    worker = _worker(ws, job, run) if run else None
    return LiveRun(
        job.at.run,
        run.kind.value if run else "",
        state_of(folder_of(ws, job.at.run)),
        True,
        job=job.id,
        title=job.spec.heading,
        agent=worker.agent if worker else "",
        model=(worker.model or worker.family) if worker else "",
        project=job.at.project,
    )


def _worker(ws: Workspace, job: Job, run: RunId) -> Worker | None:
    """Who a run was given to; None for checks."""
    folder = ws.ledger.folder(job.id)
    try:
        if run.kind is RunKind.ATTEMPT:
            return ws.ledger.record(Attempt, folder, f"attempt-{run.number}").worker
        if run.kind is RunKind.REVIEW:
            return ws.ledger.record(ReviewRecord, folder, f"review-{run.number}").reviewer
    except OrcError:
        return None
    return None


def _unnamed(ws: Workspace, name: str) -> LiveRun:
    """A run that the ledger does not wait for (any more)."""
    run, state = RunId.parse(name), state_of(folder_of(ws, name))
    kind = run.kind.value if run else BASE if name.startswith("base.") else ""
    spec = _spec(folder_of(ws, name))
    found = LiveRun(name, kind, state, False, job=run.job if run else "", project=spec.project if spec else "")
    try:
        job = ws.ledger.folder(run.job).job if run else None
    except OrcError:
        job = None
    if run is None or job is None:
        return replace(found, agent=(spec.agent or "") if spec else "")
    worker = _worker(ws, job, run)
    found = replace(found, title=job.spec.heading, project=job.at.project)
    return replace(found, agent=worker.agent, model=worker.model or worker.family) if worker else found


# --- what a live run is doing ---


def _measured(
    ws: Workspace, run: LiveRun, place: RunFolder, beat: Mapping[str, Any], table: Mapping[int, ProcessFacts]
) -> LiveRun:
    supervisor = table.get(run.pid) if run.pid is not None else None
    now = ws.now().timestamp()
    outputs = [found for path in (place.stdout, place.stderr, place.setup_log) if (found := _plain(path)) is not None]
    written = [each.st_mtime for each in outputs if each.st_size]
    spec, phase = _spec(place), _phase(place, beat)
    limit = spec.limits.wall_s if spec else None
    return replace(
        run,
        phase=phase,
        seconds=supervisor.seconds if supervisor else _age(place.lease, now),
        limit_s=limit,
        left_s=_left(run, phase, limit, supervisor),
        output_bytes=sum(each.st_size for each in outputs),
        output_age_s=round(max(0.0, now - max(written)), 1) if written else None,
        beat_age_s=_age(place.heartbeat, now),
    )


def _left(run: LiveRun, phase: str, limit: float | None, supervisor: ProcessFacts | None) -> float | None:
    """The limit counts from the start of the program; of checks, which are several, from about the run's."""
    if limit is None or supervisor is None or phase != "running":
        return None
    if run.kind in (RunKind.ATTEMPT, RunKind.REVIEW):
        programs = [each.seconds for each in run.processes or () if each.parent == supervisor.pid]
        return round(max(0.0, limit - max(programs)), 1) if programs else None
    return round(max(0.0, limit - supervisor.seconds), 1)


def _phase(place: RunFolder, beat: Mapping[str, Any]) -> str:
    # A heartbeat comes every 30 s, an event at once.
    events = [event.get("event") for event in read_events(place)]
    known = [_PHASES[event] for event in events if isinstance(event, str) and event in _PHASES]
    told = beat.get("phase")
    return known[-1] if known else told[:20] if isinstance(told, str) else "starting"


def _heartbeat(place: RunFolder) -> dict[str, Any]:
    try:
        value = json.loads(read_bounded(place.heartbeat, HEARTBEAT_BYTES)[0])
    except (OSError, ValueError, RecursionError, HostileFileError):
        return {}
    return value if isinstance(value, dict) else {}


def _spec(place: RunFolder) -> RunSpec | None:
    try:
        return read_spec(place)
    except OrcError:
        return None


def _plain(path: Path) -> os.stat_result | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _age(path: Path, now: float) -> float | None:
    status = _plain(path)
    return round(max(0.0, now - status.st_mtime), 1) if status else None


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else 0


def _with_commands(run: LiveRun) -> LiveRun:
    listed: Iterable[ProcessFacts] = run.processes or ()
    told = tuple(replace(each, command=command_of(each.pid)) for each in listed)
    return replace(run, processes=None if run.processes is None else told)
