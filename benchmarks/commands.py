"""Figure 4: the commands that only look, on a ledger with very many ended jobs."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ledger_maker import some_id, waiting_ledger_of
from benchmarks.result import Middle, Options, Result, compare, middle
from benchmarks.world import orc_argv, orc_environment, run

ENDED, OPEN = 100_000, 1_000


def measure(options: Options) -> list[Result]:
    """Figure 4."""
    jobs, waiting = (400, 20) if options.quick else (ENDED, OPEN)
    root = waiting_ledger_of(options, jobs, waiting)
    count = options.pick(21, 3)
    bare, _ = _time([sys.executable, "-c", "pass"], root, count)
    wanted = (
        (f"orc status, {jobs} ended and {waiting} open", ["status"], 300.0, "reading the open jobs"),
        (f"orc show of an ended job, {jobs} ended", ["show", some_id(root)], 200.0, "imports, and git's start"),
        ("orc --help", ["--help"], 150.0, "the start of Python"),
    )
    return [_result(name, args, limit, bound, root, count, bare) for name, args, limit, bound in wanted]


def _result(name: str, args: Sequence[str], limit: float, bound: str, root: Path, count: int, bare: Middle) -> Result:
    mid, cpu = _time(orc_argv(*args), root, count)
    return compare("4", name, mid, bare, "`python -c pass`", limit=limit, bounded_by=bound, cpu_ms=round(cpu, 1))


def _time(argv: Sequence[str], root: Path, count: int) -> tuple[Middle, float]:
    """Wall and processor time of a command, in milliseconds, after two runs to warm the caches."""
    walls, used = [], 0.0
    for number in range(count + 2):
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run(argv, root, env=orc_environment())
        wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        if number >= 2:
            walls.append(wall * 1000)
            used += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return middle(walls), used / count * 1000
