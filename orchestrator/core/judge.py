"""What follows from a review: on to the merge, back to the author, to another reviewer, or to the human."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.core.attempt_record import Answer
from orchestrator.core.config import Terms
from orchestrator.core.gate import CHECKED
from orchestrator.core.job import Expects, Fix, Job, MergePolicy, Second, State
from orchestrator.core.records import CardKind
from orchestrator.core.review import STRONG, fixes_of, reviewing
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.rounds import (
    SAME_AGAIN,
    carry_on,
    disputed,
    is_same_again,
    rounds_so_far,
    sides_of,
    still_disputed,
)
from orchestrator.core.step import NO_MERGE, Step
from orchestrator.core.suspicion import another_opinion, approved_before, doubted, drawn, is_extra, rests_on_nothing
from orchestrator.core.transitions import Event, Move
from orchestrator.core.usage import reserve
from orchestrator.core.verdict import Judgement

UNCLEAR_VERDICTS = 2
UNTESTED, PROTECTED, TAMPERED, WEAK = "untested", "protected", "tampered", "weak"
"""What an approval cannot do by itself, by the names under which `orc scars` counts it."""
ROUNDS, REJECTED, SENT_BACK = "rounds", "rejected", "sent_back"
"""And what a reviewer stops."""


def review_started(job: Job, review: ReviewRecord, now: str) -> Move:
    """A review is reserved."""
    facts = {
        "review": review.number,
        "reviewer": review.reviewer.agent,
        "reviewer_model": review.reviewer.model,
        "reviewer_family": review.reviewer.family,
        "reviewed_sha": review.commit,
        "independence": review.independence,
    }
    step = Step(Event.REVIEW, job, now, {f"review-{review.number}": review}, facts=facts)
    told = f"review {review.number} by {review.reviewer.agent}"
    changes: dict[str, Any] = {"run": review.run, "review": review.number, "starts": job.at.starts + 1}
    changes |= {"reserved": reserve(review), "reviewer": review.reviewer}
    return step.to(State.REVIEWING, told, **changes, reason=reviewing(review.reviewer.agent))


def review_ended(
    job: Job,
    review: ReviewRecord,
    judgement: Judgement,
    terms: Terms,
    now: str,
    *,
    stat: str,
    asked: tuple[Fix, ...] = (),
    answers: tuple[Answer, ...] = (),
) -> Move:
    """A reviewer has answered, or failed to.

    `asked` is what the attempt under review was to put right, by the numbers that its author and the reviewer go by;
    `answers` are what the author said of it.
    """
    if judgement.verdict is Verdict.APPROVED and review.commit != job.at.tip:
        judgement = replace(judgement, verdict=Verdict.INCONCLUSIVE, why="is about another commit")
    another = another_opinion(review, job.id, job.at.second) if judgement.verdict is Verdict.APPROVED else None
    review = replace(review, drawn=drawn(another) is not None)
    facts = {
        "review": review.number,
        "reviewed_sha": review.commit,
        "verdict": judgement.verdict,
        "score": judgement.score,
        "reviewer": review.reviewer.agent,
        "reviewer_model": review.reviewer.model,
        "author_model": review.author.model,
        "nonce_sha256": review.nonce_sha256,
        "diff_stat": stat,
    }
    if (first := approved_before(job.at.second)) is not None:
        facts["second_of"] = first.review
    elif judgement.verdict is Verdict.APPROVED:
        facts["doubts"] = "; ".join(review.doubts)
        facts["drawn"] = f"{review.share} %" if review.drawn else ""
    changes = {"run": "", "crashes": 0, "failed_starts": 0, "starts": job.at.starts + bool(review.asked_again)}
    facts["asked_again"] = review.asked_again
    step = Step(Event.VERDICT, job, now, {f"review-{review.number}": review}, changes, facts)
    who = review.reviewer.agent
    match judgement.verdict:
        case Verdict.APPROVED:
            return _approved(step, review, another, terms, stat)
        case Verdict.REVISE:
            return _revise(step, carry_on(fixes_of(judgement), asked, answers, who), terms, who)
        case Verdict.REJECT:
            question = f"{who} rejects {job.id} as a whole. What now?"
            step = _stopped(step.with_changes(second=None), REJECTED)
            return step.ask(CardKind.REJECTED, question, judgement.summary, told=f"rejected by {who}")
        case Verdict.INCONCLUSIVE:
            return _inconclusive(step, judgement, who)


def _stopped(step: Step, *names: str) -> Step:
    """The commit says what stopped the work."""
    return replace(step, facts={**step.facts, "stopped_by": " ".join(names)})


_WEAK = "The reviewer is of the author's family, so the approval is weak."


def merge_policy(job: Job, terms: Terms, *, weak: bool) -> tuple[MergePolicy, tuple[str, ...]]:
    """What an approval is enough for, and by name what makes `ask` of `auto` or `branch`.

    A branch that is left for a pull request is not merged: missing checks, protected paths and a weak approval are for
    whoever merges it. What nobody allowed is not: once it is a branch, nothing about it tells what was done.
    """
    if terms.merge is MergePolicy.ASK:
        return terms.merge, ()
    stops = {TAMPERED: bool(job.at.tampering)}
    if terms.merge is MergePolicy.AUTO:
        stops = {UNTESTED: job.at.tests not in CHECKED, PROTECTED: bool(job.at.protected), **stops, WEAK: weak}
    found = tuple(name for name, is_so in stops.items() if is_so)
    return (MergePolicy.ASK if found else terms.merge), found


def _stop_words(name: str, job: Job) -> str:
    """Why an approval is not enough, for a card."""
    return {
        UNTESTED: "No check ran, so it is not merged without you.",
        PROTECTED: f"Protected paths changed: {', '.join(job.at.protected[:5])}.",
        TAMPERED: "Something was changed that the job does not allow, so it goes nowhere without you.",
        WEAK: _WEAK,
    }[name]


def after_approval(policy: MergePolicy) -> State:
    """Where approved work goes: a branch for a pull request needs no merged tree."""
    return State.LANDING if policy is MergePolicy.BRANCH else State.MERGING


FRESH_MERGE = {**NO_MERGE, "rebuilds": 0}
"""A new approval starts a new merge."""


def approval_stands(job: Job, why: str, terms: Terms, now: str, *, stat: str) -> Move:
    """An approval that was drawn to be judged twice stands without the second review, which cannot be had."""
    first = drawn(job.at.second)
    assert first is not None
    who = first.reviewers[-1]
    facts = {"reviewed_sha": job.at.tip, "second_of": first.review, "reviewer": who, "reason": why, "diff_stat": stat}
    changes = {"crashes": 0, "failed_starts": 0, "not_before": ""}
    step = Step(Event.STAND, job, now, changes=changes, facts=facts)
    told = f"the approval by {who} stands without a second review: {why}"
    return _take(step, job.at.tip, terms, stat, told, who=who, weak=first.weak)


def _approved(step: Step, review: ReviewRecord, asked: Second | None, terms: Terms, stat: str) -> Move:
    """`asked`: the approval is not enough by itself."""
    job, weak, told = step.job, review.independence != STRONG, f"approved by {review.reviewer.agent}"
    if asked is not None:
        return step.to(State.REVIEWING, f"another reviewer is asked: {asked.told}", second=asked, reason=asked.told)
    if (first := approved_before(job.at.second)) is not None:
        # Of an approval that was drawn nothing is worse for having been confirmed.
        weak = first.weak or (weak and drawn(first) is None)
        told += f", as by {first.reviewers[-1]} before"
        if doubted(first) is not None and rests_on_nothing(review):
            question = f"Two suspicious approvals of {job.id}. Take it?"
            context = f"{first.told}.\n{review.reviewer.agent} approved it as well, without evidence for anything."
            return step.ask(CardKind.SUSPICIOUS, question, context, told=told, target=terms.target)
    return _take(step, review.commit, terms, stat, told, who=review.reviewer.agent, weak=weak)


def _take(step: Step, commit: str, terms: Terms, stat: str, told: str, *, who: str, weak: bool) -> Move:
    """The work is approved, and goes where the policy sends it."""
    job = step.job
    step = step.with_changes(approved=commit, fixes=(), weak=weak, second=None, **FRESH_MERGE)
    if job.spec.expects is Expects.NO_CHANGE:
        if weak:
            question = f"Take the report of {job.id}? {who} approved it."
            return _stopped(step, WEAK).ask(CardKind.HUMAN_REVIEW, question, _WEAK, told=told)
        return step.to(State.DONE, told, reason="reviewed; nothing to merge")
    policy, stops = merge_policy(job, terms, weak=weak)
    if policy is not MergePolicy.ASK:
        return step.to(after_approval(policy), told)
    is_branch = terms.merge is MergePolicy.BRANCH
    asked = f"Leave the branch of {job.id} for a pull request" if is_branch else f"Merge {job.id} into {terms.target}"
    question = f"{asked}? {who} approved it."
    context = "\n".join((stat, f"tests: {job.at.tests}", *(_stop_words(name, job) for name in stops)))
    step = _stopped(step, *stops)
    return step.ask(CardKind.MERGE, question, context, told=told, target=terms.target)


def _revise(step: Step, fixes: tuple[Fix, ...], terms: Terms, who: str) -> Move:
    at, rounds = step.job.at, step.job.at.rounds + 1
    step = step.with_changes(rounds=rounds, fixes=fixes, asked=rounds_so_far(at.asked, fixes), second=None)
    told = f"{who} asks for {len(fixes)} change{'s' if len(fixes) != 1 else ''}"
    step = _stopped(step, SENT_BACK)
    if disputed(at.second) is not None and (open_ := still_disputed(fixes)):
        question = f"The author of {step.job.id} disputes what two reviewers ask for. Who is right?"
        return step.ask(CardKind.DISPUTED, question, sides_of(open_), told=f"{told}, which is disputed")
    if is_same_again(at.asked, fixes):
        question = f"The same changes of {step.job.id} have been asked for {SAME_AGAIN} times. What now?"
        told = f"{told}, for the third time the same"
        return _stopped(step, ROUNDS).ask(CardKind.ROUNDS, question, sides_of(fixes), told=told)
    if rounds >= terms.rounds:
        question = f"{step.job.id} has been sent back {rounds} times and is still not approved. What now?"
        listed = "\n".join(f"{each.id}: {each.problem}" for each in fixes)
        return _stopped(step, ROUNDS).ask(CardKind.ROUNDS, question, listed, told=told)
    return step.to(State.READY, told, reason=told)


def _inconclusive(step: Step, judgement: Judgement, who: str) -> Move:
    unclear = step.job.at.inconclusive + 1
    step = step.with_changes(inconclusive=unclear, excluded=(*step.job.at.excluded, who))
    told = f"inconclusive: the answer of {who} {judgement.why}"
    if unclear >= UNCLEAR_VERDICTS and not is_extra(step.job):
        question = f"{unclear} reviewers gave no clear verdict on {step.job.id}. What now?"
        return step.ask(CardKind.UNCLEAR, question, told, told=told)
    return step.to(State.REVIEWING, told, reason=told)
