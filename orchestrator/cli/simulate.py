"""`orc simulate`: what limits and policies would come to, on a made-up house, before you set them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, check_place, clean_line, json_option, pass_app, write_out
from orchestrator.errors import ExitCode, NotFoundError

if TYPE_CHECKING:
    from orchestrator.core.config import Config
    from orchestrator.core.scenario import Scenario
    from orchestrator.engine.simulation.report import Played

QUIET_S = 1.0
"""What takes longer says how far it is."""
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHOWN = 10


def complete_scenario(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The scenarios that orc brings along."""
    from orchestrator.adapters.scenario_file import shipped

    return [name for name in shipped() if name.startswith(incomplete)]


@click.command()
@click.argument("scenario", required=False, default="", shell_complete=complete_scenario)
@click.option("--seed", type=click.IntRange(0, 2**53), help="Draw all chance from another number.")
@click.option(
    "--days", type=click.FloatRange(0, 366, min_open=True), help="For so many days, not as the scenario says."
)
@click.option("--config", "config", type=_FILE, help="Take the limits from this orc.yaml.")
@click.option("--as-written", is_flag=True, help="Take the limits that the scenario says, also in a workspace.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write plots over time to this SVG file.")
@json_option
@pass_app
def simulate(
    app: App,
    scenario: str,
    seed: int | None,
    days: float | None,
    config: Path | None,
    as_written: bool,
    plot: Path | None,
) -> None:
    """Play a made-up house through: SCENARIO is a file, or one that orc brings along (busy-week if none is named).

    What decides is what decides in the engine; agents, services, people and the clock are made up, and drawn from
    --seed. No agent is started, no model is asked, nothing is written but the plot. In a workspace, slots, limits and
    execution_limits are those of its orc.yaml, so you can try them before they hold.

    \b
    orc simulate quiet-day
    orc simulate mine.yaml --days 2 --seed 7 --plot mine.svg
    orc simulate --config new-orc.yaml

    Exit codes: 0 every promise was kept, 1 one was broken.
    """
    if plot is not None and plot.suffix != ".svg":
        raise click.UsageError(f"the plot is an SVG file: name it {plot.with_suffix('.svg').name}")
    if config is not None and as_written:
        raise click.UsageError("give --config or --as-written, not both")
    if plot is not None:
        check_place(plot)
    from orchestrator.engine.simulation.report import simulate as play
    from orchestrator.engine.simulation.report import with_limits_of

    house = _read(scenario)
    unused: tuple[str, ...] = ()
    if days is not None:
        house = replace(house, days=days)
    own = None if as_written else _own(app, config)
    if own is not None:
        house, unused = with_limits_of(house, *own)
    with _Progress(house) as progress:
        found = play(house, seed, progress.tell)
    if plot is not None:
        _write_plot(plot, found)
    if app.json:
        app.emit(_json(found, unused, plot), "")
    else:
        _tell(app, found, unused)
        if plot is not None:
            click.echo(f"The plots are in {clean_line(str(plot))}.")
    if found.broken:
        sys.exit(int(ExitCode.FAILED))


def _read(scenario: str) -> Scenario:
    from orchestrator.adapters.scenario_file import USUAL, parse_scenario, read_shipped

    path = Path(scenario)
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        return read_shipped(scenario or USUAL)
    from orchestrator.adapters.reading import safe_read

    try:
        data = safe_read(path).data
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {scenario}", hint="orc simulate --help") from None
    return parse_scenario(data, name=scenario)


def _own(app: App, config: Path | None) -> tuple[Config, str] | None:
    """The configuration whose limits are tried, and what it is called; None: those of the scenario."""
    from orchestrator.adapters.config_file import parse_config, read_config
    from orchestrator.adapters.reading import safe_read

    if config is not None:
        return parse_config(safe_read(config).data, name=str(config)), str(config)
    try:
        root = app.root
    except NotFoundError:
        return None
    return read_config(root), "orc.yaml of this workspace"


class _Progress:
    """Says on standard error how far the play is, once it takes long."""

    def __init__(self, house: Scenario) -> None:
        from orchestrator.cli.gate import Progress

        self._house, self._since, self._line = house, time.monotonic(), Progress()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._line.__exit__(*error)

    def tell(self, now: datetime) -> None:
        """The made-up time."""
        if time.monotonic() - self._since > QUIET_S:
            day = min(self._house.days, (now - self._house.start).total_seconds() / 86_400)
            self._line.tell(self._house.title, f"day {day:.1f} of {self._house.days:g}")


def _write_plot(path: Path, found: Played) -> None:
    from orchestrator.cli.simulate_plot import svg

    write_out(path, svg(found))


# --- as words -----------------------------------------------------------------------------------------------------


def _tell(app: App, found: Played, unused: tuple[str, ...]) -> None:
    figures, house = found.figures, found.scenario
    days = f"{house.days:g} day{'' if house.days == 1 else 's'}"
    title = f"{house.title}: {days} from {house.start:%Y-%m-%d}, seed {found.seed}"
    click.secho(clean_line(title), bold=True, color=app.paints())
    click.echo(f"limits: those of {clean_line(house.limits_of)}, {house.config.slots} slots")
    for name in unused:
        click.secho(f"? execution_limits.{clean_line(name)} is not tried: nobody has that name", fg="yellow")
    click.echo()
    if app.is_shown_on_terminal():
        from orchestrator.cli.simulate_plot import lines

        for line in lines(found, app.console().width):
            click.echo(line)
    headings = ("LANE", "JOBS", "MEDIAN WAIT", "95 %", "LONGEST")
    rows = [
        (lane, f"{each.jobs:,}", _time(each.median), _time(each.p95), _time(each.longest))
        for lane, each in found.waits.items()
    ]
    app.table(headings, rows)
    click.echo()
    app.table(("WHAT", "HOW MUCH"), list(_figures(found)))
    slots = [(each.name, str(each.made), str(each.missed), str(each.skipped)) for each in found.schedules]
    if slots:
        click.echo()
        app.table(("SCHEDULE", "MADE", "MISSED", "SKIPPED"), slots)
    held = sorted(figures.held_s.items(), key=lambda each: -each[1])
    if held:
        click.echo()
        app.table(("LIMIT", "HELD WORK BACK FOR"), [(name, _time(seconds)) for name, seconds in held[:_SHOWN]])
    click.echo()
    for promise in found.promises:
        mark, color = ("kept", "green") if not promise.broken else ("BROKEN", "red")
        click.echo(f"{click.style(f'{mark:<6}', fg=color)} {promise.words}", color=app.paints())
        for told in promise.told:
            click.echo(f"       {clean_line(told)}")
        if promise.broken > len(promise.told):
            click.echo(f"       and {promise.broken - len(promise.told)} more times")


def _figures(found: Played) -> Iterator[tuple[str, str]]:
    figures = found.figures
    ends = ", ".join(f"{count:,} {state}" for state, count in sorted(figures.jobs.items())) or "none ended"
    yield "jobs handed in", f"{found.offered:,}" + (f", {found.refused:,} of them twins" if found.refused else "")
    yield "jobs", ends + (f", {found.left:,} still open" if found.left else "")
    runs = dict(figures.runs)
    made = f"{runs.pop('attempt', 0):,} attempts, {runs.pop('review', 0):,} reviews"
    if routines := runs.pop("routine", 0):
        made += f", {routines:,} routines"
    yield "runs", made + "".join(f", {count:,} {how}" for how, count in sorted(runs.items()))
    cards = ", ".join(f"{count} {kind}" for kind, count in sorted(figures.cards.items()))
    yield "questions to you", cards or "none"
    yield "used", f"{figures.tokens:,} tokens, ${figures.microusd / 1_000_000:,.2f}"
    yield "slots in use while work waited", f"{found.utilisation:.1%}"
    yield "used of what was expected", f"{found.expected:.0%} (the middle run)"
    if figures.pressures:
        yield "only a P0 began", f"{figures.pressures} times, {_time(figures.pressed_s)}"
    for name, seconds in sorted(figures.away_s.items()):
        yield f"backend {name} took nothing, or less", _time(seconds)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# --- as JSON ------------------------------------------------------------------------------------------------------


def _json(found: Played, unused: tuple[str, ...], plot: Path | None) -> dict[str, Any]:
    figures, house = found.figures, found.scenario
    return {
        "scenario": house.title,
        "start": f"{house.start:%Y-%m-%dT%H:%M:%SZ}",
        "days": house.days,
        "seed": found.seed,
        "limits_of": house.limits_of,
        "unused_limits": list(unused),
        "slots": house.config.slots,
        "offered": found.offered,
        "refused": found.refused,
        "left": found.left,
        "jobs": dict(sorted(figures.jobs.items())),
        "runs": dict(sorted(figures.runs.items())),
        "cards": dict(sorted(figures.cards.items())),
        "tokens": figures.tokens,
        "cost_microusd": figures.microusd,
        "utilisation": round(found.utilisation, 4),
        "expected": round(found.expected, 4),
        "pressures": figures.pressures,
        "waits": [
            {"lane": lane, "jobs": each.jobs, **_seconds(median=each.median, p95=each.p95, longest=each.longest)}
            for lane, each in found.waits.items()
        ],
        "held": [{"limit": name, **_seconds(held=seconds)} for name, seconds in sorted(figures.held_s.items())],
        "away": [{"backend": name, **_seconds(away=seconds)} for name, seconds in sorted(figures.away_s.items())],
        "schedules": [
            {"name": each.name, "made": each.made, "missed": each.missed, "skipped": each.skipped}
            for each in found.schedules
        ],
        "promises": [
            {"name": each.name, "words": each.words, "kept": not each.broken, "broken": each.broken, "told": each.told}
            for each in found.promises
        ],
        "over_time": [
            {
                "since": each.since,
                "ready": round(each.ready / max(1.0, each.seconds), 2),
                "slots": round(each.slots / max(1.0, each.seconds), 2),
                "window": each.window,
                "tokens": each.tokens,
                "cost_microusd": each.microusd,
            }
            for each in found.columns
        ],
        "plot": str(plot) if plot is not None else "",
    }


def _seconds(**values: float) -> dict[str, float]:
    return {f"{name}_s": round(value, 1) for name, value in values.items()}
