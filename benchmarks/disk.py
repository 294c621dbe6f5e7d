"""Figure 7: what a job leaves on the disk, and that the person's repository is never tidied up because of orc."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ledger_maker import ledger_of
from benchmarks.result import Options, Result
from benchmarks.world import (
    EngineProcess,
    drop,
    ended,
    git,
    make_workspace,
    orc_environment,
    temporary_folder,
    wait_until,
)
from orchestrator.engine.upkeep import pack, write_graph
from orchestrator.engine.workspace import open_workspace

LARGE = 100_000
TIDYING = {"gc", "maintenance", "prune", "prune-packed", "pack-refs", "repack"}
"""Commands of git that tidy up."""


def measure(options: Options) -> list[Result]:
    """Figure 7."""
    few, jobs = (12, 60) if not options.quick else (3, 5)
    large = 400 if options.quick else LARGE
    with temporary_folder("disk") as folder:
        root = make_workspace(folder / "project", 10)
        # The most eager setting that there is: every command that may tidy up, does.
        git(root, "config", "gc.auto", "1")
        trace = folder / "git-events"
        git(root, "repack", "-a", "-d", "--quiet")
        before = used_by(root / ".git" / "objects"), used_by(root / ".git" / "orc")
        run_traced(root, folder, trace, few)
        loose = (used_by(root / ".git" / "objects") - before[0]) / few
        run_traced(root, folder, trace, jobs)
        beside = (used_by(root / ".git" / "orc") - before[1]) / jobs
        with open_workspace(root) as ws:
            pack(ws.ledger.git)
            write_graph(ws.ledger.git)
        packed = (used_by(root / ".git" / "objects") - before[0]) / jobs
        said = commands_of(trace)
    many = used_by(ledger_of(options, large) / ".git" / "objects") / large
    started = sorted({" ".join(each[:3]) for each in said if is_tidying(each)})
    return [
        _disk(
            f"disk for one job, loose ({few} jobs, before the first packing)",
            loose,
            "a block for each object, some seven to a step",
        ),
        _disk(f"disk for one job, packed ({jobs} jobs)", packed, "the words of its prompts, reports and steps"),
        _disk(f"disk for one job, packed ({large} jobs)", many, "the ids of the trees and commits of eleven steps"),
        _disk(f"disk for one job beside the ledger ({jobs} jobs)", beside, "mirror, trees and exports that are kept"),
        Result(
            "7",
            "times that git tidied up the person's repository (gc.auto=1)",
            float(len(started)),
            "",
            limit=0,
            note=f"of {len(said)} commands of git; found: {', '.join(started) or 'none'}. The packing of orc's own is "
            f"not counted: {sum(1 for each in said if is_ours(each))} times",
        ),
    ]


def _disk(name: str, count: float, bound: str) -> Result:
    return Result(
        "7", name, round(count / 1024, 2), "KiB", bounded_by=bound, note="blocks on the disk, not bytes of files"
    )


def used_by(folder: Path) -> int:
    """Bytes of the disk's blocks below a folder."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


@dataclass(frozen=True, slots=True)
class Traced:
    """A git on PATH that notes every command, those that git starts by itself as well."""

    folder: Path
    trace: Path

    def environment(self) -> dict[str, str]:
        """What `orc run` has to be given."""
        real = shutil.which("git")
        place = self.folder / "bin"
        place.mkdir(exist_ok=True)
        wrapper = place / "git"
        wrapper.write_text(f"#!/bin/sh\nGIT_TRACE2_EVENT='{self.trace}' exec '{real}' \"$@\"\n")
        wrapper.chmod(0o755)
        return {"PATH": f"{place}{os.pathsep}{orc_environment()['PATH']}"}


def run_traced(root: Path, folder: Path, trace: Path, jobs: int) -> None:
    """Run jobs until there are so many, with every command of git noted, those that git starts by itself as well."""
    with EngineProcess(root, environment=Traced(folder, trace).environment()) as engine:
        engine.wait_for_start()
        for number in range(len(ended(root)), jobs):
            drop(root, f"disk-{number:04d}")
        wait_until(lambda: len(ended(root)) >= jobs, seconds=60 + 10 * jobs, what="the end of the jobs", every=0.05)
        engine.wait_for_rest(still_s=0.5)


def commands_of(trace: Path) -> list[list[str]]:
    """The commands of git that ran, without the options before them."""
    found = []
    for line in trace.read_text("utf-8", "replace").splitlines():
        event = json.loads(line)
        if event.get("event") == "start":
            found.append(_command(event["argv"][1:]))
    return [each for each in found if each]


def _command(words: list[str]) -> list[str]:
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in ("-c", "-C") else 1
    return words[at:]


def is_tidying(command: list[str]) -> bool:
    """Whether it tidies up, and is not the packing that orc itself does."""
    return command[0] in TIDYING and not is_ours(command)


def is_ours(command: list[str]) -> bool:
    """Whether it is the packing that orc itself does."""
    return command[0] == "repack" and "--geometric=2" in command
