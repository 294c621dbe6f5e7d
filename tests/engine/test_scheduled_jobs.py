"""Jobs that come by themselves, in a real engine: once for each slot, whatever dies, and never two at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters import clock
from orchestrator.engine.recurring import list_schedules, taken_of
from orchestrator.engine.tick import tick
from orchestrator.engine.workspace import Workspace, open_workspace

HOURLY = """\
cron: "0 * * * *"
tz: UTC
job:
  title: Look, ${time}
  prompt: Look through it.
"""


class Clock:
    """The wall clock of this process, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = timedelta()
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + self.ahead)

    def at(self, minute: int) -> datetime:
        """Go on to this minute of the next hour."""
        now = clock.now()
        to = now.replace(minute=minute, second=0) + timedelta(hours=1)
        self.ahead += to - now
        return to


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def scheduled(world: World, no_lies: None) -> World:
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.set_up()
    write(world, HOURLY)
    return world


def write(world: World, text: str) -> None:
    folder = world.root / "schedules"
    folder.mkdir(exist_ok=True)
    (folder / "inbox.yaml").write_text(text)


def made(world: World) -> list[str]:
    """Where each job that the schedule made came from, oldest first."""
    out = git(
        world.root, "log", "--reverse", "--format=%(trailers:key=Source,valueonly)", "--grep=^accept:", "orc/state"
    )
    return [line for line in out.splitlines() if line.startswith("schedule ")]


def test_each_slot_becomes_one_job_which_goes_the_way_of_all(scheduled: World, time: Clock) -> None:
    with scheduled.engine() as engine:
        tick(engine)
        assert made(scheduled) == []
        slot = time.at(0)
        for _ in range(3):
            tick(engine)
    assert made(scheduled) == [f"schedule inbox {slot:%Y-%m-%dT%H:%M:%SZ}"]
    scheduled.run()
    job = scheduled.job("inbox")
    assert (job.state, job.spec.title, job.at.origin) == ("done", f"Look, {slot:%H:%M}", "engine")
    with open_workspace(scheduled.root) as ws:
        (listed,), problems = list_schedules(ws)
    assert (listed.job, listed.made, listed.missed, problems) == (job.id, 1, 0, [])
    assert listed.next > listed.last


def test_a_slot_becomes_one_job_though_the_engine_dies_before_or_after_it_is_durable(
    scheduled: World, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scheduled.engine() as engine:
        tick(engine)
    time.at(0)
    real = Workspace.commit
    for dies_after in (False, True):

        def dies(ws: Workspace, *args: object, after: bool = dies_after) -> object:
            if after:
                real(ws, *args)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        with scheduled.engine() as engine:
            monkeypatch.setattr(Workspace, "commit", dies)
            with pytest.raises(KeyboardInterrupt):
                tick(engine)
            monkeypatch.setattr(Workspace, "commit", real)
        assert len(made(scheduled)) == dies_after
    with scheduled.engine() as engine:
        tick(engine)
    assert len(made(scheduled)) == 1


def test_a_slot_is_skipped_while_the_job_before_is_open_and_told(scheduled: World, time: Clock) -> None:
    write(scheduled, HOURLY + "  hold: wait\n")
    with scheduled.engine() as engine:
        tick(engine)
        time.at(0)
        tick(engine)
        time.at(0)
        tick(engine)
        taken = taken_of(engine.ws, "inbox")
    assert len(made(scheduled)) == 1
    assert taken is not None
    assert (taken.made, taken.skipped) == (1, 1)
    assert any("1 skipped, for the job before is still open" in subject for subject in scheduled.subjects)


def test_what_came_while_no_engine_ran_is_made_up_for_once(scheduled: World, time: Clock) -> None:
    with scheduled.engine() as engine:
        tick(engine)
    time.ahead += timedelta(hours=30)
    slot = time.at(10).replace(minute=0)
    with scheduled.engine() as engine:
        tick(engine)
        taken = taken_of(engine.ws, "inbox")
    assert made(scheduled) == [f"schedule inbox {slot:%Y-%m-%dT%H:%M:%SZ}"]
    assert taken is not None
    assert taken.missed in (30, 31)


def test_a_broken_file_is_told_with_its_line_and_stops_no_other(scheduled: World, time: Clock) -> None:
    (scheduled.root / "schedules" / "broken.yaml").write_text('cron: "61 * * * *"\ntz: UTC\njob: {prompt: x}\n')
    (scheduled.root / "schedules" / "unfit.yaml").write_text(HOURLY.replace("prompt: Look", "promt: Look"))
    with scheduled.engine() as engine:
        tick(engine)
        told = engine.problems["schedules/"]
        time.at(0)
        tick(engine)
    assert "schedules/broken.yaml:1: cron: '61 * * * *': bad minute" in told
    assert "schedules/unfit.yaml" in told
    assert "promt" in told
    assert len(made(scheduled)) == 1


def test_nobody_but_a_person_gets_the_slot_for_what_is_urgent(scheduled: World, time: Clock) -> None:
    write(scheduled, HOURLY + "  priority: P0\n")
    with scheduled.engine() as engine:
        tick(engine)
        time.at(0)
        tick(engine)
    assert scheduled.job("inbox").at.priority == 1
    told = git(scheduled.root, "log", "orc/state", "--format=%(trailers:key=Lowered,valueonly)", "--grep=^accept:")
    assert told == "P0 is for people, so it became P1"


def test_one_that_is_switched_off_makes_nothing(scheduled: World, time: Clock) -> None:
    write(scheduled, "enabled: false\n" + HOURLY)
    with scheduled.engine() as engine:
        tick(engine)
        time.at(0)
        tick(engine)
        assert taken_of(engine.ws, "inbox") is None
    assert made(scheduled) == []
