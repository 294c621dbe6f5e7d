"""Where the time of a job goes: the spans that orc noted, laid beside the steps of its ledger.

By hand: `python -m benchmarks.timeline [--files N] [--jobs N] [--each]` runs jobs and prints a table.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.world import git

FOREIGN = ("git", "program")
"""What is not orc's own time: git, and the programs of a run (agents, checks, setup)."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time, on the clock of `time.monotonic_ns`."""

    pid: int
    what: str
    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A named instant in the life of a job."""

    at: int
    name: str


@dataclass(frozen=True, slots=True)
class JobTime:
    """One job from its drop to the step `done`."""

    id: str
    begin: int
    end: int
    moments: tuple[Moment, ...]
    spans: tuple[Span, ...]
    """All that was noted meanwhile."""

    @property
    def wall_ms(self) -> float:
        """From the rename of the drop to the durable step `done`."""
        return (self.end - self.begin) / 1e6

    def foreign_ms(self) -> float:
        """How long at least one process of git, of the agents or of the checks was at work."""
        return covered((each for each in self.spans if each.what in FOREIGN), self.begin, self.end) / 1e6

    @property
    def overhead_ms(self) -> float:
        """What is left: orc itself, and starting processes."""
        return self.wall_ms - self.foreign_ms()

    def started_ms(self) -> float:
        """From the drop to the start of the author's process."""
        return (self._start() - self.begin) / 1e6

    def git_before_start(self) -> tuple[float, dict[str, float]]:
        """Of `started_ms`, how long git was at work, in all and by command, in milliseconds."""
        start = self._start()
        ran = [each for each in self.spans if each.what == "git" and each.begin < start]
        names = {each.name for each in ran}
        each = {name: covered((s for s in ran if s.name == name), self.begin, start) / 1e6 for name in names}
        return covered(ran, self.begin, start) / 1e6, each

    def _start(self) -> int:
        run = f"{self.id}.attempt-1"
        return min(s.begin for s in self.spans if s.what == "program" and s.name == run)

    def count(self, what: str) -> int:
        """How many spans of a sort."""
        return sum(1 for each in self.spans if each.what == what)


def read_spans(path: Path) -> list[Span]:
    """All that was noted, by begin."""
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted((Span(**json.loads(line)) for line in lines), key=lambda each: each.begin)


def covered(spans: Iterable[Span], begin: int, end: int) -> int:
    """Nanoseconds between `begin` and `end` in which at least one of the spans was going on."""
    total, reached = 0, begin
    for each in sorted(spans, key=lambda each: each.begin):
        low, high = max(each.begin, reached), min(each.end, end)
        if high > low:
            total, reached = total + high - low, high
    return total


def read_steps(root: Path, spans: Sequence[Span], *, since: str = "") -> dict[str, list[Moment]]:
    """For each job the moments at which its steps were durable; `since`: the tip before the first span."""
    form = "--format=%H%x09%(trailers:key=Job,valueonly,separator=%x20)%x09%s"
    out = git(root, "log", "--reverse", form, f"{since}..orc/state" if since else "orc/state")
    rows = [line.split("\t", 2) for line in out.splitlines()]
    place = {row[0]: number for number, row in enumerate(rows)}
    steps: dict[str, list[Moment]] = defaultdict(list)
    for each in spans:
        if each.what != "ledger":
            continue
        old, _, new = each.name.partition("..")
        if new not in place:
            continue  # It was not published: whoever tried was stopped, or lost to another, and began anew.
        for _, job, subject in rows[place.get(old, -1) + 1 : place[new] + 1]:
            if job:
                steps[job].append(Moment(each.end, f"ledger {subject.partition(':')[0]}"))
    return steps


def times_of(root: Path, spans: Sequence[Span], drops: Mapping[str, int], *, since: str = "") -> list[JobTime]:
    """The jobs that were dropped under these names at these moments, as far as they are done."""
    steps = read_steps(root, spans, since=since)
    found = []
    for name, begin in drops.items():
        id_ = next((job for job in steps if job[:-9] == name), "")
        end = next((step.at for step in steps.get(id_, []) if step.name == "ledger done"), 0)
        if end:
            inside = tuple(each for each in spans if each.end >= begin and each.begin <= end)
            found.append(JobTime(id_, begin, end, tuple(_moments(id_, begin, end, steps[id_], inside)), inside))
    return found


def _moments(id_: str, begin: int, end: int, steps: Sequence[Moment], spans: Sequence[Span]) -> list[Moment]:
    moments = [Moment(begin, "drop"), *steps]
    seen: Counter[str] = Counter()
    for each in spans:
        if each.what.startswith("run:") and each.name.startswith(f"{id_}."):
            kind = each.name.rpartition(".")[2].rpartition("-")[0]
            moments.append(Moment(each.begin, f"{kind} {each.what.removeprefix('run:')}"))
        elif each.what == "program" and each.name.startswith(f"{id_}."):
            kind = each.name.rpartition(".")[2].rpartition("-")[0]
            moments += [Moment(each.begin, f"{kind} program begins"), Moment(each.end, f"{kind} program ended")]
        elif each.what == "effect" and each.name in ("target.move", "drop.claim", "mirror.refresh"):
            moments.append(Moment(each.end, each.name))
        elif each.what == "effect" and each.name == "run.spawn":
            moments.append(Moment(each.begin, "run.spawn begins"))
    named = []
    for moment in sorted((each for each in moments if begin <= each.at <= end), key=lambda each: each.at):
        seen[moment.name] += 1
        named.append(
            Moment(moment.at, f"{moment.name} ({seen[moment.name]})" if seen[moment.name] > 1 else moment.name)
        )
    return named


@dataclass(frozen=True, slots=True)
class Gap:
    """What lies between two moments: all of it, the part in which a git process ran, a program, and their number."""

    name: str
    ms: float
    git_ms: float
    program_ms: float
    rest_ms: float
    git_count: float
    parts: str


def gaps_of(job: JobTime) -> list[Gap]:
    """The way of a job, piece by piece."""
    found = []
    for a, b in pairwise(job.moments):
        inside = [each for each in job.spans if each.end > a.at and each.begin < b.at]
        gits = [each for each in inside if each.what == "git"]
        programs = [each for each in inside if each.what == "program"]
        whole = b.at - a.at
        rest = whole - covered([*gits, *programs], a.at, b.at)
        begun = [each.name for each in gits if a.at <= each.begin < b.at]
        parts = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in Counter(begun).items())
        in_git, in_program = covered(gits, a.at, b.at) / 1e6, covered(programs, a.at, b.at) / 1e6
        found.append(Gap(f"{a.name} → {b.name}", whole / 1e6, in_git, in_program, rest / 1e6, len(begun), parts))
    return found


def table(jobs: Sequence[JobTime]) -> str:
    """The medians over jobs of each gap that most of them have, in the order of the first."""
    if not jobs:
        return "no job was done"
    per_job = [gaps_of(job) for job in jobs]
    by_name: dict[str, list[Gap]] = defaultdict(list)
    for gaps in per_job:
        for gap in gaps:
            by_name[gap.name].append(gap)
    order = {name: statistics.median(_place(gaps, name) for gaps in per_job if _has(gaps, name)) for name in by_name}
    lines = [f"{'from → to':58} {'jobs':>4} {'ms':>7} {'git':>7} {'prog':>6} {'orc':>7}  git processes"]
    total = [0.0, 0.0, 0.0, 0.0]
    for name in sorted(by_name, key=lambda name: order[name]):
        gaps = by_name[name]
        values = [
            statistics.median(values)
            for values in zip(*((g.ms, g.git_ms, g.program_ms, g.rest_ms) for g in gaps), strict=True)
        ]
        share = len(gaps) / len(jobs)
        total = [was + value * share for was, value in zip(total, values, strict=True)]
        parts = Counter(gap.parts for gap in gaps).most_common(1)[0][0]
        lines.append(_line(name, len(gaps), values, parts))
    lines.append(_line("sum of the medians", len(jobs), total, ""))
    lines.append(summary(jobs))
    return "\n".join(lines)


def _line(name: str, jobs: int, ms: Sequence[float], parts: str) -> str:
    return f"{name[:58]:58} {jobs:>4} {ms[0]:7.1f} {ms[1]:7.1f} {ms[2]:6.1f} {ms[3]:7.1f}  {parts}"


def _has(gaps: Sequence[Gap], name: str) -> bool:
    return any(gap.name == name for gap in gaps)


def _place(gaps: Sequence[Gap], name: str) -> int:
    return next(number for number, gap in enumerate(gaps) if gap.name == name)


def summary(jobs: Sequence[JobTime]) -> str:
    """The medians of the whole jobs, and what the engine's parts took in them."""
    parts: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        inner: Counter[str] = Counter()
        for each in job.spans:
            if each.what in ("part", "effect"):
                name = "one job's step" if each.what == "part" and each.name == job.id else each.name
                inner[f"{each.what} {name}"] += each.end - each.begin
        for name, value in inner.items():
            parts[name].append(value / 1e6)
    median = statistics.median
    lines = [
        f"wall {median(j.wall_ms for j in jobs):.1f} ms, orc {median(j.overhead_ms for j in jobs):.1f} ms, "
        f"git and programs {median(j.foreign_ms() for j in jobs):.1f} ms, drop → agent "
        f"{median(j.started_ms() for j in jobs):.1f} ms, git processes {median(j.count('git') for j in jobs):.0f}, "
        f"commits of the ledger's ref {median(j.count('ledger') for j in jobs):.0f}",
        "time inside of parts of a tick and of effects (with the git in them), ms for each job:",
    ]
    for name, values in sorted(parts.items(), key=lambda item: -sum(item[1])):
        lines.append(f"    {name:30} {sum(values) / len(jobs):8.1f}")
    return "\n".join(lines)


def main() -> None:
    """Run jobs and print where their time went."""
    from benchmarks.job_overhead import run_jobs

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10, help="files in the project")
    parser.add_argument("--jobs", type=int, default=10, help="jobs to look at, after three to warm up")
    parser.add_argument("--each", action="store_true", help="one table for each job")
    parser.add_argument("--raw", action="store_true", help="every span of the last job")
    args = parser.parse_args()
    measured = run_jobs(args.files, args.jobs)
    for job in measured.jobs if args.each else ():
        print(f"--- {job.id}\n{table([job])}\n")
    print(table(measured.jobs))
    print(f"processor: engine {measured.cpu_own_ms:.0f} ms, children {measured.cpu_children_ms:.0f} ms for each job")
    if args.raw:
        last = measured.jobs[-1]
        for each in last.spans:
            at, took = (each.begin - last.begin) / 1e6, (each.end - each.begin) / 1e6
            print(f"{at:9.1f} {took:8.1f} {each.pid:>8} {each.what:12} {each.name}")


if __name__ == "__main__":
    main()
