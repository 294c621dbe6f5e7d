"""What ended runs printed is kept for a while, and found; the oldest goes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.core.config import LogLimits
from orchestrator.engine import run_logs
from orchestrator.engine.bases import known_checks, remember_checks
from orchestrator.engine.run_logs import forget_checks, log_folder, logs_near, prune_logs
from orchestrator.engine.upkeep import Upkeep
from orchestrator.engine.workspace import Workspace


def run(number: int, job: str = "") -> str:
    return f"{job or f'job-{number:08x}'}.attempt-{number}"


def keep(ws: Workspace, name: str, *, days: float) -> Path:
    """The folder of a run that began so many days ago."""
    folder = log_folder(ws.paths, name)
    (folder / "outbox").mkdir(parents=True)
    (folder / "stdout").write_text("said\n")
    (folder / "spec.json").write_text("{}")
    begun = (ws.now() - timedelta(days=days)).timestamp()
    os.utime(folder / "spec.json", (begun, begun))
    return folder


def left(ws: Workspace) -> list[str]:
    return sorted(path.parent.name for path in (ws.paths.state / "logs").rglob("stdout"))


def test_a_runs_log_lies_with_few_others(workspace: Workspace) -> None:
    assert log_folder(workspace.paths, "fix-login-7f3a09c2.review-1") == (
        workspace.paths.root / "state/logs/7f/fix-login-7f3a09c2.review-1"
    )
    assert log_folder(workspace.paths, "fix-login-7f3a09c2.review-1").parent == logs_near(
        workspace.paths, "fix-login-7f3a09c2"
    )
    assert log_folder(workspace.paths, "base.main.0123456789ab").parent == workspace.paths.root / "state/logs/base"


def test_the_newest_logs_stay_and_those_that_are_too_old_go_however_few(workspace: Workspace) -> None:
    for number in range(1, 7):
        keep(workspace, run(number), days=number - 0.5)
    keep(workspace, "base.main.0123456789ab", days=2.2)
    assert prune_logs(workspace.paths, LogLimits(runs=4, days=30), workspace.now())
    assert left(workspace) == sorted(["base.main.0123456789ab", run(1), run(2), run(3)])
    assert prune_logs(workspace.paths, LogLimits(runs=100, days=2), workspace.now())
    assert left(workspace) == [run(1), run(2)]


def test_only_so_many_go_at_once_and_the_oldest_first(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "AT_ONCE", 2)
    for number in range(1, 6):
        keep(workspace, run(number), days=number)
    limits = LogLimits(runs=2, days=30)
    assert not prune_logs(workspace.paths, limits, workspace.now())
    assert left(workspace) == [run(1), run(2), run(3)]
    assert prune_logs(workspace.paths, limits, workspace.now())
    assert left(workspace) == [run(1), run(2)]


def test_logs_as_an_earlier_version_kept_them_go_too(workspace: Workspace) -> None:
    folder = keep(workspace, run(1), days=40)
    folder.rename(workspace.paths.state / "logs" / folder.name)
    assert prune_logs(workspace.paths, LogLimits(), workspace.now())
    assert left(workspace) == []


def test_what_cannot_be_removed_or_is_no_folder_stops_nothing(workspace: Workspace, tmp_path: Path) -> None:
    for number in (1, 2):
        keep(workspace, run(number), days=40)
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (workspace.paths.state / "logs" / "00" / run(3)).symlink_to(outside)
    (workspace.paths.state / "logs" / "note.txt").write_text("a person's\n")
    assert prune_logs(workspace.paths, LogLimits(), workspace.now())
    assert left(workspace) == []
    assert (outside / "inner").is_dir()
    assert (workspace.paths.state / "logs" / "note.txt").exists()


def test_remembered_checks_are_forgotten_by_age(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_logs, "KEPT_CHECKS", 2)
    for number in range(4):
        remember_checks(workspace, f"key-{number}", ())
        path = workspace.paths.orcdir / "checks" / f"key-{number}.json"
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    assert forget_checks(workspace.paths)
    assert [known_checks(workspace, f"key-{number}") is not None for number in range(4)] == [False, False, True, True]


def test_upkeep_prunes_now_and_then_and_goes_on_at_once_while_there_is_more(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_logs, "AT_ONCE", 1)
    for number in (1, 2, 3):
        keep(workspace, run(number), days=40)
    upkeep = Upkeep()
    for stays in (2, 1, 0):
        upkeep.look(workspace)
        upkeep.finish()
        assert len(left(workspace)) == stays
    keep(workspace, run(4), days=40)
    upkeep.look(workspace)
    upkeep.finish()
    assert left(workspace) == [run(4)], "it was looked a moment ago"
