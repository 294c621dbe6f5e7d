"""`orc logs`: what a job's runs printed, live if one is under way."""

from __future__ import annotations

import time
from pathlib import Path

import click

from orchestrator.cli.app import App, clean, json_option, pass_app
from orchestrator.cli.complete import complete_job
from orchestrator.errors import NotFoundError

STREAMS = ("stdout", "stderr", "setup.log")
POLL_S = 0.2


@click.command()
@click.argument("job", shell_complete=complete_job)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@json_option
@pass_app
def logs(app: App, job: str, follow: bool) -> None:
    """What the newest run of JOB printed (or of one run: give its id, such as fix-login-7f3a09c2.attempt-1)."""
    with app.workspace() as ws:
        folder = _find_run(ws, job)
    if app.json:
        texts = {name: _read(folder / name)[-200_000:] for name in STREAMS}
        app.emit({"run": folder.name, **texts}, "")
        return
    click.echo(f"== {folder.name}", err=True)
    seen = dict.fromkeys(STREAMS, 0)
    while True:
        ended = (folder / "result.json").exists() or not folder.exists()
        for name in STREAMS:
            text = _read(folder / name)
            if len(text) > seen[name]:
                click.echo(clean(text[seen[name] :]), nl=False)
                seen[name] = len(text)
        if ended or not follow:
            return
        time.sleep(POLL_S)


def _find_run(ws: object, name: str) -> Path:
    from orchestrator.core.ids import RunId
    from orchestrator.engine.answer import find_job
    from orchestrator.engine.workspace import Workspace

    assert isinstance(ws, Workspace)
    places = (ws.paths.runs, ws.paths.state / "logs")
    if RunId.parse(name):
        found = [place / name for place in places if (place / name).is_dir()]
    else:
        id_ = find_job(ws, name).job.id
        found = [path for place in places if place.is_dir() for path in place.glob(f"{id_}.*") if path.is_dir()]
        found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    if not found:
        raise NotFoundError(f"no run of {name} is kept", hint=f"orc show {name.split('.')[0]}")
    return found[0]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
