"""`orc log`: the ledger, as git keeps it."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app
from orchestrator.cli.complete import complete_any


@click.command()
@click.argument("job", required=False, shell_complete=complete_any)
@click.option("-n", "--number", type=click.IntRange(min=1), default=30, show_default=True, help="How many steps.")
@json_option
@pass_app
def log(app: App, job: str | None, number: int) -> None:
    """The steps on the ledger, newest first; only those of JOB if it is given. The same as git log orc/state."""
    from orchestrator.engine.history import read_history

    with app.workspace(lean=True) as ws:
        steps = read_history(ws, job, number)
    data = {"steps": [step.to_json() for step in steps]}
    app.emit(data, "\n".join(f"{step.commit[:10]}  {step.time}  {clean_line(step.subject)}" for step in steps))
