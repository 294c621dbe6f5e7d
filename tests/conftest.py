"""Fixtures that every test may use: a sealed environment, a repository, a workspace with its ledger."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.adapters import clock
from orchestrator.adapters.effects import KILL_AT
from orchestrator.core.transitions import ENGINE
from orchestrator.engine.workspace import Workspace, open_workspace

CONFIG = "version: 1\nprojects:\n  main:\n    target: main\n"


@pytest.fixture(autouse=True)
def sealed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the machine's or the person's configuration reaches a test; a home of its own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada Lovelace")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.invalid")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "ORC_RUN", "ORC_RUN_DIR", "XDG_CACHE_HOME", KILL_AT):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A git repository with one commit on `main`."""
    root = tmp_path / "repo"
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(root)], check=True)
    (root / "README.md").write_text("hello\n")
    for command in (["config", "user.name", "Ada Lovelace"], ["add", "-A"], ["commit", "--quiet", "-m", "first"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    return root


@pytest.fixture
def workspace(repo: Path) -> Iterator[Workspace]:
    """A workspace in `repo`, with an empty ledger."""
    (repo / "orc.yaml").write_text(CONFIG)
    with open_workspace(repo) as ws:
        ws.ledger.create(clock.now(), ENGINE)
        yield ws
