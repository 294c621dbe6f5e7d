"""A package with the name of codespell, which stands in front of one that is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.adapters.spelling import known_misspellings


def install_list(folder: Path, text: str | bytes | None) -> None:
    """Make `folder` one that holds the package, with this list of misspellings; None: without its list."""
    about = folder / "codespell-9.9.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: codespell\nVersion: 9.9\n")
    data = folder / "codespell_lib" / "data"
    data.mkdir(parents=True)
    if text is not None:
        (data / "dictionary.txt").write_bytes(text.encode() if isinstance(text, str) else text)


@contextmanager
def list_in_front(folder: Path, text: str | bytes | None) -> Iterator[None]:
    """The same, found by this process as long as the block lasts."""
    install_list(folder, text)
    sys.path.insert(0, str(folder))
    known_misspellings.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        known_misspellings.cache_clear()
