"""The backends by name. The only place that lists them; each is loaded when it is first asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from orchestrator.adapters.backends.base import Backend
from orchestrator.errors import NotFoundError

BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "agy": "AgyBackend",
        "anthropic": "AnthropicBackend",
        "claude": "ClaudeBackend",
        "codex": "CodexBackend",
        "command": "CommandBackend",
        "gemini": "GeminiBackend",
        "opencode": "OpencodeBackend",
        "scripted": "ScriptedBackend",
    }
)
"""The name of each backend, which is that of its module here too, and its class there."""


@cache
def find_backend(name: str) -> Backend:
    """The backend of that name. Raises NotFoundError, with the nearest name."""
    if name in BACKENDS:
        module = importlib.import_module(f"{__package__}.{name}")
        backend: Backend = getattr(module, BACKENDS[name])()
        return backend
    near = difflib.get_close_matches(name, BACKENDS, n=1)
    raise NotFoundError(
        f"there is no backend {name!r}",
        hint=f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(BACKENDS))}.",
    )
