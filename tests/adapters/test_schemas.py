"""What a person is told about a file that does not fit its schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import orchestrator
from orchestrator.adapters.schemas import find_problems, load_schema, validate
from orchestrator.errors import InvalidFileError

RULE = {"rule": "Look twice.", "incident": "The comma", "date": "2026-03-11", "enforced_by": "review"}
CRITERIA = {"items": [{"id": "a", "question": "Is it?"}]}


def problem(value: object, schema: str) -> InvalidFileError:
    problems = find_problems(value, schema, file="f.md")
    assert len(problems) == 1, problems
    return problems[0]


def test_a_good_value_passes() -> None:
    validate(RULE, "rule", file="f.md")
    validate(CRITERIA, "criteria", file="f.yaml")


def test_the_error_names_file_line_and_key() -> None:
    with pytest.raises(InvalidFileError) as caught:
        validate({**RULE, "rule": 5}, "rule", file="rules/1.md", lines={(): 1, ("rule",): 2})
    assert str(caught.value) == "rules/1.md:2: rule: must be text, is 5"
    assert "at most 140 characters" in caught.value.hint


def test_an_unknown_key_gets_a_suggestion_and_the_allowed_ones() -> None:
    reason = problem({"backend": "claude", "modle": "x"}, "soul").reason
    assert reason.startswith("unknown key; did you mean `model`? Allowed here: backend, drain, family, ")


def test_every_unknown_key_is_named() -> None:
    problems = find_problems({**RULE, "one": 1, "two": 2}, "rule")
    assert [one.key for one in problems] == ["one", "two"]


def test_a_missing_key_is_named() -> None:
    missing = problem({"rule": "x", "incident": "y", "date": "2026-03-11"}, "rule")
    assert (missing.key, missing.reason) == ("enforced_by", "this key is missing")


def test_a_wrong_choice_lists_the_choices() -> None:
    assert problem({**RULE, "enforced_by": "reviews"}, "rule").reason == (
        'is "reviews"; allowed: "code", "prompt", "review"; did you mean `review`?'
    )


def test_a_date_that_does_not_exist_is_refused() -> None:
    assert "is not a valid date" in problem({**RULE, "date": "2026-02-30"}, "rule").reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"items": []}, "has 0 entries; at least 1 are allowed"),
        ({**CRITERIA, "threshold": 0}, "is 0; must be more than 0"),
        ({**CRITERIA, "threshold": 1.5}, "is 1.5; must be at most 1"),
        ({**CRITERIA, "threshold": True}, "must be a number, is true"),
    ],
)
def test_limits_are_told_in_words(value: object, reason: str) -> None:
    assert problem(value, "criteria").reason == reason


def test_a_key_inside_a_list_is_named_with_its_position() -> None:
    value = {"items": [{"id": "a", "question": "Is it?"}, {"id": "b", "question": ""}]}
    wrong = find_problems(value, "criteria", lines={("items",): 3, ("items", 1): 6})[0]
    assert (wrong.key, wrong.line) == ("items[1].question", 6)


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidFileError) as caught:
        validate({"rule": 1, "date": 2}, "rule", file="r.md")
    assert "(3 more: " in caught.value.reason
    assert "r.md" not in caught.value.reason


def test_all_shipped_schemas_load() -> None:
    folder = Path(orchestrator.__file__).parent / "schemas"
    names = {path.name.removesuffix(".schema.json") for path in folder.glob("*.schema.json")}
    assert {"rule", "soul", "skill", "criteria"} <= names
    assert all(load_schema(name)["title"] for name in names)


@pytest.mark.parametrize("name", ["criteria", "claims", "verdict"])
def test_every_key_says_what_it_is_and_shows_an_example(name: str) -> None:
    def bare(schema: Any, where: str) -> Iterator[str]:
        for key, own in schema.get("properties", {}).items():
            has_default = "default" in own or own.get("type") == "object" or key in schema.get("required", [])
            if not (own.get("title") and own.get("description") and own.get("examples")) or not (
                has_default or f"{where}{key}" == "threshold"
            ):
                yield where + key
            yield from bare(own, f"{where}{key}.")
            yield from bare(own.get("items", {}), f"{where}{key}[].")
            for example in own.get("examples", []):
                Draft202012Validator(own).validate(example)

    assert list(bare(load_schema(name), "")) == []


def test_a_schema_that_does_not_exist_is_an_error_of_ours() -> None:
    with pytest.raises(FileNotFoundError):
        validate({}, "no-such-schema")
