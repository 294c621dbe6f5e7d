from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.document import (
    MARK,
    MARK_NO_FRONT_MATTER,
    MARK_NO_LINE_END,
    Document,
    cut_front_matter,
    join,
    split,
)

PIECES = ["a: 1", "---", "\n", "\r\n", "\r", " ", "# c", MARK, MARK_NO_LINE_END, MARK_NO_FRONT_MATTER, "orc:", "é"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=40)
VALUES = st.lists(st.sampled_from(["x", "---", MARK, MARK_NO_LINE_END, MARK_NO_FRONT_MATTER, ""]), max_size=5)


def _block(lines: list[str]) -> str:
    return "orc:\n  reason: |\n" + "".join(f"    {line}\n" if line else "\n" for line in lines) + "  seq: 1\n"


@given(person=TEXTS, values=VALUES, markdown=st.booleans())
def test_split_gives_back_to_the_letter_what_join_put_together(person: str, values: list[str], markdown: bool) -> None:
    block = _block(values)
    assert split(join(person, block, markdown=markdown), markdown=markdown) == Document(person, block)


@given(person=TEXTS, markdown=st.booleans())
def test_the_block_can_be_replaced_again_and_again(person: str, markdown: bool) -> None:
    once = join(person, _block(["first"]), markdown=markdown)
    again = join(split(once, markdown=markdown).person, _block(["second"]), markdown=markdown)
    assert again == join(person, _block(["second"]), markdown=markdown)


@pytest.mark.parametrize("markdown", [False, True])
@pytest.mark.parametrize("text", ["", "prompt: x\n", "---\na: 1\n---\nbody", "---\nno end", "body only", MARK])
def test_a_text_without_a_mark_line_is_all_the_persons(text: str, markdown: bool) -> None:
    assert split(text, markdown=markdown) == Document(text)


def test_in_yaml_the_block_ends_the_file() -> None:
    assert join("prompt: x\n", "orc: {}\n", markdown=False) == f"prompt: x\n{MARK}\norc: {{}}\n"


def test_in_markdown_the_block_ends_the_front_matter() -> None:
    text = join("---\npriority: P1\n---\nDo it.", "orc: {}\n", markdown=True)
    assert text == f"---\npriority: P1\n{MARK}\norc: {{}}\n---\nDo it."


def test_markdown_without_front_matter_gets_one_that_vanishes_again() -> None:
    text = join("Do it.", "orc: {}\n", markdown=True)
    assert text == f"---\n{MARK_NO_FRONT_MATTER}\norc: {{}}\n---\nDo it."
    assert split(text, markdown=True).person == "Do it."


def test_keys_written_above_the_mark_of_an_added_front_matter_are_the_persons() -> None:
    text = join("Do it.", "orc: {}\n", markdown=True).replace("---\n", "---\npriority: P1\n", 1)
    assert split(text, markdown=True) == Document("---\npriority: P1\n---\nDo it.", "orc: {}\n")


@pytest.mark.parametrize("person", ["prompt: x\n", "prompt: x"])
def test_a_file_that_an_editor_gave_windows_line_ends_still_splits(person: str) -> None:
    text = join(person, "orc: {}\n", markdown=False).replace("\n", "\r\n")
    assert split(text, markdown=False) == Document(person.replace("\n", "\r\n"), "orc: {}\r\n")


def test_markdown_without_front_matter_with_windows_line_ends_still_splits() -> None:
    text = join("Do it.\n", "orc: {}\n", markdown=True).replace("\n", "\r\n")
    assert split(text, markdown=True) == Document("Do it.\r\n", "orc: {}\r\n")


@pytest.mark.parametrize(
    ("text", "matter", "body"),
    [
        ("---\na: 1\n---\nbody\n", "a: 1\n", "body\n"),
        ("---\n---\nbody", "", "body"),
        ("---\r\na: 1\r\n---\r\nbody", "a: 1\r\n", "body"),
        ("---\na: 1\n---", "a: 1\n", ""),
        ("---\na: 1\n", None, "---\na: 1\n"),
        ("--- \na: 1\n---\n", None, "--- \na: 1\n---\n"),
        ("body", None, "body"),
        ("", None, ""),
    ],
)
def test_front_matter_is_what_stands_between_two_exact_fences(text: str, matter: str | None, body: str) -> None:
    assert cut_front_matter(text) == (matter, body)
