"""The gates tried in memory: all hold, every rule is tried, and one that is broken is found and named."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

import pytest

from orchestrator.core import gate, kinds, review, suspicion, tamper, trials, verdict
from orchestrator.core.review_record import Verdict
from orchestrator.core.trials import GATES, Broken, find_broken, tell_broken
from orchestrator.core.verdict import Judgement

LETS = "lets through what it must refuse"
CLEAN = "refuses clean work"


def broken() -> set[tuple[str, str]]:
    return {(each.gate, each.guard) for each in find_broken() if each.why == LETS}


def test_every_gate_holds() -> None:
    assert find_broken() == ()


def test_every_rule_of_the_program_is_tried() -> None:
    assert set(GATES["diff"]().refused) == set(gate.RULES)
    assert set(GATES["tamper"]().refused) == set(tamper.RULES)
    assert set(GATES["kinds"]().refused) == set(kinds.RULES)
    assert all(make().passed for make in GATES.values())


def test_it_takes_no_time_that_anybody_would_notice() -> None:
    took = []
    for _ in range(5):
        begin = process_time()
        find_broken()
        took.append(process_time() - begin)
    assert min(took) < 0.05


@pytest.mark.parametrize("rule", gate.RULES)
def test_a_rule_of_the_diff_that_lets_everything_pass_is_named(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gate.RULES, rule, lambda spec, facts, docs: "")
    assert find_broken() == (Broken("diff", rule, LETS),)


@pytest.mark.parametrize("rule", tamper.RULES)
def test_a_rule_of_the_tamper_guard_that_finds_nothing_is_named(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    area = tamper.RULES[rule][0]
    monkeypatch.setitem(tamper.RULES, rule, (area, lambda looked: iter(())))
    assert find_broken() == (Broken("tamper", rule, LETS),)


@pytest.mark.parametrize("rule", kinds.RULES)
def test_a_rule_of_a_kind_that_nobody_asks_is_named(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = kinds.judge_kind
    monkeypatch.setattr(kinds, "judge_kind", lambda *asked: [each for each in judge(*asked) if each.rule != rule])
    assert find_broken() == (Broken("kinds", rule, LETS),)


def nothing(*_: Any, **__: Any) -> tuple[()]:
    return ()


def approve(*_: Any, **__: Any) -> Judgement:
    return Judgement(Verdict.APPROVED, score=1.0)


BROKEN: dict[str, tuple[Any, str, Callable[..., Any], set[str]]] = {
    "checks that always pass": (gate, "judge_checks", lambda _: "passed", {"checks.failed"}),
    "a reviewer that is never too near": (review, "independence_of", lambda *_: "family", {"reviewer.nobody"}),
    "an answer that is bound to nothing": (
        verdict,
        "_check_binding",
        nothing,
        {"verdict.nonce", "verdict.job", "verdict.commit", "verdict.keys"},
    ),
    "an approval that may contradict itself": (
        verdict,
        "_check_approval",
        nothing,
        {"verdict.required", "verdict.threshold", "verdict.blocking", "verdict.contradicted"},
    ),
    "a reader of verdicts that takes anything for a yes": (
        verdict,
        "judge_reply",
        approve,
        {f"verdict.{guard}" for guard in GATES["verdict"]().refused},
    ),
    "an approval that nobody doubts": (
        suspicion,
        "doubts_of",
        nothing,
        {"suspicion.quick", "suspicion.bare", "suspicion.silent", "suspicion.always"},
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_gate_that_is_broken_is_named_with_each_guard(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, guards = BROKEN[what]
    monkeypatch.setattr(module, name, instead)
    assert {".".join(each) for each in broken()} == guards


def test_a_gate_that_stops_everything_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gate.RULES, "plan_only", lambda spec, facts, docs: "No.")
    assert find_broken() == (Broken("diff", "plan_only", CLEAN),)


def test_a_gate_that_fails_is_named_and_the_others_are_tried_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setitem(gate.RULES, "empty_diff", fail)
    monkeypatch.setattr(suspicion, "doubts_of", nothing)
    first, *others = find_broken()
    assert first == Broken("diff", "something in it", "fails with ZeroDivisionError: by nothing")
    assert {each.gate for each in others} == {"suspicion"}


def test_what_is_broken_is_told_in_one_sentence_for_each_gate() -> None:
    found = (Broken("diff", "empty_diff", LETS), Broken("diff", "plan_only", CLEAN), Broken("checks", "failed", LETS))
    assert tell_broken(found) == {
        "diff": f"the gate diff fails its own test: empty_diff {LETS} (and 1 more)",
        "checks": f"the gate checks fails its own test: failed {LETS}",
    }
    assert tell_broken(()) == {}


def test_a_table_that_cannot_be_made_is_a_broken_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> trials.Tried:
        raise KeyError("tests")

    monkeypatch.setitem(GATES, "tamper", fail)
    assert [(each.gate, each.why) for each in find_broken()] == [("tamper", "fails with KeyError: 'tests'")]
