"""Upkeep, when nothing else is to be done: pack objects in time, the ledger's and the mirrors'; archive old refs."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

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
        git = ws.ledger.git
        due = [each for each in (git, *_mirrors(ws)) if is_due(each.git_dir)]
        if git in due:
            archive_ended(ws)
        if due:
            self._packing = threading.Thread(target=_pack_quietly, args=(due, git), daemon=True)
            self._packing.start()

    def finish(self) -> None:
        """Wait for what was begun."""
        if self._packing is not None:
            self._packing.join()


def _mirrors(ws: Workspace) -> list[Git]:
    paths = [ws.paths.mirror(name) for name in ws.config.projects]
    return [Git(path) for path in paths if (path / "HEAD").is_file()]


def is_due(git_dir: Path) -> bool:
    """Whether a repository has so many loose objects or packs that they are to be put together."""
    return loose_objects(git_dir) >= MOST_LOOSE or packs(git_dir) >= MOST_PACKS


def loose_objects(git_dir: Path) -> int:
    """About how many loose objects a repository has: those of one folder in 256, which is how git itself counts."""
    try:
        return sum(1 for _ in (git_dir / "objects" / "17").iterdir()) * _FULL_SAMPLE
    except OSError:
        return 0


def packs(git_dir: Path) -> int:
    """How many packs a repository has."""
    try:
        return sum(name.endswith(".pack") for name in os.listdir(git_dir / "objects" / "pack"))
    except OSError:
        return 0


def _pack_quietly(due: Sequence[Git], ledger: Git) -> None:
    for git in due:
        try:
            pack(git)
            if git is ledger:
                write_graph(git)
        except OrcError as error:
            # It is tried again at the next occasion; nothing depends on it.
            log.warning("the objects of %s were not packed: %s", git.git_dir, error.message)


def pack(git: Git) -> None:
    """Pack loose objects beside the packs that are there; nothing unreachable is dropped, no gc is started."""
    with effect(Effect.LEDGER_PACK):
        git.run("repack", "-d", "--quiet", "--geometric=2", "--no-write-bitmap-index")


def write_graph(git: Git) -> None:
    """Note what the ledger's commits changed, so that `git log` of one job need not look into all of them."""
    with effect(Effect.LEDGER_PACK):
        git.run("commit-graph", "write", "--stdin-commits", "--changed-paths", "--split", stdin=_tip(git))


def _tip(git: Git) -> bytes:
    return git.run("rev-parse", REF).out
