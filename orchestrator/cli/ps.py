"""`orc ps`: what is running now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.adapters.process_table import ProcessFacts
    from orchestrator.engine.ps import EngineNow, LiveRun, Running

HEADINGS = ("RUN", "KIND", "AGENT", "MODEL", "PROJECT", "PHASE", "PID", "TIME", "LEFT", "OUTPUT", "QUIET", "PROCS")
NUMBERS = ("PID", "TIME", "LEFT", "OUTPUT", "QUIET", "PROCS")
LONGEST = 200


@click.command()
@click.option("--tree", is_flag=True, help="The processes of each run too: pid, time, processor time, memory, command.")
@json_option
@pass_app
def ps(app: App, tree: bool) -> None:
    """What is running now: the engine, each live run, and what is left over.

    \b
    TIME    since the run began        LEFT    until its wall-time limit
    OUTPUT  what its program printed   QUIET   since it printed anything; with ~ since its heartbeat
    PROCS   its processes, without its supervisor, which is PID
    """
    from orchestrator.engine.ps import look_at_runs
    from orchestrator.engine.services import told_services

    with app.workspace(lean=True) as ws:
        found = look_at_runs(ws, commands=tree)
        services = told_services(ws)
    if app.json:
        runs, left = ([_json(each, tree=tree) for each in part] for part in (found.runs, found.leftovers))
        app.emit(
            {
                "engine": asdict(found.engine),
                "runs": runs,
                "leftovers": left,
                "services": [each.to_json() for each in services],
            },
            "",
        )
        return
    click.echo(_engine_line(found.engine))
    if found.runs:
        _tell_runs(app, found.runs, tree=tree)
    else:
        click.echo("Nothing is running.")
    for service in services:
        click.echo(clean_line(f"{'!' if service.state == 'shut' else '-'} {service.text}"))
    _tell_leftovers(app, found, tree=tree)


def _json(run: LiveRun, *, tree: bool) -> dict[str, Any]:
    told = asdict(run)
    listed = told.pop("processes")
    return {**told, "processes": None if listed is None else len(listed), "tree": (listed or []) if tree else []}


def _engine_line(engine: EngineNow) -> str:
    if not engine.running:
        return "No engine is at work here: orc run"
    who = f" as process {engine.pid}" if engine.pid else ""
    since = f", for {duration(engine.seconds)}, since {engine.since}" if engine.since else ""
    return f"The engine is at work{who}{since}."


def _tell_runs(app: App, runs: Sequence[LiveRun], *, tree: bool) -> None:
    if app.is_shown_on_terminal():
        # A tree needs the whole width, so each run gets a table of its own.
        for part in [[each] for each in runs] if tree else [runs]:
            app.console().print(_table(part))
            _tell_tree(app, part[0]) if tree else None
        return
    rows = [HEADINGS, *(_cells(run) for run in runs)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADINGS))]
    for row, run in zip(rows, (None, *runs), strict=True):
        title = "TITLE" if run is None else clean_line(run.title)
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + f"  {title}")
        if tree and run is not None:
            _tell_tree(app, run)


def _tell_tree(app: App, run: LiveRun) -> None:
    width = app.console().width if app.is_shown_on_terminal() else 0
    for line in _tree(run):
        line = f"    {line}"
        click.echo(line if not width or len(line) <= width else line[: width - 1] + "…")


def _table(runs: Sequence[LiveRun]) -> Table:
    """Two lines a run: what it is doing, and below it which job that is."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, expand=True)
    shown = [name for name in HEADINGS if name not in ("KIND", "MODEL", "PROJECT")]
    for name in shown:
        right = "right" if name in NUMBERS else "left"
        ratio = 1 if name == "RUN" else None
        table.add_column(name, no_wrap=True, overflow="ellipsis", header_style="bold", justify=right, ratio=ratio)  # type: ignore[arg-type]
    for run in runs:
        cells = dict(zip(HEADINGS, _cells(run), strict=True))
        below = {"RUN": f"  {clean_line(run.title)}", "AGENT": cells["MODEL"], "PHASE": cells["PROJECT"]}
        told = []
        for name in shown:
            text = Text(cells[name], style="cyan" if name == "RUN" else "")
            told.append(text.append(f"\n{below[name]}", style="dim") if name in below else text)
        table.add_row(*told)
    return table


def _cells(run: LiveRun) -> tuple[str, ...]:
    agent, model, project, phase = (clean_line(each) or "-" for each in (run.agent, run.model, run.project, run.phase))
    return (
        clean_line(run.run),
        run.kind or "-",
        agent,
        model,
        project,
        phase,
        str(run.pid or "-"),
        duration(run.seconds),
        duration(run.left_s),
        _size(run.output_bytes),
        duration(run.output_age_s) if run.output_age_s is not None else "~" + duration(run.beat_age_s),
        "-" if run.processes is None else str(len(run.processes)),
    )


def _tree(run: LiveRun) -> Iterator[str]:
    """The processes of a run, each below its parent."""
    listed: tuple[ProcessFacts, ...] = run.processes or ()
    depths: dict[int, int] = {}
    for each in listed:
        depths[each.pid] = depths[each.parent] + 1 if each.parent in depths else 0
        command = clean_line(each.command)[:LONGEST] or "?"
        facts = f"{each.pid:>8}  {duration(each.seconds):>6}  cpu {duration(each.cpu_s):>6}  {_size(each.rss_bytes):>8}"
        yield f"{facts}  {'  ' * min(depths[each.pid], 20)}{command}"
    if not listed:
        yield "no process" if run.processes is not None else "this machine does not tell which processes it has"


def _tell_leftovers(app: App, found: Running, *, tree: bool) -> None:
    from orchestrator.engine.launch import RunState

    if not found.leftovers:
        return
    click.echo("\nLeft over")
    ways = {
        (RunState.ALIVE, False): "alive, and no job waits for it any more: the engine asks it to stop",
        (RunState.MISSING, True): "is to be started: the engine does it",
        (RunState.ENDED, True): "has ended: the engine collects it",
        (RunState.DEAD, True): "died without a result: the engine closes it and keeps its work",
    }
    for run in found.leftovers:
        way = ways.get((run.state, run.named), "is over, and no job waits for it: the engine puts its folder away")
        pid = f" (process {run.pid})" if run.pid else ""
        click.echo(f"  {clean_line(run.run)}{pid}  {way}")
        if run.processes and not (tree or run.alive):
            click.echo(f"    {len(run.processes)} of its processes are alive: orc ps --tree")
        if run.processes and tree:
            _tell_tree(app, run)
    if not found.engine.running:
        click.echo("  The engine does so when it runs: orc run")


def duration(seconds: float | None) -> str:
    """A time that a person reads at once: `3s`, `2m05`, `1h07`, `3d04h`; `-` if it is not known."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f}s" if seconds % 1 else f"{seconds:.0f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def _size(count: int) -> str:
    for unit, size in (("T", 2**40), ("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count / size:.0f}{unit}"
    return str(count)
