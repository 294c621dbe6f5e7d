"""Whether new tests show a defect: what counts as a test, what results come to, and what follows."""

from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, a_job, a_result, a_spec, evidence_of, the_terms

from orchestrator.core.evidence import checks_ended, reproduction_ended
from orchestrator.core.evidence_record import Evidence, Outcome
from orchestrator.core.job import Job, State
from orchestrator.core.records import CardKind
from orchestrator.core.reproduction import NOT_SHOWN, SHOWN, is_reproduction_due, judge_reproduction
from orchestrator.core.suite_files import is_of_tests

PASSED, FAILED, FLAKY, LATE = Outcome.PASSED, Outcome.FAILED, Outcome.FLAKY, Outcome.TIMEOUT


@pytest.mark.parametrize(
    "path",
    [
        "test_login.py",
        "src/login_test.go",
        "src/login.spec.ts",
        "src/test/java/LoginTest.java",
        "conftest.py",
        "deep/conftest.py",
        "tests/data/umlauts.json",
        "Tests/Login.cs",
        "spec/helper.rb",
        "web/__tests__/page.js",
        "web/__snapshots__/page.snap",
        "pkg/testdata/golden.txt",
        "ui/page.snap",
        "tests/it.rs",
        "src/login/tests.rs",
        "run.bats",
    ],
)
def test_these_files_are_there_for_tests(path: str) -> None:
    assert is_of_tests(path)


@pytest.mark.parametrize(
    "path", ["src/login.py", "src/lib.rs", "latest/a.py", "README.md", "src/attest.go", "docs/tests.md", "contest.js"]
)
def test_these_files_are_not(path: str) -> None:
    assert not is_of_tests(path)


@pytest.mark.parametrize(
    ("outcomes", "judged"),
    [
        ((FAILED,), SHOWN),
        ((PASSED, FAILED), SHOWN),
        ((LATE, FAILED), SHOWN),
        ((PASSED,), NOT_SHOWN),
        ((FLAKY, PASSED), NOT_SHOWN),
        ((LATE,), NOT_SHOWN),
        ((), NOT_SHOWN),
    ],
)
def test_one_check_that_fails_shows_the_defect(outcomes: tuple[Outcome, ...], judged: str) -> None:
    assert judge_reproduction(map(a_result, outcomes)) == judged


def mending(**at: Any) -> Job:
    known = {"tip": "a" * 40, "attempt": 1, "evidence": 1}
    return a_job(state=State.CHECKING, spec=a_spec(reproduces=True), **{**known, **at})


def seen(job: Job, **keys: Any) -> Evidence:
    return evidence_of(job, **{"tests": "passed", "reproduction_tree": "d" * 40, **keys})


def test_work_that_passed_stays_until_its_tests_have_run_on_the_base() -> None:
    job = mending()
    move = checks_ended(job, seen(job), the_terms(job.spec), NOW, too_large="it is large")
    assert move.job.state is State.CHECKING
    assert is_reproduction_due(move.job, move.records["evidence-1"])
    assert move.job.at.tests == "passed"


@pytest.mark.parametrize(
    "keys", [{"tests": ""}, {"tests": "failed"}, {"reproduction": SHOWN}, {"reproduction_tree": ""}]
)
def test_nothing_is_to_be_shown_before_the_work_passed_or_again(keys: dict[str, str]) -> None:
    assert not is_reproduction_due(mending(), seen(mending(), **keys))


def test_nothing_is_to_be_shown_where_the_person_took_the_wish_back() -> None:
    job = a_job(state=State.CHECKING, tip="a" * 40)
    assert checks_ended(job, seen(job), the_terms(), NOW).job.state is State.REVIEWING


def test_where_no_check_is_declared_a_person_is_asked() -> None:
    job = mending()
    move = checks_ended(job, seen(job, tests="none"), the_terms(job.spec), NOW)
    assert move.records["card-1"].kind is CardKind.HUMAN_REVIEW
    assert "no check is declared" in move.records["card-1"].question


def test_a_defect_that_is_shown_goes_on_to_its_review_if_somebody_can_read_it() -> None:
    job = mending()
    evidence = seen(job, reproduction=SHOWN, reproduction_checks=(a_result(FAILED),))
    move = reproduction_ended(job, evidence, the_terms(job.spec), NOW)
    assert (move.job.state, move.job.at.spent) == (State.REVIEWING, 0)
    assert ("Reproduction", SHOWN) in move.trailers
    large = reproduction_ended(job, evidence, the_terms(job.spec), NOW, too_large="it is large")
    assert large.records["card-1"].kind is CardKind.TOO_LARGE


@pytest.mark.parametrize(("outcome", "told"), [(PASSED, "pass on the base as well"), (LATE, "took too long")])
def test_a_defect_that_is_not_shown_goes_back_and_costs_an_attempt(outcome: Outcome, told: str) -> None:
    job = mending()
    evidence = seen(job, reproduction=NOT_SHOWN, reproduction_checks=(a_result(outcome),))
    move = reproduction_ended(job, evidence, the_terms(job.spec), NOW)
    assert (move.job.state, move.job.at.spent) == (State.READY, 1)
    (fix,) = move.job.at.fixes
    assert (told in fix.problem, fix.source) == (True, "engine")
