"""A person's project, its mirror and the trees of agents, all real, in a temporary folder."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from made_once import put_copy

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.worktrees import Prepared, Sealed, TreeSpec, open_mirror, prepare_tree, refresh_mirror
from orchestrator.adapters.worktrees import seal_tree as seal

WHEN = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "someone",
    "GIT_AUTHOR_EMAIL": "someone@example.invalid",
    "GIT_COMMITTER_NAME": "someone",
    "GIT_COMMITTER_EMAIL": "someone@example.invalid",
}


def shell(script: str, cwd: Path, *, check: bool = True) -> str:
    """Run lines of shell as a person or an agent would, with git naive."""
    command = ["/bin/sh", "-ec", script]
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def contents(root: Path, *, but: tuple[str, ...] = (".git",)) -> dict[str, str]:
    """Every file and link below `root` by its path: what it holds. Nothing is followed."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in but]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[os.path.relpath(path, root)] = "link " + os.readlink(path)
            elif stat.S_ISREG(mode):
                digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                found[os.path.relpath(path, root)] = f"{stat.S_IMODE(mode):o} {digest}"
            else:
                found[os.path.relpath(path, root)] = f"special {mode:o}"
    return {path: what for path, what in found.items() if path.split("/")[0] not in but}


def _project_and_mirror(root: Path) -> None:
    project = root / "project"
    project.mkdir()
    shell(
        "git init -q -b main; mkdir -p src/deep docs; echo one > src/a.py; echo two > src/deep/b.py;"
        "echo run > run.sh; chmod +x run.sh; ln -s src/a.py link; printf '*.log\\nout/\\n' > .gitignore;"
        "echo words > docs/d.md; git add -A; git commit -q -m first",
        project,
    )
    mirror = open_mirror(root / "orc" / "mirrors" / "main.git", project / ".git")
    refresh_mirror(mirror, project / ".git", ["refs/heads/main"])


@dataclass
class Farm:
    """A project with one commit, its mirror, and a tree for an agent."""

    root: Path
    jobs: int = field(default=0)

    def __post_init__(self) -> None:
        put_copy(_project_and_mirror, self.root)
        self.project = self.root / "project"
        self.mirror = open_mirror(self.root / "orc" / "mirrors" / "main.git", self.project / ".git")
        self.base = self.value("refs/heads/main")
        self.files = contents(self.project)

    def value(self, ref: str) -> str:
        """The commit that a ref of the mirror names."""
        found = rev_parse(self.mirror, ref)
        assert found is not None, f"no {ref}"
        return found

    def spec(self, agent: str = "engineer", **changes: Any) -> TreeSpec:
        """What the next job of an agent asks for."""
        self.jobs += 1
        data: dict[str, Any] = {
            "mode": "work",
            "path": str(self.root / "state" / "trees" / agent / "main"),
            "mirror": str(self.mirror.git_dir),
            "commit": self.base,
            "reuse": None,
            "branch": f"orc/job-{self.jobs}",
            "keep": [],
            "include": [],
            "record": str(self.root / "orc" / "trees" / f"{agent}.main.json"),
            "seal_ref": f"refs/orc/attempts/job-{self.jobs}/1",
            "author": {"name": agent, "email": f"{agent}@agents.orc.invalid"},
        }
        return TreeSpec.from_json(data | changes)

    def prepare(self, agent: str = "engineer", **changes: Any) -> tuple[TreeSpec, Prepared]:
        """Prepare a tree for a new job."""
        spec = self.spec(agent, **changes)
        return spec, prepare_tree(spec, when=WHEN)

    def seal(self, spec: TreeSpec, **limits: int) -> Sealed:
        """Seal a tree."""
        return seal(spec, when=WHEN, **limits)

    def refs(self, under: str) -> list[str]:
        """The commits under a prefix of the mirror's refs."""
        return self.mirror.text("for-each-ref", "--format=%(objectname)", under).split()

    def file(self, commit: str, path: str) -> str:
        """A file in a commit of the mirror."""
        return self.mirror.text("show", f"{commit}:{path}")

    def paths(self, commit: str) -> set[str]:
        """All files in a commit of the mirror."""
        return set(self.mirror.text("ls-tree", "-r", "--name-only", commit).splitlines())

    def project_files(self) -> dict[str, str]:
        """All that the person has, the repository included."""
        return contents(self.project, but=())


_CHILD = """
import json, os, signal, sys
from orchestrator.adapters.worktrees import TreeSpec, prepare_tree, seal_tree
from datetime import datetime, UTC
act, spec, fatal = sys.argv[1], TreeSpec.from_json(json.loads(sys.argv[2])), int(sys.argv[3])
seen, watching = 0, True
NAMES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.utime", "subprocess.Popen")
def count(event, args):
    global seen
    if not watching or event not in NAMES or (event == "open" and not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
        return
    seen += 1
    if seen == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
when = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
done = prepare_tree(spec, when=when) if act == "prepare" else seal_tree(spec, when=when)
watching = False
print(seen)
"""


def in_child(act: str, spec: TreeSpec, *, fatal: int = 0) -> subprocess.Popen[str]:
    """Prepare or seal in another process, which kills itself at its `fatal`-th change; it prints how many it made."""
    arguments = [sys.executable, "-c", _CHILD, act, json.dumps(spec.to_json()), str(fatal)]
    environment: Mapping[str, str] = ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def plain_git(repository: Path) -> Git:
    """The hardened door to a person's repository."""
    return Git(repository / ".git")
