"""Approvals that are not enough by themselves: those that came too quickly, rest on nothing, or always come."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.core.job import Second, SecondWhy
from orchestrator.core.records import Evidence, ReviewRecord, Verdict
from orchestrator.core.review import STRONG
from orchestrator.core.verdict import says_something

LATELY = 50
"""So many of a reviewer's newest clear verdicts are counted."""
LOOKED_BACK = 2000
"""They are looked for at least among so many of the newest commits of the ledger."""


def doubts_of(review: ReviewRecord, evidence: Evidence) -> tuple[str, ...]:
    """Why an approval is suspicious, each reason in a few words; () if it is not, or if there is none."""
    return tuple(_doubts(review, evidence)) if review.verdict is Verdict.APPROVED else ()


def _doubts(review: ReviewRecord, evidence: Evidence) -> Iterator[str]:
    limits, lately = review.suspicion, review.lately
    if limits is None:
        return
    if review.seconds < limits.seconds:
        yield f"it took {review.seconds:.1f} s"
    bare = [item.id for item in review.items if not says_something(item.evidence)]
    if bare or not review.items:
        yield f"no evidence for {', '.join(bare[:5]) or 'anything'}"
    lines = changed_lines(evidence)
    if limits.lines and lines > limits.lines and not review.findings:
        yield f"no remark on {lines} changed lines"
    if lately is not None and lately.judged >= limits.reviews and lately.approved > limits.approvals * lately.judged:
        yield f"{review.reviewer.agent} approved {lately.approved} of the last {lately.judged} it judged"


def _seen_alone(review: ReviewRecord) -> Iterator[str]:
    if review.suspicion is not None and review.seconds < review.suspicion.seconds:
        yield f"it took {review.seconds:.1f} s"
    bare = [item.id for item in review.items if not says_something(item.evidence)]
    if bare or not review.items:
        yield f"no evidence for {', '.join(bare[:5]) or 'anything'}"


def changed_lines(evidence: Evidence) -> int:
    """Added and deleted lines of all paths that are text."""
    return sum((path.added or 0) + (path.deleted or 0) for path in evidence.paths)


def second_opinion(review: ReviewRecord, before: Second | None) -> Second:
    """What a suspicious approval asks for. Who is party to a dispute (`before`) is not asked either."""
    who = review.reviewer.agent
    told = f"{who} approved it, but {'; '.join(review.doubts)}"
    parties, sides = (before.reviewers, before.sides) if before is not None else ((), "")
    weak = review.independence != STRONG
    return Second(SecondWhy.APPROVAL, review.number, (*parties, who), told, sides=sides, weak=weak)


def rests_on_nothing(review: ReviewRecord) -> bool:
    """Whether an approval names no evidence at all: it confirms nothing, also not another approval.

    To be quick is not held against the second one: a small change is soon read.
    """
    return review.suspicion is not None and not any(says_something(item.evidence) for item in review.items)


def doubted(second: Second | None) -> Second | None:
    """The suspicious approval that another reviewer is asked about; the approval of that one is not doubted again."""
    return second if second is not None and second.why is SecondWhy.APPROVAL else None
