"""What the bytes of a changed file give away."""

import pytest
from growth import LINEAR, growth

from orchestrator.core.contents import (
    find_keys,
    has_conflict_marks,
    holds_sentences,
    is_binary,
    is_image,
    is_named_as_note,
    program_form,
)

CONFLICT = b"<<<<<<< ours\nx = 1\n=======\nx = 2\n>>>>>>> theirs\n"


@pytest.mark.parametrize("new", [CONFLICT, CONFLICT.replace(b"\n", b"\r\n"), b"a\n<<<<<<<\n=======\n>>>>>>>\n"])
def test_marks_of_a_conflict_are_told_from_other_lines(new: bytes) -> None:
    assert has_conflict_marks(b"", new)
    assert not has_conflict_marks(new, new + b"more\n")
    assert has_conflict_marks(new, new + CONFLICT)


@pytest.mark.parametrize(
    "new", [b"Sum\n=======\n", b"<<<<<<< ours\n", b"a = b <<<<<<< c\n >>>>>>> d\n", b"<<<<<<<<\n>>>>>>>>\n"]
)
def test_what_only_looks_like_a_mark_is_none(new: bytes) -> None:
    assert not has_conflict_marks(b"", new)


def test_a_key_is_told_of_with_its_line_and_never_itself() -> None:
    secret = b"AKIA" + b"Q" * 16
    (found,) = find_keys(b"", b"one\ntwo = '" + secret + b"'\n")
    assert found == (2, "a key of AWS")
    assert not list(find_keys(secret, b"moved: " + secret))


def test_a_large_hostile_file_is_searched_in_its_length() -> None:
    hostile = b"sk-" * 60_000 + b"-----BEGIN AA " * 2000 + b"xoxb-" + b"1" * 100_000
    assert not [what for _, what in find_keys(b"", hostile) if "private" in what]


@pytest.mark.parametrize(
    ("data", "is_so"),
    [(b"// \0\nalert()\n", True), (b"a" * 8000 + b"\0", False), (b"\xff\xfea\0b\0", False), (b"plain\n", False)],
)
def test_a_file_is_binary_as_git_sees_it(data: bytes, is_so: bool) -> None:
    assert is_binary(data) is is_so


def test_compiled_programs_are_known_by_how_they_begin() -> None:
    assert program_form(b"\x7fELF\x02") == "ELF"
    assert program_form(b"\x00asm\x01") == "WebAssembly"
    assert not program_form(b"#!/bin/sh\n")


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"\x89PNG\r\n\x1a\n\0", True),
        (b"\xff\xd8\xff\xe0", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", True),
        (b"\0\0\0\x1cftypavif", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (b"PK\x03\x04", False),
        (b"", False),
    ],
)
def test_an_image_is_known_by_how_it_begins(data: bytes, is_one: bool) -> None:
    assert is_image(data) is is_one


@pytest.mark.parametrize(
    "text",
    [
        "First I will look at total(), then I will round it.\n",
        "Plan\n\n1. Round the sum to two digits.\n2. Write a test for it.\n",
        "Ich sehe mir erst die Summe an.\nDann runde ich sie, und zwar so, wie es gesagt wurde.\n",
        "“It is done”, he said, and went home.",
    ],
)
def test_prose_is_known_by_its_words_and_sentences(text: str) -> None:
    assert holds_sentences(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "flask==3.1\nsqlalchemy==2.0\n",
        "# What the program needs to run.\nflask==3.1\n",
        "apple\npear\nplum\nbread.\nmilk\n",
        "User-agent: *\nDisallow: /private\n",
        'FROM python:3.12\nCOPY . /app\nRUN pip install /app\nCMD ["till"]\n',
        "cmake_minimum_required(VERSION 3.20)\nproject(till)\nadd_executable(till main.c)\n",
        "1 2 3 4 5 6.\n",
        "one two\n",
        "no end of a sentence in these words\n",
        "\xff\xfe",
        "",
    ],
)
def test_lists_settings_and_programs_are_no_prose(text: str) -> None:
    assert not holds_sentences(text.encode("latin-1"))


def test_a_note_stands_at_the_top_and_is_named_like_no_program() -> None:
    assert [name for name in ("notes", "Plan.TXT", "a.org", "b.log") if not is_named_as_note(name)] == []
    others = ("a.py", "a.json", "docs/a.txt", "CMakeLists.txt.in", ".gitignore", "a.b.txt", "index.html", "a.txt\n")
    assert [name for name in others if is_named_as_note(name)] == []


@pytest.mark.parametrize("part", ["a", "a-", "a ", "'", "a.", "\n", "# ", "("])
def test_looking_for_sentences_does_not_take_the_square_of_a_length(part: str) -> None:
    assert growth(lambda size: holds_sentences(part.encode() * size), 50_000) < LINEAR
