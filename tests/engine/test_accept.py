"""A person's files on their way in: real folders, real git, real editors' habits, real kills."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.adapters.effects import KILL_AT
from orchestrator.adapters.library import blob_id
from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.core.job import Job, Lane, Priority, State
from orchestrator.core.merge import ask
from orchestrator.core.records import Card, CardKind
from orchestrator.core.transitions import Move
from orchestrator.engine import accept as accepting
from orchestrator.engine.accept import TakenIn, submit, take_in
from orchestrator.engine.people import person_of
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import InvalidFileError, RefusedError

PROMPT = "# my job\nprompt: Put the login right.\n"
PATIENCE_S = 20.0


@dataclass
class Desk:
    """A workspace with somebody who looks at `queue/` as the engine does."""

    ws: Workspace
    queue: QueueFolder = field(init=False)
    projection: Projection = field(init=False)
    moves: list[Move] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """As a new engine does."""
        self.queue = QueueFolder(self.ws.paths.queue)
        self.projection = Projection(self.ws, self.queue)
        self.projection.start()
        self.projection.refresh()

    def look(self) -> TakenIn:
        taken = take_in(self.ws, self.queue)
        self.moves += taken.moves
        self.rejected += [each.reason for each in taken.rejected]
        self.projection.refresh()
        return taken

    def until(self, done: Callable[[], bool]) -> None:
        """Look again and again, as often as the engine is asked to, until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"it did not come to it; jobs: {self.jobs()}, refused: {self.rejected}"
            taken = self.look()
            if taken.waiting_until is not None:
                time.sleep(max(0.0, min(0.05, taken.waiting_until - time.monotonic())))

    def settle(self) -> None:
        """Look until nothing waits any more and nothing differs."""
        quiet = [False]

        def still() -> bool:
            taken = self.look()
            quiet[0] = taken.waiting_until is None and not taken.moves and not taken.rejected
            return quiet[0]

        self.until(still)

    def jobs(self) -> dict[str, Job]:
        return {id_: each.job for id_, each in self.ws.ledger.snapshot().folders.items()}

    def job(self) -> Job:
        (job,) = self.jobs().values()
        return job

    def ended(self, id_: str) -> Job:
        folder = self.ws.ledger.closed(id_)
        assert folder is not None
        return folder.job

    def path(self, job: Job | None = None) -> Path:
        job = job or self.job()
        return self.queue.path(job.lane, job.file_name)

    def drop(self, name: str = "fix-login.yaml", text: str = PROMPT, lane: str = "inbox") -> Path:
        path = self.ws.paths.queue / lane / name
        path.write_text(text)
        return path

    def accepted(self, **keys: str) -> Job:
        """A job that was dropped and taken in."""
        known = set(self.jobs())
        self.drop(**keys)
        self.until(lambda: bool(set(self.jobs()) - known))
        self.settle()
        (id_,) = set(self.jobs()) - known
        return self.jobs()[id_]

    def commit(self, move: Move) -> None:
        assert self.ws.commit([move]) == [move]
        self.projection.refresh()

    def files(self) -> list[str]:
        root = self.ws.paths.queue
        found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
        return [name for name in found if name != ".gitignore"]

    def subjects(self) -> list[str]:
        return self.ws.ledger.git.text("log", "--format=%s", "orc/state").splitlines()


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace)


def why(path: Path) -> str:
    return path.with_name(f"{path.name}.why.txt").read_text()


# --- drops ---


@pytest.mark.parametrize("lane", ["", "inbox", "urgent", "normal", "background"])
def test_a_dropped_file_becomes_a_job_and_is_shown_in_its_lane(desk: Desk, lane: str) -> None:
    job = desk.accepted(lane=lane)
    assert job.text == PROMPT
    assert job.id.startswith("fix-login-")
    assert job.at.origin == "human"
    wanted = lane if lane in ("urgent", "normal", "background") else "normal"
    assert desk.files() == [f"{wanted}/{job.id}.yaml"]
    assert desk.path().read_text().startswith(PROMPT)
    assert desk.moves[0].actor.name == "human:Ada Lovelace"
    assert desk.subjects()[0].startswith(f"accept: {job.id} from queue/")


def test_markdown_and_odd_endings_are_jobs_too(desk: Desk) -> None:
    desk.drop("note.MD", "---\ntitle: A note\n---\nWrite it down.\n")
    desk.drop("other.YML")
    desk.until(lambda: len(desk.jobs()) == 2)
    assert {job.suffix for job in desk.jobs().values()} == {".md", ".yaml"}


def test_line_ends_of_windows_are_kept(desk: Desk) -> None:
    path = desk.ws.paths.queue / "inbox" / "dos.yaml"
    path.write_bytes(b"# dos\r\nprompt: Do it.\r\n")
    desk.until(lambda: bool(desk.jobs()))
    assert desk.job().text == "# dos\r\nprompt: Do it.\r\n"
    desk.settle()
    assert desk.rejected == []


def test_p0_may_be_asked_for_by_a_person(desk: Desk) -> None:
    assert desk.accepted(text=f"priority: P0\n{PROMPT}").priority is Priority.P0


def test_five_hundred_drops_are_taken_in_by_one_update_of_the_ledger(desk: Desk) -> None:
    before = desk.ws.ledger.tip()
    for number in range(500):
        path = desk.drop(f"job-{number}.yaml", f"prompt: Do part {number}.\n")
        os.utime(path, (1, 1))
    taken = desk.look()
    assert len(taken.moves) == 500
    assert desk.ws.ledger.git.text("rev-list", "--count", f"{before}..orc/state") == "500"
    assert {job.spec.prompt for job in desk.jobs().values()} == {f"Do part {n}." for n in range(500)}
    assert len(desk.files()) == 500
    assert desk.look() == TakenIn()


def lay_down(desk: Desk, *texts: str) -> list[Path]:
    """Files that have lain there for long, the last of them for longest."""
    paths = [desk.drop(f"part-{number}.yaml", text) for number, text in enumerate(texts)]
    for number, path in enumerate(paths):
        os.utime(path, (1000 - number, 1000 - number))
    return paths


def test_of_many_drops_only_so_many_are_read_at_one_look_and_what_lay_there_longest_first(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "MAX_DROPS", 2)
    paths = lay_down(desk, "prompt: [no", "prompt: three\n", "prompt: two\n", "prompt: one\n")
    taken = desk.look()
    assert [move.job.spec.prompt for move in taken.moves] == ["one", "two"]
    assert taken.rejected == (), "whoever had read the newest one would have seen that it is broken"
    assert taken.waiting_until is not None
    assert sorted(path.exists() for path in paths) == [False, False, True, True]
    taken = desk.look()
    assert [move.job.spec.prompt for move in taken.moves] == ["three"]
    assert [each.path.name for each in taken.rejected] == [paths[0].name]
    desk.settle()


def test_what_an_engine_left_claimed_counts_among_the_drops_of_a_look(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "MAX_DROPS", 2)
    known = desk.accepted(name="zoo.yaml")
    for number, path in enumerate(lay_down(desk, *(f"prompt: do {number}\n" for number in range(3)))):
        path.rename(path.with_name(f".accept-part-0000000{number}.yaml"))
    left = desk.drop(f".accept-{known.id}.yaml")
    os.utime(left, (1, 1))
    assert len(desk.look().moves) == 2
    assert not left.exists(), "what the ledger has already is only taken away"
    desk.settle()
    assert sorted(desk.jobs()) == [*(f"part-0000000{number}" for number in range(3)), known.id]


def test_a_cancellation_does_not_wait_behind_many_drops(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "MAX_DROPS", 1)
    job = desk.accepted()
    lay_down(desk, *(f"prompt: do {number}\n" for number in range(3)))
    desk.path(job).rename(desk.queue.path(Lane.CANCELLED, job.file_name))
    taken = desk.look()
    assert job.id in {move.job.id for move in taken.moves}
    assert desk.ended(job.id).state is State.CANCELLED
    desk.settle()
    assert len(desk.jobs()) == 3


def test_a_file_that_is_still_being_written_is_waited_for(desk: Desk) -> None:
    path = desk.ws.paths.queue / "inbox" / "slow.yaml"
    with path.open("w") as file:
        file.write("prompt: 'Put the")
        file.flush()
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert desk.look().rejected == ()
        assert desk.jobs() == {}
        file.write(" login right.'\n")
    desk.until(lambda: bool(desk.jobs()))
    assert desk.job().spec.prompt == "Put the login right."
    assert desk.rejected == []


def test_a_file_that_stays_broken_is_kept_with_the_reason_and_told_in_the_ledger(desk: Desk) -> None:
    desk.drop("broken.yaml", "prompt: [\n")
    desk.until(lambda: bool(desk.rejected))
    kept = desk.ws.paths.queue / "rejected" / "broken.yaml"
    assert kept.read_text() == "prompt: [\n"
    assert "line " in why(kept)
    assert desk.subjects()[0].startswith("reject: queue/inbox/broken.yaml: ")
    listed = desk.ws.ledger.git.text("ls-tree", "-r", "--name-only", "orc/state", "rejected/").splitlines()
    (stored,) = listed
    assert desk.ws.ledger.git.run("cat-file", "blob", f"orc/state:{stored}").out == b"prompt: [\n"
    body = desk.ws.ledger.git.text("log", "-1", "--format=%B", "orc/state")
    assert "\nFile: queue/inbox/broken.yaml\n" in body
    assert "\nSha256: " in body


def test_two_refused_files_of_one_name_are_both_kept(desk: Desk) -> None:
    for text in ("one: 1\n", "two: 2\n"):
        path = desk.drop("same.yaml", text)
        os.utime(path, (1, 1))
        desk.look()
    rejected = desk.ws.paths.queue / "rejected"
    assert {(rejected / name).read_text() for name in ("same.yaml", "same-2.yaml")} == {"one: 1\n", "two: 2\n"}


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "inner.yaml").write_text(PROMPT)


def a_large_file(path: Path) -> None:
    path.write_text("prompt: |\n" + "  more and more\n" * 70_000)


def a_sparse_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def a_binary_file(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def a_bomb(path: Path) -> None:
    path.write_text("a: &a [x]\nb: [*a, *a]\nprompt: x\n")


@pytest.mark.parametrize(
    "make",
    [a_pipe, a_link, a_dangling_link, a_folder, a_large_file, a_sparse_file, a_binary_file, a_socket, a_bomb],
)
def test_a_hostile_node_is_moved_aside_and_stops_nothing(desk: Desk, make: Callable[[Path], None]) -> None:
    path = desk.ws.paths.queue / "inbox" / "evil.yaml"
    make(path)
    desk.drop("good.yaml")
    desk.until(lambda: bool(desk.rejected) and bool(desk.jobs()))
    kept = desk.ws.paths.queue / "rejected" / "evil.yaml"
    assert os.path.lexists(kept)
    assert not os.path.lexists(path)
    assert why(kept).strip()
    assert desk.job().id.startswith("good-")


def test_a_link_in_the_place_of_a_lane_is_moved_aside_not_followed(desk: Desk, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs.yaml").write_text(PROMPT)
    inbox = desk.ws.paths.queue / "inbox"
    inbox.rmdir()
    inbox.symlink_to(elsewhere)
    desk.until(lambda: bool(desk.rejected))
    assert (elsewhere / "theirs.yaml").exists()
    assert inbox.is_dir()
    assert not inbox.is_symlink()
    assert desk.jobs() == {}


def test_a_drop_into_a_folder_of_the_engine_is_refused(desk: Desk) -> None:
    os.utime(desk.drop(lane="running"), (1, 1))
    desk.look()
    assert desk.jobs() == {}
    assert "drop it into inbox/" in why(desk.ws.paths.queue / "rejected" / "fix-login.yaml")


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [(".gitmodules", '[submodule "x"]\n', "submodules"), (".gitattributes", "*.bin filter=lfs -text\n", "LFS")],
)
def test_a_project_that_cannot_be_worked_on_is_refused_with_the_reason(
    desk: Desk, repo: Path, name: str, text: str, word: str
) -> None:
    (repo / name).write_text(text)
    subprocess.run(["git", "-C", str(repo), "add", name], check=True)
    subprocess.run(["git", "-C", str(repo), "commit", "--quiet", "-m", "more"], check=True)
    os.utime(desk.drop(), (1, 1))
    desk.look()
    assert desk.jobs() == {}
    assert word in desk.rejected[0]
    with pytest.raises(RefusedError, match=word):
        submit(desk.ws, PROMPT.encode(), "x.yaml")


def test_an_unknown_project_is_refused_with_the_known_ones(desk: Desk) -> None:
    os.utime(desk.drop(text=f"project: other\n{PROMPT}"), (1, 1))
    desk.look()
    assert "'other'" in desk.rejected[0]
    assert "main" in desk.rejected[0]


SKILL = "---\nname: small-diffs\ndescription: Keeps it small.\n---\nChange little.\n"


def a_skill(root: Path) -> str:
    """A skill in the workspace; the blob id of its file."""
    path = root / "skills" / "small-diffs" / "SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(SKILL)
    return blob_id(SKILL.encode())


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("small-difs", "did you mean 'small-diffs'?"),
        ("small-diffs, tidy", "there is no skill 'tidy'"),
        ("small-diffs@00000000", "has no version '00000000' (known: "),
        ("broken", "skills/broken/SKILL.md"),
    ],
)
def test_a_skill_that_is_not_there_is_refused_before_anything_begins(
    desk: Desk, repo: Path, asked: str, word: str
) -> None:
    a_skill(repo)
    (repo / "skills" / "broken").mkdir()
    (repo / "skills" / "broken" / "SKILL.md").write_text("nothing\n")
    text = f"skills: [{asked}]\n{PROMPT}"
    os.utime(desk.drop(text=text), (1, 1))
    desk.look()
    assert desk.jobs() == {}
    assert word in desk.rejected[0]
    with pytest.raises(RefusedError) as caught:
        submit(desk.ws, text.encode(), "x.yaml")
    assert word in str(caught.value)


def test_a_skill_and_a_version_of_it_that_git_knows_are_taken(desk: Desk, repo: Path) -> None:
    blob = a_skill(repo)
    assert desk.accepted(text=f"skills: [small-diffs]\n{PROMPT}").spec.skills == ("small-diffs",)
    subprocess.run(["git", "-C", str(repo), "add", "skills"], check=True)
    shutil.rmtree(repo / "skills")
    submit(desk.ws, f"skills: [small-diffs@{blob[:12]}]\n{PROMPT}".encode(), "x.yaml")
    assert desk.rejected == []


def test_an_edit_that_asks_for_a_skill_that_is_not_there_is_not_taken(desk: Desk, repo: Path) -> None:
    job = desk.accepted()
    path = desk.path(job)
    path.write_text(path.read_text().replace("prompt:", "skills: [tidy]\nprompt:", 1))
    desk.until(lambda: bool(desk.rejected))
    assert "there is no skill 'tidy'" in desk.rejected[0]
    assert desk.job().spec.skills == ()


# --- editors ---


def test_what_vim_leaves_beside_a_file_is_its_own_business(desk: Desk) -> None:
    inbox = desk.ws.paths.queue / "inbox"
    for name in (".fix.yaml.swp", "4913", "fix.yaml~", "#fix.yaml#"):
        (inbox / name).write_text(PROMPT)
    (inbox / ".#fix.yaml").symlink_to("ada@host.123:456")
    for _ in range(3):
        assert desk.look() == TakenIn()
    assert len(list(inbox.iterdir())) == 5


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
    desk.accepted()
    path = desk.path()
    new = path.with_name(f"#{path.name}#")
    new.write_text(f"title: From emacs\n{path.read_text()}")
    new.rename(path)
    desk.until(lambda: desk.job().spec.title == "From emacs")


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
    desk.accepted()
    path = desk.path()
    path.write_text(path.read_text().replace("# my job", "# my own job"))
    desk.until(lambda: desk.job().text.startswith("# my own job"))


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
        desk.accepted(name=f"job-{number}.yaml")
    files = desk.files()
    shutil.rmtree(desk.ws.paths.queue)
    desk.until(lambda: desk.files() == files)
    assert (desk.ws.paths.queue / "inbox").is_dir()
    assert (desk.ws.paths.queue / ".gitignore").exists()
    desk.accepted(name="after.yaml")


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


# --- other doors ---


def test_submit_is_the_same_door(desk: Desk) -> None:
    move = submit(desk.ws, PROMPT.encode(), "fix-login.yaml", lane=Lane.URGENT)
    assert desk.job() == move.job
    assert move.job.priority is Priority.P1
    desk.projection.refresh()
    assert desk.files() == [f"urgent/{move.job.id}.yaml"]
    with pytest.raises(InvalidFileError, match="prompt"):
        submit(desk.ws, b"title: nothing\n", "x.yaml")
    with pytest.raises(InvalidFileError, match="orc writes"):
        submit(desk.ws, desk.path().read_bytes(), "x.yaml")


def test_the_person_is_named_as_git_names_them(desk: Desk, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert person_of(desk.ws.paths.git_dir).name == "human:Ada Lovelace"
    subprocess.run(["git", "-C", str(repo), "config", "--unset", "user.name"], check=True)
    monkeypatch.delenv("GIT_AUTHOR_NAME")
    monkeypatch.setenv("LOGNAME", "grace")
    assert person_of(desk.ws.paths.git_dir).name == "human:grace"


# --- kills ---

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


def run_engine(root: Path, kill_at: str = "") -> int:
    """Look at `queue/` in another process, which may be killed on the way."""
    env = {**os.environ, KILL_AT: kill_at, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", CHILD, str(root)], env=env, check=False).returncode


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
