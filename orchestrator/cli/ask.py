"""`orc ask`: from inside a run, a question for the person."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, pass_app
from orchestrator.cli.inside import hand_in

_CHOICE = ("key", "label", "consequence")


@click.command()
@click.argument("question")
@click.option("--option", "-o", "options", multiple=True, help="An answer to choose from; at most four.")
@click.option(
    "--choice",
    "-c",
    "choices",
    nargs=3,
    multiple=True,
    metavar="KEY LABEL CONSEQUENCE",
    help="An answer with the key by which it is given, and what follows from it.",
)
@click.option("--default", "default", default="", metavar="KEY", help="The one that you would take.")
@click.option("--expires", "hours", default=0, metavar="HOURS", help="After so long without an answer that one holds.")
@click.option("--context", default="", help="What the person must know to answer.")
@pass_app
def ask(
    app: App,
    question: str,
    options: tuple[str, ...],
    choices: tuple[tuple[str, str, str], ...],
    default: str,
    hours: int,
    context: str,
) -> None:
    """Ask the person QUESTION. For agents, inside an attempt.

    The question becomes a card when this run ends, and the answer stands in the prompt of your next one. So ask only
    what you cannot go on without, leave the tree as far as you came, and end your run.
    """
    from orchestrator.core.outbox import RequestKind

    offered = [*options, *(dict(zip(_CHOICE, each, strict=True)) for each in choices)]
    content = {"text": question, "options": offered, "context": context, "default": default, "expires_h": hours}
    hand_in(app, RequestKind.ASK, content)
