"""An agent's conversation: when the next run goes on with it, and when it is ended and a new one begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from orchestrator.core.config import SessionLimits
from orchestrator.core.job import Fix, Worker
from orchestrator.core.said import NOTHING_USED, Usage
from orchestrator.core.times import parse

HANDOFF_LIMIT = 2_000
"""Characters of the note that one session leaves for the next."""
REMEMBERED = 6
"""So many of the latest jobs a session remembers for that note."""


@dataclass(frozen=True, slots=True)
class Did:
    """One job of a session, in a line."""

    job: str
    title: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """`workers/<agent>/<project>.yaml`: the conversation of one agent in one project."""

    agent: str
    project: str
    backend: str
    model: str
    system: str
    """Blob id of the system prompt that its newest run had; '' if its program takes none."""
    id: str
    """What the agent's program calls it; '' once it has ended."""
    started: str
    last_used: str
    folder: str = ""
    """Where it was begun: some programs go on with it nowhere else."""
    runs: int = 0
    jobs: int = 0
    failed_reviews: int = 0
    """Reviews in a row that asked for changes in what it did, as far as it has set about them."""
    used: Usage = field(default_factory=Usage)
    """By all its runs."""
    so_far: Usage = field(default_factory=Usage)
    """As the program counts over the session: what the next run's count is to be lessened by."""
    context: int = 0
    """Tokens of the conversation by now, as the program told of its newest call; else about, and rather too many."""
    last_job: str = ""
    did: tuple[Did, ...] = ()
    handoff: str = ""
    """What the session before left."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run begins: with which session, and why not with an earlier one; both '' if its program has none."""

    resume: str = ""
    why_fresh: str = ""
    handoff: str = ""


def plan_session(
    session: Session | None,
    *,
    worker: Worker,
    system: str,
    folder: str,
    resume: str,
    takes_system: bool,
    limits: SessionLimits,
    window: int,
    now: datetime,
    job: str = "",
    fixes: Sequence[Fix] = (),
) -> Plan:
    """Whether an attempt at `job`, which is to put `fixes` right, goes on with `session`.

    `system` is the blob id of its system prompt. `resume` is what the agent's program can, not "no", and `takes_system`
    whether a session that goes on is told a new system prompt: see `Capabilities`.
    """
    if session is None or not session.id:
        why = "the last one could not be gone on with" if session else "there is none to go on with"
        return Plan(why_fresh=why, handoff=session.handoff if session else "")
    why = _why_not(session, worker, folder, resume)
    if not why and session.system != system and not takes_system:
        why = "its system prompt has changed, and its program keeps the one that it began with"
    failed = session.failed_reviews + _failed_just_now(session, job, fixes)
    why = why or why_over(session, limits, failed_reviews=failed, window=window, now=now)
    if why:
        return Plan(why_fresh=why, handoff=handoff_note(session))
    return Plan(resume=session.id)


def _why_not(session: Session, worker: Worker, folder: str, resume: str) -> str:
    if (session.backend, session.model) != (worker.backend, worker.model):
        return "it was another program's or model's"
    if resume == "same folder" and session.folder != folder:
        return "it was begun in another folder"
    return ""


def _failed_just_now(session: Session, job: str, fixes: Sequence[Fix]) -> bool:
    """Whether `fixes` are what a review asks for in what this session did, and nobody has set about them yet.

    Where the engine or a person has sent the work back since, an attempt has, and the review was counted with that.
    """
    its_own = any(each.job == job for each in session.did)
    return its_own and {fix.source for fix in fixes} == {"reviewer"}


def _failed_after(session: Session, job: str, fixes: Sequence[Fix]) -> int:
    """Failed reviews in a row once a run has set about `fixes`; what a review asked for is there until one approves."""
    is_asked = any(fix.source == "reviewer" for fix in fixes)
    return session.failed_reviews + _failed_just_now(session, job, fixes) if is_asked else 0


def why_over(session: Session, limits: SessionLimits, *, failed_reviews: int, window: int, now: datetime) -> str:
    """Why the session is to be ended, '' if it may go on. `failed_reviews` is with the one that it has just had."""
    if session.jobs >= limits.jobs:
        return f"it has done {session.jobs} jobs"
    if failed_reviews >= limits.failed_reviews:
        return f"{failed_reviews} review{'s in a row' * (failed_reviews > 1)} asked for changes"
    if session.context > limits.window * window:
        return f"{session.context} of {window} tokens of its window are used"
    if now - parse(session.started) > timedelta(hours=limits.hours):
        return f"it was begun at {session.started}"
    return ""


def given_up(session: Session) -> Session:
    """The record once the agent's program has said that it cannot go on with the session."""
    return replace(session, id="", handoff=handoff_note(session))


def handoff_note(session: Session) -> str:
    """What a session leaves for the next, at most 2,000 characters: its latest jobs, newest first."""
    lines = [f"- {each.job}: {each.title}" + (f"\n  {each.told}" if each.told else "") for each in session.did]
    text = "Your last session here ended. What it did, newest first:\n" + "\n".join(lines) if lines else ""
    return text if len(text) <= HANDOFF_LIMIT else text[: HANDOFF_LIMIT - 1] + "…"


def after_run(
    before: Session | None,
    session: Session,
    *,
    usage: Usage | None,
    so_far: Usage | None,
    did: Did,
    fixes: Sequence[Fix] = (),
    is_over: bool = True,
    context: int = 0,
) -> Session:
    """The record once a run of `session` has ended, which was to put `fixes` right.

    `is_over`: it is not to be made again with the same fixes, as after a failure of its service.
    `context`: tokens of the conversation, 0 if the program does not tell them.
    """
    same = before is not None and before.id == session.id
    was = before if same and before is not None else session
    used = usage or NOTHING_USED
    new_job = was.last_job != did.job
    others = tuple(each for each in was.did if each.job != did.job)
    return replace(
        session,
        started=was.started,
        handoff=was.handoff,
        runs=was.runs + 1,
        jobs=was.jobs + new_job,
        failed_reviews=_failed_after(was, did.job, fixes) if is_over else was.failed_reviews,
        used=was.used.plus(used),
        so_far=so_far or was.so_far,
        # What was read from a cache was in the conversation before. Without a cache, each call counts all of it anew.
        context=context or was.context + used.input + used.cache_write + used.output,
        last_job=did.job,
        did=(did, *others)[:REMEMBERED],
    )
