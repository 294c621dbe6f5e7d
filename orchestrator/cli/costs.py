"""`orc costs`: what was used and spent, by whatever one asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, check_place, clean_line, json_option, pass_app, write_out

if TYPE_CHECKING:
    from orchestrator.core.costs import Sums, Total
    from orchestrator.engine.costs import CostReport

WHAT = (
    *("project", "goal", "job", "agent", "model", "backend", "skill", "schedule", "lane", "kind", "purpose"),
    *("part", "price", "day"),
)
MOST_COLUMNS = 60
SHOWN = 30
"""So many groups are shown as a table; `--all` shows all."""
NUMBERS = ("RUNS", "TOKENS", "COST", "SHARE", "DONE", "PER DONE")


_DATE = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.option("--by", type=click.Choice(WHAT), default="model", show_default=True, help="What to add up by.")
@click.option("--since", type=_DATE, metavar="DATE", help="The first day (UTC).")
@click.option("--until", type=_DATE, metavar="DATE", help="The last day (UTC), which counts; today by default.")
@click.option("--days", type=click.IntRange(1, 3660), metavar="N", help="So many days; 30 by default.")
@click.option("--project", default="", help="Only of this project.")
@click.option("--all", "every", is_flag=True, help="All groups, not only the 30 largest.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Write the plot over time to this file.")
@json_option
@pass_app
def costs(
    app: App,
    by: str,
    since: datetime | None,
    until: datetime | None,
    days: int | None,
    project: str,
    every: bool,
    svg: Path | None,
) -> None:
    """What your agents have used and what it cost. Reviews and retries are charged to the job that they serve.

    \b
    --by part      first attempts, retries, reviews
    --by purpose   work, and maintenance (purpose: maintenance in a job)
    --by price     the day of the price that was counted with, or as reported
    --by schedule  and whether it delivered anything for its money

    Every run is in exactly one group, so each table adds up to the total.
    """
    from orchestrator.core.costs import By
    from orchestrator.engine.costs import look_at_costs

    if svg is not None:
        check_place(svg)
    with app.workspace(lean=True) as ws:
        first, last = _period(ws.now().date(), since and since.date(), until and until.date(), days)
        report = look_at_costs(ws, first, last, By(by), project)
        if project and not report.groups:
            ws.project(project)  # One that orc.yaml does not know any more may have had costs.
    if svg is not None:
        _write_svg(svg, report)
    if app.json:
        app.emit(_json(report, project), "")
        return
    _tell(app, report, every=every)
    if svg is not None:
        click.echo(f"The plot is in {clean_line(str(svg))}.")


def _period(today: date, since: date | None, until: date | None, days: int | None) -> tuple[date, date]:
    from orchestrator.engine.costs import MOST_DAYS

    if since and until and days:
        raise click.UsageError("of --since, --until and --days give two at most")
    if since and days:
        until = since + timedelta(days=days - 1)
    last = until or max(today, since or today)
    first = since or last - timedelta(days=(days or 30) - 1)
    if first > last:
        raise click.UsageError(f"--since {first} is after {last}")
    if (last - first).days >= MOST_DAYS:
        raise click.UsageError(f"from {first} to {last} are more than {MOST_DAYS} days")
    return first, last


def _write_svg(path: Path, report: CostReport) -> None:
    from orchestrator.cli.costs_plot import in_columns, svg_plot

    columns = in_columns({day: total.all.microusd for day, total in report.daily.items()}, MOST_COLUMNS)
    labels = [f"{day}: {money(value)}" for day, value in columns]
    write_out(path, svg_plot(columns, _heading(report), labels))


# --- as words -----------------------------------------------------------------------------------------------------


def money(microusd: int) -> str:
    """Millionths of a US dollar as `$12.3456`."""
    return f"${microusd / 1_000_000:,.4f}"


def _heading(report: CostReport) -> str:
    sums = report.total.all
    days = (report.last - report.first).days + 1
    period = f"{report.first} to {report.last}" if days > 1 else f"{report.first}"
    return f"{period} (UTC): {money(sums.microusd)}, {sums.tokens:,} tokens, {_number(sums.runs, 'run')}"


def _tell(app: App, report: CostReport, *, every: bool) -> None:
    from orchestrator.core.costs import By

    sums = report.total.all
    click.secho(f"{_heading(report)}, {_number(sums.done, 'job')} done", bold=True, color=app.paints())
    for line in (
        *_doubts(report),
        *([report.share.warning] if report.by is By.PURPOSE and report.share.warning else []),
    ):
        click.secho(f"? {clean_line(line)}", fg="yellow", color=app.paints())
    if not sums.runs and not report.groups:
        click.echo("Nothing was used then." if report.counted_since else "No run has ended yet.")
        return
    click.echo()
    if app.is_shown_on_terminal():
        _plot(app, report)
    rows = list(_rows(report))
    shown = rows if every or not app.is_shown_on_terminal() else rows[:SHOWN]
    _print(app, [_headings(report), *shown, _row("total", report.total, report.total)])
    if len(shown) < len(rows):
        click.echo(f"{len(rows) - len(shown)} more: --all")
    if report.share.told and report.by is By.PURPOSE:
        click.echo(f"{report.share.told[:1].upper()}{report.share.told[1:]}.")
    if report.counted_since > f"{report.first}":
        click.echo(f"Counted since {report.counted_since}.")


def _doubts(report: CostReport) -> Iterator[str]:
    """What is not in the figures, or may be wrong with them."""
    total = report.total
    if total.unknown:
        yield f"of {_number(total.unknown, 'run')} it is not known what was used: counted as nothing"
    if total.at_least.runs:
        runs, cost = _number(total.at_least.runs, "run"), money(total.at_least.microusd)
        yield f"{runs} cut off: {cost} and {total.at_least.tokens:,} tokens are at least what was used"
    for model, sums in report.unpriced.items():
        told = f"{_number(sums.runs, 'run')} with {sums.tokens:,} tokens counted as $0"
        yield f"no price is known of {model}: {told} (write `price:` under `models:` in orc.yaml)"


def _headings(report: CostReport) -> tuple[str, ...]:
    return (report.by.value.upper(), *NUMBERS, "NOTE")


def _rows(report: CostReport) -> Iterator[tuple[str, ...]]:
    from orchestrator.core.costs import NONE, By

    for name, total in report.groups.items():
        row = _row(name, total, report.total)
        told = _earned(name, total) if report.by is By.SCHEDULE and name != NONE else ""
        yield (*row[:-1], "; ".join(filter(None, [told, row[-1]])))


def _earned(name: str, total: Total) -> str:
    """Whether a schedule earns its keep, where that is to be told."""
    from orchestrator.core.costs import earns_nothing

    if earns_nothing(total):
        return f"delivered nothing: enabled: false in schedules/{name}.yaml?"
    return "" if total.all.runs else "asks no model"


def _row(name: str, total: Total, whole: Total) -> tuple[str, ...]:
    sums = total.all
    share = f"{100 * sums.microusd / whole.all.microusd:.1f} %" if whole.all.microusd else "-"
    # A group may have ended jobs and none of their runs, as by part: what those cost stands in other rows.
    per_done = money(sums.microusd // sums.done) if sums.done and sums.runs else "-"
    numbers = (str(sums.runs), f"{sums.tokens:,}", money(sums.microusd), share, str(sums.done), per_done)
    return (clean_line(name), *numbers, _note(total))


def _note(total: Total) -> str:
    parts = ((total.unknown, "unknown"), (total.at_least.runs, "cut off"), (total.unpriced.runs, "without a price"))
    return ", ".join(f"{count} {what}" for count, what in parts if count)


def _print(app: App, rows: Sequence[tuple[str, ...]]) -> None:
    if app.is_shown_on_terminal():
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for heading in rows[0]:
            table.add_column(heading, header_style="bold", justify="right" if heading in NUMBERS else "left")
        for row in rows[1:]:
            table.add_row(*(Text(cell) for cell in row), style="bold" if row is rows[-1] else "")
        app.console().print(table)
        return
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)][1:-1]
        click.echo("  ".join([f"{row[0]:<{widths[0]}}", *cells, row[-1]]).rstrip())


def _plot(app: App, report: CostReport) -> None:
    from orchestrator.cli.costs_plot import in_columns, text_plot

    width = min(MOST_COLUMNS, app.console().width - 14)
    columns = in_columns({day: total.all.microusd for day, total in report.daily.items()}, width)
    if len(columns) < 2 or not any(value for _, value in columns):
        return
    for line in text_plot(columns, money(max(value for _, value in columns))):
        click.echo(line)
    click.echo()


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


# --- as JSON ------------------------------------------------------------------------------------------------------


def _json(report: CostReport, project: str) -> dict[str, Any]:
    return {
        "since": f"{report.first}",
        "until": f"{report.last}",
        "counted_since": report.counted_since,
        "by": report.by.value,
        "project": project,
        "total": _total(report.total),
        "groups": [{"name": name, **_total(total)} for name, total in report.groups.items()],
        "daily": [{"name": day, **_total(total)} for day, total in report.daily.items()],
        "maintenance": report.share.to_json(),
        "unpriced": [{"model": model, **_sums(sums)} for model, sums in report.unpriced.items()],
    }


def _total(total: Total) -> dict[str, Any]:
    known = {"at_least": total.at_least.microusd, "at_least_runs": total.at_least.runs}
    unsure = {"unknown_runs": total.unknown, "unpriced_runs": total.unpriced.runs}
    ends = {"done": total.all.done, "failed": total.all.failed, "cancelled": total.all.cancelled}
    return {**_sums(total.all), **ends, **known, **unsure, "unpriced_tokens": total.unpriced.tokens}


def _sums(sums: Sums) -> dict[str, int]:
    tokens = {
        "input": sums.input,
        "output": sums.output,
        "cache_read": sums.cache_read,
        "cache_write": sums.cache_write,
    }
    return {"runs": sums.runs, **tokens, "tokens": sums.tokens, "cost_microusd": sums.microusd}
