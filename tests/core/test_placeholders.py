"""Placeholders: what nobody would hand over, and what only looks like it."""

from __future__ import annotations

import pytest
from growth import LINEAR, growth

from orchestrator.core.placeholders import placeholders
from orchestrator.core.prose import Document


def places(text: str, *, path: str = "a.md", before: str | None = None, task: str = "") -> list[str]:
    return [each.place for each in placeholders([Document(path, text, before)], task)]


@pytest.mark.parametrize(
    "text",
    [
        "TODO: write this.",
        "TODO - write this",
        "TODO(ada): write this",
        "**TODO:** write this",
        "[TBD]",
        "TBD.",
        "_TBC_",
        "FIXME: the numbers are wrong",
        "TODO: write\nthis on two lines",
        "Lorem ipsum dolor sit amet.",
        "It begins. LOREM IPSUM DOLOR sit amet.",
    ],
)
def test_a_placeholder_is_refused_with_its_line(text: str) -> None:
    assert places(f"# Guide\n{text}\n") == ["a.md:2"]
    assert places(f"# Guide\n\nOne.\n\n{text}\n") == ["a.md:5"]


@pytest.mark.parametrize(
    "text",
    [
        "- TODO: write this",
        "* TODO: write this",
        "1. TODO: write this",
        "- [ ] TODO: write this",
        "| TODO: write this |",
        "> TODO: write this",
        "`TODO: write this`",
        "```\nTODO: write this\n```",
        "The words that follow\nTODO: are a remark.",
        "TODO comments are found by the editor.",
        "TODO.md lists what is open.",
        "TODO:\n\n- write this",
        "TODO\n====\n\n- write this",
        "[TODO](todo.md)",
        "Todo: el mundo lo sabe.",
        "TODO INCLUIDO en el precio.",
        "The date is TBD.",
        "Printers set “Lorem ipsum dolor sit amet” to try a page.",
        "The words *lorem ipsum dolor* are from Cicero.",
        "`Lorem ipsum dolor`",
        "A page about lorem ipsum.",
        "Neque porro quisquam est, qui dolorem ipsum quia dolor sit amet.",
    ],
)
def test_what_says_something_is_no_placeholder(text: str) -> None:
    assert places(f"# Guide\n\n{text}\n") == []


def test_in_a_page_a_paragraph_is_one() -> None:
    assert places("<h1>Guide</h1>\n<p>TODO: write this.</p>\n", path="a.html") == ["a.html:2"]
    assert places("<p class='x'>Lorem ipsum dolor sit amet.</p>\n", path="a.html") == ["a.html:1"]
    assert places("<ul>\n<li>TODO: write this.</li>\n</ul>\n", path="a.html") == []
    assert places("<script>\n// Lorem ipsum dolor\n</script>\n", path="a.html") == []


def test_only_what_the_change_added_is_refused_and_not_what_the_task_names() -> None:
    old = "TODO: write this.\n"
    assert places(f"More.\n\n{old}", before=old) == []
    assert places(f"{old}\nTODO: and that.\n", before=old) == ["a.md:3"]
    moved = [Document("a.md", None, old), Document("b.md", old)]
    assert placeholders(moved, "") == ()
    assert places(old, task="Explain what a TODO is.") == []
    assert places("Lorem ipsum dolor.\n", task="Fill the page with Lorem Ipsum.") == []
    assert places(old, task="Fill the page with lorem ipsum.") == ["a.md:1"]


@pytest.mark.parametrize("part", ["TODO", "[", "*", "TODO(", "TODO: ", "lorem ipsum ", "<p", "\n\n", "_", "TBD\n\n"])
@pytest.mark.parametrize("path", ["a.md", "a.html"])
def test_no_text_takes_the_square_of_its_length(part: str, path: str) -> None:
    def read(size: int) -> None:
        placeholders([Document(path, part * (size // len(part)))], "")

    assert growth(read, 25_000) < LINEAR
