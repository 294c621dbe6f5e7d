"""How much of an agent's work is approved at once, by how many jobs the conversation had had that made it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import cli_world as cli
import pytest
from engine_world import World
from fake_models import FakeModels

from orchestrator.adapters.audit import audit
from orchestrator.engine.history import Told
from orchestrator.engine.outcomes import Measure
from orchestrator.engine.workers import AGES, count_ages, find_worker, look_at_workers
from orchestrator.engine.workspace import open_workspace

SOUL = (
    "---\nbackend: api\nmodel: strong-1\nroles: [work]\npersistent: true\n---\n\n## Values\nKeeps the lamp burning.\n"
)


def step(event: str, job: str = "j", **facts: str) -> Told:
    told = {key.replace("_", "-"): value for key, value in facts.items()}
    return Told("c", "2026-01-01T00:00:00Z", "engine", f"{event}: x", {"Job": job, **told})


def made(place: str, job: str = "j", number: int = 1, author: str = "ada") -> tuple[Told, Told]:
    """An attempt, in the job of that number in its conversation."""
    began = step("start", job, Attempt=str(number), Author=author)
    return began, step("collect", job, Attempt=str(number), Session_Job=place)


def yes(job: str = "j") -> tuple[Told]:
    return (step("verdict", job, Verdict="APPROVED"),)


def no(job: str = "j") -> tuple[Told]:
    return (step("verdict", job, Verdict="REVISE"),)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((made("1"), yes()), {"1-5": (1.0, 1)}),
        ((made("5"), yes(), made("6", "k"), no("k")), {"1-5": (1.0, 1), "6-20": (0.0, 1)}),
        ((made("20"), yes(), made("21", "k"), yes("k")), {"6-20": (1.0, 1), "21+": (1.0, 1)}),
        ((made("21"), yes(), made("9" * 30, "k"), no("k")), {"21+": (0.5, 2)}),
        ((made("3"), no(), made("3", number=2), yes()), {"1-5": (0.0, 1)}),
        ((made("3"), (step("checked", From="checking", To="ready"),), made("3", number=2), yes()), {"1-5": (0.0, 1)}),
        ((made("7"), made("1", number=2), yes()), {"1-5": (1.0, 1)}),
        ((made("7", number=2), yes()), {}),
        ((made(""), yes()), {}),
        ((made("4"), (step("verdict", Verdict="INCONCLUSIVE"),)), {}),
    ],
)  # fmt: skip
def test_the_first_outcome_of_a_job_counts_for_the_age_of_its_conversation(
    steps: tuple[tuple[Told, ...], ...], expected: dict[str, tuple[float, int]]
) -> None:
    found = count_ages(chain.from_iterable(steps)).get("ada", {})
    assert {age: (each.value, each.n) for age, each in found.items() if each.n} == expected
    assert set(found) <= set(AGES)


def test_each_agent_is_counted_by_itself() -> None:
    steps = [*made("1"), *made("1", "k", author="ben"), *yes("k"), *no()]
    assert {name: each["1-5"] for name, each in count_ages(steps).items()} == {
        "ada": Measure(0.0, 1),
        "ben": Measure(1.0, 1),
    }


def test_an_attempt_says_which_job_of_its_conversation_it_was(world: World, repo: Path, service: FakeModels) -> None:
    world.souls = {"bea": "beta review"}
    world.config = {
        "backends": {"api": {"type": "anthropic", "base_url": service.url}},
        "models": {"strong-1": {"family": "north", "tier": "strong"}},
    }
    (repo / "souls").mkdir()
    (repo / "souls" / "keeper.md").write_text(SOUL)
    names = ("first", "second")
    writes = {name: [{"name": "write", "input": {"path": f"{name}.py", "content": "1\n"}}] for name in names}
    turns = [{"times": 1, "match": f"the {name}", "tools": writes[name], "after_tool": False} for name in names]
    service.play([*turns, {"text": "Done."}])
    world.set_up()
    for name in names:
        world.drop(f"{name}.yaml", f"prompt: the {name}\n")
        world.run()
    assert [world.records(name)["attempt-1"].session_job for name in names] == [1, 2]
    with open_workspace(repo) as ws:
        keeper = find_worker(look_at_workers(ws), "keeper")
    assert keeper.tier == "strong"
    assert keeper.first_pass == {"1-5": Measure(1.0, 2), "6-20": Measure(), "21+": Measure()}
    shown = cli.orc(repo, "workers", "keeper", code=0).out
    assert "model strong-1 (tier strong), family north" in shown
    assert (
        "first pass: 100% (of 2, too few to tell) in jobs 1-5, - in jobs 6-20, - in jobs 21+ of a conversation" in shown
    )
    session = world.records("first")["attempt-1"].session
    assert f"session {session}, gone on with (its job 2)" in cli.orc(repo, "show", world.id("second"), code=0).out
    assert f"session {session}, new: there is none to go on with (its job 1)" in cli.orc(repo, "show", "first").out
    assert audit(repo / ".git", {"main": repo / ".git"}).lies == ()
