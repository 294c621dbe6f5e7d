"""What happened in a made-up house over time: jobs that waited, slots, the last minutes, and money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING

from orchestrator.cli.costs_plot import in_columns, svg_plot, text_plot

if TYPE_CHECKING:
    from orchestrator.engine.simulation.figures import Column
    from orchestrator.engine.simulation.report import Played

MOST_COLUMNS = 84
_WIDE, _TALL = 720, 200
Value = Callable[["Column"], int]


def _panels(found: Played) -> Iterator[tuple[str, Value, Callable[[int], str]]]:
    """What is plotted: its title, the whole number for a stretch of time, and that in words."""
    hundred = 100
    budget = found.scenario.config.execution_limits.window_tokens
    window = f"most tokens in five minutes (limit {budget:,})" if budget else "most tokens in five minutes"
    yield (
        "jobs that waited",
        lambda each: round(hundred * each.ready / max(1.0, each.seconds)),
        lambda v: f"{v / hundred:.1f}",
    )
    yield (
        f"slots in use (of {found.scenario.config.slots})",
        lambda each: round(hundred * each.slots / max(1.0, each.seconds)),
        lambda v: f"{v / hundred:.1f}",
    )
    yield window, lambda each: each.window, lambda v: f"{v:,}"
    yield "spent", lambda each: each.microusd, lambda v: f"${v / 1_000_000:,.2f}"


def svg(found: Played) -> str:
    """All of them as one SVG file."""
    parts = []
    panels = list(_panels(found))
    for at, (title, value, words) in enumerate(panels):
        columns = [(each.since, value(each)) for each in found.columns]
        labels = [f"{since}: {words(number)}" for since, number in columns]
        place = f'<svg y="{at * _TALL}" width="{_WIDE}" height="{_TALL}" xmlns='
        parts.append(svg_plot(columns, title, labels).replace("<svg xmlns=", place, 1))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_TALL * len(panels)}">'
    title = f"<title>{escape(found.scenario.title)}, seed {found.seed}</title>"
    return "\n".join([head, title, *parts, "</svg>", ""])


def lines(found: Played, width: int) -> Iterator[str]:
    """The same as blocks for a terminal."""
    for title, value, words in _panels(found):
        numbers = {each.since: value(each) for each in found.columns}
        most = max(2, min(MOST_COLUMNS, width - 16))
        # Several stretches together count with their middle.
        size = max(1, -(-len(numbers) // most))
        columns = [(since[:10], number // size) for since, number in in_columns(numbers, most)]
        if not any(number for _, number in columns):
            continue
        yield title
        yield from text_plot(columns, words(max(number for _, number in columns)))
        yield ""
