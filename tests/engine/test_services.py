"""Services that limit, refuse or break: what begins on them, what it costs the jobs, and what people are told. With
orc's own API agent against a model service on loopback, and with programs that report by their exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from api_world import api_of
from cli_world import SOURCE, orc, orc_argv
from engine_world import World, attempt, git
from fake_models import FakeModels

from orchestrator.adapters.audit import audit
from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_paths import service_path
from orchestrator.adapters.ledger_text import format_record
from orchestrator.core.job import State
from orchestrator.core.service import Service, Shut, Went, reopened
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, Actor
from orchestrator.engine.services import read_services
from orchestrator.engine.tick import tick
from orchestrator.engine.workspace import open_workspace

pytestmark = [pytest.mark.usefixtures("no_lies"), pytest.mark.timeout(240)]
WRITES = {"after_tool": False, "tools": [{"name": "write", "input": {"path": "{{1}}.py", "content": "1\n"}}]}
WORKS: list[dict[str, Any]] = [{**WRITES, "match": r"make (\w+)"}, {"text": "It is done."}]
SOUL = "---\nbackend: api\nmodel: strong-1\nfamily: north\nroles: [work]\n---\nYou are {}.\n"


def set_up(world: World, service: FakeModels, *turns: dict[str, Any], souls: tuple[str, ...] = ("keeper",)) -> None:
    service.play(turns)
    world.souls = {"bea": "beta review"}
    world.config = {"backends": {"api": api_of(service)}}
    (world.root / "souls").mkdir(exist_ok=True)
    for name in souls:
        (world.root / "souls" / f"{name}.md").write_text(SOUL.format(name))
    world.set_up()


def events(world: World) -> list[str]:
    """What the ledger tells of services, the oldest first."""
    out = git(world.root, "log", "orc/state", "--reverse", "--format=%s", "--grep", "^service: ")
    return out.splitlines()


def wait_for(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_limit_parks_the_backend_until_its_reset_and_costs_no_job_anything(world: World, service: FakeModels) -> None:
    set_up(world, service, {"times": 1, "status": 429, "headers": {"retry-after": "40"}}, *WORKS)
    for name in ("one", "two"):
        world.drop(f"{name}.yaml", f"prompt: make {name}\n")
    world.run(until=lambda ws: bool(read_services(ws)))
    with open_workspace(world.root) as ws:
        rest = read_services(ws)["api"].rests[0]
    assert (rest.model, rest.cause, rest.times) == ("strong-1", Went.LIMITED, 1)
    assert 41 <= (parse(rest.until) - parse(rest.since)).total_seconds() <= 45
    assert world.job("one").state is State.READY
    assert f"until {rest.until}" in world.job("one").at.reason
    waiting = orc(world.root, "status", "--json").json()
    assert [(each["backend"], each["state"], each["until"]) for each in waiting["services"]] == [
        ("api", "rests", rest.until),
        ("api", "less", ""),
    ]
    told = {job["id"]: job["reason"] for job in waiting["jobs"]}
    assert all(f"waits: api rests until {rest.until}" in told[world.id(name)] for name in ("one", "two"))
    for command in ("status", "health", "ps", "workers"):
        assert f"backend api rests until {rest.until}" in orc(world.root, command).out
    world.run(timeout_s=150)
    for name in ("one", "two"):
        job = world.job(name)
        assert (job.state, job.at.spent, job.at.failed_starts) == (State.DONE, 0, 0)
    assert world.job("one").at.unserved == 1
    begun = [world.records("one")["attempt-2"].started, world.records("two")["attempt-1"].started]
    assert min(begun) >= rest.until
    assert [each for each in events(world) if "rests until" in each or "answers again" in each] == [
        f"service: api rests until {rest.until}: its limit is reached for strong-1",
        "service: api answers again",
    ]


@pytest.mark.slow
def test_a_dead_key_costs_three_calls_for_twenty_jobs_and_goes_on_when_it_is_mended(
    world: World, service: FakeModels
) -> None:
    set_up(world, service, {"status": 401}, souls=("keeper", "warden"))
    for number in range(20):
        world.drop(f"job-{number}.yaml", f"prompt: make it{number}\n")
    looks = 0

    def seen_shut(ws: Any) -> bool:
        nonlocal looks
        looks += "is shut" in str(world.subjects)
        return looks > 6

    world.run(until=seen_shut, timeout_s=90)
    assert len(service.requests) == 3
    jobs = [world.job(f"job-{number}") for number in range(20)]
    assert {(job.state, job.at.spent, job.at.failed_starts, job.at.card) for job in jobs} == {(State.READY, 0, 0, 0)}
    assert sum(job.at.unserved for job in jobs) == 3
    shown = orc(world.root, "health")
    assert (shown.code, "orc reopen api" in shown.out) == (1, True)
    assert "its key was refused 3 times in a row" in shown.out
    assert "give it a key that is good" in orc(world.root, "status").out
    assert sum(" shut until" in each for each in events(world)) == 1
    service.play(WORKS)
    assert orc(world.root, "reopen", "api").out == "api is tried again at once.\n"
    assert orc(world.root, "reopen", "api").code != 0
    world.run(until=lambda ws: len(ws.ledger.snapshot().jobs) < 20, timeout_s=120)
    assert orc(world.root, "health", "--json").json()["alerts"] == []


@pytest.mark.slow
def test_a_killed_engine_leaves_the_backend_parked(world: World, service: FakeModels) -> None:
    set_up(world, service, {"status": 429, "headers": {"retry-after": "3600"}})
    world.drop("one.yaml", "prompt: make one\n")
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    first = subprocess.Popen(orc_argv("run"), cwd=world.root, stdout=subprocess.DEVNULL, env=env)
    try:
        wait_for(lambda: bool(events(world)), "the backend to rest", 90)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    before = events(world)
    ticks = 0

    def some_ticks(ws: Any) -> bool:
        nonlocal ticks
        ticks += 1
        return ticks > 5

    world.run(until=some_ticks)
    assert (len(service.requests), events(world)) == (1, before)
    assert world.job("one").state is State.READY


@pytest.mark.slow
def test_no_model_is_called_while_nothing_is_asked_for(world: World, service: FakeModels) -> None:
    set_up(world, service, *WORKS)
    ticks = 0

    def some_ticks(ws: Any) -> bool:
        nonlocal ticks
        ticks += 1
        return ticks > 5

    world.run(until=some_ticks)
    assert service.requests == []
    world.drop("one.yaml", "prompt: make one\n")
    world.run(timeout_s=90)
    called = len(service.requests)
    assert (world.state("one"), called > 0, events(world)) == (State.DONE, True, [])
    for command in ("status", "health", "ps", "workers", "verify", "doctor"):
        orc(world.root, command)
    ticks = 0
    world.run(until=some_ticks)
    assert len(service.requests) == called


# --- programs that tell by their exit code ---


def with_program(world: World, script: str, **config: Any) -> None:
    program = world.root / "agent.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    git(world.root, "add", "agent.sh")
    git(world.root, "commit", "-qm", "The agent")
    world.souls = {"bea": "beta review", "cleo": "alpha work"}
    world.config = {"backends": {"own": {"type": "command", "argv": [str(program)]}}, **config}
    (world.root / "souls").mkdir(exist_ok=True)
    (world.root / "souls" / "ada.md").write_text("---\nbackend: own\nfamily: gamma\nroles: [work]\n---\nAda.\n")
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.set_up()


@pytest.mark.slow
@pytest.mark.parametrize("by_job", [True, False])
def test_another_agent_stands_in_where_it_is_permitted_and_its_work_is_judged_as_its_own(
    world: World, by_job: bool
) -> None:
    config = {} if by_job else {"fallback": {"ada": ["cleo"]}}
    with_program(world, "cat >/dev/null; echo 'retry-after: 3600'; exit 75", **config)
    (world.root / "souls" / "dan.md").write_text("---\nbackend: player\nfamily: alpha\nroles: [review]\n---\nDan.\n")
    world.drop("pinned.yaml", "prompt: wait\nagent: ada\n" + ("" if by_job else "fallback: [ada]\n"))
    world.drop("free.yaml", "prompt: go\nagent: ada\n" + ("fallback: [cleo]\n" if by_job else ""))
    world.run(until=lambda ws: "done: free" in str(world.subjects))
    assert world.state("free") is State.DONE
    made = [record for stem, record in world.records("free").items() if stem.startswith("attempt-")][-1]
    assert (made.worker.agent, made.rule) == ("cleo", "fallback for ada")
    # Dan is of the family of whoever did it, so he may not judge it.
    assert world.records("free")["review-1"].reviewer.agent == "bea"
    pinned = world.job("pinned")
    assert (pinned.state, pinned.at.spent) == (State.READY, 0)
    shown = orc(world.root, "show", world.id("free")).out
    assert "stands in for ada" in shown


@pytest.mark.slow
def test_a_program_that_breaks_at_once_is_left_alone_after_three_runs(world: World) -> None:
    with_program(world, "echo run >>$ORC_RUN_LOG; exit 9")
    (world.root / "souls" / "cleo.md").unlink()
    log = world.root.parent / "runs.log"
    text = (world.root / "agent.sh").read_text().replace("$ORC_RUN_LOG", str(log))
    (world.root / "agent.sh").write_text(text)
    for number in range(6):
        world.drop(f"job-{number}.yaml", f"prompt: make {number}\n")
    looks = 0

    def seen_shut(ws: Any) -> bool:
        nonlocal looks
        looks += "is shut" in str(world.subjects)
        return looks > 4

    world.run(until=seen_shut, timeout_s=90)
    assert log.read_text().splitlines() == ["run"] * 3
    jobs = [world.job(f"job-{number}") for number in range(6)]
    assert {(job.state in (State.READY, State.WAITING), job.at.spent, job.at.card) for job in jobs} == {(True, 0, 0)}
    with open_workspace(world.root) as ws:
        shut = read_services(ws)["own"].shut
        assert shut is not None
        assert shut.cause is Went.BROKEN
        assert shut.until > iso(ws.now())


@pytest.mark.slow
def test_verify_finds_what_does_not_follow_from_a_run(world: World) -> None:
    with_program(world, "echo 'retry-after: 3600'; exit 75")
    (world.root / "souls" / "cleo.md").unlink()
    world.drop("one.yaml", "prompt: make one\n")
    world.run(until=lambda ws: bool(read_services(ws)))
    git_dir, honest = world.root / ".git", git(world.root, "rev-parse", "orc/state")
    (counted,) = git(world.root, "log", "orc/state", "--format=%H", "--grep", "^service: ").split()
    with open_workspace(world.root) as ws:
        known = read_services(ws)["own"]
    assert known.rests
    subject = git(world.root, "log", "-1", "--format=%s", counted)
    told = git(world.root, "log", "-1", "--format=%(trailers:only,unfold)", counted)
    trailers = tuple((line.partition(": ")[0], line.partition(": ")[2]) for line in told.splitlines())
    sooner = replace(known, rests=(replace(known.rests[0], until=known.rests[0].since),))
    shut = replace(known, seq=2, shut=Shut(known.rests[0].since, known.rests[0].until, Went.REFUSED, ""))
    forged = {
        "another time than the one that was stated": (f"{counted}^", subject, sooner, trailers, ENGINE),
        "one that nobody counted": (f"{counted}^", "library: x", None, (), ENGINE),
        "one that no run shut": (honest, "service: own shut", shut, trailers, ENGINE),
        "one that the engine opens": (honest, "service: own is to be tried at once", reopened(known), (), ENGINE),
        "one that a person does not open": (
            honest,
            "service: own is to be tried at once",
            shut,
            (("Actor", "human:Eve"),),
            Actor("human:Eve"),
        ),
    }
    assert audit(git_dir, {"main": git_dir}).lies == ()
    for what, (onto, says, holds, facts, actor) in forged.items():
        git(world.root, "update-ref", "refs/heads/orc/state", onto)
        path, data = ("library/x", b"x") if holds is None else (service_path("own"), format_record(holds))
        with open_workspace(world.root) as ws, ws.ledger.writing() as writer:
            writer.file(Filing(says, {path: data}, facts, actor), ws.now())
        assert {lie.rule for lie in audit(git_dir, {"main": git_dir}).lies} & {Rule.SERVICE, Rule.MESSAGE}, what
    git(world.root, "update-ref", "refs/heads/orc/state", honest)


def test_a_backend_that_a_clock_far_ahead_shut_is_tried_as_soon_as_any(world: World) -> None:
    with_program(world, "exit 9")
    honest = git(world.root, "rev-parse", "orc/state")
    with open_workspace(world.root) as ws, ws.ledger.writing() as writer:
        now = ws.now()
        then = now + timedelta(days=3650)
        shut = Shut(iso(then), iso(then + timedelta(seconds=600)), Went.BROKEN, "it broke", times=2)
        known = Service("own", 3, broken=3, shut=shut)
        writer.file(Filing("service: own shut", {service_path("own"): format_record(known)}), now)
    ahead = f"backend own is shut until {shut.until} by a clock that was ahead, which `orc run` makes 20"
    assert ahead in orc(world.root, "status", code=0).out
    assert f"warn  backend own: {ahead}" in orc(world.root, "doctor").out
    with world.engine() as engine:
        tick(engine)
        tick(engine)
    (told,) = [line for line in world.subjects if line.startswith("service: ")]
    with open_workspace(world.root) as ws:
        found = read_services(ws)["own"].shut
    assert found is not None
    assert told == f"service: own is given more from {found.until} on at the latest: a clock was ahead"
    assert 595 <= (parse(found.until) - now).total_seconds() <= 700
    assert f"backend own is shut until {found.until}, then one run tries it" in orc(world.root, "status", code=0).out
    assert events(world) == ["service: own shut", told]
    git(world.root, "update-ref", "refs/heads/orc/state", honest)
