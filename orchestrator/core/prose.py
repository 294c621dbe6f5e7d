"""Prose by rule, without an opinion: passages that stand twice, misspellings, length, links.

Only what a change added is refused: old mistakes do not stop new work. Markup is read as Markdown, roughly: what is
taken for code by mistake is not looked at, and that is the harmless side. Pages in HTML are read by `pages`.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

from orchestrator.core.criteria import Duplicates, Length, Spelling
from orchestrator.core.evidence_record import Failure
from orchestrator.core.pages import blank, is_page, page_lines

MOST_FAILURES = 20
"""Of one rule; an author who puts these right sees the others next."""
SHOWN_WORDS = 12
ENGLISH_SHARE = 0.08
"""The least share of its commonest words in a text in English: it has 20 % or more, other languages less than 4 %."""
_ENGLISH = frozenset(
    ("the", "of", "and", "to", "is", "that", "for", "it", "with", "are", "this", "by", "from", "not", "be", "as", "on")
)
_MARKDOWN = (".md", ".markdown", ".mdx")


@dataclass(frozen=True, slots=True)
class Document:
    """A changed document: its text at the tip and before the change; None where there is none."""

    path: str
    text: str | None
    before: str | None = None


# --- what of a text is prose ----------------------------------------------------------------------------------------

_FENCE = re.compile(r"[ \t>]*(?:[-*+] +)?(`{3,}|~{3,})")
_SETTING = re.compile(r"[ \t#-]|[\w.-]{1,100}[ \t]*:|\Z")
_ITEM = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)]) ")
_NOT_PROSE = re.compile(
    r"(?<=\])\([^()\n]{0,500}(?:\([^()\n]{0,200}\)[^()\n]{0,200})?\)"  # where a link leads
    r"|<[^<>\n]{1,300}>"  # a tag
    r"|\b[A-Za-z][A-Za-z0-9+.-]{1,20}://\S+|\bwww\.\S+|[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{1,64}"
)
_REFERENCE = re.compile(r" {0,3}\[(?!\^)[^\]\n]{1,200}\]:\s+<?([^\s<>]{1,500})>?[ \t]*(?:[\"'(].*)?\Z")


def without_code(text: str) -> list[str]:
    """The lines of a text with code, comments and front matter blanked out; as many lines as the text has."""
    lines = text.replace("\r\n", "\n").split("\n")
    at = _end_of_front_matter(lines)
    lines[:at] = [""] * at
    # Comments last: in code, the mark that begins one begins none.
    return _without_comments("\n".join(map(_without_inline_code, _without_blocks(lines)))).split("\n")


def _end_of_front_matter(lines: list[str]) -> int:
    if lines[0].rstrip() != "---":
        return 0
    end = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() in ("---", "...")), 0)
    # Between two rules there may be prose as well.
    return end + 1 if end and all(_SETTING.match(line) for line in lines[1:end]) else 0


def _without_comments(text: str) -> str:
    parts, done = [], 0
    while (begin := text.find("<!--", done)) >= 0:
        end = text.find("-->", begin + 4) + 3
        if end < 3:
            # Only what begins a line goes on to the end of the text.
            if text[text.rfind("\n", 0, begin) + 1 : begin].strip():
                break
            end = len(text)
        parts += [text[done:begin], blank(text[begin:end])]
        done = end
    return "".join([*parts, text[done:]])


def _without_blocks(lines: Iterable[str]) -> Iterator[str]:
    """Without fenced blocks, and without indented ones that are not part of a list."""
    fence, in_list, in_code, was_blank = "", False, False, True
    for line in lines:
        mark = _FENCE.match(line)
        if fence:
            closes = mark is not None and mark[1].startswith(fence) and not line[mark.end() :].strip("`~ \t\r")
            fence = "" if closes else fence
            yield ""
            continue
        if mark is not None:
            fence, was_blank = mark[1], True
            yield ""
            continue
        is_blank, is_deep = not line.strip(), line.startswith(("    ", "\t"))
        in_code = not is_blank and is_deep and not in_list and (was_blank or in_code)
        if not is_blank and not is_deep:
            in_list = _ITEM.match(line) is not None or (in_list and not was_blank) or (in_list and line[0] == " ")
        was_blank = is_blank
        yield "" if in_code else line


def _without_inline_code(line: str) -> str:
    runs = [(found.start(), found.end()) for found in re.finditer("`+", line)]
    closing: dict[int, int] = {}
    next_of: dict[int, int] = {}
    for at in range(len(runs) - 1, -1, -1):
        size = runs[at][1] - runs[at][0]
        if size in next_of:
            closing[at] = next_of[size]
        next_of[size] = at
    parts, done, at = [], 0, 0
    while at < len(runs):
        if at not in closing:
            at += 1
            continue
        start, end = runs[at][0], runs[closing[at]][1]
        parts += [line[done:start], " " * (end - start)]
        done, at = end, closing[at] + 1
    return "".join([*parts, line[done:]])


def prose_lines(text: str) -> list[str]:
    """The lines of a text with all blanked out that no reader reads as words; as many lines as the text has."""
    lines = without_code(text)
    return ["" if _REFERENCE.match(line) else _without_addresses(line) for line in lines]


def _without_addresses(line: str) -> str:
    return _NOT_PROSE.sub(lambda found: blank(found[0]), line)


def read_prose(path: str, text: str) -> list[str]:
    """The same of a document of any form, told by its path: one in HTML, or else Markdown."""
    return [_without_addresses(line) for line in page_lines(text)] if is_page(path) else prose_lines(text)


_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def count_words(text: str, path: str = "") -> int:
    """How many words of prose a text has."""
    return sum(1 for line in read_prose(path, text) for _ in _WORD.finditer(line))


# --- passages that stand twice ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    path: str
    line: int
    part: int
    """Passages do not go on from one part to the next."""


def _words(documents: Iterable[tuple[str, str]]) -> list[_Word]:
    found: list[_Word] = []
    part = 0
    for path, text in documents:
        part += 1
        for number, line in enumerate(read_prose(path, text), 1):
            if line.lstrip().startswith("|"):
                part += 1  # Rows of a table are alike because that is what tables are for.
                continue
            found += [_Word(each[0].casefold(), path, number, part) for each in _WORD.finditer(line)]
    return found


_BASE, _MODULUS = 1_000_003, (1 << 61) - 1


def _passages(words: list[_Word], size: int, ids: dict[str, int]) -> Iterator[tuple[int, int]]:
    """(where it begins, its hash) of every passage of `size` words."""
    top, value = pow(_BASE, size, _MODULUS), 0
    numbers = [ids.setdefault(word.text, len(ids) + 1) for word in words]
    for at, number in enumerate(numbers):
        value = (value * _BASE + number) % _MODULUS
        if at >= size:
            value = (value - numbers[at - size] * top) % _MODULUS
        begin = at - size + 1
        if begin >= 0 and words[begin].part == words[at].part:
            yield begin, value


def duplicate_passages(documents: Collection[Document], wanted: Duplicates) -> tuple[Failure, ...]:
    """Passages that stand more than once in the changed documents, and more often than before the change.

    A page in HTML is held against itself alone: the pages of a site are alike, and one may be made of another document.
    """
    ids: dict[str, int] = {}
    pages, texts = ([each for each in documents if is_page(each.path) is sort] for sort in (True, False))
    found: list[Failure] = []
    for group, sets in ((texts, [texts]), (pages, [[page] for page in pages])):
        were = _words((each.path, each.before) for each in group if each.before is not None)
        known = Counter(value for _, value in _passages(were, wanted.words, ids))
        for one in sets:
            found += _repetitions(one, known, wanted.words, ids)
    return first_failures(found, "duplicate_passage")


def _repetitions(
    documents: Iterable[Document], known: Mapping[int, int], size: int, ids: dict[str, int]
) -> Iterator[Failure]:
    """What stands more than once in these documents, and more often than `known` has it."""
    words = _words((each.path, each.text) for each in documents if each.text is not None)
    seen: dict[int, list[int]] = {}
    again: list[tuple[int, int]] = []
    for begin, value in _passages(words, size, ids):
        places = seen.setdefault(value, [])
        if places and begin - places[-1] < size and words[places[-1]].part == words[begin].part:
            continue  # It overlaps itself: the same few words over and over.
        places.append(begin)
        if len(places) > max(1, known.get(value, 0)):
            again.append((begin, places[0]))
    return (_repeated(words, run, size) for run in _runs(again, size))


def _runs(again: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    """Passages that overlap or touch, as one."""
    run: list[tuple[int, int]] = []
    for each in again:
        if run and each[0] > run[-1][0] + size:
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _repeated(words: list[_Word], run: list[tuple[int, int]], size: int) -> Failure:
    (begin, first), length = run[0], run[-1][0] - run[0][0] + size
    told = " ".join(word.text for word in words[begin : begin + SHOWN_WORDS])
    place, where = words[first], words[begin]
    text = f"{length} words stand here that stand in {place.path}:{place.line} already: “{told} …”. Say it once."
    return Failure("duplicate_passage", text, where.path, where.line)


# --- spelling ---------------------------------------------------------------------------------------------------------

_SPELLED = re.compile(r"(?<![\w./@#:\\~$%&=<\u2019'-])[^\W\d_]+(?:['\u2019][^\W\d_]+)?(?![\w@/\\=(\u2019']|[.:-]\w)")
_STARTS = re.compile(r"(?:^|[.!?:]\s)[\s>#*+|\d.)(\"“_-]*\Z")


def is_english(text: str, path: str = "") -> bool:
    """Whether a text is in English, told from how often its commonest words occur."""
    words = [found[0].casefold() for line in read_prose(path, text) for found in _WORD.finditer(line)]
    return bool(words) and sum(word in _ENGLISH for word in words) >= ENGLISH_SHARE * len(words)


def misspellings(documents: Collection[Document], wanted: Spelling, known: Mapping[str, str]) -> tuple[Failure, ...]:
    """Words that the change added and that `known` (misspelling → the right word) lists. Names are left alone."""
    right = {word.casefold() for word in wanted.words}
    old = {word for each in documents if each.before for _, word in _spelled(each.before, each.path)}
    found = []
    for each in documents:
        if not each.text or not is_english(each.text, each.path):
            continue
        told: set[str] = set()
        for line, word in _spelled(each.text, each.path):
            if word in known and word not in old and word not in right and word not in told:
                told.add(word)
                text = f"“{word}” is misspelled; right would be: {known[word]}."
                found.append(Failure("misspelling", text, each.path, line))
    return first_failures(found, "misspelling")


def _spelled(text: str, path: str) -> Iterator[tuple[int, str]]:
    """(line, word in small letters) of what is a word: not what looks like a name, an abbreviation or code."""
    for number, line in enumerate(read_prose(path, text), 1):
        for found in _SPELLED.finditer(line):
            word = found[0]
            begins = _STARTS.search(line[max(0, found.start() - 40) : found.start()]) is not None
            first = begins and word[:1].isupper() and word[1:].islower()
            if word.islower() or first:
                yield number, word.casefold().replace("\u2019", "'")


# --- length -----------------------------------------------------------------------------------------------------------


def wrong_lengths(documents: Iterable[Document], wanted: Length) -> tuple[Failure, ...]:
    """Documents that are too long or too short, unless the change brought them nearer to what is asked for."""
    found = []
    for each in documents:
        if each.text is None:
            continue
        words = count_words(each.text, each.path)
        before = None if each.before is None else count_words(each.before, each.path)
        if wanted.min_words and words < wanted.min_words and (before is None or words < before):
            found.append(_length(each.path, words, "at least", wanted.min_words))
        if wanted.max_words and words > wanted.max_words and (before is None or words > before):
            found.append(_length(each.path, words, "at most", wanted.max_words))
    return first_failures(found, "length")


def _length(path: str, words: int, which: str, limit: int) -> Failure:
    return Failure("length", f"It has {words} words of prose; {which} {limit} are asked for.", path, 1)


# --- links ------------------------------------------------------------------------------------------------------------

_TARGET = re.compile(r"\]\(\s{0,3}(?:<([^<>\n]{1,500})>|([^()\s<>]{1,500}(?:\([^()\s]{0,200}\)[^()\s<>]{0,200})?))")
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|/|\{|\$|%7B", re.I)
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*)\Z")
_NAMED = re.compile(r"\b(?:id|name)=[\"']([^\"'\s]{1,200})[\"']|\{#([\w-]{1,200})\}")


def has_relative_links(document: Document) -> bool:
    """Whether any link of a document leads to a file of its tree."""
    return any(True for _ in _links(document.path, document.text or ""))


def dead_links(documents: Collection[Document], exists: Callable[[str], bool]) -> tuple[Failure, ...]:
    """Relative links that the change added and that lead nowhere. `exists` knows the files and folders of the tree."""
    texts = {each.path: each.text for each in documents if each.text is not None}
    # Once for each: a document may link to one heading in every line.
    anchors = cache(lambda path: anchors_of(texts[path]))
    problem_of = cache(lambda path, target: _dead(path, target, texts, exists, anchors))
    found = []
    for each in documents:
        old = {target for _, target in _links(each.path, each.before or "")}
        for line, target in _links(each.path, each.text or ""):
            if target not in old and (problem := problem_of(each.path, target)):
                found.append(Failure("dead_link", problem, each.path, line))
    return first_failures(found, "dead_link")


def _links(path: str, text: str) -> Iterator[tuple[int, str]]:
    if not path.lower().endswith(_MARKDOWN):
        return
    for number, line in enumerate(without_code(text), 1):
        reference = _REFERENCE.match(line)
        targets = [reference[1]] if reference else [found[1] or found[2] for found in _TARGET.finditer(line)]
        yield from ((number, target) for target in targets if not _ELSEWHERE.match(target))


def _dead(
    path: str,
    target: str,
    texts: Mapping[str, str],
    exists: Callable[[str], bool],
    anchors: Callable[[str], set[str]],
) -> str:
    """Why a link leads nowhere, '' if it leads somewhere."""
    name, _, anchor = target.partition("#")
    name = unquote(name.partition("?")[0])
    reached = posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) if name else path
    if reached.startswith("../") or reached == "..":
        return f"The link to {target} leads out of the tree."
    found = next((each for each in _served_from(reached) if each in texts or exists(each)), None)
    if found is None:
        return f"The link to {target} leads nowhere: there is no {reached if reached.isprintable() else repr(reached)}."
    # Every page has a top.
    if anchor in ("", "top") or found not in texts or not found.lower().endswith(_MARKDOWN):
        return ""
    if unquote(anchor).casefold() in anchors(found):
        return ""
    return f"The link to {target} leads nowhere: {found} has no heading of that name."


def _served_from(path: str) -> tuple[str, ...]:
    """The files that a link may mean: sites are made of sources with other endings."""
    stem = path.removesuffix(".html").rstrip("/")
    return (path, f"{stem}.md", f"{stem}.markdown", f"{stem}.rst")


def anchors_of(text: str) -> set[str]:
    """The names to which a link into a document may lead, in small letters."""
    found: set[str] = set()
    counts: Counter[str] = Counter()
    code = without_code(text)
    raw = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(code):
        found |= {each.casefold() for pair in _NAMED.findall(raw[number]) for each in pair if each}
        below = code[number + 1].strip() if number + 1 < len(code) else ""
        heading = _HEADING.match(raw[number]) if line.strip() else None
        is_underlined = bool(below) and (not below.strip("=") or not below.strip("-"))
        title = heading[1].rstrip(" \t#") if heading else raw[number] if line.strip() and is_underlined else ""
        if title.strip():
            slug = _slug(title)
            found.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
            counts[slug] += 1
    return found


def _slug(heading: str) -> str:
    plain = re.sub(r"\]\([^()\n]{0,500}\)", "]", heading)
    plain = re.sub(r"(?<![^\W_])_([^_\n]{1,500})_(?![^\W_])", r"\1", plain)
    return re.sub(r"[^\w\- ]", "", plain.strip().casefold()).replace(" ", "-")


def first_failures(found: list[Failure], rule: str) -> tuple[Failure, ...]:
    """As many as one author can use at a time."""
    if len(found) <= MOST_FAILURES:
        return tuple(found)
    return (*found[:MOST_FAILURES], Failure(rule, f"And {len(found) - MOST_FAILURES} more of the same kind."))
