"""Suspicious approvals, each for real: another reviewer is asked, blind to the first, or the person is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.review_record import Lately, Verdict
from orchestrator.engine.prompt import show_review
from orchestrator.engine.workers import find_worker, look_at_workers
from orchestrator.engine.workspace import open_workspace

WRITES = attempt(write={"code.py": "print('new')\n"})
NOT_QUICK = {"backends": {"player": {"type": "scripted", "script": "plays.yaml", "quick": False}}}
"""These reviewers answer at once, as none that reads would."""
TWO = {"ada": "alpha work", "bea": "beta review", "cid": "gamma review"}
SECRET = "All of it is splendid."
FINDING = {"severity": "blocking", "file": "code.py", "line": 1, "problem": "no colon", "fix": "add one"}


@pytest.fixture
def world(repo: Path) -> Iterator[World]:
    (repo / "code.py").write_text("print('old')\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "code")
    yield World(repo, souls=dict(TWO))
    assert audit(repo / ".git", {"main": repo / ".git"}).lies == ()


def play(world: World, *plays: dict[str, Any], config: dict[str, Any] | None = None) -> None:
    """One job, until nothing more happens by itself."""
    world.plays, world.config = [*plays], NOT_QUICK if config is None else config
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()


def interrupt_before_the_second(world: World, config: dict[str, Any]) -> None:
    """One job, with an engine that ends when a second review is wanted, and another one after it."""
    world.plays, world.config = [WRITES], config
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run(until=lambda ws: any(each.job.at.second is not None for each in ws.ledger.snapshot().active))
    assert world.job("greet").at.second is not None
    world.run()


def approved(number: int, **more: Any) -> dict[str, Any]:
    return {"match": {"kind": "review", "number": number}, "verdict": "APPROVED", **more}


def test_a_quick_approval_gets_a_second_reviewer_and_two_are_enough(world: World) -> None:
    play(world, WRITES, approved(1, summary=SECRET))
    records, steps = world.records("greet"), world.steps("greet")
    assert world.state("greet") is State.DONE
    assert [records[f"review-{n}"].reviewer.agent for n in (1, 2)] == ["bea", "cid"]
    assert records["review-1"].doubts[0].startswith("it took ")
    assert records["review-1"].commit == records["review-2"].commit
    assert steps[6:10] == ["review", "verdict", "review", "verdict"]
    assert any("another reviewer is asked: bea approved it, but it took" in each for each in world.subjects)


def test_the_second_reviewer_learns_nothing_of_the_first(world: World) -> None:
    play(world, WRITES, approved(1, summary=SECRET))
    with open_workspace(world.root) as ws:
        job = world.job("greet")
        first, second = (show_review(ws, job, number) for number in (1, 2))
    assert SECRET not in second.message + second.system
    assert "bea" not in second.message + second.system
    assert second.message == first.message.replace("You are bea.", "You are cid.")


def test_a_second_reviewer_that_disagrees_sends_the_work_back(world: World) -> None:
    revises = {"match": {"kind": "review", "number": 2}, "verdict": "REVISE", "findings": [FINDING]}
    work = [attempt(1, write={"code.py": "a\n"}), attempt(2, write={"code.py": "a:\n"}, answers="fixed")]
    play(world, *work, revises)
    records = world.records("greet")
    assert world.state("greet") is State.DONE
    assert [fix.problem for fix in records["attempt-2"].fixes] == ["no colon"]
    # The new work is judged anew, and its quick approval is one more that needs a second.
    assert [records[f"review-{n}"].verdict for n in (1, 2, 3, 4)] == [
        Verdict.APPROVED, Verdict.REVISE, Verdict.APPROVED, Verdict.APPROVED,
    ]  # fmt: skip


def test_with_nobody_else_to_ask_the_person_decides(world: World) -> None:
    world.souls.pop("cid")
    play(world, WRITES)
    card = world.card("greet")
    assert card.kind is CardKind.SUSPICIOUS
    assert "bea approved it, but it took" in card.context
    assert [option.key for option in card.options] == ["approve", "review", "revise", "drop"]
    assert world.show("code.py") == "print('old')"
    world.answer("greet", "review")
    world.run()
    assert world.card("greet").number == 2
    assert world.records("greet")["review-2"].reviewer.agent == "bea"
    world.answer("greet", "approve")
    world.run()
    assert world.state("greet") is State.DONE
    assert world.show("code.py") == "print('new')"


def test_a_program_that_counts_no_tokens_may_be_quick(world: World) -> None:
    play(world, WRITES, config={})
    assert "review-2" not in world.records("greet")
    assert world.records("greet")["review-1"].suspicion.seconds == 0


def test_a_large_change_without_a_remark_gets_a_second_reviewer(world: World) -> None:
    play(world, attempt(write={"code.py": "print('new')\n" * 301}), config={})
    assert world.records("greet")["review-1"].doubts == ("no remark on 302 changed lines",)
    assert world.state("greet") is State.DONE


def test_a_reviewer_that_approves_everything_gets_a_second_one_also_after_a_restart(world: World) -> None:
    world.souls.pop("cid")
    play(world, attempt(run="echo $ORC_JOB > $ORC_JOB.py"), config={"review": {"suspicion": {"reviews": 5}}})
    for number in range(1, 6):
        world.drop(f"more{number}.yaml", "prompt: greet\n")
        world.run()
    first, last = (world.records(f"more{number}")["review-1"] for number in (4, 5))
    assert (first.lately, first.doubts) == (Lately(4, 4), ())
    assert (last.lately, last.doubts) == (Lately(5, 5), ("bea approved 5 of the last 5 it judged",))
    assert world.card("more5").kind is CardKind.SUSPICIOUS


def test_an_engine_that_ends_between_the_two_reviews_goes_on_to_the_second(world: World) -> None:
    interrupt_before_the_second(world, NOT_QUICK)
    assert world.state("greet") is State.DONE
    assert world.records("greet")["review-2"].reviewer.agent == "cid"


# --- by lot


ALL = {"review": {"second": 100}}
"""Every approval is drawn."""


def test_an_approval_that_is_drawn_gets_a_second_reviewer(world: World) -> None:
    play(world, WRITES, approved(1, summary=SECRET), config=ALL)
    records = world.records("greet")
    assert world.state("greet") is State.DONE
    assert [records[f"review-{n}"].reviewer.agent for n in (1, 2)] == ["bea", "cid"]
    assert (records["review-1"].drawn, records["review-1"].doubts, records["review-2"].drawn) == (True, (), False)
    assert records["review-1"].commit == records["review-2"].commit
    assert any("it was drawn by lot to be judged twice" in each for each in world.subjects)
    assert record_of(world, "bea") == (1, 0)


def test_a_second_reviewer_that_was_drawn_and_disagrees_sends_the_work_back_and_is_counted(world: World) -> None:
    revises = {"match": {"kind": "review", "number": 2}, "verdict": "REVISE", "findings": [FINDING]}
    work = [attempt(1, write={"code.py": "a\n"}), attempt(2, write={"code.py": "a:\n"}, answers="fixed")]
    play(world, *work, revises, config=ALL)
    assert world.state("greet") is State.DONE
    assert [fix.problem for fix in world.records("greet")["attempt-2"].fixes] == ["no colon"]
    # The new work was drawn as well, and that time both agreed.
    assert record_of(world, "bea") == (2, 1)


def test_with_one_reviewer_an_approval_that_is_drawn_stands(world: World) -> None:
    world.souls.pop("cid")
    play(world, WRITES, config=ALL)
    assert world.state("greet") is State.DONE
    assert world.steps("greet")[6:9] == ["review", "verdict", "stand"]
    assert "card-1" not in world.records("greet")
    assert record_of(world, "bea") == (0, 0)


def test_a_second_review_without_a_clear_answer_leaves_the_approval_as_it_is(world: World) -> None:
    unclear = {"match": {"kind": "review", "number": 2}, "reply": "It is fine."}
    play(world, WRITES, unclear, config=ALL)
    assert world.state("greet") is State.DONE
    assert world.steps("greet")[6:11] == ["review", "verdict", "review", "verdict", "stand"]


def test_an_engine_that_ends_before_the_second_review_that_was_drawn_goes_on_to_it(world: World) -> None:
    interrupt_before_the_second(world, ALL)
    assert world.state("greet") is State.DONE
    assert world.records("greet")["review-2"].reviewer.agent == "cid"


def record_of(world: World, name: str) -> tuple[int, int]:
    """Of the approvals of a reviewer, how many were judged twice by lot, and how many of them were not shared."""
    with open_workspace(world.root) as ws:
        record = find_worker(look_at_workers(ws), name).record
    return record.seconded, record.contradicted
