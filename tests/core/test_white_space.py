"""Which white space means something."""

import pytest

from orchestrator.core.white_space import is_meant_empty, means_another, runs_by_itself

LOOP = "def total(prices):\n    for each in prices:\n        print(each)\n"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("a.py", f"{LOOP}        return 1\n", f"{LOOP}    return 1\n"),
        ("a.yaml", "till:\n  digits: 2\nround: true\n", "till:\n  digits: 2\n  round: true\n"),
        ("Makefile", "all:\n    true\n", "all:\n\ttrue\n"),
        ("sub/rules.mk", "all:\n    true\n", "all:\n\ttrue\n"),
        ("a.go", 'print("oneprice")\n', 'print("one price")\n'),
        ("a.md", "one\ntwo\n", "one\n\ntwo\n"),
        ("a.js", "say(`oneprice`)\n", "say(`one price`)\n"),
        ("a.c", "say('a', \"it's\\\" one\");\n", "say('a', \"it's\\\"  one\");\n"),
    ],
)
def test_white_space_that_says_something_else(path: str, old: str, new: str) -> None:
    assert means_another(path, old.encode(), new.encode())


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("a.py", LOOP, LOOP.replace("    ", "  ")),
        ("a.py", LOOP, LOOP.replace("    ", "\t").replace("\n", "\r\n").replace("\t", "    ")),
        ("a.py", LOOP, f"\n\n{LOOP}\n  \n"),
        ("a.py", "x = 'a'\n", "x  =  'a'   \n"),
        ("a.py", "# don't\n", "# don't   \n"),
        ("a.go", "func a() {\n\tb()\n}\n", "func a() {\n        b()\n}\n"),
        ("a.c", "if (a)\nb();\n", "if (a)\n    b();\n"),
        ("a.py", "", "\n  \n"),
        ("a.md", "# One\n\ntwo words\n", "# One\n\n\ntwo  words  \n\n"),
        ("a.py", "x\udcff\n", "x\udcff \n"),
    ],
)
def test_white_space_that_says_nothing(path: str, old: str, new: str) -> None:
    assert not means_another(path, old.encode(errors="surrogateescape"), new.encode(errors="surrogateescape"))


def test_a_line_of_marks_alone_is_read_once() -> None:
    hostile = b'\\"' * 400_000
    assert not means_another("a.py", hostile, hostile + b"  ")


def test_some_files_say_something_by_being_there() -> None:
    assert is_meant_empty("till/__init__.py")
    assert is_meant_empty("out/.gitkeep")
    assert not is_meant_empty("till/sums.py")


def test_a_program_is_started_by_what_it_names_or_by_a_shell() -> None:
    assert runs_by_itself("app.py", b"#!/usr/bin/env python3\n")
    assert runs_by_itself("tools/run.SH", b"echo hi\n")
    assert not runs_by_itself("app.py", b"import os\n#!/bin/sh\n")
