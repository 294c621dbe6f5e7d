"""One program under supervision: bounded in time, silence and output, and ended with all that it started.

For a shim only: everything below the process is taken for a descendant of its run.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from orchestrator.adapters.descendants import LINUX, die_with_parent, kill_descendants, reap_orphans, send_signal
from orchestrator.adapters.programs import DRAIN_SECONDS, POLL_SECONDS, READ_BYTES, program_problem
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.spans import span

TAIL_BYTES = 4096


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
                    preexec_fn=die_with_parent() if LINUX else None,
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
                reap_orphans(keep=self._process.pid)
        finally:
            if pidfd >= 0:
                selector.unregister(pidfd)
                os.close(pidfd)

    def _check_limits(self, selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        if self._end is not End.ENDED:
            if now >= self._kill_at:
                send_signal(-self._process.pid, signal.SIGKILL)
            return
        why = self._reason_to_end(now)
        if why is None:
            return
        self._end, self._kill_at = why, now + self.limits.grace_s
        self.on_stopping(why)
        if why is End.OUTPUT_LIMIT:
            self._stop_reading(selector)
        send_signal(-self._process.pid, signal.SIGTERM)
        send_signal(-self._process.pid, signal.SIGCONT)  # A stopped process would never see the polite signal.

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
            send_signal(-self._process.pid, signal.SIGKILL)
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
