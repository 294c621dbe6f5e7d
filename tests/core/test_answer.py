"""A person's answers: every option of every card leads on, and a card that no longer stands is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import BASE, COMMIT, HUMAN, LATER, LIMITS, NOW, a_board, a_job, a_spec, the_terms

from orchestrator.core.answer import answer, points
from orchestrator.core.attempt import run_lost
from orchestrator.core.card import OPTIONS
from orchestrator.core.config import Terms
from orchestrator.core.job import Expects, Fix, Job, MergePolicy, State
from orchestrator.core.merge import ask, landing_blocked
from orchestrator.core.records import Card, CardKind
from orchestrator.core.schedule import decide
from orchestrator.core.times import parse
from orchestrator.core.transitions import ENGINE, IllegalStepError
from orchestrator.errors import RefusedError

OTHER = "f" * 40
JOB_KINDS = [kind for kind in CardKind if kind is not CardKind.BASE_RED]
ASKED_FROM = {
    CardKind.MERGE: State.REVIEWING,
    CardKind.LANDING: State.LANDING,
    CardKind.MOVING_TARGET: State.LANDING,
}
EXPECTED = {
    "approve": {State.MERGING},
    "revise": {State.READY},
    "review": {State.REVIEWING},
    "drop": {State.CANCELLED, State.FAILED},
}
COUNTED: dict[str, Any] = {"spent": 3, "starts": 12, "review": 6, "rounds": 3, "evidence": 3}
TIRED: dict[str, Any] = {
    "crashes": 2,
    "failed_starts": 4,
    "inconclusive": 2,
    "excluded": ("critic",),
    "not_before": LATER,
}


def asked(kind: CardKind, *, target: str = "", spec: Any = None, **at: Any) -> tuple[Job, Card]:
    state = at.pop("state", ASKED_FROM.get(kind, State.REVIEWING))
    approved = COMMIT if state in (State.LANDING, State.MERGING) or kind is CardKind.MERGE else ""
    known = {"tip": COMMIT, "approved": approved, "merged": OTHER if approved else "", "agent": "engineer"}
    move = ask(a_job(state=state, spec=spec, **{**known, **at}), kind, "What now?", NOW, target=target)
    return move.job, move.records[f"card-{move.job.at.card}"]


def given(job: Job, card: Card, key: str, message: str = "", *, terms: Terms | None = None) -> Job:
    move = answer(job, card, key, message, terms or the_terms(job.spec), LATER, actor=HUMAN)
    closed = move.records[f"card-{card.number}"]
    assert (closed.answer, closed.by, closed.answered, closed.open) == (key, "human:ada", LATER, False)
    return move.job


@pytest.mark.parametrize("kind", CardKind)
def test_every_kind_of_card_offers_two_to_four_different_answers(kind: CardKind) -> None:
    keys = [option.key for option in OPTIONS[kind]]
    assert 2 <= len(keys) == len(set(keys)) <= 4
    assert all(option.label and option.consequence for option in OPTIONS[kind])


@pytest.mark.parametrize(("kind", "key"), [(kind, option.key) for kind in JOB_KINDS for option in OPTIONS[kind]])
def test_every_answer_leads_on(kind: CardKind, key: str) -> None:
    job, card = asked(kind, **COUNTED, **TIRED)
    after = given(job, card, key, "- make it shorter")
    retried = {
        CardKind.LANDING: State.LANDING,
        CardKind.MOVING_TARGET: State.MERGING,
        CardKind.CEILING: State.REVIEWING,
        CardKind.CRASHES: State.REVIEWING,
        CardKind.CANNOT_START: State.REVIEWING,
    }
    assert after.state in EXPECTED.get(key, {retried.get(kind, State.READY)})
    assert {name: getattr(after.at, name) for name in COUNTED} == COUNTED
    if not after.state.ended:
        assert decide(a_board(after), parse(LATER)), "something is due at once"


@pytest.mark.parametrize(("kind", "key"), [(kind, option.key) for kind in JOB_KINDS for option in OPTIONS[kind]])
def test_no_answer_leaves_an_approval_where_work_goes_on(kind: CardKind, key: str) -> None:
    job, card = asked(kind, approved=COMMIT)
    at = given(job, card, key, "shorter").at
    if at.state in (State.MERGING, State.LANDING):
        assert at.approved == COMMIT
    else:
        assert at.state.ended or (at.approved, at.merged) == ("", "")


@pytest.mark.parametrize(
    ("kind", "kept"), [(CardKind.CEILING, COMMIT), (CardKind.CANNOT_START, COMMIT), (CardKind.CRASHES, "")]
)
def test_an_approval_that_waits_for_the_target_is_lost_by_no_run_that_never_began(kind: CardKind, kept: str) -> None:
    job, card = asked(kind, state=State.READY, collided=COMMIT)
    assert given(job, card, "retry").at.collided == kept


@pytest.mark.parametrize("key", ["retry", "revise", "review"])
def test_every_other_go_comes_with_a_fresh_set_and_a_clean_sheet(key: str) -> None:
    kind = CardKind.UNCLEAR if key == "review" else CardKind.ROUNDS
    job, card = asked(kind, **TIRED, run="old")
    at = given(job, card, key, "shorter").at
    assert (at.allowance, at.crashes, at.failed_starts, at.inconclusive, at.excluded) == (1, 0, 0, 0, ())
    assert (at.not_before, at.run) == ("", "")


@pytest.mark.parametrize("kind", [CardKind.CEILING, CardKind.CRASHES, CardKind.CANNOT_START])
@pytest.mark.parametrize(
    ("state", "resumed"),
    [
        (State.READY, State.READY),
        (State.RUNNING, State.READY),
        (State.CHECKING, State.CHECKING),
        (State.REVIEWING, State.REVIEWING),
        (State.MERGING, State.MERGING),
    ],
)
def test_trying_again_takes_up_the_step_that_was_interrupted(kind: CardKind, state: State, resumed: State) -> None:
    job, card = asked(kind, state=state)
    after = given(job, card, "retry")
    assert after.state is resumed
    assert after.at.approved == (COMMIT if state is State.MERGING else "")
    assert after.at.merged == ""


def test_crashes_of_the_checks_lose_no_attempt() -> None:
    move = run_lost(a_job(state=State.CHECKING, run="x", crashes=2, tip=COMMIT, attempt=1), LIMITS, NOW)
    after = given(move.job, move.records["card-1"], "retry")
    assert (after.state, after.at.attempt, after.at.tip, after.at.crashes) == (State.CHECKING, 1, COMMIT, 0)


def test_approving_takes_exactly_the_commit_of_the_card_and_its_merge_begins_anew() -> None:
    job, card = asked(CardKind.UNCLEAR, merged=OTHER, rebuilds=3, fixes=(Fix("F1", "x"),))
    at = given(job, card, "approve").at
    assert (at.approved, at.merged, at.rebuilds, at.fixes) == (COMMIT, "", 0, ())


def test_approving_work_for_a_pull_request_lands_the_branch() -> None:
    job, card = asked(CardKind.UNCLEAR, spec=a_spec(merge=MergePolicy.BRANCH), tests="passed")
    assert given(job, card, "approve").state is State.LANDING


def test_work_that_no_check_has_seen_is_checked_before_its_branch_is_left() -> None:
    job, card = asked(CardKind.TOO_LARGE, spec=a_spec(merge=MergePolicy.BRANCH))
    assert given(job, card, "approve").state is State.MERGING


def test_approving_a_report_ends_the_job() -> None:
    job, card = asked(CardKind.UNCLEAR, spec=a_spec(expects=Expects.NO_CHANGE))
    after = given(job, card, "approve")
    assert (after.state, after.at.approved) == (State.DONE, COMMIT)


def test_a_persons_points_become_numbered_fixes_for_the_same_author() -> None:
    job, card = asked(CardKind.MERGE, target="main")
    at = given(job, card, "revise", "- shorter\n- test it").at
    assert [(fix.id, fix.problem, fix.source) for fix in at.fixes] == [
        ("F1", "shorter", "human"),
        ("F2", "test it", "human"),
    ]
    assert (at.agent, at.approved) == ("engineer", "")


def refuse(job: Job, card: Card, key: str = "approve", message: str = "") -> str:
    with pytest.raises(RefusedError) as refused:
        answer(job, card, key, message, the_terms(job.spec), LATER, actor=HUMAN)
    return refused.value.message


def test_a_card_is_answered_once() -> None:
    job, card = asked(CardKind.UNCLEAR)
    move = answer(job, card, "revise", "shorter", the_terms(), LATER, actor=HUMAN)
    closed = move.records["card-1"]
    assert "answered already: revise, by human:ada" in refuse(move.job, closed)
    assert "answered already" in refuse(job, closed)
    assert "is ready now" in refuse(move.job, card)


def test_a_superseded_card_is_refused() -> None:
    job, card = asked(CardKind.UNCLEAR)
    assert "the target moved" in refuse(job, replace(card, superseded="the target moved"))


def test_an_older_card_is_refused() -> None:
    job, card = asked(CardKind.UNCLEAR)
    newer = replace(job, at=replace(job.at, card=2))
    assert "may no longer be answered" in refuse(newer, card, "drop")


@pytest.mark.parametrize("facts", [{"commit": OTHER}, {}, {"commit": ""}])
def test_taking_another_commit_than_the_jobs_is_refused(facts: dict[str, str]) -> None:
    job, card = asked(CardKind.UNCLEAR)
    assert "no longer the work" in refuse(job, replace(card, facts=facts))


def test_a_card_about_the_tip_does_not_take_an_older_approved_commit() -> None:
    job, card = asked(CardKind.MERGE)
    moved = replace(job, at=replace(job.at, approved=OTHER))
    assert "no longer the work" in refuse(moved, card)


def test_merging_into_another_target_than_the_cards_is_refused() -> None:
    job, card = asked(CardKind.MERGE, target="release")
    assert "the target is main now" in refuse(job, card)
    assert given(job, card, "revise", "shorter").state is State.READY


def test_an_answer_that_is_not_offered_is_refused_and_the_offers_are_named() -> None:
    job, card = asked(CardKind.ATTEMPTS)
    assert "it offers retry, drop" in refuse(job, card, "approve")
    assert "it offers retry, drop" in refuse(job, card, "keep")


@pytest.mark.parametrize("message", ["", "  \n \n"])
def test_changes_without_words_are_refused(message: str) -> None:
    job, card = asked(CardKind.MERGE)
    assert "needs words" in refuse(job, card, "revise", message)


@pytest.mark.parametrize(("key", "state"), [("recheck", State.READY), ("keep", State.WAITING)])
def test_a_question_about_the_base_never_ends_a_job(key: str, state: State) -> None:
    job, card = asked(CardKind.BASE_RED, state=State.WAITING, asked_base=BASE)
    after = given(job, card, key)
    assert after.state is state
    assert (after.at.recheck, after.at.asked_base) == ((LATER, "") if key == "recheck" else ("", BASE))


def test_the_engine_answers_no_card() -> None:
    job, card = asked(CardKind.MERGE)
    with pytest.raises(IllegalStepError):
        answer(job, card, "approve", "", the_terms(), LATER, actor=ENGINE)


def test_a_landing_is_tried_again_with_the_same_merged_commit() -> None:
    job = a_job(state=State.LANDING, approved=COMMIT, tip=COMMIT, merged=OTHER, target_was=BASE)
    move = landing_blocked(job, "a.py is changed", "git stash", NOW, target="main")
    at = given(move.job, move.records["card-1"], "retry").at
    assert (at.state, at.merged, at.target_was) == (State.LANDING, OTHER, BASE)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("one", ["one"]),
        ("one\nstill one", ["one\nstill one"]),
        ("one\n\ntwo", ["one", "two"]),
        ("- one\n- two", ["one", "two"]),
        ("* one\r\n* two\r\n", ["one", "two"]),
        ("- one", ["one"]),
        ("first:\n- one\n- two", ["first:\n- one\n- two"]),
        ("intro\n\n- one\n- two\n\nend", ["intro", "one", "two", "end"]),
        (" \n\n ", []),
    ],
)
def test_the_points_of_a_message(message: str, expected: list[str]) -> None:
    assert points(message) == expected
