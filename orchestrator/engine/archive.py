"""Archive: when jobs have ended, their attempts' tips become parents of one chain for each project and month.

So all work stays reachable while the number of refs does not grow with the number of finished jobs.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import remove
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import commit_tree
from orchestrator.adapters.git_refs import delete_refs, rev_parse
from orchestrator.adapters.mirrors import locked, move_own_ref, open_mirror
from orchestrator.adapters.objects import EMPTY_TREE
from orchestrator.engine.merge import MERGER
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

log = logging.getLogger("orc.archive")
KEEP_JOBS = 50
"""Ended jobs whose refs stay, newest first: they are the ones people still look at."""
MANY = 100
"""Jobs archived at once, so that one commit does not get too many parents and a tick not too long."""


def archive_ended(ws: Workspace) -> None:
    """Archive the oldest refs of ended jobs where more than twice `KEEP_JOBS` of them have gathered."""
    for name in ws.config.projects:
        try:
            _archive(ws, name, ws.git(name))
            _thin_out_mirror(ws, name, ws.git(name))
        except (OrcError, OSError) as error:
            # Its repository may have been moved: the others, and what comes after this, do not wait for it.
            told = error.message if isinstance(error, OrcError) else error
            log.warning("the refs of ended jobs of %s were not archived: %s", name, told)


def _thin_out_mirror(ws: Workspace, project: str, git: Git) -> None:
    """Take away the mirror's refs of ended jobs whose work the project's repository has under its own archive.

    The objects stay, for agents' clones borrow them; but each fetch looks at every ref.
    """
    path = ws.paths.mirror(project)
    if not (path / "HEAD").is_file():
        return
    mirror, root = Git(path), ws.ledger.snapshot().root
    kept = {ref for _, _, ref in _our_refs(git)}
    gone = [(ref, oid) for _, oid, ref in _our_refs(mirror) if ref not in kept and _has_ended(ws, ref, root)]
    # Only what has been published: whatever else lies under such a ref is kept nowhere else.
    gone = [(ref, oid) for ref, oid in gone if rev_parse(git, f"{oid}^{{commit}}") is not None]
    if gone:
        with effect(Effect.MIRROR_REFRESH), locked(mirror) as held:
            delete_refs(held, gone)


def _our_refs(git: Git) -> list[tuple[int, str, str]]:
    """When each ref of a job's work was made, what it names, and its name."""
    form = "--format=%(creatordate:unix) %(objectname) %(refname)"
    lines = git.text("for-each-ref", form, "refs/orc/attempts/", "refs/orc/merges/").splitlines()
    return [(int(when or 0), oid, ref) for when, oid, ref in (line.split(" ", 2) for line in lines)]


def _has_ended(ws: Workspace, ref: str, root: str) -> bool:
    # Only jobs that this ledger has ended: another workspace may keep its own in the same repository.
    return ws.ledger.closed(ref.split("/")[3], root) is not None


def _archive(ws: Workspace, project: str, git: Git) -> None:
    root = ws.ledger.snapshot().root
    refs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    age: dict[str, int] = {}
    for when, oid, ref in _our_refs(git):
        if _has_ended(ws, ref, root):
            job = ref.split("/")[3]
            refs[job].append((ref, oid))
            age[job] = max(age.get(job, 0), when)
    if len(refs) <= 2 * KEEP_JOBS:
        return
    oldest = sorted(refs, key=lambda job: age[job])[: min(MANY, len(refs) - KEEP_JOBS)]
    chain = f"refs/orc/archive/{project}/{ws.now():%Y-%m}"
    was = rev_parse(git, chain) or ""
    tips = sorted({oid for job in oldest for _, oid in refs[job]})
    message = "archive: " + ", ".join(oldest)
    mirror = open_mirror(ws.paths.mirror(project), git.git_dir)
    with effect(Effect.WORK_PUBLISH):
        parents = [was, *tips] if was else tips
        commit = commit_tree(git, EMPTY_TREE, parents, message, author=MERGER, when=ws.now())
        move_own_ref(mirror, git.git_dir, chain, commit, was)
        _delete_own_refs(mirror, git, [each for job in oldest for each in refs[job]])


def _delete_own_refs(mirror: Git, git: Git, refs: Sequence[tuple[str, str]]) -> None:
    with locked(mirror) as held:
        for ref, _ in refs:
            # Only orc changes it, with this lock, which its git holds too: so nobody is alive behind this file.
            remove(git.git_dir / f"{ref}.lock")
        delete_refs(Git(git.git_dir, inherit=held.inherit), refs)
