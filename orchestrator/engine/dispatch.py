"""Dispatch: see that the run which the ledger names is there.

Every start is reserved in the ledger before anything is spawned. A spawn that did not happen is made up for here, from
what the ledger holds.
"""

from __future__ import annotations

from orchestrator.core.attempt import not_started
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Job
from orchestrator.core.transitions import Move
from orchestrator.engine.attempts import attempt_start
from orchestrator.engine.checks import checks_start
from orchestrator.engine.escapes import note_outside
from orchestrator.engine.launch import RunState, folder_of, launch, state_of
from orchestrator.engine.reviews import review_start
from orchestrator.engine.routine import routine_start
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError


def ensure_run(ws: Workspace, job: Job) -> Move | None:
    """See that the run which the ledger names is there. Returns a step if it cannot be started."""
    run = RunId.parse(job.at.run)
    if run is None or state_of(folder_of(ws, job.at.run)) is not RunState.MISSING:
        return None
    starts = {RunKind.ATTEMPT: attempt_start, RunKind.REVIEW: review_start, RunKind.ROUTINE: routine_start}
    try:
        if run.kind is RunKind.ATTEMPT:
            note_outside(ws, job)
        launch(ws, starts.get(run.kind, checks_start)(ws, job, run))
    except OrcError as error:
        return not_started(job, error.message, ws.config.limits, ws.stamp())
    return None
