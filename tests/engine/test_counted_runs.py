"""What runs use, from the reservation before they begin to the sums on the ledger: real processes, real deaths."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from api_world import WRITES, says
from engine_world import World, attempt
from fake_models import FakeModels
from test_agents_in_the_engine import set_up

from orchestrator.adapters.ledger_text import parse_record
from orchestrator.core.accept import cancel
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.job import State
from orchestrator.core.tally import Reservation, Tally
from orchestrator.core.transitions import Actor
from orchestrator.core.usage import WINDOW_PATH, Day, Learned, Window, day_path, learned_path
from orchestrator.engine.tick import tick
from orchestrator.engine.workspace import Workspace, open_workspace

pytestmark = pytest.mark.usefixtures("no_lies")
WAITS = attempt(write={"code.py": "print('new')\n"}, sleep=60)


def read(ws: Workspace, kind: Any, path: str) -> Any:
    data = ws.ledger.read_file(path)
    return None if data is None else parse_record(kind, data, path)


def today(world: World) -> Day:
    with open_workspace(world.root) as ws:
        found: Day = read(ws, Day, day_path(ws.day_of(ws.now())))
        return found


def is_running(ws: Workspace) -> bool:
    return any(folder.job.at.run and folder.job.state is State.RUNNING for folder in ws.ledger.snapshot().active)


def supervisor_of(pid: int) -> int:
    """The process that supervises an agent's program."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_what_a_program_tells_is_counted_in_the_job_the_day_the_minutes_and_what_is_expected_next(
    world: World, service: FakeModels
) -> None:
    set_up(world, service, WRITES, says())
    world.drop("greet.yaml", "prompt: Say good morning\n")
    world.run()
    first: Attempt = world.records("greet")["attempt-1"]
    review = world.records("greet")["review-1"]
    assert first.spoke is not None
    assert first.spoke.usage is not None
    assert first.estimate is not None
    assert review.estimate is not None
    job, used = world.job("greet"), first.spoke.usage.total
    assert job.at.reserved is None
    # The reviewer is a script, which tells nothing: what was expected of it is counted.
    assert job.at.used == Tally(2, used + review.estimate.tokens, first.spoke.cost_microusd or 0, 1, 1)
    day = today(world)
    assert day.total == day.projects["main"] == job.at.used
    assert set(day.agents) == {"keeper", "bea"}
    with open_workspace(world.root) as ws:
        learned: Learned = read(ws, Learned, learned_path("code", "strong-1"))
        window: Window = read(ws, Window, WINDOW_PATH)
        assert window.used(int(ws.now().timestamp())) == day.total.tokens
    assert (learned.runs, learned.costs) == (1, (first.spoke.cost_microusd,))
    assert learned.beyond == (max(0, used - first.estimate.prompt),)


def test_a_program_that_answers_and_tells_of_no_tokens_at_all_has_told_nothing(
    world: World, service: FakeModels
) -> None:
    none = {"usage": {"input": 0, "output": 0}}
    set_up(world, service, {**WRITES, **none}, {**says(), **none})
    world.drop("greet.yaml", "prompt: Say good morning\n")
    world.run()
    first, review = (world.records("greet")[name] for name in ("attempt-1", "review-1"))
    assert (first.status, first.spoke.usage, first.spoke.cost_microusd) == (RunStatus.ENDED, None, None)
    job = world.job("greet")
    assert (job.at.used.tokens, job.at.used.estimated) == (first.estimate.tokens + review.estimate.tokens, 2)


def test_a_reservation_is_durable_before_anything_is_spawned_and_survives_the_engine(world: World) -> None:
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.set_up()
    world.drop("one.yaml", "prompt: Do it\n")
    seen: list[Reservation | None] = []

    class SpawnedError(Exception):
        pass

    with world.engine() as engine:
        spawn_for_good = engine.ws.spawn

        def spawn(folder: Path, lease: int) -> object:
            if ".attempt-" not in folder.name:
                return spawn_for_good(folder, lease)
            with open_workspace(world.root) as ws:
                seen.extend(folder.job.at.reserved for folder in ws.ledger.snapshot().active)
            raise SpawnedError

        engine.ws.spawn = spawn
        deadline = monotonic() + 30
        while not seen and monotonic() < deadline:
            tick(engine)
    assert seen[0] is not None
    assert seen[0].tokens > 0
    assert world.job("one").at.reserved == seen[0]
    world.run()
    job = world.job("one")
    assert (job.state, job.at.reserved, job.at.used.runs) == (State.DONE, None, job.at.starts - _checks(world, "one"))


def _checks(world: World, name: str) -> int:
    return world.steps(name).count("check")


def test_a_run_that_is_killed_is_counted_as_was_expected_and_only_once(world: World) -> None:
    told = world.root.parent / "pid"
    dies = {**WAITS, "times": 1, "run": f"echo $PPID > {told}.new; mv {told}.new {told}"}
    world.plays = [dies, attempt(write={"code.py": "print('new')\n"})]
    world.set_up()
    world.drop("one.yaml", "prompt: Do it\n")
    world.run(until=lambda _: told.exists())
    os.kill(supervisor_of(int(told.read_text())), signal.SIGKILL)
    world.run()
    records, job = world.records("one"), world.job("one")
    assert records["attempt-1"].status is RunStatus.LOST
    assert job.state is State.DONE
    expected = [records[name].estimate.tokens for name in ("attempt-1", "attempt-2", "review-1")]
    assert job.at.used == Tally(3, sum(expected), estimated=3, unpriced=3)
    assert today(world).total == job.at.used


def test_a_run_of_a_job_that_is_given_up_is_counted_at_once_and_not_again_when_it_ends(world: World) -> None:
    world.plays = [WAITS]
    world.set_up()
    world.drop("one.yaml", "prompt: Do it\n")
    world.run(until=is_running)
    with open_workspace(world.root) as ws:
        ws.commit([cancel(ws.open_job(world.id("one")).job, ws.stamp(), actor=Actor("human:ada"))])
    world.run()
    job = world.job("one")
    assert (job.state, job.at.reserved, job.at.used.runs) == (State.CANCELLED, None, 1)
    assert today(world).total == job.at.used


def test_a_run_that_cannot_be_started_gives_back_what_was_set_aside(world: World) -> None:
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.set_up(setup="exit 3", checks=[])
    world.drop("one.yaml", "prompt: Do it\n")
    world.run(until=lambda ws: any(each.job.at.failed_starts for each in ws.ledger.snapshot().folders.values()))
    assert world.job("one").at.used == Tally(1)
    assert world.job("one").at.reserved is None
