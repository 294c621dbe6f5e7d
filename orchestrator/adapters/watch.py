"""Waking up: file system events set a flag and mean nothing more. Whoever is woken looks for itself."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers.api import BaseObserver

log = logging.getLogger("orc.watch")


MOST_PATHS = 5000
"""So many events are remembered; after more, all is looked at."""


class Watch:
    """While entered, events in the folders and one level below set `wake`.

    A watch that cannot be set (no inotify left, a file system without events) is told in the log and left out: the
    caller's timer finds everything a little later. A folder that was deleted and made again is watched again at the
    next `renew`.
    """

    def __init__(self, folders: Iterable[Path], wake: threading.Event) -> None:
        self._folders = tuple(folders)
        self._wake = wake
        self._observer: BaseObserver | None = None
        self._watched: dict[Path, tuple[int, int]] = {}
        self._paths: deque[str] = deque()
        self._arrived: deque[str] = deque(maxlen=MOST_PATHS)
        self._was_blind = True

    def take(self) -> set[Path] | None:
        """The paths of the events since the last call; None if everything may have changed."""
        if not self.is_alive() or self._was_blind or len(self._paths) > MOST_PATHS:
            self._was_blind = False
            self._paths.clear()
            return None
        # One by one: the observer's thread appends meanwhile.
        return {Path(self._paths.popleft()) for _ in range(len(self._paths))}

    def take_arrived(self) -> set[Path]:
        """The files that came under their names by being renamed in their folder, since the last call."""
        return {Path(self._arrived.popleft()) for _ in range(len(self._arrived))}

    def is_alive(self) -> bool:
        """Whether events come at all."""
        return self._observer is not None and all(each.is_alive() for each in self._observer.emitters)

    def __enter__(self) -> Watch:
        self.renew()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def renew(self) -> None:
        """Watch the folders as they are now, if they are not those that are watched."""
        now = _identities(self._folders)
        if now == self._watched and (self.is_alive() or not now):
            return
        self._stop()
        self._start(now)

    def _start(self, now: dict[Path, tuple[int, int]]) -> None:
        from watchdog.observers import Observer

        # What it says of its own threads at the end is nobody's business; what it misses is found by looking.
        logging.getLogger("watchdog").setLevel(logging.CRITICAL)
        observer = Observer()
        try:
            for folder in now:
                observer.schedule(_waker(self._wake, self._paths, self._arrived), str(folder), recursive=False)
            observer.start()
        except (OSError, RuntimeError) as error:
            log.warning("no events from the file system (%s); looking every few seconds instead", error)
            # Those that had begun already would wait for events for ever, each with a thread of its own.
            observer.stop()
            self._watched = {}
            return
        # Between the end of one watch and the beginning of the next nobody is told of anything.
        self._observer, self._watched, self._was_blind = observer, now, True

    def _stop(self) -> None:
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)
        self._observer, self._watched = None, {}


def _identities(folders: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """The folders and those directly in them, with what tells a folder from one made anew in its place."""
    found: dict[Path, tuple[int, int]] = {}
    for top in folders:
        below: list[Path] = []
        # Somebody may be deleting them at this moment: what cannot be looked at is not there.
        with suppress(OSError):
            below = sorted(top.iterdir())
        for folder in (top, *below):
            with suppress(OSError):
                status = folder.lstat()
                if stat.S_ISDIR(status.st_mode):
                    found[folder] = (status.st_dev, status.st_ino)
    return found


def _waker(wake: threading.Event, paths: deque[str], arrived: deque[str]) -> FileSystemEventHandler:
    """What the observer calls, from a thread of its own. Any change wakes; looking at a file is none."""
    from watchdog.events import FileSystemEventHandler

    class Waker(FileSystemEventHandler):
        def dispatch(self, event: FileSystemEvent) -> None:
            if event.event_type not in ("opened", "closed_no_write"):
                if event.event_type == "moved" and event.dest_path:
                    arrived.append(os.fsdecode(event.dest_path))
                paths.extend(os.fsdecode(path) for path in (event.src_path, event.dest_path) if path)
                wake.set()

    return Waker()
