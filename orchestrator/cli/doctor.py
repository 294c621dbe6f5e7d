"""`orc doctor`: what is wrong, and the way out."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app
from orchestrator.errors import ExitCode

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@json_option
@pass_app
def doctor(app: App) -> None:
    """Look at everything that work depends on. Exit code 1 if something must be put right."""
    from orchestrator.engine.doctor import Health, examine

    with app.workspace() as ws:
        findings = examine(ws)
    failed = any(each.health is Health.FAIL for each in findings)
    if app.json:
        app.emit({"findings": [asdict(each) for each in findings], "healthy": not failed}, "")
    else:
        paints = app.paints()
        for each in findings:
            mark = f"{each.health:<4}"
            mark = click.style(mark, fg=_COLORS[each.health]) if paints else mark
            click.echo(f"{mark}  {clean_line(each.what)}: {clean_line(each.text)}", color=paints)
            if each.hint:
                click.echo(f"      → {clean_line(each.hint)}")
    if failed:
        sys.exit(int(ExitCode.FAILED))
