"""What a person's answer to a card does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.core.card import Effect, dropped, effect_of, held_by_time
from orchestrator.core.config import Terms
from orchestrator.core.job import Expects, Fix, Job, MergePolicy, State
from orchestrator.core.judge import FRESH_MERGE, after_approval
from orchestrator.core.questions import reply_of
from orchestrator.core.records import Card, CardKind
from orchestrator.core.review import numbered
from orchestrator.core.rounds import same_dispute
from orchestrator.core.step import NOT_APPROVED, RESUMED, Step, another_go
from orchestrator.core.transitions import ENGINE, Actor, Event, IllegalStepError, Move
from orchestrator.errors import RefusedError

_RETRIED = {CardKind.LANDING: State.LANDING, CardKind.MOVING_TARGET: State.MERGING}
"""Where a retry goes on, where it is not a new attempt."""
_UNAPPROVED = (State.READY, State.CHECKING, State.REVIEWING)
_RESUMABLE: Mapping[str, State] = {
    **{state: state for state in (State.COLLECTED, State.CHECKING, State.REVIEWING, State.MERGING)},
    # A merged tree does not outlive a card: it is built anew.
    State.LANDING: State.MERGING,
}
"""Where a job goes on that was interrupted in a state; in every other it is an attempt, which begins anew."""


def answer(job: Job, card: Card, key: str, message: str, terms: Terms, now: str, *, actor: Actor) -> Move:
    """The step that an answer takes. Raises RefusedError if the card does not stand any more or does not offer it."""
    effect = effect_of(card, key)
    _check_answer(job, card, key, effect, message)
    if effect is Effect.APPROVE:
        _check_bound(job, card, terms)
    closed = replace(card, answer=key, message=message, answered=now, by=actor.name)
    facts: dict[str, Any] = {"card": card.id, "answer": key}
    step = Step(Event.ANSWER, job, now, {f"card-{card.number}": closed}, facts=facts, actor=actor)
    told = f"{key} ({card.id})"
    match effect:
        case Effect.APPROVE:
            return _approve(step, card, terms, told)
        case Effect.REVISE:
            fixes = numbered(Fix("", text, source="human") for text in points(message))
            why = f"a person asks for {len(fixes)} change{'s' if len(fixes) != 1 else ''}"
            return step.to(State.READY, told, **{**another_go(job), **NOT_APPROVED}, fixes=fixes, reason=why)
        case Effect.REPLY:
            return _replied(step, closed, told, "a person has answered")
        case Effect.GIVE:
            return _by_another(step, f"{told}: {message.strip()}", message.strip())
        case Effect.RETRY if card.kind in (CardKind.CONFLICT, CardKind.STALE):
            return _by_another(step, told, "")
        case Effect.RETRY:
            state = _retried(card)
            changes = {**another_go(job), **(NOT_APPROVED if state in _UNAPPROVED else {})}
            if card.kind in (CardKind.CEILING, CardKind.CANNOT_START):
                # Nothing was done at it: an approval that waits for the target to move still does.
                changes["collided"] = job.at.collided
            return step.to(state, told, **changes)
        case Effect.REVIEW_AGAIN:
            # Who is party to a dispute does not judge it, whoever has it judged.
            second = same_dispute(job.at.fixes, job.at.review) if card.kind is CardKind.DISPUTED else None
            return step.to(State.REVIEWING, told, **{**another_go(job), **NOT_APPROVED}, second=second)
        case Effect.DROP:
            return step.to(dropped(card.kind), told, reason=message or f"dropped: {card.question}")
        case Effect.KEEP if card.kind is CardKind.LIKE:
            return step.to(State.READY, told, **NOT_APPROVED, reason="a person has both done")
        case Effect.RECHECK:
            return step.to(State.READY, told, recheck=now, asked_base="")
        case _:
            return step.to(State.WAITING, told, reason=f"the base is red ({card.id})")


def _replied(step: Step, closed: Card, told: str, why: str) -> Move:
    """An agent's question is answered. What was to be put right before still is; nothing is spent, nothing granted."""
    fixes = numbered((*step.job.at.fixes, reply_of(closed)))
    return step.to(State.READY, told, **NOT_APPROVED, fixes=fixes, reason=why)


def _by_another(step: Step, told: str, given: str) -> Move:
    """Another go, by whom it is given or by anybody. An approval that waits for the target still does."""
    changes = {**another_go(step.job), **NOT_APPROVED, "collided": step.job.at.collided}
    return step.to(State.READY, told, **changes, given=given)


def _retried(card: Card) -> State:
    """Where a job goes on when the card's question was whether to try again."""
    resumed = _RESUMABLE.get(card.facts.get("step", "")) if card.kind in RESUMED else None
    return resumed or _RETRIED.get(card.kind, State.READY)


def apply_default(job: Job, card: Card, now: str) -> Move:
    """Nobody has answered in time: the default holds. Of an agent's question it is a reply; a job that is like another
    goes on as it would have without the question.

    Raises IllegalStepError if there is none, or if it is not due.
    """
    is_open = card.open and job.state is State.DECIDE and card.number == job.at.card and not job.is_held
    if not is_open or card.default not in held_by_time(card):
        raise IllegalStepError(f"{card.id} has no default that could be applied")
    if not card.expires or now < card.expires:
        raise IllegalStepError(f"{card.id} has not expired")
    closed = replace(card, answer=card.default, answered=now, by=ENGINE.name)
    facts = {"card": card.id, "answer": card.default, "expired": card.expires}
    step = Step(Event.DEFAULT, job, now, {f"card-{card.number}": closed}, facts=facts)
    told = f"{card.default} ({card.id}) by default, nobody answered by {card.expires}"
    why = "nobody has answered, so the default holds"
    if card.kind is CardKind.LIKE:
        return step.to(State.READY, told, reason=why)
    return _replied(step, closed, told, why)


def points(message: str) -> list[str]:
    """The separate points of a message: its list items, else its paragraphs."""
    found: list[str] = []
    for block in (block.strip() for block in message.replace("\r\n", "\n").split("\n\n")):
        lines = [line.strip() for line in block.split("\n")]
        if all(line.startswith(("- ", "* ")) for line in lines):
            found += [line[2:].strip() for line in lines]
        elif block:
            found.append(block)
    return found


def _approve(step: Step, card: Card, terms: Terms, told: str) -> Move:
    """A person takes exactly the commit that the card names."""
    commit = card.facts.get("commit", "")
    step = replace(step, facts={**step.facts, "reviewed_sha": commit}).with_changes(second=None)
    if step.job.spec.expects is Expects.NO_CHANGE:
        return step.to(State.DONE, told, approved=commit, reason="accepted by a person; nothing to merge")
    # A branch may be left without a merged tree only if the checks have seen the work.
    checked = terms.merge is MergePolicy.BRANCH and step.job.at.tests != ""
    policy = MergePolicy.BRANCH if checked else MergePolicy.AUTO
    return step.to(after_approval(policy), told, approved=commit, fixes=(), **FRESH_MERGE)


def _check_answer(job: Job, card: Card, key: str, effect: Effect | None, message: str) -> None:
    offered = ", ".join(option.key for option in card.options)
    if card.answer:
        raise RefusedError(f"{card.id} was answered already: {card.answer}, by {card.by}")
    if card.superseded or job.state is not State.DECIDE or card.number != job.at.card:
        why = card.superseded or f"{job.id} is {job.state} now"
        raise RefusedError(f"{card.id} may no longer be answered: {why}", hint=f"orc show {job.id}")
    if effect is None:
        raise RefusedError(f"{card.id} has no answer {key!r}; it offers {offered}", hint=f"orc answer {card.id} KEY")
    if key == Effect.REPLY and not message.strip():
        raise RefusedError("an answer to a question needs words", hint=f"orc answer {card.id} {key} -m '…'")
    if effect is Effect.GIVE and not message.strip():
        raise RefusedError("who is to go on with it? The message is the agent's name", hint="orc workers")
    if effect is Effect.REVISE and not points(message):
        raise RefusedError("asking for changes needs words that say which", hint=f"orc reject {job.id} -m '…'")


def _check_bound(job: Job, card: Card, terms: Terms) -> None:
    """Raise RefusedError if what the card asks to take is not what would be taken now."""
    commit, target = card.facts.get("commit", ""), card.facts.get("target", "")
    if not commit or commit != (job.at.approved or job.at.tip):
        raise RefusedError(f"{card.id} is about {commit[:12] or 'no commit'}, which is no longer the work of {job.id}")
    if target and target != terms.target:
        hint = f"orc retry {job.id}, or set the target back"
        raise RefusedError(f"{card.id} asks to merge into {target}, but the target is {terms.target} now", hint=hint)
