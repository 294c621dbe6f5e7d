"""`orc schedule`: jobs that come by themselves, when they are due, and what came of their slots."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app, refuse_inside_run

if TYPE_CHECKING:
    from orchestrator.engine.recurring import Listed

HEADINGS = ("NAME", "DUE", "ZONE", "NEXT", "LAST", "JOBS", "MISSED", "SKIPPED", "QUIET", "JOB")


def complete_schedule(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of schedules that begin so."""
    from pathlib import Path

    from orchestrator.adapters.places import find_root
    from orchestrator.errors import OrcError

    try:
        names = os.listdir(find_root(Path(ctx.find_root().params.get("where") or ".").absolute()) / "schedules")
    except (OrcError, OSError):
        return []
    stems = (name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))
    return sorted(stem for stem in stems if stem.startswith(incomplete) and not stem.startswith("."))


@click.group()
def schedule() -> None:
    """Jobs that come by themselves: schedules/NAME.yaml says when, and what each of them is to do.

    \b
    MISSED   slots for which it was too late, or which a newer one stood in for
    SKIPPED  slots that came while the job of an earlier one was still open
    QUIET    slots of a routine that had nothing new to say
    """


@schedule.command("list", short_help="When each is due, and what came of its slots.")
@json_option
@pass_app
def list_(app: App) -> None:
    """Every schedule: when it is due, when next, and what came of its slots so far."""
    from orchestrator.engine.recurring import list_schedules

    with app.workspace(lean=True) as ws:
        found, problems = list_schedules(ws)
    if app.json:
        app.emit({"schedules": [asdict(each) for each in found], "problems": problems}, "")
        return
    if found:
        app.table(HEADINGS, [_cells(each) for each in found])
    elif not problems:
        click.echo("There is no schedule: write schedules/NAME.yaml")
    for problem in problems:
        click.echo(clean_line(f"! {problem}"))


def _cells(one: Listed) -> tuple[str, ...]:
    counts = (str(one.made), str(one.missed), str(one.skipped), str(one.quiet))
    coming = one.next if one.enabled else "switched off"
    return (one.name, clean_line(one.cron), one.tz, coming or "never", one.last or "-", *counts, one.job or "-")


@schedule.command("next", short_help="The next times of NAME, or of all.")
@click.argument("name", required=False, shell_complete=complete_schedule)
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@json_option
@pass_app
def next_(app: App, name: str | None, count: int) -> None:
    """The next times at which NAME is due, or all schedules that are switched on."""
    from orchestrator.adapters.cron import zone_of
    from orchestrator.adapters.library import scan_schedules
    from orchestrator.core.times import iso
    from orchestrator.engine.recurring import find_schedule, next_slots

    with app.workspace(lean=True) as ws:
        chosen = [find_schedule(ws, name)] if name else list(scan_schedules(ws.paths.root).good.values())
        times = [(slot, each) for each in chosen if name or each.enabled for slot in next_slots(ws, each, count)]
    times = sorted(times, key=lambda one: one[0])[:count]
    facts = [
        {
            "schedule": each.name,
            "at": iso(slot),
            "local": slot.astimezone(zone_of(each.tz)).isoformat(timespec="seconds"),
        }
        for slot, each in times
    ]
    lines = [f"{fact['at']}  {fact['local']}  {fact['schedule']}" for fact in facts]
    app.emit({"times": facts}, "\n".join(lines) or "Nothing is due any more.")


@schedule.command(short_help="What NAME means in words.")
@click.argument("name", shell_complete=complete_schedule)
@json_option
@pass_app
def explain(app: App, name: str) -> None:
    """What NAME means in words: its times, and what becomes of slots that are missed or overlap."""
    from orchestrator.engine.recurring import find_schedule, list_one

    with app.workspace(lean=True) as ws:
        found = find_schedule(ws, name)
        listed = list_one(ws, found)
    late = {
        "skip": "makes no job",
        "last": f"makes one job for the newest, if it is at most {found.grace_s} s late",
        "all": f"makes a job for each, if it is at most {found.grace_s} s late",
    }[found.catchup]
    open_ = {"skip": "is skipped", "allow": "makes a job all the same"}[found.overlap]
    lines = [
        f"{name}: {listed.words}, in {found.tz} ({found.cron})" + ("" if found.enabled else "; switched off"),
        f"  next: {listed.next or 'never'}",
        f"  a slot that comes while no engine runs {late}",
        f"  a slot that comes while the job of an earlier one is open {open_}",
    ]
    if found.jitter_s:
        lines.append(f"  each is up to {found.jitter_s} s later than its minute, so that not all come at once")
    facts = {"catchup": found.catchup.value, "grace_s": found.grace_s, "overlap": found.overlap.value}
    app.emit({**asdict(listed), **facts, "jitter_s": found.jitter_s}, "\n".join(lines))


@schedule.command("run")
@click.argument("name", shell_complete=complete_schedule)
@json_option
@pass_app
def run_(app: App, name: str) -> None:
    """Make the job of NAME now, beside its times. It need not be switched on."""
    from orchestrator.engine.people import person_of
    from orchestrator.engine.recurring import find_schedule, run_now

    refuse_inside_run("orc schedule run")
    with app.workspace() as ws:
        move = run_now(ws, find_schedule(ws, name), person_of(ws.paths.git_dir))
    app.emit({"job": move.job.id, "lane": move.job.lane.value}, move.job.id)
