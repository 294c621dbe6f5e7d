"""When each program that orc starts was running, for who measures: one line of JSON for each span or instant.

ORC_TRACE_SPANS names the file. Without it nothing is looked at but that one variable. It tells, and changes nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

TRACE = "ORC_TRACE_SPANS"


@contextmanager
def span(what: str, name: str) -> Iterator[None]:
    """Around something that takes time: `what` kind of thing it is, and which one."""
    path = os.environ.get(TRACE)
    if not path:
        yield
        return
    begin = time.monotonic_ns()
    try:
        yield
    finally:
        _append(path, what, name, begin, time.monotonic_ns())


def mark(what: str, name: str) -> None:
    """An instant."""
    path = os.environ.get(TRACE)
    if path:
        now = time.monotonic_ns()
        _append(path, what, name, now, now)


def _append(path: str, what: str, name: str, begin: int, end: int) -> None:
    line = json.dumps({"pid": os.getpid(), "what": what, "name": name, "begin": begin, "end": end}) + "\n"
    # One write to a file that is open for appending: lines of several processes do not mix.
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
