"""Engines, nurseries, shims, commands and gits, killed or failed at single system calls: each job still ends, once.

One point by its name: `ORC_TORTURE_ONLY=plain-shim.2-rename-4 pytest -m torture FILE`. A kill at a call that changes
nothing is a kill between the change before it and the one after it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from crash_helpers import make_world
from syscall_helpers import Injection, Point, choose, problem, read_points
from syscall_scenes import SCENES, play, trace

SEED = os.environ.get("ORC_TORTURE_SEED", "1")
KILLS = int(os.environ.get("ORC_TORTURE_POINTS", "450"))
FAILURES = KILLS // 3
ONLY = [Point.parse(name) for name in os.environ.get("ORC_TORTURE_ONLY", "").split(",") if name]
SHORT_KILLS, SHORT_FAILURES = 13, 6
"""What `make check` has time for: the same ones each time."""
FOUND = (
    "fixes-shim.5-unlinkat-11",
    "fixes-git.main.push.1+-unlink-1",
    "mended-shim.1-openat-16",
    "red-main-rename-19",
    "revert-main-rename-13",
)
"""Points at which something was wrong once."""
ONE = 180
"""Seconds for what takes three on an idle machine."""

ERRORS = {
    **dict.fromkeys(("fsync", "fdatasync", "syncfs", "rename", "renameat2", "unlink", "flock"), "EIO"),
    **dict.fromkeys(("write", "pwrite64", "mkdir", "link", "linkat", "symlink"), "ENOSPC"),
    **dict.fromkeys(("openat", "socketpair"), "EMFILE"),
    **dict.fromkeys(("fork", "vfork", "clone"), "EAGAIN"),
}
POINTS = read_points()
FAILING = [point for point in POINTS if point.call in ERRORS]


def with_engine(point: Point) -> bool:
    """In a third of the points the engine dies at the same moment as the process that is killed."""
    return point.process != "main" and zlib.crc32(str(point).encode()) % 3 == 0


def kills(points: Iterable[Point]) -> list[object]:
    """As parameters, each with a name by which it can be run again."""
    return [pytest.param(point, id=f"{point}-{'both' if with_engine(point) else 'alone'}") for point in points]


def failures(points: Iterable[Point]) -> list[object]:
    """The same for calls that fail."""
    return [pytest.param(point, id=f"{point}-{ERRORS[point.call]}") for point in points if point.call in ERRORS]


SHORT = list(dict.fromkeys([*map(Point.parse, FOUND), *choose(POINTS, SHORT_KILLS, "short")]))
SHORT_FAILING = choose(FAILING, SHORT_FAILURES, "short")


def without(these: Iterable[Point], points: Iterable[Point]) -> list[Point]:
    """Those of the points that are not played elsewhere."""
    played = set(these)
    return [point for point in points if point not in played]


@pytest.fixture(autouse=True)
def able() -> None:
    """The machine can do this."""
    if problem():
        pytest.skip(problem())


def test_the_long_form_tries_more_than_five_hundred_points() -> None:
    kills, failing = choose(POINTS, 450, "1"), choose(FAILING, 150, "1")
    assert (len(set(kills)), len(set(failing))) == (450, 150)
    assert {point.scene for point in kills} == set(SCENES)


def reach(place: Path, point: Point, what: str, *, engine_too: bool = False) -> Injection:
    """Play the scene of a point until it has really happened there."""
    for number in range(3):
        injection = Injection(make_world(place / str(number)), point, what, engine_too)
        play(SCENES[point.scene], injection)
        if injection.hit:
            print(f"{point}: {injection.hit[:200]}")
            return injection
        made = injection.made()
        if not made:
            break
        # How often a process looks differs from run to run, and with it how many calls it makes before it changes
        # something: the same share of the way is as good.
        point = point.later(1 + (point.nth - 1) % made)
    pytest.skip(f"{point.process} made no such call this time; if it never does: python tests/syscall_scenes.py")


def kill(place: Path, point: Point) -> Injection:
    """A process is killed at a point, and everything comes to its end."""
    return reach(place, point, "signal=KILL", engine_too=with_engine(point))


def fail(place: Path, point: Point) -> Injection:
    """A call fails once, and everything comes to its end."""
    return reach(place, point, f"error={ERRORS[point.call]}")


@pytest.mark.slow
@pytest.mark.timeout(ONE)
@pytest.mark.parametrize("point", kills(SHORT))
def test_each_job_ends_once_wherever_a_process_is_killed(tmp_path: Path, point: Point) -> None:
    assert kill(tmp_path, point).hit


@pytest.mark.slow
@pytest.mark.timeout(ONE)
@pytest.mark.parametrize("point", failures(SHORT_FAILING))
def test_each_job_ends_once_whatever_call_fails(tmp_path: Path, point: Point) -> None:
    assert fail(tmp_path, point).hit


@pytest.mark.torture
@pytest.mark.timeout(ONE)
@pytest.mark.parametrize("point", kills(ONLY or without(SHORT, choose(POINTS, KILLS, SEED))))
def test_each_job_ends_once_wherever_a_process_is_killed_at_all(tmp_path: Path, point: Point) -> None:
    assert kill(tmp_path, point).hit


@pytest.mark.torture
@pytest.mark.timeout(ONE)
@pytest.mark.parametrize("point", failures(ONLY or without(SHORT_FAILING, choose(FAILING, FAILURES, SEED))))
def test_each_job_ends_once_whatever_call_fails_at_all(tmp_path: Path, point: Point) -> None:
    assert fail(tmp_path, point).hit


@pytest.mark.torture
@pytest.mark.timeout(ONE)
@pytest.mark.parametrize("name", SCENES)
def test_the_table_has_what_the_processes_of_a_scene_change(tmp_path: Path, name: str) -> None:
    # Some calls are made by chance, such as a folder for an object: it is enough that another scene has them.
    known = {point.kind[1:] for point in POINTS}
    found = {Point(name, who, call, nth[0]).kind[1:] for (who, call), nth in trace(name, tmp_path).items()} - known
    missing = sorted(f"{who} {call}" for who, call in found)
    assert missing == [], "changes that no point breaks; write the table anew: python tests/syscall_scenes.py"
