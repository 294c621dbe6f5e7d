"""What a card asks, and what a person's answer to it leads to. Reads the ledger only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.adapters.audit_reviews import policies
from orchestrator.adapters.audit_rules import SKEW_S, Finding, Rule, Step, check_trailers, differ
from orchestrator.core.card import MOST_QUESTION, OPTIONS, Effect, choices_on, dropped, effect_of, held_by_time, shorten
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.ids import card_id
from orchestrator.core.job import Expects, Fix, MergePolicy, State
from orchestrator.core.judge import after_approval
from orchestrator.core.questions import (
    CHOSEN,
    FEWEST_CHOICES,
    MOST_CHOICES,
    MOST_LABEL,
    SAME_FOR,
    is_answered,
    offer_problem,
    reply_again,
    reply_of,
)
from orchestrator.core.records import Card, CardKind
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.rounds import disputed
from orchestrator.core.suspicion import doubted
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, Event
from orchestrator.core.waits import is_forgotten, stale_question, wait_of

_ASKS: Mapping[Event, frozenset[CardKind]] = {
    Event.ACCEPT: frozenset({CardKind.LIKE}),
    Event.COLLECT: frozenset({CardKind.ATTEMPTS, CardKind.QUESTION}),
    Event.LOST: frozenset({CardKind.CRASHES}),
    Event.NOT_STARTED: frozenset({CardKind.CANNOT_START}),
    Event.EVIDENCE: frozenset({CardKind.ATTEMPTS, CardKind.TOO_LARGE}),
    Event.CHECKED: frozenset({CardKind.ATTEMPTS, CardKind.TOO_LARGE, CardKind.HUMAN_REVIEW}),
    Event.MERGE: frozenset({CardKind.ATTEMPTS, CardKind.CONFLICT}),
    Event.VERDICT: frozenset(
        {
            CardKind.MERGE,
            CardKind.HUMAN_REVIEW,
            CardKind.ROUNDS,
            CardKind.REJECTED,
            CardKind.UNCLEAR,
            CardKind.DISPUTED,
            CardKind.SUSPICIOUS,
        }
    ),
    Event.STAND: frozenset({CardKind.MERGE}),
    Event.REBUILD: frozenset({CardKind.MOVING_TARGET}),
    Event.LAND: frozenset({CardKind.LANDING}),
}
_VERDICT_CARDS = {
    CardKind.MERGE: Verdict.APPROVED,
    CardKind.HUMAN_REVIEW: Verdict.APPROVED,
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
    own = [each.key for each in choices_on(card)]
    yield from differ(Rule.CARD, "what the card offers", offered, [*own, *offers])
    yield from _judge_offer(step, card)
    yield from differ(Rule.CARD, "the commit that the card names", card.facts.get("commit", ""), _work(step))
    if card.answer or card.superseded or card.by:
        yield Rule.CARD, "asks with a card that is answered already"
    if card.kind not in _ASKS.get(step.event, frozenset(CardKind)):
        yield Rule.CARD, f"asks with a card of the kind {card.kind}, which {step.event} never leads to"
    if card.kind is CardKind.STALE:
        yield from _judge_stale(step, card)
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


def _judge_offer(step: Step, card: Card) -> Iterator[Finding]:
    """An agent offers answers to its own question only, and time gives none but one of them."""
    choices = choices_on(card)
    if choices and (step.event is not Event.COLLECT or not FEWEST_CHOICES <= len(choices) <= MOST_CHOICES):
        yield Rule.CARD, f"offers {len(choices)} answers of an agent by {step.event}"
    for each in choices:
        if len(each.label) > MOST_LABEL or not each.consequence.startswith(CHOSEN):
            yield Rule.CARD, f"offers the answer {each.key!r}, which does not look like one of an agent"
    if card.kind is CardKind.LIKE:
        if step.event is not Event.ACCEPT:
            yield Rule.CARD, f"asks by {step.event} about a job that is like another, which is asked as it comes in"
    elif problem := offer_problem(choices, card.default, int(bool(card.expires))):
        yield Rule.CARD, f"asks with a card that no agent may ask with: {problem}"
    if card.expires and card.expires <= card.asked:
        yield Rule.TIME, f"asks at {card.asked} with a card that expires at {card.expires}"


def _judge_stale(step: Step, card: Card) -> Iterator[Finding]:
    """A person is asked about a job that has waited long for what does not come by itself."""
    if step.before is None or abs(parse(card.asked).timestamp() - step.commit.committer.seconds) > SKEW_S:
        yield Rule.TIME, f"asks at {card.asked}, which is not when it was committed"
        return
    wait = wait_of(step.before, parse(card.asked))
    if wait is None or not is_forgotten(step.before, parse(card.asked)):
        yield Rule.TIME, "asks about a job that has not waited long for what does not come by itself"
        return
    question = shorten(stale_question(step.was.reason), MOST_QUESTION)
    yield from differ(Rule.CARD, "the question", card.question, question)
    yield from differ(Rule.STANDING, "since when the job waits", step.at.stuck, wait.since)


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
    if effect is Effect.RETRY and card.kind in (CardKind.CONFLICT, CardKind.STALE):
        given = ""
    yield from differ(Rule.CARD, "the agent that goes on with it", step.at.given, given)


def _judge_reply(step: Step, card: Card) -> Iterator[Finding]:
    yield from _judge_told(step, [reply_of(card)], f"answers {card.id}")
    if card.answer == Effect.REPLY and not card.message.strip():
        yield Rule.CARD, f"answers {card.id} without a word"


def _judge_told(step: Step, wanted: list[Fix], what: str) -> Iterator[Finding]:
    """The author is told just this, beside what was asked of it before."""
    told = [(each.problem, each.fix, each.source) for each in step.at.fixes]
    before = [(each.problem, each.fix, each.source) for each in step.was.fixes]
    if told != before + [(each.problem, each.fix, each.source) for each in wanted]:
        yield Rule.CARD, f"{what}, but the author is told something else"


def judge_default(step: Step) -> Iterator[Finding]:
    """Nobody has answered in time: the card's default is its answer, given once, by the engine."""
    old, new = step.old.get(Card, step.was.card), step.new.get(Card, step.was.card)
    if old is None or new is None or not old.open:
        yield Rule.CARD, f"answers card {step.was.card} by default, which is no open question"
        return
    given = (new.answer, new.by, new.message)
    yield from differ(Rule.CARD, "the answer by default", given, (old.default, ENGINE.name, ""))
    if new.answer not in held_by_time(old):
        yield Rule.CARD, f"gives the answer {new.answer!r} by default, which no agent has offered"
    if not old.expires or new.answered < old.expires:
        yield (
            Rule.TIME,
            f"answers {old.id} at {new.answered or 'no time'}, before it expires ({old.expires or 'never'})",
        )
    elif abs(parse(new.answered).timestamp() - step.commit.committer.seconds) > SKEW_S:
        yield Rule.TIME, f"answers {old.id} at {new.answered}, which is not when it was committed"
    told = [reply_of(new)] if old.kind is CardKind.QUESTION else []
    yield from _judge_told(step, told, f"answers {new.id} by default")
    yield from check_trailers(step, {"Card": new.id, "Answer": new.answer, "Expired": old.expires})


def judge_answered_before(step: Step) -> Iterator[Finding]:
    """An attempt has asked what was answered lately: its author is told that answer again."""
    named = (step.commit.trailer("Answered-Before") or "").split()
    numbers = [int(each.rpartition("-")[2]) for each in named if each.rpartition("-")[2].isdecimal()]
    cards = [card for number in numbers if (card := step.old.get(Card, number)) is not None]
    if [card.id for card in cards] != named:
        yield Rule.CARD, f"says that {' '.join(named)} answered it, and there is no such card"
        return
    since = iso(parse(step.at.since) - SAME_FOR)
    for card in cards:
        if not is_answered(card) or card.answered < since:
            yield Rule.CARD, f"says that {card.id} answered it lately, which it did not"
            return
    yield from _judge_told(step, [reply_again(card) for card in cards], "was answered before")


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
            return (State.READY if card.kind is CardKind.LIKE else State.WAITING,)


_RESUMED: Mapping[str, State] = {
    "collected": State.COLLECTED,
    "checking": State.CHECKING,
    "reviewing": State.REVIEWING,
    "merging": State.MERGING,
    "landing": State.MERGING,
}


_SUPERSEDED: Mapping[CardKind, tuple[State, ...]] = {
    CardKind.LANDING: (State.LANDING, State.MERGING),
    CardKind.BASE_RED: (State.READY,),
    CardKind.STALE: (State.READY,),
}
"""Which questions the engine takes back when what they were about is gone, and where the job goes on."""


def judge_supersede(step: Step) -> Iterator[Finding]:
    """Only an open card about a landing, a red base or what a job waits for is superseded by the engine."""
    old, new = step.old.get(Card, step.was.card), step.new.get(Card, step.was.card)
    if old is None or new is None or not old.open or not new.superseded or old.kind not in _SUPERSEDED:
        yield Rule.CARD, f"supersedes card {step.was.card}, which asks nothing that goes away by itself"
    elif step.at.state not in _SUPERSEDED[old.kind]:
        yield Rule.CARD, f"supersedes card {step.was.card}, and leads to {step.at.state}, where such a job does not go"
