"""The folders of `queue/` on a real disk: what counts, what differs, and what is never overwritten."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from orchestrator.adapters.effects import inside_effect
from orchestrator.adapters.queue_folder import SETTLE_S, Difference, QueueFolder, Seen
from orchestrator.adapters.reading import signature
from orchestrator.core.job import Lane

ID = "fix-login-7f3a09c2"


@pytest.fixture
def queue(tmp_path: Path) -> QueueFolder:
    folder = QueueFolder(tmp_path / "queue")
    folder.prepare()
    return folder


def put(queue: QueueFolder, name: str, text: str = "x", *, age_s: float = 100.0, lane: str = "inbox") -> Path:
    path = queue.root / lane / name
    path.write_text(text)
    moment = time.time() - age_s
    os.utime(path, (moment, moment))
    return path


def shown(queue: QueueFolder, data: bytes = b"shown", *, lane: Lane = Lane.NORMAL, seq: int = 1) -> Path:
    path = queue.path(lane, f"{ID}.yaml")
    assert queue.show(path, data, id=ID, seq=seq)
    return path


def only(queue: QueueFolder) -> Seen:
    (seen,) = queue.look()
    return seen


def sign(path: Path) -> object:
    found = signature(path)
    assert found is not None
    return found


def test_every_lane_is_a_folder_and_the_queue_is_ignored_by_git(queue: QueueFolder) -> None:
    assert {path.name for path in queue.root.iterdir()} == {*Lane, ".gitignore"}
    assert (queue.root / ".gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.md", "A.YAML", "-rf.yaml", "ü.yaml", "a b.yaml"])
def test_these_names_count(queue: QueueFolder, name: str) -> None:
    path = put(queue, name)
    seen = only(queue)
    assert (seen.path, seen.what, seen.lane) == (path, Difference.NEW, Lane.INBOX)


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        ".a.yaml",
        "#a.yaml#",
        "a.yaml~",
        ".a.yaml.swp",
        "4913",
        ".#a.yaml",
        "#a.yaml",
        "a.yaml.why.txt",
        ".accept-x.yaml",
    ],
)
def test_these_names_are_others_business(queue: QueueFolder, name: str) -> None:
    put(queue, name)
    assert queue.look() == []


def test_a_file_straight_in_the_queue_counts_as_dropped_into_the_inbox(queue: QueueFolder) -> None:
    (queue.root / "a.yaml").write_text("x")
    assert only(queue).lane is Lane.INBOX


def test_what_lies_in_rejected_is_not_looked_at(queue: QueueFolder) -> None:
    put(queue, "a.yaml", lane="rejected")
    assert queue.look() == []


def test_a_claimed_drop_is_reported_with_its_id(queue: QueueFolder) -> None:
    path = put(queue, "a.yaml")
    claimed = queue.claim(path, ID, ".yaml")
    seen = only(queue)
    assert (seen.path, seen.what, seen.claimed_id) == (claimed, Difference.CLAIMED, ID)
    assert not path.exists()


def test_a_claim_does_not_replace_another_file(queue: QueueFolder) -> None:
    queue.claim(put(queue, "a.yaml", "one"), ID, ".yaml")
    with pytest.raises(FileExistsError):
        queue.claim(put(queue, "a.yaml", "two"), ID, ".yaml")
    assert (queue.root / "inbox" / "a.yaml").read_text() == "two"


def test_a_new_file_stands_still_from_the_look_that_saw_it_so(queue: QueueFolder) -> None:
    path = put(queue, "a.yaml", age_s=-100.0)  # its clock says the future, so that only what was seen counts
    assert only(queue).still_s < SETTLE_S
    deadline = time.monotonic() + 10
    while (seen := only(queue)).still_s < SETTLE_S:
        assert time.monotonic() < deadline
    moment = time.time() + 200
    path.write_text("xy")
    os.utime(path, (moment, moment))
    assert only(queue).still_s < SETTLE_S <= seen.still_s


def test_a_file_that_was_last_written_long_ago_stands_still_at_once(queue: QueueFolder) -> None:
    put(queue, "a.yaml", age_s=5.0)
    assert only(queue).still_s >= SETTLE_S


def test_what_is_shown_is_no_difference(queue: QueueFolder) -> None:
    path = shown(queue)
    assert path.read_bytes() == b"shown"
    assert queue.look() == []


def test_a_changed_file_is_reported_and_neither_overwritten_nor_removed(queue: QueueFolder) -> None:
    path = shown(queue)
    path.write_text("theirs")
    assert only(queue).what is Difference.CHANGED
    assert not queue.show(path, b"newer", id=ID, seq=2)
    assert not queue.hide(path)
    assert path.read_text() == "theirs"


def test_an_unknown_file_in_the_place_is_not_overwritten(queue: QueueFolder) -> None:
    path = put(queue, f"{ID}.yaml", "theirs", lane="normal")
    assert not queue.show(path, b"ours", id=ID, seq=1)
    assert path.read_text() == "theirs"
    assert queue.show(path, b"theirs", id=ID, seq=1)
    assert queue.look() == []


def test_an_equal_file_is_not_written_again(queue: QueueFolder) -> None:
    path = shown(queue)
    before = sign(path)
    assert queue.show(path, b"shown", id=ID, seq=2)
    assert sign(path) == before


def test_a_change_that_was_dealt_with_is_shown_over(queue: QueueFolder) -> None:
    path = shown(queue)
    path.write_text("theirs")
    found = signature(path)
    assert found is not None
    assert queue.adopt(path, found, id=ID)
    assert queue.changed_ids == {ID}
    assert queue.show(path, b"newer", id=ID, seq=2)
    assert path.read_bytes() == b"newer"


def test_a_change_that_was_changed_again_is_not_dealt_with(queue: QueueFolder) -> None:
    path = shown(queue)
    path.write_text("theirs")
    found = signature(path)
    assert found is not None
    path.write_text("theirs, once more")
    assert not queue.adopt(path, found, id=ID)
    assert not queue.take(path, found)
    assert not queue.show(path, b"newer", id=ID, seq=2)
    assert path.read_text() == "theirs, once more"


def test_a_change_that_is_left_is_reported_again_only_when_it_changes(queue: QueueFolder) -> None:
    path = shown(queue)
    path.write_text("half")
    found = signature(path)
    assert found is not None
    queue.leave(path, found)
    assert queue.look() == []
    path.write_text("the whole")
    assert only(queue).what is Difference.CHANGED


def test_a_missing_file_is_reported_and_not_shown_until_it_was_judged(queue: QueueFolder) -> None:
    path = shown(queue)
    path.unlink()
    seen = only(queue)
    assert (seen.what, seen.folder_was_there) == (Difference.MISSING, True)
    assert not queue.show(path, b"shown", id=ID, seq=1)
    queue.forget(path)
    assert queue.changed_ids == {ID}
    assert queue.show(path, b"shown", id=ID, seq=1)
    assert queue.look() == []


def test_a_file_whose_folder_went_with_it_is_told_apart(queue: QueueFolder) -> None:
    path = shown(queue)
    path.unlink()
    path.parent.rmdir()
    assert not only(queue).folder_was_there
    assert queue.folders_missing
    queue.prepare()
    assert not only(queue).folder_was_there


def test_what_an_earlier_engine_showed_is_known_and_what_differs_is_reported(queue: QueueFolder) -> None:
    path = shown(queue)
    again = QueueFolder(queue.root)
    again.recall(path, b"shown", id=ID, seq=1, must_exist=False)
    assert again.look() == []
    other = QueueFolder(queue.root)
    other.recall(path, b"something else", id=ID, seq=1, must_exist=False)
    assert only(other).what is Difference.CHANGED
    path.unlink()
    third = QueueFolder(queue.root)
    third.recall(path, b"shown", id=ID, seq=1, must_exist=False)
    assert only(third).what is Difference.MISSING
    fourth = QueueFolder(queue.root)
    fourth.recall(path, b"shown", id=ID, seq=1, must_exist=True)
    assert fourth.look() == []


def test_quarantine_moves_the_node_itself_under_a_free_name(queue: QueueFolder, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for number in range(3):
        link = queue.root / "inbox" / "a.yaml"
        link.symlink_to(secret)
        kept = queue.quarantine(link, f"reason {number}")
        assert kept.is_symlink()
        assert kept.with_name(f"{kept.name}.why.txt").read_text() == f"reason {number}\n"
    assert len([path for path in (queue.root / "rejected").iterdir() if path.is_symlink()]) == 3
    assert secret.read_text() == "secret"


def test_quarantine_takes_names_that_are_too_long_for_a_note_beside_them(queue: QueueFolder) -> None:
    path = put(queue, "x" * 250 + ".yaml")
    kept = queue.quarantine(path, "reason")
    assert kept.read_text() == "x"
    assert kept.with_name(f"{kept.name}.why.txt").exists()


def test_a_note_is_cleared_once_it_was_there_for_a_while(queue: QueueFolder) -> None:
    path = shown(queue)
    queue.note(path, "because\x1b[31m")
    note = path.with_name(f"{path.name}.why.txt")
    assert "\x1b" not in note.read_text()
    queue.clear_note(path)
    assert note.exists()
    queue.fresh_notes.clear()
    queue.clear_note(path)
    assert not note.exists()


def test_a_note_of_an_earlier_engine_is_found(queue: QueueFolder) -> None:
    path = shown(queue)
    queue.note(path, "because")
    again = QueueFolder(queue.root)
    again.look()
    again.clear_note(path)
    assert not path.with_name(f"{path.name}.why.txt").exists()


def test_half_written_files_of_a_killed_writer_are_swept(queue: QueueFolder) -> None:
    left = put(queue, ".tmp-0123456789ab-x.yaml")
    theirs = put(queue, ".tmp-mine.yaml")
    queue.prepare()
    assert not left.exists()
    assert theirs.exists()


def test_a_look_at_ten_thousand_shown_files_reads_none_of_them(queue: QueueFolder) -> None:
    for number in range(10_000):
        path = queue.path(Lane.NORMAL, f"job-{number:08x}.yaml")
        path.touch(mode=0o000)
        queue.adopt(path, sign(path), id=f"job-{number:08x}")  # type: ignore[arg-type]
    started = time.process_time()
    assert queue.look() == []
    assert time.process_time() - started < 1.0


def test_nothing_is_left_open_as_an_effect(queue: QueueFolder) -> None:
    shown(queue)
    assert not inside_effect()


# --- looking only where something happened ---


def names(seen: list[Seen]) -> dict[str, Difference]:
    return {each.path.name: each.what for each in seen}


def test_a_hinted_file_is_seen_and_one_without_a_hint_only_by_the_next_full_look(queue: QueueFolder) -> None:
    told, untold = put(queue, "told.yaml"), put(queue, "untold.yaml")
    top = queue.root / "top.md"
    top.write_text("x")
    assert names(queue.look({told, top})) == {"told.yaml": Difference.NEW, "top.md": Difference.NEW}
    assert names(queue.look()) == dict.fromkeys(("told.yaml", "untold.yaml", "top.md"), Difference.NEW)
    assert untold.exists()


def test_changed_missing_and_claimed_files_are_seen_by_their_hints(queue: QueueFolder) -> None:
    changed = shown(queue)
    missing = queue.path(Lane.URGENT, "other-00000001.yaml")
    assert queue.show(missing, b"shown", id="other-00000001", seq=1)
    changed.write_text("theirs")
    missing.unlink()
    claimed = queue.claim(put(queue, "a.yaml"), ID, ".yaml")
    assert queue.look(set()) == []
    assert names(queue.look({changed, missing, claimed, claimed.with_name("a.yaml")})) == {
        changed.name: Difference.CHANGED,
        missing.name: Difference.MISSING,
        claimed.name: Difference.CLAIMED,
    }


def test_what_was_on_the_move_is_looked_at_again_without_a_hint_until_it_is_settled(queue: QueueFolder) -> None:
    path = put(queue, "a.yaml", age_s=-100.0)
    (first,) = queue.look({path})
    deadline = time.monotonic() + 10
    while (seen := queue.look(set())) and seen[0].still_s < SETTLE_S:
        assert time.monotonic() < deadline
    assert names(seen) == {"a.yaml": Difference.NEW}
    assert seen[0].still_s > first.still_s
    path.unlink()
    assert queue.look(set()) == []
    path.write_text("again")
    assert queue.look(set()) == [], "nobody was told of it"


def test_a_file_that_comes_back_is_not_missing_any_more(queue: QueueFolder) -> None:
    path = shown(queue)
    data = path.read_bytes()
    kept = path.with_suffix(".kept")
    path.rename(kept)
    assert names(queue.look({path})) == {path.name: Difference.MISSING}
    kept.rename(path)
    assert path.read_bytes() == data
    assert queue.look(set()) == []


def test_a_hint_that_does_not_count_is_no_difference(queue: QueueFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("x")
    deep = queue.root / "inbox" / "deep"
    deep.mkdir()
    (deep / "a.yaml").write_text("x")
    rejected, draft = put(queue, "a.yaml", lane="rejected"), put(queue, ".a.yaml")
    strange = queue.root / "strange"
    strange.mkdir()
    (strange / "a.yaml").write_text("x")
    hints = {outside, deep / "a.yaml", deep, rejected, draft, strange / "a.yaml", queue.root, queue.root / "inbox"}
    assert queue.look(hints) == []


def test_a_folder_that_is_missing_makes_everything_be_looked_at(queue: QueueFolder) -> None:
    path, untold = shown(queue, lane=Lane.URGENT), put(queue, "untold.yaml")
    path.unlink()
    path.parent.rmdir()
    seen = {each.path: each for each in queue.look(set())}
    assert set(seen) == {path, untold}
    assert not seen[path].folder_was_there


def test_a_lane_that_became_a_file_is_no_folder(queue: QueueFolder) -> None:
    lane = queue.root / "normal"
    lane.rmdir()
    lane.write_text("x")
    untold = put(queue, "untold.yaml")
    assert untold in {each.path for each in queue.look(set())}
    assert queue.folders_missing


def test_notes_are_known_by_hints_as_by_a_full_look(queue: QueueFolder) -> None:
    one, two = shown(queue), queue.path(Lane.URGENT, "other-00000001.yaml")
    assert queue.show(two, b"shown", id="other-00000001", seq=1)
    notes = {path: path.with_name(f"{path.name}.why.txt") for path in (one, two)}
    for note in notes.values():
        note.write_text("because")  # Another process wrote it: the command `orc edit`, or an earlier engine.
    queue.look({notes[one]})
    for path in notes:
        queue.clear_note(path)
    assert [note.exists() for note in notes.values()] == [False, True]
    queue.look(set())
    queue.clear_note(two)
    assert notes[two].exists(), "it was not told of that one yet"
    queue.look()
    assert queue.look(set()) == [], "a look at hints forgets no note"
    queue.clear_note(two)
    assert not notes[two].exists()


def test_a_note_that_a_person_removed_is_known_to_be_gone(queue: QueueFolder) -> None:
    path = shown(queue)
    note = path.with_name(f"{path.name}.why.txt")
    queue.note(path, "because")
    queue.fresh_notes.clear()
    note.unlink()
    queue.look({note})
    note.write_text("a note of somebody else's")
    queue.clear_note(path)
    assert note.exists()
