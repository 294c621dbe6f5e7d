"""Deciding: shared by `orc approve`, `reject` and `answer`. A person sees commit and diff-stat before they say yes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean, human, refuse_inside_run
from orchestrator.errors import RefusedError

if TYPE_CHECKING:
    from orchestrator.core.job import Job
    from orchestrator.core.records import Card
    from orchestrator.engine.workspace import Workspace


def decide(app: App, name: str, key: str, message: str, *, yes: bool = False) -> None:
    """Answer a card. Off a terminal only the card's own id will do: the one who answers must have seen it."""
    refuse_inside_run("deciding")
    from orchestrator.engine.answer import give_answer, open_card

    with app.workspace() as ws:
        job, card = open_card(ws, name)
        named = name == card.id
        if not app.json and not yes:
            click.echo(describe(ws, job, card))
        if not named and not yes:
            if not app.is_terminal():
                raise RefusedError(
                    f"off a terminal the card's id is needed: {card.id}",
                    cause="A script must name exactly what it answers.",
                    hint=f"orc answer {card.id} {key}",
                )
            click.confirm(f"{key}?", abort=True)
        move = give_answer(ws, job, card, key, message, human(ws))
    data = {"job": move.job.id, "card": card.id, "answer": key, "state": move.job.state.value}
    app.emit(data, f"{move.job.id} is {move.job.state} now.")


def describe(ws: Workspace, job: Job, card: Card) -> str:
    """A card in words: the question, what it is bound to, and the answers."""
    from orchestrator.engine.answer import evidence_of

    lines = [f"{card.id}: {card.question}"]
    lines += [f"  {line}" for line in card.context.splitlines()]
    evidence = evidence_of(ws, job)
    if evidence is not None:
        lines.append(f"  commit {evidence.tip[:12]}, {evidence.stat}")
        for path in evidence.paths[:20]:
            added = "binary" if path.added is None else f"+{path.added} -{path.deleted}"
            lines.append(f"    {path.status} {path.path} ({added})")
        if len(evidence.paths) > 20:
            lines.append(f"    … and {len(evidence.paths) - 20} more (orc diff {job.id})")
        lines.append(f"  tests: {evidence.tests or 'not run yet'}")
    lines += [f"  [{option.key}] {option.label}: {option.consequence}" for option in card.options]
    return clean("\n".join(lines))
