"""What is said of a reviewer: its newest clear verdicts, read from the ledger or noted as they came."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from builders import COMMIT, NOW, a_job, a_review, judged, the_terms

from orchestrator.adapters.ledger import Filing
from orchestrator.core.job import State
from orchestrator.core.judge import review_ended
from orchestrator.core.review_record import Finding, Lately
from orchestrator.core.suspicion import LATELY
from orchestrator.core.transitions import Move
from orchestrator.engine.verdicts import Verdicts
from orchestrator.engine.workspace import Workspace


def told(ws: Workspace, *verdicts: str, event: str = "verdict", reviewer: str = "bea") -> None:
    """Steps of the ledger that say so."""
    trailers = [(("Reviewer", reviewer), ("Verdict", each)) for each in verdicts]
    filings = [Filing(f"{event}: greet-00000001 said", {}, each) for each in trailers]
    ws.commit([], filings)


def a_verdict(verdict: str, **keys: Any) -> Move:
    job = a_job(state=State.REVIEWING, tip=COMMIT, review=1, run="greet-00000001.review-1")
    review = replace(a_review(job), reviewer=replace(a_review(job).reviewer, agent="bea"))
    return review_ended(job, review, judged(verdict, **keys), the_terms(), NOW, stat="1 file")


def test_clear_verdicts_are_counted_and_nothing_else(workspace: Workspace) -> None:
    told(workspace, "APPROVED", "REVISE", "INCONCLUSIVE", "", "REJECT", "APPROVED")
    told(workspace, "APPROVED", event="review")
    told(workspace, "APPROVED", reviewer="cid")
    assert Verdicts().of(workspace, "bea") == Lately(2, 4)
    assert Verdicts().of(workspace, "nobody") == Lately(0, 0)


def test_of_very_many_the_newest_count(workspace: Workspace) -> None:
    told(workspace, *["REVISE"] * 5, *["APPROVED"] * (LATELY - 1))
    verdicts = Verdicts()
    assert verdicts.of(workspace, "bea") == Lately(LATELY - 1, LATELY)
    verdicts.note([a_verdict("APPROVED")])
    assert verdicts.of(workspace, "bea") == Lately(LATELY, LATELY)
    finding = (Finding("blocking", "It loops."),)
    verdicts.note([a_verdict("REVISE", findings=finding), a_verdict("INCONCLUSIVE")])
    assert verdicts.of(workspace, "bea") == Lately(LATELY - 1, LATELY)


def test_what_is_noted_before_anybody_asked_is_not_counted_twice(workspace: Workspace) -> None:
    told(workspace, "APPROVED")
    verdicts = Verdicts()
    verdicts.note([a_verdict("APPROVED")])
    assert verdicts.of(workspace, "bea") == Lately(1, 1)


def test_when_the_ledger_could_not_be_written_it_is_read_again(workspace: Workspace) -> None:
    told(workspace, "APPROVED")
    verdicts = Verdicts()
    verdicts.of(workspace, "bea")
    verdicts.note([a_verdict("APPROVED")])
    verdicts.forget()
    told(workspace, "REJECT")
    assert verdicts.of(workspace, "bea") == Lately(1, 2)
