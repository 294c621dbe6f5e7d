"""What is kept from one decision to the next changes no decision, and spares the work on what has not changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from builders import CRITIC, NOON, a_board, a_job, a_run, a_spec, an_agent, numbered_id
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.actions import Hold, Release, StartAttempt
from orchestrator.core.backlog import AGEING_S, Backlog
from orchestrator.core.board import IN_BACKLOG, BaseState, Board, ProjectView
from orchestrator.core.config import Config, Project
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Fix, Held, Job, Kind, State
from orchestrator.core.needs import Holds
from orchestrator.core.schedule import decide
from orchestrator.core.times import iso

AGENTS = {
    each.soul.name: each
    for each in (an_agent("ann"), an_agent("bob", projects=("main",)), an_agent("cy", kinds=("ops",)), CRITIC)
}
NUMBERS = st.integers(0, 7)
NAMES = st.sampled_from(["", "main", "other"])
STEPS_S = st.sampled_from([0, 1, 7, 30, 59, 60, 61, 600, AGEING_S - 1, AGEING_S, 3600, -1, -45, -AGEING_S])
MOMENTS_S = st.sampled_from([None, -5, 1, 20, 61, 600, 4000])
Draw = Callable[[st.SearchStrategy[Any]], Any]
OPEN = [each for each in State if not each.ended]


@dataclass
class World:
    """Everything that boards are made of, changed step by step."""

    now: datetime = NOON
    config: Config = field(default_factory=lambda: Config(slots=2))
    jobs: dict[str, Job] = field(default_factory=dict)
    ended: dict[str, State] = field(default_factory=dict)
    agents: dict[str, Any] = field(default_factory=lambda: dict(AGENTS))
    projects: dict[str, ProjectView] = field(default_factory=dict)
    stopping: bool = False
    version: int = 0
    differing: dict[str, frozenset[str]] = field(default_factory=dict)
    """For each version, the jobs that were touched since."""

    def __post_init__(self) -> None:
        self.projects = {name: ProjectView(Project(name, target="main")) for name in ("main", "other")}
        self.differing = {"0": frozenset()}

    def put(self, id_: str, job: Job | None) -> None:
        """A job is new, changed, or not open any more (None). The board gets another version."""
        self.jobs.pop(id_, None)
        if job is not None:
            self.jobs[id_] = job
        self.version += 1
        self.differing = {version: known | {id_} for version, known in self.differing.items()}
        self.differing[str(self.version)] = frozenset()

    def change(self, number: int, **at: Any) -> None:
        """Change the standing of a job."""
        if (job := self.jobs.get(numbered_id(number))) is not None:
            self.put(job.id, replace(job, at=replace(job.at, **at)))

    def board(self, since: str) -> Board:
        """The board as `engine.look` gives it to somebody who knows the version `since`."""
        wanted = [need for job in self.jobs.values() if job.state in IN_BACKLOG for need in job.spec.needs]
        return Board(
            jobs=dict(self.jobs),
            config=self.config,
            projects=dict(self.projects),
            agents=dict(self.agents),
            ended={need: self.ended[need] for need in wanted if need in self.ended},
            stopping=self.stopping,
            version=str(self.version),
            before=since,
            changed=self.differing.get(since),
        )


def text_of(world: World, seconds: int | None) -> str:
    return "" if seconds is None else iso(world.now + timedelta(seconds=seconds))


def add(world: World, draw: Draw) -> None:
    id_ = numbered_id(draw(NUMBERS))
    needs = draw(st.lists(st.sampled_from(["job", "nobody", *map(numbered_id, range(8))]), max_size=2, unique=True))
    spec = a_spec(
        needs=tuple(needs),
        not_before=text_of(world, draw(MOMENTS_S)),
        agent=draw(st.sampled_from(["", "", "ann", "nobody"])),
        kind=draw(st.sampled_from([Kind.CODE, Kind.OPS])),
        repairs_base=draw(st.booleans()),
    )
    project = draw(st.sampled_from(["main", "main", "other", "unknown"]))
    waited = draw(st.sampled_from([0, 100, AGEING_S - 30, 2 * AGEING_S]))
    made = iso(world.now - timedelta(seconds=waited))
    world.put(id_, a_job(id_, spec=spec, priority=draw(st.integers(0, 5)), project=project, created=made, since=made))


def end(world: World, draw: Draw) -> None:
    id_ = numbered_id(draw(NUMBERS))
    if id_ in world.jobs:
        world.ended[id_] = draw(st.sampled_from([State.DONE, State.FAILED]))
        world.put(id_, None)


def change_state(world: World, draw: Draw) -> None:
    number, state = draw(NUMBERS), draw(st.sampled_from(OPEN))
    running = state is State.RUNNING
    run = a_run(numbered_id(number), RunKind.ATTEMPT) if running else ""
    world.change(number, state=state, since=iso(world.now), run=run, agent="ann" if running else "")


def change_standing(world: World, draw: Draw) -> None:
    number = draw(NUMBERS)
    changes: dict[str, st.SearchStrategy[Any]] = {
        "priority": st.integers(0, 5),
        "not_before": MOMENTS_S.map(lambda seconds: text_of(world, seconds)),
        "held": st.sampled_from([None, Held("human:ada", iso(NOON))]),
        "fixes": st.sampled_from([(), (Fix("1", "It loops."),)]),
        "agent": st.sampled_from(["", "ann", "bob"]),
        "starts": st.sampled_from([0, 12]),
    }
    name = draw(st.sampled_from(sorted(changes)))
    world.change(number, **{name: draw(changes[name])})


def change_surroundings(world: World, draw: Draw) -> None:
    what = draw(st.sampled_from(["slots", "agent", "base", "problem", "project", "stopping"]))
    if what == "slots":
        world.config = replace(world.config, slots=draw(st.integers(1, 4)))
    elif what == "agent":
        name = draw(st.sampled_from(sorted(AGENTS)))
        if world.agents.pop(name, None) is None:
            soul = replace(AGENTS[name].soul, drain=draw(st.sampled_from(["", "", "moving on"])))
            problem = draw(st.sampled_from(["", "not installed"]))
            world.agents[name] = replace(AGENTS[name], soul=soul, problem=problem)
    elif what == "project":
        if world.projects.pop("other", None) is None:
            world.projects["other"] = ProjectView(Project("other", target="main"))
    elif what == "stopping":
        world.stopping = not world.stopping
    else:
        changes: dict[str, Any] = {"base": draw(st.sampled_from(BaseState))} if what == "base" else {}
        changes |= {"problem": draw(st.sampled_from(["", "no branch"]))} if what == "problem" else {}
        world.projects["main"] = replace(world.projects["main"], **changes)


def pass_time(world: World, draw: Draw) -> None:
    world.now += timedelta(seconds=draw(STEPS_S))


def perform(world: World, draw: Draw) -> None:
    """Take some of the steps that are due, as the engine does."""
    for action in decide(world.board(""), world.now):
        job = world.jobs.get(getattr(action, "job", ""))
        if job is None or not draw(st.booleans()):
            continue
        stamp = iso(world.now)
        if isinstance(action, Hold):
            since = job.at.since if job.state is State.WAITING else stamp
            moved = job.moved(State.WAITING, since, reason=action.reason, needs={**job.at.needs, **action.needs})
        elif isinstance(action, Release):
            moved = job.moved(State.READY, stamp, reason="", needs={**job.at.needs, **action.needs})
        elif isinstance(action, StartAttempt):
            moved = job.moved(State.RUNNING, stamp, agent=action.agent, run=a_run(job.id, RunKind.ATTEMPT))
        else:
            continue
        world.put(job.id, moved)


STEPS = [add, add, add, end, change_state, change_standing, change_standing, change_surroundings, pass_time, perform]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_a_kept_backlog_changes_no_decision(data: st.DataObject) -> None:
    world, kept = World(), Backlog()
    for _ in range(data.draw(st.integers(1, 30))):
        for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4)):
            step(world, data.draw)
        if data.draw(st.integers(0, 9)) == 0:
            world.differing.pop(kept.version, None)  # So many steps were taken since that nobody knows them all.
        assert decide(world.board(kept.version), world.now, kept) == decide(world.board(""), world.now)


def steps(kept: Backlog, *jobs: Job, now: datetime = NOON, slots: int = 1) -> list[Any]:
    """What is due with a kept backlog, on a board that nothing is changed on from one time to the next."""
    board = a_board(*jobs, agents=(AGENTS["ann"], CRITIC), config=Config(slots=slots), version="1")
    actions = decide(board, now, kept)
    assert actions == decide(board, now)
    return list(actions)


def test_a_job_is_raised_at_the_moment_when_it_has_waited_long_enough() -> None:
    made = iso(NOON - timedelta(seconds=AGEING_S - 20))
    low = a_job(numbered_id(1), priority=3, created=made, since=made)
    kept, normal = Backlog(), a_job(numbered_id(2))
    assert [each.job for each in steps(kept, low, normal)] == [normal.id]
    later = NOON + timedelta(seconds=20)
    assert [each.job for each in steps(kept, low, normal, now=later)] == [low.id]


def test_a_clock_that_is_put_back_makes_a_job_wait_again() -> None:
    kept, job = Backlog(), a_job(numbered_id(1), spec=a_spec(not_before=iso(NOON + timedelta(seconds=50))))
    for seconds, expected in ((0, Hold), (60, StartAttempt), (40, Hold), (50, StartAttempt)):
        (action,) = steps(kept, job, now=NOON + timedelta(seconds=seconds))
        assert isinstance(action, expected)


class Counting(Holds):
    """Reasons that are counted."""

    def __init__(self, board: Board, now: datetime) -> None:
        super().__init__(board, now)
        self.asked: list[str] = []

    def reason(self, job: Job) -> tuple[str, dict[str, str]]:
        self.asked.append(job.id)
        return super().reason(job)


class Untouched(Mapping[str, Job]):
    """Jobs that may be asked for by id, and not gone through."""

    def __init__(self, jobs: Mapping[str, Job]) -> None:
        self._jobs = jobs

    def __getitem__(self, id_: str) -> Job:
        return self._jobs[id_]

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all jobs were gone through")


def crowd(count: int) -> dict[str, Job]:
    return {job.id: job for job in (a_job(numbered_id(number), priority=number % 6) for number in range(count))}


def asked_for(kept: Backlog, board: Board, now: datetime = NOON) -> list[str]:
    """The jobs whose reason to wait was worked out."""
    holds = Counting(board, now)
    kept.look(board, now, holds)
    return holds.asked


def version_of(jobs: Mapping[str, Job], version: int, changed: frozenset[str] | None, **keys: Any) -> Board:
    about: dict[str, Any] = {"version": str(version), "before": str(version - 1), "changed": changed}
    return replace(a_board(**keys), jobs=jobs, waiting=jobs, **about)


def test_of_two_thousand_jobs_only_the_one_that_has_changed_is_looked_at() -> None:
    jobs, kept = crowd(2000), Backlog()
    assert sorted(asked_for(kept, version_of(jobs, 1, None))) == sorted(jobs)
    assert asked_for(kept, version_of(Untouched(jobs), 1, None)) == [], "nothing has changed"
    changed, gone = numbered_id(77), numbered_id(78)
    jobs[changed] = replace(jobs[changed], at=replace(jobs[changed].at, priority=0))
    del jobs[gone]
    assert asked_for(kept, version_of(Untouched(jobs), 2, frozenset({changed, gone}))) == [changed]
    order = list(kept.in_order())
    assert order[0].id == numbered_id(0), "the oldest of the most urgent"
    assert [job.id for job in order].index(changed) == 13
    assert gone not in {job.id for job in order}
    assert len(order) == 1999


def test_what_is_not_known_to_have_stayed_is_looked_at_again() -> None:
    jobs, kept = crowd(20), Backlog()
    asked_for(kept, version_of(jobs, 1, None))
    assert len(asked_for(kept, version_of(jobs, 3, frozenset()))) == 20, "a version was left out"
    assert len(asked_for(kept, version_of(jobs, 4, None))) == 20, "nobody knows what has changed"
    board = version_of(jobs, 5, frozenset())
    red = {"main": replace(board.projects["main"], base=BaseState.RED)}
    assert len(asked_for(kept, replace(board, projects=red, waiting=jobs))) == 20, "the base is red"


def test_a_step_that_was_not_taken_is_asked_for_again_and_no_other_job_is_looked_at() -> None:
    jobs, kept = crowd(20), Backlog()
    stuck = numbered_id(3)
    jobs[stuck] = replace(jobs[stuck], spec=a_spec(not_before="2030-01-01"))
    board = version_of(jobs, 1, None)
    for _ in range(3):
        assert [action.job for action in kept.look(board, NOON, Holds(board, NOON))] == [stuck]
    assert asked_for(kept, board) == [stuck]


def needing(number: int, *needs: str, state: State = State.READY, **at: Any) -> Job:
    return a_job(numbered_id(number, "needs"), state, spec=a_spec(needs=needs), **at)


def waits_for(number: int, need: str, **at: Any) -> Job:
    return needing(number, need, state=State.WAITING, reason=f"needs {need}", **at)


def test_of_two_thousand_jobs_only_those_that_need_what_ended_are_looked_at() -> None:
    done, other = numbered_id(1, "base"), numbered_id(2, "base")
    waiting = [waits_for(number, done if number < 3 else other) for number in range(1000)]
    jobs, kept = {**crowd(1000), **{job.id: job for job in waiting}}, Backlog()
    jobs[done], jobs[other] = a_job(done, State.RUNNING), a_job(other, State.RUNNING)
    asked_for(kept, version_of(jobs, 1, None))
    del jobs[done]
    for version, state in ((2, State.FAILED), (3, State.CANCELLED), (4, State.DONE)):
        changed = frozenset({done} if version == 2 else ())
        board = version_of(Untouched(jobs), version, changed, ended={done: state})
        assert sorted(asked_for(kept, board)) == [job.id for job in waiting[:3]]


def test_a_need_that_was_found_once_is_not_looked_up_when_another_job_gets_that_name() -> None:
    base = numbered_id(1, "base")
    bound = replace(waits_for(1, base, needs={"base": base}), spec=a_spec(needs=("base",)))
    asking = replace(waits_for(2, base), spec=a_spec(needs=("base",)))
    jobs, kept = {job.id: job for job in (a_job(base, State.RUNNING), bound, asking)}, Backlog()
    asked_for(kept, version_of(jobs, 1, None))
    newer = numbered_id(2, "base")
    jobs[newer] = a_job(newer)
    assert sorted(asked_for(kept, version_of(jobs, 2, frozenset({newer})))) == sorted([newer, asking.id])


def test_a_circle_that_closes_far_away_is_told_to_all_that_wait_for_it_and_taken_back_from_all() -> None:
    chain = [needing(number, numbered_id(number + 1, "needs")) for number in range(5)]
    last, lone = needing(5), needing(9, numbered_id(7, "base"))
    base = a_job(numbered_id(7, "base"), State.RUNNING)
    jobs, kept = {job.id: job for job in (*chain, last, lone, base)}, Backlog()
    asked_for(kept, version_of(jobs, 1, None))
    for version, spec in ((2, a_spec(needs=(chain[3].id,))), (3, a_spec())):
        jobs[last.id] = replace(last, spec=spec)
        board = version_of(jobs, version, frozenset({last.id}))
        told = {each.job: each.reason for each in decide(board, NOON, kept) if isinstance(each, Hold)}
        assert told == {each.job: each.reason for each in decide(board, NOON) if isinstance(each, Hold)}
        assert {id_ for id_, reason in told.items() if "circle" in reason} == (
            {job.id for job in (*chain, last)} if version == 2 else set()
        )


def test_needs_of_a_job_that_has_begun_make_no_circle() -> None:
    running, waiting = needing(1, numbered_id(2, "needs")), needing(2, numbered_id(1, "needs"))
    running = replace(running, at=replace(running.at, state=State.RUNNING, run=a_run(running.id, RunKind.ATTEMPT)))
    board = a_board(running, waiting)
    assert Holds(board, NOON).reason(waiting)[0] == f"needs {running.id}"


def test_what_was_interrupted_in_the_middle_begins_anew() -> None:
    jobs, kept = crowd(5), Backlog()
    asked_for(kept, version_of(jobs, 1, None))
    broken = replace(jobs[numbered_id(3)], at=replace(jobs[numbered_id(3)].at, created="", since="never", priority=4))
    board = version_of({**jobs, broken.id: broken}, 2, frozenset({broken.id}))
    with pytest.raises(ValueError, match="never"):
        kept.look(board, NOON, Holds(board, NOON))
    assert len(asked_for(kept, version_of(jobs, 3, frozenset()))) == 5


def test_what_waits_for_a_name_is_looked_at_with_each_job_of_that_name_and_leaves_nothing_behind() -> None:
    far = a_spec(needs=("job",), not_before="2030-01-01")
    jobs, kept = {"waits-0000000a": a_job("waits-0000000a", State.WAITING, spec=far), **crowd(3)}, Backlog()
    asked_for(kept, version_of(jobs, 1, None))
    before = replace(deepcopy(kept), version="")
    for version in range(2, 50):
        asked = asked_for(kept, version_of(jobs, version, frozenset({numbered_id(1)})))
        assert sorted(asked) == [numbered_id(1), "waits-0000000a"]
    assert replace(kept, version="") == before


def test_jobs_are_served_by_priority_then_age_over_all_lines_and_a_line_can_be_left() -> None:
    kept = Backlog()
    wishes = {1: "ann", 2: "", 3: "ann", 4: "", 5: "ann", 6: "bob"}
    ranks = {1: (1, 5), 2: (2, 1), 3: (2, 2), 4: (0, 9), 5: (1, 1), 6: (5, 0)}
    jobs = {}
    for number, (priority, made) in ranks.items():
        created = iso(NOON + timedelta(seconds=made))
        spec = a_spec(agent=wishes[number])
        jobs[numbered_id(number)] = a_job(numbered_id(number), spec=spec, priority=priority, created=created)
    board = version_of(jobs, 1, None, agents=AGENTS.values())
    kept.look(board, NOON, Holds(board, NOON))
    assert [job.id for job in kept.in_order()] == [numbered_id(n) for n in (4, 5, 1, 2, 3, 6)]
    assert [job.id for job in kept.in_order(low=True)] == [numbered_id(6)]
    order = kept.in_order()
    served = []
    for job in order:
        served.append(job.id)
        if job.id == numbered_id(5):
            order.drop_line()  # Ann is busy: what is as urgent and only she may do need not be asked about.
    assert served == [numbered_id(n) for n in (4, 5, 2, 3, 6)], "3 is not urgent, and so in another line of hers"


def test_the_last_slot_is_kept_for_the_background_and_given_away_if_nothing_of_it_can_start() -> None:
    agents = [an_agent(f"agent-{number}") for number in range(3)]
    normal = [a_job(numbered_id(number)) for number in range(3)]
    low = a_job(numbered_id(9), priority=4)
    for jobs, expected in (
        ([*normal, low], [normal[0], normal[1], low]),
        ([*normal, replace(low, spec=a_spec(agent="nobody"))], normal),
    ):
        board = a_board(*jobs, agents=agents, config=Config(slots=3), version="1")
        for kept in (Backlog(), Backlog(version="0")):
            started = [each.job for each in decide(board, NOON, kept) if isinstance(each, StartAttempt)]
            assert started == [job.id for job in expected]
            assert started == [each.job for each in decide(board, NOON, kept) if isinstance(each, StartAttempt)]
