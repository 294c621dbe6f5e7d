"""What begins on services that take less or nothing: who waits, who stands in, and who judges meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import COMMIT, NOON, a_board, a_job, a_run, a_spec, an_agent, numbered_id

from orchestrator.core.board import Board
from orchestrator.core.config import BackendConfig, Config
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Fix, Independence, Job, Priority, ReviewWishes, Second, SecondWhy, State, Worker
from orchestrator.core.matching import Matching, rule_words
from orchestrator.core.schedule import Stand, StartAttempt, StartReview, decide
from orchestrator.core.service import Rest, Service, Shut, Went
from orchestrator.core.times import iso

ADA = an_agent("ada", family="north", backend="api", roles=("work",))
BOB = an_agent("bob", family="north", backend="web", model="north-2", roles=("work",))
CRITIC = an_agent("critic", family="south", roles=("review",), backend="api")
SECOND = an_agent("second", family="east", roles=("review",), backend="web")


def moment(minutes: float) -> str:
    return iso(NOON + timedelta(minutes=minutes))


def resting(*models: str, until: float = 5) -> Service:
    rests = tuple(Rest(model, moment(-9), moment(until), Went.LIMITED, "429") for model in models)
    return Service("api", rests=rests)


SHUT = Service("api", refused=3, shut=Shut(moment(-9), moment(5), Went.REFUSED, "401"))


def ready(number: int = 1, *, at: Any = None, **spec: Any) -> Job:
    return a_job(numbered_id(number), spec=a_spec(**spec), **(at or {}))


def in_review(**at: Any) -> Job:
    author = Worker("eve", "west", "west-1", "other")
    return a_job(numbered_id(7), State.REVIEWING, tip=COMMIT, author=author, attempt=1, starts=1, **at)


def running(number: int, agent: str, since: float) -> Job:
    id_ = numbered_id(number, "run")
    author = Worker(agent, "north", "north-1", "web" if agent == "bob" else "api")
    run = a_run(id_, RunKind.ATTEMPT)
    return a_job(id_, State.RUNNING, run=run, agent=agent, author=author, since=moment(since))


def board(*jobs: Job, service: Service = SHUT, agents: Any = (ADA, BOB, CRITIC, SECOND), **config: Any) -> Board:
    return a_board(*jobs, agents=agents, services={service.backend: service}, config=Config(**config))


def begun(board: Board) -> list[tuple[str, str]]:
    found = [each for each in decide(board, NOON) if isinstance(each, StartAttempt)]
    return [(each.agent, each.rule) for each in found]


def reviews(board: Board) -> list[str]:
    return [each.reviewer for each in decide(board, NOON) if isinstance(each, StartReview)]


@pytest.mark.parametrize("service", [SHUT, resting("north-1")])
def test_a_job_for_anybody_goes_to_whoever_is_on_another_service(service: Service) -> None:
    assert begun(board(ready(), service=service)) == [("bob", "idle")]
    assert begun(board(ready(), service=service, agents=(ADA, CRITIC))) == []


def test_only_the_model_that_is_limited_rests() -> None:
    assert begun(board(ready(), service=resting("other-1"), agents=(ADA, CRITIC))) == [("ada", "idle")]


@pytest.mark.parametrize("until", [-1.0, 0.0])
def test_once_the_time_is_over_one_run_begins_and_no_more_before_it_has_ended_or_is_served(until: float) -> None:
    dan = an_agent("dan", family="north", backend="api")
    jobs, agents = [ready(number) for number in range(3)], (ADA, dan, CRITIC)
    assert begun(board(*jobs, service=resting("north-1", until=until), agents=agents)) == [("ada", "idle")]
    tried = board(*jobs, running(9, "ada", since=until), service=resting("north-1", until=until), agents=agents)
    assert begun(tried) == []
    # What has gone on for two minutes is served: its end may be an hour away.
    served = board(*jobs, running(9, "ada", since=until), service=resting("north-1", until=until), agents=agents)
    after = [each for each in decide(served, NOON + timedelta(minutes=2)) if isinstance(each, StartAttempt)]
    assert [each.agent for each in after] == ["dan"]
    older = board(*jobs, running(9, "ada", since=-9), service=resting("north-1", until=until), agents=agents)
    assert begun(older) == [("dan", "idle")]


@pytest.mark.parametrize(
    ("wishes", "config", "expected"),
    [
        ({"agent": "ada"}, {}, []),
        ({"agent": "ada", "fallback": ("bob",)}, {}, ["bob"]),
        ({"agent": "ada"}, {"fallback": {"ada": ("nobody", "critic", "bob")}}, ["bob"]),
        ({"agent": "ada", "fallback": ("critic",)}, {"fallback": {"ada": ("bob",)}}, []),
        ({"backend": "api", "fallback": ("bob",)}, {}, ["bob"]),
        ({"model": "north-1"}, {"fallback": {"ada": ("bob",)}}, ["bob"]),
        ({"agent": "bob"}, {"fallback": {"bob": ("ada",)}}, ["bob"]),
    ],
)
def test_who_stands_in(wishes: dict[str, Any], config: dict[str, Any], expected: list[str]) -> None:
    found = begun(board(ready(**wishes), **config))
    assert [agent for agent, _ in found] == expected
    for _, rule in found:
        assert wishes.get("agent") == "bob" or rule_words(rule) == "it stands in for ada, whose service took nothing"


def test_who_stands_in_is_told_be_they_free_or_not() -> None:
    job = ready(agent="ada", fallback=("nobody", "critic", "bob"))
    assert Matching(board(job, running(9, "bob", since=-1)), NOON).stand_ins(job) == ["bob"]
    assert Matching(board(job, service=Service("api")), NOON).stand_ins(job) == [], "its service takes something"
    fixes = ready(at={"agent": "ada", "fixes": (Fix("F1", "wrong"),), "attempt": 1})
    assert Matching(board(fixes, fallback={"ada": ("bob",)}), NOON).stand_ins(fixes) == ["bob"]
    given = ready(at={"given": "ada", "attempt": 1})
    assert Matching(board(given, fallback={"ada": ("bob",)}), NOON).stand_ins(given) == []


def test_fixes_wait_for_their_author_unless_somebody_may_stand_in() -> None:
    at = {"agent": "ada", "fixes": (Fix("F1", "wrong"),), "attempt": 1}
    assert begun(board(ready(at=at))) == []
    assert begun(board(ready(at=at), fallback={"ada": ("bob",)})) == [("bob", "fallback for ada")]
    given = {"given": "ada", "attempt": 1}
    assert begun(board(ready(at=given), fallback={"ada": ("bob",)})) == [], "a person gave it to that one"


def test_who_is_only_busy_is_waited_for() -> None:
    busy = board(ready(agent="ada", fallback=("bob",)), running(9, "ada", since=-1), service=Service("api"))
    assert begun(busy) == []


def test_a_review_goes_to_a_reviewer_whose_service_answers_and_else_waits() -> None:
    (review,) = decide(board(in_review()), NOON)
    assert isinstance(review, StartReview)
    assert review.reviewer == "second"
    assert decide(board(in_review(), agents=(ADA, CRITIC)), NOON) == (), "no card is asked for what comes by itself"


def test_a_second_review_that_was_drawn_keeps_no_work_waiting() -> None:
    drawn = Second(SecondWhy.DRAW, 1, ("other",), "drawn")
    (action,) = decide(board(in_review(second=drawn), agents=(ADA, CRITIC)), NOON)
    assert isinstance(action, Stand)


def test_no_more_begin_at_once_than_are_configured_or_than_it_takes() -> None:
    agents = [an_agent(f"a{number}", backend="api") for number in range(6)]
    jobs = [ready(number) for number in range(6)]
    few = {"backends": {"api": BackendConfig("api", at_once=2)}, "slots": 6}
    assert len(begun(board(*jobs, service=Service("api"), agents=agents, **few))) == 2
    assert len(begun(board(*jobs, service=Service("api", limit=3), agents=agents, slots=6))) == 3
    assert len(begun(board(*jobs, service=Service("api", refused=2), agents=agents, slots=6))) == 1
    assert len(begun(board(*jobs, service=Service("api"), agents=agents, slots=6))) == 6


def test_what_a_service_turned_away_is_not_counted_against_the_ceilings() -> None:
    at = {"starts": 14, "unserved": 3}
    assert begun(board(ready(at=at), service=Service("api"))) != []
    assert begun(board(ready(at={"starts": 14, "unserved": 2}), service=Service("api"))) == []


def test_a_job_says_what_it_waits_for_and_until_when() -> None:
    matching = Matching(board(ready(), agents=(ADA, CRITIC)), NOON)
    assert matching.why_resting(ready()).startswith(f"api is shut until {moment(5)}: its key was refused 3 times")
    assert Matching(board(ready()), NOON).why_resting(ready()) == "", "bob can take it"
    assert Matching(board(ready(), agents=(ADA, CRITIC))).why_resting(ready()) == "", "nobody asks about now"


def test_a_reviewer_whose_service_has_no_room_is_waited_for_and_nobody_nearer_asked_instead() -> None:
    near = an_agent("near", family="west", model="west-9", roles=("review",), backend="web")
    few = {"backends": {"api": BackendConfig("api", at_once=1)}, "slots": 3}
    job = in_review(spec=a_spec(review=ReviewWishes(independence=Independence.MODEL)))
    agents = (ADA, CRITIC, near)
    full = board(job, running(9, "ada", since=-1), service=Service("api"), agents=agents, **few)
    assert reviews(full) == []
    assert reviews(board(job, service=Service("api"), agents=agents, **few)) == ["critic"]
    assert reviews(board(job, service=resting(CRITIC.model), agents=agents, **few)) == ["near"], "that takes long"


def test_one_run_tries_a_service_and_not_also_the_review_that_gave_way_to_the_background() -> None:
    low = ready(3, at={"priority": Priority.P4}, agent="ada")
    others = [running(number, "bob", since=-1) for number in (8, 9)]
    tried = replace(SHUT, shut=Shut(moment(-9), moment(-1), Went.REFUSED, "401"))
    urgent = in_review(priority=Priority.P0, origin="human")
    both = board(urgent, low, *others, service=tried, agents=(ADA, BOB, CRITIC), slots=3)
    assert (begun(both), reviews(both)) == ([("ada", "asked for")], [])
    assert reviews(board(urgent, *others, service=tried, agents=(ADA, BOB, CRITIC), slots=3)) == ["critic"]
