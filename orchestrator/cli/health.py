"""`orc health`: what comes out, how far jobs come, why they drop out, and what of it is an alert."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app
from orchestrator.errors import ExitCode, OrcError

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.core.alerts import Oldest
    from orchestrator.core.funnel import Funnel
    from orchestrator.engine.health import HealthReport

CANNOT_TELL = ExitCode.USAGE
"""Where nothing could be looked at: for a monitor the same as a wrong command line."""
LONGEST_S = 90 * 86_400
SHORTEST_S = 600
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SPAN = re.compile(r"(\d{1,6})([mhdw])\Z")
BAR = 24
"""How wide the bar of the fullest stage is."""
REASONS = 4
"""So many reasons are told for each stage."""
LATE = " (late)"


def read_period(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """`36h`, `7d`, a date or a time in the past, as a number of seconds."""
    seconds = _seconds_of(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is none of 36h, 7d, 2w, 2026-11-20 or 2026-11-20T12:00", ctx, param)
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise click.BadParameter(f"{value!r} is not between 10 minutes and 90 days ago", ctx, param)
    return seconds


def _seconds_of(text: str) -> int | None:
    if found := _SPAN.match(text):
        return int(found[1]) * _UNITS[found[2]]
    from orchestrator.adapters import clock

    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int((clock.now() - when).total_seconds())


@click.command()
@click.option(
    "--since",
    metavar="WHEN",
    callback=read_period,
    default="7d",
    show_default=True,
    help="Count from then on: 36h, 7d, a date (UTC).",
)
@click.option("--prometheus", is_flag=True, help="The figures as text for Prometheus; then the exit code is 0.")
@json_option
@pass_app
def health(app: App, since: int, prometheus: bool) -> None:
    """What comes out: how many jobs were accepted, started, produced, reviewed and merged, and why others were not.

    \b
    Alerts, all but the first two about the last 24 hours:
      gate_broken   a gate fails its own test, so that nothing is merged
      service_shut  a backend's key is refused, or its program fails, again and again
      nothing_done  10 runs or more have ended, and no job was done
      one_reason    of 5 tries or more to reach a stage, 80 % failed for one reason
      stage_empty   5 jobs or more reached a stage an hour ago, and none the next
      too_old       a job is in its state 3 times as long as nine of ten were
      no_maintenance schedules of it are switched on, and nothing came of them
      false_reports an agent claimed twice in 7 days what was not there

    \b
    Exit codes, for monitors:
      0  well, though there may be warnings: gates that stopped none or all of their work in 30 days
      1  there are alerts
      2  it cannot be told: no workspace, or no ledger that can be read
    """
    if prometheus and app.json:
        raise click.UsageError("--prometheus does not go with --json")
    from orchestrator.adapters.locks import lock_is_free
    from orchestrator.engine.health import look_at_health

    try:
        with app.workspace(lean=True) as ws:
            report = look_at_health(ws, since)
            engine = not lock_is_free(ws.paths.orcdir / "engine.lock")
    except OrcError as error:
        error.exit_code = CANNOT_TELL
        raise
    if prometheus:
        from orchestrator.cli.health_metrics import metrics_of

        click.echo(metrics_of(report, engine=engine), nl=False)
        return  # Alerts are among the figures: who collects them has not failed.
    if app.json:
        app.emit({**_json(report), "engine": engine}, "")
    else:
        _tell(app, report, engine=engine)
    if report.alerts:
        sys.exit(int(ExitCode.FAILED))


# --- as words -----------------------------------------------------------------------------------------------------


def _tell(app: App, report: HealthReport, *, engine: bool) -> None:
    paints = app.paints()
    click.secho(_verdict(report), bold=True, fg="red" if report.alerts else "green", color=paints)
    for alert in report.alerts:
        click.secho(f"! {clean_line(alert.text)}", fg="red", color=paints)
        click.echo(f"      {clean_line(alert.command)}")
    for warning in report.warnings:
        click.secho(f"? {clean_line(warning)}", fg="yellow", color=paints)
        click.echo("      orc scars; orc gate selftest")
    if report.share.warning:
        click.secho(f"? {report.share.warning}", fg="yellow", color=paints)
        click.echo("      orc costs --by purpose --days 7")
    for refusal in report.limits:
        click.secho(f"? limit: {clean_line(refusal.told)}", fg="yellow", color=paints)
    for service in report.services:
        if service.state != "shut":
            click.echo(clean_line(f"- {service.text}"))
    if cards := report.cards:
        click.echo(_cards_line(cards))
    for each in report.projects:
        if each.waits is not None:
            click.echo(
                clean_line(f"{each.project} {each.waits.in_words()} (pending_approval): orc show {each.project}")
            )
    if not engine and report.oldest:
        click.echo("No engine is at work here: orc run")
    click.echo()
    if app.is_shown_on_terminal():
        _print_tables(app, report)
    else:
        for rows in _tables(report, _stage_rows(report)):
            click.echo("\n".join([*_aligned(rows), ""]))
    if report.share.told:
        click.echo(f"{report.share.told[:1].upper()}{report.share.told[1:]}.")
    click.echo(_counted(report))


def _tables(report: HealthReport, stages: Iterable[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    """The stages, the days on which something happened, and the states in which jobs stand."""
    yield list(stages)
    days = list(_day_rows(report))
    if len(days) > 1:
        yield days
    yield list(_state_rows(report))


def _verdict(report: HealthReport) -> str:
    done = report.day.reached[_stages()[-1]]
    jobs = f"{done} job{'' if done == 1 else 's'} done"
    if report.alerts:
        number = len(report.alerts)
        return f"{number} alert{'' if number == 1 else 's'}; {jobs} in the last 24 hours"
    if not (done or report.day.runs or any(report.day.reached.values()) or report.oldest):
        return "Well: nothing was asked for in the last 24 hours"
    return f"Well: {jobs} in the last 24 hours"


def _cards_line(cards: Oldest) -> str:
    from orchestrator.core.alerts import in_words

    one = cards.jobs == 1
    told = f"{cards.jobs} question{' waits' if one else 's wait'} for you"
    return f"{told}, {'' if one else 'the oldest '}for {in_words(cards.age_s)}: orc status"


def _counted(report: HealthReport) -> str:
    since = _time(report.counted_since)
    less = "" if report.counted_since == report.period.since else " (there are more before, which are not counted)"
    steps = f"{report.steps} step{'' if report.steps == 1 else 's'}"
    return f"Counted since {since}{less}; {steps} of the ledger were read. Days are those of UTC."


def _stages() -> tuple[Any, ...]:
    from orchestrator.core.funnel import STAGES

    return STAGES


def _reasons(reasons: Mapping[str, int]) -> str:
    told = [f"{clean_line(code)} {number}" for code, number in list(reasons.items())[:REASONS]]
    more = len(reasons) - len(told)
    return ", ".join([*told, *([f"{more} more"] if more > 0 else [])])


def _since_heading(report: HealthReport) -> str:
    from orchestrator.core.alerts import in_words

    return in_words(report.period.until - report.period.since).upper()


def _stage_rows(report: HealthReport) -> Iterator[tuple[str, ...]]:
    yield "STAGE", "24 H", _since_heading(report), "WHY OTHERS DID NOT REACH IT"
    for stage in _stages():
        counts = (str(report.day.reached[stage]), str(report.period.reached[stage]))
        yield stage.value, *counts, _reasons(report.period.drops.get(stage, {})) or "-"


def _day_rows(report: HealthReport) -> Iterator[tuple[str, ...]]:
    yield "DAY", *(stage.value.upper() for stage in _stages()), "FAILED", "WHY OTHERS DROPPED OUT"
    for day in report.days:
        if any(day.reached.values()) or day.drops or day.runs or day.failed:
            counts = (str(day.reached[stage]) for stage in _stages())
            yield _time(day.since)[:10], *counts, str(day.failed), _reasons(day.dropped) or "-"


def _state_rows(report: HealthReport) -> Iterator[tuple[str, ...]]:
    from orchestrator.core.alerts import in_words

    if not report.oldest:
        yield (f"No open jobs{f' but {report.parked} that wait for you, a date or another' if report.parked else ''}.",)
        return
    yield "STATE", "JOBS", "OLDEST", "FOR", "NINE OF TEN LEAVE IT WITHIN"
    for each in report.oldest:
        usual = "-" if each.p90_s is None else in_words(each.p90_s)
        late = LATE if each.is_late else ""
        yield each.state, str(each.jobs), each.job, in_words(each.age_s) + late, usual
    if report.parked:
        yield "", str(report.parked), "more are held, or wait for a date or another job", "", ""


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns separated by blanks; numbers stand to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [
            f"{cell:>{width}}" if cell.isdecimal() else f"{cell:<{width}}"
            for cell, width in zip(row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _print_tables(app: App, report: HealthReport) -> None:
    console = app.console()
    for rows in _tables(report, _with_bars(report)):
        console.print(_table(rows))
        console.print()


def _with_bars(report: HealthReport) -> Iterator[tuple[str, ...]]:
    """The stages, each with a bar that shows how much of what came in has come so far."""
    most = max(1, *report.period.reached.values())
    heading, *rows = _stage_rows(report)
    yield heading[0], "", *heading[1:]
    for stage, row in zip(_stages(), rows, strict=True):
        share = report.period.reached[stage] / most
        yield row[0], "█" * round(BAR * share) or "▏" * (share > 0), *row[1:]


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=len(rows) > 1)
    for at, heading in enumerate(rows[0]):
        is_number = len(rows) > 1 and all(row[at].isdecimal() for row in rows[1:])
        style = "" if heading else "cyan"
        table.add_column(heading, header_style="bold", style=style, justify="right" if is_number else "left")
    for row in rows[1:] or rows:
        table.add_row(*(Text(cell, style="red" if cell.endswith(LATE) else "") for cell in row))
    return table


# --- as JSON ------------------------------------------------------------------------------------------------------


def _json(report: HealthReport) -> dict[str, Any]:
    from orchestrator.engine.report import refusal_json

    cards = report.cards
    return {
        "healthy": not report.alerts,
        "at": _time(report.at),
        "alerts": [
            {"kind": each.kind, "about": each.about, "text": each.text, "command": each.command}
            for each in report.alerts
        ],
        "warnings": list(report.warnings),
        "maintenance": report.share.to_json(),
        "services": [each.to_json() for each in report.services],
        "day": _funnel_json(report.day),
        "period": _funnel_json(report.period),
        "days": [_funnel_json(each) for each in report.days],
        "oldest": [_oldest_json(each) for each in report.oldest],
        "cards": {"waiting": cards.jobs if cards else 0, "oldest_s": cards.age_s if cards else 0},
        "parked": report.parked,
        "counted": {"steps": report.steps, "since": _time(report.counted_since)},
        "projects": [each.to_json() for each in report.projects],
        "limits": [refusal_json(each) for each in report.limits],
    }


def _funnel_json(funnel: Funnel) -> dict[str, Any]:
    return {
        "since": _time(funnel.since),
        "until": _time(funnel.until),
        "reached": {stage.value: number for stage, number in funnel.reached.items()},
        "dropped": {stage.value: dict(reasons) for stage, reasons in funnel.drops.items()},
        "runs": funnel.runs,
        "failed": funnel.failed,
        "cancelled": funnel.cancelled,
    }


def _oldest_json(oldest: Oldest) -> dict[str, Any]:
    numbers = {"age_s": oldest.age_s, "late_s": oldest.late_s, "p90_s": oldest.p90_s}
    return {"state": oldest.state, "jobs": oldest.jobs, "job": oldest.job, **numbers, "late": oldest.is_late}


def _time(seconds: int) -> str:
    from orchestrator.core.times import iso

    return iso(datetime.fromtimestamp(seconds, UTC))
