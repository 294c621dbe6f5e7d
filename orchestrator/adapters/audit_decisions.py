"""What each decision on the ledger rests on, recomputed from the records that it cites: checks, reviews, cards.

Reads the ledger only; what has to be looked up in a project's repository is in `audit_work`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.adapters.audit_rules import Finding, Rule, Step, StepRule, differ
from orchestrator.adapters.strict_yaml import replace_unsafe
from orchestrator.core.card import OPTIONS, Effect, effect_of
from orchestrator.core.codec import to_mapping
from orchestrator.core.config import Config, Project, Terms, terms
from orchestrator.core.gate import PASSING, judge_checks
from orchestrator.core.ids import RunId, RunKind, card_id
from orchestrator.core.job import Expects, Fix, Job, MergePolicy, State, Worker
from orchestrator.core.judge import UNCLEAR_VERDICTS, after_approval, merge_policy
from orchestrator.core.records import (
    Attempt,
    Card,
    CardKind,
    CheckResult,
    Evidence,
    MergeRecord,
    ReviewRecord,
    RunStatus,
    Verdict,
)
from orchestrator.core.review import STRONG, fixes_of, independence_of, is_enough
from orchestrator.core.transitions import Event
from orchestrator.core.verdict import Judgement, Question, hash_nonce, judge_reply

NO_NONCE = frozenset({"", hash_nonce("")})
_HEX = frozenset("0123456789abcdef")


def judge_start(step: Step) -> Iterator[Finding]:
    """An attempt is reserved: the record, the prompt exactly as it was given, nothing known yet of the end."""
    attempt = step.new.get(Attempt, step.at.attempt)
    if attempt is None:
        return
    run = str(RunId(step.id, RunKind.ATTEMPT, attempt.number))
    yield from differ(Rule.ATTEMPT, "the run", attempt.run, run)
    yield from differ(Rule.ATTEMPT, "the job's run", step.at.run, attempt.run)
    yield from differ(Rule.ATTEMPT, "the author", step.at.author, attempt.worker)
    yield from differ(Rule.ATTEMPT, "the job's agent", step.at.agent, attempt.worker.agent)
    yield from differ(Rule.ATTEMPT, "the base", step.at.base, attempt.base)
    yield from differ(Rule.ATTEMPT, "what was asked for", attempt.fixes, step.was.fixes)
    if attempt.status is not None or attempt.ended or attempt.tip:
        yield Rule.ATTEMPT, "starts an attempt that has ended already"
    prompt = step.new.entries.get(f"attempt-{attempt.number}.prompt.md")
    if prompt is not None:
        yield from differ(Rule.ATTEMPT, "the prompt", attempt.prompt, prompt.oid)
    told = {"Attempt": attempt.number, "Author": attempt.worker.agent, "Author-Model": attempt.worker.model}
    told |= {"Author-Family": attempt.worker.family, "Base": attempt.base, "Prompt": attempt.prompt}
    yield from check_trailers(step, told)


def judge_collect(step: Step) -> Iterator[Finding]:
    """An attempt ended: only one that came to its end by itself is looked at further."""
    attempt = step.new.get(Attempt, step.was.attempt)
    if attempt is None:
        return
    yield from differ(Rule.ATTEMPT, "the newest work", step.at.tip, attempt.tip or step.was.tip)
    wanted = attempt.status is RunStatus.ENDED
    if (step.after.state is State.COLLECTED) is not wanted:
        yield Rule.ATTEMPT, f"goes on to {step.after.state}, but the attempt's status is {attempt.status}"
    if attempt.ended and attempt.ended < attempt.started:
        yield Rule.TIME, f"says attempt {attempt.number} ended at {attempt.ended}, before it started"
    yield from check_trailers(step, {"Attempt": attempt.number, "Tip": attempt.tip, "Exit": attempt.exit})


def judge_lost(step: Step) -> Iterator[Finding]:
    """A run came to nothing: no new work but an attempt's, and no verdict."""
    attempt = step.new.get(Attempt, step.was.attempt)
    if step.at.tip != step.was.tip and (
        step.before is None or step.before.state is not State.RUNNING or attempt is None or attempt.tip != step.at.tip
    ):
        yield Rule.ATTEMPT, f"says the newest work is {step.at.tip}, which no attempt left"
    review = step.new.get(ReviewRecord, step.was.review)
    if review is not None and review != step.old.get(ReviewRecord, step.was.review):
        yield from differ(Rule.VERDICT, "the verdict", review.verdict, Verdict.INCONCLUSIVE)


# --- checks -------------------------------------------------------------------------------------------------------


def judge_check(step: Step) -> Iterator[Finding]:
    """A run of the checks is reserved, under a name that no other run has."""
    kind = RunKind.MERGE if step.after.state is State.MERGING else RunKind.CHECKS
    yield from differ(Rule.CHECKS, "the run", step.at.run, str(RunId(step.id, kind, step.at.starts)))
    if kind is RunKind.MERGE and not step.at.merged:
        yield Rule.CHECKS, "checks a merged tree, but none was built"
    yield from check_trailers(step, {"Run": step.at.run})


def judge_checked(step: Step) -> Iterator[Finding]:
    """The checks ran: on the tree under judgement, with the result that the ledger says, and what follows from it."""
    record: Evidence | MergeRecord | None
    if step.before is not None and step.before.state is State.MERGING:
        record, onward = step.new.get(MergeRecord, step.was.merge), State.LANDING
    else:
        record, onward = step.new.get(Evidence, step.was.evidence), State.REVIEWING
    if record is None or step.before is None:
        yield Rule.CHECKS, "has no record of what the checks ran on"
        return
    yield from _check_results(step.before, record.tests, record.checks)
    tree = record.tree
    if isinstance(record, Evidence):
        tree = record.checked_tree
        yield from differ(Rule.CHECKS, "the tree that was checked", record.checked_tree, record.tree)
        yield from differ(Rule.CHECKS, "the outcome of the tests", step.at.tests, record.tests)
    elif record.merged != step.was.merged:
        yield Rule.CHECKS, f"checks merge {record.number}, but the job's merged commit is {step.was.merged or 'none'}"
    if (step.after.state is onward) is not (record.tests in PASSING):
        yield Rule.CHECKS, f"goes on to {step.after.state}, but the tests came to {record.tests or 'nothing'}"
    yield from check_trailers(step, {"Tests": record.tests, "Tree": tree})


def _check_results(job: Job, tests: str, checks: tuple[CheckResult, ...]) -> Iterator[Finding]:
    yield from differ(Rule.CHECKS, "the outcome of the tests", tests, judge_checks(checks))
    for each in checks:
        if each.passed and each.exit != 0:
            yield Rule.CHECKS, f"says that `{each.run}` {each.outcome}, but it ended with exit {each.exit}"
    if job.spec.checks is not None:
        ran, asked = [each.run for each in checks], [each.run for each in job.spec.checks]
        stopped = ran == asked[: len(ran)] and any(not each.passed for each in checks)
        if ran != asked and not stopped:
            yield Rule.CHECKS, f"ran {', '.join(ran) or 'no check'}, but the job asks for {', '.join(asked) or 'none'}"


# --- reviews ------------------------------------------------------------------------------------------------------


def judge_review(step: Step) -> Iterator[Finding]:
    """A review is reserved: by somebody else, of exactly the commit that was looked at and checked."""
    review = step.new.get(ReviewRecord, step.at.review)
    if review is None or step.before is None:
        return
    evidence = step.new.get(Evidence, step.was.evidence)
    attempt = step.new.get(Attempt, step.was.attempt)
    yield from differ(Rule.REVIEW, "the run", review.run, str(RunId(step.id, RunKind.REVIEW, review.number)))
    yield from differ(Rule.REVIEW, "the job's run", step.at.run, review.run)
    if evidence is None or attempt is None:
        yield Rule.REVIEW, "asks for a review of work that nobody looked at"
        return
    cited = (review.commit, review.base, review.evidence, review.attempt)
    yield from differ(
        Rule.REVIEW, "what is reviewed", cited, (evidence.tip, evidence.merge_base, evidence.number, attempt.number)
    )
    yield from differ(Rule.REVIEW, "the attempt of the evidence", evidence.attempt, attempt.number)
    if evidence.failures or evidence.tests not in PASSING:
        why = evidence.failures[0].rule if evidence.failures else f"tests: {evidence.tests or 'not run'}"
        yield Rule.REVIEW, f"asks for a review of work that the gate refused ({why})"
    if review.verdict is not None or review.ended or review.nonce_sha256 or review.reply:
        yield Rule.REVIEW, "starts a review that has ended already"
    yield from _judge_independence(step, review, attempt.worker)
    told = {"Review": review.number, "Reviewed-Sha": review.commit, "Independence": review.independence}
    told |= {"Reviewer": review.reviewer.agent, "Reviewer-Model": review.reviewer.model}
    yield from check_trailers(step, {**told, "Reviewer-Family": review.reviewer.family})


def _judge_independence(step: Step, review: ReviewRecord, author: Worker) -> Iterator[Finding]:
    yield from differ(Rule.INDEPENDENCE, "the author", review.author, author)
    found = independence_of(author, review.reviewer)
    yield from differ(Rule.INDEPENDENCE, "the reviewer's independence of the author", review.independence, found)
    wishes = step.after.spec.review
    if not found or (wishes.independence is not None and not is_enough(found, wishes.independence)):
        yield (
            Rule.INDEPENDENCE,
            f"has {review.reviewer.agent} judge the work of {author.agent}, which is too near to it",
        )
    if review.reviewer.agent in step.was.excluded:
        yield Rule.INDEPENDENCE, f"asks {review.reviewer.agent} again, who gave no clear verdict on this work"
    if wishes.by and review.reviewer.agent not in wishes.by:
        yield Rule.INDEPENDENCE, f"has {review.reviewer.agent} judge it, but the job asks for {', '.join(wishes.by)}"
    if wishes.threshold is not None:
        yield from differ(Rule.REVIEW, "the threshold", review.threshold, wishes.threshold)


def judge_verdict(step: Step) -> Iterator[Finding]:
    """A reviewer answered: the verdict is read again from its answer, and what follows from it."""
    review = step.new.get(ReviewRecord, step.was.review)
    if step.before is None or review is None or review.verdict is None:
        yield Rule.VERDICT, "tells of a verdict, but there is no record of a review"
        return
    evidence = step.new.get(Evidence, review.evidence)
    if evidence is None:
        yield Rule.VERDICT, f"judges evidence-{review.evidence}, which does not exist"
        return
    yield from differ(Rule.REVIEW, "the run that ended", review.run, step.was.run)
    yield from differ(Rule.REVIEW, "the commit that was reviewed", review.commit, evidence.tip)
    if not review.ended or review.ended < review.started:
        yield Rule.TIME, f"says review {review.number} ended at {review.ended or 'no time'}, before it started"
    found = reread(step.id, review, evidence)
    yield from _judge_reading(review, found)
    verdict = review.verdict
    if verdict is Verdict.APPROVED and review.commit != step.was.tip:
        verdict = Verdict.INCONCLUSIVE
    yield from _judge_consequence(step, review, verdict, found)
    told: dict[str, object] = {"Review": review.number, "Reviewed-Sha": review.commit, "Verdict": verdict}
    told |= {"Score": review.score, "Reviewer": review.reviewer.agent, "Reviewer-Model": review.reviewer.model}
    told |= {"Author-Model": review.author.model, "Nonce-Sha256": review.nonce_sha256, "Diff-Stat": evidence.stat}
    yield from check_trailers(step, told)


def reread(job: str, review: ReviewRecord, evidence: Evidence) -> Judgement:
    """What the reviewer's answer, as the ledger keeps it, comes to."""
    if review.status is not RunStatus.ENDED or review.exit != 0:
        return Judgement(Verdict.INCONCLUSIVE, why=f"did not come to its end ({review.status}, exit {review.exit})")
    if review.nonce_sha256 in NO_NONCE or len(review.nonce_sha256) != 64 or set(review.nonce_sha256) - _HEX:
        return Judgement(Verdict.INCONCLUSIVE, why="is not bound to a review")
    question = Question(
        job=job,
        commit=review.commit,
        nonce_sha256=review.nonce_sha256,
        files=frozenset(path.path for path in evidence.paths),
        items=review.items_asked,
        required=frozenset(review.required),
        threshold=review.threshold,
    )
    return judge_reply(review.reply, question, blotted=True)


def _judge_reading(review: ReviewRecord, found: Judgement) -> Iterator[Finding]:
    if review.verdict is not found.verdict:
        why = f": it {found.why}" if found.why else ""
        yield Rule.VERDICT, f"says {review.verdict}, but the reviewer's answer comes to {found.verdict}{why}"
        return
    yield from differ(Rule.VERDICT, "the score", review.score, found.score)
    said = _plain({"items": [to_mapping(each) for each in review.items]})
    said |= _plain({"findings": [to_mapping(each) for each in review.findings]})
    read = _plain({"items": [to_mapping(each) for each in found.items]})
    read |= _plain({"findings": [to_mapping(each) for each in found.findings]})
    # A reviewer that repeats its nonce in a remark: the kept answer has the hash there, the remark may not.
    if said != read and review.nonce_sha256 not in str(read):
        yield Rule.VERDICT, "has other answers or findings than the reviewer's answer"


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    def clean(item: Any) -> Any:
        if isinstance(item, str):
            return replace_unsafe(item)
        if isinstance(item, Mapping):
            return {key: clean(each) for key, each in item.items()}
        return [clean(each) for each in item] if isinstance(item, list) else item

    return {key: clean(item) for key, item in value.items()}


def _judge_consequence(step: Step, review: ReviewRecord, verdict: Verdict, found: Judgement) -> Iterator[Finding]:
    approved = review.commit if verdict is Verdict.APPROVED else step.was.approved
    if step.at.approved != approved and step.at.approved:
        yield Rule.APPROVAL, f"approves {step.at.approved[:12]}, but the verdict on {review.commit[:12]} is {verdict}"
    if verdict is Verdict.APPROVED:
        yield from differ(Rule.APPROVAL, "the approved commit", step.at.approved, review.commit)
        yield from differ(Rule.APPROVAL, "the approval weak", step.at.weak, review.independence != STRONG)
        yield from differ(Rule.APPROVAL, "the fixes still asked for", step.at.fixes, ())
        yield from _judge_policy(step, weak=review.independence != STRONG)
    elif verdict is Verdict.REVISE:
        yield from _judge_round(step)
        yield from differ(Rule.VERDICT, "what is asked for", _fixes(step.at.fixes), _fixes(fixes_of(found)))
    elif verdict is Verdict.REJECT:
        yield from _judge_state(step, verdict, State.DECIDE)
    else:
        unclear = step.was.inconclusive + 1
        yield from differ(Rule.VERDICT, "the number of unclear verdicts", step.at.inconclusive, unclear)
        yield from _judge_state(step, verdict, State.DECIDE if unclear >= UNCLEAR_VERDICTS else State.REVIEWING)
        if review.reviewer.agent not in step.at.excluded:
            yield Rule.VERDICT, f"does not exclude {review.reviewer.agent}, whose answer was unclear"


def _fixes(fixes: tuple[Fix, ...]) -> list[dict[str, Any]]:
    return [_plain(to_mapping(each)) for each in fixes]


def _judge_state(step: Step, verdict: Verdict, *states: State) -> Iterator[Finding]:
    if step.after.state not in states:
        yield Rule.VERDICT, f"goes on to {step.after.state}, which does not follow from {verdict}"


def _judge_round(step: Step) -> Iterator[Finding]:
    rounds, wished = step.was.rounds + 1, step.after.spec.review.rounds
    yield from differ(Rule.VERDICT, "the number of rounds", step.at.rounds, rounds)
    if wished is None:
        yield from _judge_state(step, Verdict.REVISE, State.READY, State.DECIDE)
    else:
        over = rounds >= wished * (1 + step.was.allowance)
        yield from _judge_state(step, Verdict.REVISE, State.DECIDE if over else State.READY)


def _judge_policy(step: Step, *, weak: bool) -> Iterator[Finding]:
    """Where an approval leads, under any policy that the workspace may have had."""
    if step.before is None:
        return
    if step.after.spec.expects is Expects.NO_CHANGE:
        yield from _judge_state(step, Verdict.APPROVED, State.DONE)
        return
    possible = set()
    for wanted in _policies(step.after):
        policy, _ = merge_policy(step.before, _terms(step.before, wanted), weak=weak)
        possible.add(State.DECIDE if policy is MergePolicy.ASK else after_approval(policy))
    if step.after.state not in possible:
        named = ", ".join(sorted(possible))
        yield Rule.APPROVAL, f"goes on to {step.after.state}, but this approval is enough for {named} only"


def _policies(job: Job) -> tuple[MergePolicy, ...]:
    return (job.spec.merge,) if job.spec.merge is not None else tuple(MergePolicy)


def _terms(job: Job, merge: MergePolicy) -> Terms:
    """The terms of a job in a workspace that is not known but for what it does with approved work."""
    return terms(Config(), Project(merge=merge), job.spec, allowance=job.at.allowance)


# --- cards --------------------------------------------------------------------------------------------------------

_ASKS: Mapping[Event, frozenset[CardKind]] = {
    Event.COLLECT: frozenset({CardKind.ATTEMPTS}),
    Event.LOST: frozenset({CardKind.CRASHES}),
    Event.NOT_STARTED: frozenset({CardKind.CANNOT_START}),
    Event.EVIDENCE: frozenset({CardKind.ATTEMPTS, CardKind.TOO_LARGE}),
    Event.CHECKED: frozenset({CardKind.ATTEMPTS}),
    Event.VERDICT: frozenset({CardKind.MERGE, CardKind.ROUNDS, CardKind.REJECTED, CardKind.UNCLEAR}),
    Event.MERGE: frozenset({CardKind.ATTEMPTS}),
    Event.REBUILD: frozenset({CardKind.MOVING_TARGET}),
    Event.LAND: frozenset({CardKind.LANDING}),
}
_VERDICT_CARDS = {
    CardKind.MERGE: Verdict.APPROVED,
    CardKind.ROUNDS: Verdict.REVISE,
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
    review = step.new.get(ReviewRecord, step.at.review)
    wanted = _VERDICT_CARDS.get(card.kind)
    if step.event is Event.VERDICT and review is not None and wanted is not None and review.verdict is not wanted:
        unclear = wanted is Verdict.INCONCLUSIVE and review.commit != step.was.tip
        if not unclear:
            yield Rule.CARD, f"asks with a card of the kind {card.kind}, but the verdict is {review.verdict}"
    yield from check_trailers(step, {"Card": card.id})


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
    if effect is not Effect.REVISE and step.at.fixes not in ((), step.was.fixes):
        yield Rule.CARD, f"asks for changes, but the answer was {new.answer}"
    if step.after.state not in _led_to(step, effect, new):
        yield Rule.CARD, f"goes on to {step.after.state}, which does not follow from the answer {new.answer!r}"
    told = {"Card": new.id, "Answer": new.answer}
    yield from check_trailers(step, told | ({"Reviewed-Sha": approved} if effect is Effect.APPROVE else {}))


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
        case Effect.APPROVE:
            return tuple(
                after_approval(policy if policy is MergePolicy.BRANCH else MergePolicy.AUTO)
                for policy in _policies(step.after)
            )
        case Effect.REVISE:
            return (State.READY,)
        case Effect.REVIEW_AGAIN:
            return (State.REVIEWING,)
        case Effect.DROP:
            return (State.CANCELLED,)
        case Effect.RETRY if card.kind is CardKind.LANDING:
            return (State.LANDING,)
        case Effect.RETRY if card.kind is CardKind.MOVING_TARGET:
            return (State.MERGING,)
        case Effect.RETRY if card.facts.get("step") in _RESUMABLE:
            return (State(card.facts["step"]),)
        case Effect.RETRY:
            return (State.READY,)
        case _:
            return ()


_RESUMABLE = (State.CHECKING, State.REVIEWING, State.MERGING)


def judge_supersede(step: Step) -> Iterator[Finding]:
    """Only an open card about a landing is superseded by the engine."""
    old, new = step.old.get(Card, step.was.card), step.new.get(Card, step.was.card)
    if old is None or new is None or not old.open or old.kind is not CardKind.LANDING or not new.superseded:
        yield Rule.CARD, f"supersedes card {step.was.card}, which is not an open question about a landing"


# --- approval -----------------------------------------------------------------------------------------------------


def judge_standing(step: Step) -> Iterator[Finding]:
    """Whatever the event: nothing is approved but by a verdict or a person, nothing merged or done without that."""
    approved, state = step.at.approved, step.after.state
    if approved and approved != step.was.approved and step.event not in (Event.VERDICT, Event.ANSWER):
        yield Rule.APPROVAL, f"approves {approved[:12]} by {step.event}"
    nothing_to_merge = state is State.DONE and step.after.spec.expects is Expects.NO_CHANGE
    if state in (State.MERGING, State.LANDING, State.DONE) and not approved and not nothing_to_merge:
        yield Rule.APPROVAL, f"takes the job to {state}, but nothing is approved"
    by_landing = step.event is Event.DONE or nothing_to_merge
    if state is State.DONE and not by_landing:
        yield Rule.LANDING, f"says done by {step.event}, but nothing landed"
    merged = step.at.merged
    if merged and merged != step.was.merged and step.event is not Event.MERGE:
        yield Rule.MERGE, f"says that {merged[:12]} is the merged commit, but builds none"
    if state is State.LANDING and not merged and step.after.spec.merge not in (None, MergePolicy.BRANCH):
        yield Rule.LANDING, "is to land, but no merged commit was built"


def judge_evidence(step: Step) -> Iterator[Finding]:
    """The engine looked at exactly the newest attempt, and what it found decides where the job goes."""
    evidence, attempt = step.new.get(Evidence, step.at.evidence), step.new.get(Attempt, step.was.attempt)
    if evidence is None or attempt is None:
        yield Rule.EVIDENCE, "has no evidence of any attempt"
        return
    cited = (evidence.attempt, evidence.base, evidence.tip)
    yield from differ(
        Rule.EVIDENCE, "what was looked at", cited, (attempt.number, attempt.base, attempt.tip or attempt.base)
    )
    yield from differ(Rule.EVIDENCE, "the protected paths", step.at.protected, evidence.protected)
    if evidence.tests or evidence.checks or evidence.checked_tree:
        yield Rule.CHECKS, "has results of checks that have not run"
    card = step.card() if step.asks else None
    state, refused = step.after.state, bool(evidence.failures)
    if refused and (state is State.CHECKING or (card is not None and card.kind is not CardKind.ATTEMPTS)):
        yield Rule.EVIDENCE, f"goes on to {state}, but the gate refused it ({evidence.failures[0].rule})"
    if not refused and (state is State.READY or (card is not None and card.kind is not CardKind.TOO_LARGE)):
        yield Rule.EVIDENCE, f"goes back to {state}, but the gate refused nothing"
    told = {"Attempt": evidence.attempt, "Base": evidence.base, "Tip": evidence.tip, "Diff-Stat": evidence.stat}
    yield from check_trailers(step, {**told, "Refused-By": " ".join(each.rule for each in evidence.failures)})


def check_trailers(step: Step, facts: Mapping[str, object]) -> Iterator[Finding]:
    """The trailers say what the records say; an empty fact has no trailer."""
    for key, value in facts.items():
        found = "" if value in ("", None, ()) else " ".join(str(value).split())
        yield from differ(Rule.MESSAGE, f"the trailer {key}", (step.commit.trailer(key) or "").strip(), found)


def judge_merge(step: Step) -> Iterator[Finding]:
    """The merged tree was built of exactly the approved commit, or collides with what came in meanwhile."""
    merge = step.new.get(MergeRecord, step.at.merge)
    if merge is None:
        return
    yield from differ(Rule.MERGE, "the commit that was approved", merge.approved, step.was.approved)
    if bool(merge.conflicts) is bool(merge.merged):
        yield Rule.MERGE, "has a merged commit and conflicts, or neither"
    yield from differ(Rule.MERGE, "the merged commit", step.at.merged, merge.merged)
    if (step.after.state is State.MERGING) is not bool(merge.merged):
        yield Rule.MERGE, f"goes on to {step.after.state}, but the merge came to {merge.merged or 'conflicts'}"
    if merge.merged:
        yield from differ(Rule.MERGE, "where the target stood", step.at.target_was, merge.target_was)
        yield from differ(Rule.APPROVAL, "the approved commit", step.at.approved, merge.approved)
    told = {"Approved": merge.approved, "Onto": merge.onto, "Merged": merge.merged, "Tree": merge.tree}
    yield from check_trailers(step, told)


def judge_done(step: Step) -> Iterator[Finding]:
    """What landed is the merged commit, or for a branch that is left for a pull request the approved one."""
    commit, target = step.commit.trailer("Merged") or "", step.commit.trailer("Target") or ""
    merge = step.new.get(MergeRecord, step.was.merge)
    if target == f"orc/{step.id}" and commit == step.was.approved:
        if step.after.spec.merge not in (None, MergePolicy.BRANCH):
            yield Rule.LANDING, f"leaves a branch, but the job asks for merge: {step.after.spec.merge}"
    elif not step.was.merged or merge is None:
        yield Rule.LANDING, f"says {commit[:12] or 'nothing'} landed, but no merged commit was built"
    else:
        yield from differ(Rule.LANDING, "the commit that landed", commit, step.was.merged)
        yield from differ(Rule.LANDING, "the merged commit of the record", merge.merged, step.was.merged)
        yield from differ(Rule.LANDING, "the target", (target, merge.landed), (merge.target, merge.target))
        if merge.tests not in PASSING:
            yield Rule.LANDING, f"landed a tree whose tests came to {merge.tests or 'nothing'}"
    yield from check_trailers(step, {"Reviewed-Sha": step.was.approved})


DECISIONS: Mapping[Event, StepRule] = {
    Event.START: judge_start,
    Event.COLLECT: judge_collect,
    Event.LOST: judge_lost,
    Event.NOT_STARTED: judge_lost,
    Event.EVIDENCE: judge_evidence,
    Event.CHECK: judge_check,
    Event.CHECKED: judge_checked,
    Event.REVIEW: judge_review,
    Event.VERDICT: judge_verdict,
    Event.ANSWER: judge_answer,
    Event.SUPERSEDE: judge_supersede,
    Event.MERGE: judge_merge,
    Event.DONE: judge_done,
}
ALWAYS: tuple[StepRule, ...] = (judge_standing, judge_card)
