"""What a benchmark found, as values; and the facts of the machine that it was found on."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """One figure. `limit` and `aim` hold for `value`, or for `ratio` where `on_ratio`; `at_least` turns them round."""

    figure: str
    name: str
    value: float | None
    unit: str
    baseline: str = ""
    """What `ratio` is against, measured in the same run."""
    ratio: float | None = None
    limit: float | None = None
    aim: float | None = None
    at_least: bool = False
    on_ratio: bool = False
    floor: float | None = None
    """In the same unit, from the same runs: what git alone took of it, which orc cannot go below. `note` says more."""
    bounded_by: str = ""
    runs: int = 1
    low: float | None = None
    high: float | None = None
    """The middle half of the runs lies between these."""
    cpu_ms: float | None = None
    """Processor time, user and system, with all children: what stays true on a machine that is busy."""
    processes: float | None = None
    note: str = ""
    series: tuple[tuple[float, float], ...] = ()
    """Points for the plot."""

    @property
    def judged(self) -> float | None:
        """The number that limit and aim are about."""
        return self.ratio if self.on_ratio else self.value

    @property
    def verdict(self) -> str:
        """`ok`, `over` the limit, or '' where there is none or nothing was measured.

        What is over and yet at most twice its floor is `at its floor`.
        """
        if self.limit is None or self.judged is None:
            return ""
        if self.judged >= self.limit if self.at_least else self.judged <= self.limit:
            return "ok"
        return "at its floor" if self.floor is not None and self.judged <= 2 * self.floor else "over"

    def to_json(self) -> dict[str, Any]:
        """For the results file."""
        return {**asdict(self), "verdict": self.verdict}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Result:
        """The inverse."""
        keys = {name: each for name, each in value.items() if name != "verdict"}
        return cls(**{**keys, "series": tuple((x, y) for x, y in keys.get("series", ()))})


@dataclass(frozen=True, slots=True)
class Middle:
    """The median of several runs and the quartiles around it."""

    median: float
    low: float
    high: float
    runs: int

    def spread(self) -> dict[str, Any]:
        """As keywords of a `Result`."""
        return {"low": round(self.low, 3), "high": round(self.high, 3), "runs": self.runs}


def middle(values: Sequence[float]) -> Middle:
    """The median and the quartiles. Raises ValueError when there is nothing."""
    if not values:
        raise ValueError("nothing was measured")
    if len(values) == 1:
        return Middle(values[0], values[0], values[0], 1)
    low, mid, high = statistics.quantiles(values, n=4, method="inclusive")
    return Middle(mid, low, high, len(values))


def compare(
    figure: str, name: str, mid: Middle, base: Middle, against: str, *, unit: str = "ms", **more: Any
) -> Result:
    """What was measured, beside the baseline `against` of the same run. `more` are other fields of a `Result`."""
    baseline, ratio = f"{against}: {base.median:.1f} {unit}", round(mid.median / base.median, 3)
    return Result(figure, name, round(mid.median, 1), unit, baseline, ratio, **mid.spread(), **more)


@dataclass(frozen=True, slots=True)
class Options:
    """How a benchmark is to be run. `cache` keeps what takes long to make, `minutes` is the length of the idle one."""

    quick: bool = False
    cache: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "orc-bench-cache")
    minutes: float = 3.0

    def pick(self, full: int, quick: int) -> int:
        """A number for the full form or for the short one."""
        return quick if self.quick else full


def machine_facts() -> dict[str, Any]:
    """What the numbers depend on, without the names of anything."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "git": _first_line(["git", "--version"]).removeprefix("git version "),
        "python": platform.python_version(),
        "filesystem": _filesystem(Path(tempfile.gettempdir())),
        "load_before": load(),
    }


def load() -> float:
    """How many processes ran or wanted to in the last minute. After a benchmark it counts its own too."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _filesystem(path: Path) -> str:
    if sys.platform != "linux":
        return "unknown"
    return _first_line(["stat", "-f", "-c", "%T", str(path)]) or "unknown"


def _first_line(argv: Sequence[str]) -> str:
    try:
        out = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    return out.strip().partition("\n")[0]
