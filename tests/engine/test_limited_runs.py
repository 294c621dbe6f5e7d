"""Limits in a real engine: what is used up keeps runs from beginning, is told with its end, and nothing else stops."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from cli_world import orc
from engine_world import World, attempt, git, ticks_until

from orchestrator.adapters import clock
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_paths import service_path
from orchestrator.adapters.ledger_text import format_record
from orchestrator.core.actions import SetPressure
from orchestrator.core.config import AGENT_CAPS
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.service import Service, Shut, Went
from orchestrator.core.times import iso
from orchestrator.engine import tick as ticking
from orchestrator.engine.agents import view_agents
from orchestrator.engine.limits import Reasons, set_pressure, waits_for_tomorrow
from orchestrator.engine.loop import is_idle
from orchestrator.engine.tick import tick
from orchestrator.engine.workspace import open_workspace

pytestmark = pytest.mark.usefixtures("no_lies")


def set_up(world: World, limits: dict[str, Any], **config: Any) -> World:
    world.plays = [attempt(match={"title": f"job {n}"}, write={f"code{n}.py": f"n = {n}\n"}) for n in range(9)]
    world.config = {"execution_limits": limits, **config}
    return world.set_up()


def drop(world: World, *numbers: int, priority: str = "P2") -> None:
    for number in numbers:
        world.drop(f"job-{number}.yaml", f"title: job {number}\nprompt: Do it\npriority: {priority}\n")


def status(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(orc(world.root, "status", "--json", code=0).out)
    return found


def test_an_agents_runs_in_a_day_are_bounded_told_and_go_on_the_day_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(world, {"agents": {"ada": {"runs": 1}}})
    drop(world, 1, 2)
    world.run()  # It does not wait for tomorrow.
    (left,) = [name for name in ("job-1", "job-2") if world.state(name) is State.READY]
    assert {world.state("job-1"), world.state("job-2")} == {State.DONE, State.READY}
    found = status(world)
    (limit,) = found["limits"]
    assert (limit["code"], limit["scope"], limit["name"], limit["used"], limit["limit"]) == (
        "runs",
        "agent",
        "ada",
        1,
        1,
    )
    assert [line["reason"] for line in found["jobs"]] == [limit["told"]]
    told = f"agent ada: 1 of 1 runs today; nothing begins until {limit['until']}"
    for words in (("status",), ("show", world.id(left))):
        assert told in orc(world.root, *words, code=0).out
    assert f"? limit: {told}" in orc(world.root, "health").out
    assert [line for line in world.subjects if line.startswith("limit: ")] == [f"limit: {told}"]
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(days=1))
    world.run()
    assert world.state(left) is State.DONE


def test_a_tick_that_took_long_begins_one_more_run_and_the_next_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticking, "COSTLY_S", 0.0)
    world.souls = {"bea": "beta review", **{f"a{number}": "alpha work" for number in range(9)}}
    set_up(world, {}, slots=9)
    drop(world, *range(9))
    begun = []
    with world.engine() as engine:

        def has_begun_all() -> bool:
            moved = tick(engine)
            begun.append(sum(subject.startswith("start: ") for subject in world.subjects))
            assert begun[-1] == 9 or moved or not begun[-1], "it rests though there is more to do"
            return begun[-1] == 9

        until = time.monotonic() + 30
        while not has_begun_all():
            assert time.monotonic() < until, engine.problems
    each = [now - was for was, now in pairwise([0, *begun])]
    assert [number for number in each if number] == [1] * 9


def test_many_that_begin_at_once_pass_a_budget_by_one_run_at_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticking, "COSTLY_S", 60.0)
    world.souls = {"bea": "beta review", **{f"a{number}": "alpha work" for number in range(9)}}
    set_up(world, {"total": {"tokens": 15_000}}, slots=9)
    drop(world, *range(9))
    with world.engine() as engine:
        ticks_until(engine, lambda: any(each.job.at.reserved for each in engine.ws.ledger.snapshot().active))
        active = [folder.job for folder in engine.ws.ledger.snapshot().active]
        tokens = [job.at.reserved.tokens for job in active if job.at.reserved is not None]
        # What they are told besides the task is no small part of it.
        assert min(tokens) > 4_000 + 300
        assert sum(tokens) - max(tokens) < 15_000 <= sum(tokens)


def test_whoever_cannot_begin_anyway_keeps_nobody_waiting_for_the_limit_of_another(world: World) -> None:
    set_up(world, {"agents": {"ada": {"runs": 1}}}, backends={"gone": {"type": "command", "argv": ["/absent"]}})
    text = "---\nbackend: gone\nfamily: west\nroles: [work]\n---\nYou work.\n"
    (world.root / "souls" / "zoe.md").write_text(text)
    drop(world, 1, 2)
    world.run()
    assert {world.state("job-1"), world.state("job-2")} == {State.DONE, State.READY}
    (line,) = status(world)["jobs"]
    assert line["reason"].startswith("agent ada: 1 of 1 runs today")


def test_the_limit_of_an_agent_whose_service_rests_holds_nothing_back_that_another_may_take(world: World) -> None:
    set_up(world, {"agents": {"ada": {"runs": 1}}}, backends={"other": {"type": "scripted", "script": "plays.yaml"}})
    soul = "---\nbackend: other\nfamily: west\nroles: [work]\n---\nYou work.\n"
    (world.root / "souls" / "cyd.md").write_text(soul)
    for number in (1, 2):
        world.drop(f"job-{number}.yaml", f"title: job {number}\nprompt: Do {number}\nagent: ada\n")
    world.run()
    honest = git(world.root, "rev-parse", "orc/state")
    (left,) = [name for name in ("job-1", "job-2") if world.state(name) is State.READY]
    with open_workspace(world.root) as ws:
        job, now = ws.open_job(world.id(left)).job, ws.now()
        shut = Shut(iso(now), iso(now + timedelta(hours=1)), Went.BROKEN, "it broke")
        known = {service_path("player"): format_record(Service("player", 1, broken=3, shut=shut))}
        with ws.ledger.writing() as writer:
            writer.file(Filing("service: player shut", known), now)
        agents = view_agents(ws)[0]
        refusal = Reasons(ws, agents).of(job)
        assert refusal is not None
        assert (refusal.code, refusal.name) == ("runs", "ada")
        assert waits_for_tomorrow(ws, [job], agents)
        ws.config = replace(ws.config, fallback={"ada": ("cyd",)})
        assert Reasons(ws, agents).of(job) is None
        assert not waits_for_tomorrow(ws, [job], agents)
        caps = replace(AGENT_CAPS, at_once=0)
        limits = ws.config.execution_limits
        ws.config = replace(ws.config, execution_limits=replace(limits, agents={**limits.agents, "cyd": caps}))
        assert Reasons(ws, agents).of(job) == refusal
    git(world.root, "update-ref", "refs/heads/orc/state", honest)


def test_a_limit_that_is_raised_holds_at_once_and_a_broken_file_leaves_the_one_before(world: World) -> None:
    set_up(world, {"total": {"runs": 1}})
    drop(world, 1)
    text = (world.root / "orc.yaml").read_text()
    with world.engine() as engine:
        folders = engine.ws.ledger.snapshot
        ticks_until(engine, lambda: any(each.job.state is State.REVIEWING for each in folders().folders.values()))
        (world.root / "orc.yaml").write_text(text.replace("runs: 1", "runs: lots"))
        for _ in range(5):
            tick(engine)
        assert engine.ws.config.execution_limits.total.runs == 1
        assert "runs" in engine.ws.config_problem
        (folder,) = engine.ws.ledger.snapshot().folders.values()
        assert (folder.job.state, folder.job.at.run) == (State.REVIEWING, "")
    (world.root / "orc.yaml").write_text(text.replace("runs: 1", "runs: 2"))
    world.run()
    assert world.state("job-1") is State.DONE


def test_a_job_that_has_used_up_its_own_asks_and_gets_another_set(world: World) -> None:
    set_up(world, {})
    world.drop("job-1.yaml", "title: job 1\nprompt: Do it\nlimits: {tokens: 5000}\n")
    world.run()
    # The attempt was expected to use 4,000 and its prompt; the review is what it is not enough for, or comes after.
    while world.state("job-1") is State.DECIDE:
        card = world.card("job-1")
        assert card.kind is CardKind.CEILING
        assert "tokens" in card.question
        world.answer("job-1", "retry")
        world.run()
    job = world.job("job-1")
    assert job.state is State.DONE
    assert job.at.used.tokens >= 5000


def test_what_the_last_minutes_used_holds_everything_back_until_they_are_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(world, {"window_tokens": 1000})
    drop(world, 1)
    world.run(until=lambda ws: any(each.job.state is State.REVIEWING for each in ws.ledger.snapshot().active))
    with world.engine() as engine:
        for _ in range(3):
            tick(engine)
        assert not any(folder.job.at.run for folder in engine.ws.ledger.snapshot().active)
        # They end by themselves: whoever runs until nothing is left to do waits for the review.
        assert not is_idle(engine)
    (limit,) = status(world)["limits"]
    assert (limit["code"], limit["limit"], limit["until"]) == ("window", 1000, "")
    assert limit["told"] in orc(world.root, "show", world.id("job-1"), code=0).out
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(seconds=320))
    world.run()
    assert world.state("job-1") is State.DONE


def test_pressure_begins_and_ends_once_each_and_lets_a_p0_begin(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.souls["cyd"] = "alpha work"
    set_up(world, {}, slots=2)
    drop(world, 0)
    world.run()
    used = world.job("job-0").at.used.tokens
    config = (world.root / "orc.yaml").read_text()
    # What was used is 85 % of what is allowed.
    limited = config.replace("execution_limits: {}", f"execution_limits: {{window_tokens: {used * 100 // 85}}}")
    assert limited != config
    (world.root / "orc.yaml").write_text(limited)
    drop(world, 1, 2, 3, 4, 5)
    with world.engine() as engine:
        for _ in range(5):
            tick(engine)
        assert all(folder.job.state is State.READY for folder in engine.ws.ledger.snapshot().folders.values())
    assert pressures(world) == ["only a P0 begins"]
    (limit,) = status(world)["limits"]
    assert limit["code"] == "pressure"
    assert "nothing but a P0 begins" in orc(world.root, "status", code=0).out
    drop(world, 6, priority="P0")
    with world.engine() as engine:
        folders = engine.ws.ledger.snapshot
        ticks_until(engine, lambda: any(each.job.at.attempt for each in folders().folders.values()))
    assert world.job("job-6").at.attempt == 1
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(seconds=320))
    (world.root / "orc.yaml").write_text(config)
    world.run()
    assert {world.state(f"job-{n}") for n in range(7)} == {State.DONE}
    assert pressures(world) == ["only a P0 begins", "over"]


def test_pressure_says_of_no_more_jobs_that_they_are_ready_than_there_are(world: World) -> None:
    set_up(world, {}, slots=1)
    drop(world, 0)
    world.run()
    used = world.job("job-0").at.used.tokens
    config = (world.root / "orc.yaml").read_text()
    (world.root / "orc.yaml").write_text(
        config.replace("execution_limits: {}", f"execution_limits: {{window_tokens: {used * 100 // 85}}}")
    )
    for number in (1, 2, 3):
        assert orc(world.root, "submit", "-", stdin=f"prompt: Do {number}\nhold: true\n").code == 0
    with open_workspace(world.root) as ws:
        # Two were given up since they were counted.
        told = set_pressure(ws, SetPressure(True, 5))
    assert told.endswith("3 jobs ready for 1 slots")


def pressures(world: World) -> list[str]:
    out = git(world.root, "log", "orc/state", "--reverse", "--format=%s", "--grep=^pressure: ")
    return [line.removeprefix("pressure: ").partition(",")[0] for line in out.splitlines()]


def test_runs_that_begin_together_pass_a_limit_no_further_than_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticking, "COSTLY_S", 60.0)
    world.souls["cyd"] = "alpha work"
    set_up(world, {"total": {"tokens": 4200}})
    drop(world, 1, 2)
    with world.engine() as engine:
        ticks_until(engine, lambda: any(each.job.at.reserved for each in engine.ws.ledger.snapshot().active))
        doing = [folder.job.at.reserved for folder in engine.ws.ledger.snapshot().active]
        reserved = [each for each in doing if each is not None]
    # Before its prompt is made nobody knows how long that is: for both of them there was room.
    assert len(reserved) == 1
    assert reserved[0].tokens > 4200


def test_what_is_counted_survives_the_engine_and_costs_nothing_to_find_again(world: World) -> None:
    set_up(world, {"total": {"runs": 2}})
    drop(world, 1, 2)
    for _ in range(3):
        world.run()  # A new engine each time.
    with open_workspace(world.root) as ws:
        jobs = [folder.job for folder in ws.ledger.snapshot().folders.values()]
        runs = sum(each.at.used.runs for each in jobs)
    assert runs == 2
