"""`orc verify` says plainly whether the ledger holds."""

from __future__ import annotations

import json
from pathlib import Path

import audit_world as w
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.app import App
from orchestrator.cli.verify import verify
from orchestrator.errors import ExitCode


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with one job that is done."""
    with w.new_world(tmp_path / "world") as world:
        w.auto_merged(world)
    (tmp_path / "world" / "orc.yaml").write_text("version: 1\nprojects:\n  main:\n    path: .\n    target: main\n")
    return tmp_path / "world"


def run(root: Path, *args: str) -> Result:
    """`orc verify` in a workspace."""
    return CliRunner().invoke(verify, list(args), obj=App(start=root))


def test_a_ledger_that_holds_is_told_in_one_line(root: Path) -> None:
    result = run(root)
    assert result.exit_code == ExitCode.OK, result.output
    assert result.output == "The ledger holds: 13 commits about 1 job, every decision proved again.\n"


def test_a_lie_is_told_plainly_and_fails(root: Path) -> None:
    w.forge(root, lambda draft: draft.swap_all("score: 1.0", "score: 0.9"))
    result = run(root)
    assert result.exit_code == ExitCode.FAILED
    assert "says that the score is 0.9, but it is 1.0" in result.output
    assert "The ledger does not hold" in result.output


def test_programs_get_every_lie(root: Path) -> None:
    w.forge(root, lambda draft: draft.swap_all("score: 1.0", "score: 0.9"))
    value = json.loads(run(root, "--json").output)
    assert value["holds"] is False
    assert {"rule": "verdict", "job": w.LOGIN}.items() <= value["lies"][0].items()


def test_a_project_that_is_not_there_leaves_steps_unproved(root: Path) -> None:
    (root / "orc.yaml").write_text("version: 1\nprojects:\n  main:\n    path: elsewhere\n    target: main\n")
    result = run(root)
    assert result.exit_code == ExitCode.OK, result.output
    assert "cannot be proved any more" in result.output


def test_since_believes_what_came_before(root: Path) -> None:
    result = run(root, "--since", "orc/state~1")
    assert result.output == "The ledger holds: 1 commit about 1 job, every decision proved again.\n"
