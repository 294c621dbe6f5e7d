"""Approvals that are not enough by themselves: those that came too quickly, rest on nothing or always come, and some of
the others, by lot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from orchestrator.core.evidence_record import Evidence
from orchestrator.core.job import Job, Second, SecondWhy, State
from orchestrator.core.review import STRONG
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.rounds import disputed
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


def changed_lines(evidence: Evidence) -> int:
    """Added and deleted lines of all paths that are text."""
    return sum((path.added or 0) + (path.deleted or 0) for path in evidence.paths)


def another_opinion(review: ReviewRecord, job: str, before: Second | None) -> Second | None:
    """What an approval asks for that is not enough by itself; None if it is enough, or is the second one already.

    `before` is what the job asked for until now.
    """
    if approved_before(before) is not None:
        return None
    if review.doubts:
        return second_opinion(review, disputed(before))
    # Who judges a dispute is the second one as well.
    is_clean = before is None and review.independence == STRONG
    if not is_clean or not is_drawn(job, review.commit, review.share):
        return None
    who = review.reviewer.agent
    told = f"{who} approved it, and of the approvals that raise no doubt it was drawn by lot to be judged twice"
    return Second(SecondWhy.DRAW, review.number, (who,), told)


def is_drawn(job: str, commit: str, share: int) -> bool:
    """Whether the approval of a commit is among the `share` percent that are judged twice.

    Anybody can work it out again, and hardly an author beforehand: the id of a commit depends on when it was made.
    """
    digest = hashlib.sha256(f"second {job} {commit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < share


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


def approved_before(second: Second | None) -> Second | None:
    """The approval after which another reviewer is asked: what that one approves is not put before a third."""
    return second if second is not None and second.why is not SecondWhy.DISPUTE else None


def doubted(second: Second | None) -> Second | None:
    """The same, if it is suspicious: it approves nothing before the other reviewer has."""
    return second if second is not None and second.why is SecondWhy.APPROVAL else None


def drawn(second: Second | None) -> Second | None:
    """The same, if it was drawn by lot: it stands, unless the other reviewer says otherwise."""
    return second if second is not None and second.why is SecondWhy.DRAW else None


def is_extra(job: Job) -> bool:
    """Whether what goes on with a job is only a second review that was drawn: it never becomes a question."""
    return job.state is State.REVIEWING and drawn(job.at.second) is not None
