"""Whoever a job waits for is told so and reminded: each reminder once, when it is due, and nothing is decided."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from builders import LATER, NOON, NOW, a_board, a_job, a_spec

from orchestrator.core.backlog import Backlog
from orchestrator.core.job import Held, Job, State
from orchestrator.core.merge import ask
from orchestrator.core.records import CardKind
from orchestrator.core.schedule import Remind, decide
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import IllegalStepError
from orchestrator.core.waits import REMINDED_AFTER, next_reminder, remind, wait_of

HELD: dict[str, Any] = {"held": Held("human:ada", NOW), "spec": a_spec(hold="for Anna")}
SECOND = timedelta(seconds=1)


def asking(**at: Any) -> Job:
    return ask(a_job(state=State.REVIEWING, **at), CardKind.HUMAN_REVIEW, "Take it?", NOW).job


def reminded(job: Job, after: timedelta) -> Job:
    return remind(job, iso(NOON + after)).job


@pytest.mark.parametrize(
    ("job", "who"),
    [
        (asking(), ""),
        (asking(held=Held("human:ada", LATER), spec=a_spec(hold="")), ""),
        (a_job(**HELD), "ada"),
        (a_job(state=State.MERGING, approved="a" * 40, **HELD), "ada"),
        (a_job(state=State.RUNNING, run="x", **HELD), None),
        (a_job(state=State.CANCELLED, **HELD), None),
        (a_job(state=State.WAITING, reason="needs something"), None),
        (a_job(), None),
    ],
)
def test_a_job_waits_for_a_person_on_a_card_or_when_it_is_held_and_nothing_of_it_runs(
    job: Job, who: str | None
) -> None:
    wait = wait_of(job, NOON)
    assert (wait.who if wait is not None else None) == who
    if wait is not None:
        assert (wait.since, wait.reminders, wait.is_stale) == (NOW, 0, False)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_reminder_is_due_to_the_second_and_the_last_one_says_that_it_is_stale(number: int) -> None:
    after = REMINDED_AFTER[number - 1]
    before, now = (wait_of(asking(), NOON + each) for each in (after - SECOND, after))
    assert before is not None
    assert now is not None
    assert (before.reminders, now.reminders) == (number - 1, number)
    assert now.is_stale is (number == 3)
    assert ("stale" in now.in_words()) is now.is_stale
    assert next_reminder(asking(), NOON + after - SECOND) == NOON + after


@pytest.mark.parametrize(
    "job", [asking(), a_job(state=State.WAITING, reason=f"held by ada since {NOW}: for Anna", **HELD)]
)
def test_each_reminder_is_given_once_and_changes_nothing_else(job: Job) -> None:
    state, reason, given = job.state, job.at.reason, 0
    kept = Backlog()
    for hour in range(0, 24 * 9):
        now = NOON + timedelta(hours=hour)
        due = Remind(job.id) in decide(a_board(job), now, kept)
        assert due is (Remind(job.id) in decide(a_board(job), now))
        if due:
            job, given = remind(job, iso(now)).job, given + 1
            assert (job.state, job.at.reason, job.at.since) == (state, reason, NOW)
            assert now - NOON == REMINDED_AFTER[given - 1]
    assert given == 3
    assert next_reminder(job, now) is None


def test_whoever_was_away_for_long_is_reminded_once() -> None:
    job = reminded(asking(), timedelta(days=30))
    with pytest.raises(IllegalStepError):
        reminded(job, timedelta(days=60))


def test_another_question_begins_another_wait() -> None:
    job = reminded(asking(), REMINDED_AFTER[0])
    later = parse(job.at.reminded) + SECOND
    again = ask(a_job(state=State.REVIEWING, reminded=job.at.reminded), CardKind.HUMAN_REVIEW, "Now?", iso(later)).job
    wait = wait_of(again, later)
    assert wait is not None
    assert wait.reminders == 0
    assert remind(again, iso(later + REMINDED_AFTER[0])).job.at.reminded


@pytest.mark.parametrize("job", [a_job(), asking()])
def test_nobody_is_reminded_before_the_time(job: Job) -> None:
    with pytest.raises(IllegalStepError):
        remind(job, LATER)
