"""Doing a routine, in whichever process that is asked for: what it does, and what it has to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.core.routine import Report, Routine
from orchestrator.engine.advance import advance
from orchestrator.engine.briefing import brief, review_day
from orchestrator.engine.maintenance import maintain, pack_up, sweep_up
from orchestrator.engine.snapshot import snapshot
from orchestrator.engine.workspace import Workspace

_ACTS: Mapping[Routine, Callable[[Workspace, bool], Report]] = {
    Routine.SNAPSHOT: lambda ws, dry_run: snapshot(ws),
    Routine.SWEEP: sweep_up,
    Routine.PACK: pack_up,
    Routine.ADVANCE: advance,
    Routine.BRIEFING: lambda ws, dry_run: brief(ws),
    Routine.DAY_REVIEW: lambda ws, dry_run: review_day(ws),
    Routine.MAINTENANCE: maintain,
}


def perform(ws: Workspace, routine: Routine, *, dry_run: bool = False) -> Report:
    """Do a routine; `dry_run`: only say what it would do, found in the same way. Asks no model. Raises OrcError."""
    return _ACTS[routine](ws, dry_run)
