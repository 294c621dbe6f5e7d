"""Deciding: shared by `orc approve`, `reject` and `answer`. A person sees commit and diff-stat before they say yes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean, human, refuse_inside_run
from orchestrator.errors import ExitCode, RefusedError

if TYPE_CHECKING:
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

    with app.workspace() as ws:
        job, card = open_card(ws, name)
        on_terminal = app.is_terminal()
        if not app.json or on_terminal:
            click.echo(describe(ws, job, card), err=app.json)
        if asks and not on_terminal and name != card.id:
            raise RefusedError(
                f"off a terminal the card's id is needed: {card.id}",
                cause="A script must name exactly what it answers, and a newer question is not the one it saw.",
                hint=f"orc answer {card.id} {key}",
            )
        if asks and on_terminal and card.open and not _confirms(card, key, as_json=app.json):
            click.echo("Nothing was changed.", err=app.json)
            sys.exit(int(ExitCode.FAILED))
        move = give_answer(ws, job, card, key, message, human(ws))
    data = {"job": move.job.id, "card": card.id, "answer": key, "state": move.job.state.value}
    reason = f": {move.job.why}" if move.job.why else ""
    app.emit(data, f"{move.job.id} is {move.job.state} now{reason}.")


def _confirms(card: Card, key: str, *, as_json: bool) -> bool:
    if key not in {option.key for option in card.options}:
        return True  # It will be refused, with the answers that there are.
    return click.confirm(f"{key}?", err=as_json)


def describe(ws: Workspace, job: Job, card: Card) -> str:
    """A card in words: the question, what it is bound to, and the answers."""
    from orchestrator.engine.answer import evidence_of

    lines, evidence = [f"{card.id}: {card.question}"], evidence_of(ws, job)
    told_below = {evidence.stat, f"tests: {evidence.tests}"} if evidence is not None else set()
    lines += [f"  {line}" for line in card.context.splitlines() if line not in told_below]
    if evidence is not None:
        lines.append(f"  commit {evidence.tip[:12]}, {evidence.stat}")
        for path in evidence.paths[:SHOWN_PATHS]:
            added = "binary" if path.added is None else f"+{path.added} -{path.deleted}"
            lines.append(f"    {path.status} {path.path} ({added})")
        more = len(evidence.paths) + evidence.more_paths - SHOWN_PATHS
        if more > 0:
            lines.append(f"    … and {more} more (orc diff {job.id})")
        lines.append(f"  tests: {evidence.tests_in_words}")
    lines += [f"  [{option.key}] {option.label}: {option.consequence}" for option in card.options]
    return clean("\n".join(lines))
