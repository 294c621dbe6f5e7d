"""`orc routine`: the maintenance that orc does itself, without an agent and without a model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app, refuse_inside_run
from orchestrator.core.routine import ABOUT, Health, Routine
from orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from orchestrator.core.routine import Report


@click.command()
@click.argument("name", required=False, type=click.Choice([each.value for each in Routine]))
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.option("--look", metavar="SCHEDULE", hidden=True, help="The engine asks whether a slot is worth a job.")
@click.option("--slot", default="", hidden=True)
@json_option
@pass_app
def routine(app: App, name: str | None, dry_run: bool, look: str | None, slot: str) -> None:
    """Do the routine NAME now, and say what it found. Without NAME: which there are.

    Schedules make jobs of them (routine: NAME in place of a prompt); such a job keeps what it found in the ledger.
    What is done by hand is told here alone. The exit code is 1 where something is broken.
    """
    refuse_inside_run("orc routine")
    if look is not None:
        _look(app, look, slot)
    elif name is None:
        routines = [{"name": each.value, "about": about} for each, about in ABOUT.items()]
        app.emit({"routines": routines}, "\n".join(f"{each.value:<12} {about}" for each, about in ABOUT.items()))
    else:
        _do(app, Routine(name), dry_run=dry_run)


def _do(app: App, chosen: Routine, *, dry_run: bool) -> None:
    from orchestrator.engine.routine import report_json
    from orchestrator.engine.routines import perform

    with app.workspace() as ws:
        report = perform(ws, chosen, dry_run=dry_run)
    app.emit({**report_json(chosen.value, report), "dry_run": dry_run}, _told(chosen, report))
    if report.status is Health.FAIL:
        sys.exit(int(ExitCode.FAILED))


def _told(chosen: Routine, report: Report) -> str:
    head = f"{chosen}: {report.status}: {report.summary}"
    return "\n".join([clean_line(head), *(each.rstrip() for each in report.lines)])


def _look(app: App, name: str, slot: str) -> None:
    from orchestrator.engine.recurring import find_schedule, taken_of
    from orchestrator.engine.routine_looks import note_look, routine_of
    from orchestrator.engine.routines import perform
    from orchestrator.errors import NotFoundError

    with app.workspace() as ws:
        schedule = find_schedule(ws, name)
        chosen, known = routine_of(schedule), taken_of(ws, name)
        if chosen is None or known is None:
            raise NotFoundError(f"{name} makes no jobs that are looked at beforehand", hint="orc schedule list")
        found = note_look(ws, schedule, known, slot, perform(ws, chosen, dry_run=True))
    app.emit({"schedule": name, "slot": slot, "due": found.due}, found.why)
