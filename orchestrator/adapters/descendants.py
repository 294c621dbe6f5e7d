"""Finds and ends the processes of a run, waits for one that need not be ours, and ties a process to its parent's life.

It must never end a process that is not of the run it was asked about.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LINUX = sys.platform.startswith("linux")
KILL_SECONDS = 10.0
ENVIRON_BYTES = 65536
"""An environment is read in pieces of so many."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


# --- parents and children ---


def become_subreaper() -> bool:
    """Orphans among our descendants become our children instead of init's (Linux). False where that does not exist."""
    return LINUX and _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when `parent` ends (Linux); if that has happened already, end it now."""
    if LINUX:
        _prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(127)


def die_with_parent() -> Callable[[], None]:
    """What the new process does before it becomes the program: ask the kernel for a SIGKILL when the shim dies."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)

    return ask


def _prctl(option: int, value: int) -> bool:
    result: int = ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    return result == 0


def has_children() -> bool:
    """Whether this process has a child, or cannot tell."""
    return _children(os.getpid()) != []


def _children(pid: int) -> list[int] | None:
    """The children of a process, zombies too; None where the kernel does not tell."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += [int(each) for each in file.read().split()]
    except OSError:
        return None
    return found


def reap_orphans(keep: int = 0) -> None:
    """Take away the zombies that came to us as subreaper, but not `keep`, whose exit code is still wanted."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == keep:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            return


# --- the processes of a run ---


@dataclass(frozen=True, slots=True)
class Process:
    """One row of the process table."""

    pid: int
    parent: int
    group: int
    zombie: bool


def descendants_of_run(run_id: str, *, run_dir: Path | None = None, root: int | None = None) -> list[int]:
    """Living processes of a run: those below `root`, and those that carry its marker in their environment (Linux).

    Give `run_dir` wherever it is known: run ids are unique in one workspace only. Never this process or one above it.
    """
    return [process.pid for process in _processes_of_run(run_id, run_dir, root)]


def kill_descendants(
    run_id: str, *, run_dir: Path | None = None, root: int | None = None, timeout_s: float = KILL_SECONDS
) -> list[int]:
    """SIGKILL every process that `descendants_of_run` finds, again and again until there is none or the time is over.

    Returns the ids that were sent a signal.
    """
    killed: dict[int, None] = {}
    deadline = time.monotonic() + timeout_s
    while found := _processes_of_run(run_id, run_dir, root):
        own_group = os.getpgrp()
        for group in {process.group for process in found} - {own_group, 0, 1}:
            send_signal(-group, signal.SIGKILL)  # One call ends a whole group, however fast it forks.
        for process in found:
            send_signal(process.pid, signal.SIGKILL)
            killed[process.pid] = None
        if time.monotonic() > deadline:
            break
        if root == os.getpid():
            reap_orphans()
        time.sleep(0.005)
    if root == os.getpid():  # Elsewhere the zombies are somebody else's, who still wants their exit codes.
        reap_orphans()
    return list(killed)


def _processes_of_run(run_id: str, run_dir: Path | None, root: int | None) -> list[Process]:
    marker = _marker(run_id, run_dir)
    marked = {pid for pid in _pids() if _has_marker(pid, marker)} if LINUX else set()
    if not marked - {os.getpid()} and root is not None and _children(root) == []:
        return []  # Nearly always: then nobody's parents have to be looked up.
    table = _process_table()
    marked &= table.keys()
    spared = _line_of_ancestors(table, os.getpid())
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: dict[int, None] = {}
    waiting = [*(marked - spared), *(children.get(root, []) if root is not None else [])]
    while waiting:
        pid = waiting.pop()
        if pid not in found and pid not in spared:
            found[pid] = None
            waiting += children.get(pid, [])
    return [table[pid] for pid in found if not table[pid].zombie]


def _line_of_ancestors(table: Mapping[int, Process], pid: int) -> set[int]:
    line = {0, 1}
    while pid not in line:
        line.add(pid)
        pid = table[pid].parent if pid in table else 0
    return line


def _process_table() -> dict[int, Process]:
    rows = _rows_of_proc() if LINUX else _rows_of_ps()
    return {row.pid: row for row in rows}


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _rows_of_proc() -> Iterable[Process]:
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent, group = file.read().rpartition(b")")[2].split()[:3]
        except OSError:
            continue  # It ended while we looked.
        yield Process(pid=pid, parent=int(parent), group=int(group), zombie=state in (b"Z", b"X"))


def _rows_of_ps() -> Iterable[Process]:
    with subprocess.Popen(["ps", "-axo", "pid=,ppid=,pgid=,stat="], stdout=subprocess.PIPE, text=True) as ps:
        rows = [line.split() for line in ps.communicate()[0].splitlines()]
    for pid, parent, group, state in rows:
        if int(pid) != ps.pid:
            yield Process(pid=int(pid), parent=int(parent), group=int(group), zombie=state.startswith("Z"))


def _marker(run_id: str, run_dir: Path | None) -> set[bytes]:
    return {f"ORC_RUN={run_id}".encode()} | ({b"ORC_RUN_DIR=" + os.fsencode(run_dir)} if run_dir else set())


def _has_marker(pid: int, marker: set[bytes]) -> bool:
    # Of every process of the machine at the end of each run: so without a file object, which asks the kernel for more.
    data = b""
    try:
        environ = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(environ, ENVIRON_BYTES):
                data += piece
        finally:
            os.close(environ)
    except OSError:
        return False  # It ended, or belongs to somebody else.
    return all(each in data for each in marker) and marker <= set(data.split(b"\0"))


# --- one process ---


def wait_for_end(pid: int, seconds: float) -> None:
    """Wait until a process has ended, which need not be ours, and no longer than so many seconds.

    Where the kernel cannot tell, or for no process (0), a hundredth of a second: look again then.
    """
    try:
        handle = os.pidfd_open(pid)
    except (OSError, AttributeError):
        time.sleep(min(seconds, 0.01))
        return
    try:
        watch = select.poll()
        watch.register(handle, select.POLLIN)
        watch.poll(seconds * 1000)
    finally:
        os.close(handle)


def is_alive(pid: int) -> bool:
    """Whether a process has not ended yet. A child of ours that has is reaped."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass  # Somebody else's.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process, or to the group `-pid`; one that has ended already is fine."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # It has ended already (macOS says EPERM for a group of zombies).
