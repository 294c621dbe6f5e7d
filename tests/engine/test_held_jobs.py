"""Held jobs in the real engine: what is alive ends and is taken in, nothing new begins, and crashes change nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from engine_world import World, attempt, git

from orchestrator.core.job import Job, State
from orchestrator.engine import tick
from orchestrator.engine.edit import change_jobs, hold_jobs, release_jobs
from orchestrator.engine.launch import RunState, folder_of, state_of
from orchestrator.engine.merge import land
from orchestrator.engine.people import person_of
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import RefusedError


@pytest.fixture
def world(repo: Path) -> World:
    """A workspace whose agents write a file of the job's name."""
    plays = [attempt(match={"title": name}, write={f"{name}.py": "x = 1\n"}) for name in ("one", "two")]
    return World(repo, plays).set_up()


def drop(world: World, name: str, more: str = "") -> None:
    world.drop(f"{name}.yaml", f"title: {name}\nprompt: do it\n{more}")


def hold(ws: Workspace, *names: str, why: str = "") -> None:
    ids = [job for job in ws.ledger.snapshot().folders if job[:-9] in names]
    assert len(ids) == len(names)
    hold_jobs(ws, ids, why, person_of(ws.paths.git_dir))


def jobs_of(ws: Workspace) -> list[Job]:
    return [folder.job for folder in ws.ledger.snapshot().folders.values()]


def release(world: World, *names: str) -> None:
    with open_workspace(world.root) as ws:
        release_jobs(ws, [world.id(name) for name in names], person_of(ws.paths.git_dir))


def test_a_start_that_did_not_happen_is_not_made_up_for_while_the_job_is_held(world: World) -> None:
    drop(world, "one")
    with world.engine() as engine:
        deadline = time.monotonic() + 30
        while not any(folder.job.state is State.RUNNING for folder in engine.ws.ledger.snapshot().folders.values()):
            # As if the engine had died each time between the ledger and the start.
            assert time.monotonic() < deadline
            tick._take_in(engine)
            tick._collect(engine)
            tick._decide(engine)
            if engine.ws.ledger.read_file("projects/main/base.yaml"):
                tick._ensure_base(engine.ws, "main")
        hold(engine.ws, "one")
    world.run()
    with open_workspace(world.root) as ws:
        run = world.job("one").at.run
        assert run
        assert state_of(folder_of(ws, run)) is RunState.MISSING
    assert world.state("one") is State.RUNNING
    release(world, "one")
    world.run()
    assert world.state("one") is State.DONE


@pytest.mark.parametrize(
    ("held_in", "stands_in"),
    [
        (State.RUNNING, State.COLLECTED),
        (State.CHECKING, State.REVIEWING),
        (State.REVIEWING, State.MERGING),
        (State.MERGING, State.LANDING),
    ],
)
def test_a_live_run_is_taken_in_and_nothing_follows_before_the_release(
    world: World, held_in: State, stands_in: State
) -> None:
    drop(world, "one")

    def is_at_work(ws: Workspace) -> bool:
        if held_in is State.MERGING and "review" in world.steps("one") and not (world.root / "other.txt").exists():
            # The target moves, so that the merged tree is one that was not checked before.
            (world.root / "other.txt").write_text("x\n")
            git(world.root, "add", "other.txt")
            git(world.root, "commit", "--quiet", "-m", "other")
        for folder in ws.ledger.snapshot().folders.values():
            job = folder.job
            if job.state is held_in and job.at.run and state_of(folder_of(ws, job.at.run)) is not RunState.MISSING:
                hold(ws, "one")
                return True
        return False

    world.run(until=is_at_work)
    world.run()
    assert world.state("one") is stands_in
    assert not world.job("one").at.run
    told = world.steps("one")
    world.run()
    assert world.steps("one") == told
    release(world, "one")
    world.run()
    assert world.state("one") is State.DONE


def test_what_waits_to_land_and_is_held_lands_neither_by_itself_nor_with_another(world: World) -> None:
    drop(world, "one")
    (world.root / "README.md").write_text("in the way\n")
    world.run()
    assert world.card("one").kind == "landing"
    with open_workspace(world.root) as ws:
        hold(ws, "one", why="not yet")
    git(world.root, "checkout", "--", "README.md")
    drop(world, "two")
    world.run()
    assert (world.state("one"), world.state("two")) == (State.DECIDE, State.DONE)
    assert (world.root / "two.py").exists()
    assert not (world.root / "one.py").exists()
    release(world, "one")
    world.run()
    assert world.state("one") is State.DONE
    assert (world.root / "one.py").exists()


def test_what_was_on_the_target_already_when_it_was_held_is_done(world: World) -> None:
    drop(world, "one")
    with world.engine() as engine:
        deadline = time.monotonic() + 30
        while not (landing := [job for job in jobs_of(engine.ws) if job.state is State.LANDING]):
            assert time.monotonic() < deadline
            tick.tick(engine)
        # As if the engine had died between the target and the ledger.
        assert land(engine.ws, landing[0]) is not None
        hold(engine.ws, "one")
    world.run()
    assert world.state("one") is State.DONE


def test_a_file_with_hold_is_accepted_and_goes_on_once_the_line_is_taken_away(world: World) -> None:
    drop(world, "one", "hold: until the design is agreed\n")
    world.run()
    (shown,) = (world.root / "queue" / "waiting").glob("one-*.yaml")
    assert world.steps("one") == ["accept", "hold"]
    assert 'reason: "held by ' in shown.read_text()
    assert "until the design is agreed" in world.job("one").why
    shown.write_text(shown.read_text().replace("hold: until the design is agreed\n", ""))
    world.run()
    assert world.state("one") is State.DONE


def test_all_of_several_changes_are_committed_or_none(world: World) -> None:
    drop(world, "one")
    drop(world, "two", "hold: true\n")
    world.run(until=lambda ws: len(ws.ledger.snapshot().folders) == 2)
    with open_workspace(world.root) as ws:
        before = ws.ledger.snapshot().tip
        with pytest.raises(RefusedError, match=r"one-.* is not held"):
            release_jobs(ws, [world.id("two"), world.id("one")], person_of(ws.paths.git_dir))
        assert ws.ledger.snapshot().tip == before


def test_a_step_of_the_engine_between_two_looks_costs_nothing_but_another_look(world: World) -> None:
    drop(world, "one", "hold: true\n")
    world.run()
    with open_workspace(world.root) as ws, open_workspace(world.root) as other:
        calls: list[int] = []

        def change(job: object) -> str:
            calls.append(job.at.seq)  # type: ignore[attr-defined]
            if len(calls) == 1:
                hold(other, "one", why="somebody else was quicker")
            return job.text + "# mine\n"  # type: ignore[attr-defined,no-any-return]

        (edited,) = change_jobs(ws, [world.id("one")], change, person_of(ws.paths.git_dir))
    assert len(calls) == 2
    assert calls[1] > calls[0]
    assert edited.job.spec.hold == "somebody else was quicker"
    assert edited.job.text.endswith("# mine\n")
