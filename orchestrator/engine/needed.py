"""What the jobs came to that a job needs, from the ledger."""

from __future__ import annotations

from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.ids import is_job_id
from orchestrator.core.job import Job
from orchestrator.core.needed import Needed
from orchestrator.engine.workspace import Workspace


def needed_by(ws: Workspace, job: Job) -> tuple[Needed, ...]:
    """The results of the jobs that this one needs and that have ended, in the order in which it names them."""
    ids = dict.fromkeys(job.at.needs.get(name, name) for name in job.spec.needs)
    folders = (ws.ledger.closed(id_) for id_ in ids if is_job_id(id_))
    return tuple(_result(ws, folder) for folder in folders if folder is not None)


def _result(ws: Workspace, folder: Folder) -> Needed:
    job, name = folder.job, f"attempt-{folder.job.at.attempt}"
    report = ws.ledger.record(Attempt, folder, name).report if name in folder.records else ""
    outcome = f"{job.state}, {job.at.reason}" if job.at.reason else job.state.value
    return Needed(job.id, job.spec.heading, outcome, report)
