"""Costs over time: as blocks for a terminal, and as an SVG file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

HEIGHT = 6
"""Lines of the plot in a terminal."""
_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _TALL, _EDGE = 720, 200, 30


def in_columns(values: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    """Days with their values; so many days together that there are at most `most`, each named by its first."""
    days = list(values.items())
    size = max(1, -(-len(days) // max(1, most)))
    parts = (days[at : at + size] for at in range(0, len(days), size))
    return [(part[0][0], sum(value for _, value in part)) for part in parts]


def text_plot(columns: Sequence[tuple[str, int]], top: str) -> Iterator[str]:
    """Bars from the bottom up, in lines; `top` is written beside the highest."""
    highest = max((value for _, value in columns), default=0)
    if not highest:
        return
    steps = len(_BLOCKS) - 1
    # Whole numbers, and what is more than nothing is seen.
    filled = [-(-value * HEIGHT * steps // highest) for _, value in columns]
    for line in range(HEIGHT - 1, -1, -1):
        bar = "".join(_BLOCKS[min(steps, max(0, each - line * steps))] for each in filled)
        yield f"{top if line == HEIGHT - 1 else '':>{len(top)}} {bar}".rstrip()
    first, last = columns[0][0], columns[-1][0]
    ends = f"{first}{last:>{max(len(columns) - len(first), len(last) + 1)}}" if first != last else first
    yield f"{'':>{len(top)}} {ends}"


def svg_plot(columns: Sequence[tuple[str, int]], title: str, labels: Sequence[str]) -> str:
    """The same as an SVG file; `labels` say what each bar is."""
    highest = max([1, *(value for _, value in columns)])
    step = (_WIDTH - 2 * _EDGE) / max(1, len(columns))
    bars = []
    for at, ((_, value), label) in enumerate(zip(columns, labels, strict=True)):
        tall = (_TALL - 2 * _EDGE) * value / highest
        place = f'x="{_EDGE + at * step:.1f}" y="{_TALL - _EDGE - tall:.1f}"'
        size = f'width="{step * 0.8:.1f}" height="{tall:.1f}"'
        bars.append(f'<rect {place} {size} fill="#4477aa"><title>{escape(label)}</title></rect>')
    text = f'<text x="{_EDGE}" y="{_EDGE - 10}">{escape(title)}</text>'
    if columns:
        ends = f'<text x="{_EDGE}" y="{_TALL - 8}">{escape(columns[0][0])}</text>'
        ends += f'<text x="{_WIDTH - _EDGE}" y="{_TALL - 8}" text-anchor="end">{escape(columns[-1][0])}</text>'
        text += ends
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_TALL}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="12">', text, *bars, "</svg>", ""])
