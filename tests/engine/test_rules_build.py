"""Rules brought into real files: what is written, what is left alone, what is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.core.rules import SECTIONS
from orchestrator.engine.rules import FILES, Outcome, adopt_rules, build_rules, check_rules
from orchestrator.errors import InvalidFileError, NotFoundError, RefusedError

PROJECT = Path(__file__).resolve().parents[2]
RULE = "---\nrule: {rule}\nincident: The comma\ndate: 2026-03-11\nenforced_by: review\n---\n\nThe story.\n"


def write_rule(root: Path, name: str = "0001-look-twice.md", rule: str = "Look twice.") -> None:
    (root / "rules").mkdir(exist_ok=True)
    (root / "rules" / name).write_text(RULE.format(rule=rule), encoding="utf-8")


def outcomes(root: Path) -> dict[str, Outcome]:
    return {one.file: one.outcome for one in build_rules(root)}


def test_a_build_writes_the_same_block_into_all_three_files(tmp_path: Path) -> None:
    write_rule(tmp_path)
    assert outcomes(tmp_path) == dict.fromkeys(FILES, Outcome.WRITTEN)
    texts = {(tmp_path / name).read_text(encoding="utf-8") for name in FILES}
    assert len(texts) == 1
    assert "Look twice. (0001-look-twice: The comma, 2026-03-11)" in texts.pop()
    assert check_rules(tmp_path) == []


def test_a_second_build_touches_nothing(tmp_path: Path) -> None:
    build_rules(tmp_path)
    before = {name: os.stat(tmp_path / name).st_ino for name in FILES}
    assert outcomes(tmp_path) == dict.fromkeys(FILES, Outcome.UNCHANGED)
    assert {name: os.stat(tmp_path / name).st_ino for name in FILES} == before


def test_check_names_the_files_that_differ_and_the_command(tmp_path: Path) -> None:
    build_rules(tmp_path)
    (tmp_path / "GEMINI.md").unlink()
    write_rule(tmp_path)
    assert check_rules(tmp_path) == [
        "CLAUDE.md: differs from the rules; run: orc rules build",
        "AGENTS.md: differs from the rules; run: orc rules build",
        "GEMINI.md: does not exist; run: orc rules build",
    ]


def test_a_file_of_the_persons_own_is_left_alone_until_adopted(tmp_path: Path) -> None:
    own = b"# Mine\r\nnot UTF-8: \xff\n"
    path = tmp_path / "CLAUDE.md"
    path.write_bytes(own)
    path.chmod(0o600)
    assert outcomes(tmp_path) == {
        "CLAUDE.md": Outcome.REFUSED,
        "AGENTS.md": Outcome.WRITTEN,
        "GEMINI.md": Outcome.WRITTEN,
    }
    assert path.read_bytes() == own
    assert check_rules(tmp_path) == [
        "CLAUDE.md: it is a file of your own, without a block of orc's; "
        "to let orc add its block at the end, run: orc rules adopt CLAUDE.md"
    ]
    assert adopt_rules(tmp_path, "CLAUDE.md").outcome is Outcome.WRITTEN
    assert path.read_bytes().startswith(own)
    assert path.stat().st_mode & 0o777 == 0o600
    assert check_rules(tmp_path) == []
    write_rule(tmp_path)
    assert outcomes(tmp_path)["CLAUDE.md"] is Outcome.WRITTEN
    assert path.read_bytes().startswith(own)


def test_an_edited_block_is_left_alone_and_the_way_out_works(tmp_path: Path) -> None:
    write_rule(tmp_path)
    build_rules(tmp_path)
    path = tmp_path / "AGENTS.md"
    path.write_text(path.read_text(encoding="utf-8").replace("Look twice.", "Look once."), encoding="utf-8")
    assert outcomes(tmp_path)["AGENTS.md"] is Outcome.REFUSED
    assert "edited by hand" in check_rules(tmp_path)[0]
    adopt_rules(tmp_path, "AGENTS.md")
    assert "Look once." in path.read_text(encoding="utf-8")
    assert check_rules(tmp_path) == []


def test_broken_markers_cannot_be_adopted(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("<!-- orc:begin rules -->\n", encoding="utf-8")
    with pytest.raises(RefusedError) as caught:
        adopt_rules(tmp_path, "AGENTS.md")
    assert "repair or delete" in caught.value.hint


def test_a_broken_rule_stops_the_build_and_check_lists_them_all(tmp_path: Path) -> None:
    write_rule(tmp_path, "0001-long.md", "x" * 141)
    write_rule(tmp_path, "notes.md")
    write_rule(tmp_path, "0002-comment.md", '"a <!-- b"')
    with pytest.raises(InvalidFileError):
        build_rules(tmp_path)
    assert not any((tmp_path / name).exists() for name in FILES)
    told = "\n".join(check_rules(tmp_path))
    assert "rules/0001-long.md:2: rule: has 141 characters" in told
    assert "rules/notes.md" in told
    assert "rules/0002-comment: the rule may not contain an HTML comment" in told


def test_a_link_to_a_sibling_counts_as_that_file(tmp_path: Path) -> None:
    (tmp_path / "CLAUDE.md").symlink_to("AGENTS.md")
    assert set(outcomes(tmp_path)) == {"AGENTS.md", "GEMINI.md"}
    assert (tmp_path / "CLAUDE.md").is_symlink()
    assert check_rules(tmp_path) == []


def test_a_link_to_anywhere_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("theirs", encoding="utf-8")
    (tmp_path / "CLAUDE.md").symlink_to("elsewhere")
    assert outcomes(tmp_path)["CLAUDE.md"] is Outcome.REFUSED
    assert check_rules(tmp_path)[0].startswith("CLAUDE.md: is a symbolic link")
    with pytest.raises(RefusedError, match="symbolic link"):
        adopt_rules(tmp_path, "CLAUDE.md")
    assert (tmp_path / "elsewhere").read_text(encoding="utf-8") == "theirs"


def test_only_the_three_files_can_be_adopted(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        adopt_rules(tmp_path, "README.md")


def test_the_block_stays_short_with_as_many_long_rules_as_it_carries(tmp_path: Path) -> None:
    for number in range(1, 45):
        write_rule(tmp_path, f"{number:04d}-rule.md", "x" * 140)
    build_rules(tmp_path)
    text = (tmp_path / "CLAUDE.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 200
    assert len(text) <= 12_000
    assert all(f"\n## {name}\n" in text for name in SECTIONS)


def test_this_repository_holds_its_own_rules() -> None:
    assert check_rules(PROJECT) == []
