"""Sweeping: trees that nobody has used for long are removed, once what they hold is known to be kept.

Nothing here is needed for correctness: a tree that is gone is built anew for the next job. It is disk space.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.tree_spec import read_record
from orchestrator.adapters.worktrees import discard_place, discard_tree, is_place
from orchestrator.engine.mend_git import drop_if_proved, kept_trees, set_aside_at, told_size
from orchestrator.engine.ps import find_runs
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

DAY_S = 86_400
POOLS = (".reviews", ".checks")


class Sort(StrEnum):
    """What may be swept."""

    TREE = "tree"
    """An agent's."""
    PLACE = "checkout"
    """One of a review or of checks."""
    KEPT = "kept tree"
    """One that was set aside whole."""


@dataclass(frozen=True, slots=True)
class Swept:
    """One thing that nobody has used for long. `gone`: it was removed; else `why` says why it stays, or is ''."""

    sort: Sort
    name: str
    idle_s: int
    size: str
    gone: bool = False
    why: str = ""
    notes: tuple[str, ...] = ()


_Act = Callable[[], Swept]


def sweep(ws: Workspace, older_s: int, *, dry_run: bool = False) -> Iterator[Swept]:
    """Remove what nobody has used for so many seconds, one after the other; `dry_run`: only say what that would be.

    What is told and what is done are found in the same way; a dry run stops before each act.
    """
    for found, act in _find(ws, older_s):
        if dry_run or found.why:
            yield found
            continue
        try:
            yield act()
        except (OrcError, OSError) as error:
            yield replace(found, why=error.message if isinstance(error, OrcError) else str(error))


def _find(ws: Workspace, older_s: int) -> Iterator[tuple[Swept, _Act]]:
    now = time.time()
    yield from _agents_trees(ws, now, now - older_s)
    yield from _places(ws, now, now - older_s)
    yield from _kept_trees(ws, now, now - older_s)


def _agents_trees(ws: Workspace, now: float, since: float) -> Iterator[tuple[Swept, _Act]]:
    busy = {run.agent for run in find_runs(ws)}
    for record in sorted((ws.paths.orcdir / "trees").glob("[!.]*.json")):
        known, used = read_record(record), _used(record)
        # One whose record cannot be read is told by `orc doctor`, which sets it aside.
        if known is None or used > since or not known.spec.path.is_dir():
            continue
        path, agent = known.spec.path, known.spec.author.name
        found = Swept(Sort.TREE, _shown(ws, path), int(now - used), told_size(path))
        if path.parent.parent != ws.paths.state / "trees" or record.stem != f"{path.parent.name}.{path.name}":
            found = replace(found, why="it is no tree of this workspace: was that copied or moved?")
        elif agent in busy or path.parent.name in busy:
            found = replace(found, why=f"{agent} is at work")
        elif known.sealed is None or known.preparing:
            found = replace(found, why="it may hold work that is not sealed: the agent's next job saves it")
        yield found, _discard(ws, found, record, since)


def _discard(ws: Workspace, found: Swept, record: Path, since: float) -> _Act:
    def act() -> Swept:
        with effect(Effect.RUN_CLEAN):
            notes = discard_tree(record, idle_since=since, when=ws.now())
        return replace(found, why="it is in use again") if notes is None else replace(found, gone=True, notes=notes)

    return act


def _places(ws: Workspace, now: float, since: float) -> Iterator[tuple[Swept, _Act]]:
    for pool in POOLS:
        for record in sorted((ws.paths.state / "trees" / pool).glob("*/*.json")):
            used, path = _used(record), record.with_suffix("")
            if used <= since and is_place(record):
                found = Swept(Sort.PLACE, _shown(ws, path), int(now - used), told_size(path))
                yield found, _discard_place(found, record, since)


def _discard_place(found: Swept, record: Path, since: float) -> _Act:
    def act() -> Swept:
        with effect(Effect.RUN_CLEAN):
            gone = discard_place(record, idle_since=since)
        return replace(found, gone=gone, why="" if gone else "it is in use again")

    return act


def _kept_trees(ws: Workspace, now: float, since: float) -> Iterator[tuple[Swept, _Act]]:
    for path in kept_trees(ws):
        aside = set_aside_at(path).timestamp()
        if aside <= since:
            found = Swept(Sort.KEPT, _shown(ws, path), int(now - aside), told_size(path))
            yield found, _drop(ws, found, path)


def _drop(ws: Workspace, found: Swept, path: Path) -> _Act:
    return lambda: replace(found, gone=True, notes=(drop_if_proved(path)(ws),))


def _used(record: Path) -> float:
    try:
        return os.stat(record).st_mtime
    except OSError:
        return time.time()  # It went meanwhile.


def _shown(ws: Workspace, path: Path) -> str:
    return str(path.relative_to(ws.paths.root)) if path.is_relative_to(ws.paths.root) else str(path)
