"""Which known name a wrong one is nearest to."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest to one that is not there; '' if none is near."""
    from difflib import get_close_matches  # Slow to load, and most names are right.

    near = get_close_matches(name, list(known), n=1)
    return near[0] if near else ""


def guess(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not there: which of those that are it is nearest to; '' if none is near."""
    near = nearest(name, known)
    return f"; did you mean {near!r}?" if near else ""
