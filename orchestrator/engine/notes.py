"""A note of the engine about itself, for other processes to read. It may vanish; nothing is decided by it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from orchestrator.adapters.files import write_atomic
from orchestrator.engine.workspace import Workspace


def note_engine(ws: Workspace, problems: Mapping[str, str], health: Mapping[str, Any]) -> None:
    """Write who the engine is, what it cannot do, and the alerts that stand."""
    note = {"pid": os.getpid(), "host": socket.gethostname(), "at": ws.stamp(), "problems": dict(problems), **health}
    write_atomic(ws.paths.orcdir / "engine.json", json.dumps(note).encode(), sync=False)


def read_note(ws: Workspace) -> dict[str, Any]:
    """The newest note, {} if there is none."""
    try:
        value = json.loads((ws.paths.orcdir / "engine.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
