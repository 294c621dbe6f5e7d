"""The same job as a bare shell script of git commands, with cold worktrees: what figure 1 is compared with.

Each git command flushes what it writes, as orc's do. No ledger is written, nothing is asked twice, nothing survives a
crash halfway, and nobody looks whether the checkout is in use.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.world import DURABLE, plain_environment

_HEAD = """set -e
name=$1 root=$PWD trees=$PWD/.git/bench
g() { git %(durable)s "$@"; }
"""
_ATTEMPT = """
g worktree add --quiet --detach "$trees/a" main
cd "$trees/a"
%(start)s
mkdir -p out; echo "done = True" > "out/$name.py"
g add -A; g commit --quiet -m "work"
tip=$(g rev-parse HEAD)
cd "$root"
"""
_MERGE = """
g merge --quiet --no-ff --no-edit -m "merge" "$tip"
"""

ONE_TREE = _HEAD + _ATTEMPT + '(cd "$trees/a" && sh -c true)' + _MERGE + 'g worktree remove --force "$trees/a"\n'
"""The least that does the work: one worktree, in which the check runs as well."""

SAME_STEPS = (
    _HEAD
    + _ATTEMPT
    + """
for step in checks review; do
  g worktree add --quiet --detach "$trees/$step" "$tip"
  (cd "$trees/$step" && sh -c true)
  g worktree remove --force "$trees/$step"
done
onto=$(g rev-parse main)
tree=$(g merge-tree --write-tree "$onto" "$tip")
merged=$(g commit-tree -p "$onto" -p "$tip" -m merge "$tree")
g update-ref refs/next/main "$merged"
g merge --quiet --ff-only "$merged"
g worktree remove --force "$trees/a"
"""
)
"""What orc does: work, checks and review each in a tree of its own; the merge built first, then landed."""


@dataclass(frozen=True, slots=True)
class ShellTime:
    """One run of a script, in milliseconds. `started_ms`: until the agent's place was reached."""

    wall_ms: float
    cpu_ms: float
    started_ms: float


def run_script(root: Path, script: str, name: str) -> ShellTime:
    """Run it in a repository. Raises CalledProcessError."""
    stamp = root / ".git" / "bench-started"
    # The agent's place: a program that leaves the time of its start, as the file's own.
    text = script % {"durable": " ".join(DURABLE), "start": f"touch '{stamp}'"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin, wall = time.monotonic(), time.time()
    subprocess.run(["/bin/sh", "-c", text, "sh", name], cwd=root, env=plain_environment(), check=True)
    seconds = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return ShellTime(seconds * 1000, cpu * 1000, (os.stat(stamp).st_mtime_ns / 1e9 - wall) * 1000)
