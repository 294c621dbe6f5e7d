"""What a card asks, and what a person's answer to it leads to. Reads the ledger only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.adapters.audit_reviews import policies
from orchestrator.adapters.audit_rules import Finding, Rule, Step, check_trailers, differ
from orchestrator.core.card import OPTIONS, Effect, dropped, effect_of
from orchestrator.core.ids import card_id
from orchestrator.core.job import Expects, MergePolicy, State
from orchestrator.core.judge import after_approval
from orchestrator.core.records import (
    Card,
    CardKind,
    Evidence,
    ReviewRecord,
    Verdict,
)
from orchestrator.core.rounds import disputed
from orchestrator.core.suspicion import doubted
from orchestrator.core.transitions import Event

_ASKS: Mapping[Event, frozenset[CardKind]] = {
    Event.COLLECT: frozenset({CardKind.ATTEMPTS, CardKind.QUESTION}),
    Event.LOST: frozenset({CardKind.CRASHES}),
    Event.NOT_STARTED: frozenset({CardKind.CANNOT_START}),
    Event.EVIDENCE: frozenset({CardKind.ATTEMPTS, CardKind.TOO_LARGE}),
    Event.CHECKED: frozenset({CardKind.ATTEMPTS, CardKind.TOO_LARGE, CardKind.HUMAN_REVIEW}),
    Event.MERGE: frozenset({CardKind.ATTEMPTS, CardKind.CONFLICT}),
    Event.VERDICT: frozenset(
        {
            CardKind.MERGE,
            CardKind.ROUNDS,
            CardKind.REJECTED,
            CardKind.UNCLEAR,
            CardKind.DISPUTED,
            CardKind.SUSPICIOUS,
        }
    ),
    Event.REBUILD: frozenset({CardKind.MOVING_TARGET}),
    Event.LAND: frozenset({CardKind.LANDING}),
}
_VERDICT_CARDS = {
    CardKind.MERGE: Verdict.APPROVED,
    CardKind.SUSPICIOUS: Verdict.APPROVED,
    CardKind.ROUNDS: Verdict.REVISE,
    CardKind.DISPUTED: Verdict.REVISE,
    CardKind.REJECTED: Verdict.REJECT,
    CardKind.UNCLEAR: Verdict.INCONCLUSIVE,
}


def judge_card(step: Step) -> Iterator[Finding]:
    """A card asks what the event may ask, offers what such a card offers, and names the work as it is."""
    card = step.card()
    if not step.asks or card is None:
        return
    yield from differ(Rule.CARD, "the card", (card.id, card.job), (card_id(step.id, step.at.card), step.id))
    offered, offers = [each.key for each in card.options], [each.key for each in OPTIONS[card.kind]]
    yield from differ(Rule.CARD, "what the card offers", offered, offers)
    yield from differ(Rule.CARD, "the commit that the card names", card.facts.get("commit", ""), _work(step))
    if card.answer or card.superseded or card.by:
        yield Rule.CARD, "asks with a card that is answered already"
    if card.kind not in _ASKS.get(step.event, frozenset(CardKind)):
        yield Rule.CARD, f"asks with a card of the kind {card.kind}, which {step.event} never leads to"
    if card.kind is CardKind.SUSPICIOUS and doubted(step.was.second) is None:
        yield Rule.CARD, "asks about a suspicious approval, but there is none"
    if card.kind is CardKind.DISPUTED and disputed(step.was.second) is None:
        yield Rule.CARD, "asks about a dispute, but there is none"
    review = step.new.get(ReviewRecord, step.at.review)
    wanted = _VERDICT_CARDS.get(card.kind)
    if step.event is Event.VERDICT and review is not None and wanted is not None and review.verdict is not wanted:
        unclear = wanted is Verdict.INCONCLUSIVE and review.commit != step.was.tip
        if not unclear:
            yield Rule.CARD, f"asks with a card of the kind {card.kind}, but the verdict is {review.verdict}"
    if Effect.APPROVE in offered:
        silent = [each for each in step.at.tampering if each not in card.context.splitlines()]
        for each in silent:
            yield Rule.CARD, f"asks whether to take the work, but does not tell: {each}"
    told = {"Card": card.id}
    if step.commit.trailer("Asks") is not None:  # Older versions did not say.
        told["Asks"] = card.kind
    yield from check_trailers(step, told)


def _work(step: Step) -> str:
    return step.at.approved or step.at.tip


def judge_answer(step: Step) -> Iterator[Finding]:
    """A person answered an open card, about the work as it is, and the job goes where that answer leads."""
    old, new = step.old.get(Card, step.was.card), step.new.get(Card, step.was.card)
    if old is None or new is None or step.before is None:
        yield Rule.CARD, "answers a card that does not exist"
        return
    if not old.open:
        why = f"superseded: {old.superseded}" if old.superseded else f"answered by {old.by}"
        yield Rule.CARD, f"answers {old.id}, which was {why} before"
    actor = step.commit.trailer("Actor")
    if new.by != actor or not new.by.startswith("human:"):
        yield Rule.CARD, f"says that {new.by or 'nobody'} answered {new.id}, but {actor} did"
    effect = effect_of(new, new.answer)
    if effect is None:
        yield Rule.CARD, f"gives the answer {new.answer!r}, which {new.id} does not offer"
        return
    approved = step.at.approved
    if effect is Effect.APPROVE:
        yield from _judge_taken(step, new)
    elif approved and approved != step.was.approved:
        yield Rule.APPROVAL, f"approves {approved[:12]}, but the answer was {new.answer}"
    if effect is Effect.REVISE and not (step.at.fixes and new.message.strip()):
        yield Rule.CARD, "asks for changes, but names none"
    yield from _judge_given(step, new, effect)
    if effect is Effect.REPLY:
        yield from _judge_reply(step, new)
    elif effect is not Effect.REVISE and step.at.fixes not in ((), step.was.fixes):
        yield Rule.CARD, f"asks for changes, but the answer was {new.answer}"
    if step.after.state not in _led_to(step, effect, new):
        yield Rule.CARD, f"goes on to {step.after.state}, which does not follow from the answer {new.answer!r}"
    told = {"Card": new.id, "Answer": new.answer}
    yield from check_trailers(step, told | ({"Reviewed-Sha": approved} if effect is Effect.APPROVE else {}))


def _judge_given(step: Step, card: Card, effect: Effect) -> Iterator[Finding]:
    given = card.message.strip() if effect is Effect.GIVE else step.was.given
    if effect is Effect.RETRY and card.kind is CardKind.CONFLICT:
        given = ""
    yield from differ(Rule.CARD, "the agent that goes on with it", step.at.given, given)


def _judge_reply(step: Step, card: Card) -> Iterator[Finding]:
    kept, told = step.at.fixes[:-1], step.at.fixes[-1:]
    said = [(each.problem, each.fix) for each in kept] == [(each.problem, each.fix) for each in step.was.fixes]
    if not said or not told or not card.message.strip() or card.message.strip() not in told[0].fix:
        yield Rule.CARD, f"answers {card.id}, but the author is told something else"


def _judge_taken(step: Step, card: Card) -> Iterator[Finding]:
    bound = card.facts.get("commit", "")
    yield from differ(Rule.APPROVAL, "the approved commit", step.at.approved, bound)
    if not bound or bound != (step.was.approved or step.was.tip):
        yield Rule.APPROVAL, f"takes {bound[:12] or 'no commit'}, which is not the work of the job any more"
    if step.after.spec.expects is Expects.NO_CHANGE:
        return
    evidence = step.new.get(Evidence, step.was.evidence)
    if evidence is None or evidence.tip != bound:
        yield Rule.APPROVAL, f"takes {bound[:12]}, which nobody looked at"
    elif evidence.failures:
        yield Rule.APPROVAL, f"takes {bound[:12]}, which the gate refused ({evidence.failures[0].rule})"


def _led_to(step: Step, effect: Effect, card: Card) -> tuple[State, ...]:
    match effect:
        case Effect.APPROVE if step.after.spec.expects is Expects.NO_CHANGE:
            return (State.DONE,)
        case Effect.APPROVE if step.was.tests == "":
            # No check has seen the work: then not even a branch is left before the merged tree has passed.
            return (State.MERGING,)
        case Effect.APPROVE:
            return tuple(
                after_approval(policy if policy is MergePolicy.BRANCH else MergePolicy.AUTO)
                for policy in policies(step.after)
            )
        case Effect.REVISE | Effect.REPLY | Effect.GIVE:
            return (State.READY,)
        case Effect.REVIEW_AGAIN:
            return (State.REVIEWING,)
        case Effect.DROP:
            return (dropped(card.kind),)
        case Effect.RETRY if card.kind is CardKind.LANDING:
            return (State.LANDING,)
        case Effect.RETRY if card.kind is CardKind.MOVING_TARGET:
            return (State.MERGING,)
        case Effect.RETRY if card.facts.get("step") in _RESUMED:
            return (_RESUMED[card.facts["step"]],)
        case Effect.RETRY:
            return (State.READY,)
        case Effect.RECHECK:
            return (State.READY,)
        case Effect.KEEP:
            return (State.WAITING,)


_RESUMED: Mapping[str, State] = {
    "collected": State.COLLECTED,
    "checking": State.CHECKING,
    "reviewing": State.REVIEWING,
    "merging": State.MERGING,
    "landing": State.MERGING,
}


_SUPERSEDED = {CardKind.LANDING: (State.LANDING, State.MERGING), CardKind.BASE_RED: (State.READY,)}
"""Which questions the engine takes back when what they were about is gone, and where the job goes on."""


def judge_supersede(step: Step) -> Iterator[Finding]:
    """Only an open card about a landing or a red base is superseded by the engine."""
    old, new = step.old.get(Card, step.was.card), step.new.get(Card, step.was.card)
    if old is None or new is None or not old.open or not new.superseded or old.kind not in _SUPERSEDED:
        yield Rule.CARD, f"supersedes card {step.was.card}, which is no open question about a landing or a red base"
    elif step.at.state not in _SUPERSEDED[old.kind]:
        yield Rule.CARD, f"supersedes card {step.was.card}, and leads to {step.at.state}, where such a job does not go"
