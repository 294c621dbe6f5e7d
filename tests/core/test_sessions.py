"""When an agent goes on with its conversation, and when a new one is begun."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.core.config import SessionLimits
from orchestrator.core.job import Fix, Worker
from orchestrator.core.said import Usage
from orchestrator.core.sessions import (
    HANDOFF_LIMIT,
    REMEMBERED,
    Did,
    Plan,
    Session,
    after_run,
    handoff_note,
    plan_session,
)
from orchestrator.core.times import iso

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WORKER = Worker("engineer", "anthropic", "strong-1", "claude")
SESSION = Session(
    agent=WORKER.agent,
    project="main",
    backend=WORKER.backend,
    model=WORKER.model,
    system="5y5",
    id="s-1",
    started=iso(NOW - timedelta(hours=3)),
    last_used=iso(NOW - timedelta(hours=1)),
    folder="/trees/engineer/main",
    so_far=Usage(input=100),
    last_job="old-00000001",
    did=(Did("old-00000001", "An old one", "It was done."),),
)


ASKED = (Fix("F1", "It loops.", source="reviewer"),)
BY_THE_ENGINE = (Fix("F2", "A check failed.", source="engine"),)


def plan(session: Session | None = SESSION, **changes: Any) -> Plan:
    asked: dict[str, Any] = {
        "worker": WORKER,
        "system": "5y5",
        "folder": "/trees/engineer/main",
        "resume": "same folder",
        "takes_system": False,
        "limits": SessionLimits(),
        "window": 1000,
        "now": NOW,
    }
    return plan_session(session, **{**asked, **changes})


def test_it_goes_on() -> None:
    assert plan() == Plan(resume="s-1")


@pytest.mark.parametrize(
    ("changed", "asked", "why"),
    [
        ({}, {"system": "other"}, "its system prompt has changed"),
        ({}, {"system": ""}, "its system prompt has changed"),
        ({}, {"worker": replace(WORKER, model="weak-1")}, "another program's or model's"),
        ({}, {"worker": replace(WORKER, backend="codex")}, "another program's or model's"),
        ({}, {"folder": "/elsewhere"}, "another folder"),
        ({"jobs": 50}, {}, "50 jobs"),
        ({"failed_reviews": 2}, {}, "2 reviews in a row"),
        ({"failed_reviews": 1}, {"job": "old-00000001", "fixes": ASKED}, "2 reviews in a row"),
        ({}, {"job": "old-00000001", "fixes": ASKED, "limits": SessionLimits(failed_reviews=1)}, "1 review asked"),
        ({"context": 601}, {}, "601 of 1000 tokens"),
        ({"started": iso(NOW - timedelta(hours=24, seconds=1))}, {}, "it was begun at"),
        ({"id": ""}, {}, "could not be gone on with"),
    ],
)
def test_it_begins_anew_and_says_why(changed: dict[str, Any], asked: dict[str, Any], why: str) -> None:
    found = plan(replace(SESSION, **changed), **asked)
    assert found.resume == ""
    assert why in found.why_fresh


def test_a_program_that_goes_on_anywhere_does_not_mind_the_folder() -> None:
    assert plan(folder="/elsewhere", resume="anywhere").resume == "s-1"


def test_a_program_that_takes_another_system_prompt_goes_on_with_it() -> None:
    assert plan(system="other", takes_system=True).resume == "s-1"


def test_what_is_just_within_a_limit_goes_on() -> None:
    begun = iso(NOW - timedelta(hours=24))
    edge = replace(SESSION, jobs=49, failed_reviews=1, context=600, started=begun)
    assert plan(edge).resume == "s-1"


@pytest.mark.parametrize(
    ("job", "fixes"),
    [
        ("old-00000001", ()),
        ("old-00000001", BY_THE_ENGINE),
        ("old-00000001", (*BY_THE_ENGINE, *ASKED)),
        ("of-another-00000009", ASKED),
    ],
    ids=["nothing", "the engine asks", "set about already", "work of another session"],
)
def test_only_a_review_that_just_asked_for_changes_in_its_own_work_counts_before_the_run(
    job: str, fixes: tuple[Fix, ...]
) -> None:
    assert plan(replace(SESSION, failed_reviews=1), job=job, fixes=fixes).resume == "s-1"


def test_a_session_that_ends_leaves_a_note_for_the_next() -> None:
    assert "An old one" in plan(replace(SESSION, jobs=50)).handoff
    long = tuple(Did(f"job-{number:08x}", "x" * 100, "y" * 300) for number in range(20))
    assert len(handoff_note(replace(SESSION, did=long))) == HANDOFF_LIMIT
    assert plan(None).handoff == ""


def ran(
    before: Session | None,
    *,
    job: str = "new-00000002",
    id_: str = "s-1",
    fixes: tuple[Fix, ...] = (),
    is_over: bool = True,
    used: int = 10,
) -> Session:
    begun = replace(SESSION, id=id_, did=(), last_job="", so_far=Usage(), started=iso(NOW))
    did = Did(job, "Another", "Done.")
    usage = Usage(input=used, output=1)
    return after_run(before, begun, usage=usage, so_far=None, did=did, fixes=fixes, is_over=is_over)


def test_runs_and_jobs_of_one_session_are_counted() -> None:
    first = ran(None)
    again = ran(first, fixes=ASKED)
    other = ran(again, job="third-00000003")
    assert [(each.runs, each.jobs, each.failed_reviews) for each in (first, again, other)] == [
        (1, 1, 0),
        (2, 1, 1),
        (3, 2, 0),
    ]
    assert other.used == Usage(input=30, output=3)
    assert [did.job for did in other.did] == ["third-00000003", "new-00000002"]
    assert other.started == first.started


def test_each_failed_review_is_counted_once_whatever_happens_to_the_run_that_sets_about_it() -> None:
    first = ran(None)
    outage = ran(first, fixes=ASKED, is_over=False)
    outage_again = ran(outage, fixes=ASKED, is_over=False)
    fixed = ran(outage_again, fixes=ASKED)
    sent_back = ran(fixed, fixes=(*BY_THE_ENGINE, *ASKED))
    assert [each.failed_reviews for each in (outage, outage_again, fixed, sent_back)] == [0, 0, 1, 1]
    assert ran(sent_back, fixes=ASKED).failed_reviews == 2
    assert ran(sent_back, fixes=BY_THE_ENGINE).failed_reviews == 0, "what it did was approved, and then collided"


def test_a_session_that_is_begun_for_what_a_review_asked_for_is_not_to_blame_for_it() -> None:
    assert ran(ran(None), id_="s-2", fixes=ASKED).failed_reviews == 0


def test_a_conversation_is_as_long_as_the_program_says_else_as_what_came_in_new() -> None:
    def after(before: Session | None, used: Usage, context: int) -> Session:
        did = Did("new-00000002", "Another", "Done.")
        begun = replace(SESSION, did=(), last_job="", context=0)
        return after_run(before, begun, usage=used, so_far=None, did=did, context=context)

    # Thirty calls, each with the whole conversation and none of it from a cache.
    uncached = Usage(input=600_000, output=3_000)
    assert after(None, uncached, context=20_100).context == 20_100
    assert after(after(None, uncached, context=20_100), uncached, context=35_000).context == 35_000
    cached = Usage(input=5_000, output=1_000, cache_read=90_000, cache_write=2_000)
    assert after(after(None, cached, context=0), cached, context=0).context == 16_000


def test_another_session_is_counted_from_the_beginning() -> None:
    assert (ran(ran(None), id_="s-2").runs, ran(ran(None), id_="s-2").used.input) == (1, 10)


def test_a_session_remembers_its_latest_jobs_only() -> None:
    session: Session | None = None
    for number in range(20):
        session = ran(session, job=f"job-{number:08x}")
    assert session is not None
    assert [did.job for did in session.did] == [f"job-{number:08x}" for number in range(19, 19 - REMEMBERED, -1)]
