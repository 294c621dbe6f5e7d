"""`orc hold`: keep jobs from going on."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.app import App, human, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_job


@click.command()
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=complete_job)
@click.option("--because", "-m", default="", metavar="TEXT", help="Why; it is shown wherever the job is.")
@json_option
@pass_app
def hold(app: App, jobs: tuple[str, ...], because: str) -> None:
    """Keep each JOB from going on until `orc release`: nothing new is started, built, landed or asked for it.

    The same as writing `hold: true`, or `hold:` and the reason, into its file. A run that is alive goes on.
    """
    refuse_inside_run("orc hold")
    from orchestrator.engine.edit import hold_jobs, live_run
    from orchestrator.engine.find import find_job

    with app.workspace() as ws:
        done = hold_jobs(ws, [find_job(ws, name).job.id for name in jobs], because, human(ws))
        runs = {each.job.id: live_run(ws, each.job) for each in done}
    told, data = [], []
    for each in done:
        job, run = each.job, runs[each.job.id]
        told.append(f"{job.id} is {'held' if each.keys else 'held already'}: {job.why.removeprefix('held ')}.")
        if run:
            told.append(f"  {run} is under way and goes on; what it comes to is taken in, and nothing follows from it.")
        data.append(_facts(each.job, changed=bool(each.keys), run=run))
    app.emit({"jobs": data}, "\n".join(told))


def _facts(job: Any, *, changed: bool, run: str) -> dict[str, Any]:
    return {"job": job.id, "state": job.state.value, "why": job.why, "changed": changed, "run": run}
