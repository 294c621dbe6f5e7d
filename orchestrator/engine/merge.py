"""Merge: build the merged tree without a checkout, and put it on the target without touching a person's work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import (
    Git,
    GitError,
    Identity,
    RefMovedError,
    is_ancestor,
    rev_parse,
    update_ref,
)
from orchestrator.adapters.git_checkout import (
    CheckoutInTheWayError,
    checked_out_at,
    dirty_paths,
    in_checkout,
    push_into_checkout,
    untracked_in_the_way,
)
from orchestrator.adapters.git_objects import commit_tree, fetch_ref, merge_trees
from orchestrator.core.config import Terms
from orchestrator.core.job import Job, MergePolicy
from orchestrator.core.merge import landed, landing_blocked, landing_free, merge_built, target_moved
from orchestrator.core.records import Card, CardKind, Evidence, MergeRecord, ReviewRecord, Verdict
from orchestrator.core.transitions import Move
from orchestrator.engine.bases import find_start, mirror_with, next_ref
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

MERGER = Identity("orc", "engine@orc.invalid")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stands in the way of landing, and what a person can do about it."""

    problem: str
    way_out: str


def build_merge(ws: Workspace, job: Job) -> Move:
    """Merge the approved commit onto the newest state of the target, as an object: no checkout, no index, no hooks."""
    agreed = ws.terms(job)
    start = find_start(ws, job.at.project, agreed.target)
    mirror = mirror_with(ws, job.at.project, agreed.target, start.commit, job.at.approved, job=job.id)
    with effect(Effect.MERGE_BUILD):
        merged = merge_trees(mirror, start.commit, job.at.approved)
    record = MergeRecord(
        number=job.at.merge + 1,
        approved=job.at.approved,
        onto=start.commit,
        target=agreed.target,
        target_was=start.target_tip,
        conflicts=merged.conflicts,
    )
    if merged.tree is None:
        return merge_built(job, record, agreed, ws.stamp())
    with effect(Effect.MERGE_BUILD):
        message = _message(ws, job, agreed)
        parents = [start.commit, job.at.approved]
        commit = commit_tree(mirror, merged.tree, parents, message, author=MERGER, when=ws.now())
        ref = f"refs/orc/merges/{job.id}"
        update_ref(mirror, ref, commit, rev_parse(mirror, ref) or "")
        # The commit is safe in the person's repository before anything cites it.
        fetch_ref(Git(ws.project_git_dir(job.at.project)), mirror.git_dir, [f"+{ref}:{ref}"])
    return merge_built(job, replace(record, merged=commit, tree=merged.tree), agreed, ws.stamp())


def _message(ws: Workspace, job: Job, agreed: Terms) -> str:
    folder = ws.open_job(job.id)
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
    trailers = [("Orc-Job", job.id), ("Orc-Reviewed-Sha", job.at.approved), ("Orc-Diff-Stat", evidence.stat)]
    trailers += [("Orc-Tests", job.at.tests), ("Orc-Author", job.at.author.agent if job.at.author else "")]
    if job.at.review:
        review = ws.ledger.record(ReviewRecord, folder, f"review-{job.at.review}")
        if review.verdict is Verdict.APPROVED and review.commit == job.at.approved:
            trailers.append(("Orc-Reviewer", review.reviewer.agent))
    if job.at.card:
        card = ws.ledger.record(Card, folder, f"card-{job.at.card}")
        if card.answer == "approve":
            trailers.append(("Orc-Approved-By", card.by))
    text = "\n".join(f"{key}: {value}" for key, value in trailers if value)
    return f"{job.spec.heading}\n\nMerged by orc into {agreed.target}.\n\n{text}\n"


def land(ws: Workspace, job: Job) -> Move:
    """Put the merged commit on the target. Whether it is there already is asked of the repository, never remembered."""
    agreed = ws.terms(job)
    if agreed.merge is MergePolicy.BRANCH:
        return _leave_branch(ws, job)
    git, now, target = Git(ws.project_git_dir(job.at.project)), ws.stamp(), agreed.target
    merge = ws.ledger.record(MergeRecord, ws.open_job(job.id), f"merge-{job.at.merge}")
    tip = rev_parse(git, f"refs/heads/{target}^{{commit}}") or ""
    stat = _stat(ws, job)
    done = landed(job, replace(merge, landed=target), now, target=target, commit=merge.merged, stat=stat)
    if tip and is_ancestor(git, merge.merged, tip):
        return done
    if not tip or not is_ancestor(git, tip, merge.merged):
        return target_moved(job, now, target=target)
    _move_next(git, next_ref(job.at.project, target), merge.merged)
    obstacle = find_obstacle(git, target, merge.merged)
    if obstacle is None:
        obstacle = _move_target(ws, job, git, target, merge.merged, tip)
    if obstacle is not None:
        if rev_parse(git, f"refs/heads/{target}^{{commit}}") != tip:
            return target_moved(job, now, target=target)
        return landing_blocked(job, obstacle.problem, obstacle.way_out, now, target=target)
    return done


def _move_next(git: Git, ref: str, commit: str) -> None:
    was = rev_parse(git, ref) or ""
    if was != commit:
        with effect(Effect.NEXT_MOVE):
            update_ref(git, ref, commit, was)


def find_obstacle(git: Git, target: str, commit: str) -> Obstacle | None:
    """What in a person's checkout of the target would be touched by landing; None if nothing would."""
    for checkout in checked_out_at(git, target):
        here = in_checkout(git, checkout)
        dirty = dirty_paths(here)
        if dirty:
            have = "has" if len(dirty) == 1 else "have"
            return Obstacle(
                f"{', '.join(dirty[:3])} in {checkout} {have} changes that are not committed",
                f"Commit or stash them (git -C {checkout} stash), and it lands by itself.",
            )
        in_the_way = untracked_in_the_way(here, commit)
        if in_the_way:
            return Obstacle(
                f"{', '.join(in_the_way[:3])} in {checkout} would be overwritten and is not in git",
                f"Move it away (mv {checkout / in_the_way[0]} …), and it lands by itself.",
            )
    return None


def _move_target(ws: Workspace, job: Job, git: Git, target: str, commit: str, tip: str) -> Obstacle | None:
    checkouts = checked_out_at(git, target)
    if len(checkouts) > 1:
        return Obstacle(f"{target} is checked out in {len(checkouts)} places", "Leave it checked out in one of them.")
    try:
        with effect(Effect.TARGET_MOVE):
            if checkouts:
                push_into_checkout(_mirror(ws, job), checkouts[0], commit, target, tip)
            else:
                update_ref(git, f"refs/heads/{target}", commit, tip)
    except RefMovedError:
        return Obstacle(f"{target} moved at the same moment", "It is tried again.")
    except CheckoutInTheWayError as error:
        return Obstacle(error.message, f"See git -C {checkouts[0]} status; put it right, then orc retry {job.id}.")
    except GitError as error:
        return Obstacle(error.message, f"Put it right, then: orc answer {job.id} retry")
    return None


def _mirror(ws: Workspace, job: Job) -> Git:
    return mirror_with(ws, job.at.project, ws.terms(job).target, job.at.merged, job=job.id)


def _leave_branch(ws: Workspace, job: Job) -> Move:
    git, branch = Git(ws.project_git_dir(job.at.project)), f"orc/{job.id}"
    ref = f"refs/heads/{branch}"
    was = rev_parse(git, ref) or ""
    if was != job.at.approved:
        with effect(Effect.BRANCH_MAKE):
            update_ref(git, ref, job.at.approved, was)
    return landed(job, None, ws.stamp(), target=branch, commit=job.at.approved, stat=_stat(ws, job))


def _stat(ws: Workspace, job: Job) -> str:
    return ws.ledger.record(Evidence, ws.open_job(job.id), f"evidence-{job.at.evidence}").stat


def watch_landing(ws: Workspace, job: Job) -> Move | None:
    """Whether what stood in the way of landing is gone: then the card is superseded and the landing tried again."""
    card = ws.ledger.record(Card, ws.open_job(job.id), f"card-{job.at.card}")
    if card.kind is not CardKind.LANDING or not card.open:
        return None
    git, target = Git(ws.project_git_dir(job.at.project)), ws.terms(job).target
    try:
        obstacle = find_obstacle(git, target, job.at.merged)
    except OrcError:
        return None
    return None if obstacle else landing_free(job, card, ws.stamp())


def checkout_of(ws: Workspace, project: str) -> Path:
    """The person's checkout of a project."""
    return (ws.paths.root / ws.project(project).path).resolve()
