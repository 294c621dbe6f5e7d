"""What an ended job leaves: what it delivered, what it has used, and what a person should know about relying on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from orchestrator.core.attempt_record import Attempt, Spoke
from orchestrator.core.evidence_record import Evidence, Preview
from orchestrator.core.job import Expects, Job, State
from orchestrator.core.records import Card, CardKind, MergeRecord
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import bounded
from orchestrator.core.transitions import one_line

Read = Callable[[type[Any], int], Any]
"""The record of a kind and number of one job; None if there is none."""
PREVIEWS = 2
"""So many deliverables of a job are told."""
MOST_RISKS = 5
LONGEST = 160
_WANTED = frozenset({CardKind.MERGE, CardKind.HUMAN_REVIEW})
"""Cards that are asked because somebody wanted to be: to say yes to one overrides nothing."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What jobs have used, as far as it was told. Money in millionths of a US dollar."""

    attempts: int = 0
    reviews: int = 0
    tokens: int = 0
    microusd: int = 0
    untold: int = 0
    """Runs of which no tokens are known."""
    unpriced: int = 0
    """Runs of which no cost is known."""

    def plus(self, other: Spend) -> Spend:
        """Both together."""
        return self._combined(other, 1)

    def minus(self, other: Spend) -> Spend:
        """Without what was counted before."""
        return self._combined(other, -1)

    def _combined(self, other: Spend, sign: int) -> Spend:
        names = (field.name for field in fields(self))
        return Spend(**{name: bounded(getattr(self, name) + sign * getattr(other, name)) for name in names})

    def in_words(self) -> str:
        """`3 attempts, 2 reviews, 12,345 tokens, $0.42; of 1 run no tokens are known, of 2 runs no cost`."""
        told = f"{_number(self.attempts, 'attempt')}, {_number(self.reviews, 'review')}"
        told += f", {self.tokens:,} tokens, ${self.microusd / 1_000_000:,.2f}"
        unknown = [
            f"of {_number(runs, 'run')} no {what}"
            for runs, what in ((self.untold, "tokens are known"), (self.unpriced, "cost is known"))
            if runs
        ]
        return "; ".join([told, ", ".join(unknown)]) if unknown else told


NOTHING_SPENT = Spend()


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a job that is done has brought, and where it is."""

    job: str
    title: str
    what: str
    at: str
    stat: str = ""
    previews: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Risk:
    """Something about an ended job that speaks against relying on it."""

    job: str
    text: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What one ended job leaves."""

    job: str
    state: State
    spend: Spend
    delivered: Delivered | None
    """None unless it is done."""
    risks: tuple[Risk, ...]


def ending_of(job: Job, read: Read) -> Ending:
    """What an ended job leaves, by its records."""
    attempts = _all(read, Attempt, job.at.attempt)
    reviews = _all(read, ReviewRecord, job.at.review)
    spend = Spend(len(attempts), len(reviews)).plus(_used([each.spoke for each in (*attempts, *reviews)]))
    texts = list(_risks(job, read))[:MOST_RISKS]
    delivered = _delivered(job, read) if job.state is State.DONE else None
    return Ending(job.id, job.state, spend, delivered, tuple(Risk(job.id, _cut(text)) for text in texts))


def _all(read: Read, kind: type[Any], most: int) -> list[Any]:
    found = (read(kind, number) for number in range(1, most + 1))
    return [each for each in found if each is not None]


def _used(told: Iterable[Spoke | None]) -> Spend:
    spend = NOTHING_SPENT
    for spoke in told:
        usage = spoke.usage if spoke is not None else None
        cost = spoke.cost_microusd if spoke is not None else None
        run = Spend(tokens=usage.total if usage else 0, microusd=cost or 0, untold=usage is None, unpriced=cost is None)
        spend = spend.plus(run)
    return spend


def _delivered(job: Job, read: Read) -> Delivered:
    evidence: Evidence | None = read(Evidence, job.at.evidence)
    stat = evidence.stat if evidence is not None else ""
    previews = evidence.previews[:PREVIEWS] if evidence is not None else ()
    told = tuple(_cut(_previewed(each)) for each in previews)
    return Delivered(job.id, job.spec.heading, _cut(_place(job, read)), job.at.since, _cut(stat), told)


def _place(job: Job, read: Read) -> str:
    if job.spec.expects is Expects.NO_CHANGE:
        return "a report, which changes nothing"
    if job.at.merged:
        merge: MergeRecord | None = read(MergeRecord, job.at.merge)
        return f"on {merge.target if merge is not None else 'its target'} as {job.at.merged[:12]}"
    return f"on the branch orc/{job.id} as {job.at.approved[:12]}"


def _previewed(preview: Preview) -> str:
    line = next((each.strip() for each in preview.text.splitlines() if each.strip()), "")
    told = f"{preview.path or 'its final answer'}: {preview.about}"
    return f"{told}, begins: {line}" if line else told


def _risks(job: Job, read: Read) -> Iterator[str]:
    at = job.at
    if job.state is not State.DONE:
        yield f"{job.state}: {at.reason}" if at.reason else job.state.value
        return
    if at.weak:
        yield "approved by a reviewer that is not independent enough to merge by itself"
    cards: list[Card] = _all(read, Card, at.card)
    for card in cards:
        if card.answer == "approve" and card.kind not in _WANTED and card.facts.get("commit") == at.approved:
            yield f"a person approved it on a card of the kind {card.kind}"
    for what, held in (("", at.tampering), ("protected paths, ", at.protected)):
        if held:
            more = f" and {len(held) - 1} more" if len(held) > 1 else ""
            yield f"a person let through what was held: {what}{held[0]}{more}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _cut(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
