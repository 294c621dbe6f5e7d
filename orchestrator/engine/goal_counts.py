"""Steps of jobs, each with what its run used, what that adds to the costs of its day, and what it leads to for the goal
of its project.

The ledger gets all of it at once, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from orchestrator.adapters.ledger import (
    Filing,
    Folder,
    Writer,
    finish_path,
    format_record,
    goal_path,
    parse_record,
)
from orchestrator.core.costs import added_files, costs_anything
from orchestrator.core.ending import Read
from orchestrator.core.goal import FinishCard, Goal, GoalMove, ProjectState, follow_step, is_about_goal
from orchestrator.core.records import RECORDS
from orchestrator.core.transitions import Move
from orchestrator.engine.usage import account

ReadFile = Callable[[str], bytes | None]
"""A file of the ledger by path; None if there is none."""
_STEMS: Mapping[type[Any], str] = {kind: name for name, kind in RECORDS.items()}


def put_step(
    writer: Writer, move: Move, now: datetime, files: Mapping[str, bytes] | None = None, *, day: str = ""
) -> Move:
    """Add a step of a job, with the run counted that it ends: to `day`, as in `account`. Returns it as it was added.

    Raises as `Writer.commit`, and leaves the chain as it was then.
    """
    move, beside = account(writer, move, now, day)
    beside = {**beside, **_costs(writer, move, now)}
    known = None
    if is_about_goal(move.was, move.job.state):
        known = read_goal(writer.read_file, move.job.at.project)
    is_more = move.was is None and known is not None and known.state is ProjectState.OPEN
    if known is None or not known.goal or is_more:
        writer.commit(move, now, files=files, beside=beside)
        return move
    was = writer.folder(move.job.id)
    with writer.all_or_nothing():
        writer.commit(move, now, files=files, beside=beside)
        # By what was written, as whoever reads the ledger finds it.
        after = writer.folder(move.job.id)
        assert after is not None
        card, before = read_card(writer.read_file, known), was.job if was is not None else None
        step = follow_step(known, card, before, after.job, _reader(writer, after), _reader(writer, was))
        if step is not None:
            writer.file(filing_of(step), now)
    return move


def _costs(writer: Writer, move: Move, now: datetime) -> dict[str, bytes]:
    """The files of the day's costs to which a step adds, as they are after it."""
    was = writer.folder(move.job.id) if move.was is not None else None
    if was is None:
        return {}

    def read(kind: type[Any], number: int) -> Any:
        stem = f"{_STEMS[kind]}-{number}"
        if stem in move.records:
            # By what is written, as whoever reads the ledger finds it.
            return parse_record(kind, format_record(move.records[stem]), stem)
        return writer.record(kind, was, stem)

    if not costs_anything(was.job, move.job):
        return {}
    known = read_goal(writer.read_file, was.job.at.project)
    goal = known.goal if known is not None else ""
    return added_files(was.job, move.job, read, goal, int(now.timestamp()), writer.read_file)


def _reader(writer: Writer, folder: Folder | None) -> Read:
    def read(kind: type[Any], number: int) -> Any:
        return writer.record(kind, folder, f"{_STEMS[kind]}-{number}") if folder is not None else None

    return read


def filing_of(step: GoalMove) -> Filing:
    """The commit of a step of a project."""
    project, card = step.goal.project, step.card
    files = {goal_path(project): format_record(step.goal)}
    if card is not None:
        files[finish_path(project, card.number)] = format_record(card)
    return Filing(step.subject, files, step.trailers, step.actor)


def read_goal(read: ReadFile, project: str) -> Goal | None:
    """Where a project stands; None if it never had a goal. Raises LedgerError."""
    data = read(goal_path(project))
    return None if data is None else _parse_goal(data, goal_path(project))


def read_card(read: ReadFile, known: Goal, number: int = 0) -> FinishCard | None:
    """A card of a project, the newest unless a number is given; None if there is none. Raises LedgerError."""
    path = finish_path(known.project, number or known.card)
    data = read(path)
    return None if data is None else _parse_card(data, path)


@lru_cache(maxsize=16)  # It is asked for at every tick.
def _parse_goal(data: bytes, path: str) -> Goal:
    return parse_record(Goal, data, path)


@lru_cache(maxsize=16)
def _parse_card(data: bytes, path: str) -> FinishCard:
    return parse_record(FinishCard, data, path)
