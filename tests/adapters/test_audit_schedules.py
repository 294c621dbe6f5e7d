"""What the ledger says of schedules is worked out again: no slot becomes two jobs, and none becomes one in silence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import audit_world as w
import pytest

from orchestrator.adapters.audit import audit
from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.ledger import Filing
from orchestrator.core import accept as accepting
from orchestrator.core.job import Priority
from orchestrator.core.recurring import SlotsTaken, slot_job_id
from orchestrator.core.times import iso
from orchestrator.core.transitions import ENGINE, Move
from orchestrator.engine.recurring import taken_filing

HOURLY = "0 * * * * UTC"
HOUR = timedelta(hours=1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[w.World]:
    with w.new_world(tmp_path / "world") as world:
        yield world


def put(world: w.World, *moves: Move, record: Filing | None = None) -> None:
    for move in moves:
        world.commit(move)
    if record is not None:
        with world.ledger.writing() as writer:
            writer.file(record, world.now())


def job_of(world: w.World, slot: datetime, id_: str = "") -> Move:
    text, now = "prompt: Look.\n", iso(world.now())
    keys = {"source": f"schedule inbox {iso(slot)}", "actor": ENGINE, "project": "main", "markdown": False}
    spec = parse_job(text.encode(), name="inbox.yaml").spec
    return accepting.accept(
        text,
        spec,
        id_=id_ or slot_job_id("inbox", slot),
        now=now,
        priority=Priority.P2,
        **keys,  # type: ignore[arg-type]
    )


def begun(world: w.World) -> tuple[SlotsTaken, datetime]:
    """A schedule that was just seen, and its next slot, which has come."""
    taken = SlotsTaken(iso(world.now()), HOURLY)
    put(world, record=taken_filing("inbox", taken, "seen for the first time"))
    world.clock += 2 * HOUR
    return taken, world.now().replace(minute=0, second=0, microsecond=0)


def after(taken: SlotsTaken, at: datetime, became: Move, **changes: object) -> Filing:
    now = replace(taken, slot=iso(at), last=iso(at), made=taken.made + 1, job=became.job.id)
    return taken_filing("inbox", replace(now, **changes), "1 job", (became,))  # type: ignore[arg-type]


def found(world: w.World, since: str | None = None) -> set[str]:
    """What is found out, each in its rule's name and its words."""
    git_dir = world.git.git_dir
    return {f"{lie.rule}: {lie.text}" for lie in audit(git_dir, {"main": git_dir}, since=since).lies}


def test_a_slot_that_becomes_a_job_holds_from_wherever_it_is_proved(world: w.World) -> None:
    taken, slot = begun(world)
    job = job_of(world, slot)
    tips = [world.ledger.tip()]
    put(world, job)
    tips.append(world.ledger.tip())
    put(world, record=after(taken, slot, job))
    put(
        world,
        record=taken_filing(
            "inbox", replace(taken, slot=iso(world.now()), timing="", made=1, job=job.job.id, last=iso(slot)), "off"
        ),
    )
    assert found(world) == set()
    assert [found(world, tip) for tip in tips] == [set(), set()]


def test_a_job_of_a_slot_of_which_nothing_is_said(world: w.World) -> None:
    _, slot = begun(world)
    job = job_of(world, slot)
    put(world, job)
    assert found(world) == {f"{Rule.SCHEDULE}: says nothing of it that {job.job.id} is the job of a slot of inbox"}


def test_a_second_job_of_the_same_slot(world: w.World) -> None:
    taken, slot = begun(world)
    job = job_of(world, slot)
    put(world, job, record=after(taken, slot, job))
    again = job_of(world, slot, "inbox-0a0b0c0d")
    now = replace(taken, slot=iso(slot), last=iso(slot), made=1)
    put(world, again, record=after(now, slot, again))
    told = found(world)
    assert any(f"the job of schedule inbox {iso(slot)} is inbox-0a0b0c0d" in each for each in told)
    assert f"{Rule.SCHEDULE}: deals with slots of inbox that were dealt with before" in told
    assert any("which is none of the slots that it deals with" in each for each in told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"made": 2}, "says that the number of jobs of inbox is 2, but it is 1"),
        ({"job": "other-0a0b0c0d"}, "says that the newest job of inbox is other-0a0b0c0d"),
        ({"slot": "2020-01-01T00:00:00Z"}, "goes back to 2020-01-01T00:00:00Z for inbox"),
        ({"slot": "2099-01-01T00:00:00Z"}, "up to 2099-01-01T00:00:00Z, which is still to come"),
        ({"timing": "5 * * * * UTC"}, "says that what became of the slots of inbox is"),
        ({"missed": -1}, "counts fewer slots of inbox as missed, skipped or quiet than before"),
    ],
)
def test_a_record_that_does_not_follow(world: w.World, changes: dict[str, object], told: str) -> None:
    taken, slot = begun(world)
    job = job_of(world, slot)
    put(world, job, record=after(taken, slot, job, **changes))
    assert any(told in each for each in found(world))


def test_a_record_among_other_things(world: w.World) -> None:
    taken, slot = begun(world)
    job = job_of(world, slot)
    put(world, job, record=replace(after(taken, slot, job), subject="library: souls/ada.md"))
    assert f"{Rule.SCHEDULE}: changes schedules/inbox.yaml, but is not about one schedule alone" in found(world)
