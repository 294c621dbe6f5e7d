"""What reviewers said lately: their newest clear verdicts, from the newest steps of the ledger."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.core.review_record import CLEAR, Lately, Verdict
from orchestrator.core.suspicion import LATELY, LOOKED_BACK
from orchestrator.core.transitions import Event, Move
from orchestrator.engine.history import read_history
from orchestrator.engine.outcomes import event_of
from orchestrator.engine.workspace import Workspace


def _latest() -> defaultdict[str, deque[bool]]:
    return defaultdict(lambda: deque(maxlen=LATELY))


@dataclass(slots=True)
class Verdicts:
    """Whether each of a reviewer's newest clear verdicts was an approval.

    Read from a bounded part of the ledger when it is first asked for, then kept up with each step that is committed.
    """

    _is_known: bool = False
    _latest: defaultdict[str, deque[bool]] = field(default_factory=_latest)

    def of(self, ws: Workspace, reviewer: str) -> Lately:
        """What a reviewer said lately."""
        if not self._is_known:
            for step in reversed(read_history(ws, None, LOOKED_BACK)):
                if event_of(step) == Event.VERDICT:
                    self._count(step.facts)
            self._is_known = True
        latest = self._latest.get(reviewer, ())
        return Lately(sum(latest), len(latest))

    def note(self, moves: Iterable[Move]) -> None:
        """These steps were committed."""
        for move in moves if self._is_known else ():
            if move.event is Event.VERDICT:
                self._count(dict(move.trailers))

    def forget(self) -> None:
        """It is not known what was committed: read it from the ledger when it is asked for again."""
        self._is_known = False
        self._latest.clear()

    def _count(self, facts: dict[str, str]) -> None:
        verdict = facts.get("Verdict", "")
        if verdict in CLEAR:
            self._latest[facts.get("Reviewer", "")].append(verdict == Verdict.APPROVED)
