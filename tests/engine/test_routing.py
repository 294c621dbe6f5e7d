"""What `routing:` names is looked at beside the souls: what can have no effect is told with its line."""

from __future__ import annotations

import pytest

from orchestrator.engine.agents import view_agents
from orchestrator.engine.routing import routing_problems
from orchestrator.engine.workspace import Workspace

CONFIG = "version: 1\nmodels:\n  big-1: {tier: strong}\n  small-1: {tier: quick}\n"
SOULS = {
    "engineer": "model: big-1\nroles: [work]\nkinds: [code, ops]",
    "writer": "model: small-1\nroles: [work]\nkinds: [writing]",
    "critic": "model: big-1\nroles: [review]",
}


@pytest.mark.parametrize(
    ("routing", "told"),
    [
        ("code: engineer", ()),
        ("code: {tier: strong}", ()),
        ("writing: [writer]", ()),
        ("code: enginer", ("code: agent 'enginer' has no usable file in souls/; did you mean 'engineer'?",)),
        ("code: nobody", ("code: agent 'nobody' has no usable file in souls/",)),
        ("code: [engineer, critic]", ("code: agent 'critic' does no work: its `roles:` are review",)),
        ("ops: writer", ("ops: agent 'writer' may not do work of kind ops: its `kinds:` are writing",)),
        (
            "writing: {tier: strong}",
            ("writing.tier: no agent that may do work of kind writing has a model of the tier 'strong'",),
        ),
    ],
)
def test_routing_that_can_have_no_effect_is_told_with_its_line(
    workspace: Workspace, routing: str, told: tuple[str, ...]
) -> None:
    root = workspace.paths.root
    (root / "orc.yaml").write_text(f"{CONFIG}routing:\n  {routing}\n")
    (root / "souls").mkdir()
    for name, facts in SOULS.items():
        (root / "souls" / f"{name}.md").write_text(f"---\nbackend: player\n{facts}\n---\nYou are {name}.\n")
    workspace.reload_config()
    assert workspace.config_problem == ""
    found = [str(each) for each in routing_problems(workspace, view_agents(workspace)[0])]
    assert found == [f"orc.yaml:6: routing.{each}" for each in told]
