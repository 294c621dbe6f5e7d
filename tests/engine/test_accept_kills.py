"""A person's files on their way in while the engine is killed, and while engines follow one another: real kills."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from desk_world import PROMPT, Desk
from warm_python import run_warm

from orchestrator.adapters.effects import KILL_AT
from orchestrator.core.job import Priority
from orchestrator.engine.accept import TakenIn
from orchestrator.engine.workspace import Workspace, open_workspace

CHILD = """
import sys, time
from pathlib import Path
from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.engine.accept import take_in
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.workspace import open_workspace
with open_workspace(Path(sys.argv[1])) as ws:
    queue = QueueFolder(ws.paths.queue)
    projection = Projection(ws, queue)
    projection.start()
    projection.refresh()
    quiet = 0
    while quiet < 2:
        taken = take_in(ws, queue)
        projection.refresh()
        quiet = 0 if taken.moves or taken.waiting_until else quiet + 1
        if taken.waiting_until:
            time.sleep(max(0.0, taken.waiting_until - time.monotonic()))
"""
POINTS = [
    f"{name}:{when}"
    for name in ("drop.claim", "ledger.objects", "ledger.ref", "drop.take", "queue.write", "queue.remove")
    for when in ("before", "after")
]


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace)


def run_engine(root: Path, kill_at: str = "") -> int:
    """Look at `queue/` in another process, which may be killed on the way."""
    return run_warm(CHILD, ["-c", str(root)], cwd=root, env={**os.environ, KILL_AT: kill_at}, timeout=50).returncode


@pytest.mark.parametrize("point", [*POINTS, "queue.write:before:2", "queue.write:after:2", "queue.write:after:3"])
def test_a_drop_becomes_exactly_one_job_wherever_the_engine_is_killed(
    repo: Path, workspace: Workspace, point: str
) -> None:
    inbox = repo / "queue" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "fix-login.yaml").write_text(PROMPT)
    os.utime(inbox / "fix-login.yaml", (1, 1))
    first = run_engine(repo, point)
    assert first == (0 if point.startswith("queue.remove") else -signal.SIGKILL)
    assert run_engine(repo) == 0
    desk = Desk(workspace)
    assert desk.job().text == PROMPT
    assert desk.files() == [f"normal/{desk.job().id}.yaml"]
    assert desk.path().read_text().startswith(PROMPT)
    assert desk.look() == TakenIn()


@pytest.mark.parametrize("point", ["drop.reject:before", "drop.reject:after", "ledger.ref:before", "ledger.ref:after"])
def test_a_refused_drop_is_kept_wherever_the_engine_is_killed(repo: Path, workspace: Workspace, point: str) -> None:
    inbox = repo / "queue" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "broken.yaml").write_text("prompt: [\n")
    os.utime(inbox / "broken.yaml", (1, 1))
    assert run_engine(repo, point) == -signal.SIGKILL
    assert run_engine(repo) == 0
    assert (repo / "queue" / "rejected" / "broken.yaml").read_text() == "prompt: [\n"
    assert not (inbox / "broken.yaml").exists()
    assert workspace.ledger.snapshot().folders == {}


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith(("ledger.", "queue.write"))])
def test_a_move_with_an_edit_happens_once_wherever_the_engine_is_killed(
    repo: Path, workspace: Workspace, point: str
) -> None:
    desk = Desk(workspace)
    desk.accepted()
    path = desk.path()
    path.write_text(f"title: Moved\n{path.read_text()}")
    os.utime(path, (1, 1))
    path.rename(repo / "queue" / "urgent" / path.name)
    assert run_engine(repo, point) == -signal.SIGKILL
    assert run_engine(repo) == 0
    job = desk.job()
    assert (job.spec.title, job.priority, job.at.seq) == ("Moved", Priority.P1, 2)
    assert desk.files() == [f"urgent/{job.file_name}"]


@pytest.mark.parametrize(
    "point", ["queue.remove:before", "queue.remove:after", "queue.write:before", "queue.write:after"]
)
def test_an_illegal_move_is_put_right_wherever_the_engine_is_killed(
    repo: Path, workspace: Workspace, point: str
) -> None:
    desk = Desk(workspace)
    desk.accepted()
    path = desk.path()
    path.rename(repo / "queue" / "done" / path.name)
    run_engine(repo, point)
    assert run_engine(repo) == 0
    assert desk.job().at.seq == 1
    assert [name for name in desk.files() if not name.endswith(".why.txt")] == [f"normal/{path.name}"]


def test_a_drop_that_was_written_to_after_it_was_accepted_is_an_edit(desk: Desk) -> None:
    job = desk.accepted()
    left = desk.ws.paths.queue / "inbox" / f".accept-{job.id}.yaml"
    left.write_text(f"{PROMPT}title: More\n")
    desk.until(lambda: desk.job().spec.title == "More")
    desk.settle()
    assert not left.exists()
    assert desk.jobs().keys() == {job.id}


def test_two_engines_after_one_another_keep_what_was_changed_in_between(repo: Path, workspace: Workspace) -> None:
    first = Desk(workspace)
    job = first.accepted()
    path = first.path()
    path.write_text(f"title: In between\n{path.read_text()}")
    with open_workspace(repo) as ws:
        second = Desk(ws)
        second.until(lambda: second.job().spec.title == "In between")
        assert second.job().id == job.id
