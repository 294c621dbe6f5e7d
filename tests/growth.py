"""How the time that something takes grows with its input: in processor time, so that a busy machine changes nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import process_time

QUICK_S = 0.2
"""What takes less is too short to be compared."""


def seconds_of(act: Callable[[], object], times: int = 2) -> float:
    """The least processor time of several goes, in seconds, without that of collecting what other tests have left."""
    took = []
    gc.disable()
    try:
        for _ in range(times):
            begin = process_time()
            act()
            took.append(process_time() - begin)
    finally:
        gc.enable()
    return min(took)


def assert_no_square(act: Callable[[int], object], size: int) -> None:
    """Four times the size takes about four times as long: what takes the square of it would take sixteen times."""
    if seconds_of(lambda: act(4 * size), 1) > QUICK_S:
        few, many = seconds_of(lambda: act(size), 3), seconds_of(lambda: act(4 * size), 2)
        assert many < 10 * few, f"{few:.3f} s for {size}, {many:.3f} s for {4 * size}"
