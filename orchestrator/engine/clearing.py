"""Clearing up: the folders of runs that nobody waits for any more are put away, once their work is safe."""

from __future__ import annotations

import logging

from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.run_folder import RunFolder
from orchestrator.adapters.worktrees import TreeSpec, holds_other_work
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.ids import RunId, RunKind
from orchestrator.engine.attempts import attempt_ref, attempt_tree
from orchestrator.engine.bases import base_record
from orchestrator.engine.collect import end_strays, is_published, seal_work
from orchestrator.engine.launch import RunState, ask_to_stop, state_of
from orchestrator.engine.run_logs import put_away
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

log = logging.getLogger("orc.clearing")


def clear_up(ws: Workspace) -> None:
    """Put away the folders of runs that the ledger no longer names; ask those that still live to stop."""
    if not ws.paths.runs.is_dir():
        return
    named = {folder.job.at.run for folder in ws.ledger.snapshot().active}
    named |= {record.run for name in ws.config.projects if (record := base_record(ws, name))}
    for path in sorted(ws.paths.runs.iterdir()):
        if path.name in named or not path.is_dir():
            continue
        try:
            _clear(ws, RunFolder(path))
        except (OrcError, OSError) as error:
            # Its project may be gone from orc.yaml: it stays where it is, and the others go on.
            log.warning("%s stays in %s: %s", path.name, ws.paths.runs, error)


def _clear(ws: Workspace, place: RunFolder) -> None:
    state = state_of(place)
    if state is RunState.ALIVE:
        ask_to_stop(ws, place.path.name)
        return
    if state is RunState.DEAD:
        end_strays(place)
    if _is_kept(ws, place):
        put_away(ws.paths, place)


def _is_kept(ws: Workspace, place: RunFolder) -> bool:
    """Whether the work of a run that nobody waits for is under a ref, or it never had any."""
    run = RunId.parse(place.path.name)
    if run is None or run.kind is not RunKind.ATTEMPT or not place.lease.exists():
        return True
    job = ws.ledger.folder(run.job).job
    if rev_parse(ws.git(job.at.project), attempt_ref(run.job, run.number)) is not None:
        return True
    attempt = ws.ledger.record(Attempt, ws.ledger.folder(run.job), f"attempt-{run.number}")
    spec = TreeSpec.from_json(attempt_tree(ws, job, attempt))
    if not spec.path.exists() or is_published(ws, job, run) or holds_other_work(spec):
        return True
    return bool(seal_work(ws, job, run)) or not (spec.path / ".git").exists()
