"""A file with two writers: what a person wrote, kept to the byte, and one marked block of the engine's after it.

In YAML the block ends the file; in Markdown it ends the front matter. `join` and `split` are inverses for every text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MARK = "# --- below this line orc writes; what stands above is yours ---"
MARK_NO_LINE_END = "# --- below this line orc writes; what stands above is yours (its last line has no line end) ---"
MARK_NO_FRONT_MATTER = "# --- orc writes this front matter; the text below it is yours ---"
# An editor may have turned all line ends into CR LF. Inside a value of the block a mark never begins a line.
_MARK_LINE = re.compile(
    "^(" + "|".join(map(re.escape, (MARK, MARK_NO_LINE_END, MARK_NO_FRONT_MATTER))) + r")\r?\n", re.MULTILINE
)
FENCE = "---"


@dataclass(frozen=True, slots=True)
class Document:
    """A person's text and the engine's block (its YAML, with the `orc:` key; None if there is none)."""

    person: str
    block: str | None = None


def join(person: str, block: str, *, markdown: bool) -> str:
    """The text of a file that shows `block` after what the person wrote. `block` is YAML and ends with a line end."""
    if not markdown:
        return _append(person, block)
    head, rest = _front_matter(person)
    if head is None:
        return f"{FENCE}\n{MARK_NO_FRONT_MATTER}\n{block}{FENCE}\n{person}"
    opening, closing = head
    return _append(opening, block) + closing + rest


def split(text: str, *, markdown: bool) -> Document:
    """The inverse of `join`; a text without the engine's mark is all the person's."""
    if not markdown:
        person, block, _ = _cut(text)
        return Document(person, block)
    head, rest = _front_matter(text)
    if head is None:
        return Document(text)
    matter, closing = head
    person, block, mark = _cut(matter)
    if block is None:
        return Document(text)
    if mark == MARK_NO_FRONT_MATTER and person.rstrip("\r\n") == FENCE:
        return Document(rest, block)
    return Document(person + closing + rest, block)


def cut_front_matter(text: str) -> tuple[str | None, str]:
    """What stands between the fences, from line 2 on (None without front matter), and the body below them."""
    head, rest = _front_matter(text)
    return (None, rest) if head is None else (head[0].partition("\n")[2], rest)


def _append(person: str, block: str) -> str:
    if person and not person.endswith("\n"):
        return f"{person}\n{MARK_NO_LINE_END}\n{block}"
    return f"{person}{MARK}\n{block}"


def _cut(text: str) -> tuple[str, str | None, str]:
    """What stands before the last mark line, what stands after it, and the mark."""
    marks = list(_MARK_LINE.finditer(text))
    if not marks:
        return text, None, ""
    found = marks[-1]
    person, block, mark = text[: found.start()], text[found.end() :], found[1]
    if mark == MARK_NO_LINE_END:
        person = person.removesuffix("\r\n" if found[0].endswith("\r\n") else "\n")
    return person, block, mark


def _front_matter(text: str) -> tuple[tuple[str, str] | None, str]:
    """((everything up to the closing fence, that fence line), the rest), or (None, text) without front matter."""
    first, _, _ = text.partition("\n")
    if first.rstrip("\r") != FENCE or "\n" not in text:
        return None, text
    at = text.index("\n") + 1
    while at < len(text):
        end = text.find("\n", at)
        line_end = len(text) if end < 0 else end + 1
        if text[at:line_end].rstrip("\r\n") == FENCE:
            return (text[:at], text[at:line_end]), text[line_end:]
        at = line_end
    return None, text
