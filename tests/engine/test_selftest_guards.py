"""The guards are guarded: the self-test passes, it notices a guard that is broken, and every guard is tried by it."""

from __future__ import annotations

import ast
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from spelling_helpers import list_in_front

from orchestrator.core import gate as gate_rules
from orchestrator.core import kinds, tamper
from orchestrator.core.escapes import NOT_LOOKED
from orchestrator.core.gate import RULES
from orchestrator.core.gated import RuleOutcome
from orchestrator.core.job import MergePolicy
from orchestrator.core.review_record import Item, Verdict
from orchestrator.core.rule_words import ESCAPE_WORDS
from orchestrator.core.selftest import Case, Gate, Needs, Result
from orchestrator.core.suspicion import doubts_of, second_opinion
from orchestrator.core.trials import GATES as TRIALS
from orchestrator.core.verdict import Judgement
from orchestrator.engine import scars, selftest
from orchestrator.engine.gate_runs import open_workshop
from orchestrator.engine.history import Entry
from orchestrator.engine.selftest_files import read_gates, read_incidents
from orchestrator.engine.selftest_repositories import gate_case
from orchestrator.engine.selftest_stage import open_stage
from orchestrator.errors import InvalidFileError

PROJECT = Path(__file__).resolve().parents[2]
GATES = {gate.name: gate for gate in read_gates(checked=True)}
CASES = [(gate, case) for gate in GATES.values() for case in gate.cases]


@pytest.fixture(scope="module")
def players(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[Any, selftest.Player]]:
    """What puts cases through the real program, on one stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("tmp")))
        with open_workshop(lambda what, how_far: None) as shop, open_stage(shop.folder) as stage:
            yield selftest._players(stage)


def played(players: Mapping[Any, selftest.Player], gate: Gate, *rules: str, kinds: int = 99) -> list[Result]:
    """The cheats that these guards must stop, put through the program."""
    cases = [case for case in selftest.counted(gate) if case.refused_by in rules][:kinds]
    assert cases
    return [selftest.play(gate, case, players[gate.through]) for case in cases]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_cheat_is_stopped_and_every_control_gets_through() -> None:
    told: list[str] = []
    report = selftest.run_selftest(lambda what, how_far: told.append(how_far))
    assert [(each.gate, each.case.name, each.problem) for each in report.failures] == []
    assert (report.recall, report.specificity, report.is_perfect) == (1.0, 1.0, True)
    assert sum(each.cheats for each in report.scores) >= 60
    assert sum(each.controls for each in report.scores) >= 40
    assert told[0].startswith("0 of ")
    for kind in ("code", "writing", "research"):
        own = Counter(each.case.is_cheat for each in report.results if each.case.kind == kind)
        assert min(own[True], own[False]) >= 4, kind


# --- a guard that is broken ---


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.timeout(180)
def test_a_rule_of_the_diff_that_lets_everything_pass_is_noticed(
    players: Mapping[Any, selftest.Player], monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.setitem(gate_rules.RULES, rule, lambda spec, facts, docs: "")
    results = played(players, GATES["diff"], rule, kinds=3)
    assert [each.case.name for each in results if each.ok] == []
    assert all(each.problem for each in results)
    # A file of which git shows nothing is held for a person as well.
    assert rule == "hidden_lines" or any("slipped through as " in each.problem for each in results)


def approve(*args: object, **keys: object) -> Judgement:
    return Judgement(Verdict.APPROVED, score=1.0, items=(Item("correct", True, "app.py:1"),))


BROKEN = {
    "a reader of verdicts that takes anything for a yes": (
        "verdict",
        "orchestrator.engine.collect.judge_reply",
        approve,
        ["form", "silence", "nonce", "commit", "word", "unseen", "items", "contradiction"],
    ),
    "an end of a reviewer that nobody looks at": (
        "verdict",
        "orchestrator.engine.collect._judge_result",
        approve,
        ["end"],
    ),
    "a reviewer that is never too near": (
        "reviewer",
        "orchestrator.core.matching.is_enough",
        lambda *_: True,
        ["nobody"],
    ),
    "an approval that is enough for everything": (
        "approval",
        "orchestrator.core.judge.merge_policy",
        lambda job, terms, *, weak: (MergePolicy.AUTO, ""),
        ["weak", "untested", "protected"],
    ),
    "checks that always pass": ("checks", "orchestrator.engine.evidence.judge_checks", lambda _: "passed", ["failed"]),
    "a diff that is cut without a word": (
        "whole-diff",
        "orchestrator.engine.evidence.read_patch",
        lambda *_, max_bytes: (b"+x = 1\n", False),
        ["too_large", "shown"],
    ),
    "a checkout that nobody looks at": (
        "landing",
        "orchestrator.engine.merge._obstacle_in",
        lambda *_: None,
        ["dirty", "in_the_way"],
    ),
    "a tamper guard that finds nothing": (
        "tamper",
        "orchestrator.engine.diff_facts.look_for_tampering",
        lambda *_: (),
        ["tests_removed", "tests_skipped", "tautologies", "ci_touched"],
    ),
    "a look outside of the tree that finds nothing": (
        "escapes",
        "orchestrator.engine.escapes._find",
        lambda *_: (),
        ["config_touched", "refs_touched", "checkout_touched", "trees_touched"],
    ),
    "criteria that nobody applies": (
        "kinds",
        "orchestrator.core.kinds.judge_kind",
        lambda *_: (),
        ["duplicate_passage", "dead_link", "missing_claims", "dead_locator", "not_viewable"],
    ),
    "claims that nobody looks up": ("claims", "orchestrator.engine.collect.judge_reply", approve, ["contradicted"]),
    "an approval that nobody doubts": (
        "suspicion",
        "orchestrator.engine.collect.doubts_of",
        lambda *_: (),
        ["quick", "bare", "silent", "always"],
    ),
    "a gate whose rules are never asked": (
        "branch",
        "orchestrator.engine.diff_facts.judge_diff",
        lambda *_: (),
        ["rules"],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.timeout(180)
def test_a_guard_that_is_broken_is_noticed(
    players: Mapping[Any, selftest.Player], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    gate, target, instead, rules = BROKEN[what]
    monkeypatch.setattr(target, instead)
    results = played(players, GATES[gate], *rules)
    slipped = {each.case.refused_by for each in results if "slipped through" in each.problem}
    assert slipped == set(rules), [(each.case.name, each.problem) for each in results]


def test_a_gate_that_stops_everything_is_noticed(
    players: Mapping[Any, selftest.Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gate_rules.RULES, "plan_only", lambda spec, facts, docs: "No.")
    case = next(case for case in GATES["diff"].cases if case.name == "clean-fix")
    result = selftest.play(GATES["diff"], case, players[GATES["diff"].through])
    assert result.problem.startswith("a clean control was stopped")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("gate", "case"),
    [pytest.param(gate, case, id=case.name) for gate, case in CASES if case.needs is Needs.GATE],
)
def test_what_is_said_to_have_no_gate_has_none(players: Mapping[Any, selftest.Player], gate: Gate, case: Case) -> None:
    result = selftest.play(gate, case, players[gate.through])
    assert result.found.passed is case.is_cheat, f"{result.found}: it is decided now, so take `needs: gate` away"


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", [case for _, case in CASES if case.needs is Needs.JUDGE], ids=lambda case: case.name)
def test_no_rule_decides_what_is_left_to_a_reviewer(tmp_path: Path, case: Case) -> None:
    found = gate_case(tmp_path, case, None)
    assert [each.rule for each in found.seen.rules if each.outcome not in (RuleOutcome.OK, RuleOutcome.NOT_ASKED)] == []


# --- the register ---


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


GUARDS = [(gate, guard) for gate in GATES.values() for guard in gate.guards.values()]


@pytest.mark.parametrize(
    ("gate", "guard"), [pytest.param(*each, id=f"{each[0].name}.{each[1].rule}") for each in GUARDS]
)
def test_every_guard_has_a_case_a_test_and_an_incident(gate: Gate, guard: Any) -> None:
    own = [case for case in gate.cases if case.refused_by == guard.rule and case.needs is not Needs.GATE]
    assert own, f"{guard.rule} is tried by no case of the self-test"
    assert guard.incident in read_incidents()
    file, _, name = guard.test.partition("::")
    assert name in functions_of(PROJECT / file), guard.test


def test_every_gate_that_an_engine_tries_is_in_the_register() -> None:
    assert set(TRIALS) <= set(GATES)
    for name in ("diff", "tamper", "kinds", "suspicion"):
        assert set(TRIALS[name]().refused) == set(GATES[name].guards)


@pytest.mark.parametrize("rule", GATES["suspicion"].guards)
def test_the_register_counts_a_doubt_by_the_words_of_the_commit(rule: str) -> None:
    review, evidence = TRIALS["suspicion"]().refused[rule]
    told = second_opinion(replace(review, doubts=doubts_of(review, evidence)), None).told
    entry = Entry("", 0, "engine", f"verdict: any-00000000 another reviewer is asked: {told}", {})
    other = entry._replace(subject="verdict: any-00000000 approved by judge")
    assert scars._count(GATES["suspicion"], [entry, other]).fired == {rule: 1}


def test_every_rule_of_the_program_is_a_guard() -> None:
    assert set(GATES["diff"].guards) == set(RULES)
    assert set(GATES["kinds"].guards) == set(kinds.RULES)
    assert set(GATES["tamper"].guards) == set(tamper.RULES)
    assert {*GATES["escapes"].guards, NOT_LOOKED} == set(ESCAPE_WORDS)


def test_a_misspelling_counts_where_there_is_a_list(players: Mapping[Any, selftest.Player], tmp_path: Path) -> None:
    gate = GATES["kinds"]
    with list_in_front(tmp_path / "none", None):
        assert "misspelled-word" not in [case.name for case in selftest.counted(gate)]
    with list_in_front(tmp_path / "packages", "recieved->received\n"):
        (result,) = played(players, gate, "misspelling")
    assert (result.case.name, result.problem) == ("misspelled-word", "")


def test_every_gate_has_clean_controls() -> None:
    assert [gate.name for gate in GATES.values() if all(case.is_cheat for case in gate.cases)] == []


def test_every_incident_is_behind_a_guard_and_its_file_is_there() -> None:
    used = {guard.incident for _, guard in GUARDS}
    for incident in read_incidents().values():
        assert incident.id in used
        assert not incident.rule or (PROJECT / "rules" / f"{incident.rule}.md").is_file()


@pytest.mark.parametrize(
    ("gate", "decisions", "stopped", "told"),
    [
        ("diff", 19, 0, ""),
        ("diff", 20, 0, "diff stopped none of 20 in 30 days"),
        ("verdict", 25, 25, "verdict stopped all of 25 in 30 days"),
        ("verdict", 25, 3, ""),
        # A landing is told of only where it waits.
        ("landing", 25, 25, ""),
    ],
)
def test_a_gate_that_always_or_never_stops_its_work_is_pointed_out(
    gate: str, decisions: int, stopped: int, told: str
) -> None:
    note = scars._note(GATES[gate], scars._Count(decisions, stopped), 30)
    assert note.startswith(told)
    assert bool(note) is bool(told)


def test_a_mistake_in_a_file_of_cases_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from orchestrator.engine import selftest_files

    (tmp_path / "selftest").mkdir()
    text = (PROJECT / "orchestrator/selftest/landing.yaml").read_text("utf-8")
    (tmp_path / "selftest" / "landing.yaml").write_text(text.replace("checkout:", "chekout:", 1))
    monkeypatch.setattr(selftest_files, "files", lambda _: tmp_path)
    with pytest.raises(InvalidFileError, match="did you mean `checkout`"):
        read_gates.__wrapped__(checked=True)
