"""What every `orc` command shares: the workspace it works on, output for people, pipes and programs, and errors."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.core.transitions import Actor
from orchestrator.errors import ExitCode, OrcError, RefusedError

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.engine.workspace import Workspace

SCHEMA = "orc/cli/v1"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class App:
    """The state of one invocation."""

    start: Path
    json: bool = False
    color: bool | None = None

    @property
    def root(self) -> Path:
        """The workspace. Raises NotFoundError if there is none here."""
        from orchestrator.engine.workspace import find_root

        return find_root(self.start)

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        """The open workspace."""
        from orchestrator.engine.workspace import open_workspace

        with open_workspace(self.root) as ws:
            yield ws

    def emit(self, data: Mapping[str, Any], text: str) -> None:
        """The result: one JSON object with `--json`, else `text` (plain; for tables and colours use `console`)."""
        if self.json:
            name = click.get_current_context().command_path.removeprefix("orc ").replace("git-orc ", "")
            click.echo(json.dumps({"schema": SCHEMA, "command": name, **data}, ensure_ascii=False, default=str))
        elif text:
            click.echo(clean(text))

    def console(self, *, stderr: bool = False) -> Console:
        """Where tables and colours go: plain in a pipe, with NO_COLOR, and on a dumb terminal."""
        from rich.console import Console

        return Console(stderr=stderr, no_color=True if self.color is False else None, highlight=False)

    def is_terminal(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stdout.isatty()


pass_app = click.make_pass_decorator(App)


def clean(text: str) -> str:
    """Text that somebody else may have written, without what a terminal would obey."""
    kept = (char for char in text if char in "\n\t" or not _is_control(ord(char)))
    return "".join(kept)


def _is_control(code: int) -> bool:
    return code < 32 or 127 <= code < 160 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069


def json_option(command: F) -> F:
    """`--json` on a command."""

    def set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(dict) if ctx.obj is None else None
            ctx.find_object(App).json = True  # type: ignore[union-attr]

    option = click.option(
        "--json", is_flag=True, expose_value=False, callback=set_json, help="One JSON object on stdout."
    )
    return option(command)


def human(ws: Workspace) -> Actor:
    """The person at the keyboard, as the ledger names them."""
    from orchestrator.engine.people import person_of

    return person_of(ws.paths.git_dir)


def refuse_inside_run(what: str) -> None:
    """Inside an agent's run nothing can be approved, started or changed: an agent has no such verb."""
    run = os.environ.get("ORC_RUN")
    if run:
        raise RefusedError(
            f"{what} is not possible inside a run ({run})",
            cause="The command was called by an agent's program.",
            hint="say what you need in your final answer",
        )


@contextmanager
def told_errors(app: App | None) -> Iterator[None]:
    """Expected errors as words and an exit code; anything else is a defect and says so."""
    try:
        yield
    except OrcError as error:
        _tell(error, as_json=app is not None and app.json)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(int(ExitCode.INTERRUPTED))
    except BrokenPipeError:
        # The reader went away (`orc log | head`): nothing is wrong, and nothing more may be written.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(int(ExitCode.OK))


def _tell(error: OrcError, *, as_json: bool) -> None:
    if as_json:
        facts = {"message": error.message, "cause": error.cause, "hint": error.hint, "code": int(error.exit_code)}
        click.echo(json.dumps({"schema": SCHEMA, "error": facts}, ensure_ascii=False))
        return
    color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    lines = [click.style("error: ", fg="red", bold=True) + clean(error.message)]
    if error.cause:
        lines.append(f"  usually: {clean(error.cause)}")
    if error.hint:
        lines.append(click.style("  try:     ", fg="cyan") + clean(error.hint))
    click.echo("\n".join(lines), err=True, color=color)
