"""New files on their way in, by the folder and by `orc submit`: what becomes a job, and what is moved aside."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from desk_world import PROMPT, Desk, why

from orchestrator.adapters.library import blob_id
from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.core.job import Lane, Priority, State
from orchestrator.engine import accept as accepting
from orchestrator.engine.accept import TakenIn, submit
from orchestrator.engine.people import person_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError, RefusedError


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace)


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


def test_what_a_look_takes_in_is_one_update_of_the_ledger(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "LEAST_DROPS", 500)
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


def test_of_many_drops_a_look_takes_in_a_share_and_the_more_the_more_there_are(desk: Desk) -> None:
    for number in range(500):
        os.utime(desk.drop(f"job-{number}.yaml", f"prompt: Do part {number}.\n"), (1, 1))
    assert len(desk.look().moves) == 500 // accepting.SHARE
    assert len(desk.look().moves) == (500 - 500 // accepting.SHARE) // accepting.SHARE
    assert len(desk.look().moves) == accepting.LEAST_DROPS
    desk.settle()
    assert len(desk.jobs()) == 500


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


def test_a_file_is_not_taken_in_while_its_writer_has_it_open_however_readable_it_is(desk: Desk) -> None:
    path = desk.ws.paths.queue / "inbox" / "slow.md"
    with path.open("w") as file:
        for text in ("", "Put the login right.\n"):
            file.write(text)
            file.flush()
            os.utime(path, (time.time() - 30,) * 2)
            for _ in range(3):
                taken = desk.look()
                assert (taken.moves, taken.rejected) == ((), ())
                assert taken.waiting_until is not None
        file.write("With a test.\n")
    desk.until(lambda: bool(desk.jobs()))
    assert desk.job().spec.prompt == "Put the login right.\nWith a test."


def test_who_opened_a_file_just_before_it_was_claimed_is_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, claim = desk.drop(), desk.queue.claim
    os.utime(path, (time.time() - 30,) * 2)
    with ExitStack() as stack:
        monkeypatch.setattr(
            QueueFolder, "claim", lambda _, *words: stack.enter_context(path.open("a")) and claim(*words)
        )
        assert desk.look().moves == ()
        (claimed,) = path.parent.glob(".accept-*")
        assert desk.look().moves == ()
        with claimed.open("a") as file:
            file.write("title: Log in\n")
    desk.until(lambda: bool(desk.jobs()))
    assert desk.job().spec.title == "Log in"


def test_a_file_that_some_program_never_closes_is_taken_in_at_last(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "OPEN_S", 60.0)
    path = desk.drop()
    with path.open("a"):
        os.utime(path, (time.time() - 30,) * 2)
        assert desk.look().moves == ()
        os.utime(path, (time.time() - 61,) * 2)
        desk.until(lambda: bool(desk.jobs()))


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


def test_an_unknown_project_is_refused_with_its_line_and_the_nearest_one(desk: Desk) -> None:
    text = f"{PROMPT}project: mian\n"
    os.utime(desk.drop(text=text), (1, 1))
    desk.look()
    told = "there is no project 'mian' in orc.yaml (there is main); did you mean 'main'?"
    assert desk.rejected == [f"line 3: `project`: {told}"]
    with pytest.raises(InvalidFileError) as error:
        submit(desk.ws, text.encode(), "x.yaml")
    assert (error.value.file, error.value.line, error.value.reason) == ("x.yaml", 3, told)


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
