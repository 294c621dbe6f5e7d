"""The backend `anthropic`: the Messages API itself, with tools of our own, in a program that lives as long as the run.

It starts `anthropic_program` and reads what that prints; the package `anthropic` is loaded there and nowhere else.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.base import (
    Capabilities,
    Launch,
    Order,
    Output,
    json_lines,
    text_list,
    text_map,
)
from orchestrator.core.said import NOTHING_USED, Said, Trouble, Usage
from orchestrator.errors import InvalidFileError

KEY = "ANTHROPIC_API_KEY"
WHY_CHARS = 500
USAGE_KEYS = ("input", "output", "cache_read", "cache_write", "reasoning")

PROGRAM_CODE = (
    "import sys; sys.path[:0] = sys.argv[1].split(':'); "
    "from orchestrator.adapters.backends.anthropic_program import main; sys.exit(main(sys.argv[2:]))"
)


@dataclass(frozen=True, slots=True)
class AnthropicBackend:
    """Settings: `key_env`, `base_url`, `model`, `max_turns`, `args`, `env`, `pass_env`. It has no login of a person."""

    name: str = "anthropic"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            system_prompt="file", resume="anywhere", names_session=True, usage="run", family="anthropic"
        )
    )

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if the package and the key are there, else what is missing. Nothing is asked of the service."""
        wrong = _wrong_settings(settings)
        if wrong:
            return wrong
        if settings.get("login"):
            return "The backend anthropic works with a key only: take `login` out, or use the backend claude."
        if importlib.util.find_spec("anthropic") is None:
            return "The Python package anthropic is not installed beside orc: run `pip install anthropic`."
        key = settings.get("key_env") or KEY
        if not os.environ.get(key):
            return (
                f"The environment variable {key} is not set: put the key of the API there, or name another `key_env`."
            )
        return ""

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """Our program in the tree, isolated. Raises InvalidFileError for settings of a wrong form."""
        wrong = _wrong_settings(settings)
        if wrong:
            raise InvalidFileError(wrong, key="anthropic")
        key = str(settings.get("key_env") or KEY)
        package = importlib.util.find_spec("anthropic")
        roots = [Path(__file__).resolve().parents[3]]
        if package is not None and package.origin:
            roots.append(Path(package.origin).parents[1])
        options = [
            f"--state={order.state}",
            f"--model={order.model or settings.get('model') or ''}",
            f"--key-env={key}",
        ]
        options += [f"--system={order.system}"] if order.system else []
        options += [f"--resume={order.resume}"] if order.resume else []
        options += [f"--session={order.session}"] if order.session and not order.resume else []
        options += ["--read-only"] if order.read_only else []
        options += [f"--max-turns={settings['max_turns']}"] if settings.get("max_turns") else []
        base = {"ANTHROPIC_BASE_URL": str(settings["base_url"])} if settings.get("base_url") else {}
        # Isolated: the agent's folder may well hold packages called `orchestrator` and `anthropic`.
        argv = (sys.executable, "-I", "-X", "utf8", "-c", PROGRAM_CODE, ":".join(map(str, roots)), *options)
        return Launch(
            argv=(*argv, *(text_list(settings, "args") or ())),
            env={**(text_map(settings, "env") or {}), **base},
            pass_env=tuple(dict.fromkeys((key, *(text_list(settings, "pass_env") or ())))),
        )

    def read(self, output: Output) -> Said | None:
        """What our program told. Without its closing event, what its turns told."""
        told = _Told()
        for line in json_lines(output.stdout):
            told.take(line)
        return told.said(output)


def _wrong_settings(settings: Mapping[str, Any]) -> str:
    for key in ("args", "pass_env"):
        if text_list(settings, key) is None:
            return f"`{key}` must be a list of texts."
    if text_map(settings, "env") is None:
        return "`env` must map names to texts."
    for key in ("key_env", "base_url", "model"):
        if not isinstance(settings.get(key) or "", str):
            return f"`{key}` must be a text."
    turns = settings.get("max_turns") or 0
    if not isinstance(turns, int) or turns < 0:
        return "`max_turns` must be a whole number, 0 for no limit."
    return ""


@dataclass(slots=True)
class _Told:
    """What the lines of the output say together."""

    end: Mapping[str, Any] | None = None
    session: str = ""
    model: str = ""
    usage: Usage = NOTHING_USED
    retries: int = 0
    tools: int = 0

    def take(self, line: Mapping[str, Any]) -> None:
        match line.get("type"):
            case "turn":
                self.usage = self.usage.plus(_usage(line.get("usage")))
                self.model = _text(line, "model") or self.model
            case "start" if line.get("resumed") is True:
                self.session = _text(line, "session")
            case "saved":
                self.session = _text(line, "session")
            case "tool":
                self.tools += 1
            case "retry":
                self.retries += 1
            case "end":
                self.end = line

    def said(self, output: Output) -> Said:
        if self.end is None:
            return Said(
                trouble=Trouble.CUT,
                why=_why_cut(output),
                session=self.session,
                model=self.model,
                usage=self.usage,
                retries=self.retries,
                tool_calls=self.tools,
            )
        ok = self.end.get("status") == "ok" and output.exit == 0
        trouble = Trouble.NONE if ok else _trouble(self.end.get("status"))
        return Said(
            ok=ok,
            text=_text(self.end, "text"),
            trouble=trouble,
            why="" if ok else _text(self.end, "why")[:WHY_CHARS] or f"It ended with exit code {output.exit}.",
            session=_text(self.end, "session"),
            model=_text(self.end, "model"),
            usage=_usage(self.end.get("usage")),
            retries=_count(self.end.get("retries")),
            retry_after_s=float(_count(self.end.get("retry_after_s"))),
            tool_calls=_count(self.end.get("tool_calls")),
        )


def _why_cut(output: Output) -> str:
    if not output.ended:
        return "It was ended before it had told how it went."
    lines = [line.strip() for line in output.stderr.splitlines() if line.strip()]
    how = f"signal {output.signal}" if output.signal is not None else f"exit code {output.exit}"
    return f"It ended with {how} and told no end" + (f": {lines[-1][:WHY_CHARS]}" if lines else ".")


def _trouble(status: object) -> Trouble:
    try:
        return Trouble(str(status)) or Trouble.ERROR
    except ValueError:
        return Trouble.ERROR


def _text(line: Mapping[str, Any], key: str) -> str:
    value = line.get(key)
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    if isinstance(value, float) and 0 <= value < 1e15:
        return int(value + 0.999)  # Seconds to wait: rather longer than too short.
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _usage(value: object) -> Usage:
    given = value if isinstance(value, Mapping) else {}
    return Usage(**{key: _count(given.get(key)) for key in USAGE_KEYS})
