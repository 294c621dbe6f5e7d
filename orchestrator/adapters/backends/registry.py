"""The backends by name. The only place that lists them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.adapters.backends.base import Backend
from orchestrator.adapters.backends.command import CommandBackend
from orchestrator.adapters.backends.scripted import ScriptedBackend
from orchestrator.errors import NotFoundError

BACKENDS: Mapping[str, Backend] = MappingProxyType({"command": CommandBackend(), "scripted": ScriptedBackend()})


def find_backend(name: str) -> Backend:
    """The backend of that name. Raises NotFoundError, with the nearest name."""
    if name in BACKENDS:
        return BACKENDS[name]
    near = difflib.get_close_matches(name, BACKENDS, n=1)
    raise NotFoundError(
        f"there is no backend {name!r}",
        hint=f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(BACKENDS))}.",
    )
