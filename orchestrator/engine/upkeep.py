"""Upkeep, when nothing else is to be done: pack the ledger's objects in time, archive the refs of ended jobs."""

from __future__ import annotations

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import Git
from orchestrator.adapters.ledger import REF
from orchestrator.engine.archive import archive_ended
from orchestrator.engine.workspace import Workspace

MOST_LOOSE = 1_500
"""Loose objects at which they are packed: well below the number at which git itself starts a gc for the person."""
_FULL_SAMPLE = 256


def keep_up(ws: Workspace) -> None:
    """Look whether anything is due; cheap when nothing is."""
    if loose_objects(ws) >= MOST_LOOSE:
        archive_ended(ws)
        pack(ws.ledger.git)


def loose_objects(ws: Workspace) -> int:
    """About how many loose objects the repository has: those of one folder in 256, which is how git itself counts."""
    folder = ws.paths.git_dir / "objects" / "17"
    try:
        return sum(1 for _ in folder.iterdir()) * _FULL_SAMPLE
    except OSError:
        return 0


def pack(git: Git) -> None:
    """Pack loose objects beside the packs that are there; nothing unreachable is dropped, no gc is started."""
    with effect(Effect.LEDGER_PACK):
        git.run("repack", "-d", "--quiet", "--geometric=2", "--no-write-bitmap-index")
        git.run("commit-graph", "write", "--stdin-commits", "--changed-paths", "--split", stdin=_tip(git))


def _tip(git: Git) -> bytes:
    return git.run("rev-parse", REF).out
