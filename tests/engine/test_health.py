"""What comes out, counted from a real ledger, and what the engine tells: when an alert begins, and when it is over."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from cli_world import orc
from engine_world import World, attempt

from orchestrator.adapters import clock
from orchestrator.adapters.audit import audit
from orchestrator.adapters.ledger import Filing
from orchestrator.core.accept import cancel
from orchestrator.core.alerts import AlertKind
from orchestrator.core.funnel import DAY_S, STAGES, Happened, Stage, Tally
from orchestrator.core.job import State
from orchestrator.core.times import iso
from orchestrator.core.transitions import Actor
from orchestrator.engine import health
from orchestrator.engine.accept import submit
from orchestrator.engine.health import Alarms, alarms_of, look_at_health, standing_alerts
from orchestrator.engine.loop import Loop
from orchestrator.engine.notes import BEAT_S, note_engine, read_note, tell_silence
from orchestrator.engine.tick import tick
from orchestrator.engine.workspace import Workspace, open_workspace

ADA = Actor("human:ada")
WRITES = attempt(write={"code.py": "print('new')\n"})
EMPTY = "empty_diff"


@pytest.fixture
def world(repo: Path) -> World:
    return World(repo)


def alerts_told(world: World) -> list[str]:
    return [line for line in world.subjects if line.startswith(("! ", "health: "))]


def seen(world: World) -> health.HealthReport:
    with open_workspace(world.root) as ws:
        return look_at_health(ws)


# --- the engine, for real ------------------------------------------------------------------------------------------


def test_a_house_that_refuses_everything_for_one_reason_is_alerted_of_it_once_and_told_when_it_is_over(
    world: World,
) -> None:
    world.plays = [attempt()]
    world.set_up()
    for name in ("one", "two"):
        world.drop(f"{name}.yaml", f"prompt: greet {name}\n")
    world.run()
    assert [world.state(name) for name in ("one", "two")] == [State.DECIDE] * 2
    (told,) = alerts_told(world)
    assert f"6 of 6 tries to get to 'produced' came to nothing in 24 hours, for one reason: {EMPTY}" in told
    report = seen(world)
    assert [(alert.kind, alert.about) for alert in report.alerts] == [(AlertKind.ONE_REASON, f"produced {EMPTY}")]
    assert report.day.drops == {Stage.PRODUCED: {EMPTY: 6}}
    assert (report.day.reached[Stage.STARTED], report.day.reached[Stage.PRODUCED], report.day.runs) == (2, 0, 6)
    assert report.cards is not None
    assert report.cards.jobs == 2
    with open_workspace(world.root) as ws:
        assert [alert.about for alert in standing_alerts(ws, read_note(ws))] == [f"produced {EMPTY}"]

    world.run()  # The next engine has nothing new to say.
    assert alerts_told(world) == [told]

    world.plays = [attempt(run="echo new > made-$ORC_JOB.py")]
    world.write_plays()
    for name in ("one", "two"):
        world.answer(name, "retry")
    world.run()
    assert [world.state(name) for name in ("one", "two")] == [State.DONE] * 2
    assert alerts_told(world)[1:] == [told.replace("! ", "health: no longer so: ").partition(" (orc show")[0]]
    assert seen(world).alerts == ()
    with open_workspace(world.root) as ws:
        assert standing_alerts(ws, read_note(ws)) == []
        assert audit(ws.paths.git_dir, {"main": ws.paths.git_dir}).lies == ()


def test_a_house_that_ships_is_well(world: World) -> None:
    world.plays = [attempt(run="echo new > made-$ORC_JOB.py")]
    world.set_up()
    for number in range(5):
        world.drop(f"job-{number}.yaml", f"prompt: greet {number}\n")
    world.run()
    report = seen(world)
    assert report.alerts == ()
    assert report.day.reached == dict.fromkeys(STAGES, 5)
    assert report.oldest == ()
    assert alerts_told(world) == []


def test_a_house_where_nothing_was_asked_for_is_well(world: World) -> None:
    world.set_up()
    world.run()
    report = seen(world)
    assert (report.alerts, report.oldest) == ((), ())
    assert report.day.reached == dict.fromkeys(STAGES, 0)
    assert alerts_told(world) == []


def test_each_way_of_not_getting_there_has_its_code_on_the_ledger(world: World) -> None:
    louder = {"severity": "blocking", "problem": "It is too quiet.", "fix": "Louder."}
    world.plays = [
        attempt(match={"title": "broken"}, write={"broken": "x\n"}),
        attempt(match={"title": "asks"}, write={"asks.py": "x\n"}),
        {"match": {"kind": "review", "title": "asks"}, "verdict": "REVISE", "findings": [louder]},
    ]
    world.set_up()
    for name in ("broken", "asks"):
        world.drop(f"{name}.yaml", f"title: {name}\nprompt: {name}\nlimits: {{attempts: 1}}\nreview: {{rounds: 1}}\n")
    world.drop("odd.yaml", "promt: x\n")
    world.run()
    dropped = seen(world).day.drops
    assert dropped[Stage.ACCEPTED] == {"not_accepted": 1}
    assert dropped[Stage.PRODUCED] == {"checks_failed": 1}
    assert dropped[Stage.REVIEWED] == {"changes_asked": 1}


def test_who_has_no_reviewer_is_told_so_by_the_kind_of_the_card(world: World) -> None:
    world.souls = {"ada": "alpha work"}
    world.plays = [WRITES]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    report = seen(world)
    assert report.day.drops == {Stage.REVIEWED: {"no_reviewer": 1}}
    assert report.day.reached[Stage.PRODUCED] == 1


# --- what a look costs ---------------------------------------------------------------------------------------------


def fill(ws: Workspace, number: int, days_ago: float) -> None:
    """So many files that were not accepted, at a time in the past."""
    with ws.ledger.writing() as writer:
        for each in range(number):
            files = {f"rejected/2026/01/01/{days_ago}-{each}.yaml": b"x\n"}
            writer.file(Filing(f"reject: {each}.yaml: no", files), clock.now() - timedelta(days=days_ago))


def test_what_lies_before_the_time_is_not_read(workspace: Workspace) -> None:
    with workspace.ledger.writing() as writer:
        writer.tip = ""  # A history that begins in the past.
        for days_ago, number in ((40, 30), (5, 7), (0.5, 3)):
            for each in range(number):
                files = {f"rejected/2026/01/01/{days_ago}-{each}.yaml": b"x\n"}
                writer.file(Filing(f"reject: {each}.yaml: no", files), clock.now() - timedelta(days=days_ago))
    report = look_at_health(workspace)
    assert report.steps == 10
    assert report.counted_since == report.period.since
    assert report.day.drops == {Stage.ACCEPTED: {"not_accepted": 3}}
    assert report.period.drops == {Stage.ACCEPTED: {"not_accepted": 10}}
    assert sum(sum(day.dropped.values()) for day in report.days) == 10
    assert look_at_health(workspace, 60 * DAY_S).period.drops == {Stage.ACCEPTED: {"not_accepted": 40}}


def test_more_steps_than_are_read_are_told_of(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(workspace, 20, 0.1)
    monkeypatch.setattr(health, "SOME_STEPS", 5)
    monkeypatch.setattr(health, "MOST_STEPS", 10)
    report = look_at_health(workspace)
    assert report.steps == 10
    assert report.counted_since > report.period.since


def test_an_engine_reads_what_is_new_and_comes_to_the_same(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms = Alarms()
    read: list[Happened] = []
    add = Tally.add

    def note(self: Tally, step: Happened) -> None:
        read.append(step)
        add(self, step)

    monkeypatch.setattr(Tally, "add", note)
    told = []
    for each in range(8):
        job = submit(workspace, b"prompt: greet\n", f"greet-{each}.yaml").job
        fill(workspace, each, 0)
        workspace.commit([cancel(job, workspace.stamp(), actor=ADA)])
        read.clear()
        told += alarms.look(workspace)
        assert len(read) == each + 2 + (each == 0)  # The ledger's own first commit.
        read.clear()
        told += alarms.look(workspace)
        assert read == []
        assert {alert.key for alert in look_at_health(workspace).alerts} == set(alarms.standing)
    assert len(told) <= 2


def test_an_engine_looks_seldom_and_less_so_while_it_is_busy(workspace: Workspace) -> None:
    alarms = Alarms()
    assert not alarms.is_due(resting=True)
    alarms._next -= health.LOOK_S
    assert alarms.is_due(resting=True)
    assert not alarms.is_due(resting=False)
    alarms._next -= health.BUSY_S
    assert alarms.is_due(resting=False)
    alarms.look(workspace)
    assert not alarms.is_due(resting=False)


def test_a_ledger_that_was_replaced_is_counted_anew(workspace: Workspace) -> None:
    fill(workspace, 6, 0)
    alarms = Alarms()
    assert len(alarms.look(workspace)) == 1
    alarms._tip = "0" * 40
    with pytest.raises(Exception, match="0000"):
        alarms.look(workspace)
    assert alarms.look(workspace) == []
    assert len(alarms.standing) == 1


# --- the note ------------------------------------------------------------------------------------------------------


def test_the_alerts_of_a_note_are_the_next_engines_and_out_of_date_after_a_day(workspace: Workspace) -> None:
    fill(workspace, 6, 0)
    alarms = Alarms()
    alarms.look(workspace)
    note_engine(workspace, {}, alarms.to_note())
    note = read_note(workspace)
    assert alarms_of(note).standing == alarms.standing
    assert [alert.about for alert in standing_alerts(workspace, note)] == ["accepted not_accepted"]
    old = {**note, "looked": "2020-01-01T00:00:00Z"}
    assert standing_alerts(workspace, old) == []


def test_an_engine_says_every_half_minute_that_it_still_looks_and_nothing_more_often(world: World) -> None:
    world.set_up()
    path = world.root / ".git" / "orc" / "engine.json"
    with world.engine() as engine:
        tick(engine)
        said = path.stat().st_ino
        tick(engine)
        assert path.stat().st_ino == said
        engine.beat -= BEAT_S
        tick(engine)
        assert path.stat().st_ino != said
        assert time.monotonic() - engine.beat < BEAT_S


def test_an_engine_that_hangs_is_told(world: World) -> None:
    world.set_up()
    with world.engine() as engine:
        ws, note = engine.ws, read_note(engine.ws)
        assert tell_silence(ws, note) == ""
        assert "engine at work" not in orc(world.root, "status", code=0).out
        longest = 3 * (BEAT_S + ws.config.tick_seconds)
        for seconds, is_told in ((longest - 2, False), (longest + 2, True)):
            at = iso(ws.now() - timedelta(seconds=seconds))
            assert bool(tell_silence(ws, {**note, "at": at})) is is_told
        (world.root / ".git" / "orc" / "engine.json").write_text(json.dumps({**note, "at": at}))
        told = f"the engine at work (process {os.getpid()}) has looked at nothing since {at}"
        assert f"! {told}" in orc(world.root, "status", code=0).out
        assert f"warn  engine: {told}" in orc(world.root, "doctor").out
    assert "engine at work" not in orc(world.root, "status", code=0).out
    for odd in ({}, {"at": 3}, {"at": "soon"}):
        assert tell_silence(ws, odd) == ""


@pytest.mark.parametrize("note", [{}, {"alerts": None}, {"alerts": ["odd", {"kind": "odd"}], "looked": "odd"}])
def test_a_note_of_another_version_is_no_alert(workspace: Workspace, note: dict[str, object]) -> None:
    assert alarms_of(note).standing == {}
    assert standing_alerts(workspace, note) == []


def test_an_engine_that_is_stopped_does_not_wait_for_a_look(world: World) -> None:
    world.set_up()
    with world.engine() as engine:
        loop = Loop(engine)
        loop.stop()
        before = engine.alarms._tip
        loop.run()
        assert engine.alarms._tip == before == ""
