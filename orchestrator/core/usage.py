"""Accounting: what is set aside for a run before it begins, what it comes to when it ends, and what is learned of it.

A run's reservation stands in its job, from the step that starts the run to the step that ends it, whichever that is. So
none can be left over, and none is needed twice. With the step that ends it the run is counted: in the job, in the day,
among the last minutes, and in what is expected of the next run like it. `orc verify` does the same sums again.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.core.attempt_record import Attempt, PromptPart, RunStatus
from orchestrator.core.config import Price
from orchestrator.core.job import Job, State
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import Trouble
from orchestrator.core.service import AT_ONCE_S
from orchestrator.core.tally import NOTHING, Estimate, Reservation, Tally
from orchestrator.core.transitions import Event, Move

EXPECTED = 4_000
"""Tokens that a run uses beside what it is told, before anything is known of runs like it."""
REMEMBERED, QUARTILE = 20, 0.75
ALPHA, LEAST_RATIO, MOST_RATIO = 0.2, 0.5, 3.0
"""How fast the ratio follows, and between what it stays."""
WINDOW_S, BUCKET_S = 300, 10
"""The last minutes, in seconds, and how finely they are kept."""
MOST = 10**15
"""Nothing is counted as more than this, whatever a program says of itself."""
_NEVER_BEGAN = (RunStatus.NOT_STARTED, RunStatus.PREPARE_FAILED, RunStatus.SETUP_FAILED)
REVIEW = "review"
DAY_PATH = re.compile(r"usage/(\d{4})/(\d\d)/(\d\d)\.yaml\Z")
WINDOW_PATH = "usage/window.yaml"
LEARNED_FOLDER = "usage/learned"
PRESSURE_PATH = "usage/pressure.yaml"


@dataclass(frozen=True, slots=True)
class Day:
    """`usage/<yyyy>/<mm>/<dd>.yaml`: what the runs used that ended on a day, in the time zone of `execution_limits`."""

    total: Tally = NOTHING
    projects: dict[str, Tally] = field(default_factory=dict)
    agents: dict[str, Tally] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The tokens of runs that ended in the ten seconds from `at` on, in seconds since 1970."""

    at: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Window:
    """`usage/window.yaml`: what the runs used that ended in the last five minutes, the newest last."""

    buckets: tuple[Bucket, ...] = ()

    def used(self, now: int) -> int:
        """The tokens of the last five minutes. What is partly within them counts whole."""
        return sum(each.tokens for each in self.buckets if _is_lately(each.at, now))


def _is_lately(at: int, now: int) -> bool:
    """Whether what began to be counted `at` counts still. A clock that was set back leaves some of it in the time to
    come: of what lies further there than it was ever long ago nothing is believed, or it would count for years."""
    return now - WINDOW_S < at + BUCKET_S and at <= now + WINDOW_S


@dataclass(frozen=True, slots=True)
class Learned:
    """`usage/learned/<what>.<model>.yaml`: what the newest runs of one sort used, of which that is known."""

    what: str
    """The kind of work; `review` for reviews."""
    model: str
    runs: int = 0
    beyond: tuple[int, ...] = ()
    """Tokens beside what each was told, the newest last."""
    costs: tuple[int, ...] = ()
    """Millionths of a US dollar, of those of which that is known."""
    ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class Charge:
    """What the end of one run comes to."""

    project: str
    agent: str
    tally: Tally
    learned: Learned | None = None
    """What and which model something is learned of, without numbers; None where the run told nothing."""
    estimate: Estimate | None = None


# --- before -------------------------------------------------------------------------------------------------------


def what_of(job: Job, *, review: bool = False) -> str:
    """Which sort of run it is: runs of one sort and model are expected to use the same."""
    return REVIEW if review else job.spec.kind


def prompt_tokens(parts: Iterable[PromptPart]) -> int:
    """About how many tokens a prompt is. A diff is code, of which three letters make one."""
    return sum(math.ceil(each.tokens * 4 / 3) if each.name == "diff" else each.tokens for each in parts)


def estimate(learned: Learned | None, prompt: int, context: int = 0, *, price: Price | None = None) -> Estimate:
    """What a run will use that is told `prompt` tokens and goes on with a conversation of `context`."""
    known = learned or Learned("", "")
    beyond = _quartile(known.beyond) if known.beyond else EXPECTED
    cost = _quartile(known.costs) if known.costs else 0
    if not known.costs and price is not None:
        cost = round((prompt + context) * price.input + beyond * price.output)
    tokens = math.ceil((prompt + context + beyond) * known.ratio)
    return Estimate(tokens, cost, prompt, context, beyond, known.ratio, known.runs)


def _quartile(values: tuple[int, ...]) -> int:
    return sorted(values)[math.ceil(QUARTILE * len(values)) - 1]


def reserve(record: Attempt | ReviewRecord) -> Reservation | None:
    """What is set aside for the run of a record; None for one of an older version."""
    worker, expected = record.worker if isinstance(record, Attempt) else record.reviewer, record.estimate
    return None if expected is None else Reservation(worker.agent, expected.tokens, expected.microusd)


# --- after --------------------------------------------------------------------------------------------------------


def charge_of(before: Job, after: Job, event: Event, record: Attempt | ReviewRecord | None) -> Charge | None:
    """What a step comes to that ends a job's run; None if it ends none. `record`: what the step completes."""
    held = before.at.reserved
    if held is None or (after.at.run == before.at.run and not after.state.ended):
        return None
    project, came_back = before.at.project, event is Event.NOT_STARTED
    spoke = record.spoke if record is not None else None
    usage = spoke.usage if spoke is not None else None
    never_began = came_back and (record is None or record.status in _NEVER_BEGAN)
    turned_away = came_back and spoke is not None and spoke.trouble.is_of_service
    at_once = record is not None and record.seconds < AT_ONCE_S
    if usage is None and (never_began or (turned_away and at_once)):
        return Charge(project, held.agent, Tally(1))
    if record is None or record.spoke is None or usage is None:
        unpriced = int(not held.microusd)
        return Charge(project, held.agent, Tally(1, held.tokens, held.microusd, estimated=1, unpriced=unpriced))
    cost = record.spoke.cost_microusd
    tally = Tally(1, _sane(usage.total), _sane(cost or 0), unpriced=int(cost is None))
    if record.spoke.trouble is Trouble.CUT:
        # What it told until then is a part of what it used: nobody knows how large a one.
        tokens, microusd = max(tally.tokens, held.tokens), max(tally.microusd, held.microusd)
        return Charge(project, held.agent, Tally(1, tokens, microusd, estimated=1, unpriced=int(not microusd)))
    is_review = isinstance(record, ReviewRecord)
    worker = record.reviewer if isinstance(record, ReviewRecord) else record.worker
    # What was turned away says nothing of what such work takes.
    learned = None if turned_away else Learned(what_of(before, review=is_review), worker.model)
    return Charge(project, held.agent, tally, learned, record.estimate)


def ended_record(before: Job, move: Move) -> Attempt | ReviewRecord | None:
    """What a step completes of the run that it ends; None if it says nothing of it."""
    number = f"attempt-{before.at.attempt}" if before.state is State.RUNNING else f"review-{before.at.review}"
    found = move.records.get(number)
    return found if isinstance(found, Attempt | ReviewRecord) else None


def _sane(number: int) -> int:
    return min(MOST, max(0, number))


def charged(after: Job, charge: Charge | None) -> Job:
    """The job after a step, with its run counted: nothing is set aside for it any more."""
    if charge is None:
        return after
    return replace(after, at=replace(after.at, reserved=None, used=after.at.used.plus(charge.tally)))


def add_to_day(day: Day, charge: Charge) -> Day:
    """The day with one more run."""
    projects, agents = dict(day.projects), dict(day.agents)
    projects[charge.project] = projects.get(charge.project, NOTHING).plus(charge.tally)
    agents[charge.agent] = agents.get(charge.agent, NOTHING).plus(charge.tally)
    return Day(day.total.plus(charge.tally), projects, agents)


def add_to_window(window: Window, charge: Charge, now: int) -> Window:
    """The last minutes with one more run, which ended `now`, in seconds since 1970; what is older is left out."""
    at = now - now % BUCKET_S
    kept = {each.at: each.tokens for each in window.buckets if _is_lately(each.at, now)}
    kept[at] = kept.get(at, 0) + charge.tally.tokens
    return Window(tuple(Bucket(*each) for each in sorted(kept.items())))


def add_to_learned(known: Learned | None, charge: Charge) -> Learned | None:
    """What is known with one more run; None if it teaches nothing."""
    if charge.learned is None or charge.estimate is None:
        return None
    known, expected, used = known or charge.learned, charge.estimate, charge.tally
    told = expected.prompt + expected.context
    share = used.tokens / max(1, told + expected.beyond)
    ratio = min(MOST_RATIO, max(LEAST_RATIO, (1 - ALPHA) * known.ratio + ALPHA * share))
    costs = known.costs if used.unpriced else (*known.costs, used.microusd)
    return replace(
        known,
        runs=known.runs + 1,
        beyond=(*known.beyond, max(0, used.tokens - told))[-REMEMBERED:],
        costs=costs[-REMEMBERED:],
        ratio=round(ratio, 4),
    )


def counted(charge: Charge, now: int, day: str, read: Callable[[type[Any], str], Any]) -> Mapping[str, Any]:
    """What the ledger keeps of usage with one more run, by path: its day, the last minutes, and what is learned.

    `now` is when it ended, in seconds since 1970, and `day` the day to which it counts. `read` gives the value of a
    type at a path; None if there is none.
    """
    window = add_to_window(read(Window, WINDOW_PATH) or Window(), charge, now)
    values: dict[str, Any] = {
        day_path(day): add_to_day(read(Day, day_path(day)) or Day(), charge),
        WINDOW_PATH: window,
    }
    if charge.learned is not None:
        path = learned_path(charge.learned.what, charge.learned.model)
        if (learned := add_to_learned(read(Learned, path), charge)) is not None:
            values[path] = learned
    return values


# --- where it lies ------------------------------------------------------------------------------------------------


def day_path(day: str) -> str:
    """Where the ledger keeps what was used on a day, such as 2026-11-22."""
    return f"usage/{day.replace('-', '/')}.yaml"


def learned_path(what: str, model: str) -> str:
    """Where the ledger keeps what was learned of a sort of run and a model, whatever that is called."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", model.lower())[:40].strip("-.")
    return f"{LEARNED_FOLDER}/{what}.{plain or 'none'}-{hashlib.sha256(model.encode()).hexdigest()[:8]}.yaml"
