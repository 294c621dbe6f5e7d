"""What waits for a person: for whom, since when, when that person is reminded of it, and when it is asked about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from orchestrator.core.ids import is_job_id
from orchestrator.core.job import Job, State
from orchestrator.core.records import Card, CardKind
from orchestrator.core.step import Step
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import Event, IllegalStepError, Move

REMINDED_AFTER = (timedelta(hours=24), timedelta(hours=72), timedelta(days=7))
"""How long a job waits until each reminder; with the last one it is stale. Nothing is ever decided by time."""
STARTS, PAUSES, NEEDS, RED_BASE = "starts at ", "pauses until ", "needs ", "on its base already"
"""How the reasons of a job begin that waits for a date, a pause or another job, and how that of a red base ends."""
CIRCLE = f"{NEEDS}go round in a circle: "
FREED = "what it waited for has come"


@dataclass(frozen=True, slots=True)
class Wait:
    """A job that waits for a person."""

    who: str
    """The name of whoever holds it; '' for a card, or where something must be mended first: that may be anybody."""
    since: str
    reminders: int
    """How many reminders are due by now."""

    @property
    def is_stale(self) -> bool:
        """Whether it has waited so long that it looks forgotten."""
        return self.reminders == len(REMINDED_AFTER)

    def in_words(self) -> str:
        """`waits for you since 2026-11-20T12:00:00Z`."""
        told = f"waits for {self.who or 'you'} since {self.since}"
        if self.is_stale:
            return f"{told}: stale"
        return f"{told}, reminder {self.reminders}" if self.reminders else told


def wait_of(job: Job, now: datetime) -> Wait | None:
    """For which person a job waits; None if for nobody.

    A card asks, or somebody holds it and nothing of it runs, or it waits for what does not come by itself.
    """
    held = job.at.held
    if job.state is State.DECIDE:
        return wait_since(job.at.since, now)
    if held is not None and job.is_held:
        return None if job.at.run else wait_since(held.since, now, held.who)
    if job.state is not State.WAITING or comes_by_itself(job.at.reason):
        return None
    return wait_since(job.at.stuck or job.at.since, now)


def wait_since(since: str, now: datetime, who: str = "") -> Wait:
    """What has waited for a person since then, with the reminders that are due by now."""
    return Wait(who, since, _due(since, _text(now)))


def comes_by_itself(reason: str) -> bool:
    """Whether time brings what a waiting job waits for: a date, a pause, another open job, a base that a card is about.

    Without a reason it was released a moment ago.
    """
    if not reason or reason.startswith((STARTS, PAUSES)) or reason.endswith(RED_BASE):
        return True
    # Every other need is told with what is wrong with it.
    return reason.startswith(NEEDS) and is_job_id(reason.removeprefix(NEEDS))


def needs_reminder(job: Job, now: datetime) -> bool:
    """Whether a reminder is due that was not given yet."""
    wait = wait_of(job, now)
    return wait is not None and is_unreminded(wait, job.at.reminded)


def is_unreminded(wait: Wait, reminded: str) -> bool:
    """Whether more reminders are due than were given until `reminded`. One of an earlier wait does not count."""
    given = _due(wait.since, reminded) if reminded > wait.since else 0
    return wait.reminders > given


def next_reminder(job: Job, now: datetime) -> datetime | None:
    """When the next reminder will be due; None if there will be none."""
    wait = wait_of(job, now)
    if wait is None:
        return None
    return next((moment for each in REMINDED_AFTER if (moment := parse(wait.since) + each) > now), None)


def remind(job: Job, now: str) -> Move:
    """A person is reminded that a job waits. The job stays as it is. Raises IllegalStepError if none is due."""
    wait = wait_of(job, parse(now))
    if wait is None or not needs_reminder(job, parse(now)):
        raise IllegalStepError(f"no reminder of {job.id} is due")
    facts = {"waits_since": wait.since, "reminder": wait.reminders}
    step = Step(Event.REMIND, job, now, facts=facts)
    return step.to(job.state, wait.in_words(), reason=job.at.reason, reminded=now)


# --- what is stuck ------------------------------------------------------------------------------------------------


def is_forgotten(job: Job, now: datetime) -> bool:
    """Whether a job has waited so long for what does not come by itself that a person is asked about it."""
    if job.state is not State.WAITING or job.is_held:
        return False
    wait = wait_of(job, now)
    return wait is not None and wait.is_stale


def stale_question(reason: str) -> str:
    """What is asked then: the same for all jobs that wait for the same."""
    days = REMINDED_AFTER[-1].days
    return f"It has waited {days} days: {reason}. Try again, give it to another agent, or give it up?"


def freed(job: Job, card: Card, now: str) -> Move:
    """What a job waited for has come, or comes by itself now: the question about it is superseded."""
    if card.kind is not CardKind.STALE or card.number != job.at.card or not card.open:
        raise IllegalStepError(f"{card.id} does not ask about what a job waits for any more")
    step = Step(Event.SUPERSEDE, job, now, {f"card-{card.number}": replace(card, superseded=FREED)})
    return replace(step, facts={"card": card.id}).to(State.READY, FREED)


def _due(since: str, now: str) -> int:
    return sum(moment <= now for moment in _moments(since))


@lru_cache(16_384)
def _moments(since: str) -> tuple[str, ...]:
    """When the reminders of a wait are due, as text: every open card is looked at in every tick."""
    return tuple(iso(parse(since) + each) for each in REMINDED_AFTER)


@lru_cache(1)
def _text(now: datetime) -> str:
    return iso(now)
