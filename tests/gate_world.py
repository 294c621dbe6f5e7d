"""Repositories with branches to judge, as other people leave them, and the gate upon them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from made_once import put_copy
from tree_helpers import ENVIRONMENT, contents

from orchestrator.adapters.git import Git, reading
from orchestrator.adapters.git_person import own_dir
from orchestrator.core.gated import Gated, Named
from orchestrator.core.job import Check, JobSpec
from orchestrator.engine.gate import Asked, gate_branch
from orchestrator.engine.gate_names import find_named

CRITIC = """\
import json, os, sys

facts = json.load(open(os.environ["ORC_FACTS"]))
answer = {
    "nonce": facts["nonce"], "job": facts["job"], "commit": facts["commit"], "files": facts["files"],
    "verdict": "APPROVED", "findings": [], "summary": "Read.",
    "items": [{"id": item["id"], "pass": True, "evidence": "seen"} for item in facts["items"]],
    "claims": [{"id": each["id"], "result": "supported", "evidence": "read"} for each in facts["claims"]],
}
sys.stdin.read()
"""
"""A reviewer that approves; what is to be different is written below it."""


def shell(script: str, cwd: Path, *, stdin: bytes = b"") -> str:
    """Run lines of shell as a person would, with git naive."""
    argv = ["/bin/sh", "-ec", script]
    done = subprocess.run(argv, cwd=cwd, env=ENVIRONMENT, input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, f"{script}\n{done.stdout!r}{done.stderr!r}"
    return done.stdout.decode("utf-8", "surrogateescape").strip()


@dataclass
class Ground:
    """A repository with `main` and a branch `feature` that adds a line to `code.py`."""

    root: Path
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.repo = put_copy(_two_branches, self.root / "repo")

    def git(self, script: str, *, stdin: bytes = b"") -> str:
        """Lines of shell in the repository."""
        return shell(script, self.repo, stdin=stdin)

    def commit(self, files: Mapping[str, str | None], message: str = "change") -> str:
        """Commit these files (None: removed) where the checkout is; the commit."""
        for name, text in files.items():
            path = self.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        self.git(f"git add -A; git commit -q --allow-empty -m '{message}'")
        return self.git("git rev-parse HEAD")

    def branch(self, name: str, files: Mapping[str, str | None], *, start: str = "main") -> str:
        """A new branch with one commit; the checkout goes back to main."""
        self.git(f"git checkout -q -b {name} {start}")
        commit = self.commit(files, name)
        self.git("git checkout -q main")
        return commit

    def gate(self, branch: str = "feature", *checks: str | Check, at: Path | None = None, **more: Any) -> Gated:
        """Judge a branch in this process; `review` is the command of a reviewer."""
        spec, command = more.pop("spec", JobSpec("")), tuple(shlex.split(more.pop("review", "")))
        listed = tuple(each if isinstance(each, Check) else Check(each, timeout_s=30) for each in checks)
        asked = Asked(branch, spec, checks=listed, command=command, **more)
        return gate_branch(at or self.repo, asked, lambda what, how_far: self.told.append(what))

    def named(self, name: str) -> Named:
        """What a gate takes a name for."""
        with reading(Git(own_dir(self.repo))) as git:
            return find_named(git, name)

    def critic(self, change: str = "", end: str = "print(json.dumps(answer))") -> str:
        """The command of a reviewer whose answer is changed by a line of Python."""
        script = self.root / "critic.py"
        script.write_text(f"{CRITIC}{change}\n{end}\n")
        return f"{sys.executable} {script}"

    def everything(self) -> dict[str, str]:
        """All files of the repository, what git keeps included."""
        return contents(self.repo, but=())


def _two_branches(root: Path) -> None:
    shell("git init -q -b main; echo 'one = 1' > code.py; echo words > notes.md", root)
    shell("git add -A; git commit -q -m first; git checkout -q -b feature", root)
    shell("echo 'two = 2' >> code.py; git commit -q -a -m feature; git checkout -q main", root)


def cache_of(root: Path) -> str:
    """A cache folder of its own, in which gates have theirs: a value of XDG_CACHE_HOME."""
    return str(root / "cache")


def left_overs(root: Path) -> list[str]:
    """What gates have left in that cache folder."""
    return sorted(os.listdir(Path(cache_of(root)) / "orc"))
