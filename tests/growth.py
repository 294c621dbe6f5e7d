"""How the time that something takes grows with its input: in processor time, so that a busy machine changes nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import process_time

QUICK_S = 0.2
"""What takes less is too short to be compared."""
LINEAR = 10.0
"""Below it, nothing takes the square of its size."""


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


def growth(act: Callable[[int], object], size: int) -> float:
    """How much longer four times the size takes: about 4, and 16 for what takes its square. 1 where both are quick."""
    large = seconds_of(lambda: act(4 * size), 1)
    if large <= QUICK_S:
        return 1.0
    small = seconds_of(lambda: act(size), 3)
    # One go at the large one takes at least as long as the least of several: only what looks bad needs them.
    return (large if large / small < LINEAR else min(large, seconds_of(lambda: act(4 * size)))) / small
