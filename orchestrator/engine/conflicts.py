"""Conflicts: what collided with what, for whoever is to bring the two together."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import merge_trees, read_patch
from orchestrator.adapters.git_refs import merge_base
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.conflict import Collision, cut_sides
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Job
from orchestrator.core.merge import collides_no_more
from orchestrator.core.records import MergeRecord
from orchestrator.core.step import next_run
from orchestrator.core.transitions import Move
from orchestrator.engine.bases import find_lost_ground, find_start, landings, mirror_with
from orchestrator.engine.launch import folder_of
from orchestrator.engine.workspace import Workspace

OURS, THEIRS = "conflict/approved.patch", "conflict/came-in.patch"
"""In the folder of a run: the work that collided, and what came in on the files that it collided in."""
PATCH_BYTES = 8 * 1024 * 1024
MOST_PATHS = 200
"""So many files of a conflict are looked at."""
TOLD_LINES, TOLD_COLUMNS = 14, 100
"""So much of each side stands in a card."""
TOLD_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class _Sides:
    ours: bytes
    theirs: bytes


def open_conflict(ws: Workspace, job: Job) -> MergeRecord | None:
    """The merge whose conflict is to be resolved next; None if there is none, or newer work passed the gate since."""
    if not job.at.conflicts or not job.at.merge:
        return None
    folder = ws.ledger.folder(job.id)
    merge = ws.ledger.record(MergeRecord, folder, f"merge-{job.at.merge}")
    if not merge.conflicts:
        return None
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
    return merge if evidence.tip == merge.approved or evidence.failures else None


def collision_for(ws: Workspace, job: Job, base: str) -> Collision | None:
    """What the next attempt, from `base`, is told of the conflict that it is to resolve; None without one."""
    merge = open_conflict(ws, job)
    if merge is None:
        return None
    sides, place = _read_sides(ws, job, merge, base), folder_of(ws, str(next_run(job, RunKind.ATTEMPT))).path
    ours, theirs = cut_sides(sides.ours.decode("utf-8", "replace"), sides.theirs.decode("utf-8", "replace"))
    folder = ws.ledger.folder(job.id)
    number = _attempt_of(ws, job, merge)
    return Collision(
        merge=merge.number,
        target=merge.target,
        paths=merge.conflicts,
        attempt=number,
        author=ws.ledger.record(Attempt, folder, f"attempt-{number}").worker.agent,
        ours=ours,
        theirs=theirs,
        ours_file=str(place / OURS),
        theirs_file=str(place / THEIRS),
    )


def _attempt_of(ws: Workspace, job: Job, merge: MergeRecord) -> int:
    """The attempt whose work collided: others may have been refused since."""
    folder = ws.ledger.folder(job.id)
    seen = (ws.ledger.record(Evidence, folder, f"evidence-{number}") for number in range(job.at.evidence, 0, -1))
    return next((each.attempt for each in seen if each.tip == merge.approved), job.at.attempt)


def conflict_files(ws: Workspace, job: Job, attempt: Attempt) -> dict[str, bytes]:
    """What goes into the folder of an attempt's run, from commits that the ledger names: both sides, whole."""
    if not attempt.conflict:
        return {}
    merge = ws.ledger.record(MergeRecord, ws.open_job(job.id), f"merge-{attempt.conflict}")
    sides = _read_sides(ws, job, merge, attempt.base)
    return {OURS: sides.ours, THEIRS: sides.theirs}


def tell_sides(mirror: Git, words: str, job: Job, merge: MergeRecord) -> list[str]:
    """Both sides of a conflict for a person: how each begins, and how to see it whole, by `words` of git."""
    fork = merge_base(mirror, merge.onto, merge.approved) or job.at.base
    author = job.at.author.agent if job.at.author else "the author"
    paths, told = merge.conflicts[:10], []
    for whose, tip in ((f"The work of {author}", merge.approved), (f"What came into {merge.target}", merge.onto)):
        command = f"{words} {shlex.join(['diff', fork[:12], tip[:12], '--', *paths])}"
        told += [
            f"{whose}: {command}",
            *_beginning(read_patch(mirror, fork, tip, max_bytes=TOLD_BYTES, paths=paths)[0]),
        ]
    return told


def _beginning(patch: bytes) -> list[str]:
    lines = patch.decode("utf-8", "replace").splitlines()
    shown = [f"  {line[:TOLD_COLUMNS]}" for line in lines if not line.startswith(("diff --git ", "index "))]
    return shown if len(shown) <= TOLD_LINES else [*shown[:TOLD_LINES], "  …"]


def _read_sides(ws: Workspace, job: Job, merge: MergeRecord, base: str) -> _Sides:
    # Both are in the person's repository: only asking what would be told must not fetch.
    git, paths = ws.git(job.at.project), merge.conflicts[:MOST_PATHS]
    fork = merge_base(git, base, merge.approved) or base
    ours = read_patch(git, fork, merge.approved, max_bytes=PATCH_BYTES)[0]
    return _Sides(ours, read_patch(git, fork, base, max_bytes=PATCH_BYTES, paths=paths)[0])


def merge_again(ws: Workspace, job: Job) -> Move | None:
    """The step of a job whose approved work collided and, with the target as it is now, does not any more.

    None if it still does, or if its approval is void. Raises OrcError.
    """
    if not job.at.collided:
        return None
    folder, agreed = ws.open_job(job.id), ws.terms(job)
    merge = ws.ledger.record(MergeRecord, folder, f"merge-{job.at.merge}")
    start = find_start(ws, job.at.project, agreed.target)
    if start.commit == merge.onto:
        return None
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
    waiting = landings(ws, job.at.project, agreed.target)
    if find_lost_ground(ws.git(job.at.project), evidence.base, start.commit, waiting):
        return None
    mirror = mirror_with(ws, job.at.project, agreed.target, start.commit, job.at.collided, job=job.id)
    with effect(Effect.MERGE_BUILD):
        found = merge_trees(mirror, start.commit, job.at.collided)
    return None if found.tree is None else collides_no_more(job, evidence, ws.stamp(), target=agreed.target)
