"""What reviewers propose besides: each proposal whose verdict counts has a record of what came of it.

Reads the ledger only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.adapters.audit_chain import Records, Store, pointer_path
from orchestrator.adapters.audit_rules import Finding, Rule, Step
from orchestrator.adapters.ledger_paths import open_path
from orchestrator.adapters.strict_yaml import replace_unsafe
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import JobSpec
from orchestrator.core.outbox import Requested, RequestKind, folder_path
from orchestrator.core.review_record import FollowUp, ReviewRecord, Verdict
from orchestrator.core.suspicion import approved_before
from orchestrator.core.transitions import Event


@dataclass(frozen=True, slots=True)
class Owed:
    """What a step has to make jobs of, or refuse: each proposal with the review that it comes from."""

    proposed: tuple[tuple[RunId, FollowUp], ...]


def judge_accept(step: Step) -> Iterator[Finding]:
    """A job that comes from a review is what the reviewer proposed, and its verdict counts."""
    run = proposing_run(step)
    if run is None:
        return
    folder = folder_of(step.new.store, step.commit.tree, run.job)
    review, job = folder.get(ReviewRecord, run.number), folder.job()
    if review is None or job is None:
        yield Rule.REVIEW, f"comes from {run}, of which there is no record"
        return
    spec = step.after.spec
    proposed = [(each.title, each.prompt) for each in review.follow_ups if not each.problem]
    if (spec.title, spec.prompt) not in proposed or spec != JobSpec(prompt=spec.prompt, title=spec.title):
        yield Rule.REVIEW, f"makes a job of what {run} did not propose"
    is_approved = review.verdict is Verdict.APPROVED and job.at.approved == review.commit
    if not is_approved and review.verdict is not Verdict.REVISE:
        yield Rule.VERDICT, f"makes a job of what {run} proposed, whose verdict {review.verdict} does not count"
    if step.at.project != job.at.project:
        yield Rule.REVIEW, f"the project is {step.at.project}, but that of the review {job.at.project}"


def proposing_run(step: Step) -> RunId | None:
    """The review that proposed a job, None if none did."""
    run = RunId.parse(step.at.source.removeprefix("run "))
    return run if run is not None and run.kind is RunKind.REVIEW else None


def folder_of(store: Store, root: str, job: str) -> Records:
    """The folder of a job in a tree of the ledger, open or closed."""
    path, pointer = open_path(job), store.find(root, pointer_path(job))
    if pointer is not None:
        path = store.read("blob", pointer.oid).decode("utf-8", "replace").strip()
    entry = store.find(root, path)
    return Records(store, path, store.tree(entry.oid) if entry is not None else {})


def owed_by(step: Step) -> Owed | None:
    """What follows from a step with which verdicts begin to count; None if nothing does."""
    if step.event not in (Event.VERDICT, Event.STAND):
        return None
    own = step.new.get(ReviewRecord, step.was.review) if step.event is Event.VERDICT else None
    reviews = [own] if own is not None and (step.at.approved or own.verdict is Verdict.REVISE) else []
    if step.at.approved and (first := approved_before(step.was.second)) is not None:
        reviews += [each for each in (step.new.get(ReviewRecord, first.review),) if each is not None]
    proposed = [
        (RunId(step.id, RunKind.REVIEW, review.number), each) for review in reviews for each in review.follow_ups
    ]
    return Owed(tuple(proposed)) if proposed else None


def judge_owed(store: Store, root: str, owed: Owed) -> Iterator[Finding]:
    """In a tree of the ledger before the next step of the job each proposal has become a job, or says why not."""
    for run, proposed in owed.proposed:
        named = proposed.title or "a follow-up"
        known = [each for each in _requested(store, root, run) if _is_about(each, proposed)]
        if not known:
            yield Rule.REVIEW, f"{run} proposed {named!r}, and nothing says what came of it"
        for each in known:
            yield from _judge_record(store, root, run, proposed, each)


def _judge_record(store: Store, root: str, run: RunId, proposed: FollowUp, record: Requested) -> Iterator[Finding]:
    named = proposed.title or "a follow-up"
    if bool(record.job) == bool(record.refused):
        yield Rule.REVIEW, f"says of {named!r}, which {run} proposed, neither a job nor why there is none"
    elif proposed.problem and record.refused != " ".join(replace_unsafe(proposed.problem).split())[:500]:
        yield Rule.REVIEW, f"refuses {named!r}, which {run} proposed, for {record.refused!r}: it is {proposed.problem}"
    elif record.job:
        job = folder_of(store, root, record.job).job()
        if job is None or job.at.source != f"run {run}":
            yield Rule.REVIEW, f"says that {record.job} was made of {named!r}, which {run} proposed, but it was not"


def _is_about(record: Requested, proposed: FollowUp) -> bool:
    said = (record.text, record.context)
    return said == (replace_unsafe(proposed.title or "a follow-up"), replace_unsafe(proposed.prompt))


def _requested(store: Store, root: str, run: RunId) -> Iterator[Requested]:
    """What a review is recorded to have handed in."""
    place = store.find(root, folder_path(run.job))
    for name, entry in store.tree(place.oid).items() if place is not None else ():
        if name.startswith(f"{run.kind}-{run.number}.{RequestKind.SUBMIT}."):
            yield store.record(Requested, entry, f"{folder_path(run.job)}/{name}")
