"""Walks of an agent's tree: what was plain is not listed again, and nothing unusual is ever missed for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from orchestrator.adapters import tree_walk
from orchestrator.adapters.tree_walk import find_unusual, open_up, sweep


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose folders count as settled at once."""
    monkeypatch.setattr(tree_walk, "SETTLED_NS", -1_000_000_000)
    root = tmp_path / "tree"
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/plain.txt").write_text("x")
    (root / "d").mkdir()
    return root


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return tmp_path / "folders"


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders that were listed."""
    found: list[str] = []
    real = tree_walk._opened

    def note(folder: str | Path, above: int | None = None) -> AbstractContextManager[int]:
        if above is not None:
            found.append(os.path.basename(folder))
        return real(folder, above)

    monkeypatch.setattr(tree_walk, "_opened", note)
    return found


def unusual(root: Path, known: Path) -> list[str]:
    return sorted(path for path, _ in find_unusual(root, known=known))


def test_only_what_has_changed_is_listed_again(tree: Path, known: Path, listed: list[str]) -> None:
    assert unusual(tree, known) == []
    assert sorted(listed) == [".", "a", "b", "c", "d"]
    listed.clear()
    assert unusual(tree, known) == []
    assert listed == []
    (tree / "a/b/new.txt").write_text("x")
    assert unusual(tree, known) == []
    assert listed == ["b"]


def put_pipe_below(root: Path) -> None:
    os.mkfifo(root / "a/b/c/pipe")


def turn_file_into_pipe(root: Path) -> None:
    os.remove(root / "a/b/plain.txt")
    os.mkfifo(root / "a/b/plain.txt")


def make_repository(root: Path) -> None:
    (root / "a/b/c/.git").mkdir()


def replace_folder(root: Path) -> None:
    os.rename(root / "d", root / "gone")
    os.makedirs(root / "d/.GIT")


def put_time_back(root: Path) -> None:
    os.mkfifo(root / "d/pipe")
    os.utime(root / "d", ns=(1, 1))


@pytest.mark.parametrize("harm", [put_pipe_below, turn_file_into_pipe, make_repository, replace_folder, put_time_back])
def test_what_comes_into_a_plain_folder_is_found(tree: Path, known: Path, harm: Callable[[Path], None]) -> None:
    assert unusual(tree, known) == []
    harm(tree)
    assert len(unusual(tree, known)) == 1
    assert len(unusual(tree, known)) == 1, "and again: a folder that holds it is never taken for plain"


def test_a_folder_in_the_place_of_another_is_listed(tree: Path, known: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    os.mkfifo(other / "pipe")
    assert unusual(tree, known) == []
    os.rmdir(tree / "d")
    os.rename(other, tree / "d")
    assert unusual(tree, known) == ["d/pipe"]


def test_a_folder_that_has_just_changed_is_listed_again(
    tree: Path, known: Path, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_walk, "SETTLED_NS", 2_000_000_000)
    unusual(tree, known)
    listed.clear()
    unusual(tree, known)
    assert sorted(listed) == [".", "a", "b", "c", "d"]


def test_a_file_that_git_reads_is_opened_though_its_folder_has_not_changed(tree: Path, known: Path) -> None:
    ignore = tree / "a/.gitignore"
    ignore.write_text("x\n")
    open_up(tree, [], known=known)
    ignore.chmod(0)
    open_up(tree, [], known=known)
    assert ignore.stat().st_mode & 0o400


def test_a_sweep_and_an_opening_share_what_they_know(tree: Path, known: Path, listed: list[str]) -> None:
    (tree / ".git").mkdir()
    open_up(tree, [], known=known)
    listed.clear()
    sweep(tree, (), known=known)
    assert listed == ["."], "the tree's own .git makes its folder an unusual one"
    assert not (tree / ".git").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"folders": []}', '{"folders": {"a": 1}}', '{"folders": {"": ["x", 1, []]}}']
)
def test_a_broken_memory_is_no_memory(tree: Path, known: Path, text: str) -> None:
    known.write_text(text)
    os.mkfifo(tree / "a/pipe")
    assert unusual(tree, known) == ["a/pipe"]
    assert json.loads(known.read_text())["folders"]


def test_a_name_that_is_no_text_is_remembered(tree: Path, known: Path, listed: list[str]) -> None:
    os.mkdir(os.fsencode(tree) + b"/\xff")
    unusual(tree, known)
    listed.clear()
    assert unusual(tree, known) == []
    assert listed == []
