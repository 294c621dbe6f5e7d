"""Runs of the gate: the engine's own supervisor, in a folder for the while, waited for until nothing of it is left.

A gate that is killed leaves its folder behind, and perhaps a run that comes to its end there; the next gate removes it.
"""

from __future__ import annotations

import os
import secrets
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from orchestrator.adapters.descendants import is_alive, kill_descendants, wait_for_end
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import rename_folder, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.locks import lease_is_free, release_lease, take_lease
from orchestrator.adapters.programs import remove_in_background
from orchestrator.adapters.run_folder import RunFolder, read_events, read_result
from orchestrator.adapters.run_values import CommandSpec, LimitsSpec, RunKind, RunResult, RunSpec
from orchestrator.adapters.shims import Nursery
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.gated import Checked, Where
from orchestrator.core.job import Check
from orchestrator.engine.launch import Start, export_in, launch_in
from orchestrator.errors import OrcError, UnavailableError

PREFIX, MAKING = "orc-gate-", ".orc-new-gate-"
LOCK = "lock"
WALL_S = 6 * 3600
GRACE_S = 5.0
POLL_S = 0.1
"""How often a run is looked at, at least."""
LEFT_S = 3600

Tell = Callable[[str, str], None]
"""Told what takes long, and how far it is, again and again while it goes on."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """The temporary folder of one gate, and where its runs are forked from."""

    folder: Path
    nursery: Nursery
    tell: Tell
    note: str = ""
    """What a person should know about where it is."""

    @property
    def orcdir(self) -> Path:
        """What `.git/orc` is in a workspace."""
        return self.folder / "orc"

    def run_folder(self, run: str) -> RunFolder:
        """Where a run lives."""
        return RunFolder(self.orcdir / "runs" / run)

    @property
    def lock(self) -> Path:
        """It is held as long as the gate lives."""
        return self.folder / LOCK

    def begin(self, start: Start) -> int:
        """Have the tree of a run made ready; the id of its process, 0 if that is not known. It is held before it runs
        anything. Ctrl-C ends it. Raises UnavailableError."""
        folder = self.run_folder(start.spec.run)
        awaited = replace(start, spec=replace(start.spec, awaited_by=str(self.lock)))
        try:
            return launch_in(folder, awaited, self.nursery.spawn) or 0
        except KeyboardInterrupt:
            if folder.path.is_dir():
                self._end(folder, 0, start.spec.run)
            raise

    def play(self, start: Start, told: str) -> RunResult:
        """Start a run and wait for its end. Ctrl-C ends it first. Raises UnavailableError if it left no result."""
        return self.let_go(start.spec.run, self.begin(start), told)

    def let_go(self, run: str, pid: int, told: str) -> RunResult:
        """Let a run that was begun do what it is for, and wait for its end; otherwise as `play`."""
        folder = self.run_folder(run)
        try:
            with effect(Effect.RUN_FOLDER):
                write_atomic(folder.go, b"", sync=False)
            self._wait(folder, pid, told)
        except KeyboardInterrupt:
            self._end(folder, pid, told)
            raise
        result = read_result(folder)
        if result is None:
            raise UnavailableError(f"{told}: the process that supervises it was killed", hint="try again")
        return result

    def give_up(self, run: str, pid: int) -> None:
        """End a run that is held, in the middle of making its tree if need be, and wait until nothing of it is left."""
        folder = self.run_folder(run)
        with effect(Effect.RUN_STOP):
            write_atomic(folder.stop, b"", sync=False)
            if pid:
                kill_descendants(run, run_dir=folder.path, root=pid)
        self._wait(folder, pid, "the checkout is ended")

    def _end(self, folder: RunFolder, pid: int, told: str) -> None:
        with effect(Effect.RUN_STOP):
            write_atomic(folder.stop, b"", sync=False)
        self._wait(folder, pid, f"{told}: ending it")

    def _wait(self, folder: RunFolder, pid: int, told: str) -> None:
        # Until the process is gone, not only its lock: at its very end it rings a bell in this folder.
        began = time.monotonic()
        while not lease_is_free(folder.lease) or (pid and is_alive(pid)):
            seconds = time.monotonic() - began
            if seconds > 1:
                done = sum(each.get("event") == "checked" for each in read_events(folder))
                self.tell(told, f"{seconds:.0f} s" + (f", {done} done" if done else ""))
            wait_for_end(pid, POLL_S)


@contextmanager
def open_workshop(tell: Tell, nursery: Nursery | None = None) -> Iterator[Workshop]:
    """A temporary folder that is gone soon afterwards, also after Ctrl-C and SIGTERM. Raises OrcError, OSError.

    `nursery` is one that somebody has warmed already; it is closed at the end.
    """
    above, note = _find_place()
    with effect(Effect.RUN_CLEAN):
        _sweep(above)
    with effect(Effect.RUN_FOLDER):
        folder, lease = _make_folder(above)
    nursery = nursery or Nursery()
    try:
        with _ended_by_signals():
            nursery.warm()
            yield Workshop(folder, nursery, tell, note)
    finally:
        nursery.close()
        with effect(Effect.RUN_CLEAN):
            # Thousands of files may take a while, for which nobody wants to wait, and which a second Ctrl-C would stop.
            remove_in_background(folder)
            release_lease(lease)


def _find_place() -> tuple[Path, str]:
    """Where the folders of gates are, and what a person should know about that.

    Many a tool believes what it finds in the folders above the files that it works on. So these are the person's own,
    unlike the one for temporary files, into which everybody writes.
    """
    try:
        with effect(Effect.RUN_FOLDER):
            return _own_cache(), ""
    except (OSError, RuntimeError) as error:
        from tempfile import gettempdir

        place = Path(gettempdir()).resolve()
        told = f"There is no cache folder to be used ({error}), so the checkouts were made in {place}"
        return place, f"{told}, where a check may see files of others."


def _own_cache() -> Path:
    """The person's own cache folder for orc, closed to others. Raises OSError, RuntimeError."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = Path.home()
    if not os.path.isabs(named) and not home.is_dir():
        raise FileNotFoundError(f"there is no folder {home}")
    place = ((Path(named) if os.path.isabs(named) else home / ".cache") / "orc").resolve()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(place.stat().st_mode) != 0o700:
        place.chmod(0o700)  # Only its owner may.
    if place.stat().st_uid != os.getuid() or not os.access(place, os.W_OK):
        raise PermissionError(f"{place} cannot be written")
    return place


def _make_folder(above: Path) -> tuple[Path, int]:
    """A new folder of a gate and its lease. It gets the name that others look for once the lease is held."""
    made = above / f"{MAKING}{secrets.token_hex(6)}"
    made.mkdir(mode=0o700)
    lease = take_lease(made / LOCK)
    if lease is None:
        raise UnavailableError(f"{made / LOCK} was taken by another process", hint="try again")
    folder = above / f"{PREFIX}{made.name.removeprefix(MAKING)}"
    rename_folder(made, folder, sync=False)
    return folder, lease


def _sweep(above: Path) -> None:
    """Remove what gates that were killed have left, once nothing runs there any more."""
    for folder in (*above.glob(f"{PREFIX}*"), *above.glob(f"{MAKING}*")):
        try:
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
                continue
            if folder.name.startswith(MAKING) or not (folder / LOCK).is_file():
                # It was killed while it was made, or while it was removed: no gate takes so long for that.
                if time.time() - about.st_mtime > LEFT_S:
                    remove_in_background(folder)
                continue
            lease = take_lease(folder / LOCK)
        except OSError:
            continue  # Another gate was quicker.
        if lease is None:
            continue
        try:
            if all(lease_is_free(each) for each in (folder / "orc" / "leases").glob("*")):
                remove_in_background(folder)
        finally:
            release_lease(lease)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, slots=True)
class Checking:
    """A run of the checks on one commit that makes its tree ready, and is held before it runs anything."""

    shop: Workshop
    run: str
    commit: str
    pid: int

    def finish(self, told: str) -> RunResult:
        """Run the checks, and wait for their end. Raises UnavailableError."""
        return self.shop.let_go(self.run, self.pid, told)

    def drop(self) -> None:
        """Nothing is to be run after all."""
        self.shop.give_up(self.run, self.pid)


def make_ready(shop: Workshop, git: Git, where: Where, commit: str, checks: tuple[Check, ...], setup: str) -> Checking:
    """Have the tree of one commit made ready for its checks. Raises UnavailableError."""
    spec = RunSpec(
        run=f"gate.{where}",
        kind=RunKind.CHECKS,
        job="gate",
        number=1,
        orcdir=shop.orcdir,
        agent=None,
        project="gate",
        tree=export_in(shop.folder / "trees" / "checks", git.git_dir, commit),
        limits=LimitsSpec(wall_s=WALL_S, grace_s=GRACE_S, silent_s=0),
        setup=CommandSpec(setup, checks[0].timeout_s) if setup else None,
        commands=tuple(CommandSpec(each.run, each.timeout_s, each.label) for each in checks),
    )
    return Checking(shop, spec.run, commit, shop.begin(Start(spec)))


def run_checks(
    shop: Workshop,
    git: Git,
    where: Where,
    commit: str,
    tree: str,
    checks: tuple[Check, ...],
    setup: str,
    told: str,
    *,
    ready: Checking | None = None,
) -> Checked:
    """The checks on a clean checkout of one commit, as the engine runs them; `ready` is the run made for them."""
    try:
        result = (ready or make_ready(shop, git, where, commit, checks, setup)).finish(told)
    except (OrcError, OSError) as error:
        return Checked(where, commit, tree, problem=error.message if isinstance(error, OrcError) else str(error))
    if result.status is not RunStatus.ENDED:
        why = result.error or result.status.value.replace("_", " ")
        is_setup = result.status is RunStatus.SETUP_FAILED
        return Checked(where, commit, tree, result.check_results(), problem=why, setup_failed=is_setup)
    return Checked(where, commit, tree, result.check_results())
