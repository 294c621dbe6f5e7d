"""`orc submit`: hand in a job and get its id at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app
from orchestrator.cli.inside import here
from orchestrator.errors import HostileFileError, InvalidFileError, NotFoundError


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, readable=False))
@click.option("--name", default="job", help="With - as FILE: the name that the job's id begins with.")
@click.option("--again", is_flag=True, help="Also while an open job asks for the same: writes `again: true` into it.")
@json_option
@pass_app
def submit(app: App, file: Path, name: str, again: bool) -> None:
    """Hand in FILE (YAML, or Markdown with front matter; - reads YAML from standard input) and print the job's id.

    The same as dropping it into queue/inbox/, but what is wrong with it is told here. Inside a run it hands in a
    follow-up job, which the engine accepts or refuses.
    """
    from orchestrator.core.criteria import unknown_kind
    from orchestrator.engine import accept
    from orchestrator.engine.criteria import judged_as

    inside = bool(os.environ.get("ORC_RUN"))
    if inside:
        here()
    if str(file) == "-":
        data, name = sys.stdin.buffer.read(300_000), f"{name}.yaml"
    else:
        data, name = _read(file), file.name
    data = _with_again(data, name) if again else data
    if inside:
        _follow_up(app, data, name)
        return
    with app.workspace() as ws:
        move = accept.submit(ws, data, name, lane=None, source="submit")
        kind = move.job.spec.kind
        note = unknown_kind(kind, judged_as(ws.paths.root, kind))
    notes, value = [note] if note else [], {"job": move.job.id, "lane": move.job.lane.value}
    for card in move.records.values():
        notes.append(f"{card.question} orc answer {card.id} {'|'.join(option.key for option in card.options)}")
        value["asks"] = card.id
    for each in notes:
        click.echo(clean_line(f"! {each}"), err=True)
    app.emit(value, move.job.id)


def _with_again(data: bytes, name: str) -> bytes:
    """The same file with the key. Raises InvalidFileError."""
    from orchestrator.adapters.job_file import parse_job
    from orchestrator.adapters.job_text import find_key, set_key

    parsed = parse_job(data, name=name)
    return set_key(parsed.text, find_key("again"), True, markdown=parsed.markdown).encode()


def _read(file: Path) -> bytes:
    """What the file holds. Raises NotFoundError, HostileFileError."""
    from orchestrator.adapters.reading import safe_read

    try:
        return safe_read(file).data
    except FileNotFoundError:
        hint = "orc new > job.yaml writes one to fill in"
        raise NotFoundError(f"there is no file {file}", hint=hint) from None
    except HostileFileError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        raise InvalidFileError("may not be read by you", file=str(file), hint=f"chmod u+r {file}") from error


def _follow_up(app: App, data: bytes, name: str) -> None:
    """Inside a run there is no ledger to write: the engine takes the job out of the run's outbox."""
    from orchestrator.adapters.job_file import parse_job
    from orchestrator.cli.inside import request, told
    from orchestrator.core.ids import slug
    from orchestrator.core.outbox import RequestKind

    parse_job(data, name=name)
    plain = f"{slug(Path(name).stem)}{Path(name).suffix.lower()}"
    file, answer = request(RequestKind.SUBMIT, {"job": data.decode("utf-8"), "name": plain})
    app.emit({"request": file, "answer": str(answer)}, told(file, answer))
