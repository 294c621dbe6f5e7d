"""`orc doctor`: what is wrong, the way out, and with `--fix` what orc can put right by itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app, refuse_inside_run
from orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from orchestrator.engine.finding import Finding, Fix

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red", "done": "green"}


@click.command()
@click.option(
    "--fix", is_flag=True, help="Mend what is safe to mend: shows what, then asks; off a terminal only lists."
)
@click.option("--yes", is_flag=True, help="With --fix: mend without asking.")
@click.option(
    "--try", "try_", is_flag=True, help="Run one trivial prompt through each agent's program; costs a little."
)
@json_option
@pass_app
def doctor(app: App, fix: bool, yes: bool, try_: bool) -> None:
    """Look at everything that work depends on. Exit code 1 if something must be put right."""
    if yes and not fix:
        raise click.UsageError("--yes says yes to --fix: orc doctor --fix --yes")
    if fix or try_:
        refuse_inside_run("orc doctor --fix" if fix else "orc doctor --try")
    from orchestrator.engine.doctor import examine, mend
    from orchestrator.engine.finding import Health

    with app.workspace() as ws:
        findings = examine(ws)
        fixes = list({each.fix.key: each.fix for each in findings if each.fix is not None}.values())
        if not app.json:
            _tell(app, findings)
        if fix and fixes and (yes or _agreed(app, fixes)):
            findings = mend(ws, findings)
            if not app.json:
                click.echo("")
                _tell(app, [each for each in findings if each.fix is not None])
    if try_:
        findings = [*findings, *_try_agents(app)]
    failed = any(each.health is Health.FAIL and not each.fixed for each in findings)
    if app.json:
        app.emit({"findings": [_json(each) for each in findings], "healthy": not failed}, "")
    elif fixes and not fix:
        click.echo(f"\n{len(fixes)} of these can be mended: orc doctor --fix")
    elif fix and not fixes:
        click.echo("\nNothing that orc can mend by itself.")
    if failed:
        sys.exit(int(ExitCode.FAILED))


def _try_agents(app: App) -> list[Finding]:
    """One trivial prompt through the program of each agent that has no problem, told as it comes.

    What is wrong with the others has been told.
    """
    from orchestrator.engine.agent_programs import tell_tried, try_agent
    from orchestrator.engine.agents import view_agents

    with app.workspace(lean=True) as ws:
        config, root, agents = ws.config, ws.paths.root, view_agents(ws)[0]
    found = []
    for name, agent in agents.items():
        if agent.problem:
            continue
        if not app.json and app.is_terminal():
            click.echo(f"      asking {name} …", err=True)
        found.append(tell_tried(name, try_agent(config, root, agent)))
        if not app.json:
            _tell(app, found[-1:])
    return found


def _agreed(app: App, fixes: Sequence[Fix]) -> bool:
    """Show what would be done; whether a person says yes to it."""
    if app.json:
        return False
    click.echo("\nThis would be done:")
    for number, each in enumerate(fixes, start=1):
        click.echo(f"  {number}. {clean_line(each.told)}")
    if app.is_terminal():
        return click.confirm("Do it?")
    click.echo("Nothing was done. To do it without being asked: orc doctor --fix --yes")
    return False


def _json(finding: Finding) -> dict[str, Any]:
    return {
        "what": finding.what,
        "health": finding.health,
        "text": finding.text,
        "hint": finding.hint,
        "fixable": finding.fix is not None,
        "fixed": finding.fixed,
    }


def _tell(app: App, findings: Sequence[Finding]) -> None:
    paints = app.paints()
    for each in findings:
        word = "done" if each.fixed else each.health.value
        mark = f"{word:<4}"
        mark = click.style(mark, fg=_COLORS[word]) if paints else mark
        click.echo(f"{mark}  {clean_line(each.what)}: {clean_line(each.text)}", color=paints)
        if each.hint:
            click.echo(f"      → {clean_line(each.hint)}")
