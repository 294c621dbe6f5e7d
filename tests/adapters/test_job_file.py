from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from value_strategies import HOSTILE_TEXT, SAFE_TEXT, values_of

from orchestrator.adapters.job_file import job_template, parse_job, read_job, show_job
from orchestrator.adapters.schemas import load_schema
from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.codec import to_mapping
from orchestrator.core.document import MARK, MARK_NO_FRONT_MATTER
from orchestrator.core.job import (
    Check,
    Independence,
    Job,
    JobSpec,
    Kind,
    LimitWishes,
    MergePolicy,
    Priority,
    ReviewWishes,
    Standing,
    State,
)
from orchestrator.errors import InvalidFileError, LedgerError

FULL = """\
# Everything at once.
prompt: |
  Fix it.
title: Fix log-in
kind: writing
priority: P0
project: web-shop
target: release/1.0
agent: engineer
backend: claude
model: claude-sonnet-5
skills: [commit-messages]
needs: [add-user-table, fix-login-7f3a09c2]
not_before: 2027-01-31
checks:
  - make lint
  - {name: tests, run: make test, timeout_s: 60}
paths: [src/**, tests/**]
expects: change
deliverables: [tests/test_login.py]
repairs_base: true
reproduces: true
repeats: true
review: {rounds: 2, threshold: 0.5, by: [critic], independence: model}
merge: branch
limits: {attempts: 2, minutes: 5, starts: 6, reviews: 3}
"""
STANDING = Standing("fix-login-7f3a09c2", 3, State.READY, "2026-11-20T23:00:00Z", "2026-11-20T23:00:01Z")


def parse(text: str, name: str = "fix.yaml") -> JobSpec:
    return parse_job(text.encode(), name=name).spec


def refusal(text: str | bytes, name: str = "fix.yaml") -> InvalidFileError:
    with pytest.raises(InvalidFileError) as caught:
        parse_job(text.encode() if isinstance(text, str) else text, name=name)
    assert caught.value.file == name
    return caught.value


# --- what a person writes ---


def test_a_prompt_is_enough() -> None:
    assert parse("prompt: Fix it.\n") == JobSpec("Fix it.")


def test_every_key_arrives() -> None:
    assert parse(FULL) == JobSpec(
        prompt="Fix it.\n",
        title="Fix log-in",
        kind=Kind.WRITING,
        priority=Priority.P0,
        project="web-shop",
        target="release/1.0",
        agent="engineer",
        backend="claude",
        model="claude-sonnet-5",
        skills=("commit-messages",),
        needs=("add-user-table", "fix-login-7f3a09c2"),
        not_before="2027-01-31",
        checks=(Check("make lint"), Check("make test", "tests", 60)),
        paths=("src/**", "tests/**"),
        deliverables=("tests/test_login.py",),
        repairs_base=True,
        reproduces=True,
        repeats=True,
        review=ReviewWishes(2, 0.5, ("critic",), Independence.MODEL),
        merge=MergePolicy.BRANCH,
        limits=LimitWishes(2, 5, 6, 3),
    )


def test_an_empty_list_of_checks_is_not_the_same_as_none_given() -> None:
    assert parse("prompt: x\nchecks: []\n").checks == ()
    assert parse("prompt: x\n").checks is None


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Fix it.\n", "Fix it."),
        ("---\npriority: P1\n---\n\nFix it.\n\nWell.\n", "Fix it.\n\nWell."),
        ("---\r\npriority: P1\r\n---\r\nFix\r\nit.\r\n", "Fix\nit."),
        ("---\n---\nFix it.", "Fix it."),
        ("---\n# nothing but a comment\n---\nFix it.", "Fix it."),
        ("---\nprompt: Fix it.\n---\n\n", "Fix it."),
        ("Fix it:\n\n---\n\nprompt: not a key\n", "Fix it:\n\n---\n\nprompt: not a key"),
        ("    indented code\n", "    indented code"),
    ],
)
def test_in_markdown_the_text_below_the_front_matter_is_the_prompt(text: str, prompt: str) -> None:
    assert parse(text, "fix.md").prompt == prompt


def test_both_endings_of_yaml_count() -> None:
    assert parse_job(b"prompt: x\n", name="fix.yml").markdown is False


@pytest.mark.parametrize("name", ["fix.txt", "fix", "fix.yaml~", "fix.YAML", ".yaml.swp"])
def test_a_file_with_another_ending_is_no_job(name: str) -> None:
    assert ".yaml, .yml, .md" in refusal("prompt: x\n", name).hint


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("priorty: P1", "priorty", "did you mean `priority`?"),
        ("priority: P7", "priority", '"P0", "P1", "P2", "P3", "P4", "P5"'),
        ("priority: 1", "priority", '"P0", "P1"'),
        ("kind: Code", "kind", "does not have the form"),
        ("expects: no-change", "expects", "did you mean `no_change`?"),
        ("merge: yes", "merge", '"ask", "auto", "branch"'),
        ("expects: nothing", "expects", '"change", "no_change"'),
        (f"title: {'x' * 201}", "title", "has 201 characters; at most 200"),
        ("title: 5", "title", "must be text, is 5"),
        ("target: -f", "target", "does not have the form"),
        ("target: a..b", "target", "does not have the form"),
        ("target: orc/state", "target", "does not have the form"),
        ("target: refs/heads/main", "target", "does not have the form"),
        ('target: "main\\n"', "target", "does not have the form"),
        ("target: orc", "target", "does not have the form"),
        ("target: a b", "target", "does not have the form"),
        ("agent: ../x", "agent", "does not have the form"),
        ("paths: [/etc/passwd]", "paths[0]", "does not have the form"),
        ("paths: [src/**, a/../../b]", "paths[1]", "does not have the form"),
        ("deliverables: [..]", "deliverables[0]", "does not have the form"),
        ("paths: src", "paths", "must be a list"),
        ("needs: [a, a]", "needs", "the same entry twice"),
        ("needs: [fix]", "needs", "needs itself"),
        ("not_before: tomorrow", "not_before", "does not have the form"),
        ("not_before: 2027-02-30", "not_before", "not in the calendar"),
        ("not_before: 2027-02-01T25:00:00Z", "not_before", "not in the calendar"),
        ("checks: make test", "checks", "must be a list"),
        ("checks: [{run: x, timeout: 3}]", "checks[0].timeout", "did you mean `timeout_s`?"),
        ("checks: [{name: x}]", "checks[0].run", "this key is missing"),
        ("checks: ['']", "checks[0]", "at least 1"),
        ("checks: [{run: x, timeout_s: 0}]", "checks[0].timeout_s", "must be at least 1"),
        ("review: {rounds: 11}", "review.rounds", "must be at most 10"),
        ("review: {rounds: 0}", "review.rounds", "must be at least 1"),
        ("review: {threshold: 80}", "review.threshold", "must be at most 1"),
        ("review: {independance: human}", "review.independance", "did you mean `independence`?"),
        ("limits: {minutes: 100000}", "limits.minutes", "must be at most 1440"),
        ("limits: {attempts: 2.5}", "limits.attempts", "must be a whole number"),
        ("repairs_base: 1", "repairs_base", "must be true or false"),
        ("{expects: no_change, deliverables: [a]}", "deliverables", "changes no files"),
        ("{expects: no_change, repairs_base: true}", "repairs_base", "repairs nothing"),
        ("reproduces: 1", "reproduces", "must be true or false"),
        ("{expects: no_change, reproduces: true}", "reproduces", "mends nothing"),
        ("{paths: [src/**], deliverables: [docs/a.md]}", "deliverables", "lies outside `paths`"),
        ("{agent: a, review: {by: [a]}}", "review.by", "to do the work and to judge it"),
        ("orc: {id: x}", "orc", "unknown key"),
        ("priority: P1\npriority: P2", "priority", "given twice"),
    ],
)
def test_a_refusal_names_the_file_the_line_the_key_and_what_is_allowed(line: str, key: str, words: str) -> None:
    keys = line[1:-1].replace(", ", "\n", 1) if line.startswith("{") else line
    error = refusal(f"# a comment\nprompt: x\n{keys}\n")
    assert error.key == key
    assert error.line == 3 + keys.count("\n")
    assert str(error).startswith(f"fix.yaml:{error.line}: {key}: ")
    assert words in str(error)
    in_front_matter = refusal(f"---\n# a comment\n{keys}\n---\nFix it.\n", "fix.md")
    assert (in_front_matter.line, in_front_matter.key) == (error.line, key)


def test_the_first_mistake_is_shown_and_the_others_are_counted() -> None:
    error = refusal("prompt: x\nkind: Code\npriority: P9\n")
    assert error.key == "kind"
    assert "(1 more: " in str(error)


@pytest.mark.parametrize(
    ("text", "name", "line", "words"),
    [
        ("title: x\n", "fix.yaml", 1, "this key is missing"),
        ("title: x\nprompt: |\n\n", "fix.yaml", 2, "is empty"),
        ("prompt:\n", "fix.yaml", 1, "must be text, is null"),
        ("- prompt\n", "fix.yaml", 1, "a list where keys are expected"),
        ("", "fix.yaml", 0, "is empty"),
        ("prompt: x\n- y\n", "fix.yaml", 2, "key"),
        (b"\xff\xfea\0", "fix.yaml", 1, "byte order mark"),
        (b"prompt: x\n\xff", "fix.yaml", 2, "not UTF-8"),
        ("prompt: x\n# \u202e\n", "fix.yaml", 2, "U+202E"),
        ("prompt: x\n" + "# x\n" * 70_000, "fix.yaml", 0, "at most 256 KiB"),
        ("prompt: &a x\n", "fix.yaml", 1, "anchor"),
        ("", "fix.md", 0, "is empty"),
        (" \n\n", "fix.md", 0, "is empty"),
        ("---\npriority: P1\n---\n\n", "fix.md", 0, "is empty"),
        ("---\npriority: P1\nprompt: x\n---\nFix it.\n", "fix.md", 3, "a text below the front matter too"),
        ("---\npriority: P1\nFix it.\n", "fix.md", 1, "not closed"),
        ("--- \npriority: P1\n---\nFix it.\n", "fix.md", 1, "not closed"),
        ("---\n- a\n---\nFix it.\n", "fix.md", 2, "holds no keys"),
        ("---\n\nx: 'a\n---\nFix it.\n", "fix.md", 3, "not closed"),
        ("---\npriority: P1\n---\nFix\n\nit\x07.\n", "fix.md", 6, "U+0007"),
        ("x" * 262_145, "fix.md", 0, "at most 256 KiB"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_refused_in_words(
    text: str | bytes, name: str, line: int, words: str
) -> None:
    error = refusal(text, name)
    assert words in str(error) or words in error.hint
    assert error.line == line


# --- the two writers ---


def _texts() -> st.SearchStrategy[tuple[str, bool]]:
    keys = st.fixed_dictionaries(
        {},
        optional={
            "title": SAFE_TEXT.filter(str.strip),
            "priority": st.sampled_from([each.name for each in Priority]),
            "kind": st.sampled_from([each.value for each in Kind]),
            "checks": st.lists(st.sampled_from(["make test", {"run": "x", "timeout_s": 5}]), max_size=3),
            "paths": st.just(["src/**"]),
            "review": st.just({"rounds": 2, "by": ["critic"]}),
            "limits": st.just({"minutes": 5}),
        },
    )
    prompts = (SAFE_TEXT | HOSTILE_TEXT).filter(str.strip)
    comment = st.sampled_from(["", "# a comment\n", "\n\n"])
    return st.builds(_person_text, keys, prompts, comment, *[st.booleans()] * 4)


def _person_text(
    keys: dict[str, Any], prompt: str, comment: str, markdown: bool, crlf: bool, ended: bool, bare: bool
) -> tuple[str, bool]:
    if markdown:
        matter = comment + (dump(keys) if keys else "")
        text = f"Do:\n{prompt}\n" if bare else f"---\n{matter}---\n{prompt}\n"
    else:
        text = f"{comment}{dump({**keys, 'prompt': prompt})}{comment}"
    text = text if ended else text.rstrip("\n")
    return (text.replace("\r\n", "\n").replace("\r", "").replace("\n", "\r\n") if crlf else text), markdown


@settings(deadline=None, max_examples=150)
@given(written=_texts(), standing=values_of(Standing))
def test_a_job_comes_back_from_its_file_and_the_persons_text_is_kept_to_the_letter(
    written: tuple[str, bool], standing: Standing
) -> None:
    text, markdown = written
    name = "fix.md" if markdown else "fix.yaml"
    parsed = parse_job(text.encode(), name=name)
    assert (parsed.text, parsed.block) == (text, None)
    job = Job(text, markdown, parsed.spec, standing)
    shown = show_job(job)
    assert read_job(shown, name=name) == job
    again = parse_job(shown, name=name)
    assert (again.text, again.spec, again.lines) == (text, parsed.spec, parsed.lines)
    assert again.block == to_mapping(standing)


@pytest.mark.parametrize("name", ["fix.yaml", "fix.md"])
def test_what_an_agent_wrote_into_a_reason_cannot_end_the_block(name: str) -> None:
    reason = f"\n---\n{MARK}\n{MARK_NO_FRONT_MATTER}\nprompt: something else\n...\n"
    parsed = parse_job(b"prompt: x\n" if name == "fix.yaml" else b"---\nkind: code\n---\nx\n", name=name)
    job = Job(parsed.text, parsed.markdown, parsed.spec, dataclasses.replace(STANDING, reason=reason))
    assert read_job(show_job(job), name=name) == job


def test_a_control_character_in_a_reason_is_shown_as_a_replacement_character() -> None:
    job = Job("prompt: x\n", False, JobSpec("x"), dataclasses.replace(STANDING, reason="bell \x07 \ud800"))
    assert read_job(show_job(job), name="fix.yaml").at.reason == "bell \ufffd \ufffd"


def test_a_shown_file_that_a_person_edits_above_the_line_is_read_with_the_edit() -> None:
    shown = show_job(Job("prompt: x\n", False, JobSpec("x"), STANDING)).decode()
    edited = parse_job(shown.replace("prompt: x\n", "prompt: x\npriority: P0\n").encode(), name="fix.yaml")
    assert edited.spec.priority is Priority.P0
    assert edited.block is not None
    assert edited.block["seq"] == 3


@pytest.mark.parametrize(
    ("block", "line", "words"),
    [
        ("orc:\n  seq: 3\npriority: P0\n", 5, "priority: stands in the part that orc writes"),
        ("orc: gone\n", 3, "orc: the part that orc writes was damaged"),
        ("orc:\n  seq: 'a\n", 4, "the part that orc writes was damaged"),
        ("- orc\n", 3, "the part that orc writes was damaged"),
    ],
)
def test_an_edit_below_the_line_is_refused(block: str, line: int, words: str) -> None:
    error = refusal(f"prompt: x\n{MARK}\n{block}")
    assert words in str(error)
    assert error.line == line
    assert "undo" in error.hint


def test_a_block_that_was_emptied_is_none() -> None:
    assert parse_job(f"prompt: x\n{MARK}\n".encode(), name="fix.yaml").block is None


@pytest.mark.parametrize(
    "data",
    [
        b"prompt: x\n",
        b"prompt: x\npriority: P9\n" + MARK.encode() + b"\norc: {id: a}\n",
        b"prompt: x\nchecks: 5\n" + MARK.encode() + b"\norc: {id: a}\n",
        b"prompt: x\n" + MARK.encode() + b"\norc: {id: a}\n",
        b"prompt: x\n" + MARK.encode() + b"\norc: {id: a, seq: 1, state: odd, created: '', since: ''}\n",
        b"prompt: x\n" + MARK.encode() + b"\norc: {new_key: a}\n",
        b"\xff",
        b"",
    ],
)
def test_a_broken_job_in_the_ledger_is_an_error_of_the_ledger(data: bytes) -> None:
    with pytest.raises(LedgerError, match=r"job\.yaml"):
        read_job(data, name="job.yaml")


# --- the schema and the template ---


@pytest.mark.parametrize(
    ("path", "kind"),
    [((), JobSpec), (("review",), ReviewWishes), (("limits",), LimitWishes)],
)
def test_the_schema_has_the_keys_of_the_dataclass(path: tuple[str, ...], kind: type[Any]) -> None:
    schema = load_schema("job")
    for key in path:
        schema = schema["properties"][key]
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert list(schema["properties"]) == list(fields)
    assert schema["additionalProperties"] is False
    for key, sub in schema["properties"].items():
        assert sub["title"], key
        assert sub["description"], key
        if "default" in sub:
            assert to_mapping(kind(**{"prompt": "x"} if kind is JobSpec else {})).get(key) is None
            assert _plain(fields[key].default) == sub["default"], key


def test_a_check_in_the_schema_has_the_keys_of_the_dataclass() -> None:
    check = load_schema("job")["properties"]["checks"]["items"]
    assert set(check["properties"]) == {field.name for field in dataclasses.fields(Check)}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("key", list(load_schema("job")["properties"]))
def test_every_example_in_the_schema_is_accepted(key: str) -> None:
    sub = load_schema("job")["properties"][key]
    values = sub.get("examples") or [{name: each["examples"][0] for name, each in sub["properties"].items()}]
    assert values
    for value in values:
        if key == "routine":  # In place of a prompt.
            assert parse(dump({key: value})).routine == value
            continue
        spec = parse(dump({"prompt": "x", key: value}))
        assert (spec == JobSpec("x")) == (value == sub.get("default")), value


@pytest.mark.parametrize("kind", list(Kind))
def test_a_template_is_a_job_once_the_prompt_is_written(kind: Kind) -> None:
    assert parse(job_template(kind, prompt="Fix it.")) == JobSpec("Fix it.\n", kind=kind)
    by_hand = job_template(kind).replace("prompt: |\n", "prompt: |\n  Fix it.\n")
    assert parse(by_hand).prompt.strip() == "Fix it."


def test_a_template_that_nobody_filled_in_is_not_a_job() -> None:
    assert refusal(job_template()).key == "prompt"


def test_a_template_names_the_schema_for_editors_on_its_first_line() -> None:
    first = job_template(schema_path="../schemas/job.schema.json").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../schemas/job.schema.json"


def test_a_template_with_every_comment_sign_taken_away_has_every_key() -> None:
    text = re.sub(r"^#(?! \S)", "", job_template(prompt="Fix it."), flags=re.MULTILINE)
    spec = parse(text)
    for field in dataclasses.fields(JobSpec):
        if field.name not in ("kind", "expects", "routine"):
            assert getattr(spec, field.name) != getattr(JobSpec("x"), field.name), field.name


@given(prompt=(SAFE_TEXT | HOSTILE_TEXT).filter(str.strip))
@settings(deadline=None, max_examples=60)
def test_a_template_holds_any_prompt(prompt: str) -> None:
    wanted = prompt.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    assert parse(job_template(prompt=prompt)).prompt.strip("\n") == wanted


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("routine: snapshot\nprompt: and say hello\n", "prompt"),
        ("routine: snapshot\nagent: ada\n", "agent"),
        ("routine: snapshot\nchecks: ['true']\n", "checks"),
        ("routine: snapshot\npurpose: work\n", "purpose"),
        ("routine: snapshot\nmerge: auto\n", "merge"),
        ("routine: reboot\n", "routine"),
        ("title: nothing to do\n", "prompt"),
    ],
)
def test_a_routine_goes_with_nothing_that_is_for_an_agent(text: str, key: str) -> None:
    with pytest.raises(InvalidFileError) as refused:
        parse_job(text.encode(), name="house.yaml")
    assert refused.value.key == key


def test_a_routine_is_maintenance_and_needs_no_prompt() -> None:
    spec = parse_job(b"routine: sweep\nneeds: [other]\n", name="house.yaml").spec
    assert (spec.routine, spec.prompt, spec.purpose.value, spec.heading) == (
        "sweep", "", "maintenance", "the routine sweep",
    )  # fmt: skip
