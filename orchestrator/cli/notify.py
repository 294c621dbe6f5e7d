"""`orc notify`: what you are told without asking, what waits to be told, and a test of each way to you."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app, refuse_inside_run
from orchestrator.errors import ExitCode, OrcError

if TYPE_CHECKING:
    from orchestrator.core.notice import Pending
    from orchestrator.engine.notices import Sent

HEADINGS = ("AT", "ABOUT", "STANDS", "WHAT")


@click.group()
def notify() -> None:
    """What you are told without asking: questions, failures and alerts, by the ways under `notify:` in orc.yaml."""


@notify.command("list")
@click.option(
    "-n", "--count", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many of the told."
)
@json_option
@pass_app
def list_(app: App, count: int) -> None:
    """What waits to be told, and what was told lately."""
    from orchestrator.engine.notices import box_of

    with app.workspace(lean=True) as ws:
        ways = list(ws.config.notify.to)
        waiting, told = box_of(ws).pending(), box_of(ws).told()[-count:]
    if app.json:
        facts = [{**_facts(one), "waits": True} for one in waiting] + [{**_facts(one), "waits": False} for one in told]
        app.emit({"ways": ways, "notices": facts}, "")
        return
    if not ways:
        click.echo("Nobody is told anything: orc.yaml has no notify.to.")
    if waiting or told:
        shown = [*told, *waiting]
        app.table(HEADINGS, [_cells(one, ways) for one in shown])
        for reason in _reasons(shown):
            click.echo(f"  {reason}")
    elif ways:
        click.echo(f"Nothing was told yet, and nothing waits. The ways: {', '.join(ways)}")


def _facts(one: Pending) -> dict[str, object]:
    notice = one.notice
    return {
        "key": notice.key,
        "about": notice.about.value,
        "text": notice.text,
        "at": notice.at,
        "job": notice.job,
        "command": notice.command,
        "urgent": notice.urgent,
        "told": one.told,
        "failed": one.failed,
        "given_up": list(one.given_up),
    }


def _cells(one: Pending, ways: list[str]) -> tuple[str, ...]:
    """A row of the table. Why a way failed is told below it."""
    by: dict[str, list[str]] = {}
    for way in sorted({*ways, *one.told, *one.given_up}):
        by.setdefault(_stands(one, way), []).append(way)
    stands = "; ".join(f"{', '.join(names)} {word}" for word, names in by.items())
    return (one.notice.at, one.notice.about.value, stands, clean_line(one.notice.text))


def _stands(one: Pending, way: str) -> str:
    if way in one.told:
        return "told"
    return "given up" if way in one.given_up else "failed" if way in one.failed else "waits"


def _reasons(shown: list[Pending]) -> Iterator[str]:
    """Why each way could not be gone, where that was not made good since: the newest reason."""
    newest = {way: one.failed[way] for one in shown for way in one.failed if way not in one.told}
    yield from (clean_line(f"{way}: {newest[way]}") for way in sorted(newest))


@notify.command()
@click.argument("ways", nargs=-1, metavar="[WAY]...")
@json_option
@pass_app
def test(app: App, ways: tuple[str, ...]) -> None:
    """Send a test message on each WAY, or on all of them. Exit code 1 if one did not arrive."""
    from orchestrator.engine.notices import try_way

    refuse_inside_run("orc notify test")
    with app.workspace(lean=True) as ws:
        if not (ways or ws.config.notify.to):
            raise OrcError("orc.yaml has no notify.to", hint="orc help notify")
        sent = [try_way(ws, way) for way in ways or ws.config.notify.to]
    _tell(app, sent)


@notify.command()
@json_option
@pass_app
def send(app: App) -> None:
    """Tell what is due now. The engine does this by itself; without one, cron can."""
    from orchestrator.engine.notices import send_notices

    refuse_inside_run("orc notify send")
    with app.workspace() as ws:
        sent = list(send_notices(ws))
    _tell(app, sent)


def _tell(app: App, sent: list[Sent]) -> None:
    lines = [
        clean_line(f"{each.way}: {each.title}" + (f": {each.problem}" if each.problem else ": told")) for each in sent
    ]
    facts = [{"way": each.way, "keys": list(each.keys), "title": each.title, "problem": each.problem} for each in sent]
    app.emit({"sent": facts}, "\n".join(lines))
    if any(each.problem for each in sent):
        sys.exit(int(ExitCode.FAILED))
