"""`orc edit`: change what a job's file says, in your editor or key by key."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean, human, json_option, pass_app, refuse_inside_run, tell_error
from orchestrator.cli.complete import complete_job
from orchestrator.errors import InvalidFileError, NotFoundError, OrcError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from orchestrator.core.job import Job
    from orchestrator.engine.edit import Edited


@click.command()
@click.argument("job", shell_complete=complete_job)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a key (VALUE is YAML); may be repeated.")
@click.option("--unset", "unsets", multiple=True, metavar="KEY", help="Take a key away; may be repeated.")
@click.option(
    "--file", "file", type=click.Path(path_type=Path, allow_dash=True), help="Take the text from there; - is stdin."
)
@json_option
@pass_app
def edit(app: App, job: str, sets: tuple[str, ...], unsets: tuple[str, ...], file: Path | None) -> None:
    """Open the file of JOB in your editor, as you wrote it, and commit what you change.

    \b
    orc edit fix-login
    orc edit fix-login --set priority=P1 --set minutes=30 --unset needs

    The editor is the one that git would open. What is not valid is told with its line, and you may go on editing;
    what you typed is kept in any case. A change is judged like one in queue/: key by key, from the version shown.
    """
    refuse_inside_run("orc edit")
    if file is not None and (sets or unsets):
        raise click.UsageError("--file goes with no other option")
    if sets or unsets:
        edited = _edit_keys(app, job, sets, unsets)
    elif file is not None:
        edited = _edit_from_file(app, job, file)
    else:
        edited = _edit_in_editor(app, job)
    now, keys = edited.job, list(edited.keys)
    told = f"{now.id}: changed {', '.join(keys)}." if keys else f"{now.id}: nothing was changed."
    app.emit({"job": now.id, "state": now.state.value, "seq": now.at.seq, "changed": keys}, told)


# --- key by key ---


def _edit_keys(app: App, name: str, sets: tuple[str, ...], unsets: tuple[str, ...]) -> Edited:
    from orchestrator.adapters.job_text import find_key, set_key, unset_key
    from orchestrator.engine.edit import change_jobs
    from orchestrator.engine.find import find_job

    values = [(find_key(key), value) for key, value in map(_split_setting, sets)]
    gone = [find_key(key) for key in unsets]

    def changed(job: Job) -> str:
        text = job.text
        for path in gone:
            text = unset_key(text, path, markdown=job.markdown)
        for path, value in values:
            text = set_key(text, path, value, markdown=job.markdown)
        return text

    with app.workspace() as ws:
        try:
            return change_jobs(ws, [find_job(ws, name).job.id], changed, human(ws))[0]
        except InvalidFileError as error:
            # The line is one of a text that nobody has seen.
            raise InvalidFileError(error.reason, key=error.key, cause=error.cause, hint=error.hint) from error


def _split_setting(text: str) -> tuple[str, Any]:
    from orchestrator.adapters.strict_yaml import load

    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="'--set'")
    try:
        found = load(value).value
    except InvalidFileError as error:
        raise InvalidFileError(error.reason, key=key, cause=error.cause, hint=error.hint) from error
    if found is None:
        raise click.BadParameter(f"{key} gets no value; to take it away: --unset {key}", param_hint="'--set'")
    return key, found


# --- from a file ---


def _edit_from_file(app: App, name: str, file: Path) -> Edited:
    from orchestrator.adapters.reading import safe_read
    from orchestrator.engine.edit import edit_job, is_draft, remove_draft, version_shown
    from orchestrator.engine.find import find_job

    from_stdin = str(file) == "-"
    try:
        data = sys.stdin.buffer.read(300_000) if from_stdin else safe_read(file).data
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}", hint=f"orc edit {name}") from None
    with app.workspace() as ws:
        job = ws.open_job(find_job(ws, name).job.id).job
        shown = job if from_stdin else version_shown(ws, job, file)
        try:
            edited = edit_job(ws, shown, data, human(ws))
        except InvalidFileError as error:
            raise error.in_file(str(file)) from error
        if not from_stdin and is_draft(ws, file):
            remove_draft(file)
    return edited


# --- in an editor ---


def _edit_in_editor(app: App, name: str) -> Edited:
    from orchestrator.adapters.programs import run_editor
    from orchestrator.engine.edit import Edited, drafts_of, edit_job, open_draft, remove_draft
    from orchestrator.engine.find import find_job

    with app.workspace() as ws:
        job = ws.open_job(find_job(ws, name).job.id).job
        editor = _editor(app, ws.paths.git_dir)
        for path in drafts_of(ws, job.id):
            click.echo(
                f"note: an edit of it that was not taken lies in {_shown(path)}; delete it if it is not wanted",
                err=True,
            )
        draft = open_draft(ws, job)
    with _kept(draft, job):
        while True:
            code = run_editor(editor, draft, quiet=app.json)
            if code:
                raise UnavailableError(f"the editor `{editor}` ended with {code}", hint="set $VISUAL or $EDITOR")
            data = _written(draft, job)
            try:
                if data is None:
                    edited = Edited(job)
                else:
                    with app.workspace() as ws:
                        edited = edit_job(ws, job, data, human(ws))
            except (InvalidFileError, RefusedError) as error:
                told = error.in_file(_shown(draft)) if isinstance(error, InvalidFileError) else error
                if not app.is_terminal():
                    raise told from error
                tell_error(app, told, as_json=False)
                if not click.confirm("Edit it again?", default=True, err=True):
                    raise told from error
                continue
            remove_draft(draft)
            return edited


def _editor(app: App, git_dir: Path) -> str:
    """By git's rules. Without a terminal only one that somebody chose: git's own last resort needs one."""
    from orchestrator.adapters.git_person import personal_config, personal_editor

    editor = personal_editor(git_dir)
    is_chosen = any(os.environ.get(each) for each in ("GIT_EDITOR", "VISUAL", "EDITOR"))
    if editor and (is_chosen or app.is_terminal() or personal_config(git_dir, "core.editor")):
        return editor
    raise UnavailableError(
        "there is no terminal for an editor",
        cause="orc edit was called by a script, and no editor is named in the environment.",
        hint="orc edit JOB --set KEY=VALUE, or orc edit JOB --file FILE; or set $VISUAL",
    )


def _written(draft: Path, job: Job) -> bytes | None:
    """What the person left in the file; None if that asks for nothing."""
    from orchestrator.adapters.reading import safe_read

    try:
        data = safe_read(draft).data
    except FileNotFoundError:
        return None
    if not job.text.endswith("\n"):
        data = data.removesuffix(b"\n")  # Many editors end the last line by themselves.
    return None if not data.strip() or data == job.text.encode() else data


@contextmanager
def _kept(draft: Path, job: Job) -> Iterator[None]:
    """However the edit ends: what was typed and not taken stays in the file, and the person is told which."""
    try:
        yield
    except OrcError as error:
        if not _is_worth_keeping(draft, job):
            raise
        again = f"orc edit {job.id} --file {shlex.quote(_shown(draft))}"
        error.hint = f"{error.hint.rstrip('.')}; then: {again}" if error.hint else f"mend it, then: {again}"
        error.cause = error.cause or f"What you wrote is kept in {_shown(draft)}."
        raise
    except BaseException:
        if _is_worth_keeping(draft, job):
            click.echo(clean(f"\nWhat you wrote is kept in {_shown(draft)}"), err=True)
        raise


def _is_worth_keeping(draft: Path, job: Job) -> bool:
    from orchestrator.engine.edit import remove_draft

    try:
        if _written(draft, job) is not None:
            return True
    except (OrcError, OSError):
        return True
    remove_draft(draft)
    return False


def _shown(path: Path) -> str:
    """A path as it is shortest to type here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
