"""`orc submit`: hand in a job and get its id at once."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.cli.app import App, json_option, pass_app, refuse_inside_run
from orchestrator.errors import InvalidFileError, NotFoundError


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--name", default="job", help="With - as FILE: the name that the job's id begins with.")
@json_option
@pass_app
def submit(app: App, file: Path, name: str) -> None:
    """Hand in FILE (YAML, or Markdown with front matter; - reads YAML from standard input) and print the job's id.

    The same as dropping it into queue/inbox/, but what is wrong with it is told here.
    """
    refuse_inside_run("orc submit")
    from orchestrator.adapters.files import safe_read
    from orchestrator.engine import accept

    if str(file) == "-":
        data, name = sys.stdin.buffer.read(300_000), f"{name}.yaml"
    else:
        try:
            data, name = safe_read(file).data, file.name
        except FileNotFoundError:
            hint = "orc new > job.yaml writes one to fill in"
            raise NotFoundError(f"there is no file {file}", hint=hint) from None
        except PermissionError:
            raise InvalidFileError("may not be read by you", file=str(file), hint=f"chmod u+r {file}") from None
    with app.workspace() as ws:
        move = accept.submit(ws, data, name, lane=None, source="submit")
    app.emit({"job": move.job.id, "lane": move.job.lane.value}, move.job.id)
