"""Draws the results: ratios to the limits, the rate of each tenth of ten thousand jobs, memory over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.result import Result

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "orc"

OK, OVER, PLAIN = "#3b7d4f", "#b5482f", "#5b7083"


def draw(path: Path, found: Mapping[str, Sequence[Result]]) -> None:
    """Write the plot; nothing if there is nothing to draw."""
    from matplotlib import pyplot

    everything = [each for results in found.values() for each in results]
    judged = [each for each in everything if each.limit and each.judged is not None]
    series = [each for each in everything if each.series]
    if not judged and not series:
        return
    heights = [max(1.5, 0.32 * len(judged))] + [2.4] * len(series)
    figure, axes = pyplot.subplots(
        len(heights), 1, figsize=(9, sum(heights) + 1), height_ratios=heights, squeeze=False, layout="constrained"
    )
    _bars(axes[0][0], judged)
    for axis, each in zip(axes[1:, 0], series, strict=True):
        _line(axis, each)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axis: Any, judged: Sequence[Result]) -> None:
    """How much of its limit each figure uses."""
    shares = [_share(each) for each in judged]
    names = [f"{each.figure}  {each.name}" for each in judged]
    axis.barh(names, shares, color=[OK if each.verdict == "ok" else OVER for each in judged])
    axis.axvline(1.0, color="black", linewidth=1)
    axis.set_xlim(0, min(4.0, max([1.2, *shares]) * 1.1))
    axis.invert_yaxis()
    axis.tick_params(labelsize=7)
    axis.set_xlabel("share of the limit that is used (less is better)", fontsize=8)


def _share(each: Result) -> float:
    assert each.limit is not None
    assert each.judged is not None
    return each.limit / max(each.judged, 1e-9) if each.at_least else each.judged / each.limit


def _line(axis: Any, each: Result) -> None:
    axis.plot([x for x, _ in each.series], [y for _, y in each.series], color=PLAIN, marker=".")
    axis.set_ylim(0, 1.15 * max(y for _, y in each.series))
    axis.set_title(f"{each.figure}  {each.name}", fontsize=8)
    axis.set_ylabel("MiB" if each.figure == "5" else each.unit, fontsize=8)
    axis.set_xlabel("seconds" if each.figure in ("5", "11") else "tenth of the jobs", fontsize=8)
    axis.tick_params(labelsize=7)
