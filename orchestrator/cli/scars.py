"""`orc scars`: which guard comes from which incident, what tries it, and how often it fired."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

import click

from orchestrator.cli.app import App, clean, clean_line, json_option, pass_app

if TYPE_CHECKING:
    from orchestrator.engine.scars import Register, Scar

HEADINGS = ("GUARD", "REFUSES", "INCIDENT", "CASES", "FIRED", "JUDGED", "LAST", "TEST")
WIDE = 160
"""Columns of a terminal that has room for the tests, too."""


@click.command()
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="Count so many days.")
@json_option
@pass_app
def scars(app: App, days: int) -> None:
    """Every guard of the gates, and the incident that it comes from.

    \b
    CASES   cases of orc gate selftest that it must refuse
    FIRED   how often it refused in these days, as the ledger tells; - where the ledger does not
    JUDGED  how many works its gate judged in that time
    TEST    the test of orc that fails without it; for a rule of yours, the one that it names
    """
    from orchestrator.engine.scars import read_scars

    with app.workspace(lean=True) as ws:
        found = read_scars(ws, days)
    if app.json:
        app.emit(asdict(found), "")
        return
    if app.is_shown_on_terminal():
        _tell_table(app, found)
    else:
        click.echo("\t".join(HEADINGS))
        click.echo("\n".join("\t".join(_cells(each)) for each in found.scars))
    for note in found.notes:
        click.echo(clean_line(f"! {note}"))
    since = f", the oldest of {found.since}" if found.since else ""
    click.echo(clean(f"Counted: {found.steps} steps of the last {found.days} days{since}."))


def _cells(scar: Scar) -> tuple[str, ...]:
    counts = ("-" if number is None else str(number) for number in (scar.fired, scar.judged))
    told = (scar.refuses, scar.incident.name, str(len(scar.cases)), *counts, scar.last or "-", scar.test or "-")
    return (f"{scar.gate}.{scar.guard}", *map(clean_line, told))


def _tell_table(app: App, found: Register) -> None:
    from rich.table import Table
    from rich.text import Text

    console = app.console()
    shown = HEADINGS if console.width >= WIDE else HEADINGS[:-1]
    table = Table(box=None, pad_edge=False)
    for name in shown:
        justify: Literal["left", "right"] = "right" if name in ("CASES", "FIRED", "JUDGED") else "left"
        table.add_column(name, overflow="fold", no_wrap=name in ("GUARD", "LAST"), justify=justify)
    for scar in found.scars:
        cells = [cell[:10] if name == "LAST" else cell for name, cell in zip(HEADINGS, _cells(scar), strict=True)]
        table.add_row(*map(Text, cells[: len(shown)]))
    console.print(table)
