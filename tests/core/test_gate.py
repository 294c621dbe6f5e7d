"""The gate on the diff: for each rule what it must refuse and what it must let pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import a_change, a_result, a_spec

from orchestrator.core.config import DOCS, PROTECTED
from orchestrator.core.diffstat import GITLINK, SYMLINK
from orchestrator.core.evidence_record import Outcome
from orchestrator.core.gate import RULES, DiffFacts, judge_checks, judge_diff, protected_paths
from orchestrator.core.globs import matches
from orchestrator.core.job import Expects, JobSpec, Kind

REPORT = "The cause is a missing index on the table."
MENDS = a_spec(reproduces=True)
NO_CHANGE = a_spec(expects=Expects.NO_CHANGE, kind=Kind.RESEARCH)


def facts(*paths: str, **keys: Any) -> DiffFacts:
    return DiffFacts(tuple(a_change(path) for path in paths), **keys)


def link(path: str, points_to: str) -> DiffFacts:
    change = a_change(path, "A", old_mode="000000", new_mode=SYMLINK)
    return DiffFacts((change, a_change("src/a.py")), links=((path, points_to),))


REFUSED: list[tuple[str, JobSpec, DiffFacts]] = [
    ("empty_diff", a_spec(), facts()),
    ("empty_diff", a_spec(kind=Kind.WRITING), facts()),
    ("plan_only", a_spec(), facts("plans/login.md")),
    ("plan_only", a_spec(), facts("README.md", "docs/a/b.html", "src/notes.rst")),
    ("whitespace_only", a_spec(), facts("src/a.py", whitespace_only=frozenset({"src/a.py"}))),
    ("whitespace_only", a_spec(), facts("src/a.py", "README.md", whitespace_only=frozenset({"src/a.py"}))),
    ("plan_only", a_spec(), facts("rounding.txt", "README.md", notes=frozenset({"rounding.txt"}))),
    (
        "whitespace_only",
        a_spec(),
        facts("a.py", "notes", whitespace_only=frozenset({"a.py"}), notes=frozenset({"notes"})),
    ),
    ("whitespace_only", a_spec(kind=Kind.WRITING), facts("a.md", whitespace_only=frozenset({"a.md"}))),
    ("unexpected_change", NO_CHANGE, facts("src/a.py", report=REPORT)),
    ("missing_report", NO_CHANGE, facts()),
    ("missing_report", NO_CHANGE, facts(report="Done done done. " * 9)),
    ("missing_report", NO_CHANGE, facts(report="Done. All good.")),
    ("missing_deliverable", a_spec(deliverables=("out/*.csv",)), facts("src/a.py")),
    (
        "missing_deliverable",
        a_spec(deliverables=("out/a.csv",)),
        facts("out/a.csv", empty_files=frozenset({"out/a.csv"})),
    ),
    ("missing_deliverable", a_spec(deliverables=("out/a.csv",)), DiffFacts((a_change("out/a.csv", "D"),))),
    ("missing_deliverable", a_spec(deliverables=("a.py", "b.py")), facts("a.py")),
    ("out_of_scope", a_spec(paths=("src/",)), facts("src/a.py", "setup.py")),
    ("out_of_scope", a_spec(paths=("src/*.py",)), facts("src/deep/a.py")),
    ("hostile_entry", a_spec(), DiffFacts((a_change("vendor/lib", "A", new_mode=GITLINK),))),
    ("hostile_entry", a_spec(), link("src/l", "/etc/passwd")),
    ("hostile_entry", a_spec(), link("src/l", "../../outside")),
    ("hostile_entry", a_spec(), link("l", "..")),
    ("hostile_entry", a_spec(), link("l", ".git/config")),
    ("hostile_entry", a_spec(), link("src/l", "../.GIT/hooks")),
    ("hostile_entry", a_spec(), link("src/l", "here/../../x")),
    ("hostile_entry", a_spec(), link("src/l", "here/../x")),
    ("hostile_entry", a_spec(), replace(link("l", "a/b/../../x"), folders=frozenset({"a/b"}))),
    ("hostile_entry", a_spec(), replace(link("l", "a/../.git/config"), folders=frozenset({"a"}))),
    ("hostile_entry", a_spec(), replace(link("l", "a/../../x"), folders=frozenset({"a"}))),
    ("hostile_entry", a_spec(), DiffFacts((a_change("l", "A", new_mode=SYMLINK),))),
    ("hostile_entry", a_spec(), facts("src/.git/hooks/post-checkout")),
    ("hostile_entry", a_spec(), facts("src/.Git")),
    ("hostile_entry", a_spec(), facts("src/a\nb.py")),
    ("hostile_entry", a_spec(), facts("src/\x1b[2Ja.py")),
    ("hostile_entry", a_spec(), facts("src/\udcff.py")),
    ("hostile_entry", a_spec(), facts("licence\u202etxt.py")),
    ("conflict_marks", a_spec(), facts("src/a.py", "src/b.py", marked=frozenset({"src/b.py"}))),
    ("conflict_marks", a_spec(kind=Kind.WRITING), facts("a.md", marked=frozenset({"a.md"}))),
    ("hidden_lines", a_spec(), facts("src/a.py", hidden=frozenset({"src/a.py"}))),
    ("no_reproduction", MENDS, facts("src/a.py", "docs/tests.md", "pyproject.toml", "src/contest/a.py")),
    ("no_reproduction", MENDS, DiffFacts((a_change("src/a.py"), a_change("tests/test_a.py", "D")))),
    ("no_reproduction", MENDS, facts("src/lib.rs")),
    ("hostile_entry", a_spec(), facts("src/A.py", twins=frozenset({"src/A.py"}))),
    ("missing_deliverable", a_spec(deliverables=("l",)), link("l", "src/a.py")),
    ("unchanged", a_spec(), facts("src/a.py", tree="t1", previous_tree="t1")),
    ("unchanged", a_spec(), facts("src/a.py", tree="t2", previous_tree="t1", is_previous_but_for_space=True)),
    ("phantom", a_spec(), facts("src/a.py", report="Committed as 4f1c2aa9.")),
    ("phantom", a_spec(kind=Kind.WRITING), facts("a.md", report="I wrote `b.md`.")),
]

PASSED: list[tuple[str, JobSpec, DiffFacts]] = [
    ("empty_diff", a_spec(), facts("src/a.py")),
    ("empty_diff", NO_CHANGE, facts(report=REPORT)),
    ("plan_only", a_spec(), facts("src/a.py", "README.md")),
    ("plan_only", a_spec(kind=Kind.WRITING), facts("docs/guide.md")),
    ("plan_only", a_spec(deliverables=("README.md",)), facts("README.md")),
    ("plan_only", a_spec(), facts("docs/conf.py")),
    ("plan_only", a_spec(), facts("words.txt")),
    ("plan_only", a_spec(), facts("words.txt", "a.py", notes=frozenset({"words.txt"}))),
    ("plan_only", a_spec(prompt="Write the notice."), facts("NOTICE", notes=frozenset({"NOTICE"}))),
    ("plan_only", a_spec(prompt="Write words.txt."), facts("words.txt", notes=frozenset({"words.txt"}))),
    ("plan_only", a_spec(deliverables=("*.txt",)), facts("words.txt", notes=frozenset({"words.txt"}))),
    ("whitespace_only", a_spec(), facts("src/a.py", "src/b.py", whitespace_only=frozenset({"src/a.py"}))),
    ("whitespace_only", a_spec(kind=Kind.WRITING), facts("a.md", "b.md", whitespace_only=frozenset({"a.md"}))),
    ("unexpected_change", NO_CHANGE, facts(report=REPORT)),
    ("missing_report", NO_CHANGE, facts(report=REPORT)),
    ("missing_deliverable", a_spec(deliverables=("out/*.csv", "src/")), facts("out/a.csv", "src/x/y.py")),
    ("out_of_scope", a_spec(paths=("src/", "*.toml")), facts("src/deep/a.py", "pyproject.toml")),
    ("out_of_scope", a_spec(), facts("anything/at/all.py")),
    ("hostile_entry", a_spec(), link("src/l", "../README")),
    ("hostile_entry", a_spec(), link("src/l", "sub/file")),
    ("hostile_entry", a_spec(), link("l", "./a/b")),
    ("hostile_entry", a_spec(), replace(link("l", "a/b/../../x"), folders=frozenset({"a/b", "a"}))),
    ("hostile_entry", a_spec(), replace(link("a/b/l", "../../c/../x"), folders=frozenset({"c"}))),
    ("hostile_entry", a_spec(), link("a/b/l", "./.././x")),
    ("hostile_entry", a_spec(), facts("src/.gitignore", "src/a.git", "git/x", "ünïcode.py")),
    ("hostile_entry", a_spec(), DiffFacts((a_change("vendor/lib", "D", old_mode=GITLINK, new_mode="000000"),))),
    ("hostile_entry", a_spec(), DiffFacts((a_change("src/a\nb.py", "D", new_mode="000000"),))),
    ("conflict_marks", a_spec(), facts("src/a.py")),
    ("hidden_lines", a_spec(), facts("src/a.py", "logo.png")),
    ("no_reproduction", a_spec(), facts("src/a.py")),
    ("no_reproduction", MENDS, facts("src/a.py", "src/test_a.py")),
    ("no_reproduction", MENDS, facts("tests/cases/umlauts.json")),
    ("no_reproduction", MENDS, facts("src/lib.rs", "src/lib/tests.rs")),
    ("no_reproduction", MENDS, facts()),
    ("unchanged", a_spec(), facts("src/a.py", tree="t2", previous_tree="t1")),
    ("unchanged", a_spec(), facts("src/a.py", tree="t1")),
    ("phantom", a_spec(), facts("src/a.py", report="I changed `src/a.py` and read `b.py`.")),
    ("phantom", NO_CHANGE, facts("src/a.py", report="I wrote `b.md`.")),
    ("phantom", a_spec(), facts(report="I wrote `b.md`.")),
]


@pytest.mark.parametrize(("rule", "spec", "seen"), REFUSED)
def test_the_rule_refuses(rule: str, spec: JobSpec, seen: DiffFacts) -> None:
    failures = {failure.rule: failure.text for failure in judge_diff(spec, seen, DOCS)}
    assert failures.get(rule)


@pytest.mark.parametrize(("rule", "spec", "seen"), PASSED)
def test_the_rule_lets_pass(rule: str, spec: JobSpec, seen: DiffFacts) -> None:
    assert rule not in {failure.rule for failure in judge_diff(spec, seen, DOCS)}


def test_every_rule_has_something_to_refuse_and_something_to_let_pass() -> None:
    assert {rule for rule, *_ in REFUSED} == set(RULES) == {rule for rule, *_ in PASSED}


def test_good_work_passes_every_rule() -> None:
    assert judge_diff(a_spec(paths=("src/",)), facts("src/a.py", tree="t2", previous_tree="t1"), DOCS) == ()


def test_every_failure_is_told_not_only_the_first() -> None:
    found = judge_diff(a_spec(paths=("src/",), deliverables=("x.py",)), facts("l\n"), DOCS)
    assert {failure.rule for failure in found} == {"missing_deliverable", "out_of_scope", "hostile_entry"}


def test_a_link_through_another_link_cannot_climb_out_of_the_tree() -> None:
    changes = tuple(a_change(path, "A", new_mode=SYMLINK) for path in ("a/b/top", "out"))
    climbing = DiffFacts(changes, links=(("a/b/top", "../.."), ("out", "a/b/top/../secret")))
    failures = {failure.rule: failure.text for failure in judge_diff(a_spec(), climbing, DOCS)}
    assert "out" in failures["hostile_entry"]
    assert "a/b/top" not in failures["hostile_entry"]


def test_names_that_are_not_text_are_told_so_that_they_can_be_written_down() -> None:
    found = judge_diff(a_spec(paths=("src/",)), facts("x/\udcff", "x/\x1b[2J"), DOCS)
    assert "out_of_scope" in {failure.rule for failure in found}
    for failure in found:
        assert failure.text.isprintable()
        assert failure.text.encode()


def test_long_lists_of_paths_are_cut_and_counted() -> None:
    found = judge_diff(a_spec(paths=("src/",)), facts(*(f"x{n}.py" for n in range(12))), DOCS)
    assert "x4.py and 7 more" in found[0].text
    assert "x5.py" not in found[0].text


@pytest.mark.parametrize(
    ("glob", "fits", "does_not"),
    [
        ("*.md", ["a.md", "x/y/a.md"], ["a.mdx", "a.md/b"]),
        ("CLAUDE.md", ["CLAUDE.md", "sub/CLAUDE.md"], ["XCLAUDE.md", "CLAUDE.md.bak"]),
        ("/CLAUDE.md", ["CLAUDE.md"], ["sub/CLAUDE.md"]),
        ("docs/**", ["docs/a", "docs/a/b/c"], ["docs", "x/docs/a", "docsx/a"]),
        ("docs/", ["docs/a", "docs/a/b"], ["docs", "x/docs/a"]),
        ("src/*", ["src/a"], ["src/a/b", "src"]),
        ("src/*/x.py", ["src/a/x.py"], ["src/x.py", "src/a/b/x.py"]),
        ("src/**/x.py", ["src/x.py", "src/a/x.py", "src/a/b/x.py"], ["src/a/xx.py", "x.py"]),
        ("**/x.py", ["x.py", "a/b/x.py"], ["a/bx.py"]),
        ("**", ["x", "a/b/c"], []),
        ("a?.py", ["ab.py", "x/ac.py"], ["a.py", "a/.py"]),
        ("a+(b)[c].py", ["a+(b)[c].py"], ["abc.py"]),
        ("./src/*.py", ["src/a.py"], ["a.py", "src/b/a.py"]),
        ("a.py", ["a.py"], ["axpy", "a.py\n"]),
        ("**", ["with\nline end"], []),
    ],
)
def test_globs(glob: str, fits: list[str], does_not: list[str]) -> None:
    assert [path for path in (*fits, *does_not) if matches(path, (glob,))] == fits


def test_no_glob_fits_nothing() -> None:
    assert not matches("a", ())


@pytest.mark.parametrize(
    ("outcomes", "tests"),
    [
        ([], "none"),
        ([Outcome.PASSED, Outcome.PASSED], "passed"),
        ([Outcome.PASSED, Outcome.FLAKY], "flaky"),
        ([Outcome.FLAKY, Outcome.FAILED], "failed"),
        ([Outcome.PASSED, Outcome.TIMEOUT], "failed"),
    ],
)
def test_what_the_checks_come_to(outcomes: list[Outcome], tests: str) -> None:
    assert judge_checks(a_result(outcome) for outcome in outcomes) == tests


@pytest.mark.parametrize("path", ["orc.yaml", "rules/0001-x.md", "x/CLAUDE.md", ".github/workflows/ci.yml"])
def test_what_steers_the_orchestrator_is_protected(path: str) -> None:
    changes = [a_change("src/a.py"), a_change(path)]
    assert protected_paths(changes, PROTECTED) == (path,)
