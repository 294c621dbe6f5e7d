"""What a watch remembers of the events: where something happened, or that it may have been anywhere."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_helpers import wait_until

from orchestrator.adapters.watch import MOST_PATHS, Watch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "queue"
    (folder / "inbox").mkdir(parents=True)
    return folder


@pytest.fixture
def watch(folder: Path) -> Iterator[Watch]:
    with Watch([folder], threading.Event()) as watch:
        assert watch.take() is None, "what happened before is not known"
        yield watch


def taken_until(watch: Watch, *wanted: Path) -> set[Path]:
    """What was taken until all that is wanted was among it."""
    found: set[Path] = set()

    def has_all() -> bool:
        nonlocal found
        taken = watch.take()
        assert taken is not None
        found |= taken
        return found >= set(wanted)

    wait_until(has_all)
    return found


def test_what_was_made_written_renamed_and_removed_is_named_once(watch: Watch, folder: Path) -> None:
    made, moved = folder / "inbox" / "a.yaml", folder / "b.yaml"
    made.write_text("x")
    taken_until(watch, made)
    made.rename(moved)
    taken_until(watch, made, moved)
    with moved.open("a") as file:
        file.write("more")
    taken_until(watch, moved)
    moved.unlink()
    taken_until(watch, moved)
    # One act makes several events; those of one folder come in their order, so that all older ones come before these.
    marks = [folder / "inbox" / name for name in ("last.yaml", "very-last.yaml")]
    for mark in marks:
        mark.touch()
        taken = taken_until(watch, mark)
    assert made not in taken


def test_what_comes_from_elsewhere_and_a_changed_mode_are_named(watch: Watch, folder: Path, tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", folder / "inbox" / "in.yaml"
    outside.write_text("x")
    outside.rename(inside)
    assert inside in taken_until(watch, inside)
    inside.chmod(0o600)
    assert inside in taken_until(watch, inside)


def test_looking_at_a_file_is_no_event(watch: Watch, folder: Path) -> None:
    quiet, between, last = (folder / "inbox" / f"{name}.yaml" for name in ("quiet", "between", "last"))
    quiet.touch()
    # A touch is several events, and those of one folder come in order: behind this one none of the first are left.
    between.touch()
    taken_until(watch, between)
    quiet.read_text()
    last.touch()
    assert quiet not in taken_until(watch, last)


def test_a_name_that_is_no_text_comes_back_as_it_is(watch: Watch, folder: Path) -> None:
    odd = folder / "inbox" / os.fsdecode(b"\xff.yaml")
    odd.touch()
    assert odd in taken_until(watch, odd)


def test_without_events_everything_may_have_changed(folder: Path) -> None:
    never = Watch([folder / "missing"], threading.Event())
    assert never.take() is None
    with Watch([folder], threading.Event()) as watch:
        watch.take()
        assert watch.take() == set()
    assert watch.take() is None, "nobody watches any more"


def test_after_too_many_events_everything_may_have_changed_and_then_it_counts_anew(folder: Path) -> None:
    wake = threading.Event()
    with Watch([folder], wake) as watch:
        watch.take()
        for number in range(MOST_PATHS // 2 + 1):
            (folder / f"{number}.yaml").touch()  # Each is told of, and its folder.
        wake.clear()
        last = folder / "inbox" / "last.yaml"
        last.touch()
        wait_until(lambda: quiet_for(wake, 0.2))  # All that was put is heard of by then.
        assert watch.take() is None
        last.write_text("more")
        taken_until(watch, last)


def quiet_for(wake: threading.Event, seconds: float) -> bool:
    """Whether no event comes for so long."""
    wake.clear()
    return not wake.wait(seconds)


def test_a_folder_that_is_deleted_while_it_is_looked_at_is_gone(watch: Watch, folder: Path) -> None:
    gone = threading.Event()

    def delete_just_then(event: str, args: tuple[object, ...]) -> None:
        if event == "os.listdir" and args[0] in (str(folder), folder) and not gone.is_set():
            gone.set()
            shutil.rmtree(folder)

    sys.addaudithook(delete_just_then)
    watch.renew()
    assert gone.is_set()
    (folder / "inbox").mkdir(parents=True)
    watch.renew()
    assert watch.take() is None, "in between nobody watched"
    made = folder / "inbox" / "a.yaml"
    made.touch()
    taken_until(watch, made)


def test_folders_that_vanish_one_by_one_end_nothing(watch: Watch, folder: Path) -> None:
    for number in range(300):
        (folder / f"{number:03}").mkdir()
    sweeper = threading.Thread(target=shutil.rmtree, args=(folder,))
    sweeper.start()
    while sweeper.is_alive():
        watch.renew()
    sweeper.join()
    watch.renew()
    assert watch.take() is None


def test_what_happened_while_folders_were_watched_anew_may_be_anything(watch: Watch, folder: Path) -> None:
    (folder / "normal").mkdir()
    watch.renew()
    (folder / "normal" / "a.yaml").touch()
    assert watch.take() is None, "between the old watch and the new one nobody looked"
    late = folder / "normal" / "late.yaml"
    late.touch()
    taken_until(watch, late)
