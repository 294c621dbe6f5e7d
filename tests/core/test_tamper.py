"""The tamper guard: what it must tell of, and what it must let pass, language by language."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import a_job, evidence_of
from growth import LINEAR, growth
from hypothesis import given
from hypothesis import strategies as st
from tamper_languages import BATS, GO, GROUPS, JAVA, JS, RUBY, RUST
from tamper_python import PY, TWO
from tamper_world import Case, changes_of, clean, found_in, look

from orchestrator.core.evidence_record import Tampering
from orchestrator.core.job import Area
from orchestrator.core.suite_files import language_of
from orchestrator.core.tamper import (
    CI,
    KEPT,
    MAX_BLOBS,
    MAX_BYTES,
    ORC,
    ORC_FOLDERS,
    RULES,
    STARTED,
    TOLD,
    blobs_to_read,
    find_tampering,
    held_for,
    list_tampering,
    needs_home,
)

TABLE = [pytest.param(case, id=f"{group}: {name}") for group, cases in GROUPS.items() for name, case in cases.items()]


@pytest.mark.parametrize("case", TABLE)
def test_each_change_is_told_of_by_exactly_the_rules_that_it_breaks(case: Case) -> None:
    found = found_in(case.old, case.new)
    assert {each.rule for each in found} == case.rules, found
    assert all(each.text and each.path in case.old.keys() | case.new.keys() for each in found)


@pytest.mark.parametrize(
    "case", [case for cases in GROUPS.values() for case in cases.values() if any(map(language_of, case.old))]
)
def test_one_more_blank_line_is_nothing_to_tell_of(case: Case) -> None:
    more = {path: f"{text}\n" if language_of(path) else text for path, text in case.old.items()}
    assert more != case.old
    assert found_in(case.old, more) == ()


PAIR = "def test_one():\n    assert f(1) == 1\n\n\ndef test_two():\n    assert f(2) == 2\n"
OTHER = "\n\ndef test_other():\n    assert g()\n"
SETS = "@pytest.mark.parametrize('x', [{}])\ndef test_sets(x):\n    assert f(x) == x\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (PAIR, PAIR.replace("def test_two():\n    assert f(2) == 2\n", "") + OTHER),
        (PAIR + SETS.format("1"), SETS.format("1, 2")),
    ],
    ids=["an unrelated one for it", "one more set of parameters for two"],
)
def test_what_comes_in_place_of_a_test_must_be_that_test(old: str, new: str) -> None:
    assert [each.rule for each in found_in({PY: old}, {PY: new})] == ["tests_removed"]


@pytest.mark.parametrize("glob", [*CI, *ORC, *ORC_FOLDERS, *STARTED])
def test_every_path_of_the_lists_is_held(glob: str) -> None:
    path = glob.replace("**", "a/b.yml").replace("*", "x")
    rule = "ci_touched" if glob in CI else "orc_touched"
    for name in (path, path.upper()):
        assert rule in {each.rule for each in found_in({name: "a: 1\n"}, {name: "a: 2\n"})}, name


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("src/testing/a.ts", ""), ("src/spec/a.ts", "javascript"), ("a.cy.js", "javascript"),
        ("a.e2e.ts", "javascript"),
        ("src/androidTest/A.kt", "java"), ("ATestCase.java", "java"), ("AIT.java", "java"), ("src/main/A.java", ""),
        ("tests/a.py", ""), ("a_test.py", "python"), ("lib/a.rs", "rust"), ("t/a.sh", "shell"), ("bin/a.sh", ""),
        ("a_spec.rb", "ruby"), ("a_test.go", "go"),
    ],
)  # fmt: skip
def test_in_which_files_tests_are_looked_for(path: str, language: str) -> None:
    assert language_of(path) == language


def test_there_are_enough_cheats_and_controls_and_every_rule_is_broken_by_one() -> None:
    cases = [case for cases in GROUPS.values() for case in cases.values()]
    assert sum(bool(case.rules) for case in cases) >= 60
    assert sum(not case.rules for case in cases) >= 40
    assert {rule for case in cases for rule in case.rules} == set(RULES)


def test_what_the_job_allows_is_found_and_marked() -> None:
    old = {PY: clean(TWO), "Jenkinsfile": "a\n", "CLAUDE.md": "x\n"}
    new = {"Jenkinsfile": "b\n", "CLAUDE.md": "y\n"}
    found = found_in(old, new, Area.TESTS, Area.ORC)
    assert {each.rule: each.declared for each in found} == {
        "tests_removed": True,
        "ci_touched": False,
        "orc_touched": True,
    }
    assert list_tampering(found)[0].rule == "ci_touched"
    assert held_for(evidence_of(a_job(), tampering=list_tampering(found))) == ("Jenkinsfile: CI: changed",)


def test_each_area_lets_through_what_it_says() -> None:
    areas = {area: {rule for rule, (own, _) in RULES.items() if own is area} for area in Area}
    assert areas[Area.CI] == {"ci_touched"}
    assert areas[Area.ORC] == {"orc_touched"}
    assert areas[Area.KEYS] == {"keys_added"}
    assert areas[Area.PROGRAMS] == {"programs_added"}
    assert areas[Area.BINARIES] == {"binaries_unseen"}
    assert areas[Area.TESTS] == set(RULES) - {each for area in Area if area is not Area.TESTS for each in areas[area]}


def test_what_the_job_is_to_make_may_be_binary() -> None:
    looked = look({}, {"out/data.zip": "PK\x03\x04\0", "tool.zip": "PK\x03\x04\0", "x.pyc": "\0"})
    found = find_tampering(replace(looked, deliverables=("out/*.zip", "*.pyc")), ())
    assert {each.place for each in found} == {"tool.zip", "x.pyc"}


def test_folders_are_orcs_own_only_where_orc_is_at_home() -> None:
    old, new = {"rules/a.js": "a\n", "queue/b.py": "b\n"}, {"rules/a.js": "b\n"}
    assert len(found_in(old, new)) == 2
    assert found_in(old, new, is_home=False) == ()
    assert needs_home(changes_of(old, new))
    assert not needs_home(changes_of({"src/rules/a.js": "a\n"}, {}))


def test_a_test_file_that_becomes_a_link_is_gone() -> None:
    tree = {PY: clean(TWO)}
    (found,) = find_tampering(look(tree, {PY: "../elsewhere.py"}, links=frozenset({PY})), ())
    assert (found.rule, found.text) == ("tests_removed", "2 tests removed: test_one, test_two")


def test_what_is_read_is_bounded_and_what_is_not_read_is_told_of() -> None:
    old = {f"tests/test_{number:04}.py": f"def test_x():\n    assert f() == {number}\n" for number in range(MAX_BLOBS)}
    new = {path: text.replace("==", "!=") for path, text in old.items()}
    looked = look(old, new)
    assert len(blobs_to_read(looked.changes)) == MAX_BLOBS
    unread = [each for each in find_tampering(looked, ()) if each.rule == "tests_unread"]
    assert len(unread) == MAX_BLOBS // 2
    listed = list_tampering(unread)
    held = held_for(evidence_of(a_job(), tampering=listed, more_tampering=len(unread) - len(listed)))
    assert (len(listed), len(held)) == (KEPT, TOLD + 1)
    assert held[-1] == f"… and {MAX_BLOBS // 2 - TOLD} more"


def test_files_that_only_moved_are_not_read() -> None:
    old = {f"tests/test_{number}.py": f"def test_x():\n    assert f() == {number}\n" for number in range(9)}
    new = {f"tests/unit/test_{number}.py": text for number, text in enumerate(old.values())}
    assert blobs_to_read(changes_of(old, new)) == ()
    assert found_in(old, new) == ()


def test_of_two_equal_files_one_that_is_deleted_is_missed() -> None:
    old = {"tests/test_a.py": clean(TWO), "tests/test_b.py": clean(TWO)}
    assert [each.rule for each in found_in(old, {"tests/unit/test_a.py": clean(TWO)})] == ["tests_removed"]


def test_words_of_an_agent_are_one_printable_line_and_not_long() -> None:
    name = "it is\x1b[2J red \u202e" + "x" * 500
    old = f"it('{name}', () => {{\n  expect(f()).toBe(1);\n}});\n"
    (found,) = found_in({JS: old}, {JS: "\n"})
    assert found.text.isprintable()
    assert len(found.text) <= 160
    long = Tampering("ci_touched", "a/" * 500 + "ci\n.yml", "CI: changed")
    (held,) = held_for(evidence_of(a_job(), tampering=(long,)))
    assert held.isprintable()
    assert len(held) <= 330
    assert held.endswith("ci .yml: CI: changed")


WORDS = ("it(", "def test_", "expect(", "fn ", "#[test]", "func Test", "@Test", "@test", "end", "skip", "do", "assert")
PIECES = [*WORDS, *"\"'`(){}[]\\/#\n \t.@\r\0é"]
ODD = st.lists(st.sampled_from(PIECES)).map("".join)


@pytest.mark.parametrize(
    "path", [PY, JS, GO, RUST, JAVA, RUBY, BATS, "pyproject.toml", "conftest.py", "package.json", "Makefile"]
)
@given(old=ODD, new=ODD)
def test_whatever_a_text_is_what_is_told_is_of_a_rule_and_one_short_line(path: str, old: str, new: str) -> None:
    for found in found_in({path: old or "x"}, {path: new or "y"}):
        assert found.rule in RULES
        assert found.text.isprintable()
        assert 0 < len(found.text) <= 160


@pytest.mark.parametrize("path", [PY, JS, GO, RUST, JAVA, RUBY, BATS])
@pytest.mark.parametrize(
    "evil",
    [
        "it('x', () => {\n",
        "fn a() {\n#[test]\n",
        "def test_a\n",
        "func TestA(t *testing.T) {\n",
        '\\"' * 900 + "\n",
        "it(" * 600 + "\n",
    ],
    ids=["js", "rust", "ruby", "go", "quotes", "calls"],
)
def test_no_text_takes_the_square_of_its_length(path: str, evil: str) -> None:
    def read(size: int) -> None:
        text = evil * (size // len(evil))
        found_in({path: text}, {path: text + "\n"})

    assert growth(read, MAX_BYTES // 16) < LINEAR


@pytest.mark.parametrize("path", [BATS, JS, GO, RUST, JAVA, RUBY])
@pytest.mark.parametrize("evil", ["skip\n", "exit 0\n", "[ a ]\n", "t.Skip(\n", "it.only("])
def test_very_many_skips_in_one_test_do_not_take_the_square_of_their_number(path: str, evil: str) -> None:
    def read(size: int) -> None:
        text = evil * (size // len(evil))
        found_in({path: text}, {path: text + "\n"})

    assert growth(read, MAX_BYTES // 8) < LINEAR


def test_very_many_assertions_and_settings_do_not_take_the_square_of_their_number() -> None:
    def assertions(size: int) -> None:
        many = "".join(f"    assert f({number}) == {number}\n" for number in range(size))
        (found,) = found_in({PY: f"def test_a():\n{many}"}, {PY: "def test_a():\n    assert f()\n"})
        assert found.rule == "assertions_removed"

    def settings(size: int) -> None:
        found_in({"pom.xml": "<p/>"}, {"pom.xml": "<skipTests>true</skipTests>\n" * size})

    assert growth(assertions, 1_000) < LINEAR
    assert growth(settings, 1_500) < LINEAR


@pytest.mark.parametrize("path", ["run.sh", "requirements.txt", "check"])
@pytest.mark.parametrize(
    "evil",
    ["pytest;", "pytest\n", "|| ", "a=1 ", "sudo ", "-", "pytest-", "pytest-a ", "# ", "\\\n", "tests/", "python -m "],
)
def test_no_script_and_no_list_takes_the_square_of_its_length(path: str, evil: str) -> None:
    def read(size: int) -> None:
        text = "#!/bin/sh\n" + evil * (size // len(evil))
        found_in({path: text}, {path: text + "\n"})

    assert growth(read, MAX_BYTES // 8) < LINEAR


def test_very_many_scripts_do_not_take_the_square_of_their_number() -> None:
    def read(size: int) -> None:
        lines = {f"{number}.sh": f"pytest {number}\n" * 20 for number in range(size)}
        assert found_in(lines, {path: text + "pytest\n" for path, text in lines.items()}) == ()
        assert len(found_in(lines, dict.fromkeys(lines, "true\n"))) == size

    assert growth(read, 70) < LINEAR


def test_a_script_that_is_too_large_by_now_runs_tests_no_more() -> None:
    (found,) = found_in({"run.sh": "pytest\n"}, {"run.sh": "pytest\n" + "# \n" * MAX_BYTES})
    assert found.text == "how tests are run: not any more by pytest"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("path", ["pyproject.toml", "Cargo.toml"])
@pytest.mark.parametrize("evil", ["a" + ".a" * 60_000 + "=1", ("a" + ".a" * 190 + "\n") * 400, "[" * 60_000])
def test_configuration_that_was_made_to_take_long_does_not_and_a_change_of_it_is_told(path: str, evil: str) -> None:
    (found,) = found_in({path: "[a]\n"}, {path: evil})
    assert "what cannot be read" in found.text, found.text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("path", ["t/" * 2_000 + "x", "tests/" * 600 + "a" * 300, "src/test/a/" * 350 + "x.java."])
def test_a_path_that_was_made_to_take_long_does_not(path: str) -> None:
    assert [language_of(path) for _ in range(1_000)] == [""] * 1_000


def test_very_much_of_one_thing_hides_no_other() -> None:
    gone = [Tampering("tests_removed", f"test_{n}.py", "deleted") for n in range(KEPT + 5)]
    skipped = Tampering("tests_skipped", "test_x.py", "skipped")
    allowed = Tampering("orc_touched", "CLAUDE.md", "added", declared=True)
    ci = Tampering("ci_touched", ".ci/run", "CI: changed")
    listed = list_tampering((*gone, skipped, ci, allowed))
    assert [each.rule for each in listed[:3]] == ["tests_removed", "ci_touched", "tests_skipped"]
    assert (len(listed), allowed in listed) == (KEPT, False)
    told = held_for(evidence_of(a_job(), tampering=listed, more_tampering=8))
    assert told[1] == ".ci/run: CI: changed"
    assert told[-1] == f"… and {KEPT - TOLD + 8} more"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", ["# coding: punycode\n", "\r# coding: punycode\n", "\n# -*- coding=punycode -*-\n"])
def test_an_encoding_that_takes_long_is_not_read_and_told(line: str) -> None:
    (found,) = found_in({PY: "def test_a():\n    assert f()\n"}, {PY: f"{line}a-{'9a' * 90_000}\n"})
    assert found.rule == "tests_unread"


@pytest.mark.parametrize(
    "name", ["utf-8", "UTF8", "latin-1", "iso-8859-15", "cp1251", "koi8-r", "euc_jp", "Windows-1252"]
)
def test_the_encodings_of_programs_are_read(name: str) -> None:
    text = f"# vim: set fileencoding={name} :\ndef test_a():\n    assert f()\n"
    assert found_in({PY: text}, {PY: f"{text}\n# more\n"}) == ()
