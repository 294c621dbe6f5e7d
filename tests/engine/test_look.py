"""What is kept from one look to the next is the same as what a new look finds, and spares the work on all else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.adapters.ledger import Ledger
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.core import accept as accepting
from orchestrator.core.board import Board
from orchestrator.core.job import Job, State
from orchestrator.core.transitions import Actor
from orchestrator.engine import look as looking
from orchestrator.engine.accept import submit
from orchestrator.engine.answer import cancel_job, retry_job
from orchestrator.engine.find import find_job
from orchestrator.engine.look import Noted, look
from orchestrator.engine.workspace import Workspace

ADA = Actor("human:ada")


class Counting(Ledger):
    """A ledger that keeps which ended jobs it was asked for."""

    def __init__(self, ledger: Ledger, ws: Workspace) -> None:
        super().__init__(ledger.git, ledger.objects, ws.paths.orcdir)
        self.asked: list[str] = []

    def closed(self, id_: str, root: str | None = None) -> Folder | None:
        self.asked.append(id_)
        return super().closed(id_, root)


class Watcher:
    """Somebody who looks again and again, and knows what was looked up."""

    def __init__(self, ws: Workspace) -> None:
        self.ws, self.noted = ws, Noted()
        self.ledger = ws.ledger = Counting(ws.ledger, ws)

    def look(self) -> tuple[Board, list[str]]:
        """The board, which is that of a new look, and the ended jobs that were asked for."""
        self.ledger.asked.clear()
        board = look(self.ws, noted=self.noted)
        asked = list(self.ledger.asked)
        anew = look(self.ws)
        wanted = {need for job in board.backlog.values() for need in job.spec.needs}
        assert {id_: state for id_, state in board.ended.items() if id_ in wanted} == anew.ended
        assert board.active == anew.active
        return board, asked


@pytest.fixture
def watcher(workspace: Workspace) -> Watcher:
    return Watcher(workspace)


def add(ws: Workspace, *needs: str) -> Job:
    return submit(ws, f"prompt: Go on.\nagain: true\nneeds: [{', '.join(needs)}]\n".encode(), "job.yaml").job


def now(ws: Workspace, job: Job) -> Job:
    return find_job(ws, job.id).job


def cancel(ws: Workspace, job: Job) -> None:
    cancel_job(ws, now(ws, job), ADA, "")


def retry(ws: Workspace, job: Job) -> None:
    retry_job(ws, now(ws, job), ADA)


def test_how_a_needed_job_ended_is_looked_up_once_and_again_only_when_that_job_has_changed(watcher: Watcher) -> None:
    ws = watcher.ws
    base, other = add(ws), add(ws)
    cancel(ws, base)
    waiting = [add(ws, base.id) for _ in range(3)]
    board, asked = watcher.look()
    assert board.ended == {base.id: State.CANCELLED}
    assert asked == [base.id]
    assert watcher.look() == (board, [])
    cancel(ws, other)
    later, asked = watcher.look()
    assert (later.ended, asked) == (board.ended, []), "nobody needs what ended"
    assert later.ended is board.ended
    retry(ws, base)
    board, asked = watcher.look()
    assert (board.ended, asked) == ({}, [base.id])
    for each in (base, *waiting):
        cancel(ws, each)
    assert watcher.look()[1] == [base.id]
    add(ws, waiting[0].id, base.id)
    board, asked = watcher.look()
    assert board.ended == {base.id: State.CANCELLED, waiting[0].id: State.CANCELLED}
    assert asked == [waiting[0].id]


def test_a_job_that_was_tried_again_and_ended_otherwise_between_two_looks_is_noticed(watcher: Watcher) -> None:
    ws = watcher.ws
    base = add(ws)
    cancel(ws, base)
    add(ws, base.id)
    assert watcher.look()[0].ended == {base.id: State.CANCELLED}
    again = accepting.retry(now(ws, base), ws.stamp(), actor=ADA)
    ended = accepting.cancel(again.job, ws.stamp(), actor=ADA, why="once more")
    assert len(ws.commit([again, ended])) == 2
    assert watcher.look()[1] == [base.id]


def test_after_more_steps_than_the_ledger_remembers_all_is_looked_up_again(watcher: Watcher) -> None:
    ws = watcher.ws
    base = add(ws)
    add(ws, base.id)
    watcher.look()
    cancel(ws, base)
    ws.ledger = watcher.ledger = Counting(watcher.ledger, ws)
    board, asked = watcher.look()
    assert (board.ended, asked) == ({base.id: State.CANCELLED}, [base.id])


def test_what_nobody_needs_any_more_is_not_kept_for_ever(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "SPARE", 3)
    ws = watcher.ws
    watcher.look()
    for _ in range(12):
        base = add(ws)
        cancel(ws, base)
        needing = add(ws, base.id)
        assert watcher.look()[0].ended[base.id] is State.CANCELLED
        cancel(ws, needing)
        assert len(watcher.look()[0].ended) <= 6


def try_anew(ws: Workspace, job: Job) -> None:
    cancel(ws, job)
    retry(ws, job)


@pytest.mark.parametrize("change", [cancel, try_anew])
def test_the_newest_wish_for_checks_of_the_base_counts_while_the_job_is_open(
    watcher: Watcher, change: Callable[[Workspace, Job], None]
) -> None:
    ws = watcher.ws
    job = add(ws)
    watcher.look()
    assert watcher.noted.newest_recheck("main") == ""
    change(ws, job)
    watcher.look()
    assert watcher.noted.newest_recheck("main") == now(ws, job).at.recheck
    assert watcher.noted.newest_recheck("other") == ""
