"""`orc doctor`: what is wrong, and the way out."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from orchestrator.cli.app import App, clean, json_option, pass_app
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
        plain = not app.console().is_terminal
        for each in findings:
            mark = each.health if plain else click.style(each.health, fg=_COLORS[each.health])
            click.echo(f"{mark:<4}  {clean(each.what)}: {clean(each.text)}")
            if each.hint:
                click.echo(f"      → {clean(each.hint)}")
    if failed:
        sys.exit(int(ExitCode.FAILED))
