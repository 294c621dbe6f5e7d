"""Whether one more run may begin: each gate by value, and what holds whatever is asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from builders import COMMIT, CRITIC, NOON, NOW, a_board, a_job, a_run, a_spec, an_agent, numbered_id
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.config_file import parse_config
from orchestrator.core.config import NO_CAPS, Caps, Config, ExecutionLimits
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Job, LimitWishes, Priority, State, Worker
from orchestrator.core.limits import Book, Pressure, Scope, Spending, is_engaged, still_within
from orchestrator.core.records import CardKind
from orchestrator.core.schedule import Action, Ask, SetPressure, StartAttempt, StartReview, decide
from orchestrator.core.skills import tokens_of
from orchestrator.core.tally import Reservation, Tally
from orchestrator.core.times import iso
from orchestrator.core.usage import EXPECTED, Day, Learned, learned_path

MANY = [an_agent(f"agent-{n:02d}") for n in range(16)]
ENDS = "2026-11-21T00:00:00Z"
OPEN = ExecutionLimits(window_tokens=None, total=NO_CAPS, agent=NO_CAPS, job=NO_CAPS)
"""Nothing is limited."""
PROMPT = tokens_of("Put the login right.")


def caps(**keys: Any) -> Caps:
    return replace(NO_CAPS, **keys)


def ready(number: int, priority: int = 2, **at: Any) -> Job:
    return a_job(numbered_id(number), spec=at.pop("spec", None), priority=priority, **at)


def running(number: int, agent: str = "agent-00", tokens: int = 100, *, project: str = "main", **at: Any) -> Job:
    id_ = numbered_id(number, "run")
    known = {"run": a_run(id_, RunKind.ATTEMPT), "agent": agent, "project": project}
    return a_job(id_, State.RUNNING, reserved=Reservation(agent, tokens, tokens * 10), **{**known, **at})


def in_review(number: int, **at: Any) -> Job:
    author = Worker("engineer", "north", "north-1", "command")
    known = {"tip": COMMIT, "author": author, "attempt": 1, "starts": 1}
    return a_job(numbered_id(number), State.REVIEWING, **{**known, **at})


def actions(
    *jobs: Job, limits: ExecutionLimits = OPEN, slots: int = 8, now: datetime = NOON, **spending: Any
) -> tuple[Action, ...]:
    known = Spending(**{"day_ends": ENDS, **spending})
    config = Config(slots=slots, execution_limits=limits)
    return decide(a_board(*jobs, agents=(*MANY, CRITIC), config=config, spending=known), now)


def started(*jobs: Job, **keys: Any) -> list[str]:
    return [each.job for each in actions(*jobs, **keys) if isinstance(each, StartAttempt | StartReview)]


# --- the gates


USED = Day(Tally(9, 900, 9_000_000), {"main": Tally(5, 500, 5_000_000)}, {"agent-00": Tally(4, 400, 4_000_000)})


@pytest.mark.parametrize(
    ("limits", "scope", "name", "code", "used", "until"),
    [
        (replace(OPEN, total=caps(tokens=1000)), Scope.TOTAL, "", "tokens", 1000, ENDS),
        (replace(OPEN, total=caps(tokens=1001)), Scope.TOTAL, "", "", 0, ""),
        (replace(OPEN, total=caps(usd=10.0)), Scope.TOTAL, "", "usd", 10.0, ENDS),
        (replace(OPEN, total=caps(usd=10.01)), Scope.TOTAL, "", "", 0, ""),
        (replace(OPEN, total=caps(runs=10)), Scope.TOTAL, "", "runs", 10, ENDS),
        (replace(OPEN, project=caps(at_once=1)), Scope.PROJECT, "main", "at_once", 1, ""),
        (replace(OPEN, project=caps(at_once=1)), Scope.PROJECT, "other", "", 0, ""),
        (replace(OPEN, project=caps(tokens=600)), Scope.PROJECT, "main", "tokens", 600, ENDS),
        (replace(OPEN, project=caps(tokens=1), projects={"main": NO_CAPS}), Scope.PROJECT, "main", "", 0, ""),
        (replace(OPEN, agent=caps(runs=5)), Scope.AGENT, "agent-00", "runs", 5, ENDS),
        (replace(OPEN, agent=caps(runs=5)), Scope.AGENT, "agent-01", "", 0, ""),
        (replace(OPEN, agents={"agent-00": caps(usd=5.0)}), Scope.AGENT, "agent-00", "usd", 5.0, ENDS),
        (replace(OPEN, total=caps(runs=10, tokens=1000, usd=1.0)), Scope.TOTAL, "", "runs", 10, ENDS),
    ],
)
def test_a_gate_counts_what_ended_today_and_what_is_set_aside(
    limits: ExecutionLimits, scope: Scope, name: str, code: str, used: float, until: str
) -> None:
    live = [("main", Reservation("agent-00", 100, 1_000_000))]
    found = Book(limits, Spending(USED, ENDS), live, engaged=False).refusal(scope, name)
    assert (found.code, found.used, found.until) == (code, used, until) if found else code == ""


def test_a_refusal_says_whose_limit_it_is_how_much_is_used_and_until_when() -> None:
    book = Book(replace(OPEN, agent=caps(runs=4)), Spending(USED, ENDS), (), engaged=False)
    (found,) = book.list_refusals(["main"], ["agent-00", "agent-01"])
    assert found.told == f"agent agent-00: 4 of 4 runs today; nothing begins until {ENDS}"
    book = Book(replace(OPEN, total=caps(usd=9.0)), Spending(USED, ENDS), (), engaged=False)
    (found,) = book.list_refusals(["main"], ["agent-00"])
    assert found.told == f"9.00 of 9.00 US dollars today; nothing begins until {ENDS}"


@pytest.mark.parametrize(
    "limits",
    [replace(OPEN, total=caps(tokens=900)), replace(OPEN, total=caps(usd=9)), replace(OPEN, project=caps(tokens=500))],
)
@pytest.mark.parametrize("priority", [0, 2])
def test_what_is_used_up_keeps_everything_from_beginning_a_persons_p0_too(
    limits: ExecutionLimits, priority: int
) -> None:
    assert started(ready(1, priority), in_review(2, priority=priority), limits=limits, day=USED) == []


def test_one_projects_limit_leaves_the_others_alone() -> None:
    limits = replace(OPEN, projects={"main": caps(at_once=1)})
    other = ready(2, project="other")
    board = a_board(
        running(1, "agent-05"), ready(1), other, agents=MANY, config=Config(slots=8, execution_limits=limits)
    )
    board = replace(board, projects={**board.projects, "other": board.projects["main"]}, waiting=None, doing=None)
    assert [each.job for each in decide(board, NOON) if isinstance(each, StartAttempt)] == [other.id]


def test_an_agent_that_has_reached_its_limit_is_gone_past_and_waited_for_where_it_must_be() -> None:
    limits = replace(OPEN, agents={"agent-00": caps(runs=4)})
    found = actions(ready(1), ready(2, spec=a_spec(agent="agent-00")), limits=limits, day=USED)
    assert [(each.job, each.agent) for each in found if isinstance(each, StartAttempt)] == [
        (numbered_id(1), "agent-01")
    ]


def test_a_reviewer_that_has_reached_its_limit_is_waited_for_and_nobody_is_asked() -> None:
    limits = replace(OPEN, agents={"critic": caps(runs=1)})
    assert actions(in_review(1), limits=limits, day=Day(agents={"critic": Tally(1)})) == ()
    # Two works at once: the second review would be one more than it may have.
    assert started(in_review(1), in_review(2), limits=limits) == [numbered_id(1)]


def test_a_reviewer_that_the_background_took_for_its_share_is_not_asked_beyond_its_limit() -> None:
    both = an_agent("both", family="south", roles=("work", "review"))
    limits = replace(OPEN, agents={"both": caps(at_once=1)})
    jobs = (running(1, "agent-01"), running(2, "agent-02"), in_review(3), ready(4, 4, spec=a_spec(agent="both")))
    board = a_board(*jobs, agents=(*MANY, both), config=Config(slots=3, execution_limits=limits))
    assert [each.job for each in decide(board, NOON) if isinstance(each, StartAttempt | StartReview)] == [
        numbered_id(4)
    ]
    urgent = replace(jobs[2], at=replace(jobs[2].at, priority=0))
    board = a_board(*jobs[:2], urgent, jobs[3], agents=(*MANY, both), config=Config(slots=3, execution_limits=limits))
    assert [each.job for each in decide(board, NOON) if isinstance(each, StartAttempt | StartReview)] == [
        numbered_id(4)
    ]


def test_what_is_decided_at_once_is_counted_at_once() -> None:
    each = PROMPT + EXPECTED
    for number in (1, 2, 3):
        limits = replace(OPEN, total=caps(tokens=each * number))
        assert len(started(*(ready(n) for n in range(8)), limits=limits)) == number


def test_what_a_run_will_use_is_learned_of_runs_of_its_sort_and_model() -> None:
    path = learned_path("code", "north-1")
    learned = {path: Learned("code", "north-1", 1, beyond=(100,))}
    limits = replace(OPEN, total=caps(tokens=3 * (100 + PROMPT)))
    assert len(started(*(ready(n) for n in range(8)), limits=limits, learned=learned)) == 3


# --- one job


@pytest.mark.parametrize(
    ("used", "asks"), [(Tally(1, 99, 9_900_000), False), (Tally(1, 100, 0), True), (Tally(1, 0, 10_000_000), True)]
)
@pytest.mark.parametrize("review", [False, True])
def test_a_job_that_has_used_up_its_own_is_asked_about(used: Tally, asks: bool, review: bool) -> None:
    limits = replace(OPEN, job=caps(tokens=100, usd=10.0))
    job = in_review(1, used=used) if review else ready(1, used=used)
    (found,) = actions(job, limits=limits)
    assert isinstance(found, Ask) is asks
    if isinstance(found, Ask):
        assert found.kind is CardKind.CEILING
        again = replace(job, at=replace(job.at, allowance=1))
        assert not isinstance(actions(again, limits=limits)[0], Ask)


def test_what_a_job_says_itself_goes_before() -> None:
    limits = replace(OPEN, job=caps(tokens=100))
    spec = a_spec(limits=LimitWishes(tokens=1000, usd=2.0))
    assert not isinstance(actions(ready(1, spec=spec, used=Tally(1, 999)), limits=limits)[0], Ask)
    assert isinstance(actions(ready(1, spec=spec, used=Tally(1, 1, 2_000_000)), limits=limits)[0], Ask)


# --- the last minutes

ENGAGED = Pressure(True, NOW, 850, 1000, 9, 2)


@pytest.mark.parametrize(
    ("was", "used", "ready", "engaged"),
    [
        (False, 800, 99, False),
        (False, 801, 4, False),
        (False, 801, 5, True),
        (False, 5000, 4, False),
        (True, 801, 0, True),
        (True, 600, 0, True),
        (True, 599, 99, False),
        (False, 700, 99, False),
    ],
)
def test_pressure_begins_late_and_ends_late(was: bool, used: int, ready: int, engaged: bool) -> None:
    assert is_engaged(was, used, 1000, ready, slots=2) is engaged
    assert not is_engaged(was, used, None, ready, slots=2)


@pytest.mark.parametrize(
    ("used", "engaged", "begin"),
    [
        (0, False, "p0 agents-p0 p1 p2"),
        (999, False, "p0 agents-p0 p1 p2"),
        (1000, False, "p0"),
        (700, True, "p0 agents-p0"),
        (1000, True, "p0"),
        (1099, True, "p0"),
        (1100, True, ""),
        (1100, False, ""),
    ],
)
def test_who_begins_by_what_the_last_minutes_used(used: int, engaged: bool, begin: str) -> None:
    book = Book(replace(OPEN, window_tokens=1000), Spending(window=used), (), engaged=engaged)
    asked = {"p0": (0, True), "agents-p0": (0, False), "p1": (1, True), "p2": (2, True)}
    may = [
        name
        for name, (priority, person) in asked.items()
        if book.window_refusal(Priority(priority), by_person=person) is None
    ]
    assert " ".join(may) == begin


def test_a_persons_p0_begins_although_an_older_one_of_an_agent_may_not() -> None:
    limits, jobs = replace(OPEN, window_tokens=1000), (ready(1, 0, origin="engine"), ready(2, 0, origin="human"))
    assert started(*jobs, limits=limits, window=1050) == [numbered_id(2)]


def test_a_change_of_pressure_is_one_action_and_holds_for_what_is_decided_with_it() -> None:
    limits = replace(OPEN, window_tokens=1000)
    jobs = [ready(n) for n in range(9)]
    (found,) = actions(*jobs, limits=limits, slots=2, window=850)
    assert found == SetPressure(True, 9)
    assert actions(*jobs, limits=limits, slots=2, window=850, pressure=ENGAGED) == ()
    assert started(*jobs, ready(20, 0), limits=limits, slots=2, window=850) == [numbered_id(20)]
    over = actions(*jobs, limits=limits, slots=2, window=599, pressure=ENGAGED)
    assert over[0] == SetPressure(False, 9)
    assert isinstance(over[1], StartAttempt)


def test_what_is_set_aside_counts_in_the_last_minutes() -> None:
    limits = replace(OPEN, window_tokens=1000)
    assert started(running(1, tokens=1000), ready(1), limits=limits) == []
    assert started(running(1, tokens=999), ready(1), limits=limits) == [numbered_id(1)]


# --- whatever is asked for


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 40_000),
    window=st.one_of(st.none(), st.integers(1, 40_000)),
    jobs=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12),
    ends=st.lists(st.lists(st.tuples(st.integers(0, 11), st.floats(0, 1)), max_size=4), min_size=1, max_size=8),
    slots=st.integers(1, 6),
)
def test_no_budget_is_passed_by_more_than_one_run(
    limit: int,
    window: int | None,
    jobs: list[tuple[int, bool]],
    ends: list[list[tuple[int, float]]],
    slots: int,
) -> None:
    """Runs begin by what is decided, and end in any order with at most what was expected of them."""
    limits = replace(OPEN, total=caps(tokens=limit), window_tokens=window)
    one = PROMPT + EXPECTED
    waiting = {
        numbered_id(n): ready(n, priority, origin="human" if person else "engine")
        for n, (priority, person) in enumerate(jobs)
    }
    live: dict[str, Job] = {}
    used = 0
    for ended in ends:
        found = actions(
            *waiting.values(), *live.values(), limits=limits, slots=slots, day=Day(Tally(0, used)), window=used
        )
        for action in (each for each in found if isinstance(each, StartAttempt)):
            job = waiting.pop(action.job)
            at: dict[str, Any] = {"state": State.RUNNING, "run": a_run(job.id, RunKind.ATTEMPT), "agent": action.agent}
            live[job.id] = replace(job, at=replace(job.at, reserved=Reservation(action.agent, one), **at))
        total = used + one * len(live)
        assert total < limit + one
        if window is not None:
            is_urgent = any(priority == 0 and person for priority, person in jobs)
            assert total < window * (1.1 if is_urgent else 1) + one
        for number, share in ended:
            over = live.pop(numbered_id(number), None)
            if over is not None and over.at.reserved is not None:
                used += round(share * over.at.reserved.tokens)


@settings(max_examples=100, deadline=None)
@given(jobs=st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=14), slots=st.integers(1, 5))
def test_the_reserved_slot_is_for_a_persons_p0_alone(jobs: list[tuple[int, bool, bool]], slots: int) -> None:
    lives = [running(n, f"agent-{n:02d}", priority=p) for n, (p, _, alive) in enumerate(jobs) if alive][:slots]
    waits = [
        ready(n, priority, origin="human" if person else "engine")
        for n, (priority, person, alive) in enumerate(jobs)
        if not alive
    ]
    begun = started(*lives, *waits, slots=slots)
    assert len(lives) + len(begun) <= slots + 1
    if len(lives) + len(begun) == slots + 1:
        last = next(job for job in waits if job.id == begun[-1])
        assert (last.at.priority, last.at.origin) == (0, "human")


@settings(max_examples=100, deadline=None)
@given(
    jobs=st.lists(st.tuples(st.integers(2, 5), st.integers(0, 200)), min_size=2, max_size=14), slots=st.integers(1, 5)
)
def test_whoever_has_waited_as_long_as_ageing_takes_goes_before_all_that_came_later(
    jobs: list[tuple[int, int]], slots: int
) -> None:
    """So nobody starves: after 90 minutes at most, only what is urgent or was there before goes first."""
    made = [
        ready(n, priority, created=iso(NOON - timedelta(minutes=waited)), since=iso(NOON - timedelta(minutes=waited)))
        for n, (priority, waited) in enumerate(jobs)
    ]
    begun = started(*made, slots=slots)
    for old in made:
        waited = (NOON - datetime.fromisoformat(old.at.created)).total_seconds() / 60
        if waited >= 30 * (old.priority - 2) and old.id not in begun:
            later = [job for job in made if job.at.created > old.at.created and job.id in begun]
            # But for the one slot that the background has.
            assert len(later) <= (slots >= 3)


# --- what a person writes


def limits_of(text: str) -> ExecutionLimits:
    return parse_config(f"version: 1\nexecution_limits: {text}\n".encode()).execution_limits


def test_nothing_is_unlimited_that_nobody_said_so_of() -> None:
    for limits in (
        Config().execution_limits,
        limits_of("{}"),
        limits_of("{tz: Europe/Berlin, agents: {ada: {usd: 3}}}"),
    ):
        assert limits.window_tokens
        assert limits.total.tokens
        assert limits.total.usd
        assert limits.agent.runs
        assert limits.job.tokens
        assert limits.job.usd
        assert all(each.runs == limits.agent.runs for each in limits.agents.values())


def test_unlimited_is_said_in_a_word() -> None:
    limits = limits_of(
        "{window_tokens: unlimited, total: {tokens: unlimited}, agents: {ada: {runs: unlimited, usd: 1}}}"
    )
    assert limits.window_tokens is None
    assert (limits.total.tokens, limits.total.usd) == (None, 200.0)
    assert limits.agents == {"ada": Caps(None, None, None, 1.0)}


def test_what_is_set_aside_for_the_runs_of_one_decision_is_held_against_the_limits_once_more() -> None:
    """Their prompts are known only once they are reserved: the second begins by what the first has set aside."""
    limits = replace(OPEN, total=caps(tokens=10_000))
    begun = [running(number, f"agent-{number:02d}", tokens=9_000) for number in range(3)]
    assert started(*[ready(number) for number in range(3)], limits=limits) == [numbered_id(n) for n in range(3)]
    book = Book(limits, Spending(), (), engaged=False)
    assert [still_within(book, job) for job in begun] == [True, True, False]
    book = Book(replace(OPEN, agent=caps(at_once=1)), Spending(), (), engaged=False)
    assert [still_within(book, running(1)), still_within(book, running(2)), still_within(book, begun[1])] == [
        True,
        False,
        True,
    ]
    assert still_within(book, ready(4)), "nothing is set aside for it"
