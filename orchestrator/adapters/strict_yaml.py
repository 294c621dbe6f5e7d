"""YAML in, plain values out, and back: the small, safe part of YAML that a job file needs.

Input is hostile: PyYAML only splits it into events, and the values are built here, so that no tag, alias,
deep nesting or surprising type gets in. It must not open files.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.adapters.reading import DEFAULT_MAX_BYTES, size_text
from orchestrator.adapters.yaml_text import (
    MAX_DEPTH,
    MAX_INT_DIGITS,
    MAX_NODES,
    UNSAFE,
    UNSAFE_CLASS,
    dump,
    name_character,
    replace_unsafe,
)
from orchestrator.errors import InvalidFileError

__all__ = ["Document", "KeyPath", "dump", "load", "load_mapping", "replace_unsafe"]

KeyPath = tuple[str | int, ...]

# A carriage return alone is a line break to YAML and none to an editor, so a key behind it would be
# invisible.
_UNSAFE_SOURCE = re.compile(rf"[{UNSAFE_CLASS}]|\r(?!\n)")
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_CONFLICT = re.compile(r"^(?:<{7}|>{7})(?: |\r?$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_TAB_INDENT = re.compile(r"[ ]*\t")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_NUMERIC = frozenset("+-0123456789")
"""What a number begins with."""
_CONSTANTS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

_SHOWN = 60

# Where one of these stands in the parser's message, a person is told this. First match wins.
_QUOTE_IT = "Put the value in quotes."
_QUOTE_OR_ALIGN = "Put the value in quotes; or align the key with the keys beside it."
_MISFIT = "something else stands where a key of this indentation is expected"
_EXPLANATIONS: tuple[tuple[str, str, str], ...] = (
    ("escape", "a backslash in double quotes begins no known character", "Use single quotes."),
    ("quoted scalar", "a quote is opened here and not closed", "Close the quote."),
    ("mapping values are not allowed", "a `: ` stands where no key can be", _QUOTE_OR_ALIGN),
    ("could not find expected ':'", "this line is not `key: value`", "Write `key: value`, or indent it."),
    ("cannot start any token", "a value starts with a character that means something in YAML", _QUOTE_IT),
    ("did not find expected key", _MISFIT, _QUOTE_OR_ALIGN),
    ("expected <block end>", _MISFIT, _QUOTE_OR_ALIGN),
    ("'-' indicator", "a list goes on with something that is not `- item`", "Begin each item with `- `."),
    ("sequence entries are not allowed", "a list begins where none can", "Begin it on the next line."),
    ("document start", "something stands behind the end of the value", _QUOTE_IT),
    ("node content", "a bracket or a comma stands where a value is expected", _QUOTE_IT),
    ("flow sequence", "a `[` is not closed, or a comma is missing", "Close it with `]`."),
    ("flow mapping", "a `{` is not closed, or a comma is missing", "Close it with `}`."),
)


@dataclass(frozen=True, slots=True)
class Document:
    """The value of a file, and the 1-based line of each key and item by its path: `("review", "rounds")`."""

    value: Any
    lines: dict[KeyPath, int]


def load(data: bytes | str, *, file: str = "", max_bytes: int = DEFAULT_MAX_BYTES, first_line: int = 1) -> Document:
    """Read one YAML document; nothing at all is null. Raises InvalidFileError, naming `file` and the line.

    `first_line` is the line of `file` on which `data` begins (front matter). `no`, `010`, `1:30` and dates
    are strings.
    """
    try:
        text = _decode(data, max_bytes)
        _check_source(text)
        return _build(text, first_line)
    except InvalidFileError as error:
        line = error.line + first_line - 1 if error.line else 0
        raise InvalidFileError(
            error.reason, file=file, line=line, key=error.key, cause=error.cause, hint=error.hint
        ) from error.__cause__


def load_mapping(
    data: bytes | str, *, file: str = "", max_bytes: int = DEFAULT_MAX_BYTES, first_line: int = 1
) -> Document:
    """`load`, for files that must hold keys and values. Raises InvalidFileError for anything else."""
    document = load(data, file=file, max_bytes=max_bytes, first_line=first_line)
    if isinstance(document.value, dict):
        return document
    hint = "Write `key: value` lines."
    if document.value is None:
        raise InvalidFileError("is empty", file=file, hint=hint)
    found = "a list" if isinstance(document.value, list) else "a single value"
    raise InvalidFileError(f"holds {found} where keys are expected", file=file, line=document.lines[()], hint=hint)


# --- the text ---


def _decode(data: bytes | str, max_bytes: int) -> str:
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    if len(raw) > max_bytes:
        raise InvalidFileError(
            f"is {size_text(len(raw))}; at most {size_text(max_bytes)} is read", hint="Make it smaller."
        )
    if raw.startswith(BYTE_ORDER_MARKS):
        raise InvalidFileError("starts with a byte order mark", line=1, hint="Save it as UTF-8 without BOM.")
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidFileError("is not UTF-8 text", line=line, hint="Save it as UTF-8.") from error


def _check_source(text: str) -> None:
    if found := _UNSAFE_SOURCE.search(text):
        hint = "Remove it."
        if found[0] == "\0":
            hint = "Remove it; if there are many, the file is not text or is UTF-16: save it as UTF-8."
        raise InvalidFileError(f"contains {name_character(found[0])}", line=_line_at(text, found), hint=hint)
    if found := _CONFLICT.search(text):
        raise InvalidFileError(
            "contains the markers of an unresolved merge conflict",
            line=_line_at(text, found),
            hint="Keep one side and remove the lines that begin with <<<<<<<, ======= and >>>>>>>.",
        )
    if found := _DIRECTIVE.search(text):
        # Thousands of them make the parser slow, and none is of use.
        raise InvalidFileError(
            "a line begins with %, which is a directive",
            line=_line_at(text, found),
            hint="Remove or quote it.",
        )


def _line_at(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1


# --- events to values ---


def _build(text: str, first_line: int) -> Document:
    builder = _Builder(first_line)
    take = {
        yaml.ScalarEvent: builder.take_scalar,
        yaml.MappingStartEvent: builder.open_mapping,
        yaml.SequenceStartEvent: builder.open_list,
        yaml.MappingEndEvent: builder.close,
        yaml.SequenceEndEvent: builder.close,
        yaml.AliasEvent: builder.refuse_alias,
        yaml.DocumentStartEvent: builder.begin_document,
    }
    # Events come from a state machine without recursion. Composing nodes recurses, and in C it takes the process down.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        # Thousands of files are read for one board, so nothing is done twice for an event.
        while (event := loader.get_event()) is not None:
            if (act := take.get(type(event))) is not None:
                act(event)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the Python parser lets chr() raise
        raise _explain(error, text) from error
    finally:
        loader.dispose()
    before = first_line - 1
    lines = {path: line + before for path, line in builder.lines.items()} if before else builder.lines
    return Document(builder.root, lines)


@dataclass(slots=True)
class _Builder:
    """Puts values where they belong. `path` leads to the open list or mapping, `key` is the key whose value is next."""

    first_line: int
    root: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    container: Any = None
    path: KeyPath = ()
    key: str | None = None
    outer: list[tuple[Any, KeyPath]] = field(default_factory=list)
    nodes: int = 0
    documents: int = 0

    def take_scalar(self, event: Any) -> None:
        self._check_node(event)
        container = self.container
        if type(container) is dict:
            key = self.key
            if key is None:
                self.key = self._read_key(event)
            else:
                container[key] = _read_scalar(event)
                self.key = None
        else:
            self._place(_read_scalar(event), event)

    def open_mapping(self, event: Any) -> None:
        self._open(event, {})

    def open_list(self, event: Any) -> None:
        self._open(event, [])

    def close(self, event: Any) -> None:
        self.container, self.path = self.outer.pop()

    def refuse_alias(self, event: Any) -> None:
        raise _error(event, f"uses the alias *{_shorten(event.anchor)}", "Write the value out, or put it in quotes.")

    def begin_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            raise _error(event, "holds a second document (---)", "Put it in a file of its own.")

    def _open(self, event: Any, container: Any) -> None:
        self._check_node(event)
        if len(self.outer) >= MAX_DEPTH:
            raise _error(event, f"is nested more than {MAX_DEPTH} levels deep", "Make it flatter.")
        if self.key is None and type(self.container) is dict:
            raise _error(event, "a key is a list or a mapping", "Use text as the key; quote {…} and […].")
        path = self._place(container, event)
        self.outer.append((self.container, self.path))
        self.container, self.path = container, path

    def _check_node(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _error(event, f"has more than {MAX_NODES} keys and values", "Split it.")
        if event.anchor is not None:
            shown = _shorten(event.anchor)
            raise _error(event, f"uses the anchor &{shown}", "Write the value out, or put it in quotes.")
        if event.tag is not None:
            raise _error(event, f"uses the tag {_shorten(event.tag)}", "Remove the tag, or put the value in quotes.")

    def _read_key(self, event: Any) -> str:
        if event.value == "<<" and not event.style:
            raise _error(event, "uses the merge key <<", "Write the keys out.")
        key = _read_scalar(event)
        if not isinstance(key, str):
            shown = _shorten(event.value) or "(nothing)"
            raise _error(event, f"the key {shown} is not text", "Put the key in quotes.")
        path = (*self.path, key)
        line = _line_of(event)
        if key in self.container:
            first = self.lines[path] + self.first_line - 1
            raise InvalidFileError(
                f"is given twice, first on line {first}",
                line=line,
                key=_show_path(path),
                hint="Keep one of the two.",
            )
        self.lines[path] = line
        return key

    def _place(self, value: Any, event: Any) -> KeyPath:
        """Put a value where it belongs; its path."""
        container = self.container
        if container is None:
            self.root = value
            self.lines[()] = _line_of(event)
            return ()
        if self.key is not None:
            path: KeyPath = (*self.path, self.key)
            container[self.key] = value
            self.key = None
            return path
        path = (*self.path, len(container))
        container.append(value)
        self.lines[path] = _line_of(event)
        return path


def _read_scalar(event: Any) -> Any:
    text: str = event.value
    if event.style:
        if event.style == '"' and (found := UNSAFE.search(text)):
            raise _error(event, f"a value contains {name_character(found[0])}", "Remove the escape.")
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMERIC:
        return text
    if _INT.fullmatch(text):
        digits = len(text.lstrip("+-"))
        if digits > MAX_INT_DIGITS:
            raise _error(event, f"a number has {digits} digits; at most {MAX_INT_DIGITS} are read", "Put it in quotes.")
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise _error(event, "a number is too large", "Put it in quotes.")
        return number
    return text


def _show_path(path: KeyPath) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{_shorten(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def _shorten(value: str | None) -> str:
    text = value or ""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _line_of(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _error(event: Any, reason: str, hint: str) -> InvalidFileError:
    return InvalidFileError(reason, line=_line_of(event), hint=hint)


def _explain(error: Exception, text: str) -> InvalidFileError:
    """A parser's error in words that a person understands."""
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None) or ""
    marks = [mark for name in ("problem_mark", "context_mark") if (mark := getattr(error, name, None))]
    source = text.split("\n")
    for mark in marks:
        if mark.line < len(source) and _TAB_INDENT.match(source[mark.line]):
            return InvalidFileError(
                "the line is indented with a tab",
                line=mark.line + 1,
                hint="Indent with spaces; YAML allows no tabs.",
            )
    line = marks[0].line + 1 if marks else 0
    message = f"{context}; {problem}"
    for part, reason, hint in _EXPLANATIONS:
        if part in message:
            if "opened" in reason or "not closed" in reason:
                line = marks[-1].line + 1  # where it begins, not the end of the file
            return InvalidFileError(reason, line=line, cause=f"The parser says: {problem}.", hint=hint)
    words = problem.splitlines()[0] if problem else "unknown error"
    return InvalidFileError(
        f"is not valid YAML: {words}", line=line, hint="Put values with special characters in quotes."
    )
