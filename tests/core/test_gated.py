"""What follows from what the gate saw of a branch: the whole table, by value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.gate import RULES
from orchestrator.core.gated import (
    RULE_WORDS,
    Checked,
    Conclusion,
    Gated,
    Named,
    Reviewed,
    RuleOutcome,
    RuleSeen,
    Seen,
    Where,
    conclude,
    may_be_reviewed,
    notes_of,
    see_rules,
    suggest_check,
)
from orchestrator.core.job import Check, Expects, JobSpec, Kind, Worker
from orchestrator.core.records import CheckResult, Failure, Finding, Outcome, ReviewRecord, Verdict

GOOD = CheckResult("t", "make test", Outcome.PASSED, 0, 1.0)
BAD = CheckResult("t", "make test", Outcome.FAILED, 2, 1.0)
LINT = CheckResult("l", "make lint", Outcome.FAILED, 1, 1.0)
SEEN = Seen(
    Named("feature", "f" * 40, "refs/heads/feature"),
    Named("main", "b" * 40, "refs/heads/main"),
    merge_base="b" * 40,
    tree="7" * 40,
    stat="1 file changed",
    commits=1,
    rules=(RuleSeen("empty_diff", RuleOutcome.OK),),
    merged="e" * 40,
    merged_tree="8" * 40,
    declared=(Check("make test"),),
)


def checked(where: Where, *results: CheckResult, **more: Any) -> Checked:
    return Checked(where, "c" * 40, "9" * 40, results, **more)


def with_checks(branch: CheckResult, merged: CheckResult | None = None, base: CheckResult | None = None) -> Seen:
    pairs = ((Where.BRANCH, branch), (Where.MERGED, merged), (Where.BASE, base))
    return replace(SEEN, checks=tuple(checked(where, result) for where, result in pairs if result is not None))


def reviewed(verdict: Verdict, **more: Any) -> Reviewed:
    record = ReviewRecord(
        1, 1, 1, "f" * 40, "b" * 40, Worker("critic"), Worker("unknown"), "gate-ffffffff.review-1", "", "", 0.8,
        verdict=verdict, **more,
    )  # fmt: skip
    return Reviewed(record)


GREEN = with_checks(GOOD, GOOD, GOOD)
TIMEOUT = replace(BAD, outcome=Outcome.TIMEOUT)
FLAKY = replace(GOOD, outcome=Outcome.FLAKY)
NOT_RUN = replace(SEEN, checks=(checked(Where.BRANCH, problem="no disk"),))
AWAY = replace(reviewed(Verdict.APPROVED), problem="it is away")
REFUSED = replace(SEEN, rules=(RuleSeen("empty_diff", RuleOutcome.REFUSED, "The diff is empty."),))


@pytest.mark.parametrize(
    ("seen", "conclusion", "reason"),
    [
        (GREEN, "PASS", ""),
        (with_checks(GOOD), "PASS", ""),
        (with_checks(FLAKY, GOOD, GOOD), "PASS", ""),
        (with_checks(GOOD, GOOD, BAD), "PASS", ""),
        (REFUSED, "REFUSED", "The diff is empty."),
        (replace(GREEN, rules=REFUSED.rules), "REFUSED", "The diff is empty."),
        (replace(GREEN, conflicts=("a.py",)), "REFUSED", "does not merge into main: conflict in a.py"),
        (replace(with_checks(BAD, None, GOOD), conflicts=("a.py",)), "REFUSED", "conflict in a.py"),
        (with_checks(BAD, BAD, GOOD), "CHECKS_FAILED", "make test fails on feature, and passes on main."),
        (with_checks(TIMEOUT, GOOD, GOOD), "CHECKS_FAILED", "make test fails on feature, and passes on main."),
        (with_checks(BAD), "CHECKS_FAILED", "make test fails on feature."),
        (with_checks(GOOD, BAD, GOOD), "CHECKS_FAILED", "fails on feature merged into main, and passes on main."),
        (with_checks(BAD, BAD, BAD), "INCONCLUSIVE", "and on main as well: the base is red."),
        (with_checks(GOOD, BAD, BAD), "INCONCLUSIVE", "the base is red."),
        (NOT_RUN, "INCONCLUSIVE", "could not be run on feature: no disk"),
        (replace(SEEN, declared=()), "INCONCLUSIVE", "Nothing was run and nobody reviewed it"),
        (replace(SEEN, declared=(), review=reviewed(Verdict.APPROVED)), "PASS", ""),
        (replace(GREEN, review=reviewed(Verdict.APPROVED)), "PASS", ""),
        (replace(GREEN, review=reviewed(Verdict.REVISE)), "REFUSED", "The reviewer critic asks for changes."),
        (replace(GREEN, review=reviewed(Verdict.REJECT)), "REFUSED", "The reviewer critic rejects it."),
        (replace(GREEN, review=reviewed(Verdict.INCONCLUSIVE, why="is empty")), "INCONCLUSIVE", "it is empty."),
        (replace(GREEN, review=AWAY), "INCONCLUSIVE", "could not be reviewed: it is away"),
        (replace(with_checks(BAD, BAD, GOOD), review=reviewed(Verdict.APPROVED)), "CHECKS_FAILED", "make test"),
    ],
)  # fmt: skip
def test_what_was_seen_decides(seen: Seen, conclusion: str, reason: str) -> None:
    found, reasons = conclude(seen)
    assert found == conclusion
    assert (reason in " ".join(reasons)) if reason else reasons == ()


def test_one_check_may_be_red_on_the_base_and_another_new() -> None:
    branch = checked(Where.BRANCH, BAD, LINT)
    seen = replace(SEEN, checks=(branch, checked(Where.BASE, GOOD, LINT)))
    found, reasons = conclude(seen)
    assert found is Conclusion.CHECKS_FAILED
    assert reasons == (
        "make test fails on feature, and passes on main.",
        "make lint fails on feature, and on main as well: the base is red.",
    )


def test_a_setup_that_works_on_the_base_alone_is_the_branch_s_fault() -> None:
    broken = checked(Where.BRANCH, problem="the setup ended with exit code 1", setup_failed=True)
    assert conclude(replace(SEEN, checks=(broken, checked(Where.BASE, GOOD))))[0] is Conclusion.CHECKS_FAILED
    everywhere = replace(broken, where=Where.BASE)
    assert conclude(replace(SEEN, checks=(broken, everywhere)))[0] is Conclusion.INCONCLUSIVE


def test_the_same_tree_is_not_counted_twice() -> None:
    once = checked(Where.BRANCH, BAD)
    seen = replace(SEEN, checks=(once, replace(once, where=Where.MERGED, same_as=Where.BRANCH)))
    assert conclude(seen)[1] == ("make test fails on feature.",)


def test_a_review_is_paid_for_only_where_nothing_else_decides() -> None:
    assert may_be_reviewed(GREEN)
    assert may_be_reviewed(replace(SEEN, declared=()))
    for decided in (REFUSED, replace(GREEN, conflicts=("a",)), with_checks(BAD), with_checks(BAD, BAD, BAD)):
        assert not may_be_reviewed(decided)


def test_the_findings_of_a_reviewer_are_counted() -> None:
    findings = (Finding("blocking", "wrong"), Finding("remark", "odd"))
    seen = replace(GREEN, review=reviewed(Verdict.REVISE, findings=findings))
    assert conclude(seen)[1] == ("The reviewer critic asks for changes (2 findings).",)


def test_what_is_no_reason_is_a_note() -> None:
    seen = replace(with_checks(FLAKY, GOOD, BAD), protected=(".ci/run",), commits=0)
    told = "\n".join(notes_of(seen))
    assert "main has every commit of feature already." in told
    assert "protected paths, which a person should look at: .ci/run." in told
    assert "main is red: make test fails there and passes on feature." in told
    assert "make test failed once and passed when it was run again." in told
    assert notes_of(GREEN) == ()


def test_a_suspicious_approval_is_noted() -> None:
    seen = replace(GREEN, review=reviewed(Verdict.APPROVED, doubts=("it took 1.2 s", "no evidence for safe")))
    assert conclude(seen)[0] is Conclusion.PASS
    told = "The approval of critic is suspicious: it took 1.2 s; no evidence for safe. Ask another one."
    assert told in notes_of(seen)


def test_the_scope_says_what_a_pass_rests_on() -> None:
    approved = reviewed(Verdict.APPROVED)
    scopes = [
        Gated(seen, Conclusion.PASS).scope
        for seen in (GREEN, replace(GREEN, review=approved), replace(SEEN, declared=(), review=approved))
    ]
    assert scopes == ["checks only: not reviewed", "checks and review", "review only: nothing was run"]
    assert Gated(replace(SEEN, declared=()), Conclusion.INCONCLUSIVE).scope.startswith("diff only")


# --- the rules, and what to run ---


def outcomes(spec: JobSpec, *failures: Failure) -> dict[str, str]:
    return {each.rule: each.outcome.value for each in see_rules(spec, failures)}


def test_every_rule_has_an_outcome_and_words() -> None:
    seen = see_rules(JobSpec("x"), ())
    assert [each.rule for each in seen] == list(RULES)
    assert {*RULES, "broken_objects"} <= set(RULE_WORDS)


def test_rules_that_look_at_what_nobody_declared_are_not_asked() -> None:
    assert {rule for rule, outcome in outcomes(JobSpec("x")).items() if outcome == "ok"} == {
        "empty_diff", "plan_only", "whitespace_only", "hostile_entry",
    }  # fmt: skip
    assert outcomes(JobSpec("x", paths=("src/**",)))["out_of_scope"] == "ok"
    assert outcomes(JobSpec("x", deliverables=("a",)))["missing_deliverable"] == "ok"
    assert outcomes(JobSpec("x", kind=Kind.WRITING))["plan_only"] == "not asked"
    assert outcomes(JobSpec("x", expects=Expects.NO_CHANGE))["missing_report"] == "ok"


def test_a_refusal_is_told_even_of_a_rule_that_nobody_knows() -> None:
    found = see_rules(JobSpec("x"), (Failure("empty_diff", "It is empty."), Failure("brand_new", "It is new.")))
    assert [(each.rule, each.text) for each in found if each.outcome is RuleOutcome.REFUSED] == [
        ("empty_diff", "It is empty."),
        ("brand_new", "It is new."),
    ]
    assert found[-1].words == "rule brand_new"


@pytest.mark.parametrize(
    ("files", "makefile", "command"),
    [
        (["Makefile"], "all: x\n\ntest: all\n\tpytest\n", "make test"),
        (["Makefile"], "check:\n\tx\n", "make check"),
        (["Makefile", "Cargo.toml"], "testing: x\n# test: no\n", "cargo test"),
        (["package.json"], "", "npm ci && npm test"),
        (["pyproject.toml", "README.md"], "", "python3 -m pytest"),
        (["README.md"], "", ""),
    ],
)
def test_what_probably_runs_the_tests(files: list[str], makefile: str, command: str) -> None:
    assert suggest_check(files, makefile) == command
