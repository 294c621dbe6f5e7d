"""What the ledger keeps beside a job: one dataclass per file. Merges and cards are here, and the table of them all.

File names are `<record>-<n>.yaml` in the job's folder; the text of each is the dataclass as YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.core.attempt_record import Attempt
from orchestrator.core.evidence_record import CheckResult, Evidence
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.routine import RoutineRecord


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """`merge-N.yaml`: the merged tree that was built, checked and landed."""

    number: int
    approved: str
    onto: str
    """The commit it was merged onto: the newest of the target and the merges that wait to land on it."""
    target: str
    target_was: str
    merged: str = ""
    tree: str = ""
    conflicts: tuple[str, ...] = ()
    tests: str = ""
    checks: tuple[CheckResult, ...] = ()
    check_key: str = ""
    landed: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reverted:
    """`reverts/<2 hex>/<job>/<commit>.yaml`: a merged job that a person undid."""

    job: str
    commit: str
    target: str
    stat: str
    at: str
    by: str


class CardKind(StrEnum):
    """What a card asks about."""

    MERGE = "merge"
    ATTEMPTS = "attempts"
    ROUNDS = "rounds"
    UNCLEAR = "unclear"
    NO_REVIEWER = "no_reviewer"
    HUMAN_REVIEW = "human_review"
    REJECTED = "rejected"
    CEILING = "ceiling"
    CRASHES = "crashes"
    CANNOT_START = "cannot_start"
    TOO_LARGE = "too_large"
    LANDING = "landing"
    MOVING_TARGET = "moving_target"
    CONFLICT = "conflict"
    BASE_RED = "base_red"
    QUESTION = "question"
    SUSPICIOUS = "suspicious"
    DISPUTED = "disputed"
    STALE = "stale"
    LIKE = "like"


@dataclass(frozen=True, slots=True)
class Option:
    """One answer a card offers, and what it leads to."""

    key: str
    label: str
    consequence: str


@dataclass(frozen=True, slots=True)
class Card:
    """`card-N.yaml`: a question for the human, bound to the facts it was asked on."""

    id: str
    job: str
    number: int
    kind: CardKind
    question: str
    options: tuple[Option, ...]
    asked: str
    context: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    """What it is bound to: `commit`, `target`, `diff`. If one changes, the card is superseded.
    `questions`: by which digests the questions of an agent are known again."""
    default: str = ""
    """The answer that holds at `expires`, or that the author would give; '' without one."""
    expires: str = ""
    """When the default is applied; '': never."""
    answer: str = ""
    message: str = ""
    answered: str = ""
    by: str = ""
    superseded: str = ""
    """Why it may no longer be answered; '' while it may."""

    @property
    def open(self) -> bool:
        """Whether it still waits for an answer."""
        return not self.answer and not self.superseded


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """`projects/<name>/base.yaml`: what the checks said about the commit that new work starts from."""

    commit: str
    tree: str
    key: str
    tests: str = ""
    """'' while they run; passed, failed, flaky, none."""
    run: str = ""
    checks: tuple[CheckResult, ...] = ()
    at: str = ""
    problem: str = ""
    """Why the checks could not be run at all."""
    tries: int = 0
    """How often in a row they could not be run."""


RECORDS: Mapping[str, type[Any]] = {
    "attempt": Attempt,
    "evidence": Evidence,
    "review": ReviewRecord,
    "card": Card,
    "merge": MergeRecord,
    "routine": RoutineRecord,
}
"""The records of a job by the first part of their file name."""
