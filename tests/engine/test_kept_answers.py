"""A reviewer's answer comes to the same for the engine that got it and for whoever reads it in the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from builders import COMMIT, ID, ITEMS, NONCE, a_finding, a_job, a_review, a_verdict, evidence_of
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.audit_reviews import reread
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.adapters.run_values import RunResult
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.review import fixes_of
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.rounds import carry_on
from orchestrator.core.verdict import Judgement
from orchestrator.engine.collect import end_review

ODD = st.text(st.sampled_from("ab .\n\t\x7f\x85\u2028\ufeff\ufffe\ue000é😀\"'\\:#-"), max_size=6)


def both_ways(reply: str) -> tuple[Judgement, Judgement]:
    """What an answer comes to in the engine, and what it comes to as the ledger keeps it."""
    job = a_job()
    evidence = evidence_of(job)
    review = replace(a_review(job, commit=COMMIT), items_asked=ITEMS)
    result = RunResult(review.run, RunStatus.ENDED, exit=0, report=reply)
    ended, judgement = end_review(review, evidence, result, NONCE, "2026-11-22T03:00:00Z")
    kept = parse_record(ReviewRecord, format_record(ended), "review-1.yaml")
    assert kept.verdict is judgement.verdict
    return judgement, reread(ID, kept, evidence)


def seen(judgement: Judgement) -> Any:
    fixes = carry_on(fixes_of(judgement), (), (), "bea")
    return judgement.verdict, judgement.why, judgement.score, [each.key for each in fixes]


@settings(max_examples=150, deadline=None)
@given(ODD, ODD, ODD, st.booleans(), st.sampled_from(["APPROVED", "REVISE"]))
def test_whatever_characters_it_has(summary: str, file: str, problem: str, escaped: bool, verdict: str) -> None:
    findings = [a_finding("remark", file=file, problem=problem)]
    reply = json.dumps(a_verdict(verdict, summary=summary, findings=findings), ensure_ascii=escaped)
    engine, ledger = both_ways(reply)
    assert seen(engine) == seen(ledger)


def test_a_no_behind_a_character_that_no_file_may_hold_is_read_alike() -> None:
    reply = json.dumps(a_verdict(summary="Fine.\x85do not merge"), ensure_ascii=False)
    engine, ledger = both_ways(reply)
    assert engine.verdict is ledger.verdict
    plain, _ = both_ways(reply.replace("\x85", " "))
    assert plain.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("line", [10**30, -(10**30), 10**400])
def test_a_number_that_no_file_of_the_ledger_can_hold_is_no_line(line: int) -> None:
    engine, ledger = both_ways(json.dumps(a_verdict("REVISE", findings=[a_finding(line=line)])))
    assert engine.verdict is ledger.verdict is Verdict.INCONCLUSIVE
    assert engine.malformed
    assert engine.why == "has a finding whose `line` is that of no file"
