"""Test files in other languages than Python, read by patterns: what a test looks like there, a skip, an assertion.

What stands on an overlong line is not seen: a test that is moved there is gone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from orchestrator.core.suites import Case, Flaw, FlawKind, Suite
from orchestrator.core.suites_grammars import Grammar

LONGEST_LINE = 2_000
LONGEST_STATEMENT = 600
HIGHEST = 12
"""So many lines above a function may belong to it."""
DEEPEST = 6
"""So often the same line may be part of a test, of one within it, and so on. More is no test that a person wrote."""

_VALUE = r"(?P<same>[\w.:\[\]-]{1,80}|'[^'\n]{0,80}'|\"[^\"\n]{0,80}\")"
"""A name or a literal: what is the same each time that it is asked for. A call is not."""
_SAID = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a test stands: with the lines above that belong to it, from its own beginning, and its body."""

    name: str
    above: int
    begin: int
    start: int
    end: int


class TextFile:
    """One version of a test file in a language that is read by patterns."""

    def __init__(self, grammar: Grammar, data: bytes) -> None:
        self._grammar = grammar
        text = data.decode("utf-8", "replace").replace("\r\n", "\n")
        self._raw = "\n".join(line if len(line) <= LONGEST_LINE else " " * len(line) for line in text.split("\n"))
        self._code, self._bare = _blank(self._raw, grammar)
        self._starts = [0, *(found.end() for found in re.finditer("\n", self._raw))]
        self._closing = _pairs(self._bare)
        self._ends = _ends(self._bare) if grammar.shape == "end" else {}
        self._spans = list(self._find_spans())
        if not self._spans and grammar.whole and self._code.strip():
            self._spans = [_Span("the script", 0, 0, 0, len(self._code))]
        is_tangled = sum(span.end - span.above for span in self._spans) > DEEPEST * (len(self._code) + 1)
        self.problem = "is too tangled to be read" if is_tangled else ""

    def texts(self) -> frozenset[str]:
        """Every test, letter by letter."""
        return frozenset(self._text_of(span) for span in ([] if self.problem else self._spans))

    def suite(self, known: frozenset[str] = frozenset()) -> Suite:
        """The tests, and what they assert, but for those whose text is known from another version."""
        if self.problem:
            return Suite(problem=self.problem)
        cases = [self._case(span) for span in self._spans if self._text_of(span) not in known]
        covered = _joined((span.above, span.end) for span in self._spans)
        skips = [
            each for each in _find(self._grammar.skip, self._bare) if not self._is_last_exit(each, len(self._code))
        ]
        loose = (self._skip(each, "the file or a group: ", firm=True) for each in skips if not _within(each, covered))
        builds = _find(self._grammar.build, self._raw)
        flaws = [flaw for flaw in loose if flaw.firm]
        flaws += [Flaw(FlawKind.SKIPPED, self._line(each.start()), _squeeze(each[0]), False) for each in builds]
        return Suite(tuple(cases), tuple(flaws))

    def _text_of(self, span: _Span) -> str:
        return span.name + self._code[span.above : span.end]

    # --- where the tests are ---

    def _find_spans(self) -> Iterator[_Span]:
        for found in _find(self._grammar.case, self._bare):
            above = self._above(found.start()) if self._grammar.header else found.start()
            own_line = self._bare.find("\n", found.start())
            head = self._bare[above : own_line if own_line >= 0 else None]
            if self._grammar.header and not re.search(self._grammar.header, head):
                continue
            start, end = self._indented(found) if self._grammar.shape == "end" else self._closed(found)
            if start >= 0:
                yield _Span(self._name(found), above, found.start(), start, end)

    def _name(self, found: re.Match[str]) -> str:
        for group in ("name", "method"):
            if group in found.re.groupindex and found[group]:
                return self._code[found.start(group) : found.end(group)]
        line = self._code[found.start() : found.start() + 400]
        quoted = re.search(r"(['\"`])(.{1,200}?)\1", line, re.S)
        return _squeeze(quoted[2] if quoted else line.partition("\n")[0])[:120]

    def _above(self, start: int) -> int:
        """The first of the lines above that belong to a declaration: below a blank one, or the end of another."""
        at = bisect_right(self._starts, start) - 1
        for _ in range(HIGHEST):
            above = self._bare[self._starts[at - 1] : self._starts[at]].strip() if at else ""
            if not above or above[-1] in ";{}":
                break
            at -= 1
        return self._starts[at]

    def _closed(self, found: re.Match[str]) -> tuple[int, int]:
        """From the bracket that opens a test to the one that closes it; -1 if there is none."""
        text = found[0]
        start = found.end() - 1
        if not text.endswith(("{", "Run(")):
            start = self._bare.find(self._grammar.shape, found.end())
        if text.rpartition(".")[2] in ("each", "for", "skipIf", "runIf"):
            start = self._behind_table(found.end())
        return (start, self._close(start)) if start >= 0 else (-1, -1)

    def _close(self, start: int) -> int:
        """The place behind the bracket that closes the one at `start`; the end if none does."""
        return self._closing.get(start, len(self._bare))

    def _behind_table(self, at: int) -> int:
        """Where a test begins that stands behind its parameters, or behind a condition."""
        opening = re.compile(r"[ \t]{0,20}([(`])").match(self._bare, at)
        if opening is None:
            return -1
        quote = opening[1] == "`"
        after = self._bare.find("`", opening.end()) + 1 if quote else self._close(opening.end() - 1)
        following = re.compile(r"\s{0,99}\(").match(self._bare, after)
        return following.end() - 1 if following else opening.start()

    def _indented(self, found: re.Match[str]) -> tuple[int, int]:
        if found[0].endswith("{"):
            return found.end() - 1, self._close(found.end() - 1)
        indent = found[0][: len(found[0]) - len(found[0].lstrip())]
        ends = self._ends.get(indent, [])
        after = bisect_right(ends, found.end())
        return found.end(), ends[after] if after < len(ends) else len(self._bare)

    # --- what a test says ---

    def _case(self, span: _Span) -> Case:
        grammar, asserts, flaws = self._grammar, [], []
        for at, text in self._statements(span.start, span.end):
            if any(re.search(each, text) for each in _alternatives(grammar)):
                flaws.append(Flaw(FlawKind.TAUTOLOGY, self._line(at), text[:120]))
            elif not re.search(grammar.weak, text):
                asserts.append(text)
        first = True
        for found in _find(grammar.skip, self._bare, span.above, span.end):
            if not self._is_last_exit(found, span.end):
                # Behind one that has something before it, every other one has too.
                first = first and self._is_first(found.start(), span.start)
                flaws.append(self._skip(found, "", firm=first))
        body = self._bare[span.start : span.end].removesuffix("end")
        if re.search(grammar.empty, body) if grammar.empty else not body.strip("{}() \t\n"):
            flaws.append(Flaw(FlawKind.EMPTY, self._line(span.begin), "it does nothing"))
        for found in _find(grammar.swallow, self._bare, span.start, span.end):
            told = f"what fails is caught: {_squeeze(found[0])}"
            flaws.append(Flaw(FlawKind.SWALLOWED, self._line(found.start()), told))
        rows = [line.strip() for line in self._code[span.start : span.end].split("\n")]
        lines = frozenset(line for line in rows[1:] if re.search(r"\w", line)) or frozenset({_squeeze(rows[0])})
        return Case(span.name, self._line(span.begin), lines, tuple(asserts), tuple(flaws))

    def _is_first(self, at: int, start: int) -> bool:
        """Whether nothing of a body comes before it, so that it holds whatever else the body says."""
        before = self._bare[start:at]
        return before.count("{") <= 1 and not before.rpartition("{")[2].strip("(| \t\n")

    def _is_last_exit(self, found: re.Match[str], end: int) -> bool:
        return found[0].strip().startswith("exit") and not _SAID.search(self._code, found.end(), end)

    def _skip(self, found: re.Match[str], where: str, *, firm: bool) -> Flaw:
        text = _squeeze(found[0]).rstrip("( ").lstrip(", ")
        firm = firm and not re.search(self._grammar.conditional, text)
        return Flaw(FlawKind.SKIPPED, self._line(found.start()), where + text, firm)

    def _statements(self, start: int, end: int) -> Iterator[tuple[int, str]]:
        """The assertions of a body, each to the end of its statement."""
        past = start
        for found in _find(self._grammar.asserts, self._bare, start, end):
            if found.start() >= past:
                past = self._statement_end(found.start(), found.end(), end)
                yield found.start(), _squeeze(self._code[found.start() : past]).lstrip("&|; ")

    def _statement_end(self, start: int, end: int, limit: int) -> int:
        depth, last = 0, min(limit, start + LONGEST_STATEMENT)
        for at in range(start, last):
            char = self._bare[at]
            if char in "([{":
                depth += 1
            elif char in ")]}":
                depth -= 1
                if depth < 0:
                    return at
            elif char in ";\n" and at >= end and depth == 0 and not self._goes_on(at):
                return at
        return last

    def _goes_on(self, at: int) -> bool:
        return self._bare[at] == "\n" and self._bare[at : at + 200].lstrip()[:1] == "."

    def _line(self, at: int) -> int:
        return bisect_right(self._starts, at)


def _find(pattern: str, text: str, start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
    return re.compile(pattern, re.M).finditer(text, start, len(text) if end is None else end)


@cache
def _alternatives(grammar: Grammar) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(each.replace("VALUE", _VALUE).replace("AGAIN", "(?P=same)")) for each in grammar.same)


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def _pairs(bare: str) -> dict[int, int]:
    """For each opening bracket the place behind the one that closes it."""
    found: dict[int, int] = {}
    stacks: dict[str, list[int]] = {")": [], "}": []}
    for each in re.finditer(r"[(){}]", bare):
        if each[0] in "({":
            stacks[")" if each[0] == "(" else "}"].append(each.start())
        elif stacks[each[0]]:
            found[stacks[each[0]].pop()] = each.end()
    return found


def _ends(bare: str) -> dict[str, list[int]]:
    """Where lines that begin with `end` have said so, by their indentation."""
    found: dict[str, list[int]] = {}
    for each in re.finditer(r"^([ \t]{0,200})end\b", bare, re.M):
        found.setdefault(each[1], []).append(each.end())
    return found


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same places as spans that do not touch, in their order."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _within(match: re.Match[str], spans: list[tuple[int, int]]) -> bool:
    at = bisect_right(spans, (match.start(), len(match.string))) - 1
    return at >= 0 and match.start() < spans[at][1]


def _blank(text: str, grammar: Grammar) -> tuple[str, str]:
    """The text without comments, and without what stands in strings either. Every character stays where it was."""
    parts = re.compile(f"(?P<comment>{grammar.comment})|(?P<string>{grammar.string})", re.M)

    def without_comment(found: re.Match[str]) -> str:
        return _spaces(found[0]) if found["comment"] else found[0]

    def without_string(found: re.Match[str]) -> str:
        text = found[0]
        return text if found["comment"] else text[0] + _spaces(text[1:-1]) + text[-1]

    code = parts.sub(without_comment, text)
    return code, parts.sub(without_string, code)


def _spaces(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
