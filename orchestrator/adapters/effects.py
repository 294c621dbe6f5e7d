"""Every change that orc makes to the world has a name here, and a place to die before and after it.

`with effect(Effect.X):` stands around each one. A test sets ORC_KILL_AT to `x:before` or `x:after` (or `x:after:3`, the
third time; several with commas between them) and the process is killed there by a real SIGKILL: what a power cut or an
operator's `kill -9` does, at a place that can be repeated. A change outside of any effect fails the test that watches
for it. ORC_TRACE_EFFECTS names a file to which every place that is passed is appended.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from orchestrator.adapters.spans import span

KILL_AT = "ORC_KILL_AT"
TRACE = "ORC_TRACE_EFFECTS"


class Effect(StrEnum):
    """The changes that the engine and the commands make, in the order in which a job meets them."""

    LEDGER_OBJECTS = "ledger.objects"
    LEDGER_REF = "ledger.ref"
    DROP_CLAIM = "drop.claim"
    """A dropped file is renamed, so that its name says which job it becomes."""
    DROP_TAKE = "drop.take"
    """A dropped file is taken away, because the ledger has it."""
    DROP_REJECT = "drop.reject"
    QUEUE_WRITE = "queue.write"
    QUEUE_REMOVE = "queue.remove"
    MIRROR_REFRESH = "mirror.refresh"
    RUN_FOLDER = "run.folder"
    RUN_NOTE = "run.note"
    """What lies outside of a run's tree is noted before it starts."""
    NURSERY_START = "nursery.start"
    """The process from which runs are forked is started."""
    NURSERY_END = "nursery.end"
    RUN_SPAWN = "run.spawn"
    RUN_STOP = "run.stop"
    RUN_CLEAN = "run.clean"
    OUTBOX_ANSWER = "outbox.answer"
    """A run is told what came of what it asked."""
    TREE_SEAL = "tree.seal"
    WORK_PUBLISH = "work.publish"
    """An attempt's commit gets its ref in the project's repository."""
    MERGE_BUILD = "merge.build"
    NEXT_MOVE = "next.move"
    TARGET_MOVE = "target.move"
    BRANCH_MAKE = "branch.make"
    CACHE_WRITE = "cache.write"
    LEDGER_PACK = "ledger.pack"
    SOUL_WRITE = "soul.write"
    """An agent's soul is changed or moved, because a person asked for it."""
    NOTICE_WRITE = "notice.write"
    """What a person is to be told, and how far that has come, is kept."""
    NOTICE_SEND = "notice.send"
    """A person is told, or the process that does so is started."""


_hits: Counter[str] = Counter()
_state = threading.local()


@contextmanager
def effect(name: Effect) -> Iterator[None]:
    """Around one change to the world."""
    _point(f"{name}:before")
    _state.depth = _depth() + 1
    try:
        with span("effect", name):
            yield
    finally:
        _state.depth = _depth() - 1
    _point(f"{name}:after")


def inside_effect() -> bool:
    """Whether this process is in the middle of a named change; a test asks at every write."""
    return _depth() > 0


def _depth() -> int:
    """How many named changes this thread is in."""
    depth: int = getattr(_state, "depth", 0)
    return depth


def _point(place: str) -> None:
    trace = os.environ.get(TRACE)
    if trace:
        with open(trace, "a", encoding="utf-8") as file:
            file.write(f"{place}\n")
    wanted = os.environ.get(KILL_AT)
    if not wanted:
        return
    _hits[place] += 1
    if not {place, f"{place}:{_hits[place]}"}.isdisjoint(wanted.split(",")):
        os.kill(os.getpid(), signal.SIGKILL)
