"""An engine whose gate fails its own test begins, judges and merges nothing, says why, and goes on once it holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.core import gate
from orchestrator.core.alerts import AlertKind
from orchestrator.core.funnel import DAY_S
from orchestrator.core.job import State
from orchestrator.engine.doctor import examine
from orchestrator.engine.finding import Health
from orchestrator.engine.health import look_at_health
from orchestrator.engine.launch import RunState, folder_of, state_of
from orchestrator.engine.loop import is_idle
from orchestrator.engine.tick import GATES, Engine, tick
from orchestrator.engine.trials import Trials
from orchestrator.engine.workspace import open_workspace

WRITES = attempt(write={"code.py": "print('new')\n"})
TOLD = "the gate diff fails its own test: empty_diff lets through what it must refuse"


@pytest.fixture
def world(repo: Path) -> World:
    world = World(repo, plays=[WRITES])
    return world.set_up()


def break_a_gate(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(gate.RULES, "empty_diff", lambda spec, facts, docs: "")


def ticks_until(engine: Engine, condition: Callable[[], bool], timeout_s: float = 30) -> None:
    """Tick until something holds."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"it never came to it: {engine.problems}"
        tick(engine)
        threading.Event().wait(0.02)


def runs_are_over(engine: Engine) -> bool:
    """Whether no run is alive, and none of an attempt waits to be collected."""
    jobs = [folder.job for folder in engine.ws.ledger.snapshot().active if folder.job.at.run]
    states = {job.at.run: state_of(folder_of(engine.ws, job.at.run)) for job in jobs}
    return all(state is RunState.ENDED and ".attempt-" not in run for run, state in states.items())


def test_nothing_is_begun_by_an_engine_that_starts_with_a_broken_gate(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.drop("greet.yaml", "prompt: greet\n")
    before = git(world.root, "rev-parse", "main")
    with monkeypatch.context() as patch:
        break_a_gate(patch)
        world.run()
        assert world.state("greet") is State.WAITING
        assert world.job("greet").at.reason == f"{TOLD}, so nobody could judge the work"
        assert world.steps("greet") == ["accept", "hold"]
        assert git(world.root, "rev-parse", "main") == before
        assert [line for line in world.subjects if line.startswith("! ")] == [
            f"! {TOLD}; nothing is merged (orc doctor; orc health)"
        ]
        with open_workspace(world.root) as ws:
            (alert,) = look_at_health(ws).alerts
            assert (alert.kind, alert.about, alert.text) == (
                AlertKind.GATE_BROKEN,
                "diff",
                f"{TOLD}; nothing is merged",
            )
            (found,) = [each for each in examine(ws) if each.what == "gate diff"]
            assert (found.health, found.text) == (Health.FAIL, TOLD)
    world.run()
    assert world.state("greet") is State.DONE
    assert world.subjects.count(f"health: no longer so: {TOLD}; nothing is merged") == 1
    with open_workspace(world.root) as ws:
        assert look_at_health(ws).alerts == ()
        assert [each for each in examine(ws) if each.what.startswith("gate ")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "stays"),
    [
        ("start", State.COLLECTED),
        ("evidence", State.CHECKING),
        ("review", State.REVIEWING),
        ("merge", State.MERGING),
    ],
)
def test_what_is_under_way_stays_where_it_is_while_a_gate_is_broken_and_then_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, stays: State
) -> None:
    world.drop("greet.yaml", "prompt: greet\n")
    before = git(world.root, "rev-parse", "main")
    with world.engine() as engine:
        ticks_until(engine, lambda: any(each.startswith(f"{step}:") for each in world.subjects))
        with monkeypatch.context() as patch:
            break_a_gate(patch)
            engine.trials._next = 0.0  # A day is over.
            tick(engine)
            assert engine.problems[GATES] == f"{TOLD}; nothing is begun, judged or merged"
            ticks_until(engine, lambda: runs_are_over(engine))
            held = git(world.root, "rev-parse", "orc/state")
            assert [tick(engine) for _ in range(3)] == [False] * 3
            assert git(world.root, "rev-parse", "orc/state") == held
            assert is_idle(engine)
            assert world.state("greet") is stays
            assert git(world.root, "rev-parse", "main") == before
        engine.trials._next = 0.0
        ticks_until(engine, lambda: not engine.ws.ledger.snapshot().folders)
        assert GATES not in engine.problems
    assert world.state("greet") is State.DONE
    git_dir = world.root / ".git"
    assert audit(git_dir, {"main": git_dir}).lies == ()


def test_what_failed_in_the_engine_that_is_at_work_is_an_alert_for_everybody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine may be of another version than whoever asks."""
    with world.engine() as engine:
        with monkeypatch.context() as patch:
            break_a_gate(patch)
            tick(engine)
        assert [each.key for each in look_at_health(engine.ws).alerts] == ["gate_broken diff"]
    with open_workspace(world.root) as ws:
        assert look_at_health(ws).alerts == ()


def test_the_gates_are_tried_at_first_and_then_once_a_day() -> None:
    found = Trials()
    assert found.is_due()
    assert found.look() is False
    assert not found.is_due()
    found._next -= DAY_S
    assert found.is_due()


def test_several_gates_that_fail_are_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Trials()
    assert found.told == ""
    break_a_gate(monkeypatch)
    monkeypatch.setattr(gate, "judge_checks", lambda results: "passed")
    assert found.look() is True
    assert found.told == f"{TOLD}, and 1 more of the gates"
    assert found.look() is False
