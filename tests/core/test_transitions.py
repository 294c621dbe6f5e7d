"""The table of legal steps, and what a step is told as."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import COMMIT, HUMAN, LATER, NOW, a_job, a_spec

from orchestrator.core.accept import accept, cancel, edit, hold, release, retry
from orchestrator.core.job import Expects, Lane, Priority, State
from orchestrator.core.transitions import TABLE, ActorKind, Event, IllegalStepError, check_step, make_move

OPEN = [state for state in State if not state.ended]
ALL_STEPS = [(event, was, now) for event in Event for was in (None, *State) for now in State]


def legal(event: Event, was: State | None, now: State, actor: ActorKind) -> bool:
    try:
        check_step(event, was, now, actor)
    except IllegalStepError:
        return False
    return True


def test_every_event_has_its_row() -> None:
    assert set(TABLE) == set(Event)


@pytest.mark.parametrize("state", OPEN)
def test_the_engine_or_its_runs_can_lead_out_of_every_open_state_but_a_card(state: State) -> None:
    out = [now for event, was, now in ALL_STEPS if was is state and legal(event, was, now, ActorKind.ENGINE)]
    assert any(now is not state for now in out)


@pytest.mark.parametrize("state", OPEN)
def test_a_person_can_cancel_from_every_open_state(state: State) -> None:
    assert legal(Event.CANCEL, state, State.CANCELLED, ActorKind.HUMAN)
    assert not legal(Event.CANCEL, state, State.CANCELLED, ActorKind.ENGINE)


def test_only_a_persons_retry_leads_out_of_an_end() -> None:
    out = {
        (event, actor)
        for event, was, now in ALL_STEPS
        for actor in ActorKind
        if was is not None and was.ended and legal(event, was, now, actor)
    }
    assert out == {(Event.RETRY, ActorKind.HUMAN)}


def test_a_job_begins_with_its_acceptance_and_nothing_else() -> None:
    begins = {(event, now) for event, was, now in ALL_STEPS if was is None and legal(event, was, now, ActorKind.ENGINE)}
    assert begins == {(Event.ACCEPT, State.READY), (Event.ACCEPT, State.DECIDE)}
    assert not any(legal(Event.ACCEPT, was, State.READY, ActorKind.HUMAN) for was in State)


@pytest.mark.parametrize(
    ("state", "ways"),
    [
        (
            State.MERGING,
            {
                (Event.VERDICT, State.REVIEWING),
                (Event.STAND, State.REVIEWING),
                (Event.ANSWER, State.DECIDE),
                (Event.SUPERSEDE, State.DECIDE),
                (Event.REBUILD, State.LANDING),
                # Of the commit that was approved and collided, and of no other.
                (Event.REBUILD, State.READY),
            },
        ),
        (
            State.LANDING,
            {
                (Event.CHECKED, State.MERGING),
                (Event.VERDICT, State.REVIEWING),
                (Event.STAND, State.REVIEWING),
                (Event.ANSWER, State.DECIDE),
                (Event.SUPERSEDE, State.DECIDE),
            },
        ),
        (
            State.DONE,
            {
                (Event.DONE, State.LANDING),
                (Event.RAN, State.RUNNING),  # Of a routine only, which no agent made.
                (Event.VERDICT, State.REVIEWING),
                (Event.STAND, State.REVIEWING),
                (Event.ANSWER, State.DECIDE),
            },
        ),
        (State.REVIEWING, {(Event.CHECKED, State.CHECKING), (Event.ANSWER, State.DECIDE)}),
    ],
)
def test_no_step_skips_the_checks_or_the_review(state: State, ways: set[tuple[Event, State]]) -> None:
    found = {
        (event, was)
        for event, was, now in ALL_STEPS
        for actor in ActorKind
        if now is state and was is not state and legal(event, was, now, actor)
    }
    assert found == ways


def test_an_edit_never_moves_a_job() -> None:
    moved = [(was, now) for was in State for now in State if legal(Event.EDIT, was, now, ActorKind.HUMAN)]
    assert moved == [(state, state) for state in OPEN]


def test_who_may_cause_what() -> None:
    humans = {event for event in Event if ActorKind.HUMAN in TABLE[event].actors}
    assert humans == {Event.ACCEPT, Event.EDIT, Event.ANSWER, Event.CANCEL, Event.RETRY}
    engines = {event for event in Event if ActorKind.ENGINE in TABLE[event].actors}
    assert engines == (set(Event) - humans) | {Event.ACCEPT}


@pytest.mark.parametrize("state", [State.MERGING, State.LANDING, State.DONE])
def test_nothing_is_merged_or_done_without_an_approved_commit(state: State) -> None:
    before = a_job(state=State.REVIEWING, tip=COMMIT)
    with pytest.raises(IllegalStepError, match="without an approved commit"):
        make_move(Event.VERDICT, before, before.moved(state, NOW), "x")
    assert make_move(Event.VERDICT, before, before.moved(state, NOW, approved=COMMIT), "x").job.state is state


def test_a_report_that_changes_nothing_may_be_done_without_a_commit() -> None:
    before = a_job(state=State.REVIEWING, spec=a_spec(expects=Expects.NO_CHANGE))
    assert make_move(Event.VERDICT, before, before.moved(State.DONE, NOW), "x").job.state is State.DONE
    with pytest.raises(IllegalStepError):
        make_move(Event.VERDICT, before, before.moved(State.MERGING, NOW), "x")


def test_a_step_is_told_in_one_line_of_printable_text_with_its_facts_as_trailers() -> None:
    before = a_job()
    facts = {"diff_stat": "2 files\nJob: forged", "score": 0.0, "tip": "", "exit": 0, "skills": (), "none": None}
    move = make_move(Event.HOLD, before, before.moved(State.WAITING, NOW), "a\n\nb\x1b[31m\u202e\udcff", facts=facts)
    assert move.subject == f"hold: {before.id} a b�[31m��"
    assert dict(move.trailers) == {
        "Job": before.id,
        "From": "ready",
        "To": "waiting",
        "Seq": "2",
        "Actor": "engine",
        "Diff-Stat": "2 files Job: forged",
        "Score": "0.0",
        "Exit": "0",
    }


def test_a_long_subject_is_cut() -> None:
    before = a_job()
    assert len(make_move(Event.HOLD, before, before.moved(State.WAITING, NOW), "x" * 999).subject) == 200


def test_a_drop_becomes_a_ready_job_in_the_lane_of_its_priority() -> None:
    move = accept(
        "prompt: x\n",
        a_spec(prompt="Put it right.\nSoon."),
        id_="a-00000001",
        now=NOW,
        markdown=False,
        source="queue/inbox/a.yaml",
        actor=HUMAN,
        priority=Priority.P1,
        project="web",
    )
    at = move.job.at
    assert (at.seq, at.origin, at.project, move.job.lane) == (1, "human", "web", Lane.URGENT)
    assert (move.was, move.subject) == (None, "accept: a-00000001 from queue/inbox/a.yaml: Put it right.")


def test_holding_again_does_not_begin_the_waiting_anew() -> None:
    held = hold(a_job(), "needs a-00000001", NOW, needs={"a": "a-00000001"}).job
    again = hold(held, "needs b-00000001", LATER, needs={"b": "b-00000001"}).job
    assert (held.at.reason, again.at.reason, again.at.since) == ("needs a-00000001", "needs b-00000001", NOW)
    assert again.at.needs == {"b": "b-00000001"}
    freed = release(again, LATER, needs=again.at.needs).job
    assert (freed.state, freed.at.since, freed.at.reason) == (State.READY, LATER, "")


@pytest.mark.parametrize("state", OPEN)
def test_an_edit_changes_the_text_the_spec_and_the_priority_only(state: State) -> None:
    before = a_job(state=state, approved=COMMIT, reason="so it is")
    after = edit(before, "new", a_spec(prompt="New."), LATER, actor=HUMAN, keys=["b", "a"], priority=Priority.P4)
    assert after.subject.endswith("changed a, b")
    assert (after.job.text, after.job.spec.prompt) == ("new", "New.")
    assert after.job.at == replace(before.at, seq=2, priority=4)


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.DECIDE, State.WAITING])
def test_another_go_grants_a_fresh_set_and_drops_the_old_approval(state: State) -> None:
    spent: dict[str, Any] = {
        "spent": 3,
        "starts": 12,
        "crashes": 2,
        "failed_starts": 4,
        "not_before": LATER,
        "tip": COMMIT,
    }
    before = a_job(state=state, approved=COMMIT, merged="d" * 40, target_was="e" * 40, **spent)
    at = retry(before, LATER, actor=HUMAN).job.at
    assert (at.state, at.allowance, at.crashes, at.failed_starts, at.not_before) == (State.READY, 1, 0, 0, "")
    assert (at.spent, at.starts, at.tip) == (3, 12, COMMIT)
    assert (at.approved, at.merged, at.target_was) == ("", "", "")


@pytest.mark.parametrize("state", [State.READY, State.RUNNING, State.LANDING, State.DONE])
def test_what_goes_on_or_is_done_is_not_retried(state: State) -> None:
    with pytest.raises(IllegalStepError):
        retry(a_job(state=state, approved=COMMIT), NOW, actor=HUMAN)


def test_a_cancelled_job_says_why() -> None:
    assert cancel(a_job(), NOW, actor=HUMAN).job.at.reason == "cancelled"
    move = cancel(a_job(state=State.MERGING, approved=COMMIT), NOW, actor=HUMAN, why="no longer wanted")
    assert (move.job.lane, move.job.at.reason) == (Lane.CANCELLED, "no longer wanted")
