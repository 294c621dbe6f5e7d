"""Figure 11: sixty-four agents at once, for minutes: what the engine's ticks take, what it uses, and what it keeps.

The agents behave as real ones do: they wait most of the time, print a line now and then and edit a little. All is seen
from outside, but for the ticks, of which the engine itself notes begin and end (`ORC_TRACE_SPANS`).
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.result import Options, Result, middle
from benchmarks.timeline import Span, read_spans, times_of
from benchmarks.world import (
    ADA,
    CHOOSE,
    REVIEWER,
    Cpu,
    EngineProcess,
    cpu_of,
    drop,
    ended,
    git,
    make_repository,
    temporary_folder,
    wait_until,
    write_configuration,
)
from orchestrator.core.ids import RunId, RunKind
from orchestrator.engine.init import init_workspace
from orchestrator.engine.notes import BEAT_S
from orchestrator.engine.run import HEARTBEAT_SECONDS

TICK_MS, CORE_PERCENT, USED_PERCENT = 250.0, 25.0, 95.0
LATE = 1.5
"""A sign of life that is older than so many times what is between two of them was missed."""
EVERY_S = 1.0
REVIEWERS = 8
URGENT = 199
"""The number of a job that a person wants at once, while all slots are taken. The agents know files for 200 jobs."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to do. Seconds; each job takes between the first and the second, by its number."""

    agents: int
    jobs: int
    work: tuple[int, int]
    review: tuple[int, int]


FULL = Load(agents=64, jobs=192, work=(40, 80), review=(8, 16))
QUICK = Load(agents=8, jobs=20, work=(3, 6), review=(1, 2))

_SECONDS = "seconds=$(({least} + ${{n:-0}} * 7 % {span}))\n"
_WORK = """mkdir -p out
echo "begun = '$ORC_JOB'" > "$file"
while [ "$seconds" -gt 0 ]; do
  sleep 2
  seconds=$((seconds - 2))
  echo "# $seconds seconds left" >> "$file"
  echo "I go on with $file."
done
echo "done = '$ORC_JOB'" >> "$file"
echo "I wrote the file that was asked for."
"""
_REVIEW = 'while [ "$seconds" -gt 0 ]; do sleep 1; seconds=$((seconds - 1)); echo "reading" >&2; done\n'


def author_of(least: int, most: int) -> str:
    """A program that works for so many seconds, by the number in the name of its job."""
    return f"#!/bin/sh\ncat > /dev/null\n{CHOOSE}{_SECONDS.format(least=least, span=most - least + 1)}{_WORK}"


def reviewer_of(least: int, most: int) -> str:
    """One that approves after so many."""
    seconds = _SECONDS.format(least=least, span=most - least + 1)
    return f"#!/bin/sh\n{CHOOSE}{seconds}{_REVIEW}{REVIEWER.removeprefix('#!/bin/sh')}"


def make_house(root: Path, agents: int, author: str, reviewer: str) -> Path:
    """A workspace with so many slots, one author more for a person's P0, and a few reviewers, with these programs."""
    make_repository(root, 100)
    write_configuration(root, slots=agents)
    one_more = (root / "souls" / "ada-0.md").read_text()
    (root / "souls" / f"ada-{agents}.md").write_text(one_more)
    for number in range(REVIEWERS, agents):
        (root / "souls" / f"bea-{number}.md").unlink()
    (root / "tools" / "agent").write_text(author)
    (root / "tools" / "reviewer").write_text(reviewer)
    init_workspace(root, ADA, starter=False)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a workspace")
    return root


def measure(options: Options) -> list[Result]:
    """Figure 11."""
    load = QUICK if options.quick else FULL
    with temporary_folder("agents") as folder:
        root = make_house(folder / "project", load.agents, author_of(*load.work), reviewer_of(*load.review))
        spans, tip = folder / "spans", git(root, "rev-parse", "orc/state")
        with EngineProcess(root, spans) as engine:
            engine.wait_for_start()
            watch = Watch(root, engine, load.agents)
            for number in range(load.jobs):
                drop(root, f"load-{number:04d}")
            urgent = watch.wait(load)
        noted = read_spans(spans)
        at_once = times_of(root, noted, {f"urgent-{URGENT}": urgent}, since=tip)
    ticks = [each for each in noted if each.what == "tick" and each.end > watch.begin]
    begun = Counter(each.name for each in noted if each.what == "program" and _takes_slot(each.name))
    name = f"{load.agents} agents at once"
    return [
        _ticks(name, ticks, noted, None if options.quick else TICK_MS),
        _processor(name, watch, ticks, None if options.quick else CORE_PERCENT),
        _life(f"{name}: the oldest sign of life of a run", watch.oldest_run, HEARTBEAT_SECONDS, watch),
        _life(f"{name}: the oldest sign of life of the engine", watch.oldest_engine, BEAT_S, watch),
        _used(name, watch, None if options.quick else USED_PERCENT),
        Result(
            "11",
            f"{name}: the drop of a person's P0 to its agent's process, all slots taken",
            round(at_once[0].started_ms(), 1) if at_once else None,
            "ms",
            bounded_by="the tick that is going on, two durable commits, and making the tree ready",
        ),
        Result(
            "11",
            f"{name}: jobs lost, and runs begun twice",
            load.jobs + 1 - len(watch.done) + sum(times - 1 for times in begun.values()),
            "of them",
            limit=0,
            note=f"{load.jobs + 1} jobs, {len(begun)} runs of agents and reviewers",
        ),
    ]


@dataclass(slots=True)
class Watch:
    """What is looked at once a second, from outside of the engine, until all jobs have ended."""

    root: Path
    engine: EngineProcess
    slots: int
    begin: int = field(default_factory=time.monotonic_ns)
    used: list[tuple[float, Cpu]] = field(default_factory=list)
    """Processor time of the engine, by second."""
    at_work: list[tuple[float, int, bool]] = field(default_factory=list)
    """How many runs of agents and reviewers were under way, by second, and whether a job waited for a slot."""
    oldest_run: float = 0.0
    oldest_engine: float = 0.0
    done: tuple[str, ...] = ()

    def wait(self, load: Load) -> int:
        """Wait for the end of all jobs. When the urgent one was dropped. Raises TimeoutError."""
        urgent = 0

        def is_over() -> bool:
            nonlocal urgent
            live = self._look()
            self.done = tuple(ended(self.root))
            is_late = len(self.done) > load.jobs // 2
            # Once some have made way for others, so that not all are at the same point.
            if not urgent and (is_late or (live >= self.slots and self.used[-1][0] > load.work[0])):
                text = f"title: At once\nprompt: Write the file urgent-{URGENT}, now.\npriority: P0\n"
                urgent = drop(self.root, f"urgent-{URGENT}", text)
            return bool(urgent) and len(self.done) > load.jobs

        seconds = 300 + 4 * load.jobs * (load.work[1] + load.review[1]) / load.agents
        try:
            wait_until(is_over, seconds=seconds, what="the end of the jobs", every=EVERY_S)
        except TimeoutError as error:
            lanes = {
                lane: len(ended(self.root, "", lane)) for lane in ("decide", "waiting", "running", "review", "done")
            }
            raise RuntimeError(f"{error}; {lanes}; {self.engine.log()}") from error
        return urgent

    def _look(self) -> int:
        """How many runs are under way; the rest is kept."""
        at = (time.monotonic_ns() - self.begin) / 1e9
        self.used.append((at, cpu_of(self.engine.pid)))
        orcdir = self.root / ".git" / "orc"
        self.oldest_engine = max(self.oldest_engine, _age(orcdir / "engine.json"))
        live = 0
        for place in sorted((orcdir / "runs").glob("[!.]*")):
            age = _age(place / "heartbeat") if (place / "heartbeat").exists() else _age(place / "spec.json")
            if (place / "result.json").exists() or not place.exists():
                continue  # It has ended, perhaps just now.
            self.oldest_run = max(self.oldest_run, age)
            live += _takes_slot(place.name)
        waits = any(name.endswith(".yaml") for name in os.listdir(self.root / "queue" / "normal"))
        self.at_work.append((at, live, waits))
        return live


def _takes_slot(name: str) -> bool:
    """Whether that is the name of a run of an agent or a reviewer."""
    run = RunId.parse(name)
    return run is not None and run.kind in (RunKind.ATTEMPT, RunKind.REVIEW)


def _age(path: Path) -> float:
    """How old a file is, in seconds; 0 if it is not there yet."""
    with suppress(OSError):
        return max(0.0, time.time() - path.stat().st_mtime)
    return 0.0


def _ticks(name: str, ticks: Sequence[Span], noted: Sequence[Span], limit: float | None) -> Result:
    times = sorted((each.end - each.begin) / 1e6 for each in ticks)
    mid, longest = middle(times), times[-1]
    slow = [each for each in ticks if (each.end - each.begin) / 1e6 > TICK_MS]
    return Result(
        "11",
        f"{name}: a tick of the engine, the 99th of a hundred",
        round(times[min(len(times) - 1, len(times) * 99 // 100)], 1),
        "ms",
        limit=limit,
        bounded_by="the steps that are due at once, each with its files and one flush for all, and git",
        note=f"{len(times)} ticks, half of them within {mid.median:.0f} ms, the longest {longest:.0f} ms; {len(slow)} "
        f"took longer than {TICK_MS:.0f} ms{_why_slow(slow, noted)}",
        low=round(mid.low, 1),
        high=round(mid.high, 1),
        runs=len(times),
    )


def _why_slow(slow: Sequence[Span], noted: Sequence[Span]) -> str:
    """What the slow ticks spent their time on: of git and of what the engine changes outside, the most."""
    spent: Counter[str] = Counter()
    for tick in slow:
        for each in noted:
            if each.pid == tick.pid and each.what in ("git", "effect") and tick.begin <= each.begin < tick.end:
                spent[f"{each.what} {each.name}"] += each.end - each.begin
    whole = sum(each.end - each.begin for each in slow)
    told = [f"{what} {100 * ns / whole:.0f} %" for what, ns in spent.most_common(4)]
    return f", of that {', '.join(told)} (one within another)" if told else ""


def _processor(name: str, watch: Watch, ticks: Sequence[Span], limit: float | None) -> Result:
    (start, first), (end, last) = watch.used[0], watch.used[-1]
    seconds, used = end - start, last - first
    return Result(
        "11",
        f"{name}: processor time of the engine",
        round(100 * used.own / seconds, 2),
        "% of a core",
        limit=limit,
        bounded_by="looking at each live run in each tick, and some eleven steps for each job",
        note=f"its own process alone, over {seconds:.0f} s; what it started and has seen end took "
        f"{100 * used.children / seconds:.0f} % more. {len(ticks) / seconds:.1f} ticks in a second",
    )


def _life(name: str, oldest: float, every: float, watch: Watch) -> Result:
    return Result(
        "11",
        name,
        round(oldest, 1),
        "s",
        limit=LATE * every,
        note=f"one is due every {every:.0f} s; looked at {len(watch.used)} times, every {EVERY_S:g} s or so",
    )


def _used(name: str, watch: Watch, limit: float | None) -> Result:
    """How much of the slots was at work while a job waited for one."""
    shares = [(at, min(1.0, live / watch.slots)) for at, live, waits in watch.at_work if waits]
    return Result(
        "11",
        f"{name}: slots at work while jobs wait",
        round(100 * statistics.fmean(share for _, share in shares), 2),
        "% of the slots",
        limit=limit,
        at_least=True,
        bounded_by="the time between the end of a run and the beginning of the next in its slot",
        note=f"from the first drop on, for {shares[-1][0]:.0f} s",
        series=tuple((round(at, 1), round(100 * share, 1)) for at, share in shares),
    )
