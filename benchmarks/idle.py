"""Figure 5: what an engine uses while very many jobs wait and nothing happens."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ledger_maker import copy_of, waiting_ledger_of
from benchmarks.result import Options, Result
from benchmarks.world import EngineProcess, cpu_of, memory_of, wait_until

WAITING = 10_000
LIMIT_PERCENT, LIMIT_MIB, LIMIT_GROWTH_MIB = 1.0, 120.0, 5.0
EVERY_S = 1.0
SETTLE_S = 10.0
LEAST_S = 120.0
"""A slope over less than this says nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The engine and its children at one moment."""

    at: float
    cpu_s: float
    own_bytes: int
    all_bytes: int


def measure(options: Options) -> list[Result]:
    """Figure 5."""
    waiting = 200 if options.quick else WAITING
    length = 10.0 if options.quick else options.minutes * 60
    with copy_of(waiting_ledger_of(options, 0, waiting)) as root, EngineProcess(root) as engine:
        shown = root / "queue" / "waiting"
        wait_until(lambda: len(list(shown.glob("*.yaml"))) >= waiting, seconds=600, what="the queue", every=0.5)
        engine.wait_for_rest(still_s=2 if options.quick else SETTLE_S, seconds=120)
        samples = _watch(engine, length)
    bare = _bare_python()
    first, last = samples[0], samples[-1]
    percent = 100 * (last.cpu_s - first.cpu_s) / (last.at - first.at)
    most = max(each.own_bytes for each in samples) / 2**20
    everything = max(each.all_bytes for each in samples) / 2**20
    late = samples[len(samples) // 3 :]
    growth = _slope([each.at for each in late], [each.own_bytes / 2**20 for each in late]) * 3600
    name = f"idle engine, {waiting} jobs that wait"
    series = tuple((round(each.at - first.at, 1), round(each.own_bytes / 2**20, 2)) for each in _thin(samples))
    return [
        Result(
            "5",
            f"{name}: processor",
            round(percent, 3),
            "% of a core",
            limit=LIMIT_PERCENT,
            bounded_by="one look every ten seconds: the names in queue/, and what each job waits for",
            note=f"engine and ended children, watched for {length:.0f} s",
        ),
        Result(
            "5",
            f"{name}: memory",
            round(most, 1),
            "MiB",
            baseline=f"a Python that only sleeps: {bare:.1f} MiB",
            ratio=round(most / bare, 2),
            limit=LIMIT_MIB,
            bounded_by="the jobs of the ledger, which are kept as values",
            note=f"resident memory of the engine; with its helpers {everything:.1f} MiB, "
            "pages shared by several counted for each",
        ),
        Result(
            "5",
            f"{name}: growth",
            round(growth, 2),
            "MiB/h",
            limit=LIMIT_GROWTH_MIB if length >= LEAST_S else None,
            note=f"slope over the last two thirds of {length:.0f} s; a step of 0.25 MiB in that time tells as "
            f"{1350 / length:.1f} MiB/h. `--minutes 60` watches for an hour",
            series=series,
        ),
    ]


def _watch(engine: EngineProcess, seconds: float) -> list[Sample]:
    samples = [_sample(engine.pid)]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(EVERY_S)
        samples.append(_sample(engine.pid))
    return samples


def _sample(pid: int) -> Sample:
    own = memory_of(pid)
    children = [child for child in _children(pid) if Path(f"/proc/{child}").exists()]
    # What lives beside the engine counts as well; what ended is in the engine's own sum already.
    living = sum(cpu_of(child).total for child in children)
    return Sample(time.monotonic(), cpu_of(pid).total + living, own, own + sum(map(memory_of, children)))


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _slope(xs: list[float], ys: list[float]) -> float:
    return statistics.linear_regression(xs, ys).slope


def _thin(samples: list[Sample]) -> list[Sample]:
    return samples[:: max(1, len(samples) // 200)]


def _bare_python() -> float:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        time.sleep(0.5)
        used = memory_of(process.pid) / 2**20
        assert process.stdin is not None
        process.stdin.close()
        process.kill()
    return used
