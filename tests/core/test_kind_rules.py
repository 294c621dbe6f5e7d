"""The rules that criteria turn on: each refuses what it is for, and none does while it is turned off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import a_change, a_spec

from orchestrator.core.criteria import Checks, ClaimRules, Duplicates, Length, Links, Spelling
from orchestrator.core.evidence_record import Claim, Failure
from orchestrator.core.job import Expects, Kind
from orchestrator.core.kinds import RULES, KindFacts, is_looked_for, judge_kind, notes_on
from orchestrator.core.prose import Document

PASSAGE = "This is the passage that is said twice in the text and that is why it is refused by the rule of it"
TEXT = f"{PASSAGE}.\n\n{PASSAGE}.\n\nIt is teh way, see [there](gone.md).\n\nTODO: the rest.\n"
FACTS = KindFacts(
    (a_change("a.md"), replace(a_change("out.bin", "A"), added=None), a_change("b.md")),
    documents=(Document("a.md", TEXT),),
    unread=(("b.md", "is not UTF-8 text"),),
    claims=(Claim("c1", "x"), Claim("c1", "y", "gone.csv"), Claim("c2", "z", "RFC 9110")),
    known={"teh": "the"},
)
SPEC = a_spec(kind=Kind.RESEARCH, deliverables=("out.bin",))
EVERYTHING = Checks(
    viewable=True,
    duplicates=Duplicates(12),
    placeholders=True,
    spelling=Spelling(),
    length=Length(max_words=5),
    links=Links(),
    claims=ClaimRules(),
)


def rules(checks: Checks, facts: KindFacts = FACTS, *, expects: Expects = Expects.CHANGE) -> set[str]:
    return {each.rule for each in judge_kind(replace(SPEC, expects=expects), checks, facts)}


def test_every_rule_refuses_what_it_is_for() -> None:
    without = replace(FACTS, claims=())
    assert rules(EVERYTHING) | rules(EVERYTHING, without) == set(RULES)
    assert "missing_claims" in rules(EVERYTHING, without)


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ({"viewable": False}, {"not_viewable"}),
        ({"duplicates": None}, {"duplicate_passage"}),
        ({"placeholders": False}, {"placeholder"}),
        ({"spelling": None}, {"misspelling"}),
        ({"length": None}, {"length"}),
        ({"links": None}, {"dead_link"}),
        ({"links": Links(relative=False)}, {"dead_link"}),
        ({"claims": None}, {"missing_locator", "dead_locator", "claims_form"}),
    ],
)
def test_a_rule_that_is_turned_off_refuses_nothing(off: dict[str, object], gone: set[str]) -> None:
    assert rules(EVERYTHING) - rules(replace(EVERYTHING, **off)) == gone  # type: ignore[arg-type]


def test_a_job_may_repeat_itself_and_name_a_placeholder() -> None:
    spec = replace(SPEC, repeats=True, prompt="Say in a paragraph what TODO means.")
    found = {each.rule for each in judge_kind(spec, EVERYTHING, FACTS)}
    assert rules(EVERYTHING) - found == {"duplicate_passage", "placeholder"}


def test_a_page_that_was_not_read_is_noted_and_stops_nothing() -> None:
    facts = KindFacts((a_change("a.html"),), passed_over=(("a.html", "is larger than 256 kB"), ("b.html", "is odd")))
    asked = Checks(duplicates=Duplicates())
    assert judge_kind(a_spec(kind=Kind.WRITING), asked, facts) == ()
    assert list(notes_on(asked, facts, "")) == [
        "nothing was looked for in a.html, which is larger than 256 kB (and in 1 more)"
    ]


@pytest.mark.parametrize(
    "off",
    [
        {},
        {"viewable": False},
        {"duplicates": None},
        {"placeholders": False},
        {"spelling": None},
        {"length": None},
        {"links": Links(relative=False)},
        {"claims": None},
        {"duplicates": None, "spelling": None, "length": None, "links": None, "claims": None, "placeholders": False},
    ],
)
def test_the_rules_that_can_refuse_are_those_that_are_said_to_be_looked_for(off: dict[str, object]) -> None:
    checks = replace(EVERYTHING, **off)  # type: ignore[arg-type]
    said = {rule for rule in RULES if is_looked_for(rule, checks, speller="codespell 2")}
    assert said == rules(checks) | rules(checks, replace(FACTS, claims=()))
    unspelled = {rule for rule in RULES if is_looked_for(rule, checks, speller="")}
    assert unspelled == said - {"misspelling"}


def test_a_list_of_claims_that_cannot_be_read_is_told_as_that() -> None:
    bad = Failure("claims_form", "The list of claims cannot be read: is empty", "a.md", 3)
    asked = Checks(claims=ClaimRules())
    assert judge_kind(SPEC, asked, replace(FACTS, claims=(), unread=(), bad_claims=(bad,))) == (bad,)


def test_work_that_only_removes_files_still_owes_its_claims() -> None:
    removed = KindFacts((a_change("a.md", "D"),), documents=(Document("a.md", None, TEXT),))
    assert rules(EVERYTHING, removed) == {"missing_claims"}
    assert rules(EVERYTHING, KindFacts(())) == set()
    assert rules(EVERYTHING, KindFacts(()), expects=Expects.NO_CHANGE) == {"missing_claims"}


def test_what_could_not_be_checked_is_noted() -> None:
    german = Document("g.md", "Das ist der Text, und er ist nicht so lang, wie er sein soll.")
    asked = Checks(spelling=Spelling())
    assert "codespell is not installed" in "".join(notes_on(asked, FACTS, ""))
    assert list(notes_on(asked, FACTS, "codespell 2")) == []
    assert "not in English: g.md" in "".join(notes_on(asked, replace(FACTS, documents=(german,)), "codespell 2"))
    assert list(notes_on(Checks(), FACTS, "")) == []
