"""Waiting for services: which jobs would go on if a service took more, and until when it does not."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.core.job import Job, State
from orchestrator.engine.workspace import Workspace


def why_waiting(ws: Workspace, jobs: Iterable[Job]) -> dict[str, str]:
    """For jobs that are ready, or to be judged, and whose services all rest: why and until when, by job."""
    from orchestrator.core.matching import Matching  # Slow to load, and nearly always nothing rests.
    from orchestrator.engine.look import look

    matching = Matching(look(ws), ws.now())
    found = {}
    for job in jobs:
        if job.is_held or job.at.run or job.spec.routine:
            continue
        why = ""
        if job.state is State.READY:
            why = matching.why_resting(job)
        elif job.state is State.REVIEWING:
            why = matching.why_unjudged(job)
        if why:
            found[job.id] = f"waits: {why}"
    return found
