"""The folders of `queue/` as they lie on disk: what differs from what was shown there, and putting files in and out.

It knows names, signatures and lanes, but not what a file says. Nothing is overwritten or removed that somebody changed
since it was shown, and nothing that is refused is thrown away.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from orchestrator.adapters import clock
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import (
    ensure_folder,
    move_no_replace,
    remove,
    remove_if_unchanged,
    sync_folder,
    write_atomic,
)
from orchestrator.adapters.reading import Entry, Signature, look_at, safe_read, scan, signature
from orchestrator.adapters.strict_yaml import replace_unsafe
from orchestrator.core.job import Lane
from orchestrator.errors import InvalidFileError

SETTLE_S = 0.04
"""How long a file must have stood still before it counts."""
GONE_S = 0.12
"""How long a file must be missing before it counts: an editor that saves by renaming leaves a gap."""
MAX_SHOWN_BYTES = 8 * 1024 * 1024
IGNORE = "# What lies here is a view of the branch orc/state; deleting it loses nothing.\n*\n!.gitignore\n"

_SUFFIXES = (".yaml", ".yml", ".md")
_CLAIM = re.compile(r"\.accept-(?P<id>[a-z0-9-]{10,64})\.(?:yaml|md)\Z")
_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{12}-")
_SHOWN = re.compile(
    r"(?:[a-z0-9-]+-[0-9a-f]{8}(?:\.(?:card|review)-[1-9][0-9]*)?\.(?:yaml|md)|[a-z0-9-]+\.finish-[1-9][0-9]*\.yaml)\Z"
)
_WHY = ".why.txt"
_LONGEST_NAME = 200
_TOP = ""
_LANES = tuple(lane for lane in Lane if lane is not Lane.REJECTED)

Spot = tuple[str, str]
"""A folder of `queue/` ('' for itself) and a name in it."""


class Difference(StrEnum):
    """How what lies in a folder differs from what was shown there."""

    NEW = "new"
    CHANGED = "changed"
    MISSING = "missing"
    CLAIMED = "claimed"
    """A drop that was renamed to be accepted, by an engine that did not come to its end."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A file that was put there. The digest is '' once somebody else's content has taken its place."""

    id: str
    seq: int
    signature: Signature | None
    digest: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One difference. `still_s`: for how many seconds it has not changed."""

    what: Difference
    lane: Lane
    path: Path
    signature: Signature | None
    is_file: bool
    still_s: float
    shown: Shown | None = None
    claimed_id: str = ""
    was_moved: bool = False
    """Whether it came under its name by being renamed, so that nobody is writing it any more."""
    folder_was_there: bool = True
    """Whether only the file went missing, and not its folder with it."""


@dataclass(slots=True)
class QueueFolder:
    """The folder `queue/`. Used by one thread only."""

    root: Path
    changed_ids: set[str] = field(default_factory=set)
    """Jobs whose files no longer are what was shown, so that they are to be shown again."""
    fresh_notes: set[Path] = field(default_factory=set)
    """Files that a note was written for since the jobs were last shown."""
    adopted: dict[str, set[Path]] = field(default_factory=dict)
    """Where a person put a job's file so that it stays there: paths by job, until the job is shown again."""
    folders_missing: bool = True
    _shown: dict[Spot, Shown] = field(default_factory=dict)
    _lost: dict[str, float] = field(default_factory=dict)
    _torn: set[Spot] = field(default_factory=set)
    """When a folder was last found to be missing."""
    _watched: dict[Spot, tuple[Signature | None, float]] = field(default_factory=dict)
    _left: dict[Spot, Signature] = field(default_factory=dict)
    _notes: set[Path] = field(default_factory=set)

    def path(self, lane: Lane, name: str) -> Path:
        """Where a file of a lane lies."""
        return self.root / lane / name

    # --- looking ---

    def look(self, hints: Collection[Path] | None = None, arrived: Collection[Path] = ()) -> list[Seen]:
        """Everything that differs from what was shown. Reads no file.

        `arrived` are files that were renamed into their places. With `hints`, only at these paths and at what was on
        the move at the last look: whoever gives them has been told of everything else, or looks at everything soon.
        """
        moment, wall = time.monotonic(), clock.now().timestamp()
        watched: dict[Spot, tuple[Signature | None, float]] = {}
        found: list[Seen] = []
        present: set[Spot] = set()
        there: set[str] = {folder for folder in _LANES if _is_folder(self.root / folder)}
        if self.root.is_dir():  # It may be a link to where a person wants it.
            there.add(_TOP)
        self.folders_missing = len(there) <= len(_LANES)
        self._lost |= {folder: moment for folder in (_TOP, *_LANES) if folder not in there}
        spots = None if hints is None or self.folders_missing else self._spots_of(hints)
        if spots is None:
            self._notes = set()
        for folder, entry in self._entries(there) if spots is None else self._entries_at(spots):
            spot = (folder, entry.name)
            present.add(spot)
            known = self._shown.get(spot)
            if entry.signature in (known.signature if known else None, self._left.get(spot)):
                continue
            since = self._since(spot, entry.signature, moment)
            watched[spot] = (entry.signature, since)
            still = max(moment - since, wall - entry.signature.mtime_ns / 1e9)
            seen = _seen(self.root, spot, entry, known, still)
            found.append(replace(seen, was_moved=True) if seen.path in arrived else seen)
        for spot in (self._shown.keys() if spots is None else spots & self._shown.keys()) - present:
            since = self._since(spot, None, moment)
            watched[spot] = (None, since)
            found.append(self._missing(spot, moment - since, folder_was_there=self._lost.get(spot[0], -1.0) < since))
        self._watched = watched
        return found

    def _spots_of(self, hints: Collection[Path]) -> set[Spot]:
        return {self._spot(path) for path in hints if self.root in (path.parent, path.parent.parent)} | set(
            self._watched
        )

    def _entries_at(self, spots: Iterable[Spot]) -> Iterator[tuple[str, Entry]]:
        for folder, name in sorted(spots):
            path = self.root / folder / name
            if folder not in ("", *_LANES):
                continue
            if name.endswith(_WHY):
                note = path.with_name(name.removesuffix(_WHY))
                (self._notes.add if path.exists() else self._notes.discard)(note)
            elif _counts(name) and (entry := look_at(path)) is not None:
                yield folder, entry

    def _since(self, spot: Spot, now: Signature | None, moment: float) -> float:
        was, since = self._watched.get(spot, (now, moment))
        return since if was == now else moment

    def _entries(self, there: set[str]) -> Iterator[tuple[str, Entry]]:
        for folder in (_TOP, *_LANES):
            if folder not in there:
                continue
            for entry in scan(self.root / folder):
                if entry.name.endswith(_WHY):
                    self._notes.add(self.root / folder / entry.name.removesuffix(_WHY))
                elif _counts(entry.name) or (folder == _TOP and entry.name in _LANES and entry.name not in there):
                    yield folder, entry

    def _missing(self, spot: Spot, still: float, *, folder_was_there: bool) -> Seen:
        return Seen(
            Difference.MISSING,
            _lane(spot[0]),
            self.root / spot[0] / spot[1],
            None,
            False,
            still,
            self._shown[spot],
            folder_was_there=folder_was_there,
        )

    def strays(self) -> list[str]:
        """Folders that are none of the queue's and hold what may be jobs, by their paths in it: nobody looks there."""
        found = [name for name in _folders_in(self.root) if name not in tuple(Lane)]
        found += [f"{Lane.INBOX}/{name}" for name in _folders_in(self.root / Lane.INBOX)]
        return [each for each in sorted(found) if any(_counts(one.name) for one in scan(self.root / each))]

    # --- showing ---

    def prepare(self) -> None:
        """Make the folders that are missing, and clear away what a writer that was killed left half written."""
        with effect(Effect.QUEUE_WRITE):
            for lane in Lane:
                if not _is_folder(self.root / lane):
                    self._lost[lane] = time.monotonic()
                    ensure_folder(self.root / lane)
            if signature(self.root / ".gitignore") is None:
                write_atomic(self.root / ".gitignore", IGNORE.encode(), sync=False)
        for folder in (_TOP, *_LANES):
            for entry in scan(self.root / folder):
                if entry.is_file and _TEMPORARY.match(entry.name):
                    with effect(Effect.QUEUE_REMOVE):
                        remove(self.root / folder / entry.name)
        self.folders_missing = False

    def clear_torn(self) -> None:
        """Take away files of jobs that a power cut left without content. Call it at a start only.

        What is shown is not flushed, so they are no change of a person's: they are shown again.
        """
        for lane in Lane:
            for entry in scan(self.root / lane):
                if entry.is_file and entry.signature.size == 0 and _SHOWN.match(entry.name):
                    with effect(Effect.QUEUE_REMOVE):
                        remove(self.root / lane / entry.name)
                    self._torn.add((lane, entry.name))

    def recall(self, path: Path, data: bytes, *, id: str, seq: int, must_exist: bool) -> None:
        """Take it that an earlier engine showed `data` at `path`: what differs from it now was changed since.

        A file that is missing counts as changed too, unless it `must_exist`, was torn, or its whole folder was missing.
        """
        spot = self._spot(path)
        if signature(path) is None and (must_exist or spot[0] in self._lost or spot in self._torn):
            self.changed_ids.add(id)
            return
        self._shown[spot] = Shown(id, seq, _signature_if_equal(path, data), _digest(data))

    def show(self, path: Path, data: bytes, *, id: str, seq: int) -> bool:
        """Put `data` at `path`; False, and nothing done, if somebody else's change there has yet to be judged."""
        spot, digest = self._spot(path), _digest(data)
        shown, present = self._shown.get(spot), signature(path)
        if present is None:
            if shown is not None and shown.seq == seq:
                return False
        elif shown is None or shown.signature != present:
            known = _signature_if_equal(path, data)
            if known is None:
                return False
            self._shown[spot] = Shown(id, seq, known, digest)
            return True
        elif shown.digest == digest:
            self._shown[spot] = Shown(id, seq, present, digest)
            return True
        with effect(Effect.QUEUE_WRITE):
            ensure_folder(path.parent)
            write_atomic(path, data, sync=False)
        self._shown[spot] = Shown(id, seq, signature(path), digest)
        return True

    def hide(self, path: Path) -> bool:
        """Take a shown file away; False if somebody changed it, so that the change has yet to be judged."""
        spot = self._spot(path)
        shown = self._shown.get(spot)
        if shown is None:
            return True
        if signature(path) is not None:
            if shown.signature is None:
                return False
            with effect(Effect.QUEUE_REMOVE):
                if not remove_if_unchanged(path, shown.signature) and signature(path) is not None:
                    return False
        del self._shown[spot]
        return True

    def stands(self, path: Path, seq: int) -> bool:
        """Whether a file is where it was shown, as it was shown, in this version."""
        shown = self._shown.get(self._spot(path))
        return shown is not None and shown.seq == seq and shown.signature == signature(path) is not None

    # --- what was judged ---

    def adopt(self, path: Path, expected: Signature, *, id: str) -> bool:
        """A person's change at `path` was dealt with: it may be shown over. False if it was changed again."""
        self.changed_ids.add(id)
        if signature(path) != expected:
            return False
        self._shown[self._spot(path)] = Shown(id, 0, expected, "")
        self.adopted.setdefault(id, set()).add(path)
        return True

    def forget(self, path: Path) -> None:
        """A shown file is no longer there."""
        shown = self._shown.pop(self._spot(path), None)
        if shown is not None:
            self.changed_ids.add(shown.id)

    def leave(self, path: Path, expected: Signature) -> None:
        """A change that is no request yet: it is not reported again until the file changes."""
        self._left[self._spot(path)] = expected

    def claim(self, path: Path, id: str, suffix: str) -> Path:
        """Rename a drop so that its name says which job it becomes. Raises OSError."""
        claimed = path.with_name(f".accept-{id}{suffix}")
        with effect(Effect.DROP_CLAIM):
            move_no_replace(path, claimed)
        return claimed

    def flush(self, folders: set[Path]) -> None:
        """Flush the names in these folders to disk."""
        for folder in folders:
            sync_folder(folder)

    def take(self, path: Path, expected: Signature, *, why: Effect = Effect.DROP_TAKE) -> bool:
        """Take a file away, because the ledger has what it says; False if it was changed meanwhile."""
        with effect(why):
            taken = remove_if_unchanged(path, expected)
        if taken:
            self.forget(path)
        return taken

    def quarantine(self, path: Path, reason: str, *, name: str = "") -> Path:
        """Move whatever `path` names into `rejected/`, under a free name, with the reason beside it. Raises OSError."""
        folder = self.root / Lane.REJECTED
        with effect(Effect.DROP_REJECT):
            ensure_folder(folder)
            target = _move_to_free_name(path, folder, name or path.name)
            _write_why(target, reason)
        self.forget(path)
        return target

    # --- notes ---

    def note(self, path: Path, text: str) -> None:
        """Say something about a file, in words, beside it."""
        with effect(Effect.QUEUE_WRITE):
            ensure_folder(path.parent)
            _write_why(path, text)
        self._notes.add(path)
        self.fresh_notes.add(path)

    def clear_note(self, path: Path) -> None:
        """Remove the note about a file, unless it was written since the jobs were last shown."""
        if path in self._notes and path not in self.fresh_notes:
            with effect(Effect.QUEUE_REMOVE):
                remove(path.with_name(path.name + _WHY))
            self._notes.discard(path)

    def _spot(self, path: Path) -> Spot:
        return (_TOP if path.parent == self.root else path.parent.name, path.name)


def _seen(root: Path, spot: Spot, entry: Entry, shown: Shown | None, still: float) -> Seen:
    claim = _CLAIM.match(entry.name)
    what = Difference.CLAIMED if claim else Difference.NEW if shown is None else Difference.CHANGED
    path, id_ = root / spot[0] / spot[1], claim["id"] if claim else ""
    return Seen(what, _lane(spot[0]), path, entry.signature, entry.is_file, still, shown, id_, entry.was_moved)


def _lane(folder: str) -> Lane:
    return Lane(folder) if folder else Lane.INBOX


def _counts(name: str) -> bool:
    """Whether a name is a person's file, and not an editor's or ours."""
    if name.startswith("."):
        return _CLAIM.match(name) is not None
    return name.lower().endswith(_SUFFIXES) and not name.startswith(("#", "~"))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _folders_in(path: Path) -> list[str]:
    """Its folders, but for an editor's and those that the queue itself moves aside."""
    return [one.name for one in scan(path) if not one.name.startswith((".", "#", "~")) and _is_folder(path / one.name)]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _signature_if_equal(path: Path, data: bytes) -> Signature | None:
    try:
        read = safe_read(path, max_bytes=MAX_SHOWN_BYTES)
    except (InvalidFileError, FileNotFoundError):
        return None
    return read.signature if read.data == data else None


def _move_to_free_name(path: Path, folder: Path, name: str) -> Path:
    stem, dot, suffix = name.rpartition(".")
    stem, suffix = (stem, dot + suffix) if stem else (name, "")
    while len(os.fsencode(stem)) > _LONGEST_NAME:
        stem = stem[:-1]
    number = 1
    while True:
        target = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            move_no_replace(path, target)
        except FileExistsError:
            number += 1
        else:
            return target


def _write_why(path: Path, text: str) -> None:
    data = f"{replace_unsafe(text)}\n".encode("utf-8", "replace")
    write_atomic(path.with_name(path.name + _WHY), data, sync=False)
