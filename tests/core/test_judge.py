"""What follows from a review: the merge, the author, another reviewer, or the human."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import COMMIT, HUMAN, ID, NOW, a_job, a_review, a_run, a_spec, judged, the_terms

from orchestrator.core.answer import answer
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Expects, Independence, Job, JobSpec, MergePolicy, ReviewWishes, State
from orchestrator.core.judge import merge_policy, review_ended, review_started
from orchestrator.core.records import CardKind
from orchestrator.core.review import reviewing
from orchestrator.core.review_record import Finding, Item, ReviewRecord
from orchestrator.core.step import HELD
from orchestrator.core.transitions import Move

BLOCKING = Finding("blocking", "It loops.", "a.py", 3, "Stop.")
STAT = "1 file changed"


def reviewing_job(*, spec: JobSpec | None = None, **at: Any) -> Job:
    known = {"tip": COMMIT, "attempt": 1, "evidence": 1, "review": 1, "tests": "passed", "agent": "engineer"}
    return a_job(state=State.REVIEWING, spec=spec, **{**known, "run": a_run(ID, RunKind.REVIEW), **at})


def ended(job: Job, verdict: str, *, review: ReviewRecord | None = None, **found: Any) -> Move:
    terms = the_terms(job.spec, allowance=job.at.allowance)
    return review_ended(job, review or a_review(job), judged(verdict, **found), terms, NOW, stat=STAT)


def with_merge(policy: MergePolicy, **at: Any) -> Job:
    return reviewing_job(spec=a_spec(merge=policy), **at)


def card_kind(move: Move) -> CardKind:
    assert move.job.state is State.DECIDE
    kind = move.records[f"card-{move.job.at.card}"].kind
    assert isinstance(kind, CardKind)
    return kind


def test_a_review_is_a_start_and_says_who_judges() -> None:
    job = a_job(state=State.REVIEWING, tip=COMMIT, starts=2, review=1)
    at = review_started(job, a_review(job), NOW).job.at
    assert (at.state, at.starts, at.review, at.run) == (State.REVIEWING, 3, 2, f"{job.id}.review-2")
    assert at.reason == reviewing("critic")


def test_what_is_approved_is_the_commit_that_was_reviewed() -> None:
    move = ended(with_merge(MergePolicy.AUTO, merged="d" * 40, target_was="e" * 40, rebuilds=3), "APPROVED")
    at = move.job.at
    assert (at.state, at.approved, at.run, at.weak) == (State.MERGING, COMMIT, "", False)
    assert (at.merged, at.target_was, at.rebuilds) == ("", "", 0)
    assert dict(move.trailers)["Reviewed-Sha"] == COMMIT
    assert dict(move.trailers)["Verdict"] == "APPROVED"


def test_an_approval_of_another_commit_is_none() -> None:
    job = with_merge(MergePolicy.AUTO)
    move = ended(job, "APPROVED", review=a_review(job, commit="f" * 40))
    assert (move.job.state, move.job.at.approved, move.job.at.inconclusive) == (State.REVIEWING, "", 1)
    assert dict(move.trailers)["Verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("policy", "at", "expected"),
    [
        (MergePolicy.ASK, {}, MergePolicy.ASK),
        (MergePolicy.BRANCH, {"tests": "none", "protected": ("orc.yaml",)}, MergePolicy.BRANCH),
        (MergePolicy.AUTO, {}, MergePolicy.AUTO),
        (MergePolicy.AUTO, {"tests": "flaky"}, MergePolicy.AUTO),
        (MergePolicy.AUTO, {"tests": "none"}, MergePolicy.ASK),
        (MergePolicy.AUTO, {"tests": ""}, MergePolicy.ASK),
        (MergePolicy.AUTO, {"tests": "failed"}, MergePolicy.ASK),
        (MergePolicy.AUTO, {"protected": ("orc.yaml",)}, MergePolicy.ASK),
        (MergePolicy.AUTO, {"tampering": ("a_test.go: 1 test removed",)}, MergePolicy.ASK),
        (MergePolicy.BRANCH, {"tampering": ("a_test.go: 1 test removed",)}, MergePolicy.ASK),
    ],
)
def test_what_an_approval_is_enough_for(policy: MergePolicy, at: dict[str, Any], expected: MergePolicy) -> None:
    job = with_merge(policy, **at)
    found, stops = merge_policy(job, the_terms(job.spec), weak=False)
    assert found is expected
    assert bool(stops) == (policy is not MergePolicy.ASK and expected is MergePolicy.ASK)


def test_all_that_stops_an_approval_is_told_on_the_card_and_by_the_commit() -> None:
    job = with_merge(MergePolicy.AUTO, tests="none", protected=("orc.yaml",), tampering=("ci.yml: CI: changed",))
    move = ended(job, "APPROVED", review=a_review(job, independence="model"))
    assert dict(move.trailers)["Stopped-By"] == "untested protected tampered weak"
    told = move.records["card-1"].context.splitlines()
    assert [line.split()[0] for line in told[-4:]] == ["No", "Protected", "Something", "The"]
    assert "Stopped-By" not in dict(ended(with_merge(MergePolicy.ASK), "APPROVED").trailers)


def test_a_branch_with_what_nobody_allowed_waits_for_a_person_and_is_left_as_a_branch_then() -> None:
    job = with_merge(MergePolicy.BRANCH, tampering=("ci.yml: CI: changed",), tests="passed")
    move = ended(job, "APPROVED")
    card = move.records["card-1"]
    assert (move.job.state, dict(move.trailers)["Stopped-By"]) == (State.DECIDE, "tampered")
    assert card.question == f"Leave the branch of {job.id} for a pull request? critic approved it."
    taken = answer(move.job, card, "approve", "", the_terms(job.spec), NOW, actor=HUMAN)
    assert taken.job.state is State.LANDING


@pytest.mark.parametrize("independence", ["model", ""])
def test_a_weak_approval_never_merges_by_itself(independence: str) -> None:
    job = with_merge(MergePolicy.AUTO)
    move = ended(job, "APPROVED", review=a_review(job, independence=independence))
    assert card_kind(move) is CardKind.MERGE
    assert move.job.at.weak
    assert "weak" in move.records["card-1"].context


def test_asking_before_the_merge_names_commit_and_target() -> None:
    move = ended(with_merge(MergePolicy.ASK), "APPROVED")
    assert card_kind(move) is CardKind.MERGE
    assert move.records["card-1"].facts == {"commit": COMMIT, "target": "main"}
    assert STAT in move.records["card-1"].context


TOLD = ("a_test.go:3: 1 test removed: TestA", "ci.yml: CI: changed")


@pytest.mark.parametrize(
    ("policy", "verdict", "at"),
    [
        (MergePolicy.ASK, "APPROVED", {}),
        (MergePolicy.AUTO, "APPROVED", {}),
        (MergePolicy.AUTO, "REJECT", {}),
        (MergePolicy.AUTO, "REVISE", {"rounds": 9}),
        (MergePolicy.AUTO, "INCONCLUSIVE", {"inconclusive": 1}),
    ],
)
def test_every_card_on_which_work_can_be_taken_tells_first_what_the_job_does_not_allow(
    policy: MergePolicy, verdict: str, at: dict[str, Any]
) -> None:
    move = ended(with_merge(policy, tampering=TOLD, **at), verdict, findings=(BLOCKING,) if verdict == "REVISE" else ())
    card = move.records[f"card-{move.job.at.card}"]
    assert card.context.splitlines()[:3] == [HELD, *TOLD]


def test_a_branch_for_a_pull_request_needs_no_merged_tree() -> None:
    assert ended(with_merge(MergePolicy.BRANCH), "APPROVED").job.state is State.LANDING


def test_an_approved_report_is_done() -> None:
    job = reviewing_job(spec=a_spec(expects=Expects.NO_CHANGE, merge=MergePolicy.ASK))
    at = ended(job, "APPROVED").job.at
    assert (at.state, at.approved) == (State.DONE, COMMIT)


@pytest.mark.parametrize("policy", list(MergePolicy))
def test_a_report_that_a_relative_of_its_author_approved_is_not_done_without_a_person(policy: MergePolicy) -> None:
    job = reviewing_job(spec=a_spec(expects=Expects.NO_CHANGE, merge=policy))
    move = ended(job, "APPROVED", review=a_review(job, independence="model"))
    assert card_kind(move) is CardKind.HUMAN_REVIEW
    assert move.job.at.weak


def test_changes_go_back_to_the_author_numbered_and_spend_no_attempt() -> None:
    at = ended(reviewing_job(spent=2, tip=COMMIT), "REVISE", findings=(BLOCKING,)).job.at
    assert (at.state, at.rounds, at.spent, at.agent, at.approved) == (State.READY, 1, 2, "engineer", "")
    assert [(fix.id, fix.problem, fix.file, fix.line) for fix in at.fixes] == [("F1", "It loops.", "a.py", 3)]


def test_failed_items_are_fixes_when_nothing_else_was_found() -> None:
    at = ended(reviewing_job(), "REVISE", items=(Item("correct", False), Item("safe", True, "seen"))).job.at
    assert [fix.problem for fix in at.fixes] == ["correct: not shown"]


def test_the_last_round_makes_a_card_and_keeps_the_fixes() -> None:
    move = ended(reviewing_job(rounds=2), "REVISE", findings=(BLOCKING,))
    assert card_kind(move) is CardKind.ROUNDS
    assert move.job.at.fixes[0].problem == "It loops."
    assert ended(reviewing_job(rounds=2, allowance=1), "REVISE", findings=(BLOCKING,)).job.state is State.READY


def test_a_rejection_asks_the_human() -> None:
    move = ended(reviewing_job(), "REJECT", summary="The wrong way.")
    assert card_kind(move) is CardKind.REJECTED
    assert move.records["card-1"].context == "The wrong way."
    assert move.records["card-1"].facts == {"commit": COMMIT}


def test_an_unclear_answer_excludes_the_reviewer_and_charges_nobody() -> None:
    job = reviewing_job(spent=1, rounds=1)
    at = ended(job, "INCONCLUSIVE", why="is empty").job.at
    assert (at.state, at.excluded, at.inconclusive, at.run) == (State.REVIEWING, ("critic",), 1, "")
    assert (at.spent, at.rounds, at.approved) == (1, 1, "")


def test_a_second_unclear_answer_makes_a_card() -> None:
    job = reviewing_job(excluded=("critic",), inconclusive=1)
    move = ended(job, "INCONCLUSIVE", review=a_review(job, reviewer="judge"), why="is empty")
    assert card_kind(move) is CardKind.UNCLEAR
    assert move.job.at.excluded == ("critic", "judge")


@pytest.mark.parametrize("verdict", ["APPROVED", "REVISE", "REJECT", "INCONCLUSIVE"])
def test_every_answer_ends_the_run_and_a_row_of_crashes(verdict: str) -> None:
    at = ended(reviewing_job(crashes=2, failed_starts=3), verdict, findings=(BLOCKING,)).job.at
    assert (at.run, at.crashes, at.failed_starts) == ("", 0, 0)


def test_a_job_may_ask_for_more_rounds_and_another_independence() -> None:
    spec = a_spec(review=ReviewWishes(rounds=1, independence=Independence.MODEL))
    assert card_kind(ended(reviewing_job(spec=spec), "REVISE", findings=(BLOCKING,))) is CardKind.ROUNDS
    assert the_terms(spec).independence is Independence.MODEL


@pytest.mark.parametrize(("asked_again", "starts"), [("", 3), ("is empty", 4)])
def test_a_reviewer_that_was_asked_once_more_is_one_more_start(asked_again: str, starts: int) -> None:
    job = reviewing_job(starts=3)
    for verdict in ("APPROVED", "REVISE", "INCONCLUSIVE"):
        move = ended(job, verdict, review=replace(a_review(job), asked_again=asked_again))
        assert (move.job.at.starts, move.job.at.review) == (starts, 1)
        assert dict(move.trailers).get("Asked-Again", "") == asked_again
