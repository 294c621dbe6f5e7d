"""Draining: `drain:` in an agent's soul, written as a person would, every other character as it was."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_checkout import dirty_paths, in_checkout
from orchestrator.adapters.git_person import top_level
from orchestrator.adapters.job_text import set_key, unset_key
from orchestrator.adapters.library import MOST_BYTES, parse_soul
from orchestrator.adapters.reading import safe_read, signature
from orchestrator.core.agent import Soul
from orchestrator.core.board import age
from orchestrator.core.job import Job
from orchestrator.engine.agents import soul_file
from orchestrator.engine.ps import find_runs
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import BusyError, InvalidFileError, RefusedError

DRAIN = ("drain",)
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Drained:
    """An agent as its soul is now. `changed`: the soul says something else than before."""

    soul: Soul
    changed: bool


@dataclass(frozen=True, slots=True)
class Work:
    """A job that an agent is at, or that nobody else may take, and why."""

    job: str
    why: str


def drain_agent(ws: Workspace, name: str, why: str = "", *, keep: bool = False) -> Drained:
    """Write `drain:` into a soul. An agent that drains keeps its reason, unless there is a new one and not `keep`.

    Raises NotFoundError, InvalidFileError, RefusedError if the key cannot be written without touching anything else,
    BusyError if somebody writes the file meanwhile.
    """
    why = " ".join(why.split())

    def drained(soul: Soul, text: str) -> str:
        if soul.drain and (keep or why in ("", soul.drain)):
            return text
        return set_key(text, DRAIN, why or True, markdown=True)

    return change_soul(ws, soul_file(ws, name), drained)


def undrain_agent(ws: Workspace, name: str) -> Drained:
    """Take `drain:` out of a soul. Raises RefusedError if the agent does not drain, and as `drain_agent` does."""

    def undrained(soul: Soul, text: str) -> str:
        if not soul.drain:
            raise RefusedError(f"{name} does not drain", hint=f"orc workers {name}")
        return unset_key(text, DRAIN, markdown=True)

    return change_soul(ws, soul_file(ws, name), undrained)


def change_soul(ws: Workspace, path: Path, change: Callable[[Soul, str], str]) -> Drained:
    """Write what `change` makes of a soul's text: all of it, or nothing if somebody else has written it meanwhile."""
    name, file = path.stem, path.relative_to(ws.paths.root).as_posix()
    read = safe_read(path, max_bytes=MOST_BYTES)
    before = parse_soul(name, read.data, file)
    text = read.data.decode()
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    data = (mark + change(before, text.removeprefix(mark))).encode()
    if data == read.data:
        return Drained(before, changed=False)
    try:
        after = parse_soul(name, data, file)
    except InvalidFileError as error:
        # The line is one of a text that nobody has seen.
        raise InvalidFileError(error.reason, file=file, key=error.key, cause=error.cause, hint=error.hint) from error
    if signature(path) != read.signature:
        raise BusyError(f"{file} is being changed by somebody else", hint="the same again")
    with effect(Effect.SOUL_WRITE):
        write_atomic(path, data, mode=stat.S_IMODE(path.stat().st_mode))
    return Drained(after, changed=True)


# --- what an agent is at ---


def work_of(ws: Workspace, name: str) -> list[Work]:
    """The jobs that an agent is at, or that nobody else may take, the oldest first.

    Whatever it has begun may come back to it until the job has ended. A run that no job waits for goes before them.
    """
    alive = {run.job: run.run for run in find_runs(ws) if run.agent == name and (run.alive or run.named)}
    found = []
    for job in sorted((folder.job for folder in ws.ledger.snapshot().folders.values()), key=age):
        run = alive.pop(job.id, "")
        if why := f"{run} is under way" if run else _why_its(job, name):
            found.append(Work(job.id, why))
    return [*(Work(job, f"{run} is under way") for job, run in alive.items()), *found]


def _why_its(job: Job, name: str) -> str:
    """Why an open job without a run of this agent is its all the same, '' if it is not."""
    if job.at.given == name:
        what = "its conflict" if job.at.conflicts else "the job"
        return f"{what} was given to it: orc retry {job.id} takes that back"
    if job.at.agent == name:
        return f"its work, which is {job.state}"
    if job.spec.agent == name:
        return f"asks for it: orc edit {job.id} --unset agent"
    return f"asks for its review: orc edit {job.id} --unset review.by" if job.spec.review.by == (name,) else ""


def waits_for_commit(ws: Workspace, paths: Iterable[Path]) -> bool:
    """Whether git shows a change of one of these files. Until it is committed no work lands in that checkout."""
    top = top_level(ws.paths.root)
    dirty = {top / path for path in dirty_paths(in_checkout(Git(ws.paths.git_dir), top))}
    return not dirty.isdisjoint(path.resolve() for path in paths)
