"""The history of one job: what it tells, and what it costs."""

from __future__ import annotations

from engine_world import git

from orchestrator.adapters.ledger import REF, Filing
from orchestrator.core.accept import cancel, retry
from orchestrator.core.job import Job
from orchestrator.core.transitions import Actor
from orchestrator.engine.accept import submit
from orchestrator.engine.history import read_history
from orchestrator.engine.story import reverts_path
from orchestrator.engine.upkeep import write_graph
from orchestrator.engine.workspace import Workspace

ADA = Actor("human:ada")


def fill(ws: Workspace, count: int) -> None:
    for number in range(count):
        ws.commit([], [Filing(f"note: {number}", {f"library/note-{number}.md": f"{number}\n".encode()})])


def a_life(ws: Workspace) -> Job:
    """A job that ends, is taken up again, ends again, and is reverted, with other things in between."""
    job = submit(ws, b"prompt: greet\n", "greet.yaml").job
    fill(ws, 3)
    ws.commit([cancel(job, ws.stamp(), actor=ADA)])
    fill(ws, 3)
    ws.commit([retry(ws.ledger.folder(job.id).job, ws.stamp(), actor=ADA)])
    ws.commit([cancel(ws.ledger.folder(job.id).job, ws.stamp(), actor=ADA)])
    path = f"{reverts_path(job.id)}/0123456789ab.yaml"
    ws.commit([], [Filing(f"revert: {job.id}", {path: b"x: 1\n"}, (("Job", job.id),), ADA)])
    fill(ws, 3)
    return job


def test_every_commit_about_a_job_is_told_also_its_end_its_return_and_its_revert(workspace: Workspace) -> None:
    job = a_life(workspace)
    told = [step.subject.partition(":")[0] for step in read_history(workspace, job.id, 30)]
    assert told == ["revert", "cancel", "retry", "cancel", "accept"]
    words = git(workspace.paths.root, "log", "--format=%H", f"--grep=^Job: {job.id}$", REF).split()
    assert [step.commit for step in read_history(workspace, job.id, 30)] == words
    assert [step.subject.partition(":")[0] for step in read_history(workspace, job.id, 2)] == ["revert", "cancel"]


def test_of_the_steps_of_others_nothing_is_read(workspace: Workspace) -> None:
    job = submit(workspace, b"prompt: greet\n", "greet.yaml").job
    fill(workspace, 5)
    workspace.commit([cancel(job, workspace.stamp(), actor=ADA)])
    write_graph(workspace.ledger.git)
    root = workspace.paths.root
    other = git(root, "rev-parse", f"{REF}~2")
    (workspace.paths.git_dir / "objects" / other[:2] / other[2:]).unlink()
    told = [step.subject.partition(":")[0] for step in read_history(workspace, job.id, 30)]
    assert told == ["cancel", "accept"]
