"""Landing: only what is approved now comes to the target, a person's unfinished work stays, and nothing spins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_checkout import landing_mark
from orchestrator.core import accept as accepting
from orchestrator.core.job import State
from orchestrator.core.merge import landing_blocked
from orchestrator.core.records import CardKind
from orchestrator.core.times import iso
from orchestrator.core.transitions import Move
from orchestrator.engine.answer import cancel_job, retry_job
from orchestrator.engine.bases import find_start, next_ref
from orchestrator.engine.find import find_job
from orchestrator.engine.merge import land
from orchestrator.engine.people import person_of
from orchestrator.engine.revert import revert_job
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import RefusedError

FIRST = attempt(write={"one": "1\n"}, match={"title": "first"})
SECOND = attempt(write={"two": "2\n"}, match={"title": "second"})
JOBS = {"first": "prompt: first\nkind: ops\n", "second": "prompt: second\nkind: ops\n"}


@pytest.fixture
def world(world: World) -> World:
    world.plays = [FIRST, SECOND]
    return world


def block(world: World, *names: str) -> None:
    """Jobs that are approved and wait for the person to put the checkout right."""
    (world.root / "README.md").write_text("my own words\n")
    for name in names:
        world.drop(f"{name}.yaml", JOBS[name])
        world.run()
        assert world.card(name).kind is CardKind.LANDING


def give_up(world: World, name: str) -> None:
    with open_workspace(world.root) as ws:
        cancel_job(ws, find_job(ws, world.id(name)).job, person_of(ws.paths.git_dir), "no")


def drop(world: World, name: str) -> None:
    world.answer(name, "drop")


def try_anew(world: World, name: str) -> None:
    # It comes to nothing the second time, so that only what the first approval covered could bring its file.
    world.plays = [attempt(delete=["one"], match={"title": "first"}), SECOND]
    world.write_plays()
    with open_workspace(world.root) as ws:
        retry_job(ws, find_job(ws, world.id(name)).job, person_of(ws.paths.git_dir))


def on_main(world: World) -> set[str]:
    return set(git(world.root, "ls-tree", "--name-only", "main").split()) & {"one", "two"}


def lies(world: World) -> list[str]:
    door = world.root / ".git"
    return [lie.text for lie in audit(door, {"main": door}).lies]


def settle(world: World, name: str, state: State) -> None:
    """Work until a job has come to its end."""
    deadline = time.monotonic() + 30
    while world.state(name) is not state and time.monotonic() < deadline:
        world.run()
    assert world.state(name) is state


# --- what is approved no more ---


@pytest.mark.parametrize("take_back", [give_up, drop, try_anew])
def test_what_was_taken_back_does_not_land_with_the_next_job(
    world: World, take_back: Callable[[World, str], None]
) -> None:
    world.set_up()
    block(world, "first")
    take_back(world, "first")
    git(world.root, "stash")
    world.drop("second.yaml", JOBS["second"])
    world.run()
    assert world.state("second") is State.DONE
    assert on_main(world) == {"two"}
    assert lies(world) == []


def test_work_that_was_made_on_what_was_taken_back_is_made_again_without_it(world: World) -> None:
    world.set_up()
    block(world, "first", "second")
    first = world.job("first").at.merged
    assert world.records("second")["attempt-1"].base == first
    give_up(world, "first")
    git(world.root, "stash")
    settle(world, "second", State.DONE)
    assert on_main(world) == {"two"}
    assert first not in git(world.root, "rev-list", "main").split()
    records = world.records("second")
    assert "taken back" in records["merge-2"].problem
    assert records["attempt-2"].fixes[0].source == "engine"
    assert world.job("second").at.spent == 0
    assert lies(world) == []


def test_jobs_that_wait_on_each_other_land_together_when_the_way_is_free(world: World) -> None:
    world.set_up()
    block(world, "first", "second")
    with open_workspace(world.root) as ws:
        assert find_start(ws, "main", "main").commit == world.job("second").at.merged
    git(world.root, "stash")
    settle(world, "first", State.DONE)
    settle(world, "second", State.DONE)
    assert on_main(world) == {"one", "two"}
    assert "attempt-2" not in world.records("second")
    assert lies(world) == []


def test_a_persons_own_commit_does_not_send_work_back_that_waits_on_other_work(world: World) -> None:
    world.set_up()
    block(world, "first", "second")
    git(world.root, "commit", "-qam", "the person's own words")
    settle(world, "first", State.DONE)
    settle(world, "second", State.DONE)
    assert on_main(world) == {"one", "two"}
    assert "attempt-2" not in world.records("second")
    assert lies(world) == []


def test_a_cancellation_at_the_moment_of_landing_is_before_it_or_after_it(world: World) -> None:
    world.set_up()
    world.drop("first.yaml", JOBS["first"])
    world.run(until=lambda ws: any(f.job.state is State.LANDING for f in ws.ledger.snapshot().folders.values()))
    merged, ref = world.job("first").at.merged, next_ref("main", "main")
    found: list[Move | None] = []

    def do_land() -> None:
        with open_workspace(world.root) as ws:
            found.append(land(ws, find_job(ws, world.id("first")).job))

    thread = threading.Thread(target=do_land)
    with open_workspace(world.root) as ws, ws.ledger.writing() as writer:
        thread.start()
        deadline = time.monotonic() + 30
        while git(world.root, "for-each-ref", "--format=%(objectname)", ref) != merged:
            assert time.monotonic() < deadline
        job = writer.job(world.id("first"))
        assert job is not None
        writer.commit(accepting.cancel(job, ws.stamp(), actor=person_of(ws.paths.git_dir)), ws.now())
    thread.join()
    assert found == [None]
    assert world.state("first") is State.CANCELLED
    assert on_main(world) == set()


def test_a_job_that_was_cancelled_just_after_it_landed_can_be_undone(world: World) -> None:
    world.set_up()
    world.drop("first.yaml", JOBS["first"])
    world.run(until=lambda ws: any(f.job.state is State.LANDING for f in ws.ledger.snapshot().folders.values()))
    with open_workspace(world.root) as ws:
        folder = find_job(ws, world.id("first"))
        assert land(ws, folder.job) is not None  # Its step never comes to the ledger: the engine dies here.
    give_up(world, "first")
    assert on_main(world) == {"one"}
    with open_workspace(world.root) as ws:
        revert_job(ws, find_job(ws, world.id("first")), person_of(ws.paths.git_dir))
    assert on_main(world) == set()


def test_a_job_that_was_cancelled_before_it_landed_cannot_be_undone(world: World) -> None:
    world.set_up()
    block(world, "first")
    give_up(world, "first")
    with open_workspace(world.root) as ws, pytest.raises(RefusedError, match="was not merged"):
        revert_job(ws, find_job(ws, world.id("first")), person_of(ws.paths.git_dir))


# --- what is in the way ---


def test_a_target_that_is_being_rebased_is_not_moved_under_the_person(world: World) -> None:
    world.set_up()
    git(world.root, "-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "-q", "-i", "HEAD~1")
    before = git(world.root, "rev-parse", "main")
    world.drop("first.yaml", JOBS["first"])
    world.run()
    assert "is being rebased" in world.card("first").question
    assert git(world.root, "rev-parse", "main") == before
    assert not (world.root / "one").exists()
    git(world.root, "rebase", "--continue")
    settle(world, "first", State.DONE)
    assert (world.root / "one").exists()


def test_a_target_that_is_checked_out_twice_is_one_question_until_it_is_not(world: World, tmp_path: Path) -> None:
    world.set_up()
    git(world.root, "worktree", "add", "-q", "--force", str(tmp_path / "twice"), "main")
    world.drop("first.yaml", JOBS["first"])
    ask_once(world, "2 places")
    git(world.root, "worktree", "remove", str(tmp_path / "twice"))
    settle(world, "first", State.DONE)


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_lock_of_git_is_one_question_until_it_is_gone(world: World, name: str) -> None:
    world.set_up()
    lock = world.root / ".git" / name
    lock.write_text("")
    world.drop("first.yaml", JOBS["first"])
    ask_once(world, name)
    assert git(world.root, "diff", "HEAD", "--name-only") == ""
    lock.unlink()
    settle(world, "first", State.DONE)


def test_a_refusal_of_git_that_cannot_be_looked_up_is_one_question_until_it_is_answered(world: World) -> None:
    world.set_up()
    git(world.root, "config", "receive.maxInputSize", "1")
    world.drop("first.yaml", JOBS["first"])
    ask_once(world, "git push failed")
    assert world.card("first").facts["seen"]
    git(world.root, "config", "--unset", "receive.maxInputSize")
    world.answer("first", "retry")
    settle(world, "first", State.DONE)


@pytest.mark.parametrize("changed", [True, False])
def test_a_refusal_of_git_is_tried_again_by_itself_once_something_has_changed(world: World, *, changed: bool) -> None:
    world.set_up()
    world.drop("first.yaml", JOBS["first"])
    world.run(until=lambda ws: any(f.job.state is State.LANDING for f in ws.ledger.snapshot().folders.values()))
    with open_workspace(world.root) as ws:
        seen = "0" * 16 if changed else landing_mark(Git(ws.paths.git_dir), "main", [world.root])
        refuse(ws, world.id("first"), seen)
    world.run()
    assert world.state("first") is (State.DONE if changed else State.DECIDE)


def refuse(ws: Workspace, id_: str, seen: str) -> None:
    """Git has refused to land a job, an hour ago."""
    job, asked = find_job(ws, id_).job, iso(ws.now() - timedelta(hours=1))
    ws.commit([landing_blocked(job, "git push failed", "put it right", asked, target="main", seen=seen)])


def ask_once(world: World, words: str) -> None:
    """However often the engine looks: one card, and no other step until something changes."""
    world.run()
    world.run()
    assert words in world.card("first").question
    assert [step for step in world.steps("first") if step in ("land", "supersede")] == ["land"]


def test_a_folder_that_went_to_two_places_is_a_conflict_like_any_other(world: World) -> None:
    root = world.root
    (root / "a").mkdir()
    for number in range(4):
        (root / "a" / f"{number}").write_text(f"{number}\n" * 30)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "a folder")
    world.plays = [attempt(write={"a/new": "new\n"}, match={"title": "first"})]
    world.set_up()
    world.drop("first.yaml", JOBS["first"])
    world.run(lambda ws: any(folder.job.state is State.REVIEWING for folder in ws.ledger.snapshot().active))
    for name, numbers in (("b", (0, 1)), ("c", (2, 3))):
        (root / name).mkdir()
        for number in numbers:
            git(root, "mv", f"a/{number}", f"{name}/{number}")
    git(root, "commit", "-qm", "the folder is split")
    world.run()
    steps = world.steps("first")
    assert (world.state("first"), steps.count("merge"), steps.count("start")) == (State.DONE, 2, 2)
    assert world.records("first")["merge-1"].conflicts == ("a",)
    assert lies(world) == []
