"""What runs have used and cost, kept by day and charged to the job that they serve.

Each step by which a run ends, or a job, adds its part to two files of the day on which it is committed: one with a line
for whatever can be told apart, one with a line for each job. So a question about N days reads N files, however many
jobs have ended, and whatever one adds up by comes to the same sum. Money is in whole millionths of a US dollar.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.ending import Read
from orchestrator.core.ids import RunId, RunKind, bucket
from orchestrator.core.job import Job, Priority, State, Worker
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import Trouble
from orchestrator.core.transitions import one_line

FOLDER = "costs"
NONE = "(none)"
"""The group of what has no value in what one adds up by."""
_LONGEST = 120
_NOTHING_BEGAN = (RunStatus.NOT_STARTED, RunStatus.PREPARE_FAILED, RunStatus.SETUP_FAILED)
"""No model was called, so nothing was used."""
_SCHEDULE = "schedule "


class Told(StrEnum):
    """How well it is known what a run has used."""

    WHOLE = "whole"
    """Its program told it at its end."""
    AT_LEAST = "at_least"
    """It was cut off: so much was seen by then, and it may have been more."""
    UNKNOWN = "unknown"
    """Nothing was told; it counts as nothing."""


class Part(StrEnum):
    """What a run was for the job that it is charged to."""

    ATTEMPT = "attempt"
    """The first try at the work."""
    RETRY = "retry"
    """Any further one."""
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Facts:
    """What tells one line of a day from another; '' where there is none."""

    job: str = ""
    """Only in the lines by job, which say but little else."""
    project: str = ""
    goal: str = ""
    """Of the project, as it was then."""
    kind: str = ""
    purpose: str = ""
    """work or maintenance."""
    lane: str = ""
    schedule: str = ""
    part: str = ""
    """attempt, retry or review; '' for the end of a job."""
    agent: str = ""
    model: str = ""
    backend: str = ""
    skills: str = ""
    """All that the run was given, in one: what is spent on two together cannot be divided."""
    told: str = ""
    """How well the use is known; '' for the end of a job."""
    priced: str = ""
    """The day of the price, or `reported` by the program; '' if no cost is known."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What comes together in one line: all whole numbers, so that they add up exactly in any order."""

    runs: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    microusd: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def tokens(self) -> int:
        """All tokens, each counted once."""
        return self.input + self.output + self.cache_read + self.cache_write

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(*(getattr(self, name) + getattr(other, name) for name in _SUMS))


_SUMS = tuple(field.name for field in fields(Sums))
_FACTS = tuple(field.name for field in fields(Facts))
NOTHING = Sums()
Lines = Mapping[Facts, Sums]
"""A day, or a part of it."""


# --- what a step adds -----------------------------------------------------------------------------------------------


def costs_anything(was: Job, job: Job) -> bool:
    """Whether a step may add anything: a run ended with it, or the job. Cheap, for most steps do not."""
    return not was.state.ended and (job.state.ended or bool(was.at.run and was.at.run != job.at.run))


def charges_of(was: Job | None, job: Job, read: Read, goal: str) -> dict[Facts, Sums]:
    """What a step of a job adds: the run that ended with it, and the job itself if it ended.

    `read` finds the job's records after the step; `goal` is that of its project before it.
    """
    found: dict[Facts, Sums] = {}
    if was is None or not costs_anything(was, job):
        return found
    known = _facts(job, goal)
    # A job that is given up keeps the name of its run, whose end nobody collects any more.
    if (was.at.run != job.at.run or job.state.ended) and (run := RunId.parse(was.at.run)) is not None:
        found.update(_of_run(run, known, read))
    if job.state.ended:
        last: Attempt | None = read(Attempt, job.at.attempt) if job.at.attempt else None
        who = _by(known, last.worker, last.skills) if last is not None else known
        name = {State.DONE: "done", State.FAILED: "failed"}.get(job.state, "cancelled")
        found[who] = Sums(**{name: 1})
    return found


def by_job(charges: Lines, job: str) -> dict[Facts, Sums]:
    """The same as lines by job."""
    found: dict[Facts, Sums] = {}
    for facts, sums in charges.items():
        key = Facts(job=job, project=facts.project, told=facts.told, priced=facts.priced)
        found[key] = found.get(key, NOTHING).plus(sums)
    return found


def _facts(job: Job, goal: str) -> Facts:
    source = job.at.source.split(" ")
    return Facts(
        project=job.at.project,
        goal=_short(goal),
        kind=job.spec.kind,
        purpose=job.spec.purpose.value,
        lane=Priority(job.at.priority).lane.value,
        schedule=source[1] if job.at.source.startswith(_SCHEDULE) else "",
    )


def _by(facts: Facts, worker: Worker, skills: Iterable[Any]) -> Facts:
    told = _short(" + ".join(sorted(each.name for each in skills)))
    return replace(
        facts, agent=_short(worker.agent), model=_short(worker.model), backend=_short(worker.backend), skills=told
    )


def _of_run(run: RunId, known: Facts, read: Read) -> Iterator[tuple[Facts, Sums]]:
    if run.kind is RunKind.ATTEMPT:
        attempt: Attempt | None = read(Attempt, run.number)
        if attempt is not None:
            part = Part.ATTEMPT if run.number == 1 else Part.RETRY
            yield from _charge(replace(_by(known, attempt.worker, attempt.skills), part=part.value), attempt)
    elif run.kind is RunKind.REVIEW:
        review: ReviewRecord | None = read(ReviewRecord, run.number)
        if review is not None:
            yield from _charge(replace(_by(known, review.reviewer, ()), part=Part.REVIEW.value), review)


def _charge(facts: Facts, record: Attempt | ReviewRecord) -> Iterator[tuple[Facts, Sums]]:
    if record.status in _NOTHING_BEGAN:
        return
    spoke = record.spoke
    if spoke is None or spoke.usage is None:
        yield replace(facts, told=Told.UNKNOWN.value), Sums(runs=1)
        return
    told, used = Told.AT_LEAST if spoke.trouble is Trouble.CUT else Told.WHOLE, spoke.usage
    counts = Sums(1, used.input, used.output, used.cache_read, used.cache_write, spoke.cost_microusd or 0)
    priced = spoke.priced if spoke.cost_microusd is not None else ""
    yield replace(facts, told=told.value, priced=_short(priced)), counts


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


# --- the files of a day ---------------------------------------------------------------------------------------------


def day_path(day: str) -> str:
    """Where the lines of a day lie, which is `2026-11-22`, in UTC."""
    return f"{FOLDER}/{day.replace('-', '/')}/day.jsonl"


def jobs_path(day: str, job: str) -> str:
    """Where the line of a job lies: by the first two hex digits, so that no file grows large."""
    return f"{jobs_folder(day)}/{bucket(job)}.jsonl"


def jobs_folder(day: str) -> str:
    """Where the lines by job of a day lie."""
    return f"{FOLDER}/{day.replace('-', '/')}/jobs"


def day_of(seconds: int) -> str:
    """The day in UTC of a time in seconds since 1970."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def added_files(
    was: Job | None, job: Job, read: Read, goal: str, seconds: int, read_file: Callable[[str], bytes | None]
) -> dict[str, bytes]:
    """The files that a step writes which is committed at a time, whole; empty if it adds nothing.

    `read_file` finds a file as it was before the step. Raises ValueError if the line to add to cannot be read.
    """
    charges, day = charges_of(was, job, read, goal), day_of(seconds)
    if not charges:
        return {}
    parts = {day_path(day): charges, jobs_path(day, job.id): by_job(charges, job.id)}
    return {path: add_to(read_file(path) or b"", more) for path, more in parts.items()}


def add_up(parts: Iterable[Lines]) -> dict[Facts, Sums]:
    """All together."""
    found: dict[Facts, Sums] = {}
    for lines in parts:
        for facts, sums in lines.items():
            found[facts] = found.get(facts, NOTHING).plus(sums)
    return found


def add_to(data: bytes, more: Lines) -> bytes:
    """A file with more in it. Only the lines that are added to are read: a busy day has hundreds of others."""
    lines = data.splitlines()
    for facts, sums in more.items():
        head = _json(_mapping(facts, _FACTS)).encode()[:-1]
        # After all of the facts comes the first of the sums.
        heads = tuple(head + f'{"," * (head != b"{")}"{name}":'.encode() for name in _SUMS)
        place = next((at for at, line in enumerate(lines) if line.startswith(heads)), None)
        if place is None:
            lines.append(_line(facts, sums))
        else:
            lines[place] = _line(facts, parse_lines(lines[place])[facts].plus(sums))
    return b"".join(line + b"\n" for line in sorted(lines))


def format_lines(lines: Lines) -> bytes:
    """One object in JSON on each line, without what is empty or zero."""
    return b"".join(line + b"\n" for line in sorted(_line(facts, sums) for facts, sums in lines.items()))


def _line(facts: Facts, sums: Sums) -> bytes:
    return _json(_mapping(facts, _FACTS) | _mapping(sums, _SUMS)).encode()


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _mapping(value: Facts | Sums, names: Iterable[str]) -> dict[str, object]:
    return {name: item for name in names if (item := getattr(value, name))}


def parse_lines(data: bytes) -> Lines:
    """The inverse of `format_lines`. Raises ValueError."""
    found: dict[Facts, Sums] = {}
    for line in data.decode().splitlines():
        value = json.loads(line)
        if not isinstance(value, dict) or not value.keys() <= {*_FACTS, *_SUMS}:
            raise ValueError("a line of costs is not what orc writes")
        texts, numbers = ({key: each for key, each in value.items() if key in part} for part in (_FACTS, _SUMS))
        if not all(type(each) is str for each in texts.values()) or not all(
            type(each) is int and each > 0 for each in numbers.values()
        ):
            raise ValueError("a line of costs holds something else than texts and whole numbers")
        found[Facts(**texts)] = Sums(**numbers)
    return found


# --- questions ------------------------------------------------------------------------------------------------------


class By(StrEnum):
    """What one can add up by."""

    PROJECT = "project"
    GOAL = "goal"
    JOB = "job"
    AGENT = "agent"
    MODEL = "model"
    BACKEND = "backend"
    SKILL = "skill"
    SCHEDULE = "schedule"
    LANE = "lane"
    KIND = "kind"
    PURPOSE = "purpose"
    PART = "part"
    PRICE = "price"
    DAY = "day"


_FIELD = {By.SKILL: "skills", By.PRICE: "priced"}


@dataclass(frozen=True, slots=True)
class Total:
    """What one group comes to. The parts of `all` are told apart by how well they are known."""

    all: Sums = NOTHING
    at_least: Sums = NOTHING
    """Of it, the runs that were cut off."""
    unknown: int = 0
    """Of it, the runs of which nothing is known."""
    unpriced: Sums = NOTHING
    """Of it, the runs whose use is known and whose cost is not."""

    def plus(self, facts: Facts, sums: Sums) -> Total:
        """With one line more."""
        known = facts.told in (Told.WHOLE, Told.AT_LEAST)
        return Total(
            self.all.plus(sums),
            self.at_least.plus(sums) if facts.told == Told.AT_LEAST else self.at_least,
            self.unknown + (sums.runs if facts.told == Told.UNKNOWN else 0),
            self.unpriced.plus(sums) if known and not facts.priced else self.unpriced,
        )


def group(days: Mapping[str, Lines], by: By, project: str = "") -> dict[str, Total]:
    """The groups, by what they cost, then by tokens and runs; days in their order.

    Of all projects, unless one is named. Every line is in exactly one group, so they add up to the total.
    """
    found: dict[str, Total] = {}
    for day, lines in days.items():
        for facts, sums in lines.items():
            if project in ("", facts.project):
                key = day if by is By.DAY else getattr(facts, _FIELD.get(by, by.value)) or NONE
                found[key] = found.get(key, Total()).plus(facts, sums)
    if by is By.DAY:
        return dict(sorted(found.items()))
    return dict(sorted(found.items(), key=lambda each: (*_weight(each[1].all), each[0])))


def total_of(days: Mapping[str, Lines], project: str = "") -> Total:
    """All of it."""
    known = Total()
    for lines in days.values():
        for facts, sums in lines.items():
            if project in ("", facts.project):
                known = known.plus(facts, sums)
    return known


def _weight(sums: Sums) -> tuple[int, int, int]:
    return -sums.microusd, -sums.tokens, -sums.runs


def earns_nothing(total: Total) -> bool:
    """Whether runs were made and jobs have ended, and nothing was delivered."""
    return total.all.runs > 0 and total.all.done == 0 and total.all.failed + total.all.cancelled > 0
