"""`queue/` as a view of the ledger: what it shows, what it costs, and what it never writes over."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.adapters.reading import Signature, signature
from orchestrator.core.accept import accept, cancel, hold
from orchestrator.core.answer import answer
from orchestrator.core.job import Job, JobSpec, Priority, State, Worker
from orchestrator.core.judge import review_started
from orchestrator.core.merge import ask
from orchestrator.core.records import Card, CardKind
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.transitions import ENGINE, Actor, Event, Move, make_move
from orchestrator.engine import project_queue
from orchestrator.engine.accept import submit, take_in
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.workspace import Workspace

ADA = Actor("human:ada")


class Screen:
    """A projection, and what can be seen of it."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.root = ws.paths.queue
        self.start()

    def start(self) -> None:
        self.queue = QueueFolder(self.root)
        self.projection = Projection(self.ws, self.queue)
        self.projection.start()
        self.projection.refresh()

    def files(self) -> list[str]:
        found = sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())
        return [name for name in found if name != ".gitignore"]

    def submit(self, name: str = "fix-login.yaml", text: str = "prompt: Put it right.\nagain: true\n") -> Job:
        return submit(self.ws, text.encode(), name).job

    def accept(self, id_: str) -> Job:
        """A new job with this id."""
        keys: dict[str, Any] = {"markdown": False, "source": "test", "actor": ADA, "project": "main"}
        move = accept(
            "prompt: x\nagain: true\n",
            JobSpec("x", again=True),
            id_=id_,
            now=self.ws.stamp(),
            priority=Priority.P2,
            **keys,
        )
        self.ws.commit([move])
        return move.job

    def commit(self, *moves: Move) -> None:
        assert self.ws.commit(moves) == list(moves)
        self.projection.refresh()

    def signatures(self) -> dict[str, Signature | None]:
        return {name: signature(self.root / name) for name in self.files()}


@pytest.fixture
def screen(workspace: Workspace) -> Screen:
    return Screen(workspace)


def stepped(job: Job, state: State, **at: object) -> Move:
    """A step as the engine makes one, straight to a state of the table."""
    event = {
        State.RUNNING: Event.START,
        State.COLLECTED: Event.COLLECT,
        State.CHECKING: Event.EVIDENCE,
        State.REVIEWING: Event.CHECKED,
        State.READY: Event.VERDICT,
    }[state]
    return make_move(event, job, job.moved(state, job.at.since, **at), "on", actor=ENGINE)


def reviewing(screen: Screen, job: Job) -> Job:
    """The job with its work before a reviewer."""
    for state in (State.RUNNING, State.COLLECTED, State.CHECKING, State.REVIEWING):
        move = stepped(job, state, evidence=1) if state is State.CHECKING else stepped(job, state)
        screen.commit(move)
        job = move.job
    return job


def a_review(job: Job, number: int = 1) -> ReviewRecord:
    return ReviewRecord(
        number=number,
        attempt=1,
        evidence=job.at.evidence,
        commit="a" * 40,
        base="b" * 40,
        reviewer=Worker("critic"),
        author=Worker("engineer"),
        run=f"{job.id}.review-{number}",
        started=job.at.since,
        independence="family",
        threshold=0.8,
    )


def test_a_job_goes_from_folder_to_folder_with_its_state(screen: Screen) -> None:
    job = screen.submit()
    screen.projection.refresh()
    assert screen.files() == [f"normal/{job.file_name}"]
    held = hold(job, "needs another", screen.ws.stamp(), needs={})
    screen.commit(held)
    assert screen.files() == [f"waiting/{job.file_name}"]
    assert "needs another" in (screen.root / "waiting" / job.file_name).read_text()
    screen.commit(cancel(held.job, screen.ws.stamp(), actor=ADA))
    assert screen.files() == [f"cancelled/{job.file_name}"]


def test_only_what_changed_is_written(screen: Screen) -> None:
    jobs = [screen.submit(f"job-{number}.yaml") for number in range(20)]
    screen.projection.refresh()
    before = screen.signatures()
    screen.commit(hold(jobs[7], "later", screen.ws.stamp(), needs={}))
    after = screen.signatures()
    same = before.keys() & after.keys()
    assert len(same) == 19
    assert all(before[name] == after[name] for name in same)


def test_a_card_is_shown_while_it_may_be_answered(screen: Screen) -> None:
    job = screen.submit()
    move = ask(job, CardKind.CANNOT_START, "Try again?", screen.ws.stamp())
    screen.commit(move)
    assert screen.files() == [f"decide/{job.id}.card-1.yaml", f"decide/{job.file_name}"]
    card = screen.ws.ledger.record(Card, screen.ws.ledger.folder(job.id), "card-1")
    terms = screen.ws.terms(move.job)
    screen.commit(answer(move.job, card, "retry", "", terms, screen.ws.stamp(), actor=ADA))
    assert screen.files() == [f"normal/{job.file_name}"]


def test_a_review_is_shown_while_its_evidence_is_the_newest(screen: Screen) -> None:
    job = reviewing(screen, screen.submit())
    move = review_started(job, a_review(job), screen.ws.stamp())
    screen.commit(move)
    assert set(screen.files()) == {f"review/{job.file_name}", f"review/{job.id}.review-1.yaml"}
    again = reviewing(screen, _sent_back(screen, move.job))
    screen.commit(make_move(Event.REVIEW, again, again.moved(State.REVIEWING, again.at.since, evidence=2), "on"))
    assert screen.files() == [f"review/{job.file_name}"]


def _sent_back(screen: Screen, job: Job) -> Job:
    move = stepped(job, State.READY)
    screen.commit(move)
    assert screen.files() == [f"normal/{job.file_name}"]
    return move.job


def test_a_review_that_somebody_edits_is_shown_again_and_their_words_kept(screen: Screen) -> None:
    job = reviewing(screen, screen.submit())
    screen.commit(review_started(job, a_review(job), screen.ws.stamp()))
    path = screen.root / "review" / f"{job.id}.review-1.yaml"
    good = path.read_bytes()
    path.write_text("verdict: APPROVED\n")
    deadline = time.monotonic() + 20
    while path.read_bytes() != good:
        assert time.monotonic() < deadline
        take_in(screen.ws, screen.queue)
        screen.projection.refresh()
    assert (screen.root / "rejected" / path.name).read_text() == "verdict: APPROVED\n"


def test_the_newest_ended_jobs_are_shown_and_older_ones_go(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_queue, "KEPT", 3)
    jobs = []
    for number in range(5):
        job = screen.submit(f"job-{number}.yaml")
        screen.projection.refresh()
        screen.commit(cancel(job, f"2026-11-2{number}T00:00:00Z", actor=ADA))
        jobs.append(job)
    newest = sorted(f"cancelled/{job.file_name}" for job in jobs[2:])
    assert screen.files() == newest
    screen.start()
    assert screen.files() == newest


def test_of_a_day_on_which_many_ended_a_start_shows_the_newest(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_queue, "KEPT", 2)
    monkeypatch.setattr(project_queue, "WALKED", 3)
    for number in range(8):
        # Those that end last stand last in the ledger's order of folders.
        job = screen.accept(f"job-{number}0000000")
        screen.projection.refresh()
        screen.commit(cancel(job, f"2026-11-20T00:00:0{number}Z", actor=ADA))
    newest = ["cancelled/job-60000000.yaml", "cancelled/job-70000000.yaml"]
    assert screen.files() == newest
    screen.start()
    assert screen.files() == newest
    for path in (screen.root / "cancelled").iterdir():
        path.unlink()
    screen.start()
    assert screen.files() == newest


def test_a_job_that_came_and_ended_between_two_refreshes_is_shown(screen: Screen) -> None:
    job = screen.submit()
    screen.commit(cancel(job, screen.ws.stamp(), actor=ADA))
    assert screen.files() == [f"cancelled/{job.file_name}"]


def test_the_mark_names_the_commit_that_is_fully_shown(screen: Screen) -> None:
    mark = screen.ws.paths.state / "projected"
    job = screen.submit()
    screen.projection.refresh()
    tip = screen.ws.ledger.tip()
    assert mark.read_text() == f"{tip}\n"
    path = screen.root / "normal" / job.file_name
    path.write_text("theirs\n")
    screen.commit(hold(job, "later", screen.ws.stamp(), needs={}))
    assert path.read_text() == "theirs\n"
    assert mark.read_text() == f"{tip}\n"


def test_what_moved_on_while_no_engine_ran_is_shown_anew_without_a_note(screen: Screen) -> None:
    job = screen.submit()
    screen.projection.refresh()
    assert screen.ws.commit([cancel(job, screen.ws.stamp(), actor=ADA)])
    screen.start()
    assert not take_in(screen.ws, screen.queue).moves
    assert screen.files() == [f"cancelled/{job.file_name}"]


@pytest.mark.parametrize("mark_is_there", [True, False])
def test_an_edit_made_while_no_engine_ran_is_a_request(screen: Screen, *, mark_is_there: bool) -> None:
    job = screen.submit()
    screen.projection.refresh()
    path = screen.root / "normal" / job.file_name
    path.write_text(f"title: Meanwhile\n{path.read_text()}")
    move = hold(job, "later", screen.ws.stamp(), needs={})
    assert screen.ws.commit([move])
    if not mark_is_there:
        shutil.rmtree(screen.ws.paths.state)
    screen.start()
    deadline = time.monotonic() + 20
    while _job(screen).spec.title != "Meanwhile":
        assert time.monotonic() < deadline
        take_in(screen.ws, screen.queue)
        screen.projection.refresh()
    assert screen.files() == [f"waiting/{job.file_name}"]
    assert _job(screen).at.seq == move.job.at.seq + 1


def test_a_file_removed_while_no_engine_ran_is_put_back_with_a_note(screen: Screen) -> None:
    job = screen.submit()
    screen.projection.refresh()
    path = screen.root / "normal" / job.file_name
    path.unlink()
    screen.start()
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        take_in(screen.ws, screen.queue)
        screen.projection.refresh()
    assert f"orc cancel {job.id}" in path.with_name(f"{path.name}.why.txt").read_text()


def _job(screen: Screen) -> Job:
    (folder,) = screen.ws.ledger.snapshot().folders.values()
    return folder.job


def test_a_start_with_nothing_changed_writes_nothing(screen: Screen) -> None:
    for number in range(5):
        screen.submit(f"job-{number}.yaml")
    ended = screen.submit()
    screen.projection.refresh()
    screen.commit(cancel(ended, screen.ws.stamp(), actor=ADA))
    before = screen.signatures()
    screen.start()
    assert screen.signatures() == before
    shutil.rmtree(screen.ws.paths.state)
    screen.start()
    assert screen.signatures() == before
    assert screen.queue.look() == []


def test_a_mark_that_names_no_commit_is_as_good_as_none(screen: Screen) -> None:
    job = screen.submit()
    screen.projection.refresh()
    for text in ("f" * 40, "nonsense", ""):
        (screen.ws.paths.state / "projected").write_text(text)
        screen.start()
        assert screen.files() == [f"normal/{job.file_name}"]
        assert (screen.ws.paths.state / "projected").read_text().strip() == screen.ws.ledger.tip()


@pytest.mark.parametrize("folders", [("queue",), ("state",), ("queue", "state")])
def test_deleting_folders_while_no_engine_runs_loses_nothing(screen: Screen, repo: Path, folders: list[str]) -> None:
    job = screen.submit()
    screen.projection.refresh()
    before = screen.files()
    for name in folders:
        shutil.rmtree(repo / name)
    screen.start()
    assert screen.files() == before
    assert screen.queue.look() == []
    assert _job(screen) == replace(job)
