"""An attempt's way to the review: it begins, ends, is lost, is looked at, is checked. Each budget is its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from builders import (
    BASE,
    COMMIT,
    LIMITS,
    NOON,
    NOW,
    a_job,
    a_result,
    a_spec,
    an_attempt,
    evidence_of,
    started,
    the_terms,
)

from orchestrator.core.attempt import attempt_ended, not_started, run_lost, session_gone, start_attempt, unserved
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.evidence import checks_ended, checks_started, evidence_found
from orchestrator.core.evidence_record import Evidence, Failure, Outcome
from orchestrator.core.job import Fix, Job, LimitWishes, State
from orchestrator.core.records import CardKind
from orchestrator.core.step import pause_until
from orchestrator.core.times import iso
from orchestrator.core.transitions import IllegalStepError, Move

TERMS = the_terms()
CUT_SHORT = [RunStatus.TIMEOUT, RunStatus.SILENT, RunStatus.OUTPUT_LIMIT]
BEFORE_RUN = {
    State.RUNNING: State.READY,
    State.CHECKING: State.CHECKING,
    State.REVIEWING: State.REVIEWING,
    State.MERGING: State.MERGING,
}


def card_of(move: Move) -> CardKind:
    [card] = [record for name, record in move.records.items() if name.startswith("card-")]
    assert (move.job.state, move.job.at.card, move.job.at.reason) == (State.DECIDE, card.number, card.question)
    kind = card.kind
    assert isinstance(kind, CardKind)
    return kind


def collected(**at: Any) -> Job:
    return a_job(state=State.COLLECTED, attempt=1, tip=COMMIT, base=BASE, **at)


def checking(**at: Any) -> Job:
    return a_job(state=State.CHECKING, attempt=1, evidence=1, tip=COMMIT, run="x", **at)


def refused(job: Job, *rules: str) -> Evidence:
    return evidence_of(job, failures=tuple(Failure(rule, f"{rule} is why") for rule in rules))


def test_a_start_is_reserved_before_anything_runs() -> None:
    job = a_job(excluded=("critic",), inconclusive=1, approved=COMMIT, merged="d" * 40, target_was=BASE, weak=True)
    move = start_attempt(job, an_attempt(job), NOW)
    at = move.job.at
    assert (at.state, at.attempt, at.starts, at.agent, at.base) == (State.RUNNING, 1, 1, "engineer", BASE)
    assert at.run == f"{job.id}.attempt-1"
    assert at.author is not None
    assert (at.author.family, at.excluded, at.inconclusive) == ("north", (), 0)
    assert list(move.records) == ["attempt-1"]


def test_a_new_attempt_ends_the_approval_of_the_old_one() -> None:
    at = started(a_job(approved=COMMIT, merged="d" * 40, target_was=BASE, weak=True, rebuilds=2)).at
    assert (at.approved, at.merged, at.target_was, at.weak, at.rebuilds) == ("", "", "", False, 0)


def test_an_attempt_that_ended_is_collected_and_ends_a_row_of_crashes() -> None:
    job = started(a_job(crashes=2, failed_starts=4, spent=1))
    at = attempt_ended(job, an_attempt(job, RunStatus.ENDED, tip=COMMIT), TERMS, NOW).job.at
    assert (at.state, at.tip, at.run) == (State.COLLECTED, COMMIT, "")
    assert (at.crashes, at.failed_starts, at.spent) == (0, 0, 1)


def test_an_attempt_that_left_nothing_keeps_the_earlier_work() -> None:
    job = started(a_job(tip=COMMIT))
    assert attempt_ended(job, an_attempt(job, RunStatus.ENDED), TERMS, NOW).job.at.tip == COMMIT


@pytest.mark.parametrize("status", CUT_SHORT)
def test_an_attempt_that_was_cut_short_spends_an_attempt_and_keeps_its_fixes(status: RunStatus) -> None:
    job = started(a_job(fixes=(Fix("F1", "old"),), crashes=2))
    at = attempt_ended(job, an_attempt(job, status, tip=COMMIT, error="too long"), TERMS, NOW).job.at
    assert (at.state, at.spent, at.crashes, at.tip) == (State.READY, 1, 0, COMMIT)
    assert [fix.id for fix in at.fixes] == ["F1", "F2"]
    assert f"{status}" in at.fixes[1].problem
    assert "too long" in at.fixes[1].problem


def test_an_attempt_that_was_stopped_spends_nothing() -> None:
    job = started(a_job(spent=2))
    at = attempt_ended(job, an_attempt(job, RunStatus.STOPPED), TERMS, NOW).job.at
    assert (at.state, at.spent, at.starts) == (State.READY, 2, 1)


def test_the_last_attempt_makes_a_card() -> None:
    job = started(a_job(spent=2))
    move = attempt_ended(job, an_attempt(job, RunStatus.TIMEOUT), TERMS, NOW)
    assert card_of(move) is CardKind.ATTEMPTS
    assert move.job.at.spent == 3


def test_another_go_raises_the_number_of_attempts_by_a_whole_set() -> None:
    job = started(a_job(spent=4))
    granted = the_terms(allowance=1)
    assert attempt_ended(job, an_attempt(job, RunStatus.TIMEOUT), granted, NOW).job.state is State.READY
    last = started(a_job(spent=5))
    assert card_of(attempt_ended(last, an_attempt(last, RunStatus.TIMEOUT), granted, NOW)) is CardKind.ATTEMPTS


@pytest.mark.parametrize("state", BEFORE_RUN)
def test_a_lost_run_pauses_and_leads_back_to_where_it_began_and_spends_no_attempt(state: State) -> None:
    job = a_job(state=state, run="x", spent=1, failed_starts=3, tip=COMMIT, approved=COMMIT, merged="d" * 40)
    at = run_lost(job, LIMITS, NOW).job.at
    assert (at.state, at.crashes, at.run, at.tip) == (BEFORE_RUN[state], 1, "", COMMIT)
    assert (at.spent, at.failed_starts) == (1, 3)
    assert at.not_before == iso(NOON + timedelta(seconds=5))


@pytest.mark.parametrize("state", BEFORE_RUN)
def test_a_run_that_does_not_start_pauses_and_leads_back_and_spends_no_attempt(state: State) -> None:
    job = a_job(state=state, run="x", spent=1, crashes=2, failed_starts=1, approved=COMMIT)
    at = not_started(job, "no such program", LIMITS, NOW).job.at
    assert (at.state, at.failed_starts, at.run, at.reason) == (BEFORE_RUN[state], 2, "", "no such program")
    assert (at.spent, at.crashes) == (1, 2)
    assert at.not_before == iso(NOON + timedelta(seconds=10))


def test_what_a_service_turns_away_costs_the_job_nothing_and_does_not_pause_it() -> None:
    job = started(a_job(spent=1, failed_starts=4, tip="old"))
    turned_away = an_attempt(job, RunStatus.ENDED, tip=COMMIT, error="429")
    move = unserved(job, "429", NOW, records={"attempt-1": turned_away}, until="api rests until then", tip=COMMIT)
    at = move.job.at
    assert (at.state, at.spent, at.failed_starts, at.not_before, at.tip) == (State.READY, 1, 4, "", COMMIT)
    assert (at.starts, at.unserved, at.unserved_reviews) == (1, 1, 0)
    assert at.reason == "api rests until then"
    review = unserved(a_job(state=State.REVIEWING, run="x", review=2), "529", NOW, records={}).job.at
    assert (review.state, review.unserved, review.unserved_reviews) == (State.REVIEWING, 1, 1)
    assert unserved(a_job(state=State.RUNNING, run="x", unserved=100), "429", NOW, records={}).job.at.unserved == 100


def test_a_session_that_is_gone_costs_no_attempt_and_no_pause_and_says_what_comes() -> None:
    job = started(a_job(spent=1, failed_starts=1, tip="old", not_before=NOW))
    gone = an_attempt(job, RunStatus.ENDED, tip=COMMIT, error="No conversation found")
    move = session_gone(job, gone, LIMITS, NOW)
    at = move.job.at
    assert (at.state, at.spent, at.failed_starts, at.not_before, at.tip) == (State.READY, 1, 2, "", COMMIT)
    assert at.reason == "the session of engineer is gone, so the next attempt begins a new one: No conversation found"
    assert move.records == {"attempt-1": gone}
    last = started(a_job(failed_starts=LIMITS.failed_starts - 1))
    assert card_of(session_gone(last, an_attempt(last, RunStatus.ENDED), LIMITS, NOW)) is CardKind.CANNOT_START


@pytest.mark.parametrize("state", [State.COLLECTED, State.LANDING])
def test_what_cannot_be_looked_at_or_landed_pauses_where_it_is(state: State) -> None:
    at = not_started(a_job(state=state, tip=COMMIT, approved=COMMIT), "no branch", LIMITS, NOW).job.at
    assert (at.state, at.failed_starts, at.not_before) == (state, 1, iso(NOON + timedelta(seconds=5)))


@pytest.mark.parametrize("state", BEFORE_RUN)
def test_too_many_crashes_or_failed_starts_make_a_card_that_names_the_step(state: State) -> None:
    job = a_job(state=state, run="x", crashes=2, failed_starts=4, approved=COMMIT, merged="d" * 40, tip=COMMIT)
    for move, kind in (
        (run_lost(job, LIMITS, NOW), CardKind.CRASHES),
        (not_started(job, "no such program", LIMITS, NOW), CardKind.CANNOT_START),
    ):
        assert card_of(move) is kind
        assert move.records["card-1"].facts["step"] == state
        assert move.job.at.spent == 0


def test_a_merged_tree_whose_checks_never_passed_does_not_wait_in_a_card() -> None:
    job = a_job(state=State.MERGING, run="x", crashes=2, approved=COMMIT, merged="d" * 40, tip=COMMIT)
    at = run_lost(job, LIMITS, NOW).job.at
    assert (at.state, at.approved, at.merged) == (State.DECIDE, COMMIT, "")


def test_a_job_may_fail_to_start_before_it_runs() -> None:
    assert not_started(a_job(), "no tree", LIMITS, NOW).job.state is State.READY


@pytest.mark.parametrize("state", [State.COLLECTED, State.LANDING, State.DECIDE, State.DONE, State.WAITING])
def test_no_run_is_lost_where_none_can_be(state: State) -> None:
    with pytest.raises(IllegalStepError):
        run_lost(a_job(state=state), LIMITS, NOW)


def test_a_lost_attempts_work_is_kept() -> None:
    assert run_lost(started(a_job(tip="old")), LIMITS, NOW, tip=COMMIT).job.at.tip == COMMIT


def test_pauses_double_up_to_a_quarter_of_an_hour() -> None:
    pauses = [pause_until(NOW, times) for times in (1, 2, 3, 8, 9, 60)]
    assert pauses == [iso(NOON + timedelta(seconds=each)) for each in (5, 10, 20, 640, 900, 900)]


def test_good_evidence_leads_to_the_checks_and_forgets_the_old_result() -> None:
    job = collected()
    move = evidence_found(job, evidence_of(job, protected=("orc.yaml",)), TERMS, NOW)
    assert (move.job.state, move.job.at.protected, move.job.at.tests) == (State.CHECKING, ("orc.yaml",), "")
    assert dict(move.trailers)["Diff-Stat"] == "1 file changed, 1 insertion(+)"


def test_refused_evidence_goes_back_with_every_reason_and_costs_one_attempt() -> None:
    job = collected(spent=1)
    move = evidence_found(job, refused(job, "empty_diff", "out_of_scope"), TERMS, NOW)
    assert (move.job.state, move.job.at.spent) == (State.READY, 2)
    assert [(fix.id, fix.source) for fix in move.job.at.fixes] == [("F1", "engine"), ("F2", "engine")]
    assert dict(move.trailers)["Refused-By"] == "empty_diff out_of_scope"


def test_refused_evidence_of_the_last_attempt_makes_a_card() -> None:
    job = collected(spent=2)
    assert card_of(evidence_found(job, refused(job, "empty_diff"), TERMS, NOW)) is CardKind.ATTEMPTS


def test_the_same_work_again_makes_a_card_at_once() -> None:
    job = collected()
    move = evidence_found(job, refused(job, "empty_diff", "unchanged"), TERMS, NOW)
    assert card_of(move) is CardKind.ATTEMPTS


def test_a_diff_too_large_to_be_reviewed_whole_makes_a_card_about_that_commit_once_its_checks_passed() -> None:
    job = checking()
    move = checks_ended(job, evidence_of(job, tests="passed"), TERMS, NOW, too_large="more than 9 bytes")
    assert card_of(move) is CardKind.TOO_LARGE
    assert move.records["card-1"].facts == {"commit": COMMIT}
    assert "more than 9 bytes" in move.records["card-1"].context
    assert move.job.at.tests == "passed"


def test_a_diff_that_is_too_large_and_fails_its_checks_is_no_question_for_a_person() -> None:
    job = checking()
    checks = (a_result(Outcome.FAILED),)
    move = checks_ended(job, evidence_of(job, tests="failed", checks=checks), TERMS, NOW, too_large="more than 9 bytes")
    assert move.job.at.state is State.READY


def test_checks_are_a_start_but_no_attempt() -> None:
    at = checks_started(checking(starts=3, spent=1), "run", NOW).job.at
    assert (at.state, at.starts, at.spent, at.run) == (State.CHECKING, 4, 1, "run")


@pytest.mark.parametrize("tests", ["passed", "flaky", "none"])
def test_checks_that_let_the_work_through_lead_to_the_review(tests: str) -> None:
    job = checking(crashes=2, failed_starts=4)
    at = checks_ended(job, evidence_of(job, tests=tests), TERMS, NOW).job.at
    assert (at.state, at.tests, at.run, at.crashes, at.failed_starts) == (State.REVIEWING, tests, "", 0, 0)


@pytest.mark.parametrize("tests", ["failed", "", "timeout", "PASSED"])
def test_any_other_result_goes_back_to_the_author(tests: str) -> None:
    job = checking()
    checks = (a_result(Outcome.PASSED, "lint"), a_result(Outcome.TIMEOUT))
    at = checks_ended(job, evidence_of(job, tests=tests, checks=checks), TERMS, NOW).job.at
    assert (at.state, at.spent, at.run) == (State.READY, 1, "")
    [fix] = at.fixes
    assert "make tests" in fix.problem
    assert "its last words" in fix.fix


def test_a_job_with_a_single_attempt_gets_a_card_after_it() -> None:
    job, only = checking(), the_terms(a_spec(limits=LimitWishes(attempts=1)))
    checks = (a_result(Outcome.FAILED),)
    assert card_of(checks_ended(job, evidence_of(job, tests="failed", checks=checks), only, NOW)) is CardKind.ATTEMPTS
