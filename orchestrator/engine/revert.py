"""Revert: undo a job that was merged, as a new commit on top of everything that came since."""

from __future__ import annotations

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import commit_tree, diff_stat, merge_trees
from orchestrator.adapters.git_refs import is_ancestor, rev_parse, tree_of
from orchestrator.adapters.landing import heal_landings
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.adapters.ledger_text import format_record
from orchestrator.adapters.mirrors import publish_ref, write_ref
from orchestrator.core.job import Job, State
from orchestrator.core.records import MergeRecord, Reverted
from orchestrator.core.transitions import Actor
from orchestrator.engine.bases import mirror_with
from orchestrator.engine.merge import MERGER, find_obstacle, move_target
from orchestrator.engine.story import reverts_path
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import RefusedError


def revert_job(ws: Workspace, folder: Folder, actor: Actor) -> Reverted:
    """Undo a merged job on its target branch.

    Raises RefusedError if it was not merged, if later work touches the same lines, or if a person's checkout is in the
    way; nothing has changed then.
    """
    job = folder.job
    not_merged = RefusedError(f"{job.id} was not merged by orc: it is {job.state}", hint=f"orc show {job.id}")
    if not job.state.ended or not job.at.merged:
        raise not_merged
    merge = ws.ledger.record(MergeRecord, folder, f"merge-{job.at.merge}")
    source, target = ws.project_git_dir(job.at.project), merge.target
    git = Git(source)
    tip = rev_parse(git, f"refs/heads/{target}^{{commit}}")
    if tip is None or not is_ancestor(git, merge.merged, tip):
        # It may have been cancelled at the very moment at which it landed; then it can be undone all the same.
        if job.state is not State.DONE:
            raise not_merged
        raise RefusedError(f"{merge.merged[:12]} is not on {target} any more", cause="The branch was rewritten.")
    mirror = mirror_with(ws, job.at.project, target, tip, merge.merged, job=job.id)
    with effect(Effect.MERGE_BUILD):
        tree = _undone(mirror, merge, tip)
    if tree == tree_of(mirror, tip):
        unfiled = _cut_off(ws, mirror, job, merge, tip, actor)
        if unfiled is not None:
            ws.commit([], [_filing(unfiled, actor)])
            return unfiled
        raise RefusedError(
            f"{target} has nothing of {job.id} left to undo",
            cause="It was undone before, or later work has replaced all of it.",
            hint=f"git log {target}",
        )
    trailers = f"Orc-Reverts: {job.id}\nOrc-Actor: {actor.name}"
    text = f"Revert {job.spec.heading!r}\n\nThis undoes {merge.merged}.\n\n{trailers}\n"
    with effect(Effect.MERGE_BUILD):
        commit = commit_tree(mirror, tree, [tip], text, author=MERGER, when=ws.now())
        ref = f"refs/orc/merges/{job.id}"
        write_ref(mirror, ref, commit, rev_parse(mirror, ref) or "")
        publish_ref(mirror, source, ref)
    _land(git, mirror, target, commit, tip)
    stat = diff_stat(mirror, tip, commit).summary()
    found = Reverted(job.id, commit, target, stat, ws.stamp(), actor.name)
    ws.commit([], [_filing(found, actor)])
    return found


def _cut_off(ws: Workspace, mirror: Git, job: Job, merge: MergeRecord, tip: str, actor: Actor) -> Reverted | None:
    """An undoing that came to the target, and was cut off before the ledger was told; None if there is none."""
    commit = rev_parse(mirror, f"refs/orc/merges/{job.id}^{{commit}}")
    if commit is None or not is_ancestor(mirror, commit, tip):
        return None
    form = "--format=%(trailers:key=Orc-Reverts,valueonly,separator=%x2C)"
    path = f"{reverts_path(job.id)}/{commit[:12]}.yaml"
    if mirror.text("log", "-1", form, commit) != job.id or ws.ledger.read_file(path) is not None:
        return None
    stat = diff_stat(mirror, f"{commit}^", commit).summary()
    return Reverted(job.id, commit, merge.target, stat, ws.stamp(), actor.name)


def _undone(mirror: Git, merge: MergeRecord, tip: str) -> str:
    """The tree of the target without the job: a three-way merge whose base is the merge that is undone."""
    before = commit_tree(mirror, tree_of(mirror, merge.onto), [merge.merged], "before", author=MERGER)
    merged = merge_trees(mirror, tip, before)
    if merged.tree is None:
        files = ", ".join(merged.conflicts[:5])
        raise RefusedError(
            f"later work touches the same lines in {files}",
            cause="Undoing it by machine would have to guess.",
            hint="submit a job that undoes it",
        )
    return merged.tree


def _land(git: Git, mirror: Git, target: str, commit: str, tip: str) -> None:
    heal_landings(mirror, git)
    obstacle = find_obstacle(git, target, commit)
    if obstacle is not None:
        raise RefusedError(obstacle.problem, hint=obstacle.way_out)
    move_target(mirror, git, target, commit, tip)


def _filing(found: Reverted, actor: Actor) -> Filing:
    trailers = [("Job", found.job), ("Actor", actor.name), ("Target", found.target), ("Merged", found.commit)]
    path = f"{reverts_path(found.job)}/{found.commit[:12]}.yaml"
    subject = f"revert: {found.job} on {found.target} as {found.commit[:12]}"
    return Filing(subject, {path: format_record(found)}, (*trailers, ("Diff-Stat", found.stat)), actor)
