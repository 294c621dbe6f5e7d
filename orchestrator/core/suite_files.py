"""Which files hold tests, by the names and folders in which the runners of each language look for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TestFiles:
    """Which files of a language a runner of tests looks into: by their names, or by a folder that they are in."""

    __test__ = False  # What runs the tests of this program would take it for one.

    named: re.Pattern[str]
    below: re.Pattern[str] = re.compile(r"(?!)")
    """The name of such a folder."""
    ending: re.Pattern[str] = re.compile(r"(?!)")
    """Of the files in it."""


TEST_FILES: Mapping[str, TestFiles] = {
    "python": TestFiles(re.compile(r"(test.*|.*_test)\.py\Z", re.S)),
    "javascript": TestFiles(
        re.compile(r".*[^/]\.(test|spec|cy|e2e)\.[cm]?[jt]sx?\Z", re.I | re.S),
        re.compile(r"__tests__|tests?|spec", re.I),
        re.compile(r".+\.[cm]?[jt]sx?\Z", re.I | re.S),
    ),
    "go": TestFiles(re.compile(r".*_test\.go\Z", re.S)),
    "rust": TestFiles(re.compile(r".*\.rs\Z", re.S)),
    "java": TestFiles(
        re.compile(r"(Test.*|.*(Tests?|TestCase|IT))\.(java|kt)\Z", re.S),
        re.compile(r"test|androidTest"),
        re.compile(r".+\.(java|kt)\Z", re.S),
    ),
    "csharp": TestFiles(
        re.compile(r".*(Tests?|TestFixture|TestCases?)\.cs\Z", re.S),
        re.compile(r"(.*\.)?[Tt]ests?"),
        re.compile(r".+\.cs\Z", re.S),
    ),
    "php": TestFiles(re.compile(r".*Test\.php\Z", re.S)),
    "ruby": TestFiles(re.compile(r"(test_.*|.*_(test|spec))\.rb\Z", re.S)),
    "shell": TestFiles(
        re.compile(r".*\.bats\Z|(test[_-].*|.*[_-](test|spec))\.(sh|bash)\Z", re.S),
        re.compile(r"tests?|t"),
        re.compile(r".+\.(sh|bash)\Z", re.S),
    ),
}
"""By language. In Rust, tests stand beside what they test."""
_BESIDE_TESTS = re.compile(r"tests?|specs?|__tests__|__snapshots__|testdata", re.I)
"""Folders of tests, with all that they need."""
_NAMED = re.compile(r"conftest\.py\Z|.+\.snap\Z|(tests?|test_.*|.*_tests?)\.rs\Z", re.S)
"""Files that belong to tests wherever they are. Of Rust those that hold nothing else, as far as a name tells."""


def language_of(path: str) -> str:
    """The language whose tests a file may hold, '' if it is none that is known here, or no test file."""
    # Folder by folder: one pattern for all of a path takes the square of its length.
    *folders, file = path.split("/")
    for language, those in TEST_FILES.items():
        if those.named.match(file) or (those.ending.match(file) and any(map(those.below.fullmatch, folders))):
            return language
    return ""


def is_of_tests(path: str) -> bool:
    """Whether a file is there for tests alone: it holds them, or lies in a folder of theirs, as data and snapshots do.

    A Rust file that holds tests beside the program is not.
    """
    *folders, file = path.split("/")
    if _NAMED.match(file) or any(map(_BESIDE_TESTS.fullmatch, folders)):
        return True
    return language_of(path) not in ("", "rust")
