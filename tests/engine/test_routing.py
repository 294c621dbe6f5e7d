"""What `routing:` and `fallback:` name is looked at beside the souls: what can have no effect is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine.agents import view_agents
from orchestrator.engine.routing import fallback_problems, routing_problems
from orchestrator.engine.workspace import Workspace

CONFIG = "version: 1\nmodels:\n  big-1: {tier: strong}\n  small-1: {tier: quick}\n"
SOULS = {
    "engineer": "model: big-1\nroles: [work]\nkinds: [code, ops]",
    "writer": "model: small-1\nroles: [work]\nkinds: [writing]",
    "critic": "model: big-1\nroles: [review]",
}


def with_souls(workspace: Workspace) -> Path:
    """The root of the workspace, with souls in it."""
    root = workspace.paths.root
    (root / "souls").mkdir()
    for name, facts in SOULS.items():
        (root / "souls" / f"{name}.md").write_text(f"---\nbackend: player\n{facts}\n---\nYou are {name}.\n")
    return root


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
    root = with_souls(workspace)
    (root / "orc.yaml").write_text(f"{CONFIG}routing:\n  {routing}\n")
    workspace.reload_config()
    assert workspace.config_problem == ""
    found = [str(each) for each in routing_problems(workspace, view_agents(workspace)[0])]
    assert found == [f"orc.yaml:6: routing.{each}" for each in told]


@pytest.mark.parametrize(
    ("fallback", "told"),
    [
        ("engineer: [writer]", ()),
        ("engineer: [writer, writre]", ("agent 'writre' has no usable file in souls/; did you mean 'writer'?",)),
        ("enginer: [writer]", ("agent 'enginer' has no usable file in souls/; did you mean 'engineer'?",)),
        ("engineer: [nobody, writer]", ("agent 'nobody' has no usable file in souls/",)),
        ("engineer: [critic]", ("agent 'critic' does no work: its `roles:` are review",)),
        ("engineer: [engineer]", ("engineer does not stand in for itself",)),
    ],
)
def test_who_cannot_stand_in_for_anybody_is_told_with_the_line(
    workspace: Workspace, fallback: str, told: tuple[str, ...]
) -> None:
    root = with_souls(workspace)
    (root / "orc.yaml").write_text(f"{CONFIG}fallback:\n  {fallback}\n")
    workspace.reload_config()
    assert workspace.config_problem == ""
    found = [str(each) for each in fallback_problems(workspace, view_agents(workspace)[0])]
    assert found == [f"orc.yaml:6: fallback.{fallback.partition(':')[0]}: {each}" for each in told]
