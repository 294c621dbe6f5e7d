"""A job that mends a defect shows it: its tests fail on the base and pass on the work, with real checks on both."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import audit_world as w
import pytest
from cli_world import orc
from engine_world import World, attempt, git
from warm_python import ORC, run_warm

from orchestrator.adapters.effects import KILL_AT
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import diff_stat, lay_over
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.ledger import REF
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.adapters.strict_yaml import dump, load_mapping
from orchestrator.core.evidence_record import Outcome
from orchestrator.core.gate import VERSION
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.reproduction import NOT_SHOWN, SHOWN, laid_over

CHECK = "for test in tests/test_*.sh; do sh $test || exit 1; done"
BROKEN, MENDED = "echo $(($1 - $2))\n", "echo $(($1 + $2))\n"
SUM, ZERO = 'test "$(sh add.sh 2 2)" = 4\n', 'test "$(sh add.sh 2 0)" = 2\n'
SHOWS = {"add.sh": MENDED, "tests/test_sum.sh": SUM}
SHOWS_NOT = {"add.sh": MENDED, "tests/test_nought.sh": ZERO}
STEPS = ["accept", "start", "collect", "evidence", "check", "checked", "check", "checked", "review", "verdict"]


def begin(repo: Path) -> World:
    (repo / "add.sh").write_text(BROKEN)
    (repo / "tests").mkdir()
    (repo / "tests" / "test_zero.sh").write_text(ZERO)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "adds")
    return World(repo)


@pytest.fixture
def world(repo: Path) -> World:
    return begin(repo)


def mend(world: World, *plays: dict[str, object], keys: str = "", checks: tuple[str, ...] = (CHECK,)) -> None:
    world.plays = list(plays)
    world.set_up(checks=list(checks))
    world.drop("mend.yaml", f"prompt: mend\nreproduces: true\n{keys}")


def assert_proved(world: World) -> None:
    report = w.verify(world.root)
    assert (report.lies, report.unverifiable) == ((), ())


def test_work_whose_test_fails_on_the_base_is_reviewed_and_lands(world: World) -> None:
    mend(world, attempt(write=SHOWS))
    world.run()
    assert world.state("mend") is State.DONE
    assert world.steps("mend")[: len(STEPS)] == STEPS
    evidence = world.records("mend")["evidence-1"]
    assert (evidence.tests, evidence.reproduction) == ("passed", SHOWN)
    assert [each.outcome for each in evidence.reproduction_checks] == [Outcome.FAILED]
    laid = git(world.root, "ls-tree", "-r", "--name-only", evidence.tree)
    door = Git(world.root / ".git" / "orc" / "mirrors" / "main.git")
    tree = evidence.reproduction_tree
    assert door.text("ls-tree", "-r", "--name-only", tree) == laid
    assert door.text("show", f"{tree}:add.sh") == BROKEN.strip()
    assert door.text("show", f"{tree}:tests/test_sum.sh") == SUM.strip()
    shown = orc(world.root, "show", "mend").out
    assert "the defect is shown" in shown
    assert orc(world.root, "show", "mend", "--json").json()["records"]["evidence-1"]["reproduction"] == SHOWN
    asked = git(world.root, "log", "orc/state", "--format=%H", "--grep=^review: mend-").split()[0]
    (path,) = [
        each
        for each in git(world.root, "ls-tree", "-r", "--name-only", asked).splitlines()
        if each.endswith("review-1.prompt.md")
    ]
    assert "the defect is shown" in world.show(path, asked)
    assert_proved(world)


def test_a_test_that_passes_on_the_base_as_well_is_sent_back(world: World) -> None:
    mend(world, attempt(1, write=SHOWS_NOT), attempt(2, write=SHOWS))
    world.run()
    assert world.state("mend") is State.DONE
    records = world.records("mend")
    first, (fix,) = records["evidence-1"], records["attempt-2"].fixes
    assert (first.tests, first.reproduction) == ("passed", NOT_SHOWN)
    assert fix.problem.startswith("The tests that came with the change pass on the base as well")
    assert records["review-1"].evidence == 2
    assert world.job("mend").at.spent == 1
    assert_proved(world)


def test_work_without_a_test_is_refused_before_anything_is_run(world: World) -> None:
    mend(world, attempt(1, write={"add.sh": MENDED}), attempt(2, write=SHOWS))
    world.run()
    records = world.records("mend")
    assert [each.rule for each in records["evidence-1"].failures] == ["no_reproduction"]
    assert (records["evidence-1"].tests, records["evidence-1"].reproduction_tree) == ("", "")
    assert "no test comes with the change" in records["attempt-2"].fixes[0].problem
    assert world.state("mend") is State.DONE
    assert_proved(world)


def test_work_that_never_shows_the_defect_is_a_persons_question(world: World) -> None:
    mend(world, attempt(write=SHOWS_NOT), keys="limits: {attempts: 1}\n")
    world.run()
    card = world.card("mend")
    assert (card.kind, card.context) == (CardKind.ATTEMPTS, "the defect is not shown by the new tests")
    assert_proved(world)


def test_a_time_out_on_the_base_shows_nothing(world: World) -> None:
    endless = 'while test "$(sh add.sh 2 2)" != 4; do sleep 0.1; done\n'
    keys = f"limits: {{attempts: 1}}\nchecks: [{{run: '{CHECK}', timeout_s: 1}}]\n"
    mend(world, attempt(write={"add.sh": MENDED, "tests/test_sum.sh": endless}), keys=keys)
    world.run()
    evidence = world.records("mend")["evidence-1"]
    assert [each.outcome for each in evidence.reproduction_checks] == [Outcome.TIMEOUT]
    assert evidence.reproduction == NOT_SHOWN
    assert "took too long" in world.job("mend").at.fixes[0].problem
    assert_proved(world)


def test_a_job_that_no_check_could_prove_is_not_taken_in(world: World) -> None:
    mend(world, attempt(write=SHOWS), checks=())
    world.run()
    (reason,) = (world.root / "queue" / "rejected").rglob("*.txt")
    assert "proved by a check, and" in reason.read_text()


@pytest.mark.parametrize("tests", ["", "passed"])
def test_where_the_checks_were_taken_away_only_a_person_lets_it_on(world: World, tests: str) -> None:
    mend(world, attempt(write=SHOWS))
    world.run(until=lambda ws: tests in [folder.job.at.tests for folder in ws.ledger.snapshot().active])
    assert world.job("mend").at.tests == tests
    place = world.root / "orc.yaml"
    config = load_mapping(place.read_bytes(), max_bytes=100_000).value
    config["projects"]["main"]["checks"] = []
    place.write_text(dump(config))
    world.run()
    assert world.card("mend").kind is CardKind.HUMAN_REVIEW
    world.answer("mend", "approve")
    world.run()
    assert world.state("mend") is State.DONE
    assert_proved(world)


PLACES = [
    *(f"merge.build:{side}:{number}" for number in (1, 2, 3) for side in ("before", "after")),
    *(f"{effect}:{side}:3" for effect in ("run.folder", "run.spawn") for side in ("before", "after")),
    *(f"ledger.ref:{side}:{number}" for number in (7, 8, 9) for side in ("before", "after")),
]
"""From the look at the diff to the end of the second run of the checks."""


@pytest.mark.parametrize("place", PLACES)
def test_the_engine_goes_on_where_it_was_killed_between_the_two_runs(world: World, place: str) -> None:
    mend(world, attempt(write=SHOWS))
    argv = [ORC[1], "run", "--until-idle", "--quiet"]
    died = run_warm(ORC[0], argv, cwd=world.root, env={**os.environ, KILL_AT: place}, timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert world.state("mend") is not State.DONE
    world.run()
    assert world.state("mend") is State.DONE
    assert world.records("mend")["evidence-1"].reproduction == SHOWN
    assert world.steps("mend").count("check") == 2
    assert_proved(world)


# --- the tree ---


def test_the_tests_of_a_change_replace_those_of_the_base_and_nothing_else_changes(repo: Path) -> None:
    door = Git(repo / ".git")
    before = {"app.py": "1\n", "tests/old.py": "1\n", "tests/gone.py": "1\n", "spec": "a file\n", "test_x.py/a": "1\n"}
    after = {"app.py": "2\n", "tests/old.py": "2\n", "spec/ü x.json": "{}\n", "test_x.py": "1\n", "new.py": "1\n"}
    commits = []
    for files in (before, after):
        git(repo, "rm", "-rqf", "--ignore-unmatch", ".")
        for name, text in files.items():
            (repo / name).parent.mkdir(parents=True, exist_ok=True)
            (repo / name).write_text(text)
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", "x")
        commits.append(git(repo, "rev-parse", "HEAD"))
    tree = lay_over(door, commits[0], laid_over(diff_stat(door, *commits).changes))
    assert door.text("ls-tree", "-r", "-z", "--name-only", tree).split("\0")[:-1] == [
        "app.py", "spec/ü x.json", "test_x.py", "tests/old.py",
    ]  # fmt: skip
    assert [door.text("show", f"{tree}:{name}") for name in ("app.py", "tests/old.py")] == ["1", "2"]
    assert git(repo, "status", "--porcelain") == ""


# --- proving it ---


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world in which a first attempt showed nothing and the second did."""
    root = tmp_path_factory.mktemp("mended") / "work"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "Ada")
    world = begin(root)
    mend(world, attempt(1, write=SHOWS_NOT), attempt(2, write=SHOWS))
    world.run()
    assert world.state("mend") is State.DONE
    assert_proved(world)
    return root


FORGERIES = {
    "shown in place of not shown": ("evidence-1.yaml", "reproduction: not shown", "reproduction: shown", "checks"),
    "not shown in place of shown": ("evidence-2.yaml", "reproduction: shown", "reproduction: not shown", "checks"),
    "another tree": ("evidence-2.yaml", "reproduction_tree: ", "reproduction_tree: beef", "evidence"),
    "no tree": ("evidence-2.yaml", "reproduction_tree: ", "# ", "evidence"),
    "results left out": ("evidence-2.yaml", "\nreproduction_checks:", "\nunknown:", "record"),
    "a failure that ended well": ("evidence-2.yaml", "failed\n    exit: 1", "failed\n    exit: 0", "checks"),
}
"""What is changed in which file, and the rule that finds it out."""


def swap(draft: w.Draft, name: str, old: str, new: str) -> None:
    for path, entry in list(draft.changes.items()):
        text = draft.objects.read(entry.oid).decode() if entry and path.endswith(f"/{name}") else ""
        if old in text and new not in text:
            draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", text.replace(old, new, 1).encode()))


def lies_of(mended: Path, root: Path, forger: w.Forger) -> set[str]:
    shutil.copytree(mended, root)
    before = rev_parse(Git(root / ".git"), REF)
    w.forge(root, forger)
    assert rev_parse(Git(root / ".git"), REF) != before
    return {str(lie.rule) for lie in w.verify(root).lies}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_the_new_tests_showed_cannot_be_forged(mended: Path, tmp_path: Path, name: str) -> None:
    file, old, new, rule = FORGERIES[name]
    assert rule in lies_of(mended, tmp_path / "forged", lambda draft: swap(draft, file, old, new))


def test_that_a_check_failed_on_the_base_does_not_fit_work_that_was_sent_back(mended: Path, tmp_path: Path) -> None:
    def forger(draft: w.Draft) -> None:
        for path, entry in draft.changes.items():
            text = draft.objects.read(entry.oid).decode() if entry and path.endswith("/evidence-1.yaml") else ""
            head, name, tail = text.partition("reproduction: not shown")
            if name:
                tail = tail.replace("outcome: passed\n    exit: 0", "outcome: failed\n    exit: 1", 1)
                told = f"{head}reproduction: shown{tail}".encode()
                draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", told))
        draft.trailers = [(key, value.replace("not shown", "shown")) for key, value in draft.trailers]

    assert lies_of(mended, tmp_path / "forged", forger) == {"checks"}


def test_a_tree_that_other_rules_built_is_a_doubt_and_no_lie(mended: Path, tmp_path: Path) -> None:
    root = tmp_path / "other"
    shutil.copytree(mended, root)
    tree = World(root).records("mend")["evidence-2"].reproduction_tree

    def forger(draft: w.Draft) -> None:
        draft.swap_all(tree, "b" * 40)
        swap(draft, "evidence-2.yaml", f"diff_rules: {VERSION}", "diff_rules: 99")

    w.forge(root, forger)
    report = w.verify(root)
    assert report.lies == ()
    assert [each.text for each in report.unverifiable] == [
        f"version 99 of the rules of the diff said what tests are, and this is {VERSION}"
    ]


def test_the_run_on_the_base_cannot_be_left_out(mended: Path, tmp_path: Path) -> None:
    def forger(draft: w.Draft) -> None:
        if draft.event == "checked" and draft.old.trailer("Reproduction") == SHOWN:
            draft.dropped = True

    assert lies_of(mended, tmp_path / "forged", forger)
