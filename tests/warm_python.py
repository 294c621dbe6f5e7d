"""Commands that begin with all of orc's modules loaded: each is a fork of one process that has imported them.

To start Python and to import orc is a quarter of a second's work, which says nothing about what most tests are about.
Everything else is a process's own: its environment, its folder, its standard streams, its death. What the start itself
does, what is imported and what a terminal or a signal does there, is tested with processes that start from nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

from warm_shims import join_factory, way_to_factory

SOURCE = Path(__file__).resolve().parents[1]
ORC = ("from orchestrator.cli.main import main\nmain()", str(SOURCE / "orchestrator" / "__main__.py"))
"""What `python -m orchestrator` does, and the name by which it knows itself."""
_OFTEN = (
    *("_strptime", "encodings.ascii", "encodings.utf_8_sig", "filelock", "frontmatter", "git", "jsonschema"),
    *("rich.console", "rich.live", "rich.table", "watchdog.observers", "yaml"),
)
"""What commands import when they need it."""


def run_warm(
    code: str, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = "", timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run Python code with this `sys.argv` in a process of its own; as `subprocess.run` with its output captured."""
    with tempfile.TemporaryFile() as request, tempfile.TemporaryFile() as given, contextlib.ExitStack() as reading:
        _put(request, json.dumps([code, list(argv), str(cwd), dict(env)]))
        _put(given, stdin)
        ends, theirs = zip(*(os.pipe() for _ in range(3)), strict=True)
        for end in ends:
            reading.callback(os.close, end)
        try:
            socket.send_fds(_server(), [b"\n"], [request.fileno(), given.fileno(), *theirs])
        finally:
            for end in theirs:
                os.close(end)
        out, err, told = _read_all(ends, argv, timeout)
    words = told.split()
    assert len(words) == 2, "the process from which commands are forked has ended"
    return subprocess.CompletedProcess(list(argv), int(words[1]), _text(out), _text(err))


def _put(file: IO[bytes], text: str) -> None:
    file.write(text.encode())
    file.flush()
    file.seek(0)


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


def _read_all(ends: Sequence[int], argv: Sequence[str], timeout: float) -> list[bytes]:
    """What comes out of each pipe until it is closed: the output, the errors, and `PID CODE`."""
    found = dict.fromkeys(ends, b"")
    deadline = time.monotonic() + timeout
    try:
        with selectors.DefaultSelector() as open_yet:
            for end in ends:
                open_yet.register(end, selectors.EVENT_READ)
            while open_yet.get_map():
                ready = open_yet.select(deadline - time.monotonic())
                if not ready:
                    raise subprocess.TimeoutExpired(list(argv), timeout)
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    found[key.fd] += data
                    if not data:
                        open_yet.unregister(key.fd)
    except BaseException:
        if len(told := found[ends[-1]].split()) == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(told[0]), signal.SIGKILL)
        raise
    return [found[end] for end in ends]


@functools.cache
def _server() -> socket.socket:
    """The way to the one process that these tests' commands are forked from; it ends with the tests."""
    ours, theirs = socket.socketpair()
    nurseries = way_to_factory().fileno()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), str(nurseries)],
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            pass_fds=[theirs.fileno(), nurseries],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# --- the other side ---


def serve(number: int, nurseries: int) -> NoReturn:
    """Load everything and fork for each request, until the tests have ended."""
    import orchestrator
    from orchestrator.adapters.spelling import known_misspellings

    join_factory(nurseries)
    for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _OFTEN:
        importlib.import_module(name)
    known_misspellings()  # The only thing that most look up and that takes long to read.
    # What is never let go need not be looked at again, nor copied, by each command that collects its garbage.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as tests:
        while True:
            data, handles, _, _ = socket.recv_fds(tests, 1, 5)
            _reap()
            if not data:
                os._exit(0)
            if os.fork() == 0:
                break
            for handle in handles:
                os.close(handle)
    request, *streams, told = handles
    child = os.fork()
    if child:
        _wait(child, told, [request, *streams])
    os.close(told)
    _become(request, streams)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _wait(child: int, told: int, others: Sequence[int]) -> NoReturn:
    """Tell who a command is, and how it ended."""
    for each in others:
        os.close(each)
    os.write(told, f"{child} ".encode())
    _, status = os.waitpid(child, 0)
    os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: int, streams: Sequence[int]) -> NoReturn:
    """Run the code that is asked for, as a process that was started for it would."""
    with open(request, "rb") as file:
        code, argv, cwd, env = json.load(file)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv, sys.path[0] = argv, cwd
    sys.stdin = os.fdopen(0, "r", closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    end = _run(code, argv[0])
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    # To take every module apart again, as Python does at its end, takes longer than most commands.
    os._exit(end)


def _run(code: str, name: str) -> int:
    try:
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if not isinstance(end.code, str):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
