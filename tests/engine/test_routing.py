"""What `routing:` and `fallback:` name is looked at beside the souls: what can have no effect is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk_world import Desk

from orchestrator.core.transitions import Actor
from orchestrator.engine.accept import submit
from orchestrator.engine.agents import view_agents
from orchestrator.engine.recurring import find_schedule, run_now
from orchestrator.engine.routing import fallback_problems, routing_problems
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError

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


@pytest.mark.parametrize(
    ("names", "line", "told"),
    [
        ("[writer]", 0, ""),
        ("[writer, engineer]", 0, ""),
        ("[broken]", 0, ""),
        ("[writer, writre]", 3, "agent 'writre' has no usable file in souls/; did you mean 'writer'?"),
        ("\n  - writer\n  - nobody", 5, "agent 'nobody' has no usable file in souls/"),
        ("[critic]", 3, "agent 'critic' does no work: its `roles:` are review"),
    ],
)
def test_a_job_that_names_nobody_who_could_stand_in_is_not_taken(
    workspace: Workspace, names: str, line: int, told: str
) -> None:
    root = with_souls(workspace)
    (root / "souls" / "broken.md").write_text("---\nbackend: [\n---\n")
    data = f"prompt: Mend it.\nagent: engineer\nfallback: {names}\n".encode()
    desk = Desk(workspace)
    path = desk.drop("mend.yaml", data.decode())
    if not told:
        desk.until(lambda: bool(desk.jobs()))
        assert desk.job().spec.fallback
        return
    with pytest.raises(InvalidFileError) as refused:
        submit(workspace, data, "mend.yaml")
    assert str(refused.value) == f"mend.yaml:{line}: fallback: {told}"
    assert "orc workers" in refused.value.hint
    desk.until(lambda: bool(desk.rejected))
    assert desk.rejected == [f"line {line}: `fallback`: {told}. orc workers lists who there is."]
    assert not path.exists()
    assert desk.jobs() == {}


def test_an_edit_that_names_nobody_who_could_stand_in_is_kept_aside(workspace: Workspace) -> None:
    with_souls(workspace)
    desk = Desk(workspace)
    job = desk.accepted()
    path = desk.path()
    path.write_text(path.read_text().replace("prompt:", "fallback: [writre]\nprompt:"))
    desk.until(lambda: bool(desk.rejected))
    assert desk.rejected == [
        f"{job.file_name}:2: fallback: agent 'writre' has no usable file in souls/; did you mean 'writer'? "
        "(orc workers lists who there is.)"
    ]
    assert (desk.job().spec, desk.job().at.seq) == (job.spec, 1)
    path.write_text(path.read_text().replace("prompt:", "fallback: [writer]\nprompt:"))
    desk.until(lambda: desk.job().spec.fallback == ("writer",))


def test_a_schedule_whose_job_names_nobody_who_could_stand_in_is_told_of_by_its_own_key(workspace: Workspace) -> None:
    root = with_souls(workspace)
    (root / "schedules").mkdir(exist_ok=True)
    (root / "schedules" / "early.yaml").write_text(
        'cron: "0 8 * * *"\ntz: UTC\njob:\n  title: Early\n  prompt: Sort it.\n  fallback: [writre]\n'
    )
    with pytest.raises(InvalidFileError) as refused:
        run_now(workspace, find_schedule(workspace, "early"), Actor("human:Ada"))
    told = "job.fallback: agent 'writre' has no usable file in souls/; did you mean 'writer'?"
    assert str(refused.value) == f"schedules/early.yaml: {told}"
    assert refused.value.told == told
