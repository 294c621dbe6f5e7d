"""`orc cancel`: give a job up."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, human, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_job


@click.command()
@click.argument("job", shell_complete=complete_job)
@click.option("-m", "--message", default="", help="Why.")
@json_option
@pass_app
def cancel(app: App, job: str, message: str) -> None:
    """Give JOB up. A run of it is stopped by the engine; its work stays under refs/orc/attempts/."""
    refuse_inside_run("orc cancel")
    from orchestrator.engine.answer import cancel_job
    from orchestrator.engine.find import find_job

    with app.workspace() as ws:
        move = cancel_job(ws, find_job(ws, job).job, human(ws), message)
    app.emit({"job": move.job.id, "state": move.job.state.value}, f"{move.job.id} is cancelled; its work is kept.")
