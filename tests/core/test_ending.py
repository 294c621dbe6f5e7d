"""What an ended job leaves: where its work is, what can be seen of it, what it used, what speaks against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import BASE, COMMIT, LATER, NOW, a_job, a_merge, a_review, a_spec, evidence_of

from orchestrator.core.attempt_record import Attempt, Spoke
from orchestrator.core.card import new_card
from orchestrator.core.ending import LONGEST, MOST_RISKS, Read, Spend, ending_of
from orchestrator.core.evidence_record import Evidence, Preview
from orchestrator.core.job import Expects, State, Worker
from orchestrator.core.records import Card, CardKind, MergeRecord
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import Usage

DONE: dict[str, Any] = {"state": State.DONE, "approved": COMMIT, "tip": COMMIT, "merged": "d" * 40}


def records(*known: Any) -> Read:
    """These records of a job."""
    found = {(type(each), each.number): each for each in known}
    return lambda kind, number: found.get((kind, number))


def approved(kind: CardKind, number: int = 1, commit: str = COMMIT) -> Card:
    """A card that a person said yes to."""
    card = new_card(a_job(), kind, "Take it?", NOW, facts={"commit": commit})
    return replace(card, number=number, answer="approve", by="human:ada")


def test_merged_work_is_named_by_its_commit_and_shown_by_its_first_deliverables() -> None:
    job = a_job(merge=1, evidence=1, **DONE)
    previews = tuple(Preview(f"docs/{n}.md", "text, 9 lines", 1, f"\n# Part {n}\n") for n in range(3))
    ending = ending_of(job, records(a_merge(a_job(approved=COMMIT)), evidence_of(job, previews=previews)))
    assert ending.delivered is not None
    assert ending.delivered.what == f"on main as {'d' * 12}"
    assert ending.delivered.stat == "1 file changed, 1 insertion(+)"
    assert ending.delivered.previews == (
        "docs/0.md: text, 9 lines, begins: # Part 0",
        "docs/1.md: text, 9 lines, begins: # Part 1",
    )
    assert ending.risks == ()


def test_a_branch_and_a_report_are_named_too() -> None:
    branch = a_job(**{**DONE, "merged": ""})
    report = a_job(spec=a_spec(expects=Expects.NO_CHANGE), state=State.DONE)
    told = [ending.delivered.what for each in (branch, report) if (ending := ending_of(each, records())).delivered]
    assert told == [f"on the branch orc/{branch.id} as {COMMIT[:12]}", "a report, which changes nothing"]


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_a_job_that_came_to_nothing_delivers_nothing_and_is_a_risk(state: State) -> None:
    ending = ending_of(a_job(state=state, reason="x" * 500), records())
    assert ending.delivered is None
    [risk] = ending.risks
    assert risk.text.startswith(f"{state}: xxx")
    assert len(risk.text) == LONGEST


def test_what_a_person_let_through_is_a_risk() -> None:
    job = a_job(weak=True, card=3, tampering=("tests/a.py: gone", "b"), protected=("orc.yaml",), **DONE)
    kinds = (CardKind.MERGE, CardKind.REJECTED, CardKind.UNCLEAR)
    cards = [approved(kind, number) for number, kind in enumerate(kinds, 1)]
    texts = [each.text for each in ending_of(job, records(*cards)).risks]
    assert texts == [
        "approved by a reviewer that is not independent enough to merge by itself",
        "a person approved it on a card of the kind rejected",
        "a person approved it on a card of the kind unclear",
        "a person let through what was held: tests/a.py: gone and 1 more",
        "a person let through what was held: protected paths, orc.yaml",
    ]
    assert len(texts) == MOST_RISKS


def test_what_was_overridden_for_other_work_than_what_was_merged_is_no_risk() -> None:
    job = a_job(card=1, **DONE)
    assert ending_of(job, records(approved(CardKind.REJECTED, commit=BASE))).risks == ()


def test_tokens_and_costs_are_summed_and_what_is_not_known_is_counted() -> None:
    job = a_job(attempt=2, review=1, **DONE)
    told = Spoke(Usage(input=1000, output=200, cache_read=34), cost_microusd=420_000)
    worker = Worker("engineer")
    runs = [Attempt(1, worker, BASE, "r", NOW, spoke=told), Attempt(2, worker, BASE, "r", LATER)]
    spend = ending_of(job, records(*runs, a_review(a_job(tip=COMMIT)))).spend
    assert spend == Spend(attempts=2, reviews=1, tokens=1234, microusd=420_000, untold=2, unpriced=2)
    words = "2 attempts, 1 review, 1,234 tokens, $0.42; of 2 runs no tokens are known, of 2 runs no cost is known"
    assert spend.in_words() == words
    assert spend.minus(spend) == Spend()
    assert Spend(attempts=1).minus(Spend(attempts=2)) == Spend()


def test_the_records_of_a_job_are_asked_for_by_kind_and_number() -> None:
    asked: list[tuple[str, int]] = []

    def read(kind: type[Any], number: int) -> Any:
        asked.append((kind.__name__, number))
        return None

    ending_of(a_job(attempt=1, review=2, card=1, evidence=1, merge=1, **DONE), read)
    kinds = (Attempt, ReviewRecord, ReviewRecord, Card, Evidence, MergeRecord)
    wanted = {(kind.__name__, number) for kind, number in zip(kinds, (1, 1, 2, 1, 1, 1), strict=True)}
    assert set(asked) == wanted
