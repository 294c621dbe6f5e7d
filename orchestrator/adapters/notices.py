"""The outbox of notices: a file for each until it is told on every way, then one that keeps it from coming twice.

<git-common-dir>/orc/notices/
  place.json        how far the ledger was read, and when each way was last used
  pending/KEY.json  to be told
  told/KEY.json     told, or given up; kept for thirty days
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, remove, write_atomic
from orchestrator.adapters.reading import safe_read
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.notice import Notice, Pending
from orchestrator.errors import OrcError

KEEP_S = 30 * 86_400
"""How long it is known what was told."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far the outbox has come. Times as in the ledger."""

    tip: str = ""
    """Up to which commit of the ledger was read."""
    again: str = ""
    """When something that waits is to be told; '' where that is not known."""
    swept: str = ""
    """When old files were last removed."""
    used: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """When each way was used within the last hour, but for what was urgent."""


@dataclass(frozen=True, slots=True)
class NoticeBox:
    """The outbox in a folder. Only who holds `lock` writes to it."""

    folder: Path

    @property
    def lock(self) -> Path:
        """The lock of whoever tells."""
        return self.folder.parent / "notices.lock"

    def place(self) -> Place:
        """How far it has come; from the beginning where that cannot be read."""
        try:
            return from_mapping(Place, _read(self.folder / "place.json"))
        except (OSError, OrcError, ValueError):
            return Place()

    def put_place(self, place: Place) -> None:
        """Keep how far it has come."""
        self._write(self.folder / "place.json", to_mapping(place))

    def add(self, notices: Iterable[Notice]) -> None:
        """Put notices in, unless they were put in before."""
        for notice in notices:
            if not (self._told(notice.key).exists() or self._pending(notice.key).exists()):
                self._write(self._pending(notice.key), to_mapping(Pending(notice)))

    def is_due(self, tip: str, now: str) -> bool:
        """Whether there is more to read than was read, or to tell by now. Cheap."""
        place = self.place()
        return place.tip != tip or (place.again <= now and self._has_pending())

    def _has_pending(self) -> bool:
        try:
            with os.scandir(self.folder / "pending") as entries:
                return next(entries, None) is not None
        except OSError:
            return False

    def pending(self) -> list[Pending]:
        """What is to be told, the oldest first."""
        return self._all(self.folder / "pending")

    def told(self) -> list[Pending]:
        """What was told, the oldest first."""
        return self._all(self.folder / "told")

    def put(self, one: Pending, *, is_over: bool) -> None:
        """Keep how far a notice has come; `is_over`: nothing more is to be done for it."""
        key = one.notice.key
        if is_over:
            # First there, then away from here: a kill between the two leaves it in both, and `settle` mends that.
            self._write(self._told(key), to_mapping(one))
            self._remove(self._pending(key))
        else:
            self._write(self._pending(key), to_mapping(one))

    def settle(self) -> None:
        """Take away what was told and was still to be taken away."""
        for name in _names(self.folder / "pending"):
            if (self.folder / "told" / name).exists():
                self._remove(self.folder / "pending" / name)

    def sweep(self, before: float) -> None:
        """Forget what was told before that time, in seconds since 1970."""
        for name in _names(self.folder / "told"):
            path = self.folder / "told" / name
            if path.stat().st_mtime < before:
                self._remove(path)

    def _told(self, key: str) -> Path:
        return self.folder / "told" / f"{key}.json"

    def _pending(self, key: str) -> Path:
        return self.folder / "pending" / f"{key}.json"

    def _write(self, path: Path, value: Any) -> None:
        with effect(Effect.NOTICE_WRITE):
            ensure_folder(path.parent)
            write_atomic(path, json.dumps(value).encode(), mode=0o600)

    def _remove(self, path: Path) -> None:
        with effect(Effect.NOTICE_WRITE):
            remove(path)

    def _all(self, folder: Path) -> list[Pending]:
        found = []
        for name in _names(folder):
            try:
                found.append(from_mapping(Pending, _read(folder / name)))
            except (OSError, OrcError, ValueError):
                continue  # Taken away meanwhile, or of another version: it is swept in time.
        return sorted(found, key=lambda each: (each.notice.at, each.notice.key))


def _read(path: Path) -> Any:
    return json.loads(safe_read(path).data)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    except OSError:
        return []
