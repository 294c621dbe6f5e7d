"""What a model is told of the tools over a folder, and whether a call fits that. It does nothing itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

READ_LINES = 2000
"""Lines of one `read`, if the model names no limit."""
READ_BYTES = 64 * 1024
"""Bytes of one `read`."""
BASH_SECONDS = 120.0
BASH_MAX_SECONDS = 600.0


class ToolError(Exception):
    """A call that was not done, in words that the model can act on."""


class ToolDenied(ToolError):
    """A call that is not allowed here, however it is made."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model is told of a tool. `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave. Never a lone surrogate, so that it can always be sent."""

    text: str
    is_error: bool = False
    is_denied: bool = False


def _object(required: tuple[str, ...], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_PATH = {"type": "string", "description": "A path inside the folder you work in, relative to it or absolute."}

TOOLS = (
    Tool(
        "read",
        "Read a text file. Lines come numbered, with a tab after the number; neither is part of the file. "
        f"At most {READ_LINES} lines and {READ_BYTES} bytes at once: go on with `offset`.",
        _object(
            ("path",),
            path=_PATH,
            offset={"type": "integer", "description": "The first line to show, from 1."},
            limit={"type": "integer", "description": "How many lines to show."},
        ),
    ),
    Tool(
        "write",
        "Write a whole file, with the folders above it. What was in it is replaced. Prefer edit where it exists.",
        _object(
            ("path", "content"), path=_PATH, content={"type": "string", "description": "All that is to be in the file."}
        ),
    ),
    Tool(
        "edit",
        "Replace a piece of a file. `old` must be in the file exactly once, letter by letter, without line numbers.",
        _object(
            ("path", "old", "new"),
            path=_PATH,
            old={"type": "string", "description": "The text that is there, with enough around it to be unique."},
            new={"type": "string", "description": "The text to put in its place."},
        ),
    ),
    Tool(
        "glob",
        "List files by a pattern such as src/**/*.py. * and ? stay inside one folder, ** goes through all.",
        _object(
            ("pattern",),
            pattern={"type": "string", "description": "Relative to `path`."},
            path={"type": "string", "description": "The folder to look in; the whole tree if it is left out."},
        ),
    ),
    Tool(
        "grep",
        "Search the contents of files for a POSIX extended regular expression, as grep -E does ([0-9], not \\d). "
        "Gives path:line:text.",
        _object(
            ("pattern",),
            pattern={"type": "string", "description": "The regular expression."},
            path={"type": "string", "description": "A file or folder; the whole tree if it is left out."},
            include={"type": "string", "description": "Only files whose name fits this pattern, such as *.py."},
        ),
    ),
    Tool(
        "bash",
        "Run shell commands in the folder you work in, each call in a shell of its own, with nothing on stdin. "
        f"It is ended after {BASH_SECONDS:g} s, or after `timeout_s`, with all it started. "
        "Long output is cut in the middle. Send the output of what goes on in the background to a file.",
        _object(
            ("command",),
            command={"type": "string", "description": "What to run."},
            timeout_s={"type": "number", "description": f"Seconds, at most {BASH_MAX_SECONDS:g}."},
        ),
    ),
)

_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "string": (str, "a text"),
    "integer": (int, "a whole number"),
    "number": ((int, float), "a number"),
}


def check_arguments(tool: Tool, arguments: object) -> dict[str, Any]:
    """The arguments of a call, if they are as the tool says. Raises ToolError, which names the wrong one."""
    known = tool.parameters["properties"]
    if not isinstance(arguments, Mapping):
        raise ToolError(f"The arguments of {tool.name} must be an object with {', '.join(known)}.")
    for name in arguments:
        if name not in known:
            raise ToolError(f"{tool.name} takes no argument {str(name)[:60]!r}. It takes: {', '.join(known)}.")
    for name in tool.parameters["required"]:
        if name not in arguments:
            raise ToolError(f"{tool.name} needs the argument `{name}`.")
    given = {name: value for name, value in arguments.items() if value is not None}
    for name, value in given.items():
        kind, words = _KINDS[known[name]["type"]]
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, float) and math.isnan(value)):
            raise ToolError(f"`{name}` of {tool.name} must be {words}.")
    missing = [name for name in tool.parameters["required"] if name not in given]
    if missing:
        raise ToolError(f"{tool.name} needs the argument `{missing[0]}`.")
    return given
