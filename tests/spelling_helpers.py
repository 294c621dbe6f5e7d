"""A package with the name of codespell, which stands in front of one that is installed."""

from __future__ import annotations

from pathlib import Path


def install_list(folder: Path, text: str | bytes | None) -> None:
    """Make `folder` one that holds the package, with this list of misspellings; None: without its list."""
    about = folder / "codespell-9.9.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: codespell\nVersion: 9.9\n")
    data = folder / "codespell_lib" / "data"
    data.mkdir(parents=True)
    if text is not None:
        (data / "dictionary.txt").write_bytes(text.encode() if isinstance(text, str) else text)
