"""What is read of a change for its criteria, with real Git: bounds, odd files, claims, previews."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from builders import a_spec

from orchestrator.adapters import documents
from orchestrator.adapters.documents import parse_claims, read_kind_facts, read_previews
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import diff_stat
from orchestrator.core.claims import MOST_LISTS
from orchestrator.core.criteria import DOCUMENTS, Checks, ClaimRules, Length, Links
from orchestrator.core.diffstat import Change
from orchestrator.core.job import Expects, JobSpec, Kind
from orchestrator.core.kinds import KindFacts
from orchestrator.errors import InvalidFileError

LIST = "```yaml\nclaims:\n  - {id: c1, claim: It holds., locator: src/a.py:2}\n```\n"
ASKED = Checks(length=Length(), links=Links(), claims=ClaimRules())
SPEC = a_spec(kind=Kind.RESEARCH)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("one\ntwo\n")
    (tmp_path / "old.md").write_text("# Old\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "begin")
    return tmp_path


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def changed(root: Path) -> tuple[Git, str, tuple[Change, ...]]:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "work")
    door = Git(root / ".git")
    return door, git(root, "rev-parse", "HEAD"), diff_stat(door, "HEAD~", "HEAD").changes


def facts_of(root: Path, *, spec: JobSpec = SPEC, checks: Checks = ASKED, report: str = "") -> KindFacts:
    door, tip, changes = changed(root)
    return read_kind_facts(door, tip, changes, spec, checks, report=report)


def test_a_document_is_read_as_it_is_and_as_it_was(root: Path) -> None:
    (root / "old.md").write_text("# New\n")
    (root / "more.txt").write_text("\ufeffwords\r\n")
    (root / "code.py").write_text("code\n")
    found = {each.path: (each.text, each.before) for each in facts_of(root).documents}
    assert found == {"old.md": ("# New\n", "# Old\n"), "more.txt": ("words\r\n", None)}


def test_what_was_there_before_is_no_new_mistake_however_it_was_written(root: Path) -> None:
    (root / "old.md").write_bytes("Größe\n".encode("latin-1"))
    (root / "large.md").write_text("word\n" * 60_000)
    changed(root)
    (root / "old.md").write_text("Größe\n")
    (root / "large.md").write_text("word\n")
    found = {each.path: each.before for each in facts_of(root).documents}
    assert found == {"old.md": "Gr\ufffd\ufffde\n", "large.md": "word\n" * 60_000}


def test_a_document_that_was_removed_is_known_by_what_it_said(root: Path) -> None:
    (root / "old.md").rename(root / "new.md")
    found = {each.path: (each.text, each.before) for each in facts_of(root).documents}
    assert found == {"old.md": (None, "# Old\n"), "new.md": ("# Old\n", None)}


def test_what_cannot_be_read_as_text_is_told_and_a_link_is_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "ALL_BYTES", documents.DOCUMENT_BYTES + 10)
    (root / "a-large.md").write_bytes(b"x" * (documents.DOCUMENT_BYTES + 1))
    (root / "b-latin.md").write_bytes(b"caf\xe9\n")
    (root / "c-null.md").write_bytes(b"a\0b\n")
    (root / "d-full.md").write_bytes(b"x" * documents.DOCUMENT_BYTES)
    (root / "e-beyond.md").write_bytes(b"more\n")
    (root / "link.md").symlink_to("src/a.py")
    found = facts_of(root)
    assert [each.path for each in found.documents] == ["d-full.md"]
    assert [(path, why.split(" ")[1]) for path, why in found.unread] == [
        ("link.md", "to"),
        ("a-large.md", "larger"),
        ("b-latin.md", "not"),
        ("c-null.md", "not"),
        ("e-beyond.md", "beyond"),
    ]


def test_a_link_from_one_document_to_another_is_nothing_to_tell_of(root: Path) -> None:
    (root / "docs").mkdir()
    (root / "docs" / "old.md").symlink_to("../old.md")
    (root / "old.md").write_text("# New\n")
    found = facts_of(root)
    assert ([each.path for each in found.documents], found.unread) == (["old.md"], ())


def test_of_very_many_lists_of_claims_and_one_that_is_very_long_nothing_more_is_read(root: Path) -> None:
    (root / "a.md").write_text("```\nclaims: x\n```\n" * (MOST_LISTS + 3))
    (root / "b.md").write_text(LIST)
    found = facts_of(root)
    assert (found.claims, len(found.bad_claims)) == ((), MOST_LISTS + 1)
    assert "more than 20 lists" in found.bad_claims[-1].text
    (root / "a.md").write_text(LIST.replace("It holds.", "x" * documents.LIST_BYTES))
    assert "at most 64 KiB" in facts_of(root).bad_claims[0].text


def test_of_too_many_documents_the_first_is_told_that_was_not_read(root: Path) -> None:
    for number in range(documents.MOST_DOCUMENTS + 2):
        (root / f"{number:04}.md").write_text("words\n")
    found = facts_of(root)
    assert len(found.documents) == documents.MOST_DOCUMENTS
    assert found.unread == (("0100.md", "is one of more than 100 changed documents"),)


def test_a_page_that_is_too_large_or_no_text_is_passed_over(root: Path) -> None:
    (root / "a.html").write_bytes(b"x" * (documents.DOCUMENT_BYTES + 1))
    (root / "b.HTM").write_bytes(b"<p>caf\xe9</p>\n")
    (root / "c.html").write_text("<p>words</p>\n")
    (root / "d.md").write_text("words\n")
    found = facts_of(root, checks=Checks(length=Length(), documents=(*DOCUMENTS, "*.HTM")))
    assert [each.path for each in found.documents] == ["d.md", "c.html"]
    assert found.unread == ()
    assert [path for path, _ in found.passed_over] == ["a.html", "b.HTM"]


def test_claims_are_read_with_their_places_and_the_lines_of_what_they_name(root: Path) -> None:
    (root / "report.md").write_text(f"# Report\n\n{LIST}")
    found = facts_of(root)
    (claim,) = found.claims
    assert (claim.id, claim.locator, claim.file, claim.line) == ("c1", "src/a.py:2", "report.md", 5)
    assert found.lines == {"src/a.py": 2}
    assert {"src", "src/a.py", "report.md", "."} <= found.paths


def test_a_report_that_changes_nothing_is_a_document_too(root: Path) -> None:
    spec = a_spec(kind=Kind.RESEARCH, expects=Expects.NO_CHANGE)
    found = read_kind_facts(Git(root / ".git"), git(root, "rev-parse", "HEAD"), (), spec, ASKED, report=LIST)
    assert [each.path for each in found.documents] == ["(report)"]
    assert found.claims[0].file == "(report)"


def test_without_rules_about_text_nothing_is_read(root: Path) -> None:
    (root / "report.md").write_text(LIST)
    found = facts_of(root, checks=Checks(viewable=True, command=True))
    assert (found.documents, found.claims, found.paths) == ((), (), frozenset())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("claims:\n  - {id: c1}\n", "report.md:8: claims[0].claim: this key is missing"),
        ("claims:\n  - {id: c1, claim: x, locater: y}\n", "claims[0].locater: unknown key; did you mean `locator`?"),
        ("claims:\n  - id: c1\n    claim: ''\n", "report.md:9: claims[0].claim: has 0 characters"),
        ("claims: []\n", "claims: has 0 entries"),
        ("claims: none\n", "claims: must be a list"),
        ("claims:\n\t- x\n", "report.md:8: the line is indented with a tab"),
        ("claims: [{id: c1, claim: x}]\nmore: 1\n", "more: unknown key"),
    ],
)
def test_a_mistake_in_a_list_of_claims_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(InvalidFileError) as caught:
        parse_claims(text, "report.md", 7)
    assert told in str(caught.value)


def test_a_broken_list_is_a_refusal_and_hides_no_other(root: Path) -> None:
    (root / "a.md").write_text("```yaml\nclaims:\n  - {id: c1, clam: x}\n```\n")
    (root / "b.md").write_text(LIST)
    found = facts_of(root)
    assert [each.id for each in found.claims] == ["c1"]
    (bad,) = found.bad_claims
    assert (bad.rule, bad.place) == ("claims_form", "a.md:3")


def test_the_first_deliverables_are_shown_and_the_others_counted(root: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        (root / f"{name}.md").write_text(f"# {name}\n")
    (root / "a.md").write_bytes(b"%PDF-\xff")
    (root / "b.md").write_bytes(b"x" * (600 * 1024))
    door, tip, changes = changed(root)
    previews, more = read_previews(door, tip, changes, SPEC, DOCUMENTS, report="")
    assert [(each.path, each.about) for each in previews] == [
        ("a.md", "PDF, 6 bytes"),
        ("b.md", "larger than 512 kB"),
        ("c.md", "text, 1 line"),
    ]
    assert more == 2
