"""Hot files: those in which approved work has collided again and again lately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.core.times import iso

WINDOW = timedelta(days=7)
HOT = 3
"""So many conflicts within the window make a file hot."""
MOST = 100
"""So many files are remembered: those that collided last. So many conflicts of each, too."""


@dataclass(frozen=True, slots=True)
class Clash:
    """One file, and when work collided in it, oldest first."""

    path: str
    at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clashes:
    """`projects/<name>/conflicts.yaml`: where work has collided lately. A hint: nothing is decided by it."""

    files: tuple[Clash, ...] = ()


@dataclass(frozen=True, slots=True)
class HotFile:
    """A file that has collided so often lately that whoever changes it should know."""

    project: str
    path: str
    conflicts: int


def note_clash(known: Clashes, paths: Iterable[str], now: datetime) -> Clashes:
    """What is known after work has collided in these files. What is older than the window is forgotten."""
    files = {each.path: recent for each in known.files if (recent := _recent(each, now))}
    for path in list(paths)[:MOST]:
        # What collided last stands last.
        files[path] = (*files.pop(path, ()), iso(now))[-MOST:]
    return Clashes(tuple(Clash(path, at) for path, at in list(files.items())[-MOST:]))


def find_hot(project: str, known: Clashes, now: datetime) -> list[HotFile]:
    """The hot files of a project, the worst first."""
    counted = [HotFile(project, each.path, len(_recent(each, now))) for each in known.files]
    return sorted((each for each in counted if each.conflicts >= HOT), key=lambda each: (-each.conflicts, each.path))


def _recent(clash: Clash, now: datetime) -> tuple[str, ...]:
    since = iso(now - WINDOW)
    return tuple(at for at in clash.at if at > since)
