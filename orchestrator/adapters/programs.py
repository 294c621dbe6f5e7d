"""Starts programs that are not git and need no supervision, and says why one cannot be started.

Some are waited for, some have their output taken, and some live on without us.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.adapters.descendants import kill_descendants, send_signal

POLL_SECONDS = 0.1
"""A request to stop is seen after this long at most."""
DRAIN_SECONDS = 1.0
READ_BYTES = 65536


def program_problem(argv: Sequence[str], *, path: str, cwd: Path | str) -> str:
    """'' if argv[0] can be started with this PATH in this folder, else the reason and the way out."""
    if not argv or not argv[0]:
        return "No program is named: give `argv` with at least one entry."
    name = argv[0]
    if "\0" in "".join(argv):
        return f"The command of {name.split(chr(0))[0]!r} contains a NUL character: take it out."
    if "/" in name:
        return _file_problem(os.path.join(cwd, name))
    folders = [os.path.join(cwd, part) for part in path.split(os.pathsep)]
    problems = [_file_problem(os.path.join(folder, name)) for folder in folders]
    if "" in problems:
        return ""
    present = [text for text in problems if "does not exist" not in text]
    if present:
        return present[0]
    return f"The program {name!r} is not on the PATH ({path or 'which is empty'}): install it or give its full path."


def _file_problem(file: str) -> str:
    try:
        mode = os.stat(file).st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            reason = "it does not exist"
        return f"The program {file} cannot be started: {reason}. Install it or correct the path."
    if stat.S_ISDIR(mode):
        return f"The program {file} cannot be started: it is a folder. Name the program inside it."
    if not stat.S_ISREG(mode):
        return f"The program {file} cannot be started: it is not a file. Correct the path."
    if not os.access(file, os.X_OK):
        return f"The program {file} cannot be started: it is not executable. Run `chmod +x {shlex.quote(file)}`."
    return ""


# --- programs that are waited for, or not ---


def run_shell(text: str, *, stdin: bytes = b"") -> int:
    """Run a line of shell in the present folder and environment, its output to ours. The exit code; -N for signal N."""
    return subprocess.run(["/bin/sh", "-c", text], input=stdin, check=False).returncode


def remove_in_background(folder: Path) -> None:
    """Remove a folder that nobody uses any more, in a process that nobody waits for; the file `lock` in it goes last.

    Who finds that file later, and unlocked, knows that the removal did not come to its end.
    """
    # A check may have taken the permission away.
    script = """cd "$1" && for each in * .[!.]*; do
        test "$each" = lock || rm -rf "./$each" || { chmod -R u+rwx "./$each"; rm -rf "./$each"; }
    done; cd / && rm -rf "$1"
    """
    start_in_background(["/bin/sh", "-c", script, "sh", str(folder)])


def start_in_background(argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Start a command in a session of its own that nobody waits for, without input and output. Its process id.

    `env`: what it gets beside the environment of this process. Raises OSError if it cannot be started.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=None if env is None else {**os.environ, **env},
        start_new_session=True,
    )
    process.returncode = 0  # It may outlive us: `subprocess` must not warn or wait.
    return process.pid


def ask_version(program: str, *, path: str) -> str:
    """What a program answers to `--version`, its first line, at most 100 characters; '' if that takes over 10 s."""
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
            env={"PATH": path, "HOME": "/nonexistent", "NO_COLOR": "1"},
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    lines = done.stdout.decode("utf-8", "replace").split("\n")
    return "".join(char for char in lines[0].strip()[:100] if char.isprintable()) if done.returncode == 0 else ""


def run_editor(editor: str, path: Path, *, quiet: bool = False) -> int:
    """Open a file in a person's editor (a line of shell, as git takes it) and wait. The exit code; -N for signal N.

    Ctrl-C is the editor's as long as it is open. `quiet`: what it prints goes to standard error.
    """
    argv = ["/bin/sh", "-c", f'{editor} "$@"', editor, str(path)]
    with subprocess.Popen(argv, stdout=sys.stderr if quiet else None) as process:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
        try:
            return process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


# --- a command whose output is wanted ---


@dataclass(frozen=True, slots=True)
class Captured:
    """What a command printed: the beginning, and the end where `left_out` bytes lie between. `exit` is -N for signal N.

    `exit` is None if it was ended for its time.
    """

    exit: int | None
    head: bytes
    tail: bytes
    left_out: int

    @property
    def timed_out(self) -> bool:
        """Whether it was ended for its time."""
        return self.exit is None


def capture(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    keep_bytes: int,
    stdin: bytes = b"",
    while_waiting: Callable[[], None] = lambda: None,
) -> Captured:
    """Run a command in a session of its own, stdout and stderr together; at most `keep_bytes` are kept.

    After `timeout_s` it is killed with all below it. What it leaves in the background lives on, and is not waited for.
    `while_waiting` is called every 0.1 s or so. Raises OSError if the command cannot be started.
    """
    head, tail, seen, half = bytearray(), bytearray(), 0, keep_bytes // 2
    until = drained = time.monotonic() + timeout_s
    with (
        _input(stdin) as given,
        subprocess.Popen(
            list(argv),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
            bufsize=0,
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        code = ended = None
        try:
            while code is None and time.monotonic() < until:
                if ended is None and (ended := process.poll()) is not None:
                    until = max(until, time.monotonic() + DRAIN_SECONDS)
                    drained = time.monotonic() + DRAIN_SECONDS
                piece = _piece(selector, process, POLL_SECONDS if ended is None else 0)
                if ended is not None and (not piece or time.monotonic() > drained):
                    code = ended  # All that it wrote itself was in the pipe before it ended.
                seen += len(piece)
                head += piece[: half - len(head)]
                tail += piece
                del tail[:-half]
                while_waiting()
        finally:
            if code is None:
                kill_descendants("\0", root=process.pid)  # No run has that id: only what is below it.
                send_signal(-process.pid, signal.SIGKILL)
    kept = min(seen - len(head), half)
    return Captured(code, bytes(head), bytes(tail[len(tail) - kept :]), seen - len(head) - kept)


@contextmanager
def _input(data: bytes) -> Iterator[IO[bytes]]:
    """A file with these bytes, at its beginning: who reads no input keeps nobody waiting."""
    with open(os.devnull, "rb") if not data else tempfile.TemporaryFile() as file:
        if data:
            file.write(data)
            file.seek(0)
        yield file


def _piece(selector: selectors.BaseSelector, process: subprocess.Popen[bytes], timeout: float) -> bytes:
    """What the one pipe has to give; b"" if that is nothing yet, or if it is closed."""
    if not selector.get_map():
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
        return b""
    for key, _ in selector.select(timeout):
        piece = os.read(key.fd, READ_BYTES)
        if not piece:
            selector.unregister(key.fileobj)
        return piece
    return b""
