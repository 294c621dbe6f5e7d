"""`orc demo` reaches every end, and each end is missed when the one rule that leads to it is switched off.

Started as a program, this file is the demo without a rule: `python test_demo.py END ARGUMENTS…` replaces the rule in
its own process and calls `orc` with the arguments. The product has no such switch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orchestrator.adapters.job_file import JobText, parse_job
from orchestrator.cli.main import main
from orchestrator.core import gate, judge
from orchestrator.core.job import Job, MergePolicy
from orchestrator.core.merge import merge_checked
from orchestrator.core.records import MergeRecord
from orchestrator.core.review_record import Item, Verdict
from orchestrator.core.transitions import Move
from orchestrator.core.verdict import Judgement, judge_reply
from orchestrator.engine import accept, collect, evidence, merge, trials
from orchestrator.errors import ExitCode, InvalidFileError

SOURCE = Path(__file__).resolve().parents[2]
ENDS = ("merged", "empty-diff", "unclear", "fixes", "merged-tree", "ask", "paths", "malformed")


# --- the program: the demo without one of its rules ---


def take_prose_for_approval(reply: str, *args: Any, **options: Any) -> Judgement:
    """A judge that looks for a word."""
    seen = (Item("seen", True, "it says so"),)
    approved = Judgement(Verdict.APPROVED, score=1.0, items=seen)
    return approved if "APPROVED" in reply else judge_reply(reply, *args, **options)


def pass_every_merged_tree(job: Job, record: MergeRecord, *args: Any) -> Move:
    """The checks of a merged tree count as passed, whatever they said."""
    return merge_checked(job, replace(record, tests="passed"), *args)


def take_anything_for_a_job(data: bytes, *, name: str) -> JobText:
    """A file with a mistake is a job all the same."""
    try:
        return parse_job(data, name=name)
    except InvalidFileError:
        return parse_job(b"prompt: Do something.\n", name=name)


def switch(module: ModuleType, name: str, rule: Callable[..., Any]) -> Callable[[], None]:
    """Puts another rule in the place of a function of a module."""
    assert hasattr(module, name), f"{module.__name__}.{name} was renamed: name it anew here"
    return lambda: setattr(module, name, rule)


def always_pass(name: str) -> Callable[[], None]:
    """Takes a rule out of the gate."""
    assert name in gate.RULES, f"the gate's rule {name} was renamed: name it anew here"

    def take_out() -> None:
        gate.RULES.update({name: lambda *_: ""})
        # An engine tries its gates, would notice, and begin nothing: what the rule itself leads to is to be seen.
        vars(trials)["find_broken"] = lambda: ()

    return take_out


SWITCHED_OFF: Mapping[str, Callable[[], None]] = {
    "merged": switch(merge, "move_target", lambda *_: None),
    "empty-diff": always_pass("empty_diff"),
    "unclear": switch(collect, "judge_reply", take_prose_for_approval),
    "fixes": switch(judge, "fixes_of", lambda _: ()),
    "merged-tree": switch(evidence, "merge_checked", pass_every_merged_tree),
    "ask": switch(judge, "merge_policy", lambda *_, **__: (MergePolicy.AUTO, "")),
    "paths": always_pass("out_of_scope"),
    "malformed": switch(accept, "parse_job", take_anything_for_a_job),
}


# --- the tests ---


@dataclass(frozen=True)
class Played:
    """What a demo left."""

    code: int
    json: dict[str, Any]

    def reached(self) -> dict[str, bool]:
        """Each end, and whether it was reached."""
        return {key: end["reached"] for key, end in self.json["ends"].items()}


def environment() -> dict[str, str]:
    """The environment of a test, with this checkout's package."""
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


def play(program: list[str], folder: Path, *only: str) -> Played:
    """Run a demo in a process of its own."""
    words = ["demo", "--json", "--dir", str(folder), *(word for end in only for word in ("--only", end))]
    done = subprocess.run(
        [sys.executable, *program, *words], cwd=folder.parent, env=environment(), capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    return Played(done.returncode, json.loads(done.stdout))


@pytest.mark.timeout(300)
def test_the_demo_reaches_every_end_and_proves_its_ledger(tmp_path: Path) -> None:
    played = play(["-m", "orchestrator"], tmp_path / "demo")
    assert played.reached() == dict.fromkeys(ENDS, True), played.json["ends"]
    assert played.json["verify"]["code"] == ExitCode.OK, played.json["verify"]
    assert played.code == ExitCode.OK
    claims = {(claim["job"], claim["attempt"]): claim for claim in played.json["claims"]}
    empty = claims["add-median", 1]
    assert (empty["diff"], empty["outcome"]) == ("0 files changed", "refused: empty_diff")
    # The merged work as a whole passes the repository's own tests, as a stranger would run them.
    tests = [sys.executable, "-B", "-m", "unittest", "-q"]
    done = subprocess.run(tests, cwd=played.json["folder"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_missed_when_its_rule_is_switched_off(end: str, tmp_path: Path) -> None:
    other = "malformed" if end == "merged" else "merged"
    played = play([__file__, end], tmp_path / "demo", other, end)
    assert played.reached() == {other: True, end: False}, played.json["ends"]
    assert played.code == ExitCode.FAILED


def test_a_folder_that_no_demo_made_stays_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    command = [sys.executable, "-m", "orchestrator", "demo", "--dir", str(mine)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == ExitCode.REFUSED, done.stderr
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_demo_replaces_the_first_and_can_be_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert play(["-m", "orchestrator"], folder, "malformed").code == ExitCode.OK
    (folder / "till" / "left-behind.txt").write_text("from the first")
    command = [sys.executable, "-m", "orchestrator", "demo", "--no-keep", "--only", "malformed", "--dir", str(folder)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert "priorty" in done.stdout
    assert not folder.exists()


if __name__ == "__main__":
    SWITCHED_OFF[sys.argv[1]]()
    main(sys.argv[2:])
