"""Deciding: shared by `orc approve`, `reject` and `answer`. A person sees commit and diff-stat before they say yes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean, human, refuse_inside_run
from orchestrator.errors import ExitCode, RefusedError

if TYPE_CHECKING:
    from orchestrator.core.goal import FinishCard, Goal
    from orchestrator.core.job import Job
    from orchestrator.core.records import Card
    from orchestrator.engine.workspace import Workspace

SHOWN_PATHS = 20


def decide(app: App, name: str, key: str, message: str, *, asks: bool = True) -> None:
    """Answer a card: on a terminal after a question, elsewhere only by the card's own id.

    The one who answers must have seen it. With `asks` False (sending work back does no harm) neither is needed.
    """
    refuse_inside_run("deciding")
    from orchestrator.engine.answer import give_answer, open_card
    from orchestrator.engine.find import find_goal

    with app.workspace() as ws:
        if (goal := find_goal(ws, name)) is not None:
            _decide_goal(app, ws, goal, name, key, message, asks=asks)
            return
        job, card = open_card(ws, name)
        _see(app, describe(ws, job, card), card, name, key, asks=asks)
        move = give_answer(ws, job, card, key, message, human(ws))
    data = {"job": move.job.id, "card": card.id, "answer": key, "state": move.job.state.value}
    reason = f": {move.job.why}" if move.job.why else ""
    app.emit(data, f"{move.job.id} is {move.job.state} now{reason}.")


def _decide_goal(app: App, ws: Workspace, goal: Goal, name: str, key: str, message: str, *, asks: bool) -> None:
    """The same for the question whether a project is finished."""
    from orchestrator.cli.goal import KEYS, describe_finish, give_finish_answer
    from orchestrator.engine.goal import card_of_goal

    card, key = card_of_goal(ws, goal, name), KEYS.get(key, key)
    _see(app, describe_finish(card), card, name, key, asks=asks)
    give_finish_answer(app, ws, goal, card, key, message)


def _see(app: App, told: str, card: Card | FinishCard, name: str, key: str, *, asks: bool) -> None:
    """Show a card, and have the answer confirmed on a terminal. Raises RefusedError if another has to be named."""
    on_terminal = app.is_terminal()
    if not app.json or on_terminal:
        click.echo(told, err=app.json)
    if asks and not on_terminal and name != card.id:
        raise RefusedError(
            f"off a terminal the card's id is needed: {card.id}",
            cause="A script must name exactly what it answers, and a newer question is not the one it saw.",
            hint=f"orc answer {card.id} {key}",
        )
    if asks and on_terminal and card.open and not _confirms(card, key, as_json=app.json):
        click.echo("Nothing was changed.", err=app.json)
        sys.exit(int(ExitCode.FAILED))


def _confirms(card: Card | FinishCard, key: str, *, as_json: bool) -> bool:
    if key not in {option.key for option in card.options}:
        return True  # It will be refused, with the answers that there are.
    return click.confirm(f"{key}?", err=as_json)


def describe(ws: Workspace, job: Job, card: Card) -> str:
    """A card in words: the question, what it is bound to, and the answers."""
    from orchestrator.core.needs import blocked_by, blocked_in_words, needed_by
    from orchestrator.core.questions import default_in_words
    from orchestrator.core.records import CardKind
    from orchestrator.engine.answer import evidence_of

    lines, evidence = [f"{card.id}: {card.question}"], evidence_of(ws, job)
    # What an agent says of its question must not look like what is offered.
    mark = "  | " if card.kind is CardKind.QUESTION else "  "
    told_below = {evidence.stat, f"tests: {evidence.tests}"} if evidence is not None else set()
    lines += [f"{mark}{line}" for line in card.context.splitlines() if line not in told_below]
    if evidence is not None:
        lines.append(f"  commit {evidence.tip[:12]}, {evidence.stat}")
        for path in evidence.paths[:SHOWN_PATHS]:
            added = "binary" if path.added is None else f"+{path.added} -{path.deleted}"
            lines.append(f"    {path.status} {path.path} ({added})")
        more = len(evidence.paths) + evidence.more_paths - SHOWN_PATHS
        if more > 0:
            lines.append(f"    … and {more} more (orc diff {job.id})")
        lines.append(f"  tests: {evidence.tests_in_words}")
    if blocks := blocked_by(job.id, needed_by(ws.ledger.snapshot().backlog.values())):
        lines.append(f"  {blocked_in_words(blocks)}")
    lines += [f"  [{option.key}] {option.label}: {option.consequence}" for option in card.options]
    if by_default := default_in_words(card):
        lines.append(f"  {by_default}")
    return clean("\n".join(lines))
