"""Searches with regular expressions that a person wrote, and gives up those that take too long.

Python looks for signals while it matches, so a timer ends a match that would take for ever. No child process is needed.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from typing import TypeVar

from orchestrator.core.skills import SEARCHED_CHARACTERS, longest_match

LIMIT_S = 0.1
"""Seconds of this process's own computing: a busy machine makes no trigger slow."""
_MOST_UNITS = 24
T = TypeVar("T")


class _TooSlowError(Exception):
    pass


def search_trigger(pattern: str, text: str) -> str:
    """The longest match, as `core.skills.longest_match`; '' also if it is not found within the limit."""
    try:
        return _within(LIMIT_S, lambda: longest_match(pattern, text[:SEARCHED_CHARACTERS]))
    except _TooSlowError:
        return ""


def is_slow(pattern: str) -> bool:
    """Whether a text can be found on which the search takes longer than the limit, and so matches nothing."""
    for text in _hostile_texts(pattern):
        try:
            _within(LIMIT_S, lambda text=text: longest_match(pattern, text))  # type: ignore[misc]
        except _TooSlowError:
            return True
    return False


def _hostile_texts(pattern: str) -> Iterator[str]:
    """Long repetitions of what the pattern is made of, each with an end that nobody asks for."""
    words = re.findall(r"[^\W_]{2,}", pattern)
    units = dict.fromkeys((" ", "a", "0", "a ", "a\n", "-", *(c for c in pattern if c.isalnum()), *words))
    for unit in list(units)[:_MOST_UNITS]:
        yield (unit * SEARCHED_CHARACTERS)[: SEARCHED_CHARACTERS - 1] + "\0"


def _within(seconds: float, act: Callable[[], T]) -> T:
    """What `act` returns. Raises _TooSlowError if it computes for longer.

    Only the main thread can be interrupted so, and it is the one in which the engine decides; elsewhere nothing limits.
    """
    is_armed = [True]

    def cut(*_: object) -> None:
        if is_armed:
            raise _TooSlowError

    try:
        before = signal.signal(signal.SIGVTALRM, cut)
    except ValueError:
        return act()
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            return act()
        finally:
            is_armed.clear()
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        # Also if the timer fired in the lines above.
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL if before is None else before)
