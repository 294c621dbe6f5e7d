"""The funnel: how far jobs come, from accepted to merged, and for which reasons they drop out.

Everything here is counted from the steps of the ledger, in the order in which they were committed.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.core.gate import PASSING
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.reproduction import NOT_SHOWN
from orchestrator.core.review_record import Verdict
from orchestrator.core.transitions import Event

SLOT_S = 600
"""What is counted together, in seconds. A day is a whole number of them."""
DAY_S = 86_400
ENOUGH = 5
"""So many jobs at a stage, stays in a state and outcomes, before anything is concluded from them."""
STAYS = 1_000
"""Of so many stays in each state, the newest, the lengths are kept."""
REJECT = "reject"
"""The first word of the commit about a file that was not accepted."""


class Stage(StrEnum):
    """How far a job has come."""

    ACCEPTED = "accepted"
    STARTED = "started"
    """An attempt was begun."""
    PRODUCED = "produced"
    """There is work that passed the gate and the checks."""
    REVIEWED = "reviewed"
    """It was approved."""
    MERGED = "merged"
    """The job is done: on the target, on a branch for a pull request, or a report that was taken."""


STAGES = tuple(Stage)
FACTS = (
    "Job",
    "From",
    "To",
    "Verdict",
    "Tests",
    "Reproduction",
    "Answer",
    "Refused-By",
    "Cut-Short",
    "Asks",
    "Answered-Before",
    "Author",
    "Routine",
    "Run",
    "Status",
)
"""The facts of a step that are looked at, by the names of their trailers."""
_BIT = {stage: 1 << place for place, stage in enumerate(STAGES)}
AHEAD: Mapping[str, Stage] = {
    State.READY: Stage.STARTED,
    State.WAITING: Stage.STARTED,
    State.RUNNING: Stage.PRODUCED,
    State.COLLECTED: Stage.PRODUCED,
    State.CHECKING: Stage.PRODUCED,
    State.REVIEWING: Stage.REVIEWED,
    State.MERGING: Stage.MERGED,
    State.LANDING: Stage.MERGED,
}
"""The stage that a job is to reach next, by the state in which it stands."""
BY_DESIGN = frozenset({CardKind.MERGE.value, CardKind.HUMAN_REVIEW.value})
"""Cards that somebody wanted to be asked: no reason for which anything is dropped."""
YOU_ASKED = "you_asked_for_changes"
_VERDICTS = {Verdict.REVISE.value: "changes_asked", Verdict.REJECT.value: "rejected"}
_OPEN = frozenset(state.value for state in State if not state.ended)
_AGENT_RUNS = (State.RUNNING, State.REVIEWING)


@dataclass(frozen=True, slots=True)
class Happened:
    """One step as its commit tells it. `at` in seconds since 1970; `was` and `to` are "" where it is about no job."""

    at: int
    event: str
    job: str = ""
    was: str = ""
    to: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    told: str = ""
    """Its subject."""


def is_of_routine(step: Happened) -> bool:
    """Whether a step is about maintenance that orc does itself."""
    run = RunId.parse(step.facts.get("Run", ""))
    return "Routine" in step.facts or (run is not None and run.kind is RunKind.ROUTINE)


# --- what one step says -------------------------------------------------------------------------------------------


def outcomes_of(step: Happened) -> Iterator[tuple[Stage, str]]:
    """The stages that a step is about, each with the code of the reason for which it was not reached; "" if it was."""
    event, facts = step.event, step.facts
    if event == REJECT:
        yield Stage.ACCEPTED, "not_accepted"
    elif event == Event.ACCEPT:
        yield Stage.ACCEPTED, ""
    elif event == Event.START:
        yield Stage.STARTED, ""
    elif event == Event.CHECKED and step.was == State.CHECKING and _has_passed(step):
        yield Stage.PRODUCED, ""
    # Of an approval that is suspicious or drawn somebody else is asked: nothing is reviewed by it yet.
    elif event == Event.STAND or (_is_approval(step) and step.to != State.REVIEWING):
        yield Stage.REVIEWED, ""
    elif event == Event.ANSWER and facts.get("Answer") in ("approve", "revise"):
        yield Stage.REVIEWED, "" if facts["Answer"] == "approve" else YOU_ASKED
    if step.to == State.DONE:
        yield Stage.MERGED, ""
    if code := _drop_code(step):
        # Work that is too large has passed the checks: it is the review that cannot be.
        yield Stage.REVIEWED if code == CardKind.TOO_LARGE else AHEAD[step.was], code


def _is_approval(step: Happened) -> bool:
    return step.event == Event.VERDICT and step.facts.get("Verdict") == Verdict.APPROVED


def _drop_code(step: Happened) -> str:
    """Why an engine's step did not bring a job further; "" if it did, or if nothing was dropped."""
    if step.was not in AHEAD:
        return ""
    facts, asks = step.facts, step.facts.get("Asks", "")
    is_back = step.to in (State.READY, State.DECIDE)
    match step.event:
        case Event.LOST:
            return "lost"
        case Event.NOT_STARTED:
            return "not_started"
        case Event.COLLECT if is_back:
            told = "asked_again" if facts.get("Answered-Before") else "cut_short"
            return asks if asks == CardKind.QUESTION else facts.get("Cut-Short") or told
        case Event.EVIDENCE if is_back:
            return facts.get("Refused-By", "").partition(" ")[0] or "refused"
        case Event.CHECKED if is_back:
            return _checked_code(step)
        case Event.VERDICT if facts.get("Verdict") != Verdict.APPROVED:
            return _VERDICTS.get(facts.get("Verdict", ""), "unclear")
        case Event.MERGE if is_back:
            return "conflict" if " conflict with " in step.told else "not_mergeable"
        case Event.REBUILD if step.was != State.READY:
            return "target_moved"
        case Event.LAND | Event.CARD if step.to == State.DECIDE and asks not in BY_DESIGN:
            return asks or "asks_you"
    return ""


def _checked_code(step: Happened) -> str:
    if step.was == State.MERGING:
        return "merged_tree_failed"
    if step.facts.get("Reproduction") == NOT_SHOWN:
        return "no_reproduction"
    if not _has_passed(step):
        return "checks_failed"
    return "" if step.facts.get("Asks") in BY_DESIGN else CardKind.TOO_LARGE.value


def _has_passed(step: Happened) -> bool:
    """Whether work has passed all of its checks."""
    is_left = step.to == State.CHECKING or step.facts.get("Reproduction") == NOT_SHOWN
    return step.facts.get("Tests") in PASSING and not is_left


def _ends_run(step: Happened) -> bool:
    """Whether a run of an agent's program has ended with this step, well or not."""
    if step.event in (Event.COLLECT, Event.VERDICT):
        return True
    return step.event in (Event.LOST, Event.NOT_STARTED) and step.was in _AGENT_RUNS


# --- counting -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Slot:
    """What happened within `SLOT_S` seconds."""

    reached: dict[str, int] = field(default_factory=dict)
    """The stages that jobs reached, as bits."""
    drops: Counter[tuple[Stage, str]] = field(default_factory=Counter)
    runs: int = 0
    gone: dict[str, str] = field(default_factory=dict)
    """Jobs that ended otherwise than done, and how."""


@dataclass(frozen=True, slots=True)
class Funnel:
    """What happened in a time, from `since` to `until` in seconds since 1970: jobs by stage, and reasons by stage."""

    since: int
    until: int
    reached: Mapping[Stage, int]
    drops: Mapping[Stage, Mapping[str, int]]
    """How often each reason kept a job from a stage, the most frequent first; stages without any are left out."""
    runs: int = 0
    """Runs of agents' programs that ended, well or not."""
    failed: int = 0
    cancelled: int = 0

    @property
    def dropped(self) -> Mapping[str, int]:
        """The reasons of all stages, the most frequent first."""
        found: Counter[str] = Counter()
        for reasons in self.drops.values():
            found.update(reasons)
        return dict(found.most_common())


@dataclass(slots=True)
class Tally:
    """What is counted, as steps come in. Its size follows what happened in the time it keeps, and the open jobs."""

    _slots: dict[int, _Slot] = field(default_factory=dict)
    _entered: dict[str, tuple[str, int]] = field(default_factory=dict)
    """In which state each open job is, and since when, as far as that is known."""
    _stays: dict[str, deque[tuple[int, int]]] = field(default_factory=dict)
    """By state: when stays ended, and how long they were."""
    _newest: dict[tuple[Stage, str], Happened] = field(default_factory=dict)
    _workers: dict[str, str] = field(default_factory=dict)
    """Who made the newest attempt of each open job, as far as that is known."""
    _false: deque[tuple[int, str, str]] = field(default_factory=deque)
    """Reports that claimed what was not so: when, whose, of which job."""

    def add(self, step: Happened) -> None:
        """Count a step. They are to come in the order of the ledger. Those of routines are no work that comes out."""
        if is_of_routine(step):
            return
        slot = self._slots.setdefault(step.at // SLOT_S, _Slot())
        for stage, code in outcomes_of(step):
            if code:
                slot.drops[stage, code] += 1
                self._newest[stage, code] = step
            else:
                slot.reached[step.job] = slot.reached.get(step.job, 0) | _BIT[stage]
        slot.runs += _ends_run(step)
        if step.to in (State.FAILED, State.CANCELLED):
            slot.gone[step.job] = step.to
        if step.job and step.to:
            self._follow(step)
            self._note_author(step)

    def _note_author(self, step: Happened) -> None:
        if step.event == Event.START:
            self._workers[step.job] = step.facts.get("Author", "")
        elif step.event == Event.EVIDENCE and "phantom" in step.facts.get("Refused-By", "").split():
            self._false.append((step.at, self._workers.get(step.job, ""), step.job))
        if step.to not in _OPEN:
            self._workers.pop(step.job, None)

    def _follow(self, step: Happened) -> None:
        if step.was == step.to:
            return
        entered = self._entered.pop(step.job, None)
        if entered is not None and entered[0] == step.was:
            stays = self._stays.setdefault(step.was, deque(maxlen=STAYS))
            stays.append((step.at, max(0, step.at - entered[1])))
        if step.to in _OPEN:
            self._entered[step.job] = (step.to, step.at)

    def forget(self, *, counts: int, stays: int) -> None:
        """Drop what was counted, and the stays that ended, before these times in seconds since 1970.

        False reports are kept as long as stays.
        """
        while self._false and self._false[0][0] < stays:
            self._false.popleft()
        for number in [number for number in self._slots if (number + 1) * SLOT_S <= counts]:
            del self._slots[number]
        for key in [key for key, step in self._newest.items() if step.at < counts]:
            del self._newest[key]
        for ended in self._stays.values():
            while ended and ended[0][0] < stays:
                ended.popleft()

    def count(self, since: int, until: int) -> Funnel:
        """What happened in a time. It begins with the slot in which `since` lies."""
        slots = list(self._between(since, until))
        jobs: dict[str, int] = {}
        drops: Counter[tuple[Stage, str]] = Counter()
        gone: Counter[str] = Counter()
        for slot in slots:
            for job, bits in slot.reached.items():
                jobs[job] = jobs.get(job, 0) | bits
            drops.update(slot.drops)
            gone.update(slot.gone.values())
        reached = {stage: sum(bool(bits & _BIT[stage]) for bits in jobs.values()) for stage in STAGES}
        by_stage: dict[Stage, dict[str, int]] = {}
        for stage in STAGES:
            found = sorted(((-number, code) for (at, code), number in drops.items() if at is stage))
            if found:
                by_stage[stage] = {code: -number for number, code in found}
        runs = sum(slot.runs for slot in slots)
        return Funnel(since, until, reached, by_stage, runs, gone[State.FAILED], gone[State.CANCELLED])

    def came_to(self, stage: Stage, since: int, until: int) -> frozenset[str]:
        """The jobs that reached a stage in a time."""
        bit = _BIT[stage]
        slots = self._between(since, until)
        return frozenset(job for slot in slots for job, bits in slot.reached.items() if bits & bit)

    def cancelled(self, since: int, until: int) -> frozenset[str]:
        """The jobs that were given up in a time."""
        slots = self._between(since, until)
        return frozenset(job for slot in slots for job, state in slot.gone.items() if state == State.CANCELLED)

    def runs_between(self, since: int, until: int) -> int:
        """The runs that ended in a time."""
        return sum(slot.runs for slot in self._between(since, until))

    def newest(self, stage: Stage, code: str) -> Happened | None:
        """The newest step with which something was dropped for this reason."""
        return self._newest.get((stage, code))

    def false_reports(self, since: int) -> Mapping[str, list[str]]:
        """By agent: the jobs of which it has reported since then what was not so, each time that it did."""
        found: dict[str, list[str]] = {}
        for at, agent, job in self._false:
            if at >= since and agent:
                found.setdefault(agent, []).append(job)
        return found

    def p90(self, state: str) -> int | None:
        """Within how many seconds nine of ten jobs left a state; None if too few did."""
        lengths = sorted(length for _, length in self._stays.get(state, ()))
        return lengths[math.ceil(0.9 * len(lengths)) - 1] if len(lengths) >= ENOUGH else None

    def _between(self, since: int, until: int) -> Iterator[_Slot]:
        first, last = since // SLOT_S, until // SLOT_S
        return (slot for number, slot in self._slots.items() if first <= number <= last)
