"""The gate on branches of real repositories: what it judges, what it runs, and that it leaves nothing behind."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_world import wait_until
from gate_world import Ground, cache_of, left_overs, shell

from orchestrator.adapters.borrowed import borrow_objects, find_broken_object
from orchestrator.adapters.descendants import is_alive
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.run_folder import read_result
from orchestrator.adapters.shims import Nursery
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.evidence_record import Outcome
from orchestrator.core.gated import Gated, RuleOutcome, Seen, Where
from orchestrator.core.job import Area, Check, JobSpec, Kind
from orchestrator.core.trials import Broken
from orchestrator.engine import gate
from orchestrator.engine.gate_review import find_reviewer
from orchestrator.engine.gate_runs import Checking, make_ready, open_workshop, run_checks
from orchestrator.errors import InvalidFileError, NotFoundError, UnavailableError


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A repository, and folders of its own for what is cached and what is temporary."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", cache_of(tmp_path))
    return Ground(tmp_path)


def refusals(found: Gated) -> list[str]:
    return [each.rule for each in found.seen.rules if each.outcome is RuleOutcome.REFUSED]


def checks_on(found: Gated) -> dict[str, str]:
    return {each.where.value: each.tests for each in found.seen.checks if each.same_as is None}


# --- what is judged ---


def test_a_good_branch_passes_and_is_told_with_its_commits(ground: Ground) -> None:
    found = ground.gate("feature", "grep -q two code.py || grep -q one code.py")
    assert (found.conclusion, found.reasons, found.scope) == ("PASS", (), "checks only: not reviewed")
    seen = found.seen
    assert seen.branch.commit == ground.git("git rev-parse feature")
    assert seen.base.commit == seen.merge_base == ground.git("git rev-parse main")
    assert (seen.stat, seen.commits) == ("1 file changed, 1 insertion(+)", 1)
    assert [path.path for path in seen.paths] == ["code.py"]
    assert checks_on(found) == {"branch": "passed", "base": "passed"}


@pytest.mark.parametrize("name", ["feature", "refs/heads/feature", "heads/feature", "a-tag", "feature~0"])
def test_a_branch_can_be_named_as_git_names_it(ground: Ground, name: str) -> None:
    ground.git("git tag -a a-tag feature -m tagged")
    assert ground.named(name).commit == ground.git("git rev-parse feature")


@pytest.mark.parametrize("name", ["a-tag", "main..feature", "main...feature"])
def test_what_is_named_is_judged(ground: Ground, name: str) -> None:
    ground.git("git tag -a a-tag feature -m tagged")
    assert ground.gate(name).seen.branch.commit == ground.git("git rev-parse feature")


def test_a_commit_is_judged_like_a_branch(ground: Ground) -> None:
    commit = ground.git("git rev-parse feature")
    for name in (commit, commit[:9]):
        assert ground.gate(name).seen.branch.commit == commit


def test_a_branch_goes_before_a_tag_of_its_name(ground: Ground) -> None:
    ground.git("git tag feature main")
    found = ground.gate("feature")
    assert found.seen.branch.ref == "refs/heads/feature"
    assert any("There is a tag feature too" in note for note in found.notes)


@pytest.mark.parametrize("name", ["7", "#7", "pr/7", "PR 7", "pull/7"])
@pytest.mark.parametrize("ref", ["refs/pull/7/head", "refs/remotes/origin/pull/7", "refs/merge-requests/7/head"])
def test_a_pull_request_that_was_fetched_is_judged_by_its_number(ground: Ground, name: str, ref: str) -> None:
    ground.git(f"git update-ref {ref} feature; git branch -q -D feature")
    found = ground.named(name)
    assert (found.name, found.ref) == ("pull request 7", ref)


def test_a_pull_request_is_judged_though_no_branch_has_its_commit(ground: Ground) -> None:
    ground.git("git update-ref refs/pull/7/head feature; git branch -q -D feature")
    assert ground.gate("pr/7").seen.branch == ground.named("#7")


def test_a_pull_request_that_was_not_fetched_is_not_fetched(ground: Ground) -> None:
    with pytest.raises(NotFoundError) as caught:
        ground.gate("12")
    assert caught.value.hint == "git fetch origin +pull/12/head:refs/pull/12/head"


def test_the_fetch_that_is_hinted_works_after_a_force_push_too(ground: Ground) -> None:
    shell("git clone -q --single-branch repo clone", ground.root)
    clone = ground.root / "clone"
    with pytest.raises(NotFoundError) as caught:
        ground.gate("12", at=clone)
    for text in ("three = 3\n", "four = 4\n"):
        ground.git("git checkout -q -B work main")
        commit = ground.commit({"code.py": text})
        ground.git("git update-ref refs/pull/12/head work")
        shell(f"{caught.value.hint} 2>&1", clone)
        assert ground.gate("12", at=clone).seen.branch.commit == commit


def commit_whose_id_begins_with(ground: Ground, start: str) -> str:
    """A commit on a branch `other`; `start` is short, for many have to be tried."""
    tree = ground.git("git rev-parse feature^{tree}")
    head = f"tree {tree}\nparent {ground.git('git rev-parse main')}\nauthor t <t@t> 1 +0000\ncommitter t <t@t> 1 +0000"
    for number in itertools.count():
        body = f"{head}\n\n{number}\n".encode()
        if hashlib.sha1(b"commit %d\0" % len(body) + body).hexdigest().startswith(start):
            break
    commit = ground.git("git hash-object -t commit -w --stdin", stdin=body)
    ground.git(f"git update-ref refs/heads/other {commit}")
    return commit


def test_a_number_is_a_pull_request_before_it_is_the_beginning_of_a_commits_id(ground: Ground) -> None:
    other = commit_whose_id_begins_with(ground, "1234")
    alone = ground.gate("1234")
    assert alone.seen.branch.commit == other
    note = f"1234 was taken for commit {other[:12]}: no branch, tag or pull request here has that name."
    assert note in alone.notes
    ground.git("git update-ref refs/remotes/origin/1234 feature~0")
    assert ground.gate("1234").seen.branch.name == "origin/1234"
    ground.git("git update-ref refs/pull/1234/head feature")
    found = ground.gate("1234")
    assert (found.seen.branch.name, found.seen.branch.commit) == (
        "pull request 1234",
        ground.git("git rev-parse feature"),
    )
    assert not [each for each in found.notes if "taken" in each]


def test_what_is_said_of_head_is_the_head_here(ground: Ground) -> None:
    ground.git("git update-ref refs/remotes/origin/main main; git checkout -q feature")
    ground.git("git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main")
    commit = ground.commit({"more.py": "x = 1\n"})
    assert commit != ground.git("git rev-parse HEAD~1") == ground.gate("HEAD~1").seen.branch.commit


@pytest.mark.parametrize("name", ["featre", "-x", "--all", "a\nb", ":/first..", "main:code.py", "HEAD:", "", " "])
def test_what_names_no_commit_is_told_as_that(ground: Ground, name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        ground.gate(name)
    assert name != "featre" or caught.value.hint == "did you mean feature?"


def test_the_base_is_the_default_branch_of_the_remote_where_there_is_one(ground: Ground) -> None:
    ground.git("git update-ref refs/remotes/origin/trunk main~0; git branch -q -m main local")
    ground.git("git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/trunk")
    assert ground.gate().seen.base.name == "origin/trunk"
    ground.git("git symbolic-ref --delete refs/remotes/origin/HEAD")
    with pytest.raises(NotFoundError, match="what feature is to be merged into"):
        ground.gate()
    assert ground.gate(base="local").seen.base.name == "local"
    ground.git("git branch -q -m local master")
    assert ground.gate().seen.base.name == "master"


def test_the_default_branch_is_not_judged_against_itself(ground: Ground) -> None:
    with pytest.raises(NotFoundError, match="what main is to be merged into"):
        ground.gate("main")
    ground.git("git update-ref refs/remotes/origin/main main; git checkout -q main")
    ground.commit({"more.py": "x = 1\n"})
    assert ground.gate("main").seen.base.name == "origin/main"
    assert ground.gate("HEAD").seen.branch.name == "main"
    assert ground.gate("heads/main").seen.base.name == "origin/main"


def test_a_base_may_be_named_by_an_option(ground: Ground) -> None:
    ground.branch("stacked", {"more.py": "x = 1\n"}, start="feature")
    assert [path.path for path in ground.gate("stacked").seen.paths] == ["code.py", "more.py"]
    assert [path.path for path in ground.gate("stacked", base="feature").seen.paths] == ["more.py"]
    assert [path.path for path in ground.gate("feature..stacked").seen.paths] == ["more.py"]


def test_histories_that_do_not_meet_are_not_judged(ground: Ground) -> None:
    ground.git("git checkout -q --orphan alone; git commit -q -m alone")
    with pytest.raises(UnavailableError, match="alone and main have no commit in common"):
        ground.gate("alone")


def test_a_shallow_clone_is_judged_as_far_as_it_goes(ground: Ground) -> None:
    for number in range(3):
        ground.commit({f"{number}.py": "x = 1\n"})
    ground.git("git checkout -q feature; git rebase -q main; git checkout -q main")
    ground.commit({"later.py": "x = 1\n"})
    for depth in (3, 1):
        clone = f"git clone -q --no-single-branch --depth={depth} file://$PWD/repo clone-{depth}"
        shell(clone, ground.root)
    deep = ground.gate("feature", "true", at=ground.root / "clone-3")
    assert (deep.conclusion, deep.seen.branch.name, deep.seen.commits) == ("PASS", "origin/feature", 1)
    with pytest.raises(UnavailableError) as caught:
        ground.gate("feature", at=ground.root / "clone-1")
    assert caught.value.hint == "git fetch --unshallow"


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
def test_a_partial_clone_is_judged_once_everything_was_fetched(ground: Ground, kind: str) -> None:
    ground.commit({"code.py": "zero = 0\none = 1\n"})
    ground.git("git config uploadpack.allowFilter true; git config uploadpack.allowAnySHA1InWant true")
    shell(f"git clone -q --no-local --filter={kind} file://$PWD/repo clone", ground.root)
    clone = ground.root / "clone"
    with pytest.raises(UnavailableError, match="are not in this clone") as caught:
        ground.gate("feature", "true", at=clone)
    shell(f"{caught.value.hint} 2>&1", clone)
    assert ground.gate("feature", "true", at=clone).seen.branch.name == "origin/feature"


def test_every_sort_of_repository_is_judged(ground: Ground) -> None:
    shell("git clone -q --bare repo bare.git", ground.root)
    shell("git clone -q --shared repo shared; cd shared; git branch -q feature origin/feature", ground.root)
    ground.git("git worktree add -q ../linked feature")
    (ground.repo / "below").mkdir()
    for place in ("bare.git", "shared", "linked", "repo/below", "repo/.git"):
        found = ground.gate("feature", "grep -q one code.py", at=ground.root / place)
        assert (found.conclusion, place) == ("PASS", place)
    assert ground.gate("HEAD", at=ground.root / "linked").seen.branch.name == "feature"


def test_a_repository_with_long_ids_is_judged(ground: Ground) -> None:
    script = (
        "git init -q -b main --object-format=sha256 long; cd long; echo 1 > a.py; git add .; git commit -q -m first;"
        "git checkout -q -b feature; echo 2 > a.py; git commit -q -a -m second; git checkout -q main;"
        "echo 3 > b.py; git add .; git commit -q -m third"
    )
    shell(script, ground.root)
    found = ground.gate("feature", "test -f a.py", at=ground.root / "long")
    assert found.conclusion == "PASS"
    assert len(found.seen.merged) == 64


# --- the rules ---


def test_rules_of_the_diff_refuse_and_nothing_is_run(ground: Ground) -> None:
    marker = ground.root / "ran"
    ground.branch("empty", {})
    ground.branch("words", {"PLAN.md": "I will.\n"})
    ground.branch("spaces", {"code.py": "one  =  1\n"})
    ground.branch("outside", {"else.py": "x = 1\n"})
    spec = JobSpec("", paths=("code.py",))
    ground.git(
        "git checkout -q -b link; ln -s ../../etc/passwd out; git add -A; git commit -q -m link; git checkout -q main"
    )
    ground.git(
        "git checkout -q -b inside; git update-index --add --cacheinfo 160000,$(git rev-parse main),sub;"
        "git commit -q -m sub; git checkout -q -f main"
    )
    wanted = {
        "empty": "empty_diff", "words": "plan_only", "spaces": "whitespace_only", "link": "hostile_entry",
        "inside": "hostile_entry",
    }  # fmt: skip
    for name, rule in wanted.items():
        found = ground.gate(name, f"touch {marker}")
        assert (found.conclusion, refusals(found), found.seen.checks) == ("REFUSED", [rule], ())
        assert found.scope == "diff only: nothing was run, not reviewed"
    found = ground.gate("outside", f"touch {marker}", spec=spec)
    assert refusals(found) == ["out_of_scope"]
    assert "else.py" in found.reasons[0]
    assert not marker.exists()


def test_words_are_work_where_words_are_asked_for(ground: Ground) -> None:
    ground.branch("words", {"PLAN.md": "I will.\n"})
    assert ground.gate("words", "true", spec=JobSpec("", kind=Kind.WRITING)).conclusion == "PASS"


WORKSPACE = "version: 1\nprojects:\n  main:\n    target: main\n"
THREE_WORDS = "checks: {length: {min_words: 3}}\nitems: [{id: a, question: Is it?}]\n"
TESTS = "def test_one():\n    assert one == 1\n\n\ndef test_two():\n    assert two == 2\n"


def test_what_is_done_to_tests_is_no_pass_unless_it_is_allowed(ground: Ground) -> None:
    ground.commit({"test_code.py": TESTS})
    ground.branch("more", {"test_code.py": f"{TESTS}\n\ndef test_three():\n    assert three == 3\n"})
    ground.branch("less", {"test_code.py": TESTS.partition("\n\n\n")[0] + "\n", "code.py": "one = 1\n\n"})
    assert ground.gate("more", "true").conclusion == "PASS"
    found = ground.gate("less", "true", review=ground.critic())
    assert (found.conclusion, found.scope) == ("INCONCLUSIVE", "checks and review")
    assert "test_code.py:5: 1 test removed: test_two. If that is meant: --allow tests." in found.reasons[0]
    allowed = ground.gate("less", "true", spec=JobSpec("", allows=(Area.TESTS,)))
    assert allowed.conclusion == "PASS"
    assert [each.rule for each in allowed.seen.rules if each.outcome is RuleOutcome.ALLOWED] == ["tests_removed"]


def test_the_reviewer_of_a_branch_is_shown_what_the_tamper_guard_found(ground: Ground) -> None:
    ground.branch("ci", {"code.py": "one = 2\n", ".github/workflows/ci.yml": "on: push\n"})
    keep = ground.root / "keep.sh"
    keep.write_text(f"#!/bin/sh\ncat > {ground.root}/prompt\n")
    keep.chmod(0o755)
    ground.gate("ci", review=str(keep))
    assert "- .github/workflows/ci.yml: CI: added" in (ground.root / "prompt").read_text()


def test_the_criteria_of_the_kind_refuse_and_those_of_a_workspace_stand_in_for_the_shipped_ones(ground: Ground) -> None:
    ground.branch("words", {"guide.md": "See [it](gone.md).\n"})
    spec = JobSpec("", kind=Kind.WRITING)
    found = ground.gate("words", spec=spec)
    assert (found.conclusion, refusals(found)) == ("REFUSED", ["dead_link"])
    assert found.reasons == ("guide.md:1: The link to gone.md leads nowhere: there is no gone.md.",)
    assert ground.gate("words", "true").conclusion == "REFUSED", "a code branch is more than documents"
    for folder in (".git/orc", "criteria"):
        (ground.repo / folder).mkdir()
    (ground.repo / "orc.yaml").write_text(WORKSPACE)
    (ground.repo / "criteria" / "writing.yaml").write_text(THREE_WORDS)
    assert refusals(ground.gate("words", spec=spec)) == ["length"]
    (ground.repo / "criteria" / "writing.yaml").write_text("cheks: {}\n")
    with pytest.raises(InvalidFileError, match=r"^criteria/writing\.yaml:"):
        ground.gate("words", spec=spec)


def test_a_kind_of_ones_own_has_its_criteria_another_the_strictest_and_a_slip_none(ground: Ground) -> None:
    ground.branch("words", {"poem.md": "See [it](gone.md).\n"})
    found = ground.gate("words", "true", spec=JobSpec("", kind="poem"))
    assert refusals(found) == ["dead_link"]
    assert "so the work is judged by the strictest, criteria/other.yaml" in found.notes[-1]
    with pytest.raises(NotFoundError, match="no criteria for the kind 'wirting'; did you mean 'writing'"):
        ground.gate("words", spec=JobSpec("", kind="wirting"))
    for folder in (".git/orc", "criteria"):
        (ground.repo / folder).mkdir()
    (ground.repo / "orc.yaml").write_text(WORKSPACE)
    (ground.repo / "criteria" / "poem.yaml").write_text(THREE_WORDS)
    found = ground.gate("words", spec=JobSpec("", kind="poem"))
    assert refusals(found) == ["length"]
    assert not [note for note in found.notes if "strictest" in note]


def test_no_branch_brings_the_criteria_that_it_is_judged_by(ground: Ground) -> None:
    ground.commit({"orc.yaml": WORKSPACE, "criteria/writing.yaml": THREE_WORDS})
    (ground.repo / ".git" / "orc").mkdir()
    ground.branch("words", {"guide.md": "Words.\n", "criteria/writing.yaml": "items: [{id: a, question: Is it?}]\n"})
    ground.git("git checkout -q words")
    spec = JobSpec("", kind=Kind.WRITING, allows=(Area.ORC,))
    assert refusals(ground.gate("words", spec=spec)) == ["length"]
    ground.git("git checkout -q main")
    ground.commit({"criteria/writing.yaml": "cheks: {}\n"})
    with pytest.raises(InvalidFileError, match=r"^criteria/writing\.yaml of main:"):
        ground.gate("words", spec=spec)


def test_ops_are_proved_by_a_check(ground: Ground) -> None:
    spec = JobSpec("", kind=Kind.OPS)
    found = ground.gate("feature", spec=spec, review=ground.critic())
    assert (found.conclusion, found.seen.review) == ("INCONCLUSIVE", None)
    assert "proved by a check command" in found.reasons[0]
    assert ground.gate("feature", "true", spec=spec).conclusion == "PASS"


def test_a_reviewer_of_research_looks_up_claims_again(ground: Ground) -> None:
    listed = "".join(f"  - {{id: c{n}, claim: It holds {n}., locator: 'code.py:1'}}\n" for n in range(4))
    ground.branch("report", {"report.md": f"# Report\n\n```yaml\nclaims:\n{listed}```\n"})
    spec = JobSpec("", kind=Kind.RESEARCH)
    approved = ground.gate("report", spec=spec, review=ground.critic())
    assert (approved.conclusion, approved.reasons) == ("PASS", ())
    assert approved.seen.review is not None
    assert len(approved.seen.review.record.claims) == 3
    wrong = ground.gate("report", spec=spec, review=ground.critic('answer["claims"][0]["result"] = "contradicted"'))
    assert wrong.conclusion == "INCONCLUSIVE"
    assert "approves although the source contradicts" in wrong.reasons[0]


def test_a_branch_that_is_merged_already_is_refused_with_the_reason_beside_it(ground: Ground) -> None:
    ground.git("git merge -q --ff-only feature")
    found = ground.gate("feature")
    assert refusals(found) == ["empty_diff"]
    assert "main has every commit of feature already." in found.notes


@pytest.mark.parametrize("name", [".git", "..", ".GIT"])
def test_objects_that_git_would_not_fetch_are_refused(ground: Ground, name: str) -> None:
    blob = ground.git("git hash-object -w code.py")
    below = ground.git("git mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    # Written as it is: `git mktree` would not make it.
    tree = b"40000 " + name.encode() + b"\0" + bytes.fromhex(below)
    top = ground.git("git hash-object -t tree -w --stdin --literally", stdin=tree)
    ground.git(f"git update-ref refs/heads/evil $(git commit-tree -p main -m evil {top})")
    found = ground.gate("evil", f"touch {ground.root}/ran")
    assert refusals(found) == ["broken_objects"]
    assert not (ground.root / "ran").exists()


def test_a_disk_that_is_full_is_no_broken_object(ground: Ground) -> None:
    commit, base = (ground.git(f"git rev-parse {name}") for name in ("feature", "main"))
    git = borrow_objects(ground.repo / ".git", ground.root / "borrowed.git")
    assert find_broken_object(git, commit, base) == ""
    (ground.root / "borrowed.git" / "looked-at.idx").unlink()
    (ground.root / "borrowed.git" / "looked-at.idx").mkdir()  # As little as on a full disk can the index be written.
    with pytest.raises(GitError, match="index-pack"):
        find_broken_object(git, commit, base)


def test_a_commit_graph_that_lies_is_not_believed(ground: Ground) -> None:
    ground.branch("longer", {"more.py": "x = 1\n"}, start="feature")
    ground.git("git commit-graph write --reachable")
    path = ground.repo / ".git" / "objects" / "info" / "commit-graph"
    data = path.read_bytes()
    # In the graph a commit's tree is followed by the position of its first parent; this one says that there is none.
    at = data.index(bytes.fromhex(ground.git("git rev-parse feature^{tree}"))) + 20
    path.chmod(0o644)
    path.write_bytes(data[:at] + b"\x70\0\0\0" + data[at + 4 :])
    assert ground.git("git merge-base main longer || echo none") == "none"
    assert ground.gate("longer", "grep -q one code.py").conclusion == "PASS"


def test_protected_paths_are_pointed_out(ground: Ground) -> None:
    ground.branch("attributes", {".gitattributes": "*.py text\n"})
    found = ground.gate("attributes", "true")
    assert found.conclusion == "PASS"
    assert any("protected paths" in note and ".gitattributes" in note for note in found.notes)


def test_names_that_are_not_text_are_judged_and_told(ground: Ground) -> None:
    ground.git("git checkout -q -b odd; printf x > \"$(printf 'caf\\351')\"; git add -A; git commit -q -m odd")
    assert refusals(ground.gate("odd", "true")) == ["hostile_entry"]


def test_a_file_whose_name_is_not_text_can_be_removed(ground: Ground) -> None:
    ground.git("printf x > \"$(printf 'caf\\351')\"; git add -A; git commit -q -m odd")
    ground.git("git checkout -q -b removing; git rm -q caf*; git commit -q -m removed; git checkout -q main")
    found = ground.gate("removing", "true", review=ground.critic('answer["files"] == ["caf\ufffd"] or sys.exit(3)'))
    assert (found.conclusion, found.reasons) == ("PASS", ())
    assert [path.path for path in found.seen.paths] == ["caf\ufffd"]


def test_what_was_found_in_a_file_whose_name_is_not_text_can_be_reviewed(ground: Ground) -> None:
    ground.git(
        "printf 'def test_a():\\n    assert a\\n' > \"$(printf 'test_caf\\351.py')\"; git add -A; git commit -q -m odd"
    )
    ground.git("git checkout -q -b removing; git rm -q test_caf*; git commit -q -m removed; git checkout -q main")
    spec = JobSpec("", allows=(Area.TESTS,))
    found = ground.gate("removing", "true", spec=spec, review=ground.critic())
    assert (found.conclusion, found.reasons) == ("PASS", ())
    assert {each.path for each in found.seen.evidence.tampering} == {"test_caf\ufffd.py"}


# --- the checks ---


def test_a_check_that_only_the_branch_fails_counts_against_it(ground: Ground) -> None:
    found = ground.gate("feature", "if grep two code.py; then exit 3; fi")
    assert found.conclusion == "CHECKS_FAILED"
    assert checks_on(found) == {"branch": "failed", "base": "passed"}
    branch = found.seen.on(Where.BRANCH)
    assert branch is not None
    assert (branch.results[0].exit, branch.results[0].tail.splitlines()[0]) == (3, "two = 2")


def test_a_check_that_the_base_fails_too_says_nothing_about_the_branch(ground: Ground) -> None:
    found = ground.gate("feature", "false")
    assert found.conclusion == "INCONCLUSIVE"
    assert "the base is red" in found.reasons[0]
    assert ground.gate("feature", "false", with_base=False).conclusion == "CHECKS_FAILED"


def test_a_branch_that_repairs_its_base_passes(ground: Ground) -> None:
    found = ground.gate("feature", "grep -q two code.py")
    assert found.conclusion == "PASS"
    assert any("main is red" in note for note in found.notes)


def test_two_changes_that_pass_alone_and_fail_together_are_found(ground: Ground) -> None:
    ground.branch("other", {"more.py": "x = 1\n"})
    ground.commit({"last.py": "x = 1\n"})
    found = ground.gate("other", "! { test -f more.py && test -f last.py; }")
    assert found.conclusion == "CHECKS_FAILED"
    assert checks_on(found) == {"branch": "passed", "merged": "failed", "base": "passed"}
    assert found.reasons == (
        "! { test -f more.py && test -f last.py; } fails on other merged into main, and passes on main.",
    )


def test_a_conflict_is_told_with_its_paths(ground: Ground) -> None:
    ground.commit({"code.py": "one = 1\nthree = 3\n"})
    found = ground.gate("feature", "true")
    assert (found.conclusion, found.seen.conflicts) == ("REFUSED", ("code.py",))
    assert found.reasons == ("It does not merge into main: conflict in code.py.",)
    assert checks_on(found) == {"branch": "passed", "base": "passed"}


def test_trees_that_are_the_same_are_checked_once(ground: Ground) -> None:
    found = ground.gate("feature", f"echo ran >> {ground.root}/runs")
    assert (ground.root / "runs").read_text() == "ran\nran\n"
    merged = found.seen.on(Where.MERGED)
    assert merged is not None
    assert merged.same_as is Where.BRANCH


def test_a_check_that_passes_only_when_run_again_is_flaky(ground: Ground) -> None:
    found = ground.gate("feature", f"test -f {ground.root}/once || {{ touch {ground.root}/once; false; }}")
    assert found.conclusion == "PASS"
    assert any("failed once and passed" in note for note in found.notes)


def test_a_check_that_does_not_end_is_ended_and_has_not_passed(ground: Ground) -> None:
    found = ground.gate("feature", Check("sleep 60", timeout_s=1), with_base=False)
    assert found.conclusion == "CHECKS_FAILED"
    branch = found.seen.on(Where.BRANCH)
    assert branch is not None
    assert branch.results[0].outcome is Outcome.TIMEOUT
    assert ground.told == ["the checks run on feature"] * len(ground.told)
    assert ground.told


def test_the_setup_runs_first_in_each_checkout(ground: Ground) -> None:
    assert ground.gate("feature", "test -f made", setup="touch made").conclusion == "PASS"
    only_base = ground.gate("feature", "true", setup="! grep -q two code.py")
    assert only_base.conclusion == "CHECKS_FAILED"
    assert "could not be run on feature: The setup" in only_base.reasons[0]
    assert ground.gate("feature", "true", setup="false").conclusion == "INCONCLUSIVE"


def test_checks_see_the_tree_of_the_commit_and_nothing_of_the_person(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ground.repo / "untracked").write_text("mine\n")
    (ground.repo / "code.py").write_text("not committed\n")
    monkeypatch.setenv("CANARY", "secret")
    look = 'test "$(cat code.py)" = "$(printf "one = 1\\ntwo = 2")" && test ! -e untracked && test -z "$CANARY"'
    look += ' && test -z "$(ls -A "$HOME")" && ! git rev-parse 2>/dev/null'
    assert checks_on(ground.gate("feature", look, with_base=False)) == {"branch": "passed"}


def test_a_submodule_that_was_there_before_is_an_empty_folder(ground: Ground) -> None:
    ground.git("git checkout -q main; git update-index --add --cacheinfo 160000,$(git rev-parse main),sub")
    ground.git("git commit -q -m sub; git checkout -q -f main; git checkout -q -b with-sub")
    ground.commit({"more.py": "x = 1\n"})
    assert ground.gate("with-sub", 'test -d sub && test -z "$(ls -A sub)"').conclusion == "PASS"


def test_a_tree_that_a_check_locked_is_removed_all_the_same(ground: Ground) -> None:
    assert ground.gate("feature", "mkdir -p a/b && touch a/b/c && chmod -R a-w .").conclusion == "PASS"
    wait_until(lambda: left_overs(ground.root) == [])


def test_without_checks_nothing_is_run_and_the_way_is_named(ground: Ground) -> None:
    ground.commit({"Makefile": f"test:\n\ttouch {ground.root}/ran\n"})
    found = ground.gate("feature")
    assert (found.conclusion, found.seen.checks, found.seen.suggestion) == ("INCONCLUSIVE", (), "make test")
    assert not (ground.root / "ran").exists()


# --- nothing is left behind, and nothing of the repository runs ---


def test_the_repository_is_the_same_to_the_last_file_afterwards(ground: Ground) -> None:
    ground.commit({"last.py": "x = 1\n"})
    (ground.repo / "untracked").write_text("mine\n")
    before = ground.everything()
    assert ground.gate("feature", "touch new; rm code.py", review=ground.critic()).conclusion == "PASS"
    assert ground.everything() == before
    wait_until(lambda: left_overs(ground.root) == [])


def test_nothing_that_the_repository_names_is_run(ground: Ground) -> None:
    marker, tool = ground.root / "MARKER", ground.root / "tool"
    tool.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    tool.chmod(0o755)
    hostile = "* filter=evil diff=evil merge=evil text eol=crlf ident\n"
    ground.branch("evil", {".gitattributes": hostile, "code.py": "one = 1\ntwo = 2\n"})
    ground.commit({"code.py": "zero = 0\none = 1\n", ".gitattributes": hostile + "# more\n"})
    names = ["core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "diff.external", "gpg.program"]
    names += ["filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "merge.evil.driver"]
    names += ["diff.evil.command", "diff.evil.textconv", "uploadpack.packObjectsHook", "core.alternateRefsCommand"]
    for name in names:
        ground.git(f"git config {name} {tool}")
    hooks = ground.repo / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change", "pre-merge-commit", "post-commit"):
        (hooks / name).write_bytes(tool.read_bytes())
        (hooks / name).chmod(0o755)
    marker.unlink(missing_ok=True)
    found = ground.gate("evil", "grep -q two code.py")
    assert found.seen.conflicts == (".gitattributes",)
    assert checks_on(found) == {"branch": "passed", "base": "failed"}
    assert ground.gate("feature", "grep -q one code.py", review=ground.critic()).conclusion == "PASS"
    assert not marker.exists()
    ground.git("git checkout -q evil || true")
    assert marker.exists()


def test_what_a_killed_gate_left_is_removed_by_the_next(ground: Ground) -> None:
    left, other = (ground.root / "cache" / "orc" / f"orc-gate-{name}" for name in ("left", "other"))
    (left / "trees" / "1").mkdir(parents=True)
    (left / "lock").touch()
    other.mkdir()
    ground.gate()
    wait_until(lambda: left_overs(ground.root) == ["orc-gate-other"])
    assert (left.exists(), other.exists()) == (False, True)


WORKSHOPS = """
import sys
from orchestrator.adapters.locks import lease_is_free
from orchestrator.engine.gate_runs import open_workshop

for _ in range(int(sys.argv[1])):
    with open_workshop(lambda what, how_far: None) as shop:
        print(shop.folder.is_dir() and not lease_is_free(shop.folder / "lock"), flush=True)
"""


def test_gates_at_the_same_time_leave_each_others_folders_alone(ground: Ground) -> None:
    argv = [sys.executable, "-c", WORKSHOPS, "12"]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for each in running:
        out, err = each.communicate(timeout=60)
        assert (out, err) == ("True\n" * 12, "")
    wait_until(lambda: left_overs(ground.root) == [])


def test_a_check_sees_nothing_that_lies_above_it_in_a_shared_folder(ground: Ground) -> None:
    (ground.root / "tmp" / "pytest.ini").touch()
    look = 'at=$PWD; while test "$at" != /; do test ! -e "$at/pytest.ini" || exit 1; at=$(dirname "$at"); done'
    found = ground.gate("feature", look)
    assert (found.conclusion, found.notes) == ("PASS", ())
    assert (ground.root / "cache" / "orc").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("name", "value"), [("XDG_CACHE_HOME", "/dev/null/cache"), ("HOME", "/dev/null/home")])
def test_without_a_cache_folder_the_one_for_temporary_files_is_used_and_told(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv(name, value)
    found = ground.gate("feature", 'case "$PWD" in */tmp/orc-gate-*) ;; *) exit 1;; esac')
    assert found.conclusion == "PASS"
    assert any(f"the checkouts were made in {ground.root / 'tmp'}" in note for note in found.notes)


class Interrupted(Nursery):
    """One in which Ctrl-C is heard when the process has been started, and nobody knows of it yet."""

    def spawn(self, folder: Path, lease_fd: int) -> int:
        super().spawn(folder, lease_fd)
        raise KeyboardInterrupt


def test_ctrl_c_while_a_run_is_being_started_ends_that_run(ground: Ground) -> None:
    commit, tree = ground.git("git rev-parse feature"), ground.git("git rev-parse feature^{tree}")
    with open_workshop(lambda what, how_far: None) as shop:
        git = borrow_objects(ground.repo / ".git", shop.folder / "borrowed.git")
        interrupted = replace(shop, nursery=Interrupted())
        with pytest.raises(KeyboardInterrupt):
            run_checks(interrupted, git, Where.BRANCH, commit, tree, (Check("sleep 300"),), "", "the checks run")
        result = read_result(shop.run_folder("gate.branch"))
        assert result is not None
        assert result.status is RunStatus.STOPPED
        interrupted.nursery.close()


# --- a run that is held ---


def events_of_the_run(root: Path) -> str:
    """What the run of the checks on the branch has told so far."""
    found = list((root / "cache" / "orc").glob("orc-gate-*/orc/runs/gate.branch/events*"))
    return found[0].read_text() if found else ""


def test_the_branch_is_checked_out_and_not_run_before_the_rules_have_judged(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at, ran = gate.look_at, ground.root / "ran"

    def look(*args: Any) -> Seen:
        wait_until(lambda: '"prepared"' in events_of_the_run(ground.root))
        time.sleep(0.3)
        assert not ran.exists()
        return look_at(*args)

    monkeypatch.setattr(gate, "look_at", look)
    found = ground.gate("feature", f"touch {ran}; test -s code.py")
    assert (found.conclusion, ran.exists()) == ("PASS", True)


@pytest.mark.parametrize("is_broken", [False, True])
def test_what_is_not_to_be_run_leaves_neither_a_trace_nor_a_process(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, is_broken: bool
) -> None:
    ran, begun = ground.root / "ran", list[Checking]()

    def begin(*args: Any) -> Checking:
        begun.append(make_ready(*args))
        return begun[-1]

    monkeypatch.setattr(gate, "make_ready", begin)
    if is_broken:
        monkeypatch.setattr(gate, "find_broken", lambda: (Broken("diff", "empty_diff", "lets it through"),))
        with pytest.raises(UnavailableError, match="nothing was judged"):
            ground.gate("feature", f"touch {ran}")
    else:
        ground.branch("empty", {})
        assert ground.gate("empty", f"touch {ran}").conclusion == "REFUSED"
    assert (len(begun), is_alive(begun[0].pid), ran.exists()) == (1, False, False)
    wait_until(lambda: left_overs(ground.root) == [])


def test_a_run_that_is_held_ends_when_nobody_holds_it_any_more(ground: Ground) -> None:
    commit, ran = ground.git("git rev-parse feature"), ground.root / "ran"
    with open_workshop(lambda what, how_far: None) as shop:
        git = borrow_objects(ground.repo / ".git", shop.folder / "borrowed.git")
        ready = make_ready(shop, git, Where.BRANCH, commit, (Check(f"touch {ran}"),), "")
        wait_until(lambda: '"prepared"' in events_of_the_run(ground.root))
        assert is_alive(ready.pid)
        (shop.folder / "lock").unlink()  # As if its gate had been killed: the lock is no longer held.
        wait_until(lambda: not is_alive(ready.pid))
        result = read_result(shop.run_folder("gate.branch"))
        assert result is not None
        assert (result.status, ran.exists()) == (RunStatus.STOPPED, False)


def test_a_run_that_could_not_be_begun_ahead_is_begun_when_it_is_due(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise UnavailableError("no room")

    monkeypatch.setattr(gate, "make_ready", fail)
    assert ground.gate("feature", "true").conclusion == "PASS"


# --- the review ---


def test_a_reviewer_decides_where_nothing_else_does(ground: Ground) -> None:
    approved = ground.gate("feature", "true", review=ground.critic())
    assert (approved.conclusion, approved.scope) == ("PASS", "checks and review")
    assert approved.seen.review is not None
    assert len(approved.seen.review.record.nonce_sha256) == 64
    finding = '{"severity": "blocking", "problem": "wrong", "file": "code.py", "line": 2, "fix": "right"}'
    revise = ground.gate("feature", review=ground.critic(f'answer |= {{"verdict": "REVISE", "findings": [{finding}]}}'))
    assert (revise.conclusion, revise.scope) == ("REFUSED", "review only: nothing was run")
    assert revise.reasons == ("The reviewer critic asks for changes (1 finding).",)


@pytest.mark.parametrize(
    ("change", "end", "why"),
    [
        ('answer["nonce"] = "0" * 32', "print(json.dumps(answer))", "does not carry this review's nonce"),
        ('answer["verdict"] = "NOT APPROVED"', "print(json.dumps(answer))", "which is not APPROVED, REVISE or REJECT"),
        ('answer["files"] = []', "print(json.dumps(answer))", "approves without having seen code.py"),
        ('answer["commit"] = "0" * 40', "print(json.dumps(answer))", "is about another commit"),
        ("", 'print("APPROVED")', "is not exactly one JSON object"),
        ("", "print(json.dumps(answer)); sys.exit(1)", "did not come to its end (exit 1)"),
        ("", "pass", "is empty"),
    ],
)
def test_an_answer_that_is_no_verdict_is_none(ground: Ground, change: str, end: str, why: str) -> None:
    found = ground.gate("feature", "true", review=ground.critic(change, end))
    assert found.conclusion == "INCONCLUSIVE"
    assert why in found.reasons[0]


def test_nobody_is_asked_where_the_checks_decide(ground: Ground) -> None:
    asked = ground.critic(f'open("{ground.root}/asked", "w")')
    assert ground.gate("feature", "! grep two code.py", review=asked).conclusion == "CHECKS_FAILED"
    assert not (ground.root / "asked").exists()


def test_the_reviewer_is_told_the_task_or_what_the_commits_say(ground: Ground) -> None:
    keep = ground.critic(f'open("{ground.root}/task", "w").write(facts["task"])')
    ground.gate("feature", review=keep, spec=JobSpec("Count to two."))
    assert (ground.root / "task").read_text() == "Count to two."
    ground.gate("feature", review=keep)
    assert (ground.root / "task").read_text().endswith("say:\n- feature")


def test_a_program_that_is_known_reviews_without_a_workspace(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    (ground.root / "bin").mkdir()
    (ground.root / "bin" / "codex").write_text("#!/bin/sh\necho codex 1.0; exit 1\n")
    (ground.root / "bin" / "codex").chmod(0o755)
    monkeypatch.setenv("PATH", f"{ground.root / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CODEX_API_KEY", "k")
    reviewer = find_reviewer(ground.repo, "codex:gpt-5.5", (), None)
    assert (reviewer.agent.model, reviewer.agent.family, reviewer.bench) == ("gpt-5.5", "openai", None)
    assert "Never approve what was not read" in reviewer.agent.soul.body
    found = ground.gate("feature", "true", reviewer="codex:gpt-5.5")
    assert found.conclusion == "INCONCLUSIVE"
    assert found.seen.review is not None
    assert found.seen.review.record.reviewer.model == "gpt-5.5"


def test_a_diff_that_is_too_large_is_not_reviewed_in_part(ground: Ground) -> None:
    ground.branch("large", {"large.py": "x = 1\n" * 100_000})
    found = ground.gate("large", review=ground.critic())
    assert found.conclusion == "INCONCLUSIVE"
    assert "too large to be reviewed whole" in found.reasons[0]


# --- a defect that is mended ---

RUNS_TESTS = "for each in tests/*.sh; do test ! -e $each || sh $each; done"
MENDS = JobSpec("", reproduces=True)
MENDED = {"code.py": "mended = 1\n", "tests/mended.sh": "grep -q mended code.py\n"}


def test_a_branch_whose_test_fails_without_the_rest_of_it_mends_a_defect(ground: Ground) -> None:
    ground.branch("mended", MENDED)
    before = ground.everything()
    found = ground.gate("mended", RUNS_TESTS, spec=MENDS)
    assert (found.conclusion, found.reasons) == ("PASS", ())
    assert checks_on(found) == {"branch": "passed", "base": "passed", "reproduction": "failed"}
    laid = found.seen.on(Where.REPRODUCTION)
    assert laid is not None
    assert ground.everything() == before


def test_a_branch_that_moved_on_is_reproduced_on_its_merge_base(ground: Ground) -> None:
    ground.branch("mended", MENDED)
    ground.git("git checkout -q main")
    ground.commit({"code.py": "mended = 2\n"})
    found = ground.gate("mended", RUNS_TESTS, spec=MENDS)
    assert found.seen.conflicts == ("code.py",)
    laid = found.seen.on(Where.REPRODUCTION)
    assert laid is not None
    assert laid.tests == "failed"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({**MENDED, "tests/mended.sh": "true\n"}, "The tests that came with the change pass on the base as well"),
        ({"tests/mended.sh": "true\n"}, "The tests that came with the change pass on the base as well"),
        ({"code.py": "mended = 1\n"}, "no test comes with the change"),
    ],
)
def test_a_branch_that_shows_no_defect_is_refused(ground: Ground, files: dict[str, str], reason: str) -> None:
    ground.branch("mended", files)
    found = ground.gate("mended", RUNS_TESTS, spec=MENDS, review=ground.critic())
    assert (found.conclusion, found.seen.review) == ("REFUSED", None)
    assert reason in "".join(found.reasons)
    assert ground.gate("mended", RUNS_TESTS).conclusion == "PASS"


def test_without_a_check_nobody_can_say_that_a_defect_is_mended(ground: Ground) -> None:
    ground.branch("mended", MENDED)
    found = ground.gate("mended", spec=MENDS)
    assert found.conclusion == "INCONCLUSIVE"
    assert "That a defect is mended is proved by a check, and none was named." in found.reasons


def test_the_reviewer_is_told_what_failed_without_the_rest_of_the_branch(ground: Ground) -> None:
    ground.branch("mended", MENDED)
    critic, script = ground.critic(), ground.root / "critic.py"
    kept = f'open("{ground.root}/prompt", "w").write(sys.stdin.read())'
    script.write_text(script.read_text().replace("sys.stdin.read()", kept))
    assert ground.gate("mended", RUNS_TESTS, spec=MENDS, review=critic).conclusion == "PASS"
    told = (ground.root / "prompt").read_text().partition("the defect is shown")[2]
    assert f"- `{RUNS_TESTS}`: failed (exit 1, " in told
