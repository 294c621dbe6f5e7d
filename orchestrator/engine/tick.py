"""One look at everything, and one step forward. Every part can be repeated after a crash at any point.

take in what people changed → collect what ended → decide → reserve in the ledger → make it so → show the queue
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, assert_never

from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.adapters.shims import Nursery
from orchestrator.adapters.spans import span
from orchestrator.core import merge as merging
from orchestrator.core.accept import hold, release
from orchestrator.core.alerts import AlertKind, alerts_of_services
from orchestrator.core.answer import apply_default
from orchestrator.core.attempt import not_started
from orchestrator.core.backlog import Backlog
from orchestrator.core.board import run_kind
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Job, State
from orchestrator.core.limits import Book, live_runs, still_within
from orchestrator.core.records import CardKind
from orchestrator.core.routine_steps import reserve_routine
from orchestrator.core.schedule import (
    ApplyDefault,
    Ask,
    BaseMended,
    Board,
    BuildMerge,
    CheckBase,
    Freed,
    Gather,
    Hold,
    JobAction,
    Land,
    Release,
    Remind,
    SetPressure,
    Stand,
    StartAttempt,
    StartChecks,
    StartReview,
    StartRoutine,
    WatchLanding,
    decide,
)
from orchestrator.core.service import until_of
from orchestrator.core.step import Step
from orchestrator.core.transitions import Event, Move
from orchestrator.core.waits import freed, remind
from orchestrator.engine.accept import TakenIn, take_in
from orchestrator.engine.answer import card_of
from orchestrator.engine.attempts import Reserved, reserve_attempt
from orchestrator.engine.bases import base_filing, base_record, not_checked
from orchestrator.engine.checks import base_start, reserve_base, reserve_checks
from orchestrator.engine.clearing import clear_up
from orchestrator.engine.collect import collect_bases, collect_run, running
from orchestrator.engine.dispatch import ensure_run
from orchestrator.engine.evidence import gather, known_result
from orchestrator.engine.goal import look_at_goal
from orchestrator.engine.health import Alarms
from orchestrator.engine.launch import RunState, folder_of, launch, state_of
from orchestrator.engine.limits import ToldLimits, set_pressure
from orchestrator.engine.look import Noted, look
from orchestrator.engine.merge import build_merge, land, watch_landing
from orchestrator.engine.notes import BEAT_S, note_engine
from orchestrator.engine.notices import Notices
from orchestrator.engine.outbox import Outboxes, Taken, take_follow_ups
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.recurring import Schedules
from orchestrator.engine.reviews import let_stand, reserve_review
from orchestrator.engine.services import bound_services
from orchestrator.engine.sessions import filings_after
from orchestrator.engine.trials import Trials
from orchestrator.engine.upkeep import Upkeep
from orchestrator.engine.verdicts import Verdicts
from orchestrator.engine.workspace import UnwritableError, Workspace, filed_with
from orchestrator.errors import BusyError, OrcError

log = logging.getLogger("orc.tick")
LEDGER = "the ledger"
"""The name under which it is told that the ledger cannot be written."""
GATES = "gates"
"""The name under which it is told that a gate fails its own test."""
RESCAN_S = 5.0
"""How often at least all of `queue/` is looked at, whatever events say; they may be lost."""
RARELY_S = 60.0
LOOK_SHARE = 100
"""With so many files that a look takes long, it is taken so seldom that it costs one part in this many of a core."""
CLEAR_S = 2.0
"""How long ended runs may lie about while there is always something more urgent to do."""
BEGIN_S = 0.04
"""So long a tick starts runs that were reserved, one at least: the most urgent first, the others in the next one."""
THERE_S = 5.0
"""How long a run that was seen to be there is taken to be: nobody but a person's hand takes its folder away."""
COSTLY_S = 0.1
"""So long a tick goes on with what takes git, and with reserving; at least one thing of each is done. What would take
it beyond that, by what such things took lately, is due in the next one, at once: what a person asks for, or another
run needs, is not to wait for it."""
COSTLY = (Gather, BuildMerge, Land, WatchLanding)
"""What takes git tens of milliseconds. Taking in a run that has ended is of that kind too."""
COLLECT = "Collect"
RECALLED = 0.75
"""The share of what is known of a sort that one more leaves as it is."""
RESERVING = (StartAttempt, StartReview, StartChecks)
"""What is soon reserved, but is begun thereupon: of each sort at least one in each tick."""
T = TypeVar("T")


@dataclass(slots=True)
class Engine:
    """What one engine holds between ticks. Nothing in it is needed after a crash."""

    ws: Workspace
    queue: QueueFolder
    projection: Projection
    listener: Callable[[str], None] = lambda _: None
    """Told the subject of every step, as it is committed."""
    nursery: Nursery = field(default_factory=Nursery)
    stopping: bool = False
    problems: dict[str, str] = field(default_factory=dict)
    """Steps that failed, by job: shown to the person, tried again at the next tick."""
    look_again: float | None = None
    """When something that a person is still writing is to be looked at again, on the clock of `time.monotonic`."""
    backlog: Backlog = field(default_factory=Backlog)
    noted: Noted = field(default_factory=Noted)
    history: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Attempts of each agent on each project since the engine began: who knows a project is preferred for it."""
    note: tuple[dict[str, str], dict[str, Any]] | None = ({}, {})
    """What the note of this engine says: its problems, and the alerts."""
    beat: float = field(default_factory=time.monotonic)
    """When that was last written, on the clock of `time.monotonic`."""
    hints: set[Path] | None = None
    """Where in `queue/` something happened since the last tick; None: anywhere."""
    arrived: set[Path] = field(default_factory=set)
    """Files that were renamed into their places since the last tick."""
    looked: float = 0.0
    """When all of `queue/` was last looked at, on the clock of `time.monotonic`; and how often that is to be done."""
    look_every: float = RESCAN_S
    cleared: float = 0.0
    """When ended runs were last put away, on the clock of `time.monotonic`."""
    upkeep: Upkeep = field(default_factory=Upkeep)
    outboxes: Outboxes = field(default_factory=Outboxes)
    schedules: Schedules = field(default_factory=Schedules)
    alarms: Alarms = field(default_factory=Alarms)
    notices: Notices = field(default_factory=Notices)
    verdicts: Verdicts = field(default_factory=Verdicts)
    trials: Trials = field(default_factory=Trials)
    limits: ToldLimits = field(default_factory=ToldLimits)
    rests_until: str = ""
    """Until when the last of the services rests or is shut that do; and the keys of the alerts about those shut."""
    shut: frozenset[str] = frozenset()
    began: float = 0.0
    """When the tick began that goes on, by the clock that only goes on."""
    costly: int = 0
    """How many things that take git were done in it."""
    takes: dict[str, float] = field(default_factory=dict)
    """How long things that take git took lately, in seconds, by their sort."""
    left_out: bool = False
    """Whether something that was decided was left out of it, or of the last one, for there was no more time."""
    goes_first: bool = False
    """Whether what is decided goes before what has ended: every second tick of those that leave something out."""
    there: dict[str, float] = field(default_factory=dict)
    """The runs that were seen to be there, and when, by the clock that only goes on."""
    blocked: bool = False
    """Whether the ledger could not be written, so that nothing more is decided in this tick."""


def tick(engine: Engine) -> bool:
    """One step forward for everything. Returns whether anything moved; an error in one job never stops the others.

    Never raises: what goes wrong is told in `engine.problems`, and tried again at the next tick.
    """
    ws = engine.ws
    engine.began, engine.costly = time.monotonic(), 0
    engine.goes_first, engine.left_out = engine.left_out and not engine.goes_first, False
    engine.problems.clear()
    engine.blocked = False
    if engine.trials.is_due():
        _guarded(engine, GATES, partial(_try_gates, engine))
    if engine.trials.broken:
        engine.problems[GATES] = f"{engine.trials.told}; nothing is begun, judged or merged"
    _guarded(engine, "orc.yaml", ws.reload_config)
    moved = bool(_guarded(engine, "queue/", partial(_take_in, engine)))
    moved |= not engine.stopping and _make_scheduled(engine)
    moved |= engine.goes_first or _collect(engine)
    moved |= not engine.blocked and bool(_guarded(engine, "orc", partial(_decide, engine)))
    if not engine.blocked:
        # What was just decided begins before anything else is looked at.
        moved |= bool(_guarded(engine, "runs", partial(_see_that_runs_run, engine))) or engine.left_out
    moved |= not engine.blocked and _look_at_goals(engine)
    if not engine.blocked and (not moved or time.monotonic() - engine.cleared > CLEAR_S):
        _guarded(engine, "runs", partial(clear_up, ws))
        engine.cleared = time.monotonic()
    _guarded(engine, "queue/", engine.projection.refresh)
    if not moved:
        _guarded(engine, "upkeep", partial(engine.upkeep.look, ws))
    if engine.alarms.is_due(resting=not moved):
        look_at_health(engine)
    _guarded(engine, "engine.json", partial(_note, engine))
    tell_notices(engine)
    return moved


def tell_notices(engine: Engine, *, last: bool = False) -> None:
    """Have the person told what has happened; `last`: the engine ends."""
    alerts = tuple(engine.alarms.standing)
    _guarded(engine, "notify", partial(engine.notices.look, engine.ws, alerts, last=last))


def _take_in(engine: Engine) -> bool:
    now = time.monotonic()
    hints = engine.hints if now - engine.looked < engine.look_every else None
    taken = _guarded(engine, "queue/", partial(take_in, engine.ws, engine.queue, hints, engine.arrived)) or TakenIn()
    if hints is None:
        engine.looked = time.monotonic()
        if not (taken.moves or taken.rejected or taken.told):
            engine.look_every = min(max(RESCAN_S, LOOK_SHARE * (engine.looked - now)), RARELY_S)
    engine.look_again = taken.waiting_until
    for subject in taken.told:
        engine.listener(subject)
        log.info(subject)
    for refused in taken.rejected:
        engine.listener(f"reject: {refused.path.name}: {refused.reason}")
    return _tell(engine, taken.moves) or bool(taken.told)


def _make_scheduled(engine: Engine) -> bool:
    """The jobs that are due, each with the record that says so."""
    due, problems = _guarded(engine, "schedules/", partial(engine.schedules.look, engine.ws)) or ([], {})
    engine.problems |= problems
    return commit_steps(engine, [move for each in due for move in each.moves], [each.filing for each in due])


def _collect(engine: Engine) -> bool:
    ws = engine.ws
    jobs = _guarded(engine, LEDGER, partial(running, ws)) or []
    if engine.trials.broken:
        # An attempt is only put away. What a check or a reviewer left is judged when it is collected, so it waits.
        jobs = [job for job in jobs if run_kind(job) is RunKind.ATTEMPT]
    ended: list[Move | None] = []
    for job in jobs:
        is_due = _has_time(engine, engine.costly, COLLECT)
        ended.append(_take_time(engine, COLLECT, job.id, partial(collect_run, ws, job)) if is_due else None)
    checked = None if engine.trials.broken else _guarded(engine, "bases", lambda: list(collect_bases(ws)))
    bases = checked or []
    # What a run asked last goes into the same update of the ledger as the step that ends it.
    taken = [
        _guarded(engine, job.id, partial(engine.outboxes.take, ws, job, step)) or Taken(step)
        for job, step in zip(jobs, ended, strict=True)
    ]
    steps, proposed = _with_follow_ups(engine, (each.step for each in taken if each.step is not None))
    sessions = _guarded(engine, "sessions", lambda: list(filings_after(ws, steps))) or []
    asked = [filing for each in taken for filing in each.filings]
    follow_ups = [move for each in taken for move in each.moves]
    moved = commit_steps(engine, [*steps, *follow_ups], [*bases, *sessions, *asked, *proposed])
    for each in taken if not engine.blocked else ():
        # What was handed in a moment after its twin is judged again.
        if all(move.job.id in ws.ledger.snapshot().folders for move in each.moves):
            _guarded(engine, "outbox", partial(engine.outboxes.acknowledge, each))
    return moved


def _has_time(engine: Engine, done: int, sort: str) -> bool:
    """Whether one more thing of a sort is for this tick, in which so many like it were done."""
    return not done or time.monotonic() - engine.began + engine.takes.get(sort, 0.0) < COSTLY_S


def _take_time(engine: Engine, sort: str, name: str, act: Callable[[], T]) -> T | None:
    """As `_guarded`, for something that takes git: how long is learned, unless it came to nothing."""
    began = time.monotonic()
    done = _guarded(engine, name, act)
    if done is not None:
        took = time.monotonic() - began
        engine.takes[sort] = took + RECALLED * (engine.takes.get(sort, took) - took)
        engine.costly += 1
    return done


def _decide(engine: Engine) -> bool:
    bound = _guarded(engine, "services", partial(bound_services, engine.ws)) or []
    for subject in bound:
        engine.listener(subject)
        log.warning(subject)
    since, noted = engine.backlog.version, engine.noted
    told = engine.trials.told
    board = look(engine.ws, history=engine.history, stopping=engine.stopping, since=since, noted=noted, broken=told)
    _note_services(engine, board)
    actions = decide(board, engine.ws.now(), engine.backlog)
    # What is decided with it rests on it, so it is on the ledger before.
    pressed = [
        _guarded(engine, "limits", partial(_press, engine, each)) for each in actions if isinstance(each, SetPressure)
    ]
    for line in engine.limits.news(board):
        engine.listener(line)
        log.warning(line)
    rest = [each for each in actions if not isinstance(each, SetPressure)]
    return _perform(engine, board, rest) or any(pressed) or bool(bound)


def _press(engine: Engine, action: SetPressure) -> bool:
    if subject := set_pressure(engine.ws, action):
        engine.listener(subject)
        log.warning(subject)
    return bool(subject)


def _note_services(engine: Engine, board: Board) -> None:
    """What became of services; one that is shut, or open again, is told at once."""
    pauses = [until for each in board.services.values() for until in until_of(each)]
    engine.rests_until = max(pauses, default="")
    shut = frozenset(alert.key for alert in alerts_of_services(board.services.values()))
    known = {key for key, each in engine.alarms.standing.items() if each.kind is AlertKind.SERVICE_SHUT}
    if shut != engine.shut or shut != known:
        engine.shut = shut
        look_at_health(engine)


def _look_at_goals(engine: Engine) -> bool:
    ws, moved = engine.ws, False
    for name, project in ws.config.projects.items():
        subject = _guarded(engine, name, partial(look_at_goal, ws, project))
        if subject:
            engine.listener(subject)
            log.info(subject)
            moved = True
    return moved


def _perform(engine: Engine, board: Board, actions: Iterable[JobAction | CheckBase]) -> bool:
    moves: list[Move] = []
    filings: list[Filing] = []
    files: dict[str, dict[str, bytes]] = {}
    # Whether pressure keeps it from beginning was decided; what is set aside for it is known only here.
    limits = engine.ws.config.execution_limits
    book = Book(limits, board.spending, live_runs(board.active), engaged=False)
    reserved: Counter[str] = Counter()
    for action in actions:
        sort, takes_git = type(action).__name__, isinstance(action, COSTLY)
        before = engine.costly if takes_git else reserved[sort]
        if isinstance(action, COSTLY + RESERVING) and not _has_time(engine, before, sort):
            engine.left_out = True
            continue
        name = action.project if isinstance(action, CheckBase) else action.job
        act = partial(_act, engine, board, action)
        done = _take_time(engine, sort, name, act) if takes_git else _guarded(engine, name, act)
        reserved[sort] += done is not None
        if isinstance(done, Filing):
            filings.append(done)
        elif isinstance(done, Reserved):
            if done.move.event in (Event.START, Event.REVIEW) and not still_within(book, done.move.job):
                continue  # The next decision knows what those before it have set aside.
            moves.append(done.move)
            filings += done.filings
            files[done.move.job.id] = dict(done.files)
        elif isinstance(done, Move):
            moves.append(done)
    moves, proposed = _with_follow_ups(engine, moves)
    return commit_steps(engine, moves, [*filings, *proposed], files)


def _with_follow_ups(engine: Engine, steps: Iterable[Move]) -> tuple[list[Move], list[Filing]]:
    """These steps, each before the jobs that reviewers proposed and that follow from it.

    A step of which that cannot be told now is left to the next tick: the two are committed together, or neither is.
    """
    moves: list[Move] = []
    filings: list[Filing] = []
    for step in steps:
        made = _guarded(engine, step.job.id, partial(take_follow_ups, engine.ws, step))
        if made is not None:
            moves += [step, *made[0]]
            filings += made[1]
    return moves, filings


def _act(engine: Engine, board: Board, action: JobAction | CheckBase) -> Move | Reserved | Filing | None:
    """What an action comes to: a step to commit, perhaps with files, or nothing."""
    ws = engine.ws
    if isinstance(action, CheckBase):
        return reserve_base(ws, action.project, is_red=board.projects[action.project].is_red)
    job = board.jobs[action.job]
    try:
        return _act_on(engine, board, action, job)
    except OrcError as error:
        if not isinstance(action, Gather | BuildMerge | Land) or _passes(error):
            raise
        # It would stand in the way of all others for its target, in silence: it pauses, and asks after a few times.
        return not_started(job, error.message, ws.config.limits, ws.stamp())


def _passes(error: OrcError) -> bool:
    """Whether an error is about the moment and not about the job."""
    return isinstance(error, BusyError) or (isinstance(error, GitError) and error.was_killed)


def _act_on(engine: Engine, board: Board, action: JobAction, job: Job) -> Move | Reserved | Filing | None:
    ws = engine.ws
    match action:
        case Hold():
            return hold(job, action.reason, ws.stamp(), needs=action.needs)
        case Release():
            return release(job, ws.stamp(), needs=action.needs)
        case StartAttempt():
            return reserve_attempt(ws, job, action, board.agents[action.agent])
        case StartRoutine():
            return reserve_routine(job, ws.stamp())
        case Gather():
            return gather(ws, job)
        case StartChecks():
            return known_result(ws, job) or reserve_checks(ws, job)
        case StartReview():
            lately = engine.verdicts.of(ws, action.reviewer)
            return reserve_review(ws, job, action, board.agents[action.reviewer], lately)
        case Stand():
            return let_stand(ws, job, action.why)
        case BuildMerge():
            return build_merge(ws, job, action.heir)
        case Land():
            return land(ws, job)
        case WatchLanding():
            return watch_landing(ws, job)
        case BaseMended() | Freed() | ApplyDefault():
            return _settle(ws, job, action)
        case Remind():
            return remind(job, ws.stamp())
        case Ask():
            # What a job waits for may be its project; there is nothing to merge then, nor of a routine.
            target = "" if action.kind is CardKind.STALE or job.spec.routine else ws.terms(job).target
            asked = (action.kind, action.question, ws.stamp(), action.context)
            return merging.ask(job, *asked, target=target, base=action.base)
        case _:
            assert_never(action)


def _settle(ws: Workspace, job: Job, action: BaseMended | Freed | ApplyDefault) -> Move | None:
    """The step that closes a card without a person; None if it was closed meanwhile."""
    card = card_of(ws, job)
    if card is None or not card.open:
        return None
    match action:
        case BaseMended():
            return merging.base_mended(job, card, ws.stamp()) if card.kind is CardKind.BASE_RED else None
        case Freed():
            return freed(job, card, ws.stamp())
        case ApplyDefault():
            return apply_default(job, card, ws.stamp())


def _see_that_runs_run(engine: Engine) -> bool:
    """Start the runs that the ledger names and that are not there: those just reserved, and those a crash left out.

    Returns whether some are left to the next tick.
    """
    ws, now, begun, is_more = engine.ws, time.monotonic(), 0, False
    # A start that was committed and did not happen is made up for only once nobody holds the job any more.
    jobs = [job for job in running(ws) if not job.is_held]
    seen = {job.at.run: engine.there.get(job.at.run, -math.inf) for job in jobs}
    engine.there = {run: at for run, at in seen.items() if now - at < THERE_S}
    failed = []
    for job in sorted((job for job in jobs if job.at.run not in engine.there), key=lambda job: job.priority):
        if begun and time.monotonic() - now > BEGIN_S:
            is_more = True
            break
        step = _guarded(engine, job.id, partial(_ensure, ws, job))
        if isinstance(step, Move):
            failed.append(step)
        elif job.id not in engine.problems:
            engine.there[job.at.run] = now
            begun += 1
    commit_steps(engine, failed, [])
    for name in ws.config.projects:
        filing = _guarded(engine, name, partial(_ensure_base, ws, name))
        commit_steps(engine, [], [filing] if filing else [])
    return is_more


def _ensure(ws: Workspace, job: Job) -> Move | None:
    try:
        return ensure_run(ws, job)
    except OSError as error:
        return not_started(job, f"{job.at.run} could not be started: {error}", ws.config.limits, ws.stamp())


def _ensure_base(ws: Workspace, name: str) -> Filing | None:
    record = base_record(ws, name)
    if record is None or not record.run or state_of(folder_of(ws, record.run)) is not RunState.MISSING:
        return None
    try:
        launch(ws, base_start(ws, name, record))
    except (OrcError, OSError) as error:
        return base_filing(name, not_checked(record, str(error), ws.stamp()), f"was not checked: {error}")
    return None


def _try_gates(engine: Engine) -> None:
    """Put the gates to the test; what is another way than before, or than in the engine before, is told at once."""
    was_told = any(each.kind is AlertKind.GATE_BROKEN for each in engine.alarms.standing.values())
    if engine.trials.look() or was_told:
        engine.alarms.broken = engine.trials.broken
        look_at_health(engine)


def look_at_health(engine: Engine) -> None:
    """Tell the alerts that are new, and those that are over."""
    for line in _guarded(engine, "health", partial(engine.alarms.look, engine.ws)) or ():
        engine.listener(line)
        log.warning(line)
    engine.note = None  # Written in any case: by its age one sees that this engine still looks.
    _guarded(engine, "engine.json", partial(_note, engine))


def _note(engine: Engine) -> None:
    """What goes wrong in the engine and what comes out of it, for `orc status`, which is another process."""
    now, at = (dict(engine.problems), engine.alarms.to_note()), time.monotonic()
    if now != engine.note or at - engine.beat >= BEAT_S:
        note_engine(engine.ws, *now)
        engine.note, engine.beat = now, at


def commit_steps(
    engine: Engine, moves: list[Move], filings: list[Filing], files: dict[str, dict[str, bytes]] | None = None
) -> bool:
    """Commit steps; whether any were. If the ledger cannot be written, nothing more is in this tick."""
    if engine.blocked or not (moves or filings):
        return False
    done = _guarded(engine, LEDGER, partial(_write, engine, moves, filings, files))
    engine.blocked = done is None
    if engine.blocked:
        engine.verdicts.forget()
    return bool(done)


def _write(engine: Engine, moves: list[Move], filings: list[Filing], files: dict[str, dict[str, bytes]] | None) -> bool:
    bad: list[tuple[Move, str]] = []
    try:
        done = engine.ws.commit(moves, filings, files)
    except UnwritableError as error:
        done, bad = error.done, error.bad
    engine.verdicts.note(done)
    # What was left out has moved nothing: to look again at once would come to the same.
    filed = filed_with(filings, moves, done)
    for filing in filed:
        engine.listener(filing.subject)
    moved = _tell(engine, done) or bool(filed)
    for move, why in bad:
        engine.problems[move.job.id] = f"the step `{move.event}` cannot be written to the ledger: {why}"
    asked = [card for move, why in bad if (card := _ask_about(engine.ws, move, why)) is not None]
    return (_tell(engine, engine.ws.commit(asked)) if asked else False) or moved


def _ask_about(ws: Workspace, move: Move, why: str) -> Move | None:
    """A card about a step that no file of the ledger can hold: trying it for ever would come to nothing."""
    folder = ws.ledger.snapshot().folders.get(move.job.id)
    if folder is None or folder.job.state is State.DECIDE:
        return None
    question = f"The step `{move.event}` of {move.job.id} cannot be written to the ledger. Try it again?"
    step = Step(Event.CARD, folder.job, ws.stamp(), changes={"run": ""})
    return step.ask(CardKind.CANNOT_START, question, why)


def _tell(engine: Engine, moves: Iterable[Move]) -> bool:
    told = False
    for move in moves:
        engine.listener(move.subject)
        log.info(move.subject)
        if move.event is Event.START:
            engine.history[move.job.at.agent][move.job.at.project] += 1
        told = True
    return told


def _guarded(engine: Engine, what: str, act: Callable[[], T]) -> T | None:
    """One part of a tick; what goes wrong in it is told and does not stop the others."""
    try:
        with span("part", what):
            return act()
    except (OrcError, OSError) as error:
        message = error.message if isinstance(error, OrcError) else str(error)
        log.warning("%s: %s", what, message)
    except Exception as error:
        # A defect of ours, met by one job, must not stop the work on all others; it is told, and tried again.
        message = f"a defect of orc: {type(error).__name__}: {error}"
        log.exception("%s: a defect of orc", what)
    engine.problems[what] = message
    return None
