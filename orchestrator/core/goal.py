"""Whether a project is finished: counted from its jobs as they end, asked when none is open, and said by a person only.

A project has a standing here from when `orc.yaml` gives it a goal. While a question is open or answered with `done`, no
job of the project is open: whatever opens one closes the question, or takes the answer back, in the same update of the
ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from orchestrator.core.ending import NOTHING_SPENT, Delivered, Ending, Read, Risk, Spend, ending_of
from orchestrator.core.job import Job, State
from orchestrator.core.records import Option
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, Actor, ActorKind, IllegalStepError, one_line
from orchestrator.core.waits import Wait, is_unreminded, wait_since
from orchestrator.errors import RefusedError

SHOWN = 20
"""So many deliverables, and so many risks, are kept and told, the newest; the rest is counted."""
DONE_KEY, MORE_KEY = "done", "more"
OPTIONS = (
    Option(DONE_KEY, "It is finished", "The project is done until a new job of it comes in."),
    Option(MORE_KEY, "There is more to do", "Your message becomes a job of the project; you are asked again later."),
)
_CARD_ID = re.compile(r"(?P<project>[a-z0-9]+(?:-[a-z0-9]+)*)\.finish-(?P<number>[1-9][0-9]*)\Z")


class ProjectState(StrEnum):
    """Where a project stands that has a goal."""

    OPEN = "open"
    PENDING_APPROVAL = "pending_approval"
    """No job is open, and a card asks whether it is finished."""
    DONE = "done"


class GoalEvent(StrEnum):
    """What happened to a project's goal: the first word of its commit's subject."""

    GOAL = "goal"
    """A person's orc.yaml gives it one, changes it, or takes it away."""
    COUNT = "count"
    """A job ended, or is open again."""
    PENDING = "pending"
    """The question is asked."""
    REMINDER = "reminder"
    WITHDRAW = "withdraw"
    """A job came in while the question was open."""
    FINISH = "finish"
    MORE = "more"
    REOPEN = "reopen"
    """A job came in after it was finished."""


_O, _P, _D = ProjectState.OPEN, ProjectState.PENDING_APPROVAL, ProjectState.DONE
_E, _H = ActorKind.ENGINE, ActorKind.HUMAN
GOAL_TABLE: Mapping[GoalEvent, tuple[Mapping[ProjectState | None, ProjectState], ActorKind]] = {
    GoalEvent.GOAL: ({None: _O, _O: _O, _P: _O, _D: _O}, _E),
    GoalEvent.COUNT: ({_O: _O}, _E),
    GoalEvent.PENDING: ({_O: _P}, _E),
    GoalEvent.REMINDER: ({_P: _P}, _E),
    GoalEvent.WITHDRAW: ({_P: _O}, _E),
    GoalEvent.FINISH: ({_P: _D}, _H),
    GoalEvent.MORE: ({_P: _O}, _H),
    GoalEvent.REOPEN: ({_D: _O}, _E),
}
"""Every legal step of a project, and who may cause it."""


@dataclass(frozen=True, slots=True)
class Goal:
    """`projects/<name>/goal.yaml`: where a project stands that is to be finished, and what its ended jobs came to."""

    project: str
    seq: int
    goal: str
    """In the person's words, on one line; '' once it was taken away: then nothing is counted and nothing asked."""
    state: ProjectState
    since: str
    """When it entered this state."""
    declared: str
    """When the counting began. Jobs that had ended before are not counted."""
    card: int = 0
    """Number of the newest card."""
    reminded: str = ""
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    spend: Spend = NOTHING_SPENT
    """Of all jobs that are counted."""
    delivered: tuple[Delivered, ...] = ()
    """By the newest jobs that are done, the newest last."""
    risks: tuple[Risk, ...] = ()
    """The newest, the newest last."""
    risky: int = 0
    """How many risks there are in all."""


@dataclass(frozen=True, slots=True)
class FinishCard:
    """`projects/<name>/finish-N.yaml`: the question whether a project is finished. Only a person answers it."""

    id: str
    project: str
    number: int
    question: str
    options: tuple[Option, ...]
    asked: str
    context: str = ""
    answer: str = ""
    message: str = ""
    answered: str = ""
    by: str = ""
    superseded: str = ""
    """Why it may no longer be answered; '' while it may."""

    @property
    def open(self) -> bool:
        """Whether it still waits for an answer."""
        return not self.answer and not self.superseded


@dataclass(frozen=True, slots=True)
class GoalMove:
    """One step of a project, ready to be committed."""

    event: GoalEvent
    was: ProjectState | None
    goal: Goal
    told: str
    actor: Actor = ENGINE
    card: FinishCard | None = None
    """The card as it is after the step, if the step writes it."""
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def subject(self) -> str:
        """`finish: main done (main.finish-1)`."""
        return f"{self.event}: {self.goal.project} {one_line(self.told)}"[:200]

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """What the commit says beside its subject."""
        known = [("Project", self.goal.project), ("Was", self.was or "-"), ("Now", self.goal.state.value)]
        return (*known, ("Actor", self.actor.name), *self.facts)


def finish_id(project: str, number: int) -> str:
    """`main.finish-1`: no job's card and no run is named so."""
    return f"{project}.finish-{number}"


def parse_finish_id(text: str) -> tuple[str, int] | None:
    """Project and number of a card's id, or None."""
    found = _CARD_ID.match(text)
    return (found["project"], int(found["number"])) if found else None


def _move(
    event: GoalEvent,
    was: Goal | None,
    goal: Goal,
    told: str,
    *,
    actor: Actor = ENGINE,
    card: FinishCard | None = None,
    facts: Iterable[tuple[str, str]] = (),
) -> GoalMove:
    """A legal step. Raises IllegalStepError."""
    state = was.state if was is not None else None
    steps, kind = GOAL_TABLE[event]
    if steps.get(state) is not goal.state:
        raise IllegalStepError(f"{event} does not lead from {state or 'nothing'} to {goal.state}")
    if actor.kind is not kind:
        raise IllegalStepError(f"{event} is not for the {actor.kind}")
    return GoalMove(event, state, goal, told, actor, card, tuple(facts))


def _stepped(known: Goal, **changes: Any) -> Goal:
    return replace(known, seq=known.seq + 1, **changes)


# --- what the engine does by itself ---------------------------------------------------------------------------------


def next_step(
    known: Goal | None, card: FinishCard | None, project: str, wanted: str, open_jobs: int, now: datetime
) -> GoalMove | None:
    """What is due for a project whose orc.yaml says the goal `wanted`, '' for none; None if nothing is."""
    wanted, stamp = one_line(wanted), iso(now)
    if wanted != (known.goal if known is not None else ""):
        return declare(known, card, project, wanted, stamp)
    if known is None or not known.goal:
        return None
    if not why_not_due(known, open_jobs):
        return ask_finish(known, stamp)
    wait = wait_for(known, now)
    return remind_finish(known, stamp) if wait is not None and is_unreminded(wait, known.reminded) else None


def declare(known: Goal | None, card: FinishCard | None, project: str, wanted: str, now: str) -> GoalMove:
    """A person gave a project a goal, changed it, or took it away (''): what was asked about the one before is void."""
    closed = None
    if known is None or not known.goal:
        seq, number = (known.seq, known.card) if known is not None else (0, 0)
        goal = Goal(project, seq + 1, wanted, ProjectState.OPEN, now, declared=now, card=number)
    else:
        goal = _stepped(known, goal=wanted, state=ProjectState.OPEN, since=now)
        if known.state is ProjectState.PENDING_APPROVAL and card is not None:
            closed = replace(card, superseded="the goal was changed" if wanted else "the goal was taken away")
    told = f"is to be finished: {wanted}" if wanted else "has no goal any more"
    return _move(GoalEvent.GOAL, known, goal, told, card=closed)


def why_not_due(known: Goal, open_jobs: int) -> str:
    """Why the question is not to be asked now; '' if it is."""
    if not known.goal:
        return "it has no goal"
    if known.state is not ProjectState.OPEN:
        return f"it is {known.state} already"
    if open_jobs:
        return _still_open(open_jobs)
    return "" if known.done else "none of its jobs is done"


def _still_open(open_jobs: int) -> str:
    return f"{open_jobs} of its jobs {'is' if open_jobs == 1 else 'are'} open"


def ask_finish(known: Goal, now: str) -> GoalMove:
    """All jobs of the project have ended: a person is asked whether it is finished."""
    number = known.card + 1
    card = FinishCard(
        id=finish_id(known.project, number),
        project=known.project,
        number=number,
        question=f"Is {known.project} finished? Its goal: {known.goal}"[:400],
        options=OPTIONS,
        asked=now,
        context="\n".join(tell_goal(known)),
    )
    goal = _stepped(known, state=ProjectState.PENDING_APPROVAL, since=now, card=number)
    told = f"waits for your approval ({card.id})"
    return _move(GoalEvent.PENDING, known, goal, told, card=card, facts=[("Card", card.id)])


def wait_for(known: Goal, now: datetime) -> Wait | None:
    """Since when a project waits for a person; None if it does not."""
    return wait_since(known.since, now) if known.state is ProjectState.PENDING_APPROVAL else None


def remind_finish(known: Goal, now: str) -> GoalMove:
    """A person is reminded of the question. Nothing is decided. Raises IllegalStepError if no reminder is due."""
    wait = wait_for(known, parse(now))
    if wait is None or not is_unreminded(wait, known.reminded):
        raise IllegalStepError(f"no reminder of {known.project} is due")
    return _move(GoalEvent.REMINDER, known, _stepped(known, reminded=now), wait.in_words())


# --- what follows from a step of a job ------------------------------------------------------------------------------


def is_about_goal(was: State | None, now: State) -> bool:
    """Whether a step of a job is any business of its project's goal: the job came in, ended, or is open again."""
    return was is None or was.ended != now.ended


def follow_step(
    known: Goal, card: FinishCard | None, was: Job | None, job: Job, read: Read, read_before: Read
) -> GoalMove | None:
    """What a step of a job leads to for the goal of its project; None if to nothing.

    `read` finds the job's records after the step, `read_before` those before it.
    """
    if not (known.goal and is_about_goal(was.state if was is not None else None, job.state)):
        return None
    counts = [("Counts", job.id)]
    if job.state.ended:
        if not _is_counted(known, job) or known.state is not ProjectState.OPEN:
            return None
        goal = _stepped(known, **_with(known, ending_of(job, read)))
        return _move(GoalEvent.COUNT, known, goal, f"{job.id} is {job.state}", facts=counts)
    less: Mapping[str, Any] = {}
    if was is not None and _is_counted(known, was):
        less = _without(known, ending_of(was, read_before))
    came = f"{job.id} came in" if was is None else f"{job.id} is open again"
    if known.state is ProjectState.OPEN:
        return _move(GoalEvent.COUNT, known, _stepped(known, **less), came, facts=counts) if less else None
    goal = _stepped(known, **less, state=ProjectState.OPEN, since=job.at.since)
    if known.state is ProjectState.DONE:
        return _move(GoalEvent.REOPEN, known, goal, came, facts=counts)
    closed = replace(card, superseded=came) if card is not None else None
    return _move(GoalEvent.WITHDRAW, known, goal, came, card=closed, facts=counts)


def _is_counted(known: Goal, ended: Job) -> bool:
    return ended.at.since >= known.declared


def _with(known: Goal, ending: Ending) -> dict[str, Any]:
    delivered = (*known.delivered, ending.delivered) if ending.delivered is not None else known.delivered
    return {
        **_counts(known, ending, 1),
        "spend": known.spend.plus(ending.spend),
        "delivered": delivered[-SHOWN:],
        "risks": (*known.risks, *ending.risks)[-SHOWN:],
    }


def _without(known: Goal, ending: Ending) -> dict[str, Any]:
    return {
        **_counts(known, ending, -1),
        "spend": known.spend.minus(ending.spend),
        "risks": tuple(each for each in known.risks if each.job != ending.job),
    }


def _counts(known: Goal, ending: Ending, sign: int) -> dict[str, int]:
    name = {State.DONE: "done", State.FAILED: "failed"}.get(ending.state, "cancelled")
    # What ended in the very second in which the counting began may not be counted and is taken back all the same.
    number, risky = getattr(known, name) + sign, known.risky + sign * len(ending.risks)
    return {name: max(0, number), "risky": max(0, risky)}


# --- what a person says ---------------------------------------------------------------------------------------------


def answer_finish(
    known: Goal, card: FinishCard | None, key: str, message: str, open_jobs: int, now: str, *, actor: Actor
) -> GoalMove:
    """The step that an answer takes. Raises RefusedError if the card does not stand any more or does not offer it, and
    IllegalStepError unless a person gives it."""
    card = _check_answer(known, card, key, message, open_jobs)
    closed = replace(card, answer=key, message=message.strip(), answered=now, by=actor.name)
    event, state = {
        DONE_KEY: (GoalEvent.FINISH, ProjectState.DONE),
        MORE_KEY: (GoalEvent.MORE, ProjectState.OPEN),
    }[key]
    goal = _stepped(known, state=state, since=now)
    facts = [("Card", card.id), ("Answer", key)]
    return _move(event, known, goal, f"{key} ({card.id})", actor=actor, card=closed, facts=facts)


def _check_answer(known: Goal, card: FinishCard | None, key: str, message: str, open_jobs: int) -> FinishCard:
    hint = f"orc show {known.project}"
    if card is None:
        raise RefusedError(f"{known.project} asks nothing: it is {known.state}", hint=hint)
    if card.answer:
        raise RefusedError(f"{card.id} was answered already: {card.answer}, by {card.by}", hint=hint)
    if card.superseded or known.state is not ProjectState.PENDING_APPROVAL or card.number != known.card:
        why = card.superseded or f"{known.project} is {known.state} now"
        raise RefusedError(f"{card.id} may no longer be answered: {why}", hint=hint)
    offered = [option.key for option in card.options]
    if key not in offered:
        told = ", ".join(offered)
        raise RefusedError(f"{card.id} has no answer {key!r}; it offers {told}", hint=f"orc answer {card.id} KEY")
    if open_jobs:
        raise RefusedError(f"{card.id} may no longer be answered: {_still_open(open_jobs)}", hint=hint)
    if key == MORE_KEY and not message.strip():
        raise RefusedError("more of what? Your message becomes a job", hint=f"orc answer {card.id} {key} -m '…'")
    return card


# --- in words -------------------------------------------------------------------------------------------------------


def tell_goal(known: Goal) -> Iterator[str]:
    """What a project has come to, in lines: this stands on the card."""
    yield f"Ended since {known.declared}: {count_words(known)}."
    yield f"Used: {known.spend.in_words()}."
    lines = [[_delivered(each), *(f"    {text}" for text in each.previews)] for each in reversed(known.delivered)]
    yield from _listed("Delivered", lines, known.done)
    risks = [[f"  {each.job}: {each.text}"] for each in reversed(known.risks)]
    yield from _listed("Open risks", risks, known.risky)


def count_words(known: Goal) -> str:
    """`12 done, 1 failed`."""
    counts = ((known.done, "done"), (known.failed, "failed"), (known.cancelled, "cancelled"))
    return ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing"


def _delivered(each: Delivered) -> str:
    told = f"  {each.job}: {each.title}; {each.what}"
    return f"{told}, {each.stat}" if each.stat else told


def _listed(heading: str, lines: list[list[str]], number: int) -> Iterator[str]:
    if not number:
        yield f"{heading}: none."
        return
    yield f"{heading}:" if number == len(lines) else f"{heading}, the newest {len(lines)} of {number}:"
    for each in lines:
        yield from each
