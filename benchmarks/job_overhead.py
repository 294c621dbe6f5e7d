"""Figures 1 and 2: what orc adds to a job that does next to nothing, and how soon the agent is at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.ledger_maker import copy_of, ledger_of
from benchmarks.result import Middle, Options, Result, compare, middle
from benchmarks.shell_job import ONE_TREE, SAME_STEPS, ShellTime, run_script
from benchmarks.timeline import JobTime, read_spans, times_of
from benchmarks.world import (
    EngineProcess,
    cpu_of,
    drop,
    ended,
    git,
    make_repository,
    make_workspace,
    temporary_folder,
    wait_until,
)

WARM_UP = 3
LIMIT_MS, LIMIT_GROWTH = 250.0, 1.2
START_LIMIT_MS, START_AIM_MS = 150.0, 60.0
SIZES = {10: 15, 1_000: 10, 20_000: 4}
"""Files of the project, and jobs to measure."""
QUICK_SIZES = {10: 4, 300: 3}


@dataclass(frozen=True, slots=True)
class Measured:
    """Jobs of one workspace, one after another, with the processor time of one."""

    files: int
    jobs: tuple[JobTime, ...]
    cpu_own_ms: float
    cpu_children_ms: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One size: orc, and the two scripts."""

    orc: Measured
    one_tree: tuple[ShellTime, ...]
    same_steps: tuple[ShellTime, ...]


def run_jobs(files: int, count: int, *, warm_up: int = WARM_UP) -> Measured:
    """Run jobs one after another in a workspace with so many files, each once the engine rests."""
    with temporary_folder("job") as folder:
        return run_jobs_in(make_workspace(folder / "project", files), files, count, warm_up=warm_up)


def run_jobs_in(root: Path, files: int, count: int, *, warm_up: int = WARM_UP) -> Measured:
    """The same in a workspace that is there."""
    tip, spans = git(root, "rev-parse", "orc/state"), root / ".git" / "bench-spans"
    with EngineProcess(root, spans) as engine:
        engine.wait_for_start()
        drops: dict[str, int] = {}
        before = cpu_of(engine.pid)
        for number in range(warm_up + count):
            if number == warm_up:
                before = cpu_of(engine.pid)
            name = f"noop-{number:04d}"
            drops[name] = drop(root, name)
            _wait_done(engine, root, name)
        used = cpu_of(engine.pid) - before
    found = times_of(root, read_spans(spans), drops, since=tip)
    return Measured(files, tuple(found[warm_up:]), used.own / count * 1000, used.children / count * 1000)


def _wait_done(engine: EngineProcess, root: Path, name: str) -> None:
    try:
        wait_until(lambda: ended(root, f"{name}-"), seconds=120, what=f"the end of {name}")
    except TimeoutError as error:
        lanes = {lane: ended(root, "", lane) for lane in ("decide", "waiting", "running", "review", "rejected")}
        raise RuntimeError(f"{error}; {lanes}; {engine.log()}") from error
    engine.wait_for_rest()


def run_scripts(files: int, count: int, script: str) -> tuple[ShellTime, ...]:
    """The same number of jobs by a script, in a repository of the same size, after one to warm up."""
    with temporary_folder("shell") as folder:
        root = folder / "project"
        make_repository(root, files)
        return tuple(run_script(root, script, f"noop-{number:04d}") for number in range(count + 1))[1:]


def measure(options: Options) -> list[Result]:
    """Both figures."""
    sizes = QUICK_SIZES if options.quick else SIZES
    found = [
        Compared(run_jobs(size, count), run_scripts(size, count, ONE_TREE), run_scripts(size, count, SAME_STEPS))
        for size, count in sizes.items()
    ]
    first = middle([job.overhead_ms for job in found[0].orc.jobs])
    results = []
    for each in found:
        results += [_overhead(each.orc, first), _whole(each, "same steps"), _whole(each, "one worktree")]
    return [*results, _with_many_ended(options, first), *(_start(each) for each in found)]


def _with_many_ended(options: Options, first: Middle) -> Result:
    ended_jobs = 400 if options.quick else 100_000
    with copy_of(ledger_of(options, ended_jobs)) as root:
        measured = run_jobs_in(root, 10, options.pick(10, 3))
    each = _overhead(measured, first)
    name = f"overhead of one job, 10 files, {ended_jobs} ended jobs"
    ratio, base = round((each.value or 0.0) / first.median, 3), "the same without ended jobs"
    return replace(each, name=name, ratio=ratio, baseline=base, limit=None)


def _overhead(measured: Measured, first: Middle) -> Result:
    mid = middle([job.overhead_ms for job in measured.jobs])
    is_first = measured.files == next(iter(SIZES))
    return Result(
        "1",
        f"overhead of one job, {measured.files} files",
        round(mid.median, 1),
        "ms",
        baseline="" if is_first else "the same with 10 files",
        ratio=None if is_first else round(mid.median / first.median, 3),
        limit=LIMIT_MS if is_first else LIMIT_GROWTH,
        on_ratio=not is_first,
        bounded_by="the engine's own work in each step, and the flushes of the ledger",
        cpu_ms=round(measured.cpu_own_ms, 1),
        processes=_median([job.count("git") + job.count("program") for job in measured.jobs]),
        note="wall time from the rename of the drop to the durable step `done`, less the time in which git, agents or "
        "checks ran; cpu_ms is the engine alone",
        **mid.spread(),
    )


def _whole(each: Compared, which: str) -> Result:
    shell = each.same_steps if which == "same steps" else each.one_tree
    mid, base = middle([job.wall_ms for job in each.orc.jobs]), middle([one.wall_ms for one in shell])
    held = which == "same steps" and each.orc.files >= 1000
    return compare(
        "1",
        f"whole job, {each.orc.files} files, against a shell script ({which})",
        mid,
        base,
        f"bare shell, {which}, cold worktrees",
        aim=1.0 if held else None,
        on_ratio=True,
        bounded_by="git: each worktree of the script is made anew, orc's are recycled",
        cpu_ms=round(each.orc.cpu_own_ms + each.orc.cpu_children_ms, 1),
        note=f"processor time of the script {middle([one.cpu_ms for one in shell]).median:.1f} ms; both flush",
    )


def _start(each: Compared) -> Result:
    mid = middle([job.started_ms() for job in each.orc.jobs])
    base = middle([one.started_ms for one in each.one_tree])
    ran = [job.git_before_start() for job in each.orc.jobs]
    names = sorted({name for _, by_name in ran for name in by_name})
    parts = {name: _median([by_name.get(name, 0.0) for _, by_name in ran]) for name in names}
    most = sorted(parts.items(), key=lambda part: -part[1])[:4]
    return compare(
        "2",
        f"drop to the agent's process, warm tree, {each.orc.files} files",
        mid,
        base,
        "bare shell, one cold worktree",
        limit=START_LIMIT_MS,
        aim=START_AIM_MS,
        floor=round(_median([total for total, _ in ran]), 1),
        bounded_by="two durable commits of the ledger (accept, start) and making the tree ready",
        note=f"git ran for {_median([total for total, _ in ran]):.0f} ms of it: "
        + ", ".join(f"{name} {took:.1f}" for name, took in most),
    )


def _median(values: Sequence[float]) -> float:
    return middle(values).median
