"""`orc retry`: another go."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, human, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_any


@click.command()
@click.argument("job", shell_complete=complete_any)
@click.option("--again", is_flag=True, help="Also while an open job asks for the same, or nearly the same.")
@json_option
@pass_app
def retry(app: App, job: str, again: bool) -> None:
    """Give JOB, which failed, was cancelled or is stuck, another go with a fresh set of attempts."""
    refuse_inside_run("orc retry")
    from orchestrator.engine.answer import retry_job
    from orchestrator.engine.find import find_job

    with app.workspace() as ws:
        move = retry_job(ws, find_job(ws, job).job, human(ws), again=again)
    told = f"{move.job.id} is ready again"
    told += f", but {move.job.why}: orc release {move.job.id}" if move.job.is_held else "."
    app.emit({"job": move.job.id, "state": move.job.state.value}, told)
