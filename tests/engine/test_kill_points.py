"""Real engines, killed for real, before and after everything that they change: each job still ends once, and whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from crash_helpers import KILLED, RUN, Expected, World, check_ledger, check_world, live, make_world

from orchestrator.adapters.effects import Effect
from orchestrator.core.job import Lane

SIDES = ("before", "after")
LONG = 600
"""Seconds for what takes half a minute on an idle machine."""
SWEEP = 3600
MOST_TIMES = 60
"""More often than that nothing is changed in the life of two jobs."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def short_life(world: World) -> dict[str, Expected]:
    """One job that passes at once, and one that is sent back."""
    world.job("plain")
    world.job("fixes")
    world.settle()
    return {"plain": Expected(), "fixes": Expected(attempts=2, reviews=2)}


@pytest.mark.slow
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("side", SIDES)
def test_everything_comes_to_its_end_though_the_engine_dies_once_at_each_effect(world: World, side: str) -> None:
    world.kill_at = [f"{effect}:{side}" for effect in Effect]
    expected = live(world)
    missed = sorted({f"{effect}:{each}" for effect in Effect for each in SIDES} - world.points())
    assert missed == [], "effects that nothing here comes to, so that nobody was killed there"
    assert world.kill_at == []
    check_world(world, expected)


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("side", SIDES)
def test_a_suspicious_approval_gets_its_second_reviewer_once_wherever_the_engine_dies(world: World, side: str) -> None:
    (world.root / "souls" / "cid.md").write_text("---\nbackend: played\nfamily: east\nroles: [review]\n---\n# Cid\n")
    config = world.root / "orc.yaml"
    config.write_text(config.read_text().replace("{type: scripted,", "{type: scripted, quick: false,"))
    world.git("add", "-A")
    world.commit("two reviewers, and neither may be quick")
    world.kill_at = [f"{Effect.LEDGER_REF}:{side}:{times}" for times in range(1, 8)]
    world.kill_at += [f"{effect}:{side}" for effect in (Effect.RUN_FOLDER, Effect.RUN_SPAWN, Effect.RUN_CLEAN)]
    world.job("plain")
    world.settle()
    assert len(world.kills) >= 5, world.kills
    check_world(world, {"plain": Expected(reviews=2)})
    assert "another reviewer is asked: bea approved it, but it took" in world.ledger_log()


@pytest.mark.torture
@pytest.mark.timeout(SWEEP)
@pytest.mark.parametrize("times", [2, 3, 5])
@pytest.mark.parametrize("side", SIDES)
def test_everything_comes_to_its_end_though_the_engine_dies_later_at_each_effect(
    world: World, side: str, times: int
) -> None:
    world.kill_at = [f"{effect}:{side}:{times}" for effect in Effect]
    expected = live(world)
    assert world.kills
    check_world(world, expected)


@pytest.mark.torture
@pytest.mark.timeout(SWEEP)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("effect", Effect)
def test_two_jobs_come_to_their_end_wherever_the_engine_dies(tmp_path: Path, effect: Effect, side: str) -> None:
    for times in range(1, MOST_TIMES):
        world = make_world(tmp_path / str(times))
        world.kill_at = [f"{effect}:{side}:{times}"]
        check_world(world, short_life(world))
        if not world.kills:
            assert times > 1 or f"{effect}:{side}" not in world.points()
            return
        shutil.rmtree(tmp_path / str(times))
    raise AssertionError(f"{effect} does not come to an end")


@pytest.mark.torture
@pytest.mark.timeout(SWEEP)
@pytest.mark.parametrize("first", Effect)
def test_an_engine_that_dies_while_it_puts_things_right_is_put_right_too(tmp_path: Path, first: Effect) -> None:
    for second in Effect:
        world = make_world(tmp_path / second)
        world.job("plain")
        world.kill_at = [f"{first}:after"]
        world.orc(*RUN)
        world.kill_at = [f"{second}:{side}" for side in SIDES]
        world.settle()
        check_world(world, {"plain": Expected()})
        shutil.rmtree(tmp_path / second)


@pytest.mark.timeout(LONG)
def test_a_second_engine_is_refused_and_disturbs_nothing(world: World) -> None:
    world.job("held")
    with world.engine() as (until, _):
        until(lambda: world.begun("held"))
        before = world.ledger_log()
        assert world.orc(*RUN) == 5
        assert "in use by another process" in world.said()
        assert world.ledger_log() == before
        world.go("held")
        until(lambda: "held" in world.shown(Lane.DONE))
    world.settle()  # What the run left is put away by whichever engine comes next.
    check_world(world, {"held": Expected()})


ONE_UPDATE = {"before": f"{Effect.LEDGER_REF}:before:2", "after": f"{Effect.LEDGER_REF}:after:1"}
"""Where an engine dies that is to take the ledger one update further."""


def live_by_single_updates(world: World, side: str) -> None:
    """Engine after engine, each killed around its first update of the ledger, until one has nothing to do."""
    for _ in range(MOST_TIMES):
        world.kill_at = [ONE_UPDATE[side]]
        if world.orc(*RUN) != KILLED:
            world.kill_at = []
            return
    raise AssertionError(f"no engine came to its end\n{world.ledger_log()}")


@pytest.mark.slow
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("side", SIDES)
def test_whether_a_project_is_finished_is_asked_once_wherever_the_engine_dies(world: World, side: str) -> None:
    config = world.root / "orc.yaml"
    config.write_text(config.read_text().replace("    target: main\n", "    target: main\n    goal: It is whole.\n"))
    world.commit("what is to be reached")

    def told(word: str) -> int:
        return sum(line.startswith(f"{word}: main ") for line in world.ledger_log().splitlines())

    world.job("plain")
    live_by_single_updates(world, side)
    assert len(world.kills) > 5
    assert [told(word) for word in ("goal", "count", "pending")] == [1, 1, 1]
    world.kill_at = [f"{Effect.LEDGER_REF}:{side}"]
    world.act("answer", "main.finish-1", "more", "-m", "branch")
    assert told("more") == 1
    live_by_single_updates(world, side)
    world.kill_at = [f"{Effect.LEDGER_REF}:{side}"]
    world.act("approve", "main.finish-2")
    assert [told(word) for word in ("count", "pending", "finish", "withdraw", "reopen")] == [2, 2, 1, 0, 0]
    check_ledger(world)


@pytest.mark.slow
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("side", SIDES)
def test_a_conflict_is_brought_to_its_end_though_the_engine_dies_at_each_step(world: World, side: str) -> None:
    world.job("clash")
    with world.engine() as (until, kill):
        until(lambda: world.begun("clash"))
        kill()
        (world.root / "clash.py").write_text("clash = 0\n")
        world.git("add", "clash.py")
        world.commit("it comes in first")
        world.go("clash")
        # Each process dies one change later than the one before it.
        world.kill_at = [f"{Effect.MERGE_BUILD}:{side}", f"{Effect.RUN_FOLDER}:{side}", f"{Effect.RUN_SPAWN}:{side}"]
        world.kill_at += [f"{Effect.LEDGER_REF}:{side}:{number}" for number in range(1, 8)]
    world.settle()
    assert f"{Effect.MERGE_BUILD}:{side}" in world.kills
    check_world(world, {"clash": Expected(attempts=2, reviews=2, spent=1)})


# --- what a person deletes while an agent is at work ---


def delete_queue(world: World) -> None:
    _delete(world.root / "queue")


def delete_state(world: World) -> None:
    _delete(world.root / "state")


def delete_both(world: World) -> None:
    delete_queue(world)
    delete_state(world)


def clean_everything(world: World) -> None:
    # It gives up on a folder in which a living engine makes a file meanwhile; what it came to is gone.
    subprocess.run(["git", "-C", str(world.root), "clean", "-ffdxq"], check=False, capture_output=True)
    assert not (world.root / "state" / "trees").exists()


def _delete(folder: Path) -> None:
    """Whatever a living engine puts there meanwhile."""
    before = set(folder.iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    assert before


RARE = pytest.mark.torture


@pytest.mark.slow
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize(
    ("delete", "engine"),
    [
        pytest.param(delete_queue, "alive", marks=RARE),
        (delete_queue, "dead"),
        (delete_state, "alive"),
        pytest.param(delete_state, "dead", marks=RARE),
        pytest.param(delete_both, "alive", marks=RARE),
        pytest.param(delete_both, "dead", marks=RARE),
        (clean_everything, "alive"),
        pytest.param(clean_everything, "dead", marks=RARE),
    ],
)
def test_deleting_what_may_vanish_starts_nothing_twice(
    world: World, delete: Callable[[World], None], engine: str
) -> None:
    world.job("held")
    with world.engine() as (until, kill):
        until(lambda: world.begun("held"))
        if engine == "dead":
            kill()
        delete(world)
        world.job("plain")
        until(lambda: "held" in world.shown(Lane.RUNNING))
        until(lambda: "plain" in world.shown(Lane.DONE))
        world.go("held")
        until(lambda: "held" in world.shown(Lane.DONE))
    world.settle()
    check_world(world, {"plain": Expected(), "held": kept if delete is delete_queue else gone})


kept = Expected()
gone = Expected(attempts=2, lost=(1,))
"""The agent's tree was deleted under its feet: the attempt came to nothing, and that is not the agent's fault."""


# --- other processes that die ---


@pytest.mark.timeout(LONG)
def test_an_agent_that_is_killed_leaves_work_that_is_judged_like_any_other(world: World) -> None:
    world.job("held")
    with world.engine() as (until, _):
        until(lambda: world.begun("held"))
        os.kill(world.pid_of("held"), signal.SIGKILL)
        until(lambda: "held" in world.shown(Lane.DONE))
    world.settle()
    check_world(world, {"held": Expected()})


@pytest.mark.slow
@pytest.mark.timeout(LONG)
def test_when_the_engine_and_every_run_die_at_once_the_work_is_kept_and_no_attempt_is_spent(world: World) -> None:
    world.job("held")
    world.job("stopped")
    with world.engine() as (until, kill):
        until(lambda: world.begun("held") and world.begun("stopped"))
        kill()
        shims = world.shims()
        assert len(shims) == 2
        for pid in shims:
            os.kill(pid, signal.SIGKILL)
        until(lambda: {"held", "stopped"} <= world.shown(Lane.DONE))
    world.settle()
    check_world(world, {"held": Expected(attempts=2), "stopped": Expected(attempts=2)})


def test_a_process_that_is_to_be_killed_at_a_point_really_is(world: World) -> None:
    world.job("plain")
    world.kill_at = ["drop.take:before"]
    assert world.orc(*RUN) == KILLED
    assert world.kills == ["drop.take:before"]
    assert [path.name[:14] for path in (world.root / "queue" / "inbox").iterdir()] == [".accept-plain-"]
    world.settle()
    check_world(world, {"plain": Expected()})
