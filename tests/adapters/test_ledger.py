"""The promises of the ledger: all or nothing, only what still fits, and readable with git alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from builders import BASE, an_attempt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.adapters import clock
from orchestrator.adapters.effects import TRACE, Effect
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import RefMovedError, update_ref
from orchestrator.adapters.ledger import REF, Filing, Ledger, Writer, open_ledger
from orchestrator.adapters.ledger_text import format_record
from orchestrator.adapters.objects import EMPTY_TREE, FILE_MODE, PACKED_FROM, Entry
from orchestrator.core import accept as accepting
from orchestrator.core.attempt import start_attempt
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.evidence_record import CheckResult, Outcome
from orchestrator.core.job import Job, JobSpec, Priority, State
from orchestrator.core.records import Card
from orchestrator.core.times import iso
from orchestrator.core.transitions import ENGINE, Actor, Move
from orchestrator.engine.workspace import UnwritableError, Workspace
from orchestrator.errors import LedgerError

ADA = Actor("human:ada")
ONE, TWO, THREE = "one-00000001", "two-00000002", "three-00000003"


@pytest.fixture
def ledger(repo: Path) -> Iterator[Ledger]:
    with new_ledger(repo) as ledger:
        yield ledger


@contextmanager
def new_ledger(repo: Path) -> Iterator[Ledger]:
    """A ledger that has just begun."""
    with open_ledger(repo / ".git", repo / ".git" / "orc") as ledger:
        ledger.create(clock.now(), ENGINE)
        yield ledger


def now() -> str:
    """The present time as the ledger writes it."""
    return iso(clock.now())


def accepted(id_: str) -> Move:
    """The step that makes a job."""
    spec, keys = JobSpec(prompt="Do it.", again=True), {"markdown": False, "source": "queue/it.yaml", "project": "main"}
    return accepting.accept(
        "prompt: Do it.\nagain: true\n",
        spec,
        id_=id_,
        now=now(),
        actor=ADA,
        priority=Priority.P2,
        **keys,  # type: ignore[arg-type]
    )


def put(ledger: Ledger, *moves: Move) -> Job:
    """Commit steps, all that fit, in one go; the last one's job."""
    with ledger.writing() as writer:
        for move in moves:
            writer.commit(move, clock.now())
    return moves[-1].job


def fits(ledger: Ledger, move: Move) -> bool:
    """Whether a step would be taken now."""
    with ledger.writing() as writer:
        return writer.fits(move)


def git(ledger: Ledger, *args: str) -> str:
    """Plain git on the ledger's repository."""
    return ledger.git.text(*args)


# --- all or nothing -------------------------------------------------------------------------------------------------


def test_a_batch_is_one_commit_for_each_step_and_one_update_of_the_ref(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = accepted(ONE)
    put(ledger, first)
    commits = int(git(ledger, "rev-list", "--count", REF))
    monkeypatch.setenv(TRACE, str(tmp_path / "effects"))
    put(ledger, accepting.hold(first.job, "later", now(), needs={}), accepted(TWO), accepted(THREE))
    assert int(git(ledger, "rev-list", "--count", REF)) == commits + 3
    assert (tmp_path / "effects").read_text().splitlines().count(f"{Effect.LEDGER_REF}:before") == 1
    assert set(ledger.snapshot().folders) == {ONE, TWO, THREE}


def test_what_a_writer_has_added_can_be_read_and_a_part_of_it_left_out(ledger: Ledger) -> None:
    put(ledger, accepted(ONE))
    with ledger.writing() as writer:
        writer.file(Filing("note: it", {"projects/main/note.yaml": b"x: 1\n"}), clock.now())
        writer.commit(accepted(TWO), clock.now())
        with pytest.raises(KeyError), writer.all_or_nothing():
            give_up(writer)
        one, two = writer.folder(ONE), writer.folder(TWO)
        assert one is not None
        assert two is not None
        assert (one.job.state, two.job.state) == (State.READY, State.READY)
        assert writer.record(Card, one, "card-1") is None
        assert (writer.read_file("projects/main/note.yaml"), writer.folder(THREE)) == (b"x: 1\n", None)
        assert writer.fits(accepting.cancel(one.job, now(), actor=ADA))
    assert set(ledger.snapshot().folders) == {ONE, TWO}
    subjects = git(ledger, "log", "--format=%s", REF).splitlines()
    assert [each.partition(":")[0] for each in subjects] == ["accept", "note", "accept", "init"]


def give_up(writer: Writer) -> None:
    """Add steps, one of which ends a job, and then fail."""
    job = writer.job(ONE)
    assert job is not None
    writer.commit(accepting.cancel(job, now(), actor=ADA), clock.now())
    writer.commit(accepted(THREE), clock.now())
    ended = writer.folder(ONE)
    assert ended is not None
    assert (ended.job.state, writer.job(ONE)) == (State.CANCELLED, None)
    raise KeyError


def test_an_error_on_the_way_leaves_nothing(ledger: Ledger) -> None:
    before = ledger.tip()

    def break_off() -> None:
        with ledger.writing() as writer:
            writer.commit(accepted(ONE), clock.now())
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert ledger.tip() == before
    assert not ledger.snapshot().folders


def test_a_lost_compare_and_swap_discards_the_steps(ledger: Ledger) -> None:
    before = ledger.tip()
    theirs = git(ledger, "commit-tree", "-p", before, "-m", "theirs", git(ledger, "rev-parse", f"{before}^{{tree}}"))

    def lose() -> None:
        with ledger.writing() as writer:
            writer.commit(accepted(ONE), clock.now())
            update_ref(ledger.git, REF, theirs, before)

    with pytest.raises(RefMovedError):
        lose()
    assert ledger.tip() == theirs
    assert not ledger.snapshot().folders
    assert put(ledger, accepted(ONE)).id in ledger.snapshot().folders


def test_a_second_beginning_changes_nothing(ledger: Ledger) -> None:
    put(ledger, accepted(ONE))
    before = ledger.tip()
    ledger.create(clock.now(), ENGINE)
    assert ledger.tip() == before


# --- only what still fits -------------------------------------------------------------------------------------------


def test_a_step_decided_on_an_older_job_is_dropped(ledger: Ledger) -> None:
    job = put(ledger, accepted(ONE))
    stale = accepting.hold(job, "later", now(), needs={})
    put(ledger, accepting.edit(job, job.text, job.spec, now(), actor=ADA, keys=["title"], priority=Priority.P1))
    assert not fits(ledger, stale)
    with pytest.raises(LedgerError, match="has moved on"):
        put(ledger, stale)


def test_a_retry_decided_on_an_older_end_is_dropped(ledger: Ledger) -> None:
    first = put(ledger, accepted(ONE))
    ended = put(ledger, accepting.cancel(first, now(), actor=ADA))
    stale = accepting.retry(ended, now(), actor=ADA)
    assert fits(ledger, stale)
    again = put(ledger, stale)
    put(ledger, accepting.cancel(again, now(), actor=ADA, why="once more"))
    assert not fits(ledger, stale)
    assert ledger.folder(ONE).job.at.reason == "once more"


def test_a_job_is_accepted_once_also_after_it_has_ended(ledger: Ledger) -> None:
    job = put(ledger, accepted(ONE))
    assert not fits(ledger, accepted(ONE))
    put(ledger, accepting.cancel(job, now(), actor=ADA))
    assert not fits(ledger, accepted(ONE))


def test_steps_of_one_batch_build_on_each_other(ledger: Ledger) -> None:
    first = accepted(ONE)
    gone = accepting.cancel(first.job, now(), actor=ADA)
    put(ledger, first, gone, accepting.retry(gone.job, now(), actor=ADA))
    assert ledger.snapshot().folders[ONE].job.at.seq == 3
    assert ledger.closed(ONE) is None


# --- where things lie -----------------------------------------------------------------------------------------------


def test_an_ended_job_is_found_by_its_id_alone(ledger: Ledger) -> None:
    job = put(ledger, accepted(ONE))
    ended = put(ledger, accepting.cancel(job, now(), actor=ADA))
    assert not ledger.snapshot().folders
    found = ledger.folder(ONE)
    assert found.job == ended
    pointer = git(ledger, "show", f"{REF}:closed/ids/00/00/{ONE}")
    assert pointer == found.path
    assert found.path == f"closed/{ended.at.since[:10].replace('-', '/')}/00/{ONE}"


def test_a_retry_brings_the_whole_folder_back(ledger: Ledger) -> None:
    job = put(ledger, accepted(ONE))
    attempt = an_attempt(job)
    running = put(ledger, start_attempt(job, attempt, now()))
    ended = put(ledger, accepting.cancel(running, now(), actor=ADA))
    put(ledger, accepting.retry(ended, now(), actor=ADA))
    folder = ledger.snapshot().folders[ONE]
    assert folder.job.state is State.READY
    assert ledger.record(Attempt, folder, "attempt-1") == attempt
    assert git(ledger, "ls-tree", "-r", "--name-only", REF, "closed/") == ""


def test_the_snapshot_after_many_steps_is_the_one_a_new_reader_sees(ledger: Ledger) -> None:
    jobs = [put(ledger, accepted(f"job-{number:08x}")) for number in range(20)]
    ledger.snapshot()
    for job in jobs[::3]:
        put(ledger, accepting.cancel(job, now(), actor=ADA))
    known = ledger.snapshot()
    with open_ledger(ledger.git.git_dir, ledger.git.git_dir / "orc", lean=True) as other:
        assert other.snapshot() == known


# --- readable with git alone ----------------------------------------------------------------------------------------


def test_git_log_finds_the_steps_of_a_job_and_what_they_say(ledger: Ledger) -> None:
    job = put(ledger, accepted(ONE), accepted(TWO))
    put(ledger, accepting.hold(job, "it is late", now(), needs={}))
    shape = "--format=%s|%(trailers:key=From,valueonly,separator=)|%(trailers:key=To,valueonly,separator=)|%an"
    assert git(ledger, "log", "--grep", f"^Job: {TWO}$", shape, REF).splitlines() == [
        f"hold: {TWO} it is late|ready|waiting|engine",
        f"accept: {TWO} from queue/it.yaml: Do it.|-|ready|human:ada",
    ]


def test_git_log_of_a_path_tells_when_it_changed(ledger: Ledger) -> None:
    job = put(ledger, accepted(ONE), accepted(TWO))
    put(ledger, start_attempt(job, an_attempt(job), now()))
    subjects = git(ledger, "log", "--format=%s", REF, "--", f"open/00/{TWO}").splitlines()
    assert [each.split(":")[0] for each in subjects] == ["start", "accept"]
    assert BASE in git(ledger, "show", f"{REF}:open/00/{TWO}/attempt-1.yaml")
    assert git(ledger, "fsck", "--strict") == ""


def test_no_text_of_an_agent_becomes_a_trailer_or_a_commit_of_its_own(ledger: Ledger) -> None:
    evil = "failed\n\nReviewed-Sha: 1\x1b[31m"
    filing = Filing(f"base: {evil}", {"projects/main/base.yaml": b"x\n"}, (("Tests", evil),), Actor(f"human:{evil}"))
    with ledger.writing() as writer:
        writer.file(filing, clock.now())
    assert git(ledger, "log", "-1", "--format=%(trailers:key=Reviewed-Sha,valueonly)", REF) == ""
    message = git(ledger, "log", "-1", "--format=%B", REF)
    assert message.splitlines() == [
        "base: failed  Reviewed-Sha: 1\ufffd[31m",
        "",
        "Tests: failed  Reviewed-Sha: 1\ufffd[31m",
    ]
    assert git(ledger, "fsck", "--strict") == ""


# --- what stands in the way -----------------------------------------------------------------------------------------


def ref_lock(ledger: Ledger, *, age_s: float) -> Path:
    """The lock of the ref, as a git leaves it that was killed so long ago."""
    path = ledger.git.git_dir / f"{REF}.lock"
    path.write_text("")
    then = clock.now().timestamp() - age_s
    os.utime(path, (then, then))
    return path


def test_the_lock_of_a_git_that_was_killed_long_ago_is_moved_away(ledger: Ledger) -> None:
    lock = ref_lock(ledger, age_s=61)
    put(ledger, accepted(ONE))
    assert ONE in ledger.snapshot().folders
    assert not lock.exists()
    assert len(list((ledger.git.git_dir / "orc" / "orphans").glob("state.lock.*.orphan"))) == 1
    assert git(ledger, "for-each-ref", "--format=%(refname)", "refs/heads/orc") == REF


def test_the_lock_of_a_git_that_may_be_alive_is_left_alone(ledger: Ledger) -> None:
    lock, before = ref_lock(ledger, age_s=0), ledger.tip()
    with pytest.raises(GitError):
        put(ledger, accepted(ONE))
    assert lock.exists()
    assert ledger.tip() == before


FLUSHED = """
import os, sys
opened = []
def watch(event, args):
    if event == "open" and args[2] & os.O_DIRECTORY:
        opened.append(str(args[0]))
sys.addaudithook(watch)
from pathlib import Path
from orchestrator.adapters import clock
from orchestrator.adapters.ledger import Filing, open_ledger
from orchestrator.core.transitions import ENGINE
git_dir = Path(sys.argv[1])
with open_ledger(git_dir, git_dir / "orc") as ledger:
    ledger.create(clock.now(), ENGINE)
    first = list(opened)
    ledger.git.run("pack-refs", "--all", "--prune")
    steps = []
    for note in (b"it", b"more"):
        opened.clear()
        with ledger.writing() as writer:
            writer.file(Filing("note: it", {"note": note}), clock.now())
        steps.append(list(opened))
for each in (first, *steps):
    print(" ".join(os.path.relpath(path, git_dir) for path in each if path.startswith(str(git_dir / "refs"))))
"""


def test_every_new_folder_above_the_ref_is_flushed(repo: Path) -> None:
    argv = [sys.executable, "-c", FLUSHED, str(repo / ".git")]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    created, moved, unchanged = (set(line.split()) for line in done.stdout.splitlines())
    assert created == {"refs/heads/orc", "refs/heads", "refs"}
    assert moved >= {"refs/heads/orc", "refs/heads"}, "the folder was made anew, and so was its name"
    assert unchanged == {"refs/heads/orc"}, "the names above have not changed"


UNFLUSHED = """
import errno, os, sys
from pathlib import Path
git_dir, lost, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
objects, before, fails = git_dir / "objects", set(), False
def stored():
    return {path for path in objects.rglob("*") if path.is_file()}
def watch(event, args):
    global fails
    if fails and event == "open" and str(args[0]) == str(git_dir):
        fails = False
        # By a second name each file is known again; nor does a new one get its inode.
        for path in stored() - before:
            os.makedirs(lost / path.relative_to(objects).parent, exist_ok=True)
            os.link(path, lost / path.relative_to(objects))
        raise OSError(errno.EIO, os.strerror(errno.EIO))
sys.addaudithook(watch)
from orchestrator.adapters import clock
from orchestrator.adapters.ledger import Filing, open_ledger
from orchestrator.core.transitions import ENGINE
now, files = clock.now(), {f"notes/{number}": b"%d" % number for number in range(count)}
with open_ledger(git_dir, git_dir / "orc") as ledger:
    ledger.create(now, ENGINE)
    before, first = stored(), ledger.tip()
    for fails in (True, False):
        try:
            with ledger.writing() as writer:
                writer.file(Filing("note: it", files), now)
        except OSError as error:
            print(error.errno == errno.EIO, ledger.tip() == first)
    print(ledger.tip() != first)
"""


@pytest.mark.parametrize("count", [1, PACKED_FROM])
def test_what_a_failed_flush_may_have_lost_is_written_anew(repo: Path, tmp_path: Path, count: int) -> None:
    lost, objects = tmp_path / "lost", repo / ".git" / "objects"
    argv = [sys.executable, "-c", UNFLUSHED, str(repo / ".git"), str(lost), str(count)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["True True", "True"]
    names = [path.relative_to(lost) for path in lost.rglob("*") if path.is_file()]
    assert len(names) >= 2
    assert [name for name in names if (objects / name).exists() and (objects / name).samefile(lost / name)] == []
    door = Git(repo / ".git")
    assert door.text("fsck", "--strict", "--no-dangling", REF) == ""
    assert len(door.text("ls-tree", "--name-only", REF, "notes/").split()) == count


def test_what_belongs_to_a_step_is_left_out_with_it(workspace: Workspace) -> None:
    job = accepted(ONE)
    assert [move.job for move in workspace.commit([job])] == [job.job]
    with_it = Filing("worker: ada", {"workers/ada/main.yaml": b"runs: 2\n"}, with_step_of=ONE)
    other = Filing("library: x", {"library/x": b"x"}, with_step_of=TWO)
    assert workspace.commit([accepted(ONE)], [with_it, other]) == [], "it is there already"
    assert workspace.ledger.read_file("workers/ada/main.yaml") is None
    assert workspace.ledger.read_file("library/x") == b"x"


# --- what no file can hold ------------------------------------------------------------------------------------------


def unwritable(move: Move, problem: str = "number") -> Move:
    """The same step with a record that cannot be written."""
    exit_, tail = (10**30, "") if problem == "number" else (1, "x" * 5_000_000)
    return replace(move, records={"attempt-1": CheckResult("t", "t", Outcome.FAILED, exit_, 0.0, tail)})


@pytest.mark.parametrize("problem", ["number", "size"])
def test_a_step_that_cannot_be_written_is_told_and_the_others_are_committed(workspace: Workspace, problem: str) -> None:
    good, bad, last = accepted(ONE), unwritable(accepted(TWO), problem), accepted(THREE)
    with pytest.raises(UnwritableError) as refused:
        workspace.commit([good, bad, last])
    assert [move.job for move in refused.value.done] == [good.job, last.job]
    assert [move for move, _ in refused.value.bad] == [bad]
    assert set(workspace.ledger.snapshot().folders) == {ONE, THREE}
    assert TWO not in Git(workspace.paths.git_dir).text("ls-tree", "-r", "--name-only", REF)


def test_a_record_that_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(ValueError, match="at most 4000000 can be read"):
        format_record(CheckResult("t", "t", Outcome.FAILED, tail="é" * 2_000_001))


# --- many steps at once ---------------------------------------------------------------------------------------------


def numbered(count: int, start: int = 0) -> list[Move]:
    """Steps that make so many jobs."""
    return [accepted(f"job-{number:08x}") for number in range(start, start + count)]


def stored(ledger: Ledger) -> set[Path]:
    """Every file of the object store."""
    return {path for path in (ledger.git.git_dir / "objects").rglob("*") if path.is_file()}


def test_many_steps_at_once_become_one_pack_that_git_accepts_and_that_reads_back(ledger: Ledger, repo: Path) -> None:
    before = stored(ledger)
    large = Filing("large", {"large": bytes(range(256)) * 4000, "empty": b""})
    with ledger.writing() as writer:
        for move in numbered(80):
            writer.commit(move, clock.now())
        writer.file(large, clock.now())
    assert sorted(path.suffix for path in stored(ledger) - before) == [".idx", ".pack"]
    done = subprocess.run(["git", "-C", str(repo), "fsck", "--strict", "--full"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert int(git(ledger, "rev-list", "--count", REF)) == 82
    with open_ledger(ledger.git.git_dir, ledger.git.git_dir / "orc", lean=True) as other:
        assert other.snapshot() == ledger.snapshot()
        assert other.read_file("large") == ledger.read_file("large") == large.files["large"]
        assert other.read_file("empty") == b""


def test_the_same_many_objects_can_be_written_again(ledger: Ledger) -> None:
    filing = Filing("many", {f"many/{number}": str(number).encode() for number in range(PACKED_FROM)})
    for _ in range(2):
        with ledger.writing() as writer:
            writer.file(filing, clock.now())
    assert git(ledger, "fsck", "--strict") == ""


@pytest.mark.parametrize("count", [1, 80])
def test_a_write_that_is_broken_off_leaves_no_object_in_the_repository(ledger: Ledger, count: int) -> None:
    put(ledger, accepted(ONE))
    before, tip = stored(ledger), ledger.tip()

    def break_off() -> None:
        with ledger.writing() as writer:
            for move in numbered(count):
                writer.commit(move, clock.now())
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert (stored(ledger), ledger.tip()) == (before, tip)
    put(ledger, *numbered(count))
    assert git(ledger, "fsck", "--strict") == "", "what was dropped is not taken to be there"
    assert len(ledger.snapshot().jobs) == count + 1


def test_a_pack_that_git_refuses_leaves_nothing_and_the_next_write_is_whole(ledger: Ledger) -> None:
    before = stored(ledger)
    put(ledger, accepted(ONE))
    kept, pack = stored(ledger), ledger.git.git_dir / "objects" / "pack"
    pack.rmdir()
    pack.write_text("in the way")
    with pytest.raises(GitError):
        put(ledger, *numbered(80))
    pack.unlink()
    pack.mkdir()
    assert {path for path in stored(ledger) if not path.name.startswith("tmp_")} == kept > before
    assert set(ledger.snapshot().jobs) == {ONE}
    put(ledger, *numbered(80))
    assert git(ledger, "fsck", "--strict") == ""
    assert len(ledger.snapshot().jobs) == 81


# --- what has changed since -----------------------------------------------------------------------------------------


def changed(ledger: Ledger, tip: str) -> set[str] | None:
    """The jobs that differ between an earlier snapshot and the last one."""
    found = ledger.changed_since(tip)
    return None if found is None else set(found)


def test_exactly_the_jobs_that_differ_since_an_earlier_snapshot_are_told(ledger: Ledger) -> None:
    assert ledger.changed_since("") is None
    one, two = put(ledger, accepted(ONE)), put(ledger, accepted(TWO), accepted(THREE))
    first = ledger.snapshot().tip
    assert two.id == THREE
    assert changed(ledger, first) == set()
    held = put(ledger, accepting.hold(one, "later", now(), needs={}))
    assert changed(ledger, first) == set(), "it is told of the last snapshot, not of the tip"
    second = ledger.snapshot().tip
    assert changed(ledger, first) == {ONE}
    put(ledger, accepting.cancel(two, now(), actor=ADA), accepted("four-00000004"))
    with ledger.writing() as writer:
        writer.file(Filing("note", {"note": b"x"}), clock.now())
    ledger.snapshot()
    assert changed(ledger, second) == {THREE, "four-00000004"}
    assert changed(ledger, first) == {ONE, THREE, "four-00000004"}
    assert ledger.changed_since("1" * 40) is None
    assert ledger.changed_since(second[:12]) is None
    assert held.state is State.WAITING


def test_what_others_wrote_is_told_too_and_what_was_long_ago_is_not_known(ledger: Ledger, repo: Path) -> None:
    put(ledger, accepted(ONE))
    first = ledger.snapshot().tip
    with open_ledger(repo / ".git", repo / ".git" / "orc", lean=True) as other:
        put(other, accepted(TWO))
    ledger.snapshot()
    assert changed(ledger, first) == {TWO}
    tips = [ledger.snapshot().tip]
    for move in numbered(70):
        put(ledger, move)
        tips.append(ledger.snapshot().tip)
    assert ledger.changed_since(first) is None
    assert changed(ledger, tips[60]) == {f"job-{number:08x}" for number in range(60, 70)}


def test_a_tip_that_comes_again_tells_no_less_than_what_differs(ledger: Ledger) -> None:
    put(ledger, accepted(ONE))
    first = ledger.snapshot().tip
    put(ledger, accepted(TWO))
    second = ledger.snapshot().tip
    for new, old in ((first, second), (second, first)):  # A person resets the branch, and thinks better of it.
        update_ref(ledger.git, REF, new, old)
        assert ledger.snapshot().tip == new
        assert changed(ledger, old) == {TWO}
    assert changed(ledger, first) == {TWO}


# --- trees ----------------------------------------------------------------------------------------------------------

TREE_NAMES = ["a", "a.b", "a-b", "a0", "ab", "a/x", "a/y", "a.b/x", "A", "é", "z/z/z", "\udcff", "a b"]


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(TREE_NAMES), st.integers(0, 2), min_size=1), min_size=1, max_size=6))
def test_trees_are_written_in_the_order_of_git_whatever_is_added_replaced_or_removed(
    ledger: Ledger, changes: list[dict[str, int]]
) -> None:
    objects, root = ledger.objects, EMPTY_TREE
    blobs = [objects.write("blob", b"%d" % number) for number in range(3)]
    expected: dict[str, str] = {}
    for each in changes:
        # Nothing is a file and a folder at once: who says both, says the last of them.
        wanted = {path: what for path, what in each.items() if not any(is_below(path, other) for other in each)}
        for path, what in wanted.items():
            expected = {old: oid for old, oid in expected.items() if not clash(old, path)}
            if what:
                expected[path] = blobs[what]
        root = objects.change_tree(root, {path: entry_of(blobs, what) for path, what in wanted.items()})
    objects.store()
    listed = ledger.git.run("ls-tree", "-r", "-z", root).out.split(b"\0")[:-1]
    found = {os.fsdecode(line.partition(b"\t")[2]): line.split()[2].decode() for line in listed}
    assert found == expected
    assert tree_by_git(ledger, expected) == root
    assert "error" not in ledger.git.run("fsck", "--strict", root, ok=(0, 1, 2, 4)).err


def entry_of(blobs: list[str], what: int) -> Entry | None:
    return Entry(FILE_MODE, blobs[what]) if what else None


def is_below(path: str, other: str) -> bool:
    return path.startswith(f"{other}/")


def clash(old: str, new: str) -> bool:
    """Whether a path goes when another is set or removed."""
    return old == new or is_below(old, new) or is_below(new, old)


def tree_by_git(ledger: Ledger, files: Mapping[str, str]) -> str:
    """The tree of these files, made by `git mktree`, folder by folder."""
    lines = [
        b"100644 blob %s\t%s" % (oid.encode(), os.fsencode(path)) for path, oid in files.items() if "/" not in path
    ]
    for name in {path.partition("/")[0] for path in files if "/" in path}:
        below = {path.partition("/")[2]: oid for path, oid in files.items() if path.startswith(f"{name}/")}
        lines.append(b"040000 tree %s\t%s" % (tree_by_git(ledger, below).encode(), os.fsencode(name)))
    out = ledger.git.run("mktree", "-z", stdin=b"".join(line + b"\0" for line in lines)).out
    return out.decode().strip()
