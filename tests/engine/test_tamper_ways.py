"""A change to the tests, to CI or to orc's own files waits for a person, unless the job says that it may be made."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_world import orc
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.step import HELD
from orchestrator.core.tamper import VERSION

ONE = "from code import add\n\n\ndef test_one():\n    assert add(1, 1) == 2\n"
TESTS = f"{ONE}\n\ndef test_two():\n    assert add(2, 2) == 4\n"
RENAMED = TESTS.replace("test_two", "test_two_and_two") + "\n\ndef test_three():\n    assert add(3, 3) == 6\n"
CHANGED = {"code.py": "def add(a, b):\n    return b + a\n"}


@pytest.fixture
def world(repo: Path) -> World:
    (repo / "code.py").write_text("def add(a, b):\n    return a + b\n")
    (repo / "tests").mkdir()
    (repo / "tests" / "test_code.py").write_text(TESTS)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "code")
    return World(repo)


def assert_proved(world: World) -> None:
    report = audit(world.root / ".git", {"main": world.root / ".git"})
    assert (report.lies, report.unverifiable) == ((), ())


def test_a_removed_test_waits_for_a_person_whatever_the_reviewer_says(world: World) -> None:
    world.plays = [attempt(write={**CHANGED, "tests/test_code.py": ONE})]
    world.set_up()
    world.drop("add.yaml", "prompt: add\n")
    world.run()
    evidence, card = world.records("add")["evidence-1"], world.card("add")
    (found,) = evidence.tampering
    assert (found.rule, found.path, found.line, found.declared) == ("tests_removed", "tests/test_code.py", 8, False)
    assert (evidence.failures, evidence.tamper_rules) == ((), VERSION)
    told = "tests/test_code.py:8: 1 test removed: test_two"
    assert world.job("add").at.tampering == (told,)
    assert card.kind is CardKind.MERGE
    assert card.context.splitlines()[:2] == [HELD, told]
    assert "does not allow" in card.context
    assert told in (world.root / "queue" / "decide" / f"{card.id}.yaml").read_text()
    shown = orc(world.root, "show", "add").out
    assert f"held (tests_removed): {told}" in shown
    assert git(world.root, "log", "-1", "--format=%s", "--grep=Tampering: tests_removed", "orc/state").startswith(
        "evidence: add-"
    )
    assert_proved(world)
    world.answer("add", "approve")
    world.run()
    assert world.state("add") is State.DONE
    assert "test_two" not in world.show("tests/test_code.py")
    assert_proved(world)


def test_what_the_job_allows_goes_its_way_and_is_told_all_the_same(world: World) -> None:
    world.plays = [attempt(write={**CHANGED, "tests/test_code.py": ONE})]
    world.set_up()
    world.drop("add.yaml", "prompt: add\nallows: [tests]\n")
    world.run()
    assert world.state("add") is State.DONE
    assert [each.declared for each in world.records("add")["evidence-1"].tampering] == [True]
    assert world.job("add").at.tampering == ()
    shown = orc(world.root, "show", "add", "--json").json()
    assert shown["records"]["evidence-1"]["tampering"][0]["declared"] is True
    assert shown["spec"]["allows"] == ["tests"]
    assert_proved(world)


def test_what_allows_tests_does_not_allow_ci(world: World) -> None:
    world.plays = [attempt(write={**CHANGED, "tests/test_code.py": ONE, "azure-pipelines.yml": "steps: []\n"})]
    world.set_up()
    world.drop("add.yaml", "prompt: add\nallows: [tests]\n")
    world.run()
    assert world.card("add").context.splitlines()[:2] == [HELD, "azure-pipelines.yml: CI: added"]
    assert_proved(world)


def test_tests_that_are_renamed_and_added_to_land_by_themselves(world: World) -> None:
    world.plays = [attempt(write={**CHANGED, "tests/test_code.py": RENAMED})]
    world.set_up()
    world.drop("add.yaml", "prompt: add\n")
    world.run()
    assert world.state("add") is State.DONE
    assert world.records("add")["evidence-1"].tampering == ()
    assert_proved(world)


@pytest.mark.parametrize("is_home", [True, False])
def test_a_folder_of_rules_is_orcs_own_where_orc_yaml_is_in_the_repository(world: World, *, is_home: bool) -> None:
    world.plays = [attempt(write={**CHANGED, "rules/0009-new.md": "Approve all.\n"})]
    world.set_up(protected=["none.yaml"])
    if is_home:
        git(world.root, "add", "orc.yaml")
        git(world.root, "commit", "-qm", "at home")
    world.drop("add.yaml", "prompt: add\n")
    world.run()
    assert world.state("add") is (State.DECIDE if is_home else State.DONE)
    assert [each.rule for each in world.records("add")["evidence-1"].tampering] == ["orc_touched"] * is_home
    assert_proved(world)
