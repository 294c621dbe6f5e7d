"""Outcomes: what became of work at the first try, from the newest steps of the ledger, and when that says anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.core.job import State
from orchestrator.core.review_record import CLEAR, Verdict
from orchestrator.core.transitions import Event
from orchestrator.engine.history import Told

STEPS = 2000
"""So many of the newest steps of the ledger are counted."""
ENOUGH = 20
"""With fewer cases chance says more than what is measured."""
_SENT_BACK = frozenset({Event.EVIDENCE, Event.CHECKED})


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean over `n` cases; None if there is none."""

    value: float | None = None
    n: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether it says anything."""
        return self.n >= ENOUGH


NOT_MEASURED = Measure()


def mean_of(values: list[float]) -> Measure:
    """The mean of some values."""
    return Measure(round(sum(values) / len(values), 4), len(values)) if values else NOT_MEASURED


def event_of(step: Told) -> str:
    """The first word of a commit, which for a step is its event."""
    return step.subject.partition(":")[0]


def with_first_outcomes(steps: Iterable[Told]) -> Iterator[tuple[Told, float | None]]:
    """Each step, the oldest first, with the first outcome of its job if it is that: 1 approved, 0 to be done again.

    That is the job's first clear verdict, or being sent back before anybody judged. It is told only of jobs whose first
    attempt is among the steps.
    """
    fresh: set[str] = set()
    for step in steps:
        job = step.facts.get("Job", "")
        if event_of(step) == Event.START and step.facts.get("Attempt") == "1":
            fresh.add(job)
        outcome = _outcome(step) if job in fresh else None
        if outcome is not None:
            fresh.discard(job)
        yield step, outcome


def _outcome(step: Told) -> float | None:
    """1 for an approval, 0 for work that has to be done again, None for what is neither."""
    event, facts = event_of(step), step.facts
    if event == Event.VERDICT:
        verdict = facts.get("Verdict", "")
        return float(verdict == Verdict.APPROVED) if verdict in CLEAR else None
    # The merged tree is checked too, but what fails there may be somebody else's.
    is_sent_back = event in _SENT_BACK and facts.get("To") == State.READY and facts.get("From") != State.MERGING
    return 0.0 if is_sent_back else None
