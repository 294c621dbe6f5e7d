"""The list of known misspellings, from the package codespell.

Only its list is read; none of its code runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

PACKAGE = "codespell"
_MOST_BYTES = 16 * 1024 * 1024


@cache
def known_misspellings() -> Mapping[str, str] | None:
    """Misspelling → what would be right, all in small letters; None if the package is not installed."""
    from importlib.metadata import PackageNotFoundError, distribution  # Slow to load, and most work is not spelled.

    try:
        path = distribution(PACKAGE).locate_file("codespell_lib/data/dictionary.txt")
        with open(str(path), encoding="utf-8") as file:
            return dict(_entries(file.read(_MOST_BYTES)))
    except (PackageNotFoundError, OSError, UnicodeDecodeError):
        return None


def _entries(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.splitlines():
        wrong, arrow, right = line.partition("->")
        words, comma, reason = right.rpartition(",")
        if not arrow or (comma and reason.strip()):
            continue  # With a reason behind the last comma, the entry is switched off.
        found.append((wrong.strip().casefold(), (words if comma else right).strip()))
    return found


def speller() -> str:
    """The list and its version, such as `codespell 2.4.3`; '' if there is none."""
    if known_misspellings() is None:
        return ""
    from importlib.metadata import version

    return f"{PACKAGE} {version(PACKAGE)}"
