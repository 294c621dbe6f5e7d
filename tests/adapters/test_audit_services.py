"""Runs that a service turned away: what is said of them is worked out again beside what they used and cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import audit_world as w
import pytest

from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.git import Git
from orchestrator.adapters.ledger import REF, Filing
from orchestrator.adapters.ledger_paths import service_path
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.adapters.library import blob_id
from orchestrator.core.attempt import not_started, unserved
from orchestrator.core.attempt_record import Attempt, PromptPart, RunStatus, Spoke, Used
from orchestrator.core.config import Config, Limits
from orchestrator.core.criteria import criteria_file
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Worker
from orchestrator.core.judge import review_started
from orchestrator.core.review import independence_of
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.said import Trouble, Usage
from orchestrator.core.service import FAILURES, MOST_ADDED_S, Service, Went, bounded, told_of_bound
from orchestrator.core.step import later, next_run
from orchestrator.core.tally import Tally
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import Move
from orchestrator.core.usage import estimate
from orchestrator.engine.goal_counts import put_step

AWAY = "away-2100000e"
REFUSED, LIMITED = Spoke(trouble=Trouble.AUTH), Spoke(trouble=Trouble.RATE_LIMITED, retry_after_s=60.0)
TOLD = Spoke(Usage(300, 20), trouble=Trouble.AUTH)
EXPECTED = estimate(None, 10)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[w.World]:
    with w.new_world(tmp_path / "world") as world:
        w.accept(world, AWAY, w.TEXT.format(merge="branch"))
        yield world


def lies(world: w.World) -> set[Rule]:
    return {each.rule for each in w.verify(world.root).lies}


def turned_away(world: w.World, spoke: Spoke, seconds: float = 2.0) -> Move:
    """An attempt begins; the step by which its service turns it away."""
    w.start(world, AWAY, expected=EXPECTED)
    job, now = world.job(AWAY), iso(world.now())
    attempt = world.record(Attempt, AWAY, job.at.attempt)
    ended = replace(attempt, ended=now, status=RunStatus.ENDED, exit=1, spoke=spoke, seconds=seconds, error="no")
    return unserved(job, "no", now, records={f"attempt-{attempt.number}": ended})


def review_turned_away(world: w.World, says: Worker = w.CRITIC) -> Move:
    """The same of a review, once the work is there, of which the job `says` by whom it is."""
    w.start(world, AWAY, expected=EXPECTED)
    w.collect(world, AWAY, {"m.py": "m = 1\n"})
    w.look(world, AWAY)
    w.check(world, AWAY)
    job, now = world.job(AWAY), iso(world.now())
    found, run = world.record(Evidence, AWAY, job.at.evidence), next_run(job, RunKind.REVIEW)
    record = ReviewRecord(
        number=run.number,
        attempt=found.attempt,
        evidence=found.number,
        commit=found.tip,
        base=found.merge_base,
        reviewer=w.CRITIC,
        author=w.ENGINEER,
        run=str(run),
        started=now,
        independence=independence_of(w.ENGINEER, w.CRITIC),
        threshold=0.8,
        required=w.ITEMS[:1],
        items_asked=w.ITEMS,
        criteria=Used(f"criteria/{job.spec.kind}.yaml", blob_id(w.CRITERIA)),
        estimate=EXPECTED,
        parts=(PromptPart("task", EXPECTED.prompt),),
    )
    begun = review_started(job, record, now)
    begun = replace(begun, job=replace(begun.job, at=replace(begun.job.at, reviewer=says)))
    job = world.commit(begun, {criteria_file(run.number, "review"): w.CRITERIA})
    now = iso(world.now())
    away = replace(record, ended=now, status=RunStatus.ENDED, verdict=Verdict.INCONCLUSIVE, why="429", spoke=LIMITED)
    return unserved(job, "429", now, records={f"review-{run.number}": away})


def known(world: w.World) -> Service:
    path = service_path("command")
    return parse_record(Service, world.ledger.read_file(path) or b"", path)


def test_what_is_turned_away_is_counted_with_its_use_and_its_service_and_all_of_it_is_proved(world: w.World) -> None:
    world.commit(turned_away(world, LIMITED))
    assert world.job(AWAY).at.used == Tally(1)
    for spoke, seconds in ((REFUSED, 2.0), (TOLD, 3.0), (REFUSED, 60.0)):
        world.commit(turned_away(world, spoke, seconds))
    assert known(world).shut is not None
    world.commit(review_turned_away(world))
    at = world.job(AWAY).at
    assert (at.reserved, at.starts, at.unserved, at.unserved_reviews) == (None, 7, FAILURES + 2, 1)
    # One told it, one took long without a word, and so did the one that went well.
    assert at.used == Tally(6, 320 + 2 * EXPECTED.tokens, estimated=2, unpriced=3)
    assert [rest.cause for rest in known(world).rests] == [Went.LIMITED] * 2
    assert lies(world) == set()
    for line in Git(world.root / ".git").text("log", "--format=%H", REF).splitlines():
        assert w.verify(world.root, since=line).lies == ()


def test_a_run_that_was_not_turned_away_is_not_left_out_of_the_ceilings(world: w.World) -> None:
    move = turned_away(world, replace(REFUSED, trouble=Trouble.NONE))
    world.commit(move)
    assert lies(world) == {Rule.COUNTER}


def test_a_review_that_the_job_says_another_makes_is_found_out(world: w.World) -> None:
    """Else it were counted as a run on that one's service."""
    review_turned_away(world, replace(w.CRITIC, backend="other"))
    assert lies(world) == {Rule.REVIEW}


def test_a_run_that_nobody_counted_for_its_service_is_found_out(world: w.World) -> None:
    move = turned_away(world, REFUSED)
    with world.ledger.writing() as writer:
        put_step(writer, move, world.now(), Config())
    assert lies(world) == set()
    again = turned_away(world, REFUSED)
    with world.ledger.writing() as writer:
        writer.commit(again, world.now())
    # Its use and its cost are not counted either.
    assert lies(world) == {Rule.SERVICE, Rule.USAGE, Rule.COST}


def test_a_program_that_broke_at_once_is_a_start_that_failed_and_is_proved(world: w.World) -> None:
    for _ in range(2):
        w.start(world, AWAY, expected=EXPECTED)
        job, now = world.job(AWAY), iso(world.now())
        attempt = world.record(Attempt, AWAY, job.at.attempt)
        ended = replace(attempt, ended=now, status=RunStatus.ENDED, exit=9, seconds=0.1)
        world.commit(not_started(job, "broke", Limits(), now, records={f"attempt-{attempt.number}": ended}))
    assert known(world).broken == 2
    assert world.job(AWAY).at.used == Tally(2, 2 * EXPECTED.tokens, estimated=2, unpriced=2)
    assert lies(world) == set()


def shut_far_ahead(world: w.World) -> None:
    """A service is shut by a clock that is years ahead, and then the clock is right again."""
    right = world.clock
    world.clock += timedelta(days=3650)
    for _ in range(FAILURES):
        world.commit(turned_away(world, REFUSED))
    world.clock = right + timedelta(hours=1)


def bind(world: w.World, wait_s: int = 0, subject: str = "") -> None:
    """What the engine does about it, or says that it does."""
    now = world.now()
    found = bounded(known(world), iso(now))
    assert found.shut is not None
    if wait_s:
        found = replace(found, shut=replace(found.shut, until=later(found.shut.until, wait_s)))
    told = subject or f"service: command {told_of_bound(found)}"
    with world.ledger.writing() as writer:
        writer.file(Filing(told, {service_path("command"): format_record(found)}), now)


def test_a_pause_that_was_bound_because_a_clock_was_ahead_is_proved(world: w.World) -> None:
    shut_far_ahead(world)
    bind(world)
    # That the clock went back is told of the commit with which it did.
    (lie,) = w.verify(world.root).lies
    assert (lie.rule, lie.subject.partition(" 20")[0]) == (Rule.TIME, "service: command is given more from")
    shut = known(world).shut
    assert shut is not None
    assert 300 <= (parse(shut.until) - world.clock).total_seconds() <= 300 + MOST_ADDED_S
    tip = Git(world.root / ".git").text("rev-parse", f"{REF}~1").strip()
    assert {each.rule for each in w.verify(world.root, since=tip).lies} == {Rule.TIME}


@pytest.mark.parametrize("keys", [{"wait_s": 60}, {"wait_s": -60}, {"subject": "service: command is shut"}])
def test_a_pause_that_was_bound_otherwise_is_found_out(world: w.World, keys: dict[str, Any]) -> None:
    shut_far_ahead(world)
    bind(world, **keys)
    assert lies(world) - {Rule.TIME} != set()


def test_no_pause_that_can_be_is_made_another(world: w.World) -> None:
    for _ in range(FAILURES):
        world.commit(turned_away(world, REFUSED))
    honest = known(world)
    assert honest.shut is not None
    sooner = replace(honest, seq=honest.seq + 1, shut=replace(honest.shut, until=honest.shut.since))
    world.file(f"service: command {told_of_bound(sooner)}", {service_path("command"): format_record(sooner)})
    assert Rule.SERVICE in lies(world)
