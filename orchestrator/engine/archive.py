"""Archive: when jobs have ended, their attempts' tips become parents of one chain for each project and month.

So all work stays reachable while the number of refs does not grow with the number of finished jobs.
"""

from __future__ import annotations

from collections import defaultdict

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import Git, delete_ref, rev_parse, update_ref
from orchestrator.adapters.git_objects import commit_tree
from orchestrator.adapters.objects import EMPTY_TREE
from orchestrator.engine.merge import MERGER
from orchestrator.engine.workspace import Workspace

KEEP_JOBS = 200
"""Ended jobs whose refs stay, newest first: they are the ones people still look at."""
MANY = 100
"""Jobs archived at once, so that one commit does not get too many parents and a tick not too long."""


def archive_ended(ws: Workspace) -> None:
    """Archive the oldest refs of ended jobs where more than twice `KEEP_JOBS` of them have gathered."""
    for name in ws.config.projects:
        _archive(ws, name, ws.git(name))


def _archive(ws: Workspace, project: str, git: Git) -> None:
    # Only jobs that this ledger has ended: another workspace may keep its own in the same repository.
    root = ws.ledger.snapshot().root
    form = "--format=%(creatordate:unix) %(objectname) %(refname)"
    refs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    age: dict[str, int] = {}
    for line in git.text("for-each-ref", form, "refs/orc/attempts/", "refs/orc/merges/").splitlines():
        when, oid, ref = line.split(" ", 2)
        job = ref.split("/")[3]
        if ws.ledger.closed(job, root) is not None:
            refs[job].append((ref, oid))
            age[job] = max(age.get(job, 0), int(when or 0))
    if len(refs) <= 2 * KEEP_JOBS:
        return
    oldest = sorted(refs, key=lambda job: age[job])[: min(MANY, len(refs) - KEEP_JOBS)]
    chain = f"refs/orc/archive/{project}/{ws.now():%Y-%m}"
    was = rev_parse(git, chain) or ""
    tips = sorted({oid for job in oldest for _, oid in refs[job]})
    message = "archive: " + ", ".join(oldest)
    with effect(Effect.WORK_PUBLISH):
        parents = [was, *tips] if was else tips
        commit = commit_tree(git, EMPTY_TREE, parents, message, author=MERGER, when=ws.now())
        update_ref(git, chain, commit, was)
        for job in oldest:
            for ref, oid in refs[job]:
                delete_ref(git, ref, oid)
