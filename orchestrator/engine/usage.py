"""What runs used, on the ledger: counted in the very commit with which a run ends, and read for what begins next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from orchestrator.adapters.ledger import Writer
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.core.attempt_record import PromptPart
from orchestrator.core.tally import Estimate
from orchestrator.core.transitions import Move
from orchestrator.core.usage import (
    WINDOW_PATH,
    Charge,
    Day,
    Learned,
    Window,
    charge_of,
    charged,
    counted,
    day_path,
    ended_record,
    estimate,
    learned_path,
    prompt_tokens,
)

if TYPE_CHECKING:
    from orchestrator.core.sessions import Session
    from orchestrator.engine.workspace import Workspace

ReadFile = Callable[[str], bytes | None]
"""A file of the ledger by path; None if there is none."""
T = TypeVar("T")


def account(writer: Writer, move: Move, now: datetime, day: str = "") -> tuple[Move, Mapping[str, bytes]]:
    """A step with the run counted that it ends, and the files of the ledger in which it is counted. Raises LedgerError.

    `day`: to which day it counts, such as 2026-11-22; '' is that of UTC.
    """
    before = writer.job(move.job.id) if move.was is not None else None
    if before is None or before.at.reserved is None:
        return move, {}
    charge = charge_of(before, move.job, move.event, ended_record(before, move))
    if charge is None:
        return move, {}
    files = _files(writer.read_file, charge, now, day or f"{now.astimezone(UTC):%Y-%m-%d}")
    return replace(move, job=charged(move.job, charge)), files


def _files(read: ReadFile, charge: Charge, now: datetime, day: str) -> Mapping[str, bytes]:
    values = counted(charge, int(now.timestamp()), day, lambda kind, path: _read(read, kind, path))
    return {path: format_record(value) for path, value in values.items()}


def expect(
    ws: Workspace, what: str, model: str, parts: Iterable[PromptPart], session: Session | None = None
) -> Estimate:
    """What a run will use that is told these parts and goes on with a conversation. Raises LedgerError."""
    known = ws.config.models.get(model)
    learned = read_learned(ws.ledger.read_file, learned_path(what, model))
    context = session.context if session is not None else 0
    return estimate(learned, prompt_tokens(parts), context, price=known.price if known else None)


def read_day(read: ReadFile, day: str) -> Day:
    """What was used on a day. Raises LedgerError."""
    return _read(read, Day, day_path(day)) or Day()


def read_window(read: ReadFile) -> Window:
    """What was used in the last minutes. Raises LedgerError."""
    return _read(read, Window, WINDOW_PATH) or Window()


def read_learned(read: ReadFile, path: str) -> Learned | None:
    """What is known of a sort of run; None if nothing is. Raises LedgerError."""
    return _read(read, Learned, path)


def _read(read: ReadFile, kind: type[T], path: str) -> T | None:
    data = read(path)
    return None if data is None else parse_record(kind, data, path)
