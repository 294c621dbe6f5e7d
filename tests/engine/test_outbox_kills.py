"""The engine dies between what a run asks, the commit that grants it, and the answer: it is granted once, and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from crash_helpers import KILLED, RUN, World, check_ledger, check_repository, check_runs, make_world

from orchestrator.adapters.effects import Effect
from orchestrator.adapters.ledger import REF

LONG = 300
PLAYS = """\
plays:
- match: {{kind: attempt, title: asks}}
  write: {{asks.py: "asks = 1\\n"}}
  run: |
    {begin}
    cp {outside}/requests/*.json "$ORC_RUN_DIR/outbox/"
    sh {outside}/hold.sh asks
    {end}
  say: done
- match: {{kind: attempt}}
  write: {{more.py: "more = 1\\n"}}
  run: {begin}; {end}
  say: done
- match: {{kind: review}}
  run: {begin}; {end}
  verdict: APPROVED
"""
REQUESTS = {
    "1.json": {"kind": "remember", "type": "lesson", "text": "half is not enough"},
    "2.json": {"kind": "submit", "name": "more.yaml", "job": "prompt: more\n"},
    "3.json": {"kind": "submit", "name": "bad.yaml", "job": "prompt: more\nmerge: auto\n"},
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path, plays=PLAYS)
    requests = made.outside / "requests"
    requests.mkdir()
    for name, request in REQUESTS.items():
        (requests / name).write_text(json.dumps({"protocol": 1, **request}))
    made.job("asks")
    return made


def granted_once(world: World) -> None:
    files = world.git("ls-tree", "-r", "--name-only", REF, "memory/", "requests/").splitlines()
    assert len([path for path in files if path.startswith("memory/")]) == 1
    assert len([path for path in files if path.startswith("requests/")]) == len(REQUESTS)
    log = world.ledger_log()
    assert log.count("accept: more-") == 1
    assert (log.count("request: asks-"), log.count("refuse: asks-")) == (2, 1)
    check_runs(world)
    check_ledger(world)
    check_repository(world)


@pytest.mark.slow
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("place", [f"{Effect.OUTBOX_ANSWER}:before", f"{Effect.OUTBOX_ANSWER}:after:2"])
def test_an_engine_that_dies_before_it_answers_a_living_run_answers_when_it_is_back(world: World, place: str) -> None:
    world.kill_at = [place]
    assert world.orc(*RUN) == KILLED
    assert "request: asks-" in world.ledger_log()
    (place_,) = (world.root / ".git" / "orc" / "runs").glob("asks-*")
    assert len(list((place_ / "answers").glob("[!.]*"))) < len(REQUESTS)
    with world.engine() as (until, _):
        until(lambda: len(list((place_ / "answers").glob("[!.]*"))) == len(REQUESTS))
        accepted = [json.loads((place_ / "answers" / name).read_text())["accepted"] for name in REQUESTS]
        assert accepted == [True, True, False]
        world.go("asks")
    world.settle()
    granted_once(world)


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("times", range(2, 5))
@pytest.mark.parametrize("effect", [Effect.LEDGER_OBJECTS, Effect.LEDGER_REF])
@pytest.mark.parametrize("side", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_wherever_the_ledger_is_written_an_engine_may_die_and_no_request_counts_twice(
    world: World, effect: Effect, side: str, times: int
) -> None:
    world.kill_at = [f"{effect}:{side}:{times}"]
    world.go("asks")
    world.settle()
    assert world.kill_at == []
    granted_once(world)
