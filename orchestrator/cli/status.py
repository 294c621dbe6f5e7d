"""`orc status`: what needs the person, then everything that is open."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, clean, json_option, pass_app


@click.command()
@json_option
@pass_app
def status(app: App) -> None:
    """What needs you, what is going on, what is wrong."""
    from orchestrator.cli.board import board_lines, board_table
    from orchestrator.engine.report import summarize

    with app.workspace() as ws:
        summary = summarize(ws)
        engine = _engine_at_work(app)
    if app.json:
        app.emit({**summary.to_json(), "engine": engine}, "")
        return
    console = app.console()
    if summary.needs:
        click.secho("Needs you", bold=True, fg="yellow", color=console.is_terminal and not console.no_color)
        for need in summary.needs:
            click.echo(clean(f"  {need.id}: {need.what}\n      {need.command}"))
        click.echo()
    for problem in summary.problems:
        click.echo(clean(f"! {problem}"))
    if not summary.jobs:
        click.echo("No open jobs. Drop a YAML file into queue/inbox/, or: orc new")
    elif console.is_terminal:
        console.print(board_table(summary, rows=200))
    else:
        click.echo("\n".join(board_lines(summary)))
    if summary.jobs and not engine:
        click.echo("\nNo engine is at work here: orc run")


def _engine_at_work(app: App) -> bool:
    from orchestrator.adapters.files import lock_is_free
    from orchestrator.adapters.git import common_dir
    from orchestrator.engine.workspace import Paths

    return not lock_is_free(Paths(app.root, common_dir(app.root)).orcdir / "engine.lock")
