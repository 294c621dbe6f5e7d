"""What waits for a person: for whom, since when, and when that person is reminded of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from orchestrator.core.job import Job, State
from orchestrator.core.step import Step
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import Event, IllegalStepError, Move

REMINDED_AFTER = (timedelta(hours=24), timedelta(hours=72), timedelta(days=7))
"""How long a job waits until each reminder; with the last one it is stale. Nothing is ever decided by time."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A job that waits for a person."""

    who: str
    """The name of whoever holds it; '' for a card, which anybody may answer who may write to the ledger."""
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
    """For which person a job waits: a card asks, or somebody holds it and nothing of it runs. None if for nobody."""
    held = job.at.held
    if job.state is State.DECIDE:
        return Wait("", job.at.since, _due(job.at.since, _text(now)))
    if held is None or not job.is_held or job.at.run:
        return None
    return Wait(held.by.removeprefix("human:"), held.since, _due(held.since, _text(now)))


def needs_reminder(job: Job, now: datetime) -> bool:
    """Whether a reminder is due that was not given yet."""
    wait = wait_of(job, now)
    return wait is not None and wait.reminders > _given(job, wait.since)


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


def _due(since: str, now: str) -> int:
    return sum(moment <= now for moment in _moments(since))


@lru_cache(16_384)
def _moments(since: str) -> tuple[str, ...]:
    """When the reminders of a wait are due, as text: every open card is looked at in every tick."""
    return tuple(iso(parse(since) + each) for each in REMINDED_AFTER)


@lru_cache(1)
def _text(now: datetime) -> str:
    return iso(now)


def _given(job: Job, since: str) -> int:
    """How many reminders were given of a wait. One of an earlier wait does not count."""
    return _due(since, job.at.reminded) if job.at.reminded > since else 0
