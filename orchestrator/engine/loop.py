"""The loop of `orc run`: one engine for each workspace, woken by events, looking for itself anyway."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from orchestrator.adapters.backends.registry import BACKENDS
from orchestrator.adapters.files import ensure_folder, sync_filesystem
from orchestrator.adapters.ledger_snapshot import Snapshot
from orchestrator.adapters.locks import hold_lock
from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.adapters.shims import Nursery, spawn_shim
from orchestrator.adapters.spans import span
from orchestrator.adapters.watch import Watch
from orchestrator.core.board import run_kind
from orchestrator.core.handlers import find_unhandled
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Job, State
from orchestrator.core.times import iso
from orchestrator.engine.agents import view_agents
from orchestrator.engine.health import alarms_of
from orchestrator.engine.launch import RunState, folder_of, state_of
from orchestrator.engine.limits import waits_for_a_while, waits_for_tomorrow
from orchestrator.engine.notes import note_engine, read_note
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.tick import LEDGER, Engine, look_at_health, tell_notices, tick
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import LedgerError, OrcError

log = logging.getLogger("orc.loop")
ALIVE_S = 1.0
"""Longest wait while runs are alive; the bell usually wakes the loop sooner."""
RETRY_S = 1.0
"""Shortest wait after a tick in which something failed and nothing moved."""
STUCK_S = 20.0
"""`--until-idle` gives up when the same problem has stood in the way for this long and nothing runs."""


@dataclass(slots=True)
class Loop:
    """Runs ticks until it is told to stop. `on_tick` is called after each."""

    engine: Engine
    on_tick: Callable[[Engine], None] = lambda _: None
    wake: threading.Event = field(default_factory=threading.Event)

    def run(self, *, once: bool = False, until_idle: bool = False) -> None:
        """Tick until stopped; `once`: a single tick; `until_idle`: until nothing can move without a person."""
        self._turn(once=once, until_idle=until_idle)
        if not self.engine.stopping:
            look_at_health(self.engine)  # Whoever has been waiting for the end is told with what it ended.
        tell_notices(self.engine, last=True)

    def _turn(self, *, once: bool, until_idle: bool) -> None:
        quiet_since = time.monotonic()
        self.engine.nursery.warm()
        with watching(self.engine.ws, self.wake) as watch:
            while True:
                self.wake.clear()
                self.engine.hints, self.engine.arrived = watch.take(), watch.take_arrived()
                with span("tick", ""):
                    moved = tick(self.engine)
                self.on_tick(self.engine)
                if moved:
                    quiet_since = time.monotonic()
                if once or self.engine.stopping:
                    return
                if until_idle and not moved and self._is_over(time.monotonic() - quiet_since):
                    return
                watch.renew()
                if not moved:
                    self._rest()
                    self.wake.wait(self._pause())

    def _rest(self) -> None:
        """Where something failed, the next try waits: what is tried in vain makes events too, which would wake us."""
        until = time.monotonic() + (RETRY_S if self.engine.problems else 0.0)
        while not self.engine.stopping and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def _is_over(self, quiet_s: float) -> bool:
        """Nothing will move any more, or what should move cannot and no run is alive that could change that."""
        if is_idle(self.engine):
            return self.engine.look_again is None
        return bool(self.engine.problems or self.engine.shut) and quiet_s > STUCK_S and not live_runs(self.engine)

    def _pause(self) -> float:
        """Seconds until the next look, if no event comes before."""
        longest = self.engine.ws.config.tick_seconds
        if self.engine.look_again is not None:
            return max(0.0, min(longest, self.engine.look_again - time.monotonic()))
        return longest if is_idle(self.engine) else min(longest, ALIVE_S)

    def stop(self) -> None:
        """End after the present tick. Runs go on; the next engine adopts them."""
        self.engine.stopping = True
        self.wake.set()


def live_runs(engine: Engine) -> bool:
    """Whether any run that the ledger names is there."""
    jobs = (folder.job for folder in _shown(engine.ws).active)
    return any(job.at.run and _is_there(engine.ws, job.at.run) for job in jobs)


def is_idle(engine: Engine) -> bool:
    """Whether nothing will move without a person: no live run, no pause to wait out, nothing that is due."""
    ws = engine.ws
    if LEDGER in engine.problems or "queue/" in engine.problems:
        return False
    shown = _shown(ws)
    if engine.trials.broken:  # Then runs of agents still end, and nothing else.
        doing = (folder.job for folder in shown.active)
        return not any(run_kind(job) is RunKind.ATTEMPT and _is_there(ws, job.at.run) for job in doing)
    # There are few of the first: as long as anything is done at one of them, the many that wait are not looked at.
    rests = engine.rests_until > iso(ws.now())
    if any(_goes_on(ws, folder.job, rests=rests) for folder in shown.active):
        return False
    in_review = [folder.job for folder in shown.active if folder.job.state is State.REVIEWING]
    if in_review and waits_for_a_while(ws, in_review, view_agents(ws)[0]):
        return False
    if any(map(_may_start, shown.backlog.values())):
        ready = filter(_may_start, shown.backlog.values())
        # As with a date, what a day has to end for first is not waited for.
        if not waits_for_tomorrow(ws, ready, view_agents(ws)[0]):
            return False
    # Runs that nobody waits for any more are being stopped, and their work is still to be sealed.
    return not any(_is_there(ws, path.name) for path in ws.paths.runs.glob("[!.]*"))


def _goes_on(ws: Workspace, job: Job, *, rests: bool) -> bool:
    at = job.at
    if job.is_held:
        return bool(at.run) and _is_there(ws, at.run)
    # A review may wait for a service that rests.
    paused = (at.not_before or rests) and at.state in (State.CHECKING, State.REVIEWING, State.MERGING)
    return bool(at.run or paused or at.state in (State.COLLECTED, State.LANDING))


def _may_start(job: Job) -> bool:
    return job.state is State.READY or (bool(job.at.not_before) and not job.is_held)


def _shown(ws: Workspace) -> Snapshot:
    # The tick has told that the ledger cannot be read, if it cannot: the loop goes on, and looks again.
    try:
        return ws.ledger.snapshot()
    except (OrcError, OSError):
        return Snapshot("", "")


def _is_there(ws: Workspace, run: str) -> bool:
    try:
        return state_of(folder_of(ws, run)) is not RunState.MISSING
    except OSError:
        return True  # Whoever cannot look, such as for want of a file handle, does not say that nothing is there.


@contextmanager
def watching(ws: Workspace, wake: threading.Event) -> Iterator[Watch]:
    """Events in `queue/` and from ended runs set `wake`. Without a watcher the timer does it alone."""
    ensure_folder(ws.paths.bell)
    with Watch([ws.paths.queue, ws.paths.bell], wake) as watch:
        yield watch


@contextmanager
def engine_of(ws: Workspace, *, listener: Callable[[str], None] = lambda _: None) -> Iterator[Engine]:
    """The one engine of a workspace. Raises BusyError if another runs."""
    ensure_folder(ws.paths.orcdir)
    with hold_lock(ws.paths.orcdir / "engine.lock", timeout=0, what="this workspace (one `orc run` at a time)"):
        # What a killed engine left visible may not be on disk yet; nothing is built on it before it is.
        sync_filesystem(ws.paths.git_dir)
        alarms = alarms_of(read_note(ws))
        note_engine(ws, {}, alarms.to_note())
        if not ws.ledger.snapshot().tip:
            raise LedgerError("there is no ledger", hint="orc init")
        if missing := find_unhandled():
            raise OrcError(f"nothing takes a job further that is {' or '.join(missing)}", hint="orc doctor")
        queue = QueueFolder(ws.paths.queue)
        projection = Projection(ws, queue)
        projection.start()
        nursery = Nursery(BACKENDS)
        ws.spawn = nursery.spawn
        try:
            yield Engine(ws, queue, projection, listener, nursery=nursery, alarms=alarms, note=({}, alarms.to_note()))
        finally:
            ws.spawn = spawn_shim
            nursery.close()


@contextmanager
def stopped_by_signals(loop: Loop) -> Iterator[None]:
    """SIGTERM and SIGINT end the loop after the present tick; a second one ends the process."""

    def stop(number: int, _: FrameType | None) -> None:
        if loop.engine.stopping:
            raise KeyboardInterrupt
        log.info("stopping after this tick (%s)", signal.Signals(number).name)
        loop.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(TypeError):
                signal.signal(number, handler)
