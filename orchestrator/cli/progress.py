"""`orc progress`: from inside a run, one line on where the work stands."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, pass_app
from orchestrator.cli.inside import hand_in


@click.command()
@click.argument("text")
@pass_app
def progress(app: App, text: str) -> None:
    """Say in one line where the work stands. For agents, inside an attempt or a review; orc show shows it."""
    from orchestrator.core.outbox import RequestKind

    hand_in(app, RequestKind.PROGRESS, {"text": text})
