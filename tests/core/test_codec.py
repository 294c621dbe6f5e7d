from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from value_strategies import values_of

from orchestrator.core.attempt_record import Attempt
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.job import Fix, Standing, State
from orchestrator.core.records import Card, MergeRecord
from orchestrator.core.review_record import ReviewRecord

RECORDS = [Standing, Attempt, Evidence, ReviewRecord, MergeRecord, Card]
# Made once: to make them takes longer than to draw from them.
WITH_ANY_TEXT: dict[type[Any], st.SearchStrategy[Any]] = {
    kind: values_of(kind, st.text(max_size=10)) for kind in RECORDS
}
STANDING = {"id": "a-00000000", "seq": 1, "state": "ready", "created": "", "since": ""}


@pytest.mark.parametrize("kind", RECORDS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_every_record_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    value = data.draw(WITH_ANY_TEXT[kind])
    assert from_mapping(kind, to_mapping(value)) == value


@pytest.mark.parametrize("kind", RECORDS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_mapping_holds_only_plain_values(kind: type[Any], data: st.DataObject) -> None:
    def check(value: Any) -> None:
        assert value is None or type(value) in (str, int, float, bool, list, dict), type(value)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(item)

    check(to_mapping(data.draw(WITH_ANY_TEXT[kind])))


def test_defaults_are_left_out_and_the_order_is_that_of_the_fields() -> None:
    fix = Fix("F1", "wrong", line=3)
    assert list(to_mapping(fix).items()) == [("id", "F1"), ("problem", "wrong"), ("line", 3)]


def test_a_number_may_be_written_whole_where_a_fraction_is_expected() -> None:
    value = {"number": 1, "worker": {"agent": "a"}, "base": "", "run": "", "started": "", "seconds": 2}
    assert from_mapping(Attempt, value).seconds == 2.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"seq": "1"}, "seq: expected int, got str"),
        ({"seq": True}, "seq: expected int, got bool"),
        ({"seq": None}, "seq: expected int, got NoneType"),
        ({"state": "asleep"}, "state: 'asleep' is not one of ready"),
        ({"state": []}, "state: [] is not one of ready"),
        ({"weak": 1}, "weak: expected bool, got int"),
        ({"fixes": {"id": "F1"}}, "fixes: expected a list"),
        ({"fixes": [{"id": "F1", "problem": 1}]}, "fixes[0].problem: expected str, got int"),
        ({"fixes": ["F1"]}, "fixes[0]: expected a mapping"),
        ({"needs": ["a"]}, "needs: expected a mapping"),
        ({"needs": {"a": 1}}, "needs.a: expected str, got int"),
        ({"author": {"name": "x"}}, "author: unknown key 'name'"),
    ],
)
def test_a_wrong_value_is_refused_and_its_key_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        from_mapping(Standing, {**STANDING, **changes})
    assert words in str(caught.value)


def test_a_missing_key_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match="seq"):
        from_mapping(Standing, {key: value for key, value in STANDING.items() if key != "seq"})


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_what_is_no_mapping_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a mapping"):
        from_mapping(Standing, value)


def test_a_value_that_no_file_can_hold_is_a_defect_of_the_program() -> None:
    broken = dataclasses.replace(from_mapping(Standing, STANDING), reason=b"bytes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes"):
        to_mapping(broken)


def test_a_state_is_a_state_again() -> None:
    assert from_mapping(Standing, STANDING).state is State.READY
