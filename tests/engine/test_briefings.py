"""What a person is told in the morning and in the evening, worked out from the records alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from desk_world import Desk

from orchestrator.adapters import clock
from orchestrator.adapters.ledger import Filing
from orchestrator.core.accept import cancel, retry
from orchestrator.core.transitions import Actor
from orchestrator.engine.briefing import SHOWN, brief, review_day
from orchestrator.engine.workspace import Workspace

ADA = Actor("human:Ada")


def given_up(desk: Desk, name: str) -> str:
    job = desk.accepted(name=f"{name}.yaml", text=f"title: About {name}\nprompt: {name} {name}\nproject: main\n")
    desk.commit(cancel(job, desk.ws.stamp(), actor=ADA))
    return job.id


def busy(ws: Workspace) -> None:
    """Very many other steps, as of a busy day."""
    with ws.ledger.writing() as writer:
        for number in range(600):
            writer.file(Filing(f"pressure: {number}", {}), ws.now())


def test_every_job_that_ended_is_counted_however_much_happened_since(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(workspace)
    names = ["login", "parser", "invoice", "search", "upload", "release", "backup", "avatar"]
    ids = [given_up(desk, name) for name in names]
    desk.commit(retry(workspace.ledger.folder(ids[0]).job, workspace.stamp(), actor=ADA))
    busy(workspace)
    for report in (brief(workspace), review_day(workspace)):
        assert report.figures["cancelled"] == len(names) - 1, report.lines
        assert f"{len(names) - 1} given up:" in report.lines
        newest = f"  {ids[-1]}  About {names[-1]}"
        assert report.lines[report.lines.index(f"{len(names) - 1} given up:") + 1] == newest
        assert f"  and {len(names) - 1 - SHOWN} more" in report.lines
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(hours=25))
    assert brief(workspace).figures["cancelled"] == 0, "a day later that is no news"
