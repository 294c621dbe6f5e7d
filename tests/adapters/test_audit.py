"""An honest ledger is proved, what is gone is a doubt, and what only looks odd is no lie."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import audit_world as w
import pytest
from audit_forgeries import FORGERIES
from forged_work import never_looked
from forging import everywhere

from orchestrator.adapters.audit import audit
from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import delete_refs, rev_parse, update_ref
from orchestrator.adapters.ledger import REF
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.core.tamper import VERSION
from orchestrator.core.transitions import Event
from orchestrator.errors import LedgerError, NotFoundError

LOGIN, ROUNDS, UNCLEAR, BLOCKED = w.LOGIN, w.ROUNDS, w.UNCLEAR, w.BLOCKED


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One honest world for all tests of this file; each works on its own copy."""
    root = tmp_path_factory.mktemp("honest") / "world"
    with w.new_world(root) as world:
        w.honest(world)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of the honest world."""
    copy = tmp_path / "world"
    shutil.copytree(made, copy)
    return copy


# --- the honest ledger ----------------------------------------------------------------------------------------------


def test_an_honest_ledger_holds_in_every_rule(root: Path) -> None:
    report = w.verify(root)
    assert report.lies == ()
    assert report.unverifiable == ()
    assert report.jobs == 13


def test_the_honest_ledger_takes_every_step_that_is_proved(root: Path) -> None:
    door = Git(root / ".git")
    seen = {subject.partition(":")[0] for subject in door.text("log", "--format=%s", REF).splitlines()}
    assert {event.value for event in Event} - seen == {"not-started", "card", "default", "run", "ran"}


def test_writing_the_ledger_anew_without_changing_it_is_no_lie(root: Path) -> None:
    before = rev_parse(Git(root / ".git"), REF)
    w.forge(root, lambda draft: None)
    assert rev_parse(Git(root / ".git"), REF) == before
    assert w.verify(root).lies == ()


def test_work_that_went_on_without_a_look_for_tampering_is_a_doubt_only_if_there_is_some(root: Path) -> None:
    w.forge(root, never_looked)
    report = w.verify(root)
    assert report.lies == ()
    (doubt,) = report.unverifiable
    assert (doubt.job, "orc_touched" in doubt.text) == (UNCLEAR, True)


def test_what_other_rules_of_the_tamper_guard_found_is_a_doubt(root: Path) -> None:
    w.forge(root, everywhere(LOGIN, f"tamper_rules: {VERSION}\n", "tamper_rules: 99\n"))
    report = w.verify(root)
    assert (report.lies, [each.job for each in report.unverifiable]) == ((), [LOGIN])


def test_nothing_is_written_into_the_project(root: Path) -> None:
    before = sorted(path for path in (root / ".git").rglob("*"))
    w.verify(root)
    assert sorted(path for path in (root / ".git").rglob("*")) == before


def test_progress_is_told_for_each_commit(root: Path) -> None:
    told: list[tuple[int, int]] = []
    report = w.verify(root, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, report.commits) for number in range(1, report.commits + 1)]


# --- landings -------------------------------------------------------------------------------------------------------


def test_done_that_never_was_on_the_target_is_a_lie(tmp_path: Path) -> None:
    with w.new_world(tmp_path / "world") as world:
        w.auto_merged(world, really=False)
    lies = w.verify(tmp_path / "world").lies
    assert [lie.rule for lie in lies] == [Rule.LANDING]
    assert "is not and never was" in lies[0].text


def test_work_that_a_person_took_off_the_target_again_is_no_lie(root: Path) -> None:
    door = Git(root / ".git")
    first = door.text("rev-list", "--max-parents=0", "main")
    update_ref(door, "refs/heads/main", first, rev_parse(door, "refs/heads/main") or "")
    report = w.verify(root)
    assert report.lies == ()
    assert {doubt.job for doubt in report.unverifiable} == {LOGIN, ROUNDS, BLOCKED}
    assert "rewritten since" in report.unverifiable[0].text


def test_a_landing_that_no_reflog_tells_of_is_no_lie(root: Path) -> None:
    door = Git(root / ".git")
    first = door.text("rev-list", "--max-parents=0", "main")
    update_ref(door, "refs/heads/main", first, rev_parse(door, "refs/heads/main") or "")
    (root / ".git" / "logs" / "refs" / "heads" / "main").unlink()
    report = w.verify(root)
    assert report.lies == ()
    assert "no reflog" in report.unverifiable[0].text


def test_a_branch_that_was_deleted_is_no_lie(root: Path) -> None:
    door, ref = Git(root / ".git"), f"refs/heads/orc/{w.BRANCH}"
    delete_refs(door, [(ref, rev_parse(door, ref) or "")])
    report = w.verify(root)
    assert report.lies == ()
    assert [doubt.job for doubt in report.unverifiable] == [w.BRANCH]


# --- what a merge stands on -----------------------------------------------------------------------------------------

WAITS, STACKED = "waits-2a00000a", "stacked-2b00000b"


def test_a_merge_on_what_waits_to_land_is_no_lie(tmp_path: Path) -> None:
    with w.new_world(tmp_path / "world") as world:
        first = w.await_landing(world, WAITS, "a.py")
        w.await_landing(world, STACKED, "b.py", base=first, onto=first)
        w.land(world, WAITS)
        w.land(world, STACKED)
    assert w.verify(tmp_path / "world").lies == ()


@pytest.mark.parametrize("stands", ["base", "onto"])
def test_a_merge_that_brings_along_what_was_taken_back_is_a_lie(tmp_path: Path, stands: str) -> None:
    with w.new_world(tmp_path / "world") as world:
        first = w.await_landing(world, WAITS, "a.py")
        w.take_back(world, WAITS)
        w.await_landing(world, STACKED, "b.py", **{stands: first})
    lies = w.verify(tmp_path / "world").lies
    assert [(lie.job, lie.rule) for lie in lies] == [(STACKED, Rule.MERGE)]
    assert first[:12] in lies[0].text


def test_a_merge_that_was_decided_just_before_a_cancellation_is_no_lie(tmp_path: Path) -> None:
    with w.new_world(tmp_path / "world") as world:
        first = w.await_landing(world, WAITS, "a.py")
        w.take_back(world, WAITS)
        world.clock -= timedelta(minutes=10)
        w.await_landing(world, STACKED, "b.py", base=first, onto=first)
    assert w.verify(tmp_path / "world").lies == ()


@pytest.mark.parametrize("taken_back", [True, False])
def test_work_is_sent_back_for_what_it_stands_on_only_if_that_was_taken_back(
    tmp_path: Path, *, taken_back: bool
) -> None:
    with w.new_world(tmp_path / "world") as world:
        first = w.await_landing(world, WAITS, "a.py")
        if taken_back:
            w.take_back(world, WAITS)
        else:
            w.land(world, WAITS)
        w.accept(world, STACKED, w.TEXT.format(merge="auto"))
        w.start(world, STACKED, first)
        w.collect(world, STACKED, {"b.py": "b = 1\n"})
        w.look(world, STACKED)
        w.check(world, STACKED)
        w.review(world, STACKED)
        w.send_back(world, STACKED, f"the work stands on {first[:12]}, which was taken back")
        assert world.job(STACKED).at.spent == 0
    lies = w.verify(tmp_path / "world").lies
    assert [lie.rule for lie in lies] == ([] if taken_back else [Rule.MERGE])


# --- what is gone ---------------------------------------------------------------------------------------------------


def test_without_the_project_nothing_of_its_work_is_proved_and_nothing_is_a_lie(root: Path) -> None:
    report = audit(root / ".git", {})
    assert report.lies == ()
    assert {doubt.text for doubt in report.unverifiable} == {"the repository of project main is not there"}


def test_a_commit_that_is_gone_is_named_and_is_no_lie(root: Path) -> None:
    tip = rev_parse(Git(root / ".git"), f"refs/orc/attempts/{UNCLEAR}/1") or ""
    (root / ".git" / "objects" / tip[:2] / tip[2:]).unlink()
    report = w.verify(root)
    assert report.lies == ()
    assert {doubt.job for doubt in report.unverifiable} == {UNCLEAR}
    assert tip in report.unverifiable[0].text


def test_a_forgery_is_found_out_in_the_ledger_alone(root: Path) -> None:
    w.forge(root, FORGERIES["REVISE told as APPROVED"].forge)
    assert Rule.VERDICT in {lie.rule for lie in audit(root / ".git", {}).lies}


# --- the whole ledger -----------------------------------------------------------------------------------------------


def test_what_came_before_since_is_believed_and_what_came_after_is_not(root: Path) -> None:
    w.forge(root, FORGERIES["another score"].forge)
    door = Git(root / ".git")
    verdict, review = door.text(
        "log", "-2", "--format=%H", "--grep=^verdict: login", "--grep=^review: login", REF
    ).split()
    assert w.verify(root, since=verdict).lies == ()
    assert w.verify(root, since=review).lies != ()


def test_since_has_to_be_a_commit_of_the_ledger(root: Path) -> None:
    for since in ("main", "nonsense"):
        with pytest.raises(NotFoundError):
            w.verify(root, since=since)


def test_a_commit_that_another_stands_in_for_is_found_out(root: Path) -> None:
    door = Git(root / ".git")
    one, other = door.text("log", "-2", "--format=%H", "--skip=5", REF).split()
    w.git("-C", str(root), "replace", one, other)
    with pytest.raises(LedgerError, match="is not the commit that its id stands for"):
        w.verify(root)


def test_without_a_ledger_there_is_nothing_to_prove(tmp_path: Path) -> None:
    w.git("init", "--quiet", str(tmp_path))
    with pytest.raises(LedgerError, match="no branch orc/state"):
        w.verify(tmp_path)


def test_a_ledger_of_a_newer_format_is_not_judged(tmp_path: Path) -> None:
    with w.new_world(tmp_path / "world") as world:
        blob = Entry(FILE_MODE, world.ledger.objects.write("blob", b"format: 99\n"))
        tree = world.ledger.objects.write_tree({"ledger.yaml": blob})
        when = f"orc <engine@orc.invalid> {int(w.BEGIN.timestamp())} +0000"
        text = f"tree {tree}\nauthor {when}\ncommitter {when}\n\ninit: the ledger begins\n"
        commit = world.ledger.objects.write("commit", text.encode())
        world.ledger.objects.store()
        update_ref(world.git, REF, commit, world.ledger.tip())
    with pytest.raises(LedgerError, match="format 99"):
        w.verify(tmp_path / "world")
