"""What a person's change in `queue/` asks for. Decides on values; moving files and committing are others' work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator.core.job import (
    DROP_LANES,
    EDITABLE_ALWAYS,
    LANE_PRIORITY,
    READY_LANES,
    Job,
    JobSpec,
    Lane,
    Priority,
    State,
)
from orchestrator.core.merge_text import merge_text
from orchestrator.core.records import Card

if TYPE_CHECKING:
    from orchestrator.core.goal import FinishCard


class Act(StrEnum):
    """What a move of a job's file from one folder into another asks for."""

    PRIORITY = "priority"
    RETRY = "retry"
    CANCEL = "cancel"


_OPEN_LANES = (*READY_LANES, Lane.WAITING, Lane.RUNNING, Lane.REVIEW, Lane.DECIDE)
_AGAIN = (*READY_LANES, Lane.INBOX)
MOVES: Mapping[tuple[Lane, Lane], Act] = {
    **{(old, new): Act.PRIORITY for old in READY_LANES for new in READY_LANES if old is not new},
    **{(old, new): Act.RETRY for old in (Lane.WAITING, Lane.FAILED, Lane.CANCELLED) for new in _AGAIN},
    **{(old, Lane.CANCELLED): Act.CANCEL for old in _OPEN_LANES},
}
"""Every move that is a legal request, from the folder in which the file was shown. There is no other."""

_INTO: Mapping[Lane, str] = {
    Lane.WAITING: "nobody moves a job into waiting/; to keep it back write `hold: true` into it",
    Lane.RUNNING: "nobody moves a job into running/; it runs when a slot and an agent are free",
    Lane.REVIEW: "nobody moves a job into review/; it is reviewed when an attempt has ended",
    Lane.DECIDE: "nobody moves a job into decide/; orc asks there when it needs you",
    Lane.DONE: "nobody moves a job into done/; a job is done when its work is on the target branch",
    Lane.FAILED: "nobody moves a job into failed/; to give it up, move it into cancelled/",
}
_OUT_OF: Mapping[Lane, str] = {
    Lane.RUNNING: "it is being worked on, so it cannot be queued again; move it into cancelled/ to give it up",
    Lane.REVIEW: "it is being judged, so it cannot be queued again; move it into cancelled/ to give it up",
    Lane.DECIDE: "it waits for your answer: write it into its card in decide/, or run orc answer",
    Lane.DONE: "it is done; to undo its work run orc revert, to do more drop a new file",
}


@dataclass(frozen=True, slots=True)
class Drop:
    """A new job."""

    priority: Priority


@dataclass(frozen=True, slots=True)
class Edit:
    """Other words for an open job. `merged`: the text is woven from two edits and must be read again to be believed."""

    text: str
    spec: JobSpec
    keys: frozenset[str]
    priority: Priority
    merged: bool = False


@dataclass(frozen=True, slots=True)
class ChangePriority:
    """The job's file was moved into another ready lane."""

    priority: Priority


@dataclass(frozen=True, slots=True)
class Cancel:
    """The job's file was moved into `cancelled/`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The job's file was moved back among those that are ready."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A card's file was filled in."""

    card: Card | FinishCard
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """Not a request that can be granted, and nothing of the person's is lost when the file is shown as it was."""

    reason: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Not a request that can be granted; what the person wrote is kept in `rejected/`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Half of a request: it stays as it is until the rest comes."""

    reason: str


Request = Drop | Edit | ChangePriority | Cancel | Retry | Answer | PutBack | Quarantine | Leave


@dataclass(frozen=True, slots=True)
class FoundJob:
    """The file of a job that the ledger has, as it was found in `queue/`."""

    lane: Lane
    text: str
    markdown: bool
    spec: JobSpec
    seq: int
    """The version that the engine's block in it names."""
    intact: bool = True
    """The engine's block is as it was shown."""
    copy: bool = False
    """The file also stands where it was shown."""


def judge_drop(lane: Lane, spec: JobSpec) -> Drop | Quarantine:
    """A new file without the engine's block. The folder decides the lane, the file the priority in it."""
    if lane not in DROP_LANES:
        return Quarantine(f"{lane}/ is not for new files; drop it into inbox/")
    return Drop(_fit(_priority_of(spec), lane))


def judge_job(found: FoundJob, now: Job, shown: Job | None) -> tuple[Request, ...]:
    """What a job's file asks for, given the job `now` and the version that was `shown` (None: there is no such)."""
    if shown is None:
        return (Quarantine(f"it names version {found.seq} of {now.id}, which the ledger does not have"),)
    if found.copy:
        return (Quarantine(f"it is a copy of {now.id}; to make a new job of it, remove all below the mark"),)
    if found.markdown is not now.markdown:
        return (Quarantine("a job stays YAML or Markdown, as it was dropped"),)
    moved = _judge_move(found, now, shown)
    state = State.READY if any(isinstance(each, Retry) for each in moved) else now.state
    lane = found.lane if any(isinstance(each, ChangePriority | Retry) for each in moved) else None
    edited = _judge_edit(found, now, shown, state, _wanted_priority(found.spec, now, shown.spec, lane))
    if any(isinstance(each, Quarantine) for each in edited):
        return edited
    notes = () if found.intact else (PutBack("what stands below the mark is orc's; only what stands above is yours"),)
    if edited:
        # The edit carries the priority already.
        moved = tuple(each for each in moved if not isinstance(each, ChangePriority))
    if not (moved or edited or notes) and found.seq < now.at.seq and found.lane is not now.lane:
        return (PutBack(f"an old copy of it, version {found.seq}, lay in {found.lane}/"),)
    return _in_order((*moved, *edited, *notes))


def judge_answer(
    lane: Lane, key: str, message: str, card: Card | FinishCard, *, intact: bool, touched: bool
) -> tuple[Request, ...]:
    """What the file of a card asks for. Whether the card still stands is for `core.answer` to say.

    `touched`: there is something of the person's in it, if only a comment, which nothing may write over.
    """
    if lane is not Lane.DECIDE:
        reason = "a card stays in decide/; write the answer into it there"
        return (Quarantine(reason) if touched else PutBack(reason),)
    if key and (key, message) == (card.answer, card.message):
        return ()  # It was taken in by an engine that was killed before it could take the file away.
    if key:
        return (Answer(card, key, message),)
    if message:
        return (Leave("there is a message, but no answer yet"),)
    reason = "only `answer:` and `message:` of a card are yours"
    return () if intact else (Quarantine(reason) if touched else PutBack(reason),)


def changed_keys(one: JobSpec, other: JobSpec) -> frozenset[str]:
    """The keys in which two specs differ."""
    return frozenset(each.name for each in fields(JobSpec) if getattr(one, each.name) != getattr(other, each.name))


def _in_order(requests: tuple[Request, ...]) -> tuple[Request, ...]:
    """A retry opens the job, so it comes before an edit; a cancellation closes it, so it comes after."""
    order = {Retry: 0, Edit: 1, ChangePriority: 2, Cancel: 3}
    return tuple(sorted(requests, key=lambda each: order.get(type(each), 4)))


# --- moves ---


def _judge_move(found: FoundJob, now: Job, shown: Job) -> tuple[Request, ...]:
    old, new = shown.lane, found.lane
    if old is new or new is now.lane:
        return ()
    act = MOVES.get((old, new))
    if act is None:
        return (PutBack(_refusal(old, new)),)
    if act is Act.CANCEL:
        return (PutBack(_ended(now)),) if now.state.ended else (Cancel(),)
    if act is Act.PRIORITY:
        return _judge_priority(found, now, shown)
    if now.is_held and found.spec.hold is not None:
        return (PutBack(f"it is {now.why}; take `hold` out of it, or run orc release"),)
    if now.state not in (State.WAITING, State.FAILED, State.CANCELLED):
        return (PutBack(f"it is {now.state} by now, so there is nothing to try again"),)
    if new not in READY_LANES or _fit(now.priority, new) is now.priority:
        return (Retry(),)
    return (Retry(), ChangePriority(_fit(now.priority, new)))


def _judge_priority(found: FoundJob, now: Job, shown: Job) -> tuple[Request, ...]:
    if now.state.ended:
        return (PutBack(_ended(now)),)
    wanted = _fit(shown.priority, found.lane)
    if now.priority is wanted:
        return ()
    if now.priority is not shown.priority:
        return (PutBack(f"its priority was changed to {now.priority.name} meanwhile"),)
    return (ChangePriority(wanted),)


def _refusal(old: Lane, new: Lane) -> str:
    if new is Lane.CANCELLED:
        return f"it is in {old}/: it has ended already"
    if new is Lane.INBOX and old in READY_LANES:
        return "it was accepted already; inbox/ is for new files"
    return _INTO.get(new) or _OUT_OF.get(old) or f"there is no move from {old}/ to {new}/"


def _ended(job: Job) -> str:
    return f"it is {job.state} already"


def _priority_of(spec: JobSpec) -> Priority:
    return Priority.P2 if spec.priority is None else spec.priority  # P0 is 0, so it counts as false


def _fit(priority: Priority, lane: Lane) -> Priority:
    """The priority itself if jobs of it stand in `lane`, else the one that the lane stands for."""
    return priority if lane not in LANE_PRIORITY or priority.lane is lane else LANE_PRIORITY[lane]


# --- edits ---


def _wanted_priority(wanted: JobSpec, now: Job, shown: JobSpec, lane: Lane | None) -> Priority:
    """The priority after all that was asked for at once; `lane` is the one that the file was moved into."""
    priority = now.priority
    if wanted.priority != shown.priority and wanted.priority != now.spec.priority:
        priority = _priority_of(wanted)
    return _fit(priority, lane) if lane else priority


def _judge_edit(
    found: FoundJob, now: Job, shown: Job, state: State, priority: Priority
) -> tuple[Edit | Quarantine, ...]:
    if found.text in (shown.text, now.text):
        return ()
    theirs = changed_keys(shown.spec, found.spec)
    keys = frozenset(key for key in theirs if getattr(now.spec, key) != getattr(found.spec, key))
    if state.ended:
        return (Quarantine(f"{_ended(now)}, so it cannot be changed; move it into normal/ first, or drop a new file"),)
    if late := keys - EDITABLE_ALWAYS:
        if state not in (State.READY, State.WAITING):
            return (Quarantine(f"{_names(late)} cannot change while it is {state}; cancel it and drop a new file"),)
        if now.at.attempt:
            return (Quarantine(f"{_names(late)} cannot change after an attempt; cancel it and drop a new file"),)
    if taken := keys & changed_keys(shown.spec, now.spec):
        return (Quarantine(f"{_names(taken)} was changed by somebody else meanwhile"),)
    changes: dict[str, Any] = {key: getattr(found.spec, key) for key in keys}
    spec = replace(now.spec, **changes)
    if now.text == shown.text:
        return (Edit(found.text, spec, keys, priority),)
    text = merge_text(shown.text, now.text, found.text)
    if text is not None:
        return (Edit(text, spec, keys, priority, merged=True),)
    if spec == found.spec:
        return (Edit(found.text, spec, keys, priority),)
    return (Quarantine("the lines that it changes were changed by somebody else meanwhile"),)


def _names(keys: frozenset[str]) -> str:
    return ", ".join(f"`{key}`" for key in sorted(keys))
