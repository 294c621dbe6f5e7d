"""Keys are set in a person's text, and every other character stays as it was written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.job_text import KeyPath, find_key, set_key, unset_key
from orchestrator.adapters.strict_yaml import load
from orchestrator.errors import NotFoundError, RefusedError

LONG = """\
# what I want
title: x  # short
prompt: |
  Put it right.

# how much
limits:
  minutes: 3  # enough

checks: [a, b]
"""
YAML = {
    "long": LONG,
    "no line end": LONG + "merge: ask",
    "a block of text at the end, without a line end": "title: x\nprompt: |\n  Put it right.",
    "kept line ends": "prompt: |+\n  Put it right.\n\n\n",
    "an end mark": "prompt: a\n...\n# end\n",
    "json": '{"prompt": "x", "title": "y"}\n',
    "braces": "{prompt: a}\n",
    "carriage returns": "prompt: a\r\ntitle: b\r\n",
    "a block list": "checks:\n- a\n- b\n# tail\nprompt: x\n",
    "an empty value": "prompt: x\nagent:   # nobody yet\ntitle: y\n",
    "deep": "review:\n    by:\n    - critic\n    rounds: 2\nprompt: x\n",
}
MARKDOWN = {"plain": "Put it right.\n", "front": "---\ntitle: x\n---\nPut it right.\n", "empty": "---\n---\nIt.\n"}
VALUES: list[tuple[KeyPath, Any]] = [
    (("hold",), True),
    (("hold",), "until: it # is"),
    (("title",), "Another: one"),
    (("limits", "minutes"), 30),
    (("limits", "starts"), 4),
    (("review", "by"), ["critic", "skeptic"]),
    (("checks",), ["make lint", "true"]),
    (("prompt",), "Two\nlines.\n"),
    (("agent",), "ada"),
]


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize(("path", "value"), VALUES, ids=str)
def test_a_key_is_set_and_nothing_else_is_touched(name: str, path: KeyPath, value: Any) -> None:
    before = YAML[name]
    after = set_key(before, path, value, markdown=False)
    wanted = dict(load(before).value)
    inner = dict(wanted.get(path[0]) or {}) if len(path) > 1 else {}
    wanted[path[0]] = {**inner, path[1]: value} if len(path) > 1 else value
    assert load(after).value == wanted
    kept = [line for line in before.splitlines() if line.startswith("#") and line not in after.splitlines()]
    assert kept == []
    assert ("\r\n" in before) == ("\r\n" in after)
    assert after.replace("\r\n", "") == after or "\n" not in after.replace("\r\n", "")


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("path", [("hold",), ("limits", "starts"), ("merge",)], ids=str)
def test_what_was_set_and_is_taken_away_leaves_the_text_as_it_was(name: str, path: KeyPath) -> None:
    before = YAML[name].removesuffix("merge: ask")
    after = unset_key(set_key(before, path, 1, markdown=False), path, markdown=False)
    assert after == before


def test_the_line_of_a_key_keeps_its_comment() -> None:
    assert "title: new  # short\n" in set_key(LONG, ("title",), "new", markdown=False)
    assert "  minutes: 30  # enough\n" in set_key(LONG, ("limits", "minutes"), 30, markdown=False)


def test_the_last_key_below_another_takes_that_one_with_it() -> None:
    assert unset_key(LONG, ("limits", "minutes"), markdown=False) == LONG.replace(
        "limits:\n  minutes: 3  # enough\n", ""
    )


def test_a_key_that_is_not_there_is_taken_away_without_a_trace() -> None:
    assert unset_key(LONG, ("hold",), markdown=False) == LONG


@pytest.mark.parametrize("name", MARKDOWN)
def test_in_markdown_the_front_matter_is_changed_and_the_text_below_stays(name: str) -> None:
    before = MARKDOWN[name]
    held = set_key(before, ("hold",), "why", markdown=True)
    assert parse_job(held.encode(), name="job.md").spec.hold == "why"
    assert parse_job(held.encode(), name="job.md").spec.prompt == parse_job(before.encode(), name="job.md").spec.prompt
    released = unset_key(held, ("hold",), markdown=True)
    assert released == before.replace("---\n---\n", "")


def test_the_prompt_of_markdown_is_the_text_below() -> None:
    assert set_key(MARKDOWN["front"], ("prompt",), "New.", markdown=True) == "---\ntitle: x\n---\nNew.\n"


def test_what_cannot_be_changed_alone_is_refused() -> None:
    with pytest.raises(RefusedError, match="cannot be changed by itself"):
        unset_key("prompt: x\n...\n", ("prompt",), markdown=False)


@given(st.text(min_size=1, max_size=60))
def test_any_text_comes_out_as_it_was_put_in_or_is_refused(value: str) -> None:
    for before in (LONG, YAML["json"]):
        try:
            after = set_key(before, ("title",), value, markdown=False)
        except RefusedError:
            continue
        assert load(after).value["title"] == value


@pytest.mark.parametrize(
    ("name", "path"), [("priority", ("priority",)), ("minutes", ("limits", "minutes")), ("review.by", ("review", "by"))]
)
def test_a_key_is_found_by_its_name_alone(name: str, path: KeyPath) -> None:
    assert find_key(name) == path


@pytest.mark.parametrize(("name", "told"), [("prio", "priority"), ("minuts", "limits.minutes"), ("x", "")])
def test_a_key_that_does_not_exist_is_told_with_the_one_that_was_meant(name: str, told: str) -> None:
    with pytest.raises(NotFoundError, match=f"no key {name!r}.*{told}"):
        find_key(name)
