"""Agents' trees: what they hold when ready, what is taken out of them, and that nothing is lost on the way."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_helpers import wait_until
from tree_helpers import WHEN, Farm, contents, in_child, shell

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import is_ancestor, rev_parse, tree_of
from orchestrator.adapters.harvest import is_untouched
from orchestrator.adapters.mirrors import hold_lease, refresh_mirror
from orchestrator.adapters.worktrees import (
    Prepared,
    TreeSpec,
    prepare_tree,
    read_record,
    take_place,
)
from orchestrator.errors import BusyError, InvalidFileError, OrcError, RefusedError, UnavailableError


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    """A project, its mirror and room for trees."""
    return Farm(tmp_path)


# --- a tree that is ready ---


def test_a_new_tree_is_a_clean_clone_on_its_branch(farm: Farm) -> None:
    spec, prepared = farm.prepare()
    assert prepared.fresh
    assert contents(spec.path) == farm.files
    assert shell("git status --porcelain --branch", spec.path) == "## orc/job-1"
    assert shell("git rev-parse HEAD; git remote; git config gc.auto", spec.path).split() == [farm.base, "0"]
    record = json.loads(spec.record.read_text())
    assert {key: record[key] for key in ("job", "number", "base", "agent", "project", "sealed", "tree")} == {
        "job": "job-1",
        "number": 1,
        "base": farm.base,
        "agent": "engineer",
        "project": "main",
        "sealed": None,
        "tree": tree_of(farm.mirror, farm.base),
    }


def test_an_agent_can_use_git_as_usual(farm: Farm) -> None:
    spec, _ = farm.prepare()
    script = (
        "echo x >> src/a.py; git add -A; git commit -q -m work; git branch side; git log --oneline; git diff HEAD~1"
    )
    assert "+x" in shell(script, spec.path)
    assert shell("git status --porcelain; git fsck", spec.path) == ""


def test_a_spec_reads_what_it_writes_and_refuses_what_is_wrong(farm: Farm) -> None:
    spec = farm.spec(keep=["node_modules"], include=[{"from": "/etc/hostname", "to": "a/b"}], reuse="1" * 40)
    assert spec.keep == ("node_modules/",)
    data = spec.to_json()
    assert TreeSpec.from_json(data) == spec
    for key, value in (
        ("commit", "HEAD"),
        ("commit", "--all"),
        ("path", "relative"),
        ("mode", "other"),
        ("branch", "../x"),
        ("branch", "-f"),
        ("seal_ref", "refs/heads/main"),
        ("seal_ref", "refs/orc/../heads/main"),
        ("keep", ["!x"]),
        ("include", [{"from": "/etc/hostname", "to": "../x"}]),
        ("include", [{"from": "/etc/hostname", "to": ".git/hooks/x"}]),
    ):
        with pytest.raises(InvalidFileError):
            TreeSpec.from_json(data | {key: value})


def test_an_export_has_the_files_and_no_repository(farm: Farm) -> None:
    spec = farm.spec(mode="export", seal_ref=None, read_only=True, path=str(farm.root / "check"))
    assert prepare_tree(spec).fresh
    assert not (spec.path / ".git").exists()
    assert (spec.path / "src" / "a.py").stat().st_mode & 0o777 == 0o444
    assert (spec.path / "run.sh").stat().st_mode & 0o777 == 0o555
    inode = (spec.path / "src" / "a.py").stat().st_ino
    shell("chmod u+w docs/d.md; echo changed > docs/d.md; mkdir made; echo x > made/x; git init -q", spec.path)
    assert not prepare_tree(spec).fresh
    assert sorted(contents(spec.path, but=())) == sorted(farm.files)
    assert (spec.path / "docs" / "d.md").read_text() == "words\n"
    assert (spec.path / "src" / "a.py").stat().st_ino == inode
    with pytest.raises(RefusedError):
        farm.seal(spec)


def test_included_files_are_put_in_and_never_taken_out(farm: Farm) -> None:
    secret = farm.root / "env"
    secret.write_text("KEY=1\n")
    include = [{"from": str(secret), "to": "conf/.env"}]
    spec, _ = farm.prepare(include=include)
    assert (spec.path / "conf" / ".env").read_text() == "KEY=1\n"
    assert shell("git status --porcelain", spec.path) == ""
    shell("echo '!.env' > .gitignore; echo code > conf/code; echo KEY=2 > conf/.env", spec.path)
    assert farm.paths(farm.seal(spec).commit) & {"conf/.env", "conf/code"} == {"conf/code"}
    spec, _ = farm.prepare(include=include)
    shell("git add -f conf/.env; git commit -q -m stolen; echo x > x", spec.path)
    sealed = farm.seal(spec)
    assert not sealed.own_commits
    assert "conf/.env" not in farm.paths(sealed.commit)
    assert farm.mirror.text("log", "--format=%h", sealed.commit, "--", "conf/.env") == ""


def test_what_was_lent_is_left_out_also_when_it_would_not_be_lent_any_more(farm: Farm) -> None:
    secret = farm.root / "env"
    secret.write_text("KEY=1\n")
    spec, _ = farm.prepare(include=[{"from": str(secret), "to": "conf/.env"}], keep=["cache"])
    shell("echo nothing > .gitignore; echo code > conf/code; mkdir cache; echo x > cache/x", spec.path)
    assert farm.paths(farm.seal(replace(spec, include=(), keep=())).commit) >= {"conf/code"}
    assert not farm.paths(farm.value(str(spec.seal_ref))) & {"conf/.env", "cache/x"}


def test_an_include_does_not_follow_a_link_of_the_project(farm: Farm) -> None:
    outside = farm.root / "outside"
    outside.mkdir()
    shell(f"ln -s {outside} conf; git add -A; git commit -q -m link", farm.project)
    with pytest.raises(UnavailableError):
        farm.prepare(commit=shell("git rev-parse HEAD", farm.project))
    fetch_base(farm)
    with pytest.raises(RefusedError):
        farm.prepare(include=[{"from": "/etc/hostname", "to": "conf/x"}])
    assert list(outside.iterdir()) == []


def fetch_base(farm: Farm) -> None:
    """Take the project's main as the new base."""
    refresh_mirror(farm.mirror, farm.project / ".git", ["refs/heads/main"])
    farm.base = farm.value("refs/heads/main")
    farm.files = contents(farm.project)


def test_a_later_attempt_starts_from_the_earlier_snapshot(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("echo first > made", spec.path)
    first = farm.seal(spec)
    farm.prepare()
    again, _ = farm.prepare(reuse=first.commit)
    assert (again.path / "made").read_text() == "first\n"
    assert shell("git rev-parse HEAD", again.path) == first.commit
    assert farm.seal(again).commit == first.commit
    shell("echo second >> made", again.path)
    second = farm.seal(again)
    assert is_ancestor(farm.mirror, first.commit, second.commit)
    assert farm.file(second.commit, "made") == "first\nsecond"


# --- recycling ---


def test_a_recycled_tree_holds_exactly_the_new_commit(farm: Farm) -> None:
    spec, _ = farm.prepare(keep=["cache/"])
    shell(
        "echo x >> src/a.py; rm run.sh; mkdir -p new/deep cache out; echo n > new/deep/n; echo c > cache/c;"
        "echo o > out/o; chmod +x docs/d.md; rm link; ln -s elsewhere link; mkfifo pipe; mkdir empty;"
        "mkdir -p src/.git; echo x > src/.git/x; git -C new init -q",
        spec.path,
    )
    spec, prepared = farm.prepare(keep=["cache/"])
    assert not prepared.fresh
    assert contents(spec.path) == farm.files | {"cache/c": contents(spec.path)["cache/c"]}
    assert {path.name for path in spec.path.iterdir()} == {
        *(path.split("/")[0] for path in farm.files),
        "cache",
        ".git",
    }
    assert not (spec.path / "src" / ".git").exists()


def test_a_link_in_the_place_of_a_kept_folder_is_not_kept(farm: Farm) -> None:
    spec, _ = farm.prepare(keep=["cache/"])
    (farm.root / "outside").mkdir()
    (spec.path / "cache").symlink_to(farm.root / "outside")
    farm.prepare(keep=["cache/"])
    assert not (spec.path / "cache").is_symlink()


def test_a_warm_recycle_does_not_write_unchanged_files_again(farm: Farm) -> None:
    shell(
        "mkdir many; for n in $(seq 2000); do echo $n > many/$n; done; git add -A; git commit -q -m many", farm.project
    )
    fetch_base(farm)
    spec, _ = farm.prepare()
    shell("echo changed > many/7; rm many/8; echo new > many/new; git add -A; git commit -q -m work", spec.path)
    farm.seal(spec)

    def identities() -> dict[str, tuple[int, int]]:
        found = {path.name: path.stat() for path in (spec.path / "many").iterdir()}
        return {name: (status.st_ino, status.st_mtime_ns) for name, status in found.items()}

    before = identities()
    _, prepared = farm.prepare()
    after = identities()
    assert not prepared.fresh
    assert contents(spec.path) == farm.files
    assert {name for name in after if after[name] != before.get(name)} == {"7", "8"}


def test_a_file_whose_times_were_put_back_is_noticed(farm: Farm) -> None:
    spec, _ = farm.prepare()
    path = spec.path / "src" / "a.py"
    status = path.stat()
    path.write_text("eno\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert farm.file(farm.seal(spec).commit, "src/a.py") == "eno"
    farm.prepare()
    assert path.read_text() == "one\n"


def test_unsealed_work_is_sealed_before_a_tree_is_recycled(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("echo dirty >> src/a.py; echo new > new; git commit -qam half; echo late > late", spec.path)
    _, prepared = farm.prepare()
    kept = farm.value(str(spec.seal_ref))
    assert {"new", "late"} <= farm.paths(kept)
    assert "half" in farm.mirror.text("log", "--format=%s", kept)
    assert any(str(spec.seal_ref) in note for note in prepared.notes)


def test_what_was_written_after_the_seal_is_rescued(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("echo one > made", spec.path)
    sealed = farm.seal(spec)
    shell("echo two > made", spec.path)
    _, prepared = farm.prepare()
    assert farm.value(str(spec.seal_ref)) == sealed.commit
    (rescued,) = farm.refs("refs/orc/rescue/engineer/")
    assert farm.file(rescued, "made") == "two"
    assert any("refs/orc/rescue/" in note for note in prepared.notes)


def test_a_tree_of_which_nothing_is_known_is_rescued(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("echo mine > mine; git add -A; git commit -q -m mine; echo more > more", spec.path)
    spec.record.unlink()
    assert farm.prepare()[1].fresh
    (rescued,) = farm.refs("refs/orc/rescue/engineer/")
    assert {"mine", "more", "run.sh"} <= farm.paths(rescued)
    assert is_ancestor(farm.mirror, farm.base, rescued)


def test_sealed_work_leaves_no_rescue_refs_behind(farm: Farm) -> None:
    for number in range(3):
        spec, _ = farm.prepare()
        shell(f"echo {number} > made; git add -A; git commit -q -m made; echo dirty > dirty", spec.path)
        farm.seal(spec)
    farm.prepare()
    farm.prepare()
    assert farm.refs("refs/orc/rescue/") == []
    assert len(farm.refs("refs/orc/attempts/")) == 3


def test_work_too_large_to_save_is_set_aside_whole_and_blocks_nobody(farm: Farm) -> None:
    spec, _ = farm.prepare()
    with (spec.path / "big").open("wb") as file:
        file.truncate(600 * 2**20)
    _, prepared = farm.prepare()
    assert any("too much work" in note and "600 MiB, the limit is 512 MiB" in note for note in prepared.notes)
    assert not (spec.path / "big").exists()
    assert [path.stat().st_size for path in spec.path.parent.parent.glob(".kept/*/big")] == [600 * 2**20]


def test_a_tree_with_line_ends_that_git_would_change_is_clean(farm: Farm) -> None:
    shell(
        "printf 'a\\r\\nb\\r\\n' > dos.txt; git add dos.txt; git commit -q -m dos;"
        "echo '*.txt text' > .gitattributes; git add .gitattributes; git commit -q -m attributes",
        farm.project,
    )
    fetch_base(farm)
    spec, _ = farm.prepare()
    shell("touch dos.txt", spec.path)
    assert farm.seal(spec).commit == farm.base
    spec, prepared = farm.prepare()
    assert not prepared.fresh
    assert (spec.path / "dos.txt").read_bytes() == b"a\r\nb\r\n"


# --- sealing ---


def test_work_without_a_commit_becomes_one_by_the_agent(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell(
        "echo x >> src/a.py; rm run.sh; mkdir d; echo n > 'd/w e\tird'; chmod +x docs/d.md; rm -r src/deep;"
        "echo file > src/deep; echo log > x.log; mkdir out; echo o > out/o; printf 'b' > \"$(printf 'caf\\351')\"",
        spec.path,
    )
    sealed = farm.seal(spec)
    assert not sealed.own_commits
    assert farm.value(str(spec.seal_ref)) == sealed.commit
    shown = farm.mirror.text("show", "-s", "--format=%P|%an|%ae|%cn|%ct", sealed.commit)
    assert shown == f"{farm.base}|engineer|engineer@agents.orc.invalid|orc|{int(WHEN.timestamp())}"
    raw = farm.mirror.text("diff-tree", "-r", "-z", "--no-renames", "--raw", farm.base, sealed.commit)
    changes = raw.split("\0")[:-1]
    assert dict(zip(changes[1::2], (facts[-1] for facts in changes[::2]), strict=True)) == {
        "caf\udce9": "A",
        "d/w e\tird": "A",
        "docs/d.md": "M",
        "run.sh": "D",
        "src/a.py": "M",
        "src/deep": "A",
        "src/deep/b.py": "D",
    }
    record = read_record(spec.record)
    assert record is not None
    assert record.sealed == sealed.commit


def test_an_agents_commits_are_kept_and_leftovers_follow_them(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell(
        "echo 1 > one; git add -A; git commit -q -m first; echo 2 > two; git add -A; git commit -q -m second", spec.path
    )
    tip = shell("git rev-parse HEAD", spec.path)
    sealed = farm.seal(spec)
    assert (sealed.commit, sealed.own_commits) == (tip, True)
    shell("echo 3 > three", spec.path)
    sealed = farm.seal(spec)
    log = farm.mirror.text("log", "--format=%s", f"{farm.base}..{sealed.commit}").splitlines()
    assert log == ["uncommitted work of engineer", "second", "first"]


def test_nothing_changed_is_no_commit(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("touch src/a.py; echo log > x.log", spec.path)
    sealed = farm.seal(spec)
    assert (sealed.commit, sealed.own_commits) == (farm.base, False)


def test_sealing_twice_gives_the_same_commit(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("echo 1 > one; git add -A; git commit -q -m first; echo 2 > two", spec.path)
    assert farm.seal(spec) == farm.seal(spec)
    record = read_record(spec.record)
    assert record is not None
    record.change(sealed=None)
    assert farm.seal(spec).commit == farm.value(str(spec.seal_ref))


def test_a_history_that_does_not_build_on_the_base_is_squashed_and_rescued(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("git checkout -q --orphan alone; echo x > x; git add -A; git commit -q -m alone", spec.path)
    sealed = farm.seal(spec)
    assert not sealed.own_commits
    assert farm.mirror.text("rev-parse", f"{sealed.commit}^") == farm.base
    assert "x" in farm.paths(sealed.commit)
    assert farm.mirror.text("log", "--format=%s", *farm.refs("refs/orc/rescue/")) == "alone"
    assert any("does not build" in note for note in sealed.notes)


def test_other_branches_and_the_stash_are_rescued(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell(
        "git checkout -q -b side; echo s > side; git add -A; git commit -q -m side; git pack-refs --all;"
        "git checkout -q orc/job-1; echo stashed > src/a.py; git stash -q",
        spec.path,
    )
    sealed = farm.seal(spec)
    assert sealed.commit == farm.base
    subjects = farm.mirror.text("log", "--no-walk", "--format=%s", *farm.refs("refs/orc/rescue/")).splitlines()
    assert sorted(subject.split(":")[0] for subject in subjects) == ["WIP on orc/job-1", "side"]
    farm.seal(spec)
    farm.prepare()
    assert len(farm.refs("refs/orc/rescue/")) == 2


def test_a_repository_inside_the_tree_is_taken_as_plain_files(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell(
        "mkdir -p sub/node_modules; cd sub; git init -q; echo x > x; echo '*.tmp' > .gitignore; echo t > a.tmp;"
        "echo '*[a]' > 'we*[a]ird'; git add -A; git commit -q -m inner; cd ..; git add sub 2>/dev/null;"
        "git commit -q -m gitlink;"
        "git init -q src/deep; git init -q empty; echo e > empty/e",
        spec.path,
    )
    sealed = farm.seal(spec)
    assert {"sub/x", "sub/.gitignore", "sub/we*[a]ird", "empty/e", "src/deep/b.py"} <= farm.paths(sealed.commit)
    assert "sub/a.tmp" not in farm.paths(sealed.commit)
    assert "160000" not in farm.mirror.text("ls-tree", "-r", sealed.commit)
    assert any("sub/" in note for note in sealed.notes)


def test_too_much_work_is_refused_in_words(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("for n in 1 2 3 4; do echo 12345 > f$n; done", spec.path)
    with pytest.raises(OrcError, match="4 changed files, the limit is 3"):
        farm.seal(spec, max_files=3)
    with pytest.raises(OrcError, match="24 bytes, the limit is 23 bytes"):
        farm.seal(spec, max_bytes=23)
    assert farm.refs("refs/orc/attempts/") == []
    farm.seal(spec, max_files=4, max_bytes=10_000)


def test_a_seal_never_overwrites_other_work(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("echo a > a", spec.path)
    first = farm.seal(spec)
    other = farm.spec("other", seal_ref=spec.seal_ref)
    prepare_tree(other)
    shell("echo b > b", other.path)
    with pytest.raises(RefusedError, match="holds other work"):
        farm.seal(other)
    assert farm.value(str(spec.seal_ref)) == first.commit
    (rescued,) = farm.refs("refs/orc/rescue/other/")
    assert "b" in farm.paths(rescued)


def test_a_tree_that_serves_another_run_is_not_sealed_for_this_one(farm: Farm) -> None:
    spec, _ = farm.prepare()
    farm.prepare()
    with pytest.raises(RefusedError, match="does not hold the work of this run"):
        farm.seal(spec)


def test_a_tree_in_use_is_told(farm: Farm) -> None:
    spec, _ = farm.prepare()
    with hold_lease(spec.beside("lock"), timeout=0, what="x") as first:
        assert first > 0
        with pytest.raises(BusyError), hold_lease(spec.beside("lock"), timeout=0.1, what="the tree"):
            pass


def test_a_tree_that_vanished_is_told_and_built_anew(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shutil.rmtree(spec.path)
    with pytest.raises(OrcError, match="not a folder"):
        farm.seal(spec)
    assert farm.prepare()[1].fresh


# --- what others do meanwhile ---


def test_a_persons_gc_does_not_break_a_tree(farm: Farm) -> None:
    shell("git checkout -q -b feature; echo f > f; git add -A; git commit -q -m feature", farm.project)
    refresh_mirror(farm.mirror, farm.project / ".git", ["refs/heads/feature"])
    spec, _ = farm.prepare(commit=farm.value("refs/heads/feature"))
    shell(
        "git checkout -q main; git branch -q -D feature; git reflog expire --all --expire=now; git gc -q --prune=now",
        farm.project,
    )
    assert rev_parse(farm.mirror, farm.value("refs/heads/feature")) is not None
    assert shell("git cat-file -t HEAD", spec.path) == "commit"
    shell("git fsck --strict; echo more > more; git add -A; git commit -q -m more", spec.path)
    assert {"f", "more"} <= farm.paths(farm.seal(spec).commit)


def test_an_agents_gc_leaves_the_mirror_and_its_siblings_whole(farm: Farm) -> None:
    spec, _ = farm.prepare()
    sibling, _ = farm.prepare("sibling")
    before = farm.project_files()
    shell(
        "echo x > x; git add -A; git commit -q -m x; git reset -q --hard HEAD~1; git reflog expire --all --expire=now;"
        "git gc -q --prune=now; git repack -adq; git prune --expire=now; git branch -q -f other",
        spec.path,
    )
    farm.mirror.run("fsck", "--strict")
    shell("git fsck --strict; git status", sibling.path)
    assert farm.seal(spec).commit == farm.base
    assert farm.project_files() == before


def test_sixteen_trees_are_prepared_and_sealed_at_once(farm: Farm) -> None:
    specs = [farm.spec(f"agent-{number}") for number in range(16)]
    for act in ("prepare", "seal"):
        children = [in_child(act, spec) for spec in specs]
        for child in children:
            _, errors = child.communicate(timeout=50)
            assert child.returncode == 0, errors
        for spec in specs:
            shell("echo mine > $(basename $(dirname $PWD))", spec.path)
    for number, spec in enumerate(specs):
        assert contents(spec.path).keys() - farm.files.keys() == {f"agent-{number}"}
        assert f"agent-{number}" in farm.paths(farm.value(str(spec.seal_ref)))
    farm.mirror.run("fsck", "--strict")


# --- crashes ---


def sample(count: int, points: int) -> list[int]:
    """Some of the numbers 1 to `count`, the first and the last among them."""
    return sorted({1 + round(step * (count - 1) / (points - 1)) for step in range(points)})


def steps_of(act: str, spec: TreeSpec) -> int:
    """How many changes an act makes when nothing stops it."""
    child = in_child(act, spec)
    out, errors = child.communicate(timeout=50)
    assert child.returncode == 0, errors
    return int(out)


def dirty(spec: TreeSpec) -> None:
    """Work like no other, so that none of it is known from before."""
    shell(f"echo {spec.branch} > work; git add -A; git commit -q -m own; echo more > more; rm run.sh", spec.path)


@pytest.mark.slow
def test_a_killed_prepare_is_put_right_by_the_next_and_loses_nothing(farm: Farm) -> None:
    spec, _ = farm.prepare()
    dirty(spec)
    farm.prepare()
    spec, _ = farm.prepare()
    dirty(spec)
    steps = steps_of("prepare", farm.spec())
    for fatal in sample(steps, 14):
        old, _ = farm.prepare()
        dirty(old)
        new = farm.spec()
        child = in_child("prepare", new, fatal=fatal)
        child.communicate(timeout=50)
        # The last steps are counted loosely: how many folders a clone's objects lie in depends on their names.
        assert child.returncode == -9 or fatal > 0.9 * steps, fatal
        prepare_tree(new, when=WHEN)
        assert contents(new.path) == farm.files, fatal
        assert shell("git status --porcelain; git rev-parse HEAD", new.path) == farm.base
        kept = [*farm.refs("refs/orc/rescue/"), farm.value(str(old.seal_ref))]
        assert any({"work", "more"} <= farm.paths(commit) for commit in kept), fatal
        assert farm.seal(new).commit == farm.base
    farm.mirror.run("fsck", "--strict")


def test_a_killed_seal_can_be_done_again(farm: Farm) -> None:
    spec, _ = farm.prepare()
    dirty(spec)
    farm.seal(spec)
    spec, _ = farm.prepare()
    dirty(spec)
    steps = steps_of("seal", spec)
    for fatal in sample(steps, 10):
        spec, _ = farm.prepare()
        dirty(spec)
        child = in_child("seal", spec, fatal=fatal)
        child.communicate(timeout=50)
        assert child.returncode == -9 or fatal > 0.9 * steps, fatal
        sealed = farm.seal(spec)
        assert sealed.own_commits
        assert farm.value(str(spec.seal_ref)) == sealed.commit
        assert {"work", "more"} <= farm.paths(sealed.commit)
        assert "run.sh" not in farm.paths(sealed.commit)
    assert farm.refs("refs/orc/rescue/") == []


def test_lock_files_of_a_killed_git_are_no_obstacle(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("echo a > a", spec.path)
    ref = farm.mirror.git_dir / f"{spec.seal_ref}.lock"
    ref.parent.mkdir(parents=True)
    for lock in (ref, farm.mirror.git_dir / "packed-refs.lock", Path(f"{spec.index}.lock")):
        lock.touch()
    assert "a" in farm.paths(farm.seal(spec).commit)


def test_a_broken_index_is_no_obstacle(farm: Farm) -> None:
    spec, _ = farm.prepare()
    shell("echo a > a", spec.path)
    spec.index.write_bytes(b"")
    assert farm.paths(farm.seal(spec).commit) == {*farm.paths(farm.base), "a"}
    spec.index.write_bytes(b"DIRC rubbish")
    farm.prepare()
    assert contents(spec.path) == farm.files


# --- places that are used again ---


def export_of(farm: Farm, commit: str = "", **changes: Any) -> TreeSpec:
    """An export in the first place of the pool of checks."""
    about = {"mode": "export", "seal_ref": None, "path": str(farm.root / "checks" / "1"), "commit": commit or farm.base}
    return farm.spec(record=str(farm.root / "checks" / "1.json"), **about | changes)


def next_commit(farm: Farm, script: str) -> str:
    """A later commit of the project, in the mirror."""
    shell(f"{script}; git add -A; git commit -q -m later", farm.project)
    refresh_mirror(farm.mirror, farm.project / ".git", ["refs/heads/main"])
    farm.files = contents(farm.project)
    return farm.value("refs/heads/main")


def test_the_first_place_that_nobody_holds_is_taken_and_is_free_when_it_is_let_go(farm: Farm) -> None:
    tree = export_of(farm).to_json() | {"path": str(farm.root / "pool"), "pool": True}
    first, one = take_place(tree)
    second, two = take_place(tree)
    assert one is not None
    assert two is not None
    assert [Path(place["path"]).name for place in (first, second)] == ["1", "2"]
    assert [Path(place["record"]).name for place in (first, second)] == ["1.json", "2.json"]
    os.close(one)
    again, lock = take_place(tree)
    assert again == first
    assert lock is not None
    for each in (two, lock):
        os.close(each)


def test_a_place_is_free_when_the_process_that_had_it_was_killed(farm: Farm) -> None:
    tree = export_of(farm).to_json() | {"path": str(farm.root / "pool"), "pool": True}
    code = "import json, sys; from orchestrator.adapters.worktrees import take_place\n"
    code += "print(take_place(json.loads(sys.argv[1]))[0]['path'], flush=True); sys.stdin.read()"
    argv, root = [sys.executable, "-c", code, json.dumps(tree)], str(Path(__file__).parents[2])
    about: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": root}, **about) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == str(farm.root / "pool" / "1")
        place, lock = take_place(tree)
        assert lock is not None
        os.close(lock)
        assert place["path"] == str(farm.root / "pool" / "2")
        other.kill()
    place, lock = take_place(tree)
    assert lock is not None
    os.close(lock)
    assert place["path"] == str(farm.root / "pool" / "1")


def test_a_tree_without_a_pool_keeps_its_place(farm: Farm) -> None:
    tree = export_of(farm).to_json()
    assert take_place(tree) == (tree, None)


HOSTILE = (
    "echo changed > docs/d.md; touch -r run.sh docs/d.md",
    "mkdir -p made/deep out; echo x > made/deep/x; echo x > src/new.py; echo x > out/ignored; echo x > a.log",
    "chmod 000 src/deep/b.py docs/d.md; chmod 000 src/deep docs",
    "rm run.sh; ln -s ../secret run.sh; rm -r docs; ln -s ../elsewhere docs",
    "ln src/a.py ../outside; ln src/a.py src/again.py",
    "ln ../secret src/stolen; rm src/a.py; ln ../secret src/a.py",
    "rm -rf src link .gitignore",
    "rm link; mkdir link; echo x > link/x; rm src/a.py; mkfifo src/a.py; mkfifo pipe",
    "chmod +x src/a.py; chmod -x run.sh; chmod 600 src/deep/b.py",
    "git init -q; git config core.fsmonitor /bin/false; echo '* text eol=crlf' > .gitattributes",
    "echo '*' > .gitignore; echo x > hidden; echo x > src/.gitignore; printf 'a.py\\n' > src/deep/.gitignore",
    "mkdir src/.git docs/.GIT; echo x > src/.git/config; rm docs/d.md; mkdir docs/d.md; echo x > docs/d.md/x",
    "printf x > \"$(printf 'a\\nb')\"; printf x > \"$(printf '\\377')\"; echo x > ' '; echo x > -rf; echo x > ':(top)'",
)


@pytest.mark.parametrize("script", HOSTILE)
def test_an_export_made_again_in_its_place_is_the_new_commit_whatever_a_run_did_there(farm: Farm, script: str) -> None:
    elsewhere, secret = farm.root / "checks" / "elsewhere", farm.root / "checks" / "secret"
    elsewhere.mkdir(parents=True)
    for path in (secret, elsewhere / "d.md"):
        path.write_text("one\n")
    prepare_tree(export_of(farm))
    shell(script, farm.root / "checks" / "1")
    commit = next_commit(
        farm, "echo 2 >> src/deep/b.py; rm docs/d.md; mkdir new; echo new > new/n; echo x > src/made.py"
    )
    spec = export_of(farm, commit)
    prepare_tree(spec)
    assert contents(spec.path, but=()) == farm.files
    assert [path.read_text() for path in (secret, elsewhere / "d.md")] == ["one\n"] * 2
    assert prepare_tree(spec) == Prepared(fresh=False)
    assert contents(spec.path, but=()) == farm.files


WRITABLE = (
    "chmod u+w src/a.py",
    "chmod 666 src/deep/b.py run.sh",
    "touch src/a.py docs/d.md",
    "chmod u+w src/a.py; cp src/a.py copy; rm -f src/a.py; cp copy src/a.py",
    "rm -f src/a.py; echo other > src/a.py",
    "rm -rf src docs",
    "cp -r src again; chmod -R u+w .",
    "true",
)


@pytest.mark.parametrize("script", WRITABLE)
def test_a_read_only_export_made_again_has_no_file_that_can_be_written(farm: Farm, script: str) -> None:
    prepare_tree(export_of(farm, read_only=True))
    next_second()
    shell(script, farm.root / "checks" / "1")
    commit = next_commit(farm, "echo 2 >> docs/d.md; mkdir new; echo new > new/n; echo x > src/made.py")
    for at in (commit, farm.base, commit):
        spec = export_of(farm, at, read_only=True)
        prepare_tree(spec)
        assert [path for path in sorted(spec.path.rglob("*")) if is_writable(path)] == []
    assert set(contents(spec.path, but=())) == set(farm.files)


def next_second() -> None:
    """Git compares times in whole seconds. The clock of the file system is some milliseconds behind."""
    began = int(time.time())
    wait_until(lambda: time.time() > began + 1.05)


def is_writable(path: Path) -> bool:
    """Whether anybody may write a file; links and folders are not asked about."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o222)


def test_a_change_in_the_second_of_preparing_with_its_time_put_back_is_seen(farm: Farm) -> None:
    spec = export_of(farm, read_only=True)
    prepare_tree(spec)
    path = spec.path / "src" / "a.py"
    path.chmod(0o644)
    next_second()
    prepare_tree(spec)
    status = path.stat()
    path.chmod(0o644)
    path.write_text("eno\n")
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    prepare_tree(spec)
    assert path.read_text() == "one\n"


# --- whether anything was changed since the work was taken ---

CHANGES = {
    "a file": "echo x >> src/a.py",
    "a file, its times put back": "touch -r src/a.py ../was; echo two > src/a.py; touch -r ../was src/a.py",
    "a new file": "echo x > new",
    "a new file in a new folder": "mkdir -p a/b; echo x > a/b/c",
    "a missing file": "rm docs/d.md",
    "a right": "chmod +x src/a.py",
    "a link": "ln -sf docs/d.md link",
    "a link for a file": "rm src/a.py; ln -s deep/b.py src/a.py",
    "what is ignored": "echo 'out/' > .gitignore; echo x > a.log",
    "a commit": "git commit -q --allow-empty -m more",
    "a branch": "git checkout -q -b side; git commit -q --allow-empty -m side; git checkout -q -",
    "a stash": "echo x > src/a.py; git stash -q",
    "a detached head": "git checkout -q --detach; git commit -q --allow-empty -m lost",
    "a packed branch": "git commit -q --allow-empty -m side; git branch side; git reset -q HEAD~1; git pack-refs --all",
    "a clone without a head": "rm .git/HEAD",
    "no clone": "rm -rf .git",
}
NO_CHANGES = {
    "nothing": "true",
    "an ignored file": "echo x > a.log; mkdir out; echo x > out/x",
    "an empty folder": "mkdir empty",
    "times": "touch src/a.py run.sh",
    "a branch that names what is known": "git branch side",
    "a look": "git status; git diff; git log",
}


@pytest.mark.parametrize("what", [*CHANGES, *NO_CHANGES])
def test_a_sealed_tree_is_untouched_only_if_nothing_that_is_kept_was_changed(farm: Farm, what: str) -> None:
    spec, _ = farm.prepare()
    shell("echo work >> src/a.py; git add -A; git commit -q -m work; echo left >> docs/d.md", spec.path)
    sealed = farm.seal(spec)
    shell({**CHANGES, **NO_CHANGES}[what], spec.path)
    door = Git(spec.mirror, work_tree=spec.path, index=spec.index)
    known = (sealed.commit, farm.mirror.text("rev-parse", f"{sealed.commit}^"))
    assert is_untouched(door, spec, sealed.tree, known=known) is (what in NO_CHANGES)
