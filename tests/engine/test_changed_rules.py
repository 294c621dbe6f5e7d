"""What a persistent agent is told of itself and the rules: always what the record of its attempt says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_world import World, git
from fake_models import FakeModels

from orchestrator.adapters.audit import audit
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.library import blob_id
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.job import State
from orchestrator.engine.sessions import session_of, session_path
from orchestrator.engine.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

SOUL = """---
backend: api
model: strong-1
roles: [work]
persistent: true
---

## Values
Keeps the lamp burning.
"""
RULE = """---
rule: {rule}
incident: The dark night
date: "2026-11-01"
enforced_by: prompt
---
It was dark.
"""


@pytest.fixture
def world(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, FakeModels]]:
    """A persistent agent that works under one rule and has done one job."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-not-a-key-4711")
    with FakeModels([]) as service:
        made = World(repo)
        made.souls = {"bea": "beta review"}
        made.config = {
            "backends": {"api": {"type": "anthropic", "base_url": service.url}},
            "models": {"strong-1": {"family": "north"}},
        }
        for folder, name, text in (("souls", "keeper", SOUL), ("rules", "0001-lamp", RULE.format(rule="Light it."))):
            (repo / folder).mkdir(exist_ok=True)
            (repo / folder / f"{name}.md").write_text(text)
        made.set_up()
        do_job(made, service, "first")
        yield made, service
    assert audit(repo / ".git", {"main": repo / ".git"}).lies == ()


def do_job(world: World, service: FakeModels, name: str) -> Attempt:
    """One job of this name from its file to its end; its attempt."""
    write = {"name": "write", "input": {"path": f"{name}.py", "content": "1\n"}}
    turns: list[dict[str, Any]] = [{"times": 1, "tools": [write]}, {"text": "Done."}]
    service.play(turns)
    world.drop(f"{name}.yaml", f"prompt: the {name}\n")
    world.run()
    assert world.state(name) is State.DONE
    found: Attempt = world.records(name)["attempt-1"]
    return found


def test_a_changed_rule_reaches_the_conversation_that_goes_on(world: tuple[World, FakeModels]) -> None:
    place, service = world
    (place.root / "rules" / "0001-lamp.md").write_text(RULE.format(rule="Trim the wick."))
    first, second = place.records("first")["attempt-1"], do_job(place, service, "second")
    assert (second.resumed, second.session) == (True, first.session)
    assert second.system != first.system
    told = service.requests[-1].system
    assert ("Trim the wick." in told, "Light it." in told) == (True, False)
    assert git(place.root, "show", second.system) == told.strip()
    before, after = (blob_id(RULE.format(rule=rule).encode()) for rule in ("Light it.", "Trim the wick."))
    assert (first.rule_ids, second.rule_ids) == ((f"0001@{before}",), (f"0001@{after}",))
    assert place.records("second")["review-1"].rule_ids == (f"0001@{after}",)
    with open_workspace(place.root) as ws:
        session = session_of(ws, "keeper", "main")
    assert session is not None
    assert session.system == second.system


def test_what_only_orc_reads_of_a_soul_changes_nothing_in_its_conversation(world: tuple[World, FakeModels]) -> None:
    place, service = world
    soul = place.root / "souls" / "keeper.md"
    soul.write_text(SOUL.replace("persistent", "kinds: [code]\npersistent"))
    first, second = place.records("first")["attempt-1"], do_job(place, service, "second")
    assert (second.resumed, second.session, second.system) == (True, first.session, first.system)
    assert second.soul != first.soul


def test_a_conversation_that_this_version_cannot_read_begins_anew(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    path = session_path("keeper", "main")
    workspace.commit([], [Filing("worker: keeper", {path: b"id: s-1\nsoul: 0123456789\n"})])
    assert session_of(workspace, "keeper", "main") is None
    assert "keeper begins anew" in caplog.text
    assert path in caplog.text
