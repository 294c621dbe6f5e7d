"""`orc ask`: from inside a run, a question for the person."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, pass_app
from orchestrator.cli.inside import hand_in


@click.command()
@click.argument("question")
@click.option("--option", "-o", "options", multiple=True, help="An answer to choose from; at most four.")
@click.option("--context", default="", help="What the person must know to answer.")
@pass_app
def ask(app: App, question: str, options: tuple[str, ...], context: str) -> None:
    """Ask the person QUESTION. For agents, inside an attempt.

    The question becomes a card when this run ends, and the answer stands in the prompt of your next one. So ask only
    what you cannot go on without, leave the tree as far as you came, and end your run.
    """
    from orchestrator.core.outbox import RequestKind

    hand_in(app, RequestKind.ASK, {"text": question, "options": list(options), "context": context})
