"""What is looked at before an engine begins: whether each state has a way on, and what is configured can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine.loop import engine_of
from orchestrator.engine.report import list_problems
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import OrcError


def test_an_engine_without_a_way_on_for_a_state_does_not_begin(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engine.loop.find_unhandled", lambda: ("reviewing",))
    with pytest.raises(OrcError, match="nothing takes a job further that is reviewing"), engine_of(workspace):
        pass


def test_limits_under_which_no_job_comes_through_are_told_at_the_start(workspace: Workspace, repo: Path) -> None:
    assert list_problems(workspace) == []
    path = repo / "orc.yaml"
    path.write_text(path.read_text() + "limits: {starts: 1}\n")
    with open_workspace(repo) as ws:
        (told, *_) = [line for line in list_problems(ws) if "limits of main" in line]
    assert "limits.starts: 1, but a job needs" in told
    assert "set limits.starts to" in told
