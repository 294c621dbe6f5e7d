"""`orc reopen`: have a backend tried at once that rests or is shut."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_backend


@click.command()
@click.argument("backend", shell_complete=complete_backend)
@json_option
@pass_app
def reopen(app: App, backend: str) -> None:
    """Let runs begin on BACKEND again at once: its limit is lifted, its key is mended, its program works again.

    A backend rests until its service takes more, and is shut when runs on it fail again and again. Both end by
    themselves when a run that tries it does well; this is for whoever has put it right and does not want to wait.
    """
    refuse_inside_run("orc reopen")
    from orchestrator.engine.people import person_of
    from orchestrator.engine.services import reopen as open_again

    with app.workspace() as ws:
        was = open_again(ws, backend, person_of(ws.paths.git_dir))
    data = {"backend": backend, "was_shut": was.shut is not None, "rested": [each.model for each in was.rests]}
    app.emit(data, f"{backend} is tried again at once.")
