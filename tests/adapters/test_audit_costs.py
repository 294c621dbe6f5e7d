"""What runs have cost is worked out again, and a forged sum is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import audit_world as w
import pytest

from orchestrator.adapters.git import Git
from orchestrator.adapters.ledger import REF
from orchestrator.core import accept as accepting
from orchestrator.core.attempt import attempt_ended
from orchestrator.core.attempt_record import Attempt, RunStatus, Spoke
from orchestrator.core.config import Price
from orchestrator.core.costs import day_path, parse_lines
from orchestrator.core.said import Usage
from orchestrator.core.times import iso

ID = "fix-login-0a0000aa"
DAY = day_path("2026-11-20")
PRICE = Price("2026-11-01", 3.0, 15.0)
SPOKE = Spoke(Usage(1000, 100), cost_microusd=4500, priced="2026-11-01", price=PRICE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[w.World]:
    with w.new_world(tmp_path / "world") as world:
        yield world


def lies(world: w.World) -> list[str]:
    return [f"{lie.rule}: {lie.text}" for lie in w.verify(world.root).lies]


def ended(world: w.World, spoke: Spoke = SPOKE) -> None:
    """A job of which one attempt has ended, which cost something."""
    w.accept(world, ID, "prompt: Fix it.\n")
    w.start(world, ID)
    job, now = world.job(ID), iso(world.now())
    attempt = world.record(Attempt, ID, 1)
    done = replace(attempt, ended=now, status=RunStatus.STOPPED, error="stopped", spoke=spoke)
    world.commit(attempt_ended(job, done, w.terms_of(job), now))


def test_an_honest_ledger_counts_each_run_and_each_end(world: w.World) -> None:
    ended(world)
    w.auto_merged(world)
    assert lies(world) == []
    lines = parse_lines(world.ledger.read_file(DAY) or b"")
    assert {(each.part, each.told): (sums.runs, sums.microusd, sums.done) for each, sums in lines.items()} == {
        ("attempt", "whole"): (1, 4500, 0),
        ("attempt", "unknown"): (1, 0, 0),
        ("review", "unknown"): (1, 0, 0),
        ("", ""): (0, 0, 1),
    }
    for commit in Git(world.root / ".git").text("log", "--format=%H", REF).split()[1:]:
        assert w.verify(world.root, since=commit).lies == ()


def test_a_run_that_is_left_out_is_found_out(world: w.World) -> None:
    ended(world)
    with world.ledger.writing() as writer:
        # As if whoever wrote the ledger did not care for the costs.
        writer.commit(accepting.cancel(world.job(ID), iso(world.now()), actor=w.ADA), world.now())
    assert lies(world) == [
        f"cost: does not add to {DAY} what ended with it, or not only that",
        f"cost: does not add to {DAY.replace('day.jsonl', 'jobs/0a.jsonl')} what ended with it, or not only that",
    ]


def test_a_sum_that_says_more_is_found_out(world: w.World) -> None:
    ended(world)
    job = world.job(ID)
    forged = (world.ledger.read_file(DAY) or b"").replace(b'"microusd":4500', b'"microusd":4501')
    assert b"4501" in forged
    with world.ledger.writing() as writer:
        writer.commit(accepting.hold(job, "later", iso(world.now()), needs={}), world.now(), beside={DAY: forged})
    assert f"cost: changes {DAY}, though nothing of that day and job ended with it" in lies(world)


def test_costs_that_no_step_wrote_are_found_out(world: w.World) -> None:
    ended(world)
    world.file("costs: nothing to see", {DAY: b""})
    assert lies(world) == [f"filing: changes {DAY}, which is not about any job and not the engine's to file"]


@pytest.mark.parametrize(
    ("spoke", "told"),
    [
        (replace(SPOKE, cost_microusd=45), f"cost: says that {ID}.attempt-1 cost is 45, but it is 4500"),
        (replace(SPOKE, priced="2026-12-24"), f"the price of {ID}.attempt-1 is of is 2026-12-24"),
        (replace(SPOKE, price=None, priced="reported"), "cost is 4500, but it is nothing"),
    ],
)
def test_a_cost_that_does_not_follow_from_use_and_price_is_found_out(world: w.World, spoke: Spoke, told: str) -> None:
    ended(world, spoke)
    assert any(told in each for each in lies(world)), lies(world)
