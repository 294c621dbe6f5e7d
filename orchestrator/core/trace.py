"""A job as a trace: spans with the names of OpenTelemetry, worked out from the ledger alone.

The ids follow from the job's id, so a trace that is sent twice is the same trace. The attributes of model calls are
those of the GenAI conventions (https://github.com/open-telemetry/semantic-conventions-genai, as of November 2026), kept
here as words of our own because they still move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from orchestrator.core.attempt_record import Attempt, RunStatus, Spoke
from orchestrator.core.job import Job, State, Worker
from orchestrator.core.review_record import ReviewRecord

Value = str | int | float | bool
ROOT = "job"
PROVIDERS = {"anthropic": "anthropic", "claude": "anthropic", "codex": "openai", "gemini": "gcp.gemini"}
"""`gen_ai.provider.name` by the type of a backend, where that says it."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A time that a job spent in a state. Seconds since 1970."""

    state: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """One span; `key` is unique in its trace, `parent` the key of another or ''. Seconds since 1970."""

    key: str
    name: str
    start: float
    end: float
    parent: str = ROOT
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""
    """Why it failed; '' if it did not."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one job, its own first."""

    job: str
    spans: tuple[Span, ...]

    @property
    def id(self) -> int:
        """128 bits, never 0."""
        return _number(f"orc trace {self.job}", 16)

    def span_id(self, key: str) -> int:
        """64 bits, never 0."""
        return _number(f"orc span {self.job} {key}", 8)


def stays_of(steps: Iterable[tuple[int, str]], now: int) -> list[Stay]:
    """The stays between steps, each with its time and the state that it led to; one that still lasts ends `now`."""
    found: list[tuple[int, str]] = []
    for at, state in steps:
        if state and (not found or found[-1][1] != state):
            found.append((at, state))
    stays = [Stay(state, at, max(at, until)) for (at, state), (until, _) in pairwise(found)]
    if found and not State(found[-1][1]).ended:
        stays.append(Stay(found[-1][1], found[-1][0], max(found[-1][0], now)))
    return stays


def trace_of(
    job: Job, stays: Sequence[Stay], records: Iterable[Attempt | ReviewRecord], runs: Mapping[str, tuple[float, float]]
) -> Trace:
    """The trace of a job. `runs`: from when to when each of its runs that has ended went on, by run."""
    spans = [_root(job, stays)] if stays else []
    spans += [Span(f"stay-{at}", stay.state, stay.start, stay.end) for at, stay in enumerate(stays)]
    spans += [span for record in records for span in _run_spans(record, stays, runs)]
    return Trace(job.id, tuple(spans))


def _root(job: Job, stays: Sequence[Stay]) -> Span:
    attributes: dict[str, Value] = {
        "orc.job.id": job.id,
        "orc.job.project": job.at.project,
        "orc.job.kind": job.spec.kind,
        "orc.job.priority": job.priority.name,
        "orc.job.state": job.state.value,
        "orc.job.origin": job.at.origin,
    }
    error = job.why or "failed" if job.state is State.FAILED else ""
    # Without a title the heading would be a line of the prompt.
    return Span(ROOT, f"job {job.spec.title or job.id}", stays[0].start, stays[-1].end, "", attributes, error)


def _run_spans(
    record: Attempt | ReviewRecord, stays: Sequence[Stay], runs: Mapping[str, tuple[float, float]]
) -> Iterator[Span]:
    if record.run not in runs:
        return
    start, end = runs[record.run]
    who = record.worker if isinstance(record, Attempt) else record.reviewer
    parent = next((f"stay-{at}" for at, stay in enumerate(stays) if stay.start <= start <= stay.end), ROOT)
    what: dict[str, Value] = {"orc.run.id": record.run, **_agent(who), **_used(record.spoke)}
    if isinstance(record, Attempt):
        what |= {"orc.run.kind": "attempt", "orc.attempt.number": record.number}
    else:
        what |= {"orc.run.kind": "review", "orc.review.number": record.number}
        if record.verdict is not None:
            what["orc.review.verdict"] = record.verdict.value
    if record.status is not None:
        what["orc.run.status"] = record.status.value
    yield Span(record.run, f"invoke_agent {who.agent}", start, end, parent, what, _error(record))


def _error(record: Attempt | ReviewRecord) -> str:
    if record.status in (None, RunStatus.ENDED) and not record.exit:
        return ""
    told = record.error if isinstance(record, Attempt) else record.why
    return told or f"{record.status.value if record.status else 'ended'} (exit {record.exit})"


def _agent(who: Worker) -> dict[str, Value]:
    found: dict[str, Value] = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": who.agent}
    if who.model:
        found["gen_ai.request.model"] = who.model
    if who.backend:
        found |= {"orc.backend": who.backend, "gen_ai.provider.name": PROVIDERS.get(who.backend, who.backend)}
    return found


def _used(spoke: Spoke | None) -> dict[str, Value]:
    if spoke is None:
        return {}
    found: dict[str, Value] = {}
    if spoke.model:
        found["gen_ai.response.model"] = spoke.model
    if usage := spoke.usage:
        # As the conventions want it: what came from the cache is a part of the input.
        found |= {
            "gen_ai.usage.input_tokens": usage.input + usage.cache_read + usage.cache_write,
            "gen_ai.usage.output_tokens": usage.output,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        }
    if spoke.cost_microusd is not None:
        found["orc.cost.microusd"] = spoke.cost_microusd
    return found


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1
