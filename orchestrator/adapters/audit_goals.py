"""Projects that are to be finished: what each commit says of one is worked out again from the one before it.

A step by which a job comes in, ends or is open again owes the very next commit what it means for the goal of its
project. So nothing is left out of what a person is shown, and no project is finished while a job of it is open. Only
the ledger is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from orchestrator.adapters.audit_chain import Commit, Records, Store
from orchestrator.adapters.audit_rules import SKEW_S, Finding, Rule, Step, clean_name, differ, show
from orchestrator.adapters.ledger_paths import finish_path, goal_path
from orchestrator.adapters.ledger_text import one_line
from orchestrator.core.goal import (
    GOAL_TABLE,
    FinishCard,
    Goal,
    GoalEvent,
    GoalMove,
    answer_finish,
    ask_finish,
    declare,
    follow_step,
    is_about_goal,
    remind_finish,
    why_not_due,
)
from orchestrator.core.times import parse
from orchestrator.core.transitions import Actor, IllegalStepError
from orchestrator.errors import RefusedError

_PATH = re.compile(r"projects/(?P<project>[^/]+)/(?:goal|finish-[1-9][0-9]*)\.yaml\Z")
_EVENTS = frozenset(event.value for event in GoalEvent)
_OWED = frozenset({GoalEvent.COUNT, GoalEvent.WITHDRAW, GoalEvent.REOPEN})
"""What follows from the step of a job right before it."""
_WITH_JOBS = frozenset({GoalEvent.PENDING, GoalEvent.FINISH, GoalEvent.MORE})
"""What rests on how many jobs of the project are open."""


@dataclass(frozen=True, slots=True)
class _Stand:
    """How a project stands at one commit."""

    goal: Goal | None
    card: FinishCard | None


def projects_in(paths: Iterable[str]) -> list[str]:
    """The projects of whose goals something is among these paths."""
    return sorted({found["project"] for path in paths if (found := _PATH.match(path))})


def owed_after(step: Step) -> GoalMove | None:
    """What the commit after a step of a job must say of the goal of its project; None if nothing. Raises OrcError."""
    if not is_about_goal(step.before.state if step.before is not None else None, step.after.state):
        return None
    stand = _stand_at(step.new.store, step.commit.tree, step.at.project)
    if stand.goal is None:
        return None
    return follow_step(stand.goal, stand.card, step.before, step.after, step.new.get, step.old.get)


def judge_goal(
    store: Store, commit: Commit, parent: Commit, paths: Iterable[str], owed: GoalMove | None, *, sure: bool
) -> Iterator[Finding]:
    """A commit about the goal of a project says what follows from the one before it.

    `sure`: whether `owed` is known; it is not for the first commit after those that are believed.
    """
    paths = set(paths)
    projects = projects_in(paths)
    if commit.word not in _EVENTS:
        yield Rule.GOAL, f"changes how {projects[0]} stands, but says {commit.word!r}"
        return
    if len(projects) != 1:
        yield Rule.GOAL, f"is about {len(projects)} projects"
        return
    project, event = projects[0], GoalEvent(commit.word)
    was, now = _stand_at(store, parent.tree, project), _stand_at(store, commit.tree, project)
    if now.goal is None:
        yield Rule.GOAL, f"does not say how {project} stands"
        return
    if owed is not None and event not in _OWED:
        yield not_said(owed)
    if event in _OWED and owed is None and not sure:
        return
    try:
        wanted = _wanted(store, commit, event, was, now, owed, project)
    except (RefusedError, IllegalStepError) as error:
        yield Rule.GOAL, f"says {event} of {project}, but {error}"
        return
    yield from _compare(commit, wanted, now.goal, now.card, paths)
    yield from _check_times(commit, event, now.goal)


def not_said(owed: GoalMove) -> Finding:
    """The step of a job that leads to something for a project, and is not followed by it."""
    return Rule.GOAL, f"says nothing of it that {owed.goal.project} is {owed.goal.state}, though {owed.told}"


def _wanted(
    store: Store,
    commit: Commit,
    event: GoalEvent,
    was: _Stand,
    now: _Stand,
    owed: GoalMove | None,
    project: str,
) -> GoalMove:
    """The step as it had to be. Raises IllegalStepError, RefusedError if it is none that could have been taken."""
    if event in _OWED:
        if owed is None or owed.event is not event:
            raise IllegalStepError("no job came in, ended or was taken up again in the step before")
        return owed
    known, goal, card = was.goal, now.goal, now.card
    assert goal is not None
    if event is GoalEvent.GOAL:
        return declare(known, was.card, project, goal.goal, goal.since)
    if known is None:
        raise IllegalStepError(f"{project} has no goal")
    if event is GoalEvent.REMINDER:
        return remind_finish(known, goal.reminded)
    open_jobs = _open_jobs(store, commit.tree, project) if event in _WITH_JOBS else 0
    if event is GoalEvent.PENDING:
        if why := why_not_due(known, open_jobs):
            raise IllegalStepError(why)
        return ask_finish(known, goal.since)
    actor = Actor(commit.trailer("Actor") or "")
    if actor.kind is not GOAL_TABLE[event][1]:
        raise IllegalStepError(f"{event} is not for the {actor.kind}")
    key, message = (card.answer, card.message) if card is not None else ("", "")
    return answer_finish(known, was.card, key, message, open_jobs, goal.since, actor=actor)


def _compare(
    commit: Commit, wanted: GoalMove, goal: Goal, card: FinishCard | None, paths: set[str]
) -> Iterator[Finding]:
    project = wanted.goal.project
    if commit.word != wanted.event:
        yield Rule.GOAL, f"says {commit.word} of {project}, which is {wanted.event}"
    for field in fields(Goal):
        said, found = getattr(goal, field.name), getattr(wanted.goal, field.name)
        yield from differ(Rule.GOAL, f"`{field.name}` of {project}", said, found)
    written = {goal_path(project)}
    if wanted.card is not None:
        written.add(finish_path(project, wanted.card.number))
        yield from differ(Rule.GOAL, f"the card of {project}", card, wanted.card)
    for path in sorted(paths ^ written):
        yield Rule.GOAL, f"{'changes' if path in paths else 'does not change'} {path}"
    trailers = tuple((one_line(key), one_line(value)) for key, value in wanted.trailers)
    yield from differ(Rule.MESSAGE, "its trailers", commit.trailers, trailers)
    yield from differ(Rule.MESSAGE, "its subject", commit.subject, one_line(wanted.subject))
    if commit.rest:
        yield Rule.MESSAGE, f"has text between its trailers: {show(commit.rest)}"
    if clean_name(wanted.actor.name) != commit.author.name:
        yield Rule.ACTOR, f"is of {commit.author.name}, but {wanted.actor.name} did it"


def _check_times(commit: Commit, event: GoalEvent, goal: Goal) -> Iterator[Finding]:
    """What a commit decides itself, it decides when it is made."""
    if event in _OWED:
        return
    name, text = ("reminded", goal.reminded) if event is GoalEvent.REMINDER else ("since", goal.since)
    if abs(parse(text).timestamp() - commit.committer.seconds) > SKEW_S:
        yield Rule.TIME, f"says {name}: {text}, which is not when it was committed"


def _stand_at(store: Store, root: str, project: str) -> _Stand:
    entry = store.find(root, goal_path(project))
    goal = store.record(Goal, entry, goal_path(project)) if entry is not None else None
    path = finish_path(project, goal.card) if goal is not None else ""
    card = store.find(root, path) if goal is not None and goal.card else None
    return _Stand(goal, store.record(FinishCard, card, path) if card is not None else None)


def _open_jobs(store: Store, root: str, project: str) -> int:
    """How many jobs of a project are open at a commit. Raises OrcError."""
    place = store.find(root, "open")
    buckets = store.tree(place.oid).values() if place is not None else ()
    folders = (each.oid for bucket in buckets for each in store.tree(bucket.oid).values())
    jobs = (Records(store, entries=store.tree(oid)).job() for oid in folders)
    return sum(job is not None and job.at.project == project for job in jobs)
