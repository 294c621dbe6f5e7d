"""The stage of the self-test: a throw-away workspace with a real ledger, and commits made from what a case lists."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, remove, write_atomic
from orchestrator.adapters.git import Git, Identity
from orchestrator.adapters.library import read_souls
from orchestrator.adapters.yaml_text import dump
from orchestrator.core.agent import Soul
from orchestrator.core.transitions import Actor
from orchestrator.engine.init import init_workspace
from orchestrator.engine.workspace import Workspace, open_workspace

PERSON = Identity("You", "you@selftest.invalid")
VISITOR = Actor("human:selftest")
BASE: Mapping[str, Any] = {
    "README.md": "# A till\n\nIt adds up prices.\n",
    "app.py": "def total(prices):\n    return sum(prices)\n",
    "test_app.py": "from app import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n",
}
"""What a repository holds if its case does not say it."""
_SIGN = re.compile(r"\{\{([0-9a-f]{2,5})\}\}")
"""A sign that cannot stand in a file, by its number in a path: `{{1b}}`."""
CONFIG: Mapping[str, Any] = {
    "version": 1,
    "projects": {"main": {"path": ".", "target": "main", "merge": "auto"}},
    # What is played are models: an answer within seconds is one that nobody has thought about.
    "backends": {"player": {"argv": ["true"], "quick": False}},
    # What a case comes to is not left to chance.
    "review": {"second": 0},
}
REVIEWER = "---\nbackend: player\nroles: [review]\n---\nYou look twice.\n"


@dataclass(frozen=True, slots=True)
class Stage:
    """A workspace that is thrown away, and the folder that it and all other repositories of the self-test lie in."""

    folder: Path
    ws: Workspace
    reviewer: Soul

    @property
    def git(self) -> Git:
        """The repository that the jobs work on."""
        return self.ws.git("main")


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """A new workspace below `folder`, which somebody else removes."""
    root = folder / "stage"
    with effect(Effect.RUN_FOLDER):
        ensure_folder(root)
        make_repository(root, {"main": {}})
        write_atomic(root / "orc.yaml", dump(CONFIG).encode(), sync=False)
        ensure_folder(root / "souls")
        write_atomic(root / "souls" / "reviewer.md", REVIEWER.encode(), sync=False)
        init_workspace(root, VISITOR, starter=False)
    with open_workspace(root) as ws:
        yield Stage(folder, ws, read_souls(root)[0]["reviewer"])


@contextmanager
def criteria_in_force(root: Path, kind: str, criteria: Mapping[str, Any]) -> Iterator[None]:
    """The workspace's own criteria for a kind of work, as long as the block lasts; without any, the shipped ones."""
    path = root / "criteria" / f"{kind}.yaml"
    if criteria:
        with effect(Effect.RUN_FOLDER):
            ensure_folder(path.parent)
            write_atomic(path, dump(criteria).encode(), sync=False)
    try:
        yield
    finally:
        if criteria:
            with effect(Effect.RUN_FOLDER):
                remove(path)


def make_repository(root: Path, branches: Mapping[str, Mapping[str, Any]]) -> Git:
    """A repository with a checkout and these branches, each one commit on the one before; the first is checked out."""
    git = Git(root / ".git", root, root / ".git" / "index", identity=PERSON)
    git.run("init", "--quiet", "--template=", "--initial-branch=main")
    parent = ""
    for name, files in branches.items():
        parent = make_commit(git.bare(), f"refs/heads/{name}", files, parent)
    git.run("read-tree", "-u", "--reset", next(iter(branches)))
    return git


def make_commit(git: Git, ref: str, files: Mapping[str, Any], parent: str = "", message: str = "") -> str:
    """A commit with these files changed against its parent, under `ref`; its id.

    A file is its text, null to remove it, or a mapping: `text` or `base64`, how many `times`, `executable`; `link` is
    what a symbolic link points to, and `repository` a commit of another repository.
    """
    stream = [b"feature done\n", b"commit %s\nmark :1\n" % ref.encode()]
    stream += [b"committer %s <%s> 1767225600 +0000\n" % (PERSON.name.encode(), PERSON.email.encode())]
    stream += [_data((message or "Work").encode()), b"from %s\n" % parent.encode() if parent else b""]
    stream += [_entry(path, value) for path, value in files.items()]
    stream += [b"\nget-mark :1\ndone\n"]
    made = git.run("fast-import", "--quiet", "--force", "--date-format=raw", stdin=b"".join(stream))
    return made.out.decode().strip()


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _quoted(path: str) -> bytes:
    """A path as git reads it in quotation marks."""
    plain = (b"\\%03o" % byte if byte < 32 or byte in b'"\\' else bytes((byte,)) for byte in path.encode())
    return b'"%s"' % b"".join(plain)


def _entry(path: str, value: Any) -> bytes:
    name = _quoted(_SIGN.sub(lambda found: chr(int(found[1], 16)), path))
    if value is None:
        return b"D %s\n" % name
    if isinstance(value, str):
        return b"M 100644 inline %s\n%s" % (name, _data(value.encode()))
    if "repository" in value:
        return b"M 160000 %s %s\n" % (str(value["repository"]).encode(), name)
    if "link" in value:
        return b"M 120000 inline %s\n%s" % (name, _data(str(value["link"]).encode()))
    content = base64.b64decode(value["base64"]) if "base64" in value else str(value.get("text", "")).encode()
    mode = b"100755" if value.get("executable") else b"100644"
    return b"M %s inline %s\n%s" % (mode, name, _data(content * int(value.get("times", 1))))
