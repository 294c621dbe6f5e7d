"""A person's changes of files that are shown: real folders, real git, real editors' habits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from desk_world import PROMPT, Desk, why

from orchestrator.core.job import Priority, State
from orchestrator.core.merge import ask
from orchestrator.core.records import Card, CardKind
from orchestrator.engine.accept import TakenIn
from orchestrator.engine.workspace import Workspace


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace)


# --- editors ---


def test_what_editors_leave_beside_a_file_is_its_own_business(desk: Desk) -> None:
    inbox = desk.ws.paths.queue / "inbox"
    for name in (".fix.yaml.swp", "4913", "fix.yaml~", "#fix.yaml#", "~fix.yaml"):
        (inbox / name).write_text(PROMPT)
    (inbox / ".#fix.yaml").symlink_to("ada@host.123:456")
    for _ in range(3):
        assert desk.look() == TakenIn()
    assert len(list(inbox.iterdir())) == 6


def test_vim_saves_by_moving_the_old_file_away(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    text = path.read_text()
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    desk.look()
    path.write_text(f"title: From vim\n{text}")
    backup.unlink()
    desk.until(lambda: desk.job().spec.title == "From vim")
    desk.settle()
    assert desk.jobs().keys() == {job.id}
    assert desk.rejected == []
    assert desk.files() == [f"normal/{job.id}.yaml"]


def test_emacs_saves_by_renaming_a_new_file_into_place(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    new = path.with_name(f"#{path.name}#")
    new.write_text(f"title: From emacs\n{path.read_text()}")
    assert desk.look() == TakenIn()
    new.rename(path)
    desk.until(lambda: desk.job().at.seq > job.at.seq)
    desk.settle()
    assert desk.job().spec.title == "From emacs"
    assert desk.rejected == []
    assert desk.files() == [f"normal/{job.id}.yaml"]


def test_an_editor_that_writes_in_place_and_once_more_later(desk: Desk) -> None:
    desk.accepted()
    path = desk.path()
    text = path.read_text()
    with path.open("w") as file:  # truncates first
        desk.look()
        file.write(f"title: First\n{text}")
    desk.until(lambda: desk.job().spec.title == "First")
    # Its second write, from a buffer that still has the old block below.
    path.write_text(f"title: First\nmerge: ask\n{text}")
    desk.until(lambda: desk.job().spec.merge is not None)
    desk.settle()
    assert desk.rejected == []
    assert desk.job().spec.title == "First"


# --- edits ---


def test_an_edit_is_committed_and_shown_with_its_new_version(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    path.write_text(path.read_text().replace("right.", "right, today."))
    desk.until(lambda: desk.job().at.seq == job.at.seq + 1)
    assert desk.job().spec.prompt == "Put the login right, today."
    assert desk.job().text == "# my job\nprompt: Put the login right, today.\n"
    desk.settle()
    assert "seq: 2" in path.read_text()
    assert desk.subjects()[0] == f"edit: {job.id} changed prompt"


def test_an_edit_of_a_comment_is_kept(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    path.write_text(path.read_text().replace("# my job", "# my own job"))
    desk.until(lambda: desk.job().at.seq > job.at.seq)
    desk.settle()
    assert desk.job().text == PROMPT.replace("# my job", "# my own job")
    assert desk.job().spec == job.spec
    assert path.read_text().startswith("# my own job\n")
    assert desk.subjects()[0] == f"edit: {job.id} changed comments"


def test_an_edit_that_cannot_be_read_is_kept_aside_and_the_job_shown_again(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    good = path.read_bytes()
    broken = path.read_text().replace("prompt:", "prompt: [")
    path.write_text(broken)
    desk.until(lambda: bool(desk.rejected))
    assert path.read_bytes() == good
    assert (desk.ws.paths.queue / "rejected" / f"{job.id}.yaml").read_text() == broken
    assert f"rejected/{job.id}.yaml" in why(path)


def test_a_change_below_the_mark_is_undone_with_the_reason(desk: Desk) -> None:
    desk.accepted()
    path = desk.path()
    good = path.read_bytes()
    path.write_bytes(good.replace(b"state: ready", b"state: done"))
    desk.until(lambda: path.with_name(f"{path.name}.why.txt").exists())
    assert path.read_bytes() == good
    assert "below the mark" in why(path)
    assert desk.job().state is State.READY


def test_an_edit_of_an_old_version_counts_where_nothing_else_changed(desk: Desk) -> None:
    desk.accepted()
    path = desk.path()
    old = path.read_text()
    path.write_text(f"title: One\n{old}")
    desk.until(lambda: desk.job().spec.title == "One")
    desk.settle()
    path.write_text(old.replace("prompt:", "merge: ask\nprompt:"))
    desk.until(lambda: desk.job().spec.merge is not None)
    assert desk.job().spec.title == "One"
    assert desk.job().text == f"title: One\n{PROMPT}".replace("prompt:", "merge: ask\nprompt:")


def test_an_edit_of_an_old_version_that_collides_is_kept_aside(desk: Desk) -> None:
    job = desk.accepted(text=f"title: Zero\n{PROMPT}")
    path = desk.path()
    old = path.read_text()
    path.write_text(old.replace("Zero", "One"))
    desk.until(lambda: desk.job().spec.title == "One")
    desk.settle()
    path.write_text(old.replace("Zero", "Two"))
    desk.until(lambda: bool(desk.rejected))
    assert "title: Two" in (desk.ws.paths.queue / "rejected" / f"{job.id}.yaml").read_text()
    assert desk.job().spec.title == "One"


# --- moves ---


def test_moving_between_the_ready_lanes_changes_the_priority(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    path.rename(desk.ws.paths.queue / "urgent" / path.name)
    desk.until(lambda: desk.job().priority is Priority.P1)
    desk.settle()
    assert desk.files() == [f"urgent/{job.id}.yaml"]


def test_moving_into_cancelled_cancels_and_moving_back_retries(desk: Desk) -> None:
    job = desk.accepted()
    name = job.file_name
    queue = desk.ws.paths.queue
    desk.path().rename(queue / "cancelled" / name)
    desk.until(lambda: not desk.jobs())
    assert desk.ended(job.id).state is State.CANCELLED
    desk.settle()
    assert desk.files() == [f"cancelled/{name}"]
    (queue / "cancelled" / name).rename(queue / "normal" / name)
    desk.until(lambda: bool(desk.jobs()))
    desk.settle()
    assert desk.job().state is State.READY
    assert desk.files() == [f"normal/{name}"]
    assert desk.rejected == []


def test_an_illegal_move_is_put_back_with_the_reason(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    path.rename(desk.ws.paths.queue / "done" / path.name)
    desk.until(path.exists)
    assert "nobody moves a job into done/" in why(path)
    desk.settle()
    assert desk.files() == [f"normal/{job.id}.yaml", f"normal/{job.id}.yaml.why.txt"]
    assert desk.job().at.seq == 1


def test_the_note_goes_with_the_jobs_next_change(desk: Desk) -> None:
    desk.accepted()
    path = desk.path()
    path.rename(desk.ws.paths.queue / "done" / path.name)
    desk.until(path.exists)
    path.write_text(f"title: New\n{path.read_text()}")
    desk.until(lambda: desk.job().spec.title == "New")
    assert not path.with_name(f"{path.name}.why.txt").exists()


def test_a_copy_is_kept_aside_and_the_job_stands(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    shutil.copy(path, desk.ws.paths.queue / "urgent" / "again.yaml")
    desk.until(lambda: bool(desk.rejected))
    desk.settle()
    assert desk.jobs().keys() == {job.id}
    assert desk.job().priority is Priority.P2
    assert path.exists()
    assert "copy" in why(desk.ws.paths.queue / "rejected" / "again.yaml")


def test_two_copies_of_a_moved_file_are_one_request(desk: Desk) -> None:
    desk.accepted()
    path = desk.path()
    shutil.copy2(path, desk.ws.paths.queue / "background" / path.name)
    path.rename(desk.ws.paths.queue / "urgent" / path.name)
    desk.until(lambda: bool(desk.rejected))
    desk.settle()
    assert desk.job().priority in (Priority.P1, Priority.P3)
    assert len([name for name in desk.files() if not name.startswith("rejected/")]) <= 2


def test_a_cancellation_of_a_job_that_moved_on_meanwhile_counts(desk: Desk) -> None:
    job = desk.accepted()
    desk.path().rename(desk.ws.paths.queue / "cancelled" / job.file_name)
    desk.commit(ask(job, CardKind.CANNOT_START, "It cannot start.", desk.ws.stamp()))
    desk.until(lambda: not desk.jobs())
    assert desk.ended(job.id).state is State.CANCELLED


def test_a_vanished_file_is_put_back_with_a_note(desk: Desk) -> None:
    job = desk.accepted()
    path = desk.path()
    good = path.read_bytes()
    path.unlink()
    desk.until(path.exists)
    assert path.read_bytes() == good
    assert f"orc cancel {job.id}" in why(path)
    assert desk.job().at.seq == 1


def test_a_removed_queue_is_made_again(desk: Desk) -> None:
    for number in range(3):
        desk.accepted(name=f"job-{number}.yaml", text=f"{PROMPT}again: true\n")
    files = desk.files()
    shutil.rmtree(desk.ws.paths.queue)
    desk.until(lambda: desk.files() == files)
    assert (desk.ws.paths.queue / "inbox").is_dir()
    assert (desk.ws.paths.queue / ".gitignore").exists()
    desk.accepted(name="after.yaml", text=f"{PROMPT}again: true\n")


# --- cards ---


@pytest.fixture
def asked(desk: Desk) -> Desk:
    """A desk with a job that asks something."""
    job = desk.accepted()
    desk.commit(ask(job, CardKind.CANNOT_START, "It cannot start. Try again?", desk.ws.stamp()))
    return desk


def card_path(desk: Desk) -> Path:
    return desk.ws.paths.queue / "decide" / f"{desk.job().id}.card-1.yaml"


def test_a_card_is_shown_and_answered_by_editing_it(asked: Desk) -> None:
    path = card_path(asked)
    path.write_text(path.read_text().replace("answer:\n", "answer: retry\n"))
    asked.until(lambda: asked.job().state is State.READY)
    asked.settle()
    assert not path.exists()
    card = asked.ws.ledger.record(Card, asked.ws.ledger.folder(asked.job().id), "card-1")
    assert (card.answer, card.by) == ("retry", "human:Ada Lovelace")


def test_half_an_answer_is_left_alone(asked: Desk) -> None:
    path = card_path(asked)
    half = path.read_text().replace("message:\n", "message: Well,\n")
    path.write_text(half)
    asked.until(lambda: path.with_name(f"{path.name}.why.txt").exists())
    assert asked.look() == TakenIn()
    assert path.read_text() == half
    path.write_text(half.replace("answer:\n", "answer: drop\n"))
    asked.until(lambda: not asked.jobs())


def test_an_answer_that_the_card_does_not_offer_is_kept_aside(asked: Desk) -> None:
    path = card_path(asked)
    good = path.read_bytes()
    path.write_text(path.read_text().replace("answer:\n", "answer: approve\n"))
    asked.until(lambda: bool(asked.rejected))
    assert asked.job().state is State.DECIDE
    assert path.read_bytes() == good


def test_a_job_that_waits_for_an_answer_is_not_queued_by_moving_it(asked: Desk) -> None:
    path = asked.path()
    path.rename(asked.ws.paths.queue / "normal" / path.name)
    asked.until(path.exists)
    assert "orc answer" in why(path)
    assert asked.job().state is State.DECIDE
