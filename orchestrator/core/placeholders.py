"""Text that stands where another is still to come: filler, and notes of an author to themselves.

Only what nobody would hand over: a paragraph that begins with TODO and says what is to come, one that is TBD and
nothing else, and the Latin filler of printers. In a list of what is to be done, in a table, a quotation or code it
says something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.core.evidence_record import Failure
from orchestrator.core.pages import is_page
from orchestrator.core.prose import Document, first_failures, read_prose

_NOTE = re.compile(
    r"[ \t]*[*_]{0,3}\[?(TODO|FIXME|TBD|TBC)\]?[*_]{0,3}(?:\([^()\n]{1,40}\))?[ \t]?[*_]{0,3}(?::|\u2013|\u2014|- )"
    r"[*_]{0,3}[ \t]*[^\s*_]"
)
"""With what is still to come: the word alone may be the heading of a list."""
_ALONE = re.compile(r"[ \t]*[*_]{0,3}\[?(TBD|TBC)\]?[*_]{0,3}\.?[ \t]{0,2}\Z")
_FILLER = re.compile(r"(?<![\"'`*_\u201c\u201e\u00ab\u2018\u201a])\b(lorem ipsum) dolor\b", re.I)
_QUOTED = (">", "|")
_SHOWN = 60


def placeholders(documents: Iterable[Document], task: str) -> tuple[Failure, ...]:
    """Placeholders that the change added. What the task names is what it is about: `TODO`, `lorem ipsum`."""
    read = [each for each in documents if each.text is not None or each.before is not None]
    old = {line.strip() for each in read for line in read_prose(each.path, each.before or "")}
    asked = task.casefold()
    found: list[Failure] = []
    for each in read:
        raw, above = (each.text or "").replace("\r\n", "\n").split("\n"), ""
        for number, line in enumerate(read_prose(each.path, each.text or ""), 1):
            if is_page(each.path):
                shown, begins = line.strip(), raw[number - 1].lstrip().startswith(("<p>", "<p "))
            else:
                shown, begins = line, not above.strip() or above.startswith("#")
            above, word = line, _placeholder(shown, begins=begins)
            if word and word.casefold() not in asked and line.strip() not in old:
                text = f"A placeholder was left: “{_short(line)}”. Write what is to stand there."
                found.append(Failure("placeholder", text, each.path, number))
    return first_failures(found, "placeholder")


def _placeholder(line: str, *, begins: bool) -> str:
    """The word that gives a line away; '' if none does. `begins`: it is the first of a paragraph."""
    if line.lstrip().startswith(_QUOTED):
        return ""
    found = (_NOTE.match(line) or _ALONE.match(line)) if begins else None
    found = found or _FILLER.search(line)
    return found[1] if found is not None else ""


def _short(line: str) -> str:
    plain = " ".join(line.split())
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 1]}…"
