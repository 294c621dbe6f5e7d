"""Folders that take git many commands to make: made once for all tests of a process, and copied for each of them."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_PLACES: list[Path] = []


def keep_below(folder: Path) -> None:
    """Where what was made is kept as long as the tests of this process run."""
    _PLACES.append(folder)


def put_copy(make: Callable[..., None], to: Path, *args: object) -> Path:
    """A copy of what `make` makes in an empty folder, with these arguments, at `to`, which may be there; `to`.

    What is made may not name the folder in which it was made, nor hold what only the environment of one test says.
    """
    shutil.copytree(_made(make, *args), to, symlinks=True, dirs_exist_ok=True)
    return to


@functools.cache
def _made(make: Callable[..., None], *args: object) -> Path:
    below = _PLACES[-1] if _PLACES else None
    place = Path(tempfile.mkdtemp(dir=below)) / make.__name__.strip("_")
    place.mkdir()
    make(place, *args)
    return place
