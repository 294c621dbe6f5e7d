"""The table of what a person's change in `queue/` asks for, by value."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from builders import a_job, a_spec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.card import new_card
from orchestrator.core.job import DROP_LANES, EDITABLE_ALWAYS, READY_LANES, Job, JobSpec, Lane, Priority, State
from orchestrator.core.merge_text import merge_text
from orchestrator.core.records import CardKind
from orchestrator.core.requests import (
    MOVES,
    Act,
    Answer,
    Cancel,
    ChangePriority,
    Drop,
    Edit,
    FoundJob,
    Leave,
    PutBack,
    Quarantine,
    Request,
    Retry,
    judge_answer,
    judge_drop,
    judge_job,
)

STATES = {
    Lane.URGENT: (State.READY, 1),
    Lane.NORMAL: (State.READY, 2),
    Lane.BACKGROUND: (State.READY, 3),
    Lane.WAITING: (State.WAITING, 2),
    Lane.RUNNING: (State.RUNNING, 2),
    Lane.REVIEW: (State.REVIEWING, 2),
    Lane.DECIDE: (State.DECIDE, 2),
    Lane.DONE: (State.DONE, 2),
    Lane.FAILED: (State.FAILED, 2),
    Lane.CANCELLED: (State.CANCELLED, 2),
}
SHOWN_LANES = tuple(STATES)
OPEN = [lane for lane, (state, _) in STATES.items() if not state.ended]


def in_lane(lane: Lane, *, seq: int = 3, spec: JobSpec | None = None, text: str = "", **at: Any) -> Job:
    state, priority = STATES[lane]
    job = a_job(state=state, spec=spec, seq=seq, priority=priority, **at)
    return replace(job, text=text or job.text)


def file_of(job: Job, lane: Lane | None = None, *, intact: bool = True, copy: bool = False, **spec: object) -> FoundJob:
    """The job's file as it was shown, perhaps in another folder, perhaps with other keys."""
    text = job.text + "".join(f"{key}: {value}\n" for key, value in spec.items())
    wanted = replace(job.spec, **spec)  # type: ignore[arg-type]
    return FoundJob(lane or job.lane, text, job.markdown, wanted, job.at.seq, intact, copy)


def kinds(requests: tuple[Request, ...]) -> list[type]:
    return [type(each) for each in requests]


# --- drops ---


@pytest.mark.parametrize("lane", DROP_LANES)
def test_a_drop_gets_the_priority_of_its_folder_unless_its_own_fits_there(lane: Lane) -> None:
    for own in (None, *Priority):
        asked = judge_drop(lane, a_spec(priority=own))
        assert isinstance(asked, Drop)
        if lane is Lane.INBOX:
            assert asked.priority is (own if own is not None else Priority.P2)
        else:
            assert asked.priority.lane is lane
            assert own is None or own.lane is not lane or asked.priority is own


@pytest.mark.parametrize("lane", [lane for lane in Lane if lane not in DROP_LANES])
def test_a_drop_into_a_folder_of_the_engine_is_refused(lane: Lane) -> None:
    assert isinstance(judge_drop(lane, a_spec()), Quarantine)


# --- moves ---


@pytest.mark.parametrize(("old", "new"), list(product(SHOWN_LANES, (Lane.INBOX, *SHOWN_LANES))))
def test_every_move_is_in_the_table_or_refused_in_words(old: Lane, new: Lane) -> None:
    job = in_lane(old)
    requests = judge_job(file_of(job, new), job, job)
    if old is new:
        assert requests == ()
        return
    match MOVES.get((old, new)):
        case Act.CANCEL:
            assert requests == (Cancel(),)
        case Act.PRIORITY:
            assert kinds(requests) == [ChangePriority]
        case Act.RETRY:
            assert requests[0] == Retry()
        case None:
            assert kinds(requests) == [PutBack]
            assert isinstance(requests[0], PutBack)
            assert len(requests[0].reason.split()) > 4


def test_nobody_moves_a_job_into_done() -> None:
    for old in SHOWN_LANES:
        assert (old, Lane.DONE) not in MOVES


@pytest.mark.parametrize(
    ("lane", "priority"), [(Lane.URGENT, Priority.P1), (Lane.NORMAL, Priority.P2), (Lane.BACKGROUND, Priority.P3)]
)
def test_a_move_between_the_ready_lanes_changes_the_priority(lane: Lane, priority: Priority) -> None:
    for old in READY_LANES:
        if old is not lane:
            job = in_lane(old)
            assert judge_job(file_of(job, lane), job, job) == (ChangePriority(priority),)


def test_a_retry_into_another_lane_also_changes_the_priority() -> None:
    job = in_lane(Lane.FAILED)
    assert judge_job(file_of(job, Lane.URGENT), job, job) == (Retry(), ChangePriority(Priority.P1))
    assert judge_job(file_of(job, Lane.NORMAL), job, job) == (Retry(),)
    assert judge_job(file_of(job, Lane.INBOX), job, job) == (Retry(),)


def test_a_cancellation_counts_although_the_job_has_started_meanwhile() -> None:
    shown, now = in_lane(Lane.NORMAL, seq=3), in_lane(Lane.RUNNING, seq=4)
    assert judge_job(file_of(shown, Lane.CANCELLED), now, shown) == (Cancel(),)


def test_a_cancellation_comes_too_late_for_a_job_that_is_done() -> None:
    shown, now = in_lane(Lane.REVIEW, seq=3), in_lane(Lane.DONE, seq=4)
    assert kinds(judge_job(file_of(shown, Lane.CANCELLED), now, shown)) == [PutBack]


def test_a_move_whose_step_is_committed_already_asks_for_nothing() -> None:
    shown = in_lane(Lane.NORMAL, seq=3)
    for lane in (Lane.URGENT, Lane.CANCELLED):
        assert judge_job(file_of(shown, lane), in_lane(lane, seq=4), shown) == ()


def test_a_priority_that_somebody_else_changed_meanwhile_is_not_overruled() -> None:
    shown, now = in_lane(Lane.NORMAL, seq=3), in_lane(Lane.BACKGROUND, seq=4)
    assert kinds(judge_job(file_of(shown, Lane.URGENT), now, shown)) == [PutBack]


def test_a_retry_of_a_job_that_runs_again_already_is_put_back() -> None:
    shown, now = in_lane(Lane.FAILED, seq=3), in_lane(Lane.RUNNING, seq=5)
    assert kinds(judge_job(file_of(shown, Lane.NORMAL), now, shown)) == [PutBack]


# --- edits ---


@pytest.mark.parametrize("lane", OPEN)
def test_some_keys_may_change_while_a_job_is_open(lane: Lane) -> None:
    job = in_lane(lane, attempt=2)
    (request,) = judge_job(file_of(job, title="Other words"), job, job)
    assert isinstance(request, Edit)
    assert request.keys == {"title"}
    assert request.keys <= EDITABLE_ALWAYS
    assert request.spec.title == "Other words"


@pytest.mark.parametrize("lane", OPEN)
def test_the_prompt_may_change_only_before_the_first_attempt(lane: Lane) -> None:
    for attempt in (0, 1):
        job = in_lane(lane, attempt=attempt)
        requests = judge_job(file_of(job, prompt="Something else."), job, job)
        allowed = STATES[lane][0] in (State.READY, State.WAITING) and attempt == 0
        assert kinds(requests) == [Edit if allowed else Quarantine]


@pytest.mark.parametrize("lane", [Lane.DONE, Lane.FAILED, Lane.CANCELLED])
def test_a_job_that_has_ended_is_not_edited(lane: Lane) -> None:
    job = in_lane(lane)
    assert kinds(judge_job(file_of(job, title="New"), job, job)) == [Quarantine]


@pytest.mark.parametrize("lane", OPEN)
def test_comments_and_white_space_are_kept(lane: Lane) -> None:
    job = in_lane(lane, attempt=1)
    found = replace(file_of(job), text=f"# a remark\n\n{job.text}")
    (request,) = judge_job(found, job, job)
    assert isinstance(request, Edit)
    assert request.keys == frozenset()
    assert request.text == f"# a remark\n\n{job.text}"


def test_an_edited_priority_is_taken_and_moves_the_job() -> None:
    job = in_lane(Lane.NORMAL)
    (request,) = judge_job(file_of(job, priority=Priority.P4), job, job)
    assert isinstance(request, Edit)
    assert request.priority is Priority.P4


def test_a_move_and_an_edit_at_once_are_both() -> None:
    job = in_lane(Lane.NORMAL)
    (request,) = judge_job(file_of(job, Lane.URGENT, title="Now"), job, job)
    assert isinstance(request, Edit)
    assert (request.priority, request.spec.title) == (Priority.P1, "Now")
    assert kinds(judge_job(file_of(job, Lane.CANCELLED, title="Never"), job, job)) == [Edit, Cancel]
    failed = in_lane(Lane.FAILED, attempt=1)
    assert kinds(judge_job(file_of(failed, Lane.NORMAL, title="Again"), failed, failed)) == [Retry, Edit]


def test_an_illegal_move_does_not_undo_a_legal_edit() -> None:
    job = in_lane(Lane.RUNNING)
    assert kinds(judge_job(file_of(job, Lane.DONE, title="Done?"), job, job)) == [Edit, PutBack]


def test_a_stale_edit_is_applied_where_its_keys_have_not_changed() -> None:
    text = "title: a\nmerge: ask\nprompt: |\n  do\n"
    shown = in_lane(Lane.NORMAL, seq=3, text=text, spec=a_spec(prompt="do", title="a"))
    now = in_lane(Lane.RUNNING, seq=6, text=text, spec=shown.spec)
    (request,) = judge_job(file_of(shown, title="b"), now, shown)
    assert isinstance(request, Edit)
    assert request.spec.title == "b"
    assert not request.merged


def test_a_stale_edit_is_woven_together_with_another_edit() -> None:
    text = "title: a\n\n# between\n\nkind: code\nprompt: |\n  do\n"
    shown = in_lane(Lane.NORMAL, seq=3, text=text, spec=a_spec(prompt="do", title="a"))
    now = in_lane(Lane.NORMAL, seq=4, text=text.replace("title: a", "title: b"), spec=replace(shown.spec, title="b"))
    wanted = replace(shown.spec, agent="critic")
    found = replace(file_of(shown), text=text.replace("kind: code", "agent: critic\nkind: code"), spec=wanted)
    (request,) = judge_job(found, now, shown)
    assert isinstance(request, Edit)
    assert request.merged
    assert (request.spec.title, request.spec.agent) == ("b", "critic")
    assert request.text == text.replace("title: a", "title: b").replace("kind: code", "agent: critic\nkind: code")


def test_two_edits_of_one_key_collide() -> None:
    shown = in_lane(Lane.NORMAL, seq=3, spec=a_spec(title="a"))
    now = in_lane(Lane.NORMAL, seq=4, spec=a_spec(title="b"), text="title: b\n")
    (request,) = judge_job(file_of(shown, title="c"), now, shown)
    assert isinstance(request, Quarantine)
    assert "`title`" in request.reason


def test_an_edit_that_is_committed_already_asks_for_nothing() -> None:
    shown = in_lane(Lane.NORMAL, seq=3)
    found = file_of(shown, title="b")
    now = in_lane(Lane.NORMAL, seq=4, spec=found.spec, text=found.text)
    assert judge_job(found, now, shown) == ()


# --- copies and the engine's block ---


def test_a_copy_is_quarantined_whatever_it_says() -> None:
    job = in_lane(Lane.NORMAL)
    for lane in (Lane.URGENT, Lane.CANCELLED, Lane.INBOX):
        assert kinds(judge_job(file_of(job, lane, copy=True), job, job)) == [Quarantine]


def test_an_old_copy_in_its_old_place_is_put_right_with_a_note() -> None:
    shown, now = in_lane(Lane.NORMAL, seq=3), in_lane(Lane.RUNNING, seq=4)
    assert kinds(judge_job(file_of(shown), now, shown)) == [PutBack]


def test_a_version_that_the_ledger_never_had_is_quarantined() -> None:
    job = in_lane(Lane.NORMAL)
    assert kinds(judge_job(replace(file_of(job), seq=99), job, None)) == [Quarantine]


def test_changes_below_the_mark_are_put_back_and_those_above_are_kept() -> None:
    job = in_lane(Lane.NORMAL)
    assert kinds(judge_job(file_of(job, intact=False), job, job)) == [PutBack]
    assert kinds(judge_job(file_of(job, intact=False, title="b"), job, job)) == [Edit, PutBack]


# --- cards ---


def test_a_card_is_answered_by_filling_it_in() -> None:
    card = new_card(in_lane(Lane.DECIDE), CardKind.MERGE, "Merge it?", "2026-11-20T12:00:00Z")
    assert judge_answer(Lane.DECIDE, "approve", "", card, intact=True, touched=True) == (Answer(card, "approve", ""),)
    assert judge_answer(Lane.DECIDE, "", "", card, intact=True, touched=False) == ()
    assert kinds(judge_answer(Lane.DECIDE, "", "half", card, intact=True, touched=True)) == [Leave]
    assert kinds(judge_answer(Lane.DECIDE, "", "", card, intact=False, touched=False)) == [PutBack]
    assert kinds(judge_answer(Lane.DONE, "", "", card, intact=True, touched=False)) == [PutBack]
    assert kinds(judge_answer(Lane.DONE, "approve", "", card, intact=True, touched=True)) == [Quarantine]
    assert kinds(judge_answer(Lane.DONE, "", "", card, intact=True, touched=True)) == [Quarantine], "a comment"
    assert kinds(judge_answer(Lane.DECIDE, "", "", card, intact=False, touched=True)) == [Quarantine]


def test_an_answer_that_was_taken_in_already_asks_for_nothing_and_another_one_does() -> None:
    card = new_card(in_lane(Lane.DECIDE), CardKind.MERGE, "Merge it?", "2026-11-20T12:00:00Z")
    closed = replace(card, answer="revise", message="Shorter, please.")
    same = judge_answer(Lane.DECIDE, "revise", "Shorter, please.", closed, intact=True, touched=True)
    assert same == ()
    for key, message in (("approve", ""), ("revise", "Longer, please.")):
        asked = judge_answer(Lane.DECIDE, key, message, closed, intact=True, touched=True)
        assert asked == (Answer(closed, key, message),)


# --- weaving ---


TEXT = st.lists(st.sampled_from(["a\n", "b\n", "c\n"]), max_size=6).map("".join)


@given(TEXT, TEXT)
def test_weaving_with_no_other_change_gives_the_one_edit(base: str, edited: str) -> None:
    assert merge_text(base, base, edited) == edited
    assert merge_text(base, edited, base) == edited
    assert merge_text(base, edited, edited) == edited


@given(TEXT, TEXT, TEXT)
def test_weaving_does_not_depend_on_the_order(base: str, ours: str, theirs: str) -> None:
    assert merge_text(base, ours, theirs) == merge_text(base, theirs, ours)


def test_weaving_refuses_two_changes_of_one_line() -> None:
    assert merge_text("a\nb\n", "x\nb\n", "y\nb\n") is None
    assert merge_text("a\nb\nc\n", "x\nb\nc\n", "a\nb\nz\n") == "x\nb\nz\n"
