"""Merge: build the merged tree without a checkout, and put it on the target without touching a person's work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import Git, Identity
from orchestrator.adapters.git_checkout import (
    checked_out_at,
    dirty_paths,
    find_lock,
    in_checkout,
    landing_mark,
    push_into_checkout,
    unfinished_act,
    untracked_in_the_way,
)
from orchestrator.adapters.git_objects import commit_tree, merge_trees
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import is_ancestor, rev_parse, update_ref
from orchestrator.adapters.landing import heal_landings
from orchestrator.adapters.mirrors import flush_elsewhere, move_own_ref, publish_ref, write_ref
from orchestrator.core.config import Terms
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.job import Job, MergePolicy
from orchestrator.core.merge import landed, landing_blocked, landing_free, merge_built, target_moved
from orchestrator.core.records import Card, CardKind, MergeRecord
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.times import parse
from orchestrator.core.transitions import Move
from orchestrator.engine.attempts import Reserved
from orchestrator.engine.bases import find_lost_ground, find_start, find_stray, landings, mirror_with, next_ref
from orchestrator.engine.conflicts import tell_sides
from orchestrator.engine.hot import clash_filing
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

MERGER = Identity("orc", "engine@orc.invalid")
PAUSE = timedelta(seconds=30)
"""How long a landing that git refused waits at least before it is tried again by itself."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stands in the way of landing, and what a person can do about it."""

    problem: str
    way_out: str


def build_merge(ws: Workspace, job: Job, heir: str = "") -> Reserved:
    """Merge the approved commit onto the newest state of the target, as an object: no checkout, no index, no hooks.

    `heir` takes the work over if it collides a second time; '' if nobody could. Where it collided is filed with it.
    """
    agreed = ws.terms(job)
    start = find_start(ws, job.at.project, agreed.target)
    mirror = mirror_with(ws, job.at.project, agreed.target, start.commit, job.at.approved, job=job.id)
    record = MergeRecord(
        number=job.at.merge + 1,
        approved=job.at.approved,
        onto=start.commit,
        target=agreed.target,
        target_was=start.target_tip,
    )
    waiting = landings(ws, job.at.project, agreed.target)
    lost = find_lost_ground(ws.git(job.at.project), job.at.base, start.commit, waiting)
    if lost:
        problem = f"the work stands on {lost[:12]}, which was taken back before it was on {agreed.target}"
        return Reserved(merge_built(job, replace(record, problem=problem), agreed, ws.stamp()))
    with effect(Effect.MERGE_BUILD):
        merged = merge_trees(mirror, start.commit, job.at.approved)
    if merged.tree is None:
        collided = replace(record, conflicts=merged.conflicts)
        sides = partial(tell_sides, mirror, ws.git_words(job.at.project), job, collided)
        move = merge_built(job, collided, agreed, ws.stamp(), heir=heir, sides=sides)
        return Reserved(move, filings=(clash_filing(ws, job, collided),))
    with effect(Effect.MERGE_BUILD):
        message = _message(ws, job, agreed)
        parents = [start.commit, job.at.approved]
        commit = commit_tree(mirror, merged.tree, parents, message, author=MERGER, when=ws.now())
        ref = f"refs/orc/merges/{job.id}"
        write_ref(mirror, ref, commit, rev_parse(mirror, ref) or "")
        # The commit is safe in the person's repository before anything cites it.
        publish_ref(mirror, ws.project_git_dir(job.at.project), ref)
    return Reserved(merge_built(job, replace(record, merged=commit, tree=merged.tree), agreed, ws.stamp()))


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


def land(ws: Workspace, job: Job) -> Move | None:
    """Put the merged commit on the target. Whether it is there already is asked of the repository, never remembered.

    None if the job moved on meanwhile, or if somebody holds it and it is not there yet: then nothing was moved.
    """
    agreed = ws.terms(job)
    if agreed.merge is MergePolicy.BRANCH:
        return None if job.is_held else _leave_branch(ws, job)
    git, now, target = ws.git(job.at.project), ws.stamp(), agreed.target
    merge = ws.ledger.record(MergeRecord, ws.open_job(job.id), f"merge-{job.at.merge}")
    own = Git(ws.paths.mirror(job.at.project))
    heal_landings(own, git)
    tip = rev_parse(git, f"refs/heads/{target}^{{commit}}") or ""
    stat = _stat(ws, job)
    done = landed(job, replace(merge, landed=target), now, target=target, commit=merge.merged, stat=stat)
    if tip and is_ancestor(git, merge.merged, tip):
        return done
    if job.is_held:
        return None
    if not tip or not is_ancestor(git, tip, merge.merged):
        return target_moved(job, now, target=target)
    _move_next(own, git, next_ref(job.at.project, target), merge.merged)
    obstacle = find_obstacle(git, target, merge.merged)
    if obstacle is not None:
        return landing_blocked(job, obstacle.problem, obstacle.way_out, now, target=target)
    mirror = mirror_with(ws, job.at.project, target, merge.merged, job=job.id)
    with ws.ledger.writing() as writer:
        # Whoever cancels this job, or one that it stands on, has done so before now or does it after the move.
        present = writer.job(job.id)
        if present is None or present.at.seq != job.at.seq:
            return None
        waiting = landings(ws, job.at.project, target)
        if find_stray(git, tip, merge.merged, waiting) or find_lost_ground(git, job.at.base, merge.onto, waiting):
            return target_moved(job, now, target=target, why="what it stands on was taken back")
        refusal = _refusal_to_move(mirror, git, target, merge.merged, tip)
    if not refusal:
        return done
    there = rev_parse(git, f"refs/heads/{target}^{{commit}}") or ""
    if there and is_ancestor(git, merge.merged, there):
        return done  # A git that was killed right after it had moved the branch says no, and the work is there.
    if there != tip:
        return target_moved(job, now, target=target)
    obstacle = find_obstacle(git, target, merge.merged)
    if obstacle is not None:
        # Such as the lock of a git that was killed in the middle of it: that says more than the words of the other git.
        return landing_blocked(job, obstacle.problem, obstacle.way_out, now, target=target)
    way_out = f"Put it right, then: orc answer {job.id} retry"
    seen = landing_mark(git, target, checked_out_at(git, target))
    return landing_blocked(job, refusal, way_out, now, target=target, seen=seen)


def _move_next(mirror: Git, git: Git, ref: str, commit: str) -> None:
    was = rev_parse(git, ref) or ""
    if was != commit:
        with effect(Effect.NEXT_MOVE):
            move_own_ref(mirror, git.git_dir, ref, commit, was)


def find_obstacle(git: Git, target: str, commit: str) -> Obstacle | None:
    """What in a person's checkout of the target would be touched by landing; None if nothing would."""
    checkouts = checked_out_at(git, target)
    if len(checkouts) > 1:
        places = ", ".join(str(each) for each in checkouts)
        problem = f"{target} is checked out in {len(checkouts)} places ({places})"
        return Obstacle(problem, "Leave it checked out in one of them, and it lands by itself.")
    if checkouts and not checkouts[0].exists():
        checkout = checkouts[0]
        problem = f"{target} is checked out in {checkout}, which is not there and is locked"
        return Obstacle(problem, f"Bring it back, or: git worktree unlock {checkout}")
    lock = find_lock(git, target, checkouts)
    if lock is not None:
        way_out = "When it ends it lands by itself. If no git runs there, one was killed: remove that file."
        return Obstacle(f"git is at work on {target}: there is {lock}", way_out)
    return _obstacle_in(in_checkout(git, checkouts[0]), checkouts[0], target, commit) if checkouts else None


def _obstacle_in(here: Git, checkout: Path, target: str, commit: str) -> Obstacle | None:
    act = unfinished_act(here)
    if act:
        problem = f"{target} is being rebased in {checkout}" if act == "rebase" else f"a {act} in {checkout} is open"
        return Obstacle(problem, f"Finish or abort it (git -C {checkout} status), and it lands by itself.")
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


def _refusal_to_move(mirror: Git, git: Git, target: str, commit: str, tip: str) -> str:
    """Why git would not move the target, in its words; '' if it has."""
    try:
        move_target(mirror, git, target, commit, tip)
    except GitError as error:
        return error.message
    return ""


def move_target(mirror: Git, git: Git, target: str, commit: str, tip: str) -> None:
    """Put the target on a commit, with the files of the checkout that it is checked out in, if any. Raises GitError."""
    checkouts = checked_out_at(git, target)
    with effect(Effect.TARGET_MOVE):
        if checkouts:
            push_into_checkout(mirror, checkouts[0], commit, target, tip)
        else:
            update_ref(git, f"refs/heads/{target}", commit, tip)
        flush_elsewhere(mirror, git.git_dir)


def _leave_branch(ws: Workspace, job: Job) -> Move:
    git, branch = ws.git(job.at.project), f"orc/{job.id}"
    ref = f"refs/heads/{branch}"
    was = rev_parse(git, ref) or ""
    if was != job.at.approved:
        with effect(Effect.BRANCH_MAKE):
            own = Git(ws.paths.mirror(job.at.project))
            move_own_ref(own, git.git_dir, ref, job.at.approved, was)
    return landed(job, None, ws.stamp(), target=branch, commit=job.at.approved, stat=_stat(ws, job))


def _stat(ws: Workspace, job: Job) -> str:
    return ws.ledger.record(Evidence, ws.open_job(job.id), f"evidence-{job.at.evidence}").stat


def watch_landing(ws: Workspace, job: Job) -> Move | None:
    """Whether what stood in the way of landing is gone: then the card is superseded and the landing tried again."""
    card = ws.ledger.record(Card, ws.open_job(job.id), f"card-{job.at.card}")
    if card.kind is not CardKind.LANDING or not card.open:
        return None
    git, target = ws.git(job.at.project), ws.terms(job).target
    try:
        is_free = find_obstacle(git, target, job.at.merged) is None and _is_worth_a_try(ws, git, target, card)
    except OrcError:
        return None
    return landing_free(job, card, ws.stamp()) if is_free else None


def _is_worth_a_try(ws: Workspace, git: Git, target: str, card: Card) -> bool:
    """Whether anything has changed since git refused for a reason of its own: else it would only refuse again."""
    seen = card.facts.get("seen", "")
    if not seen:
        return True
    return ws.now() - parse(card.asked) >= PAUSE and landing_mark(git, target, checked_out_at(git, target)) != seen
