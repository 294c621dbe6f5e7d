"""What an agent can plant in its tree, against everything the engine does there: nothing of it may run or reach out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tree_helpers import WHEN, Farm, contents, shell

from orchestrator.adapters import clone_commits
from orchestrator.adapters.files import remove_tree
from orchestrator.adapters.mirrors import refresh_mirror
from orchestrator.adapters.spans import TRACE
from orchestrator.adapters.worktrees import prepare_tree
from orchestrator.errors import OrcError

HOOKS = (
    "applypatch-msg",
    "pre-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "fsmonitor-watchman",
    "post-index-change",
    "proc-receive",
)


LONGEST = 4090
"""Bytes of a path that can be opened, though no `.gitignore` in it can."""


class Ground:
    """A tree to attack from, what may never be touched, and the file that shows that something ran."""

    def __init__(self, root: Path) -> None:
        self.farm = Farm(root)
        self.marker = root / "MARKER"
        self.outside = root / "outside"
        self.outside.mkdir()
        shell("echo treasure > a.py; mkdir deep; echo gold > deep/b.py; git init -q bare.git --bare", self.outside)
        self.spec, _ = self.farm.prepare()
        self.tree = self.spec.path
        self.tool = root / "tool"
        self.tool.write_text(f"#!/bin/sh\ntouch {self.marker}\ncat\nexit 1\n")
        self.tool.chmod(0o755)
        (self.tree / "work").write_text("work\n")

    def valuables(self) -> list[dict[str, str]]:
        """Everything outside the tree that no attack may change."""
        return [self.farm.project_files(), contents(self.outside, but=())]

    def config(self, *settings: str, where: str = ".git/config") -> None:
        """Set options, each `name=value`, in a configuration file in the tree."""
        for setting in settings:
            key, _, value = setting.partition("=")
            shell(f"git config --file {where} {key} '{value}'", self.tree)


ATTACKS: dict[str, Callable[[Ground], None]] = {}


def attack(plant: Callable[[Ground], None]) -> Callable[[Ground], None]:
    ATTACKS[plant.__name__] = plant
    return plant


@attack
def hooks(ground: Ground) -> None:
    folder = ground.tree / ".git" / "hooks"
    folder.mkdir(exist_ok=True)
    for name in HOOKS:
        (folder / name).symlink_to(ground.tool)


@attack
def hooks_path(ground: Ground) -> None:
    hooks(ground)
    (ground.tree / ".git" / "hooks").rename(ground.tree / "myhooks")
    ground.config("core.hooksPath=myhooks")


@attack
def fsmonitor(ground: Ground) -> None:
    ground.config(f"core.fsmonitor={ground.tool}", "core.fsmonitorHookVersion=1", "core.untrackedCache=true")


@attack
def filters(ground: Ground) -> None:
    ground.config(f"filter.evil.clean={ground.tool}", f"filter.evil.smudge={ground.tool}", "filter.evil.required=true")
    (ground.tree / ".gitattributes").write_text("* filter=evil\n")
    (ground.tree / ".git" / "info" / "attributes").write_text("* filter=evil\n")


@attack
def filter_process(ground: Ground) -> None:
    ground.config(f"filter.evil.process={ground.tool}")
    (ground.tree / "src" / ".gitattributes").write_text("* filter=evil ident working-tree-encoding=UTF-16\n")


@attack
def drivers(ground: Ground) -> None:
    ground.config(
        f"diff.evil.command={ground.tool}",
        f"diff.evil.textconv={ground.tool}",
        f"merge.evil.driver={ground.tool}",
        f"diff.external={ground.tool}",
        f"core.pager={ground.tool}",
        f"core.editor={ground.tool}",
    )
    (ground.tree / ".gitattributes").write_text("* diff=evil merge=evil\n")


@attack
def include_path(ground: Ground) -> None:
    ground.config("include.path=../evil")
    ground.config(f"core.fsmonitor={ground.tool}", f"core.sshCommand={ground.tool}", where="evil")


@attack
def worktree_config(ground: Ground) -> None:
    ground.config("core.repositoryFormatVersion=1", "extensions.worktreeConfig=true")
    ground.config(f"core.fsmonitor={ground.tool}", where=".git/config.worktree")


@attack
def redirected_worktree(ground: Ground) -> None:
    ground.config(f"core.worktree={ground.outside}")


@attack
def signing(ground: Ground) -> None:
    ground.config("commit.gpgSign=true", f"gpg.program={ground.tool}", f"gpg.ssh.program={ground.tool}")


@attack
def remotes(ground: Ground) -> None:
    ground.config(
        f"remote.origin.url=ext::{ground.tool}",
        f"remote.origin.uploadpack={ground.tool}",
        f"uploadpack.packObjectsHook={ground.tool}",
        f"core.alternateRefsCommand={ground.tool}",
        f"credential.helper={ground.tool}",
        "remote.origin.promisor=true",
        "extensions.partialClone=origin",
    )
    shell("git add -A; git commit -q -m own; rm -rf .git/objects/*/", ground.tree, check=False)


@attack
def hostile_clone_with_commits(ground: Ground) -> None:
    shell("git add -A; git commit -q -m own", ground.tree)
    for plant in (hooks, fsmonitor, remote_hooks, signing):
        plant(ground)


def remote_hooks(ground: Ground) -> None:
    ground.config(f"uploadpack.packObjectsHook={ground.tool}", f"core.alternateRefsCommand={ground.tool}")


@attack
def swapped_git_file(ground: Ground) -> None:
    shell("mv .git evil; echo 'gitdir: evil' > .git", ground.tree)
    ground.config(f"core.fsmonitor={ground.tool}", where="evil/config")


@attack
def git_is_a_link_to_the_person(ground: Ground) -> None:
    shell(f"rm -rf .git; ln -s {ground.farm.project}/.git .git", ground.tree)


@attack
def git_points_to_the_person(ground: Ground) -> None:
    shell(f"rm -rf .git; echo 'gitdir: {ground.farm.project}/.git' > .git", ground.tree)


@attack
def redirected_commondir(ground: Ground) -> None:
    shell("git clone -q --bare . ../evil.git", ground.tree)
    shell(f"git config core.fsmonitor {ground.tool}", ground.tree.parent / "evil.git")
    (ground.tree / ".git" / "commondir").write_text("../../evil.git\n")


@attack
def commondir_of_the_person(ground: Ground) -> None:
    (ground.tree / ".git" / "commondir").write_text(f"{ground.farm.project}/.git\n")


@attack
def nested_repository(ground: Ground) -> None:
    shell("git init -q nested; cd nested; echo x > x; git add -A; git commit -q -m x", ground.tree)
    arm(ground, "nested")


@attack
def nested_in_a_tracked_folder(ground: Ground) -> None:
    shell("git init -q src; cd src; git add -A; git commit -q -m x", ground.tree)
    arm(ground, "src")


@attack
def nested_in_the_place_of_a_file(ground: Ground) -> None:
    shell("rm run.sh; git init -q run.sh; cd run.sh; echo x > x; git add -A; git commit -q -m x", ground.tree)
    arm(ground, "run.sh")


@attack
def gitlink(ground: Ground) -> None:
    nested_repository(ground)
    shell("git add nested 2>/dev/null; git commit -q -m gitlink; echo y > nested/x", ground.tree)


@attack
def submodule(ground: Ground) -> None:
    nested_repository(ground)
    ground.config("submodule.nested.path=nested", f"submodule.nested.url=ext::{ground.tool}", where=".gitmodules")
    ground.config(f"submodule.nested.update=!{ground.tool}", "submodule.recurse=true")
    shell("git add -A 2>/dev/null; git commit -q -m submodule", ground.tree, check=False)


def arm(ground: Ground, folder: str) -> None:
    """Make a nested repository dangerous."""
    ground.config(
        f"core.fsmonitor={ground.tool}",
        f"filter.evil.clean={ground.tool}",
        f"filter.evil.smudge={ground.tool}",
        where=f"{folder}/.git/config",
    )
    (ground.tree / folder / ".gitattributes").write_text("* filter=evil\n")


@attack
def bare_repository(ground: Ground) -> None:
    shell(f"git init -q --bare inner; git -C inner config core.fsmonitor {ground.tool}", ground.tree)


@attack
def folder_linked_out_of_the_tree(ground: Ground) -> None:
    shell(f"rm -rf src; ln -s {ground.outside} src", ground.tree)


@attack
def folder_moved_out_and_linked(ground: Ground) -> None:
    shell("mv src ../moved; ln -s ../moved src", ground.tree)


@attack
def untracked_link_out_of_the_tree(ground: Ground) -> None:
    shell(
        f"ln -s {ground.outside} out; ln -s {ground.outside}/a.py new; ln -sf {ground.outside}/a.py link", ground.tree
    )


@attack
def hard_link_out_of_the_tree(ground: Ground) -> None:
    shell(f"ln -f {ground.outside}/a.py src/a.py; chmod 000 src/a.py; chmod 644 src/a.py", ground.tree)


@attack
def tree_replaced_by_a_link(ground: Ground) -> None:
    shell(f"rm -rf main; ln -s {ground.outside} main", ground.tree.parent)


@attack
def parent_replaced_by_a_link(ground: Ground) -> None:
    shell(
        f"mv engineer kept; ln -s {ground.outside} engineer; mkdir -p {ground.outside}/main", ground.tree.parent.parent
    )


@attack
def alternates(ground: Ground) -> None:
    info = ground.tree / ".git" / "objects" / "info" / "alternates"
    info.write_text(f"{ground.outside}/bare.git/objects\n{ground.farm.project}/.git/objects\n/dev/zero\n")


@attack
def linked_objects(ground: Ground) -> None:
    shell(f"rm -rf .git/objects; ln -s {ground.farm.project}/.git/objects .git/objects", ground.tree)


@attack
def evil_head(ground: Ground) -> None:
    (ground.tree / ".git" / "HEAD").write_text("ref: refs/heads/../../../../../../outside/a.py\n")


@attack
def piped_head(ground: Ground) -> None:
    shell("rm .git/HEAD; mkfifo .git/HEAD; rm -rf .git/refs; ln -s / .git/refs; mkfifo .git/packed-refs", ground.tree)


@attack
def evil_refs(ground: Ground) -> None:
    heads = ground.tree / ".git" / "refs" / "heads"
    for name, text in (("-f", "x"), ("$(touch x)", "f" * 40), ("zero", "0" * 40), ("loop", "ref: refs/heads/loop")):
        (heads / name).write_text(text + "\n")
    (heads / "main").symlink_to(ground.outside / "a.py")
    (ground.tree / ".git" / "packed-refs").write_bytes(b"\xff\0" * 5000 + b"f" * 40 + b" refs/heads/x\n")


@attack
def rotten_objects(ground: Ground) -> None:
    shell(
        "git add -A; git commit -q -m own; for f in .git/objects/??/*; do chmod u+w $f; echo rot > $f; done",
        ground.tree,
    )


OWN = "git add -A; git commit -q -m own; cd .git/objects; own=$(git rev-parse HEAD | sed 's,^..,&/,'); "


@attack
def piped_object(ground: Ground) -> None:
    shell(OWN + "rm -f $own; mkfifo $own", ground.tree)


@attack
def piped_object_in_a_closed_folder(ground: Ground) -> None:
    shell(OWN + "rm -f $own; mkfifo $own; chmod 311 ${own%/*}", ground.tree)


@attack
def linked_object(ground: Ground) -> None:
    shell(OWN + "mv $own ../../../object; ln -s ../../../../object $own", ground.tree)


@attack
def linked_folder_of_objects(ground: Ground) -> None:
    shell(OWN + "mv ${own%/*} ../../../objects; ln -s ../../../objects ${own%/*}", ground.tree)


@attack
def alternates_with_own_commits(ground: Ground) -> None:
    shell(OWN + "mkdir ../../../objects; mv ?? ../../../objects; echo ../../../objects >> info/alternates", ground.tree)


@attack
def very_long_alternates(ground: Ground) -> None:
    alternates_with_own_commits(ground)
    with (ground.tree / ".git" / "objects" / "info" / "alternates").open("a") as file:
        file.write("# more\n" * 100_000)


@attack
def deep_folders_of_refs(ground: Ground) -> None:
    shell(OWN + "mkdir -p ../refs/heads/$(printf 'd/%.0s' $(seq 1200))", ground.tree)


@attack
def grafts_and_replacements(ground: Ground) -> None:
    shell(
        "git add -A; git commit -q -m own; git replace HEAD HEAD~1; git rev-parse HEAD > .git/info/grafts;"
        "git rev-parse HEAD > .git/shallow",
        ground.tree,
    )


@attack
def pipes(ground: Ground) -> None:
    shell(
        "rm -f .gitignore docs/d.md; mkfifo .gitignore .gitattributes .gitmodules pipe docs/d.md src/.gitignore;"
        "mkdir new; mkfifo new/.gitignore new/.gitattributes",
        ground.tree,
    )


@attack
def links_for_git_to_read(ground: Ground) -> None:
    shell("rm -f .gitignore; ln -s /dev/zero .gitignore; ln -s /dev/zero .gitattributes; ln -s . loop", ground.tree)


@attack
def closed_folders(ground: Ground) -> None:
    shell("mkdir -p new/in; echo x > new/in/x; chmod 000 new/in src; chmod 000 run.sh; chmod 555 .", ground.tree)


@attack
def names(ground: Ground) -> None:
    shell(
        "touch -- '-rf' '--upload-pack=x' ':(glob)x' ':!x' '*' 'git~1' 'a\\b' '\"q' \"$(printf 'n\\nl')\" "
        "\"$(printf '\\033[2J')\"; mkdir -p .GIT; echo x > .GIT/config; mkdir '.git '; echo y > '.git /config'",
        ground.tree,
    )


@attack
def very_deep(ground: Ground) -> None:
    script = "i=0; while [ $i -lt 40 ]; do mkdir " + "d" * 120 + "; cd " + "d" * 120 + "; i=$((i+1)); done; echo x > x"
    shell(script, ground.tree, check=False)


def make_long_folder(ground: Ground) -> int:
    """A folder in the tree, opened, whose whole path is as long as a path may be."""
    path = os.fspath(ground.tree)
    fd = os.open(path, os.O_RDONLY)
    while room := LONGEST - len(path):
        name = "d" * min(room - 1, 200 if room != 202 else 199)
        path = f"{path}/{name}"
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


@attack
def pipe_with_too_long_a_path(ground: Ground) -> None:
    fd = make_long_folder(ground)
    os.mkfifo(".gitignore", dir_fd=fd)
    os.close(fd)


@attack
def file_with_too_long_a_path(ground: Ground) -> None:
    fd = make_long_folder(ground)
    os.close(os.open("a-long-name", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


@attack
def engine_files_in_the_tree(ground: Ground) -> None:
    (ground.tree / ".git" / "index").unlink()
    (ground.tree / ".git" / "index").symlink_to(ground.outside / "a.py")
    (ground.tree / ".git" / "index.lock").touch()
    shell("rm -rf .git/info; ln -s /nonexistent .git/info", ground.tree)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """A tree in which an agent has worked."""
    return Ground(tmp_path)


@pytest.mark.parametrize("name", ATTACKS)
def test_recycling_an_attacked_tree_runs_nothing_and_gives_the_right_files(ground: Ground, name: str) -> None:
    ATTACKS[name](ground)
    ground.marker.unlink(missing_ok=True)
    before = ground.valuables()
    if name == "parent_replaced_by_a_link":
        with pytest.raises(OrcError, match="symbolic link"):
            ground.farm.prepare()
    else:
        spec, _ = ground.farm.prepare()
        assert contents(spec.path) == ground.farm.files
        assert not spec.path.is_symlink()
        assert shell("git status --porcelain --ignored", spec.path) == ""
        if name != "tree_replaced_by_a_link":
            assert ground.farm.file(ground.farm.value(str(ground.spec.seal_ref)), "work") == "work"
    assert not ground.marker.exists()
    assert ground.valuables() == before


@pytest.mark.parametrize("name", ATTACKS)
def test_sealing_an_attacked_tree_runs_nothing_and_keeps_the_work(ground: Ground, name: str) -> None:
    ATTACKS[name](ground)
    ground.marker.unlink(missing_ok=True)
    before = ground.valuables()
    if name in ("parent_replaced_by_a_link", "tree_replaced_by_a_link"):
        with pytest.raises(OrcError):
            ground.farm.seal(ground.spec)
    else:
        sealed = ground.farm.seal(ground.spec)
        assert ground.farm.file(sealed.commit, "work") == "work"
        assert ground.farm.value(str(ground.spec.seal_ref)) == sealed.commit
        assert not any(".git" in path.casefold().split("/") for path in ground.farm.paths(sealed.commit))
        if name != "hard_link_out_of_the_tree":
            assert ground.farm.mirror.run("grep", "-q", "treasure", sealed.commit, ok=(0, 1)).code == 1
        ground.farm.mirror.run("fsck", "--strict")
    assert not ground.marker.exists()
    assert ground.valuables() == before
    if name != "parent_replaced_by_a_link":
        prepare_tree(ground.farm.spec(), when=WHEN)
        assert not ground.marker.exists()
        assert ground.valuables() == before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("piped_object", "is no plain file"),
        ("piped_object_in_a_closed_folder", "is no plain file|cannot be looked at"),
        ("linked_object", "is no plain file"),
        ("linked_folder_of_objects", "is no plain file"),
        ("alternates_with_own_commits", "borrowed from elsewhere"),
        ("very_long_alternates", "cannot be looked at"),
    ],
)
def test_git_is_not_shown_objects_that_lead_it_elsewhere_or_let_it_wait(ground: Ground, name: str, why: str) -> None:
    ATTACKS[name](ground)
    sealed = ground.farm.seal(ground.spec)
    assert not sealed.own_commits
    assert [note for note in sealed.notes if re.search(f"commits were not taken: .*({why})", note)]
    assert ground.farm.file(sealed.commit, "work") == "work"


def test_when_the_time_is_over_branches_are_not_tried_one_by_one(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("git add -A; for n in 1 2 3; do git checkout -q -b b$n; git commit -q --allow-empty -m $n; done", ground.tree)
    monkeypatch.setattr(clone_commits, "_FETCH_SECONDS", 0.0)
    monkeypatch.setenv(TRACE, str(tmp_path / "spans"))
    sealed = ground.farm.seal(ground.spec)
    spans = [json.loads(line) for line in (tmp_path / "spans").read_text().splitlines()]
    assert [each["name"] for each in spans].count("fetch") == 1
    assert [note for note in sealed.notes if "longer than" in note]
    assert ground.farm.file(sealed.commit, "work") == "work"


def test_folders_may_be_nested_deeper_in_a_repository_in_the_tree_than_python_calls_itself(ground: Ground) -> None:
    shell("git init -q inner; mkdir -p inner/$(printf 'd/%.0s' $(seq 1200)); cd inner/d; echo x > x", ground.tree)
    sealed = ground.farm.seal(ground.spec)
    assert ground.farm.paths(sealed.commit) >= {"inner/d/x", "work"}
    remove_tree(ground.tree)


def test_the_branches_that_can_be_brought_are_brought_beside_one_that_cannot(ground: Ground) -> None:
    shell("git add -A; git commit -q -m own; git checkout -q -b other; git commit -q --allow-empty -m x", ground.tree)
    good = shell("git rev-parse HEAD~1", ground.tree)
    shell("cd .git/objects; own=$(git rev-parse HEAD | sed 's,^..,&/,'); chmod u+w $own; echo rot > $own", ground.tree)
    sealed = ground.farm.seal(ground.spec)
    assert [note for note in sealed.notes if note.startswith("Not all of")]
    assert good in ground.farm.refs("refs/orc/rescue")
    assert ground.farm.file(sealed.commit, "work") == "work"


@pytest.mark.parametrize("name", ["hooks", "hooks_path", "fsmonitor", "filters", "include_path", "gitlink"])
def test_the_same_attacks_work_against_plain_git(ground: Ground, name: str) -> None:
    ATTACKS[name](ground)
    ground.marker.unlink(missing_ok=True)
    shell("git status; git add -A; git commit -m x", ground.tree, check=False)
    assert ground.marker.exists()


def test_a_project_with_its_own_filters_is_checked_out_without_running_them(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    shell("echo '* filter=evil ident' > .gitattributes; git add -A; git commit -q -m attributes", farm.project)
    shell(f"git config filter.evil.smudge 'touch {tmp_path}/ran; cat'", farm.project)
    farm.mirror.run("config", "filter.evil.smudge", f"touch {tmp_path}/ran; cat")
    refresh_mirror(farm.mirror, farm.project / ".git", ["refs/heads/main"])
    spec, _ = farm.prepare(commit=farm.value("refs/heads/main"))
    assert contents(spec.path) == contents(farm.project)
    assert not os.path.exists(tmp_path / "ran")
