"""What the criteria of a kind demanded is held against the criteria: a ledger that says otherwise is found out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import audit_world as w
import pytest

from orchestrator.adapters.audit import audit
from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import rev_parse, update_ref
from orchestrator.adapters.ledger import REF
from orchestrator.adapters.library import blob_id
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.core import gate, kinds
from orchestrator.core.criteria import criteria_file

GUIDE = "guide-0a00000a"
DEMANDS = b"checks:\n  duplicates: {words: 12}\n  links: {}\nitems:\n  - {id: plain, question: Is it plain?}\n"
NAMED = "criteria:\n(?:  .*\n)+"
SAID = "kind_checks:\n(?:  .*\n)+"
NOWHERE = "f" * 40


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guide that was written, looked at by criteria with demands, and approved."""
    root = tmp_path_factory.mktemp("kinds") / "world"
    with w.new_world(root) as world:
        w.accept(world, GUIDE, w.TEXT.format(merge="branch") + "kind: writing\n")
        w.start(world, GUIDE)
        w.collect(world, GUIDE, {"guide.md": "# Guide\n\nThe form is handed in at the counter.\n"})
        w.look(world, GUIDE, DEMANDS)
        w.check(world, GUIDE)
        w.review(world, GUIDE)
        w.leave_branch(world, GUIDE)
    return root


@pytest.fixture
def root(arena: Path) -> Iterator[Path]:
    """That world with its honest ledger, put back afterwards."""
    door = Git(arena / ".git")
    honest = rev_parse(door, REF) or ""
    yield arena
    update_ref(door, REF, honest, rev_parse(door, REF) or "")


def rewritten(*changes: tuple[str, str]) -> Callable[[w.Draft], None]:
    """The evidence says something else, in each step that writes it."""

    def forge(draft: w.Draft) -> None:
        for path, entry in list(draft.changes.items()):
            if entry is None or not path.endswith("/evidence-1.yaml"):
                continue
            text = draft.objects.read(entry.oid).decode()
            for pattern, new in changes:
                text = re.sub(pattern, new, text)
            draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", text.encode()))

    return forge


def kept_as(criteria: bytes | None, event: str = "evidence") -> Callable[[w.Draft], None]:
    """Other criteria are kept beside the evidence, or none."""

    def forge(draft: w.Draft) -> None:
        if not draft.is_(GUIDE, event):
            return
        if criteria is None:
            del draft.changes[draft.path(criteria_file(1))]
        else:
            draft.write(criteria_file(1), criteria.decode())

    return forge


def both(first: Callable[[w.Draft], None], second: Callable[[w.Draft], None]) -> Callable[[w.Draft], None]:
    """Two forgeries of the same ledger."""

    def forge(draft: w.Draft) -> None:
        first(draft)
        second(draft)

    return forge


def test_the_honest_ledger_holds(root: Path) -> None:
    report = w.verify(root)
    assert (report.lies, report.unverifiable) == ((), ())


FORGERIES = {
    "that nothing was demanded": (
        rewritten((SAID, "kind_checks: {}\n")),
        Rule.EVIDENCE,
        r"looked for nothing, but criteria/writing\.yaml demands duplicates \{'words': 12\}, links$",
    ),
    "that less was demanded": (
        rewritten(("words: 12", "words: 99")),
        Rule.EVIDENCE,
        r"looked for duplicates \{'words': 99\}, links, but .* demands duplicates \{'words': 12\}, links$",
    ),
    "the criteria of another kind": (
        rewritten((r"criteria/writing\.yaml", "criteria/code.yaml")),
        Rule.EVIDENCE,
        "the criteria of its kind is criteria/code.yaml, but it is criteria/writing.yaml",
    ),
    "another version of the criteria": (
        rewritten((blob_id(DEMANDS), NOWHERE)),
        Rule.EVIDENCE,
        f"the version of the criteria is {NOWHERE}, but it is {blob_id(DEMANDS)}",
    ),
    "criteria without demands in their place": (
        kept_as(w.CRITERIA),
        Rule.EVIDENCE,
        f"the version of the criteria is {blob_id(DEMANDS)}, but it is {blob_id(w.CRITERIA)}",
    ),
    "other criteria after the fact": (
        kept_as(w.CRITERIA, "review"),
        Rule.RECORD,
        r"changes evidence-1\.criteria\.yaml",
    ),
    "no criteria at all": (
        rewritten((NAMED, ""), (SAID, ""), ("kind_rules: .*\n", "")),
        Rule.EVIDENCE,
        "does not name the criteria of its kind and what they demand",
    ),
    "criteria without what they demand": (rewritten((SAID, "")), Rule.EVIDENCE, "does not name the criteria"),
    "a version that is none": (
        rewritten((blob_id(DEMANDS), "none")),
        Rule.RECORD,
        r"cannot be read: criteria/writing\.yaml: has no version 'none'",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_found_out_in_the_ledger_alone(root: Path, name: str) -> None:
    forge, rule, words = FORGERIES[name]
    w.forge(root, forge)
    lies = audit(root / ".git", {}).lies
    assert any(lie.rule is rule and re.search(words, lie.text) for lie in lies), lies
    assert {lie.job for lie in lies} == {GUIDE}


def test_criteria_that_nobody_could_have_used_are_a_lie(root: Path) -> None:
    broken = b"checks:\n  duplicates: {words: many}\nitems: []\n"
    w.forge(root, both(kept_as(broken), rewritten((blob_id(DEMANDS), blob_id(broken)))))
    assert [lie.rule for lie in audit(root / ".git", {}).lies] == [Rule.RECORD]


def test_criteria_that_are_not_kept_beside_it_are_found_in_the_repository(root: Path) -> None:
    w.forge(root, kept_as(None))
    report = w.verify(root)
    assert (report.lies, report.unverifiable) == ((), ())


def test_criteria_that_are_nowhere_are_a_doubt_and_no_lie(root: Path) -> None:
    w.forge(root, both(kept_as(None), rewritten((blob_id(DEMANDS), NOWHERE))))
    report = w.verify(root)
    assert report.lies == ()
    assert [doubt.text for doubt in report.unverifiable] == [
        f"the version {NOWHERE[:12]} of criteria/writing.yaml is not kept anywhere"
    ]


def test_criteria_for_another_version_of_orc_are_a_doubt_and_no_lie(root: Path) -> None:
    newer = DEMANDS.replace(b"links: {}", b"rhymes: {}")
    changes = (blob_id(DEMANDS), blob_id(newer)), (f"kind_rules: {kinds.VERSION}", "kind_rules: 99")
    w.forge(root, both(kept_as(newer), rewritten(*changes)))
    report = w.verify(root)
    assert report.lies == ()
    assert [doubt.text.partition(" of the rules")[0] for doubt in report.unverifiable] == ["version 99"]


def test_what_is_from_before_criteria_were_written_down_is_a_doubt(root: Path) -> None:
    gone = (NAMED, SAID, "kind_rules: .*\n", f"diff_rules: {gate.VERSION}\n", r"previews:\n(?:(?:  .*)?\n)+")
    w.forge(root, rewritten(*((pattern, "") for pattern in gone)))
    report = w.verify(root)
    assert report.lies == ()
    assert [doubt.text for doubt in report.unverifiable] == [
        "nobody wrote down what the criteria of its kind demanded then"
    ]
