"""A workspace whose ledger holds very many ended jobs, made in minutes and kept for the next benchmark.

One real job runs through the real engine. Its commits are then repeated for other ids, with the trees that the ledger's
own code would have written for each, straight into a pack: `python -m benchmarks.ledger_maker --jobs N --cache DIR`.
The records of a job keep the words of the first one; the file `job.yaml` of each ended job is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import secrets
import shutil
import struct
import subprocess
import sys
import time
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.result import Options
from benchmarks.world import (
    ADA,
    EngineProcess,
    drop,
    ended,
    git,
    make_workspace,
    orc_argv,
    orc_environment,
    run,
    temporary_folder,
    wait_until,
)
from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.ledger import REF
from orchestrator.adapters.ledger_paths import closed_path
from orchestrator.adapters.objects import parse_tree
from orchestrator.core.accept import accept
from orchestrator.core.job import Priority
from orchestrator.core.times import iso
from orchestrator.core.transitions import Move
from orchestrator.engine.upkeep import pack, write_graph
from orchestrator.engine.workspace import Workspace, open_workspace

DAYS = 100
NAME = "sample-00000"
KINDS = {"commit": 1, "tree": 2, "blob": 3}
OFS_DELTA = 6
DEEPEST = 50
"""Longest chain of deltas, which is git's own default."""
FORM = 3
"""Counted up when what is made changes, so that no old one is taken from the cache."""


def ledger_of(options: Options, jobs: int) -> Path:
    """The workspace with so many ended jobs, from the cache or made. It must not be changed: take `copy_of`."""
    place = options.cache / f"ledger-{FORM}-{jobs}"
    if not (place / ".git" / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        print(f"    making a ledger of {jobs} ended jobs ...", file=sys.stderr, flush=True)
        begin = time.monotonic()
        make_ledger(place, jobs)
        print(f"    made in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return place


@contextmanager
def copy_of(workspace: Path) -> Iterator[Path]:
    """A copy to be changed. Packs are shared as hard links: git never writes to one."""
    with temporary_folder("copy") as folder:
        root = folder / "project"

        def copy(source: str, target: str) -> str:
            if source.endswith((".pack", ".idx", ".rev", ".graph")):
                try:
                    os.link(source, target)
                    return target
                except OSError:
                    pass  # Another file system.
            return str(shutil.copy2(source, target))

        shutil.copytree(workspace, root, copy_function=copy, symlinks=True)
        yield root


def make_ledger(root: Path, jobs: int) -> None:
    """Make the workspace, run one job in it, repeat it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    make_workspace(root, 10)
    with EngineProcess(root) as engine:
        engine.wait_for_start()
        drop(root, NAME)
        wait_until(lambda: ended(root, NAME), seconds=60, what="the end of the first job")
        engine.wait_for_rest()
    template = read_template(root)
    pack = root / ".git" / "objects" / "pack" / "tmp_bench.pack"
    tip = write_pack(pack, template, jobs)
    name = run(["git", "index-pack", str(pack)], root).split()[-1]
    for suffix in ("pack", "idx", "rev"):
        made = pack.with_suffix(f".{suffix}")
        if made.exists():
            made.rename(pack.with_name(f"pack-{name}.{suffix}"))
    git(root, "update-ref", REF, tip)
    _write_graph(root, tip)
    (root / ".git" / "made").touch()


def _write_graph(root: Path, tip: str) -> None:
    argv = ["git", "commit-graph", "write", "--stdin-commits", "--changed-paths", "--split=replace"]
    run(argv, root, stdin=f"{tip}\n")


# --- the job that is repeated ---


@dataclass(frozen=True, slots=True)
class Step:
    """One commit of the job: its text without the ids of tree and parent, and the job's folder after it."""

    message: bytes
    author: bytes
    entries: tuple[tuple[bytes, bytes, bytes], ...]
    """Mode, name and id of each file, in git's order."""


@dataclass(frozen=True, slots=True)
class Template:
    """A job from beginning to end, and what else lies in the ledger."""

    id: str
    tip: str
    steps: tuple[Step, ...]
    root: tuple[tuple[bytes, bytes, bytes], ...]
    job_file: bytes
    since: str


def read_template(root: Path) -> Template:
    """The only job of a ledger."""
    tip = git(root, "rev-parse", REF)
    rows = git(root, "log", "--reverse", "--format=%H %(trailers:key=Job,valueonly,separator=)", REF).splitlines()
    commits = [row.split(" ", 1)[0] for row in rows if NAME in row]
    id_ = next(row.split(" ", 1)[1] for row in rows if NAME in row)
    steps = []
    for commit in commits:
        head, _, message = _object(root, "commit", commit).partition(b"\n\n")
        author = next(line for line in head.splitlines() if line.startswith(b"author ")).rsplit(b" ", 2)[0]
        listed = git(root, "ls-tree", "-r", "-d", commit).splitlines()
        folder = next(line.split()[2] for line in listed if line.endswith(f"/{id_}"))
        steps.append(Step(message, author, tuple(_entries(_object(root, "tree", folder)))))
    final = next(oid for _, name, oid in steps[-1].entries if name == b"job.yaml")
    job_file = _object(root, "blob", final.hex())
    since = next(line.split()[1] for line in job_file.decode().splitlines() if line.strip().startswith("since:"))
    everything = _entries(_object(root, "tree", f"{tip}^{{tree}}"))
    others = tuple(each for each in everything if each[1] not in (b"open", b"closed"))
    return Template(id_, tip, tuple(steps), others, job_file, since.strip("'\""))


def _object(root: Path, kind: str, name: str) -> bytes:
    return subprocess.run(["git", "cat-file", kind, name], cwd=root, capture_output=True, check=True).stdout


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    for name, entry in parse_tree(data):
        yield entry.mode.encode(), name.encode(), bytes.fromhex(entry.oid)


# --- a pack, written by hand ---


class PackWriter:
    """Writes objects one after another; the count and the checksum are put right at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=1 << 20)
        self._file.write(b"PACK" + struct.pack(">II", 2, 0))
        self.offset, self.count = 12, 0

    def add(self, kind: str, data: bytes) -> bytes:
        """Write an object; its id."""
        oid = hashlib.sha1(b"%s %d\0%s" % (kind.encode(), len(data), data), usedforsecurity=False).digest()
        self._write(_header(KINDS[kind], len(data)) + zlib.compress(data, 1))
        return oid

    def add_delta(self, data: bytes, delta: bytes, base: int) -> bytes:
        """Write a tree as a difference from the object at `base`; its id."""
        oid = hashlib.sha1(b"tree %d\0%s" % (len(data), data), usedforsecurity=False).digest()
        self._write(_header(OFS_DELTA, len(delta)) + _back(self.offset - base) + zlib.compress(delta, 1))
        return oid

    def _write(self, record: bytes) -> None:
        self._file.write(record)
        self.offset += len(record)
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        self._file.seek(8)
        self._file.write(struct.pack(">I", self.count))
        self._file.close()
        digest = hashlib.sha1(usedforsecurity=False)
        with self._path.open("r+b") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
            file.write(digest.digest())


def _header(kind: int, size: int) -> bytes:
    byte, size, out = (kind << 4) | (size & 15), size >> 4, bytearray()
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)


def _back(distance: int) -> bytes:
    out = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        out.append(0x80 | (distance & 0x7F))
    return bytes(reversed(out))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _copy(offset: int, size: int) -> bytes:
    if not size:
        return b""
    code, rest = 0x80, bytearray()
    for bit in range(4):
        if byte := (offset >> (8 * bit)) & 0xFF:
            code |= 1 << bit
            rest.append(byte)
    for bit in range(3):
        if byte := (size >> (8 * bit)) & 0xFF:
            code |= 0x10 << bit
            rest.append(byte)
    return bytes([code]) + bytes(rest)


@dataclass(slots=True)
class GrowingTree:
    """A tree in which one entry changes at a time: each version is a delta from the one before, as git packs it."""

    names: list[bytes] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    _data: bytes = b""
    _offset: int = 0
    _depth: int = DEEPEST

    def put(self, pack: PackWriter, mode: bytes, name: bytes, oid: bytes) -> bytes:
        """Set an entry and write the new version; its id."""
        part = b"%s %s\0%s" % (mode, name, oid)
        at = bisect_left(self.names, name)
        start = sum(map(len, self.parts[:at])) if at else 0
        old = 0
        if at < len(self.names) and self.names[at] == name:
            old, self.parts[at] = len(self.parts[at]), part
        else:
            self.names.insert(at, name)
            self.parts.insert(at, part)
        before, data = self._data, b"".join(self.parts)
        offset = pack.offset
        if self._depth >= DEEPEST or len(before) < 300:
            made, self._depth = pack.add("tree", data), 0
        else:
            delta = _varint(len(before)) + _varint(len(data)) + _copy(0, start) + bytes([len(part)]) + part
            delta += _copy(start + old, len(before) - start - old)
            made, self._depth = pack.add_delta(data, delta, self._offset), self._depth + 1
        self._data, self._offset = data, offset
        return made


# --- repeating ---


@dataclass(slots=True)
class Repeater:
    """Writes one job after another."""

    pack: PackWriter
    template: Template
    tip: bytes
    closed: GrowingTree = field(default_factory=GrowingTree)
    ids: GrowingTree = field(default_factory=GrowingTree)
    id_folders: dict[bytes, GrowingTree] = field(default_factory=dict)
    id_leaves: dict[bytes, GrowingTree] = field(default_factory=dict)
    folders: dict[str, GrowingTree] = field(default_factory=dict)
    _closed_oid: bytes = b""
    _step_trees: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The folders of the steps before the last are the same for all: their files are the first job's.
        for step in self.template.steps[:-1]:
            data = b"".join(b"%s %s\0%s" % each for each in step.entries)
            self._step_trees.append(self.pack.add("tree", data))

    def write_job(self, id_: str, when: datetime) -> None:
        """One job, with its end at `when` and its steps a second apart."""
        steps = self.template.steps
        first = when - timedelta(seconds=len(steps) - 1)
        name, bucket = id_.encode(), id_[-8:-6].encode()
        for number, step in enumerate(steps[:-1]):
            folder = self.pack.add("tree", b"40000 %s\0%s" % (name, self._step_trees[number]))
            opened = self.pack.add("tree", b"40000 %s\0%s" % (bucket, folder))
            self._commit(step, id_, first + timedelta(seconds=number), opened)
        self._close(id_, name, bucket, when)
        self._commit(steps[-1], id_, when, None)

    def _close(self, id_: str, name: bytes, bucket: bytes, when: datetime) -> None:
        pack, template = self.pack, self.template
        text = template.job_file.replace(template.id.encode(), name).replace(
            template.since.encode(), iso(when).encode()
        )
        blob = pack.add("blob", text)
        entries = [(mode, file, blob if file == b"job.yaml" else oid) for mode, file, oid in template.steps[-1].entries]
        folder = pack.add("tree", b"".join(b"%s %s\0%s" % each for each in entries))
        path = closed_path(id_, when)
        pointer = pack.add("blob", f"{path}\n".encode())
        parts = path.split("/")  # closed, year, month, day, bucket, id
        oid = folder
        for depth in range(5, 1, -1):
            tree = self.folders.setdefault("/".join(parts[:depth]), GrowingTree())
            oid = tree.put(pack, b"40000", parts[depth].encode(), oid)
        year = oid
        low, high = name[-8:-6], name[-6:-4]
        leaf = self.id_leaves.setdefault(low + high, GrowingTree()).put(pack, b"100644", name, pointer)
        middle = self.id_folders.setdefault(low, GrowingTree()).put(pack, b"40000", high, leaf)
        ids = self.ids.put(pack, b"40000", low, middle)
        self.closed.put(pack, b"40000", parts[1].encode(), year)
        self._closed_oid = self.closed.put(pack, b"40000", b"ids", ids)

    def _commit(self, step: Step, id_: str, when: datetime, opened: bytes | None) -> None:
        entries = list(self.template.root)
        if self._closed_oid:
            entries.append((b"40000", b"closed", self._closed_oid))
        if opened is not None:
            entries.append((b"40000", b"open", opened))
        entries.sort(key=lambda each: each[1] + (b"/" if each[0] == b"40000" else b""))
        root = self.pack.add("tree", b"".join(b"%s %s\0%s" % each for each in entries))
        seconds = b"%d +0000" % when.timestamp()
        head = b"tree %s\nparent %s\n%s %s\ncommitter orc <engine@orc.invalid> %s\n\n"
        text = head % (root.hex().encode(), self.tip.hex().encode(), step.author, seconds, seconds)
        self.tip = self.pack.add("commit", text + step.message.replace(self.template.id.encode(), id_.encode()))


def write_pack(path: Path, template: Template, jobs: int) -> str:
    """Repeat the job; the new tip. The first job itself is left out: its folder would be open to doubt."""
    chance = random.Random(20_260_101)
    pack = PackWriter(path)
    repeater = Repeater(pack, template, bytes.fromhex(template.tip))
    begin = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    pause = timedelta(days=DAYS) / jobs
    for number in range(jobs):
        id_ = f"sample-{number:05d}-{chance.getrandbits(32):08x}"
        when = (begin + pause * number).replace(microsecond=0) + timedelta(seconds=30)
        repeater.write_job(id_, when)
    pack.close()
    return repeater.tip.hex()


def some_id(root: Path) -> str:
    """The id of an ended job from the middle of a ledger that was made here."""
    paths = git(root, "ls-tree", "--name-only", "-r", f"{REF}:closed/ids").splitlines()
    names = sorted(path.rpartition("/")[2] for path in paths)
    return names[len(names) // 2]


WAITING = "title: Wait for a day\nprompt: |\n  Do what is to be done on that day.\nnot_before: 2099-01-01\n"
BATCH = 500


def accept_moves(ws: Workspace, count: int, text: str, name: str = "waiting") -> list[Move]:
    """The steps that make so many new jobs of one text, each with a key of its own."""
    spec = parse_job(text.encode(), name="job.yaml").spec
    keys = {"markdown": False, "source": "bench", "actor": ADA, "priority": Priority.P2, "project": "main"}
    ids = [f"{name}-{secrets.token_hex(4)}" for _ in range(count)]
    texts = {id_: (f"{text}dedup_key: {id_}\n", replace(spec, dedup_key=id_)) for id_ in ids}
    return [accept(*each, id_=id_, now=ws.stamp(), **keys) for id_, each in texts.items()]  # type: ignore[arg-type]


def add_waiting(root: Path, count: int) -> None:
    """Put jobs on the ledger that wait for a day far away, let the engine take them in, and pack as it does."""
    with open_workspace(root) as ws:
        moves = accept_moves(ws, count, WAITING)
        for first in range(0, count, BATCH):
            ws.commit(moves[first : first + BATCH])
    run(orc_argv("run", "--until-idle", "--quiet"), root, env=orc_environment(), codes=(0, 1))
    with open_workspace(root) as ws:
        pack(ws.ledger.git)
        write_graph(ws.ledger.git)


def waiting_ledger_of(options: Options, jobs: int, waiting: int) -> Path:
    """The same as `ledger_of` with open jobs on top."""
    place = options.cache / f"ledger-{FORM}-{jobs}-{waiting}"
    if not (place / ".git" / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        if jobs:
            with copy_of(ledger_of(options, jobs)) as copy:
                add_waiting(copy, waiting)
                _keep(copy, place)
        else:
            with temporary_folder("waiting") as folder:
                add_waiting(make_workspace(folder / "project", 10), waiting)
                _keep(folder / "project", place)
    return place


def _keep(made: Path, place: Path) -> None:
    (made / ".git" / "made").touch()
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, place)


def main() -> None:
    """Make one by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--cache", type=Path, default=Options().cache)
    args = parser.parse_args()
    print(ledger_of(Options(cache=args.cache), args.jobs))


if __name__ == "__main__":
    main()
