"""The table of legal steps: which event takes a job from where to where, and who may cause it.

A step that is not in the table cannot be built, and `orc verify` holds the ledger against the same table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.core.job import Expects, Job, State

S = State
_OPEN = frozenset(state for state in State if not state.ended)


class Event(StrEnum):
    """What happened to a job: the first word of its commit's subject."""

    ACCEPT = "accept"
    EDIT = "edit"
    HOLD = "hold"
    RELEASE = "release"
    START = "start"
    RUN = "run"
    """A routine is reserved; an attempt is a `start`."""
    RAN = "ran"
    COLLECT = "collect"
    LOST = "lost"
    NOT_STARTED = "not-started"
    EVIDENCE = "evidence"
    CHECK = "check"
    CHECKED = "checked"
    REVIEW = "review"
    VERDICT = "verdict"
    STAND = "stand"
    CARD = "card"
    ANSWER = "answer"
    DEFAULT = "default"
    SUPERSEDE = "supersede"
    MERGE = "merge"
    REBUILD = "rebuild"
    LAND = "land"
    DONE = "done"
    CANCEL = "cancel"
    RETRY = "retry"
    REMIND = "remind"


class ActorKind(StrEnum):
    """Who may cause an event: the engine, or a person."""

    ENGINE = "engine"
    HUMAN = "human"


@dataclass(frozen=True, slots=True)
class Legal:
    """Which pairs of states (from, to) an event may join, and who may cause it."""

    steps: frozenset[tuple[State | None, State]]
    actors: frozenset[ActorKind]

    @property
    def source(self) -> frozenset[State | None]:
        """States from which the event may come; None is a job that was not there before."""
        return frozenset(source for source, _ in self.steps)

    def targets(self, source: State | None) -> frozenset[State]:
        """States to which the event may lead from `source`."""
        return frozenset(target for each, target in self.steps if each is source)


def _legal(steps: Mapping[State | None, Collection[State]], *actors: ActorKind) -> Legal:
    pairs = frozenset((source, target) for source, targets in steps.items() for target in targets)
    return Legal(pairs, frozenset(actors or (ActorKind.ENGINE,)))


_BOTH = (ActorKind.ENGINE, ActorKind.HUMAN)
_HUMAN = (ActorKind.HUMAN,)
_AGAIN: Mapping[State | None, Collection[State]] = {
    S.RUNNING: {S.READY, S.DECIDE},
    S.CHECKING: {S.CHECKING, S.DECIDE},
    S.REVIEWING: {S.REVIEWING, S.DECIDE},
    S.MERGING: {S.MERGING, S.DECIDE},
}
"""A run that came to nothing leads back to where it was started from, never further on."""
TABLE: Mapping[Event, Legal] = {
    # It begins with a question where an open job is like it.
    Event.ACCEPT: _legal({None: {S.READY, S.DECIDE}}, *_BOTH),
    Event.EDIT: _legal({state: {state} for state in _OPEN}, *_HUMAN),
    Event.HOLD: _legal({S.READY: {S.WAITING}, S.WAITING: {S.WAITING}}),
    Event.RELEASE: _legal({S.WAITING: {S.READY}}),
    Event.START: _legal({S.READY: {S.RUNNING}}),
    Event.RUN: _legal({S.READY: {S.RUNNING}}),
    Event.RAN: _legal({S.RUNNING: {S.DONE}}),
    Event.COLLECT: _legal({S.RUNNING: {S.COLLECTED, S.READY, S.DECIDE}}),
    Event.LOST: _legal(_AGAIN),
    Event.NOT_STARTED: _legal({**_AGAIN, **{state: {state, S.DECIDE} for state in (S.READY, S.COLLECTED, S.LANDING)}}),
    Event.EVIDENCE: _legal({S.COLLECTED: {S.CHECKING, S.READY, S.DECIDE}}),
    Event.CHECK: _legal({S.CHECKING: {S.CHECKING}, S.MERGING: {S.MERGING}}),
    # It stays where checks of a second tree are due.
    Event.CHECKED: _legal(
        {S.CHECKING: {S.CHECKING, S.REVIEWING, S.READY, S.DECIDE}, S.MERGING: {S.LANDING, S.READY, S.DECIDE}}
    ),
    Event.REVIEW: _legal({S.REVIEWING: {S.REVIEWING}}),
    Event.VERDICT: _legal({S.REVIEWING: {S.REVIEWING, S.READY, S.DECIDE, S.MERGING, S.LANDING, S.DONE}}),
    Event.STAND: _legal({S.REVIEWING: {S.DECIDE, S.MERGING, S.LANDING, S.DONE}}),
    Event.CARD: _legal({state: {S.DECIDE} for state in _OPEN - {S.DECIDE}}),
    Event.ANSWER: _legal(
        {
            S.DECIDE: {
                S.READY,
                S.WAITING,
                S.COLLECTED,
                S.CHECKING,
                S.REVIEWING,
                S.MERGING,
                S.LANDING,
                S.FAILED,
                S.CANCELLED,
                S.DONE,
            }
        },
        *_HUMAN,
    ),
    # Time answers an agent's question, with what that agent would take, and lets a job go on that is like another.
    Event.DEFAULT: _legal({S.DECIDE: {S.READY}}),
    Event.SUPERSEDE: _legal({S.DECIDE: {S.LANDING, S.MERGING, S.READY}}),
    Event.MERGE: _legal({S.MERGING: {S.MERGING, S.READY, S.DECIDE}}),
    Event.REBUILD: _legal({S.LANDING: {S.MERGING, S.DECIDE}, S.MERGING: {S.MERGING, S.DECIDE}, S.READY: {S.MERGING}}),
    Event.LAND: _legal({S.LANDING: {S.LANDING, S.DECIDE}}),
    Event.DONE: _legal({S.LANDING: {S.DONE}}),
    Event.CANCEL: _legal({state: {S.CANCELLED} for state in _OPEN}, *_HUMAN),
    # It moves nothing: nobody is ever decided for.
    Event.REMIND: _legal({state: {state} for state in _OPEN - {S.RUNNING}}),
    Event.RETRY: _legal({state: {S.READY} for state in (S.FAILED, S.CANCELLED, S.DECIDE, S.WAITING)}, *_HUMAN),
}
_NEEDS_APPROVAL = (S.MERGING, S.LANDING, S.DONE)


class IllegalStepError(Exception):
    """A step that the table does not have: a defect of orc, or a forged ledger."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who caused an event: `engine`, or `human:NAME`."""

    name: str

    @property
    def kind(self) -> ActorKind:
        """Engine or human."""
        return ActorKind.HUMAN if self.name.startswith("human:") else ActorKind.ENGINE


ENGINE = Actor("engine")


@dataclass(frozen=True, slots=True)
class Move:
    """One step of one job, ready to be committed: the job after it, its records, and how it is told."""

    event: Event
    was: State | None
    job: Job
    subject: str
    actor: Actor = ENGINE
    trailers: tuple[tuple[str, str], ...] = ()
    records: Mapping[str, Any] = field(default_factory=dict)
    """Record dataclasses by file stem: `attempt-1`."""
    with_step_of: str = ""
    """Another job of whose step it is a consequence: it is left out where that step does not fit any more."""


def check_step(event: Event, was: State | None, now: State, actor: ActorKind) -> None:
    """Raise IllegalStepError unless the table allows it."""
    legal = TABLE[event]
    if was not in legal.source:
        raise IllegalStepError(f"{event} is not possible from {was or 'nothing'}")
    if now not in legal.targets(was):
        raise IllegalStepError(f"{event} does not lead from {was or 'nothing'} to {now}")
    if actor not in legal.actors:
        raise IllegalStepError(f"{event} is not for the {actor}")


def make_move(
    event: Event,
    before: Job | None,
    after: Job,
    subject: str,
    *,
    actor: Actor = ENGINE,
    records: Mapping[str, Any] | None = None,
    facts: Mapping[str, object] | None = None,
) -> Move:
    """A legal move, also in what it rests on: nothing is merged or done without an approved commit.

    `facts` become trailers (`diff_stat` becomes `Diff-Stat:`); empty ones are left out.
    """
    was = None if before is None else before.state
    check_step(event, was, after.state, actor.kind)
    # What orc did itself, without a model, is no work of anybody that another has to judge.
    is_routine = event is Event.RAN and bool(after.spec.routine)
    nothing_to_merge = after.state is S.DONE and (after.spec.expects is Expects.NO_CHANGE or is_routine)
    if after.state in _NEEDS_APPROVAL and not after.at.approved and not nothing_to_merge:
        raise IllegalStepError(f"{event} leads {after.id} to {after.state} without an approved commit")
    trailers = [("Job", after.id), ("From", was or "-"), ("To", after.state.value)]
    trailers += [("Seq", str(after.at.seq)), ("Actor", actor.name)]
    for key, value in (facts or {}).items():
        if value not in ("", None, ()):
            trailers.append((key.replace("_", "-").title(), one_line(value)))
    text = f"{event}: {after.id} {one_line(subject)}"
    return Move(event, was, after, text[:200], actor, tuple(trailers), dict(records or {}))


def one_line(value: object) -> str:
    """In one printable line: agents write some of this, and could forge lines or colours in a terminal's log."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(str(value).split()))
