"""`orc revert`: undo a merged job."""

from __future__ import annotations

from dataclasses import asdict

import click

from orchestrator.cli.app import App, human, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_ended


@click.command()
@click.argument("job", shell_complete=complete_ended)
@json_option
@pass_app
def revert(app: App, job: str) -> None:
    """Undo JOB on its target branch, as a new commit; nothing that came after it is touched."""
    refuse_inside_run("orc revert")
    from orchestrator.engine.find import find_job
    from orchestrator.engine.revert import revert_job

    with app.workspace() as ws:
        found = revert_job(ws, find_job(ws, job), human(ws))
    app.emit(asdict(found), f"{found.job} is undone on {found.target} as {found.commit[:12]}: {found.stat}")
