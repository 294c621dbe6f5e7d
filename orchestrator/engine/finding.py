"""What a look at the workspace found, and what would mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.core.routine import Health
from orchestrator.engine.workspace import Workspace

__all__ = ["Finding", "Fix", "Health"]


@dataclass(frozen=True, slots=True)
class Fix:
    """What mends a finding. `act` may be called twice; it says what it did, and raises OrcError or OSError if it could
    not. Findings with the same `key` are mended by one call. It never removes what a person wrote.
    """

    key: str
    told: str
    """What it will do, in words."""
    act: Callable[[Workspace], str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `hint` is the way out of what is wrong, `fix` the one that orc can go by itself."""

    what: str
    health: Health
    text: str
    hint: str = ""
    fix: Fix | None = None
    fixed: bool = False
