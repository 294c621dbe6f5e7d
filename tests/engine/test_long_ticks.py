"""A tick is bounded by its time. What is due and finds none left is done in the next one: in turn, the urgent first."""

from __future__ import annotations

import time

import pytest
from engine_world import World, attempt, ticks_until

from orchestrator.core.job import Job
from orchestrator.engine import tick as ticking
from orchestrator.engine.collect import running
from orchestrator.engine.launch import RunState, folder_of, state_of
from orchestrator.engine.tick import Engine, tick

pytestmark = pytest.mark.usefixtures("no_lies")
JOBS = 4
TAKE_GIT = {"collect", "evidence", "merge", "done"}
"""Events of steps that take git tens of milliseconds."""


@pytest.fixture
def busy(world: World) -> World:
    """As many slots and authors as there are jobs."""
    world.souls = {"bea": "beta review", **{f"a{number}": "alpha work" for number in range(JOBS)}}
    world.plays = [attempt(match={"title": f"job {n}"}, write={f"code{n}.py": f"n = {n}\n"}) for n in range(JOBS)]
    world.config = {"slots": JOBS}
    return world.set_up()


def drop(world: World, number: int, priority: str = "P2") -> None:
    world.drop(f"job-{number}.yaml", f"title: job {number}\nprompt: Do it\npriority: {priority}\n")


def in_state(engine: Engine, *states: RunState) -> list[Job]:
    """The jobs whose run is so now."""
    return [job for job in running(engine.ws) if state_of(folder_of(engine.ws, job.at.run)) in states]


def wait_until_ended(engine: Engine, number: int) -> None:
    """Wait for so many runs, without a tick."""
    until = time.monotonic() + 30
    while len(in_state(engine, RunState.ENDED)) < number:
        assert time.monotonic() < until, in_state(engine, *RunState)
        time.sleep(0.02)


def test_of_what_takes_git_a_tick_without_time_does_one_thing_and_nothing_waits_for_ever(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(JOBS):
        drop(busy, number)
    done: list[list[str]] = []
    with busy.engine() as engine:
        monkeypatch.setattr(ticking, "COSTLY_S", 60.0)
        monkeypatch.setattr(ticking, "BEGIN_S", 60.0)
        ticks_until(engine, lambda: len(running(engine.ws)) == JOBS)
        wait_until_ended(engine, JOBS)
        monkeypatch.setattr(ticking, "COSTLY_S", 0.0)
        until = time.monotonic() + 60
        while engine.ws.ledger.snapshot().folders:
            assert time.monotonic() < until, (engine.problems, done)
            is_more, before = bool(in_state(engine, RunState.ENDED)), len(busy.subjects)
            moved = tick(engine)
            assert moved or not is_more, "it rests though there is more to do"
            events = [subject.split(":")[0] for subject in busy.subjects[before:]]
            done.append([event for event in events if event in TAKE_GIT])
    assert max(map(len, done)) == 1
    # What had ended took the time of the first tick, so the second is for what follows from it.
    assert done[:4] == [["collect"], ["evidence"], ["collect"], ["evidence"]]


def test_of_runs_that_are_reserved_the_most_urgent_are_started_first(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, priority in enumerate(("P2", "P3", "P0", "P1")):
        drop(busy, number, priority)
    begun: list[str] = []
    with busy.engine() as engine:
        monkeypatch.setattr(ticking, "COSTLY_S", 60.0)
        monkeypatch.setattr(ticking, "BEGIN_S", 0.0)
        while len(begun) < JOBS:
            moved = tick(engine)
            new = [job for job in running(engine.ws) if job.at.run not in {*begun, *missing(engine)}]
            assert len(new) <= 1
            begun += [job.at.run for job in new]
            assert moved or not missing(engine), "it rests though there is more to start"
    assert [run.split("-")[1] for run in begun] == ["2", "3", "0", "1"]


def missing(engine: Engine) -> list[str]:
    """The runs that were reserved and are not there yet."""
    return [job.at.run for job in in_state(engine, RunState.MISSING)]
