"""`review-N.yaml`: one reviewer's judgement of the work, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.attempt_record import PromptPart, RunStatus, Spoke, Used
from orchestrator.core.config import Suspicion
from orchestrator.core.job import Worker
from orchestrator.core.tally import Estimate


class Verdict(StrEnum):
    """What a reviewer's answer comes to."""

    APPROVED = "APPROVED"
    REVISE = "REVISE"
    REJECT = "REJECT"
    INCONCLUSIVE = "INCONCLUSIVE"


CLEAR = frozenset({Verdict.APPROVED, Verdict.REVISE, Verdict.REJECT})
"""The verdicts that say something about the work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark of a reviewer; `blocking` ones must be answered by a change."""

    severity: str
    problem: str
    file: str = ""
    line: int = 0
    fix: str = ""
    check: str = ""
    """How one sees that it is done."""
    earlier: str = ""
    """The fix that was asked for before and is not done, such as F1; '' for something new."""


@dataclass(frozen=True, slots=True)
class Item:
    """One yes/no question of the criteria, answered."""

    id: str
    passed: bool
    evidence: str = ""


class ClaimResult(StrEnum):
    """What looking up a claim again came to."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNVERIFIABLE = "unverifiable"


@dataclass(frozen=True, slots=True)
class Recheck:
    """One claim that a reviewer looked up again, and what it found there."""

    id: str
    result: ClaimResult
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Other work that a reviewer proposes as a job of its own."""

    title: str
    prompt: str = ""
    problem: str = ""
    """Why it can be no job, whoever wants it; '' if nothing is wrong with its form."""


@dataclass(frozen=True, slots=True)
class Lately:
    """Of the newest clear verdicts of a reviewer, `judged` in all, so many were approvals."""

    approved: int
    judged: int


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """`review-N.yaml`: one reviewer's judgement of one exact commit."""

    number: int
    attempt: int
    evidence: int
    commit: str
    base: str
    reviewer: Worker
    author: Worker
    run: str
    started: str
    independence: str
    """family, model (weak) or human: how far the reviewer is from the author."""
    threshold: float
    required: tuple[str, ...] = ()
    items_asked: tuple[str, ...] = ()
    criteria: Used | None = None
    """Whose questions these are, as `review-N.criteria.yaml` has them; None: an older version did not keep them."""
    soul: Used | None = None
    rules: Used | None = None
    rule_ids: tuple[str, ...] = ()
    prompt: str = ""
    """Blob id of the message without the diff and the nonce, as `review-N.prompt.md` has it."""
    system: str = ""
    """As in `Attempt`."""
    draw: str = ""
    """What the claims that are looked up again were drawn with: random, from when the review was reserved."""
    diff: str = ""
    """Blob id of the patch that stood in the message."""
    parts: tuple[PromptPart, ...] = ()
    estimate: Estimate | None = None
    """As in `Attempt`."""
    ended: str = ""
    status: RunStatus | None = None
    exit: int | None = None
    verdict: Verdict | None = None
    score: float | None = None
    why: str = ""
    """For an unclear verdict: what was wrong with it."""
    nonce_sha256: str = ""
    reply: str = ""
    """The reviewer's answer as given, with the nonce replaced by its hash."""
    items: tuple[Item, ...] = ()
    claims: tuple[Recheck, ...] = ()
    findings: tuple[Finding, ...] = ()
    summary: str = ""
    follow_ups: tuple[FollowUp, ...] = ()
    """What it proposes besides. It becomes jobs when the verdict counts."""
    identity: str = ""
    """As in `Attempt`."""
    spoke: Spoke | None = None
    suspicion: Suspicion | None = None
    """What makes an approval suspicious, for this reviewer at that time; None: an older version asked for nothing."""
    lately: Lately | None = None
    """What the reviewer said before, when this review began."""
    seconds: float = 0.0
    """How long its run took."""
    doubts: tuple[str, ...] = ()
    """Why the approval is suspicious."""
    share: int = 0
    """Of approvals that are not suspicious so many percent were to be judged twice, when this review began."""
    drawn: bool = False
    """The approval is one of them."""
    again: bool = False
    """If its answer had not the form that was asked for, the reviewer could be asked once more in the same session."""
    asked_again: str = ""
    """It was: what was wrong with the form of its first answer. Counts as one more start."""
    first_reply: str = ""
    """That answer, as `reply`."""
