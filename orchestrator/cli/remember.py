"""`orc remember`: from inside a run, a sentence worth keeping."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, pass_app
from orchestrator.cli.inside import hand_in

TYPES = ("fact", "lesson", "strategy", "preference", "pattern", "insight")


@click.command()
@click.argument("text")
@click.option("--type", "type_", type=click.Choice(TYPES), default="fact", show_default=True, help="What it is.")
@click.option("--title", default="", help="A few words to show in lists.")
@click.option("--tag", "-t", "tags", multiple=True, help="A word to find it by; at most eight.")
@pass_app
def remember(app: App, text: str, type_: str, title: str, tags: tuple[str, ...]) -> None:
    """Keep TEXT for later jobs. For agents, inside an attempt.

    One or two sentences that will still be true and of use in a month, with what they rest on. At most five a run.
    """
    from orchestrator.core.outbox import RequestKind

    hand_in(app, RequestKind.REMEMBER, {"type": type_, "text": text, "title": title, "tags": list(tags)})
