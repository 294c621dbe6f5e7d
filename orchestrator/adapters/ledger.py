"""The ledger: the branch `orc/state`, on which every step of every job is a commit. Nothing else holds the truth.

Built from memory, never checked out. A writer takes the short lock, reads the tip again, checks that each job still
stands where the step was decided, writes the objects, flushes them, moves the ref with its old value, and only then
acknowledges. What lives lies under `open/`; when a job ends its folder moves to `closed/`, so that a step costs the
same after a hundred thousand jobs as after ten.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from orchestrator.adapters import clock
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import (
    ensure_folder,
    free_lock_of,
    move_no_replace,
    swap_through_lock,
    sync_folder,
)
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import RefMovedError, update_ref
from orchestrator.adapters.job_file import read_job
from orchestrator.adapters.ledger_paths import JOB_FILES, closed_path, open_path, pointer_path
from orchestrator.adapters.ledger_snapshot import Ended, Folder, Snapshot
from orchestrator.adapters.ledger_text import format_commit, format_job, format_record, one_line, parse_record
from orchestrator.adapters.mirrors import hold_lease
from orchestrator.adapters.objects import EMPTY_TREE, FILE_MODE, TREE_MODE, Entry, Objects, Tree, opened
from orchestrator.adapters.spans import span
from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.board import IN_BACKLOG
from orchestrator.core.job import Job, Lane
from orchestrator.core.times import parse
from orchestrator.core.transitions import ENGINE, Actor, Move
from orchestrator.errors import LedgerError, NotFoundError

REF = "refs/heads/orc/state"
LOCK_TIMEOUT_S = 30.0
STALE_LOCK_S = 5.0
"""Age of a lock of the ref behind which nobody is alive: of ours none can be, and another git holds one for moments."""
_STEPS = 64
_STANDING = re.compile(
    rb"\A[^\0]*\n# --- below this line orc writes[^\n]*\norc:\n"
    rb"(?:  [^\n]*\n)*?  state: ([a-z]+)\n(?:  [^\n]*\n)*?  since: \"([-0-9T:.Z]+)\"\n"
)
"""The state of a job and since when it is in it, in the block that orc writes itself."""
FORMAT = 1
_OID = re.compile(r"[0-9a-f]{40}")
T = TypeVar("T")


class Ledger:
    """The ledger of one workspace. One thread only; open it with `open_ledger`."""

    def __init__(self, git: Git, objects: Objects, orcdir: Path) -> None:
        self.git = git
        self.objects = objects
        self._orcdir = orcdir
        self._known: Snapshot | None = None
        self._steps: deque[tuple[str, frozenset[str]]] = deque(maxlen=_STEPS)
        """The tip before each of the last snapshots, and the jobs that differed in it."""
        self._flushed: dict[Path, int] = {}
        """Folders above the ref, with the time of their last change that is known to be on disk."""

    def tip(self) -> str:
        """The newest commit. Raises LedgerError if there is no ledger."""
        # A loose ref goes before a packed one, and reading a file is a hundred times as fast as asking git.
        try:
            text = (self.git.git_dir / REF).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if _OID.fullmatch(text):
            return text
        out = self.git.run("rev-parse", "--verify", "--quiet", REF, ok=(0, 1))
        if out.code:
            raise LedgerError(f"there is no branch {REF.removeprefix('refs/heads/')}", hint="orc init")
        return out.out.decode().strip()

    def snapshot(self) -> Snapshot:
        """Every open job now. What has not changed since the last call is not read again."""
        tip = self.tip()
        if self._known is None or self._known.tip != tip:
            self._known = self._read(tip, self._known)
        return self._known

    def _read(self, tip: str, before: Snapshot | None) -> Snapshot:
        root = self.root_of(tip)
        entry = self.objects.find(root, "open")
        now = {name: each.oid for name, each in self.objects.tree(entry.oid).items()} if entry else {}
        was = before.buckets if before else {}
        differ = [name for name in was.keys() | now.keys() if was.get(name) != now.get(name)]
        self.objects.read_ahead(now[name] for name in differ if name in now)
        changed: dict[str, str] = {}
        folders: dict[str, Folder | None] = {}
        for name in differ:
            old = self.objects.tree(was[name]) if name in was else {}
            new = self.objects.tree(now[name]) if name in now else {}
            folders |= dict.fromkeys(old.keys() - new.keys())
            changed |= {f"open/{name}/{id_}": each.oid for id_, each in new.items() if old.get(id_) != each}
        known = before or Snapshot("", "")
        for path, folder in self._folders(changed, known.folders):
            folders[path.rpartition("/")[2]] = folder
        if before is not None:
            self._steps.append((before.tip, frozenset(folders)))
        return known.after(tip, root, now, folders)

    def changed_since(self, tip: str) -> frozenset[str] | None:
        """The ids of the jobs that differ between an earlier snapshot and the last one; None if that is not known."""
        if self._known is None or not tip:
            return None
        changed: frozenset[str] = frozenset()
        if tip == self._known.tip:
            return changed
        for before, differing in reversed(self._steps):
            changed |= differing
            if before == tip:
                return changed
        return None

    def _folders(self, trees: Mapping[str, str], before: Mapping[str, Folder]) -> Iterator[tuple[str, Folder]]:
        """The folders of jobs, by path and tree; what is read of many is asked for at once."""
        self.objects.read_ahead(trees.values())
        names = {path: self.objects.tree(tree) for path, tree in trees.items()}
        self.objects.read_ahead(entry.oid for each in names.values() if (entry := _job_entry(each)) is not None)
        for path, tree in trees.items():
            yield path, self._folder(tree, names[path], path, before.get(path.rpartition("/")[2]))

    def root_of(self, commit: str) -> str:
        """The tree of a commit of the ledger."""
        head = self.objects.read(commit).partition(b"\n")[0]
        return head.removeprefix(b"tree ").decode()

    def _folder(self, tree: str, names: Tree, path: str, before: Folder | None = None) -> Folder:
        records = {name.rsplit(".", 1)[0]: each.oid for name, each in names.items()}
        name = next((name for name in JOB_FILES if name in names), None)
        if name is None:
            raise LedgerError(f"{path} in the ledger has no job file", hint="orc verify")
        oid = records.pop("job")
        if before is not None and before.records.get("#job") == oid:
            job = before.job
        else:
            job = read_job(self.objects.read(oid), name=name)
        return Folder(tree, job, {**records, "#job": oid}, path)

    def folders_at(self, trees: Mapping[str, str]) -> Iterator[Folder]:
        """The folders of jobs, from the trees by their paths."""
        return (folder for _, folder in self._folders(trees, {}))

    def ended_at(self, trees: Mapping[str, str]) -> Iterator[Ended]:
        """What ended jobs are, from the trees of their folders by path. Of each job only two lines are looked at."""
        self.objects.read_ahead(trees.values())
        jobs = {path: (tree, _job_entry(self.objects.tree(tree))) for path, tree in trees.items()}
        self.objects.read_ahead(entry.oid for _, entry in jobs.values() if entry is not None)
        for path, (tree, entry) in jobs.items():
            facts = _STANDING.search(self.objects.read(entry.oid)) if entry is not None else None
            if facts is not None:
                state, since = facts[1].decode(), facts[2].decode()
            else:
                at = self._folder(tree, self.objects.tree(tree), path).job.at
                state, since = at.state.value, at.since
            yield Ended(path.rpartition("/")[2], tree, path, Lane(state), since)

    def closed(self, id_: str, root: str | None = None) -> Folder | None:
        """An ended job's folder, found by its id without a scan."""
        root = root or self.snapshot().root
        pointer = self.objects.find(root, pointer_path(id_))
        if pointer is None:
            return None
        path = self.objects.read(pointer.oid).decode().strip()
        entry = self.objects.find(root, path)
        if entry is None:
            raise LedgerError(f"{path} is missing in the ledger", hint="orc verify")
        return self._folder(entry.oid, self.objects.tree(entry.oid), path)

    def folder(self, id_: str) -> Folder:
        """A job's folder, open or ended. Raises NotFoundError."""
        snapshot = self.snapshot()
        found = snapshot.folders.get(id_) or self.closed(id_, snapshot.root)
        if found is None:
            raise NotFoundError(
                f"there is no job {id_!r}",
                cause="An open job may be named by the beginning of its id, one that ended long ago by all of it.",
                hint="orc status, or orc log",
            )
        return found

    def has(self, id_: str) -> bool:
        """Whether there is a job of this id, open or ended."""
        snapshot = self.snapshot()
        return id_ in snapshot.folders or self.closed(id_, snapshot.root) is not None

    def record(self, kind: type[T], folder: Folder, stem: str) -> T:
        """One record of a job. Raises NotFoundError, LedgerError."""
        oid = folder.records.get(stem)
        if oid is None:
            raise NotFoundError(f"{folder.job.id} has no {stem}")
        return parse_record(kind, self.objects.read(oid), f"{folder.path}/{stem}.yaml")

    def read_file(self, path: str) -> bytes | None:
        """A file of the ledger at its tip, by path; None if there is none."""
        entry = self.objects.find(self.snapshot().root, path)
        return None if entry is None else self.objects.read(entry.oid)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """The short lock. What was committed is durable when the block ends without an error, else nothing is."""
        with hold_lease(self._orcdir / "ledger.lock", timeout=LOCK_TIMEOUT_S, what="the ledger") as held:
            writer = Writer(self, self.snapshot())
            try:
                yield writer
                if writer.tip != writer.start.tip:
                    with span("ledger", f"{writer.start.tip}..{writer.tip}"):
                        self._publish(writer, held)
            finally:
                self.objects.forget()

    def _publish(self, writer: Writer, held: int) -> None:
        with effect(Effect.LEDGER_OBJECTS):
            self.objects.store()
        with effect(Effect.LEDGER_REF):
            self._free_ref()
            # As git does it, without a process for each step; where anything is unusual, git does it itself.
            if not swap_through_lock(self.git.git_dir / REF, writer.start.tip, writer.tip, self._new_tip):
                # It shares the lock, so that one which outlives us is over before anybody writes again.
                update_ref(replace(self.git, inherit=(held,)), REF, writer.tip, writer.start.tip)
            self._flush_ref()

    def _free_ref(self) -> None:
        """Move away the lock of the ref that a killed git left behind. Ours is held, so none of ours is alive."""
        lock = self.git.git_dir / f"{REF}.lock"
        free_lock_of(lock, self._new_tip)
        now = clock.now().timestamp()
        try:
            is_stale = now - lock.lstat().st_mtime > STALE_LOCK_S
        except FileNotFoundError:
            return
        if is_stale:
            # Not below refs/, where git would take it for a broken ref.
            folder = self._orcdir / "orphans"
            ensure_folder(folder)
            move_no_replace(lock, folder / f"state.lock.{int(now * 1000)}.orphan")

    def _flush_ref(self) -> None:
        # git flushes the file but not its name; the folders above may be new as well, also after a `git pack-refs`.
        folder = (self.git.git_dir / REF).parent
        sync_folder(folder)
        while (folder := folder.parent) != self.git.git_dir:
            changed = folder.stat().st_ctime_ns
            if self._flushed.get(folder) != changed:
                sync_folder(folder)
                self._flushed[folder] = changed

    @property
    def _new_tip(self) -> Path:
        """The file that becomes the lock of the ref and then the ref: by it a lock that we left behind is known."""
        return self._orcdir / "state.new"

    def create(self, now: datetime, actor: Actor) -> None:
        """Make the ledger if there is none. Its first commit says what format it has."""
        text = dump({"format": FORMAT, "what": "the ledger of orc; read it with git log"})
        oid = self.objects.write("blob", text.encode())
        tree = self.objects.write_tree({"ledger.yaml": Entry(FILE_MODE, oid)})
        commit = self.objects.write("commit", format_commit(tree, "", "init: the ledger begins", (), actor, now))
        with effect(Effect.LEDGER_OBJECTS):
            self.objects.store()
        with effect(Effect.LEDGER_REF):
            try:
                update_ref(self.git, REF, commit, "")
            except RefMovedError:
                return
            self._flush_ref()


@dataclass(frozen=True, slots=True)
class Filing:
    """A commit that is about something other than one job: a rejected file, a checked base, the library."""

    subject: str
    files: Mapping[str, bytes]
    trailers: tuple[tuple[str, str], ...] = ()
    actor: Actor = ENGINE
    with_step_of: str = ""
    """The job whose step this belongs to: it is left out where that step does not fit any more."""


class Writer:
    """What holds the ledger's lock. Each `commit` adds to a chain that becomes visible all at once."""

    def __init__(self, ledger: Ledger, start: Snapshot) -> None:
        self._ledger = ledger
        self.start = start
        self.tip = start.tip
        self._root = start.root
        self._jobs: dict[str, Job | None] = {}

    def job(self, id_: str) -> Job | None:
        """An open job as it is now, with the steps of this writer."""
        if id_ in self._jobs:
            return self._jobs[id_]
        folder = self.start.folders.get(id_)
        return folder.job if folder else None

    def doing(self) -> Iterator[Job]:
        """The jobs at which something is being done, with the steps of this writer: few."""
        ids = dict.fromkeys((*(id_ for id_ in self.start.doing), *self._jobs))
        found = (self.job(id_) for id_ in ids)
        return (job for job in found if job is not None and job.state not in IN_BACKLOG)

    def folder(self, id_: str) -> Folder | None:
        """A job's folder as it is now, open or ended, with the steps of this writer."""
        path = open_path(id_)
        entry = self._ledger.objects.find(self._root, path)
        if entry is None:
            return self._ledger.closed(id_, self._root)
        known = self.start.folders.get(id_)
        if known is not None and known.tree == entry.oid:
            return known
        return next(self._ledger.folders_at({path: entry.oid}))

    def record(self, kind: type[T], folder: Folder, stem: str) -> T | None:
        """One record of a job; None if there is none. Raises LedgerError."""
        return self._ledger.record(kind, folder, stem) if stem in folder.records else None

    def read_file(self, path: str) -> bytes | None:
        """A file of the ledger by path, with what this writer has added; None if there is none."""
        entry = self._ledger.objects.find(self._root, path)
        return None if entry is None else self._ledger.objects.read(entry.oid)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is added in the block is left out altogether if it raises."""
        before = (self.tip, self._root, dict(self._jobs))
        try:
            yield
        except BaseException:
            self.tip, self._root, self._jobs = before
            raise

    def fits(self, move: Move) -> bool:
        """Whether the job still stands where the step was decided; a step that does not fit is to be dropped."""
        before = self.job(move.job.id)
        if before is None:
            ended = self._ledger.closed(move.job.id, self._root)
            if ended is None:
                return move.was is None
            before = ended.job
        return move.was is before.state and before.at.seq == move.job.at.seq - 1

    def commit(
        self,
        move: Move,
        now: datetime,
        *,
        files: Mapping[str, bytes] | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> None:
        """Add one step. Raises LedgerError if it does not fit: ask `fits` first.

        `files` go into the job's folder, by name; `beside` are others of the ledger, by path.
        Raises ValueError or TypeError, and leaves the chain as it was, if the step holds what no file can.
        """
        if not self.fits(move):
            raise LedgerError(f"{move.job.id} has moved on", hint=f"orc show {move.job.id}")
        job, objects = move.job, self._ledger.objects
        changes: dict[str, Entry | None] = {f"job{job.suffix}": self._blob(format_job(job))}
        for stem, record in move.records.items():
            changes[f"{stem}.yaml"] = self._blob(format_record(record))
        for name, data in (files or {}).items():
            changes[name] = self._blob(data)
        old_path = self._path_of(job, move)
        old = objects.find(self._root, old_path) if old_path else None
        tree = objects.change_tree(old.oid if old else EMPTY_TREE, changes)
        others = {path: self._blob(data) for path, data in (beside or {}).items()}
        self._file(job, old_path, Entry(TREE_MODE, tree), move, now, others)
        self._jobs[job.id] = None if job.state.ended else job

    def _path_of(self, job: Job, move: Move) -> str:
        if move.was is None:
            return ""
        if not move.was.ended:
            return open_path(job.id)
        folder = self._ledger.closed(job.id, self._root)
        return folder.path if folder else ""

    def _file(
        self, job: Job, old_path: str, entry: Entry, move: Move, now: datetime, others: Mapping[str, Entry]
    ) -> None:
        new_path = closed_path(job.id, parse(job.at.since)) if job.state.ended else open_path(job.id)
        changes: dict[str, Entry | None] = {**others, new_path: entry}
        if old_path and old_path != new_path:
            changes[old_path] = None
        if job.state.ended:
            changes[pointer_path(job.id)] = self._blob(f"{new_path}\n".encode())
        elif old_path.startswith("closed/"):
            changes[pointer_path(job.id)] = None
        self._add(changes, move.subject, move.trailers, move.actor, now)

    def file(self, filing: Filing, now: datetime) -> None:
        """Add a commit about something other than one job."""
        changes: dict[str, Entry | None] = {path: self._blob(data) for path, data in filing.files.items()}
        self._add(changes, filing.subject, filing.trailers, filing.actor, now)

    def _blob(self, data: bytes) -> Entry:
        return Entry(FILE_MODE, self._ledger.objects.write("blob", data))

    def _add(
        self,
        changes: Mapping[str, Entry | None],
        subject: str,
        trailers: Iterable[tuple[str, str]],
        actor: Actor,
        now: datetime,
    ) -> None:
        root = self._ledger.objects.change_tree(self._root, changes)
        told = [(one_line(key), one_line(value)) for key, value in trailers]
        text = format_commit(root, self.tip, one_line(subject), told, actor, now)
        self.tip, self._root = self._ledger.objects.write("commit", text), root


@contextmanager
def open_ledger(git_dir: Path, orcdir: Path, *, lean: bool = False) -> Iterator[Ledger]:
    """The ledger in the repository whose common folder is `git_dir`; `lean` as in `objects.opened`."""
    with ExitStack() as stack:
        objects = stack.enter_context(opened(git_dir, lean=lean))
        yield Ledger(Git(git_dir), objects, orcdir)


def _job_entry(names: Mapping[str, Entry]) -> Entry | None:
    return next((names[name] for name in JOB_FILES if name in names), None)
