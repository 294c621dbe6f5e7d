"""What is behind a backend: when nothing begins on it, how it comes back, and how much it gets at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from builders import NOON, NOW, a_job, an_attempt, evidence_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.attempt_record import RunStatus, Spoke
from orchestrator.core.config import BackendConfig, Config
from orchestrator.core.evidence_record import ChangedPath, Failure
from orchestrator.core.job import State, Worker
from orchestrator.core.said import Trouble
from orchestrator.core.service import (
    AT_ONCE_S,
    CLEAN_RUNS,
    EMPTY_RUNS,
    FAILURES,
    LONGEST_SHUT_S,
    MOST_ADDED_S,
    Capacity,
    Ended,
    Service,
    Use,
    Went,
    after_run,
    after_run_elsewhere,
    bounded,
    broke_at_once,
    ended_by,
    is_state_change,
    reopened,
    told_of_change,
    told_of_shut,
    until_of,
    use_of,
    went_of,
)
from orchestrator.core.step import LONGEST_PAUSE_S, LONGEST_WAIT_S
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import Event

FRESH = Service("api")
FAILED = [Went.REFUSED, Went.BROKEN]


def at(seconds: float) -> str:
    return iso(NOON + timedelta(seconds=seconds))


def run(
    went: Went, began: float = 0, ended: float = 10, *, wait_s: float = 0, job: str = "a", model: str = "m"
) -> Ended:
    return Ended(f"{job}.attempt-1", job, Worker("ada", "f", model, "api"), went, at(began), at(ended), "told", wait_s)


def after(known: Service, *runs: Ended, most: int = 5, used: int = 1) -> Service:
    for each in runs:
        known = after_run(known, each, most=most, used=used)
    return known


def seconds_of(rest_until: str, since: str) -> float:
    return (parse(rest_until) - parse(since)).total_seconds()


@pytest.mark.parametrize(
    ("status", "exit_code", "trouble", "is_back", "went"),
    [
        (RunStatus.ENDED, 0, Trouble.NONE, False, Went.WELL),
        (RunStatus.ENDED, 0, None, False, Went.WELL),
        (RunStatus.ENDED, 3, None, False, None),
        (RunStatus.ENDED, 3, None, True, Went.BROKEN),
        (RunStatus.ENDED, 1, Trouble.RATE_LIMITED, True, Went.LIMITED),
        (RunStatus.TIMEOUT, None, Trouble.RATE_LIMITED, True, Went.LIMITED),
        (RunStatus.ENDED, 1, Trouble.OVERLOADED, True, Went.OVERLOADED),
        (RunStatus.ENDED, 1, Trouble.AUTH, True, Went.REFUSED),
        (RunStatus.ENDED, 1, Trouble.SESSION, True, None),
        (RunStatus.ENDED, 1, Trouble.REFUSED, False, Went.WELL),
        (RunStatus.ENDED, 1, Trouble.CUT, False, None),
        (RunStatus.NOT_STARTED, None, None, True, Went.BROKEN),
        (RunStatus.PREPARE_FAILED, None, None, True, None),
        (RunStatus.SETUP_FAILED, None, None, True, None),
        (RunStatus.STOPPED, None, None, False, None),
        (RunStatus.LOST, None, None, False, None),
    ],
)
def test_what_the_end_of_a_run_says_of_its_service(
    status: RunStatus, exit_code: int | None, trouble: Trouble | None, is_back: bool, went: Went | None
) -> None:
    spoke = None if trouble is None else Spoke(trouble=trouble)
    assert went_of(status, exit_code, spoke, is_back=is_back) is went


def test_a_program_broke_at_once_only_if_it_was_quick_and_the_error_is_its_own() -> None:
    assert broke_at_once(3, None, 1)
    assert broke_at_once(1, Spoke(trouble=Trouble.REQUEST), 1)
    assert not broke_at_once(3, None, AT_ONCE_S)
    assert not broke_at_once(0, None, 1)
    assert not broke_at_once(1, Spoke(trouble=Trouble.AUTH), 1)


# --- a rest ---


@pytest.mark.parametrize("went", [Went.LIMITED, Went.OVERLOADED])
def test_a_model_rests_until_what_is_stated_and_never_less(went: Went) -> None:
    rest = after(FRESH, run(went, wait_s=59.2)).rests[0]
    assert (rest.model, rest.cause, rest.times) == ("m", went, 1)
    assert 61 <= seconds_of(rest.until, at(10)) <= 66


def test_without_a_stated_time_each_rest_is_longer_up_to_a_bound() -> None:
    known, began, spans = FRESH, 0.0, []
    for _ in range(12):
        known = after(known, run(Went.LIMITED, began, began + 1))
        until = known.rests[0].until
        spans.append(seconds_of(until, at(began + 1)))
        began = seconds_of(until, NOW)
    assert spans[0] < spans[2] < spans[4]
    assert max(spans) <= LONGEST_PAUSE_S * 1.1 + 1
    assert known.rests[0].times == 12


def test_runs_that_were_under_way_together_are_one_incident() -> None:
    first = after(FRESH, run(Went.LIMITED, 0, 10, wait_s=60))
    second = after(first, run(Went.LIMITED, 5, 12, job="b"))
    assert second == first
    longer = after(first, run(Went.LIMITED, 5, 12, wait_s=600, job="b"))
    assert (longer.limit, longer.rests[0].times) == (first.limit, 1)
    assert longer.rests[0].until > first.rests[0].until


def test_a_run_from_before_the_rest_does_not_end_it_and_one_that_began_after_it_does() -> None:
    known = after(FRESH, run(Went.LIMITED, wait_s=60))
    assert after(known, run(Went.WELL, 5, 20)).rests == known.rests
    assert after(known, run(Went.WELL, 500, 520, model="other")).rests == known.rests
    answered = after(known, run(Went.WELL, 500, 520))
    assert answered.rests == ()
    assert told_of_change(known, answered) == "answers again"


def test_nothing_begins_before_the_time_and_then_one_run_until_that_has_ended() -> None:
    known = after(FRESH, run(Went.LIMITED, wait_s=60))
    assert "rests until" in Capacity(known, 0, at(30)).resting("m")
    assert Capacity(known, 0, at(30)).resting("other") == ""
    free = Capacity(known, 0, at(100), [Use("api", "m", at(5))])
    assert free.resting("m") == ""
    free.uses.append(Use("api", "m", at(100)))
    assert "one run tries it" in free.resting("m")
    assert "one run tries it" in Capacity(known, 0, at(100), [Use("api", "m")]).resting("m"), (
        "a review, begun who knows when"
    )


# --- what it gets at once ---


@pytest.mark.parametrize(("most", "limit"), [(1, 1), (2, 1), (5, 4), (10, 9), (64, 57)])
def test_a_limit_takes_a_tenth_and_at_least_one(most: int, limit: int) -> None:
    assert after(FRESH, run(Went.LIMITED), most=most).limit == limit


def test_twenty_clean_runs_while_half_is_used_give_one_more_back() -> None:
    known = replace(FRESH, limit=3, lowered=at(0))
    well = run(Went.WELL, 20, 30)
    assert after(known, *[well] * 50, used=1) == known, "less than half is used"
    assert after(known, *[well] * (CLEAN_RUNS - 1), used=2).limit == 3
    assert after(known, *[well] * CLEAN_RUNS, used=2).limit == 4
    assert after(known, *[well] * 2 * CLEAN_RUNS, used=2).limit == 0, "as many as are configured"


def test_no_more_begin_than_it_takes_or_than_are_configured() -> None:
    uses = [Use("api", "m", at(0)), Use("api", "n", at(0)), Use("api", "m", at(0), is_run=False)]
    assert Capacity(replace(FRESH, limit=3), 0, NOW, uses).full() == ""
    assert "takes 2 at once" in Capacity(replace(FRESH, limit=2), 9, NOW, uses).full()
    assert "takes 2 at once" in Capacity(FRESH, 2, NOW, uses).full()
    assert Capacity(FRESH, 0, NOW, uses).full() == ""


# --- shut ---


@pytest.mark.parametrize("went", FAILED)
def test_three_failures_in_a_row_over_any_jobs_shut_it(went: Went) -> None:
    runs = [run(went, 20 * each, 20 * each + 5, job=f"job-{each}") for each in range(FAILURES)]
    assert after(FRESH, *runs[:-1]).shut is None
    shut = after(FRESH, *runs).shut
    assert shut is not None
    assert (shut.cause, shut.times) == (went, 1)
    saved = after(FRESH, *runs[:-1], run(Went.WELL, 60, 70), runs[-1])
    assert (saved.shut, saved.refused + saved.broken) == (None, 1)


def test_while_runs_fail_no_more_begin_than_are_left_until_it_is_shut() -> None:
    once = after(FRESH, run(Went.REFUSED))
    uses = [Use("api", "m", at(20))]
    assert Capacity(once, 0, at(30), uses).full() == ""
    assert "are enough" in Capacity(once, 0, at(30), uses * 2).full()


@pytest.mark.parametrize("went", FAILED)
def test_one_failure_holds_nothing_back_once_what_began_since_is_served(went: Went) -> None:
    """The runs under way may end in an hour: nobody waits for that to learn that all is well."""
    once = after(FRESH, run(went))
    old = [Use("api", "m", at(-3600))] * 50
    assert Capacity(once, 0, at(30), old).full() == "", "what began long before says nothing, and is no risk"
    twice = [*old, Use("api", "m", at(20)), Use("api", "m", at(20))]
    assert "so 2 new ones at once are enough" in Capacity(once, 0, at(139), twice).full()
    assert Capacity(once, 0, at(140), [*twice, *[Use("api", "m", at(139))] * 9]).full() == "", "two minutes: served"
    began_before = [*old, *[Use("api", "m", at(139))] * 2]
    assert "are enough" in Capacity(once, 0, at(140), began_before).full(), "none of those has shown anything since"
    assert "are enough" in Capacity(once, 0, at(140), [Use("api", "m")] * 2).full(), "reviews, begun who knows when"
    assert Capacity(once, 0, at(140), [Use("api", "m", at(9000))] * 2).full() == "", "begun by a clock that was ahead"


def test_when_it_failed_last_is_known_as_long_as_that_counts_and_by_this_clock() -> None:
    assert after(FRESH, run(Went.BROKEN)).failed == at(10)
    assert after(FRESH, run(Went.BROKEN), run(Went.REFUSED, 20, 30), run(Went.MADE, 40, 50)).failed == at(30)
    assert after(FRESH, run(Went.BROKEN), run(Went.WELL, 20, 30)).failed == ""
    assert after_run_elsewhere(FRESH, run(Went.REFUSED)).failed == at(10)
    assert bounded(after(FRESH, run(Went.BROKEN, 5000, 5010)), at(0)).failed == at(0)


def test_a_try_that_fails_in_another_way_is_told_as_that() -> None:
    shut = after(FRESH, *[run(Went.REFUSED)] * 3)
    later = seconds_of(until_of(shut)[0], NOW)
    tried = after(shut, run(Went.BROKEN, later, later + 5))
    assert told_of_shut(tried) == "its program broke at once when it was tried"


def test_a_try_that_fails_shuts_it_for_longer_and_one_that_does_well_opens_it() -> None:
    known, began, spans = after(FRESH, *[run(Went.REFUSED)] * 3), 0.0, []
    for _ in range(10):
        assert known.shut is not None
        spans.append(seconds_of(known.shut.until, at(began + 10)))
        began = seconds_of(known.shut.until, NOW)
        known = after(known, run(Went.REFUSED, began, began + 10))
    assert spans[0] < spans[1] < spans[2]
    assert max(spans) <= LONGEST_SHUT_S + 601
    assert known.shut is not None
    assert after(known, run(Went.WELL, 1, began + 20)).shut == known.shut, "it began before it was shut"
    later = seconds_of(known.shut.until, NOW)
    opened = after(known, run(Went.WELL, later, later + 9))
    assert (opened.shut, opened.refused, told_of_change(known, opened)) == (None, 0, "open again")


def test_what_was_under_way_when_it_was_shut_makes_it_no_longer() -> None:
    known = after(FRESH, *[run(Went.BROKEN)] * 3)
    assert after(known, run(Went.BROKEN, 5, 40), run(Went.EMPTY, 5, 40)) == known


def test_runs_that_do_nothing_shut_it_only_over_different_jobs() -> None:
    assert after(FRESH, *[run(Went.EMPTY, job="a")] * 20).shut is None
    runs = [run(Went.EMPTY, job=f"job-{each}") for each in range(EMPTY_RUNS)]
    assert after(FRESH, *runs[:-1]).shut is None
    known = after(FRESH, *runs)
    assert known.shut is not None
    assert known.shut.cause is Went.EMPTY
    assert after(FRESH, *runs[:-1], run(Went.MADE), runs[-1]).shut is None
    later = seconds_of(known.shut.until, NOW)
    assert after(known, run(Went.WELL, later, later + 5)).shut is not None, "that it ended well says nothing"
    assert after(known, run(Went.MADE, later, later + 5)).shut is None


def test_a_pause_that_a_clock_far_ahead_began_is_as_long_as_it_was_to_be_from_now_on() -> None:
    year = 365 * 86400
    shut = after(FRESH, *[run(Went.REFUSED, year, year + 10)] * 3)
    limited = after(FRESH, run(Went.LIMITED, year, year + 10, wait_s=3600))
    for known in (shut, limited):
        (was,) = until_of(known)
        found = bounded(known, at(0))
        (until,) = until_of(found)
        assert seconds_of(until, at(0)) == seconds_of(was, at(year + 10))
        assert (found.seq, found.refused, found.limit) == (known.seq + 1, known.refused, known.limit)
        assert found.lowered <= at(0)
        assert bounded(found, at(0)) == found, "once is enough"
    # A run that began after that time tries it, and ends the pause.
    opened = after(bounded(shut, at(0)), run(Went.WELL, 5000, 5010))
    assert opened.shut is None


def test_a_pause_that_a_clock_an_hour_ahead_began_is_no_longer_than_it_was_to_be() -> None:
    """Any pause may be an hour long, but not this one."""
    limited = after(FRESH, run(Went.LIMITED, 3600, 3610, wait_s=1200))
    shut = after(FRESH, *[run(Went.REFUSED, -5, 0)] * 3)
    twice = after(shut, run(Went.REFUSED, 3600, 3610))
    for known, most in ((limited, 1200), (twice, 600)):
        found = bounded(known, at(20))
        (until,) = until_of(found)
        assert most < seconds_of(until, at(20)) <= 1.1 * most + 1
        assert bounded(found, at(20)) == found == bounded(found, at(-500)), "clocks differ by minutes"
        assert bounded(known, at(3610)) == known


def test_a_run_that_tries_a_service_by_a_clock_that_is_ahead_is_not_waited_for() -> None:
    known = after(FRESH, run(Went.LIMITED, 0, 10, wait_s=20))
    for since, is_waited_for in ((60, True), (99, True), (100, True), (101, False), (3600, False)):
        told = Capacity(known, 0, at(100), [Use("api", "m", at(since))]).resting("m")
        assert bool(told) is is_waited_for, since


def test_a_pause_that_can_be_is_left_alone_and_none_is_longer_than_one_can_be() -> None:
    known, began = after(FRESH, *[run(Went.REFUSED)] * 3), 0.0
    for _ in range(10):
        assert known.shut is not None
        assert bounded(known, at(began + 10)) == known
        began = seconds_of(known.shut.until, NOW)
        known = after(known, run(Went.REFUSED, began, began + 10))
    day = after(FRESH, run(Went.LIMITED, wait_s=LONGEST_WAIT_S))
    assert bounded(day, at(10)) == day
    assert known.shut is not None
    earlier = bounded(known, at(-(10**8)))
    assert earlier.shut is not None
    assert LONGEST_SHUT_S < seconds_of(earlier.shut.until, at(-(10**8))) <= LONGEST_SHUT_S + MOST_ADDED_S
    assert bounded(replace(FRESH, lowered=at(5)), at(0)).lowered == at(5), "clocks differ by seconds"
    assert bounded(replace(FRESH, lowered=at(5000)), at(0)).lowered == at(0)


def test_a_refused_key_counts_for_all_that_have_the_same_and_nothing_else_does() -> None:
    other = Service("other")
    for went in Went:
        found = after_run_elsewhere(other, run(went))
        assert (found == other) is (went is not Went.REFUSED)
    for _ in range(3):
        other = after_run_elsewhere(other, run(Went.REFUSED))
    assert other.shut is not None
    later = seconds_of(other.shut.until, NOW)
    assert after_run_elsewhere(other, run(Went.WELL, later, later + 5)).shut is None


def test_backends_of_one_key_are_known_from_the_configuration() -> None:
    backends = {
        "one": BackendConfig("one", "claude"),
        "two": BackendConfig("two", "claude", model="x"),
        "three": BackendConfig("three", "claude", key_env="OTHER"),
        "written": BackendConfig("written", "claude", env={"ANTHROPIC_API_KEY": "another"}),
        "token": BackendConfig("token", "claude", login=True, pass_env=("CLAUDE_CODE_OAUTH_TOKEN",)),
        "login": BackendConfig("login", "claude", login=True),
        "own": BackendConfig("own", "command"),
        "mine": BackendConfig("mine", "command"),
    }
    config = Config(backends=backends)
    assert config.same_key("one") == ("one", "two")
    for name in ("three", "written", "token", "login"):
        assert config.same_key(name) == (name,)
    assert config.same_key("own") == ("own",)
    assert (Config(slots=4).at_once("one"), Config(backends={"x": BackendConfig("x", at_once=2)}).at_once("x")) == (
        5,
        2,
    )


def test_a_person_has_all_forgotten_that_speaks_against_it() -> None:
    known = after(FRESH, *[run(Went.REFUSED)] * 3, run(Went.LIMITED, 500, 510))
    assert reopened(known) == replace(FRESH, seq=known.seq + 1)


def test_on_what_a_job_has_a_run() -> None:
    ada, bea = Worker("ada", "f", "m", "api"), Worker("bea", "g", "n", "web")
    running = a_job(state=State.RUNNING, run="x", author=ada)
    assert use_of(running) == Use("api", "m", running.at.since)
    assert use_of(a_job(state=State.REVIEWING, run="x", author=ada, reviewer=bea)) == Use("web", "n")
    assert use_of(a_job(state=State.REVIEWING, author=ada, reviewer=bea)) is None
    assert use_of(a_job(state=State.READY, author=ada)) is None


# --- whatever comes ---


@st.composite
def histories(draw: st.DrawFn) -> list[Ended]:
    runs, began = [], 0.0
    for number in range(draw(st.integers(0, 40))):
        began += draw(st.integers(0, 2000))
        wait_s = draw(st.sampled_from([0.0, 0.4, 30.0, 1e6]))
        model = draw(st.sampled_from(["m", "n"]))
        went = draw(st.sampled_from(list(Went)))
        runs.append(
            run(went, began, began + draw(st.integers(0, 300)), wait_s=wait_s, job=f"j{number % 4}", model=model)
        )
    return runs


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.integers(1, 70), st.integers(0, 70))
def test_whatever_comes_the_bounds_hold(runs: list[Ended], most: int, used: int) -> None:
    known = FRESH
    for each in runs:
        was, known = known, after_run(known, each, most=most, used=used)
        assert after_run(was, each, most=most, used=used) == known, "by the run, not by chance"
        assert known.seq == was.seq + (known != was)
        assert 0 <= known.limit <= most
        assert known.limit >= 1 or known.limit == 0
        assert len(known.rests) == len({rest.model for rest in known.rests}) <= 2
        for until in (*(rest.until for rest in known.rests if rest not in was.rests),):
            assert seconds_of(until, each.at) <= LONGEST_WAIT_S + 601
        if known.shut is not None and known.shut != was.shut:
            assert seconds_of(known.shut.until, each.at) <= LONGEST_SHUT_S + 601
        if known.shut is not None and was.shut is None:
            assert was.refused >= FAILURES - 1 or was.broken >= FAILURES - 1 or was.empty >= EMPTY_RUNS - 1
        if is_state_change(was, known):
            assert "counted" not in told_of_change(was, known)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_it_always_comes_back(runs: list[Ended]) -> None:
    """After whatever came, runs that do well from then on open it, and give it all that is configured."""
    known = after(FRESH, *runs)
    began = 200_000.0
    for number in range(4 * CLEAN_RUNS):
        for model in ("m", "n"):
            known = after(known, run(Went.WELL, began + number, began + number, model=model), used=5)
            known = after(known, run(Went.MADE, began + number, began + number, model=model), used=5)
    assert (known.shut, known.rests, known.refused, known.broken, known.empty) == (None, (), 0, 0, 0)
    assert known.limit == 0
    for model in ("m", "n"):
        capacity = Capacity(known, 5, at(began))
        assert (capacity.resting(model), capacity.full()) == ("", "")


@pytest.mark.parametrize(("rule", "went"), [("", Went.MADE), ("out_of_scope", Went.MADE), ("unchanged", Went.EMPTY)])
def test_an_attempt_that_leaves_the_work_before_it_as_it_was_has_made_nothing(rule: str, went: Went) -> None:
    before = a_job(state=State.COLLECTED, attempt=1)
    after = a_job(state=State.CHECKING, attempt=1, evidence=1)
    paths, failures = (ChangedPath("a.py", "M", 1, 1),), (Failure(rule, "why"),) if rule else ()
    attempt = replace(an_attempt(before), run="fix-login-7f3a09c2.attempt-1", seconds=2.0, ended=NOW)
    known = {1: {"Attempt": attempt, "Evidence": evidence_of(after, paths=paths, failures=failures)}}
    run = ended_by(Event.EVIDENCE, before, after, lambda kind, number: known[number].get(kind.__name__))
    assert run is not None
    assert run.went is went
