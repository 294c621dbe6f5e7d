"""`orc run`: the engine in the foreground, with a live board."""

from __future__ import annotations

import logging
import sys

import click

from orchestrator.cli.app import App, clean, json_option, pass_app, refuse_inside_run
from orchestrator.errors import ExitCode


@click.command()
@click.option("--once", is_flag=True, help="One tick, then end; for cron and for looking.")
@click.option("--until-idle", is_flag=True, help="End when nothing can move without a person.")
@click.option("--quiet", "-q", is_flag=True, help="No board and no lines.")
@json_option
@pass_app
def run(app: App, once: bool, until_idle: bool, quiet: bool) -> None:
    """Work on what is in queue/ until you stop it.

    SIGTERM or Ctrl-C ends it after the present step; agents that are at work go on, and the next `orc run` adopts them.
    With --until-idle the exit code is 0 only if every job is done and no file was rejected.
    """
    refuse_inside_run("orc run")
    from orchestrator.cli.board import Board
    from orchestrator.engine.loop import Loop, engine_of, stopped_by_signals
    from orchestrator.engine.report import list_problems, summarize

    quiet = quiet or app.json
    # What the loop logs is shown by the board, and by `orc status`; libraries' warnings are of no use to a person.
    logging.getLogger().addHandler(logging.NullHandler())
    with app.workspace() as ws:
        board = Board(app, ws, quiet=quiet)
        with engine_of(ws, listener=board.tell) as engine, board:
            if not (quiet or once or until_idle):
                click.echo(clean(f"Working on {ws.paths.root}. Ctrl-C ends it; agents at work go on."), err=True)
            for problem in list_problems(ws):
                board.tell(f"! {problem}")
            loop = Loop(engine, on_tick=board.refresh)
            with stopped_by_signals(loop):
                loop.run(once=once, until_idle=until_idle)
        summary = summarize(ws)
    app.emit({**summary.to_json(), "rejected": board.rejected}, "" if quiet else summary.closing_line())
    if until_idle and not (summary.all_done and not board.rejected):
        sys.exit(int(ExitCode.FAILED))
