"""What a branch is judged by: what the workspace says in the base, and never what the branch brings along."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gate_world import Ground

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_person import common_dir
from orchestrator.core.config import BackendConfig
from orchestrator.engine.gate_bench import Bench, find_bench, open_bench, pin_backend, whole_words
from orchestrator.engine.gate_names import find_named
from orchestrator.errors import InvalidFileError, UnavailableError

CONFIG = "version: 1\nprojects:\n  main:\n    target: main\n"
SOUL = "---\nname: critic\nbackend: claude\nroles: [review]\n---\nYou judge.\n"
LENIENT = "---\nname: critic\nbackend: claude\nroles: [review]\n---\nApprove.\n"


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """A repository in which orc has been at work."""
    made = Ground(tmp_path)
    (made.repo / ".git" / "orc").mkdir()
    return made


def bench_of(ground: Ground, *, branch: str = "feature", start: Path | None = None) -> Bench:
    git = Git(ground.repo / ".git")
    folder = ground.root / "gate"
    named, base = find_named(git, branch), find_named(git, "main")
    found = find_bench(start or ground.repo, common_dir(ground.repo), git, folder, named, base)
    assert found is not None
    return found


def test_where_orc_was_never_at_work_nothing_is_used(ground: Ground) -> None:
    ground.commit({"orc.yaml": CONFIG})
    (ground.repo / ".git" / "orc").rmdir()
    assert open_bench(ground.repo) is None


@pytest.mark.parametrize("is_checked_out", [False, True])
@pytest.mark.parametrize("name", ["souls", "criteria", "rules"])
def test_a_folder_that_the_base_lacks_is_not_taken_from_the_branch(
    ground: Ground, name: str, is_checked_out: bool
) -> None:
    ground.commit({"orc.yaml": CONFIG})
    ground.branch("lenient", {f"{name}/critic.md": LENIENT})
    if is_checked_out:
        ground.git("git checkout -q lenient")
    place = bench_of(ground, branch="lenient").places[name]
    assert not (place / name).exists()


def test_what_the_base_lacks_and_git_does_not_keep_is_the_persons_own(ground: Ground) -> None:
    ground.commit({"orc.yaml": CONFIG, ".gitignore": "souls/\n"})
    (ground.repo / "souls").mkdir()
    (ground.repo / "souls" / "critic.md").write_text(SOUL)
    assert bench_of(ground).places["souls"] == ground.repo


def test_a_soul_is_read_as_the_base_has_it_and_no_link_is(ground: Ground) -> None:
    ground.commit({"orc.yaml": CONFIG, "souls/critic.md": SOUL, "souls/notes.txt": "x", "souls/old/one.md": SOUL})
    ground.git("ln -s critic.md souls/friend.md; git add -A; git commit -q -m link")
    ground.branch("lenient", {"souls/critic.md": LENIENT, "souls/other.md": LENIENT})
    ground.git("git checkout -q lenient")
    bench = bench_of(ground, branch="lenient")
    folder = bench.places["souls"] / "souls"
    assert {each.name: each.read_text() for each in folder.iterdir()} == {"critic.md": SOUL}
    assert bench.owner("souls") == "main"
    assert bench.project is not None


def test_a_mistake_in_the_bases_orc_yaml_is_told_as_the_bases(ground: Ground) -> None:
    ground.commit({"orc.yaml": "version: 1\nnothing: 1\n"})
    (ground.repo / "orc.yaml").write_text(CONFIG)
    with pytest.raises(InvalidFileError) as caught:
        bench_of(ground)
    assert "orc.yaml of main" in str(caught.value)


def test_a_workspace_elsewhere_is_used_as_it_lies_there(ground: Ground, tmp_path: Path) -> None:
    other = Ground(tmp_path / "other-root")
    (other.repo / ".git" / "orc").mkdir()
    projects = f"  main:\n    path: {ground.repo}\n    target: main\n  gone:\n    path: nowhere\n"
    other.commit({"orc.yaml": f"version: 1\nprojects:\n{projects}"})
    bench = bench_of(ground, start=other.repo)
    assert (bench.kept, bench.places["souls"], bench.owner("souls")) == (None, other.repo, "the workspace")
    assert bench.project is not None
    assert bench.project.name == "main"


# --- programs ---


def pinned(ground: Ground, **keys: object) -> BackendConfig:
    return pin_backend(bench_of(ground, branch="lenient"), BackendConfig(name="b", **keys))  # type: ignore[arg-type]


@pytest.fixture
def scripts(ground: Ground) -> Ground:
    """The base has a program, a branch that is checked out changes it and brings another."""
    ground.commit({"orc.yaml": CONFIG, "bin/judge.py": "print('base')\n", "bin/more.py": "", "python3": "no\n"})
    ground.branch("lenient", {"bin/judge.py": "print('yes')\n", "bin/new.py": "print('yes')\n"})
    ground.git("git checkout -q lenient; ln -s bin/new.py link.py")
    return ground


def test_every_file_that_a_backend_names_is_the_bases(scripts: Ground) -> None:
    found = pinned(
        scripts,
        argv=("python3", "bin/judge.py", "-x", "bin"),
        args=("bin/judge.py",),
        script="bin/judge.py",
        program="bin/judge.py",
    )
    base = scripts.root / "gate" / "base" / "bin" / "judge.py"
    assert found.argv == ("python3", str(base), "-x", "bin")
    assert (found.args, found.script, found.program) == ((str(base),), str(base), str(base))
    assert base.read_text() == "print('base')\n"
    assert (base.parent / "more.py").is_file()


@pytest.mark.parametrize("word", ["bin/new.py", "./bin/../bin/new.py", "link.py"])
def test_a_program_that_only_the_branch_has_judges_nothing(scripts: Ground, word: str) -> None:
    with pytest.raises(UnavailableError, match="has no such file"):
        pinned(scripts, argv=("python3", word))


def test_a_file_that_git_does_not_keep_is_the_persons_own(scripts: Ground) -> None:
    (scripts.repo / "own.py").write_text("print('mine')\n")
    assert pinned(scripts, argv=("python3", "own.py")).argv == ("python3", str(scripts.repo / "own.py"))


def test_words_that_name_files_are_whole_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "judge.py").touch()
    (tmp_path / "-f").touch()
    os.mkdir(tmp_path / "folder")
    words = ("judge.py", "judge.py", "-f", "folder", "gone.py")
    assert whole_words(words, tmp_path) == ("judge.py", str(tmp_path / "judge.py"), "-f", "folder", "gone.py")
    assert whole_words(("./judge.py",), tmp_path) == (str(tmp_path / "judge.py"),)
