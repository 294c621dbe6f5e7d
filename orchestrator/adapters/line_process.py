"""A process that answers each line of JSON with a line of JSON, and is not trusted to do so."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.descendants import kill_descendants

CLOSE_S = 5.0
WAIT_S = 1.0
ANSWER_BYTES = 4 * 1024 * 1024
PIECE_BYTES = 65536


class BrokenProcessError(Exception):
    """The process does not do what it is there for, in words."""


@dataclass(slots=True)
class LineProcess:
    """One such process, in our own session. `wait` is called at least once a second while an answer is waited for."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    wait: Callable[[], None] = lambda: None
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _unread: bytearray = field(init=False, default_factory=bytearray)

    @property
    def has_begun(self) -> bool:
        """Whether it was started, and not ended by us."""
        return self._process is not None

    def begin(self) -> None:
        """Start it, without waiting for it. Raises BrokenProcessError."""
        self._unread.clear()
        try:
            self._process = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self.cwd,
                env=dict(self.env),
                bufsize=0,
            )
        except OSError as error:
            raise BrokenProcessError(f"could not be started: {error.strerror}") from error

    def ask(self, question: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        """Its answer. Raises BrokenProcessError if it gives none in time: somebody may have stopped or ended it."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        into, out = self._process.stdin.fileno(), self._process.stdout.fileno()
        unsent, until = memoryview(json.dumps(question).encode() + b"\n"), time.monotonic() + seconds
        os.set_blocking(into, False)
        with selectors.DefaultSelector() as selector:
            selector.register(into, selectors.EVENT_WRITE)
            selector.register(out, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if time.monotonic() > until:
                    raise BrokenProcessError(f"gave no answer for {seconds:g} s")
                for key, _ in selector.select(WAIT_S):
                    if key.fd == out:
                        self._take(out)
                        continue
                    unsent = unsent[_write(into, unsent) :]
                    if not unsent:
                        selector.unregister(into)
                self.wait()
        line, _, rest = bytes(self._unread).partition(b"\n")
        self._unread[:] = rest
        return _answer(line)

    def _take(self, out: int) -> None:
        piece = os.read(out, PIECE_BYTES)
        if not piece:
            raise BrokenProcessError("has ended")
        self._unread += piece
        if len(self._unread) > ANSWER_BYTES:
            raise BrokenProcessError("said too much")

    def close(self) -> None:
        """Let it end by itself. What it left running is left to whoever supervises the run."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(CLOSE_S)
                self._process = None
                return
        self.end()

    def end(self) -> None:
        """End it and all below it, at once."""
        process, self._process = self._process, None
        if process is None:
            return
        kill_descendants("\0", root=process.pid)  # No run has that id: only what is below it.
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _write(fd: int, data: memoryview) -> int:
    try:
        return os.write(fd, data[:PIECE_BYTES])
    except BlockingIOError:
        return 0
    except BrokenPipeError as error:
        raise BrokenProcessError("has ended") from error


def _answer(line: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BrokenProcessError("answered what is no answer")
    return value
