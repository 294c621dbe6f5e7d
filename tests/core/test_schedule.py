"""What `decide` does with a board: by value, without a clock, a file or a process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import AUTHOR, COMMIT, CRITIC, NOON, NOW, a_board, a_job, a_review, a_run, a_spec, an_agent, numbered_id
from growth import LINEAR, growth

from orchestrator.core.accept import hold
from orchestrator.core.backlog import Backlog
from orchestrator.core.config import Config, Limits, Model, Project, Route
from orchestrator.core.ids import RunKind
from orchestrator.core.job import (
    Check,
    Fix,
    Held,
    Independence,
    Job,
    JobSpec,
    Kind,
    LimitWishes,
    ReviewWishes,
    State,
    Worker,
)
from orchestrator.core.judge import review_started
from orchestrator.core.matching import Matching, rule_number, rule_words, tell_rule
from orchestrator.core.needs import Holds
from orchestrator.core.records import CardKind
from orchestrator.core.schedule import (
    LEAST_UNLANDED,
    AgentView,
    Ask,
    BaseState,
    Board,
    BuildMerge,
    CheckBase,
    Gather,
    Hold,
    Land,
    ProjectView,
    Release,
    StartAttempt,
    StartChecks,
    StartReview,
    WatchLanding,
    decide,
)
from orchestrator.core.step import another_go
from orchestrator.core.times import iso

AUTHOR_WORKER = Worker("engineer", "north", "north-1", "command")
MANY = [an_agent(f"agent-{n:02d}") for n in range(64)]
DUE = ("", iso(NOON - timedelta(seconds=1)), NOW)


def minutes(count: float) -> str:
    """The time so many minutes before noon."""
    return iso(NOON - timedelta(minutes=count))


def with_at(job: Job, **at: Any) -> Job:
    return replace(job, at=replace(job.at, **at))


def ready(number: int, priority: int = 2, *, spec: Any = None, **at: Any) -> Job:
    return a_job(numbered_id(number), spec=spec, priority=priority, **at)


def running(number: int, agent: str = "engineer", priority: int = 2, **at: Any) -> Job:
    id_ = numbered_id(number, "run")
    run = a_run(id_, RunKind.ATTEMPT)
    return a_job(id_, State.RUNNING, priority=priority, agent=agent, run=run, **at)


def in_review(number: int, **at: Any) -> Job:
    known = {"tip": COMMIT, "author": AUTHOR_WORKER, "attempt": 1, "starts": 1}
    return a_job(numbered_id(number), State.REVIEWING, **{**known, **at})


CHECKED = a_spec(checks=(Check("make test"),))
UNCHECKED = a_spec(checks=())


def merging(number: int, *, spec: Any = CHECKED, **at: Any) -> Job:
    return a_job(numbered_id(number), State.MERGING, spec=spec, **{"approved": COMMIT, "tip": COMMIT, **at})


def started(board: Board) -> list[tuple[str, str]]:
    return [(each.job, each.agent) for each in decide(board, NOON) if isinstance(each, StartAttempt)]


def started_jobs(*jobs: Job, slots: int = 4, agents: Iterable[AgentView] = (*MANY, CRITIC)) -> list[str]:
    board = a_board(*jobs, agents=agents, config=Config(slots=slots))
    return [job for job, _ in started(board)]


def only(board: Board) -> Any:
    [action] = decide(board, NOON)
    return action


# --- lanes, age, slots


def test_lanes_are_served_in_strict_order_and_each_by_priority_then_age_then_id() -> None:
    jobs = [
        ready(1, 5),
        ready(2, 3),
        ready(3, 2),
        ready(4, 2, created=minutes(9)),
        ready(5, 1),
        ready(6, 0, origin="engine"),
        ready(7, 1, created=minutes(1)),
    ]
    expected = [6, 7, 5, 4, 3, 2, 1]
    assert started_jobs(*jobs, slots=7, agents=MANY) == [numbered_id(n) for n in expected]


def test_the_order_of_the_board_makes_no_difference() -> None:
    jobs = [ready(n, n % 6) for n in range(12)]
    assert decide(a_board(*jobs, agents=MANY), NOON) == decide(a_board(*reversed(jobs), agents=MANY), NOON)


@pytest.mark.parametrize(
    ("priority", "waited", "beats_fresh_p2"),
    [(3, 29, False), (3, 30, True), (4, 59, False), (4, 60, True), (5, 89, False), (5, 90, True)],
)
def test_waiting_raises_a_job_by_one_priority_each_half_hour(priority: int, waited: int, beats_fresh_p2: bool) -> None:
    old = ready(1, priority, created=minutes(600), since=minutes(waited))
    order = started_jobs(ready(2), old, slots=2)
    assert (order[0] == old.id) is beats_fresh_p2


@pytest.mark.parametrize("priority", [2, 3, 5])
def test_age_never_enters_the_urgent_lane(priority: int) -> None:
    old = ready(1, priority, created=minutes(99_999), since=minutes(99_999))
    assert started_jobs(old, ready(2, 1), slots=1) == [numbered_id(2)]


def test_a_clock_that_went_backwards_lowers_nothing() -> None:
    assert started_jobs(ready(1, 3, since=minutes(-600)), slots=1) == [numbered_id(1)]


def test_no_more_run_than_there_are_slots() -> None:
    jobs = [ready(n) for n in range(9)] + [running(1, "agent-00"), running(2, "agent-01")]
    assert len(started_jobs(*jobs, slots=5)) == 3


def test_reviews_take_slots_too_and_come_first() -> None:
    board = a_board(ready(1), ready(2), in_review(3), in_review(4), agents=(*MANY, CRITIC), config=Config(slots=3))
    assert [type(each) for each in decide(board, NOON)] == [StartReview, StartReview, StartAttempt]


def test_checks_take_no_slot_of_an_agent() -> None:
    checking = a_job(numbered_id(9), State.CHECKING, run=a_run(numbered_id(9), RunKind.CHECKS))
    assert started_jobs(ready(1), checking, slots=1) == [numbered_id(1)]


FULL = [running(n, f"agent-{n:02d}") for n in range(2)]


def test_a_persons_p0_runs_though_all_slots_are_full() -> None:
    assert started_jobs(*FULL, ready(1, 0), slots=2) == [numbered_id(1)]


@pytest.mark.parametrize(("priority", "origin"), [(0, "engine"), (1, "human")])
def test_nothing_else_gets_the_reserved_slot(priority: int, origin: str) -> None:
    assert started_jobs(*FULL, ready(1, priority, origin=origin), slots=2) == []


def test_a_second_p0_waits_when_the_reserved_slot_is_taken() -> None:
    assert started_jobs(*FULL, ready(1, 0), ready(2, 0), slots=2) == [numbered_id(1)]
    assert started_jobs(*FULL, running(5, "agent-05", 0), ready(2, 0), slots=2) == []


def test_a_p0_in_an_ordinary_slot_leaves_the_reserved_one_free() -> None:
    jobs = [running(1, "agent-00"), running(2, "agent-01", 0), ready(1, 0)]
    assert started_jobs(*jobs, slots=2) == [numbered_id(1)]


def test_the_reserved_slot_stays_out_of_reach_after_the_slots_were_lowered() -> None:
    jobs = [running(n, f"agent-{n:02d}") for n in range(4)]
    assert started_jobs(*jobs, ready(1, 0), slots=2) == []


def test_a_review_of_a_persons_p0_may_use_the_reserved_slot() -> None:
    board = a_board(*FULL, in_review(1, priority=0), config=Config(slots=2))
    assert isinstance(only(board), StartReview)


def test_with_three_slots_the_last_free_one_goes_to_the_background() -> None:
    jobs = [ready(1), ready(2), ready(3), ready(4, 4)]
    assert started_jobs(*jobs, slots=3) == [numbered_id(1), numbered_id(2), numbered_id(4)]


def test_the_background_share_changes_no_order_when_there_is_room_for_all() -> None:
    jobs = [ready(1), ready(2, 3), ready(3, 5)]
    assert started_jobs(*jobs, slots=4) == [numbered_id(n) for n in (1, 2, 3)]


def test_with_two_slots_the_background_gets_none_of_them() -> None:
    assert started_jobs(ready(1), ready(2), ready(4, 4), slots=2) == [numbered_id(1), numbered_id(2)]


def test_a_review_does_not_take_the_last_slot_from_the_background() -> None:
    board = a_board(
        running(1, "agent-00"),
        running(2, "agent-01"),
        in_review(3),
        ready(4, 4),
        agents=(*MANY, CRITIC),
        config=Config(slots=3),
    )
    assert [each.job for each in decide(board, NOON) if isinstance(each, StartAttempt | StartReview)] == [
        numbered_id(4)
    ]


def test_a_review_takes_the_last_slot_if_nothing_of_the_background_can_start() -> None:
    held = ready(4, 4, spec=a_spec(hold=""), held=Held("human:ada", NOW))
    for low in ((), (held,), (ready(4, 4), running(5, "agent-05", 4))):
        runs = [running(number, f"agent-{number:02d}") for number in range(3 - 1 - (len(low) > 1))]
        board = a_board(*runs, in_review(3), *low, agents=(*MANY, CRITIC), config=Config(slots=3))
        assert [type(each) for each in decide(board, NOON) if isinstance(each, StartAttempt | StartReview)] == [
            StartReview
        ]


def test_a_job_of_the_background_over_its_ceiling_is_asked_about_once() -> None:
    spent = ready(4, 4, starts=12, attempt=1)
    board = a_board(
        running(1, "agent-00"), running(2, "agent-01"), spent, ready(5), agents=MANY, config=Config(slots=3)
    )
    assert [each.job for each in decide(board, NOON) if isinstance(each, Ask)] == [spent.id]


def test_the_background_gets_no_second_share_while_one_of_it_runs() -> None:
    jobs = [running(9, "agent-00", 3), ready(1), ready(2), ready(4, 4)]
    assert started_jobs(*jobs, slots=3) == [numbered_id(1), numbered_id(2)]


# --- agents


def test_an_agent_does_one_attempt_at_a_time() -> None:
    board = a_board(ready(1), ready(2), agents=(AUTHOR,))
    assert started(board) == [(numbered_id(1), "engineer")]
    assert started(a_board(running(9), ready(1), agents=(AUTHOR,))) == []


def test_an_agent_may_review_while_it_makes_an_attempt() -> None:
    both = an_agent("both", family="south")
    board = a_board(running(9, "both"), in_review(1), agents=(both,))
    assert only(board) == StartReview(numbered_id(1), "both", "family")


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (ready(1, fixes=(Fix("F1", "x"),), agent="agent-07"), ("agent-07", "same author")),
        (ready(1, fixes=(Fix("F1", "x"),), agent="gone"), ("expert", "project")),
        (ready(1, agent="agent-07"), ("expert", "project")),
        (ready(1, spec=a_spec(agent="agent-09")), ("agent-09", "asked for")),
        (ready(1), ("expert", "project")),
        (ready(1, project="other"), ("veteran", "idle")),
        (ready(1, spec=a_spec(kind=Kind.WRITING)), ("agent-05", "routed")),
        (ready(1, spec=a_spec(kind=Kind.WRITING, agent="agent-09")), ("agent-09", "asked for")),
        (
            ready(1, spec=a_spec(kind=Kind.WRITING), fixes=(Fix("F1", "x"),), agent="agent-07"),
            ("agent-07", "same author"),
        ),
        (ready(1, spec=a_spec(kind=Kind.OPS)), ("veteran", "tier strong")),
        (ready(1, spec=a_spec(kind=Kind.RESEARCH)), ("expert", "project")),
    ],
)
def test_the_matching_order(job: Job, expected: tuple[str, str]) -> None:
    expert, veteran = an_agent("expert", projects=("main",)), an_agent("veteran", model="strong-1")
    newcomer = an_agent("newcomer", model="strong-1")
    config = Config(
        models={"strong-1": Model(tier="strong"), "north-1": Model(tier="quick")},
        routing={
            "writing": Route(("nobody", "agent-05", "agent-03")),
            "ops": Route(tier="strong"),
            "research": Route(tier="none of theirs"),
        },
    )
    agents, history = (*MANY, newcomer, veteran, expert), {"veteran": {"other": 3, "main": 9}}
    assert Matching(a_board(job, agents=agents, history=history, config=config)).worker(job, set()) == expected


def test_a_rule_is_told_in_words() -> None:
    rules = ("same author", "asked for", "routed", "project", "idle", "tier strong")
    assert not {rule_words(rule) for rule in rules} & {*rules}
    assert "tier strong" in rule_words("tier strong")
    assert rule_words("asked for on the command line") == "asked for on the command line"


def test_while_those_that_a_kind_is_routed_to_are_busy_the_next_ones_take_it() -> None:
    job = ready(1, spec=a_spec(kind=Kind.WRITING))
    board = a_board(job, agents=MANY, config=Config(routing={"writing": Route(("agent-05", "agent-03"))}))
    assert Matching(board).worker(job, {"agent-05"}) == ("agent-03", "routed")
    assert Matching(board).worker(job, {"agent-05", "agent-03"}) == ("agent-00", "idle")


def test_each_rule_of_the_order_has_its_number() -> None:
    told = ("given", "given the conflict", "same author", "asked for", "routed", "tier strong", "project", "idle")
    assert [rule_number(rule) for rule in told] == [1, 1, 2, 3, 4, 4, 5, 6]
    assert [rule_number(rule) for rule in ("fallback for ada", "fallback for ada, bob", "fallback")] == [7, 7, 0]
    assert tell_rule("fallback for ada") == "rule 7, it stands in for ada, whose service took nothing"
    assert tell_rule("asked for") == "rule 3, the job asks for it"
    assert (rule_number(""), rule_number("of old"), tell_rule("of old")) == (0, 0, "of old")


def test_work_that_was_given_after_a_conflict_waits_for_that_agent_whatever_the_job_asked_for() -> None:
    bob, cyd = an_agent("bob"), an_agent("cyd")
    fixed: dict[str, Any] = {"fixes": (Fix("F1", "x"),), "agent": "bob", "attempt": 1}
    job = a_job(spec=a_spec(agent="bob"), given="cyd", conflicts=2, **fixed)
    assert decide(a_board(job, agents=(bob, cyd)), NOON) == (StartAttempt(job.id, "cyd", "given the conflict"),)
    busy = running(2, "cyd")
    assert decide(a_board(job, busy, agents=(bob, cyd)), NOON) == ()
    [held] = decide(a_board(job, agents=(bob,)), NOON)
    assert isinstance(held, Hold)
    assert "'cyd' has no file" in held.reason


@pytest.mark.parametrize(
    ("conflicts", "spec", "others", "heir"),
    [
        (0, a_spec(), ("bob",), ""),
        (1, a_spec(), ("bob",), "bob"),
        (1, a_spec(), (), ""),
        (1, a_spec(agent="engineer"), ("bob",), ""),
        (2, a_spec(), ("bob",), ""),
    ],
)
def test_only_a_second_conflict_has_an_heir_who_is_not_the_author(
    conflicts: int, spec: JobSpec, others: tuple[str, ...], heir: str
) -> None:
    job = a_job(state=State.MERGING, approved=COMMIT, agent="engineer", conflicts=conflicts, spec=spec)
    agents = (AUTHOR, CRITIC, *map(an_agent, others))
    assert decide(a_board(job, agents=agents), NOON) == (BuildMerge(job.id, heir),)


def test_fixes_wait_for_their_author() -> None:
    job = ready(1, fixes=(Fix("F1", "x"),), agent="engineer")
    assert started(a_board(running(9), job, agents=(AUTHOR, *MANY))) == []


def test_an_agent_that_was_asked_for_is_waited_for() -> None:
    job = ready(1, spec=a_spec(agent="engineer"))
    assert started(a_board(running(9), job, agents=(AUTHOR, *MANY))) == []


@pytest.mark.parametrize(
    "spec",
    [a_spec(backend="other"), a_spec(model="south-1"), a_spec(agent="critic"), a_spec(agent="nobody")],
)
def test_a_job_that_no_agent_fits_is_held_and_says_so(spec: Any) -> None:
    action = only(a_board(ready(1, spec=spec)))
    assert isinstance(action, Hold)
    assert "agent" in action.reason


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (a_spec(agent="enginer"), "agent 'enginer' has no file in souls/; did you mean 'engineer'?"),
        (a_spec(backend="comand"), "role work; did you mean 'command'?"),
        (a_spec(model="nort-1"), "role work; did you mean 'north-1'?"),
        (a_spec(backend="comand", model="nort-1"), "did you mean 'command'?; did you mean 'north-1'?"),
        (a_spec(backend="other"), "role work"),
        # It is there, and nobody who works has it: no other name is meant.
        (a_spec(model="south-1"), "role work"),
    ],
)
def test_a_name_that_nobody_has_is_told_with_the_nearest(spec: JobSpec, told: str) -> None:
    action = only(a_board(ready(1, spec=spec)))
    assert isinstance(action, Hold)
    assert action.reason.endswith(told)


@pytest.mark.parametrize("soul", [{"kinds": ("writing",)}, {"projects": ("other",)}, {"roles": ("review",)}])
def test_an_agent_does_not_do_what_it_is_not_for(soul: dict[str, Any]) -> None:
    assert started(a_board(ready(1), agents=(an_agent("engineer", **soul),))) == []


def test_an_agent_whose_program_is_missing_holds_the_jobs_that_only_it_could_do() -> None:
    broken = replace(AUTHOR, problem="no program")
    action = only(a_board(ready(1), agents=(broken,)))
    assert action == Hold(numbered_id(1), "engineer: no program", {})
    assert started(a_board(ready(1), agents=(broken, *MANY))) == [(numbered_id(1), "agent-00")]


def test_an_agent_that_drains_gets_nothing_that_it_has_not_begun() -> None:
    drains = an_agent("engineer", drain="moving on")
    action = only(a_board(ready(1), agents=(drains,)))
    assert action == Hold(numbered_id(1), "engineer: it drains: moving on", {})
    assert started(a_board(ready(1), agents=(drains, *MANY))) == [(numbered_id(1), "agent-00")]
    asked_for = a_board(ready(1, spec=a_spec(agent="engineer")), agents=(drains, *MANY))
    assert only(asked_for) == Hold(numbered_id(1), "engineer: it drains: moving on", {})


@pytest.mark.parametrize(
    ("job", "rule"),
    [
        (ready(1, fixes=(Fix("F1", "x"),), agent="engineer"), "same author"),
        (ready(1, fixes=(Fix("F1", "x"),), agent="engineer", spec=a_spec(agent="engineer")), "same author"),
        (ready(1, agent="engineer", spec=a_spec(agent="engineer")), "asked for"),
        (ready(1, agent="engineer"), "idle"),
    ],
)
def test_an_agent_that_drains_ends_what_it_has_begun(job: Job, rule: str) -> None:
    board = a_board(job, agents=(an_agent("engineer", drain="moving on"), CRITIC))
    assert only(board) == StartAttempt(job.id, "engineer", rule)


def test_what_an_agent_that_drains_has_begun_does_not_wait_behind_what_it_has_not() -> None:
    agents = (an_agent("engineer", drain="moving on"), an_agent("busy"))
    board = a_board(running(9, "busy"), ready(1), ready(2, agent="engineer"), agents=agents)
    assert started(board) == [(numbered_id(2), "engineer")]


def test_an_agent_that_drains_and_cannot_be_started_ends_nothing() -> None:
    broken = an_agent("engineer", drain="moving on", problem="no program")
    job = ready(1, fixes=(Fix("F1", "x"),), agent="engineer")
    assert only(a_board(job, agents=(broken,))) == Hold(job.id, "engineer: no program", {})
    assert started(a_board(job, agents=(broken, *MANY))) == [(job.id, "agent-00")]


# --- reviewers


def reviewers(**families: str) -> list[AgentView]:
    return [an_agent(name, family=family, model=f"{family}-{name}") for name, family in families.items()]


def test_the_author_and_its_family_do_not_review() -> None:
    board = a_board(in_review(1), agents=(AUTHOR, *reviewers(same="north", other="south")))
    assert only(board) == StartReview(numbered_id(1), "other", "family")


def test_who_had_a_hand_in_the_work_does_not_review_it_whoever_ended_it() -> None:
    former = (Worker("anna", "south", "south-1", "command"),)
    taken_over = in_review(1, former=former)
    anna, other = reviewers(anna="south", other="east")
    assert only(a_board(taken_over, agents=(AUTHOR, anna, other))) == StartReview(numbered_id(1), "other", "family")
    action = only(a_board(taken_over, agents=(AUTHOR, anna, *reviewers(kin="south"))))
    assert isinstance(action, Ask)
    assert "anna, whose work it goes on with, is of the family south" in action.context


def test_without_a_reviewer_of_another_family_the_human_is_asked() -> None:
    action = only(a_board(in_review(1), agents=(AUTHOR, *reviewers(same="north", undeclared=""))))
    assert isinstance(action, Ask)
    assert (action.kind, "north" in action.context) == (CardKind.NO_REVIEWER, True)


def test_an_author_of_no_declared_family_has_no_reviewer() -> None:
    job = in_review(1, author=Worker("engineer", "", "m"))
    assert only(a_board(job, agents=reviewers(other="south"))).kind is CardKind.NO_REVIEWER


def by_model(**wishes: Any) -> Any:
    return a_spec(review=ReviewWishes(independence=Independence.MODEL, **wishes))


def test_another_model_of_the_family_reviews_only_where_that_is_enough_and_no_other_family_can() -> None:
    job = a_job(numbered_id(1), State.REVIEWING, spec=by_model(), author=AUTHOR_WORKER, tip=COMMIT)
    same, other = reviewers(a="north"), reviewers(z="south")
    assert only(a_board(job, agents=same)) == StartReview(job.id, "a", "model")
    assert only(a_board(job, agents=(*same, *other))) == StartReview(job.id, "z", "family")


def test_a_reviewer_that_was_unclear_is_not_asked_again() -> None:
    two = reviewers(first="south", second="east")
    assert only(a_board(in_review(1), agents=two)).reviewer == "first"
    assert only(a_board(in_review(1, excluded=("first",)), agents=two)).reviewer == "second"
    action = only(a_board(in_review(1, excluded=("first", "second")), agents=two))
    assert (action.kind, "first, second gave no clear verdict" in action.context) == (CardKind.NO_REVIEWER, True)


def test_the_reviewers_that_a_job_names_come_in_its_order_and_no_other() -> None:
    spec = a_spec(review=ReviewWishes(by=("late", "early")))
    job = a_job(numbered_id(1), State.REVIEWING, spec=spec, author=AUTHOR_WORKER)
    three = reviewers(any="south", early="south", late="south")
    assert only(a_board(job, agents=three)).reviewer == "late"
    assert only(a_board(job, agents=three[:1])).kind is CardKind.NO_REVIEWER


def test_an_agent_without_the_role_or_with_a_problem_does_not_review() -> None:
    worker = an_agent("worker", family="south", roles=("work",))
    broken = an_agent("broken", family="south", problem="no program")
    action = only(a_board(in_review(1), agents=(worker, broken)))
    assert (action.kind, action.context) == (CardKind.NO_REVIEWER, "broken: no program")


def test_an_agent_that_drains_gets_no_review() -> None:
    drains = an_agent("drains", family="south", drain="moving on")
    action = only(a_board(in_review(1, agent="drains"), agents=(drains,)))
    assert (action.kind, action.context) == (CardKind.NO_REVIEWER, "drains: it drains: moving on")
    assert only(a_board(in_review(1), agents=(drains, CRITIC))).reviewer == "critic"


def test_a_job_for_a_persons_eyes_asks_the_person() -> None:
    spec = a_spec(review=ReviewWishes(independence=Independence.HUMAN))
    job = a_job(numbered_id(1), State.REVIEWING, spec=spec, author=AUTHOR_WORKER)
    assert only(a_board(job)).kind is CardKind.HUMAN_REVIEW


def test_reviews_are_spread_over_the_reviewers_also_those_that_run_already() -> None:
    two = reviewers(a="south", b="south")
    board = a_board(in_review(1), in_review(2), agents=two)
    assert [each.reviewer for each in decide(board, NOON) if isinstance(each, StartReview)] == ["a", "b"]
    job = in_review(1)
    review = a_review(with_at(job, review=0, attempt=1), reviewer="a")
    assert only(a_board(review_started(job, review, NOW).job, in_review(2), agents=two)).reviewer == "b"


# --- needs and other reasons to wait

NEEDS = a_spec(needs=("base",))
BASE_ID = numbered_id(1, "base")


def reason(board: Board, job: Job) -> str:
    return Holds(board, NOON).reason(job)[0]


def test_a_job_waits_for_the_open_job_that_it_needs_by_name_or_id() -> None:
    base = a_job(BASE_ID, State.RUNNING)
    for text in ("base", BASE_ID):
        job = ready(2, spec=a_spec(needs=(text,)))
        action = only(a_board(base, job))
        assert action == Hold(job.id, f"needs {BASE_ID}", {text: BASE_ID})


def test_the_newest_of_several_jobs_of_the_name_is_meant_and_stays_meant() -> None:
    older, newer = a_job(BASE_ID, created=minutes(5)), a_job(numbered_id(0, "base"))
    job = ready(2, spec=NEEDS)
    assert reason(a_board(older, newer, job), job) == f"needs {newer.id}"
    bound = ready(2, spec=NEEDS, needs={"base": BASE_ID})
    assert reason(a_board(older, newer, bound), bound) == f"needs {BASE_ID}"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ({BASE_ID: State.DONE}, ""),
        ({BASE_ID: State.FAILED}, "which was failed"),
        ({BASE_ID: State.CANCELLED}, "which was cancelled"),
        ({}, "unknown"),
    ],
)
def test_a_need_that_ended(ended: dict[str, State], told: str) -> None:
    job = ready(2, spec=NEEDS, needs={"base": BASE_ID})
    found = reason(a_board(job, ended=ended), job)
    assert told in found
    assert bool(found) == bool(told)


def test_a_need_is_met_only_by_done_and_not_by_the_review() -> None:
    job = ready(2, spec=NEEDS)
    for state in State:
        if not state.ended:
            assert reason(a_board(a_job(BASE_ID, state), job), job) == f"needs {BASE_ID}"


def test_a_job_whose_need_is_done_is_released() -> None:
    job = a_job(numbered_id(2), State.WAITING, spec=NEEDS, needs={"base": BASE_ID}, reason=f"needs {BASE_ID}")
    assert only(a_board(job, ended={BASE_ID: State.DONE})) == Release(job.id, {"base": BASE_ID})


def test_a_need_that_nobody_knows_is_told() -> None:
    job = ready(2, spec=NEEDS)
    assert "no open job has this name" in reason(a_board(job), job)


def test_a_job_does_not_need_itself_by_name_but_is_told_if_by_id() -> None:
    named = a_job(BASE_ID, spec=NEEDS)
    assert "no open job has this name" in reason(a_board(named), named)
    by_id = a_job(BASE_ID, spec=a_spec(needs=(BASE_ID,)))
    assert reason(a_board(by_id), by_id) == f"needs go round in a circle: {BASE_ID} → {BASE_ID}"


def chain(length: int, *, closed: bool) -> list[Job]:
    last = (numbered_id(0),) if closed else ()
    return [ready(n, spec=a_spec(needs=(numbered_id(n + 1),) if n + 1 < length else last)) for n in range(length)]


def test_needs_that_go_round_are_told_to_all_in_the_circle_and_all_that_wait_for_it() -> None:
    circle = chain(3, closed=True)
    outside = ready(9, spec=a_spec(needs=(numbered_id(1),)))
    board = a_board(*circle, outside)
    names = " → ".join(numbered_id(n) for n in (0, 1, 2, 0))
    assert {reason(board, job) for job in (*circle, outside)} == {f"needs go round in a circle: {names}"}
    assert reason(a_board(*reversed(circle)), circle[0]) == f"needs go round in a circle: {names}"


def test_needs_that_meet_again_are_no_circle() -> None:
    a, b = (ready(n, spec=a_spec(needs=(BASE_ID,))) for n in (1, 2))
    top = ready(3, spec=a_spec(needs=(a.id, b.id)))
    board = a_board(a_job(BASE_ID, State.RUNNING), a, b, top)
    assert [reason(board, job) for job in (a, b, top)] == [f"needs {BASE_ID}", f"needs {BASE_ID}", f"needs {a.id}"]


@pytest.mark.parametrize("closed", [False, True])
def test_a_chain_of_thousands_is_no_problem_and_its_reason_stays_short(closed: bool) -> None:
    jobs = chain(5_000, closed=closed)
    holds = [each for each in decide(a_board(*jobs), NOON) if isinstance(each, Hold)]
    assert len(holds) == (5_000 if closed else 4_999)
    assert max(len(each.reason) for each in holds) < 300


def test_a_held_job_is_not_held_again_for_the_same_reason() -> None:
    base, job = a_job(BASE_ID, State.RUNNING), ready(2, spec=NEEDS)
    action = only(a_board(base, job))
    held = hold(job, action.reason, NOW, needs=action.needs).job
    assert decide(a_board(base, held), NOON) == ()


@pytest.mark.parametrize("problem", ["", "no program"])
def test_a_pause_is_told_once_and_ends(problem: str) -> None:
    agents = (replace(AUTHOR, problem=problem),)
    job = ready(2, not_before=minutes(-5), reason="its run died")
    action = only(a_board(job, agents=agents))
    assert action.reason == f"pauses until {minutes(-5)}: {f'engineer: {problem}' if problem else 'its run died'}"
    held = hold(job, action.reason, NOW, needs={}).job
    assert decide(a_board(held, agents=agents), NOON) == ()
    [after] = decide(a_board(held, agents=agents), NOON + timedelta(minutes=5))
    assert isinstance(after, Hold if problem else Release)


def test_a_pause_that_was_begun_by_a_clock_a_year_ahead_keeps_no_job() -> None:
    a_day, a_year = minutes(-24 * 60), minutes(-366 * 24 * 60)
    assert only(a_board(ready(1, not_before=a_day))).reason.startswith(f"pauses until {a_day}: ")
    assert isinstance(only(a_board(ready(1, not_before=a_year))), StartAttempt)


@pytest.mark.parametrize("not_before", ["2026-11-21", "2026-11-20T12:00:01Z", "2026-11-20T13:30:00+01:00", "soon"])
def test_a_job_that_may_not_start_yet_is_held(not_before: str) -> None:
    action = only(a_board(ready(1, spec=a_spec(not_before=not_before))))
    assert isinstance(action, Hold)
    assert not_before in action.reason


@pytest.mark.parametrize("not_before", ["2026-11-20", "2026-11-20T12:00:00Z", "2026-11-20T12:30:00+01:00"])
def test_a_job_whose_time_has_come_starts(not_before: str) -> None:
    assert isinstance(only(a_board(ready(1, spec=a_spec(not_before=not_before)))), StartAttempt)


def view(base: BaseState = BaseState.GREEN, problem: str = "") -> dict[str, ProjectView]:
    return {"main": ProjectView(Project(target="main"), base, problem)}


def test_a_red_base_holds_all_jobs_but_those_that_repair_it() -> None:
    board = a_board(ready(1), ready(2, spec=a_spec(repairs_base=True)), projects=view(BaseState.RED))
    held, start = decide(board, NOON)
    assert isinstance(held, Hold)
    assert isinstance(start, StartAttempt)
    assert (held.job, start.job) == (numbered_id(1), numbered_id(2))


@pytest.mark.parametrize(
    ("unchecked", "told", "way_out"),
    [
        (False, "The base of main is red at cccccccccccc, which holds 2 jobs. What now?", "Mend main, or submit a job"),
        (
            True,
            "The base of main could not be checked at cccccccccccc, which holds 2 jobs. What now?",
            "Put right what",
        ),
    ],
)
def test_who_is_asked_about_a_base_is_told_whether_it_is_red_or_could_not_be_checked(
    unchecked: bool, told: str, way_out: str
) -> None:
    red = ProjectView(Project(target="main"), BaseState.RED, "", "c" * 40, "why", unchecked)
    (asked,) = (
        each for each in decide(a_board(ready(1), ready(2), projects={"main": red}), NOON) if isinstance(each, Ask)
    )
    assert asked.question == told
    assert asked.context.startswith(f"why\n{way_out}")


@pytest.mark.parametrize(("base", "checked"), [(BaseState.UNKNOWN, True), (BaseState.RUNNING, False)])
def test_a_base_that_is_not_known_yet_is_checked_once_before_anything_starts(base: BaseState, checked: bool) -> None:
    board = a_board(ready(1), ready(2), projects=view(base))
    assert decide(board, NOON) == ((CheckBase("main"),) if checked else ())


def test_a_base_is_not_checked_for_nobody() -> None:
    assert decide(a_board(in_review(1, run="x"), projects=view(BaseState.UNKNOWN)), NOON) == ()
    board = a_board(ready(1, spec=a_spec(repairs_base=True)), projects=view(BaseState.UNKNOWN))
    assert isinstance(only(board), StartAttempt)


def test_a_project_that_is_unknown_or_cannot_be_worked_on_holds_its_jobs() -> None:
    assert "not in orc.yaml" in only(a_board(ready(1, project="gone"))).reason
    assert only(a_board(ready(1), projects=view(problem="no branch"))).reason == "no branch"


# --- checks, merges, landings


def checking(number: int, *, spec: Any = CHECKED, **at: Any) -> Job:
    return a_job(numbered_id(number), State.CHECKING, spec=spec, **{"tip": COMMIT, **at})


def test_check_slots_are_a_ceiling_of_their_own_and_merges_come_first() -> None:
    busy = checking(9, run=a_run(numbered_id(9), RunKind.CHECKS))
    jobs = [checking(1), checking(2), merging(3, merged="d" * 40), busy]
    board = a_board(*jobs, config=Config(check_slots=3))
    assert decide(board, NOON) == (StartChecks(numbered_id(3)), StartChecks(numbered_id(1)))


@pytest.mark.parametrize("job", [checking(1, spec=UNCHECKED), merging(1, spec=UNCHECKED, merged="d" * 40)])
def test_a_job_without_checks_needs_no_slot_for_them_and_no_start(job: Job) -> None:
    busy = checking(9, run=a_run(numbered_id(9), RunKind.CHECKS))
    full, used_up = Config(check_slots=1), Config(limits=Limits(starts=2))
    assert decide(a_board(job, checking(2), busy, config=full), NOON) == (StartChecks(job.id),)
    assert decide(a_board(job, checking(2), config=full), NOON) == (StartChecks(job.id), StartChecks(numbered_id(2)))
    assert only(a_board(with_at(job, starts=2), config=used_up)) == StartChecks(job.id)
    assert only(a_board(job, stopping=True)) == StartChecks(job.id), "it comes to a result without a run"


def test_the_check_of_a_base_takes_a_check_slot() -> None:
    board = a_board(checking(1), projects=view(BaseState.RUNNING), config=Config(check_slots=1))
    assert decide(board, NOON) == ()


def test_one_merge_at_a_time_for_each_target() -> None:
    first, second = merging(1, created=minutes(9)), merging(2)
    elsewhere = merging(3, spec=a_spec(target="release"))
    assert decide(a_board(second, first, elsewhere), NOON) == (BuildMerge(first.id), BuildMerge(elsewhere.id))


@pytest.mark.parametrize("before", [{"merged": "d" * 40}, {"merged": "d" * 40, "run": "x"}, {"run": "x"}])
def test_nothing_is_built_while_another_merge_is_on_its_way(before: dict[str, str]) -> None:
    actions = decide(a_board(merging(2, **before), merging(1)), NOON)
    assert BuildMerge(numbered_id(1)) not in actions


def test_one_landing_at_a_time_for_each_target_and_before_any_build() -> None:
    jobs = [a_job(numbered_id(n), State.LANDING, approved=COMMIT, merged="d" * 40) for n in (1, 2)]
    assert decide(a_board(*jobs, merging(3)), NOON) == (Land(numbered_id(1)),)


def test_only_a_blocked_landing_is_watched() -> None:
    blocked = a_job(numbered_id(1), State.DECIDE, approved=COMMIT, merged="d" * 40)
    asked = a_job(numbered_id(2), State.DECIDE, approved=COMMIT)
    assert decide(a_board(blocked, asked), NOON) == (WatchLanding(blocked.id),)


def blocked(number: int, waited: float = 0, **keys: Any) -> Job:
    keys = {"approved": COMMIT, "merged": "d" * 40, "since": minutes(waited), **keys}
    return a_job(numbered_id(number), State.DECIDE, **keys)


def test_of_many_blocked_landings_one_is_watched_for_each_target() -> None:
    elsewhere = [blocked(5, 1, spec=a_spec(target="release")), blocked(6, 2, spec=a_spec(target="release"))]
    other = blocked(7, project="other")
    found = decide(a_board(*(blocked(n, n) for n in (1, 3, 2)), *elsewhere, other), NOON)
    assert set(found) == {WatchLanding(numbered_id(n)) for n in (3, 6, 7)}, "those that were blocked first"


def test_a_blocked_landing_that_a_person_holds_does_not_keep_the_next_from_being_watched() -> None:
    first = blocked(1, 9, held=Held("human:ada", NOW))
    assert only(a_board(first, blocked(2))) == WatchLanding(numbered_id(2))


def test_no_new_job_begins_while_much_of_its_project_waits_to_land() -> None:
    waiting = [merging(n) for n in range(10, 10 + LEAST_UNLANDED)]
    assert started_jobs(ready(1), *waiting[1:], slots=2) == [numbered_id(1)]
    assert started_jobs(ready(1), *waiting, slots=2) == []
    assert started_jobs(ready(1), *waiting, slots=3) == [numbered_id(1)], "more slots, more that may be on its way"


def test_what_was_begun_or_is_urgent_or_of_another_project_does_not_wait_for_landings() -> None:
    waiting = [merging(n) for n in range(10, 10 + LEAST_UNLANDED)]
    begun = ready(1, attempt=1, starts=1, author=AUTHOR_WORKER, agent="agent-01", tip=COMMIT)
    urgent = ready(2, priority=1)
    assert started_jobs(ready(3), begun, *waiting, slots=2) == [begun.id]
    assert started_jobs(ready(3), urgent, *waiting, slots=2) == [urgent.id]
    held = [with_at(each, held=Held("human:ada", NOW)) for each in waiting]
    assert started_jobs(ready(3), *held, slots=2) == [numbered_id(3)], "what a person holds is not on its way"


def test_what_is_nearest_to_done_is_served_first() -> None:
    jobs = [
        ready(1),
        in_review(2),
        checking(3),
        a_job(numbered_id(4), State.COLLECTED),
        merging(5, spec=a_spec(target="x")),
        a_job(numbered_id(6), State.LANDING, approved=COMMIT),
    ]
    kinds = [type(each) for each in decide(a_board(*jobs), NOON)]
    assert kinds == [Land, BuildMerge, Gather, StartChecks, StartReview, StartAttempt]


# --- ceilings, pauses, stopping

HANDLED: dict[str, tuple[Job, type]] = {
    "ready": (ready(1), StartAttempt),
    "waiting": (a_job(numbered_id(1), State.WAITING), Release),
    "collected": (a_job(numbered_id(1), State.COLLECTED), Gather),
    "checking": (checking(1), StartChecks),
    "reviewing": (in_review(1), StartReview),
    "merging, to build": (merging(1), BuildMerge),
    "merging, to check": (merging(1, merged="d" * 40), StartChecks),
    "landing": (a_job(numbered_id(1), State.LANDING, approved=COMMIT), Land),
}
RUNS = (StartAttempt, StartReview, StartChecks)


@pytest.mark.parametrize("name", HANDLED)
def test_every_open_state_has_its_handler(name: str) -> None:
    job, action = HANDLED[name]
    assert type(only(a_board(job))) is action


def test_the_handlers_cover_every_open_state_that_waits_for_the_engine() -> None:
    covered = {job.state for job, _ in HANDLED.values()}
    assert covered == {state for state in State if not state.ended} - {State.RUNNING, State.DECIDE}


@pytest.mark.parametrize("name", [name for name, (_, action) in HANDLED.items() if action in RUNS])
def test_no_run_begins_once_the_starts_are_used_up_and_a_card_is_made(name: str) -> None:
    job, _ = HANDLED[name]
    action = only(a_board(with_at(job, starts=12)))
    assert (type(action), action.kind) == (Ask, CardKind.CEILING)
    granted = with_at(job, starts=12, **{**another_go(job), "allowance": 1})
    assert isinstance(only(a_board(granted)), RUNS)


def test_no_review_begins_once_the_reviews_are_used_up() -> None:
    assert only(a_board(in_review(1, review=6))).kind is CardKind.CEILING
    assert isinstance(only(a_board(in_review(1, review=5))), StartReview)
    assert isinstance(only(a_board(checking(1, review=6))), StartChecks)


def test_a_job_may_have_ceilings_of_its_own() -> None:
    job = ready(1, spec=a_spec(limits=LimitWishes(starts=2)), starts=2)
    assert only(a_board(job)).kind is CardKind.CEILING
    board = a_board(ready(1, starts=2), config=Config(limits=Limits(starts=2)))
    assert only(board).kind is CardKind.CEILING


@pytest.mark.parametrize("name", ["checking", "reviewing", "merging, to build", "merging, to check"])
def test_nothing_begins_during_a_pause(name: str) -> None:
    job, action = HANDLED[name]
    assert decide(a_board(with_at(job, not_before=minutes(-1))), NOON) == ()
    for due in DUE:
        assert type(only(a_board(with_at(job, not_before=due)))) is action


@pytest.mark.parametrize("name", ["checking", "reviewing", "merging, to check"])
def test_what_runs_is_not_started_again(name: str) -> None:
    assert decide(a_board(with_at(HANDLED[name][0], run="x")), NOON) == ()


def test_stopping_starts_no_run_but_finishes_what_needs_none() -> None:
    jobs = [with_at(job, id=numbered_id(n)) for n, (job, _) in enumerate(HANDLED.values())]
    actions = decide(a_board(*jobs, stopping=True, projects=view(BaseState.UNKNOWN)), NOON)
    assert not [each for each in actions if isinstance(each, (*RUNS, CheckBase))]
    assert {type(each) for each in actions} == {Land, Gather, Release}


def test_an_empty_board_needs_nothing() -> None:
    assert decide(a_board(), NOON) == ()


# --- size


def crowd(size: int) -> list[Job]:
    """Jobs of every sort: ready, waiting for a name, a chain, a pause, unknown needs, in review."""
    specs = [
        a_spec(),
        a_spec(needs=("unknown",)),
        a_spec(needs=(numbered_id(3),)),
        a_spec(not_before="2026-12-01"),
    ]
    jobs = [ready(n, n % 6, spec=specs[n % 4], since=minutes(n % 300)) for n in range(size)]
    return [in_review(job_number, run="") if job_number % 10 == 9 else job for job_number, job in enumerate(jobs)]


@pytest.mark.parametrize("make", [crowd, lambda size: chain(size, closed=False), lambda size: chain(size, closed=True)])
def test_four_times_the_jobs_take_about_four_times_as_long(make: Any) -> None:
    agents = [*MANY, *reviewers(**{f"r{n:02d}": "south" for n in range(20)})]
    boards = {size: a_board(*make(size), agents=agents) for size in (1_500, 6_000)}
    assert growth(lambda size: decide(boards[size], NOON), 1_500) < LINEAR


# --- a gate that fails its own test


def test_with_a_broken_gate_nothing_is_begun_judged_or_merged_and_who_waits_is_told_why() -> None:
    needs = ready(2, spec=a_spec(needs=(numbered_id(1),)))
    waits = hold(needs, f"needs {numbered_id(1)}", NOW, needs={numbered_id(1): numbered_id(1)}).job
    work: dict[str, Any] = {"tip": COMMIT, "author": AUTHOR_WORKER, "attempt": 1}
    at_work = [a_job(numbered_id(n), state, **work) for n, state in enumerate((State.COLLECTED, State.CHECKING), 3)]
    landing = a_job(numbered_id(8), State.LANDING, **work, approved=COMMIT, merged=COMMIT)
    jobs = (ready(1), waits, *at_work, in_review(6), merging(7), landing)
    assert decide(a_board(*jobs, broken="the gate diff fails its own test"), NOON) == (
        Hold(numbered_id(1), "the gate diff fails its own test, so nobody could judge the work", {}),
    )
    otherwise = {type(each) for each in decide(a_board(*jobs), NOON)}
    assert otherwise == {Land, StartReview, Gather, StartChecks, StartAttempt}


def test_who_waits_for_a_gate_is_released_once_it_holds() -> None:
    backlog, why = Backlog(), "the gate diff fails its own test"
    (held,) = decide(a_board(ready(1), broken=why, version="1"), NOON, backlog)
    assert isinstance(held, Hold)
    waiting = hold(ready(1), held.reason, NOW, needs={}).job
    new: dict[str, Any] = {"version": "2", "before": "1", "changed": frozenset({waiting.id})}
    assert decide(a_board(waiting, broken=why, **new), NOON, backlog) == ()
    assert Release(waiting.id, {}) in decide(a_board(waiting, **new), NOON, backlog)
