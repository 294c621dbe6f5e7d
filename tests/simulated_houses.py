"""Made-up houses by chance, each small: few hours, everything scarce that can be scarce, and much that goes wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from orchestrator.core.config import (
    NO_CAPS,
    BackendConfig,
    Caps,
    Config,
    ExecutionLimits,
    Limits,
    Model,
    Price,
    Project,
)
from orchestrator.core.job import Check, Expects, MergePolicy
from orchestrator.core.recurring import Catchup, Overlap, Schedule
from orchestrator.core.scenario import Burst, FakeAgent, FakeService, Incident, Scenario, Spread, Trial, Work
from orchestrator.engine.simulation.house import House, house_of

STARTS = (
    datetime(2026, 11, 20, 6, tzinfo=UTC),
    datetime(2026, 10, 24, 20, tzinfo=UTC),
    datetime(2026, 3, 28, 20, tzinfo=UTC),
    datetime(2026, 11, 20, 19, tzinfo=UTC),
)
"""A day, both nights in which the clocks of Berlin are set, and an evening: there the day of the limits ends."""
PRICES = {
    "sonnet": Model("anthropic", price=Price("2026-10-01", 3.0, 15.0)),
    "gpt": Model("openai", price=Price("2026-10-01", 2.0, 10.0)),
}
BACKENDS = {"claude": BackendConfig("claude", "claude"), "codex": BackendConfig("codex", "codex")}
ANY = {"P0": 1.0, "P1": 2.0, "P2": 5.0, "P3": 2.0, "P4": 1.0, "P5": 2.0}
UPKEEP = (
    Schedule(name="upkeep", cron="*/15 * * * *", tz="UTC", job={"routine": "snapshot", "priority": "P5"}),
    Schedule(name="tidy", cron="0 * * * *", tz="UTC", job={"routine": "pack"}),
)
"""Two that ask no model, of which one comes while the other runs."""


def some(chance: Random, *values: float | None) -> float | None:
    """One of these; None is no limit."""
    return chance.choice(values)


def count(value: float | None) -> int | None:
    return None if value is None else int(value)


def limits_by_chance(chance: Random) -> ExecutionLimits:
    """Most of them bind, or there are none."""
    total = Caps(
        None,
        count(some(chance, None, 60, 150)),
        count(some(chance, None, 4_000_000, 10_000_000)),
        some(chance, None, 15.0, 40.0),
    )
    project = Caps(count(some(chance, None, 1, 3)), None, None, some(chance, None, 12.0))
    agent = Caps(None, count(some(chance, None, 40)), count(some(chance, None, 2_000_000)), None)
    window = count(some(chance, None, 150_000, 600_000, 2_000_000))
    zone = chance.choice(["UTC", "Europe/Berlin", "America/New_York"])
    return ExecutionLimits(zone, window, total, project, agent, NO_CAPS)


def agents_by_chance(chance: Random, slots: int) -> dict[str, FakeAgent]:
    """Workers of one family, reviewers of another."""
    minutes, tokens = Spread(chance.choice([2, 8]), 30), Spread(chance.choice([8_000, 40_000]), 200_000)
    kind: dict[str, Any] = {"minutes": minutes, "tokens": tokens, "told": chance.choice([0, 2_000, 20_000])}
    flaws: dict[str, Any] = {"fails": 0.05, "dies": 0.03, "silent": chance.choice([0.0, 0.3]), "breaks": 0.01}
    found = {}
    for number in range(chance.randint(max(1, slots - 2), 2 * slots)):
        backend, model, family = ("claude", "sonnet", "anthropic")
        found[f"worker-{number}"] = FakeAgent(
            backend=backend, model=model, family=family, roles=("work",), **kind, **flaws
        )
    for number in range(chance.randint(1, 3)):
        found[f"critic-{number}"] = FakeAgent(
            backend="codex",
            model="gpt",
            family="openai",
            roles=("review",),
            approves=0.85,
            unclear=0.02,
            **{**kind, "minutes": Spread(1, 5)},
        )
    return found


def schedules_by_chance(chance: Random) -> tuple[Schedule, ...]:
    """A few that come often, at odd hours of the night too; and the upkeep."""
    known: dict[str, Any] = {"tz": "Europe/Berlin"}
    jobs = {"prompt": "Look.", "expects": "no_change", "kind": "ops"}
    often = Schedule(
        name="often", cron="*/10 * * * *", job={**jobs, "priority": "P3"}, jitter_s=chance.choice([0, 90]), **known
    )
    night = Schedule(
        name="night",
        cron="30 2 * * *",
        job={**jobs, "priority": "P0"},
        overlap=Overlap.ALLOW,
        catchup=chance.choice([Catchup.LAST, Catchup.ALL]),
        **known,
    )
    hourly = Schedule(name="hourly", cron="15 * * * *", job=jobs, catchup=Catchup.SKIP, **known)
    return (*chance.sample([often, night, hourly], chance.randint(0, 3)), *UPKEEP)


def incidents_by_chance(chance: Random, start: datetime, hours: float) -> tuple[Incident, ...]:
    """At most one of each, at any time. A clock that is set goes back again."""
    found = []

    def at(share: float) -> str:
        moment = start + timedelta(hours=hours * share)
        return f"day {(moment.date() - start.date()).days + 1} {moment:%H:%M}"

    for what in chance.sample(list(Trial), chance.randint(0, 2)):
        share = chance.uniform(0.1, 0.7)
        backend = chance.choice(["claude", "codex"]) if what is not Trial.IDLE else "claude"
        seconds = chance.choice([-3600, -60, 45, 3600])
        of_backend = backend if what in (Trial.OUTAGE, Trial.DEAD_KEY, Trial.IDLE) else ""
        found.append(Incident(at(share), what, of_backend, chance.choice([3, 25, 90]), seconds))
        if what is Trial.CLOCK:
            found.append(Incident(at(share + 0.2), what, seconds=-seconds))
    return tuple(found)


def house_by_chance(seed: int, hours: float = 6.0) -> House:
    """The house of a seed, before its first moment."""
    chance = Random(f"house {seed}")
    slots, start = chance.choice([1, 2, 3, 4, 8, 16]), chance.choice(STARTS)
    checks = (Check("make test"),)
    config = Config(
        slots=slots,
        projects={
            name: Project(name, ".", "main", checks, merge=MergePolicy.AUTO) for name in chance.choice(["ab", "a"])
        },
        backends={**BACKENDS, "claude": BackendConfig("claude", "claude", at_once=chance.choice([0, 0, 2]))},
        models=PRICES,
        limits=Limits(attempts=5, starts=30, reviews=12),
        execution_limits=limits_by_chance(chance),
    )
    work = {
        "all": Work(per_day=chance.choice([40, 120, 240]), priority=ANY, project="a", twins=0.1),
        "more": Work(priority={"P2": 1.0, "P5": 1.0}, project=chance.choice(list(config.projects)), size=0.5),
        "words": Work(per_day=40, kind="writing", expects=Expects.NO_CHANGE, priority=ANY, project="a"),
    }
    middle = start + timedelta(hours=hours * chance.uniform(0, 0.6))
    burst = Burst(f"day {(middle.date() - start.date()).days + 1} {middle:%H:%M}", "more", chance.choice([5, 30]))
    scenario = Scenario(
        title=f"seed {seed}",
        start=start,
        days=hours / 24,
        config=config,
        agents=agents_by_chance(chance, slots),
        services={
            "claude": FakeService(
                at_once=chance.choice([0, 0, 3]),
                limited=chance.choice([0.0, 0.03]),
                retry_after_s=chance.choice([0, 30, 1200]),
            )
        },
        work=work,
        bursts=(burst,),
        schedules=schedules_by_chance(chance),
        incidents=incidents_by_chance(chance, start, hours),
        seed=seed,
    )
    return house_of(scenario, seed)


def crowded_house(seed: int = 1) -> House:
    """Four hours in which each of the promises is put to the test."""
    start = STARTS[0]
    config = Config(
        slots=3,
        projects={"a": Project("a", ".", "main", (Check("make test"),), merge=MergePolicy.AUTO)},
        backends=BACKENDS,
        models=PRICES,
        limits=Limits(attempts=5, starts=30, reviews=12),
        execution_limits=ExecutionLimits("UTC", 400_000, Caps(None, None, 9_000_000, None), NO_CAPS, NO_CAPS, NO_CAPS),
    )
    worker = FakeAgent("claude", "sonnet", Spread(6, 20), Spread(60_000, 150_000), "anthropic", ("work",), told=20_000)
    critic = FakeAgent("codex", "gpt", Spread(2, 5), Spread(20_000, 40_000), "openai", ("review",))
    snapshot = Schedule(name="snapshot", cron="*/10 * * * *", tz="UTC", job={"prompt": "Look.", "priority": "P3"})
    fires = (Burst(f"day 1 {hour}:{minute}", "fire", 1) for hour in ("06", "07", "09") for minute in ("10", "25", "50"))
    scenario = Scenario(
        title="crowded",
        start=start,
        days=4 / 24,
        config=config,
        agents={**{f"worker-{n}": worker for n in range(6)}, "critic": critic},
        work={
            "steady": Work(per_day=240, project="a", priority={"P0": 1, "P1": 1, "P2": 10}),
            "low": Work(project="a", priority={"P5": 1.0}),
            "tiny": Work(project="a", priority={"P2": 1.0}, prompt=1),
            "fire": Work(project="a", priority={"P0": 1.0}, size=0.2),
        },
        bursts=(Burst("day 1 06:00", "low", 10), Burst("day 1 06:30", "tiny", 30), *fires),
        schedules=(snapshot, *UPKEEP),
        incidents=(
            Incident("day 1 08:00", Trial.DEAD_KEY, "claude", 60),
            Incident("day 1 09:20", Trial.ENGINE_DOWN, minutes=5),
        ),
    )
    return house_of(scenario, seed)


def eager_house(seed: int = 1) -> House:
    """An hour in which eight runs could begin together, of whose long prompts their jobs say nothing."""
    house = crowded_house(seed)
    limits = replace(house.config.execution_limits, window_tokens=100_000)
    agents = {
        name: replace(each, told=40_000, tokens=Spread(2_000, 4_000)) for name, each in house.scenario.agents.items()
    }
    scenario = replace(
        house.scenario,
        days=1 / 24,
        config=replace(house.config, slots=8, execution_limits=limits),
        agents=agents,
        bursts=house.scenario.bursts[:1],
        schedules=(),
        incidents=(),
    )
    return house_of(scenario, seed)
