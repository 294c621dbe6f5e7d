"""The backends by name: each module in this folder whose name is one word, but for this one and `base`.

What several of them share has `_` in its name. Each is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from orchestrator.adapters.backends.base import Backend
from orchestrator.core.nearest import nearest
from orchestrator.errors import NotFoundError

_SHARED = ("base", "registry")


def _find_names() -> tuple[str, ...]:
    names = {path.stem for path in Path(__file__).parent.glob("*.py")}
    return tuple(sorted(name for name in names if name.isalnum() and name not in _SHARED))


BACKENDS = _find_names()
"""The name of each backend, which is that of its module here too."""


@cache
def find_backend(name: str) -> Backend:
    """The backend of that name. Raises NotFoundError, with the nearest name, or with what is wrong with its module."""
    if name not in BACKENDS:
        near = nearest(name, BACKENDS)
        raise NotFoundError(
            f"there is no backend {name!r}",
            hint=f"Did you mean {near!r}?" if near else f"There are: {', '.join(BACKENDS)}.",
        )
    wanted = f"{name.capitalize()}Backend"
    try:
        backend: Backend = getattr(importlib.import_module(f"{__package__}.{name}"), wanted)()
    except (ImportError, SyntaxError, AttributeError) as error:
        raise NotFoundError(
            f"the backend {name!r} cannot be loaded: {error}",
            hint=f"backends/{name}.py must have a class {wanted}: docs/how-to/add-a-backend.md",
        ) from error
    return backend
