"""Fixtures that every test may use: a sealed environment, a repository, a workspace with its ledger."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_once import keep_below, put_copy
from warm_shims import begin_warm

from orchestrator.adapters import clock, shims
from orchestrator.adapters.effects import KILL_AT
from orchestrator.core.transitions import ENGINE
from orchestrator.engine.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from engine_world import World
    from fake_models import FakeModels

CONFIG = "version: 1\nprojects:\n  main:\n    target: main\n"
SEAL = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
SEAL |= {f"GIT_{role}_NAME": "Ada Lovelace" for role in ("AUTHOR", "COMMITTER")}
SEAL |= {f"GIT_{role}_EMAIL": "ada@example.invalid" for role in ("AUTHOR", "COMMITTER")}
OPEN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "ORC_RUN", "ORC_RUN_DIR", "XDG_CACHE_HOME", KILL_AT)

# Python may be told to keep nothing that it compiles, as in many images of containers. Then each of the many processes
# that the tests start would compile all of orc again, and each process that runs them all of the tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# Nothing that is made while the tests are found is garbage, and all of it lives as long as they run: to look through it
# again and again is a tenth of finding them.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on garbage is collected, and only what comes from here on is looked through for it."""
    gc.freeze()
    gc.enable()


def seal(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Nothing of the machine's or the person's configuration is to be seen."""
    home.mkdir()
    patch.setenv("HOME", str(home))
    for name, value in SEAL.items():
        patch.setenv(name, value)
    for name in OPEN:
        patch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """A home for each test of this process. What is made once for all tests lies beside them."""
    folder = tmp_path_factory.mktemp("homes")
    keep_below(tmp_path_factory.mktemp("made"))
    with pytest.MonkeyPatch.context() as patch:
        # Fixtures of whole modules are made before any test has a home of its own.
        seal(patch, folder / "modules")
        patch.setattr(shims, "_start", begin_warm)
        # Not one more folder beside all the tests' own: to find a free name for one, pytest looks at all there are.
        yield (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def sealed(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the machine's or the person's configuration reaches a test; a home of its own."""
    home = next(homes)
    seal(monkeypatch, home)
    return home


def first_commit(root: Path) -> None:
    """A git repository with one commit on `main`."""
    (root / "README.md").write_text("hello\n")
    commands = ["init --quiet --initial-branch=main", "add -A", "commit --quiet -m first"]
    for command in commands:
        subprocess.run(["git", *command.split()], cwd=root, env=os.environ | SEAL, check=True)
    subprocess.run(["git", "config", "user.name", "Ada Lovelace"], cwd=root, check=True)


def empty_ledger(root: Path) -> None:
    """The same, and a workspace in it, with an empty ledger."""
    put_copy(first_commit, root)
    (root / "orc.yaml").write_text(CONFIG)
    with open_workspace(root) as ws:
        ws.ledger.create(clock.now(), ENGINE)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A git repository with one commit on `main`."""
    root = put_copy(first_commit, tmp_path / "repo")
    # Git knows its files by their numbers too, and a copy has others.
    subprocess.run(["git", "update-index", "-q", "--refresh"], cwd=root, check=True)
    return root


@pytest.fixture
def world(repo: Path) -> World:
    """A repository with a file of code, of which a test makes a workspace with agents: see `World.set_up`."""
    from engine_world import World

    (repo / "code.py").write_text("print('old')\n")
    for command in (["add", "-A"], ["commit", "--quiet", "-m", "code"]):
        subprocess.run(["git", "-C", str(repo), *command], check=True)
    return World(repo)


@pytest.fixture
def no_lies(world: World) -> Iterator[None]:
    """At the end of the test the ledger of its world is proved."""
    from orchestrator.adapters.audit import audit

    yield
    git_dir = world.root / ".git"
    assert audit(git_dir, {"main": git_dir}).lies == ()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModels]:
    """A model service on loopback, and the key that orc's own agent shows to it."""
    from api_world import KEY
    from fake_models import FakeModels

    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with FakeModels([]) as fake:
        yield fake


@pytest.fixture
def workspace(repo: Path) -> Iterator[Workspace]:
    """A workspace in `repo`, with an empty ledger."""
    put_copy(empty_ledger, repo)
    with open_workspace(repo) as ws:
        yield ws
