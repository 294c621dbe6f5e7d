"""What a review and its verdict rest on, recomputed from the records: who judged what, and what the answer says.

Reads the ledger only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.adapters.audit_kinds import judge_asked
from orchestrator.adapters.audit_rules import Finding, Rule, Step, check_trailers, differ
from orchestrator.adapters.strict_yaml import replace_unsafe
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.claims import claims_asked
from orchestrator.core.codec import to_mapping
from orchestrator.core.config import Config, Project, Terms, terms
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.gate import PASSING
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Expects, Fix, Job, MergePolicy, State, Worker
from orchestrator.core.judge import (
    REJECTED,
    ROUNDS,
    SENT_BACK,
    UNCLEAR_VERDICTS,
    WEAK,
    after_approval,
    merge_policy,
)
from orchestrator.core.records import CardKind
from orchestrator.core.review import STRONG, fixes_of, independence_of_all, is_enough
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.rounds import carry_on, disputed, is_same_again, rounds_so_far, still_disputed
from orchestrator.core.suspicion import (
    another_opinion,
    approved_before,
    doubted,
    doubts_of,
    drawn,
    is_extra,
    rests_on_nothing,
)
from orchestrator.core.verdict import Judgement, Question, hash_nonce, judge_reply

NO_NONCE = frozenset({"", hash_nonce("")})
_HEX = frozenset("0123456789abcdef")
HOLDS_BRANCHES = 4
"""From this version of the tamper guard on what it found holds a branch, too, and commits say what stopped the work."""


def judge_review(step: Step) -> Iterator[Finding]:
    """A review is reserved: by somebody else, of exactly the commit that was looked at and checked."""
    review = step.new.get(ReviewRecord, step.at.review)
    if review is None or step.before is None:
        return
    evidence = step.new.get(Evidence, step.was.evidence)
    attempt = step.new.get(Attempt, step.was.attempt)
    yield from differ(Rule.REVIEW, "the run", review.run, str(RunId(step.id, RunKind.REVIEW, review.number)))
    yield from differ(Rule.REVIEW, "the job's run", step.at.run, review.run)
    if step.at.reviewer is not None:  # Ledgers of before did not say it there.
        yield from differ(Rule.REVIEW, "the reviewer", step.at.reviewer, review.reviewer)
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
    if evidence.claims and not review.draw:
        yield Rule.REVIEW, "does not say with what the claims were drawn that are looked up again"
    yield from _judge_independence(step, review, attempt.worker)
    yield from judge_asked(step, review)
    if review.criteria is None and evidence.tamper_rules >= HOLDS_BRANCHES:
        yield Rule.REVIEW, "does not name the criteria that it asks by"
    texts = {"prompt": ("the prompt", review.prompt), "system": ("the system prompt", review.system)}
    for name, (what, said) in texts.items():
        text = step.new.entries.get(f"review-{review.number}.{name}.md")
        yield from differ(Rule.REVIEW, f"{what} of the review", said, text.oid if text else "")
    told = {"Review": review.number, "Reviewed-Sha": review.commit, "Independence": review.independence}
    told |= {"Reviewer": review.reviewer.agent, "Reviewer-Model": review.reviewer.model}
    yield from check_trailers(step, {**told, "Reviewer-Family": review.reviewer.family})


def _judge_independence(step: Step, review: ReviewRecord, author: Worker) -> Iterator[Finding]:
    yield from differ(Rule.INDEPENDENCE, "the author", review.author, author)
    found = independence_of_all((author, *step.was.former), review.reviewer)
    yield from differ(Rule.INDEPENDENCE, "the reviewer's independence of the author", review.independence, found)
    wishes = step.after.spec.review
    if not found or (wishes.independence is not None and not is_enough(found, wishes.independence)):
        yield (
            Rule.INDEPENDENCE,
            f"has {review.reviewer.agent} judge the work of {author.agent}, which is too near to it",
        )
    if review.reviewer.agent in step.was.excluded:
        yield Rule.INDEPENDENCE, f"asks {review.reviewer.agent} again, who gave no clear verdict on this work"
    second = step.was.second
    if second is not None and review.reviewer.agent in second.reviewers:
        yield Rule.INDEPENDENCE, f"asks {review.reviewer.agent} again, though another is to be asked: {second.told}"
    if wishes.by and review.reviewer.agent not in wishes.by:
        yield Rule.INDEPENDENCE, f"has {review.reviewer.agent} judge it, but the job asks for {', '.join(wishes.by)}"
    wished, sets = step.after.spec.limits.starts, 1 + step.was.allowance
    if review.again and wished and step.at.starts >= wished * sets:
        yield Rule.LIMIT, "could have the reviewer asked once more, for which no start is left"
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
    yield from _judge_first_answer(step.id, review, evidence)
    yield from differ(Rule.VERDICT, "why the approval is suspicious", review.doubts, doubts_of(review, evidence))
    verdict = review.verdict
    if verdict is Verdict.APPROVED and review.commit != step.was.tip:
        verdict = Verdict.INCONCLUSIVE
    yield from _judge_consequence(step, review, verdict, found)
    told: dict[str, object] = {"Review": review.number, "Reviewed-Sha": review.commit, "Verdict": verdict}
    told |= {"Score": review.score, "Reviewer": review.reviewer.agent, "Reviewer-Model": review.reviewer.model}
    told |= {"Author-Model": review.author.model, "Nonce-Sha256": review.nonce_sha256, "Diff-Stat": evidence.stat}
    first = approved_before(step.was.second)
    doubts = review.doubts if verdict is Verdict.APPROVED and first is None else ()
    told |= {"Doubts": "; ".join(doubts), "Drawn": f"{review.share} %" if review.drawn else ""}
    told |= {"Second-Of": first.review if first else "", "Asked-Again": review.asked_again}
    yield from check_trailers(step, told)


def judge_stand(step: Step) -> Iterator[Finding]:
    """An approval that was drawn to be judged twice stands as it was given, for want of the second review."""
    first = drawn(step.was.second)
    review = step.new.get(ReviewRecord, first.review) if first is not None else None
    if first is None or review is None or step.was.run:
        yield Rule.APPROVAL, "lets an approval stand, but none waits for a second review that was drawn"
        return
    if review.verdict is not Verdict.APPROVED or review.commit != step.was.tip:
        yield Rule.APPROVAL, f"lets review {review.number} stand, which did not approve {step.was.tip[:12]}"
    yield from differ(Rule.APPROVAL, "the approved commit", step.at.approved, review.commit)
    yield from differ(Rule.APPROVAL, "the approval weak", step.at.weak, first.weak)
    yield from differ(Rule.APPROVAL, "the fixes still asked for", step.at.fixes, ())
    yield from differ(Rule.VERDICT, "why another reviewer is asked", step.at.second, None)
    yield from _judge_policy(step, review, weak=first.weak)
    told = {"Reviewed-Sha": review.commit, "Second-Of": review.number, "Reviewer": review.reviewer.agent}
    yield from check_trailers(step, told)


def reread(job: str, review: ReviewRecord, evidence: Evidence) -> Judgement:
    """What the reviewer's answer, as the ledger keeps it, comes to."""
    if review.status is not RunStatus.ENDED or review.exit != 0:
        return Judgement(Verdict.INCONCLUSIVE, why=f"did not come to its end ({review.status}, exit {review.exit})")
    if review.nonce_sha256 in NO_NONCE or len(review.nonce_sha256) != 64 or set(review.nonce_sha256) - _HEX:
        return Judgement(Verdict.INCONCLUSIVE, why="is not bound to a review")
    return judge_reply(review.reply, _question(job, review, evidence), blotted=True)


def _question(job: str, review: ReviewRecord, evidence: Evidence) -> Question:
    return Question(
        job=job,
        commit=review.commit,
        nonce_sha256=review.nonce_sha256,
        files=frozenset(path.path for path in evidence.paths),
        items=review.items_asked,
        required=frozenset(review.required),
        threshold=review.threshold,
        claims=tuple(each.id for each in claims_asked(evidence, review.draw)),
    )


def _judge_first_answer(job: str, review: ReviewRecord, evidence: Evidence) -> Iterator[Finding]:
    """Only a reviewer whose answer has not the form of a verdict is asked once more."""
    if not (review.asked_again or review.first_reply):
        return
    first = judge_reply(review.first_reply, _question(job, review, evidence), blotted=True)
    if not (review.again and first.malformed):
        yield Rule.VERDICT, f"asks {review.reviewer.agent} once more, which its first answer is no reason for"
    yield from differ(Rule.VERDICT, "what was wrong with the first answer", review.asked_again, first.why)


def _judge_reading(review: ReviewRecord, found: Judgement) -> Iterator[Finding]:
    if review.verdict is not found.verdict:
        why = f": it {found.why}" if found.why else ""
        yield Rule.VERDICT, f"says {review.verdict}, but the reviewer's answer comes to {found.verdict}{why}"
        return
    yield from differ(Rule.VERDICT, "the score", review.score, found.score)
    said = _plain({"items": [to_mapping(each) for each in review.items]})
    said |= _plain({"claims": [to_mapping(each) for each in review.claims]})
    said |= _plain({"findings": [to_mapping(each) for each in review.findings]})
    said |= _plain({"follow_ups": [to_mapping(each) for each in review.follow_ups]})
    read = _plain({"items": [to_mapping(each) for each in found.items]})
    read |= _plain({"claims": [to_mapping(each) for each in found.claims]})
    read |= _plain({"findings": [to_mapping(each) for each in found.findings]})
    read |= _plain({"follow_ups": [to_mapping(each) for each in found.follow_ups]})
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
    first, is_yes = approved_before(step.was.second), verdict is Verdict.APPROVED
    another = another_opinion(review, step.id, step.was.second) if is_yes else None
    yield from differ(Rule.VERDICT, "whether the approval is drawn", review.drawn, drawn(another) is not None)
    doubled = is_yes and doubted(first) is not None and rests_on_nothing(review)
    kept = step.was.second if doubled or verdict is Verdict.INCONCLUSIVE else None
    yield from differ(Rule.VERDICT, "why another reviewer is asked", step.at.second, another or kept)
    if another is not None or doubled:
        yield from _judge_stop(step, review, "")
        yield from _judge_state(step, verdict, State.DECIDE if doubled else State.REVIEWING)
        yield from differ(Rule.APPROVAL, "the approved commit", step.at.approved, "")
        return
    approved = review.commit if verdict is Verdict.APPROVED else step.was.approved
    if step.at.approved != approved and step.at.approved:
        yield Rule.APPROVAL, f"approves {step.at.approved[:12]}, but the verdict on {review.commit[:12]} is {verdict}"
    if verdict is Verdict.APPROVED:
        yield from differ(Rule.APPROVAL, "the approved commit", step.at.approved, review.commit)
        weak = (review.independence != STRONG and drawn(first) is None) or (first is not None and first.weak)
        yield from differ(Rule.APPROVAL, "the approval weak", step.at.weak, weak)
        yield from differ(Rule.APPROVAL, "the fixes still asked for", step.at.fixes, ())
        yield from _judge_policy(step, review, weak=weak)
    elif verdict is Verdict.REVISE:
        yield from _judge_round(step, review, fixes_of(found))
        card = step.card() if step.asks else None
        yield from _judge_stop(step, review, ROUNDS if card and card.kind is CardKind.ROUNDS else SENT_BACK)
    elif verdict is Verdict.REJECT:
        yield from _judge_state(step, verdict, State.DECIDE)
        yield from _judge_stop(step, review, REJECTED)
    else:
        yield from _judge_stop(step, review, "")
        unclear = step.was.inconclusive + 1
        yield from differ(Rule.VERDICT, "the number of unclear verdicts", step.at.inconclusive, unclear)
        asks = unclear >= UNCLEAR_VERDICTS and step.before is not None and not is_extra(step.before)
        yield from _judge_state(step, verdict, State.DECIDE if asks else State.REVIEWING)
        if review.reviewer.agent not in step.at.excluded:
            yield Rule.VERDICT, f"does not exclude {review.reviewer.agent}, whose answer was unclear"


def _fixes(fixes: tuple[Fix, ...]) -> list[dict[str, Any]]:
    return [_plain(to_mapping(each)) for each in fixes]


def _judge_state(step: Step, verdict: Verdict, *states: State) -> Iterator[Finding]:
    if step.after.state not in states:
        yield Rule.VERDICT, f"goes on to {step.after.state}, which does not follow from {verdict}"


def _judge_round(step: Step, review: ReviewRecord, fixes: tuple[Fix, ...]) -> Iterator[Finding]:
    rounds, wished = step.was.rounds + 1, step.after.spec.review.rounds
    yield from differ(Rule.VERDICT, "the number of rounds", step.at.rounds, rounds)
    if review.suspicion is not None or any(fix.key for fix in step.at.fixes):  # Older versions carried nothing on.
        attempt = step.new.get(Attempt, review.attempt)
        answers = attempt.answers if attempt is not None else ()
        asked = attempt.fixes if attempt is not None else ()
        fixes = carry_on(fixes, asked, answers, review.reviewer.agent)
        yield from differ(
            Rule.VERDICT, "what was asked for so far", step.at.asked, rounds_so_far(step.was.asked, fixes)
        )
    else:
        fixes = tuple(replace(fix, key="") for fix in fixes)
    yield from differ(Rule.VERDICT, "what is asked for", _fixes(step.at.fixes), _fixes(fixes))
    card = step.card() if step.asks else None
    if disputed(step.was.second) is not None and still_disputed(fixes):
        yield from differ(Rule.VERDICT, "the question", card.kind if card else None, CardKind.DISPUTED)
    elif is_same_again(step.was.asked, fixes):
        yield from differ(Rule.VERDICT, "the question", card.kind if card else None, CardKind.ROUNDS)
    elif wished is None:
        yield from _judge_state(step, Verdict.REVISE, State.READY, State.DECIDE)
    else:
        over = rounds >= wished * (1 + step.was.allowance)
        yield from _judge_state(step, Verdict.REVISE, State.DECIDE if over else State.READY)


def _judge_policy(step: Step, review: ReviewRecord, *, weak: bool) -> Iterator[Finding]:
    """Where an approval leads, under any policy that the workspace may have had, and what it says of that."""
    if step.before is None:
        return
    if step.after.spec.expects is Expects.NO_CHANGE:
        yield from _judge_state(step, Verdict.APPROVED, State.DECIDE if weak else State.DONE)
        yield from _judge_stop(step, review, WEAK if weak else "")
        return
    possible: dict[State, set[str]] = {}
    for wanted in policies(step.after):
        policy, stops = merge_policy(step.before, _terms(step.before, wanted), weak=weak)
        if wanted is MergePolicy.BRANCH and not _holds_branches(step, review):
            policy, stops = wanted, ()
        state = State.DECIDE if policy is MergePolicy.ASK else after_approval(policy)
        possible.setdefault(state, set()).add(" ".join(stops))
    if step.after.state not in possible:
        named = ", ".join(sorted(possible))
        yield Rule.APPROVAL, f"goes on to {step.after.state}, but this approval is enough for {named} only"
    else:
        yield from _judge_stop(step, review, *sorted(possible[step.after.state]))


def _judge_stop(step: Step, review: ReviewRecord, *possible: str) -> Iterator[Finding]:
    """What the commit says stopped the work is what did, as far as the workspace's policy is known."""
    said = (step.commit.trailer("Stopped-By") or "").strip()
    if said not in possible and (said or _holds_branches(step, review)):
        wanted = " or ".join(each or "nothing" for each in possible)
        yield Rule.MESSAGE, f"the trailer Stopped-By is {said or 'nothing'}, but it was {wanted} that stopped it"


def _holds_branches(step: Step, review: ReviewRecord) -> bool:
    evidence = step.new.get(Evidence, review.evidence)
    return evidence is not None and evidence.tamper_rules >= HOLDS_BRANCHES


def policies(job: Job) -> tuple[MergePolicy, ...]:
    return (job.spec.merge,) if job.spec.merge is not None else tuple(MergePolicy)


def _terms(job: Job, merge: MergePolicy) -> Terms:
    """The terms of a job in a workspace that is not known but for what it does with approved work."""
    return terms(Config(), Project(merge=merge), job.spec, allowance=job.at.allowance)
