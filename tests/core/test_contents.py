"""What the bytes of a changed file give away."""

import pytest

from orchestrator.core.contents import find_keys, has_conflict_marks, is_binary, program_form

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
