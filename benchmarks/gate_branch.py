"""Figure 10: `orc gate` on a branch of a thousand changed lines, beside what git takes to count them."""

from __future__ import annotations

import json
import time
from pathlib import Path

from benchmarks.result import Middle, Options, Result, compare, middle
from benchmarks.world import git, make_repository, orc_argv, orc_environment, run, temporary_folder

LINES, PATHS = 1_000, 20
LIMIT_MS = 1_000.0
BOUND = "the start of Python, and three checkouts for the checks"


def measure(options: Options) -> list[Result]:
    """Figure 10."""
    return [_measure(options, files) for files in ([30] if options.quick else [100, 2_000])]


def _measure(options: Options, files: int) -> Result:
    with temporary_folder("gate") as folder:
        root = folder / "project"
        make_repository(root, files)
        make_branch(root)
        count = options.pick(15, 3)
        bare, looked = [], []
        # Turn and turn about, so that what else the machine does meets both alike.
        for number in range(count + 1):
            counted, judged = _count(root), _judge(root)
            if number:
                bare.append(counted)
                looked.append(judged)
    mid, base = middle(looked), middle(bare)
    return _result(f"orc gate beyond the checks, {LINES} lines, {files} files", mid, base)


def make_branch(root: Path) -> None:
    """The branch `feature` with so many changed lines in so many files, and a main that has moved on since."""
    git(root, "checkout", "--quiet", "-b", "feature")
    for number in range(PATHS):
        (root / f"new_{number}.py").write_text("".join(f"x_{line} = {line}\n" for line in range(LINES // PATHS)))
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a thousand lines")
    git(root, "checkout", "--quiet", "main")
    (root / "later.py").write_text("y = 1\n")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "later")


def _count(root: Path) -> float:
    """Milliseconds of git for the diff-stat of the branch."""
    begin = time.perf_counter()
    git(root, "diff", "--stat", "main...feature")
    return (time.perf_counter() - begin) * 1000


def _judge(root: Path) -> float:
    """Milliseconds of the gate, from its start to its end, less the checks. Raises RuntimeError if it is no pass."""
    begin = time.perf_counter()
    said = run(orc_argv("gate", "feature", "--check", "true", "--json"), root, env=orc_environment())
    wall, found = time.perf_counter() - begin, json.loads(said)
    if found["verdict"] != "PASS" or len(found["checks"]) != 3:
        raise RuntimeError(f"not what was to be measured: {said[:500]}")
    return (wall - float(found["seconds"]["checks"])) * 1000


def _result(name: str, mid: Middle, base: Middle) -> Result:
    return compare("10", name, mid, base, "`git diff --stat main...feature`", limit=LIMIT_MS, bounded_by=BOUND)
