"""The board: open jobs as a table, live on a terminal, as plain lines in a pipe."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from orchestrator.cli.app import App, clean, clean_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from orchestrator.engine.report import Summary
    from orchestrator.engine.tick import Engine
    from orchestrator.engine.workspace import Workspace

LANE_STYLES = {
    "urgent": "bold red",
    "running": "cyan",
    "review": "magenta",
    "decide": "bold yellow",
    "waiting": "dim",
    "done": "green",
    "failed": "red",
}
ROWS = 30
REFRESH_S = 0.25


class Board:
    """What `orc run` shows while it works: one line a step, and on a terminal the board below them."""

    def __init__(self, app: App, ws: Workspace, *, quiet: bool = False) -> None:
        self._app, self._ws, self._quiet = app, ws, quiet
        self._live: Any = None
        self._shown = 0.0
        self._problems: dict[str, str] = {}
        self.rejected = 0
        """Files that were not accepted."""

    def __enter__(self) -> Board:
        if not self._quiet:
            console = self._app.console()
            if console.is_terminal:
                from rich.live import Live

                self._live = Live(console=console, auto_refresh=False, transient=False)
                self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(self._render(), refresh=True)
            self._live.stop()

    def tell(self, line: str) -> None:
        """A step was committed, or a file rejected."""
        self.rejected += line.startswith("reject: ")
        line = clean_line(line) if line[:1] != " " else clean(line)
        if self._live is not None:
            from rich.text import Text

            # Above the board, where it scrolls up like any other line and none is lost.
            self._live.console.print(Text(line, style="dim"), soft_wrap=True)
        elif not self._quiet:
            print(line, flush=True)

    def refresh(self, engine: Engine) -> None:
        """A tick has ended."""
        for what, problem in engine.problems.items():
            if self._problems.get(what) != problem:
                self.tell(f"! {what}: {problem}")
        self._problems = dict(engine.problems)
        if self._live is None:
            return
        if time.monotonic() - self._shown >= REFRESH_S:
            self._shown = time.monotonic()
            self._live.update(self._render(), refresh=True)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        from orchestrator.engine.report import summarize

        summary = summarize(self._ws, errors=False)
        projects = list(map(Text, project_rows(summary)))
        if not summary.jobs:
            return Group(*projects, Text("No open jobs.", style="dim"))
        # Half of the screen is left for the steps above the board.
        rows = max(3, self._live.console.height // 2 - 3 - len(projects))
        return Group(Text(""), *projects, board_table(summary, rows=rows))


def board_table(summary: Summary, *, rows: int = ROWS) -> Table:
    """The open jobs as a table."""
    from rich.table import Table
    from rich.text import Text

    # The last column gives way: without a ratio a long reason would squeeze the others to nothing.
    table = Table(box=None, pad_edge=False, expand=True)
    for heading in ("LANE", "JOB", "P", "STATE", "BY", "WHY"):
        ratio = 1 if heading == "WHY" else None
        table.add_column(heading, no_wrap=True, overflow="ellipsis", header_style="bold", ratio=ratio)
    for line in summary.jobs[:rows]:
        by = f"{line.agent} #{line.attempt}" if line.attempt else ""
        cells = (line.id, line.priority, line.state, by, line.why)
        lane = Text(line.lane, style=LANE_STYLES.get(line.lane, ""))
        table.add_row(lane, *(Text(clean_line(cell)) for cell in cells))
    if len(summary.jobs) > rows:
        table.add_row("", f"… and {len(summary.jobs) - rows} more")
    return table


def board_lines(summary: Summary) -> list[str]:
    """The open jobs as plain text, a line each, columns separated by blanks."""
    widths = [max((len(getattr(line, key)) for line in summary.jobs), default=0) for key in ("lane", "id", "state")]
    return [
        f"{line.lane:<{widths[0]}}  {line.id:<{widths[1]}}  {line.priority}  {line.state:<{widths[2]}}  "
        f"{clean_line(line.why)}"
        for line in summary.jobs
    ]


def project_rows(summary: Summary) -> list[str]:
    """The projects that are to be finished, a line each: where each stands, and what its ended jobs came to."""
    rows = ((each.project, each.state, each.ended, each.goal) for each in summary.projects)
    return ["  ".join(map(clean_line, row)) for row in rows]
