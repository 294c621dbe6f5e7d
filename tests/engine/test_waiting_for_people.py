"""What waits for a person: told with whom and since when, reminded of, never decided by time."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from engine_world import World, attempt

from orchestrator.adapters import clock
from orchestrator.adapters.audit import audit
from orchestrator.core.job import State
from orchestrator.engine.edit import hold_jobs, release_jobs
from orchestrator.engine.people import person_of
from orchestrator.engine.report import Summary, summarize
from orchestrator.engine.workspace import open_workspace


@pytest.fixture
def world(repo: Path) -> World:
    return World(repo, [attempt(write={"one.py": "x = 1\n"})]).set_up(merge="ask")


def put_forward(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """The wall clock of this process goes so much ahead."""
    real = clock.now

    def now() -> datetime:
        return real() + by

    monkeypatch.setattr(clock, "now", now)


def summary(world: World) -> Summary:
    with open_workspace(world.root) as ws:
        return summarize(ws)


def lies(world: World) -> list[str]:
    door = world.root / ".git"
    return [lie.text for lie in audit(door, {"main": door}).lies]


def test_a_question_is_brought_to_mind_and_waits_until_it_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.drop("one.yaml", "prompt: one\n")
    world.run()
    since = world.job("one").at.since
    for days, reminders in ((1, 1), (8, 3), (30, 3)):
        with monkeypatch.context() as patched:
            put_forward(patched, timedelta(days=days, minutes=1))
            world.run()
            [need], [line] = summary(world).needs, summary(world).jobs
        assert need.waits == line.waits
        assert need.waits is not None
        assert (need.waits.who, need.waits.since, need.waits.reminders) == ("", since, reminders)
        assert need.waits.is_stale is (reminders == 3)
        assert world.state("one") is State.DECIDE
    told = [subject for subject in world.subjects if subject.startswith("remind: ")]
    assert [each.partition(since)[2] for each in told] == [", reminder 1", ": stale"]
    with monkeypatch.context() as patched:
        put_forward(patched, timedelta(days=30, hours=1))
        world.answer("one", "approve")
        world.run()
        assert world.state("one") is State.DONE
    assert lies(world) == []


def test_a_job_that_somebody_holds_is_brought_to_mind_until_it_is_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.drop("one.yaml", "prompt: one\n")
    with open_workspace(world.root) as ws:
        person = person_of(ws.paths.git_dir)
    world.run(until=lambda ws: bool(ws.ledger.snapshot().folders))
    with open_workspace(world.root) as ws:
        hold_jobs(ws, [world.id("one")], "for Anna", person)
    world.run()
    assert summary(world).needs == ()
    put_forward(monkeypatch, timedelta(hours=25))
    world.run()
    [need] = summary(world).needs
    assert need.waits is not None
    assert (need.waits.who, need.waits.reminders) == (person.name.removeprefix("human:"), 1)
    assert need.what.endswith("for Anna")
    assert world.steps("one").count("remind") == 1
    with open_workspace(world.root) as ws:
        release_jobs(ws, [world.id("one")], person)
    assert summary(world).needs == ()
    assert lies(world) == []
