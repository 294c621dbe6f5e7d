"""Pages in HTML as prose: what of them a reader reads as the words of this page.

Read roughly, as Markdown is: what is taken for something else by mistake is not looked at, and that is the harmless
side.
"""

from __future__ import annotations

import re

_ENDINGS = (".html", ".htm", ".xhtml")
_TAG = re.compile(r"<(?:!--|(/?)([A-Za-z][A-Za-z0-9]{0,20})\b[^<>]*>?|[!?][^<>]*>?)")
_NO_PROSE = frozenset(
    ("head", "script", "style", "template", "svg", "math", "pre", "code", "nav", "header", "footer", "table", "select")
)
"""Elements without prose, those that are alike on every page of a site, and tables, whose rows are alike."""
_ENTITY = re.compile(r"&(?:#\w{1,8}|[A-Za-z]\w{1,30});")


def is_page(path: str) -> bool:
    """Whether a document is a page in HTML, by its ending."""
    return path.lower().endswith(_ENDINGS)


def page_lines(text: str) -> list[str]:
    """The lines of a page with its markup and all that is no prose blanked out; as many lines as the page has."""
    text = text.replace("\r\n", "\n")
    parts: list[str] = []
    inside, depth, done = "", 0, 0
    while (tag := _TAG.search(text, done)) is not None:
        begin, end = tag.span()
        if tag[0] == "<!--":
            end = text.find("-->", end) + 3
            end = len(text) if end < 3 else end
        parts += [blank(text[done:begin]) if inside else text[done:begin], blank(text[begin:end])]
        done, name = end, (tag[2] or "").lower()
        if name and name == inside:
            depth += -1 if tag[1] else 1
            inside = inside if depth else ""
        elif not inside and name in _NO_PROSE and not tag[1] and not tag[0].endswith("/>"):
            inside, depth = name, 1
    parts.append(blank(text[done:]) if inside else text[done:])
    return _ENTITY.sub(lambda found: blank(found[0]), "".join(parts)).split("\n")


def blank(text: str) -> str:
    """As many blanks as the text has signs; its line ends stay."""
    return re.sub(r"[^\n]", " ", text)
