"""Globs: which paths of a repository a person means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache


def matches(path: str, globs: Iterable[str]) -> bool:
    """Whether a path of a repository fits one of the globs.

    `*` and `?` stop at a slash, `**` does not; a glob without a slash fits the name in any folder; one that
    names a folder fits everything below it.
    """
    return any(_pattern(each).match(path) is not None for each in globs)


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    text = glob + "**" if glob.endswith("/") else glob
    anywhere = "/" not in text
    text = text.removeprefix("./").lstrip("/")
    out, at = "", 0
    while at < len(text):
        if text.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif text.startswith("**", at):
            out, at = out + ".*", at + 2
        elif text[at] == "*":
            out, at = out + "[^/]*", at + 1
        elif text[at] == "?":
            out, at = out + "[^/]", at + 1
        else:
            out, at = out + re.escape(text[at]), at + 1
    # What is named without a wildcard may be a folder: then all below it is meant.
    below = "" if "*" in text.rpartition("/")[2] or "?" in text.rpartition("/")[2] else "(?:/.*)?"
    return re.compile(("(?:.*/)?" if anywhere else "") + out + below + r"\Z", re.S)
