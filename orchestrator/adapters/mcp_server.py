"""The Model Context Protocol server of a run. What the tools do comes from the caller; only here is the SDK used."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from orchestrator import __version__
from orchestrator.core.outbox import RequestKind
from orchestrator.errors import OrcError, UnavailableError

HandIn = Callable[[RequestKind, Mapping[str, Any]], tuple[str, Path]]
GiveVerdict = Callable[[bytes], Path]
Type = Literal["fact", "lesson", "strategy", "preference", "pattern", "insight"]

INSTRUCTIONS = """\
You work inside a run of orc: one attempt at a task, or one review. These tools hand a request to the engine, which
looks at it while you work or when you end; none of them waits for an answer. What came of a request stands in the file
that the tool names. You have no other way to change anything outside of your tree.
"""


def serve(hand_in: HandIn, give_verdict: GiveVerdict) -> None:
    """Serve on standard input and output until the input ends. Raises UnavailableError without the SDK."""
    build_server(hand_in, give_verdict).run("stdio")


def build_server(hand_in: HandIn, give_verdict: GiveVerdict) -> Any:
    """The server with its five tools."""
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError as error:
        raise UnavailableError(
            "the MCP server needs the package mcp, which is not installed",
            hint="in the checkout of orc: python -m pip install '.[mcp]'; "
            "or use orc ask, remember, submit, progress and verdict",
        ) from error
    server = MCPServer("orc", instructions=INSTRUCTIONS, version=__version__, log_level="ERROR")

    def told(kind: RequestKind, content: Mapping[str, Any]) -> str:
        try:
            name, answer = hand_in(kind, content)
        except OrcError as error:
            raise ToolError(_words(error)) from error
        return f"handed in as {name}; what comes of it will stand in {answer}"

    def tool(does: Callable[..., str]) -> Callable[..., str]:
        """Offer it as a tool; its docstring, without the blanks of the source, is what the model reads of it."""
        server.tool(description=inspect.getdoc(does))(does)
        return does

    @tool
    def ask(
        question: str,
        options: list[str | dict[str, str]] | None = None,
        context: str = "",
        default: str = "",
        expires_h: int = 0,
    ) -> str:
        """Ask the person a question that you cannot go on without, with up to four answers to choose from.

        It reaches them when your run ends, and the answer stands in the prompt of your next one: leave the tree as far
        as you came, and end your run. At most 3 a run; not in a review. An option is a text, or `key`, `label` and
        `consequence`. `default` is the key of what you would take; with `expires_h` it holds after so many hours.
        """
        content = {"text": question, "options": options or [], "context": context}
        return told(RequestKind.ASK, {**content, "default": default, "expires_h": expires_h})

    @tool
    def remember(text: str, type: Type = "fact", title: str = "", tags: list[str] | None = None) -> str:
        """Keep one or two sentences that will still be true and of use in a month, with what they rest on.

        At most 5 a run; not in a review. Not for what the repository says already, and never for a secret.
        """
        return told(RequestKind.REMEMBER, {"text": text, "type": type, "title": title, "tags": tags or []})

    @tool
    def submit(job: str, name: str = "follow-up.yaml") -> str:
        """Hand in a follow-up job for the same project: the text of a job file in YAML, with at least `prompt:`.

        For work that you came upon and that is not part of your task. At most 3 a run; not in a review.
        """
        return told(RequestKind.SUBMIT, {"job": job, "name": name})

    @tool
    def progress(text: str) -> str:
        """Say in one line where the work stands, when a person who looks would want to know."""
        return told(RequestKind.PROGRESS, {"text": text})

    @tool
    def verdict(verdict: dict[str, Any]) -> str:
        """Give a review's verdict, the one JSON object that the prompt describes. Only in a review; the last counts."""
        try:
            return f"the verdict lies in {give_verdict(json.dumps(verdict).encode())}"
        except OrcError as error:
            raise ToolError(_words(error)) from error

    return server


def _words(error: OrcError) -> str:
    return f"{error.message}. {error.hint}" if error.hint else error.message
