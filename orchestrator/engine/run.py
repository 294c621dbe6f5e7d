"""The shim: the small process that supervises one run from beginning to end.

It holds the lease for as long as it lives, needs nothing from the engine, and whatever goes wrong leaves a result.
By hand: `python -m orchestrator.engine.run FOLDER`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from orchestrator.adapters import clock
from orchestrator.adapters.descendants import become_subreaper, has_children, kill_descendants
from orchestrator.adapters.files import ensure_folder, remove_tree, ring, write_atomic
from orchestrator.adapters.locks import lease_stands, release_lease, take_lease
from orchestrator.adapters.run_folder import RunFolder, read_spec, write_result
from orchestrator.adapters.run_values import RunSpec
from orchestrator.adapters.shims import LEASE_FD
from orchestrator.adapters.spans import mark
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.times import iso
from orchestrator.engine.run_state import Run, RunOver
from orchestrator.engine.run_steps import execute
from orchestrator.errors import ExitCode, OrcError

HEARTBEAT_SECONDS = 30.0

STATUS_BY_PHASE = {"preparing": RunStatus.PREPARE_FAILED, "setup": RunStatus.SETUP_FAILED}
"""What a run is called that broke in a phase; one that broke later is called broken."""


def main(argv: Sequence[str]) -> int:
    """Supervise the run in the folder argv[0]. 0 when a result was left, whatever it says."""
    if len(argv) != 1:
        print("usage: python -m orchestrator.engine.run RUN_FOLDER", file=sys.stderr)
        return ExitCode.USAGE
    folder = RunFolder(Path(os.path.abspath(argv[0])))
    mark("run:loaded", folder.path.name)
    lease = _hold_lease(folder)
    if lease is None:
        print(f"{folder.path}: another process supervises this run", file=sys.stderr)
        return ExitCode.BUSY
    if os.path.lexists(folder.result):
        print(f"{folder.path}: this run has a result already; a run happens once", file=sys.stderr)
        return ExitCode.REFUSED
    return _supervise(folder, lease)


def _hold_lease(folder: RunFolder) -> int | None:
    """Keep the inherited lease, which ends with this process; started by hand, take it."""
    number = os.environ.pop(LEASE_FD, "")
    if number.isdigit():
        try:
            if lease_stands(int(number), folder.lease):
                os.set_inheritable(int(number), False)
                return int(number)
        except OSError:
            pass  # A number that is no open file: it was not meant for us.
    ensure_folder(folder.lease.parent)
    return take_lease(folder.lease)


def _supervise(folder: RunFolder, lease: int) -> int:
    run = Run(folder=folder, began=clock.now())
    become_subreaper()
    _answer_signals(run)
    spec: RunSpec | None = None
    try:
        spec = read_spec(folder)
        execute(run, spec)
    except RunOver as over:
        run.status, run.error = over.status, over.error
    except Exception as error:  # The border of the process: a run that breaks must leave a result, never die silently.
        traceback.print_exc()
        _note_failure(run, error)
    _clean_up(run, spec)
    return _leave_result(run, lease)


def _note_failure(run: Run, error: Exception) -> None:
    # A broken supervisor is not the agent's failure.
    run.status = STATUS_BY_PHASE.get(run.phase, RunStatus.BROKEN)
    words = (
        [str(error)] if isinstance(error, OrcError) else [f"orc's supervisor broke: {type(error).__name__}: {error}"]
    )
    hint = getattr(error, "hint", "")
    run.error = " ".join([*words, hint] if hint else words)


def _clean_up(run: Run, spec: RunSpec | None) -> None:
    # Each program's descendants were ended with it, those that had left the tree too: here only ours are looked at.
    if spec is not None and has_children():
        run.survivors += kill_descendants(spec.run, run_dir=run.folder.path, root=os.getpid())
    for folder in (run.folder.tmp, run.folder.home):
        try:
            remove_tree(folder)
        except OSError as error:
            run.notes.append(f"{folder.name} could not be removed: {error}")


def _leave_result(run: Run, lease: int) -> int:
    signal.setitimer(signal.ITIMER_REAL, 0)
    result, durable = run.result(), run.spec is None or not run.spec.awaited_by
    try:
        try:
            write_result(run.folder, result, durable=durable)
        except IsADirectoryError:
            remove_tree(run.folder.result)  # The agent put a folder in the way.
            write_result(run.folder, result, durable=durable)
    except OSError:
        # The lease falls free without a result: the engine takes that for what it is, a run that died.
        traceback.print_exc()
        return ExitCode.FAILED
    # Free before the bell: whoever is woken by it finds a run that has ended.
    release_lease(lease)
    if run.spec is not None:
        try:
            ring(run.spec.orcdir / "bell", run.spec.run)
        except (OSError, ValueError):
            traceback.print_exc()  # Only a wake-up: the engine looks without it as well, a little later.
    mark("run:rang", run.folder.path.name)
    return ExitCode.OK


def _answer_signals(run: Run) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        run.signalled = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    beat = _beat(run)
    beat(signal.SIGALRM, None)
    # A timer instead of a thread: the shim forks, and a process with one thread forks safely.
    signal.signal(signal.SIGALRM, beat)
    signal.setitimer(signal.ITIMER_REAL, HEARTBEAT_SECONDS, HEARTBEAT_SECONDS)


def _beat(run: Run) -> Callable[[int, FrameType | None], None]:
    def beat(number: int, frame: FrameType | None) -> None:
        state = {
            "at": iso(clock.now()),
            "phase": run.phase,
            "pid": os.getpid(),
            "output_bytes": run.program.seen if run.program else 0,
        }
        try:
            write_atomic(run.folder.heartbeat, json.dumps(state).encode() + b"\n", mode=0o600, sync=False)
        except OSError:
            traceback.print_exc()  # A full disk must not end a run; a missing beat is noticed by its age.

    return beat


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
