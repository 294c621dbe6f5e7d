"""The door to git: what it lets through, and the acts on refs, commits, differences and checkouts."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tree_helpers import WHEN, contents, shell

from orchestrator.adapters.git import Git, Identity, Reader, reading
from orchestrator.adapters.git_checkout import (
    CheckoutInTheWayError,
    checked_out_at,
    dirty_paths,
    find_lock,
    in_checkout,
    landing_mark,
    push_into_checkout,
    unfinished_act,
    untracked_in_the_way,
)
from orchestrator.adapters.git_objects import (
    MergeResult,
    commit_tree,
    diff_stat,
    diff_text,
    fetch_ref,
    list_tree,
    merge_trees,
    read_blob,
    read_small_blobs,
    whitespace_only_paths,
)
from orchestrator.adapters.git_person import common_dir, personal_config, top_level
from orchestrator.adapters.git_process import GitError, version
from orchestrator.adapters.git_refs import (
    RefMovedError,
    delete_refs,
    is_ancestor,
    merge_base,
    rev_parse,
    tree_of,
    update_ref,
)
from orchestrator.adapters.mirrors import open_mirror, publish_ref, refresh_mirror
from orchestrator.core.diffstat import Change, DiffStat
from orchestrator.errors import NotFoundError, RefusedError

AGENT = Identity("agent", "agent@example.invalid")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with three commits on main, and main checked out."""
    path = tmp_path / "project"
    path.mkdir()
    shell(
        "git init -q -b main; seq 1 9 > numbers; echo a > old; git add -A; git commit -q -m one;"
        "echo two > two; git add -A; git commit -q -m two; echo three > three; git add -A; git commit -q -m three",
        path,
    )
    return path


@pytest.fixture
def git(project: Path) -> Git:
    """The door to the project."""
    return Git(project / ".git")


def commit_files(git: Git, parent: str, **files: str | None) -> str:
    """A commit on `parent` with files changed (None: removed), made without a checkout."""
    lines = b""
    for name, text in files.items():
        if text is None:
            lines += b"0 " + b"0" * 40 + b"\t" + name.encode() + b"\0"
        else:
            oid = git.run("hash-object", "-w", "--stdin", stdin=text.encode()).out.strip()
            lines += b"100644 " + oid + b"\t" + name.encode() + b"\0"
    index = replace(git, index=git.git_dir / "test-index")
    index.run("read-tree", parent)
    index.run("update-index", "-z", "--index-info", stdin=lines)
    return commit_tree(git, index.text("write-tree"), [parent], "change\n", author=AGENT, when=WHEN)


def head(git: Git) -> str:
    found = rev_parse(git, "refs/heads/main")
    assert found is not None
    return found


# --- the door ---


def test_the_environment_of_the_caller_does_not_reach_git(git: Git) -> None:
    evil = {"GIT_DIR": "/nowhere", "GIT_AUTHOR_NAME": "evil", "GIT_OBJECT_DIRECTORY": "/nowhere"}
    code = "import sys, pathlib, orchestrator.adapters.git as g; d = g.Git(pathlib.Path(sys.argv[1]))"
    code += "; from orchestrator.adapters.git_refs import rev_parse"
    code += "; print(d.text('var', 'GIT_AUTHOR_IDENT'), rev_parse(d, 'HEAD'))"
    command = [sys.executable, "-c", code, str(git.git_dir)]
    done = subprocess.run(command, env={**os.environ, **evil}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("orc <engine@orc.invalid>")
    assert done.stdout.split()[-1] == head(git)


def test_an_error_names_the_command_and_what_git_said(git: Git) -> None:
    with pytest.raises(GitError, match=r"^git rev-list failed: fatal: bad revision") as caught:
        git.run("rev-list", "no-such-thing", "--")
    assert caught.value.code == 128


def test_a_held_lock_is_waited_for_and_then_told(git: Git) -> None:
    lock = git.git_dir / "index.lock"
    lock.touch()
    started = time.monotonic()
    with pytest.raises(GitError, match="File exists"):
        replace(git, index=git.git_dir / "index").run("read-tree", "HEAD")
    assert time.monotonic() - started > 0.5


def test_a_lock_that_goes_away_does_not_fail_the_command(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, calls, program = git.git_dir / "index.lock", tmp_path / "calls", tmp_path / "bin" / "git"
    lock.touch()
    # The lock goes when the command has met it twice, and not before.
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho call >> "{calls}"\n"{shutil.which("git")}" "$@"\ncode=$?\n'
        f'[ "$(grep -c call "{calls}")" -lt 2 ] || rm -f "{lock}"\nexit $code\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    replace(git, index=git.git_dir / "index").run("read-tree", "HEAD")
    assert calls.read_text().splitlines() == ["call"] * 3


def test_what_takes_too_long_is_ended(git: Git) -> None:
    started = time.monotonic()
    quick = replace(git, timeout=0.3)
    fifo = git.git_dir / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(GitError, match="longer than"):
        quick.run("hash-object", "--no-filters", str(fifo))
    assert time.monotonic() - started < 10


def test_output_can_be_cut(git: Git) -> None:
    assert git.run_bounded("cat-file", "blob", "HEAD:numbers", max_bytes=4) == (b"1\n2\n", True)
    assert git.run_bounded("cat-file", "blob", "HEAD:two", max_bytes=4) == (b"two\n", False)
    with pytest.raises(GitError, match=r"bad file|Not a valid|does not exist"):
        git.run_bounded("cat-file", "blob", "HEAD:none", max_bytes=4)


def test_the_door_imports_nothing_heavy() -> None:
    code = "import sys, orchestrator.adapters.git; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"git", "yaml", "filelock", "click", "rich"} & set(loaded.stdout.split())


def test_discovery_finds_the_persons_repository(project: Path, tmp_path: Path) -> None:
    (project / "sub").mkdir()
    assert top_level(project / "sub") == project
    assert common_dir(project / "sub") == project / ".git"
    shell("git worktree add -q ../linked -b side", project)
    assert common_dir(tmp_path / "linked") == project / ".git"
    with pytest.raises(NotFoundError):
        common_dir(tmp_path)
    assert version() >= (2, 38, 0)


def test_a_personal_setting_is_read_or_empty(project: Path) -> None:
    shell("git config user.name 'A Person'", project)
    assert personal_config(project / ".git", "user.name") == "A Person"
    assert personal_config(project / ".git", "orc.nothing") == ""


# --- refs ---


def test_a_missing_ref_or_object_is_none(git: Git) -> None:
    assert rev_parse(git, "refs/heads/none") is None
    assert rev_parse(git, "1" * 40) is None
    assert rev_parse(git, "HEAD") == head(git)
    with pytest.raises(GitError):
        rev_parse(Git(git.git_dir / "nowhere"), "HEAD")


def test_a_ref_moves_only_from_its_old_value(git: Git) -> None:
    new, old = head(git), git.text("rev-parse", "HEAD~1")
    update_ref(git, "refs/orc/x", old, "")
    with pytest.raises(RefMovedError):
        update_ref(git, "refs/orc/x", new, "")
    with pytest.raises(RefMovedError):
        update_ref(git, "refs/orc/x", new, new)
    with pytest.raises(RefMovedError):
        update_ref(git, "refs/orc/none", new, old)
    update_ref(git, "refs/orc/x", new, old)
    with pytest.raises(RefMovedError):
        delete_refs(git, [("refs/orc/x", old)])
    delete_refs(git, [("refs/orc/x", new)])
    assert rev_parse(git, "refs/orc/x") is None


def test_history_is_asked_of_git(git: Git) -> None:
    tip, first = head(git), git.text("rev-parse", "HEAD~2")
    assert is_ancestor(git, first, tip)
    assert is_ancestor(git, tip, tip)
    assert not is_ancestor(git, tip, first)
    assert merge_base(git, first, tip) == first
    alone = commit_tree(git, tree_of(git, tip), [], "root\n", author=AGENT, when=WHEN)
    assert merge_base(git, alone, tip) is None


# --- commits and merges ---


def test_a_commit_has_the_author_given_and_the_engine_as_committer(git: Git) -> None:
    made = commit_tree(git, tree_of(git, "HEAD"), [head(git)], "words\n", author=AGENT, when=WHEN)
    assert git.text("show", "-s", "--format=%an|%cn|%ct|%B", made) == f"agent|orc|{int(WHEN.timestamp())}|words\n"
    assert made == commit_tree(git, tree_of(git, "HEAD"), [head(git)], "words\n", author=AGENT, when=WHEN)


def test_a_merge_without_conflict_gives_a_tree_and_one_with_gives_paths(git: Git) -> None:
    lines = [str(n) for n in range(1, 10)]
    top = commit_files(git, head(git), numbers="\n".join(["first", *lines[1:]]) + "\n")
    bottom = commit_files(git, head(git), numbers="\n".join([*lines[:-1], "last"]) + "\n")
    other_top = commit_files(git, head(git), numbers="\n".join(["erste", *lines[1:]]) + "\n")
    merged = merge_trees(git, top, bottom)
    assert merged.conflicts == ()
    assert merged.tree is not None
    assert git.text("show", f"{merged.tree}:numbers").split()[::8] == ["first", "last"]
    assert merge_trees(git, top, other_top).conflicts == ("numbers",)
    assert merge_trees(git, top, other_top).tree is None


def test_a_conflict_that_is_not_of_one_file_names_the_folder(git: Git) -> None:
    folder = {f"a/{name}": f"{name}\n" * 20 for name in "wxyz"}
    base = commit_files(git, head(git), **folder)
    new = commit_files(git, base, **{"a/new": "new\n"})
    moved = {f"{'b' if name in 'wx' else 'c'}/{name}": f"{name}\n" * 20 for name in "wxyz"}
    split = commit_files(git, base, **dict.fromkeys(folder), **moved)
    assert merge_trees(git, split, new) == MergeResult(None, ("a",))


def test_a_mirror_merges_and_shows_text_although_it_runs_no_driver(git: Git, tmp_path: Path) -> None:
    lines = [str(n) for n in range(1, 10)]
    attributes = commit_files(git, head(git), **{".gitattributes": "* merge=evil diff=evil filter=evil\n"})
    top = commit_files(git, attributes, numbers="\n".join(["first", *lines[1:]]) + "\n")
    bottom = commit_files(git, attributes, numbers="\n".join([*lines[:-1], "last"]) + "\n")
    mirror = open_mirror(tmp_path / "m.git", git.git_dir)
    mirror.run("config", "merge.evil.driver", f"touch {tmp_path}/ran; true")
    refresh_mirror(mirror, git.git_dir, [f"{top}:refs/orc/seen/a", f"{bottom}:refs/orc/seen/b"])
    assert merge_trees(mirror, top, bottom).tree is not None
    assert not (tmp_path / "ran").exists()
    assert "+first" in diff_text(mirror, attributes, top, max_bytes=10_000)[0]
    assert diff_stat(mirror, attributes, top).summary() == "1 file changed, 1 insertion(+), 1 deletion(-)"


# --- differences ---


def test_a_diff_stat_tells_every_kind_of_change(git: Git, project: Path) -> None:
    base = head(git)
    shell(
        "git rm -q old; git mv two moved; printf '\\0\\1' > bin; printf 'x' > 'we\tird\nname'; rm three;"
        "ln -s numbers three; echo 10 >> numbers; chmod +x numbers; git add -A;"
        f"git update-index --add --cacheinfo 160000,{base},module; git commit -q -m all",
        project,
    )
    stat = diff_stat(git, base, head(git))
    assert set(stat.changes) == {
        Change("bin", "A", None, None, "000000", "100644"),
        Change("module", "A", 1, 0, "000000", "160000"),
        Change("moved", "A", 1, 0, "000000", "100644"),
        Change("numbers", "M", 1, 0, "100644", "100755"),
        Change("old", "D", 0, 1, "100644", "000000"),
        Change("three", "T", 1, 1, "100644", "120000"),
        Change("two", "D", 0, 1, "100644", "000000"),
        Change("we\tird\nname", "A", 1, 0, "000000", "100644"),
    }
    assert (stat.files, stat.insertions, stat.deletions) == (8, 5, 3)
    assert stat.summary() == "8 files changed, 5 insertions(+), 3 deletions(-)"
    assert DiffStat().summary() == "0 files changed"


def test_a_change_names_both_of_its_objects_and_small_ones_are_read(git: Git) -> None:
    base = commit_files(git, head(git), a="one\n", b="two\n")
    tip = commit_files(git, base, a="three\n", b=None, c="4" * 100)
    changes = {each.path: each for each in diff_stat(git, base, tip).changes}
    a, b, c = (changes[name] for name in "abc")
    oids = [a.old_oid, a.new_oid, b.old_oid, c.new_oid]
    found = read_small_blobs(git, [*oids, b.new_oid, "f" * 40], 99)
    assert found == {a.old_oid: b"one\n", a.new_oid: b"three\n", b.old_oid: b"two\n"}
    with reading(git) as quick:
        for door in (git, quick):
            assert read_small_blobs(door, [*oids, tip, b.new_oid, "f" * 40], 99) == found
            assert read_small_blobs(door, oids, 100, max_all=10) == {a.old_oid: b"one\n", a.new_oid: b"three\n"}
            assert read_small_blobs(door, [a.old_oid, c.new_oid, b.old_oid], 100, max_all=10) == {a.old_oid: b"one\n"}
            assert read_small_blobs(door, [], 99) == {}


def test_a_patch_is_cut_where_asked(git: Git) -> None:
    whole, is_cut = diff_text(git, "HEAD~1", "HEAD", max_bytes=100_000)
    assert "+three" in whole
    assert not is_cut
    assert diff_text(git, "HEAD~1", "HEAD", max_bytes=20) == (whole[:20], True)


def test_white_space_alone_is_told_from_a_change(git: Git) -> None:
    base = commit_files(git, head(git), a="x\ny\n", b="x\ny\n", c="x\n")
    tip = commit_files(git, base, a="  x\n\n\ny \n", b="  x\nz\n", c=None, d="\n")
    assert whitespace_only_paths(git, base, tip) == {"a", "d"}
    moved = commit_files(git, tip, **{"in.py": "for a in b:\n    c()\nd()\n", "__init__.py": ""})
    other = commit_files(git, moved, **{"in.py": "for a in b:\n    c()\n    d()\n", "a": "x\ny\n"})
    assert whitespace_only_paths(git, tip, moved) == set()
    assert whitespace_only_paths(git, moved, other) == {"a"}


def test_blobs_and_trees_are_read_by_exact_path(git: Git) -> None:
    tip = commit_files(git, head(git), **{"a*": "star\n", "dir/x": "deep\n"})
    assert read_blob(git, tip, "a*", 100) == b"star\n"
    assert read_blob(git, tip, "dir/x", 100) == b"deep\n"
    assert read_blob(git, tip, "dir", 100) is None
    assert read_blob(git, tip, "none", 100) is None
    with pytest.raises(GitError, match="larger than 2 bytes"):
        read_blob(git, tip, "a*", 2)
    assert ("100644", git.text("rev-parse", f"{tip}:dir/x"), "dir/x") in list_tree(git, tip)


# --- other repositories ---


def test_a_mirror_never_gets_the_ledger(git: Git, tmp_path: Path) -> None:
    update_ref(git, "refs/heads/orc/state", head(git), "")
    mirror = open_mirror(tmp_path / "m.git", git.git_dir)
    for ref in (
        "refs/heads/orc/state",
        "refs/heads/*",
        "+refs/*",
        "refs/heads/orc/state:refs/heads/x",
        "orc/state:refs/y",
    ):
        with pytest.raises(RefusedError, match="ledger"):
            refresh_mirror(mirror, git.git_dir, [ref])
    refresh_mirror(mirror, git.git_dir, ["refs/heads/main"])
    assert mirror.text("for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_ref_is_published_under_its_own_name(git: Git, tmp_path: Path) -> None:
    mirror = open_mirror(tmp_path / "m.git", git.git_dir)
    refresh_mirror(mirror, git.git_dir, ["refs/heads/main"])
    made = commit_files(mirror, head(git), fresh="x\n")
    update_ref(mirror, "refs/orc/attempts/j/1", made, "")
    publish_ref(mirror, git.git_dir, "refs/orc/attempts/j/1")
    assert rev_parse(git, "refs/orc/attempts/j/1") == made
    with pytest.raises(RefusedError):
        publish_ref(mirror, git.git_dir, "refs/heads/main")


def test_a_broken_object_is_not_fetched(git: Git, tmp_path: Path) -> None:
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"evil").out.decode().strip()
    inner = git.run("mktree", stdin=f"100644 blob {blob}\tconfig\n".encode()).out.decode().strip()
    tree = git.run("mktree", stdin=f"040000 tree {inner}\t.git\n".encode()).out.decode().strip()
    update_ref(git, "refs/heads/evil", commit_tree(git, tree, [], "evil\n", author=AGENT, when=WHEN), "")
    mirror = open_mirror(tmp_path / "m.git", git.git_dir)
    with pytest.raises(GitError):
        fetch_ref(mirror, git.git_dir, ["refs/heads/evil:refs/heads/evil"])
    assert rev_parse(mirror, "refs/heads/evil") is None


def test_a_fetch_runs_no_program_of_the_source(git: Git, project: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for key in ("core.fsmonitor", "uploadpack.packObjectsHook", "core.alternateRefsCommand", "core.sshCommand"):
        shell(f"git config {key} 'touch {marker}; false'", project)
    mirror = open_mirror(tmp_path / "m.git", git.git_dir)
    refresh_mirror(mirror, git.git_dir, ["refs/heads/main"])
    assert not marker.exists()


# --- the person's checkouts ---


def test_checkouts_of_a_branch_are_found_also_while_it_is_rebased(git: Git, project: Path, tmp_path: Path) -> None:
    shell("git worktree add -q ../linked -b side; git worktree add -q ../gone -b lost", project)
    shell("rm -rf gone", tmp_path)
    assert checked_out_at(git, "main") == [project]
    assert checked_out_at(git, "side") == [tmp_path / "linked"]
    assert checked_out_at(git, "lost") == []
    assert checked_out_at(git, "none") == []
    rebase = "GIT_SEQUENCE_EDITOR='echo break >' git -c sequence.editor='echo break >' rebase -q -i HEAD~1"
    shell(rebase, tmp_path / "linked", check=False)
    assert shell("git symbolic-ref -q HEAD || echo detached", tmp_path / "linked") == "detached"
    assert checked_out_at(git, "side") == [tmp_path / "linked"]


@pytest.mark.parametrize(
    ("begin", "act"),
    [
        ("git -c sequence.editor='sed -i s/^pick/edit/' rebase -q -i HEAD~1", "rebase"),
        ("git merge -q -s ours --no-commit side", "merge"),
        ("git cherry-pick --allow-empty HEAD", "cherry-pick"),
        ("git revert --no-commit HEAD; git reset -q --soft HEAD; git update-ref REVERT_HEAD HEAD", "revert"),
    ],
)
def test_what_a_person_has_begun_in_a_checkout_and_not_finished_is_told(
    git: Git, project: Path, tmp_path: Path, begin: str, act: str
) -> None:
    shell("git worktree add -q ../linked -b linked; git branch side HEAD~1", project)
    shell("git checkout -q side; git commit -q --allow-empty -m side; git checkout -q main", project)
    linked = tmp_path / "linked"
    assert unfinished_act(in_checkout(git, linked)) == ""
    shell(begin, linked, check=False)
    assert unfinished_act(in_checkout(git, linked)) == act
    assert unfinished_act(in_checkout(git, project)) == ""


def test_the_locks_of_a_checkout_and_of_its_branch_are_found(git: Git, project: Path, tmp_path: Path) -> None:
    shell("git worktree add -q ../linked -b linked", project)
    linked = tmp_path / "linked"
    assert find_lock(git, "linked", [linked]) is None
    for lock in (".git/worktrees/linked/index.lock", ".git/worktrees/linked/HEAD.lock", ".git/refs/heads/linked.lock"):
        (project / lock).write_text("")
        assert find_lock(git, "linked", [linked]) == project / lock
        assert find_lock(git, "main", [project]) is None
        (project / lock).unlink()


@pytest.mark.parametrize(
    "change",
    [
        "git commit -q --allow-empty -m x",
        "echo > .git/index.lock",
        "echo x > x; git add x",
        "git config user.name Eve",
    ],
)
def test_the_mark_of_a_landing_changes_with_what_decides_about_it(git: Git, project: Path, change: str) -> None:
    before = landing_mark(git, "main", [project])
    (project / "untracked").write_text("x")
    assert landing_mark(git, "main", [project]) == before
    shell(change, project)
    assert landing_mark(git, "main", [project]) != before


def test_changes_in_a_checkout_are_listed_without_touching_its_index(git: Git, project: Path) -> None:
    here = replace(git, work_tree=project, index=git.git_dir / "index")
    assert dirty_paths(here) == []
    shell("echo x >> two; touch three; echo new > new; echo s > staged; git add staged", project)
    before = (git.git_dir / "index").read_bytes()
    assert sorted(dirty_paths(here)) == ["staged", "two"]
    assert (git.git_dir / "index").read_bytes() == before


def test_untracked_files_in_the_way_are_told(git: Git, project: Path) -> None:
    here = replace(git, work_tree=project, index=git.git_dir / "index")
    tip = commit_files(git, head(git), **{"a": "1", "dir/b": "2", "c/d/e": "3", "free": "4", "ignored": "5"})
    shell("echo mine > a; mkdir dir; echo mine > dir/b; echo file > c; echo x > other; echo i > ignored", project)
    shell("echo ignored > .git/info/exclude", project)
    assert sorted(untracked_in_the_way(here, tip)) == ["a", "c", "dir/b", "ignored"]


def test_a_clean_checkout_moves_with_its_branch(git: Git, project: Path, tmp_path: Path) -> None:
    old = head(git)
    new = commit_files(git, old, two="changed\n", old=None)
    for name in ("post-update", "post-receive", "update", "pre-receive", "push-to-checkout", "reference-transaction"):
        hook = project / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)
    (project / "untracked").write_text("mine\n")
    push_into_checkout(git, project / ".git", new, "main", old)
    assert head(git) == new
    assert (project / "two").read_text() == "changed\n"
    assert not (project / "old").exists()
    assert shell("git -c core.hooksPath=/dev/null status --porcelain", project) == "?? untracked"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("mess", ["echo x >> two", "echo x >> three; git add three", "echo u > fresh"])
def test_a_checkout_that_is_not_clean_is_left_alone(git: Git, project: Path, mess: str) -> None:
    old = head(git)
    new = commit_files(git, old, two="changed\n", fresh="from the commit\n")
    shell(mess, project)
    before = contents(project), (git.git_dir / "index").read_bytes()
    with pytest.raises(CheckoutInTheWayError):
        push_into_checkout(git, project, new, "main", old)
    assert head(git) == old
    assert (contents(project), (git.git_dir / "index").read_bytes())[0] == before[0]


def test_a_branch_that_was_moved_is_not_moved_again(git: Git, project: Path) -> None:
    old = head(git)
    new = commit_files(git, old, two="changed\n")
    shell("echo y > y; git add y; git commit -q -m person", project)
    moved = head(git)
    with pytest.raises(RefMovedError):
        push_into_checkout(git, project, new, "main", old)
    with pytest.raises(RefusedError, match="does not build on"):
        push_into_checkout(git, project, new, "main", moved)
    assert head(git) == moved


def test_a_person_who_commits_after_the_push_keeps_the_work(git: Git, project: Path) -> None:
    old = head(git)
    push_into_checkout(git, project, commit_files(git, old, fresh="work\n"), "main", old)
    shell("echo mine >> two; git commit -qam mine", project)
    assert read_blob(git, "main", "fresh", 100) == b"work\n"


# --- the reader: one process for many questions ---


@pytest.fixture
def asked(git: Git) -> Iterator[Git]:
    """The same door with a reader, which has been asked already."""
    with reading(git) as asked:
        assert rev_parse(asked, "refs/heads/main") == head(git)
        yield asked


def reader_of(git: Git) -> Reader:
    assert git.reader is not None
    return git.reader


def readers_below(pid: int) -> list[int]:
    """The processes that answer for a reader of this process."""
    pids = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for each in pids if b"--batch-command" in Path(f"/proc/{each}/cmdline").read_bytes()]


def test_a_reader_is_one_process_that_is_started_when_it_is_asked_and_ends_with_the_block(git: Git) -> None:
    with reading(git) as asked:
        assert readers_below(os.getpid()) == []
        assert {rev_parse(asked, "refs/heads/main") for _ in range(5)} == {head(git)}
        assert len(readers_below(os.getpid())) == 1
    assert readers_below(os.getpid()) == []


@pytest.mark.parametrize("how", ["loose", "pack-refs --all --prune", "repack -q -ad", "gc -q --prune=now"])
def test_a_reader_sees_what_others_wrote_after_it_was_started(asked: Git, git: Git, how: str) -> None:
    commit = commit_files(git, head(git), new="new\n")
    update_ref(git, "refs/heads/side", commit, "")
    if how != "loose":
        git.run(*how.split())
    assert rev_parse(asked, "refs/heads/side") == commit
    assert rev_parse(asked, f"{commit}:new") is not None
    assert tree_of(asked, commit) == git.text("rev-parse", f"{commit}^{{tree}}")
    moved = commit_files(git, commit, new="newer\n")
    update_ref(git, "refs/heads/side", moved, commit)
    assert rev_parse(asked, "refs/heads/side") == moved
    blob = rev_parse(asked, "refs/heads/side:new")
    assert blob is not None
    assert reader_of(asked).contents([blob, moved, "1" * 40])[::2] == [b"newer\n", None]
    delete_refs(git, [("refs/heads/side", moved)])
    assert rev_parse(asked, "refs/heads/side") is None


def test_a_reader_whose_process_was_killed_starts_another(asked: Git, git: Git) -> None:
    (before,) = readers_below(os.getpid())
    os.kill(before, signal.SIGKILL)
    assert rev_parse(asked, "refs/heads/main") == head(git)
    (after,) = readers_below(os.getpid())
    assert after != before


def test_a_reader_notices_that_another_repository_lies_in_the_place(asked: Git, git: Git, tmp_path: Path) -> None:
    before = head(git)
    git.run("repack", "-q", "-ad")
    assert tree_of(asked, before)  # It has the pack open by now.
    git.git_dir.rename(tmp_path / "away")
    with pytest.raises(GitError, match="No such file"):
        rev_parse(asked, "refs/heads/main")
    shell("git init -q -b main; git commit -q --allow-empty -m other", git.git_dir.parent)
    assert rev_parse(asked, "refs/heads/main") == head(git) != before
    assert rev_parse(asked, before) is None


def test_names_that_cannot_be_asked_for_name_nothing(asked: Git, git: Git) -> None:
    odd = ["", "\n", "HEAD\n", "HEAD\ninfo HEAD", "HEAD\r", "HEAD\0x", "-", " ", "a b", "a 5", "--all", "\udcff", "ü"]
    names = [word for name in odd for word in (name, "HEAD")]
    assert reader_of(asked).find(names) == [None, head(git)] * len(odd)


def test_contents_come_back_byte_by_byte(asked: Git, git: Git) -> None:
    contents = [b"", b"\n", b"no line end", b"x missing\n", bytes(range(256)), b"z" * 1_000_000]
    oids = [git.run("hash-object", "-w", "--stdin", stdin=data).out.decode().strip() for data in contents]
    found = reader_of(asked).contents([*oids, "1" * 40, *oids])
    assert found == [*contents, None, *contents]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pages", [1, 16])
def test_thousands_of_names_at_once_do_not_dead_lock(asked: Git, git: Git, pages: int) -> None:
    (pid,) = readers_below(os.getpid())
    for number in (0, 1):  # A user who has many pipes open gets small ones.
        with open(f"/proc/{pid}/fd/{number}", "rb" if number else "wb") as pipe:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, pages * 4096)
    large = git.run("hash-object", "-w", "--stdin", stdin=b"z" * 20_000).out.decode().strip()
    assert reader_of(asked).contents([large] * 300) == [b"z" * 20_000] * 300
    assert reader_of(asked).find(["HEAD", "1" * 40] * 2000) == [head(git), None] * 2000
    assert reader_of(asked).find([f"HEAD:{'x/' * 2000}y", "HEAD"] * 100) == [None, head(git)] * 100
    assert reader_of(asked).find(["HEAD:" + "x" * 100_000, "HEAD"]) == [None, head(git)]
    assert reader_of(asked).find([]) == []
    assert readers_below(os.getpid()) == [pid]


def answer_of(git: Git, ask: Callable[[Git, str], str | None], name: str) -> str | None:
    """What is answered; "error" for an error."""
    try:
        return ask(git, name)
    except GitError:
        return "error"


def test_with_and_without_a_reader_the_answers_are_the_same(git: Git, asked: Git) -> None:
    commit = head(git)
    blob, tree = git.text("rev-parse", "HEAD:two"), git.text("rev-parse", "HEAD^{tree}")
    git.run("tag", "-a", "-m", "it", "tagged", commit)
    git.run("update-ref", "refs/tags/both", git.text("rev-parse", "HEAD~1"))
    git.run("update-ref", "refs/heads/both", commit)
    git.run("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git.run("symbolic-ref", "refs/heads/dangling", "refs/heads/nowhere")
    names = ["HEAD", "main", "refs/heads/main", "refs/heads/alias", "refs/heads/dangling", "refs/heads/none", "tagged"]
    names += ["refs/tags/tagged^{commit}", "refs/tags/tagged^{tree}", "both", "refs/heads/both", "main^{blob}"]
    names += [commit, blob, tree, commit[:12], "1" * 40, "1" * 12, f"{'1' * 40}^{{commit}}", commit.upper(), "HEAD:"]
    names += [f"{commit}^{{commit}}", f"{tree}^{{commit}}", f"{blob}^{{tree}}", f"{commit}^{{tree}}", "HEAD:two"]
    names += ["HEAD:no such thing", "HEAD:two/below", "HEAD~1", "HEAD~9", "main^", "refs/heads/", "", "no such thing"]
    for ask in (rev_parse, tree_of):
        for name in names:
            told = answer_of(git, ask, name)
            assert answer_of(asked, ask, name) == told, f"{ask.__name__} of {name!r}"
            assert told is not None or ask is rev_parse


def test_a_short_id_that_several_objects_share_names_nothing(git: Git, asked: Git) -> None:
    # Of so many two begin with the same four digits. They go in by one stream, which is quick.
    blobs = "".join(f"blob\ndata {len(str(number))}\n{number}\n" for number in range(1200)).encode()
    git.run("fast-import", "--quiet", stdin=blobs)
    listed = git.text("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    oids = listed.split()
    starts = Counter(oid[:4] for oid in oids)
    shared = next(start for start, count in starts.items() if count > 1)
    alone = next(oid for oid in oids if starts[oid[:4]] == 1)
    assert rev_parse(asked, shared) is rev_parse(git, shared) is None
    assert rev_parse(asked, alone[:10]) == rev_parse(git, alone[:10]) == alone


def test_the_reader_of_a_repository_does_not_answer_for_its_other_checkouts(
    git: Git, asked: Git, project: Path, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    shell(f"git worktree add -q -b side {linked} HEAD~1", project)
    here, there = in_checkout(asked, project), in_checkout(asked, linked)
    assert rev_parse(here, "HEAD") == head(git)
    assert rev_parse(there, "HEAD") == rev_parse(git, "refs/heads/side") != head(git)
    assert tree_of(there, "HEAD") == tree_of(git, "refs/heads/side")
    assert here.reader is asked.reader
