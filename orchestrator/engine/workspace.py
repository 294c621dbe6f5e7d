"""A workspace as the engine and the commands hold it: where things lie, its configuration, its ledger."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from orchestrator.adapters import clock
from orchestrator.adapters.config_file import read_config
from orchestrator.adapters.days import day_and_end
from orchestrator.adapters.git import Git, Reader
from orchestrator.adapters.git_person import common_dir
from orchestrator.adapters.ledger import Filing, Ledger, Writer, open_ledger
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.adapters.shims import spawn_shim
from orchestrator.core.config import Config, Project, Terms, terms
from orchestrator.core.job import Job
from orchestrator.core.nearest import guess
from orchestrator.core.times import iso
from orchestrator.core.transitions import Move
from orchestrator.engine.twins import Judged, Twins
from orchestrator.errors import LedgerError, NotFoundError, OrcError, RefusedError


class UnwritableError(LedgerError):
    """Steps that cannot be written. `done` are those that were committed with them, `bad` the others and why not."""

    def __init__(self, done: list[Move], bad: list[tuple[Move, str]]) -> None:
        self.done, self.bad = done, bad
        told = "; ".join(f"{move.event} of {move.job.id}: {why}" for move, why in bad)
        super().__init__(f"a step cannot be written to the ledger: {told[:500]}", hint="orc show JOB")


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a workspace keeps things. `git_dir` is the common git folder of the repository."""

    root: Path
    git_dir: Path

    @property
    def orcdir(self) -> Path:
        """What must not be swept with the tree: locks, leases, run folders, mirrors."""
        return self.git_dir / "orc"

    @property
    def queue(self) -> Path:
        """The working tree of the ledger."""
        return self.root / "queue"

    @property
    def state(self) -> Path:
        """What may vanish."""
        return self.root / "state"

    @property
    def runs(self) -> Path:
        """One folder for each run."""
        return self.orcdir / "runs"

    def note(self, run: str) -> Path:
        """What lay outside of the tree of a run before it began. No run is told of it, as of its lock."""
        return self.orcdir / "notes" / f"{run}.json"

    @property
    def bell(self) -> Path:
        """Runs leave a file here when they end, to wake the engine."""
        return self.orcdir / "bell"

    @property
    def known(self) -> Path:
        """What was found to be good: a memory that may be lost."""
        return self.orcdir / "known"

    @property
    def routines(self) -> Path:
        """What maintenance keeps for itself: it may vanish, and is found out again."""
        return self.orcdir / "routines"

    def mirror(self, project: str) -> Path:
        """The private bare mirror of a project."""
        return self.orcdir / "mirrors" / f"{project}.git"


@dataclass(slots=True)
class Workspace:
    """An open workspace. `config` is the newest that could be read; `config_problem` says why a newer one could not."""

    paths: Paths
    ledger: Ledger
    config: Config
    config_problem: str = ""
    spawn: Callable[[Path, int], object] = spawn_shim
    """Starts the process that supervises the run in a folder, with its lease. An engine starts them more quickly."""
    twins: Twins = field(default_factory=Twins)
    """The open jobs by what they ask for: made where it is asked for first."""
    _git_dirs: dict[str, Path] = field(default_factory=dict)
    _readers: dict[Path, Reader] = field(default_factory=dict)

    def now(self) -> datetime:
        """The current time."""
        return clock.now()

    def day_of(self, now: datetime) -> str:
        """To which day a moment counts, such as 2026-11-22: that of the time zone in `execution_limits`."""
        return day_and_end(now, self.config.execution_limits.tz)[0]

    def stamp(self) -> str:
        """The current time as the ledger writes it."""
        return iso(self.now())

    def reload_config(self) -> None:
        """Read `orc.yaml` again; a broken one leaves the last good one in force and is told in `config_problem`."""
        try:
            self.config, self.config_problem = read_config(self.paths.root, known=self.paths.known), ""
        except (OrcError, OSError) as error:
            self.config_problem = error.message if isinstance(error, OrcError) else str(error)

    def project(self, name: str) -> Project:
        """A project by name. Raises NotFoundError."""
        found = self.config.projects.get(name)
        if found is None:
            known = ", ".join(self.config.projects)
            near = guess(name, self.config.projects)
            raise NotFoundError(f"there is no project {name!r} in orc.yaml (there is {known}){near}")
        return found

    def project_git_dir(self, name: str) -> Path:
        """The common git folder of a project's repository."""
        path = (self.paths.root / self.project(name).path).resolve()
        key = str(path)
        if key not in self._git_dirs:
            self._git_dirs[key] = common_dir(path)
        return self._git_dirs[key]

    def git_words(self, project: str) -> str:
        """How a command of git about a project begins in the workspace: with its path, if it lies elsewhere."""
        path = self.project(project).path
        return "git" if self.project_git_dir(project) == self.paths.git_dir else f"git -C {shlex.quote(path)}"

    def git(self, project: str) -> Git:
        """A project's repository, which is asked many small questions."""
        return self.asking(Git(self.project_git_dir(project)))

    def asking(self, git: Git) -> Git:
        """The same door with a reader that lives as long as the workspace: for repositories that are trusted."""
        if git.git_dir not in self._readers:
            self._readers[git.git_dir] = Reader(git)
        return replace(git, reader=self._readers[git.git_dir])

    def close(self) -> None:
        """End the processes that were kept for questions."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def terms(self, job: Job) -> Terms:
        """What holds for a job: its wishes, else its project's and the workspace's."""
        return terms(self.config, self.project(job.at.project), job.spec, allowance=job.at.allowance)

    def open_job(self, id_: str) -> Folder:
        """An open job's folder. Raises NotFoundError, RefusedError if it has ended."""
        found = self.ledger.snapshot().folders.get(id_)
        if found is None:
            ended = self.ledger.folder(id_)
            raise RefusedError(f"{id_} is {ended.job.state} already", hint=f"orc show {id_}")
        return found

    def refusing(self, job: Job) -> Judged | None:
        """The open job because of which a new one would not be accepted now, and why; None if it would."""
        return self.twins.refusing(self.ledger, self.config, job)

    def repeating(self, job: Job) -> Judged | None:
        """The open job that an ended one would repeat if it were opened again; None if there is none."""
        return self.twins.repeating(self.ledger, self.config, job)

    def commit(self, moves: Iterable[Move], filings: Iterable[Filing] = (), files: FilesOf | None = None) -> list[Move]:
        """Commit steps, all in one update of the ref. Returns those that still fitted; the others are dropped.

        A new job is dropped too while an open one asks for the same work: ask `refusing` which. One that is merely like
        an open one comes back with that, and with a question to the person where that is due.
        Raises UnwritableError if some hold what no file of the ledger can; all others are committed then.
        """
        from orchestrator.engine.goal_counts import put_step  # Slow to load, and who only looks needs none.

        moves, now = list(moves), self.now()
        done: list[Move] = []
        bad: list[tuple[Move, str]] = []
        with self._writing() as writer:
            for move in moves:
                try:
                    stands = not move.with_step_of or move.with_step_of in {each.job.id for each in done}
                    step = move if move.was is not None else self._admit(move, writer, done)
                    if stands and step is not None and writer.fits(step):
                        own = (files or {}).get(move.job.id)
                        done.append(put_step(writer, step, now, self.config, own, day=self.day_of(now)))
                except (ValueError, TypeError, LedgerError) as error:
                    bad.append((move, str(error)))
            for filing in filed_with(filings, moves, done):
                writer.file(filing, now)
        if bad:
            raise UnwritableError(done, bad)
        return done

    def _admit(self, move: Move, writer: Writer, done: Sequence[Move]) -> Move | None:
        return self.twins.admit(self.ledger, self.config, move, writer, done)

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        try:
            with self.ledger.writing() as writer:
                yield writer
        except BaseException:
            self.twins.forget()
            raise


def filed_with(filings: Iterable[Filing], moves: Iterable[Move], done: Iterable[Move]) -> list[Filing]:
    """Of the filings that go with these moves those that are committed where only `done` of the moves still fitted."""
    left_out = {move.job.id for move in moves} - {move.job.id for move in done}
    return [filing for filing in filings if filing.with_step_of not in left_out]


FilesOf = Mapping[str, Mapping[str, bytes]]
"""More files for a job's folder, by job id and name."""


@contextmanager
def open_workspace(root: Path, *, lean: bool = False) -> Iterator[Workspace]:
    """The workspace at `root`; `lean` for a command that only looks.

    Raises OrcError if its configuration or its ledger cannot be read.
    """
    paths = Paths(root, common_dir(root))
    config = read_config(root, known=paths.known)
    with open_ledger(paths.git_dir, paths.orcdir, lean=lean) as ledger:
        ws = Workspace(paths, ledger, config)
        try:
            yield ws
        finally:
            ws.close()
