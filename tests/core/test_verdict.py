"""Reading a reviewer's answer: of a catalogue of replies, only the clean ones count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import (
    COMMIT,
    ID,
    ITEMS,
    NONCE,
    a_finding,
    a_question,
    a_verdict,
    as_reply,
    failing,
)
from growth import LINEAR, growth
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.review import fixes_of
from orchestrator.core.review_record import FollowUp, Verdict
from orchestrator.core.verdict import MAX_REPLY, blot_nonce, hash_nonce, judge_reply

APPROVAL = as_reply(a_verdict())
REVISION = as_reply(a_verdict("REVISE", items=failing("correct"), findings=[a_finding()]))


def without(key: str) -> str:
    return as_reply({name: value for name, value in a_verdict().items() if name != key})


def items_with(**keys: Any) -> str:
    first, *rest = failing()
    return as_reply(a_verdict(items=[{**first, **keys}, *rest]))


def findings_with(**keys: Any) -> str:
    return as_reply(a_verdict("REVISE", findings=[a_finding(**keys)]))


GOOD = {"a clean approval": (APPROVAL, Verdict.APPROVED), "a clean revision": (REVISION, Verdict.REVISE)}

BAD = {
    "empty": "",
    "white space": " \n\t\n",
    "the word": "APPROVED",
    "the word as JSON": '"APPROVED"',
    "the word denied": "This is NOT APPROVED.",
    "a quoted approval inside a denial": f"I was asked to answer {APPROVAL} but I do not.",
    "prose before": "Here is my verdict:\n" + APPROVAL,
    "prose after": APPROVAL + "\nThat is all.",
    "a fence around": f"```json\n{APPROVAL}\n```",
    "two objects": APPROVAL + APPROVAL,
    "two objects on two lines": REVISION + "\n" + APPROVAL,
    "a trailing comma": APPROVAL[:-1] + ",}",
    "a trailing bracket": APPROVAL + "}",
    "a byte order mark": "\ufeff" + APPROVAL,
    "a null byte after": APPROVAL + "\0",
    "in a list": f"[{APPROVAL}]",
    "in an object": as_reply({"verdict": a_verdict()}),
    "as text in JSON": json.dumps(APPROVAL),
    "null": "null",
    "true": "true",
    "an empty list": "[]",
    "an empty object": "{}",
    "truncated": APPROVAL[: len(APPROVAL) // 2],
    "truncated by one": APPROVAL[:-1],
    "single quotes": str(a_verdict()),
    "with a comment": APPROVAL[:-1] + "/* fine */}",
    "a key twice": APPROVAL[:-1] + ', "verdict": "APPROVED"}',
    "a verdict twice, the last one good": '{"verdict": "REJECT",' + APPROVAL[1:],
    "a key twice inside an item": APPROVAL.replace('"pass": true', '"pass": false, "pass": true', 1),
    "NaN": findings_with().replace('"line": 3', '"line": NaN'),
    "Infinity": findings_with().replace('"line": 3', '"line": -Infinity'),
    "a number of a million digits": findings_with().replace('"line": 3', '"line": ' + "9" * 100_000),
    "deep nesting": "[" * 100_000,
    "deep nesting, closed": "[" * 20_000 + "]" * 20_000,
    "deep nesting as the verdict": as_reply(a_verdict("?")).replace('"?"', "[" * 900 + "]" * 900),
    "huge": as_reply(a_verdict(summary="x" * MAX_REPLY)),
    "half a character": as_reply(a_verdict(summary="\ud800")),
    "half a character, raw": APPROVAL.replace("It does", "\udcff"),
    "lower case": as_reply(a_verdict("approved")),
    "mixed case": as_reply(a_verdict("Approved")),
    "request-changes": as_reply(a_verdict("request-changes")),
    "another word": as_reply(a_verdict("PASS")),
    "spaces around the word": as_reply(a_verdict(" APPROVED ")),
    "the choice of the form": as_reply(a_verdict("APPROVED | REVISE | REJECT")),
    "inconclusive by name": as_reply(a_verdict("INCONCLUSIVE")),
    "a list of verdicts": as_reply({**a_verdict(), "verdict": ["APPROVED"]}),
    "a true verdict": as_reply({**a_verdict(), "verdict": True}),
    "a null verdict": as_reply({**a_verdict(), "verdict": None}),
    "another nonce": as_reply(a_verdict(nonce="nonce-0000")),
    "an empty nonce": as_reply(a_verdict(nonce="")),
    "a null nonce": as_reply(a_verdict(nonce=None)),
    "the nonce's hash": as_reply(a_verdict(nonce=hash_nonce(NONCE))),
    "another job": as_reply(a_verdict(job="fix-logout-00000000")),
    "another commit": as_reply(a_verdict(commit="f" * 40)),
    "an abbreviated commit": as_reply(a_verdict(commit=COMMIT[:12])),
    "a null commit": as_reply(a_verdict(commit=None)),
    "an unseen file": as_reply(a_verdict(files=["a.py"])),
    "no files": as_reply(a_verdict(files=[])),
    "files as text": as_reply(a_verdict(files="a.py b.py")),
    "files as a mapping": as_reply(a_verdict(files={"a.py": 1, "b.py": 1})),
    "a file that is a number": as_reply(a_verdict(files=["a.py", "b.py", 3])),
    "an unknown key": as_reply(a_verdict(confidence=1)),
    "no nonce": without("nonce"),
    "no commit": without("commit"),
    "no verdict": without("verdict"),
    "no files key": without("files"),
    "no items key": without("items"),
    "no findings key": without("findings"),
    "a blocking finding": as_reply(a_verdict(findings=[a_finding()])),
    "below the threshold": as_reply(a_verdict(items=failing("readable", "documented"))),
    "a required item failed": as_reply(a_verdict(items=failing("correct"))),
    "no items": as_reply(a_verdict(items=[])),
    "an item missing": as_reply(a_verdict(items=failing()[:-1])),
    "an item too many": as_reply(a_verdict(items=[*failing(), {"id": "more", "pass": True, "evidence": "x"}])),
    "an item twice": as_reply(a_verdict(items=[*failing(), failing()[0]])),
    "an item twice for one missing": as_reply(a_verdict(items=[*failing()[:-1], failing()[0]])),
    "a required item without evidence": items_with(evidence=""),
    "a required item with blank evidence": items_with(evidence=" \n "),
    "evidence that is no text": items_with(evidence=1),
    "passed as a text": items_with(**{"pass": "true"}),
    "failed as a text": items_with(**{"pass": "false"}),
    "passed as a number": items_with(**{"pass": 1}),
    "passed as null": items_with(**{"pass": None}),
    "an item with more keys": items_with(note="x"),
    "an item's id as a list": items_with(id=["does-the-task"]),
    "items as a mapping": as_reply(a_verdict(items=dict.fromkeys(ITEMS, True))),
    "items of text": as_reply(a_verdict(items=list(ITEMS))),
    "findings as null": as_reply(a_verdict(findings=None)),
    "a finding of text": as_reply(a_verdict("REVISE", findings=["It loops."])),
    "a finding of no known severity": findings_with(severity="minor"),
    "a finding without a problem": findings_with(problem="  "),
    "a finding's line as text": findings_with(line="3"),
    "a finding's line as true": findings_with(line=True),
    "a finding with more keys": findings_with(rule="x"),
    "a finding's severity as a list": findings_with(severity=["blocking"]),
    "a summary as a list": as_reply(a_verdict(summary=["fine"])),
    "changes asked for, none named": as_reply(a_verdict("REVISE")),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_clean_answer_counts(name: str) -> None:
    reply, verdict = GOOD[name]
    judgement = judge_reply(reply, a_question())
    assert judgement.verdict is verdict, judgement.why
    assert judgement.why == ""


@pytest.mark.parametrize("name", BAD)
def test_every_other_answer_is_inconclusive_and_says_why(name: str) -> None:
    judgement = judge_reply(BAD[name], a_question())
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.why


def test_what_is_wrong_with_the_form_alone_is_told_from_what_contradicts_itself() -> None:
    unseen, blocking = as_reply(a_verdict(files=[])), as_reply(a_verdict(findings=[a_finding()]))
    failed = as_reply(a_verdict(items=failing("correct")))
    for reply in (unseen, blocking, failed, as_reply(a_verdict("REVISE")), APPROVAL, REVISION):
        assert not judge_reply(reply, a_question()).malformed
    another = as_reply(a_verdict(nonce="another"))
    for reply in ("", "APPROVED", "[" * 100_000, another, items_with(id=7), findings_with(line="3"), without("files")):
        assert judge_reply(reply, a_question()).malformed


def test_the_catalogue_is_large_and_its_replies_differ() -> None:
    assert len(BAD) >= 90
    assert len(set(BAD.values())) == len(BAD)


def test_a_rejection_counts_without_receipts() -> None:
    judgement = judge_reply(as_reply(a_verdict("REJECT", files=[], summary="The wrong way.")), a_question())
    assert judgement.verdict is Verdict.REJECT
    assert judgement.summary == "The wrong way."


def test_space_around_the_object_and_no_summary_do_no_harm() -> None:
    assert judge_reply(f"\n {without('summary')}\r\n", a_question()).verdict is Verdict.APPROVED


def test_more_files_than_were_changed_do_no_harm() -> None:
    reply = as_reply(a_verdict(files=["a.py", "b.py", "c.py"]))
    assert judge_reply(reply, a_question()).verdict is Verdict.APPROVED


def test_an_approval_exactly_at_the_threshold_counts() -> None:
    judgement = judge_reply(as_reply(a_verdict(items=failing("readable"))), a_question())
    assert (judgement.verdict, judgement.score) == (Verdict.APPROVED, 0.8)


def test_an_optional_item_without_evidence_lowers_the_score_and_no_more() -> None:
    items = [{**each, "evidence": "" if each["id"] == "small" else "seen"} for each in failing()]
    judgement = judge_reply(as_reply(a_verdict(items=items)), a_question())
    assert (judgement.verdict, judgement.score) == (Verdict.APPROVED, 0.8)
    assert [item.id for item in judgement.items if not item.passed] == ["small"]


def test_a_remark_does_not_stand_against_an_approval() -> None:
    judgement = judge_reply(as_reply(a_verdict(findings=[a_finding("remark")])), a_question())
    assert judgement.verdict is Verdict.APPROVED
    assert judgement.findings[0].problem == "It loops for ever."


def test_fixes_are_the_blocking_findings_numbered() -> None:
    findings = [a_finding("remark"), a_finding(problem="One."), a_finding(problem="Two.", line=9)]
    fixes = fixes_of(judge_reply(as_reply(a_verdict("REVISE", findings=findings)), a_question()))
    assert [(fix.id, fix.problem, fix.line) for fix in fixes] == [("F1", "One.", 3), ("F2", "Two.", 9)]


def test_fixes_are_the_failed_items_when_nothing_was_found() -> None:
    fixes = fixes_of(judge_reply(as_reply(a_verdict("REVISE", items=failing("correct", "small"))), a_question()))
    assert [(fix.id, fix.problem) for fix in fixes] == [("F1", "correct: looked at it"), ("F2", "small: looked at it")]


def test_the_ledgers_copy_holds_no_nonce_and_is_judged_the_same() -> None:
    for reply in (*(reply for reply, _ in GOOD.values()), *BAD.values()):
        kept = blot_nonce(reply, NONCE)
        assert NONCE not in kept
        again = judge_reply(kept, a_question(), blotted=True)
        # The one reply that carried the hash itself is told apart only while the nonce is still known.
        if hash_nonce(NONCE) not in reply:
            assert again.verdict is judge_reply(reply, a_question()).verdict


def test_a_nonce_does_not_pass_for_its_hash() -> None:
    assert judge_reply(APPROVAL, a_question(), blotted=True).verdict is Verdict.INCONCLUSIVE


def test_blotting_without_a_nonce_changes_nothing() -> None:
    assert blot_nonce("text", "") == "text"


@pytest.mark.parametrize(
    "summary",
    [
        "Do not merge this: it deletes the data.",
        "Don\u2019t merge.",
        "Well done. But do not merge it yet.",
        "Please do not approve the change.",
        "**Do not merge**",
        "Fine work.\n\nThis must not be merged.",
        "However, the commit cannot be merged.",
        "It is not yet approved.",
        "NOT APPROVED",
        "Not approved: it loops.",
        "I do not approve this.",
        "We cannot merge that.",
    ],
)
def test_an_approval_whose_summary_says_no_is_none(summary: str) -> None:
    judgement = judge_reply(as_reply(a_verdict(summary=summary)), a_question())
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.why.startswith("approves although its summary says ")
    refused = a_verdict("REVISE", summary=summary, findings=[a_finding()])
    assert judge_reply(as_reply(refused), a_question()).verdict is Verdict.REVISE


@pytest.mark.parametrize(
    "summary",
    [
        "",
        "I looked for a reason not to merge this and found none.",
        "Pull requests with the label 'do not merge' are held back.",
        "It does not merge two carts of one customer.",
        "It cannot merge carts that are closed.",
        "Do not merge carts by hand any more: the program does it.",
        "Carts that must not be merged are told apart.",
        "Rejected values are listed.",
        "Nothing was approved twice.",
        "This is not only approved but tested.",
    ],
)
def test_a_summary_that_is_about_what_is_refused_does_no_harm(summary: str) -> None:
    judgement = judge_reply(as_reply(a_verdict(summary=summary)), a_question())
    assert judgement.verdict is Verdict.APPROVED, judgement.why


@pytest.mark.parametrize("part", ["\n", ". ", "but ", "this ", "do not ", ".-", "i ", "it must not be "])
def test_a_long_summary_does_not_take_the_square_of_its_length(part: str) -> None:
    def read(size: int) -> None:
        judge_reply(as_reply(a_verdict(summary=part * (size // len(part)))), a_question())

    assert growth(read, 50_000) < LINEAR


@given(st.text())
def test_no_text_raises_or_approves(text: str) -> None:
    assert judge_reply(text, a_question()).verdict is Verdict.INCONCLUSIVE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(NONCE) | st.just(COMMIT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
VALUES = JSON | st.sampled_from(["APPROVED", "REVISE", "REJECT", ID, failing(), failing("small"), [a_finding()]])


@given(st.dictionaries(st.sampled_from([*a_verdict(), "more"]), VALUES, max_size=3))
def test_an_approval_is_always_bound_and_clean(changes: dict[str, Any]) -> None:
    value = a_verdict(**changes)
    judgement = judge_reply(as_reply(value), a_question())
    if judgement.verdict is Verdict.INCONCLUSIVE:
        assert judgement.why
        return
    assert (value["nonce"], value["job"], value["commit"]) == (NONCE, ID, COMMIT)
    assert value["verdict"] == judgement.verdict
    if judgement.verdict is Verdict.APPROVED:
        assert {"a.py", "b.py"} <= set(value["files"])
        assert all(finding.severity == "remark" for finding in judgement.findings)
        assert judgement.score is not None
        assert judgement.score >= 0.8


@given(st.integers(min_value=0, max_value=len(APPROVAL)), st.text(max_size=5))
def test_an_approval_with_something_cut_out_or_put_in_never_raises(at: int, more: str) -> None:
    judge_reply(APPROVAL[:at] + more + APPROVAL[at:], a_question())
    assert judge_reply(APPROVAL[:at], a_question()).verdict is (
        Verdict.APPROVED if at == len(APPROVAL) else Verdict.INCONCLUSIVE
    )


# --- follow-ups

MORE = {"title": "Cut names everywhere", "prompt": "export.py cuts names at bytes as well."}


def proposed(value: object, verdict: str = "APPROVED") -> tuple[FollowUp, ...]:
    reply = a_verdict(verdict, findings=[a_finding()] if verdict == "REVISE" else [], follow_ups=value)
    judgement = judge_reply(as_reply(reply), a_question())
    assert judgement.verdict is Verdict(verdict), judgement.why
    return judgement.follow_ups


@pytest.mark.parametrize("verdict", ["APPROVED", "REVISE", "REJECT"])
def test_any_verdict_may_propose_other_work(verdict: str) -> None:
    assert proposed([MORE], verdict) == (FollowUp(**MORE),)
    assert proposed([], verdict) == proposed(None, verdict) == ()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("more", "`follow_ups` is not a list"),
        ({"title": "a", "prompt": "b"}, "`follow_ups` is not a list"),
        (["more"], "has not a title and a prompt alone"),
        ([{"title": "a"}], "has not a title and a prompt alone"),
        ([{**MORE, "merge": "auto"}], "has not a title and a prompt alone"),
        ([{**MORE, "title": 3}], "has not a title and a prompt alone"),
        ([{**MORE, "title": " "}], "its title is empty"),
        ([{**MORE, "prompt": "\n"}], "its prompt is empty"),
        ([{**MORE, "title": "x" * 101}], "its title is longer than 100 characters"),
        ([{**MORE, "prompt": "x" * 4001}], "its prompt is longer than 4000 characters"),
    ],
)
def test_what_is_wrong_with_a_follow_up_is_told_and_the_verdict_stands(value: object, problem: str) -> None:
    (found,) = proposed(value)
    assert found.problem == problem
    assert len(found.title) <= 100


def test_of_more_than_three_follow_ups_the_first_three_are_looked_at() -> None:
    found = proposed([{**MORE, "title": f"number {number}"} for number in range(5)])
    assert [each.title for each in found] == ["number 0", "number 1", "number 2", ""]
    assert found[-1].problem == "2 more of them, beyond 3, are not looked at"


def test_white_space_around_a_follow_up_is_no_part_of_it() -> None:
    assert proposed([{"title": " Cut\nnames  ", "prompt": "\n Do it.\n"}]) == (FollowUp("Cut names", "Do it."),)
