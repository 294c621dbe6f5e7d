"""The backend `anthropic`: the Messages API itself, with tools of our own, in a program that lives as long as the run.

It starts `anthropic_program` and reads what that prints; the package `anthropic` is loaded there and nowhere else. The
tools run in a process of their own, which the kernel keeps to the tree: `tree_server`, `tree_bounds`.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.adapters import landlock
from orchestrator.adapters.backends import cli_parts as cli
from orchestrator.adapters.backends.base import Capabilities, Launch, Order, Output, Standing, text_list
from orchestrator.core.said import NOTHING_USED, Said, Trouble, Usage

KEY = "ANTHROPIC_API_KEY"
OFF = "--confine=no"
PACKAGE = "anthropic"
USED = ("key_env", "base_url", "max_turns", "args", "env", "pass_env")
REFUSED = {"login": "The backend anthropic works with a key only: take `login` out, or use the backend claude."}
USAGE_KEYS = ("input", "output", "cache_read", "cache_write", "reasoning")


@dataclass(frozen=True, slots=True)
class AnthropicBackend:
    """Settings: `key_env`, `base_url`, `model`, `max_turns`, `args`, `env`, `pass_env`. It has no login of a person."""

    name: str = "anthropic"
    seen: str = "2.11.0"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            system_prompt="file",
            resume="anywhere",
            system_on_resume=True,
            names_session=True,
            usage="run",
            family="anthropic",
        )
    )

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if the package and the key are there, else what is missing. Nothing is asked of the service."""
        if wrong := _wrong(settings):
            return wrong
        if importlib.util.find_spec(PACKAGE) is None:
            return "The Python package anthropic is not installed beside orc: run `pip install anthropic`."
        return cli.missing_key(cli.key_of(settings, KEY))

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """Its key; and what this kernel holds its commands with."""
        found = cli.standing_of({**settings, "login": False}, home, key=KEY)
        return replace(found, sandbox=_sandbox(settings), package=PACKAGE)

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """Our program in the tree, isolated. Raises InvalidFileError for settings of a wrong form."""
        cli.require_right(_wrong(settings), self.name)
        key = str(settings.get("key_env") or KEY)
        options = [
            f"--state={order.state}",
            f"--run={order.run_folder}",
            f"--model={cli.model_of(settings, order)}",
            f"--key-env={key}",
        ]
        options += [f"--system={order.system}"] if order.system else []
        options += [f"--resume={order.resume}"] if order.resume else []
        options += [f"--session={order.session}"] if order.session and not order.resume else []
        options += ["--read-only"] if order.read_only else []
        options += [f"--skills={order.skills}"] if order.skills else []
        options += [f"--max-turns={settings['max_turns']}"] if settings.get("max_turns") else []
        base = {"ANTHROPIC_BASE_URL": str(settings["base_url"])} if settings.get("base_url") else {}
        argv = (*cli.own_program("anthropic_program", PACKAGE), *options)
        return cli.launch_of(settings, argv, key=key, own=base)

    def read(self, output: Output) -> Said | None:
        """What our program told. Without its closing event, what its turns told."""
        return cli.read_events(_Told(), output)


def _sandbox(settings: Mapping[str, Any]) -> str:
    if OFF in (text_list(settings, "args") or ()):
        return "none: switched off"
    return f"none: {why}" if (why := landlock.why_not()) else f"landlock {landlock.version()}"


def _wrong(settings: Mapping[str, Any]) -> str:
    return cli.settings_problem(settings, "anthropic", used=USED, refused=REFUSED)


@dataclass(slots=True)
class _Told:
    """What the lines of the output say together."""

    end: Mapping[str, Any] | None = None
    session: str = ""
    model: str = ""
    usage: Usage = NOTHING_USED
    context: int = 0
    retries: int = 0
    tools: int = 0
    denials: list[str] = field(default_factory=list)
    sandbox: str = ""

    def take(self, line: Mapping[str, Any]) -> None:
        if line.get("type") == "start" and not self.sandbox:
            # The first of them was told before any command ran: one that is not confined may write more.
            self.sandbox = cli.short(line.get("sandbox"), cli.NAME_CHARS) or "none: not told"
        match line.get("type"):
            case "turn":
                if (used := _usage(line.get("usage"))) is not None:
                    self.usage, self.context = self.usage.plus(used), used.total
                self.model = cli.text(line.get("model")) or self.model
            case "start" if line.get("resumed") is True:
                self.session = cli.text(line.get("session"))
            case "saved":
                self.session = cli.text(line.get("session"))
            case "tool":
                self.tools += 1
                if line.get("denied") is True:
                    self.denials.append(cli.short(line.get("name"), cli.NAME_CHARS) or "a tool")
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
                context=self.context,
                denials=tuple(self.denials),
                retries=self.retries,
                tool_calls=self.tools,
                sandbox=self.sandbox,
            )
        ok = self.end.get("status") == "ok" and cli.ended_well(output)
        trouble = Trouble.NONE if ok else _trouble(self.end.get("status"), output)
        return Said(
            ok=ok,
            text=cli.text(self.end.get("text")),
            trouble=trouble,
            why=""
            if ok
            else cli.text(self.end.get("why"))[: cli.WHY_CHARS] or f"our program was done: {cli.how_it_ended(output)}",
            session=cli.text(self.end.get("session")),
            model=cli.text(self.end.get("model")),
            usage=_usage(self.end.get("usage")),
            context=self.context,
            denials=tuple(self.denials),
            retries=cli.count(self.end.get("retries")),
            retry_after_s=float(math.ceil(cli.amount(self.end.get("retry_after_s")))),
            tool_calls=cli.count(self.end.get("tool_calls")),
            sandbox=self.sandbox,
        )


def _why_cut(output: Output) -> str:
    how = cli.how_it_ended(output)
    return f"our program told no end: {how}. {cli.last_line(output.stderr)}".strip()


def _trouble(status: object, output: Output) -> Trouble:
    """What the end calls itself. One that calls itself well was cut if the program was ended by somebody else."""
    if status == "ok" and (not output.ended or output.signal is not None):
        return Trouble.CUT
    try:
        return Trouble(str(status)) or Trouble.ERROR
    except ValueError:
        return Trouble.ERROR


def _usage(value: object) -> Usage | None:
    counts = cli.counts(cli.mapping(value), *USAGE_KEYS)
    return Usage(*counts) if counts is not None else None
