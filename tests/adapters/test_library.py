"""Rules, souls, skills and criteria read from real files, good and broken."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict
from datetime import date
from pathlib import Path

import pytest

from orchestrator.adapters.library import (
    SKILL_FILES,
    blob_id,
    read_criteria,
    read_rules,
    read_skill_files,
    read_souls,
    scan_criteria,
    scan_rules,
    scan_skills,
)
from orchestrator.adapters.schemas import load_schema
from orchestrator.core.agent import section_of
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.criteria import (
    Checks,
    ClaimRules,
    Duplicates,
    Length,
    Links,
    Spelling,
    criteria_for,
)
from orchestrator.core.job import Kind
from orchestrator.core.rules import Enforcement
from orchestrator.errors import InvalidFileError

PROJECT = Path(__file__).resolve().parents[2]
RULE = "---\nrule: Look twice.\nincident: The comma\ndate: 2026-03-11\nenforced_by: review\n---\n\nThe story.\n"
SOUL = "---\nbackend: claude\n---\nA soul.\n"
SKILL = "---\nname: tidy\ndescription: Tidies up.\n---\nSweep.\n"


def write(root: Path, name: str, text: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_files_of_a_skill_are_read_but_no_link_nothing_hidden_and_nothing_large(tmp_path: Path) -> None:
    blob = blob_id(write(tmp_path, "skills/tidy/SKILL.md", SKILL).read_bytes())
    write(tmp_path, "secret", "nobody may see this")
    for name in ("references/a.md", "scripts/run.sh", "SKILL/SKILL.md"):
        write(tmp_path, f"skills/tidy/{name}", name)
    for name in (".git/config", "references/.hidden", "with space.md", "new\nline"):
        write(tmp_path, f"skills/tidy/{name}", name)
    write(tmp_path, "skills/tidy/large.bin", b"x" * 300_000)
    (tmp_path / "skills/tidy/link.md").symlink_to(tmp_path / "secret")
    (tmp_path / "skills/tidy/loop").symlink_to(tmp_path / "skills")
    os.mkfifo(tmp_path / "skills/tidy/pipe")
    found = read_skill_files(tmp_path, "tidy", blob)
    assert found == {name: name.encode() for name in ("SKILL/SKILL.md", "references/a.md", "scripts/run.sh")}
    assert read_skill_files(tmp_path, "tidy", "0" * 40) == {}
    assert read_skill_files(tmp_path, "gone", blob) == {}


def test_of_a_skill_with_very_many_files_the_first_go_along(tmp_path: Path) -> None:
    blob = blob_id(write(tmp_path, "skills/tidy/SKILL.md", SKILL).read_bytes())
    for number in range(SKILL_FILES + 1):
        write(tmp_path, f"skills/tidy/{number:03}.md", "x")
    assert list(read_skill_files(tmp_path, "tidy", blob)) == [f"{number:03}.md" for number in range(SKILL_FILES)]


def test_the_blob_id_is_gits(tmp_path: Path) -> None:
    path = write(tmp_path, "f", b"some\r\nbytes\xff")
    done = subprocess.run(
        ["git", "hash-object", "--no-filters", str(path)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert blob_id(path.read_bytes()) == done.stdout.strip()


def test_an_empty_workspace_has_nothing_but_the_shipped_criteria(tmp_path: Path) -> None:
    assert read_rules(tmp_path) == []
    assert read_souls(tmp_path) == ({}, [])
    assert scan_skills(tmp_path).all_good() == {}
    assert set(read_criteria(tmp_path)) == {"code", "writing", "research", "ops", "other"}


def test_a_rule_is_read_whole(tmp_path: Path) -> None:
    write(tmp_path, "rules/0007-look-twice.md", RULE)
    (rule,) = read_rules(tmp_path)
    assert (rule.number, rule.slug, rule.id) == (7, "look-twice", "0007-look-twice")
    assert (rule.date, rule.enforced_by, rule.story) == (date(2026, 3, 11), Enforcement.REVIEW, "The story.")


def test_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    write(tmp_path, "rules/0007-look-twice.md", RULE.replace("\n", "\r\n"))
    assert read_rules(tmp_path)[0].story == "The story."


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("notes.md", RULE, "rules/notes.md: a rule's file is named NNNN-slug.md"),
        ("0001-a.md", "no front matter", "rules/0001-a.md:1: must begin with front matter"),
        ("0001-a.md", "---\nrule: x\n", "rules/0001-a.md:1: must begin with front matter"),
        ("0001-a.md", RULE.replace("review", "hope"), "rules/0001-a.md:5: enforced_by: is"),
        ("0001-a.md", RULE.replace("rule:", "rulle:"), "rulle: unknown key; did you mean `rule`?"),
        ("0001-a.md", RULE.replace("Look twice.", "[oops"), "rules/0001-a.md:"),
        ("0001-a.md", RULE.encode() + b"\n\xff", "rules/0001-a.md:10: is not UTF-8 text"),
    ],
)
def test_a_broken_rule_is_refused_by_name_and_line(tmp_path: Path, name: str, text: str | bytes, told: str) -> None:
    write(tmp_path, f"rules/{name}", text)
    with pytest.raises(InvalidFileError) as caught:
        read_rules(tmp_path)
    assert told in str(caught.value)


def test_editors_files_are_not_read(tmp_path: Path) -> None:
    for name in (".0001-a.md.swp", "0001-a.md~", "#0001-a.md#", ".hidden.md", "#a.md"):
        write(tmp_path, f"rules/{name}", "nothing")
    assert read_rules(tmp_path) == []


def test_one_broken_soul_does_not_hide_the_others(tmp_path: Path) -> None:
    write(tmp_path, "souls/good.md", SOUL)
    write(tmp_path, "souls/bad.md", "---\nbackend: [claude]\n---\n")
    souls, problems = read_souls(tmp_path)
    assert list(souls) == ["good"]
    assert [(one.file, one.line, one.key) for one in problems] == [("souls/bad.md", 2, "backend")]


def test_a_soul_has_defaults_and_the_blob_of_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, "souls/good.md", SOUL)
    soul = read_souls(tmp_path)[0]["good"]
    assert (soul.backend, soul.family, soul.roles, soul.body) == ("claude", "", ("work", "review"), "A soul.")
    assert soul.blob == blob_id(path.read_bytes())


def test_boundaries_are_taken_word_for_word(tmp_path: Path) -> None:
    text = SOUL + "## Boundaries\n- Never *this*.\n### Also\n```\n## not a heading\n```\n## Voice\nloud\n"
    write(tmp_path, "souls/good.md", text)
    soul = read_souls(tmp_path)[0]["good"]
    assert section_of(soul.body, "Boundaries") == "- Never *this*.\n### Also\n```\n## not a heading\n```"


@pytest.mark.parametrize("name", ["Big.md", "a_b.md", "a--b.md"])
def test_an_agents_name_must_be_plain(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"souls/{name}", SOUL)
    souls, problems = read_souls(tmp_path)
    assert not souls
    assert "the file's name" in str(problems[0])


def test_a_soul_too_long_for_a_prompt_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "souls/long.md", SOUL + "x" * 6_000)
    assert "at most 6000 fit" in str(read_souls(tmp_path)[1][0])


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path, "elsewhere/secret.md", SOUL)
    workspace = tmp_path / "workspace"
    (workspace / "souls").mkdir(parents=True)
    (workspace / "souls" / "spy.md").symlink_to(secret)
    write(tmp_path, "elsewhere/tidy/SKILL.md", SKILL)
    (workspace / "skills").mkdir()
    (workspace / "skills" / "tidy").symlink_to(tmp_path / "elsewhere" / "tidy")
    souls, problems = read_souls(workspace)
    assert not souls
    assert "souls/spy.md" in str(problems[0])
    skills = scan_skills(workspace)
    assert not skills.good
    assert "symbolic link" in str(skills.problems[0])


def test_a_skill_is_read_with_its_trigger_and_tools(tmp_path: Path) -> None:
    text = SKILL.replace("up.\n", "up.\nallowed-tools: Read Grep\nmetadata:\n  trigger: tid(y|ied)\n")
    write(tmp_path, "skills/tidy/SKILL.md", text)
    skill = scan_skills(tmp_path).good["tidy"]
    assert (skill.trigger, skill.allowed_tools, skill.body) == ("tid(y|ied)", ("Read", "Grep"), "Sweep.")


@pytest.mark.parametrize(
    ("folder", "text", "told"),
    [
        ("other", SKILL, "skills/other/SKILL.md: name: is `tidy`, but the folder is named `other`"),
        ("tidy", SKILL.replace("up.\n", "up.\nmetadata:\n  trigger: '('\n"), "metadata.trigger: is not a regular"),
        ("tidy", SKILL.replace("Tidies up.", "x" * 1025), "description: has 1025 characters"),
        ("-tidy", SKILL.replace("tidy", "-tidy"), "does not have the form"),
    ],
)
def test_a_skill_outside_the_specification_is_refused(tmp_path: Path, folder: str, text: str, told: str) -> None:
    write(tmp_path, f"skills/{folder}/SKILL.md", text)
    with pytest.raises(InvalidFileError) as caught:
        scan_skills(tmp_path).all_good()
    assert told in str(caught.value)


def test_a_skill_folder_without_a_skill_is_told(tmp_path: Path) -> None:
    (tmp_path / "skills" / "empty").mkdir(parents=True)
    assert [str(one) for one in scan_skills(tmp_path).problems] == ["skills/empty/SKILL.md: does not exist"]


def test_criteria_of_the_workspace_replace_and_join_the_shipped_ones(tmp_path: Path) -> None:
    own = "threshold: 1\nitems:\n  - {id: fits, question: Does it fit?, required: true}\n"
    write(tmp_path, "criteria/code.yaml", own)
    write(tmp_path, "criteria/poem.yaml", own)
    criteria = read_criteria(tmp_path)
    assert [item.id for item in criteria["code"].items] == ["fits"]
    assert criteria["poem"].threshold == 1
    assert "writing" in criteria


def test_broken_criteria_leave_the_shipped_ones_in_force(tmp_path: Path) -> None:
    write(tmp_path, "criteria/code.yaml", "items:\n  - {id: a, question: Is it?}\n  - {id: a, question: Is it?}\n")
    shelf = scan_criteria(tmp_path)
    assert len(shelf.good["code"].items) > 2
    assert "criteria/code.yaml: items: used twice as an id: a" in str(shelf.problems[0])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("checks: {spellling: {}}", "criteria/writing.yaml:1: checks.spellling: unknown key; did you mean `spelling`?"),
        (
            "checks:\n  spelling: {language: enn}",
            'yaml:2: checks.spelling.language: is "enn"; allowed: "en"; did you mean `en`?',
        ),
        ("checks:\n  duplicates:\n    words: 2", "writing.yaml:3: checks.duplicates.words: is 2; must be at least 5"),
        ("checks: {claims: {share: 30}}", "checks.claims.share: is 30; must be at most 1"),
        ("checks: {links: yes}", "checks.links: must be a mapping of keys to values"),
        ("checks: {documents: []}", "checks.documents: has 0 entries; at least 1 are allowed"),
    ],
)
def test_a_mistake_in_what_is_to_be_checked_is_told_with_its_line_and_the_nearest_name(
    tmp_path: Path, text: str, told: str
) -> None:
    write(tmp_path, "criteria/writing.yaml", f"{text}\nitems:\n  - {{id: a, question: Is it?}}\n")
    (problem,) = scan_criteria(tmp_path).problems
    assert told in str(problem)


def test_what_is_to_be_checked_is_read_with_its_defaults(tmp_path: Path) -> None:
    write(
        tmp_path,
        "criteria/writing.yaml",
        "checks:\n  spelling: {words: [hist]}\n  duplicates: {}\n  claims: {share: 1}\n"
        "items:\n  - {id: a, question: Is it?}\n",
    )
    checks = read_criteria(tmp_path)["writing"].checks
    assert checks == Checks(spelling=Spelling("en", ("hist",)), duplicates=Duplicates(25), claims=ClaimRules(3, 1.0))
    assert from_mapping(Checks, to_mapping(checks)) == checks
    assert Checks(duplicates=Duplicates()) == from_mapping(Checks, to_mapping(Checks(duplicates=Duplicates())))


def test_the_defaults_of_the_schema_are_those_of_the_code() -> None:
    known = load_schema("criteria")["properties"]["checks"]["properties"]
    for name, default in asdict(Checks()).items():
        if default is not None:
            assert known[name]["default"] == (list(default) if isinstance(default, tuple) else default)
    for kind in (Duplicates, Spelling, Length, Links, ClaimRules):
        name = "claims" if kind is ClaimRules else kind.__name__.lower()
        told = {key: own["default"] for key, own in known[name]["properties"].items()}
        assert told == {key: list(own) if isinstance(own, tuple) else own for key, own in asdict(kind()).items()}


def test_the_shipped_criteria_are_few_and_have_required_items(tmp_path: Path) -> None:
    shipped = read_criteria(tmp_path)
    assert set(shipped) == set(Kind) == {"code", "ops", "other", "research", "writing"}
    for criteria in shipped.values():
        assert 1 <= len(criteria.items) <= 8
        assert any(item.required for item in criteria.items)
        assert criteria.threshold == (1 if criteria.kind == "other" else None)
        assert criteria.checks.viewable
        assert all(item.question.endswith("?") for item in criteria.items)


def test_a_kind_without_criteria_is_judged_by_the_strictest(tmp_path: Path) -> None:
    criteria = read_criteria(tmp_path)
    chosen = criteria_for("poem", criteria)
    assert all(item.required for item in chosen.items)
    assert (len(chosen.items), chosen.threshold) == (8, 1), "no other asks for more"
    assert criteria_for("writing", criteria).kind == "writing"


def test_the_examples_of_this_repository_are_valid() -> None:
    assert [rule.id for rule in read_rules(PROJECT)][:3] == [
        "0001-no-single-pass",
        "0002-look-for-data-first",
        "0003-deliverables-are-viewable",
    ]
    souls, problems = read_souls(PROJECT)
    assert not problems
    assert {"engineer", "critic", "researcher"} <= set(souls)
    assert all(section_of(soul.body, "Boundaries") for soul in souls.values())
    skills = scan_skills(PROJECT).all_good()
    assert {name for soul in souls.values() for name in soul.skills} <= set(skills)
    assert not scan_rules(PROJECT).problems


def test_author_and_reviewer_of_the_examples_are_of_different_families() -> None:
    souls, _ = read_souls(PROJECT)
    workers = {soul.family for soul in souls.values() if "work" in soul.roles}
    reviewers = {soul.family for soul in souls.values() if "review" in soul.roles}
    assert workers
    assert [family for family in workers if not reviewers - {family}] == []
