"""Upkeep, when nothing else is to be done: pack objects in time, archive old refs, remove old logs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.ledger import REF
from orchestrator.core.config import LogLimits
from orchestrator.engine.archive import archive_ended
from orchestrator.engine.run_logs import forget_checks, prune_logs
from orchestrator.engine.workspace import Paths, Workspace
from orchestrator.errors import OrcError

log = logging.getLogger("orc.upkeep")

MOST_LOOSE = 1_500
"""Loose objects at which they are packed: well below the number at which git itself starts a gc for the person."""
MOST_PACKS = 20
"""Packs at which they are put together: git starts a gc for the person from fifty on."""
_FOLDERS = 256
PAUSE_S = 600.0
"""How long a repository is left alone after packing came to nothing."""
PRUNE_S = 600.0
"""How often at most it is looked for logs and remembered checks that are to go, where the last look left none."""


class Upkeep:
    """What is due from time to time. It may take seconds, so it is done beside the engine, one round at a time."""

    def __init__(self) -> None:
        self._work: threading.Thread | None = None
        self._paused: dict[tuple[Path, Heap], float] = {}
        """Until when a heap of a repository is left alone, on the clock of `time.monotonic`."""
        self._prune_at = 0.0

    def look(self, ws: Workspace) -> None:
        """Begin what is due; cheap when nothing is."""
        if self._work is not None and self._work.is_alive():
            return
        now, git = time.monotonic(), ws.ledger.git
        due = [each for each in (git, *mirrors_of(ws)) if self._is_due(each.git_dir, now)]
        if git in due:
            archive_ended(ws)
        acts = [partial(self._prune, ws.paths, ws.config.logs, ws.now())] if now >= self._prune_at else []
        acts += [partial(self._pack, each, is_ledger=each is git) for each in due]
        if acts:
            # An engine that ends waits for what is soon done; a git that packs goes on without it.
            self._work = threading.Thread(target=_do_quietly, args=(acts,), daemon=bool(due))
            self._work.start()

    def finish(self) -> None:
        """Wait for what was begun."""
        if self._work is not None:
            self._work.join()

    def _is_due(self, git_dir: Path, now: float) -> bool:
        return any(heap.is_high(git_dir) and self._paused.get((git_dir, heap), 0.0) <= now for heap in HEAPS)

    def _pack(self, git: Git, *, is_ledger: bool) -> None:
        before = {heap: heap.names(git.git_dir) for heap in HEAPS}
        try:
            pack(git)
            if is_ledger:
                write_graph(git)
        finally:
            # It failed, or what is there cannot be packed: to begin again at each look would never end. By name and not
            # by number, because work goes on meanwhile, and what it adds is packed the next time.
            for heap, names in before.items():
                if heap.is_high(git.git_dir) and names <= heap.names(git.git_dir):
                    self._paused[git.git_dir, heap] = time.monotonic() + PAUSE_S

    def _prune(self, paths: Paths, keep: LogLimits, now: datetime) -> None:
        self._prune_at = time.monotonic() + PRUNE_S
        is_done = [forget_checks(paths), prune_logs(paths, keep, now)]
        if not all(is_done):
            self._prune_at = 0.0


def _do_quietly(acts: Sequence[Callable[[], None]]) -> None:
    for act in acts:
        try:
            act()
        except (OrcError, OSError) as error:
            # It is tried again at a later occasion; nothing depends on it.
            log.warning("upkeep: %s", error.message if isinstance(error, OrcError) else error)


def mirrors_of(ws: Workspace) -> list[Git]:
    """The mirrors that are there."""
    paths = [ws.paths.mirror(name) for name in ws.config.projects]
    return [Git(path) for path in paths if (path / "HEAD").is_file()]


@dataclass(frozen=True, slots=True)
class Heap:
    """What piles up in a repository until it is packed."""

    names: Callable[[Path], frozenset[str]]
    """The names of what lies there, or of a share of it."""
    most: int
    """From how many names on it is packed."""

    def is_high(self, git_dir: Path) -> bool:
        """Whether packing is due for it."""
        return len(self.names(git_dir)) >= self.most


def sample_loose_objects(git_dir: Path) -> frozenset[str]:
    """The loose objects in one folder of 256, from which git itself concludes how many there are."""
    return _list(git_dir / "objects" / "17")


def list_packs(git_dir: Path) -> frozenset[str]:
    """The packs of a repository."""
    return frozenset(name for name in _list(git_dir / "objects" / "pack") if name.endswith(".pack"))


def _list(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


HEAPS = (Heap(sample_loose_objects, -(-MOST_LOOSE // _FOLDERS)), Heap(list_packs, MOST_PACKS))


def pack(git: Git) -> None:
    """Pack loose objects beside the packs that are there; nothing unreachable is dropped, no gc is started."""
    with effect(Effect.LEDGER_PACK):
        # One thread: an engine with many runs has something better to do with the other processors.
        git.run("-c", "pack.threads=1", "repack", "-d", "--quiet", "--geometric=2", "--no-write-bitmap-index")


def write_graph(git: Git) -> None:
    """Note what the ledger's commits changed, so that `git log` of one job need not look into all of them."""
    with effect(Effect.LEDGER_PACK):
        git.run("commit-graph", "write", "--stdin-commits", "--changed-paths", "--split", stdin=_tip(git))


def _tip(git: Git) -> bytes:
    return git.run("rev-parse", REF).out


# --- the ledger alone ---------------------------------------------------------------------------------------------


def count_loose(git: Git) -> int:
    """How many loose objects a repository has."""
    return int(git.text("count-objects").partition(" ")[0])


def unpacked_of_ledger(ws: Workspace) -> int:
    """How many objects of the ledger lie loose, of those that came since it was packed last."""
    git = ws.ledger.git
    return len(git.text("rev-list", "--objects", "--unpacked", *_new_of_ledger(ws)).splitlines())


def pack_ledger(ws: Workspace) -> None:
    """Put the loose objects of the ledger into a pack. What else lies in the repository is the person's, and stays."""
    git, tip = ws.ledger.git, ws.ledger.tip()
    wanted = "\n".join(_new_of_ledger(ws)).encode() + b"\n"
    with effect(Effect.LEDGER_PACK):
        git.run("pack-objects", "--quiet", "--revs", "--unpacked", f"{git.git_dir}/objects/pack/pack", stdin=wanted)
        # It takes away what lies loose and in a pack, as any git does; nothing that is only loose.
        git.run("prune-packed", "--quiet")
        write_graph(git)
        ensure_folder(ws.paths.routines)
        write_atomic(ws.paths.routines / "packed", tip.encode(), sync=False)


def _new_of_ledger(ws: Workspace) -> list[str]:
    """The ledger, without what was packed before: so a night costs what a day has brought."""
    try:
        packed = (ws.paths.routines / "packed").read_text("ascii").strip()
    except (OSError, ValueError):
        packed = ""
    is_known = bool(packed) and rev_parse(ws.ledger.git, f"{packed}^{{commit}}") is not None
    return [REF, *([f"^{packed}"] if is_known else [])]
