"""Projects that are to be finished, as lines that commands print."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.adapters.ledger_paths import goal_path
from orchestrator.core.waits import Wait
from orchestrator.engine.workspace import Workspace

PENDING = "pending_approval"


@dataclass(frozen=True, slots=True)
class ProjectLine:
    """How a project stands that has a goal."""

    project: str
    state: str
    goal: str
    since: str
    done: int
    failed: int
    cancelled: int
    card: str = ""
    """The open question; '' without one."""
    answers: tuple[str, ...] = ()
    waits: Wait | None = None

    @property
    def ended(self) -> str:
        """What its ended jobs came to: `12 done, 1 failed`."""
        counts = ((self.done, "done"), (self.failed, "failed"), (self.cancelled, "cancelled"))
        return ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing ended"

    @property
    def what(self) -> str:
        """The question in one line."""
        return f"Is {self.project} finished ({self.ended})? Its goal: {self.goal}"

    def to_json(self) -> dict[str, Any]:
        """As `--json` shows it."""
        waits = {**asdict(self.waits), "stale": self.waits.is_stale} if self.waits is not None else None
        return {**asdict(self), "waits": waits}


def project_lines(ws: Workspace) -> tuple[ProjectLine, ...]:
    """The projects of orc.yaml that have a goal. Raises LedgerError."""
    read = ws.ledger.read_file
    there = [name for name in ws.config.projects if read(goal_path(name)) is not None]
    if not there:
        return ()
    from orchestrator.core.goal import OPTIONS, finish_id, wait_for  # Slow to load, and most boards need none.
    from orchestrator.engine.goal_counts import read_goal

    lines = []
    for name in there:
        known = read_goal(read, name)
        if known is None or not known.goal:
            continue
        waits = wait_for(known, ws.now())
        card, answers = ("", ()) if waits is None else (finish_id(name, known.card), tuple(o.key for o in OPTIONS))
        counts = (known.done, known.failed, known.cancelled)
        lines.append(ProjectLine(name, known.state.value, known.goal, known.since, *counts, card, answers, waits))
    return tuple(lines)
