"""Ten thousand jobs dropped at once and drained; and the queue part alone, beside programs that only queue.

The drain takes an hour, in which other work and other guests of the host come and go. So a job of a bare shell script
is run beside it every few seconds: the rates are told as they are, and judged by how they stand to that.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.ledger_maker import WAITING, accept_moves
from benchmarks.result import Options, Result
from benchmarks.shell_job import ONE_TREE, ShellTime, run_script
from benchmarks.timeline import read_spans, read_steps
from benchmarks.world import (
    Cpu,
    EngineProcess,
    cpu_of,
    drop,
    git,
    make_repository,
    make_workspace,
    memory_of,
    orc_environment,
    temporary_folder,
    wait_until,
)
from orchestrator.core.accept import hold, release
from orchestrator.core.transitions import Move
from orchestrator.engine.workspace import Workspace, open_workspace

JOBS = 10_000
QUEUED = 1_000
MOST_GROWTH = 1.2
"""Of the engine's memory, from the first half of the jobs to the second."""
LEAST_OF_LAST = 0.8
"""The median tenth of the second half against that of the first, without the first tenth, which warms up.

What grows with the jobs that have ended makes each tenth slower than the one before; other work makes one slow.
"""
BESIDE_SECONDS = 5.0
"""So often a job of the shell script is run beside the drain: one part in a hundred of the time."""


def measure(options: Options) -> list[Result]:
    """Whole jobs, and the queue part."""
    jobs = int(os.environ.get("ORC_BENCH_JOBS", 0)) or options.pick(JOBS, 20)
    return [*_drain(jobs), *_queue_part(options.pick(QUEUED, 40))]


# --- whole jobs ---


def _drain(jobs: int) -> list[Result]:
    slots = len(os.sched_getaffinity(0))
    with temporary_folder("many") as folder:
        root, spans = make_workspace(folder / "project", 10, slots=slots), folder / "spans"
        with EngineProcess(root, spans) as engine:
            engine.wait_for_start()
            begin = time.monotonic_ns()
            watch = _Watch(engine, root, jobs, _make_script_place(folder / "script"))
            for number in range(jobs):
                drop(root, f"many-{number:05d}")
            dropped_s = (time.monotonic_ns() - begin) / 1e9
            watch.wait()
        steps = read_steps(root, read_spans(spans))
    done = sorted(step.at for moments in steps.values() for step in moments if step.name == "ledger done")
    taken = [moments[0].at for moments in steps.values()]
    total = len(done) / ((done[-1] - begin) / 1e9)
    accepted = len(taken) / ((max(taken) - begin) / 1e9)
    used = watch.used[-1] - watch.used[0]
    return [
        Result(
            "8",
            f"{jobs} jobs dropped at once, worked on, reviewed and merged by trivial agents",
            round(total, 2),
            "jobs/s",
            bounded_by="git and the engine's thread; " + f"{slots} agents at once",
            cpu_ms=round(used.total / jobs * 1000, 1),
            note=f"dropping them took {dropped_s:.1f} s; processor time is for one job, "
            f"{used.own / jobs * 1000:.0f} ms of it the engine's own",
        ),
        _flatness(_rates_by_tenth(begin, done), watch),
        Result(
            "8",
            "drops taken in while jobs run",
            round(accepted, 1),
            "jobs/s",
            bounded_by="reading and checking each file, one flush for all of one look",
        ),
        _growth(watch.memory),
    ]


def _flatness(rates: Sequence[float], watch: _Watch) -> Result:
    cpu = [(b - a).total * len(rates) / watch.jobs * 1000 for a, b in pairwise(watch.used)]
    return judge_flatness(rates, watch.script_ms(), cpu)


def judge_flatness(rates: Sequence[float], script_ms: Sequence[float], cpu_ms: Sequence[float]) -> Result:
    """Whether the last jobs went as fast as the first ones: a value of each list for each tenth."""
    # Jobs of orc in the time of one of the script, at that moment, on that machine.
    against = [rate * wall / 1000 for rate, wall in zip(rates, script_ms, strict=False)]
    middle = len(against) // 2
    first, second = statistics.median(against[1:middle] or against), statistics.median(against[middle:])
    return Result(
        "8",
        "their second half against the first",
        round(second, 4),
        "jobs in the time of a job of the shell script",
        baseline=f"the first half: {first:.4f}; the script (one worktree), every {BESIDE_SECONDS:g} s beside "
        "them, took " + ", ".join(f"{each:.0f}" for each in script_ms) + " ms, the median in each tenth",
        ratio=round(second / first, 3),
        limit=LEAST_OF_LAST,
        at_least=True,
        on_ratio=True,
        note="of each half the tenth in the middle; the first tenth is left out: until it ends the others are being "
        f"taken in. The slowest tenth was {min(against[1:] or against) / max(against):.2f} times the fastest. Jobs in "
        "a second, in order: "
        + ", ".join(f"{rate:.2f}" for rate in rates)
        + "; processor time of a job: "
        + ", ".join(f"{each:.0f}" for each in cpu_ms)
        + " ms",
        series=tuple((number + 1.0, round(rate, 3)) for number, rate in enumerate(rates)),
    )


def _growth(memory: Sequence[float]) -> Result:
    first, second = max(memory[:5]), max(memory[5:])
    return Result(
        "8",
        "memory of the engine meanwhile",
        round(max(memory), 1),
        "MiB",
        baseline=f"the most in the first half: {first:.1f} MiB",
        ratio=round(second / first, 3),
        limit=MOST_GROWTH,
        on_ratio=True,
        bounded_by="the jobs that are open, kept as values, and trees of the ledger that were read lately",
        note="resident memory, the most in each tenth: " + ", ".join(f"{each:.0f}" for each in memory),
        series=tuple((number + 1.0, round(each, 1)) for number, each in enumerate(memory)),
    )


@dataclass(slots=True)
class _Watch:
    """What is looked at once a second until all jobs have ended, for each tenth of them."""

    engine: EngineProcess
    root: Path
    jobs: int
    place: Path
    """Where the shell script works."""
    memory: list[float] = field(default_factory=lambda: [0.0] * 10)
    """The engine's memory, the most, in MiB."""
    used: list[Cpu] = field(default_factory=list)
    """Processor time of the engine and its children at the edges of the tenths."""
    script: list[list[ShellTime]] = field(default_factory=lambda: [[] for _ in range(10)])

    def __post_init__(self) -> None:
        self.used.append(cpu_of(self.engine.pid))

    def wait(self) -> None:
        """Wait for the end of the jobs. Raises TimeoutError."""
        last = 0.0

        def is_over() -> bool:
            nonlocal last
            done = _count_done(self.root)
            tenth = min(9, done * 10 // self.jobs)
            self.used += [cpu_of(self.engine.pid)] * (min(10, done * 10 // self.jobs) - len(self.used) + 1)
            self.memory[tenth] = max(self.memory[tenth], memory_of(self.engine.pid) / 2**20)
            if time.monotonic() - last > BESIDE_SECONDS:
                last = time.monotonic()
                self.script[tenth].append(_run_beside(self.place))
            return done >= self.jobs

        wait_until(is_over, seconds=120 + self.jobs * 5, what="the end of the jobs", every=1.0)

    def script_ms(self) -> list[float]:
        """How long a job of the script took: the median in each tenth, or of all where a tenth was over too soon."""
        walls = [[each.wall_ms for each in times] for times in self.script]
        whole = [wall for times in walls for wall in times]
        return [statistics.median(times or whole) for times in walls]


def _make_script_place(folder: Path) -> Path:
    make_repository(folder, 10)
    git(folder, "tag", "start")
    return folder


def _run_beside(place: Path) -> ShellTime:
    """One job of the script, in a repository that is the same each time."""
    found = run_script(place, ONE_TREE, "beside")
    git(place, "reset", "--quiet", "--hard", "start")
    return found


def _count_done(root: Path) -> int:
    # The folder shows the latest only. Each merge is one commit on the target, made by orc.
    return int(git(root, "rev-list", "--count", "--first-parent", "main")) - 2


def _rates_by_tenth(begin: int, done: Sequence[int]) -> list[float]:
    """Jobs in a second, for each tenth of the jobs in the order of their ends."""
    size = max(1, len(done) // 10)
    edges = [begin, *(done[number * size - 1] for number in range(1, len(done) // size + 1))]
    return [size / max(1e-9, (b - a) / 1e9) for a, b in pairwise(edges)]


# --- the queue part alone ---


def _queue_part(count: int) -> list[Result]:
    rate, cpu = _orc_alone(count)
    found = [
        Result(
            "8",
            f"queue part alone, orc: accept, start and end {count} jobs",
            round(rate, 1),
            "jobs/s",
            bounded_by="three durable commits for each job, with its file and trees, flushed in batches of 128",
            cpu_ms=round(cpu, 2),
            note="the ledger alone, without processes: what the others keep in a file, orc keeps as history that "
            "survives a power cut",
        )
    ]
    others: tuple[tuple[str, str, bool, Callable[[Path, int], None], str], ...] = (
        (
            "nq",
            "apt install nq",
            bool(shutil.which("nq")),
            _nq,
            "a process for each job, which looks at the locks of all before it; nothing is flushed",
        ),
        ("task-spooler", "apt install task-spooler", bool(_tsp()), _spool, "a server in memory, nothing is kept"),
        (
            "huey",
            "pip install huey",
            bool(importlib.util.find_spec("huey")),
            _huey,
            "SQLite with fsync, one worker thread",
        ),
    )
    for name, hint, present, act, bound in others:
        title = f"queue part alone, {name}: {count} times `true`"
        if not present:
            found.append(Result("8", title, None, "jobs/s", note=f"not measured here: {hint}"))
            continue
        theirs, cpu = _timed(act, count)
        ratio = round(rate / theirs, 2)
        base = f"{name}: {theirs:.1f} jobs/s (ratio: orc's rate to its)"
        found.append(
            Result("8", title, round(theirs, 1), "jobs/s", base, ratio, bounded_by=bound, cpu_ms=round(cpu, 2))
        )
    return found


def _orc_alone(count: int, batch: int = 128) -> tuple[float, float]:
    with temporary_folder("alone") as folder, open_workspace(make_workspace(folder / "project", 10)) as ws:
        moves = accept_moves(ws, count, WAITING, "queued")
        before, begin = _cpu(), time.perf_counter()
        for first in range(0, count, batch):
            _three_steps(ws, moves[first : first + batch])
        seconds = time.perf_counter() - begin
        return count / seconds, (_cpu() - before) / count * 1000


def _three_steps(ws: Workspace, moves: list[Move]) -> None:
    """Three steps for each job. The two after the first are the cheapest that the table has: a start costs the same."""
    ws.commit(moves)
    second = [hold(move.job, "waits for a free agent", ws.stamp(), needs={}) for move in moves]
    ws.commit(second)
    ws.commit([release(move.job, ws.stamp(), needs={}) for move in second])


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _timed(act: Callable[[Path, int], None], count: int) -> tuple[float, float]:
    with temporary_folder("queue") as folder:
        before, begin = _cpu(), time.perf_counter()
        act(folder, count)
        seconds = time.perf_counter() - begin
    return count / seconds, (_cpu() - before) / count * 1000


def _nq(folder: Path, count: int) -> None:
    environment = {**os.environ, "NQDIR": str(folder)}
    for _ in range(count):
        subprocess.run(["nq", "-q", "true"], env=environment, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["nq", "-w"], env=environment, check=True, stdout=subprocess.DEVNULL)


def _tsp() -> str:
    return shutil.which("tsp") or ""


def _spool(folder: Path, count: int) -> None:
    environment = {**os.environ, "TS_SOCKET": str(folder / "socket"), "TMPDIR": str(folder), "TS_MAXFINISHED": "10"}
    try:
        for _ in range(count):
            subprocess.run([_tsp(), "-n", "true"], env=environment, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([_tsp(), "-w"], env=environment, check=True, stdout=subprocess.DEVNULL)
    finally:
        subprocess.run([_tsp(), "-K"], env=environment, check=True)


HUEY = """
import sys, threading
from huey import SqliteHuey
huey = SqliteHuey(filename=sys.argv[1], fsync=True, results=False)
left = threading.Semaphore(0)

@huey.task()
def nothing():
    left.release()

for _ in range(int(sys.argv[2])):
    nothing()
consumer = huey.create_consumer(workers=1, worker_type="thread", initial_delay=0.01, backoff=1.0, periodic=False)
consumer.start()
for _ in range(int(sys.argv[2])):
    left.acquire()
consumer.stop(graceful=True)
"""


def _huey(folder: Path, count: int) -> None:
    argv = [sys.executable, "-c", HUEY, str(folder / "huey.db"), str(count)]
    subprocess.run(argv, env=orc_environment(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
