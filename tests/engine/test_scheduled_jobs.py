"""Jobs that come by themselves, in a real engine: once for each slot, whatever dies, and never two at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters import clock
from orchestrator.core.recurring import SlotsTaken
from orchestrator.core.transitions import Actor
from orchestrator.engine.recurring import find_schedule, list_schedules, next_slots, run_now, taken_filing, taken_of
from orchestrator.engine.report import list_problems
from orchestrator.engine.tick import tick
from orchestrator.engine.workspace import Workspace, open_workspace

HOURLY = """\
cron: "0 * * * *"
tz: UTC
job:
  title: Look, ${time}
  prompt: Look through it.
"""


BROKEN = {"schedules/again.yaml": b"slot: [\n"}


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
    return begin(world)


def begin(world: World) -> World:
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
        told = dict(engine.problems)
        time.at(0)
        tick(engine)
        board = list_problems(engine.ws)
    assert told.pop("schedules/broken.yaml:1") == "cron: '61 * * * *': bad minute"
    ((place, problem),) = told.items()
    assert place.startswith("schedules/unfit.yaml:")
    assert "promt" in problem
    assert {"schedules/broken.yaml:1: cron: '61 * * * *': bad minute", f"{place}: {problem}"} <= set(board)
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


def test_what_a_person_has_made_in_the_minute_of_a_slot_keeps_no_slot_from_coming(
    scheduled: World, time: Clock
) -> None:
    write(scheduled, HOURLY + "overlap: allow\n")
    with scheduled.engine() as engine:
        tick(engine)
        slot = time.at(0)
        by_hand = run_now(engine.ws, find_schedule(engine.ws, "inbox"), Actor("human:ann"))
        tick(engine)
        assert sorted(made(scheduled)) == [f"schedule inbox {slot:%Y-%m-%dT%H:%M:%SZ}"] * 2
        taken = taken_of(engine.ws, "inbox")
        assert taken is not None
        assert taken.made == 1
        assert taken.job != by_hand.job.id
        time.at(0)
        tick(engine)
    assert len(made(scheduled)) == 3


def test_a_slot_whose_job_is_there_already_does_not_hang_the_schedule(world: World, time: Clock) -> None:
    scheduled = begin(world)  # `orc verify` tells of a record that goes back.
    write(scheduled, HOURLY + "overlap: allow\n")
    with scheduled.engine() as engine:
        tick(engine)
        before = taken_of(engine.ws, "inbox")
        assert before is not None
        time.at(0)
        tick(engine)
        # As an older orc left it, or a ledger that was put back from a copy of its records.
        engine.ws.commit([], [taken_filing("inbox", before, "put back")])
        tick(engine)
        taken = taken_of(engine.ws, "inbox")
        assert taken is not None
        assert (taken.slot > before.slot, taken.made) == (True, 0)
        assert len(made(scheduled)) == 1
        time.at(0)
        tick(engine)
    assert len(made(scheduled)) == 2


def test_what_came_while_it_was_switched_off_makes_no_job(scheduled: World, time: Clock) -> None:
    write(scheduled, HOURLY + "grace_s: 604800\n")
    with scheduled.engine() as engine:
        tick(engine)
        write(scheduled, "enabled: false\n" + HOURLY)
        tick(engine)
        assert not tick(engine)
        time.at(0)
        tick(engine)
        write(scheduled, HOURLY + "grace_s: 604800\n")
        tick(engine)
        assert made(scheduled) == []
        (listed,), _ = list_schedules(engine.ws)
        assert (listed.made, listed.missed, listed.last) == (0, 0, "")
        time.at(0)
        tick(engine)
    assert len(made(scheduled)) == 1
    assert any(": switched off" in subject for subject in scheduled.subjects)
    assert any(": switched on" in subject for subject in scheduled.subjects)


def test_a_clock_that_was_a_year_ahead_is_told_and_other_times_begin_anew(world: World, time: Clock) -> None:
    scheduled = begin(world)  # `orc verify` tells of such a clock too.
    with scheduled.engine() as engine:
        tick(engine)
        time.ahead += timedelta(days=365)
        tick(engine)
        time.ahead -= timedelta(days=365)
        time.at(0)
        tick(engine)
        assert "was the clock ahead?" in engine.problems["schedules/inbox.yaml"]
        assert any("was the clock ahead?" in each for each in list_schedules(engine.ws)[1])
        count = len(made(scheduled))
        write(scheduled, HOURLY.replace("0 * * * *", "30 * * * *") + "overlap: allow\n")
        tick(engine)
        assert "schedules/inbox.yaml" not in engine.problems
        time.at(30)
        tick(engine)
    assert len(made(scheduled)) == count + 1


def test_after_ten_days_of_every_minute_one_job_is_made_and_not_one_for_each_look(
    scheduled: World, time: Clock
) -> None:
    write(scheduled, HOURLY.replace("0 * *", "* * *") + "grace_s: 604800\noverlap: allow\n")
    with scheduled.engine() as engine:
        tick(engine)
        time.ahead += timedelta(days=10)
        for _ in range(3):
            tick(engine)
        taken = taken_of(engine.ws, "inbox")
    assert len(made(scheduled)) == 1
    assert taken is not None
    assert taken.slot == made(scheduled)[0].rpartition(" ")[2]


def test_the_slot_whose_minute_has_passed_and_whose_jitter_has_not_is_the_next(scheduled: World, time: Clock) -> None:
    write(scheduled, HOURLY + "jitter_s: 3600\n")
    with scheduled.engine() as engine:
        tick(engine)
        time.at(0)
        schedule = find_schedule(engine.ws, "inbox")
        told = next_slots(engine.ws, schedule, 1)[0]
        for _ in range(130):
            if tick(engine) and made(scheduled):
                break
            time.ahead += timedelta(seconds=30)
    assert timedelta(0) <= clock.now() - told < timedelta(seconds=45)


def test_a_schedule_of_which_no_slot_has_come_has_none(scheduled: World, time: Clock) -> None:
    with scheduled.engine() as engine:
        tick(engine)
        (listed,), _ = list_schedules(engine.ws)
        assert listed.last == ""
        slot = time.at(0)
        tick(engine)
        (listed,), _ = list_schedules(engine.ws)
    assert listed.last == f"{slot:%Y-%m-%dT%H:%M:%SZ}"


def test_a_record_that_cannot_be_read_is_told_and_stops_no_other(world: World, time: Clock) -> None:
    scheduled = begin(world)
    (scheduled.root / "schedules" / "again.yaml").write_text(HOURLY)
    with scheduled.engine() as engine:
        tick(engine)
        engine.ws.commit([], [replace(taken_filing("again", SlotsTaken("", ""), "broken"), files=BROKEN)])
        time.at(0)
        tick(engine)
        assert "cannot be read" in engine.problems["schedules/again.yaml"]
        assert any(each.startswith("schedules/again.yaml: ") for each in list_problems(engine.ws))
    assert len(made(scheduled)) == 1
