"""Approved work on its way to the target branch: the merged tree, its checks, the landing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from orchestrator.core.config import Terms
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.gate import PASSING
from orchestrator.core.job import Fix, Job, MergePolicy, State
from orchestrator.core.records import Card, CardKind, MergeRecord
from orchestrator.core.review import numbered
from orchestrator.core.step import NOT_APPROVED, Step, check_fixes
from orchestrator.core.transitions import Event, IllegalStepError, Move

MAX_REBUILDS = 3

_FROM_NEW_BASE = {"base": "", "tip": "", **NOT_APPROVED}
"""The approval was for work on a base that no longer fits; the next attempt starts from the newest one."""


def awaits_landing(job: Job) -> bool:
    """Whether a job's merged commit is approved, has passed, and has only to be put on the target.

    Once it is cancelled, dropped or tried again, that commit is taken back: nothing may be built on it or land with it.
    As long as somebody holds the job, neither.
    """
    # Of all cards, only that of a blocked landing leaves the merged commit standing.
    on_its_way = job.state in (State.LANDING, State.DECIDE) and bool(job.at.merged and job.at.approved)
    return on_its_way and not job.is_held and job.spec.merge is not MergePolicy.BRANCH


def merge_built(
    job: Job, merge: MergeRecord, terms: Terms, now: str, *, heir: str = "", sides: Callable[[], Iterable[str]] = tuple
) -> Move:
    """The merged tree was built, or could not be: the work collides with what came in, or rests on what is gone.

    Of a conflict: `heir` takes the work over if it is the second; `sides` are shown to a person who is asked.
    """
    facts = {"approved": merge.approved, "onto": merge.onto, "merged": merge.merged, "tree": merge.tree}
    step = Step(Event.MERGE, job, now, {f"merge-{merge.number}": merge}, {"merge": merge.number}, facts)
    if merge.problem:
        way_out = f"The tree starts from {merge.target} as it is now. Make the change again on top of it."
        fixes = numbered((Fix("", f"{merge.problem}.", way_out, source="engine"),))
        # The author is not to blame, so it costs no attempt.
        return step.to(State.READY, merge.problem, **_FROM_NEW_BASE, fixes=fixes, reason=merge.problem)
    if merge.merged:
        told = f"built {merge.merged[:12]} on {merge.target}"
        return step.to(State.MERGING, told, merged=merge.merged, target_was=merge.target_was)
    return _collided(step, merge, terms, heir, sides)


def _collided(step: Step, merge: MergeRecord, terms: Terms, heir: str, sides: Callable[[], Iterable[str]]) -> Move:
    """A conflict: the first goes to the author, the second to another agent, every further one to a person."""
    at, files = step.job.at, ", ".join(merge.conflicts[:10])
    times, spent = at.conflicts + 1, at.spent + 1
    told = f"conflict with {merge.target} in {files}"
    fix = Fix(
        "",
        f"The work collides with {merge.target} in {files}.",
        f"{merge.target} has moved; the tree starts from its newest state now. Bring the change in on top of it, and "
        "keep what came in.",
        source="engine",
    )
    counted = {"conflicts": times, "spent": spent, "collided": merge.approved}
    step = step.with_changes(**{**_FROM_NEW_BASE, **counted}, fixes=numbered((fix,)))
    if spent < terms.attempts and times == 1:
        return step.to(State.READY, told, reason=told)
    if spent < terms.attempts and times == 2 and heir:
        told = f"{told}, again; {heir} takes it over"
        return step.to(State.READY, told, reason=told, given=heir)
    often = "" if times == 1 else f" {times} times"
    question = f"{step.job.id} was approved and collided with {merge.target}{often}, now in {files}. What now?"
    return step.ask(CardKind.CONFLICT, question, "\n".join(sides()), told=told)


def collides_no_more(job: Job, evidence: Evidence, now: str, *, target: str) -> Move:
    """Approved work that collided merges with the target as it is now: its approval, which is for that commit, holds.

    `evidence`: what was seen of that commit. Raises IllegalStepError if the approval is void.
    """
    if not job.at.collided or job.at.collided != evidence.tip:
        raise IllegalStepError(f"no approval of {job.id} waits for the target to move")
    told = f"{target} moved, and the work collides with it no more"
    back = {**NOT_APPROVED, "approved": evidence.tip, "tip": evidence.tip, "base": evidence.base, "fixes": ()}
    # Nobody began with the conflict, so it was nobody's go.
    back |= {"conflicts": max(0, job.at.conflicts - 1), "spent": max(0, job.at.spent - 1), "given": ""}
    facts = {"approved": evidence.tip}
    return Step(Event.REBUILD, job, now, changes=back, facts=facts).to(State.MERGING, told, reason=told)


def merge_checked(job: Job, merge: MergeRecord, terms: Terms, now: str) -> Move:
    """The checks ran on the merged tree."""
    facts = {"tests": merge.tests, "tree": merge.tree}
    changes = {"run": "", "crashes": 0, "failed_starts": 0}
    step = Step(Event.CHECKED, job, now, {f"merge-{merge.number}": merge}, changes, facts)
    if merge.tests in PASSING:
        return step.to(State.LANDING, f"merged tree, tests: {merge.tests}")
    told = "the checks fail on the merged tree"
    return step.with_changes(**_FROM_NEW_BASE).send_back(check_fixes(merge.checks), terms, told)


def target_moved(job: Job, now: str, *, target: str, why: str = "") -> Move:
    """The target, or what waited to land before, moved under a built merge: build and check it anew, a few times."""
    rebuilds = job.at.rebuilds + 1
    told = f"{why or f'{target} moved'}; the merge is built anew ({rebuilds})"
    step = Step(Event.REBUILD, job, now, changes={"merged": "", "target_was": "", "rebuilds": rebuilds})
    if rebuilds > MAX_REBUILDS:
        question = f"{target} keeps moving while {job.id} is being merged. Try again?"
        return step.ask(CardKind.MOVING_TARGET, question, told, told=told)
    return step.to(State.MERGING, told, reason=told)


def landing_blocked(job: Job, problem: str, way_out: str, now: str, *, target: str, seen: str = "") -> Move:
    """The merged commit cannot be put on the target without touching a person's work.

    `seen`: how things stood when git refused for a reason that cannot be looked up; '' for one that can.
    """
    question = f"{job.id} waits to land on {target}: {problem}"
    move = Step(Event.LAND, job, now).ask(CardKind.LANDING, question, way_out, target=target)
    if not seen:
        return move
    name = f"card-{move.job.at.card}"
    card: Card = move.records[name]
    return replace(move, records={name: replace(card, facts={**card.facts, "seen": seen})})


def landing_free(job: Job, card: Card, now: str) -> Move:
    """What stood in the way of landing is gone: the card is superseded and the landing tried again."""
    if card.kind is not CardKind.LANDING or card.number != job.at.card or not card.open:
        raise IllegalStepError(f"{card.id} does not ask about a landing any more")
    closed = replace(card, superseded="what stood in the way is gone")
    step = Step(Event.SUPERSEDE, job, now, {f"card-{card.number}": closed}, facts={"card": card.id})
    return step.to(State.LANDING, "nothing stands in the way any more")


def landed(job: Job, merge: MergeRecord | None, now: str, *, target: str, commit: str, stat: str) -> Move:
    """The work is on the target branch, or on the branch that is left for a pull request."""
    told = f"on {target} as {commit[:12]}"
    facts = {"target": target, "merged": commit, "reviewed_sha": job.at.approved, "diff_stat": stat}
    records = {f"merge-{merge.number}": merge} if merge else {}
    return Step(Event.DONE, job, now, records, facts=facts).to(State.DONE, told, reason=told, run="")


def ask(
    job: Job, kind: CardKind, question: str, now: str, context: str = "", *, target: str = "", base: str = ""
) -> Move:
    """A card for the human, because the engine cannot or may not go on by itself. `base`: the red one it is about."""
    step = Step(Event.CARD, job, now)
    return (step.with_changes(asked_base=base) if base else step).ask(kind, question, context, target=target)


def base_mended(job: Job, card: Card, now: str) -> Move:
    """The base is red no more: the question about it is superseded, and the job may start."""
    if card.kind is not CardKind.BASE_RED or card.number != job.at.card or not card.open:
        raise IllegalStepError(f"{card.id} does not ask about a base any more")
    closed = replace(card, superseded="the base has moved or is red no more")
    step = Step(Event.SUPERSEDE, job, now, {f"card-{card.number}": closed}, facts={"card": card.id})
    return step.to(State.READY, "the base has moved or is red no more", asked_base="")
