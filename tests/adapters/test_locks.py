"""Locks and leases against real files, real processes and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from run_helpers import wait_until

from orchestrator.adapters import locks
from orchestrator.errors import BusyError

ROOT = Path(locks.__file__).parents[2]


@contextmanager
def _child(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed `ready`; it is killed at the end."""
    child = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


# --- locks ---

_HOLD_LOCK = """
import sys
from pathlib import Path
from orchestrator.adapters import locks
with locks.hold_lock(Path(sys.argv[1]), timeout=10, what="the ledger"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def _try_lock(path: Path) -> bool:
    try:
        with locks.hold_lock(path, timeout=0, what="the ledger"):
            return True
    except BusyError:
        return False


def test_a_lock_held_by_another_process_is_refused_by_name_and_freed_by_its_death(tmp_path: Path) -> None:
    path = tmp_path / "orc" / "ledger.lock"
    with _child(_HOLD_LOCK, path) as holder:
        with (
            pytest.raises(BusyError, match="the ledger is in use by another process") as caught,
            locks.hold_lock(path, timeout=0.05, what="the ledger"),
        ):
            pytest.fail("two holders")
        assert caught.value.hint
        holder.kill()
        holder.wait()
        with locks.hold_lock(path, timeout=5, what="the ledger"):
            assert not _try_lock(path)
    assert path.exists()


def test_who_waits_gets_the_lock_when_it_is_freed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with _child(_HOLD_LOCK, path) as holder:
        assert not _try_lock(path)
        assert holder.stdin is not None
        holder.stdin.close()
        with locks.hold_lock(path, timeout=10, what="the ledger"):
            assert path.exists()


def test_a_lock_is_freed_by_an_error_and_stays_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyError), locks.hold_lock(path, timeout=0, what="x"):
        raise KeyError
    assert _try_lock(path)
    assert path.exists()


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match=r"."), locks.hold_lock(tmp_path / "lock", timeout=0, what="x"):
        pytest.fail("taken")
    assert not (tmp_path / "target").exists()


# Removes the lock file once, between the opening of it and the locking of it.
_LOCK_REMOVED_FILE = """
import os, sys
from pathlib import Path
from orchestrator.adapters import locks
path, removed = Path(sys.argv[1]), []
def remove(event, arguments):
    if event == "fcntl.flock" and not removed:
        removed.append(1)
        os.unlink(path)
sys.addaudithook(remove)
if sys.argv[2] == "lease":
    fd = locks.take_lease(path)
    assert removed and locks.lease_stands(fd, path)
    print("ready", flush=True)
    sys.stdin.read()
else:
    with locks.hold_lock(path, timeout=10, what="the ledger"):
        assert removed
        print("ready", flush=True)
        sys.stdin.read()
"""


def test_a_lock_file_removed_before_it_is_locked_makes_no_two_holders(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with _child(_LOCK_REMOVED_FILE, path, "lock"):
        assert not _try_lock(path)
    assert _try_lock(path)


# --- leases ---


def test_a_lease_is_taken_once_and_is_free_when_released(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    assert locks.lease_is_free(path)
    assert not path.exists()
    fd = locks.take_lease(path)
    assert fd is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(fd)
    assert locks.take_lease(path) is None
    assert not locks.lease_is_free(path)
    locks.release_lease(fd)
    assert locks.lease_is_free(path)
    assert locks.lease_is_free(path)
    again = locks.take_lease(path)
    assert again is not None
    locks.release_lease(again)


def test_looking_and_failing_to_take_a_lease_leak_no_descriptors(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    fd = locks.take_lease(path)
    assert fd is not None
    for _ in range(3):
        assert locks.take_lease(path) is None
        assert not locks.lease_is_free(path)
    probe = os.open(path, os.O_RDONLY)
    assert probe == fd + 1
    os.close(probe)
    locks.release_lease(fd)


# Takes the lease, passes it to a child that outlives it, says the child's pid, and waits to be killed.
_PARENT = """
import os, subprocess, sys
from pathlib import Path
from orchestrator.adapters import locks
fd = locks.take_lease(Path(sys.argv[1]))
child = subprocess.Popen(
    [sys.executable, "-c", "import signal; signal.pause()"],
    pass_fds=[fd], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
)
locks.release_lease(fd)
Path(sys.argv[2]).write_text(str(child.pid))
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_lease_lives_and_dies_with_the_child_and_not_with_the_parent(tmp_path: Path) -> None:
    path, pid_file = tmp_path / "lease", tmp_path / "pid"
    with _child(_PARENT, path, pid_file) as parent:
        pid = int(pid_file.read_text())
        try:
            assert not locks.lease_is_free(path)
            parent.send_signal(signal.SIGKILL)
            assert parent.wait() == -signal.SIGKILL
            for _ in range(20):
                assert locks.take_lease(path) is None
                assert not locks.lease_is_free(path)
        finally:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: locks.lease_is_free(path), seconds=5)
    fd = locks.take_lease(path)
    assert fd is not None
    locks.release_lease(fd)


def test_a_lease_file_removed_while_held_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    fd = locks.take_lease(path)
    assert fd is not None
    assert locks.lease_stands(fd, path)
    path.unlink()
    assert not locks.lease_stands(fd, path)
    other = locks.take_lease(path)
    assert other is not None
    assert locks.lease_stands(other, path)
    assert not locks.lease_stands(fd, path)
    locks.release_lease(fd)
    assert not locks.lease_is_free(path)
    locks.release_lease(other)


def test_a_lease_file_removed_before_it_is_locked_makes_no_two_holders(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with _child(_LOCK_REMOVED_FILE, path, "lease"):
        assert locks.take_lease(path) is None
        assert not locks.lease_is_free(path)
    assert locks.lease_is_free(path)


def test_a_lease_is_not_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "lease").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match=r"."):
        locks.take_lease(tmp_path / "lease")
    assert not (tmp_path / "target").exists()
