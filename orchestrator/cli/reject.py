"""`orc reject`: send work back."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, json_option, pass_app
from orchestrator.cli.complete import complete_card
from orchestrator.cli.decide import decide


@click.command()
@click.argument("job", shell_complete=complete_card)
@click.option("-m", "--message", required=True, help="What is to be changed; each paragraph or list item is one fix.")
@json_option
@pass_app
def reject(app: App, job: str, message: str) -> None:
    """Send the work of JOB back to its author; your words become numbered fixes, and the work is judged again."""
    decide(app, job, "revise", message, asks=False)
