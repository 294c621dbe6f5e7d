"""Figure 6: how soon an engine is at work again after a hard end, with very many ended jobs."""

from __future__ import annotations

import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.ledger_maker import copy_of, waiting_ledger_of
from benchmarks.result import Middle, Options, Result, compare, middle
from benchmarks.timeline import read_spans
from benchmarks.world import EngineProcess, wait_until

LIMIT_MS = 1000.0
SMALL, LARGE, OPEN = 1_000, 100_000, 100


def measure(options: Options) -> list[Result]:
    """Figure 6: after a plain kill, and with the queue folder gone as well."""
    small, large, waiting, count = (100, 400, 20, 2) if options.quick else (SMALL, LARGE, OPEN, 9)
    results = []
    for what, harm in (("after a kill", _no_harm), ("after a kill, queue/ deleted", _delete_queue)):
        few = _starts(options, small, waiting, harm, count)
        big = _starts(options, large, waiting, harm, count)
        results.append(
            compare(
                "6",
                f"start and heal {what}, {large} ended and {waiting} open",
                big[0],
                few[0],
                f"with {small} ended",
                limit=LIMIT_MS,
                bounded_by="imports, reading the open jobs, and writing the latest ended ones into queue/",
                cpu_ms=round(big[1], 1),
                note="from the start of the process to the end of its first look, with the queue shown; "
                f"processor time with {small} ended {few[1]:.0f} ms",
            )
        )
    return results


def _no_harm(root: Path) -> None:
    pass


def _delete_queue(root: Path) -> None:
    shutil.rmtree(root / "queue")


def _starts(
    options: Options, jobs: int, waiting: int, harm: Callable[[Path], None], count: int
) -> tuple[Middle, float]:
    times = []
    with copy_of(waiting_ledger_of(options, jobs, waiting)) as root:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for number in range(count + 1):
            harm(root)
            taken = _start(root)
            if number:
                times.append(taken)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return middle(times), cpu / (count + 1) * 1000


def _start(root: Path) -> float:
    """Milliseconds until the first tick is over; then the engine is killed."""
    spans = root / ".git" / "bench-spans"
    spans.unlink(missing_ok=True)
    begin = time.monotonic_ns()
    with EngineProcess(root, spans) as engine:
        try:
            wait_until(lambda: _ticked(spans), seconds=300, what="the first tick", every=0.002)
        finally:
            engine.process.send_signal(signal.SIGKILL)
    return (next(each.end for each in read_spans(spans) if each.what == "part" and each.name == LAST) - begin) / 1e6


LAST = "engine.json"
"""The last part of a tick."""


def _ticked(spans: Path) -> bool:
    return spans.exists() and f'"name": "{LAST}"' in spans.read_text()
