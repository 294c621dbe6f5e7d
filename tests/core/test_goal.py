"""A project is counted as its jobs end, asked about when none is open, and finished by a person only."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import HUMAN, LATER, NOON, NOW, a_job, numbered_id

from orchestrator.adapters.ledger_text import format_record
from orchestrator.core.attempt_record import Attempt, Spoke
from orchestrator.core.codec import to_mapping
from orchestrator.core.ending import Spend
from orchestrator.core.goal import (
    GOAL_TABLE,
    SHOWN,
    FinishCard,
    Goal,
    GoalEvent,
    GoalMove,
    ProjectState,
    answer_finish,
    ask_finish,
    finish_id,
    follow_step,
    next_step,
    parse_finish_id,
    remind_finish,
    tell_goal,
    wait_for,
    why_not_due,
)
from orchestrator.core.job import Job, State, Worker
from orchestrator.core.said import MOST_COUNTED, Usage
from orchestrator.core.times import iso
from orchestrator.core.transitions import ENGINE, ActorKind, IllegalStepError
from orchestrator.core.waits import REMINDED_AFTER
from orchestrator.errors import RefusedError

WANTED = "Log-in works."
HOUR = timedelta(hours=1)


def nothing(kind: type[Any], number: int) -> Any:
    """The records of a job without any."""
    return None


def attempts(kind: type[Any], number: int) -> Any:
    """The records of a job of whose attempts each used 100 tokens for a tenth of a dollar."""
    spoke = Spoke(Usage(input=60, output=40), cost_microusd=100_000)
    return Attempt(number, Worker("ada"), "b" * 40, "run", NOW, spoke=spoke) if kind is Attempt else None


def begun(**changes: Any) -> Goal:
    """A project that has just been given its goal."""
    step = next_step(None, None, "main", WANTED, 0, NOON)
    assert step is not None
    return replace(step.goal, **changes)


def an_end(state: State = State.DONE, number: int = 1, **at: Any) -> tuple[Job, Job]:
    """A job before and after the step that ends it."""
    job = a_job(numbered_id(number), State.LANDING, approved="a" * 40, merged="c" * 40, **at)
    return job, job.moved(state, LATER, reason="" if state is State.DONE else "given up")


def ended(known: Goal, state: State = State.DONE, number: int = 1, **at: Any) -> Goal:
    """The standing after a job ended."""
    step = follow_step(known, None, *an_end(state, number, **at), attempts, nothing)
    assert step is not None
    assert (step.event, step.card) == (GoalEvent.COUNT, None)
    return step.goal


def pending() -> tuple[Goal, FinishCard]:
    """A project about which is asked."""
    step = next_step(ended(begun()), None, "main", WANTED, 0, NOON + HOUR)
    assert step is not None
    assert step.card is not None
    return step.goal, step.card


def came_in(known: Goal, card: FinishCard | None) -> GoalMove | None:
    """What a new job leads to."""
    return follow_step(known, card, None, a_job(numbered_id(7)), nothing, nothing)


def test_a_project_without_a_goal_has_no_standing_and_nothing_is_done_about_it() -> None:
    assert next_step(None, None, "main", "", 0, NOON) is None
    taken = next_step(begun(), None, "main", "", 0, NOON)
    assert taken is not None
    assert follow_step(taken.goal, None, *an_end(), attempts, nothing) is None
    assert came_in(taken.goal, None) is None
    assert next_step(taken.goal, None, "main", "", 0, NOON) is None


def test_what_was_counted_before_a_goal_was_taken_away_is_not_counted_again() -> None:
    taken = next_step(ended(begun()), None, "main", "", 0, NOON)
    assert taken is not None
    again = next_step(taken.goal, None, "main", "Another.", 0, NOON + HOUR)
    assert again is not None
    assert (again.goal.seq, again.goal.done, again.goal.declared) == (4, 0, LATER)


def test_each_job_is_counted_as_it_ends_with_what_it_used() -> None:
    known = ended(begun(), attempt=2)
    assert (known.done, known.seq, known.state) == (1, 2, ProjectState.OPEN)
    assert known.spend == Spend(attempts=2, tokens=200, microusd=200_000)
    [delivered] = known.delivered
    assert (delivered.job, delivered.what) == (numbered_id(1), f"on its target as {'c' * 12}")
    known = ended(ended(known, State.FAILED, 2), State.CANCELLED, 3)
    assert (known.done, known.failed, known.cancelled, known.risky) == (1, 1, 1, 2)
    assert [each.text for each in known.risks] == ["failed: given up", "cancelled: given up"]


def test_what_ended_before_the_goal_was_given_is_not_counted() -> None:
    known = begun(declared=iso(NOON + 2 * HOUR))
    assert follow_step(known, None, *an_end(), attempts, nothing) is None


def test_a_job_that_is_taken_up_again_is_counted_when_it_ends_for_good() -> None:
    known = ended(begun(), State.FAILED, attempt=2)
    _, failed = an_end(State.FAILED, attempt=2)
    step = follow_step(known, None, failed, failed.moved(State.READY, LATER), nothing, attempts)
    assert step is not None
    assert step.event is GoalEvent.COUNT
    assert replace(step.goal, seq=1) == begun()
    again = ended(step.goal, attempt=3)
    assert (again.done, again.failed, again.risks, again.spend.attempts) == (1, 0, (), 3)


def test_the_lists_are_bounded_and_the_rest_is_counted() -> None:
    known = begun()
    for number in range(1, SHOWN + 6):
        known = ended(known, State.DONE, number)
        known = ended(known, State.FAILED, 100 + number)
    assert [each.job for each in known.delivered] == [numbered_id(n) for n in range(6, SHOWN + 6)]
    assert (known.done, known.failed, len(known.risks), known.risky) == (SHOWN + 5, SHOWN + 5, SHOWN, SHOWN + 5)
    told = list(tell_goal(known))
    assert f"Delivered, the newest {SHOWN} of {SHOWN + 5}:" in told
    assert f"Open risks, the newest {SHOWN} of {SHOWN + 5}:" in told
    assert next(line for line in told if line.startswith("  ")).startswith(f"  {numbered_id(SHOWN + 5)}: ")


@pytest.mark.parametrize(
    ("known", "open_jobs", "why"),
    [
        (ended(begun()), 0, ""),
        (ended(begun()), 2, "2 of its jobs are open"),
        (begun(), 0, "none of its jobs is done"),
        (ended(begun(), State.CANCELLED), 0, "none of its jobs is done"),
        (pending()[0], 0, "it is pending_approval already"),
        (replace(ended(begun()), goal=""), 0, "it has no goal"),
    ],
)
def test_a_person_is_asked_once_all_jobs_have_ended_and_one_is_done(known: Goal, open_jobs: int, why: str) -> None:
    assert why_not_due(known, open_jobs) == why
    step = next_step(known, None, "main", known.goal, open_jobs, NOON + HOUR)
    assert (step is not None and step.event is GoalEvent.PENDING) is (why == "")


def test_the_card_tells_what_was_delivered_what_it_took_and_what_is_at_risk() -> None:
    known = ended(ended(begun(), attempt=1), State.CANCELLED, 2)
    step = ask_finish(known, LATER)
    assert step.card is not None
    assert step.subject == "pending: main waits for your approval (main.finish-1)"
    assert step.card.question == "Is main finished? Its goal: Log-in works."
    assert [option.key for option in step.card.options] == ["done", "more"]
    assert step.card.context.splitlines() == [
        f"Ended since {NOW}: 1 done, 1 cancelled.",
        "Used: 1 attempt, 0 reviews, 100 tokens, $0.10.",
        "Delivered:",
        f"  {numbered_id(1)}: Put the login right.; on its target as {'c' * 12}",
        "Open risks:",
        f"  {numbered_id(2)}: cancelled: given up",
    ]


def test_only_a_person_finishes_a_project() -> None:
    known, card = pending()
    done = answer_finish(known, card, "done", "", 0, LATER, actor=HUMAN)
    assert (done.event, done.goal.state) == (GoalEvent.FINISH, ProjectState.DONE)
    assert done.card == replace(card, answer="done", answered=LATER, by=HUMAN.name)
    assert ("Answer", "done") in done.trailers
    with pytest.raises(IllegalStepError, match="not for the engine"):
        answer_finish(known, card, "done", "", 0, LATER, actor=ENGINE)
    finishing = {event: kind for event, (steps, kind) in GOAL_TABLE.items() if ProjectState.DONE in steps.values()}
    assert finishing == {GoalEvent.FINISH: ActorKind.HUMAN}


def test_more_opens_the_project_again_and_needs_words() -> None:
    known, card = pending()
    more = answer_finish(known, card, "more", " The changelog.\n", 0, LATER, actor=HUMAN)
    assert (more.event, more.goal.state) == (GoalEvent.MORE, ProjectState.OPEN)
    assert more.card is not None
    assert more.card.message == "The changelog."
    with pytest.raises(RefusedError, match="more of what"):
        answer_finish(known, card, "more", "  ", 0, LATER, actor=HUMAN)


def test_an_answer_that_the_card_does_not_take_is_refused() -> None:
    known, card = pending()
    done = answer_finish(known, card, "done", "", 0, LATER, actor=HUMAN)
    assert done.card is not None
    for goal, asked, key, open_jobs, why in (
        (known, card, "yes", 0, "it offers done, more"),
        (known, card, "done", 1, "1 of its jobs is open"),
        (known, None, "done", 0, "asks nothing"),
        (done.goal, done.card, "done", 0, "answered already: done, by human:ada"),
        (known, replace(card, superseded="x came in"), "done", 0, "may no longer be answered: x came in"),
        (replace(known, card=2), card, "done", 0, "main is pending_approval now"),
    ):
        with pytest.raises(RefusedError, match=why):
            answer_finish(goal, asked, key, "", open_jobs, LATER, actor=HUMAN)


def test_a_new_job_withdraws_the_question() -> None:
    known, card = pending()
    step = came_in(known, card)
    assert step is not None
    assert (step.event, step.goal.state) == (GoalEvent.WITHDRAW, ProjectState.OPEN)
    assert step.card == replace(card, superseded=f"{numbered_id(7)} came in")
    assert step.subject == f"withdraw: main {numbered_id(7)} came in"
    again = next_step(ended(step.goal, State.CANCELLED, 7), None, "main", WANTED, 0, NOON + HOUR)
    assert again is not None
    assert again.goal.card == 2


def test_a_new_job_reopens_a_project_that_is_finished() -> None:
    known, card = pending()
    done = answer_finish(known, card, "done", "", 0, LATER, actor=HUMAN)
    assert next_step(done.goal, done.card, "main", WANTED, 0, NOON + 400 * HOUR) is None
    step = came_in(done.goal, done.card)
    assert step is not None
    assert (step.event, step.goal.state, step.card) == (GoalEvent.REOPEN, ProjectState.OPEN, None)


def test_a_job_that_is_taken_up_again_reopens_it_too_and_is_no_longer_counted() -> None:
    known = ended(ended(begun()), State.FAILED, 2)
    asked = ask_finish(known, LATER)
    _, failed = an_end(State.FAILED, 2)
    step = follow_step(asked.goal, asked.card, failed, failed.moved(State.READY, LATER), nothing, attempts)
    assert step is not None
    assert (step.event, step.goal.failed, step.goal.risks) == (GoalEvent.WITHDRAW, 0, ())


def test_a_job_that_comes_in_while_the_project_is_open_changes_nothing() -> None:
    assert came_in(begun(), None) is None


@pytest.mark.parametrize(("wanted", "why"), [("Another.", "the goal was changed"), ("", "the goal was taken away")])
def test_another_goal_makes_the_question_void(wanted: str, why: str) -> None:
    known, card = pending()
    step = next_step(known, card, "main", wanted, 0, NOON + HOUR)
    assert step is not None
    assert (step.event, step.goal.state, step.goal.goal) == (GoalEvent.GOAL, ProjectState.OPEN, wanted)
    assert step.card == replace(card, superseded=why)
    after = next_step(step.goal, step.card, "main", wanted, 0, NOON + HOUR)
    assert (after is not None and after.goal.card) == (2 if wanted else False)


def test_a_goal_on_several_lines_is_kept_on_one() -> None:
    step = next_step(None, None, "main", "Log-in\n  works.\x07", 0, NOON)
    assert step is not None
    assert step.goal.goal == "Log-in works.\ufffd"
    assert next_step(step.goal, None, "main", "Log-in works.\x07\n", 0, NOON) is None


def test_a_person_is_reminded_and_nothing_is_ever_decided_by_time() -> None:
    known, card = pending()
    given = []
    for hour in range(24 * 30):
        now = NOON + HOUR + timedelta(hours=hour)
        step = next_step(known, card, "main", WANTED, 0, now)
        if step is not None:
            assert (step.event, step.goal.state, step.goal.since) == (GoalEvent.REMINDER, known.state, known.since)
            known = step.goal
            given.append(timedelta(hours=hour))
    assert tuple(given) == REMINDED_AFTER
    wait = wait_for(known, NOON + timedelta(days=30))
    assert wait is not None
    assert wait.is_stale
    with pytest.raises(IllegalStepError, match="no reminder"):
        remind_finish(known, iso(NOON + timedelta(days=31)))


def test_the_id_of_a_card_is_none_that_a_job_could_have() -> None:
    assert parse_finish_id(finish_id("web-shop", 12)) == ("web-shop", 12)
    for text in ("main.card-1", "main", "main.finish-0", "main.finish-1.x", "Main.finish-1", "a/b.finish-1"):
        assert parse_finish_id(text) is None


def test_what_is_kept_of_a_project_does_not_grow_with_the_jobs_that_have_ended() -> None:
    known, sizes = begun(), {}
    for number in range(1, 401):
        known = ended(ended(known, State.DONE, number), State.FAILED, 1000 + number)
        sizes[number] = len(json.dumps(to_mapping(known)))
    assert sizes[400] - sizes[100] < 100


def test_no_program_can_tell_of_a_use_that_keeps_the_jobs_of_a_project_from_ending() -> None:
    def told(kind: type[Any], number: int) -> Any:
        spoke = Spoke(Usage(input=10**17, output=10**17), cost_microusd=10**17)
        return Attempt(number, Worker("ada"), "b" * 40, "run", NOW, spoke=spoke) if kind is Attempt else None

    known = begun()
    for number in range(1, 21):
        step = follow_step(known, None, *an_end(number=number, attempt=3), told, nothing)
        assert step is not None
        known = step.goal
    assert known.spend.tokens == known.spend.microusd == MOST_COUNTED
    format_record(known)
