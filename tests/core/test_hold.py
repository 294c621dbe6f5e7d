"""A job that a person holds: nothing is decided for it, in whatever state it is, and it goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import (
    BASE,
    COMMIT,
    CRITIC,
    HUMAN,
    LATER,
    NOON,
    NOW,
    a_board,
    a_job,
    a_run,
    a_spec,
    an_agent,
    numbered_id,
    started,
)

from orchestrator.core.accept import accept, edit
from orchestrator.core.actions import BaseMended, BuildMerge, Hold, Land, Release, StartAttempt
from orchestrator.core.board import BaseState, ProjectView
from orchestrator.core.config import Config, Project
from orchestrator.core.ids import RunKind
from orchestrator.core.job import EDITABLE_ALWAYS, Held, Job, JobSpec, Lane, Priority, State
from orchestrator.core.merge import awaits_landing
from orchestrator.core.requests import Edit, FoundJob, PutBack, Retry, judge_job
from orchestrator.core.schedule import decide
from orchestrator.core.transitions import Actor, Event

HELD = Held("human:ada", NOW)
APPROVED: dict[str, Any] = {"approved": COMMIT, "tip": COMMIT, "base": BASE}
MERGED: dict[str, Any] = {**APPROVED, "merged": "d" * 40, "target_was": BASE}
DUE = {
    "collected": (State.COLLECTED, {}),
    "checking": (State.CHECKING, {}),
    "checking, at its ceiling": (State.CHECKING, {"starts": 99}),
    "reviewing": (State.REVIEWING, {}),
    "reviewing, at its ceiling": (State.REVIEWING, {"starts": 99}),
    "merging, to be built": (State.MERGING, APPROVED),
    "merging, to be checked": (State.MERGING, MERGED),
    "waiting for the way to be free": (State.DECIDE, MERGED),
}


def held(job: Job, why: str = "") -> Job:
    """The same job, held by a person."""
    return replace(job, spec=replace(job.spec, hold=why), at=replace(job.at, held=HELD))


@pytest.mark.parametrize("name", DUE)
def test_nothing_is_decided_for_a_held_job_that_would_be_for_another(name: str) -> None:
    state, at = DUE[name]
    job = a_job(state=state, **at)
    assert decide(a_board(job), NOON)
    assert decide(a_board(held(job)), NOON) == ()


def test_of_a_held_job_that_lands_only_what_is_done_already_is_looked_up() -> None:
    job = a_job(state=State.LANDING, **MERGED)
    assert decide(a_board(held(job)), NOON) == (Land(job.id),)


@pytest.mark.parametrize("state", [State.READY, State.WAITING])
def test_a_held_job_that_is_ready_or_waits_waits_with_the_name_and_the_reason(state: State) -> None:
    job = held(a_job(state=state), "until Anna is back")
    told = f"held by ada since {NOW}: until Anna is back"
    assert decide(a_board(job), NOON) == (Hold(job.id, told, {}),)
    waits = replace(job, at=replace(job.at, state=State.WAITING, reason=told))
    assert decide(a_board(waits), NOON) == ()


def test_the_hold_is_told_before_what_else_a_job_waits_for() -> None:
    job = held(a_job(spec=a_spec(needs=("nothing",), not_before="2099-01-01")))
    assert decide(a_board(job), NOON) == (Hold(job.id, f"held by ada since {NOW}", {}),)


def test_a_released_job_goes_on() -> None:
    job = a_job(state=State.WAITING, reason="")
    assert decide(a_board(job), NOON) == (Release(job.id, {}),)


def test_no_checks_of_a_base_are_run_for_held_jobs_alone() -> None:
    unknown = {"main": ProjectView(Project(target="main"), BaseState.UNKNOWN, commit=BASE)}
    job = a_job(state=State.WAITING, reason=f"held by ada since {NOW}")
    assert decide(a_board(held(job), projects=unknown), NOON) == ()


def test_a_red_base_is_asked_about_in_the_name_of_a_job_that_is_not_held() -> None:
    red = {"main": ProjectView(Project(target="main"), BaseState.RED, commit=BASE, why_red="it fails")}
    first, second = (a_job(numbered_id(n)) for n in (1, 2))
    asked = decide(a_board(held(first), second, projects=red), NOON)[0]
    assert getattr(asked, "job", "") == second.id
    assert [type(each) for each in decide(a_board(held(first), projects=red), NOON)] == [Hold]


def test_a_question_that_a_held_job_asks_for_others_is_still_taken_back() -> None:
    job = held(a_job(state=State.DECIDE, asked_base=BASE, card=1))
    assert decide(a_board(job), NOON) == (BaseMended(job.id),)


def test_a_held_job_neither_blocks_the_target_nor_takes_a_slot() -> None:
    first, second = a_job(numbered_id(1), State.LANDING, **MERGED), a_job(numbered_id(2), State.MERGING, **APPROVED)
    assert [each.job for each in decide(a_board(first, second), NOON)] == [first.id]  # type: ignore[union-attr]
    assert decide(a_board(held(first), second), NOON) == (Land(first.id), BuildMerge(second.id))
    one_slot = replace(Config(), slots=1)
    waits, ready = held(a_job(numbered_id(3), State.REVIEWING)), a_job(numbered_id(4))
    (started_one,) = decide(a_board(waits, ready, config=one_slot), NOON)
    assert isinstance(started_one, StartAttempt)
    assert started_one.job == ready.id


def test_the_live_run_of_a_held_job_still_counts() -> None:
    running = held(started(a_job(numbered_id(1))))
    other = a_job(numbered_id(2))
    one = [an_agent(running.at.agent), CRITIC]
    assert decide(a_board(running, other, agents=one), NOON) == ()


def test_nothing_is_built_on_what_is_held_while_it_waits_to_land() -> None:
    job = a_job(state=State.LANDING, **MERGED)
    assert awaits_landing(job)
    assert not awaits_landing(held(job))


# --- steps ----------------------------------------------------------------------------------------------------------


def edited(job: Job, hold: str | None, *, by: Actor = HUMAN, now: str = LATER) -> Job:
    spec = replace(job.spec, hold=hold)
    move = edit(job, job.text, spec, now, actor=by, keys={"hold"}, priority=job.priority)
    assert move.event is Event.EDIT
    return move.job


@pytest.mark.parametrize("state", [state for state in State if not state.ended])
def test_a_person_holds_and_releases_a_job_in_any_open_state(state: State) -> None:
    at = MERGED if state in (State.MERGING, State.LANDING) else {}
    run = a_run(a_job().id, RunKind.REVIEW) if state is State.REVIEWING else ""
    job = a_job(state=state, reason="as it was", run=run, **at)
    one = edited(job, "why")
    assert one.at.held == Held("human:ada", LATER)
    assert one.is_held
    assert one.why == f"held by ada since {LATER}: why"
    other = edited(one, None)
    assert replace(other.at, seq=job.at.seq) == job.at
    assert other.why == "as it was"


def test_whoever_gives_another_reason_is_not_the_one_who_holds_it() -> None:
    one = edited(edited(a_job(), ""), "another", by=Actor("human:bob"), now=NOW)
    assert one.why == f"held by ada since {LATER}: another"


def test_a_job_that_waited_because_it_was_held_says_so_no_more_once_it_is_released() -> None:
    job = held(a_job(state=State.WAITING), "why")
    waits = replace(job, at=replace(job.at, reason=job.why))
    assert edited(waits, None).why == ""


def test_a_file_that_is_dropped_held_becomes_a_held_job() -> None:
    about: dict[str, Any] = {"id_": a_job().id, "now": NOW, "markdown": False, "source": "inbox", "actor": HUMAN}
    move = accept("", a_spec(hold=""), priority=Priority.P2, project="main", **about)
    assert move.job.at.held == HELD
    assert move.job.why == f"held by ada since {NOW}"


def test_an_ended_job_is_not_held() -> None:
    job = held(a_job(state=State.DONE, reason="on main"))
    assert not job.is_held
    assert job.why == "on main"


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"), [(True, ""), ("why  not\n", "why not"), (False, None), (None, None)], ids=str
)
def test_hold_is_true_or_the_reason(written: object, meant: str | None) -> None:
    assert JobSpec.from_file({"prompt": "x", "hold": written}).hold == meant


def found(job: Job, lane: Lane, spec: JobSpec) -> FoundJob:
    return FoundJob(lane, job.text + f"# {spec.hold}\n", job.markdown, spec, job.at.seq)


def test_hold_may_change_as_long_as_a_job_is_open() -> None:
    assert "hold" in EDITABLE_ALWAYS
    job = a_job(state=State.REVIEWING, attempt=1)
    (request,) = judge_job(found(job, job.lane, replace(job.spec, hold="why")), job, job)
    assert isinstance(request, Edit)
    assert request.keys == {"hold"}


def test_a_held_job_that_is_moved_out_of_waiting_is_put_back_unless_it_is_released_with_it() -> None:
    job = held(a_job(state=State.WAITING))
    moved = FoundJob(Lane.NORMAL, job.text, job.markdown, job.spec, job.at.seq)
    (request,) = judge_job(moved, job, job)
    assert isinstance(request, PutBack)
    assert "orc release" in request.reason
    both = judge_job(found(job, Lane.NORMAL, replace(job.spec, hold=None)), job, job)
    assert [type(each) for each in both] == [Retry, Edit]
