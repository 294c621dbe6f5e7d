"""Nurseries that begin with everything loaded: each is a fork of one process that has loaded what a nursery loads.

An engine starts one process from which it forks the supervisors of its runs. To load that is half of what the life of
an engine takes in most tests, and says nothing about what they are about. Everything else is a nursery's own: its
session, its environment, its socket, its death. How one is started from nothing is tested with `COLD`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from orchestrator.adapters import shims
from orchestrator.adapters.backends.registry import BACKENDS, find_backend

COLD = shims._start
"""How the program itself starts a nursery."""
_CODE = shims._NURSERY_CODE
_WAYS: list[socket.socket] = []


def begin_warm(
    code: str, *args: str, inherit: Sequence[int], output: int, extra: dict[str, str]
) -> subprocess.Popen[bytes]:
    """In the place of `shims._start`: a nursery is forked, everything else is started as ever."""
    if code != _CODE:
        return COLD(code, *args, inherit=inherit, output=output, extra=extra)
    (engine,) = inherit
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.memfd_create("nursery"), "w+b") as told:
        told.write(json.dumps([dict(os.environ | extra), args[1:]]).encode())
        told.seek(0)
        socket.send_fds(way_to_factory(), [b"\n"], [told.fileno(), engine, theirs.fileno()])
        theirs.close()
        pid, (handle,), _, _ = socket.recv_fds(ours, 64, 1)
    return cast("subprocess.Popen[bytes]", _Nursery(int(pid), handle))


class _Nursery:
    """What an engine asks of the process that it has started: no child of ours, so by a handle."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid = pid
        self._handle = handle

    def poll(self) -> int | None:
        return 0 if select.select([self._handle], [], [], 0)[0] else None

    def kill(self) -> None:
        # It may end just now, by itself.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def wait(self) -> None:
        select.select([self._handle], [], [])

    def __del__(self) -> None:
        os.close(self._handle)


def join_factory(number: int) -> None:
    """Have nurseries forked by the process to which this socket leads."""
    _WAYS.append(socket.socket(fileno=number))
    shims._start = begin_warm


def way_to_factory() -> socket.socket:
    """The way to the one process that these tests' nurseries are forked from. It ends with the tests."""
    return _WAYS[0] if _WAYS else _factory()


@functools.cache
def _factory() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    load, _, serves = _CODE.rpartition("; ")
    assert serves.startswith("serve(")
    code = f"{load}; sys.path.insert(0, sys.argv[3]); import warm_shims; warm_shims.fork_nurseries(serve, main)"
    with theirs:
        here = Path(__file__).resolve().parent
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", code, str(here.parent), str(theirs.fileno()), str(here)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        # What was left running may still hold its end of the socket.
        process.kill()
        process.wait()

    atexit.register(end)
    return ours


# --- the other side ---


def fork_nurseries(serve: Callable[[int, Any, Sequence[str]], None], main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Fork for each request, until the tests have ended."""
    for name in BACKENDS:
        find_backend(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.path.remove(sys.argv.pop(3))
    with socket.socket(fileno=int(sys.argv[2])) as tests:
        while True:
            asked, handles, _, _ = socket.recv_fds(tests, 8, 3)
            if not asked:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                break
            with socket.socket(fileno=handles.pop()) as answer:
                handle = os.pidfd_open(pid)
                socket.send_fds(answer, [str(pid).encode()], [handle])
            for each in (*handles, handle):
                os.close(each)
    told, engine, answer_of = handles
    os.close(answer_of)
    os.dup2(1, 2)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(told, "rb") as file:
        environment, backends = json.load(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[2] = str(engine)
    serve(engine, main, backends)
    os._exit(0)
