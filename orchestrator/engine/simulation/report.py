"""`orc simulate`: one play of a scenario, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.core.config import Config
from orchestrator.core.scenario import Scenario
from orchestrator.engine.simulation.figures import LANES, Column, Figures, Waits, part
from orchestrator.engine.simulation.house import House, house_of
from orchestrator.engine.simulation.promises import Promise

Tell = Callable[[datetime], None]


@dataclass(frozen=True, slots=True)
class Slots:
    """What became of the slots of a schedule."""

    name: str
    made: int
    missed: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Played:
    """What a play came to."""

    scenario: Scenario
    seed: int
    offered: int
    refused: int
    """Of those that were handed in: as the same work was open already."""
    left: int
    """Jobs that had not come to an end."""
    figures: Figures
    waits: dict[str, Waits]
    utilisation: float
    expected: float
    """What runs used as a share of what was expected of them: the middle one."""
    schedules: tuple[Slots, ...]
    promises: tuple[Promise, ...]

    @property
    def broken(self) -> tuple[Promise, ...]:
        """The promises that were not kept."""
        return tuple(each for each in self.promises if each.broken)

    @property
    def columns(self) -> list[Column]:
        """What happened over time."""
        return self.figures.columns


def simulate(scenario: Scenario, seed: int | None = None, tell: Tell = lambda _: None) -> Played:
    """Play a scenario. The same scenario and seed come to the same each time."""
    house = house_of(scenario, scenario.seed if seed is None else seed)
    house.play(tell)
    return played(house)


def played(house: House) -> Played:
    """What a house came to that was played to its end."""
    figures, taken = house.figures, house.ledger.taken
    return Played(
        scenario=house.scenario,
        seed=house.seed,
        offered=house.offered,
        refused=house.refused,
        left=len(house.ledger.jobs),
        figures=figures,
        waits={lane: figures.waits_of(lane) for lane in LANES},
        utilisation=house.watch.utilisation,
        expected=part(sorted(figures.shares), 0.5),
        schedules=tuple(Slots(name, each.made, each.missed, each.skipped) for name, each in sorted(taken.items())),
        promises=tuple(house.watch.found.values()),
    )


def with_limits_of(scenario: Scenario, config: Config, name: str) -> tuple[Scenario, tuple[str, ...]]:
    """The scenario with the slots and `execution_limits` of a workspace; and which of these limits nobody in it has."""
    limits = config.execution_limits
    own = replace(
        scenario.config,
        slots=config.slots,
        check_slots=config.check_slots,
        limits=config.limits,
        execution_limits=limits,
    )
    unused = [f"projects.{each}" for each in limits.projects if each not in scenario.config.projects]
    unused += [f"agents.{each}" for each in limits.agents if each not in scenario.agents]
    return replace(scenario, config=own, limits_of=name), tuple(unused)
