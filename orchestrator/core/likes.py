"""What becomes of a new job that is like an open one: a question to the person, or a word in the ledger."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.card import Offer, new_card
from orchestrator.core.job import Job, State
from orchestrator.core.records import Card, CardKind
from orchestrator.core.similar import ALL, Bounds, Likeness, Means, in_words
from orchestrator.core.transitions import Move, check_step, one_line
from orchestrator.core.twins import AGAIN

NEAR, LIMITS = "Near", "Near-Limits"
"""The trailers of an `accept`: what it is like and what followed; from which likeness on it is asked, and refused."""
MOST_HOURS = 720
"""No question about a like job is over later."""


def bounds_of(ask: float, block: float) -> Bounds:
    """The bounds of a configuration."""
    return Bounds(round(ask * ALL), round(block * ALL))


def bounds_told(bounds: Bounds) -> str:
    """As the ledger has them: `0.600 0.800`."""
    return f"{bounds.ask / ALL:.3f} {bounds.block / ALL:.3f}"


def parse_bounds(text: str) -> Bounds:
    """What `bounds_told` made. Raises ValueError."""
    ask, block = (float(each) for each in text.split(" "))
    found = bounds_of(ask, block)
    if bounds_told(found) != text or not all(0 <= each <= ALL for each in (found.ask, found.block)):
        raise ValueError(f"{text!r} are no bounds of likeness")
    return found


def with_likeness(move: Move, near: Likeness | None, bounds: Bounds, twin: Job | None, hours: int) -> Move:
    """The step that accepts a job, with what it is like. If a person is to be asked it ends with the card.

    `twin` is the open job that `near` names; after `hours` without an answer both are done, 0: never.
    """
    told = [(LIMITS, bounds_told(bounds))] + ([(NEAR, one_line(near.told))] if near is not None else [])
    if near is None or twin is None or near.means is not Means.ASKED:
        return replace(move, trailers=(*move.trailers, *told))
    check_step(move.event, None, State.DECIDE, move.actor.kind)
    card = like_card(move.job, near, twin, hours)
    at = replace(move.job.at, state=State.DECIDE, card=card.number, reason=card.question, expires=card.expires)
    job = replace(move.job, at=at)
    own = [(key, State.DECIDE.value if key == "To" else value) for key, value in move.trailers]
    told += [("Card", card.id), ("Asks", CardKind.LIKE.value)]
    subject = f"{move.subject}, which is like {near.twin}"[:200]
    records = {f"card-{card.number}": card}
    return replace(move, job=job, subject=subject, trailers=(*own, *told), records=records)


def like_card(job: Job, near: Likeness, twin: Job, hours: int) -> Card:
    """Asks whether a new job and the open one that it is like are both to be done."""
    context = f"This job: {job.spec.heading}\nThe open one, which is {twin.state}: {twin.spec.heading}"
    facts = {"twin": near.twin, "likeness": in_words(near.score)}
    offer = Offer(default="keep", hours=hours) if hours else None
    return new_card(job, CardKind.LIKE, like_question(near), job.at.since, context=context, facts=facts, offer=offer)


def like_question(near: Likeness) -> str:
    """What is asked about a job that is like an open one."""
    return f"{near.twin} is open and asks for nearly the same (likeness {in_words(near.score)}). Do both?"


def near_told(near: Likeness, twin: Job) -> str:
    """What an open job has in common with another that is like it."""
    return f"{twin.id} asks for nearly the same work (likeness {in_words(near.score)}) and is {twin.state}"


def near_refusal(near: Likeness, twin: Job, bounds: Bounds) -> str:
    """Why a job is not accepted, and the way out."""
    how = f"likeness {in_words(near.score)}, and from {in_words(bounds.block)} on none is accepted"
    return f"{twin.id} asks for nearly the same work ({how}) and is {twin.state}; {AGAIN}"
