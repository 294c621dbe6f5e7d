"""What follows from how a run ended: on with its job, the same step again, or back to the author.

Whoever is at fault pays: an agent with an attempt, its service with a rest, orc and the machine with a pause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.core.attempt import attempt_ended, not_started, run_lost, session_gone, unserved
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.config import Config, Terms
from orchestrator.core.job import Job
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import Trouble
from orchestrator.core.service import Capacity, Service, after_run, broke_at_once, ended_by
from orchestrator.core.transitions import Event, Move

BY_ITSELF = (RunStatus.ENDED, RunStatus.TIMEOUT, RunStatus.SILENT)
"""Some programs wait for a service that asks for an hour until our own limit ends them."""
CANNOT_START = (RunStatus.NOT_STARTED, RunStatus.PREPARE_FAILED, RunStatus.SETUP_FAILED)
WORTHLESS = (RunStatus.BROKEN, RunStatus.UNREADABLE)
"""What went wrong is orc's own or the machine's: nobody is blamed for it."""


@dataclass(frozen=True, slots=True)
class Around:
    """What holds when a run has ended."""

    config: Config
    terms: Callable[[], Terms]
    """Of the job. Asked for where they matter: its project may be gone."""
    known: Callable[[str], Service]
    """What is known of the service behind a backend."""
    now: str


def is_turned_away(status: RunStatus | None, trouble: Trouble) -> bool:
    """Whether the service behind a run is at fault."""
    return trouble.is_of_service and status in BY_ITSELF


def after_attempt(
    job: Job, ended: Attempt, around: Around, *, is_untouched: Callable[[], bool], has_tree: bool
) -> Move:
    """The step that the end of an attempt leads to, which left a result.

    `is_untouched`: whether its work is what it began with, which takes a look. `has_tree`: its tree is there.
    """
    status, now, limits = ended.status, around.now, around.config.limits
    records = {f"attempt-{ended.number}": ended}
    trouble = ended.spoke.trouble if ended.spoke is not None else Trouble.NONE
    if status in CANNOT_START:
        return not_started(job, f"{_words(status)}: {ended.error}", limits, now, records=records)
    if status in WORTHLESS:
        return _lost(job, ended, around, error=f"ended {status}: {ended.error}"[:500])
    if is_turned_away(status, trouble):
        return _turned_away(job, ended, trouble, around)
    is_broken = status is RunStatus.ENDED and broke_at_once(ended.exit, ended.spoke, ended.seconds)
    if is_broken and ended.tip and is_untouched():
        # It never set about the work: that is its program's fault, or its configuration's.
        why = f"its program ended at once and did nothing: {ended.error or f'exit {ended.exit}'}"
        return not_started(job, why, limits, now, records=records, tip=ended.tip)
    if not ended.tip and has_tree and status is RunStatus.ENDED and ended.error:
        # The supervisor says why the work cannot be taken, such as too many files: that is the author's to mend.
        return attempt_ended(job, replace(ended, status=RunStatus.OUTPUT_LIMIT), around.terms(), now)
    if not ended.tip and status is not RunStatus.STOPPED:
        # Nothing changed is a commit too. Without one the tree is gone or cannot be read: no fault of the agent's.
        return _lost(job, ended, around)
    return attempt_ended(job, ended, around.terms(), now)


def is_unmade(status: RunStatus, trouble: Trouble) -> bool:
    """Whether a review could not be made: its reviewer has said nothing, and may be asked again."""
    return is_turned_away(status, trouble) or status in (*CANNOT_START, *WORTHLESS, RunStatus.STOPPED)


def why_unmade(status: RunStatus, trouble: Trouble, error: str) -> str:
    """Why it could not."""
    how = "could not be made" if is_turned_away(status, trouble) else _words(status)
    return f"the review {how}: {error}"


def after_unmade_review(job: Job, ended: ReviewRecord, around: Around) -> Move:
    """The step that a review leads to which could not be made."""
    records = {f"review-{ended.number}": ended}
    trouble = ended.spoke.trouble if ended.spoke is not None else Trouble.NONE
    if is_turned_away(ended.status, trouble) and trouble is not Trouble.SESSION:
        return unserved(job, ended.why, around.now, records=records, until=_why_resting(job, records, around))
    return not_started(job, ended.why, around.config.limits, around.now, records=records)


def _turned_away(job: Job, ended: Attempt, trouble: Trouble, around: Around) -> Move:
    """The service is at fault, not the agent: it costs no attempt, and what was done by then is gone on from."""
    records, limits = {f"attempt-{ended.number}": ended}, around.config.limits
    if trouble is Trouble.SESSION:
        if ended.resumed:
            return session_gone(job, ended, limits, around.now)
        return not_started(job, ended.error or "its session is gone", limits, around.now, records=records)
    why, until = ended.error or "its service failed", _why_resting(job, records, around)
    return unserved(job, why, around.now, records=records, until=until, tip=ended.tip)


def _why_resting(job: Job, records: Mapping[str, Any], around: Around) -> str:
    """Why nothing more begins on the service of a run that was turned away, and until when; '' if something may."""
    record = next(iter(records.values()))
    run = ended_by(Event.NOT_STARTED, job, job, lambda kind, _: record if isinstance(record, kind) else None)
    if run is None:
        return ""
    backend = run.worker.backend
    after = after_run(around.known(backend), run, most=around.config.at_once(backend), used=1)
    return Capacity(after, 0, run.at).resting(run.worker.model)


def _lost(job: Job, ended: Attempt, around: Around, *, error: str = "") -> Move:
    lost = {f"attempt-{ended.number}": replace(ended, status=RunStatus.LOST)}
    return run_lost(job, around.config.limits, around.now, records=lost, tip=ended.tip, error=error)


def _words(status: RunStatus | None) -> str:
    return status.value.replace("_", " ") if status is not None else ""
