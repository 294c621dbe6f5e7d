#!/usr/bin/env python3
"""A stand-in for the program `claude`: it knows the real one's options, obeys those that matter, and asks no model.

It stands alone, so that it can be copied to wherever a test wants it. `--text` as the first word makes it answer in
text where a form is asked for, as models do.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

OPTIONS: dict[str, tuple[str, ...] | None] = {
    "-p": None,
    "--strict-mcp-config": None,
    "--output-format": ("text", "json", "stream-json"),
    "--permission-mode": ("acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "plan"),
    "--model": (),
    "--allowedTools": (),
    "--disallowedTools": (),
    "--tools": (),
    "--setting-sources": (),
    "--json-schema": (),
}
"""Options of Claude Code 2.1.329: None takes no value, an empty tuple any value, another tuple one of these."""


def read_options(argv: Sequence[str]) -> dict[str, str]:
    """The options of a command line. Raises ValueError for what `claude -p` would not take."""
    found: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        if word not in OPTIONS:
            raise ValueError(f"unknown option {word!r}" if word.startswith("-") else f"a prompt in the words: {word!r}")
        values = OPTIONS[word]
        value = "" if values is None else next(words, None)
        if value is None or (values and value not in values):
            raise ValueError(f"{word} cannot be {value!r}")
        found[word] = value
    if "-p" not in found:
        raise ValueError("without -p it waits for a person")
    return found


def may_write(options: dict[str, str]) -> bool:
    """Whether the options let it write files with nobody to ask."""
    offered = options.get("--tools", "Write").split(",")
    allowed = options.get("--allowedTools", "").split(",")
    return "Write" in offered and ("Write" in allowed or options.get("--permission-mode") == "acceptEdits")


def verdict_of(prompt: str) -> dict[str, object]:
    """The form at the end of a review's prompt, filled in."""
    start = prompt.rindex("\n{\n")
    form: dict[str, object] = json.loads(prompt[start:])
    return {**form, "verdict": "APPROVED", "findings": []}


def main(argv: Sequence[str]) -> int:
    """Do an attempt or a review, whichever the options ask for. The exit code."""
    is_chatty = argv[:1] == ["--text"]
    try:
        options = read_options(argv[1:] if is_chatty else argv)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not os.environ.get("ANTHROPIC_API_KEY") or any(Path.home().glob(".claude*")):
        print("error: no key, or a home that is somebody's", file=sys.stderr)
        return 1
    prompt = sys.stdin.read()
    result: dict[str, object] = {"type": "result", "is_error": False, "result": "Done."}
    if "--json-schema" in options:
        asked = set(json.loads(options["--json-schema"])["properties"])
        answer = {key: value for key, value in verdict_of(prompt).items() if key in asked}
        result |= {"result": f"I think: {json.dumps(answer)}"} if is_chatty else {"structured_output": answer}
    elif may_write(options):
        Path("greeting.txt").write_text("hello\n", encoding="utf-8")
    print(json.dumps(result) if options.get("--output-format") == "json" else result["result"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
