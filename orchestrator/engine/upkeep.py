"""Upkeep, when nothing else is to be done: pack the ledger's objects in time, archive the refs of ended jobs."""

from __future__ import annotations

import logging
import os
import threading

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import Git
from orchestrator.adapters.ledger import REF
from orchestrator.engine.archive import archive_ended
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

log = logging.getLogger("orc.upkeep")

MOST_LOOSE = 1_500
"""Loose objects at which they are packed: well below the number at which git itself starts a gc for the person."""
MOST_PACKS = 20
"""Packs at which they are put together: git starts a gc for the person from fifty on."""
_FULL_SAMPLE = 256


class Upkeep:
    """What is due from time to time. Packing may take seconds, so git does it beside the engine, one at a time."""

    def __init__(self) -> None:
        self._packing: threading.Thread | None = None

    def look(self, ws: Workspace) -> None:
        """Begin what is due; cheap when nothing is."""
        if self._packing is not None and self._packing.is_alive():
            return
        if loose_objects(ws) >= MOST_LOOSE or packs(ws) >= MOST_PACKS:
            archive_ended(ws)
            self._packing = threading.Thread(target=_pack_quietly, args=(ws.ledger.git,), daemon=True)
            self._packing.start()

    def finish(self) -> None:
        """Wait for what was begun."""
        if self._packing is not None:
            self._packing.join()


def loose_objects(ws: Workspace) -> int:
    """About how many loose objects the repository has: those of one folder in 256, which is how git itself counts."""
    folder = ws.paths.git_dir / "objects" / "17"
    try:
        return sum(1 for _ in folder.iterdir()) * _FULL_SAMPLE
    except OSError:
        return 0


def packs(ws: Workspace) -> int:
    """How many packs the repository has."""
    try:
        return sum(name.endswith(".pack") for name in os.listdir(ws.paths.git_dir / "objects" / "pack"))
    except OSError:
        return 0


def _pack_quietly(git: Git) -> None:
    try:
        pack(git)
    except OrcError as error:
        # It is tried again at the next occasion; nothing depends on it.
        log.warning("the ledger's objects were not packed: %s", error.message)


def pack(git: Git) -> None:
    """Pack loose objects beside the packs that are there; nothing unreachable is dropped, no gc is started."""
    with effect(Effect.LEDGER_PACK):
        git.run("repack", "-d", "--quiet", "--geometric=2", "--no-write-bitmap-index")
        git.run("commit-graph", "write", "--stdin-commits", "--changed-paths", "--split", stdin=_tip(git))


def _tip(git: Git) -> bytes:
    return git.run("rev-parse", REF).out
