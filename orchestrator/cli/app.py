"""What every `orc` command shares: the workspace it works on, output for people, pipes and programs, and errors."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.errors import ExitCode, NotFoundError, OrcError, RefusedError, UnavailableError, machine_error

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.core.transitions import Actor
    from orchestrator.engine.workspace import Workspace

SCHEMA = "orc/cli/v1"
TABLE_GAP = 2
LEAST_WIDTH = 6
"""Of a column that is cut."""
F = TypeVar("F", bound=Callable[..., Any])


class ReaderGoneError(Exception):
    """Whoever read the output has gone away (`orc log | head`)."""


def is_reader_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    import select

    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


@dataclass(slots=True)
class App:
    """The state of one invocation."""

    start: Path
    json: bool = False
    color: bool | None = None

    @property
    def root(self) -> Path:
        """The workspace. Raises NotFoundError if there is none here."""
        from orchestrator.adapters.places import find_root

        return find_root(self.start)

    @contextmanager
    def workspace(self, *, lean: bool = False) -> Iterator[Workspace]:
        """The open workspace; `lean` for commands that only look."""
        from orchestrator.engine.workspace import open_workspace

        with open_workspace(self.root, lean=lean) as ws:
            yield ws

    def emit(self, data: Mapping[str, Any], text: str) -> None:
        """The result: one JSON object with `--json`, else `text` (plain; for tables and colours use `console`)."""
        if self.json:
            name = click.get_current_context().command_path.removeprefix("orc ")
            click.echo(json.dumps({"schema": SCHEMA, "command": name, **data}, default=str))
        elif text:
            click.echo(clean(text))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], *, below: Sequence[str] = ()) -> None:
        """A table: cut to the width on a terminal, the widest columns first; whole in a pipe.

        `below`: on a terminal, a line for each row that stands under it.
        """
        every = [headings, *rows]
        if self.is_shown_on_terminal():
            from rich.cells import cell_len
            from rich.table import Table
            from rich.text import Text

            console = self.console()
            needed = [max(cell_len(row[at]) for row in every) for at in range(len(headings))]
            room = console.width - TABLE_GAP * (len(headings) - 1)
            widths = fit_columns(needed, room)
            # A line below a row goes over all columns, which no cell does: then each row is a table of its own.
            for at, part in enumerate([[row] for row in rows] if below else [rows]):
                table = Table(box=None, pad_edge=False, show_header=not at)
                for heading, width in zip(headings, widths, strict=True):
                    table.add_column(heading, no_wrap=True, overflow="ellipsis", header_style="bold", width=width)
                for row in part:
                    table.add_row(*(Text(cell) for cell in row))
                console.print(table)
                if below:
                    console.print(Text(f"  {below[at]}", style="dim"), no_wrap=True, overflow="ellipsis")
            return
        widths = [max(len(row[at]) for row in every) for at in range(len(headings) - 1)]
        for row in every:
            cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
            click.echo("  ".join([*cells, row[-1]]))

    def paints(self, stream: IO[str] | None = None) -> bool:
        """Whether colours may be shown: on a terminal that knows them, unless NO_COLOR or `--no-color` forbid it."""
        stream = stream or sys.stdout
        return self.color is not False and allows_color(stream)

    def console(self) -> Console:
        """Where tables and colours go; without a single escape in a pipe."""
        from rich.console import Console

        # Not left to rich: FORCE_COLOR and the like must not put colours into a pipe.
        paints = self.paints()
        return Console(
            force_terminal=sys.stdout.isatty(),
            color_system="auto" if paints else None,
            no_color=not paints,
            highlight=False,
            emoji=False,
        )

    def is_shown_on_terminal(self) -> bool:
        """Whether a person sees the output at once."""
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def is_terminal(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stdout.isatty()


pass_app = click.make_pass_decorator(App)


def fit_columns(needed: Sequence[int], room: int) -> list[int]:
    """How wide columns become that need so much: the widest give way until all fit, none below what makes no sense."""
    widest = max(needed)
    while widest > LEAST_WIDTH and sum(min(each, widest) for each in needed) > room:
        widest -= 1
    return [min(each, widest) for each in needed]


def allows_color(stream: IO[str]) -> bool:
    """Whether the stream and the environment allow colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def clean(text: str) -> str:
    """Text that somebody else may have written, without what a terminal would obey."""
    return "".join(char for char in text if char in "\n\t" or not _is_unsafe(ord(char)))


def clean_line(text: str) -> str:
    """The same on one line, without blanks at its ends."""
    return " ".join(clean(text).split())


def _is_unsafe(code: int) -> bool:
    return (
        code < 32
        or 127 <= code < 160
        or code in (0x061C, 0x200E, 0x200F, 0xFEFF)
        or 0x2028 <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xD800 <= code <= 0xDFFF
    )


def json_option(command: F) -> F:
    """`--json` on a command."""

    def set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        app = ctx.find_object(App)
        if value and app is not None:
            app.json = True

    option = click.option(
        "--json", is_flag=True, expose_value=False, callback=set_json, help="One JSON object on stdout (orc help json)."
    )
    return option(command)


def check_place(path: Path) -> None:
    """Raise NotFoundError, before the work and not after it, if the folder is not there that a file is to lie in."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {clean_line(str(path.parent))}", hint="make it, or name another file")


def write_out(path: Path, text: str) -> None:
    """Write a file that a person asked for. Raises UnavailableError if it cannot be written."""
    from orchestrator.adapters.files import write_atomic

    try:
        write_atomic(path, text.encode())
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UnavailableError(f"{clean_line(str(path))} cannot be written: {why}", hint="name another file") from error


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
def told_errors(app: App, *, as_json: bool) -> Iterator[None]:
    """Expected errors as words and an exit code; anything else is a defect and says so."""
    try:
        yield
    except OrcError as error:
        tell_error(app, error, as_json=as_json or app.json)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(int(ExitCode.INTERRUPTED))
    except ReaderGoneError:
        # Nothing is wrong, and nothing more may be written, also not when the interpreter ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(int(ExitCode.OK))
    except Exception as error:
        if isinstance(error, OSError) and (refused := machine_error(error)) is not None:
            tell_error(app, refused, as_json=as_json or app.json)
            sys.exit(int(refused.exit_code))
        import traceback

        click.echo(clean(traceback.format_exc()), err=True)
        defect = OrcError(
            f"{type(error).__name__}: {error}",
            cause="A defect of orc itself. What was committed before stands; nothing else was changed.",
            hint="the same again; if it stays, report the lines above",
        )
        tell_error(app, defect, as_json=as_json or app.json, code=ExitCode.UNEXPECTED)
        sys.exit(int(ExitCode.UNEXPECTED))


def tell_error(app: App, error: OrcError, *, as_json: bool, code: ExitCode | None = None) -> None:
    """An error in words on stderr, or as one object on stdout."""
    if as_json:
        number = int(error.exit_code if code is None else code)
        facts = {"message": error.message, "cause": error.cause, "hint": error.hint, "code": number}
        click.echo(json.dumps({"schema": SCHEMA, "error": facts}))
        return
    lines = [click.style("error: ", fg="red", bold=True) + clean(error.message)]
    if error.cause:
        lines.append(f"  usually: {clean(error.cause)}")
    if error.hint:
        lines.append(click.style("  try:     ", fg="cyan") + clean(error.hint))
    click.echo("\n".join(lines), err=True, color=app.paints(sys.stderr))
