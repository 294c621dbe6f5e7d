"""Reading and writing git objects in a repository that is trusted: the ledger's.

Reads go through GitPython's long-lived `cat-file --batch`, or through our own where quickness counts. Writes are loose
objects, made here: a ledger writes some seven small ones per transition, and this is several times as fast as
GitPython's own store (the measurement is in docs/decisions/0002-ledger-objects.md).
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.adapters.git import Git, reading_objects
from orchestrator.errors import LedgerError

TREE_MODE, FILE_MODE = "40000", "100644"
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_TREE_CACHE = 4096


class Entry(NamedTuple):
    """One name in a tree: its mode and the id of what it names."""

    mode: str
    oid: str


Tree = Mapping[str, Entry]


class Objects:
    """The objects of one repository. Used by one thread only; close it with `with opened(...)`."""

    def __init__(self, read: Callable[[str], bytes | None], objects_dir: Path) -> None:
        self._read = read
        self._dir = objects_dir
        self._trees: dict[str, dict[str, Entry]] = {EMPTY_TREE: {}}
        self.written = 0
        """Loose objects written since it was opened."""

    def read(self, oid: str) -> bytes:
        """The content of an object. Raises LedgerError if it does not exist."""
        data = self._read(oid)
        if data is None:
            raise LedgerError(
                f"object {oid} is missing", cause="The repository was damaged, or pruned by hand.", hint="git fsck"
            )
        return data

    def tree(self, oid: str) -> Tree:
        """The entries of a tree by name."""
        known = self._trees.get(oid)
        if known is None:
            known = dict(parse_tree(self.read(oid)))
            if len(self._trees) > _TREE_CACHE:
                self._trees = {EMPTY_TREE: {}}
            self._trees[oid] = known
        return known

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
        """The id of an object with this content, written if it is not there yet. Not flushed."""
        content = b"%s %d\0%s" % (kind.encode(), len(data), data)
        oid = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        folder = self._dir / oid[:2]
        path = folder / oid[2:]
        if path.exists():
            return oid
        temporary = self._dir / f"tmp_obj_{oid[:12]}_{os.getpid()}"
        temporary.write_bytes(zlib.compress(content, 1))
        temporary.chmod(0o444)
        try:
            temporary.rename(path)
        except FileNotFoundError:
            folder.mkdir(exist_ok=True)
            temporary.rename(path)
        self.written += 1
        return oid

    def write_tree(self, entries: Tree) -> str:
        """The id of a tree with these entries."""
        oid = self.write("tree", format_tree(entries)) if entries else EMPTY_TREE
        self._trees.setdefault(oid, dict(entries))
        return oid

    def change_tree(self, root: str, changes: Mapping[str, Entry | None]) -> str:
        """The id of `root` with each path set to an entry, or removed (None). Emptied folders go."""
        below: dict[str, dict[str, Entry | None]] = {}
        entries = dict(self.tree(root))
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
        return self.write_tree(entries)


@contextmanager
def opened(git_dir: Path, objects_dir: Path, *, lean: bool = False) -> Iterator[Objects]:
    """The objects of a trusted repository; its git children end with the block.

    `lean` reads through our own `cat-file`: importing GitPython takes longer than a command that only looks needs.
    """
    if lean:
        with reading_objects(Git(git_dir)) as read:
            yield Objects(read, objects_dir)
        return
    from git import Repo

    with Repo(git_dir) as repo:
        yield Objects(partial(_read_with, repo), objects_dir)


def _read_with(repo: Any, oid: str) -> bytes | None:
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


def parse_tree(data: bytes) -> Iterator[tuple[str, Entry]]:
    """The names and entries of a raw tree."""
    at = 0
    while at < len(data):
        space, zero = data.index(b" ", at), data.index(b"\0", at)
        name = data[space + 1 : zero].decode("utf-8", "surrogateescape")
        yield name, Entry(data[at:space].decode(), data[zero + 1 : zero + 21].hex())
        at = zero + 21


def format_tree(entries: Tree) -> bytes:
    """The raw tree: names in git's order, in which a folder sorts as if it ended with a slash."""

    def order(name: str) -> bytes:
        return name.encode("utf-8", "surrogateescape") + (b"/" if entries[name].mode == TREE_MODE else b"")

    return b"".join(
        b"%s %s\0%s" % (e.mode.encode(), name.encode("utf-8", "surrogateescape"), bytes.fromhex(e.oid))
        for name in sorted(entries, key=order)
        for e in (entries[name],)
    )
