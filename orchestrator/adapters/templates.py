"""Commented templates of the files that a person writes, made from their schemas so that the two cannot drift apart.

Prose is `# text`, a key that is not used is `#key: value`: to use it, take the one `#` away.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.adapters.strict_yaml import dump

SCHEMA_LINE = "# yaml-language-server: $schema={}"
"""The comment by which editors find the schema of a file."""

_WIDTH = 100
_LIST_ALLOWANCE = 60  # a long line is easier to change than a long column

Schema = Mapping[str, Any]


def render_section(
    schema: Schema, *, given: Mapping[str, Any], skip: Sequence[str] = (), indent: int = 0, used: bool = True
) -> list[str]:
    """The lines of every key of an object schema: its meaning, then the key, commented out unless it is `given`.

    With `used` False the whole section is commented out.
    """
    lines: list[str] = []
    for key, sub in schema["properties"].items():
        if key not in skip:
            lines += [
                *render_prose(sub["description"], indent=indent, used=used),
                *_entry(key, sub, given, indent, used),
            ]
            if indent == 0:
                lines.append("")
    return lines[:-1] if indent == 0 else lines


def render_prose(text: str, *, indent: int = 0, used: bool = True) -> list[str]:
    """A text as comment lines."""
    pad = " " * indent
    start = f"{pad}# " if used else f"#{pad}# " if indent else "# "
    return [start + line for line in textwrap.wrap(text, _WIDTH - len(start), break_long_words=False)]


def render_value(key: str, value: Any, *, indent: int = 0, used: bool = True) -> list[str]:
    """A key with its value, as live lines or commented out. Short lists stand on one line."""
    start = " " * indent if used else "#" + " " * indent
    if isinstance(value, Mapping) and value:
        inner = [render_value(name, item, indent=indent + 2, used=used) for name, item in value.items()]
        return [f"{start}{dump({key: {}}).removesuffix(' {}' + chr(10))}", *(line for lines in inner for line in lines)]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        line = f"{start}{dump({key: []}).removesuffix('[]' + chr(10))}{json.dumps(value, ensure_ascii=False)}"
        if len(line) <= _WIDTH + _LIST_ALLOWANCE:
            return [line]
    return [f"{start}{line}" for line in dump({key: value}).splitlines()]


def render_prompt(schema: Schema, prompt: str) -> list[str]:
    """The prompt as a block of text, empty for the person to fill in."""
    body = prompt.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    style = "|2" if body[:1].isspace() else "|"
    lines = [f"  {line}" if line else "" for line in body.split("\n")]
    return [*render_prose(schema["description"]), f"prompt: {style}", *lines]


def _entry(key: str, schema: Schema, given: Mapping[str, Any], indent: int, used: bool) -> list[str]:
    if key in given:
        return render_value(key, given[key], indent=indent, used=used)
    examples = schema.get("examples") or [schema.get("default")]
    if "properties" in schema and not isinstance(examples[0], str):
        start = "#" + " " * indent
        return [f"{start}{key}:", *render_section(schema, given={}, indent=indent + 2, used=False)]
    return render_value(key, examples[0], indent=indent, used=False)
