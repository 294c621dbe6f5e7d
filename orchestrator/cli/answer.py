"""`orc answer`: any answer to any card."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, json_option, pass_app
from orchestrator.cli.complete import complete_answer, complete_card
from orchestrator.cli.decide import decide


@click.command()
@click.argument("card", shell_complete=complete_card)
@click.argument("key", shell_complete=complete_answer)
@click.option("-m", "--message", default="", help="Words that go with the answer.")
@json_option
@pass_app
def answer(app: App, card: str, key: str, message: str) -> None:
    """Answer CARD (or the open card of a job) with one of the KEYs it offers."""
    decide(app, card, key, message)
