"""What a person decides from the keyboard: answers to cards, retries, cancellations. Each is one commit."""

from __future__ import annotations

from pathlib import Path

from orchestrator.core import accept as accepting
from orchestrator.core.answer import answer
from orchestrator.core.card import Effect, effect_of
from orchestrator.core.config import Project, terms
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.job import Job, State
from orchestrator.core.likes import near_told
from orchestrator.core.records import Card
from orchestrator.core.transitions import Actor, Move
from orchestrator.core.twins import same_told
from orchestrator.engine.agents import view_agents
from orchestrator.engine.find import find_job
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, RefusedError


def open_card(ws: Workspace, name: str) -> tuple[Job, Card]:
    """The card that a person means: by its own id, or as the open one of a job. Raises NotFoundError, RefusedError."""
    folder = find_job(ws, name)
    job = folder.job
    stem = Path(name).name.removesuffix(".yaml").partition(".")[2]
    if job.state is not State.DECIDE and not stem:
        raise RefusedError(f"{job.id} asks nothing: it is {job.state}", hint=f"orc show {job.id}")
    if stem and not stem.startswith("card-"):
        raise NotFoundError(f"{name!r} is not the id of a card", hint=f"orc show {job.id}")
    return job, ws.ledger.record(Card, folder, stem or f"card-{job.at.card}")


def card_of(ws: Workspace, job: Job) -> Card | None:
    """The card that a job asks now, if it asks one."""
    if job.state is not State.DECIDE:
        return None
    return ws.ledger.record(Card, ws.ledger.folder(job.id), f"card-{job.at.card}")


def evidence_of(ws: Workspace, job: Job) -> Evidence | None:
    """What the engine saw of a job's newest work, if it has looked at any."""
    if not job.at.evidence:
        return None
    return ws.ledger.record(Evidence, ws.ledger.folder(job.id), f"evidence-{job.at.evidence}")


def give_answer(ws: Workspace, job: Job, card: Card, key: str, message: str, actor: Actor) -> Move:
    """Commit an answer. Raises RefusedError if the card may no longer be answered so."""
    return _commit(ws, answered(ws, job, card, key, message, actor))


def answered(ws: Workspace, job: Job, card: Card, key: str, message: str, actor: Actor) -> Move:
    """The step that an answer takes. Raises RefusedError, also if it names an agent that there is not."""
    # A question may be about a project that is there no more.
    project = ws.config.projects.get(job.at.project, Project(job.at.project))
    agreed = terms(ws.config, project, job.spec, allowance=job.at.allowance)
    move = answer(job, card, key, message, agreed, ws.stamp(), actor=actor)
    if effect_of(card, key) is Effect.GIVE:
        agents = {name: agent for name, agent in view_agents(ws)[0].items() if "work" in agent.soul.roles}
        if move.job.at.given not in agents:
            known = ", ".join(sorted(agents)) or "none"
            reason = f"there is no agent {move.job.at.given[:80]!r} with the role `work` (there: {known})"
            raise RefusedError(reason, hint=f"orc answer {card.id} {key} -m NAME")
    return move


def cancel_job(ws: Workspace, job: Job, actor: Actor, why: str) -> Move:
    """Give an open job up. Raises RefusedError if it has ended."""
    if job.state.ended:
        raise RefusedError(f"{job.id} is {job.state} already", hint=f"orc show {job.id}")
    return _commit(ws, accepting.cancel(job, ws.stamp(), actor=actor, why=why, card=card_of(ws, job)))


def retry_job(ws: Workspace, job: Job, actor: Actor, *, again: bool = False) -> Move:
    """Give an ended or stuck job another go.

    Raises RefusedError if it is under way or done, and unless `again` if an open job asks for the same or nearly so.
    """
    if job.state not in (State.FAILED, State.CANCELLED, State.DECIDE, State.WAITING):
        why = "it is done; submit a new job, or orc revert" if job.state is State.DONE else f"it is {job.state}"
        raise RefusedError(f"{job.id} cannot be retried: {why}", hint=f"orc show {job.id}")
    if not again:
        refuse_repeat(ws, job)
    return _commit(ws, accepting.retry(job, ws.stamp(), actor=actor, card=card_of(ws, job)))


def refuse_repeat(ws: Workspace, job: Job) -> None:
    """Raise RefusedError, which names it, if an ended job asks for what an open one asks for by now, or nearly so."""
    judged = ws.repeating(job) if job.state.ended else None
    if judged is not None and judged.twin is not None:
        told = near_told(judged.near, judged.twin) if judged.near is not None else same_told(judged.twin)
        hint = f"orc show {judged.twin.id}; to do both all the same: orc retry {job.id} --again"
        raise RefusedError(f"{job.id} is not given another go: {told}", hint=hint)


def _commit(ws: Workspace, move: Move) -> Move:
    if not ws.commit([move]):
        raise RefusedError(f"{move.job.id} moved on at the same moment", hint=f"orc show {move.job.id}, then again")
    return move
