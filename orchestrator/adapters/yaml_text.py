"""What text and values a YAML file of orc may hold, and how they are written.

It must not read YAML; `strict_yaml` does.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 24
"""The most lists and mappings that may stand inside one another."""
MAX_NODES = 20_000
"""The most keys and values in one file."""
MAX_INT_DIGITS = 18
"""The most digits of a whole number: what every reader of YAML and JSON holds exactly in 64 bits."""


# C0 without tab and line feed, DEL, C1 with U+0085, the Unicode line breaks, surrogates, bidi controls, BOM,
# non-characters.
UNSAFE_CLASS = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
    r"\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
)
UNSAFE = re.compile(f"[{UNSAFE_CLASS}]")


def replace_unsafe(text: str) -> str:
    """`text` with every character that no file may hold shown as U+FFFD, so that `dump` accepts it."""
    return UNSAFE.sub("\ufffd", text)


def name_character(character: str) -> str:
    """A character for people, who may not see it."""
    code = ord(character)
    name = f"U+{code:04X}"
    if character == "\r":
        return "a carriage return without a line feed"
    if 0xD800 <= code <= 0xDFFF:
        return f"half a character ({name}, a lone surrogate)"
    if code in (0x85, 0x2028, 0x2029):
        return f"an invisible line break ({name})"
    if 0x202A <= code <= 0x2069:
        return f"a character that changes the direction of the text ({name})"
    if code >= 0xFEFF:
        return f"a character that is not text ({name})"
    return f"a control character ({name})"


# Conservative: what looks like anything but text to a reader of YAML 1.1 or 1.2 is quoted.
_PLAIN = re.compile(r"(?:\.?[^\W\d]|\d|[/(])[^\n\r\t]*")
_NUMBER_LIKE = re.compile(r"\d[-+.\d_:a-fA-FxXoO]*|\d{4}-\d.*")
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"))
_LONG_KEY = 100


def dump(value: Any) -> str:
    """`value` as YAML that `load` and any other reader turn back into it; equal values give equal text.

    Block style, keys in their order, text of several lines as `|` blocks, one line for the rest. Raises
    TypeError for what is not a plain value, ValueError for what `load` would refuse (see `replace_unsafe`).
    """
    writer = _Writer()
    if isinstance(value, (dict, list, tuple)) and value:
        writer.write_block(value, indent=0, depth=1)
    elif isinstance(value, str):
        writer.out.append(_quote(value))
    else:
        writer.write_entry("", value, indent=0, depth=0)
    return "\n".join(writer.out).lstrip(" ") + "\n"


@dataclass(slots=True)
class _Writer:
    # PyYAML's own emitter is not used: its C form escapes every emoji and puts text with tabs on one line,
    # and the two forms differ, while the ledger wants readable and identical text on every machine.
    out: list[str] = field(default_factory=list)
    nodes: int = 0

    def write_block(self, value: Any, *, indent: int, depth: int) -> None:
        """Write the lines of a list or mapping that is not empty."""
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep, or inside itself")
        pad = " " * indent
        if isinstance(value, dict):
            for key, item in value.items():
                self._count()
                self.write_entry(pad + self._key(key, pad), item, indent=indent, depth=depth)
            return
        for item in value:
            if isinstance(item, (dict, list, tuple)) and item:
                self._count()
                first = len(self.out)
                self.write_block(item, indent=indent + 2, depth=depth + 1)
                self.out[first] = f"{pad}- {self.out[first][indent + 2 :]}"
            else:
                self.write_entry(f"{pad}-", item, indent=indent, depth=depth)

    def write_entry(self, prefix: str, value: Any, *, indent: int, depth: int) -> None:
        """Write a value behind `prefix`: on its line if it fits, else below it."""
        self._count()
        if isinstance(value, (dict, list, tuple)):
            if value:
                self.out.append(prefix)
                self.write_block(value, indent=indent + 2, depth=depth + 1)
            elif depth >= MAX_DEPTH:
                raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
            else:
                self.out.append(f"{prefix} {'{}' if isinstance(value, dict) else '[]'}")
        elif isinstance(value, str) and "\n" in value.strip() and "\r" not in value:
            self._write_literal(prefix, value, indent + 2)
        else:
            self.out.append(f"{prefix} {_write_scalar(value)}")

    def _write_literal(self, prefix: str, text: str, indent: int) -> None:
        _check_text(text)
        body = text.rstrip("\n")
        ends = len(text) - len(body)
        chomp = "-" if ends == 0 else "" if ends == 1 else "+"
        # Readers guess the indentation from the first line, so it is said when that line would mislead them.
        explicit = "2" if text[0] in " \t\n" else ""
        self.out.append(f"{prefix} |{explicit}{chomp}")
        pad = " " * indent
        self.out.extend(pad + line if line else "" for line in body.split("\n"))
        self.out.extend([""] * (ends - 1))

    def _key(self, key: Any, pad: str) -> str:
        if not isinstance(key, str):
            raise TypeError(f"a key must be text, not {type(key).__name__}")
        text = _write_text(key)
        # Readers look for the colon only so far; a long key is announced by a question mark.
        return f"{text}:" if len(text) <= _LONG_KEY else f"? {text}\n{pad}:"

    def _count(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} keys and values")


def _write_scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _write_text(value)
    if isinstance(value, int):
        if abs(value) >= 10**MAX_INT_DIGITS:
            raise ValueError(f"a number has more than {MAX_INT_DIGITS} digits")
        return str(int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"not a number that a file can hold: {value}")
        text = repr(float(value))
        return text if "." in text else text.replace("e", ".0e")
    raise TypeError(f"not a plain value: {type(value).__name__}")


def _write_text(text: str) -> str:
    _check_text(text)
    plain = (
        _PLAIN.fullmatch(text)
        and ": " not in text
        and " #" not in text
        and text[-1] not in " :"
        and text.lower().lstrip(".") not in _WORDS
        and not _NUMBER_LIKE.fullmatch(text)
    )
    return str(text) if plain else _quote(text)


def _quote(text: str) -> str:
    _check_text(text)
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a double-quoted YAML string


def _check_text(text: str) -> None:
    if found := UNSAFE.search(text):
        raise ValueError(f"the text contains {name_character(found[0])}")
