"""The backend `agy`: Google's Antigravity CLI, which follows the Gemini CLI for individuals. NOT VERIFIED.

Events as lines of JSON are in the notes of its version 1.1.8. The rest (a prompt as such a line on stdin, what the
fields of the events mean) is what users of later versions tell. We have run it against nothing: it logs in with a
person's account only. It is not known how to shut off what a repository brings along, nor how to give it a system
prompt or a limit of turns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends import cli_parts as cli
from orchestrator.adapters.backends.base import Capabilities, Launch, Order, Output, Standing, json_lines
from orchestrator.core.said import Said, Trouble, Usage

INSTALL = "Install the Antigravity CLI 1.1.8 or later and log in with it once, or name it in `program`."
USED = ("program", "login", "args", "env", "pass_env")
REFUSED = {
    "max_turns": "No way to bound the turns of agy is known: take `max_turns` out; the time limit of a run holds."
}
# It takes a prompt as an argument, which is too short for ours, or as one line of JSON.
AS_LINE = 'prompt = json.dumps({"event": "user", "message": {"content": prompt}}) + chr(10)'
QUOTA = re.compile(r"quota|RESOURCE_EXHAUSTED|code 429|credits balance", re.I)
LOGIN = re.compile(r"authenticat|not logged in|sign in|signed in", re.I)
MODEL = re.compile(r"invalid model|unknown model", re.I)
PARTIAL = re.compile(r"print timeout after", re.I)


@dataclass(frozen=True, slots=True)
class AgyBackend:
    """Settings: `login: true` (required), `program`, `model`, `args`, `env`, `pass_env`. Not verified."""

    name: str = "agy"
    seen: str = ""
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(usage="run"))

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if it could be started, else the reason and the way out."""
        if wrong := _wrong(settings):
            return wrong
        if not settings.get("login"):
            return (
                "The backend agy (not verified) works with a person's login only: set `login: true`, "
                "or use the backend gemini with a key."
            )
        return cli.what_is_missing(settings, self.name, path=path, install=INSTALL)

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """The login that it keeps, nobody knows where."""
        return cli.standing_of({**settings, "login": True}, home)

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """The CLI with the person's HOME. Raises InvalidFileError."""
        cli.require_right(_wrong(settings), self.name)
        home = cli.need_home(order, self.name)
        model = cli.model_of(settings, order)
        # Its own five minutes would cut the work and call it a success.
        options = ["--input-format", "stream-json", "--output-format", "stream-json", "--print-timeout", "24h"]
        options += ["--model", model] if model else []
        # Without it, all that would need to be asked for is denied: it looks and changes nothing.
        options += [] if order.read_only else ["--dangerously-skip-permissions"]
        argv = cli.behind_feed(AS_LINE, (settings.get("program") or self.name, *options))
        return cli.launch_of(settings, argv, own={"HOME": str(home), "AGY_CLI_DISABLE_AUTO_UPDATE": "true"})

    def read(self, output: Output) -> Said | None:
        """What its events say. Its word `SUCCESS` does not count alone: it says so of a run that was cut, too."""
        session = model = ""
        tools = 0
        result: Mapping[str, Any] | None = None
        for line in json_lines(output.stdout):
            session = cli.session_of(line.get("conversation_id")) or session
            if line.get("event") == "init":
                model = cli.short(cli.mapping(line.get("init")).get("model"), cli.NAME_CHARS)
            elif line.get("event") == "step_update":
                step = cli.mapping(line.get("step_update"))
                tools += step.get("step_type") == "tool" and step.get("state") in ("DONE", "ERROR")
            elif line.get("event") == "result":
                result = cli.mapping(line.get("result"))
        trouble, why = _trouble(result, output)
        return Said(
            ok=trouble is Trouble.NONE,
            text=cli.text(cli.mapping(result).get("response")),
            trouble=trouble,
            why=why,
            session=session,
            model=model,
            usage=_usage(result),
            denials=_denials(result),
            tool_calls=tools,
        )


def _wrong(settings: Mapping[str, Any]) -> str:
    return cli.settings_problem(settings, "agy", used=USED, refused=REFUSED)


def _trouble(result: Mapping[str, Any] | None, output: Output) -> tuple[Trouble, str]:
    end = cli.how_it_ended(output)
    if result is None or not output.ended or output.signal is not None:
        last = cli.last_line(output.stderr)
        auth = output.ended and bool(output.exit) and LOGIN.search(last)
        return Trouble.AUTH if auth else Trouble.CUT, f"agy ended without its closing event: {end}. {last}".strip()
    message = cli.short(result.get("error")) or cli.last_line(output.stderr) or end
    if result.get("status") != "SUCCESS" or not cli.ended_well(output):
        for pattern, trouble in ((QUOTA, Trouble.RATE_LIMITED), (LOGIN, Trouble.AUTH), (MODEL, Trouble.REQUEST)):
            if pattern.search(message):
                return trouble, f"agy failed: {message}"
        return cli.trouble_of(0, message), f"agy failed: {message}"
    if PARTIAL.search(output.stderr):
        return Trouble.LIMIT, "agy ran into its own time limit and gave a part of its answer"
    if not cli.text(result.get("response")).strip():
        denied = ", ".join(_denials(result))
        return (Trouble.DENIED, f"agy was denied {denied}") if denied else (Trouble.CUT, "agy gave an empty answer")
    if _usage(result) is None:
        return Trouble.CUT, "agy tells of no tokens, as it does for an answer that was cut"
    return Trouble.NONE, ""


def _denials(result: Mapping[str, Any] | None) -> tuple[str, ...]:
    denied = cli.mapping(result).get("denied_actions")
    names = [cli.mapping(item) for item in denied] if isinstance(denied, list) else []
    return tuple(
        cli.short(each.get("display_name") or each.get("action"), cli.NAME_CHARS) or "a tool" for each in names
    )


def _usage(result: Mapping[str, Any] | None) -> Usage | None:
    """Its input leaves the cache out, and its output includes thoughts, as far as others have seen."""
    usage = cli.mapping(cli.mapping(result).get("usage"))
    counts = cli.counts(usage, "input_tokens", "output_tokens", "cache_read_tokens", "thinking_tokens")
    if counts is None:
        return None
    read, out, cached, thoughts = counts
    return Usage(input=read, output=max(out, thoughts), cache_read=cached, reasoning=thoughts) if read or out else None
