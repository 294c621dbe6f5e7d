"""Made-up houses keep what is promised of every house; and where what decides is broken, they show it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from simulated_houses import UPKEEP, crowded_house, eager_house, house_by_chance

from orchestrator.adapters.scenario_file import read_shipped, shipped
from orchestrator.core.config import NO_CAPS, Caps, ExecutionLimits
from orchestrator.core.job import Job, Priority
from orchestrator.core.recurring import Turn
from orchestrator.core.scenario import Incident, Trial
from orchestrator.core.service import Ended, Service
from orchestrator.engine.simulation.house import House, house_of
from orchestrator.engine.simulation.meter import LiveRun, Meter
from orchestrator.engine.simulation.report import simulate

TORTURED, AT_ONCE = 1000, 20
WEEK_S = 60.0


def broken(house: House) -> dict[str, list[str]]:
    """Which promises a house has broken, when it is played to its end."""
    house.play()
    return {name: each.told for name, each in house.watch.found.items() if each.broken}


def steps_of(house: House) -> str:
    """All that happened, as one number."""
    ledger = house.ledger
    told = [sorted(ledger.ended.items()), sorted(ledger.values.items()), ledger.services, ledger.taken, ledger.version]
    return hashlib.sha256(repr([*told, house.figures.runs, house.figures.waits]).encode()).hexdigest()


@pytest.mark.parametrize("seed", range(30))
def test_a_house_by_chance_keeps_every_promise(seed: int) -> None:
    house = house_by_chance(seed, hours=2.0)
    assert broken(house) == {}
    assert house.figures.runs["attempt"] > 0


def test_what_ended_holds_nothing_back_by_mistake_while_the_step_in_which_it_was_counted_is_in_the_window() -> None:
    """A job came in while nothing more of the last five minutes was left, but a step of it was."""
    assert broken(house_by_chance(242)) == {}


@pytest.mark.parametrize("seed", [550, 990])
def test_what_a_thousand_houses_found_in_the_promises_themselves_stays_mended(seed: int) -> None:
    """A second P0 takes the one more slot, which is no share of the background; and a clock that is set back makes
    of what was used an hour ago the last minutes."""
    assert broken(house_by_chance(seed, hours=6.0)) == {}


@pytest.mark.parametrize("seconds", [3600, 240, -60, -3600])
def test_a_clock_that_is_set_while_much_is_used_breaks_no_promise(seconds: int) -> None:
    """The last minutes are those by the clock of the machine."""
    house = eager_house()
    clocks = (
        Incident("day 1 06:20", Trial.CLOCK, seconds=seconds),
        Incident("day 1 06:40", Trial.CLOCK, seconds=-seconds),
    )
    assert broken(house_of(replace(house.scenario, incidents=clocks), 1)) == {}


def test_a_service_that_rests_while_the_clock_is_set_back_is_used_again_as_soon_as_any() -> None:
    """It rested by a clock that was an hour ahead, and a run that takes half an hour tried it."""
    assert broken(house_by_chance(358, hours=3.0)) == {}


def test_the_second_book_knows_how_many_runs_a_limit_leaves_room_for() -> None:
    caps = Caps(3, 5, None, None)
    meter = Meter(ExecutionLimits("UTC", None, NO_CAPS, caps, NO_CAPS, NO_CAPS))
    a, anybody, found = ("project", "a"), ("total", ""), []
    for number in range(5):
        meter.begin(f"run-{number}", LiveRun(f"job-{number}", "a", "worker", "claude", Priority.P2, 0.0, 0, 0))
        found.append(meter.places(a, "today"))
        if number > 0:
            meter.end(f"run-{number}", "today", 0.0, 0, 0)
    assert found == [2, 1, 1, 1, 0]
    assert meter.places(a, "tomorrow") == 2
    assert meter.places(anybody, "today") > 1000


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(0, TORTURED, AT_ONCE))
def test_a_thousand_houses_by_chance_keep_every_promise(first: int) -> None:
    found = {seed: broken(house_by_chance(seed, hours=6.0)) for seed in range(first, first + AT_ONCE)}
    assert {seed: each for seed, each in found.items() if each} == {}


def test_a_crowded_house_keeps_every_promise_and_meets_what_they_are_about() -> None:
    house = crowded_house()
    assert broken(house) == {}
    figures = house.figures
    assert figures.pressures > 0
    assert figures.runs["turned away"] > 0
    assert figures.runs["routine"] == sum(house.ledger.taken[each.name].made for each in UPKEEP) > 16
    assert figures.away_s["claude"] > 0
    assert figures.waits_of("P0").jobs > 0
    assert figures.waits_of("background").longest > 1800
    assert house.ledger.taken["snapshot"].skipped > 0


def test_runs_that_begin_together_keep_to_a_limit_although_their_prompts_are_long() -> None:
    assert broken(eager_house()) == {}


# --- what decides is broken, and it is seen


def free_without_the_reserved_slot(slots: Any, job: Job) -> bool:
    return bool(slots.used < slots.slots)


def begins_all_the_same(book: object, job: Job) -> bool:
    return True


def take_no_reservation(*_: object) -> None: ...


def service_never_rests(known: Service, run: Ended, **_: int) -> Service:
    return known


def slot_without_its_job(schedule: object, turn: Turn, is_there: object) -> tuple[dict[str, Any], Any]:
    return {}, turn.taken


def never_over(was: bool, used: int, budget: int | None, ready: int, slots: int) -> bool:
    return was or (budget is not None and used > 0.8 * budget)


def kept_reservation(after: Job, charge: object) -> Job:
    return after


BREAKS: list[tuple[str, object, str]] = [
    ("core.limits.Book.take", take_no_reservation, "budgets"),
    ("engine.simulation.house.still_within", begins_all_the_same, "budgets"),
    ("core.backlog.AGEING_S", 10**9, "order"),
    ("core.schedule._Slots.free_for", free_without_the_reserved_slot, "urgent"),
    ("core.schedule._Slots.free_for", lambda slots, job: True, "slots"),
    ("core.schedule._Slots.keeps_last_for_background", lambda slots, job: False, "background"),
    ("core.service_load.after_run", service_never_rests, "in_vain"),
    ("core.recurring.made_of", slot_without_its_job, "once"),
    ("core.limits.is_engaged", never_over, "budgets"),
    ("engine.simulation.ledger.charged", kept_reservation, "nothing_lost"),
    ("core.backlog.Backlog.next_routine", lambda backlog: None, "upkeep"),
]


@pytest.mark.parametrize(("what", "by", "promise"), BREAKS, ids=[f"{what} {promise}" for what, _, promise in BREAKS])
def test_a_fault_in_what_decides_is_seen(what: str, by: object, promise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"orchestrator.{what}", by)
    house = eager_house() if by is begins_all_the_same else crowded_house()
    assert promise in broken(house)


# --- the play itself


def test_the_same_seed_plays_the_same_and_another_does_not() -> None:
    first, again, other = crowded_house(), crowded_house(), crowded_house(2)
    for house in (first, again, other):
        house.play()
    assert steps_of(first) == steps_of(again) != steps_of(other)


def test_to_look_more_often_changes_nothing() -> None:
    """What time alone changes is not missed between the moments at which the house looks."""
    house, often = crowded_house(), crowded_house()
    for second in range(0, 4 * 3600, 7):
        often.at(often.now + timedelta(seconds=second), lambda: None)
    house.play()
    often.play()
    assert house.ledger.ended == often.ledger.ended
    assert house.figures.waits == often.figures.waits


def test_other_limits_leave_the_runs_as_they_are() -> None:
    """The runs of a job are drawn by its id, so that two policies can be compared."""
    free = crowded_house()
    limits = replace(free.config.execution_limits, window_tokens=None)
    scenario = replace(free.scenario, config=replace(free.config, execution_limits=limits))
    other = house_of(scenario, 1)
    free.play()
    other.play()
    jobs = [{id_ for id_ in house.ledger.ended if not id_.startswith("snapshot")} for house in (free, other)]
    # A slot is skipped while the job before is open; all else comes as it does.
    assert jobs[0] == jobs[1] != set()
    assert other.figures.pressures == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_busy_week_keeps_every_promise_and_takes_less_than_a_minute() -> None:
    began = time.process_time()
    found = simulate(read_shipped("busy-week"))
    seconds = time.process_time() - began
    assert [(each.name, each.told) for each in found.broken] == []
    assert seconds < WEEK_S
    assert found.offered > 162 * 7
    slots = sum(each.made + each.missed + each.skipped for each in found.schedules)
    # The weekly one comes besides, and the week begins two hours into its first day in Berlin.
    assert slots == 162 * 7 + 1


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_scenario_begins(name: str) -> None:
    found = simulate(replace(read_shipped(name), days=0.5))
    assert found.broken == ()
    assert found.figures.runs["attempt"] > 0
