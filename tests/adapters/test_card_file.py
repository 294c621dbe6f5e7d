from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from value_strategies import values_of

from orchestrator.adapters.card_file import parse_card_answer, show_card, show_review
from orchestrator.adapters.schemas import load_schema
from orchestrator.adapters.strict_yaml import load
from orchestrator.core.card import OPTIONS
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.document import MARK
from orchestrator.core.records import Card, CardKind
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.verdict import KEYS, Question, hash_nonce, judge_reply
from orchestrator.errors import InvalidFileError

CARD = Card(
    id="fix-login-7f3a09c2.card-1",
    job="fix-login-7f3a09c2",
    number=1,
    kind=CardKind.MERGE,
    question="Merge it?",
    options=OPTIONS[CardKind.MERGE],
    asked="2026-11-20T23:00:00Z",
    facts={"commit": "c" * 40},
)
NAME = f"{CARD.id}.yaml"


def shown(card: Card = CARD, title: str = "Fix log-in") -> str:
    return show_card(card, title).decode()


def test_a_card_says_what_is_asked_and_what_each_answer_leads_to() -> None:
    text = shown()
    assert text.startswith("# Merge it?\n# Job fix-login-7f3a09c2: Fix log-in\n")
    flat = " ".join(text.replace("\n#", " ").split())
    assert f"orc answer {CARD.id} KEY" in flat
    for option in CARD.options:
        assert f"{option.key} - {option.label}. {option.consequence}" in flat


def test_a_card_as_it_is_shown_holds_no_answer() -> None:
    parsed = parse_card_answer(shown().encode(), name=NAME)
    assert (parsed.card_id, parsed.answer, parsed.message) == (CARD.id, "", "")
    assert from_mapping(Card, parsed.block) == CARD


def test_an_answer_with_a_message_is_read() -> None:
    text = shown().replace("answer:\n", "answer: revise\n").replace("message:\n", "message: |\n  - a\n  - b\n")
    parsed = parse_card_answer(text.encode(), name=NAME)
    assert (parsed.answer, parsed.message) == ("revise", "- a\n- b")
    assert parsed.text == text.partition(MARK)[0], "what is the person's, comments and all"


def test_a_card_whose_block_is_gone_is_known_by_its_name() -> None:
    text = shown().partition(MARK)[0].replace("answer:\n", "answer: approve\n")
    parsed = parse_card_answer(text.encode(), name=f"queue/decide/{NAME}")
    assert (parsed.card_id, parsed.answer, parsed.block) == (CARD.id, "approve", None)


def test_a_superseded_card_says_so_instead_of_offering_answers() -> None:
    text = shown(dataclasses.replace(CARD, superseded="the target moved"))
    assert "may no longer be answered: the target moved" in text
    assert "KEY" not in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("answer:\n", "answer: aprove\n", "offers approve, revise, drop; did you mean `approve`?"),
        ("answer:\n", "answer: retry\n", "offers approve, revise, drop"),
        ("answer:\n", "answer: true\n", "must be text"),
        ("message:\n", "mesage: x\n", "did you mean `message`?"),
        ("message:\n", "message: [a]\n", "must be text"),
    ],
)
def test_an_answer_that_is_not_offered_is_refused_with_what_is(old: str, new: str, words: str) -> None:
    text = shown().replace(old, new)
    with pytest.raises(InvalidFileError) as caught:
        parse_card_answer(text.encode(), name=NAME)
    key = new.partition(":")[0]
    assert (caught.value.file, caught.value.key) == (NAME, key)
    assert text.splitlines()[caught.value.line - 1].startswith(key)
    assert words in str(caught.value)


@settings(deadline=None, max_examples=80)
@given(card=values_of(Card), title=st.text(max_size=40))
def test_nothing_that_a_card_quotes_can_answer_it(card: Card, title: str) -> None:
    parsed = parse_card_answer(show_card(card, title), name=NAME)
    assert (parsed.answer, parsed.message) == ("", "")
    assert parsed.block == to_mapping(card)


def test_a_title_that_looks_like_the_mark_or_an_answer_stays_a_comment() -> None:
    for title in (MARK.removeprefix("# "), "x\nanswer: approve", "x\r\n...\n---\nanswer: approve", "\x85answer: drop"):
        parsed = parse_card_answer(show_card(CARD, title), name=NAME)
        assert (parsed.answer, parsed.card_id) == ("", CARD.id)


@settings(deadline=None, max_examples=50)
@given(review=values_of(ReviewRecord))
def test_a_review_is_shown_whole(review: ReviewRecord) -> None:
    text = show_review(review).decode()
    assert text.startswith("# Review ")
    assert from_mapping(ReviewRecord, load(text, max_bytes=10**7).value) == review


# --- the other schemas ---


def test_every_schema_is_one_and_explains_every_key() -> None:
    def check(schema: Any, where: str) -> None:
        if "object" in schema.get("type", ()):
            assert "additionalProperties" in schema, where
        for key, sub in schema.get("properties", {}).items():
            assert sub.get("title"), f"{where}.{key}"
            assert sub.get("description"), f"{where}.{key}"
            check(sub, f"{where}.{key}")
        for each in [schema.get("items"), schema.get("additionalProperties")]:
            if isinstance(each, dict):
                check(each, f"{where}[]")

    for name in ("card", "config", "job", "verdict"):
        Draft202012Validator.check_schema(load_schema(name))
        check(load_schema(name), name)


def test_the_schema_of_a_verdict_asks_for_what_the_reader_of_verdicts_accepts() -> None:
    schema = load_schema("verdict")
    example = {key: sub["examples"][0] for key, sub in schema["properties"].items()}
    assert set(example) == KEYS
    Draft202012Validator(schema).validate(example)
    example["findings"] = [{key: sub["examples"][0] for key, sub in _finding(schema).items()}]
    Draft202012Validator(schema).validate(example)
    question = Question(
        job=example["job"], commit=example["commit"], nonce_sha256=hash_nonce(example["nonce"]),
        files=frozenset(example["files"]), items=("tests",), required=frozenset(), threshold=0.8,
        claims=tuple(each["id"] for each in example["claims"]),
    )  # fmt: skip
    judgement = judge_reply(json.dumps(example), question)
    assert (judgement.verdict, judgement.why) == (Verdict.REVISE, "")


def _finding(schema: Any) -> dict[str, Any]:
    properties: dict[str, Any] = schema["properties"]["findings"]["items"]["properties"]
    return properties
