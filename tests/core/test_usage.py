"""What is set aside for a run, what it comes to, and what is learned of it: by value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import HUMAN, LATER, LIMITS, NOW, a_job, a_review, an_attempt, the_terms
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.accept import cancel
from orchestrator.core.attempt import attempt_ended, not_started, run_lost, start_attempt, unserved
from orchestrator.core.attempt_record import Attempt, PromptPart, RunStatus, Spoke
from orchestrator.core.config import Price
from orchestrator.core.job import Job, State
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import Trouble, Usage
from orchestrator.core.skills import tokens_of
from orchestrator.core.tally import NOTHING, Estimate, Reservation, Tally
from orchestrator.core.transitions import Event, Move
from orchestrator.core.usage import (
    EXPECTED,
    WINDOW_S,
    Bucket,
    Charge,
    Day,
    Learned,
    Window,
    add_to_day,
    add_to_learned,
    add_to_window,
    charge_of,
    charged,
    estimate,
    learned_path,
    prompt_tokens,
)

EXPECTS = Estimate(1000, 70, prompt=600, beyond=400)
USED = Spoke(Usage(100, 20, 3, 4), cost_microusd=55)


def running() -> Job:
    return start_attempt(a_job(), replace(an_attempt(a_job()), estimate=EXPECTS), NOW).job


def ended(job: Job, spoke: Spoke | None, status: RunStatus = RunStatus.ENDED) -> Attempt:
    return replace(an_attempt(job), estimate=EXPECTS, status=status, ended=LATER, spoke=spoke)


def tally_of(job: Job, move: Move, record: Attempt | ReviewRecord | None) -> Tally:
    charge = charge_of(job, move.job, move.event, record)
    assert charge is not None
    after = charged(move.job, charge)
    assert after.at.reserved is None
    assert after.at.used == charge.tally
    return charge.tally


# --- before


@pytest.mark.parametrize(
    ("learned", "prompt", "context", "tokens"),
    [
        (None, 1000, 0, 1000 + EXPECTED),
        (None, 1000, 500, 1500 + EXPECTED),
        (Learned("code", "m", 4, beyond=(10, 40, 20, 30)), 1000, 0, 1030),
        (Learned("code", "m", 1, beyond=(7,)), 0, 0, 7),
        (Learned("code", "m", 1, beyond=(100,), ratio=2.5), 100, 0, 500),
    ],
)
def test_what_a_run_is_expected_to_use(learned: Learned | None, prompt: int, context: int, tokens: int) -> None:
    found = estimate(learned, prompt, context)
    assert (found.tokens, found.prompt, found.context) == (tokens, prompt, context)


def test_what_a_run_is_expected_to_cost_comes_from_others_before_the_price() -> None:
    price = Price("2026-11-22", 3, 15)
    assert estimate(None, 1000, 100, price=price).microusd == 1100 * 3 + EXPECTED * 15
    assert estimate(Learned("code", "m", 4, (1,), costs=(5, 9, 7, 8)), 1000, price=price).microusd == 8
    assert estimate(None, 1000).microusd == 0


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("abcde", 2), ("日本語", 2), ("日本語日本語abcd", 5), ("äöü", 1)]
)
def test_about_how_many_tokens_a_text_is(text: str, tokens: int) -> None:
    assert tokens_of(text) == tokens


def test_three_letters_of_a_diff_are_a_token() -> None:
    assert prompt_tokens([PromptPart("task", 30), PromptPart("diff", 30)]) == 70


# --- after


def test_a_run_that_tells_what_it_used_is_counted_so() -> None:
    job = running()
    assert job.at.reserved is not None
    assert (job.at.reserved.tokens, job.at.reserved.microusd, job.at.reserved.agent) == (1000, 70, "engineer")
    record = ended(job, USED)
    assert tally_of(job, attempt_ended(job, record, the_terms(), LATER), record) == Tally(1, 127, 55)


def test_a_run_that_tells_nothing_is_counted_as_was_expected_and_marked() -> None:
    job = running()
    record = ended(job, None)
    assert tally_of(job, attempt_ended(job, record, the_terms(), LATER), record) == Tally(1, 1000, 70, estimated=1)


@pytest.mark.parametrize(
    ("told", "cost", "expected"),
    [
        (Usage(100, 20), 55, Tally(1, 1000, 70, estimated=1)),
        (Usage(9000, 20), 55, Tally(1, 9020, 70, estimated=1)),
        (Usage(100), None, Tally(1, 1000, 70, estimated=1)),
        (Usage(9000), 99, Tally(1, 9000, 99, estimated=1)),
    ],
)
def test_a_run_that_was_cut_off_is_counted_as_no_less_than_was_expected(
    told: Usage, cost: int | None, expected: Tally
) -> None:
    job = running()
    record = ended(job, Spoke(told, trouble=Trouble.CUT, cost_microusd=cost), RunStatus.TIMEOUT)
    move = attempt_ended(job, record, the_terms(), LATER)
    assert tally_of(job, move, record) == expected
    charge = charge_of(job, move.job, move.event, record)
    assert charge is not None
    assert charge.learned is None, "a part of it teaches nothing of the whole"


def test_a_run_that_tells_no_cost_is_marked() -> None:
    job = running()
    record = ended(job, replace(USED, cost_microusd=None))
    assert tally_of(job, attempt_ended(job, record, the_terms(), LATER), record) == Tally(1, 127, unpriced=1)


def test_a_run_that_died_is_counted_as_was_expected() -> None:
    job = running()
    record = ended(job, None, RunStatus.LOST)
    assert tally_of(job, run_lost(job, LIMITS, LATER), record).tokens == 1000


def test_a_run_of_a_job_that_is_given_up_is_counted_as_was_expected() -> None:
    job = running()
    assert tally_of(job, cancel(job, LATER, actor=HUMAN), None).tokens == 1000


def test_a_run_whose_program_never_began_used_nothing() -> None:
    job = running()
    assert tally_of(job, not_started(job, "no room", LIMITS, LATER), None) == Tally(1)
    record = ended(job, None, RunStatus.SETUP_FAILED)
    assert tally_of(job, not_started(job, "no room", LIMITS, LATER), record) == Tally(1)


def test_a_service_that_failed_without_a_word_is_counted_as_was_expected() -> None:
    job = running()
    record = ended(job, Spoke(None))
    assert tally_of(job, not_started(job, "429", LIMITS, LATER, records={}), record).tokens == 1000


AWAY = Spoke(None, trouble=Trouble.RATE_LIMITED)


@pytest.mark.parametrize(
    ("spoke", "seconds", "expected"),
    [
        (AWAY, 2.0, Tally(1)),
        (AWAY, 40.0, Tally(1, 1000, 70, estimated=1)),
        (replace(AWAY, trouble=Trouble.CUT), 2.0, Tally(1, 1000, 70, estimated=1)),
        (replace(USED, trouble=Trouble.AUTH), 2.0, Tally(1, 127, 55)),
    ],
)
def test_a_run_that_was_turned_away_used_what_it_told_and_else_nothing_if_that_was_at_once(
    spoke: Spoke, seconds: float, expected: Tally
) -> None:
    job = running()
    record = replace(ended(job, spoke), seconds=seconds)
    move = unserved(job, "429", LATER, records={"attempt-1": record})
    assert tally_of(job, move, record) == expected
    charge = charge_of(job, move.job, move.event, record)
    assert charge is not None
    assert charge.learned is None or spoke.trouble is Trouble.CUT, "it says nothing of what such work takes"


def test_a_review_that_was_turned_away_used_nothing() -> None:
    held = Reservation("critic", 1000, 70)
    at_review = a_job(state=State.REVIEWING, tip="a" * 40, reserved=held, review=1, run=running().at.run)
    record = replace(a_review(at_review), estimate=EXPECTS, spoke=AWAY, status=RunStatus.ENDED, seconds=1.0)
    move = unserved(at_review, "429", LATER, records={"review-1": record})
    assert (tally_of(at_review, move, record), move.job.at.unserved_reviews) == (Tally(1), 1)


@pytest.mark.parametrize("told", [Usage(-5, -5), Usage(10**30)])
def test_no_program_can_say_less_than_nothing_or_more_than_there_is(told: Usage) -> None:
    job = running()
    record = ended(job, Spoke(told))
    assert 0 <= tally_of(job, attempt_ended(job, record, the_terms(), LATER), record).tokens <= 10**15


def test_a_step_that_ends_no_run_counts_nothing() -> None:
    job = running()
    assert charge_of(job, job.moved(State.RUNNING, NOW), Event.COLLECT, None) is None
    idle = a_job()
    assert charge_of(idle, idle.moved(State.WAITING, NOW), Event.COLLECT, None) is None


def test_what_is_learned_is_of_the_sort_and_the_model() -> None:
    job = running()
    record = ended(job, USED)
    charge = charge_of(job, attempt_ended(job, record, the_terms(), LATER).job, Event.COLLECT, record)
    assert charge is not None
    assert charge.learned == Learned("code", "north-1")
    at_review = replace(job, at=replace(job.at, state=State.REVIEWING, tip="a" * 40))
    review = replace(a_review(at_review), estimate=EXPECTS, spoke=USED)
    charge = charge_of(at_review, at_review.moved(State.DECIDE, NOW, run=""), Event.COLLECT, review)
    assert charge is not None
    assert charge.learned == Learned("review", "south-1")


# --- sums


def a_charge(tokens: int, *, cost: int = 5, estimated: bool = False, expected: Estimate = EXPECTS) -> Charge:
    learned = None if estimated else Learned("code", "m")
    return Charge("main", "ada", Tally(1, tokens, cost, estimated=int(estimated)), learned, expected)


def test_a_day_adds_up_in_each_of_its_sums() -> None:
    day = add_to_day(add_to_day(Day(), a_charge(10)), replace(a_charge(5, estimated=True), agent="bea"))
    assert day.total == Tally(2, 15, 10, estimated=1)
    assert day.projects == {"main": day.total}
    assert day.agents == {"ada": Tally(1, 10, 5), "bea": Tally(1, 5, 5, estimated=1)}


def test_the_last_minutes_forget_what_is_older_and_never_too_early() -> None:
    window = add_to_window(Window(), a_charge(100), 1009)
    assert window == Window((Bucket(1000, 100),))
    assert window.used(1009) == window.used(1009 + WINDOW_S) == 100
    assert window.used(1010 + WINDOW_S) == 0
    assert add_to_window(window, a_charge(1), 1010 + WINDOW_S) == Window((Bucket(1310, 1),))


def test_what_a_clock_that_was_wrong_put_into_the_time_to_come_does_not_count_for_ever() -> None:
    year = 365 * 24 * 3600
    window = add_to_window(add_to_window(Window(), a_charge(100), 1009), a_charge(7000), 1009 + year)
    assert window.used(1009 + year) == 7000
    # The clock is right again.
    assert window.used(1020) == 0
    after = add_to_window(window, a_charge(5), 1020)
    assert after == Window((Bucket(1020, 5),))
    # It was a minute too far: that counts on, and not for long.
    window = add_to_window(after, a_charge(9), 1080)
    assert [window.used(1020), window.used(1020 + WINDOW_S), window.used(1091 + WINDOW_S)] == [14, 14, 0]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 1000)), max_size=60))
def test_the_last_minutes_are_never_less_than_what_was_used_in_them(runs: list[tuple[int, int]]) -> None:
    window, now, seen = Window(), 1_000_000, list[tuple[int, int]]()
    for pause, tokens in runs:
        now += pause
        seen.append((now, tokens))
        window = add_to_window(window, a_charge(tokens), now)
        exact = sum(each for at, each in seen if at > now - WINDOW_S)
        loose = sum(each for at, each in seen if at > now - WINDOW_S - 10)
        assert exact <= window.used(now) <= loose
        assert len(window.buckets) <= 31


def test_what_is_learned_follows_the_newest_twenty() -> None:
    known: Learned | None = None
    for number in range(30):
        known = add_to_learned(known, a_charge(600 + number, cost=number))
    assert known is not None
    assert known.runs == 30
    assert known.beyond == tuple(range(10, 30))
    assert known.costs == tuple(range(10, 30))
    assert estimate(known, 0).beyond == 24


def test_the_ratio_follows_slowly_and_within_bounds() -> None:
    known = add_to_learned(None, a_charge(2000))
    assert known is not None
    assert known.ratio == 1.2  # 0.8 · 1 + 0.2 · 2000/1000
    for used, bound in ((10**9, 3.0), (0, 0.5)):
        found: Any = None
        for _ in range(40):
            found = add_to_learned(found, a_charge(used))
        assert found.ratio == bound


def test_nothing_is_learned_of_a_run_that_told_nothing() -> None:
    assert add_to_learned(Learned("code", "m", 3), a_charge(5, estimated=True)) is None


@pytest.mark.parametrize("model", ["", "../../x", "Claude Sonnet", "a/b", "m" * 500, "ü", ".git"])
def test_where_it_is_kept_is_a_plain_name_of_its_own(model: str) -> None:
    path = learned_path("code", model)
    name = path.removeprefix("usage/learned/")
    assert path.startswith("usage/learned/code.")
    assert "/" not in name
    assert ".." not in name
    assert len(name) < 80
    assert path != learned_path("code", model + "x")


def test_nothing_is_nothing() -> None:
    assert NOTHING.plus(NOTHING) == NOTHING
