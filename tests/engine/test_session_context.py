"""How long an agent's conversation is: as its program told of the newest call, and not all calls together."""

from __future__ import annotations

import pytest
from engine_world import World
from fake_models import FakeModels

from orchestrator.core.job import State
from orchestrator.engine.sessions import session_of
from orchestrator.engine.workspace import open_workspace

SOUL = (
    "---\nbackend: api\nmodel: strong-1\nroles: [work]\npersistent: true\n---\n\n## Values\nKeeps the lamp burning.\n"
)
UNCACHED = {"input": 50_000, "output": 100}


@pytest.mark.slow
def test_many_calls_without_a_cache_do_not_end_a_conversation(world: World, service: FakeModels) -> None:
    world.souls = {"bea": "beta review"}
    world.config = {
        "backends": {"api": {"type": "anthropic", "base_url": service.url}},
        "models": {"strong-1": {"family": "north", "window": 200_000}},
    }
    (world.root / "souls").mkdir(exist_ok=True)
    (world.root / "souls" / "keeper.md").write_text(SOUL)
    writes = [{"name": "write", "input": {"path": f"{number}.py", "content": "1\n"}} for number in range(4)]
    steps = [{"times": 1, "tools": [write], "usage": UNCACHED} for write in writes]
    service.play([*steps[:3], {"times": 1, "text": "Done.", "usage": UNCACHED}, steps[3], {"text": "Done."}])
    world.set_up()
    world.drop("first.yaml", "prompt: the first\n")
    world.run()
    with open_workspace(world.root) as ws:
        session = session_of(ws, "keeper", "main")
    assert session is not None
    assert session.used.input == 200_000
    assert session.context == 50_100
    world.drop("second.yaml", "prompt: the second\n")
    world.run()
    assert world.state("second") is State.DONE
    assert world.records("second")["attempt-1"].resumed
