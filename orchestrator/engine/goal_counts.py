"""Steps of jobs, each with what its run used, what that adds to the costs of its day, and what it leads to for the goal
of its project and for the services of backends.

The ledger gets all of it at once, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from orchestrator.adapters.ledger import Filing, Writer
from orchestrator.adapters.ledger_paths import finish_path, goal_path, service_path
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.adapters.orc_block import clean
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.config import Config
from orchestrator.core.costs import added_files, costs_anything
from orchestrator.core.ending import Read
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.goal import FinishCard, Goal, GoalMove, ProjectState, follow_step, is_about_goal
from orchestrator.core.job import State
from orchestrator.core.records import RECORDS
from orchestrator.core.service import SPEAKS, Went, ended_by, use_of
from orchestrator.core.transitions import Event, Move
from orchestrator.engine.services import follow_run
from orchestrator.engine.usage import account

ReadFile = Callable[[str], bytes | None]
"""A file of the ledger by path; None if there is none."""
_STEMS: Mapping[type[Any], str] = {kind: name for name, kind in RECORDS.items()}


def put_step(
    writer: Writer,
    move: Move,
    now: datetime,
    config: Config,
    files: Mapping[str, bytes] | None = None,
    *,
    day: str = "",
) -> Move:
    """Add a step of a job, and what follows from it for its project and for services. Returns it as it was added.

    The run that it ends is counted to `day`, as in `account`. Raises as `Writer.commit`, and leaves the chain as it was
    then.
    """
    move, beside = account(writer, move, now, day)
    beside = {**beside, **_costs(writer, move, now)}
    known = None
    if is_about_goal(move.was, move.job.state):
        known = read_goal(writer.read_file, move.job.at.project)
    is_more = move.was is None and known is not None and known.state is ProjectState.OPEN
    goal = known if known is not None and known.goal and not is_more else None
    speaks = _speaks(writer, move, config)
    if goal is None and not speaks:
        writer.commit(move, now, files=files, beside=beside)
        return move
    was = writer.folder(move.job.id)
    before = was.job if was is not None else None
    # How many runs there were when this one ended.
    uses = [use for job in writer.doing() if (use := use_of(job)) is not None] if speaks else []
    with writer.all_or_nothing():
        writer.commit(move, now, files=files, beside=beside)
        # By what was written, as whoever reads the ledger finds it.
        after = writer.folder(move.job.id)
        assert after is not None
        reader = _reader(writer, after)
        if goal is not None:
            card = read_card(writer.read_file, goal)
            step = follow_step(goal, card, before, after.job, reader, _reader(writer, was))
            if step is not None:
                writer.file(filing_of(step), now)
        run = ended_by(move.event, before, after.job, reader) if speaks else None
        filing = follow_run(writer.read_file, run, uses, config) if run is not None else None
        if filing is not None:
            writer.file(filing, now)
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
            return from_mapping(kind, clean(to_mapping(move.records[stem])))
        return writer.record(kind, was, stem)

    if not costs_anything(was.job, move.job):
        return {}
    known = read_goal(writer.read_file, was.job.at.project)
    goal = known.goal if known is not None else ""
    return added_files(was.job, move.job, read, goal, int(now.timestamp()), writer.read_file)


def _speaks(writer: Writer, move: Move, config: Config) -> bool:
    """Whether a step may change what is known of a service. Of most that go well there is nothing to write down."""
    before = writer.job(move.job.id)
    if before is None or move.event not in SPEAKS:
        return False
    worker = before.at.reviewer if before.state is State.REVIEWING else before.at.author
    if worker is None:
        return False
    if any(writer.read_file(service_path(name)) is not None for name in config.same_key(worker.backend)):
        return True
    if move.event is Event.EVIDENCE:
        return not any(each.paths for each in move.records.values() if isinstance(each, Evidence))
    found = {type(each): each for each in move.records.values()}
    run = ended_by(move.event, before, move.job, lambda kind, _: found.get(kind))
    return run is not None and run.went is not Went.WELL


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
