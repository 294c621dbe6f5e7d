"""Reading and writing git objects in a repository that is trusted: the ledger's.

Reads go through GitPython's long-lived `cat-file --batch`, or through our own where quickness counts. Few objects are
written as loose ones, made here: a ledger writes some seven small ones per transition, and this is several times as
fast as GitPython's own store. Many go into one pack (the measurements are in docs/decisions/0002-ledger-objects.md).
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.adapters.files import remove, sync_filesystem
from orchestrator.adapters.git import Git, reading
from orchestrator.errors import LedgerError

TREE_MODE, FILE_MODE = "40000", "100644"
_MODES = {each.encode(): each for each in (TREE_MODE, FILE_MODE)}
"""One string for all entries."""
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_TREE_ENTRIES = 12_288
"""So many entries of trees are kept in memory, at most some 3 MB: those that a step goes through, and wide ones.

One that is asked for again is read from its file in some 50 µs, so those of jobs that wait, or have ended, may go.
"""
PACKED_FROM = 150
"""So many objects that are written at once become one pack: one file to make and to flush, instead of as many."""
_KEPT, _KEPT_BYTES = 256, 8192
_NEW_OBJECT = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_PACK_TYPES = {"commit": 1, "tree": 2, "blob": 3}


class Entry(NamedTuple):
    """One name in a tree: its mode and the id of what it names."""

    mode: str
    oid: str


Tree = Mapping[str, Entry]


class Objects:
    """The objects of one repository. Used by one thread only; close it with `with opened(...)`."""

    def __init__(
        self,
        read: Callable[[str], bytes | None],
        read_many: Callable[[Sequence[str]], Iterable[bytes | None]],
        git: Git,
    ) -> None:
        self._read = read
        self._read_many = read_many
        self._git = git
        self._dir = git.git_dir / "objects"
        self._trees: dict[str, dict[str, Entry]] = {}
        self._entries = 0
        self._trim_at = _TREE_ENTRIES
        self._pending: dict[str, tuple[str, bytes]] = {}
        self._ahead: dict[str, bytes] = {}
        self._kept: dict[str, bytes] = {}

    def read_ahead(self, oids: Iterable[str]) -> None:
        """Read objects that are wanted next all at once, which is quicker than one by one."""
        wanted = [oid for oid in oids if oid not in self._trees and oid not in self._pending]
        found = self._read_many(wanted) if wanted else ()
        self._ahead = {oid: data for oid, data in zip(wanted, found, strict=True) if data is not None}

    def read(self, oid: str) -> bytes:
        """The content of an object. Raises LedgerError if it does not exist."""
        if oid in self._pending:
            return self._pending[oid][1]
        data = self._ahead.pop(oid, None) or self._kept.get(oid)
        if data is None:
            data = self._read(oid)
            if data is not None:
                self._keep(oid, data)
        if data is None:
            raise LedgerError(
                f"object {oid} is missing", cause="The repository was damaged, or pruned by hand.", hint="git fsck"
            )
        return data

    def _keep(self, oid: str, data: bytes) -> None:
        """What was read or written last is often read again; it can never have changed."""
        if len(data) <= _KEPT_BYTES:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[oid] = data

    def tree(self, oid: str) -> Tree:
        """The entries of a tree by name."""
        known = self._trees.pop(oid, None) if oid != EMPTY_TREE else {}
        if known is None:
            known = dict(parse_tree(self.read(oid)))
            self._remember(oid, known)
        elif known:
            # Put back at the end: what was asked for last is forgotten last.
            self._trees[oid] = known
        return known

    def _remember(self, oid: str, entries: dict[str, Entry]) -> None:
        """Keep a tree in memory, and when there are too many forget others."""
        if self._entries + len(entries) > self._trim_at:
            self._trim()
        self._trees[oid] = entries
        self._entries += len(entries)

    def _trim(self) -> None:
        """Forget the trees that nobody asked for longest. Those not yet stored stay."""
        for old in [each for each in self._trees if each not in self._pending]:
            if self._entries <= _TREE_ENTRIES // 2:
                break
            self._entries -= len(self._trees.pop(old))
        # What had to stay is not looked through again for each tree that is added.
        self._trim_at = max(_TREE_ENTRIES, 2 * self._entries)

    def find(self, tree: str, path: str) -> Entry | None:
        """What `path` names below `tree`, or None."""
        entry = Entry(TREE_MODE, tree)
        for name in path.split("/"):
            if entry.mode != TREE_MODE:
                return None
            below = self.tree(entry.oid).get(name)
            if below is None:
                return None
            entry = below
        return entry

    def write(self, kind: str, data: bytes) -> str:
        """The id of an object with this content. It is kept in memory until `store`."""
        oid = _id_of(kind, data)
        self._pending[oid] = (kind, data)
        return oid

    def forget(self) -> None:
        """Drop what was written since the last `store`."""
        for oid in self._pending:
            self._entries -= len(self._trees.pop(oid, ()))
        self._pending.clear()
        self._trim_at = max(_TREE_ENTRIES, 2 * self._entries)

    def store(self) -> None:
        """Put what was written into the repository, where it is not there yet, and flush it. Raises OrcError, OSError.

        After an error it is pending still, and not in the repository.
        """
        made: list[Path] = []
        try:
            if len(self._pending) >= PACKED_FROM:
                self._store_pack(made)
            else:
                for oid, (kind, data) in self._pending.items():
                    self._store_loose(oid, kind, data, made)
            sync_filesystem(self._git.git_dir)
        except BaseException:
            # After a failed flush a file can be read back well and yet not be on disk, and a later flush does not tell.
            # So nobody may find these and take them for stored: who needs them writes them anew.
            for path in made:
                with suppress(OSError):
                    remove(path)
            raise
        for oid, (kind, data) in self._pending.items():
            if kind == "blob":
                self._keep(oid, data)
        self._pending.clear()
        if self._entries > _TREE_ENTRIES:
            self._trim()

    def _store_pack(self, made: list[Path]) -> None:
        said = self._git.run("index-pack", "--stdin", stdin=_pack(list(self._pending.values()))).out
        # The index comes first, as no index may be without its pack.
        made += sorted((self._dir / "pack").glob(f"pack-{said.decode().split()[-1]}.*"))

    def _store_loose(self, oid: str, kind: str, data: bytes, made: list[Path]) -> None:
        folder = self._dir / oid[:2]
        path = folder / oid[2:]
        if path.exists() and _holds(path, _headed(kind, data)):
            return
        # In the folder that it stays in, as git does it. A file system puts new files near those of the same folder: in
        # one folder for all, each had to be put farther away, and making a file came to take thirty times as long.
        temporary = folder / f"tmp_obj_{os.urandom(6).hex()}"
        try:
            handle = os.open(temporary, _NEW_OBJECT, 0o444)
        except FileNotFoundError:
            folder.mkdir(exist_ok=True)
            handle = os.open(temporary, _NEW_OBJECT, 0o444)
        with open(handle, "wb") as file:
            file.write(zlib.compress(_headed(kind, data), 1))
        temporary.rename(path)
        made.append(path)

    def write_tree(self, entries: Tree) -> str:
        """The id of a tree with these entries."""
        return self._write_tree(in_order(entries))

    def _write_tree(self, entries: dict[str, Entry]) -> str:
        if not entries:
            return EMPTY_TREE
        data = format_tree(entries)
        oid = _id_of("tree", data)
        if oid not in self._trees:
            self._pending[oid] = ("tree", data)
            self._remember(oid, entries)
        return oid

    def change_tree(self, root: str, changes: Mapping[str, Entry | None]) -> str:
        """The id of `root` with each path set to an entry, or removed (None). Emptied folders go."""
        below: dict[str, dict[str, Entry | None]] = {}
        before = self.tree(root)
        entries = dict(before)
        for path, entry in changes.items():
            name, _, rest = path.partition("/")
            if rest:
                below.setdefault(name, {})[rest] = entry
            elif entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry
        for name, inner in below.items():
            known = entries.get(name)
            start = known.oid if known is not None and known.mode == TREE_MODE else EMPTY_TREE
            changed = self.change_tree(start, inner)
            if changed == EMPTY_TREE:
                entries.pop(name, None)
            else:
                entries[name] = Entry(TREE_MODE, changed)
        # What is only replaced stays where it is in the order.
        touched = {path.partition("/")[0] for path in changes} & entries.keys()
        is_ordered = all(name in before and before[name].mode == entries[name].mode for name in touched)
        return self._write_tree(entries if is_ordered else in_order(entries))


@contextmanager
def opened(git_dir: Path, *, lean: bool = False) -> Iterator[Objects]:
    """The objects of a trusted repository; its git children end with the block.

    `lean` reads through our own `cat-file`: importing GitPython takes longer than a command that only looks needs.
    """
    git = Git(git_dir)
    with reading(git) as quick:
        assert quick.reader is not None
        many = quick.reader.contents
        if lean:
            yield Objects(lambda oid: many([oid])[0], many, git)
            return
        from git import Repo

        with Repo(git_dir) as repo:
            yield Objects(partial(_read_one, repo), many, git)


def _read_one(repo: Any, oid: str) -> bytes | None:
    from gitdb.exc import BadObject  # type: ignore[import-untyped]

    for is_last in (False, True):
        try:
            return bytes(repo.odb.stream(bytes.fromhex(oid)).read())
        except BadObject:
            return None
        except (BrokenPipeError, ValueError):
            # Its child got the Ctrl-C that was meant for us. A new one is started for the second try.
            repo.git.clear_cache()
            if is_last:
                raise
    return None


def _holds(path: Path, content: bytes) -> bool:
    """Whether a loose object is whole: a power cut before the flush may leave its name without its content."""
    try:
        return zlib.decompress(path.read_bytes()) == content
    except (OSError, zlib.error):
        return False


def _headed(kind: str, data: bytes) -> bytes:
    return b"%s %d\0%s" % (kind.encode(), len(data), data)


def _id_of(kind: str, data: bytes) -> str:
    return hashlib.sha1(_headed(kind, data), usedforsecurity=False).hexdigest()


def _pack(objects: Sequence[tuple[str, bytes]]) -> bytes:
    """A pack of whole objects (gitformat-pack, version 2); git makes its index, and looks at every object."""
    parts = [struct.pack(">4sII", b"PACK", 2, len(objects))]
    for kind, data in objects:
        size = len(data)
        byte, size = _PACK_TYPES[kind] << 4 | size & 15, size >> 4
        while size:
            parts.append(bytes((byte | 0x80,)))
            byte, size = size & 0x7F, size >> 7
        parts += [bytes((byte,)), zlib.compress(data, 1)]
    pack = b"".join(parts)
    return pack + hashlib.sha1(pack, usedforsecurity=False).digest()


def parse_tree(data: bytes) -> Iterator[tuple[str, Entry]]:
    """The names and entries of a raw tree."""
    at = 0
    while at < len(data):
        space, zero = data.index(b" ", at), data.index(b"\0", at)
        name = data[space + 1 : zero].decode("utf-8", "surrogateescape")
        mode = _MODES.get(raw := data[at:space]) or raw.decode()
        yield name, Entry(mode, data[zero + 1 : zero + 21].hex())
        at = zero + 21


def format_tree(entries: Tree) -> bytes:
    """The raw tree of entries that are in order: see `in_order`."""
    return b"".join([_line(name, entry) for name, entry in entries.items()])


def in_order(entries: Tree) -> dict[str, Entry]:
    """The entries as git sorts them: by the bytes of their names, a folder's as if it ended with a slash."""

    def order(name: str) -> bytes:
        return name.encode("utf-8", "surrogateescape") + (b"/" if entries[name].mode == TREE_MODE else b"")

    return {name: entries[name] for name in sorted(entries, key=order)}


# Of a folder with hundreds of entries, one changes at each step.
@lru_cache(maxsize=2048)
def _line(name: str, entry: Entry) -> bytes:
    return b"%s %s\0%s" % (entry.mode.encode(), name.encode("utf-8", "surrogateescape"), bytes.fromhex(entry.oid))
