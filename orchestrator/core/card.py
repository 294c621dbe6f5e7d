"""Decision cards: which question offers which answers, and what each answer leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from orchestrator.core.ids import card_id
from orchestrator.core.job import Job, State
from orchestrator.core.records import Card, CardKind, Option
from orchestrator.core.times import iso, parse

MOST_QUESTION, MOST_CONTEXT = 200, 4000
"""Characters of a card. Both sides of a conflict, and what was changed and not allowed, need a long context."""
_CUT = "\n… (the rest is cut)"


class Effect(StrEnum):
    """What an answer does."""

    APPROVE = "approve"
    """The human takes the work as it is: it goes on to the merge."""
    REVISE = "revise"
    """Back to the author with the message as numbered fixes."""
    RETRY = "retry"
    """The same step again, with a fresh set of attempts."""
    REVIEW_AGAIN = "review"
    """Reviewers are asked again, also those that were unclear."""
    DROP = "drop"
    """The job is cancelled; its work stays under its refs."""
    REPLY = "reply"
    """The message goes to the author, who goes on."""
    GIVE = "give"
    """The agent that the message names goes on with it."""
    RECHECK = "recheck"
    KEEP = "keep"


_APPROVE = Option("approve", "Take it as it is", "It is merged, after the merged tree has passed the checks.")
_REVISE = Option("revise", "Ask for changes", "The message goes to the author as numbered fixes.")
_DROP = Option("drop", "Drop the job", "It ends here; its work stays under refs/orc/attempts/.")
_RETRY = Option("retry", "Try again", "The job gets a fresh set of attempts, starts and reviews.")
_AGAIN = Option("review", "Ask reviewers again", "Another review is made, if a reviewer can be found.")

OPTIONS: Mapping[CardKind, tuple[Option, ...]] = {
    CardKind.MERGE: (
        Option(
            "approve",
            "Merge it",
            "Exactly this commit is merged, after the merged tree has passed the checks, or left as a branch.",
        ),
        _REVISE,
        _DROP,
    ),
    CardKind.HUMAN_REVIEW: (_APPROVE, _REVISE, _DROP),
    CardKind.NO_REVIEWER: (_APPROVE, _AGAIN, _REVISE, _DROP),
    CardKind.DISPUTED: (_APPROVE, _AGAIN, _REVISE, _DROP),
    CardKind.SUSPICIOUS: (_APPROVE, _AGAIN, _REVISE, _DROP),
    CardKind.UNCLEAR: (_APPROVE, _AGAIN, _REVISE, _DROP),
    CardKind.TOO_LARGE: (_APPROVE, _REVISE, _DROP),
    CardKind.ROUNDS: (_APPROVE, _REVISE, _RETRY, _DROP),
    CardKind.REJECTED: (_APPROVE, _REVISE, _DROP),
    CardKind.ATTEMPTS: (_RETRY, _DROP),
    CardKind.CEILING: (_RETRY, _DROP),
    CardKind.CRASHES: (_RETRY, _DROP),
    CardKind.CANNOT_START: (_RETRY, _DROP),
    CardKind.LANDING: (Option("retry", "Try to land it again", "The same merged commit is landed."), _DROP),
    CardKind.MOVING_TARGET: (Option("retry", "Build the merge again", "On the target as it is now."), _DROP),
    CardKind.CONFLICT: (
        Option(
            "retry",
            "Try again from the newest base",
            "If it collides no more, it is merged as it was approved; else its last author goes on, with both diffs.",
        ),
        Option(
            "give",
            "Give it to another agent",
            "The agent that your message names gets both diffs and goes on with it; what it makes is reviewed anew.",
        ),
        _DROP,
    ),
    CardKind.BASE_RED: (
        Option("recheck", "Run the checks again", "On the same base; jobs stay held until they pass."),
        Option("keep", "Leave it", "Jobs stay held until the base moves and passes."),
    ),
    CardKind.QUESTION: (Option("reply", "Answer it", "The author goes on with your message."), _DROP),
    CardKind.STALE: (
        Option("retry", "Try again", "It is looked at anew; if nothing has changed, it waits for another week."),
        Option("give", "Give it to another agent", "The agent that your message names gets it, whatever its kind."),
        _DROP,
    ),
    CardKind.LIKE: (
        Option("keep", "Do both", "It is other work, or to be done once more: it goes on like any other job."),
        Option("drop", "It is the same", "This job ends here; the open one that it is like goes on."),
    ),
}


_FAILED = (
    CardKind.ATTEMPTS,
    CardKind.ROUNDS,
    CardKind.REJECTED,
    CardKind.CRASHES,
    CardKind.CANNOT_START,
    CardKind.CEILING,
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a card about an agent's questions has beside its words. Only such a question may be answered by time."""

    choices: tuple[Option, ...] = ()
    """Answers of the agent's own, which stand before those that every question has."""
    default: str = ""
    """The key of one of them."""
    hours: int = 0
    """After so many hours the default is applied; 0: never."""
    digests: tuple[str, ...] = ()
    """By which the questions are known again."""


def new_card(
    job: Job,
    kind: CardKind,
    question: str,
    now: str,
    *,
    context: str = "",
    facts: Mapping[str, str] | None = None,
    offer: Offer | None = None,
) -> Card:
    """The next card of a job. What is too long is cut visibly; a question that is cut is whole in the context."""
    number, offer = job.at.card + 1, offer or Offer()
    expires = iso(parse(now) + timedelta(hours=offer.hours)) if offer.default and offer.hours else ""
    if len(question) > MOST_QUESTION:
        context = "\n".join(each for each in (context, f"The whole question: {question}") if each)
    known = {"questions": " ".join(offer.digests)} if offer.digests else {}
    return Card(
        id=card_id(job.id, number),
        job=job.id,
        number=number,
        kind=kind,
        question=shorten(question, MOST_QUESTION),
        options=(*offer.choices, *OPTIONS[kind]),
        asked=now,
        context=context if len(context) <= MOST_CONTEXT else context[: MOST_CONTEXT - len(_CUT)] + _CUT,
        facts={**(facts or {}), **known},
        default=offer.default,
        expires=expires,
    )


def shorten(text: str, most: int) -> str:
    """A text of at most so many characters; if some are left out, it ends in `…`."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def dropped(kind: CardKind) -> State:
    """Where a job ends that is dropped on a card: it failed if its work did, else it was given up."""
    return State.FAILED if kind in _FAILED else State.CANCELLED


def choices_on(card: Card) -> tuple[Option, ...]:
    """The answers that an agent offers itself to its question: those before the ones that every question has."""
    return card.options[: -len(OPTIONS[card.kind])] if card.kind is CardKind.QUESTION else ()


def held_by_time(card: Card) -> frozenset[str]:
    """The answers that may hold because nobody has given one: an agent's own, and to do both of two like jobs."""
    return frozenset({"keep"}) if card.kind is CardKind.LIKE else frozenset(each.key for each in choices_on(card))


def effect_of(card: Card, key: str) -> Effect | None:
    """What an answer does; None if the card does not offer it. Whatever an agent calls an answer, it is a reply."""
    if key in {option.key for option in choices_on(card)}:
        return Effect.REPLY
    return Effect(key) if key in _KEYS and key in {option.key for option in card.options} else None


_KEYS = frozenset(effect.value for effect in Effect)
