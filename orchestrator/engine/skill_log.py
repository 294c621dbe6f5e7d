"""What became of the work that was done with each version of a skill, from the newest steps of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.adapters.library import blob_id, scan_skills
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.nearest import guess
from orchestrator.core.review_record import CLEAR
from orchestrator.core.skills import skill_of_path, skill_path, split_pin
from orchestrator.core.transitions import Event
from orchestrator.engine.history import Told, read_history
from orchestrator.engine.outcomes import NOT_MEASURED, STEPS, Measure, event_of, mean_of, with_first_outcomes
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, OrcError

OUTPUTS = 50
"""So many of the newest attempts of each version are named."""
LEAST_BLOB = 8
"""Digits that name a version."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a skill. `tokens_before` are those of the version that was used before it; `outputs` the newest
    attempts that used it, the newest first.
    """

    blob: str
    is_current: bool = False
    first: str = ""
    last: str = ""
    runs: int = 0
    first_pass: Measure = NOT_MEASURED
    score: Measure = NOT_MEASURED
    tokens: Measure = NOT_MEASURED
    tokens_before: Measure = NOT_MEASURED
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SkillLog:
    """The versions of a skill, the one used first first, and how far back was counted."""

    name: str
    versions: tuple[Version, ...]
    steps: int
    since: str


@dataclass(slots=True)
class Tally:
    """What the counted steps say of one version."""

    first: str
    last: str = ""
    attempts: list[tuple[str, int]] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    """1 for each job whose work was approved at the first outcome, else 0."""
    scores: list[float] = field(default_factory=list)


def read_skill_log(ws: Workspace, asked: str) -> SkillLog:
    """The log of one skill, or with `name@blob` of that version. Raises NotFoundError if nothing is known of it."""
    name, blob = split_pin(asked)
    found = _read_all(ws, name)
    if "@" not in asked:
        return found
    kept = tuple(each for each in found.versions if each.blob.startswith(blob))
    if len(blob) < LEAST_BLOB or not kept:
        known = ", ".join(each.blob[:12] for each in found.versions)
        message = f"nothing is known of a version {blob!r} of the skill {name!r} (known: {known})"
        raise NotFoundError(message, hint=f"orc skills log {name}")
    return replace(found, versions=kept)


def _read_all(ws: Workspace, name: str) -> SkillLog:
    steps = read_history(ws, None, STEPS)
    tallies = count_skill(reversed(steps), name)
    there = scan_skills(ws.paths.root).good
    current = there.get(name)
    now = current.blob if current else ""
    # The ledger's copy is of the last version that was used, perhaps long ago. All its history would take too long.
    copy = ws.ledger.read_file(f"library/{skill_path(name)}")
    older = [blob_id(copy)] if copy is not None and blob_id(copy) not in tallies else []
    blobs = list(dict.fromkeys([*older, *tallies, *([now] if now else [])]))
    if not blobs:
        raise NotFoundError(f"nothing is known of a skill {name!r}" + guess(name, there), hint="orc skills list")
    versions: list[Version] = []
    before = NOT_MEASURED
    for blob in blobs:
        versions.append(_version(ws, blob, tallies.get(blob), before, is_current=blob == now))
        before = versions[-1].tokens if versions[-1].tokens.n else before
    return SkillLog(name, tuple(versions), len(steps), steps[-1].time if steps else "")


def _version(ws: Workspace, blob: str, tally: Tally | None, before: Measure, *, is_current: bool) -> Version:
    if tally is None:
        return Version(blob, is_current, tokens_before=before)
    return Version(
        blob,
        is_current,
        tally.first,
        tally.last,
        len(tally.attempts),
        mean_of(tally.passes),
        mean_of(tally.scores),
        mean_of(list(_tokens(ws, tally.attempts))),
        before,
        tuple(str(RunId(job, RunKind.ATTEMPT, number)) for job, number in reversed(tally.attempts[-OUTPUTS:])),
    )


def _tokens(ws: Workspace, attempts: Iterable[tuple[str, int]]) -> Iterator[float]:
    """What each run used, of those whose program tells."""
    for job, number in attempts:
        try:
            attempt = ws.ledger.record(Attempt, ws.ledger.folder(job), f"attempt-{number}")
        except OrcError:
            continue  # `orc verify` tells; a count can do without it.
        if attempt.spoke is not None and attempt.spoke.usage is not None:
            yield attempt.spoke.usage.total


def count_skill(steps: Iterable[Told], name: str) -> Mapping[str, Tally]:
    """What steps, the oldest first, say of each version of a skill.

    The first outcome of a job counts for the version with which that work was made.
    """
    found: dict[str, Tally] = {}
    using: dict[str, Tally | None] = {}
    for step, outcome in with_first_outcomes(steps):
        job = step.facts.get("Job", "")
        if event_of(step) == Event.START:
            using[job] = _start(found, step, name)
        tally = using.get(job)
        if tally is None:
            continue
        if (score := _score(step)) is not None:
            tally.scores.append(score)
        if outcome is not None:
            tally.passes.append(outcome)
    return found


def _start(found: dict[str, Tally], step: Told, name: str) -> Tally | None:
    for used in step.facts.get("Skills", "").split():
        path, _, blob = used.rpartition("@")
        number = step.facts.get("Attempt", "")
        if skill_of_path(path) == name and number.isdecimal():
            tally = found.setdefault(blob, Tally(step.time))
            tally.last = step.time
            tally.attempts.append((step.facts.get("Job", ""), int(number)))
            return tally
    return None


def _score(step: Told) -> float | None:
    """The score of a clear verdict."""
    if event_of(step) != Event.VERDICT or step.facts.get("Verdict") not in CLEAR:
        return None
    try:
        return float(step.facts.get("Score", ""))
    except ValueError:
        return None
