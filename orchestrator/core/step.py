"""Building one step of a job: collect what it writes and changes, then say where it ends.

Every step ends in one of three ways: in a state, with a card for the human, or back with the author.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from orchestrator.core.card import OPTIONS, Effect, Offer, new_card
from orchestrator.core.config import Terms
from orchestrator.core.evidence_record import CheckResult
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Fix, Job, State
from orchestrator.core.records import CardKind
from orchestrator.core.review import numbered
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, Actor, Event, Move, make_move

HELD = "Changed, and not allowed by the job:"
"""What stands on a card above what the tamper guard found, before anything else."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5, 900
LONGEST_WAIT_S = 24 * 3600.0
"""No pause is longer, of a job or of a service, whatever that asks for."""

RESUMED = frozenset({CardKind.CEILING, CardKind.CRASHES, CardKind.CANNOT_START})
"""Cards that interrupt a step: trying again takes up that step, which the card names as its fact `step`."""
NO_MERGE: Mapping[str, Any] = {"merged": "", "target_was": ""}
"""No merged tree is built."""
NOT_APPROVED: Mapping[str, Any] = {"approved": "", "weak": False, "rebuilds": 0, "collided": "", **NO_MERGE}
"""What an approval covered is about to change, so there is none."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an event writes: `records` by file stem, `changes` to the job's standing, `facts` for the trailers."""

    event: Event
    job: Job
    now: str
    records: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    actor: Actor = ENGINE

    def with_changes(self, **changes: Any) -> Step:
        """The same step with more changes."""
        return replace(self, changes={**self.changes, **changes})

    def to(self, state: State, told: str, **changes: Any) -> Move:
        """The step ends in `state`; `told` is the commit's subject. `reason` is '' unless it is among the changes."""
        # A step that stays in its state does not begin the state anew: waiting time is counted from `since`.
        is_same = state is self.job.state
        since = self.job.at.since if is_same else self.now
        left: dict[str, Any] = {} if is_same else {"stuck": "", "expires": ""}
        after = self.job.moved(state, since, **{"reason": "", **left, **self.changes, **changes})
        return make_move(self.event, self.job, after, told, actor=self.actor, records=self.records, facts=self.facts)

    def ask(
        self,
        kind: CardKind,
        question: str,
        context: str = "",
        *,
        told: str = "",
        target: str = "",
        offer: Offer | None = None,
    ) -> Move:
        """The step ends with a card, bound to the work as it is after the step."""
        at, changes = self.job.at, dict(self.changes)
        commit = changes.get("approved", at.approved) or changes.get("tip", at.tip)
        bound = {"commit": commit, "target": target, "step": self.job.state if kind in RESUMED else ""}
        facts = {key: str(value) for key, value in bound.items() if value}
        if kind is not CardKind.LANDING:
            # Only a landing that is blocked waits with a merged tree that passed: nothing else may land from a card.
            changes.update(NO_MERGE)
        held = changes.get("tampering", at.tampering)
        if held and Effect.APPROVE in (option.key for option in OPTIONS[kind]):
            context = "\n".join([HELD, *held, context])
        if kind is CardKind.STALE:
            changes["stuck"] = at.stuck or at.since
        card = new_card(self.job, kind, question, self.now, context=context, facts=facts, offer=offer)
        changes["expires"] = card.expires
        records = {**self.records, f"card-{card.number}": card}
        step = replace(self, records=records, changes=changes, facts={**self.facts, "card": card.id, "asks": kind})
        return step.to(State.DECIDE, told or question, card=card.number, reason=question)

    def send_back(self, fixes: Iterable[Fix], terms: Terms, told: str) -> Move:
        """The step ends with the author, who gets numbered fixes. It costs an attempt; at the limit it is a card."""
        spent = self.job.at.spent + 1
        step = self.with_changes(spent=spent, fixes=numbered(fixes))
        if spent >= terms.attempts:
            question = f"{self.job.id} has used {spent} attempts and the work still does not pass. Try again?"
            return step.ask(CardKind.ATTEMPTS, question, told, told=told)
        return step.to(State.READY, told, reason=told)


def check_fixes(results: Iterable[CheckResult]) -> tuple[Fix, ...]:
    """What failed checks ask of the author."""
    return tuple(
        Fix(
            "",
            f"The check `{each.run}` {each.outcome} (exit {each.exit}).",
            f"Make it pass. Its last output:\n{each.tail}",
            source="engine",
        )
        for each in results
        if not each.passed
    )


def pause_until(now: str, times: int) -> str:
    """When to try again after failing `times` times in a row: 5 s, doubled each time, at most 15 minutes."""
    return iso(parse(now) + timedelta(seconds=min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (times - 1))))


def later(now: str, seconds: float) -> str:
    """The time so many seconds after `now`."""
    return iso(parse(now) + timedelta(seconds=seconds))


def is_due(not_before: str, now: datetime) -> bool:
    """Whether a pause until then is over; '' is none.

    One that goes on for longer than any was begun by a clock that was ahead: nobody would wait for it to come.
    """
    return not not_before or not now < parse(not_before) <= now + timedelta(seconds=LONGEST_WAIT_S)


def another_go(job: Job) -> dict[str, Any]:
    """What a human's "again" changes: a fresh set of attempts, starts and reviews; nothing counted is forgotten."""
    return {
        "allowance": job.at.allowance + 1,
        "crashes": 0,
        "failed_starts": 0,
        "not_before": "",
        "run": "",
        "excluded": (),
        "inconclusive": 0,
        "rebuilds": 0,
        "asked": (),
    }


def next_run(job: Job, kind: RunKind) -> RunId:
    """The id of the next run of a kind; a number is never used twice for one job."""
    at = job.at
    numbers = {RunKind.ATTEMPT: at.attempt + 1, RunKind.REVIEW: at.review + 1, RunKind.ROUTINE: at.routine + 1}
    return RunId(job.id, kind, numbers.get(kind, job.at.starts + 1))
