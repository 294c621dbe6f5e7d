"""The backend `gemini`: Google's Gemini CLI without its screen, its events read line by line.

Its settings, memory and sessions lie below the agent's state folder. A folder that it works in is never trusted: the
repository's own settings, hooks, tool servers and `.env` are not read, and a policy of ours allows the tools instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends import cli_parts as cli
from orchestrator.adapters.backends.base import Capabilities, Launch, Order, Output, Standing
from orchestrator.core.said import Said, Trouble, Usage

KEY = "GEMINI_API_KEY"
INSTALL = "Install it with `npm install -g @google/gemini-cli`, or name it in `program`."
USED = ("program", "key_env", "base_url", "max_turns", "args", "env", "pass_env")
REFUSED_SETTINGS = {"login": "The backend gemini works with a key only: take `login` out, or use the backend agy."}
ATTEMPTS = 3
"""Its own ten take four minutes, and the engine tries again anyway."""
NOTE = "The project's own instructions, if it has any, are in AGENTS.md or GEMINI.md of your folder: read them first."
# The diff stands in the prompt of a review: `@path` in it would put the file at that path beside it, as if a person had
# asked for it. A backslash makes it a plain word; it is put where a path of the tree could begin, and nowhere else.
NO_MENTIONS = r"""
names = set(os.listdir())
longest = max(map(len, names), default=0)
def is_path(word):
    odd = len(word) == 300 or word[0] in "./~" or ".." in word or '"' in word or "\\" in word
    return odd or any(word[:end] in names for end in range(1, longest + 1))
prompt = re.sub(r"@(?=([^ \t\n\r]{1,300}))", lambda at: "\\@" if is_path(at[1]) else "@", prompt)
"""
RULE = '[[rule]]\ntoolName = {tools}\ndecision = "{decision}"\npriority = {priority}\n'
ALLOW = RULE.format(tools='"*"', decision="allow", priority=900)
# Without `allowRedirection`, `>` would have to be confirmed, which nobody can; without a pattern, so would `git`.
SHELL = (
    RULE.format(tools='"run_shell_command"', decision="allow", priority=910)
    + 'allowRedirection = true\nargsPattern = "command"\n'
)
NO_PLANS = RULE.format(tools='["enter_plan_mode", "exit_plan_mode"]', decision="deny", priority=950)
NO_EDITS = RULE.format(tools='["write_file", "replace"]', decision="deny", priority=950)
DENIED = ("tool_not_registered", "policy_violation", "permission_denied")
NOT_ALLOWED = ("requires user confirmation", "Path not in workspace")
"""Words of a message whose type says less."""
EXITS = {
    41: (Trouble.AUTH, "it has no way to log in"),
    42: (Trouble.SESSION, "the session is not there any more"),
    53: (Trouble.LIMIT, "the limit of turns was reached"),
    55: (Trouble.REQUEST, "it does not trust the folder"),
}
"""What its exit codes say by themselves."""
STATUSES = {status % 256: status for status in (400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529)}
"""Its exit code is an HTTP status, of which the system keeps eight bits."""
CODE_IN_TEXT = re.compile(r'"code"\s*:\s*(\d{3})\b')
STATUS_IN_STDERR = re.compile(r"^\s*(?:status|code): (\d{3}),?\s*$", re.M)
DELAY_IN_STDERR = re.compile(r"retryDelayMs: (\d{1,9}(?:\.\d{1,9})?)")
STOPPED = "stopping execution"
"""Of a warning: it stops a model that repeats itself, and calls that a success."""
REFUSED = re.compile(r"blocked due to|safety settings|PROHIBITED_CONTENT|BLOCKLIST", re.I)
RETRY_IN_STDERR = re.compile(r"^Attempt \d+ failed.{0,400}?Retrying", re.M)


@dataclass(frozen=True, slots=True)
class GeminiBackend:
    """Settings: `program`, `key_env`, `base_url`, `model`, `max_turns`, `args`, `env`, `pass_env`."""

    name: str = "gemini"
    seen: str = "0.61.0"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            system_prompt="file",
            resume="same folder",
            system_on_resume=True,
            names_session=True,
            usage="run",
            family="google",
            note=NOTE,
        )
    )

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if the program and the key are there, else what is missing."""
        return _wrong(settings) or cli.what_is_missing(settings, self.name, path=path, install=INSTALL, usual_key=KEY)

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """Its key: it has no login."""
        return cli.standing_of({**settings, "login": False}, home, key=KEY)

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """The CLI, not trusting the tree. Raises InvalidFileError."""
        cli.require_right(_wrong(settings), self.name)
        policy = order.run_folder / "gemini-policy.toml"
        # Apart, so that a review never writes the memory file that an attempt is about to read.
        home = order.state / ("review" if order.read_only else "work")
        argv = (settings.get("program") or self.name, "--output-format", "stream-json", *_options(settings, order))
        argv = (*argv, "--extensions", "none", "--policy", str(policy))
        return cli.launch_of(
            settings,
            cli.behind_feed(NO_MENTIONS, argv) if order.read_only else argv,
            key=settings.get("key_env") or KEY,
            wanted=KEY,
            own=_environment(settings, home),
            files={
                str(policy): "\n".join((ALLOW, SHELL, NO_PLANS, *((NO_EDITS,) if order.read_only else ()))),
                str(home / ".gemini" / "settings.json"): json.dumps(_own_settings(settings, order), indent=1) + "\n",
                # It goes behind the CLI's own system prompt.
                str(home / ".gemini" / "GEMINI.md"): order.system_text,
            },
        )

    def read(self, output: Output) -> Said | None:
        """What it said: the last answer, and why it ended."""
        return cli.read_events(_Told(), output)


def _wrong(settings: Mapping[str, Any]) -> str:
    return cli.settings_problem(settings, "gemini", used=USED, refused=REFUSED_SETTINGS)


def _options(settings: Mapping[str, Any], order: Order) -> tuple[str, ...]:
    model = cli.model_of(settings, order)
    options = ("-m", model) if model else ()
    if order.resume:
        return (*options, f"--resume={order.resume}")
    return (*options, f"--session-id={order.session}") if order.session else options


def _environment(settings: Mapping[str, Any], home: Path) -> dict[str, str]:
    own = {
        "GEMINI_CLI_HOME": str(home),
        # Without a second process of itself, which would swallow a polite request to end.
        "GEMINI_CLI_NO_RELAUNCH": "true",
        "GEMINI_CLI_TRUST_WORKSPACE": "false",
    }
    return {**own, "GOOGLE_GEMINI_BASE_URL": settings["base_url"]} if settings.get("base_url") else own


def _own_settings(settings: Mapping[str, Any], order: Order) -> dict[str, Any]:
    own: dict[str, Any] = {
        # Trust is off by the environment; on here, it would refuse to start in a folder that is not trusted.
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "general": {"enableAutoUpdate": False, "maxAttempts": ATTEMPTS},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "advanced": {"ignoreLocalEnv": True},
        "hooksConfig": {"enabled": False},
        "context": {
            # For the `@` of an address or a diff, it would take the first file with what follows in its name.
            "fileFiltering": {"enableRecursiveFileSearch": False},
            # Its tools open nothing else outside of the tree.
            "includeDirectories": [str(order.skills)] if order.skills else [],
        },
    }
    return {**own, "model": {"maxSessionTurns": settings["max_turns"]}} if settings.get("max_turns") else own


@dataclass(slots=True)
class _Told:
    """What the events say together."""

    session: str = ""
    model: str = ""
    block: list[str] = field(default_factory=list)
    """The texts since the last tool."""
    answer: str = ""
    end: Mapping[str, Any] | None = None
    error: str = ""
    names: dict[str, str] = field(default_factory=dict)
    denials: list[str] = field(default_factory=list)
    is_stopped: bool = False
    """Whether it gave up by itself what it calls a success."""
    tools: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "init":
                self.session = cli.session_of(event.get("session_id"))
                self.model = cli.short(event.get("model"), cli.NAME_CHARS)
            case "message" if event.get("role") == "assistant":
                self.block.append(cli.text(event.get("content")))
            case "tool_use":
                self.close_block()
                self.tools += 1
                self.names[cli.text(event.get("tool_id"))] = cli.short(event.get("tool_name"), cli.NAME_CHARS)
            case "tool_result" if event.get("status") == "error":
                error = cli.mapping(event.get("error"))
                message = cli.text(error.get("message"))
                if cli.text(error.get("type")) in DENIED or any(words in message for words in NOT_ALLOWED):
                    self.denials.append(self.names.get(cli.text(event.get("tool_id"))) or "a tool")
            case "error":
                self.error = cli.short(event.get("message")) or self.error
                self.is_stopped = self.is_stopped or STOPPED in self.error
            case "result":
                self.end = event

    def close_block(self) -> None:
        answer = "".join(self.block)
        self.answer = answer if answer.strip() else self.answer
        self.block = []

    def said(self, output: Output) -> Said:
        self.close_block()
        is_success = self.end is not None and self.end.get("status") == "success" and not self.is_stopped
        ok = cli.ended_well(output) and is_success
        trouble, why = (Trouble.NONE, "") if ok else self.reason(output)
        delay = DELAY_IN_STDERR.findall(output.stderr)
        return Said(
            ok=ok,
            text=self.answer,
            trouble=trouble,
            why=why,
            session=self.session,
            model=self.model,
            usage=_usage(self.end),
            denials=tuple(self.denials),
            retries=len(RETRY_IN_STDERR.findall(output.stderr)),
            retry_after_s=cli.amount(float(delay[-1])) / 1000 if delay and not ok else 0.0,
            tool_calls=self.tools,
        )

    def reason(self, output: Output) -> tuple[Trouble, str]:
        message = _message(self.end) or self.error
        end = cli.how_it_ended(output)
        if output.ended and output.exit in EXITS:
            trouble, why = EXITS[output.exit]
            return trouble, f"gemini: {why} ({end}). {message or cli.last_line(output.stderr)}".strip()
        if self.end is None and (not output.ended or output.signal is not None or output.exit == 0):
            return Trouble.CUT, f"gemini ended without its closing event: {end}. {message}".strip()
        status = STATUSES.get(output.exit or 0) or _status(self.end, output.stderr)
        what = message or cli.last_line(output.stderr) or "it does not say why"
        trouble = Trouble.REFUSED if REFUSED.search(what) else cli.trouble_of(status, what)
        return trouble, f"gemini failed ({f'HTTP {status}' if status else end}): {what}"


def _message(end: Mapping[str, Any] | None) -> str:
    """The message of the closing event, out of the wrapping that it comes in."""
    whole = cli.text(cli.mapping(cli.mapping(end).get("error")).get("message"))
    inner = whole.removeprefix("[API Error: ").rpartition("]")[0] if whole.startswith("[API Error: ") else ""
    try:
        error = cli.mapping(cli.mapping(json.loads(inner)).get("error")) if inner.startswith("{") else {}
    except (ValueError, RecursionError):
        error = {}
    return cli.short(error.get("message")) or cli.short(inner) or cli.short(whole)


def _status(end: Mapping[str, Any] | None, stderr: str) -> int:
    found = CODE_IN_TEXT.findall(cli.text(cli.mapping(cli.mapping(end).get("error")).get("message")))
    found = found or STATUS_IN_STDERR.findall(stderr)
    return int(found[-1]) if found else 0


def _usage(end: Mapping[str, Any] | None) -> Usage | None:
    stats = cli.mapping(end).get("stats")
    if not isinstance(stats, dict):
        return None
    counts = cli.counts(stats, "input_tokens", "output_tokens", "cached")
    if counts is None:
        return None
    read, out, cached = counts
    # Thoughts are in the total alone.
    thoughts = max(0, cli.count(stats.get("total_tokens")) - read - out)
    return Usage(input=max(0, read - cached), output=out + thoughts, cache_read=cached, reasoning=thoughts)
