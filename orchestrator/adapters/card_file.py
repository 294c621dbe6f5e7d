"""Cards and reviews as the files that `queue/` shows: a card has two keys to fill in, a review is only read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from orchestrator.adapters.orc_block import clean, read_parts, write_parts
from orchestrator.adapters.schemas import validate
from orchestrator.adapters.strict_yaml import dump, load, replace_unsafe
from orchestrator.adapters.templates import render_prose
from orchestrator.core.codec import to_mapping
from orchestrator.core.questions import default_in_words
from orchestrator.core.records import Card, Option
from orchestrator.core.review_record import ReviewRecord
from orchestrator.errors import InvalidFileError

if TYPE_CHECKING:
    from orchestrator.core.goal import FinishCard


@dataclass(frozen=True, slots=True)
class CardAnswer:
    """What a person wrote into a card's file; '' where nothing was written.

    `card_id` and `block` are as somebody left them: the card in the ledger decides what may be answered. `text` is the
    part that is the person's, comments and all.
    """

    card_id: str
    answer: str
    message: str
    text: str
    block: Mapping[str, Any] | None = None


def show_card(card: Card, job_title: str) -> bytes:
    """The file of a card: its question and answers as comments, two keys to fill in, then its facts."""
    lines = [*_prose(card.question), *_prose(f"Job {card.job}: {job_title}")]
    # Which jobs wait changes with other jobs, and this file only with its own.
    lines += [*_prose(f"What waits for it: orc show {card.job}"), "#"]
    if card.superseded:
        lines += _prose(f"This card may no longer be answered: {card.superseded}")
    else:
        lines += _offer(card.id, card.options)
        if by_default := default_in_words(card):
            lines += _prose(f"({by_default})")
    lines += ["answer:", "# What goes with it, if anything: `message: |` and the text below it, indented.", "message:"]
    return write_parts("\n".join(lines) + "\n", to_mapping(card), markdown=False)


def show_finish(card: FinishCard) -> bytes:
    """The file of a card that asks whether a project is finished, in the same form."""
    lines = [*_prose(card.question), *_prose(f"What it has come to stands below; more: orc show {card.project}"), "#"]
    lines += _offer(card.id, card.options)
    lines += [
        "answer:",
        "# What goes with it; `more` needs it: `message: |` and the text below it, indented.",
        "message:",
    ]
    return write_parts("\n".join(lines) + "\n", to_mapping(card), markdown=False)


def _offer(card_id: str, options: Iterable[Option]) -> Iterator[str]:
    yield from _prose(f"Write one of these behind `answer:` and save, or run: orc answer {card_id} KEY")
    for option in options:
        yield from _prose(f"  {option.key} - {option.label}. {option.consequence}")


def parse_card_answer(data: bytes, *, name: str) -> CardAnswer:
    """What a person answered. Raises InvalidFileError for an unknown key, or an answer that the card does not offer."""
    parts = read_parts(data, markdown=False, file=name)
    document = load(parts.text, file=name)
    facts = {} if document.value is None else document.value
    validate(facts, "card", file=name, lines=document.lines)
    answer = (facts.get("answer") or "").strip()
    block = parts.block or {}
    offered = _offered(block)
    if answer and offered and answer not in offered:
        near = get_close_matches(answer.lower(), offered, n=1)
        guess = f"; did you mean `{near[0]}`?" if near else ""
        reason = f"is {answer[:40]!r}; this card offers {', '.join(offered)}{guess}"
        raise InvalidFileError(reason, file=name, line=document.lines["answer",], key="answer")
    card_id = block.get("id")
    stem = name.rpartition("/")[2].removesuffix(".yaml")
    return CardAnswer(
        card_id if isinstance(card_id, str) else stem,
        answer,
        (facts.get("message") or "").strip(),
        parts.text,
        parts.block,
    )


def show_review(review: ReviewRecord) -> bytes:
    """The file of a review, for reading only."""
    whose = f"{review.reviewer.agent} on attempt {review.attempt}, commit {review.commit[:12]}"
    verdict = review.verdict or "under way"
    lines = [
        *_prose(f"Review {review.number} by {whose}: {verdict}"),
        "# Written by orc for reading; changes are undone.",
    ]
    return ("\n".join(lines) + "\n" + dump(clean(to_mapping(review)))).encode("utf-8")


def _prose(text: str) -> list[str]:
    """Comment lines of a text that may quote an agent: one paragraph, nothing that could end the comment."""
    indent = "  " if text.startswith("  ") else ""
    return [line[:2] + indent + line[2:] for line in render_prose(" ".join(replace_unsafe(text).split()))]


def _offered(block: Mapping[str, Any]) -> Sequence[str]:
    options = block.get("options")
    keys = [option.get("key") for option in options if isinstance(option, dict)] if isinstance(options, list) else []
    return [key for key in keys if isinstance(key, str)]
