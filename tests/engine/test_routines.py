"""Maintenance as jobs, in a real engine and real processes: no agent, slot or model, and all is on the ledger."""

from __future__ import annotations

import time as clocks
from collections.abc import Callable
from datetime import timedelta

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters import clock
from orchestrator.adapters.audit import audit
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_text import format_record
from orchestrator.core.advance import PATH, Advanced
from orchestrator.core.funnel import Stage
from orchestrator.core.job import State
from orchestrator.core.recurring import Quiet
from orchestrator.core.routine import Health, RoutineRecord
from orchestrator.core.transitions import Actor, Event, IllegalStepError, Move, make_move
from orchestrator.engine.advance import advance
from orchestrator.engine.health import look_at_health
from orchestrator.engine.launch import RunState, folder_of, state_of
from orchestrator.engine.maintenance import last_proof, maintain, pack_up
from orchestrator.engine.recurring import list_schedules, taken_of
from orchestrator.engine.routine_looks import read_quiet, write_quiet
from orchestrator.engine.tick import Engine, tick
from orchestrator.engine.upkeep import unpacked_of_ledger
from orchestrator.engine.workspace import open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
ADA = Actor("human:Ada")
HOURLY = 'cron: "0 * * * *"\ntz: UTC\njob:\n  routine: {}\n'


class Clock:
    """The wall clock of this process, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta()
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + self.ahead)

    def to_the_hour(self) -> None:
        """Go on to just after the next full hour."""
        now = clock.now()
        self.ahead += now.replace(minute=0, second=2) + timedelta(hours=1) - now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def house(world: World, no_lies: None) -> World:
    return world.set_up()


def schedule(world: World, routine: str) -> None:
    (world.root / "schedules").mkdir(exist_ok=True)
    (world.root / "schedules" / "house.yaml").write_text(HOURLY.format(routine))


def tip(world: World) -> str:
    return git(world.root, "rev-parse", "orc/state")


def lies(world: World) -> list[str]:
    door = world.root / ".git"
    return [lie.text for lie in audit(door, {"main": door}).lies]


def tick_until(engine: Engine, holds: Callable[[], object], seconds: float = 90) -> None:
    end = clocks.monotonic() + seconds
    while not holds():
        assert clocks.monotonic() < end, "it did not come about"
        tick(engine)
        clocks.sleep(0.05)


def record(world: World, name: str) -> RoutineRecord:
    found = world.records(name)["routine-1"]
    assert isinstance(found, RoutineRecord)
    return found


def test_a_routine_is_done_without_an_agent_a_review_or_a_model(house: World) -> None:
    for soul in (house.root / "souls").iterdir():
        soul.unlink()
    house.drop("look.yaml", "routine: snapshot\n")
    house.run()
    job, found = house.job("look"), record(house, "look")
    assert (job.state, house.steps("look")) == (State.DONE, ["accept", "run", "ran"])
    assert (found.routine, found.ended != "", found.status) == ("snapshot", True, Health.FAIL)
    assert (found.states["agents"], found.states["disk"]) == (Health.FAIL, Health.OK)
    assert "fail  agents: souls: there is no agent -> write souls/NAME.md, or: orc init" in found.report
    assert job.at.reserved is None
    assert (job.at.used.runs, job.at.project, job.at.agent) == (0, "", "")
    assert not git(house.root, "ls-tree", "-r", "--name-only", "orc/state", "usage/")


def test_it_takes_no_slot_and_its_job_counts_as_maintenance(house: World) -> None:
    house.config = {"slots": 1}
    house.plays = [attempt(write={"code.py": "print('new')\n"}, sleep=60)]
    house.set_up()
    house.drop("work.yaml", "prompt: work\n")
    with house.engine() as engine:
        tick_until(engine, lambda: any(each.job.at.run for each in engine.ws.ledger.snapshot().active))
        house.drop("pack.yaml", "routine: pack\n")
        tick_until(engine, lambda: git(house.root, "log", "--format=%s", "--grep=^ran: pack", "orc/state"))
        assert house.state("work") is State.RUNNING
        report = look_at_health(engine.ws)
        assert (report.share.jobs, report.share.all_jobs, report.day.reached[Stage.MERGED]) == (1, 1, 0)


def test_of_a_run_that_dies_another_one_is_made(house: World) -> None:
    house.drop("look.yaml", "routine: maintenance\n")
    with house.engine() as engine:
        tick_until(engine, lambda: any(each.job.at.run for each in engine.ws.ledger.snapshot().active))
        place = folder_of(engine.ws, engine.ws.ledger.snapshot().active[0].job.at.run)
        place.stop.touch()
        tick_until(engine, lambda: "lost" in house.steps("look"))
        tick_until(engine, lambda: house.state("look") is State.DONE)
        assert state_of(place) in (RunState.MISSING, RunState.ENDED, RunState.DEAD)
    assert house.steps("look") == ["accept", "run", "lost", "hold", "release", "run", "ran"]
    assert house.records("look")["routine-2"].status is Health.OK


def test_a_quiet_house_does_not_fill_its_ledger(house: World, time: Clock) -> None:
    schedule(house, "snapshot")
    with house.engine() as engine:
        tick(engine)
        time.to_the_hour()
        tick_until(engine, lambda: git(house.root, "log", "--format=%s", "--grep=^ran: house", "orc/state"))
        tick(engine)
        before, known = tip(house), taken_of(engine.ws, "house")
        time.to_the_hour()
        tick_until(engine, lambda: list_schedules(engine.ws)[0][0].quiet == 1)
        time.to_the_hour()
        tick_until(engine, lambda: list_schedules(engine.ws)[0][0].quiet == 2)
        assert tip(house) == before
        assert taken_of(engine.ws, "house") == known
        (house.root / "souls" / "ada.md").unlink()
        time.to_the_hour()
        tick_until(engine, lambda: git(house.root, "log", "--format=%s", "--grep=^ran: house", "orc/state").count("\n"))
        now = taken_of(engine.ws, "house")
        assert now is not None
        assert (now.made, now.quiet, now.missed, now.skipped) == (2, 2, 0, 0)


def test_a_look_that_is_lost_is_made_again_and_one_that_fails_becomes_a_job(house: World, time: Clock) -> None:
    schedule(house, "advance")
    with house.engine() as engine:
        tick(engine)
        time.to_the_hour()
        tick_until(engine, lambda: list_schedules(engine.ws)[0][0].quiet == 1)
        known = taken_of(engine.ws, "house")
        assert known is not None
        (engine.ws.paths.routines / "house.slot.json").unlink()
    with house.engine() as engine:
        tick_until(engine, lambda: read_quiet(engine.ws, "house").quiet == 1)
        time.to_the_hour()
        # Whoever is sent to look dies each time.
        slot = clock.now().replace(minute=0, second=0, microsecond=0)
        write_quiet(engine.ws, "house", Quiet(known.slot, asked=f"{slot:%Y-%m-%dT%H:%M:%SZ}", tries=3))
        engine.schedules.looks._known.clear()
        tick_until(engine, lambda: git(house.root, "log", "--format=%s", "--grep=^ran: house", "orc/state"))


def stalled(world: World, time: Clock, **project: str) -> None:
    """A job that was sent back, and has stood still for a day since."""
    world.plays = [attempt()]
    world.set_up(**project)
    world.drop("work.yaml", "prompt: work\nlimits: {attempts: 9}\n")
    world.run(until=lambda ws: any(job.at.spent for job in ws.ledger.snapshot().jobs.values()))
    assert world.state("work") is State.READY
    time.ahead += timedelta(hours=25)


def test_what_stands_still_is_looked_at_once_a_day(world: World, no_lies: None, time: Clock) -> None:
    # A job that comes in is told of to a project that is to be finished, between it and the record.
    stalled(world, time, goal="All of it works.")
    with open_workspace(world.root) as ws:
        dry = advance(ws, True)
        assert dry.figures == {"stood_still": 1}
        before = tip(world)
        done = advance(ws, False)
        assert (done.key, tip(world) != before) == (dry.key, True)
        jobs = [job for job in ws.ledger.snapshot().jobs.values() if job.at.source == f"advance {world.id('work')}"]
        assert len(jobs) == 1
        assert (jobs[0].spec.purpose, jobs[0].spec.expects, jobs[0].at.origin) == ("maintenance", "no_change", "engine")
        assert world.id("work") in jobs[0].spec.prompt
        before = tip(world)
        assert advance(ws, False).key == ""
        assert tip(world) == before


def test_what_is_said_to_have_been_advanced_is_proved(world: World, time: Clock) -> None:
    stalled(world, time)
    with open_workspace(world.root) as ws:
        stamp = ws.stamp()
        forged = Advanced({f"job-{number}-0000000{number}": stamp for number in range(4)})
        ws.commit([], [Filing("advance: all", {PATH: format_record(forged)})])
        advance(ws, False)
    # The day that is to pass before it is advanced again is forgotten.
    with open_workspace(world.root) as ws:
        ws.commit([], [Filing("advance: none", {PATH: format_record(Advanced())})])
    found = lies(world)
    assert any("advances 4 jobs at once, of which 3 are the most" in each for each in found), found
    assert any(each.startswith(f"forgets that {world.id('work')} was advanced") for each in found), found


def test_a_job_of_an_agent_that_is_said_to_be_done_as_a_routine_is_a_lie(world: World) -> None:
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.set_up()
    world.drop("work.yaml", "prompt: work\n")
    world.run(until=lambda ws: any(job.state is State.RUNNING for job in ws.ledger.snapshot().jobs.values()))
    job = world.job("work")
    with open_workspace(world.root) as ws:
        after = job.moved(State.DONE, ws.stamp(), run="", routine=1, reason="all is well")
        facts = {"Job": job.id, "From": "running", "To": "done", "Seq": str(after.at.seq), "Actor": "engine"}
        found = RoutineRecord(1, f"{job.id}.routine-1", "sweep", ws.stamp(), ws.stamp(), status=Health.OK)
        move = Move(
            Event.RAN,
            State.RUNNING,
            after,
            f"ran: {job.id} ok: all is well",
            trailers=tuple(facts.items()),
            records={"routine-1": found},
        )
        assert ws.commit([move])
    told = lies(world)
    assert "takes the job to done, but nothing is approved" in told
    assert any("routine" in each and "which ran may not" in each for each in told), told


@pytest.mark.timeout(60)
def test_no_job_of_an_agent_is_done_as_a_routine(house: World) -> None:
    house.plays = [attempt(write={"code.py": "print('new')\n"})]
    house.set_up()
    house.drop("work.yaml", "prompt: work\n")
    house.run(until=lambda ws: any(job.state is State.RUNNING for job in ws.ledger.snapshot().jobs.values()))
    job = house.job("work")
    after = job.moved(State.DONE, job.at.since, run="")
    with pytest.raises(IllegalStepError, match="without an approved commit"):
        make_move(Event.RAN, job, after, "ok")


def test_of_the_repository_only_the_ledger_is_packed(house: World) -> None:
    blob = house.root / "own.txt"
    blob.write_text("mine, and in no commit\n")
    own = git(house.root, "hash-object", "-w", "own.txt")
    house.config = {}
    with open_workspace(house.root) as ws:
        for number in range(80):
            ws.commit([], [Filing(f"memory: {number}", {f"memory/items/{number}.yaml": f"n: {number}\n".encode()})])
        assert unpacked_of_ledger(ws) > 200
        assert pack_up(ws, True).key
        report = pack_up(ws, False)
        assert report.figures["packed"] > 200
        assert unpacked_of_ledger(ws) == 0
        assert pack_up(ws, False).key == ""
    assert (house.root / ".git" / "objects" / own[:2] / own[2:]).is_file()
    head = git(house.root, "rev-parse", "main")
    assert (house.root / ".git" / "objects" / head[:2] / head[2:]).is_file()


def test_the_night_proves_that_every_object_is_there(house: World) -> None:
    with open_workspace(house.root) as ws:
        assert maintain(ws, False).status is Health.OK
        assert last_proof(ws) is not None
        oid = git(house.root, "rev-parse", "main^{tree}")
        (house.root / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
        report = maintain(ws, False)
        assert (report.status, report.states["the ledger"]) == (Health.FAIL, Health.FAIL)
        proof = last_proof(ws)
        assert proof is not None
        assert proof.problem
