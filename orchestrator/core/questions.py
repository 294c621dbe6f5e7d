"""An agent's question to the person: the answers that it offers, what it is told, and what it has asked before."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

from orchestrator.core.card import Effect, choices_on, effect_of, shorten
from orchestrator.core.job import Fix
from orchestrator.core.records import Card, CardKind, Option
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, one_line

FEWEST_CHOICES, MOST_CHOICES = 2, 4
MOST_LABEL = 40
KEY = re.compile(r"[a-z][a-z0-9-]{0,19}\Z")
CHOSEN = "The author goes on with this answer."
"""With this begins what is said of each answer that an agent offers: it is never anything else that happens."""
RESERVED = frozenset(
    {
        *(effect.value for effect in Effect),
        *("accept", "cancel", "delete", "hold", "land", "merge", "reject", "release"),
        *("false", "null", "true"),
    }
)
"""Keys that no agent's answer has: those of orc's own answers, words that would look like one, and no texts in YAML."""
SAME_FOR = timedelta(days=7)
"""For so long an answer holds for the same question of the same job."""
LOOKED_AT = 20
"""So many of a job's newest cards are looked at for an earlier answer."""
_LETTERS = "abcd"


# --- what an agent offers -----------------------------------------------------------------------------------------


def choices_of(options: Iterable[str | Mapping[str, str]]) -> tuple[Option, ...]:
    """The answers to choose from. Those that are a text without a key get a letter; all are made printable."""
    made = []
    for letter, each in zip(_LETTERS, options, strict=False):
        given = {"label": each} if isinstance(each, str) else each
        label, more = one_line(given["label"]), one_line(given.get("consequence", ""))
        if len(label) > MOST_LABEL:
            label, more = shorten(label, MOST_LABEL), f"{label} {more}".strip()
        made.append(Option(given.get("key", letter), label, f"{CHOSEN} {more}".strip()))
    return tuple(made)


def offer_problem(choices: tuple[Option, ...], default: str, hours: int) -> str:
    """Why an agent may not offer this; '' if it may."""
    keys = [option.key for option in choices]
    if odd := [key for key in keys if not KEY.match(key)]:
        return f"{odd[0]!r} is no key: a small letter, then at most 19 small letters, digits and hyphens"
    if taken := [key for key in keys if key in RESERVED]:
        return f"no option may have the key {taken[0]!r}, which looks like an answer of orc's own"
    if len(set(keys)) < len(keys):
        return "two options have the same key"
    if default and (len(keys) < FEWEST_CHOICES or default not in keys):
        return f"the default {default!r} is the key of none of its options, of which there must be {FEWEST_CHOICES}"
    return "an expiry needs a default, which then holds" if hours and not default else ""


# --- what it is told ----------------------------------------------------------------------------------------------


def reply_of(card: Card) -> Fix:
    """What the author is told of an answer that its question got."""
    source = "engine" if card.by == ENGINE.name else "human"
    return Fix("", f"You asked: {card.question}", f"The answer: {answer_in_words(card)}", source=source)


def reply_again(card: Card) -> Fix:
    """What the author is told when it asks what was answered before."""
    problem = f"You asked again what was answered at {card.answered}: {card.question}"
    return Fix("", problem, f"The answer: {answer_in_words(card)}", source="engine")


def answer_in_words(card: Card) -> str:
    """The answer to an agent's question: the option that was chosen, and the words that came with it."""
    words = card.message.strip()
    chosen = next((option for option in choices_on(card) if option.key == card.answer), None)
    if chosen is None:
        return words
    more = chosen.consequence.removeprefix(CHOSEN).strip()
    told = f"{chosen.key}: {chosen.label}" + (f" ({more})" if more else "")
    if card.by == ENGINE.name:
        told = f"nobody answered by {card.expires}, so your default holds: {told}"
    return f"{told}. {words}" if words else told


def default_in_words(card: Card) -> str:
    """Which answer holds without a person, and when, or which one its author would take; '' without a default."""
    if not card.default:
        return ""
    when = f"if nobody answers by {card.expires}" if card.expires else "the author would take"
    return f"{when}: {card.default}"


# --- what it has asked before -------------------------------------------------------------------------------------


def question_digest(text: str) -> str:
    """By which a question is known again, whatever its capitals, its blanks and the mark at its end."""
    plain = " ".join(text.casefold().split()).rstrip(" ?!.")
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()[:16]


def earlier_answer(text: str, cards: Iterable[Card], now: str) -> Card | None:
    """The card that has answered the same question lately; None if none has. `cards` are a job's, newest first."""
    digest, since = question_digest(text), iso(parse(now) - SAME_FOR)
    found = (card for card in cards if digest in card.facts.get("questions", "").split())
    return next((card for card in found if is_answered(card) and since <= card.answered), None)


def is_answered(card: Card) -> bool:
    """Whether a question was answered with something that its author can go on with."""
    return card.kind is CardKind.QUESTION and bool(card.answer) and effect_of(card, card.answer) is Effect.REPLY
