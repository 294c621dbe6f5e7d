"""`orc log`: the ledger, as git keeps it."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, clean, json_option, pass_app
from orchestrator.cli.complete import complete_job


@click.command()
@click.argument("job", required=False, shell_complete=complete_job)
@click.option("-n", "--number", default=30, show_default=True, help="How many steps.")
@json_option
@pass_app
def log(app: App, job: str | None, number: int) -> None:
    """The steps on the ledger, newest first; only those of JOB if it is given. The same as git log orc/state."""
    from orchestrator.engine.history import read_history

    with app.workspace() as ws:
        steps = read_history(ws, job, number)
    data = {"steps": [step.to_json() for step in steps]}
    app.emit(data, clean("\n".join(f"{step.commit[:10]}  {step.time}  {step.subject}" for step in steps)))
