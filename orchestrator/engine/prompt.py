"""Prompt: exactly what an agent gets, or would get now, and why each part of it is there. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.job import Job
from orchestrator.core.matching import Matching
from orchestrator.core.records import Attempt, PromptPart, Used
from orchestrator.core.schedule import AgentView
from orchestrator.engine.attempts import prepare_attempt
from orchestrator.engine.look import look
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, RefusedError


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """The prompt of one attempt. `attempt` is 0 for one that has not begun."""

    job: str
    attempt: int
    agent: str
    rule: str
    backend: str
    model: str
    system: str
    """'' where the program has no system prompt: then all is in the message."""
    message: str
    parts: tuple[PromptPart, ...]
    skills: tuple[Used, ...]
    soul: Used | None
    rules: Used | None
    session: str
    """What it goes on with, or why it begins anew."""

    @property
    def tokens(self) -> int:
        """About how many tokens the whole is."""
        return sum(part.tokens for part in self.parts)


def show_prompt(ws: Workspace, job: Job, *, agent: str = "", attempt: int = 0) -> ShownPrompt:
    """The prompt of an attempt that began, or with 0 the one that the next attempt would get now.

    Raises NotFoundError if there is no such attempt, or no agent for the next one; RefusedError for an ended job.
    """
    if attempt:
        return _given(ws, job, attempt)
    if job.state.ended:
        raise RefusedError(f"{job.id} has ended", hint=f"orc prompt {job.id} --attempt {job.at.attempt or 1}")
    board = look(ws)
    name, rule = (agent, "asked for on the command line") if agent else _choose(Matching(board), job)
    if name not in board.agents:
        known = ", ".join(sorted(board.agents)) or "none"
        raise NotFoundError(f"there is no agent {name!r} (there: {known})", hint="orc workers")
    return _would_be(ws, job, board.agents[name], rule)


def _choose(matching: Matching, job: Job) -> tuple[str, str]:
    chosen = matching.worker(job, frozenset())
    if chosen is None:
        why = matching.problem(job) or "nobody can take it"
        raise NotFoundError(f"no agent would get {job.id}: {why}", hint="orc doctor, or orc prompt --agent NAME")
    return chosen


def _would_be(ws: Workspace, job: Job, agent: AgentView, rule: str) -> ShownPrompt:
    prepared = prepare_attempt(ws, job, agent)
    plan, worker = prepared.plan, agent.worker()
    return ShownPrompt(
        job=job.id,
        attempt=0,
        agent=worker.agent,
        rule=rule,
        backend=worker.backend,
        model=worker.model,
        system=prepared.system.decode("utf-8", "replace"),
        message=prepared.message.decode("utf-8", "replace"),
        parts=prepared.parts,
        skills=prepared.used.skills,
        soul=Used(f"souls/{worker.agent}.md", agent.soul.blob),
        rules=prepared.used.rules.used,
        session=f"goes on with {plan.resume}" if plan.resume else f"a new session: {plan.why_fresh}",
    )


def _given(ws: Workspace, job: Job, number: int) -> ShownPrompt:
    folder = ws.ledger.folder(job.id)
    try:
        attempt = ws.ledger.record(Attempt, folder, f"attempt-{number}")
    except NotFoundError as error:
        raise NotFoundError(error.message, hint=f"orc show {job.id}") from error
    texts = {name: folder.records.get(f"attempt-{number}.{name}") for name in ("system", "prompt")}
    system, message = (ws.ledger.objects.read(oid).decode("utf-8", "replace") if oid else "" for oid in texts.values())
    fresh = f"a new session: {attempt.why_fresh}" if attempt.why_fresh else "a new session"
    return ShownPrompt(
        job=job.id,
        attempt=number,
        agent=attempt.worker.agent,
        rule=attempt.rule,
        backend=attempt.worker.backend,
        model=attempt.worker.model,
        system=system,
        message=message,
        parts=attempt.parts,
        skills=attempt.skills,
        soul=attempt.soul,
        rules=attempt.rules,
        session=f"went on with {attempt.session}" if attempt.resumed else fresh,
    )
