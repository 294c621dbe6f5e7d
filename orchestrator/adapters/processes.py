"""Starts, watches and ends every process that is not git, and finds the descendants of a run.

It decides nothing about jobs; it must never end a process that is not of the run it was asked about.
"""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, BinaryIO

from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.spans import span

LINUX = sys.platform.startswith("linux")
POLL_SECONDS = 0.1
"""A request to stop is seen after this long at most."""
KILL_SECONDS = 10.0
DRAIN_SECONDS = 1.0
TAIL_BYTES = 4096
READ_BYTES = 65536

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Orphans among our descendants become our children instead of init's (Linux). False where that does not exist."""
    return LINUX and _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when `parent` ends (Linux); if that has happened already, end it now."""
    if LINUX:
        _prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(127)


def _prctl(option: int, value: int) -> bool:
    result: int = ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    return result == 0


# --- descendants ---


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
            _signal(-group, signal.SIGKILL)  # One call ends a whole group, however fast it forks.
        for process in found:
            _signal(process.pid, signal.SIGKILL)
            killed[process.pid] = None
        if time.monotonic() > deadline:
            break
        if root == os.getpid():
            _reap_orphans()
        time.sleep(0.005)
    if root == os.getpid():  # Elsewhere the zombies are somebody else's, who still wants their exit codes.
        _reap_orphans()
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


def has_children() -> bool:
    """Whether this process has a child, or cannot tell."""
    return _children(os.getpid()) != []


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
            while piece := os.read(environ, READ_BYTES):
                data += piece
        finally:
            os.close(environ)
    except OSError:
        return False  # It ended, or belongs to somebody else.
    return all(each in data for each in marker) and marker <= set(data.split(b"\0"))


def _reap_orphans(keep: int = 0) -> None:
    """Take away the zombies that came to us as subreaper, but not `keep`, whose exit code is still wanted."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == keep:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            return


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # It has ended already (macOS says EPERM for a group of zombies).


# --- programs ---


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
                _signal(-process.pid, signal.SIGKILL)
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


# --- a supervised program ---


class End(StrEnum):
    """Why a supervised program is not running any more."""

    ENDED = "ended"
    NOT_STARTED = "not_started"
    TIMEOUT = "timeout"
    SILENT = "silent"
    OUTPUT_LIMIT = "output_limit"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. Seconds and bytes; `silent_s` 0 means that it may be silent for ever."""

    wall_s: float
    grace_s: float
    output_bytes: int
    silent_s: float = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a supervised program ended. `error_tail` and `tail` are the last 4 KiB of stderr and of both, redacted."""

    end: End
    exit: int | None = None
    signal: int | None = None
    problem: str = ""
    seconds: float = 0.0
    output_bytes: int = 0
    survivors: tuple[int, ...] = ()
    stdout_tail: bytes = b""
    error_tail: bytes = b""
    tail: bytes = b""


@dataclass(slots=True)
class _Stream:
    """One pipe of the program and the file that it goes to."""

    pipe: BinaryIO
    sink: BinaryIO
    redactor: Redactor
    tail: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Supervised:
    """One program in a session of its own, with its output pumped into bounded files by one thread.

    For a shim only: everything below this process is taken for a descendant of the run, and ended with it.
    `stdout` and `stderr` are open files (may be the same). `should_stop` is asked every 0.1 s. `run_id` and `run_dir`
    are the marker that must stand in `env` as ORC_RUN and ORC_RUN_DIR.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stdin: Path | None
    stdout: BinaryIO
    stderr: BinaryIO
    limits: Limits
    run_id: str
    run_dir: Path
    secrets: Sequence[str] = ()
    should_stop: Callable[[], bool] = lambda: False
    on_start: Callable[[int], None] = lambda pid: None
    on_stopping: Callable[[End], None] = lambda why: None

    _process: subprocess.Popen[bytes] = field(init=False)
    _streams: list[_Stream] = field(init=False, default_factory=list)
    _tail: bytearray = field(init=False, default_factory=bytearray)
    _seen: int = field(init=False, default=0)
    _written: int = field(init=False, default=0)
    _end: End = field(init=False, default=End.ENDED)
    _began: float = field(init=False, default=0.0)
    _last_output: float = field(init=False, default=0.0)
    _kill_at: float = field(init=False, default=float("inf"))

    def run(self) -> Outcome:
        """Start the program, wait for its end or bring it about, end every descendant. Never raises for its faults."""
        problem = program_problem(self.argv, path=self.env.get("PATH", ""), cwd=self.cwd)
        problem = problem or self._start()
        if problem:
            return Outcome(end=End.NOT_STARTED, problem=problem)
        survivors: list[int] = []
        try:
            with selectors.DefaultSelector() as selector:
                with span("program", self.run_id):
                    self.on_start(self._process.pid)
                    self._watch(selector)
                survivors = self._kill_rest()
                self._drain(selector)
        except BaseException:
            self._kill_rest()
            raise
        finally:
            self._process.wait()
            self._close()
        return self._outcome(survivors)

    @property
    def seen(self) -> int:
        """Bytes of output so far."""
        return self._seen

    def _start(self) -> str:
        try:
            with open(self.stdin or os.devnull, "rb") as prompt:
                self._process = subprocess.Popen(
                    list(self.argv),
                    stdin=prompt,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=self.cwd,
                    env=dict(self.env),
                    start_new_session=True,
                    preexec_fn=_die_with_parent() if LINUX else None,
                    bufsize=0,
                )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return f"The program {self.argv[0]} could not be started: {reason}. Try it by hand in {self.cwd}."
        self._began = self._last_output = time.monotonic()
        pairs = ((self._process.stdout, self.stdout), (self._process.stderr, self.stderr))
        for pipe, sink in pairs:
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._streams.append(_Stream(pipe, sink, Redactor(self.secrets)))  # type: ignore[arg-type]
        return ""

    def _watch(self, selector: selectors.BaseSelector) -> None:
        """Pump until the program has ended, and see to it that it does."""
        for stream in self._streams:
            selector.register(stream.pipe, selectors.EVENT_READ, stream)
        pidfd = os.pidfd_open(self._process.pid) if hasattr(os, "pidfd_open") else -1
        if pidfd >= 0:
            selector.register(pidfd, selectors.EVENT_READ, None)
        try:
            while self._process.poll() is None:
                self._pump(selector, POLL_SECONDS if pidfd >= 0 else POLL_SECONDS / 5)
                self._check_limits(selector)
                _reap_orphans(keep=self._process.pid)
        finally:
            if pidfd >= 0:
                selector.unregister(pidfd)
                os.close(pidfd)

    def _check_limits(self, selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        if self._end is not End.ENDED:
            if now >= self._kill_at:
                _signal(-self._process.pid, signal.SIGKILL)
            return
        why = self._reason_to_end(now)
        if why is None:
            return
        self._end, self._kill_at = why, now + self.limits.grace_s
        self.on_stopping(why)
        if why is End.OUTPUT_LIMIT:
            self._stop_reading(selector)
        _signal(-self._process.pid, signal.SIGTERM)
        _signal(-self._process.pid, signal.SIGCONT)  # A stopped process would never see the polite signal.

    def _reason_to_end(self, now: float) -> End | None:
        if self.should_stop():
            return End.STOPPED
        if self._seen > self.limits.output_bytes:
            return End.OUTPUT_LIMIT
        if now - self._began >= self.limits.wall_s:
            return End.TIMEOUT
        if self.limits.silent_s and now - self._last_output >= self.limits.silent_s:
            return End.SILENT
        return None

    def _pump(self, selector: selectors.BaseSelector, timeout: float) -> bool:
        """Read what there is. True if any pipe gave something or ended."""
        moved = False
        for key, _ in selector.select(timeout):
            stream: _Stream | None = key.data
            if stream is None:
                continue
            moved = True
            try:
                piece = os.read(stream.pipe.fileno(), READ_BYTES)
            except BlockingIOError:
                continue
            if not piece:
                selector.unregister(stream.pipe)
            else:
                self._last_output = time.monotonic()
                self._seen += len(piece)
                self._write(stream, stream.redactor.feed(piece))
        return moved

    def _write(self, stream: _Stream, data: bytes) -> None:
        data = data[: max(0, self.limits.output_bytes - self._written)]
        self._written += len(data)
        stream.sink.write(data)
        stream.sink.flush()
        for tail in (stream.tail, self._tail):
            tail += data[-TAIL_BYTES:]
            del tail[:-TAIL_BYTES]

    def _stop_reading(self, selector: selectors.BaseSelector) -> None:
        for stream in self._streams:
            if stream.pipe in {key.fileobj for key in selector.get_map().values()}:
                selector.unregister(stream.pipe)

    def _drain(self, selector: selectors.BaseSelector) -> None:
        """What the dead left in the pipes. No waiting for their end: somebody out of reach may hold a pipe open."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while selector.get_map() and time.monotonic() < deadline and self._pump(selector, 0):
            if self._seen > self.limits.output_bytes:
                self._end = End.OUTPUT_LIMIT if self._end is End.ENDED else self._end
                break
        for stream in self._streams:
            self._write(stream, stream.redactor.flush())

    def _kill_rest(self) -> list[int]:
        if self._process.returncode is None:
            _signal(-self._process.pid, signal.SIGKILL)
            self._process.wait()
        return kill_descendants(self.run_id, run_dir=self.run_dir, root=os.getpid())

    def _close(self) -> None:
        for stream in self._streams:
            stream.pipe.close()

    def _outcome(self, survivors: Sequence[int]) -> Outcome:
        code = self._process.returncode
        out, err = (bytes(stream.tail) for stream in self._streams)
        return Outcome(
            end=self._end,
            exit=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            seconds=round(time.monotonic() - self._began, 3),
            output_bytes=self._written,
            survivors=tuple(survivors),
            stdout_tail=out,
            error_tail=err,
            tail=bytes(self._tail),
        )


def _die_with_parent() -> Callable[[], None]:
    """What the new process does before it becomes the program: ask the kernel for a SIGKILL when the shim dies."""
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(127)

    return ask
