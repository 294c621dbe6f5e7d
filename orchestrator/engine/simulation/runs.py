"""How the runs of a made-up house go: drawn when a run begins, from what its agent is like and what goes wrong then.

Each run has its own chance, by the seed and its id. So the same run of the same job goes the same way under other
limits, and two policies can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import log
from random import Random

from orchestrator.core.attempt_record import RunStatus, Spoke
from orchestrator.core.config import Price
from orchestrator.core.review_record import Verdict
from orchestrator.core.said import Trouble, Usage, cost_of
from orchestrator.core.scenario import FakeAgent, FakeService, Incident, Scenario, Spread, Trial

_BEYOND_P95 = 1.645
"""So many standard deviations above the middle of a normal distribution lie one in twenty."""
_LEAST_S = 5.0
_OUTPUT = 0.1
"""The share of its tokens that a run writes."""


@dataclass(frozen=True, slots=True)
class Play:
    """How a run goes."""

    seconds: float
    status: RunStatus | None = RunStatus.ENDED
    """None: it leaves no result."""
    exit: int | None = 0
    trouble: Trouble = Trouble.NONE
    error: str = ""
    wait_s: float = 0.0
    usage: Usage | None = None
    """What it told of what it used; None if nothing."""
    changes: bool = True
    verdict: Verdict = Verdict.APPROVED
    """Of a review."""
    passes: bool = True
    """Of a run of the checks."""

    @property
    def is_turned_away(self) -> bool:
        """Whether its service is at fault."""
        return self.trouble.is_of_service

    def spoke(self, price: Price | None) -> Spoke | None:
        """What its program told, as its record keeps it; None if that is no program which tells anything."""
        if self.usage is None and self.trouble is Trouble.NONE:
            return None
        cost, priced = cost_of(self.usage, price)
        return Spoke(
            usage=self.usage,
            trouble=self.trouble,
            retry_after_s=self.wait_s,
            cost_microusd=cost,
            priced=priced,
            price=price,
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that begins."""

    run: str
    backend: str
    agent: FakeAgent
    began: datetime
    told: int
    """Tokens of its prompt."""
    size: float
    live: int
    """Runs on its service, with itself."""
    longest_s: float
    is_review: bool = False


def draw(spread: Spread, chance: Random) -> float:
    """A number of a distribution."""
    wide = log(spread.p95 / spread.median) / _BEYOND_P95 if spread.p95 > spread.median else 0.0
    return chance.lognormvariate(log(spread.median), wide)


def play_agent(scenario: Scenario, seed: int, wanted: Wanted) -> Play:
    """How a run of an agent goes."""
    chance = Random(f"{seed} {wanted.run}")
    agent, began = wanted.agent, wanted.began
    if (trial := trial_at(scenario, wanted.backend, began)) is not None:
        return _tried(trial, wanted, chance)
    service = scenario.services.get(wanted.backend, FakeService())
    # Drawn in any case, so that what is drawn after it is the same whatever else is going on.
    is_limited = chance.random() < service.limited
    if is_limited or (service.at_once and wanted.live > service.at_once):
        return _away(chance, Trouble.RATE_LIMITED, "429 too many requests", service.retry_after_s)
    if chance.random() < agent.breaks:
        error = "cannot read its settings"
        return Play(chance.uniform(1, 6), exit=1, trouble=Trouble.ERROR, error=error, changes=False)
    found = _whole(wanted, chance)
    after = [start for start, _, each in _trials(scenario, wanted.backend) if each.what is not Trial.IDLE]
    cut = min((start for start in after if began < start < began + timedelta(seconds=found.seconds)), default=None)
    if cut is None:
        return found
    trial = trial_at(scenario, wanted.backend, cut)
    assert trial is not None
    done = (cut - began).total_seconds()
    cut_off = _tried(trial, wanted, chance)
    return replace(cut_off, seconds=done + cut_off.seconds, usage=_part(found.usage, done / found.seconds))


def _whole(wanted: Wanted, chance: Random) -> Play:
    """A run that its service lets be."""
    agent = wanted.agent
    seconds = max(_LEAST_S, draw(agent.minutes, chance) * 60 * wanted.size)
    tokens = wanted.told + round(draw(agent.tokens, chance) * wanted.size)
    output = round(tokens * _OUTPUT)
    usage = Usage(input=tokens - output, output=output)
    fate, how_far, verdict = chance.random(), chance.uniform(0.05, 0.95), chance.random()
    silent = chance.random() < agent.silent
    if fate < agent.dies:
        return Play(seconds * how_far, status=None, exit=None)
    if seconds > wanted.longest_s:
        return Play(wanted.longest_s, status=RunStatus.TIMEOUT, exit=None, error="took too long")
    told = None if silent else usage
    if fate < agent.dies + agent.fails:
        return Play(seconds, exit=1, trouble=Trouble.NONE if silent else Trouble.ERROR, error="it gave up", usage=told)
    judged = Verdict.APPROVED if verdict < agent.approves else Verdict.REVISE
    return Play(seconds, usage=told, verdict=Verdict.INCONCLUSIVE if verdict > 1 - agent.unclear else judged)


def _part(usage: Usage | None, share: float) -> Usage | None:
    return None if usage is None else Usage(input=round(usage.input * share), output=round(usage.output * share))


def _tried(trial: Trial, wanted: Wanted, chance: Random) -> Play:
    match trial:
        case Trial.DEAD_KEY:
            return _away(chance, Trouble.AUTH, "401 the key is not valid", 0)
        case Trial.OUTAGE:
            return _away(chance, Trouble.OVERLOADED, "529 overloaded", 0)
        case _:
            usage = Usage(input=wanted.told, output=20)
            seconds, verdict = chance.uniform(2, 10), Verdict.INCONCLUSIVE
            return Play(seconds, usage=usage, changes=False, verdict=verdict)


def _away(chance: Random, trouble: Trouble, error: str, wait_s: float) -> Play:
    return Play(chance.uniform(2, 20), exit=1, trouble=trouble, error=error, wait_s=wait_s, changes=False)


def play_checks(scenario: Scenario, seed: int, run: str) -> Play:
    """How a run of the checks goes."""
    chance = Random(f"{seed} {run}")
    seconds = max(1.0, draw(scenario.checks.minutes, chance) * 60)
    return Play(seconds, passes=chance.random() >= scenario.checks.fails)


def play_routine(seed: int, run: str) -> Play:
    """How a routine goes: it asks no model, and takes some seconds."""
    return Play(Random(f"{seed} {run}").uniform(1, 10))


def trial_at(scenario: Scenario, backend: str, moment: datetime) -> Trial | None:
    """What is wrong with a backend at a moment; None if nothing is."""
    return next((each.what for start, end, each in _trials(scenario, backend) if start <= moment < end), None)


def _trials(scenario: Scenario, backend: str) -> Iterable[tuple[datetime, datetime, Incident]]:
    for each in scenario.incidents:
        if each.backend == backend:
            start = scenario.moment(each.at)
            yield start, start + timedelta(minutes=each.minutes), each
