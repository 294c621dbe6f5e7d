"""`orc status`: what needs the person, then everything that is open, then what ended lately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean, clean_line, json_option, pass_app

if TYPE_CHECKING:
    from orchestrator.core.alerts import Alert
    from orchestrator.engine.history import Told
    from orchestrator.engine.needs import Need
    from orchestrator.engine.report import Summary
    from orchestrator.engine.workspace import Workspace

ENDED_SHOWN = 5
HOT_SHOWN = 5
LONGEST = 240


@click.command()
@json_option
@pass_app
def status(app: App) -> None:
    """What needs you, what is going on, what ended lately, what is wrong."""
    from orchestrator.adapters.locks import lock_is_free
    from orchestrator.engine.history import read_ended
    from orchestrator.engine.notes import read_note, tell_silence
    from orchestrator.engine.report import summarize

    with app.workspace(lean=True) as ws:
        summary = summarize(ws)
        ended = read_ended(ws, ENDED_SHOWN)
        engine = not lock_is_free(ws.paths.orcdir / "engine.lock")
        note = read_note(ws)
        # An engine that is at work meets some of the same.
        met = [*_engine_problems(note), *filter(None, [tell_silence(ws, note)])] if engine else []
        problems = list(dict.fromkeys([*summary.problems, *met]))
        alerts = _alerts_of(ws, note)
    if app.json:
        shown = [_ended_json(step) for step in ended]
        told = [alert.text for alert in alerts]
        app.emit({**summary.to_json(), "problems": problems, "ended": shown, "engine": engine, "alerts": told}, "")
        return
    if alerts:
        click.secho(_alert_line(alerts, note, engine=engine), bold=True, fg="red", color=app.paints())
    _tell_needs(app, summary)
    for problem in problems:
        click.echo(clean(f"! {problem}"))
    for refusal in summary.limits:
        click.echo(clean_line(f"! limit: {refusal.told}"))
    if summary.limits:
        click.secho("  What may be used stands under execution_limits: in orc.yaml.", dim=True, color=app.paints())
    for service in summary.services:
        click.echo(clean_line(f"{'!' if service.state == 'shut' else '-'} {service.text}"))
    for each in summary.hot[:HOT_SHOWN]:
        click.echo(clean_line(f"! hot file of {each.project}: {each.path}, {each.conflicts} conflicts in 7 days"))
    _tell_jobs(app, summary)
    if ended:
        click.echo("\nEnded lately" if summary.jobs else "Ended lately")
        for step in ended:
            click.echo(f"  {step.time}  {clean_line(step.subject)}")
    if summary.jobs and not engine:
        click.echo("\nNo engine is at work here: orc run")


def _alerts_of(ws: Workspace, note: dict[str, Any]) -> list[Alert]:
    """What the engine last found wrong with what comes out."""
    if not note.get("alerts"):
        return []
    from orchestrator.engine.health import standing_alerts  # Slow to load, and most boards need none.

    return standing_alerts(ws, note)


def _alert_line(alerts: list[Alert], note: dict[str, Any], *, engine: bool) -> str:
    """That nothing comes out, or not enough, in one line. An engine that is gone has seen it when it was there."""
    more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
    when = "" if engine else f" (seen at {clean_line(str(note.get('looked', '')))})"
    return f"! {clean_line(alerts[0].text)}{more}{when}: orc health"


def _engine_problems(note: dict[str, Any]) -> list[str]:
    """What the engine that is at work cannot do."""
    problems = note.get("problems")
    return [f"{what}: {why}" for what, why in problems.items()] if isinstance(problems, dict) else []


def _ended_json(step: Told) -> dict[str, Any]:
    return {"job": step.facts.get("Job", ""), "state": step.facts.get("To", ""), "at": step.time, "told": step.subject}


def _tell_needs(app: App, summary: Summary) -> None:
    if not summary.needs:
        return
    click.secho("Needs you", bold=True, fg="yellow", color=app.paints())
    for need in summary.needs:
        told = clean_line(f"{need.id}: {need.what}")
        told = told if len(told) <= LONGEST else told[: LONGEST - 1] + "…"
        click.echo(f"  {told}\n      {_way_out(need)}")
        if need.waits is not None:
            told, is_stale = clean_line(need.waits.in_words()), need.waits.is_stale
            click.secho(f"      {told}", fg="red" if is_stale else None, dim=not is_stale, color=app.paints())
        for told in _more(need):
            click.secho(f"      {clean_line(told)}", dim=True, color=app.paints())
    click.echo()


def _more(need: Need) -> list[str]:
    """What waits for a card, and what becomes of it without an answer."""
    from orchestrator.core.needs import blocked_in_words

    by_default = f"if nobody answers by {need.expires}: {need.default}" if need.expires else ""
    return [each for each in (blocked_in_words(need.blocks), by_default) if each]


def _way_out(need: Need) -> str:
    others = f"   (answers: {', '.join(need.answers)})" if len(need.answers) > 1 else ""
    return clean_line(need.command) + others


def _tell_jobs(app: App, summary: Summary) -> None:
    from orchestrator.cli.board import board_lines, board_table, project_rows

    if summary.projects:
        click.secho("Projects", bold=True, color=app.paints())
        for row in project_rows(summary):
            click.echo(f"  {row}")
        click.echo()
    if not summary.jobs:
        click.echo("No open jobs. To begin one: orc new > first.yaml, fill it in, orc submit first.yaml")
    elif app.is_shown_on_terminal():
        app.console().print(board_table(summary, rows=200))
    else:
        click.echo("\n".join(board_lines(summary)))
