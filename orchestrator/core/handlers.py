"""Whether every state that a job can stand in has somebody who takes it further, asked of the parts that do it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from orchestrator.core.actions import Action, Ask, CheckBase, Hold, SetPressure
from orchestrator.core.agent import Soul
from orchestrator.core.board import AgentView, Board, ProjectView, run_kind
from orchestrator.core.config import Config, Project
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Job, JobSpec, Standing, State, Worker
from orchestrator.core.schedule import decide
from orchestrator.core.times import iso
from orchestrator.core.transitions import TABLE, ActorKind, Event, Legal

Decide = Callable[[Board, datetime], Iterable[Action]]
_NOW = datetime(2000, 1, 1, tzinfo=UTC)
_ID = "any-00000000"
_COMMIT = "1" * 40
_ALWAYS = frozenset({Event.CANCEL, Event.EDIT, Event.CARD, Event.RETRY})
"""Events that lead out of nearly every state and take no job further."""


def find_unhandled(table: Mapping[Event, Legal] = TABLE, decide: Decide = decide) -> tuple[State, ...]:
    """The open states in which a job would stand for ever: no legal step leads on, or nobody takes it.

    Where everything is there that a job may need, `decide` must find something to do for one that stands in the state;
    or a run is awaited, whose end is collected; or a person is asked, for whom the table has a step.
    """
    return tuple(state for state in State if not state.ended and not _is_handled(state, table, decide))


def _is_handled(state: State, table: Mapping[Event, Legal], decide: Decide) -> bool:
    leads_on = {
        actor
        for event, legal in table.items()
        for actor in legal.actors
        if event not in _ALWAYS and legal.targets(state) - {state}
    }
    if state is State.DECIDE:
        return ActorKind.HUMAN in leads_on
    job = _job_in(state)
    if ActorKind.ENGINE not in leads_on:
        return False
    # To be held or to ask somebody is no way on, where nothing stands in the way.
    due = (
        action for action in decide(_board(job), _NOW) if not isinstance(action, CheckBase | SetPressure | Hold | Ask)
    )
    return run_kind(job) is not None or any(action.job == job.id for action in due)


def _job_in(state: State) -> Job:
    """A job as it is when a state has just begun."""
    stamp, has_work = iso(_NOW), state not in (State.READY, State.WAITING)
    at = Standing(
        id=_ID,
        seq=1,
        state=state,
        created=stamp,
        since=stamp,
        attempt=int(has_work),
        run=str(RunId(_ID, RunKind.ATTEMPT, 1)) if state is State.RUNNING else "",
        agent="author" if has_work else "",
        author=Worker("author", "one", "one-1", "command") if has_work else None,
        tip=_COMMIT if has_work else "",
        approved=_COMMIT if state in (State.MERGING, State.LANDING) else "",
        merged=_COMMIT if state is State.LANDING else "",
    )
    return Job("prompt: any\n", False, JobSpec("any"), at)


def _board(job: Job) -> Board:
    """A board on which nothing stands in the way of a job."""
    agents = {
        "author": AgentView(Soul(name="author", backend="command"), "one", "one-1"),
        "judge": AgentView(Soul(name="judge", backend="command", roles=("review",)), "two", "two-1"),
    }
    return Board({job.id: job}, Config(), {"main": ProjectView(Project(target="main"))}, agents)
