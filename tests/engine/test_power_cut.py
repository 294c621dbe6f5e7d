"""Power cuts on real disks: what was acknowledged is there afterwards, and everything still comes to its right end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from crash_helpers import RUN, make_world
from power_helpers import (
    ENABLED_BY,
    EVERY_POINT,
    MAKERS,
    Disk,
    Moment,
    NoRigError,
    disk,
    find_lost,
    make_power_world,
    random_moments,
    survive,
)
from tree_helpers import Farm, contents, shell

from orchestrator.adapters.effects import Effect
from orchestrator.adapters.files import sync_filesystem
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_checkout import landing_lock, landing_notes, push_into_checkout
from orchestrator.adapters.git_refs import RefMovedError
from orchestrator.adapters.landing import heal_landings
from orchestrator.adapters.mirrors import move_own_ref, publish_ref, refresh_mirror
from orchestrator.adapters.worktrees import was_sealed_torn
from orchestrator.core.job import Lane

LONG = 600
CUTS = 5
"""Power cuts in one life."""


def lives(kind: str) -> list[list[Moment]]:
    """Every moment for one kind of disk, a few for each life: at every effect, and at moments of chance."""
    moments = [*EVERY_POINT, *random_moments(f"of {kind}", 20)]
    count = -(-len(moments) // CUTS)
    return [moments[number::count] for number in range(count)]


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk of its own whose power can be cut; skipped, with what is missing, where that cannot be had."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(disk(request.param, tmp_path))
        except NoRigError as error:
            pytest.skip(f"no power cuts on {request.param}: {error}; {ENABLED_BY}")
        yield found


KINDS = pytest.mark.parametrize("machine", MAKERS, indirect=True)


@KINDS
def test_a_plain_commit_of_git_is_lost_so_the_rig_takes_what_was_never_flushed(machine: Disk) -> None:
    git = ["git", "-C", str(machine.at)]
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    sync_filesystem(machine.at)
    told = [f"commit {number}" for number in range(5)]
    for text in told:
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", text], check=True)
    assert find_lost(told, _subjects(git)) == []
    machine.cut()
    assert find_lost(told, _subjects(git)) != []


def _subjects(git: list[str]) -> list[str]:
    """The commits that are there. Where the repository is broken there are none."""
    return subprocess.run([*git, "log", "--format=%s"], capture_output=True, text=True).stdout.splitlines()


@KINDS
def test_what_was_flushed_outlives_the_cut(machine: Disk) -> None:
    (machine.at / "kept").write_text("kept\n")
    sync_filesystem(machine.at)
    (machine.at / "lost").write_text("lost\n")
    machine.cut()
    assert (machine.at / "kept").read_text() == "kept\n"
    assert not (machine.at / "lost").exists()


@KINDS
@pytest.mark.slow
@pytest.mark.timeout(LONG)
def test_nothing_acknowledged_is_lost_by_three_power_cuts(machine: Disk) -> None:
    world = make_power_world(machine.at.parent)
    moments = [Moment(f"{effect}:after") for effect in (Effect.RUN_SPAWN, Effect.WORK_PUBLISH, Effect.TARGET_MOVE)]
    assert survive(machine, world, moments) == 3
    assert len(world.kills) == 3


@pytest.mark.torture
@pytest.mark.timeout(LONG)
@pytest.mark.parametrize(
    ("machine", "moments"),
    [pytest.param(kind, life, id=f"{kind}-{number}") for kind in MAKERS for number, life in enumerate(lives(kind))],
    indirect=["machine"],
)
def test_nothing_acknowledged_is_lost_whenever_the_power_goes(machine: Disk, moments: list[Moment]) -> None:
    world = make_power_world(machine.at.parent)
    assert survive(machine, world, moments) == len(moments)


def test_the_long_form_cuts_the_power_a_hundred_times() -> None:
    assert sum(len(life) for kind in MAKERS for life in lives(kind)) >= 100


# --- what a power cut leaves, made by hand: for machines on which none can be cut off ---


def test_files_of_jobs_that_a_power_cut_left_empty_are_shown_again_and_are_no_request(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.job("plain", merge="ask")
    world.settle()
    before = {path: path.read_bytes() for path in (world.root / "queue" / Lane.DECIDE).iterdir()}
    assert before
    for path in before:
        path.write_bytes(b"")
    ledger = world.ledger_log()
    world.orc(*RUN)
    assert {path: path.read_bytes() for path in (world.root / "queue" / Lane.DECIDE).iterdir()} == before
    assert list((world.root / "queue" / Lane.REJECTED).iterdir()) == []
    assert world.ledger_log() == ledger


def test_work_that_is_sealed_after_a_power_cut_is_kept_but_nobody_goes_on_from_it(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    farm.prepare()
    spec, prepared = farm.prepare()
    assert prepared.fresh is False
    sealed = farm.seal(spec)
    assert not was_sealed_torn(spec)
    went_down(spec.record)
    assert farm.seal(spec).commit == sealed.commit
    assert was_sealed_torn(spec)
    assert farm.prepare()[1].fresh is True


def test_what_a_run_sealed_before_a_power_cut_is_not_sealed_anew_from_what_is_left(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    spec, _ = farm.prepare()
    (spec.path / "made.py").write_text("made = 1\n")
    sealed = farm.seal(spec)
    facts = json.loads(spec.record.read_text())
    facts["machine"] = facts["sealed_in"] = "an earlier start of this machine"
    spec.record.write_text(json.dumps(facts))
    (spec.path / "made.py").write_text("")
    assert farm.seal(spec).commit == sealed.commit
    assert not was_sealed_torn(spec)


def went_down(record: Path) -> None:
    """Take it that the tree was made ready before the machine went down."""
    facts = json.loads(record.read_text())
    record.write_text(json.dumps(facts | {"machine": "an earlier start of this machine"}))


@pytest.fixture
def half_landed(tmp_path: Path) -> tuple[Farm, str, str]:
    """A checkout in whose files a commit is, whole or in part, while its branch is locked and has not moved."""
    farm = Farm(tmp_path)
    old = shell("git rev-parse HEAD", farm.project)
    shell(
        "echo new > src/a.py; echo more > more.py; git rm -q docs/d.md; git add -A; git commit -qm next", farm.project
    )
    new = shell("git rev-parse HEAD", farm.project)
    shell(f"git update-ref refs/heads/main {old}; : > src/a.py; echo {new} > .git/refs/heads/main.lock", farm.project)
    shell(": > .git/index.lock", farm.project)
    note = landing_notes(farm.mirror) / f"{new}.json"
    note.parent.mkdir()
    facts = {"checkout": str(farm.project), "branch": "main", "old": old, "new": new}
    note.write_text(json.dumps(facts))
    return farm, old, new


def test_a_landing_that_a_power_cut_left_half_done_is_taken_back(half_landed: tuple[Farm, str, str]) -> None:
    farm, old, new = half_landed
    git = Git(farm.project / ".git")
    heal_landings(farm.mirror, git)
    assert shell("git status --porcelain; git rev-parse HEAD", farm.project) == old
    assert list((farm.project / ".git").rglob("*.lock")) == []
    assert list(landing_notes(farm.mirror).glob("*.json")) == []
    push_into_checkout(Git(farm.project / ".git"), farm.project, new, "main", old)
    assert shell("git status --porcelain; git rev-parse HEAD", farm.project) == new


def test_what_a_person_changed_in_a_half_done_landing_stays(half_landed: tuple[Farm, str, str]) -> None:
    farm, old, _ = half_landed
    (farm.project / "more.py").write_text("the person's own\n")
    before = contents(farm.project)
    heal_landings(farm.mirror, Git(farm.project / ".git"))
    assert contents(farm.project) == before
    assert shell("git rev-parse HEAD", farm.project) == old


def test_the_locks_of_a_landing_that_is_under_way_stay(half_landed: tuple[Farm, str, str]) -> None:
    farm, _, new = half_landed
    # Its git has the lock, though whoever started it may be dead.
    with landing_lock(farm.mirror):
        heal_landings(farm.mirror, Git(farm.project / ".git"))
    assert (landing_notes(farm.mirror) / f"{new}.json").exists()
    assert (farm.project / ".git" / "index.lock").exists()
    assert (farm.project / ".git" / "refs" / "heads" / "main.lock").exists()


def test_two_pushes_into_one_checkout_at_once_leave_it_clean(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    for _ in range(3):
        old = shell("git rev-parse HEAD", farm.project)
        made = []
        for name in ("one", "two"):
            shell(f"echo {old} > {name}.py; git add {name}.py; git commit -qm {name}", farm.project)
            made.append(shell("git rev-parse HEAD; git reset -q --hard HEAD^", farm.project))
        refresh_mirror(farm.mirror, farm.project / ".git", [f"{each}:refs/heads/{each}" for each in made])
        with ThreadPoolExecutor(2) as pool:
            pushed = [pool.submit(push_into_checkout, farm.mirror, farm.project, each, "main", old) for each in made]
        assert [type(each.exception()) for each in pushed if each.exception()] == [RefMovedError]
        assert shell("git status --porcelain", farm.project) == ""


def test_an_object_that_a_power_cut_left_empty_is_written_anew(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    soul = world.root / "souls" / "ada.md"
    soul.write_text(f"{soul.read_text()}Not committed by the person, so only the ledger has it.\n")
    oid = world.git("hash-object", str(soul))
    path = world.root / ".git" / "objects" / oid[:2] / oid[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    world.job("plain")
    world.settle()
    assert "library: souls/ada.md" in world.ledger_log()
    world.git("fsck", "--full", "--strict", "--no-dangling", "--no-progress")


def test_a_lock_that_a_dead_git_left_on_a_ref_of_ours_stops_nothing(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    spec, _ = farm.prepare()
    sealed = farm.seal(spec)
    ref, git_dir = str(spec.seal_ref), farm.project / ".git"
    (git_dir / ref).parent.mkdir(parents=True)
    (git_dir / f"{ref}.lock").touch()
    publish_ref(farm.mirror, git_dir, ref)
    assert shell(f"git rev-parse {ref}", farm.project) == sealed.commit
    (git_dir / f"{ref}.lock").touch()
    move_own_ref(farm.mirror, git_dir, ref, farm.base, sealed.commit)
    assert shell(f"git rev-parse {ref}", farm.project) == farm.base
