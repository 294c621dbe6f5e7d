"""`orc schedule`: what a person is told of the jobs that come by themselves."""

from __future__ import annotations

from pathlib import Path

import cli_world as w
import pytest

DAILY = """\
cron: "30 8 * * 1-5"
tz: Europe/Berlin
jitter_s: 60
job:
  title: Look through the inbox, ${date}
  prompt: Sort what lies there.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = w.new_workspace(tmp_path / "work")
    (root / "schedules").mkdir(exist_ok=True)
    (root / "schedules" / "inbox.yaml").write_text(DAILY)
    return root


def test_without_a_schedule_it_says_what_to_write(root: Path) -> None:
    (root / "schedules" / "inbox.yaml").unlink()
    assert w.orc(root, "schedule", "list", code=0).out == "There is no schedule: write schedules/NAME.yaml\n"
    assert w.orc(root, "schedule", "next", code=0).out == "Nothing is due any more.\n"


def test_each_is_listed_with_its_times_and_what_is_wrong_with_the_others(root: Path) -> None:
    (root / "schedules" / "off.yaml").write_text("enabled: false\ncron: '@daily'\ntz: UTC\njob: {prompt: x}\n")
    (root / "schedules" / "broken.yaml").write_text("cron: '@daily'\ntz: Europe/Berln\njob: {prompt: x}\n")
    heading, inbox, off, problem = w.orc(root, "schedule", "list", code=0).out.splitlines()
    assert heading.split() == ["NAME", "DUE", "ZONE", "NEXT", "LAST", "JOBS", "MISSED", "SKIPPED", "QUIET", "JOB"]
    assert inbox.startswith("inbox  30 8 * * 1-5  Europe/Berlin  2")
    assert "switched off" in off
    told = "'Europe/Berln' is no time zone of the IANA database; did you mean Europe/Berlin?"
    assert problem == f"! schedules/broken.yaml:2: tz: {told}"


def test_a_title_that_grows_too_long_is_told_before_its_first_slot(root: Path) -> None:
    title = "x" * 190
    (root / "schedules" / "inbox.yaml").write_text(DAILY.replace("Look through the inbox, ${date}", title + "${slot}"))
    (problem,) = w.orc(root, "schedule", "list", code=0).out.splitlines()
    assert problem.startswith("! schedules/inbox.yaml:5: job.title: ")
    assert "200" in problem


def test_next_times_are_told_in_utc_and_in_the_schedules_own_zone(root: Path) -> None:
    lines = w.orc(root, "schedule", "next", "inbox", "-n", "3", code=0).out.splitlines()
    assert len(lines) == 3
    for line in lines:
        at, local, name = line.split()
        assert at.endswith("Z")
        assert "T08:3" in local
        assert name == "inbox"


def test_it_is_explained_in_words(root: Path) -> None:
    told = w.orc(root, "schedule", "explain", "inbox", code=0).out
    assert told.startswith("inbox: At 08:30 ")
    assert "makes one job for the newest, if it is at most 3600 s late" in told
    assert "while the job of an earlier one is open is skipped" in told
    assert "up to 60 s later than its minute" in told


def test_one_can_be_made_now_and_is_the_persons_own(root: Path) -> None:
    id_ = w.orc(root, "schedule", "run", "inbox", code=0).out.strip()
    assert id_.startswith("inbox-")
    shown = w.orc(root, "show", id_, code=0).out
    assert "Look through the inbox, 2" in shown
    assert "accept" in w.orc(root, "log", id_, code=0).out


def test_a_name_that_is_none_says_which_there_are(root: Path) -> None:
    done = w.orc(root, "schedule", "run", "inbx", code=3)
    assert "there is no schedule 'inbx' (there: inbox)" in done.err
