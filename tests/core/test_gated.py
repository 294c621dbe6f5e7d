"""What follows from what the gate saw of a branch: the whole table, by value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.criteria import Checks, ClaimRules, Duplicates, Length, Links, Spelling
from orchestrator.core.evidence_record import CheckResult, Evidence, Failure, Outcome, Tampering
from orchestrator.core.gate import RULES
from orchestrator.core.gated import (
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
    reproduction_of,
    see_rules,
    suggest_check,
)
from orchestrator.core.job import Area, Check, Expects, JobSpec, Kind, Worker
from orchestrator.core.kinds import RULES as KIND_RULES
from orchestrator.core.review_record import Finding, ReviewRecord, Verdict
from orchestrator.core.rule_words import AREA_WORDS, RULE_WORDS
from orchestrator.core.tamper import RULES as TAMPER_RULES

GOOD = CheckResult("t", "make test", Outcome.PASSED, 0, 1.0)
BAD = CheckResult("t", "make test", Outcome.FAILED, 2, 1.0)
LINT = CheckResult("l", "make lint", Outcome.FAILED, 1, 1.0)
EVIDENCE = Evidence(
    1, 1, "b" * 40, "f" * 40, "b" * 40, "7" * 40, "1 file changed", tamper_rules=1, kind_checks=Checks()
)  # fmt: skip
SEEN = Seen(
    Named("feature", "f" * 40, "refs/heads/feature"),
    Named("main", "b" * 40, "refs/heads/main"),
    EVIDENCE,
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
GONE = Tampering("tests_removed", "test_a.py", "1 test removed: test_two", 3)


def found(seen: Seen, *tampering: Tampering, **more: Any) -> Seen:
    return replace(seen, evidence=replace(EVIDENCE, tampering=tampering, **more))


OPS = found(SEEN, kind_checks=Checks(command=True))


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
        (with_checks(TIMEOUT, GOOD, GOOD), "CHECKS_FAILED", "does not end in time on feature, and passes on main."),
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
        (found(GREEN, GONE), "INCONCLUSIVE", "test_a.py:3: 1 test removed: test_two. If that is meant: --allow"),
        (found(GREEN, replace(GONE, declared=True)), "PASS", ""),
        (replace(found(GREEN, GONE), review=reviewed(Verdict.APPROVED)), "INCONCLUSIVE", "a person has to look"),
        (replace(found(GREEN, GONE), review=reviewed(Verdict.REVISE)), "REFUSED", "critic asks for changes"),
        (found(with_checks(BAD, BAD, GOOD), GONE), "CHECKS_FAILED", "nobody allowed"),
        (replace(OPS, checks=GREEN.checks), "PASS", ""),
        (replace(OPS, declared=(), review=reviewed(Verdict.APPROVED)), "INCONCLUSIVE", "proved by a check command"),
    ],
)  # fmt: skip
def test_what_was_seen_decides(seen: Seen, conclusion: str, reason: str) -> None:
    drawn, reasons = conclude(seen)
    assert drawn == conclusion
    assert (reason in " ".join(reasons)) if reason else reasons == ()


def test_one_check_may_be_red_on_the_base_and_another_new() -> None:
    branch = checked(Where.BRANCH, BAD, LINT)
    seen = replace(SEEN, checks=(branch, checked(Where.BASE, GOOD, LINT)))
    drawn, reasons = conclude(seen)
    assert drawn is Conclusion.CHECKS_FAILED
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
    assert may_be_reviewed(found(GREEN, GONE))
    assert may_be_reviewed(replace(SEEN, declared=()))
    for decided in (
        REFUSED,
        replace(OPS, declared=()),
        replace(GREEN, conflicts=("a",)),
        with_checks(BAD),
        with_checks(BAD, BAD, BAD),
    ):
        assert not may_be_reviewed(decided)


def test_the_findings_of_a_reviewer_are_counted() -> None:
    findings = (Finding("blocking", "wrong"), Finding("remark", "odd"))
    seen = replace(GREEN, review=reviewed(Verdict.REVISE, findings=findings))
    assert conclude(seen)[1] == ("The reviewer critic asks for changes (2 findings).",)


def test_what_is_no_reason_is_a_note() -> None:
    evidence = replace(EVIDENCE, protected=(".ci/run",), notes=("the spelling was not checked",))
    seen = replace(with_checks(FLAKY, GOOD, BAD), evidence=evidence, commits=0)
    told = "\n".join(notes_of(seen))
    assert "main has every commit of feature already." in told
    assert "protected paths, which a person should look at: .ci/run." in told
    assert "The spelling was not checked." in told
    assert "main is red: make test fails there and passes on feature." in told
    assert "make test failed once and passed when it was run again." in told
    assert notes_of(GREEN) == ()


def test_a_suspicious_approval_lets_nothing_through() -> None:
    seen = replace(GREEN, review=reviewed(Verdict.APPROVED, doubts=("it took 1.2 s", "no evidence for safe")))
    told = "The approval of critic is suspicious: it took 1.2 s; no evidence for safe. Ask another one."
    assert conclude(seen) == (Conclusion.INCONCLUSIVE, (told,))


def test_the_scope_says_what_the_conclusion_rests_on() -> None:
    approved = reviewed(Verdict.APPROVED)
    scopes = [
        Gated(seen, Conclusion.PASS).scope
        for seen in (GREEN, replace(GREEN, review=approved), replace(SEEN, declared=(), review=approved))
    ]
    assert scopes == ["checks only: not reviewed", "checks and review", "review only: nothing was run"]
    no_setup = replace(SEEN, checks=(checked(Where.BRANCH, problem="exit code 1", setup_failed=True),))
    assert Gated(no_setup, Conclusion.CHECKS_FAILED).scope == "checks only: not reviewed"


@pytest.mark.parametrize("seen", [REFUSED, NOT_RUN, replace(NOT_RUN, review=AWAY), replace(SEEN, declared=())])
def test_what_was_declared_and_not_done_is_nothing_to_rest_on(seen: Seen) -> None:
    assert Gated(seen, conclude(seen)[0]).scope == "diff only: nothing was run, not reviewed"


# --- the rules, and what to run ---


def outcomes(spec: JobSpec, **evidence: Any) -> dict[str, str]:
    return {each.rule: each.outcome.value for each in see_rules(spec, replace(EVIDENCE, **evidence))}


def test_every_rule_has_an_outcome_and_words() -> None:
    seen = see_rules(JobSpec("x"), EVIDENCE)
    assert [each.rule for each in seen] == [*RULES, *KIND_RULES, *TAMPER_RULES]
    assert {each.rule for each in seen} | {"broken_objects"} == set(RULE_WORDS)
    assert set(AREA_WORDS) == set(Area)


def test_rules_that_look_at_what_nobody_declared_are_not_asked() -> None:
    of_diff = {"empty_diff", "plan_only", "whitespace_only", "hostile_entry", "conflict_marks", "hidden_lines"}
    assert {rule for rule, each in outcomes(JobSpec("x")).items() if each == "ok"} == of_diff | set(TAMPER_RULES)
    assert outcomes(JobSpec("x", paths=("src/**",)))["out_of_scope"] == "ok"
    assert outcomes(JobSpec("x", deliverables=("a",)))["missing_deliverable"] == "ok"
    assert outcomes(JobSpec("x", reproduces=True))["no_reproduction"] == "ok"
    assert outcomes(JobSpec("x", kind=Kind.WRITING))["plan_only"] == "not asked"
    assert outcomes(JobSpec("x", expects=Expects.NO_CHANGE))["missing_report"] == "ok"


def test_rules_of_the_criteria_are_asked_where_the_criteria_turn_them_on() -> None:
    everything = Checks(
        viewable=True,
        duplicates=Duplicates(),
        placeholders=True,
        spelling=Spelling(),
        length=Length(),
        links=Links(),
        claims=ClaimRules(),
    )
    spec = JobSpec("x", deliverables=("a",))
    said = outcomes(spec, kind_checks=everything, speller="codespell 2")
    assert {said[rule] for rule in KIND_RULES} == {"ok"}
    assert outcomes(spec, kind_checks=everything)["misspelling"] == "not asked"
    assert outcomes(JobSpec("x"), kind_checks=everything)["not_viewable"] == "not asked"
    assert outcomes(JobSpec("x", repeats=True), kind_checks=everything)["duplicate_passage"] == "not asked"
    assert outcomes(spec, kind_checks=Checks(links=Links(relative=False)))["dead_link"] == "not asked"


def test_a_refusal_is_told_even_of_a_rule_that_nobody_knows() -> None:
    failures = (
        Failure("empty_diff", "It is empty."),
        Failure("brand_new", "It is new."),
        Failure("misspelling", "“teh”.", "a.md", 3),
        Failure("misspelling", "“wich”.", "a.md"),
    )
    seen = see_rules(JobSpec("x"), replace(EVIDENCE, failures=failures))
    assert [(each.rule, each.text) for each in seen if each.outcome is RuleOutcome.REFUSED] == [
        ("empty_diff", "It is empty."),
        ("misspelling", "a.md:3: “teh”."),
        ("misspelling", "a.md: “wich”."),
        ("brand_new", "It is new."),
    ]
    assert seen[-1].words == "rule brand_new"


def test_what_the_tamper_guard_found_is_held_or_allowed_each_by_itself() -> None:
    other = Tampering("ci_touched", ".ci/run", "CI: changed", 0, declared=True)
    seen = see_rules(JobSpec("x"), replace(EVIDENCE, tampering=(GONE, replace(GONE, path="test_b.py"), other)))
    assert [(each.outcome, each.text) for each in seen if each.text] == [
        (RuleOutcome.HELD, "test_a.py:3: 1 test removed: test_two"),
        (RuleOutcome.HELD, "test_b.py:3: 1 test removed: test_two"),
        (RuleOutcome.ALLOWED, ".ci/run: CI: changed"),
    ]


def test_of_what_is_left_out_nothing_is_said_to_be_in_order() -> None:
    said = outcomes(JobSpec("x"), tampering=(GONE,), more_tampering=1)
    assert (said["tests_removed"], said["ci_touched"], said["empty_diff"]) == ("held", "not asked", "ok")


def test_of_very_many_refusals_only_the_first_are_said_to_be_why() -> None:
    refused = tuple(RuleSeen("misspelling", RuleOutcome.REFUSED, f"word {n}") for n in range(25))
    reasons = conclude(replace(SEEN, rules=refused))[1]
    assert (len(reasons), reasons[-1]) == (11, "… and 15 more")


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


# --- a defect that is mended

MENDS = replace(GREEN, reproduces=True)
ON_BASE = Where.REPRODUCTION


def laid(*results: CheckResult, **more: Any) -> Seen:
    return replace(MENDS, checks=(*MENDS.checks, checked(ON_BASE, *results, **more)))


@pytest.mark.parametrize(
    ("seen", "conclusion", "reason", "shown"),
    [
        (laid(BAD), "PASS", "", "shown"),
        (laid(GOOD, LINT), "PASS", "", "shown"),
        (laid(GOOD), "REFUSED", "The tests that came with the change pass on the base as well", "not shown"),
        (laid(TIMEOUT), "REFUSED", "took too long, which shows no defect", "not shown"),
        (laid(FLAKY), "REFUSED", "pass on the base as well", "not shown"),
        (
            laid(problem="the disk is full"),
            "INCONCLUSIVE",
            "could not be run on the merge base with the tests of feature: the disk is full",
            "",
        ),
        (replace(MENDS, checks=(), declared=()), "INCONCLUSIVE", "proved by a check, and none was named", ""),
    ],
)
def test_a_defect_is_mended_where_the_tests_of_the_branch_fail_without_the_rest(
    seen: Seen, conclusion: str, reason: str, shown: str
) -> None:
    found, reasons = conclude(seen)
    assert (found.value, reproduction_of(seen)) == (conclusion, shown)
    assert reason in "".join(reasons)
    assert may_be_reviewed(seen) is (conclusion == "PASS")


def test_what_fails_without_the_rest_of_the_branch_counts_nowhere_else() -> None:
    without_base = with_checks(GOOD, GOOD)
    seen = replace(without_base, reproduces=True, checks=(*without_base.checks, checked(ON_BASE, BAD)))
    assert conclude(seen) == (Conclusion.PASS, ())
