"""Whoever a job waits for is told so and reminded: each reminder once, when it is due, and nothing is decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import HUMAN, LATER, NOON, NOW, a_board, a_job, a_spec, an_agent, numbered_id, the_terms

from orchestrator.core.accept import hold
from orchestrator.core.answer import answer
from orchestrator.core.backlog import Backlog
from orchestrator.core.job import Held, Job, State
from orchestrator.core.merge import ask
from orchestrator.core.records import Card, CardKind
from orchestrator.core.schedule import Ask, Freed, Hold, Remind, decide
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import IllegalStepError, Move
from orchestrator.core.waits import FREED, REMINDED_AFTER, freed, next_reminder, remind, stale_question, wait_of

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
        (a_job(state=State.WAITING, held=Held("engine", NOW), spec=a_spec(hold="")), ""),
        (a_job(**HELD), "ada"),
        (a_job(state=State.MERGING, approved="a" * 40, **HELD), "ada"),
        (a_job(state=State.RUNNING, run="x", **HELD), None),
        (a_job(state=State.CANCELLED, **HELD), None),
        (a_job(state=State.WAITING, reason="needs other-00000001"), None),
        (a_job(state=State.WAITING, reason="starts at 2027-01-01"), None),
        (a_job(state=State.WAITING, reason="pauses until 2026-11-20T12:05:00Z: no agent in souls/ fits: x"), None),
        (a_job(state=State.WAITING, reason="the checks of main fail on its base already"), None),
        (a_job(state=State.WAITING), None),
        (a_job(state=State.WAITING, reason="needs other-00000001, which was failed; retry it or cancel this one"), ""),
        (a_job(state=State.WAITING, reason="needs other-00000001, unknown"), ""),
        (a_job(state=State.WAITING, reason="needs 'other': no open job has this name"), ""),
        (a_job(state=State.WAITING, reason="needs go round in a circle: a-00000001 → a-00000001"), ""),
        (a_job(state=State.WAITING, reason="project 'site' is not in orc.yaml"), ""),
        (a_job(state=State.WAITING, reason="agent 'x' has no file in souls/"), ""),
        (a_job(), None),
    ],
)
def test_a_job_waits_for_a_person_on_a_card_when_it_is_held_or_for_what_does_not_come_by_itself(
    job: Job, who: str | None
) -> None:
    wait = wait_of(job, NOON)
    assert (wait.who if wait is not None else None) == who
    assert "engine" not in job.why
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


# --- what is stuck ---

NOBODY = "agent 'nobody' has no file in souls/"
OTHER = "other-00000001"
WEEK = REMINDED_AFTER[-1]


def stuck(number: int = 1, reason: str = NOBODY, **at: Any) -> Job:
    known: dict[str, Any] = {"stuck": NOW, "reason": reason, "created": iso(NOON + timedelta(seconds=number))}
    return a_job(numbered_id(number), State.WAITING, spec=a_spec(agent="nobody"), **{**known, **at})


def questions(*jobs: Job, now: Any = NOON + WEEK, kept: Backlog | None = None, **board: Any) -> list[Ask]:
    actions = decide(a_board(*jobs, **board), now, kept)
    return [each for each in actions if isinstance(each, Ask)]


def about(job: Job, after: timedelta = WEEK) -> Move:
    return ask(job, CardKind.STALE, stale_question(job.at.reason), iso(NOON + after))


def card_of(move: Move) -> Card:
    card: Card = move.records[f"card-{move.job.at.card}"]
    return card


def test_a_wait_goes_on_from_reason_to_reason_as_long_as_nothing_comes_by_itself() -> None:
    job = hold(a_job(), NOBODY, NOW, needs={}).job
    assert job.at.stuck == NOW
    job = hold(job, f"needs {OTHER}, unknown", LATER, needs={}).job
    assert (job.at.stuck, job.at.since) == (NOW, NOW)
    job = hold(job, f"needs {OTHER}", LATER, needs={}).job
    assert (job.at.stuck, wait_of(job, NOON)) == ("", None)
    job = hold(job, NOBODY, LATER, needs={}).job
    wait = wait_of(job, NOON + WEEK)
    assert wait is not None
    assert (job.at.since, wait.since, wait.reminders) == (NOW, LATER, 2), (
        "the time before that was no wait for a person"
    )


def test_what_an_older_version_holds_waits_since_it_began_to() -> None:
    wait = wait_of(stuck(stuck="", since=LATER), NOON)
    assert wait is not None
    assert wait.since == LATER


def test_somebody_is_reminded_of_a_stuck_job_twice_and_then_asked() -> None:
    job, told = stuck(), list[tuple[str, timedelta]]()
    kept = Backlog()
    for hour in range(0, 24 * 9):
        after = timedelta(hours=hour)
        now = NOON + after
        due = [each for each in decide(a_board(job), now, kept) if isinstance(each, Ask | Remind)]
        assert due == [each for each in decide(a_board(job), now) if isinstance(each, Ask | Remind)]
        for action in due:
            told.append((type(action).__name__, after))
            job = remind(job, iso(now)).job if isinstance(action, Remind) else about(job, after).job
    assert told[:3] == [("Remind", REMINDED_AFTER[0]), ("Remind", REMINDED_AFTER[1]), ("Ask", WEEK)]
    assert [each[0] for each in told[3:]] == ["Remind"], "of the question, a day later"
    assert (job.state, job.at.stuck, job.at.card) == (State.DECIDE, NOW, 1)


def test_of_all_that_wait_for_the_same_one_is_asked_about_at_a_time() -> None:
    kept, jobs = Backlog(), [stuck(number) for number in range(3, 0, -1)]
    [action] = questions(*jobs, kept=kept)
    assert (action.job, action.kind, action.context) == (jobs[-1].id, CardKind.STALE, "3 jobs wait for the same.")
    assert NOBODY in action.question
    move = about(jobs[-1])
    reminded_ = [remind(each, iso(NOON + WEEK)).job for each in jobs[:2]]
    assert questions(*reminded_, move.job, kept=kept) == questions(*reminded_, move.job) == []
    done = answer(move.job, card_of(move), "drop", "", the_terms(), iso(NOON + WEEK), actor=HUMAN).job
    assert done.state is State.CANCELLED
    [action] = questions(*reminded_, kept=kept)
    assert [action] == questions(*reminded_)
    assert action.job == jobs[1].id


def test_other_reasons_are_other_questions() -> None:
    other = stuck(2, "project 'site' is not in orc.yaml", project="site")
    assert {each.job for each in questions(stuck(), other)} == {stuck().id, other.id}


def test_nobody_is_asked_about_a_job_that_somebody_holds() -> None:
    held = stuck(reason=f"held by ada since {NOW}", held=Held("human:ada", NOW))
    assert questions(held) == []


def test_the_question_goes_when_what_the_job_waits_for_has_come() -> None:
    move = about(stuck())
    job, now = move.job, NOON + WEEK
    assert Freed(job.id) not in decide(a_board(job), now)
    board = a_board(job, agents=[an_agent("nobody")])
    assert Freed(job.id) in decide(board, now)
    done = freed(job, card_of(move), iso(now))
    assert (done.job.state, done.job.at.stuck, card_of(done).superseded) == (State.READY, "", FREED)
    with pytest.raises(IllegalStepError):
        freed(done.job, card_of(done), iso(now))


def test_a_job_that_asks_is_freed_when_what_it_needs_goes_on() -> None:
    needs = a_spec(needs=(OTHER,))
    waits = a_job(numbered_id(1), State.WAITING, spec=needs, reason=f"needs {OTHER}, unknown", stuck=NOW)
    job, now = about(waits).job, NOON + WEEK
    assert Freed(job.id) not in decide(a_board(job), now)
    assert Freed(job.id) in decide(a_board(job, a_job(OTHER)), now)
    assert Freed(job.id) in decide(a_board(job, ended={OTHER: State.DONE}), now)
    assert Freed(job.id) not in decide(a_board(job, ended={OTHER: State.FAILED}), now)


def test_of_a_circle_one_job_is_asked_about_and_the_others_wait_for_it() -> None:
    one, two = numbered_id(1), numbered_id(2)
    circle = f"needs go round in a circle: {one} → {two} → {one}"
    a = a_job(one, State.WAITING, spec=a_spec(needs=(two,)), needs={two: two}, reason=circle, stuck=NOW)
    b = a_job(two, State.WAITING, spec=a_spec(needs=(one,)), needs={one: one}, reason=circle, stuck=NOW)
    [action] = questions(a, b)
    assert action.job == one
    asking_ = about(a).job
    actions = decide(a_board(asking_, b), NOON + WEEK)
    assert Freed(one) not in actions
    assert Hold(two, f"needs {one}", {one: one}) in actions


def on_ledger(version: int, *jobs: Job, changed: Job | None = None) -> Any:
    """A board that names its state, and what has changed since the one before."""
    differing = frozenset() if changed is None else frozenset({changed.id})
    return a_board(*jobs, version=str(version), before=str(version - 1), changed=differing)


def test_what_is_kept_from_look_to_look_frees_a_job_as_well() -> None:
    kept, now = Backlog(), NOON + WEEK
    spec = a_spec(needs=("other",))
    reason = "needs 'other': no open job has this name (an ended one is named by its whole id)"
    job = about(a_job(numbered_id(1), State.WAITING, spec=spec, reason=reason, stuck=NOW)).job
    bystander = a_job(numbered_id(7))
    assert Freed(job.id) not in decide(on_ledger(1, job), now, kept)
    assert Freed(job.id) not in decide(on_ledger(2, job, bystander, changed=bystander), now, kept)
    came = a_job(OTHER)
    for version in (3, 3, 4):
        board = on_ledger(version, job, bystander, came, changed=came if version == 3 else None)
        assert Freed(job.id) in decide(board, now, kept), "as long as it was not done"


def test_a_circle_that_is_broken_far_away_frees_the_job_that_asks() -> None:
    kept, now = Backlog(), NOON + WEEK
    a, b, c = (numbered_id(number) for number in (1, 2, 3))
    circle = f"needs go round in a circle: {a} → {b} → {c} → {a}"
    ring = {
        own: a_job(own, State.WAITING, spec=a_spec(needs=(other,)), needs={other: other}, reason=circle, stuck=NOW)
        for own, other in ((a, b), (b, c), (c, a))
    }
    ring[a] = about(ring[a]).job
    assert Freed(a) not in decide(on_ledger(1, *ring.values()), now, kept)
    broken = replace(ring[c], spec=a_spec())
    assert Freed(a) in decide(on_ledger(2, ring[a], ring[b], broken, changed=broken), now, kept)


@pytest.mark.parametrize(
    ("key", "message", "state", "given"),
    [
        ("retry", "", State.READY, ""),
        ("give", "engineer", State.READY, "engineer"),
        ("drop", "", State.CANCELLED, "someone"),
    ],
)
def test_the_answers_try_again_reassign_and_cancel(key: str, message: str, state: State, given: str) -> None:
    move = about(stuck(given="someone", collided="a" * 40))
    after = answer(move.job, card_of(move), key, message, the_terms(), iso(NOON + WEEK), actor=HUMAN).job
    assert (after.state, after.at.given, after.at.stuck, after.at.collided) == (state, given, "", "a" * 40)


def test_a_job_that_was_tried_again_and_finds_nobody_waits_for_another_week() -> None:
    move = about(stuck())
    now = NOON + WEEK
    job = answer(move.job, card_of(move), "retry", "", the_terms(), iso(now), actor=HUMAN).job
    [action] = [each for each in decide(a_board(job), now) if isinstance(each, Hold)]
    job = hold(job, action.reason, iso(now), needs={}).job
    assert questions(job, now=now + WEEK - SECOND) == []
    assert [each.job for each in questions(job, now=now + WEEK)] == [job.id]
