"""Alerts: when what comes out of a house, or stands in it, is something that a person must see.

A house that is up and brings nothing forth is told by what comes out of it, never by what is running.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from orchestrator.core.funnel import DAY_S, ENOUGH, SLOT_S, STAGES, YOU_ASKED, Funnel, Stage, Tally
from orchestrator.core.job import Job, State
from orchestrator.core.service import Service, what_to_do
from orchestrator.core.times import parse
from orchestrator.core.trials import Broken, tell_broken

SHORTEST_S = 3_600
"""Nothing is called late that is younger, so that a quick house does not cry."""
ENOUGH_RUNS = 10
"""So many runs before anything is concluded from them."""
SHARE = 0.8
TIMES = 3
FALSE_REPORTS, FALSE_WITHIN_DAYS = 2, 7
"""So often within so many days an agent may not report what is not so."""
BY_PERSON = frozenset({YOU_ASKED, "stopped"})
"""Reasons that a person gave; nobody is alerted of them."""


# --- what stands now ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InState:
    """The open jobs in one state that nobody keeps there, and the oldest of them: since when it is there."""

    jobs: int
    oldest: str
    since: str


@dataclass(frozen=True, slots=True)
class Stands:
    """Where the open jobs stand. `parked` are those that a person keeps where they are, or that wait for a date or for
    another open job."""

    states: Mapping[str, InState]
    parked: frozenset[str] = frozenset()


def look_at_open(jobs: Mapping[str, Job]) -> Stands:
    """Where the open jobs stand, by their ids."""
    parked: set[str] = set()
    counts: Counter[str] = Counter()
    oldest: dict[str, tuple[str, str]] = {}
    for id_, job in jobs.items():
        if _is_parked(job, jobs):
            parked.add(id_)
            continue
        state, own = job.state.value, (job.at.since, id_)
        counts[state] += 1
        oldest[state] = min(oldest.get(state, own), own)
    found = {state.value: InState(counts[state], *reversed(oldest[state])) for state in State if state in oldest}
    return Stands(found, frozenset(parked))


def _is_parked(job: Job, jobs: Mapping[str, Job]) -> bool:
    if job.is_held:
        return True
    reason = job.at.reason
    is_later = reason.startswith("starts at ") or reason.removeprefix("needs ") in jobs
    return job.state is State.WAITING and is_later


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest job in a state, and from which age on that is an alert. Times in seconds."""

    state: str
    jobs: int
    job: str
    age_s: int
    late_s: int
    p90_s: int | None
    """Within what time nine of ten jobs left the state lately; None if too few did."""

    @property
    def is_late(self) -> bool:
        """Whether it is an alert."""
        return self.age_s > self.late_s


# --- alerts -------------------------------------------------------------------------------------------------------


class AlertKind(StrEnum):
    """What is wrong."""

    NOTHING_DONE = "nothing_done"
    STAGE_EMPTY = "stage_empty"
    ONE_REASON = "one_reason"
    TOO_OLD = "too_old"
    GATE_BROKEN = "gate_broken"
    FALSE_REPORTS = "false_reports"
    SERVICE_SHUT = "service_shut"
    NO_MAINTENANCE = "no_maintenance"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person must see. Two alerts with the same `key` are the same, told with other numbers."""

    kind: AlertKind
    about: str
    """Which stage, stage and reason, state, or agent."""
    text: str
    command: str
    """What shows more."""

    @property
    def key(self) -> str:
        """Names the alert."""
        return f"{self.kind} {self.about}".strip()


def alerts_of_gates(broken: Iterable[Broken]) -> tuple[Alert, ...]:
    """An alert for each gate that fails its own test: nothing is begun, judged or merged then."""
    told = tell_broken(broken)
    return tuple(
        Alert(AlertKind.GATE_BROKEN, name, f"{text}; nothing is merged", "orc doctor") for name, text in told.items()
    )


def alerts_of_services(services: Iterable[Service]) -> tuple[Alert, ...]:
    """An alert for each service that is shut. It stands until a run on it does well, or a person has it tried."""
    return tuple(
        Alert(
            AlertKind.SERVICE_SHUT,
            each.backend,
            f"backend {each.backend} is shut: {what_to_do(each)}",
            f"orc reopen {each.backend}",
        )
        for each in services
        if each.shut is not None
    )


def alert_of_idle(schedules: int) -> Alert:
    """That nothing has come of so many schedules of maintenance in a day."""
    text = f"no maintenance was done in the last 24 hours, though {schedules} schedule{'s' * (schedules > 1)} of it"
    text += f" {'are' if schedules > 1 else 'is'} switched on"
    return Alert(AlertKind.NO_MAINTENANCE, "", text, "orc schedule list")


def find_oldest(tally: Tally, stands: Stands, now: int) -> tuple[Oldest, ...]:
    """The oldest job of each state, at a time in seconds since 1970."""
    found = []
    for state, standing in stands.states.items():
        p90 = tally.p90(state)
        late = DAY_S if p90 is None else max(SHORTEST_S, TIMES * p90)
        age = max(0, now - int(parse(standing.since).timestamp()))
        found.append(Oldest(state, standing.jobs, standing.oldest, age, late, p90))
    return tuple(found)


def find_alerts(
    tally: Tally, now: int, oldest: Iterable[Oldest] = (), parked: frozenset[str] = frozenset(), patience_s: int = 0
) -> tuple[Alert, ...]:
    """What is wrong with the last 24 hours before `now`, the worst first; for false reports, with the last days.

    `patience_s`: how long a job may be on its way to the next stage before one concludes that it does not come there,
    in seconds; at least an hour.
    """
    day = tally.count(now - DAY_S, now)
    due = now - max(SHORTEST_S, patience_s)
    return (
        *_nothing_done(tally, day, due),
        *_one_reason(tally, day),
        *_stage_empty(tally, day, due, parked),
        *(_too_old(each) for each in oldest if each.is_late),
        *_false_reports(tally, now),
    )


def _nothing_done(tally: Tally, day: Funnel, due: int) -> Iterator[Alert]:
    if day.runs < ENOUGH_RUNS or day.reached[Stage.MERGED] or not tally.runs_between(day.since, due - SLOT_S):
        return
    text = f"{day.runs} runs ended in the last 24 hours, and no job was done"
    reason = next(iter(day.dropped.items()), None)
    text += f"; most often: {reason[0]} ({reason[1]} times)" if reason else ""
    yield Alert(AlertKind.NOTHING_DONE, "", text, "orc health")


def _one_reason(tally: Tally, day: Funnel) -> Iterator[Alert]:
    for stage, reasons in day.drops.items():
        outcomes = day.reached[stage] + sum(reasons.values())
        for code, number in reasons.items():
            if outcomes < ENOUGH or number < SHARE * outcomes or code in BY_PERSON:
                continue
            newest = tally.newest(stage, code)
            job = newest.job if newest else ""
            tries = f"{number} of {outcomes} tries"
            text = f"{tries} to get to '{stage}' came to nothing in 24 hours, for one reason: {code}"
            text += f" (such as {job})" if job else ""
            yield Alert(AlertKind.ONE_REASON, f"{stage} {code}", text, f"orc show {job}" if job else "orc status")


def _stage_empty(tally: Tally, day: Funnel, due: int, parked: frozenset[str]) -> Iterator[Alert]:
    for before, stage in pairwise(STAGES):
        if day.reached[stage] or day.reached[before] < ENOUGH:
            continue
        came = tally.came_to(before, day.since, due - SLOT_S) - parked - tally.cancelled(day.since, day.until)
        if len(came) >= ENOUGH:
            text = f"{len(came)} jobs came as far as '{before}' in the last 24 hours, and none to '{stage}'"
            yield Alert(AlertKind.STAGE_EMPTY, stage, text, "orc status")


def _false_reports(tally: Tally, now: int) -> Iterator[Alert]:
    for agent, jobs in tally.false_reports(now - FALSE_WITHIN_DAYS * DAY_S).items():
        if len(jobs) >= FALSE_REPORTS:
            what = f"reported {len(jobs)} times in {FALSE_WITHIN_DAYS} days commits or files that were not there"
            text = f"{agent} {what} (such as {jobs[-1]})"
            yield Alert(AlertKind.FALSE_REPORTS, agent, text, f"orc show {jobs[-1]}")


def _too_old(oldest: Oldest) -> Alert:
    usual = "few leave it" if oldest.p90_s is None else f"nine of ten leave it within {in_words(oldest.p90_s)}"
    text = f"{oldest.job} has been in the state '{oldest.state}' for {in_words(oldest.age_s)}; {usual}"
    return Alert(AlertKind.TOO_OLD, oldest.state, text, f"orc show {oldest.job}")


def in_words(seconds: int) -> str:
    """A time span as a person says it: `40 s`, `12 min`, `5 h`, `3 days`."""
    for size, word in ((DAY_S, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} s"
