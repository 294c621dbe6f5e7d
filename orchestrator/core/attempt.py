"""An attempt begins, ends, is lost, or does not start at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.config import Limits, Terms
from orchestrator.core.job import MOST_UNSERVED, Fix, Job, Standing, State, Worker
from orchestrator.core.records import CardKind
from orchestrator.core.rounds import dispute_of
from orchestrator.core.sessions import Session
from orchestrator.core.step import NOT_APPROVED, Step, pause_until
from orchestrator.core.suspicion import is_extra
from orchestrator.core.transitions import Event, Move
from orchestrator.core.usage import reserve


def start_attempt(job: Job, attempt: Attempt, now: str) -> Move:
    """An attempt is reserved, before anything is spawned."""
    worker = attempt.worker
    facts = {
        "attempt": attempt.number,
        "author": worker.agent,
        "author_model": worker.model,
        "author_family": worker.family,
        "base": attempt.base,
        "soul": attempt.soul.blob if attempt.soul else "",
        "skills": " ".join(f"{each.name}@{each.blob}" for each in attempt.skills),
        "rules": attempt.rules.blob if attempt.rules else "",
        "prompt": attempt.prompt,
    }
    step = Step(Event.START, job, now, {f"attempt-{attempt.number}": attempt}, facts=facts)
    return step.to(
        State.RUNNING,
        f"attempt {attempt.number} by {worker.agent}",
        attempt=attempt.number,
        starts=job.at.starts + 1,
        run=attempt.run,
        reserved=reserve(attempt),
        agent=worker.agent,
        author=worker,
        former=former_authors(job.at, worker),
        base=attempt.base,
        excluded=(),
        inconclusive=0,
        second=None,
        **NOT_APPROVED,
    )


def former_authors(at: Standing, worker: Worker) -> tuple[Worker, ...]:
    """Those who made what `worker` goes on with: none of them is to judge it, whoever ends it."""
    if not at.fixes:
        return ()
    others = (at.author,) if at.author is not None and at.author != worker else ()
    return tuple(dict.fromkeys((*at.former, *others)))


def attempt_ended(job: Job, attempt: Attempt, terms: Terms, now: str) -> Move:
    """An attempt's run left a result, and its work is under a ref."""
    told = f"attempt {attempt.number} {attempt.status}" + (f": {attempt.error}" if attempt.error else "")
    tip = attempt.tip or job.at.tip
    # Any result, also one that was cut short, ends a row of crashes or of failed starts.
    changes = {"run": "", "tip": tip, "crashes": 0, "failed_starts": 0}
    step = Step(Event.COLLECT, job, now, {f"attempt-{attempt.number}": attempt}, changes, ended_facts(attempt))
    if attempt.status is RunStatus.ENDED:
        second = dispute_of(job.at.fixes, attempt.answers, job.at.review)
        return step.to(State.COLLECTED, told, reason=attempt.error, second=second)
    if attempt.status is RunStatus.STOPPED:
        return step.to(State.READY, told, reason=f"its run was stopped: {attempt.error}".rstrip(": "))
    why = f"The last attempt was cut short ({attempt.status}): {attempt.error}".rstrip(": ")
    more = Fix("", why, "Go on from the state of the tree and finish.", source="engine")
    return step.send_back((*job.at.fixes, more), terms, why)


def place_in_session(before: Session | None, session: str, job: str) -> int:
    """Which job of a session one is, 1 for the first; 0 for no session. `before` is the record before its run."""
    if not session or before is None or before.id != session:
        return int(bool(session))
    return before.jobs + (before.last_job != job)


def ended_facts(attempt: Attempt) -> Mapping[str, Any]:
    """What the commit says of an attempt that left a result."""
    told = {"attempt": attempt.number, "tip": attempt.tip, "exit": attempt.exit, "error": attempt.error}
    cut_short = attempt.status if attempt.status is not RunStatus.ENDED else None
    return {**told, "cut_short": cut_short, "session_job": attempt.session_job or None}


def run_lost(
    job: Job,
    limits: Limits,
    now: str,
    *,
    records: Mapping[str, Any] | None = None,
    tip: str = "",
    error: str = "",
) -> Move:
    """A run died without a result, or with one that is worth nothing. That spends none of the agent's attempts."""
    crashes = job.at.crashes + 1
    why = f"{job.at.run} {error or 'died without a result'} ({crashes} in a row)"
    changes = {
        "run": "",
        "crashes": crashes,
        "not_before": pause_until(now, crashes),
        "tip": tip or job.at.tip,
    }
    step = Step(Event.LOST, job, now, records or {}, changes, {"run": job.at.run, "tip": tip})
    if crashes >= limits.crashes and not is_extra(job):
        question = f"Runs of {job.id} died {crashes} times in a row without a result. Try again?"
        return step.ask(CardKind.CRASHES, question, why)
    return step.to(_before_run(job), why, reason=why)


def not_started(
    job: Job,
    why: str,
    limits: Limits,
    now: str,
    *,
    records: Mapping[str, Any] | None = None,
    tip: str = "",
    pauses: bool = True,
) -> Move:
    """A run could not be started, or its tree not be made ready. It spends no attempt, pauses, and stops at a limit."""
    failed = job.at.failed_starts + 1
    until = pause_until(now, failed) if pauses else ""
    changes = {"run": "", "failed_starts": failed, "not_before": until, "tip": tip or job.at.tip}
    step = Step(Event.NOT_STARTED, job, now, records or {}, changes, {"run": job.at.run, "error": why})
    if failed >= limits.failed_starts and not is_extra(job):
        question = f"{job.id} could not be started {failed} times in a row. Put it right and try again?"
        return step.ask(CardKind.CANNOT_START, question, why, told=why)
    return step.to(_before_run(job), why, reason=why)


def unserved(job: Job, why: str, now: str, *, records: Mapping[str, Any], until: str = "", tip: str = "") -> Move:
    """The service behind a run turned it away: that says nothing of the job, and costs it nothing.

    It does not pause either: it begins again as soon as that service, or one that may stand in for it, takes more.
    `until`: why and until when that one takes nothing, '' if it does.
    """
    at = job.at
    changes: dict[str, Any] = {"run": "", "tip": tip or at.tip, "unserved": min(MOST_UNSERVED, at.unserved + 1)}
    if job.state is State.REVIEWING:
        changes["unserved_reviews"] = min(MOST_UNSERVED, at.unserved_reviews + 1)
    step = Step(Event.NOT_STARTED, job, now, records, changes, {"run": at.run, "error": why})
    told = until or why
    return step.to(_before_run(job), told, reason=told[:400])


def session_gone(job: Job, attempt: Attempt, limits: Limits, now: str) -> Move:
    """The session that an attempt was to go on with is not there any more. The next attempt begins a new one, with the
    note that the old one leaves, and at once: nothing has to recover first.
    """
    told = f"the session of {attempt.worker.agent} is gone, so the next attempt begins a new one"
    return not_started(
        job,
        f"{told}: {attempt.error}" if attempt.error else told,
        limits,
        now,
        records={f"attempt-{attempt.number}": attempt},
        tip=attempt.tip,
        pauses=False,
    )


def _before_run(job: Job) -> State:
    return State.READY if job.state is State.RUNNING else job.state
