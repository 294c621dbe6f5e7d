"""Goals: projects that are to be finished are looked at in every tick, and a person says when one is."""

from __future__ import annotations

from pathlib import Path

from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.config import Project
from orchestrator.core.goal import MORE_KEY, FinishCard, Goal, GoalMove, answer_finish, next_step, parse_finish_id
from orchestrator.core.job import Priority
from orchestrator.core.times import iso
from orchestrator.core.transitions import Actor, Move
from orchestrator.engine.accept import free_id, new_job, project_problem
from orchestrator.engine.criteria import kind_problem
from orchestrator.engine.goal_counts import ReadFile, filing_of, put_step, read_card, read_goal
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, RefusedError


def look_at_goal(ws: Workspace, project: Project) -> str:
    """Take the step that is due for a project. The subject of its commit, '' if none is due. Raises OrcError.

    What it costs does not depend on the number of jobs, ended or open.
    """
    if _due(ws, ws.ledger.read_file, project, ws.ledger.snapshot().projects.get(project.name, 0)) is None:
        return ""
    with ws.ledger.writing() as writer:
        # A job that came in meanwhile was first.
        step = _due(ws, writer.read_file, project, writer.start.projects.get(project.name, 0))
        if step is not None:
            writer.file(filing_of(step), ws.now())
    return step.subject if step is not None else ""


def _due(ws: Workspace, read: ReadFile, project: Project, open_jobs: int) -> GoalMove | None:
    known = read_goal(read, project.name)
    if known is None and not project.goal:
        return None
    card = read_card(read, known) if known is not None else None
    return next_step(known, card, project.name, project.goal, open_jobs, ws.now())


# --- a person ---


def card_of_goal(ws: Workspace, known: Goal, name: str = "") -> FinishCard:
    """The card that `name` names, else the newest of the project. Raises RefusedError, NotFoundError."""
    named = parse_finish_id(Path(name).name.removesuffix(".yaml"))
    if named is None and not known.card:
        raise RefusedError(f"{known.project} asks nothing: it is {known.state}", hint=f"orc show {known.project}")
    card = read_card(ws.ledger.read_file, known, named[1] if named is not None else 0)
    if card is None:
        raise NotFoundError(f"there is no card {name}", hint=f"orc show {known.project}")
    return card


def answer_goal(
    ws: Workspace, known: Goal, card: FinishCard, key: str, message: str, actor: Actor
) -> tuple[GoalMove, Move | None]:
    """Commit an answer, and with `more` the job that the message becomes. Raises RefusedError, InvalidFileError."""
    job = _job_of(ws, card, message, actor) if key == MORE_KEY and message.strip() else None
    with ws.ledger.writing() as writer:
        now = ws.now()
        present = read_goal(writer.read_file, known.project) or known
        newest = read_card(writer.read_file, present, card.number)
        open_jobs = writer.start.projects.get(known.project, 0)
        step = answer_finish(present, newest, key, message, open_jobs, iso(now), actor=actor)
        writer.file(filing_of(step), now)
        if job is not None:
            put_step(writer, job, now, ws.config)
    return step, job


def _job_of(ws: Workspace, card: FinishCard, message: str, actor: Actor) -> Move:
    name = f"{card.project}-more.yaml"
    parsed = parse_job(dump({"project": card.project, "prompt": f"{message.strip()}\n"}).encode(), name=name)
    problem = project_problem(ws, card.project) or kind_problem(ws, parsed.spec, card.project)
    if problem:
        raise RefusedError(problem)
    id_ = free_id(ws, ws.ledger.snapshot(), name)
    return new_job(ws, parsed, id_, source=card.id, priority=Priority.P2, actor=actor)
