"""The door through which a person's files become jobs, and a person's changes in `queue/` become steps.

Everything that one look finds is judged first and committed at once; only then are files taken away.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from orchestrator.adapters.effects import Effect
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.job_file import JobText, parse_job
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_snapshot import Snapshot
from orchestrator.adapters.open_files import is_open_for_writing
from orchestrator.adapters.queue_folder import GONE_S, MAX_SHOWN_BYTES, SETTLE_S, Difference, QueueFolder, Seen
from orchestrator.adapters.reading import DEFAULT_MAX_BYTES, ReadFile, safe_read, signature
from orchestrator.core.accept import accept
from orchestrator.core.ids import is_job_id, job_id, slug
from orchestrator.core.job import Job, JobSpec, Lane, Priority
from orchestrator.core.requests import Drop, judge_drop
from orchestrator.core.transitions import Actor, IllegalStepError, Move
from orchestrator.engine.change import Change, View, judge_card, judge_file, judge_leftover, judge_review, other_file
from orchestrator.engine.criteria import kind_problem, slip_in
from orchestrator.engine.people import person_of
from orchestrator.engine.routing import check_stand_ins
from orchestrator.engine.skills import skills_problem
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import (
    BusyError,
    InvalidFileError,
    LedgerError,
    NotFoundError,
    OrcError,
    RefusedError,
    UnavailableError,
)

UNREADABLE_S = 2.0
"""How long a file that cannot be read must have stood still before it is refused: somebody may still be writing it."""
OPEN_S = 600.0
"""How long a file that a program has open for writing must have stood still before it counts all the same."""
RETRY_S = 1.0
MANY_MISSING = 20
"""When more files are gone at once, somebody emptied a folder: they come back without a note beside each."""
MAX_DROPS, LEAST_DROPS, SHARE = 1000, 48, 8
"""New files taken in at one look: one in so many of those that are there, so many at least, never more than the first.
While they are, a run that has ended waits; and of many each look costs more."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that was not accepted: where it lies now, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What one look came to. `waiting_until` is on the clock of `time.monotonic`; None if nothing waits."""

    moves: tuple[Move, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    waiting_until: float | None = None
    told: tuple[str, ...] = ()
    """Answers about projects, by the subjects of their commits."""


def take_in(
    ws: Workspace, queue: QueueFolder, hints: Collection[Path] | None = None, arrived: Collection[Path] = ()
) -> TakenIn:
    """Judge and commit what a person put, changed or moved in `queue/` since the last call: all, or at `hints`."""
    seen = queue.look(hints, arrived)
    if not seen:
        return TakenIn()
    new = sum(each.what is Difference.NEW for each in seen)
    view = View(ws, queue, ws.ledger.snapshot(), person_of(ws.paths.git_dir))
    intake = _Intake(view, most=min(MAX_DROPS, max(LEAST_DROPS, new // SHARE)))
    late = [each for each in seen if each.what is Difference.MISSING]
    for each in sorted((each for each in seen if each.what in _ORDER), key=_turn):
        intake.consider(each)
    for each in late:
        intake.consider_missing(each, many=len(late) > MANY_MISSING)
    return intake.commit()


_ORDER = (Difference.CLAIMED, Difference.CHANGED, Difference.NEW)
"""What was refused may be another's original: files that changed where they stand come before new ones."""


def _turn(seen: Seen) -> tuple[int, float]:
    # If there are more than one look takes in, what has lain longest goes first: nothing waits for ever.
    return (_ORDER.index(seen.what), -seen.still_s if seen.what is Difference.NEW else 0.0)


def submit(ws: Workspace, data: bytes, name: str, *, lane: Lane | None = None, source: str = "submit") -> Move:
    """Accept a job that did not come through `queue/`. Raises InvalidFileError, RefusedError."""
    parsed, priority = judge_new(ws, data, name, lane or Lane.INBOX)
    move = new_job(
        ws,
        parsed,
        free_id(ws, ws.ledger.snapshot(), name),
        source=source,
        priority=priority,
        actor=person_of(ws.paths.git_dir),
    )
    done = ws.commit([move])
    if not done:
        refuse_twin(ws, move.job, file=name)
        raise LedgerError(f"{move.job.id} exists already", hint="try again")
    return done[0]


def refuse_twin(ws: Workspace, job: Job, file: str = "") -> None:
    """Raise RefusedError, which names it, if an open job asks for the same work as a new one, or nearly the same."""
    judged = ws.refusing(job)
    if judged is not None and judged.twin is not None:
        why = f"{file}: {judged.refused}" if file else judged.refused
        raise RefusedError(why, hint=f"orc show {judged.twin.id}")


def judge_new(ws: Workspace, data: bytes, name: str, lane: Lane = Lane.INBOX) -> tuple[JobText, Priority]:
    """A job's file that did not come through `queue/`, and its priority. Raises InvalidFileError, RefusedError."""
    parsed = parse_job(data, name=name)
    if parsed.block is not None:
        raise InvalidFileError("holds the part that orc writes", file=name, hint="Remove all from the mark on.")
    check_kind(ws, parsed, name)
    check_stand_ins(ws, parsed, name)
    request = judge_drop(lane, parsed.spec)
    if not isinstance(request, Drop):
        raise RefusedError(request.reason)
    if parsed.spec.routine:
        return parsed, request.priority
    check_project(ws, parsed, name)
    project = project_of(ws, parsed.spec)
    problem = project_problem(ws, project) or kind_problem(ws, parsed.spec, project)
    if problem := problem or skills_problem(ws, parsed.spec.skills):
        raise RefusedError(problem)
    return parsed, request.priority


def check_kind(ws: Workspace, parsed: JobText, name: str = "") -> None:
    """Raise InvalidFileError for a kind that looks like a slip of the pen."""
    if slip := slip_in(ws.paths.root, parsed.spec.kind):
        raise InvalidFileError(slip, file=name, line=parsed.lines.get(("kind",), 0), key="kind")


def check_project(ws: Workspace, parsed: JobText, name: str = "") -> None:
    """Raise InvalidFileError, which tells its line, for a project that `orc.yaml` does not have."""
    try:
        ws.project(project_of(ws, parsed.spec))
    except NotFoundError as error:
        line = parsed.lines.get(("project",), 0)
        raise InvalidFileError(error.message, file=name, line=line, key="project" if line else "") from error


def new_job(
    ws: Workspace, parsed: JobText, id_: str, *, source: str, priority: Priority, actor: Actor, lowered: str = ""
) -> Move:
    """The step that makes a job of a file; `lowered` as in `accept`."""
    return accept(
        parsed.text,
        parsed.spec,
        id_=id_,
        now=ws.stamp(),
        markdown=parsed.markdown,
        source=source,
        actor=actor,
        priority=priority,
        project=project_of(ws, parsed.spec),
        lowered=lowered,
    )


def project_of(ws: Workspace, spec: JobSpec) -> str:
    """The project that a job is for: the one it names, else `main`, else the first; of a routine none."""
    if spec.routine:
        return ""
    projects = ws.config.projects
    return spec.project or ("main" if "main" in projects else next(iter(projects), "main"))


def free_id(ws: Workspace, snapshot: Snapshot, name: str) -> str:
    """An id for a file of this name that no job of the ledger has."""
    stem = Path(name).name.rpartition(".")[0] or name
    while True:
        id_ = job_id(stem, secrets.token_hex(4))
        if id_ not in snapshot.folders and ws.ledger.closed(id_, snapshot.root) is None:
            return id_


def project_problem(ws: Workspace, project: str) -> str:
    """Why no job for a project can be accepted, '' if one can. Raises NotFoundError if there is no such project."""
    git = ws.git(project)
    target = ws.project(project).target or "HEAD"
    commit = rev_parse(git, f"refs/heads/{target}^{{commit}}" if target != "HEAD" else "HEAD^{commit}")
    if commit is None:
        return ""
    return _commit_problem(git, project, commit)


@lru_cache(maxsize=64)
def _commit_problem(git: Git, project: str, commit: str) -> str:
    if rev_parse(git, f"{commit}:.gitmodules") is not None:
        return f"project {project} has submodules, which orc does not support yet"
    listed = git.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).out
    for name in listed.split(b"\0") if b".gitattributes\0" in listed else ():
        if name == b".gitattributes" or name.endswith(b"/.gitattributes"):
            text = git.run("cat-file", "blob", f"{commit}:{os.fsdecode(name)}").out
            if any(b"filter=lfs" in line.split() for line in text.splitlines() if not line.lstrip().startswith(b"#")):
                return f"project {project} keeps files in Git LFS, which orc does not support yet"
    return ""


@dataclass(slots=True)
class _Intake:
    """What one look found, judged but not committed."""

    view: View
    most: int
    """So many new jobs are taken in."""
    changes: list[Change] = field(default_factory=list)
    handled: set[str] = field(default_factory=set)
    """Jobs that one of the files is about."""
    handled_files: set[str] = field(default_factory=set)
    """Jobs whose own file was judged."""
    wait_s: float | None = None
    _drops: int = 0
    _folders: set[Path] = field(default_factory=set)
    _projects: dict[str, str] = field(default_factory=dict)
    _skills: dict[str, str] = field(default_factory=dict)
    _stand_ins: set[tuple[str, ...]] = field(default_factory=set)
    """What jobs named under `fallback:`, where nothing was wrong with it."""

    @property
    def ws(self) -> Workspace:
        return self.view.ws

    @property
    def queue(self) -> QueueFolder:
        return self.view.queue

    def wait(self, seconds: float) -> None:
        self.wait_s = min(seconds, self.wait_s) if self.wait_s is not None else seconds

    # --- judging ---

    def consider(self, seen: Seen) -> None:
        """Judge one file. Never raises because of what the file holds."""
        is_whole = seen.what is Difference.NEW and seen.was_moved
        if seen.still_s < SETTLE_S and not is_whole:
            self.wait(SETTLE_S - seen.still_s)
            return
        if self._is_for_later(seen):
            self.wait(0.0)
            return
        if _is_being_written(seen, seen.path):
            self.wait(RETRY_S)
            return
        read: ReadFile | None = None
        try:
            read = safe_read(seen.path, max_bytes=MAX_SHOWN_BYTES)
            change = self._judge(seen, read)
        except (LedgerError, BusyError):
            raise
        except (GitError, UnavailableError):
            self.wait(RETRY_S)  # A repository that cannot be asked now is no reason to refuse the file.
            return
        except InvalidFileError as error:
            if seen.is_file and seen.still_s < UNREADABLE_S:
                self.wait(UNREADABLE_S - seen.still_s)
                return
            change = self._refuse(seen, read, _words(error))
        except (OrcError, IllegalStepError) as error:
            change = self._refuse(seen, read, _words(error))
        except FileNotFoundError:
            return
        except OSError:
            # The machine is at fault (no space, no descriptors): the file keeps.
            self.wait(RETRY_S)
            return
        if change is not None:
            if change.refusal and change.filing is None:
                data = read.data if read else b""
                change = replace(change, filing=self._filing(seen.path, change.refusal, data))
            self.changes.append(change)
            self.handled.add(change.owner)

    def _is_for_later(self, seen: Seen) -> bool:
        """Whether a file can only become a new job, and as many as one look takes in are there: it is not read."""
        if self._drops < self.most or seen.what not in (Difference.NEW, Difference.CLAIMED):
            return False
        name = seen.claimed_id or seen.path.stem
        # A job's file that was moved is new where it lies now, and nobody is to wait for a cancellation.
        is_job = self.view.folder(name) is None and other_file(_read_name(seen.path)) is None
        return is_job and not _asks_finish(seen.path.name)

    def _judge(self, seen: Seen, read: ReadFile) -> Change | None:
        view = self.view
        name = _read_name(seen.path)
        if seen.what is Difference.CLAIMED:
            if folder := view.folder(seen.claimed_id):
                return judge_leftover(view, seen, read, folder)
            return self._drop(seen, read, parse_job(read.data, name=f"{seen.claimed_id}{seen.path.suffix}"))
        if _asks_finish(name):
            from orchestrator.engine.goal_queue import judge_finish  # It needs what is in this file.

            return judge_finish(view, seen, read, name)
        if other := other_file(name):
            if other.kind == "review":
                return judge_review(view, seen, read, other)
            return judge_card(view, seen, read, other)
        if not name.endswith((".yaml", ".yml", ".md")):
            raise InvalidFileError("stands where a folder of the queue belongs")
        parsed = parse_job(read.data, name=name)
        if parsed.block is None and seen.shown is None:
            return self._drop(seen, read, parsed)
        change = judge_file(view, seen, read, parsed, handled=self.handled_files)
        self.handled_files.add(change.owner)
        return change

    def _drop(self, seen: Seen, read: ReadFile, parsed: JobText) -> Change | None:
        if parsed.block is not None:
            raise InvalidFileError("holds the part that orc writes", hint="Remove all from the mark on.")
        check_kind(self.ws, parsed)
        self._check_stand_ins(parsed)
        request = judge_drop(seen.lane, parsed.spec)
        if not isinstance(request, Drop):
            raise RefusedError(request.reason)
        self._drops += 1
        id_ = seen.claimed_id if is_job_id(seen.claimed_id) else free_id(self.ws, self.view.snapshot, seen.path.name)
        source = self._relative(seen.path)
        project = project_of(self.ws, parsed.spec)
        if project:
            check_project(self.ws, parsed)
            self._check_project(project)
            if problem := kind_problem(self.ws, parsed.spec, project):
                raise RefusedError(problem)
        self._check_skills(parsed.spec)
        priority, actor = request.priority, self.view.actor
        move = new_job(self.ws, parsed, id_, source=source, priority=priority, actor=actor)
        refuse_twin(self.ws, move.job)
        path = seen.path
        if not seen.claimed_id:
            path = self.queue.claim(path, id_, ".md" if parsed.markdown else ".yaml")
            self._folders.add(path.parent)
        # Nobody can open it under its old name any more: who writes it now has done so before.
        if signature(path) != read.signature or _is_being_written(seen, path):
            self.wait(SETTLE_S)
            return None
        return Change(path, read.signature, moves=(move,), is_drop=True)

    def _check_project(self, project: str) -> None:
        if project not in self._projects:
            self._projects[project] = project_problem(self.ws, project)
        if problem := self._projects[project]:
            raise RefusedError(problem)

    def _check_stand_ins(self, parsed: JobText) -> None:
        if (names := parsed.spec.fallback) not in self._stand_ins:
            check_stand_ins(self.ws, parsed)
            self._stand_ins.add(names)

    def _check_skills(self, spec: JobSpec) -> None:
        for name in spec.skills:
            if name not in self._skills:
                self._skills[name] = skills_problem(self.ws, (name,))
            if problem := self._skills[name]:
                raise RefusedError(problem)

    def _refuse(self, seen: Seen, read: ReadFile | None, reason: str) -> Change:
        found = read.signature if read else seen.signature
        assert found is not None  # only a missing file has no signature
        if seen.shown is not None and read is not None and not read.data:
            return Change(seen.path, found, seen.shown.id, seen.path, note="It was empty, so orc put it back.")
        owner = seen.shown.id if seen.shown else ""
        return Change(seen.path, found, owner, seen.path, refusal=reason, name=_name_of(seen))

    def _filing(self, path: Path, reason: str, data: bytes) -> Filing:
        where, digest = self._relative(path), hashlib.sha256(data).hexdigest() if data else ""
        files = {}
        if data and len(data) <= DEFAULT_MAX_BYTES:
            day = self.ws.now().strftime("%Y/%m/%d")
            files[f"rejected/{day}/{slug(path.stem)}-{digest[:8]}{path.suffix.lower()}"] = data
        line = " ".join(reason.split())
        trailers = [("File", where), ("Reason", line)] + ([("Sha256", digest)] if digest else [])
        return Filing(f"reject: {where}: {line}"[:200], files, tuple(trailers), self.view.actor)

    def _relative(self, path: Path) -> str:
        text = str(path.relative_to(self.ws.paths.root)) if path.is_relative_to(self.ws.paths.root) else path.name
        return " ".join(os.fsencode(text).decode("utf-8", "replace").split())

    def consider_missing(self, seen: Seen, *, many: bool) -> None:
        """A file that was shown is gone: it is put back, unless it was moved."""
        assert seen.shown is not None
        if seen.shown.id not in self.handled:
            # While other files settle, one of them may be this one under its new name.
            patience = UNREADABLE_S + RETRY_S if self.wait_s is not None else GONE_S
            if seen.still_s < patience:
                self.wait(GONE_S)
                return
            if not many and seen.folder_was_there:
                self._note_missing(seen.path, seen.shown.id)
        self.queue.forget(seen.path)

    def _note_missing(self, path: Path, id_: str) -> None:
        folder = self.view.snapshot.folders.get(id_)
        if folder is not None and self.view.home(folder.job) == path:
            text = "This file was gone, and orc put it back: a missing file asks for nothing."
            self.queue.note(path, f"{text}\nTo give the job up: orc cancel {id_}")

    # --- committing ---

    def commit(self) -> TakenIn:
        """Commit everything in one update of the ledger, then put the files where they belong."""
        self.queue.flush(self._folders)
        moves = [move for change in self.changes for move in change.moves]
        filings = [change.filing for change in self.changes if change.filing]
        done = self.ws.commit(moves, filings) if moves or filings else []
        known = {_step(move) for move in done}
        rejected: list[Rejected] = []
        for change in self.changes:
            if not all(_step(move) in known for move in change.moves):
                self.wait(SETTLE_S)
                continue
            try:
                rejected += self._finish(change)
            except OSError:
                self.wait(RETRY_S)
        until = None if self.wait_s is None else time.monotonic() + self.wait_s
        told = tuple(subject for change in self.changes for subject in change.told)
        return TakenIn(tuple(done), tuple(rejected), until, told)

    def _finish(self, change: Change) -> Iterable[Rejected]:
        """What happens to the file once the ledger has what it asks for."""
        if change.refusal:
            return self._finish_refused(change)
        if change.leave:
            self.queue.leave(change.path, change.signature)
            if change.note:
                self.queue.note(change.path, change.note)
            return ()
        if change.is_drop:
            if not self.queue.take(change.path, change.signature):
                self.wait(SETTLE_S)  # It was written to meanwhile: what came later is an edit of the job.
            return ()
        if change.path == change.home:
            kept = self.queue.adopt(change.path, change.signature, id=change.owner)
        else:
            kept = self.queue.take(change.path, change.signature, why=Effect.QUEUE_REMOVE)
            self.queue.changed_ids.add(change.owner)
        if not kept:
            self.wait(SETTLE_S)
        if change.note:
            self.queue.note(change.home, change.note)
        return ()

    def _finish_refused(self, change: Change) -> Iterable[Rejected]:
        if signature(change.path) != change.signature:
            self.wait(SETTLE_S)
            return ()
        kept = self.queue.quarantine(change.path, change.refusal, name=change.name)
        if change.owner:
            self.queue.changed_ids.add(change.owner)
            note = f"A change was not taken: {change.refusal}\nIt is kept as {self._relative(kept)}."
            self.queue.note(change.home, note)
        return (Rejected(kept, change.refusal),)


def _is_being_written(seen: Seen, path: Path) -> bool:
    """Whether the file at `path` may be half of what it will be, however readable it is: its writer is not done."""
    return seen.is_file and seen.still_s < OPEN_S and is_open_for_writing(path)


def _step(move: Move) -> tuple[str, int]:
    return (move.job.id, move.job.at.seq)


def _asks_finish(name: str) -> bool:
    """Whether a file is that of a question whether a project is finished."""
    if ".finish-" not in name:
        return False
    from orchestrator.core.goal import parse_finish_id  # Slow to load, and most files are jobs.

    return parse_finish_id(name.removesuffix(".yaml")) is not None


def _read_name(path: Path) -> str:
    return path.stem + path.suffix.lower()


def _name_of(seen: Seen) -> str:
    return f"{seen.claimed_id}{seen.path.suffix}" if seen.claimed_id else ""


def _words(error: Exception) -> str:
    if isinstance(error, InvalidFileError):
        place = f"line {error.line}: " if error.line else ""
        key = f"`{error.key}`: " if error.key else ""
        return f"{place}{key}{error.reason}" + (f". {error.hint}" if error.hint else "")
    hint = getattr(error, "hint", "")
    return f"{error}" + (f" ({hint})" if hint else "")
