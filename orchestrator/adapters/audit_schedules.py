"""Schedules: of each slot that became a job the ledger says so once, and no slot is dealt with a second time.

Whether a slot is a time of the schedule is not asked: its file is not on the ledger, and zones of time are changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from orchestrator.adapters.audit_chain import Commit, Store
from orchestrator.adapters.audit_rules import SKEW_S, Finding, Rule, Step, differ
from orchestrator.adapters.objects import Entry
from orchestrator.core.goal import GoalEvent
from orchestrator.core.recurring import SlotsTaken, is_ahead, slot_job_id
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import Event

_NAME = r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)"
_PATH = re.compile(rf"schedules/{_NAME}\.yaml\Z")
_SOURCE = re.compile(rf"schedule {_NAME} (?P<slot>\S+)\Z")
_WORD = "schedule"
_BETWEEN = frozenset({_WORD, Event.ACCEPT.value, *(event.value for event in GoalEvent)})
"""What may be said between a job of a schedule and the record of its slot."""
_NOTHING = SlotsTaken("", "")


@dataclass(slots=True)
class Slots:
    """What was seen of schedules on the walk along the ledger."""

    made: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """By schedule the slots that became jobs, and those jobs, of which no record has been seen yet."""
    sure: bool = True
    """Whether all of those jobs were seen; not, where the walk may have begun right behind one."""

    def accepted(self, step: Step) -> Iterator[Finding]:
        """A job that the engine makes of a slot is the only one that can be made of it."""
        found = _SOURCE.match(step.at.source) if step.event is Event.ACCEPT and step.at.origin == "engine" else None
        if found is None:
            return
        slot = parse(found["slot"])
        yield from differ(Rule.SCHEDULE, f"the job of {step.at.source}", step.id, slot_job_id(found["name"], slot))
        self.made.setdefault(found["name"], []).append((iso(slot), step.id))

    def judge(
        self, store: Store, commit: Commit, changes: Mapping[str, tuple[Entry | None, Entry | None]]
    ) -> Iterator[Finding]:
        """What a commit says of schedules follows from those before it."""
        if commit.word not in _BETWEEN:
            yield from self.end()
            self.sure = True
        paths = [path for path in changes if path.startswith("schedules/")]
        if paths and (commit.word != _WORD or len(changes) > 1):
            yield Rule.SCHEDULE, f"changes {paths[0]}, but is not about one schedule alone"
            return
        for path in paths:
            before, after = changes[path]
            found = _PATH.match(path)
            if found is None or after is None:
                yield Rule.SCHEDULE, f"changes {path}, which is no record of a schedule"
                continue
            was = store.record(SlotsTaken, before, path) if before is not None else _NOTHING
            now = store.record(SlotsTaken, after, path)
            made = self.made.pop(found["name"], [])
            yield from _judge_record(commit, found["name"], was, now, made if self.sure else None)

    def end(self) -> Iterator[Finding]:
        """The record of a slot is written with its job."""
        for name, made in self.made.items():
            yield Rule.SCHEDULE, f"says nothing of it that {made[-1][1]} is the job of a slot of {name}"
        self.made.clear()


def _judge_record(
    commit: Commit, name: str, was: SlotsTaken, now: SlotsTaken, made: list[tuple[str, str]] | None
) -> Iterator[Finding]:
    """`made`: the slots that became jobs since, and those jobs; None if that is not known."""
    at = datetime.fromtimestamp(commit.committer.seconds, UTC)
    if now.slot < was.slot and not is_ahead(was, at + timedelta(seconds=SKEW_S)):
        yield Rule.SCHEDULE, f"goes back to {now.slot} for {name}, whose slots were dealt with up to {was.slot}"
    if now.slot != was.slot and parse(now.slot) > at + timedelta(seconds=SKEW_S):
        yield Rule.TIME, f"deals with slots of {name} up to {now.slot}, which is still to come"
    if now.missed < was.missed or now.skipped < was.skipped or now.quiet < was.quiet:
        yield Rule.SCHEDULE, f"counts fewer slots of {name} as missed, skipped or quiet than before"
    if now.timing != was.timing:
        same = (was.made, was.missed, was.skipped, was.last, was.job)
        counted = (now.made, now.missed, now.skipped, now.last, now.job)
        yield from differ(Rule.SCHEDULE, f"what became of the slots of {name}", counted, same)
    elif now.slot <= was.slot:
        yield Rule.SCHEDULE, f"deals with slots of {name} that were dealt with before"
    if made is not None:
        yield from differ(Rule.SCHEDULE, f"the number of jobs of {name}", now.made, was.made + len(made))
        yield from differ(Rule.SCHEDULE, f"the newest job of {name}", now.job, made[-1][1] if made else was.job)
    yield from _judge_slots(name, was, now, [slot for slot, _ in made or ()])
    for key, value in (("Schedule", name), ("Slot", now.slot), ("Job", made[-1][1] if made else "")):
        if made is not None:
            yield from differ(Rule.MESSAGE, f"the trailer {key}", (commit.trailer(key) or "").strip(), value)


def _judge_slots(name: str, was: SlotsTaken, now: SlotsTaken, slots: Iterable[str]) -> Iterator[Finding]:
    for slot in slots:
        if not was.slot < slot <= now.slot:
            yield Rule.SCHEDULE, f"makes a job of {name} for {slot}, which is none of the slots that it deals with"
