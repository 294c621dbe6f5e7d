"""Objects of the ledger's repository: what is kept of them in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.adapters import objects as module
from orchestrator.adapters.objects import EMPTY_TREE, FILE_MODE, Entry, opened


def test_trees_are_forgotten_and_read_again_however_many_are_written(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TREE_ENTRIES", 300)
    with opened(repo / ".git") as objects:
        root, roots = EMPTY_TREE, []
        for number in range(200):
            blob = objects.write("blob", f"{number}\n".encode())
            root = objects.change_tree(root, {f"open/{number % 16:02x}/{number}": Entry(FILE_MODE, blob)})
            roots.append(root)
            if number % 7 == 6:
                objects.store()
        objects.store()
        assert sum(map(len, objects._trees.values())) <= 300
        for number, each in enumerate(roots):
            found = objects.find(each, f"open/{number % 16:02x}/{number}")
            assert found is not None
            assert objects.read(found.oid) == f"{number}\n".encode()
        assert objects.find(roots[0], "open/01/1") is None


def test_the_tree_that_is_asked_for_is_kept_when_others_are_forgotten(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TREE_ENTRIES", 50)
    with opened(repo / ".git") as objects:
        blob = objects.write("blob", b"x\n")
        first, *others = (objects.change_tree(EMPTY_TREE, {f"{n}": Entry(FILE_MODE, blob)}) for n in range(120))
        objects.store()
        for each in others:
            objects.tree(first)
            objects.tree(each)
        assert first in objects._trees
        assert others[0] not in objects._trees
