"""A bench for runs: a real project with a mirror, run folders, and shims that are started as the engine starts them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from made_once import put_copy

from orchestrator.adapters.descendants import kill_descendants
from orchestrator.adapters.locks import lease_is_free, release_lease, take_lease
from orchestrator.adapters.run_folder import RunFolder, read_result, write_spec
from orchestrator.adapters.run_values import RunResult, RunSpec
from orchestrator.adapters.shims import spawn_shim

SEALED_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "person",
    "GIT_AUTHOR_EMAIL": "person@example.invalid",
    "GIT_COMMITTER_NAME": "person",
    "GIT_COMMITTER_EMAIL": "person@example.invalid",
}


def git(*arguments: str, cwd: Path) -> str:
    """Run git without any configuration of this machine."""
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=SEALED_ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait for a condition; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def has_ended(shim: int) -> bool:
    """Whether a shim has ended; if it was our own child its zombie is taken away."""
    try:
        return os.waitpid(shim, os.WNOHANG)[0] == shim
    except ChildProcessError:
        return True


@dataclass
class StartedRun:
    """A shim that was started."""

    folder: RunFolder
    shim: int

    def wait(self) -> RunResult:
        """The result, once the shim has ended."""
        wait_until(lambda: has_ended(self.shim))
        result = read_result(self.folder)
        assert result is not None, self.folder.shim_log.read_text()
        return result

    def is_running(self) -> bool:
        """Whether the lease is held."""
        return not lease_is_free(self.folder.lease)


def _machinery(root: Path) -> None:
    project, orcdir = root / "project", root / "orc"
    for folder in (project, orcdir / "mirrors", orcdir / "runs", orcdir / "trees"):
        folder.mkdir(parents=True)
    (project / "README").write_text("a project\n")
    (project / "Makefile").write_text("deps:\n")
    git("init", "-q", "-b", "main", cwd=project)
    git("add", "-A", cwd=project)
    git("commit", "-q", "-m", "first", cwd=project)
    git("init", "-q", "-b", "main", "--bare", str(orcdir / "mirrors" / "main.git"), cwd=root)
    git("push", "-q", str(orcdir / "mirrors" / "main.git"), "main", cwd=project)


@dataclass
class Bench:
    """A workspace's machinery in a temporary folder, with one project of one commit."""

    root: Path
    runs: int = field(default=0)

    def __post_init__(self) -> None:
        self.orcdir = self.root / "orc"
        self.mirror = self.orcdir / "mirrors" / "main.git"
        self.tree = self.root / "state" / "trees" / "engineer" / "main"
        put_copy(_machinery, self.root)
        self.commit = (self.mirror / "refs" / "heads" / "main").read_text().strip()

    def spec(self, kind: str = "attempt", **changes: Any) -> dict[str, Any]:
        """A specification; `changes` replace whole keys, `limits`, `tree` and `launch` are merged."""
        self.runs += 1
        run = f"job-00000001.{kind}-{self.runs}"
        work = kind == "attempt"
        tree: dict[str, Any] = {
            "mode": "work" if work else "export",
            "path": str(self.tree if work else self.orcdir / "runs" / run / "tree"),
            "mirror": str(self.mirror),
            "commit": self.commit,
            "reuse": None,
            "branch": "orc/job-00000001",
            "keep": [],
            "include": [],
            "record": str(self.orcdir / "trees" / ("engineer.main.json" if work else f"{run}.json")),
            "seal_ref": f"refs/orc/attempts/job-00000001/{self.runs}" if work else None,
            "author": {"name": "engineer", "email": "engineer@agents.orc.invalid"},
        }
        limits = {"wall_s": 30, "grace_s": 1, "output_bytes": 1 << 20, "silent_s": 0}
        return {
            "protocol": 1,
            "run": run,
            "kind": kind,
            "job": "job-00000001",
            "number": self.runs,
            "orcdir": str(self.orcdir),
            "agent": "engineer",
            "project": "main",
            "setup": None,
            "launch": None if kind == "checks" else {"argv": ["/bin/true"], "stdin": "prompt.md"},
            "commands": [],
            **changes,
            "tree": tree | changes.get("tree", {}),
            "limits": limits | changes.get("limits", {}),
        }

    def shell(self, script: str, **changes: Any) -> dict[str, Any]:
        """The specification of an attempt whose agent is a line of shell."""
        return self.spec(launch={"argv": ["/bin/sh", "-c", script], "stdin": "prompt.md"}, **changes)

    def checks(self, *commands: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """The specification of a run of checks."""
        filled = [{"name": "check", "timeout_s": 20, **command} for command in commands]
        return self.spec("checks", commands=filled, **changes)

    def start(
        self, spec: Mapping[str, Any], *, prompt: str = "do it\n", facts: Mapping[str, Any] | None = None
    ) -> StartedRun:
        """Write the run folder and start the shim as the engine does."""
        folder = self.folder_of(spec)
        write_spec(folder, RunSpec.from_json(dict(spec)))
        (folder.path / "prompt.md").write_text(prompt)
        folder.facts.write_text(json.dumps(facts or {}))
        return self.start_folder(folder)

    def kill_strays(self, folder: RunFolder) -> list[int]:
        """What the engine does with a run whose shim is dead."""
        return kill_descendants(folder.path.name, run_dir=folder.path)

    def folder_of(self, spec: Mapping[str, Any]) -> RunFolder:
        """The folder of a run, made."""
        path = self.orcdir / "runs" / str(spec["run"])
        path.mkdir(mode=0o700)
        return RunFolder(path)

    def start_folder(self, folder: RunFolder) -> StartedRun:
        """Take the lease, hand it to a shim, let it go here."""
        folder.lease.parent.mkdir(exist_ok=True)
        lease = take_lease(folder.lease)
        assert lease is not None
        try:
            return StartedRun(folder, spawn_shim(folder.path, lease))
        finally:
            release_lease(lease)

    def run(self, spec: Mapping[str, Any], *, prompt: str = "do it\n") -> RunResult:
        """Start a run and wait for its result."""
        return self.start(spec, prompt=prompt).wait()
