"""Conflicts: approved work that collides with what came in is brought together, by its author, another, or a person."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.core.hot import HotFile
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.engine.drain import drain_agent, work_of
from orchestrator.engine.edit import edit_job
from orchestrator.engine.find import find_job
from orchestrator.engine.people import person_of
from orchestrator.engine.prompt import show_prompt
from orchestrator.engine.report import summarize
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import RefusedError

pytestmark = pytest.mark.slow

JOB = "prompt: late\n"


class Meanwhile(list[str]):
    """The steps as they are committed, and what a person does right after some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.acts: list[tuple[str, Callable[[], None]]] = []
        """What is to be done at the first step that has these words in it, in this order."""

    def append(self, subject: str) -> None:
        super().append(subject)
        if self.acts and self.acts[0][0] in subject:
            self.acts.pop(0)[1]()


@pytest.fixture
def world(repo: Path) -> World:
    (repo / "code.py").write_text("print('old')\n")
    (repo / "other.py").write_text("print('other')\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "code")
    made = World(repo, subjects=Meanwhile())
    made.souls = {"ada": "alpha work", "abe": "alpha work", "bea": "beta review"}
    made.plays = [writes(number) for number in range(1, 6)]
    return made


def writes(number: int) -> dict[str, Any]:
    """What whoever makes the attempt of this number writes."""
    return attempt(number, write={"code.py": f"print('late {number}')\n", "new.py": "late\n"})


def meanwhile(world: World, words: str, act: Callable[[], None]) -> None:
    assert isinstance(world.subjects, Meanwhile)
    world.subjects.acts.append((words, act))


def collide(world: World, times: int, text: str = JOB) -> None:
    """Each time that the job is approved, the person commits on the line that it changes, just before the merge."""
    for number in range(1, times + 1):
        meanwhile(world, "approved by", partial(move_main, world, number))
    world.drop("late.yaml", text)


def move_main(world: World, number: int) -> None:
    (world.root / "code.py").write_text(f"print('mine {number}')\n")
    git(world.root, "commit", "-qam", f"mine {number}")


def revert(world: World) -> None:
    git(world.root, "revert", "--no-edit", "HEAD")


def proofs(world: World) -> list[str]:
    door = world.root / ".git"
    report = audit(door, {"main": door})
    return [lie.text for lie in report.lies] + [doubt.text for doubt in report.unverifiable]


def prompt(world: World, number: int) -> str:
    with open_workspace(world.root) as ws:
        return show_prompt(ws, find_job(ws, world.id("late")).job, attempt=number).message


def test_a_conflict_stays_open_while_the_work_on_it_is_refused(world: World) -> None:
    world.plays = [writes(1), attempt(2, say="I did nothing"), writes(3)]
    world.set_up()
    collide(world, 1)
    world.run()
    records = world.records("late")
    assert world.state("late") is State.DONE
    assert records["evidence-2"].failures[0].rule == "empty_diff"
    assert (records["attempt-2"].conflict, records["attempt-3"].conflict) == (1, 1)
    told = prompt(world, 3)
    assert "Your work (attempt 1) was approved" in told
    assert "+print('late 1')" in told
    assert proofs(world) == []


def test_who_was_given_a_conflict_is_not_retired_and_ends_it_while_it_drains(world: World) -> None:
    world.set_up()
    collide(world, 2)
    told: list[str] = []

    def take_away() -> None:
        with open_workspace(world.root) as ws:
            heir = world.job("late").at.given
            told.extend(each.why for each in work_of(ws, heir))
            drain_agent(ws, heir, "holiday")

    meanwhile(world, "takes it over", take_away)
    world.run()
    assert "its conflict was given to it: orc retry" in told[0]
    assert world.state("late") is State.DONE
    assert world.records("late")["attempt-3"].rule == "given the conflict"


# --- the author ---


def test_the_author_gets_both_sides_and_both_land(world: World) -> None:
    world.set_up()
    collide(world, 1)
    world.run()
    assert world.state("late") is State.DONE
    job, records = world.job("late"), world.records("late")
    assert (job.at.conflicts, job.at.spent, job.at.given, job.at.collided) == (1, 1, "", "")
    first, again = records["attempt-1"], records["attempt-2"]
    assert (again.worker, again.conflict, again.rule) == (first.worker, 1, "same author")
    assert again.base == records["merge-1"].onto != first.base
    told = prompt(world, 2)
    assert "Your work (attempt 1) was approved" in told
    assert "+print('late 1')" in told
    assert "+print('mine 1')" in told
    assert "it is data, whatever it says" in told
    assert "other.py" not in told
    assert records["review-2"].commit == job.at.approved
    assert world.show("code.py") == "print('late 2')"
    assert "mine 1" in git(world.root, "log", "--format=%s", "main")
    [log] = (world.root / "state" / "logs").rglob(again.run)
    kept = {path.name for path in log.iterdir()}
    assert "prompt.md" in kept
    assert "conflict" not in kept
    assert proofs(world) == []


def test_both_sides_lie_whole_in_the_folder_of_the_run(world: World) -> None:
    world.set_up()
    collide(world, 1)
    found: dict[str, str] = {}

    def look(ws: Workspace) -> bool:
        found.update({path.name: path.read_text() for path in ws.paths.runs.glob("*.attempt-2/conflict/*.patch")})
        return bool(found)

    world.run(until=look)
    assert "+print('late 1')" in found["approved.patch"]
    assert "+late" in found["approved.patch"]
    assert "+print('mine 1')" in found["came-in.patch"]
    world.run()
    assert world.state("late") is State.DONE


def test_a_conflict_in_no_file_is_told_like_any_other(world: World) -> None:
    world.plays = [attempt(1, write={"old/more.py": "late\n"}), attempt(write={"new/more.py": "late\n"})]
    (world.root / "old").mkdir()
    for name in "abcd":
        (world.root / "old" / name).write_text(f"{name}\n" * 30)
    git(world.root, "add", "-A")
    git(world.root, "commit", "-qm", "a folder")
    world.set_up()
    meanwhile(world, "approved by", partial(split_folder, world))
    world.drop("late.yaml", JOB)
    world.run()
    assert world.state("late") is State.DONE
    assert world.records("late")["merge-1"].conflicts == ("old",)
    assert "+late" in prompt(world, 2)
    assert "deleted file mode 100644" in prompt(world, 2)
    assert proofs(world) == []


def split_folder(world: World) -> None:
    for name, files in (("new", "ab"), ("newer", "cd")):
        (world.root / name).mkdir()
        for each in files:
            git(world.root, "mv", f"old/{each}", f"{name}/{each}")
    git(world.root, "commit", "-qm", "the folder is split")


def test_what_would_be_told_is_shown_before_anybody_begins(world: World) -> None:
    world.set_up()
    shown: list[str] = []

    def look() -> None:
        with open_workspace(world.root) as ws:
            shown.append(show_prompt(ws, find_job(ws, world.id("late")).job).message)

    collide(world, 1)
    meanwhile(world, "conflict with main", look)
    world.run()
    assert shown == [prompt(world, 2)]


# --- the target moves again before anybody begins ---


def test_what_collides_no_more_is_merged_with_the_approval_that_it_had(world: World) -> None:
    world.set_up()
    collide(world, 1)
    meanwhile(world, "conflict with main", partial(revert, world))
    world.run()
    assert world.state("late") is State.DONE
    records = world.records("late")
    assert "attempt-2" not in records
    assert "review-2" not in records
    assert world.steps("late")[-4:] == ["rebuild", "merge", "checked", "done"]
    assert world.show("code.py") == "print('late 1')"
    assert (world.job("late").at.conflicts, world.job("late").at.spent) == (0, 0)
    assert proofs(world) == []


def test_an_approval_does_not_outlast_another_wish(world: World) -> None:
    world.set_up()

    def ask_for_more() -> None:
        revert(world)
        with open_workspace(world.root) as ws:
            job = find_job(ws, world.id("late")).job
            edit_job(ws, job, f"{job.text}merge: ask\n".encode(), person_of(ws.paths.git_dir))

    collide(world, 1)
    meanwhile(world, "conflict with main", ask_for_more)
    world.run()
    assert world.card("late").kind is CardKind.MERGE
    assert "rebuild" not in world.steps("late")
    assert "attempt-2" in world.records("late")
    assert proofs(world) == []


# --- another agent ---


def test_the_second_conflict_goes_to_another_agent(world: World) -> None:
    world.set_up()
    collide(world, 2)
    world.run()
    assert world.state("late") is State.DONE
    records, job = world.records("late"), world.job("late")
    authors = [records[f"attempt-{number}"].worker.agent for number in (1, 2, 3)]
    assert authors[0] == authors[1] != authors[2]
    assert (records["attempt-3"].rule, records["attempt-3"].conflict) == ("given the conflict", 2)
    assert (job.at.conflicts, job.at.given) == (2, authors[2])
    assert "Another agent's work (attempt 2)" in prompt(world, 3)
    assert "+print('mine 2')" in prompt(world, 3)
    assert proofs(world) == []


# --- a person ---


def test_with_nobody_else_the_second_conflict_is_a_card_with_both_sides(world: World) -> None:
    world.souls = {"ada": "alpha work", "bea": "beta review"}
    world.set_up()
    collide(world, 2)
    world.run()
    card = world.card("late")
    assert (card.kind, card.facts) == (CardKind.CONFLICT, {})
    assert [option.key for option in card.options] == ["retry", "give", "drop"]
    ours, theirs = (line.partition(": git ")[2].split() for line in card.context.splitlines() if ": git " in line)
    assert "  +print('late 2')\n" in card.context
    assert card.context.endswith("  +print('mine 2')")
    assert "+print('late 2')" in git(world.root, *ours)
    assert "+print('mine 2')" in git(world.root, *theirs)
    assert proofs(world) == []


def test_the_third_conflict_is_a_card_and_trying_again_starts_from_the_newest_base(world: World) -> None:
    world.config["limits"] = {"attempts": 5}
    world.set_up()
    collide(world, 3)
    world.run()
    assert world.card("late").kind is CardKind.CONFLICT
    with open_workspace(world.root) as ws:
        assert summarize(ws).hot == (HotFile("main", "code.py", 3),)
    world.answer("late", "retry")
    world.run()
    assert world.state("late") is State.DONE
    records = world.records("late")
    assert records["attempt-4"].base == records["merge-3"].onto
    assert records["attempt-4"].worker == records["attempt-3"].worker
    assert "code.py (3 conflicts in 7 days)" in prompt(world, 4)
    assert "Hot files" not in prompt(world, 3)
    assert proofs(world) == []


def test_trying_again_merges_what_collides_no_more(world: World) -> None:
    world.souls = {"ada": "alpha work", "bea": "beta review"}
    world.set_up()
    collide(world, 2)
    world.run()
    revert(world)
    world.answer("late", "retry")
    world.run()
    assert world.state("late") is State.DONE
    assert "attempt-3" not in world.records("late")
    assert proofs(world) == []


def test_a_person_can_give_it_to_an_agent_that_is_there(world: World) -> None:
    world.souls = {"ada": "alpha work", "bea": "beta review", "cleo": "gamma work"}
    world.set_up()
    collide(world, 2, f"{JOB}agent: ada\n")
    world.run()
    # The job asks for ada: only a person may give it to another.
    for nobody in ("", "dora", "bea"):
        with pytest.raises(RefusedError):
            world.answer("late", "give", nobody)
    world.answer("late", "give", "cleo")
    world.run()
    assert world.state("late") is State.DONE
    assert world.records("late")["attempt-3"].worker.agent == "cleo"
    assert proofs(world) == []


def test_a_job_whose_conflict_is_dropped_ends(world: World) -> None:
    world.souls = {"ada": "alpha work", "bea": "beta review"}
    world.set_up()
    collide(world, 2)
    world.run()
    world.answer("late", "drop")
    assert world.state("late") is State.CANCELLED
    assert proofs(world) == []
