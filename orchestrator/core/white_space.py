"""White space that means something: the indentation of some languages, and what stands between quotation marks.

And modes that do: of a file that a system can start by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

MAX_BYTES = 1_000_000
"""The largest file that is looked into; of a larger one, white space alone is taken for no change."""

_INDENTED = re.compile(
    r"\.(py|pyi|pyx|pxd|bzl|star|ya?ml|nim|hs|purs|elm|coffee|pug|jade|haml|slim|sass|styl|fsx?|gd|md|rst|mk)\Z"
    r"|(^|/)(gnu)?makefile\Z|(^|/)(sconstruct|sconscript|build|workspace)\Z",
    re.I,
)
"""Where a line belongs to is told by its indentation."""
# Without the last mark too, to the end of the line: else a line of many of them takes the square of its length.
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|`(?:[^`\\]|\\.)*`?")
_PROSE = re.compile(r"\.(md|markdown|rst|txt|adoc|tex)\Z", re.I)
"""Where a blank line begins a paragraph."""
_MEANT_EMPTY = frozenset({"__init__.py", "py.typed", ".gitkeep", ".keep", ".nojekyll", ".npmignore", "conftest.py"})
_SHELL = re.compile(r"\.(sh|bash|zsh|ksh|fish)\Z", re.I)


def is_meant_empty(path: str) -> bool:
    """Whether a file says something by being there, though nothing is in it."""
    return path.rpartition("/")[2] in _MEANT_EMPTY


def runs_by_itself(path: str, data: bytes) -> bool:
    """Whether a program that is executable can be started: it names what runs it, or a shell takes it for its own."""
    return data.startswith(b"#!") or _SHELL.search(path) is not None


def means_another(path: str, old: bytes, new: bytes) -> bool:
    """Whether two versions of a file, which are the same but for white space, still say two things.

    That is so where a text between quotation marks differs; in prose, where there are more or fewer paragraphs; and in
    a language of indentation, where a line stands at another level. How wide a level is does not count. What cannot be
    told is left to those who read the change.
    """
    was, now = (data.decode("utf-8", "surrogateescape").splitlines() for data in (old, new))
    if list(_quoted(was)) != list(_quoted(now)):
        return True
    if _PROSE.search(path) and _paragraphs(was) != _paragraphs(now):
        return True
    return bool(_INDENTED.search(path)) and list(_levels(was)) != list(_levels(now))


def _paragraphs(lines: list[str]) -> int:
    return sum(bool(line.strip()) and not above.strip() for above, line in pairwise(["", *lines]))


def _quoted(lines: Iterable[str]) -> Iterator[str]:
    return (found for line in lines for found in _QUOTED.findall(line.rstrip()))


def _levels(lines: Iterable[str]) -> Iterator[tuple[int, bool]]:
    """How deep each line that is not blank stands, and whether a tab leads it, which is what a makefile asks for."""
    above: list[int] = []
    for line in lines:
        bare = line.lstrip()
        if not bare:
            continue
        lead = line[: len(line) - len(bare)]
        width = len(lead.expandtabs(8))
        while above and above[-1] >= width:
            above.pop()
        above.append(width)
        yield len(above), lead.startswith("\t")
