"""Which known name a wrong one is nearest to."""

from __future__ import annotations

from collections.abc import Iterable


def guess(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not there: which of those that are it is nearest to; '' if none is near."""
    from difflib import get_close_matches  # Slow to load, and most names are right.

    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
