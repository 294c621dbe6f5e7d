"""Figure 3: durable steps of the ledger, many at once and one by one, on a small ledger and on a large one."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.ledger_maker import WAITING, accept_moves, copy_of, ledger_of
from benchmarks.result import Middle, Options, Result, compare, middle
from benchmarks.world import ADA, DURABLE, git, make_workspace, plain_environment, run, temporary_folder
from orchestrator.core.accept import cancel, hold, release
from orchestrator.core.job import Job
from orchestrator.core.transitions import Move
from orchestrator.engine.workspace import Workspace, open_workspace

SMALL, LARGE = 1_000, 100_000
BATCHES = (1, 16, 128, 512)
JUDGED_BATCH = 128
LIMIT_RATE, AIM_RATE, LIMIT_GROWTH = 300.0, 1000.0, 1.3
FLOOR = 150
"""Steps at least, for each size of batch."""


def measure(options: Options) -> list[Result]:
    """All of figure 3."""
    return [*_rates(options), *_growth(options)]


# --- steps in a second ---


def _rates(options: Options) -> list[Result]:
    plain = _plain_git(options.pick(60, 20))
    results = []
    for batch in BATCHES[:3] if options.quick else BATCHES:
        with temporary_folder("ledger") as folder, open_workspace(make_workspace(folder / "project", 10)) as ws:
            rates, cpu = _rate(ws, batch, options.pick(8, 3))
        judged = batch == JUDGED_BATCH
        mid = middle(rates)
        results.append(
            compare(
                "3",
                f"durable steps of the ledger, {batch} at once",
                mid,
                plain,
                "`git commit --allow-empty` with the same flushes, one by one",
                unit="steps/s",
                limit=LIMIT_RATE if judged else None,
                aim=AIM_RATE if judged else None,
                at_least=True,
                bounded_by="the flush of the file system"
                if batch == 1
                else "writing and compressing the objects of each step; one flush is shared by all",
                cpu_ms=round(cpu, 2),
                note="each step is a commit with its job file and trees; processor time is for one step",
            )
        )
    return results


def _rate(ws: Workspace, batch: int, rounds: int) -> tuple[list[float], float]:
    """Steps in a second for each round; processor time of one step in milliseconds."""
    rounds = max(rounds, FLOOR // batch)
    moves = accept_moves(ws, batch, WAITING, "step")
    _commit(ws, moves)
    jobs = [move.job for move in moves]
    rates, cpu = [], 0.0
    for number in range(rounds):
        moves = [_next(ws, job, number) for job in jobs]
        before, begin = _cpu(), time.perf_counter()
        _commit(ws, moves)
        seconds = time.perf_counter() - begin
        cpu += _cpu() - before
        rates.append(batch / seconds)
        jobs = [move.job for move in moves]
    return rates, cpu / (rounds * batch) * 1000


def _next(ws: Workspace, job: Job, number: int) -> Move:
    """A job that waits and a job that may go on, by turns: small steps that the table knows."""
    if number % 2 == 0:
        return hold(job, "waits for a free agent", ws.stamp(), needs={})
    return release(job, ws.stamp(), needs={})


def _commit(ws: Workspace, moves: list[Move]) -> None:
    done = ws.commit(moves)
    assert len(done) == len(moves), "a step was dropped"


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _plain_git(count: int) -> Middle:
    with temporary_folder("plain") as folder:
        root = folder / "project"
        root.mkdir()
        git(root, "init", "--quiet", "--initial-branch=main")
        argv = ["git", *DURABLE, "commit", "--quiet", "--allow-empty", "-m", "a step"]
        rates = []
        for _ in range(count):
            begin = time.perf_counter()
            run(argv, root, env=plain_environment())
            rates.append(1 / (time.perf_counter() - begin))
    return middle(rates)


# --- one step, whatever has ended ---


def _growth(options: Options) -> list[Result]:
    small, large = (100, 400) if options.quick else (SMALL, LARGE)
    with ExitStack() as stack:
        roots = [stack.enter_context(copy_of(ledger_of(options, jobs))) for jobs in (small, large)]
        spaces = [stack.enter_context(open_workspace(root)) for root in roots]
        results = []
        for what, act in (("a step of an open job", _open_step), ("a step that ends a job", _ending_step)):
            times = _by_turns(spaces, act, options.pick(40, 10))
            results.append(_grown(what, times, small, large))
    return results


def _by_turns(
    spaces: list[Workspace], act: Callable[[Workspace, int], tuple[float, float]], count: int
) -> list[list[tuple[float, float]]]:
    """The same act in each workspace by turns, so that what else the machine does meets both alike."""
    found: list[list[tuple[float, float]]] = [[] for _ in spaces]
    for number in range(count + 3):
        for place, ws in enumerate(spaces):
            taken = act(ws, number)
            if number >= 3:
                found[place].append(taken)
    return found


def _open_step(ws: Workspace, number: int) -> tuple[float, float]:
    moves = accept_moves(ws, 1, WAITING, "step")
    _commit(ws, moves)
    return _timed(ws, hold(moves[0].job, "waits for a free agent", ws.stamp(), needs={}))


def _ending_step(ws: Workspace, number: int) -> tuple[float, float]:
    moves = accept_moves(ws, 1, WAITING, "step")
    _commit(ws, moves)
    return _timed(ws, cancel(moves[0].job, ws.stamp(), actor=ADA))


def _timed(ws: Workspace, move: Move) -> tuple[float, float]:
    before, begin = _cpu(), time.perf_counter()
    _commit(ws, [move])
    return (time.perf_counter() - begin) * 1000, (_cpu() - before) * 1000


def _grown(what: str, times: list[list[tuple[float, float]]], small: int, large: int) -> Result:
    small_ms, large_ms = (middle([wall for wall, _ in each]) for each in times)
    small_cpu, large_cpu = (statistics.mean(cpu for _, cpu in each) for each in times)
    return Result(
        "3",
        f"{what}, {large} ended jobs of eleven steps each",
        round(large_ms.median, 2),
        "ms",
        baseline=f"with {small} ended jobs: {small_ms.median:.2f} ms",
        ratio=round(large_ms.median / small_ms.median, 3),
        limit=LIMIT_GROWTH,
        on_ratio=True,
        bounded_by="the flush; the trees of ended jobs are at most 256 entries wide",
        cpu_ms=round(large_cpu, 2),
        note=f"processor time with {small}: {small_cpu:.2f} ms, ratio {large_cpu / max(small_cpu, 1e-6):.2f}",
        **large_ms.spread(),
    )
