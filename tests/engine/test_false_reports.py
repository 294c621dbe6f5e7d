"""Reports through the real engine: what is claimed and is not there sends the work back, and what is true does not."""

from __future__ import annotations

from pathlib import Path

import audit_world as w
import pytest
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.core import gate
from orchestrator.core.job import State

pytestmark = pytest.mark.slow

WRITES = {"code.py": "print('new')\n"}
COMMITS = (
    'git add -A && git commit -q {} -m "Greet" && echo "Committed as $(git rev-parse --short=8 HEAD)." > "$ORC_RESULT"'
)


@pytest.fixture
def world(repo: Path) -> World:
    return World(repo)


def proved(world: World) -> list[str]:
    """`orc verify` has nothing against any step; what it could not prove."""
    report = audit(world.root / ".git", {"main": world.root / ".git"})
    assert report.lies == ()
    return [doubt.text for doubt in report.unverifiable]


def refusals(world: World, number: int = 1) -> list[str]:
    return [each.rule for each in world.records("greet")[f"evidence-{number}"].failures]


def greet(world: World, more: str = "", **project: object) -> None:
    world.set_up(**project)
    world.drop("greet.yaml", f"prompt: greet\n{more}")
    world.run()


def test_a_false_report_comes_back_with_the_list_and_may_be_put_right_alone(world: World) -> None:
    false = "Committed as 4f1c2aa9. Added tests in `tests/test_code.py` and deleted `README.md`."
    world.plays = [attempt(1, write=WRITES, say=false), attempt(2, say="I wrote `code.py`.")]
    greet(world)
    assert [refusals(world, number) for number in (1, 2)] == [["phantom"], []]
    (fix,) = world.records("greet")["attempt-2"].fixes
    for untrue in ("4f1c2aa9", "tests/test_code.py", "README.md"):
        assert untrue in fix.problem
    assert world.records("greet")["evidence-1"].tree == world.records("greet")["evidence-2"].tree
    assert world.state("greet") is State.DONE
    assert proved(world) == []


def test_who_reports_the_same_again_has_used_up_the_attempts(world: World) -> None:
    world.plays = [attempt(write=WRITES, say="Committed as 4f1c2aa9.")]
    greet(world, "limits: {attempts: 2}\n")
    assert [refusals(world, number) for number in (1, 2)] == [["phantom"], ["phantom"]]
    assert world.state("greet") is State.DECIDE
    assert "Refused-By: phantom" in git(world.root, "log", "orc/state", "--grep", "^evidence: ")
    assert proved(world) == []


def test_what_was_asked_for_by_a_reviewer_is_still_to_be_done_after_a_false_report(world: World) -> None:
    wrong = {"match": {"kind": "review", "number": 1}, "verdict": "REVISE", "findings": [{"problem": "It is wrong."}]}
    false = attempt(2, append={"code.py": "# more\n"}, say="Committed as 4f1c2aa9.")
    world.plays = [attempt(1, write=WRITES), false, attempt(3, say="Nothing was committed."), wrong]
    greet(world)
    assert [refusals(world, number) for number in (1, 2, 3)] == [[], ["phantom"], ["unchanged"]]
    assert proved(world) == []


def test_the_authors_own_commit_is_found(world: World) -> None:
    world.plays = [attempt(write=WRITES, run=COMMITS.format(""), say="")]
    greet(world)
    assert world.records("greet")["attempt-1"].report.startswith("Committed as ")
    assert (refusals(world), world.state("greet")) == ([], State.DONE)
    assert proved(world) == []


def test_a_commit_that_was_made_and_could_not_be_taken_as_such_is_no_false_claim(world: World) -> None:
    world.plays = [attempt(write=WRITES, run=COMMITS.format("--amend"), say="")]
    greet(world)
    evidence = world.records("greet")["evidence-1"]
    (aside,) = evidence.aside
    assert aside.startswith(world.records("greet")["attempt-1"].report.split()[2].rstrip("."))
    assert (refusals(world), world.state("greet")) == ([], State.DONE)
    assert proved(world) == [f"commit {aside} is not in project main any more"]


def test_a_commit_from_before_is_not_the_authors_own(world: World) -> None:
    old = git(world.root, "rev-parse", "--short=8", "HEAD")
    world.plays = [
        attempt(1, write=WRITES, say=f"Committed as {old}."),
        attempt(2, say=f"The file was committed in {old} already; now it greets."),
    ]
    greet(world)
    assert [refusals(world, number) for number in (1, 2)] == [["phantom"], []]
    assert proved(world) == []


def test_what_git_ignores_and_what_stays_in_the_tree_is_honestly_not_there(world: World) -> None:
    (world.root / ".gitignore").write_text("*.log.md\n/build/\n")
    git(world.root, "add", ".gitignore")
    git(world.root, "commit", "-q", "-m", "ignore")
    files = {**WRITES, "cache/a.md": "x\n", "build/b.md": "x\n", "docs/c.log.md": "x\n"}
    said = "Created `cache/a.md`, `build/b.md` and `docs/c.log.md`."
    world.plays = [attempt(write=files, say=said)]
    greet(world, keep=["cache"])
    assert world.records("greet")["evidence-1"].keep == ("cache",)
    assert (refusals(world), world.state("greet")) == ([], State.DONE)
    assert proved(world) == []


FORGERIES = {
    "a refusal left out": ("rule: phantom", "rule: broken_objects"),
    "a file that stays in the tree": ("\ndocs:", "\nkeep: ['*.md']\ndocs:"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_became_of_a_report_cannot_be_forged(world: World, name: str) -> None:
    world.plays = [attempt(1, write=WRITES, say="Created `notes.md`."), attempt(2, say="Done.")]
    greet(world)
    old, new = FORGERIES[name]
    w.forge(world.root, lambda draft: _swap(draft, old, new))
    assert "evidence" in {lie.rule for lie in w.verify(world.root).lies}


def test_what_older_rules_said_of_a_report_is_a_doubt_and_no_lie(world: World) -> None:
    world.plays = [attempt(1, write=WRITES, say="Created `notes.md`."), attempt(2, say="Done.")]
    greet(world)
    w.forge(world.root, lambda draft: _swap(draft, f"diff_rules: {gate.VERSION}", "diff_rules: 1"))
    assert w.verify(world.root).lies == ()


def _swap(draft: w.Draft, old: str, new: str) -> None:
    for path, entry in list(draft.changes.items()):
        text = draft.objects.read(entry.oid).decode() if entry and path.endswith("/evidence-1.yaml") else ""
        if old in text:
            draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", text.replace(old, new, 1).encode()))
