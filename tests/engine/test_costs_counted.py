"""Costs, with the real engine and an agent that tells what it used: counted once, whatever ends a run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from api_world import PRICE, WRITES, api_of, says
from cli_world import orc
from engine_world import World, git
from fake_models import FakeModels

from orchestrator.adapters.schemas import load_schema
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.job import State
from orchestrator.engine.ps import look_at_runs
from orchestrator.engine.tick import Engine, tick

SOUL = "---\nbackend: api\nmodel: {model}\nroles: [work]\n---\nYou do what is asked.\n"
pytestmark = pytest.mark.usefixtures("no_lies")


def set_up(world: World, service: FakeModels, *, model: str = "strong-1") -> None:
    service.play([WRITES, says()])
    world.souls = {"bea": "beta review"}
    world.config = {
        "backends": {"api": api_of(service)},
        "models": {"strong-1": {"family": "north", "price": PRICE}, "free-1": {"family": "north"}},
    }
    (world.root / "souls").mkdir(exist_ok=True)
    (world.root / "souls" / "keeper.md").write_text(SOUL.format(model=model))
    world.set_up()


def costs(root: Path, *args: str) -> dict[str, Any]:
    from jsonschema import Draft202012Validator

    done = orc(root, "costs", "--json", *args, code=0)
    value: dict[str, Any] = json.loads(done.out)
    Draft202012Validator(dict(load_schema("cli"))).validate(value)
    return value


def named(value: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in value["groups"]}


def test_what_a_job_used_is_told_by_whatever_one_asks(world: World, service: FakeModels) -> None:
    set_up(world, service)
    world.drop("greet.yaml", "prompt: greet\npurpose: maintenance\n")
    world.run()
    assert world.state("greet") is State.DONE
    found: Attempt = world.records("greet")["attempt-1"]
    assert found.spoke is not None
    assert found.spoke.cost_microusd
    value = costs(world.root)
    total = value["total"]
    # The player reviews, and tells nothing of what it used.
    assert (total["runs"], total["unknown_runs"], total["done"]) == (2, 1, 1)
    assert total["cost_microusd"] == found.spoke.cost_microusd
    assert total["tokens"] == found.spoke.usage.total if found.spoke.usage else 0
    assert named(value)["strong-1"]["cost_microusd"] == found.spoke.cost_microusd
    for by, name in [
        *[("project", "main"), ("goal", "(none)"), ("job", world.id("greet")), ("agent", "keeper"), ("lane", "normal")],
        *[("kind", "code"), ("purpose", "maintenance"), ("part", "attempt"), ("price", "2026-11-21")],
        *[("schedule", "(none)"), ("skill", "(none)"), ("backend", "api"), ("day", value["until"])],
    ]:
        told = costs(world.root, "--by", by)
        assert named(told)[name]["cost_microusd"] == found.spoke.cost_microusd, by
        for key in ("runs", "tokens", "cost_microusd", "done", "unknown_runs"):
            assert sum(each[key] for each in told["groups"]) == total[key], (by, key)
            assert sum(each[key] for each in told["daily"]) == total[key], (by, key)
    plain = orc(world.root, "costs", "--by", "part", code=0).out
    assert "? of 1 run it is not known what was used: counted as nothing" in plain
    assert plain.splitlines()[3].split() == ["PART", "RUNS", "TOKENS", "COST", "SHARE", "DONE", "PER", "DONE", "NOTE"]
    assert plain.splitlines()[-2].split()[:2] == ["total", "2"]
    # The job that ended is of no part, and none of its runs stands there.
    assert next(line for line in plain.splitlines() if line.startswith("(none)")).split()[-2:] == ["1", "-"]
    assert "\x1b" not in plain


def test_a_model_without_a_price_is_said_to_have_none(world: World, service: FakeModels) -> None:
    set_up(world, service, model="free-1")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    value = costs(world.root)
    [free] = value["unpriced"]
    assert (free["model"], free["runs"], value["total"]["cost_microusd"]) == ("free-1", 1, 0)
    assert free["tokens"] == value["total"]["tokens"] > 0
    told = orc(world.root, "costs", code=0).out
    assert f"? no price is known of free-1: 1 run with {free['tokens']:,} tokens counted as $0" in told


KILL = 'if [ ! -e "$0" ]; then touch "$0"; kill -9 "$PPID"; sleep 60; fi; echo "new = 1" > code.py; echo done'
"""An agent that ends its supervisor the first time."""


def test_a_run_that_was_killed_is_unknown_and_the_next_is_a_retry_of_the_same_job(
    world: World, service: FakeModels, tmp_path: Path
) -> None:
    set_up(world, service)
    world.config["backends"]["api"] = {"type": "command", "argv": ["sh", "-c", KILL, str(tmp_path / "killed")]}
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    with world.engine() as engine:
        # A lost run pauses before the next; nobody waits for that here.
        assert settled(engine, lambda: "lost" in world.steps("greet"))
    value = costs(world.root, "--by", "part")
    assert {each["name"]: (each["runs"], each["unknown_runs"]) for each in value["groups"]} == {"attempt": (1, 1)}
    orc(world.root, "cancel", "greet", code=0)
    [of_job] = costs(world.root, "--by", "job")["groups"]
    assert (of_job["name"], of_job["runs"], of_job["cancelled"]) == (world.id("greet"), 1, 1)


def test_what_is_given_up_while_it_runs_is_counted_as_unknown(world: World, service: FakeModels) -> None:
    set_up(world, service)
    world.config["backends"]["api"] = {"type": "command", "argv": ["sh", "-c", "sleep 30"]}
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    with world.engine() as engine:
        assert settled(engine, lambda: "start" in git(world.root, "log", "--format=%s", "orc/state"))
        orc(world.root, "cancel", "greet", code=0)
        assert settled(engine, lambda: not look_at_runs(engine.ws).runs)
    total = costs(world.root)["total"]
    assert (total["runs"], total["unknown_runs"], total["cancelled"]) == (1, 1, 1)


def settled(engine: Engine, condition: Callable[[], object], *, seconds: float = 40) -> bool:
    """Tick until it holds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        tick(engine)
        if condition():
            return True
        time.sleep(0.2)
    return False


def test_periods_and_the_plot(world: World, service: FakeModels, tmp_path: Path) -> None:
    set_up(world, service)
    assert orc(world.root, "costs", code=0).out.endswith("No run has ended yet.\n")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert costs(world.root, "--until", "2026-01-31", "--days", "31")["total"]["runs"] == 0
    assert costs(world.root, "--since", today)["total"]["runs"] == 2
    assert len(costs(world.root, "--since", "2024-02-28", "--until", "2024-03-01")["daily"]) == 3
    assert costs(world.root, "--project", "main")["total"]["runs"] == 2
    orc(world.root, "costs", "--project", "nowhere", code=3)
    orc(world.root, "costs", "--since", "2026-02-01", "--until", "2026-01-01", code=2)
    orc(world.root, "costs", "--since", "2026-02-01", "--until", "2026-03-01", "--days", "3", code=2)
    orc(world.root, "costs", "--by", "colour", code=2)
    file = tmp_path / "costs.svg"
    orc(world.root, "costs", "--svg", str(file), code=0)
    import xml.etree.ElementTree as ET

    assert len(ET.fromstring(file.read_text()).findall("{http://www.w3.org/2000/svg}rect")) == 30
