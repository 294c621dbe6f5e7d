"""The demo's stage: a throw-away repository, made a workspace by the real `init`, and jobs dropped into its queue.

It prepares and looks things up; the work is done by the real loop, and what came of it is read from the ledger.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from orchestrator.adapters.files import ensure_folder, remove, remove_tree, write_atomic
from orchestrator.adapters.git import Git, Identity
from orchestrator.adapters.locks import lease_is_free, lock_is_free
from orchestrator.adapters.programs import run_shell
from orchestrator.adapters.run_folder import RunFolder
from orchestrator.adapters.strict_yaml import load_mapping
from orchestrator.core.job import State
from orchestrator.core.records import Card
from orchestrator.engine.init import init_workspace
from orchestrator.engine.people import person_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import BusyError, RefusedError

REPOSITORY = "till"
MARKER = ".made-by-orc-demo"
MARKER_TEXT = "`orc demo` made this folder. It removes it, with all that is in it, when it is started again.\n"
STOP_S = 15.0
VISITOR = Identity("You", "you@demo.invalid")
"""Who made the little repository, before orc came."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One end that the demo must reach: its key, the job files that lead there, and what to look out for."""

    key: str
    files: tuple[str, ...]
    told: str
    title: str


SCENES = (
    Scene("merged", ("add-average.yaml",), "the plain way: work, checks, review, merge", "approved and merged"),
    Scene(
        "empty-diff",
        ("add-median.yaml",),
        "the agent says it is done and changes nothing; the reviewer approves anything",
        "an empty diff is thrown back, then really done",
    ),
    Scene(
        "unclear",
        ("explain-the-cents.md",),
        'a reviewer answers "Looks good to me, APPROVED!"',
        "praise in prose is no verdict; another family judges",
    ),
    Scene(
        "fixes",
        ("split-the-bill.yaml",),
        "the reviewer finds a mistake",
        "fixes are asked for, made, and judged again",
    ),
    Scene(
        "merged-tree",
        ("rename-total.yaml", "add-discount.yaml"),
        "each passes its tests; merged, they do not",
        "tests that fail on the merged tree send the second one back",
    ),
    Scene("ask", ("raise-the-tax.yaml",), "`merge: ask`: a person decides", "waits for `orc approve`, then merged"),
    Scene(
        "paths",
        ("add-coupon.yaml",),
        "the agent leaves a file where the job allows none",
        "work outside the allowed paths is thrown back",
    ),
    Scene("malformed", ("misspelt.yaml", "unfinished.yaml"), "two files with a mistake", "rejected, with the reason"),
)
"""Every end, in the order in which it is told."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays: the folder that may be removed, and the repository in it."""

    folder: Path
    root: Path


def make_stage(folder: Path) -> Stage:
    """A fresh repository with a workspace in it. Raises RefusedError if `folder` holds what the demo did not make."""
    clear_stage(folder)
    root = folder / REPOSITORY
    ensure_folder(root)
    write_atomic(folder / MARKER, MARKER_TEXT.encode(), sync=False)
    write_atomic(folder / ".gitignore", b"*\n", sync=False)
    git = Git(root / ".git", root, root / ".git" / "index", identity=VISITOR)
    # Without templates and with nobody's configuration: the demo is the same on every machine.
    git.run("init", "--quiet", "--template=", "--initial-branch=main")
    for name, text in _repository().items():
        _put(root, name, text.encode())
    _commit(git, "A till")
    _copy_workspace(root)
    init_workspace(root, person_of(root / ".git"))
    _commit(git, "A workspace for orc")
    return Stage(folder, root)


def clear_stage(folder: Path) -> None:
    """Remove what an earlier demo left in `folder`. Raises RefusedError if it is anything else, BusyError if in use."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RefusedError(f"{folder} is not a folder", hint="orc demo --dir NEW_FOLDER")
    if not folder.exists() or not any(folder.iterdir()):
        return
    marker = folder / MARKER
    if marker.is_symlink() or not marker.is_file() or marker.read_bytes() != MARKER_TEXT.encode():
        raise RefusedError(
            f"{folder} holds files that no demo made, so it stays as it is", hint="orc demo --dir NEW_FOLDER"
        )
    orcdir = folder / REPOSITORY / ".git" / "orc"
    if not lock_is_free(orcdir / "engine.lock") or not _end_runs(orcdir / "runs"):
        raise BusyError(f"orc is at work in {folder / REPOSITORY}", hint="end it, or orc demo --dir NEW_FOLDER")
    remove_tree(folder)


def _end_runs(runs: Path) -> bool:
    """Ask the runs of a demo that was interrupted to stop; False if one of them has not ended in time."""
    alive = [RunFolder(path) for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    end_by = time.monotonic() + STOP_S
    while alive := [run for run in alive if not lease_is_free(run.lease)]:
        if time.monotonic() > end_by:
            return False
        for run in alive:
            write_atomic(run.stop, b"", sync=False)
        time.sleep(0.05)
    return True


def drop_jobs(stage: Stage, scenes: Iterable[Scene]) -> None:
    """Put the job files of the scenes into the inbox, each by a rename, as a careful program would."""
    jobs = files("orchestrator").joinpath("demo", "jobs")
    for scene in scenes:
        for name in scene.files:
            write_atomic(stage.root / "queue" / "inbox" / name, jobs.joinpath(name).read_bytes(), sync=False)


def card_to_approve(ws: Workspace) -> str:
    """The id of the open card of the job that waits for a person; '' if none does."""
    for folder in ws.ledger.snapshot().folders.values():
        if folder.job.state is State.DECIDE and folder.job.id.startswith("raise-the-tax-"):
            return ws.ledger.record(Card, folder, f"card-{folder.job.at.card}").id
    return ""


def run_orc(stage: Stage, *words: str) -> tuple[int, str]:
    """Run the real command in the demo's workspace, as a process of its own: its exit code and what it printed."""
    said = stage.folder / "said.txt"
    command = shlex.join([sys.executable, "-m", "orchestrator", "-C", str(stage.root), *words])
    code = run_shell(f"{command} >{shlex.quote(str(said))} 2>&1")
    text = said.read_text("utf-8", "replace")
    remove(said)
    return code, text.rstrip()


def ledger_lines(ws: Workspace, count: int) -> tuple[list[str], int]:
    """The newest lines of `git log --oneline orc/state`, and how many there are in all."""
    git = ws.ledger.git
    lines = git.text("log", "--oneline", f"--max-count={count}", "refs/heads/orc/state").splitlines()
    return lines, int(git.text("rev-list", "--count", "refs/heads/orc/state"))


def _repository() -> dict[str, str]:
    data = files("orchestrator").joinpath("demo", "repository.yaml").read_bytes()
    return {str(path): str(text) for path, text in load_mapping(data, file="repository.yaml").value.items()}


def _copy_workspace(root: Path) -> None:
    """What a person would write: the configuration, the agents; and what the agents play."""
    with as_file(files("orchestrator").joinpath("demo")) as source:
        # The venv need not be in PATH: then the checks run with the Python that runs orc.
        python = "python3" if shutil.which("python3") else shlex.quote(sys.executable)
        config = (source / "orc.yaml").read_text(encoding="utf-8").replace("@PYTHON@", python)
        _put(root, "orc.yaml", config.encode())
        _put(root, "plays.yaml", (source / "plays.yaml").read_bytes())
        for soul in sorted((source / "souls").glob("*.md")):
            _put(root, f"souls/{soul.name}", soul.read_bytes())


def _put(root: Path, name: str, data: bytes) -> None:
    path = root / name
    ensure_folder(path.parent)
    write_atomic(path, data, sync=False)


def _commit(git: Git, message: str) -> None:
    git.run("add", "--all")
    git.run("commit", "--quiet", "--no-verify", "-m", message)
