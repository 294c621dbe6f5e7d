"""`orc release`: let held jobs go on."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, human, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_job


@click.command()
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=complete_job)
@json_option
@pass_app
def release(app: App, jobs: tuple[str, ...]) -> None:
    """Let each JOB that is held go on where it was. If one of them is not held, none is changed."""
    refuse_inside_run("orc release")
    from orchestrator.engine.edit import release_jobs
    from orchestrator.engine.find import find_job

    with app.workspace() as ws:
        done = release_jobs(ws, [find_job(ws, name).job.id for name in jobs], human(ws))
    data = [{"job": each.job.id, "state": each.job.state.value} for each in done]
    app.emit({"jobs": data}, "\n".join(f"{each.job.id} is held no more: it is {each.job.state}." for each in done))
