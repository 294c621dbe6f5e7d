"""`orc sweep`: give back the space of trees that nobody uses any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app, refuse_inside_run

if TYPE_CHECKING:
    from orchestrator.engine.sweep import Swept

HEADINGS = ("WHAT", "IDLE", "HOLDS", "STANDS", "WHERE")


@click.command()
@click.option("--days", type=click.IntRange(1, 3650), default=14, show_default=True, help="Unused for so long.")
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would go.")
@json_option
@pass_app
def sweep(app: App, days: int, dry_run: bool) -> None:
    """Remove trees that nobody has used for DAYS: those of agents, the checkouts of reviews and checks, and trees that
    were set aside.

    No work is lost: what an agent's tree holds is put under a ref before it goes, as when it is recycled, and a tree
    that was set aside goes only when each of its files is found under a ref. What git cannot keep goes with it: ignored
    files such as caches, the history of a repository inside of it. The next job builds what it needs anew. An engine
    may be at work meanwhile.
    """
    from orchestrator.core.alerts import in_words
    from orchestrator.engine.sweep import DAY_S
    from orchestrator.engine.sweep import sweep as sweep_all

    if not dry_run:
        refuse_inside_run("orc sweep")
    with app.workspace(lean=True) as ws:
        found = list(sweep_all(ws, days * DAY_S, dry_run=dry_run))
    if app.json:
        facts = [
            {
                "what": each.sort.value,
                "where": each.name,
                "idle_s": each.idle_s,
                "size": each.size,
                "gone": each.gone,
                "why": each.why,
                "notes": list(each.notes),
            }
            for each in found
        ]
        app.emit({"dry_run": dry_run, "swept": facts}, "")
        return
    if not found:
        click.echo(f"Nothing lies unused for {days} days.")
        return
    app.table(
        HEADINGS,
        [
            (each.sort.value, in_words(each.idle_s), each.size, _stands(each, dry_run=dry_run), each.name)
            for each in found
        ],
    )
    for each in found:
        for note in (*([f"it stays: {each.why.removeprefix('it stays: ')}"] if each.why else []), *each.notes):
            click.echo(f"  {clean_line(f'{each.name}: {note}')}")


def _stands(each: Swept, dry_run: bool) -> str:
    if each.gone:
        return "removed"
    return "would go" if dry_run and not each.why else "stays"
