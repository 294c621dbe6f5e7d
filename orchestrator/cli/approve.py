"""`orc approve`: yes to a card."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, json_option, pass_app
from orchestrator.cli.complete import complete_card
from orchestrator.cli.decide import decide


@click.command()
@click.argument("job", shell_complete=complete_card)
@json_option
@pass_app
def approve(app: App, job: str) -> None:
    """Say yes to what JOB asks, after you have seen commit and diff-stat.

    On a terminal you are asked; elsewhere give the card's id (`orc status` names it) instead of the job's.
    """
    decide(app, job, "approve", "")
