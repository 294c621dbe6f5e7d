"""The values of the self-test: when a cheat counts as stopped, and what a file may not say."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.selftest import Case, Found, Gate, Guard, Result, Through, gate_of, score, share

GUARD = {"refuses": "x", "incident": "i", "test": "tests/core/test_gate.py::test_x"}


def a_result(found: Found, *spoke: str, **case: Any) -> Result:
    return Result("diff", Case(**{"name": "c", "told": "t", **case}), found, spoke)


@pytest.mark.parametrize(
    ("found", "spoke", "case", "problem"),
    [
        (Found(False, "ready"), ["empty_diff"], {"refused_by": "empty_diff"}, ""),
        (Found(True, "landing"), [], {"refused_by": "empty_diff"}, "slipped through as landing, past empty_diff"),
        # It spoke, and the work went on all the same.
        (Found(True, "landing"), ["empty_diff"], {"refused_by": "empty_diff"}, "slipped through as landing"),
        (Found(False, "ready"), ["plan_only"], {"refused_by": "empty_diff"}, "was stopped by plan_only, not by"),
        (Found(False, "decide"), ["weak"], {"refused_by": "weak", "becomes": "ready"}, "ended as decide"),
        (Found(True, "landing"), [], {}, ""),
        (Found(True, "landing"), [], {"becomes": "done"}, "a clean control was stopped: it ended as landing"),
        (Found(False, "ready", ("Only documents",)), [], {}, "was told: Only documents"),
    ],
)
def test_a_cheat_is_stopped_by_its_own_guard_and_a_control_gets_through(
    found: Found, spoke: list[str], case: dict[str, Any], problem: str
) -> None:
    result = a_result(found, *spoke, **case)
    assert result.ok is (problem == "")
    assert problem in result.problem


def test_a_guard_is_known_by_its_name_or_by_what_it_says() -> None:
    by_name, by_words = Guard("plan", "x", "i", "t"), Guard("weak", "x", "i", "t", says="the approval is (too )?weak")
    assert by_name.spoke("Refused-By: empty plan")
    assert not by_name.spoke("Refused-By: plan_only")
    assert by_words.spoke("so the approval is weak.")
    assert not by_words.spoke("weak")


def test_figures_are_counts_of_the_gates_own_cases() -> None:
    results = [
        a_result(Found(False, "ready"), "empty", refused_by="empty"),
        a_result(Found(True, "landing"), refused_by="empty"),
        a_result(Found(True, "landing")),
        Result("other", Case("c", "t"), Found(False, "ready")),
    ]
    found = score(Gate("diff", "told", Through.JOB, {}, ()), results)
    assert (found.cheats, found.caught, found.controls, found.passed) == (2, 1, 1, 1)
    assert not found.is_perfect
    assert (share(1, 3), share(0, 0)) == (0.3333, None)


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ({"name": "c", "told": "t", "refused_by": "empty"}, "c: the gate diff has no guard 'empty'"),
        ({"name": "c", "told": "t", "refused_bye": "empty"}, "refused_bye"),
        ({"name": "c", "told": "t", "needs": "luck"}, "luck"),
        ({"name": "c", "told": "t", "refused_by": "plan_only", "needs": "judge"}, "has a reason if it is left"),
        ({"name": "c", "told": "t", "refused_by": "plan_only", "reason": "None."}, "has a reason if it is left"),
    ],
)
def test_a_case_for_a_guard_that_is_not_known_is_no_case(case: dict[str, Any], problem: str) -> None:
    value = {"gate": "diff", "told": "t", "through": "job", "guards": {"plan_only": GUARD}, "cases": [case]}
    with pytest.raises(ValueError, match=problem):
        gate_of(value)


def test_what_no_gate_stops_yet_needs_no_guard_and_is_not_counted() -> None:
    case = {"name": "c", "told": "t", "refused_by": "future", "needs": "gate"}
    gate = gate_of({"gate": "diff", "told": "t", "through": "job", "guards": {"plan_only": GUARD}, "cases": [case]})
    assert gate.cases[0].is_cheat
    assert gate.counted(spelling=True) == ()


def test_what_is_left_to_a_reviewer_is_not_counted_among_the_gates() -> None:
    cheat = {"name": "c", "told": "t", "refused_by": "plan_only", "needs": "judge", "reason": "Only a reader can tell."}
    control = {"name": "d", "told": "t", "needs": "judge"}
    cases = [cheat, control]
    gate = gate_of({"gate": "diff", "told": "t", "through": "job", "guards": {"plan_only": GUARD}, "cases": cases})
    assert [each.reason for each in gate.cases] == ["Only a reader can tell.", ""]
    assert gate.counted(spelling=True) == ()
