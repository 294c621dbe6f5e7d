"""`orc verdict`: from inside a review, its answer."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.app import App, pass_app
from orchestrator.cli.inside import give_verdict, read_input


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@pass_app
def verdict(app: App, file: Path) -> None:
    """Give the verdict in FILE (one JSON object; - reads standard input). For agents, inside a review.

    Its form is checked at once, so that what is wrong with it can be put right; whether it holds is judged at the end.
    The last one given counts.
    """
    data, _ = read_input(file)
    app.emit({}, f"the verdict lies in {give_verdict(data)}")
