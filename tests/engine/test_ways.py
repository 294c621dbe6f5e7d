"""The ways a job can go, each for real: real git, real runs, agents that play from a script."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from engine_world import World, attempt, git
from run_helpers import wait_until

from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.review_record import Verdict
from orchestrator.engine.answer import cancel_job, retry_job
from orchestrator.engine.find import find_job
from orchestrator.engine.people import person_of
from orchestrator.engine.report import summarize
from orchestrator.engine.revert import revert_job
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import RefusedError

WRITES = attempt(write={"code.py": "print('new')\n"})


def test_good_work_lands_on_the_target_and_in_the_clean_checkout(world: World) -> None:
    world.plays = [WRITES]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    assert (world.root / "code.py").read_text() == "print('new')\n"
    assert git(world.root, "status", "--porcelain", "--untracked-files=no") == ""
    merge = git(world.root, "log", "-1", "--format=%(trailers:key=Orc-Job,valueonly)", "main")
    assert merge == world.id("greet")
    assert world.steps("greet") == [
        "accept", "start", "collect", "evidence", "check", "checked", "review", "verdict", "merge", "checked", "done",
    ]  # fmt: skip


def test_an_empty_diff_overrides_an_approving_reviewer(world: World) -> None:
    world.plays = [attempt(1), attempt(2, write={"code.py": "print('real')\n"})]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    records = world.records("greet")
    assert records["evidence-1"].failures[0].rule == "empty_diff"
    assert "review-1" in records
    assert records["review-1"].evidence == 2
    assert world.show("code.py") == "print('real')"
    assert "The diff is empty" in records["attempt-2"].fixes[0].problem


def test_work_that_never_passes_ends_in_a_card_and_not_in_a_loop(world: World) -> None:
    world.plays = [attempt()]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DECIDE
    assert world.card("greet").kind is CardKind.ATTEMPTS
    # The second empty diff is the first one again: it is not tried a third time without being asked.
    assert world.job("greet").at.attempt <= 3


def test_failing_checks_send_the_work_back_with_their_output(world: World) -> None:
    world.plays = [attempt(1, write={"broken": "x", "code.py": "1\n"}), attempt(2, delete=["broken"])]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    assert world.records("greet")["evidence-1"].tests == "failed"
    assert world.show("code.py") == "1"


def test_a_reviewers_fixes_reach_the_same_author_and_are_answered(world: World) -> None:
    finding = {"severity": "blocking", "file": "code.py", "line": 1, "problem": "no colon", "fix": "add one"}
    world.plays = [
        attempt(1, write={"code.py": "a\n"}),
        attempt(2, write={"code.py": "a:\n"}, answers="fixed"),
        {"match": {"kind": "review", "number": 1}, "verdict": "REVISE", "findings": [finding]},
    ]
    world.souls = {"ada": "alpha work", "abe": "alpha work", "bea": "beta review"}
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    records = world.records("greet")
    assert world.state("greet") is State.DONE
    assert records["attempt-1"].worker == records["attempt-2"].worker
    assert [(fix.id, fix.problem) for fix in records["attempt-2"].fixes] == [("F1", "no colon")]
    assert [(answer.id, answer.answer) for answer in records["attempt-2"].answers] == [("F1", "fixed")]


def test_prose_never_approves_and_another_reviewer_is_asked(world: World) -> None:
    world.plays = [WRITES, {"match": {"kind": "review", "number": 1}, "reply": "APPROVED, looks good to me!"}]
    world.souls = {"ada": "alpha work", "bea": "beta review", "cid": "gamma review"}
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    records = world.records("greet")
    assert records["review-1"].verdict is Verdict.INCONCLUSIVE
    assert records["review-2"].reviewer.agent != records["review-1"].reviewer.agent
    assert world.state("greet") is State.DONE


def test_no_reviewer_of_another_family_is_a_question_and_never_the_same_family(world: World) -> None:
    world.plays = [WRITES]
    world.souls = {"ada": "alpha work", "bea": "alpha review"}
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.card("greet").kind is CardKind.NO_REVIEWER
    world.answer("greet", "approve")
    world.run()
    assert world.state("greet") is State.DONE
    assert "review-1" not in world.records("greet")


def test_ask_waits_for_the_person_and_approval_is_bound_to_the_commit(world: World) -> None:
    world.plays = [WRITES]
    world.set_up(merge="ask")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    card = world.card("greet")
    assert card.kind is CardKind.MERGE
    assert card.facts["commit"] == world.job("greet").at.tip
    assert world.show("code.py") == "print('old')"
    world.answer("greet", "approve")
    with pytest.raises(RefusedError):
        world.answer("greet", "approve")
    world.run()
    assert world.show("code.py") == "print('new')"


def test_a_persons_rejection_becomes_numbered_fixes(world: World) -> None:
    world.plays = [attempt(2, write={"code.py": "b\n"}), WRITES]
    world.set_up(merge="ask")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    world.answer("greet", "revise", "- shorter\n- a test for it")
    world.run()
    assert [fix.problem for fix in world.records("greet")["attempt-2"].fixes] == ["shorter", "a test for it"]
    assert world.card("greet").kind is CardKind.MERGE


def test_no_checks_turn_auto_into_ask(world: World) -> None:
    world.plays = [WRITES]
    world.set_up(checks=[])
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.card("greet").kind is CardKind.MERGE
    assert "No check ran" in world.card("greet").context


def test_protected_paths_turn_auto_into_ask(world: World) -> None:
    world.plays = [attempt(write={"rules/0009-new.md": "x\n", "code.py": "1\n"})]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert "Protected paths" in world.card("greet").context


def test_work_that_passes_alone_and_fails_when_merged_is_sent_back_to_the_new_base(world: World) -> None:
    check = "! test -e one || ! test -e two || test -e both"
    world.plays = [
        attempt(write={"one": "1\n"}, match={"title": "first"}),
        attempt(2, write={"two": "2\n", "both": "b\n"}, match={"title": "second"}),
        attempt(1, write={"two": "2\n"}, sleep=1.5, match={"title": "second"}),
    ]
    world.souls = {"ada": "alpha work", "abe": "alpha work", "bea": "beta review"}
    world.set_up(checks=[check])
    world.drop("first.yaml", "prompt: first\nkind: ops\n")
    world.drop("second.yaml", "prompt: second\nkind: ops\n")
    world.run()
    records = world.records("second")
    assert records["merge-1"].tests == "failed"
    assert records["attempt-2"].base != records["attempt-1"].base
    assert world.show("two") == "2"
    assert world.show("both") == "b"
    assert world.show("one") == "1"


def test_a_conflict_is_sent_back_to_the_new_base(world: World) -> None:
    world.plays = [
        attempt(write={"code.py": "first\n"}, match={"title": "first"}),
        attempt(2, write={"code.py": "first\nsecond\n"}, match={"title": "second"}),
        attempt(1, write={"code.py": "second\n"}, sleep=1.5, match={"title": "second"}),
    ]
    world.souls = {"ada": "alpha work", "abe": "alpha work", "bea": "beta review"}
    world.set_up()
    world.drop("first.yaml", "prompt: first\n")
    world.drop("second.yaml", "prompt: second\n")
    world.run()
    assert world.records("second")["merge-1"].conflicts == ("code.py",)
    assert world.show("code.py") == "first\nsecond"


def test_a_dirty_checkout_is_never_touched_and_landing_goes_on_by_itself(world: World) -> None:
    world.plays = [WRITES]
    world.set_up()
    (world.root / "README.md").write_text("my own words\n")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    card = world.card("greet")
    assert card.kind is CardKind.LANDING
    assert "README.md" in card.question
    assert (world.root / "README.md").read_text() == "my own words\n"
    assert world.show("code.py") == "print('old')"
    git(world.root, "stash")
    world.run()
    assert world.state("greet") is State.DONE
    git(world.root, "stash", "pop")
    assert (world.root / "README.md").read_text() == "my own words\n"
    assert (world.root / "code.py").read_text() == "print('new')\n"


def test_an_untracked_file_in_the_way_is_never_overwritten(world: World) -> None:
    world.plays = [attempt(write={"notes.py": "theirs\n"})]
    world.set_up()
    (world.root / "notes.py").write_text("mine\n")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert "notes.py" in world.card("greet").question
    assert (world.root / "notes.py").read_text() == "mine\n"


def test_a_target_that_is_checked_out_nowhere_is_moved_alone(world: World) -> None:
    world.plays = [WRITES]
    git(world.root, "branch", "release")
    world.set_up(target="release")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.show("code.py", "release") == "print('new')"
    assert world.show("code.py", "main") == "print('old')"
    assert (world.root / "code.py").read_text() == "print('old')\n"


def test_branch_policy_leaves_a_branch_and_not_a_merge(world: World) -> None:
    world.plays = [WRITES]
    world.set_up(merge="branch")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    assert world.show("code.py", f"orc/{world.id('greet')}") == "print('new')"
    assert world.show("code.py") == "print('old')"


def test_a_red_base_holds_its_jobs_and_spends_no_attempt_until_one_repairs_it(world: World) -> None:
    (world.root / "broken").write_text("x\n")
    git(world.root, "add", "-A")
    git(world.root, "commit", "-qm", "break it")
    world.plays = [attempt(delete=["broken"], match={"title": "mend"}), WRITES]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    world.drop("other.yaml", "prompt: other\n")
    world.run()
    assert world.card("greet").kind is CardKind.BASE_RED
    assert world.state("other") is State.WAITING
    world.answer("greet", "recheck")
    world.run()
    assert world.card("greet").kind is CardKind.BASE_RED
    assert [world.job(name).at.starts for name in ("greet", "other")] == [0, 0]
    world.drop("mend.yaml", "prompt: mend\nrepairs_base: true\n")
    world.run()
    assert [world.state(name) for name in ("mend", "greet")] == [State.DONE, State.DONE]


@pytest.mark.slow
def test_a_base_whose_checks_cannot_begin_is_tried_twice_before_anybody_is_asked(world: World) -> None:
    world.plays = [WRITES]
    world.set_up()
    in_the_way = world.root / "state/trees/.checks"
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("x")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert sum("was not checked" in line for line in world.subjects) == 2
    assert (world.card("greet").kind, world.job("greet").at.starts) == (CardKind.BASE_RED, 0)
    in_the_way.unlink()
    world.answer("greet", "recheck")
    world.run()
    assert world.state("greet") is State.DONE


@pytest.mark.slow
def test_a_base_whose_checks_cannot_begin_is_tried_again_and_asked_about_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engine.bases.TRY_AGAIN", timedelta(seconds=-2))
    world.plays = [attempt(write={"one": "1\n"}, match={"title": "first"}), WRITES]
    world.set_up()
    in_the_way = world.root / "state/trees/.checks"
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("x")
    for name in ("first", "second"):
        world.drop(f"{name}.yaml", f"prompt: {name}\n")
    world.run(until=lambda ws: sum("was not checked" in line for line in world.subjects) >= 6)
    told = [line.partition(":")[0] for line in world.subjects]
    assert (told.count("card"), told.count("supersede"), told.count("release")) == (1, 0, 0)
    in_the_way.unlink()
    world.run()
    assert [world.state(name) for name in ("first", "second")] == [State.DONE, State.DONE]
    told = [line.partition(":")[0] for line in world.subjects]
    assert (told.count("card"), told.count("supersede")) == (1, 1)


def test_a_merge_that_cannot_be_built_asks_and_lets_the_others_pass(world: World) -> None:
    world.config = {"limits": {"failed_starts": 1}}
    world.plays = [attempt(write={"one": "1\n"}, match={"title": "first"}), WRITES]
    git(world.root, "branch", "release")
    world.set_up(merge="ask")
    world.drop("first.yaml", "prompt: first\ntarget: release\n")
    world.run()
    git(world.root, "branch", "-m", "release", "elsewhere")
    world.answer("first", "approve")
    world.run()
    assert (world.card("first").kind, world.card("first").facts["step"]) == (CardKind.CANNOT_START, "merging")
    assert "release" in world.card("first").context
    git(world.root, "branch", "-m", "elsewhere", "release")
    world.answer("first", "retry")
    world.run()
    assert world.state("first") is State.DONE
    assert world.show("one", "release") == "1"


@pytest.mark.slow
@pytest.mark.parametrize("run", ["attempt", "review"])
def test_a_result_that_cannot_be_read_is_nobodys_fault(world: World, run: str) -> None:
    world.plays = [WRITES]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")

    def begun(ws: Workspace) -> bool:
        return any(f".{run}-1" in folder.job.at.run for folder in ws.ledger.snapshot().active)

    world.run(until=begun)
    result = world.root / ".git" / "orc" / "runs" / f"{world.id('greet')}.{run}-1" / "result.json"
    wait_until(result.exists)
    result.write_text("{")
    world.run()
    assert world.state("greet") is State.DONE
    at = world.job("greet").at
    assert (at.spent, at.excluded) == (0, ())
    assert world.records("greet")[f"{run}-1"].status in (RunStatus.LOST, RunStatus.UNREADABLE)


def test_a_need_is_waited_for_and_a_cancelled_one_is_told(world: World) -> None:
    world.plays = [attempt(write={"one": "1\n"}, match={"title": "first"}), WRITES]
    world.set_up()
    world.drop("second.yaml", "prompt: second\nneeds: [first]\n")
    world.run()
    assert "needs 'first'" in world.job("second").at.reason
    world.drop("first.yaml", "prompt: first\nkind: ops\n")
    world.run()
    order = [line for line in world.subjects if line.startswith("done:")]
    assert [line.split()[1][:-9] for line in order] == ["first", "second"]


def test_an_investigation_is_reviewed_and_changes_nothing(world: World) -> None:
    claims = "claims:\n  - {id: c1, claim: The clock is read twice., locator: the code of the clock}"
    report = f"The cause is the clock: it is read twice in a row and may differ.\n\n```yaml\n{claims}\n```"
    world.plays = [{"match": {"kind": "attempt"}, "say": report}]
    world.set_up()
    world.drop("look.yaml", "prompt: look into it\nkind: research\nexpects: no_change\n")
    world.run()
    assert world.state("look") is State.DONE
    assert world.records("look")["attempt-1"].report.strip() == report
    assert world.job("look").at.merged == ""


def test_a_cancelled_job_stops_its_run_and_keeps_its_work(world: World) -> None:
    world.plays = [attempt(write={"code.py": "half\n"}, run="sleep 30")]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run(until=lambda ws: any((path / "events.jsonl").exists() for path in ws.paths.runs.glob("*.attempt-1")))
    started = world.root / ".git" / "orc" / "runs" / f"{world.id('greet')}.attempt-1"
    with open_workspace(world.root) as ws:
        cancel_job(ws, find_job(ws, "greet").job, person_of(ws.paths.git_dir), "not needed")
    world.run(until=lambda _: not started.exists())
    assert not started.exists()
    assert world.state("greet") is State.CANCELLED
    assert git(world.root, "for-each-ref", f"refs/orc/attempts/{world.id('greet')}") != ""


def test_a_cancelled_job_can_be_retried(world: World) -> None:
    world.plays = [WRITES]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\nnot_before: '2099-01-01'\n")
    world.run()
    assert world.state("greet") is State.WAITING
    with open_workspace(world.root) as ws:
        job = find_job(ws, "greet").job
        cancel_job(ws, job, person_of(ws.paths.git_dir), "")
        retry_job(ws, find_job(ws, job.id).job, person_of(ws.paths.git_dir))
    world.run()
    assert world.state("greet") is State.WAITING


def test_a_program_that_is_missing_is_told_and_spends_no_attempt(world: World) -> None:
    world.config = {"backends": {"player": {"type": "command", "argv": ["no-such-agent"]}}}
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    job = world.job("greet")
    assert job.state is State.WAITING
    assert "no-such-agent" in job.at.reason
    assert (job.at.starts, job.at.attempt) == (0, 0)


def test_the_agents_last_error_line_stands_in_status(world: World) -> None:
    world.plays = [attempt(stderr="warming up\nmodel is overloaded\n", exit=1)]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run(until=lambda ws: any("overloaded" in line.reason for line in summarize(ws).jobs))
    assert world.records("greet")["attempt-1"].error == "model is overloaded"


def test_the_target_may_move_while_work_is_under_way(world: World) -> None:
    world.plays = [WRITES]
    world.set_up(merge="ask")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    (world.root / "README.md").write_text("newer\n")
    git(world.root, "commit", "-qam", "the person goes on")
    world.answer("greet", "approve")
    world.run()
    assert world.show("code.py") == "print('new')"
    assert world.show("README.md") == "newer"


def test_a_merged_job_can_be_reverted_and_later_work_stays(world: World) -> None:
    world.plays = [WRITES]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    (world.root / "README.md").write_text("newer\n")
    git(world.root, "commit", "-qam", "the person goes on")
    with open_workspace(world.root) as ws:
        revert_job(ws, find_job(ws, world.id("greet")), person_of(ws.paths.git_dir))
    assert (world.root / "code.py").read_text() == "print('old')\n"
    assert (world.root / "README.md").read_text() == "newer\n"


def test_the_queue_shows_the_ledger_at_every_end(world: World) -> None:
    world.plays = [WRITES]
    world.set_up()
    world.drop("greet.yaml", "# my comment\nprompt: greet\n")
    world.run()
    shown = world.root / "queue" / "done" / f"{world.id('greet')}.yaml"
    assert shown.read_text().startswith("# my comment\nprompt: greet\n")
    left = [name for _, _, names in os.walk(world.root / "queue") for name in names if name != ".gitignore"]
    assert left == [shown.name]
