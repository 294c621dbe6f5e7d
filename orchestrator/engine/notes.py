"""A note of the engine about itself, for other processes to read. It may vanish; nothing is decided by it.

It is written anew when it says something else, and every half a minute: how old it is tells whether the engine still
looks. That an engine is there at all is told by its lock, which a process that hangs holds as well.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from orchestrator.adapters.files import write_atomic
from orchestrator.core.times import parse
from orchestrator.engine.workspace import Workspace

BEAT_S = 30.0
"""So old a note may be before the engine writes it anew, at the end of a tick."""
MISSED = 3
"""After so many beats that did not come people are told."""


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


def tell_silence(ws: Workspace, note: Mapping[str, Any]) -> str:
    """That the engine at work has not come to the end of a tick for long; '' if it has, or if that is not known."""
    try:
        age_s = (ws.now() - parse(str(note["at"]))).total_seconds()
    except (KeyError, ValueError):
        return ""
    if age_s <= MISSED * (BEAT_S + ws.config.tick_seconds):
        return ""
    pid = f" (process {note['pid']})" if isinstance(note.get("pid"), int) else ""
    return f"the engine at work{pid} has looked at nothing since {note['at']}: end it, then: orc run"
