"""Advance: open jobs that stand still although nobody and nothing is waited for, and what is done about them.

A job that waits for a person, a date, another job, a limit or an agent is none of them: it is told of elsewhere, and to
begin more work would help none of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.core.job import Job, Purpose, State
from orchestrator.core.times import iso, parse

STILL = timedelta(hours=24)
"""So long a job has been in the same state when it counts as standing still."""
MOST = 3
"""So many jobs are dealt with at once, of each project one."""
COOLDOWN = timedelta(hours=24)
"""How long a job is left alone afterwards."""
SOURCE = "advance "
"""So the source of a job begins that looks at one which stood still."""
PATH = "routines/advance.yaml"


class Act(StrEnum):
    """What is done about a job that stands still."""

    REPLAN = "replan"
    """Its work was sent back twice: somebody says how to divide it."""
    NUDGE = "nudge"
    """Somebody finds out why it does not go on."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """A job that stands still, and what is to be done."""

    job: Job
    act: Act
    since: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """`routines/advance.yaml`: the jobs about which something was done in the last day, and when."""

    jobs: dict[str, str] = field(default_factory=dict)

    def lately(self, now: datetime) -> dict[str, str]:
        """Those that are to be left alone yet."""
        return {job: at for job, at in self.jobs.items() if at > iso(now - COOLDOWN)}


def is_still(job: Job, now: datetime) -> bool:
    """Whether a job stands still, as far as it tells itself."""
    if job.state.ended or job.state in (State.DECIDE, State.WAITING) or job.is_held or job.at.run:
        return False
    if job.spec.purpose is Purpose.MAINTENANCE or job.spec.routine or job.at.source.startswith(SOURCE):
        return False
    is_begun = bool(job.at.attempt or job.at.rounds)
    return is_begun and parse(job.at.since) <= now - STILL


def act_for(job: Job) -> Act:
    """What is to be done about it."""
    return Act.REPLAN if job.state is State.READY and job.at.rounds >= 2 else Act.NUDGE


def choose(jobs: Iterable[Job], before: Advanced, now: datetime) -> tuple[Stalled, ...]:
    """The jobs to deal with now: those that stand still for longest, not too many, of each project one."""
    rest, taken = before.lately(now), set[str]()
    chosen: list[Stalled] = []
    for job in sorted((job for job in jobs if is_still(job, now)), key=lambda job: (job.at.since, job.id)):
        if job.id not in rest and job.at.project not in taken and len(chosen) < MOST:
            taken.add(job.at.project)
            chosen.append(Stalled(job, act_for(job), job.at.since))
    return tuple(chosen)


def noted(before: Advanced, jobs: Mapping[str, str], now: datetime) -> Advanced:
    """The record with these jobs, and when; without those that need no longer be left alone."""
    return Advanced(dict(sorted({**before.lately(now), **jobs}.items())))
