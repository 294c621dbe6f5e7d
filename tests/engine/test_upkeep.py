"""Upkeep: the ledger's objects are packed in time, refs of ended jobs become one chain, and nothing is lost by it."""

from __future__ import annotations

import subprocess
from hashlib import sha1
from pathlib import Path

import pytest
from engine_world import git

from orchestrator.adapters import clock
from orchestrator.adapters.effects import TRACE
from orchestrator.adapters.git import Git
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.mirrors import open_mirror, refresh_mirror
from orchestrator.core.accept import accept, cancel
from orchestrator.core.job import JobSpec, Priority
from orchestrator.core.transitions import Actor
from orchestrator.engine import archive
from orchestrator.engine import upkeep as upkeep_module
from orchestrator.engine.upkeep import HEAPS, MOST_LOOSE, MOST_PACKS, Upkeep, list_packs, pack, sample_loose_objects
from orchestrator.engine.workspace import Workspace


def fill(ws: Workspace, count: int, *, at_once: int = 10) -> None:
    """Write notes, so few at once that each becomes some loose objects, or so many that they become a pack."""
    notes = [Filing(f"note: {n}", {f"library/note-{n}.md": f"{n}\n".encode()}) for n in range(count)]
    for start in range(0, count, at_once):
        ws.commit([], notes[start : start + at_once])


def loose(ws: Workspace) -> int:
    counted = git(ws.paths.root, "count-objects", "-v")
    return int(next(line.split()[1] for line in counted.splitlines() if line.startswith("count:")))


def is_due(git_dir: Path) -> bool:
    return any(heap.is_high(git_dir) for heap in HEAPS)


def end_all(ws: Workspace, count: int) -> None:
    """Ended jobs as the ledger knows them: one real one, and pointers of all others to its folder."""
    actor = Actor("human:ada")
    new = accept(
        "prompt: x\n",
        JobSpec("x"),
        id_="real-0badcafe",
        now=ws.stamp(),
        markdown=False,
        source="test",
        actor=actor,
        priority=Priority.P2,
        project="main",
    )
    ws.commit([new])
    ws.commit([cancel(new.job, ws.stamp(), actor=actor)])
    path = ws.ledger.folder("real-0badcafe").path
    names = [f"job-{number:08x}" for number in range(count)]
    pointers = {f"closed/ids/{name[-8:-6]}/{name[-6:-4]}/{name}": f"{path}\n".encode() for name in names}
    ws.commit([], [Filing("library: pointers", pointers)])


def test_loose_objects_are_packed_and_the_ledger_reads_on(workspace: Workspace) -> None:
    fill(workspace, 800)
    unreachable = workspace.ledger.objects.write("blob", b"of nobody's, and still kept")
    workspace.ledger.objects.store()
    before, tip = loose(workspace), workspace.ledger.tip()
    assert 256 * len(sample_loose_objects(workspace.paths.git_dir)) >= MOST_LOOSE
    upkeep = Upkeep()
    upkeep.look(workspace)
    upkeep.finish()
    assert loose(workspace) < before / 10
    assert git(workspace.paths.root, "cat-file", "-t", unreachable) == "blob"
    assert workspace.ledger.tip() == tip
    fill(workspace, 2)
    git(workspace.paths.root, "fsck", "--strict", "--no-dangling")


def test_many_packs_become_few_before_git_would_start_a_gc(workspace: Workspace) -> None:
    for _ in range(MOST_PACKS):
        fill(workspace, 100, at_once=100)
        git(workspace.paths.root, "commit", "--quiet", "--allow-empty", "-m", "the person goes on")
    assert len(list_packs(workspace.paths.git_dir)) >= 2, "so many objects at once are one pack"
    tip = workspace.ledger.tip()
    upkeep = Upkeep()
    for _ in range(3):
        upkeep.look(workspace)
        upkeep.finish()
    assert len(list_packs(workspace.paths.git_dir)) < MOST_PACKS
    assert workspace.ledger.tip() == tip
    git(workspace.paths.root, "fsck", "--strict", "--no-dangling")


def test_a_few_objects_are_left_alone(workspace: Workspace) -> None:
    fill(workspace, 3)
    before = loose(workspace)
    upkeep = Upkeep()
    upkeep.look(workspace)
    upkeep.finish()
    assert loose(workspace) == before


def test_packing_never_starts_the_persons_gc(workspace: Workspace) -> None:
    git(workspace.paths.root, "config", "gc.auto", "1")
    fill(workspace, 50)
    pack(workspace.ledger.git)
    assert not (workspace.paths.git_dir / "gc.pid").exists()
    assert not (workspace.paths.git_dir / "gc.log").exists()


def attempts(root: Path, count: int) -> None:
    """Refs of the work of so many jobs, the oldest first."""
    stream = "".join(
        f"commit refs/orc/attempts/job-{number:08x}/1\n"
        f"committer a <a@example.invalid> {1_700_000_000 + number} +0000\ndata 0\nfrom refs/heads/main^0\n\n"
        for number in range(count)
    )
    subprocess.run(["git", "-C", str(root), "fast-import", "--quiet"], input=stream, text=True, check=True)


def garbage(objects: Path) -> None:
    """Files that count as loose objects and are none, so that packing does not make them fewer."""
    (objects / "17").mkdir(exist_ok=True)
    for number in range(MOST_LOOSE // 256 + 1):
        (objects / "17" / f"{number:038x}").write_bytes(b"no object")


def test_refs_of_ended_jobs_become_one_chain_that_keeps_their_work(workspace: Workspace) -> None:
    root = workspace.paths.root
    count = 2 * archive.KEEP_JOBS + 5
    attempts(root, count)
    tips = set(git(root, "for-each-ref", "--format=%(objectname)", "refs/orc/attempts/").split())
    end_all(workspace, count)
    archive.archive_ended(workspace)
    left = git(root, "for-each-ref", "--format=%(refname)", "refs/orc/attempts/").split()
    assert (len(tips), len(left)) == (count, archive.KEEP_JOBS)
    chain = f"refs/orc/archive/main/{clock.now():%Y-%m}"
    kept = set(git(root, "rev-list", chain, *left).split())
    assert tips <= kept
    assert f"refs/orc/attempts/job-{count - 1:08x}/1" in left


def test_a_lock_that_a_killed_git_left_on_the_chain_or_on_a_job_does_not_stop_it(workspace: Workspace) -> None:
    root, count = workspace.paths.root, 2 * archive.KEEP_JOBS + 1
    attempts(root, count)
    end_all(workspace, count)
    chain = f"refs/orc/archive/main/{clock.now():%Y-%m}"
    for ref in (chain, "refs/orc/attempts/job-00000000/1"):
        lock = workspace.paths.git_dir / f"{ref}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    archive.archive_ended(workspace)
    assert git(root, "for-each-ref", "--format=%(refname)", chain) == chain
    assert len(git(root, "for-each-ref", "--format=%(refname)", "refs/orc/attempts/").split()) == archive.KEEP_JOBS


def test_a_project_that_is_gone_stops_neither_the_others_nor_the_packing(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    root, count = workspace.paths.root, 2 * archive.KEEP_JOBS + 1
    (root / "orc.yaml").write_text("version: 1\nprojects:\n  gone: {path: ../moved}\n  main: {target: main}\n")
    workspace.reload_config()
    assert list(workspace.config.projects) == ["gone", "main"]
    attempts(root, count)
    end_all(workspace, count)
    fill(workspace, 30)
    garbage(workspace.paths.git_dir / "objects")
    before = loose(workspace)
    upkeep = Upkeep()
    upkeep.look(workspace)
    upkeep.finish()
    assert len(git(root, "for-each-ref", "--format=%(refname)", "refs/orc/attempts/").split()) == archive.KEEP_JOBS
    assert loose(workspace) < before / 2
    assert "of gone were not archived" in caplog.text


def test_what_packing_does_not_help_is_left_alone_for_a_while(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv(TRACE, str(trace))
    garbage(workspace.paths.git_dir / "objects")
    upkeep = Upkeep()
    for _ in range(3):
        upkeep.look(workspace)
        upkeep.finish()
    assert is_due(workspace.paths.git_dir)
    packed = trace.read_text().count("ledger.pack:before")
    upkeep.look(workspace)
    upkeep.finish()
    # Once the objects, once the graph; and once more where one of the ledger's own objects lay in the folder looked at.
    assert packed == trace.read_text().count("ledger.pack:before") <= 4


class BusyMeanwhile(Upkeep):
    """Upkeep of an engine that goes on to write while it packs: as much as lay there before, and more."""

    def _pack(self, git: Git, *, is_ledger: bool) -> None:
        def add_packs(*_: object, **__: object) -> None:
            self.packed += 1
            for _number in range(MOST_PACKS + 1):
                fill(self.ws, 100, at_once=100)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(upkeep_module, "write_graph", add_packs)
            super()._pack(git, is_ledger=is_ledger)

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self.ws, self.packed = ws, 0


def test_what_is_written_while_it_packs_does_not_make_it_pause(workspace: Workspace) -> None:
    for _ in range(MOST_PACKS):
        fill(workspace, 100, at_once=100)
    upkeep = BusyMeanwhile(workspace)
    for _ in range(3):
        upkeep.look(workspace)
        upkeep.finish()
    assert upkeep.packed == 3, "each look found more than the last one left, and packed it"


def test_objects_that_cannot_be_packed_do_not_keep_packs_from_it(workspace: Workspace) -> None:
    garbage(workspace.paths.git_dir / "objects")
    upkeep = Upkeep()
    upkeep.look(workspace)
    upkeep.finish()
    for _ in range(MOST_PACKS):
        fill(workspace, 100, at_once=100)
    assert len(list_packs(workspace.paths.git_dir)) >= MOST_PACKS
    upkeep.look(workspace)
    upkeep.finish()
    assert len(list_packs(workspace.paths.git_dir)) < MOST_PACKS


def test_the_mirror_keeps_no_ref_of_an_ended_job_whose_work_is_archived(workspace: Workspace) -> None:
    root = workspace.paths.root
    mirror = open_mirror(workspace.paths.mirror("main"), workspace.paths.git_dir)
    refresh_mirror(mirror, workspace.paths.git_dir, ["refs/heads/main"])
    main = git(root, "rev-parse", "main")
    other = git(root, "commit-tree", "-m", "elsewhere", f"{main}^{{tree}}")
    git(mirror.git_dir, "fetch", "-q", str(root), f"{other}:refs/orc/attempts/job-00000002/1")
    subprocess.run(["git", "-C", str(root), "prune", "--expire=now"], check=True)
    for job in ("job-00000000", "job-00000001", "open-00000009"):
        git(mirror.git_dir, "update-ref", f"refs/orc/attempts/{job}/1", main)
    git(root, "update-ref", "refs/orc/attempts/job-00000001/1", main)
    end_all(workspace, 3)
    archive.archive_ended(workspace)
    left = git(mirror.git_dir, "for-each-ref", "--format=%(refname)", "refs/orc/").split()
    assert left == [
        "refs/orc/attempts/job-00000001/1",
        "refs/orc/attempts/job-00000002/1",
        "refs/orc/attempts/open-00000009/1",
    ], "what the project shows still, what was never published, and what has not ended stay"


def test_a_mirror_with_many_loose_objects_is_packed_too(workspace: Workspace) -> None:
    mirror = open_mirror(workspace.paths.mirror("main"), workspace.paths.git_dir)
    blobs = "".join(f"blob\ndata {len(str(n))}\n{n}\n" for n in range(2 * MOST_LOOSE))
    door = ["git", "--git-dir", str(mirror.git_dir), "-c", "fastimport.unpackLimit=100000", "fast-import", "--quiet"]
    subprocess.run(door, input=blobs, text=True, check=True)
    assert is_due(mirror.git_dir)
    upkeep = Upkeep()
    upkeep.look(workspace)
    upkeep.finish()
    assert not is_due(mirror.git_dir)
    oid = sha1(b"blob 1\x007", usedforsecurity=False).hexdigest()
    assert git(mirror.git_dir, "cat-file", "-p", oid) == "7"
