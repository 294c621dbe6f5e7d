"""Reading the ledger's commits to audit them: nothing read here is believed before its content gives its id.

A replaced, grafted or damaged object therefore shows itself, whatever git is told about it. Only reads.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from orchestrator.adapters.job_file import read_job
from orchestrator.adapters.ledger_text import parse_record
from orchestrator.adapters.objects import EMPTY_TREE, TREE_MODE, Entry, Objects, Tree, parse_tree
from orchestrator.core.job import Job
from orchestrator.core.merge import awaits_landing
from orchestrator.core.records import RECORDS
from orchestrator.errors import LedgerError, NotFoundError

T = TypeVar("T")
_STEM = re.compile(r"(attempt|evidence|review|merge|card|routine)-([1-9][0-9]*)\Z")
_IDENTITY = re.compile(r"(?P<name>.*) <(?P<email>[^<>]*)> (?P<seconds>[0-9]+) (?P<zone>[-+][0-9]{4})\Z")
_OPEN = re.compile(r"open/([^/]+)/([^/]+)/(.+)\Z")
_CLOSED = re.compile(r"closed/[0-9]{4}/[0-9]{2}/[0-9]{2}/([^/]+)/([^/]+)/(.+)\Z")
_POINTER = re.compile(r"closed/ids/[^/]+/[^/]+/([^/]+)\Z")
_CACHED = 8192
"""Trees, jobs and records that are kept parsed, each."""
_WAITING_CACHED = 65_536
"""More than the open jobs of a large ledger: of each only a few bytes are kept."""


class BadObjectError(LedgerError):
    """An object whose content does not give its id, or that is not of the kind it is used as."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The author or committer line of a commit."""

    name: str
    email: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of the ledger, parsed."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    author: Identity
    committer: Identity
    subject: str
    trailers: tuple[tuple[str, str], ...]
    rest: str = ""
    """What the message holds besides the subject and the trailers; honest ones hold nothing."""

    @property
    def word(self) -> str:
        """The first word of the subject, which says what happened."""
        return self.subject.partition(":")[0]

    def trailer(self, key: str) -> str | None:
        """A trailer's value; None if there is none."""
        return next((value for name, value in self.trailers if name == key), None)


class Store:
    """The ledger's objects, each checked against its id."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._trees: dict[str, Tree] = {}
        self._jobs: dict[tuple[str, str], Job] = {}
        self._records: dict[str, Any] = {}
        self._waiting: dict[tuple[str, int], frozenset[str]] = {}

    def read(self, kind: str, oid: str) -> bytes:
        """The content of an object. Raises LedgerError without one, BadObjectError for another."""
        data = self.objects.read(oid)
        found = hashlib.sha1(b"%s %d\0%s" % (kind.encode(), len(data), data), usedforsecurity=False).hexdigest()
        if found != oid:
            raise BadObjectError(
                f"object {oid} is not the {kind} that its id stands for",
                cause="It is damaged, or a ref under refs/replace/ stands in for it.",
                hint="git fsck; git replace -l",
            )
        return data

    def tree(self, oid: str) -> Tree:
        """The entries of a tree by name. A name that stands twice raises BadObjectError."""
        known = self._trees.get(oid) if oid != EMPTY_TREE else {}
        if known is None:
            entries = list(parse_tree(self.read("tree", oid)))
            known = dict(entries)
            if len(known) != len(entries):
                raise BadObjectError(f"a name stands twice in tree {oid}")
            _make_room(self._trees, _CACHED)
            self._trees[oid] = known
        return known

    def find(self, root: str, path: str) -> Entry | None:
        """What `path` names below the tree `root`, or None."""
        entry = Entry(TREE_MODE, root)
        for name in path.split("/"):
            below = self.tree(entry.oid).get(name) if entry.mode == TREE_MODE else None
            if below is None:
                return None
            entry = below
        return entry

    def commit(self, oid: str) -> Commit:
        """A commit by its id."""
        return parse_commit(oid, self.read("commit", oid))

    def job(self, entry: Entry, name: str) -> Job:
        """The job that a job file of the ledger holds. Raises OrcError."""
        key = (entry.oid, name)
        if key not in self._jobs:
            _make_room(self._jobs, _CACHED)
            self._jobs[key] = read_job(self.read("blob", entry.oid), name=name)
        return self._jobs[key]

    def waiting(self, oid: str, depth: int = 2) -> frozenset[str]:
        """The merges that wait to land: below the tree of `open/`, of a bucket (depth 1), or of a job (depth 0).

        Raises OrcError.
        """
        known = self._waiting.get((oid, depth))
        if known is None:
            if depth:
                known = frozenset().union(*(self.waiting(each.oid, depth - 1) for each in self.tree(oid).values()))
            else:
                job = Records(self, entries=self.tree(oid)).job()
                known = frozenset({job.at.merged}) if job is not None and awaits_landing(job) else frozenset()
            _make_room(self._waiting, _WAITING_CACHED)
            self._waiting[(oid, depth)] = known
        return known

    def record(self, kind: type[T], entry: Entry, path: str) -> T:
        """A record of the ledger. Raises LedgerError."""
        found = self._records.get(entry.oid)
        if not isinstance(found, kind):
            _make_room(self._records, _CACHED)
            found = self._records[entry.oid] = parse_record(kind, self.read("blob", entry.oid), path)
        return found

    def changes(self, old: str, new: str, prefix: str = "") -> Iterator[tuple[str, Entry | None, Entry | None]]:
        """Every file that differs between two trees: (path, before, after). Only what differs is read."""
        if old == new:
            return
        was, now = self.tree(old), self.tree(new)
        for name in sorted(was.keys() | now.keys()):
            before, after = was.get(name), now.get(name)
            if before == after:
                continue
            old_tree, old_file = _either(before)
            new_tree, new_file = _either(after)
            path = prefix + name
            if old_file or new_file:
                yield path, old_file, new_file
            yield from self.changes(old_tree, new_tree, path + "/")


def _make_room(cache: dict[Any, Any], most: int) -> None:
    """Forget the older half of a full cache: what is asked for next is mostly what was read last."""
    if len(cache) >= most:
        for key in list(islice(cache, most // 2)):
            del cache[key]


def _either(entry: Entry | None) -> tuple[str, Entry | None]:
    if entry is None:
        return EMPTY_TREE, None
    return (entry.oid, None) if entry.mode == TREE_MODE else (EMPTY_TREE, entry)


@dataclass(frozen=True, slots=True)
class Records:
    """A job's folder at one commit."""

    store: Store
    path: str = ""
    entries: Mapping[str, Entry] = field(default_factory=dict)

    def get(self, kind: type[T], number: int) -> T | None:
        """The record of a kind with a number, or None. Raises LedgerError if it cannot be read."""
        stem = f"{next(name for name, each in RECORDS.items() if each is kind)}-{number}"
        entry = self.entries.get(f"{stem}.yaml")
        return None if entry is None else self.store.record(kind, entry, f"{self.path}/{stem}.yaml")

    def job(self) -> Job | None:
        """The job; None if the folder has no job file, or more than one."""
        names = [name for name in ("job.yaml", "job.md") if name in self.entries]
        return self.store.job(self.entries[names[0]], names[0]) if len(names) == 1 else None


def record_of(name: str) -> tuple[str, int] | None:
    """`review-2.yaml` → ("review", 2); None for a file that is not a record."""
    found = _STEM.match(name.removesuffix(".yaml")) if name.endswith(".yaml") else None
    return (found[1], int(found[2])) if found else None


def owner_of(path: str) -> tuple[str, str, str]:
    """(job, folder, name in it) for a path of a job; a pointer has no name; ("", "", "") for any other path."""
    if found := _POINTER.match(path):
        return found[1], "", ""
    for pattern in (_OPEN, _CLOSED):
        if found := pattern.match(path):
            return found[2], path[: -len(found[3]) - 1], found[3]
    return "", "", ""


def pointer_path(id_: str) -> str:
    """Where the ledger says in which folder an ended job lies."""
    return f"closed/ids/{id_[-8:-6]}/{id_[-6:-4]}/{id_}"


def parse_commit(oid: str, data: bytes) -> Commit:
    """A raw commit. Raises BadObjectError if it has not the form that the ledger writes."""
    head, _, message = data.decode("utf-8", "replace").partition("\n\n")
    headers = [line.partition(" ")[::2] for line in head.split("\n")]
    values: dict[str, list[str]] = {}
    for key, value in headers:
        values.setdefault(key, []).append(value)
    if set(values) - {"tree", "parent", "author", "committer"} or any(
        len(values.get(key, ())) != 1 for key in ("tree", "author", "committer")
    ):
        raise BadObjectError(f"commit {oid} has not the form that the ledger writes")
    subject, _, body = message.partition("\n")
    trailers, rest = _split_body(body)
    author, committer = (_identity(oid, values[key][0]) for key in ("author", "committer"))
    return Commit(
        oid, values["tree"][0], tuple(values.get("parent", ())), author, committer, subject, tuple(trailers), rest
    )


def _split_body(body: str) -> tuple[list[tuple[str, str]], str]:
    trailers, rest = [], []
    for line in body.split("\n"):
        key, colon, value = line.partition(": ")
        if colon and re.fullmatch(r"[A-Z][A-Za-z0-9-]*", key):
            trailers.append((key, value))
        elif line.strip():
            rest.append(line)
    return trailers, "\n".join(rest)


def _identity(oid: str, text: str) -> Identity:
    found = _IDENTITY.match(text)
    if found is None:
        raise BadObjectError(f"commit {oid} has an author or committer of a form that the ledger does not write")
    return Identity(found["name"], found["email"], int(found["seconds"]))


def lineage(store: Store, tip: str, since: str | None) -> Iterable[str]:
    """The ids from `tip` back along first parents to the root, or to `since` (left out). Newest first.

    Raises LedgerError where a commit is missing, NotFoundError if `since` is not among them.
    """
    at: str | None = tip
    while at is not None and at != since:
        yield at
        head = store.read("commit", at).partition(b"\n\n")[0]
        parents = [line[7:].decode() for line in head.split(b"\n") if line.startswith(b"parent ")]
        at = parents[0] if parents else None
    if since is not None and at is None:
        raise NotFoundError(f"{since[:12]} is not a commit of the ledger", hint="git log orc/state")
