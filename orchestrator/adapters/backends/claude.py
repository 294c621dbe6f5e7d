"""The backend `claude`: Claude Code without its screen, its events read line by line.

Nothing that a repository brings along is loaded: no settings, hooks, tool servers or skills of its own. The tools are
a list of ours, so that no later version can add one that leaves the tree or outlives the run. A session that goes on
keeps its first system prompt, whatever the arguments say: the program has it beside the conversation.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends import cli_parts as cli
from orchestrator.adapters.backends.base import Capabilities, Launch, Order, Output, Standing
from orchestrator.core.said import NOTHING_USED, Said, Trouble, Usage

KEY = "ANTHROPIC_API_KEY"
LOGINS = () if sys.platform == "darwin" else (".claude/.credentials.json",)
LOG_IN = "start `claude` by hand and log in with /login"
OWN_KEYS = (KEY, "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
"""Credentials that it takes under their own names."""
INSTALL = "Install it with `npm install -g @anthropic-ai/claude-code`, or name it in `program`."
USED = ("program", "key_env", "base_url", "login", "max_turns", "args", "env", "pass_env")
LOOK = ("Bash", "Glob", "Grep", "Read")
WORK = (*LOOK, "Edit", "NotebookEdit", "Task", "WebFetch", "WebSearch", "Write")
BEFORE_PROMPT = " "
"""Without a word in front of it, a prompt that begins with a slash is a command of the program and reaches no model."""
NOTE = "The project's own instructions, if it has any, are in CLAUDE.md or AGENTS.md of your folder: read them first."
SWITCHES = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    # It would wait for such a task for ever.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
}
REVIEW_SWITCHES = {
    # The diff stands in the prompt: `@path` in it would put the file at that path there too.
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
}
PATIENCE = {
    # Its own ten take three minutes, and the engine tries again anyway.
    "CLAUDE_CODE_MAX_RETRIES": "3",
    # Below the usual limit of silence, so that a service which never answers is told as such.
    "API_TIMEOUT_MS": "300000",
}
"""What a person may set otherwise in `env`."""
BACKOFF_MS = 700
"""Its own first pause between two tries is shorter, and each is at most twice the one before."""
SYNTHETIC = "<synthetic>"
"""The name of the model in messages that the program makes up itself."""
LIMITS = ("error_max_turns", "error_max_budget_usd", "error_max_structured_output_retries")
MESSAGES = (
    (re.compile(r"no conversation found|session ID .{0,80}already in use", re.I), Trouble.SESSION),
    (re.compile(r"credit balance|(usage|session|weekly|hour) limit|hit your .{0,40}limit", re.I), Trouble.RATE_LIMITED),
    (re.compile(r"not logged in|/login|invalid api key|oauth token|failed to authenticate", re.I), Trouble.AUTH),
    (re.compile(r"output token maximum", re.I), Trouble.LIMIT),
)
UNREACHABLE = re.compile(r"connection|timed? ?out|overloaded|network|server error", re.I)


@dataclass(frozen=True, slots=True)
class ClaudeBackend:
    """Settings: `program`, `key_env`, `base_url`, `login`, `model`, `max_turns`, `args`, `env`, `pass_env`."""

    name: str = "claude"
    seen: str = "2.1.329"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            system_prompt="flag",
            resume="anywhere",
            names_session=True,
            usage="run",
            cost=True,
            structured=True,
            family="anthropic",
            note=NOTE,
        )
    )

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if the program and its key are there, else what is missing."""
        return _wrong(settings) or cli.what_is_missing(settings, self.name, path=path, install=INSTALL, usual_key=KEY)

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """Its key, or the login that it keeps; on a Mac that is in the keychain."""
        return cli.standing_of(settings, home, key=KEY, logins=LOGINS, log_in=LOG_IN, tokens=OWN_KEYS)

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """The CLI with its prompt on stdin. Raises InvalidFileError."""
        cli.require_right(_wrong(settings), self.name)
        key = cli.key_of(settings, KEY)
        own = {"CLAUDE_CONFIG_DIR": str(order.state)} if key else {"HOME": str(cli.need_home(order, self.name))}
        if settings.get("base_url"):
            own["ANTHROPIC_BASE_URL"] = settings["base_url"]
        return cli.launch_of(
            settings,
            (settings.get("program") or self.name, *_options(settings, order)),
            key=key,
            wanted="" if key in OWN_KEYS else KEY,
            usual=PATIENCE,
            own={**SWITCHES, **(REVIEW_SWITCHES if order.read_only else {}), **own},
        )

    def read(self, output: Output) -> Said | None:
        """What it said: the last answer, and why it ended."""
        return cli.read_events(_Told(), output)


def _wrong(settings: Mapping[str, Any]) -> str:
    return cli.settings_problem(settings, "claude", used=USED)


def _options(settings: Mapping[str, Any], order: Order) -> tuple[str, ...]:
    tools = ",".join(LOOK if order.read_only else WORK)
    options = ["-p", BEFORE_PROMPT, "--output-format", "stream-json", "--verbose"]
    if model := cli.model_of(settings, order):
        options += ["--model", model]
    if order.resume:
        options += ["--resume", order.resume]
    elif order.session:
        options += ["--session-id", order.session]
    if order.system is not None:
        options += ["--append-system-prompt-file", str(order.system)]
    # Every command is allowed, for nobody is there to ask; bypassing all questions is refused to root.
    options += ["--permission-mode", "default" if order.read_only else "acceptEdits"]
    options += ["--tools", tools, "--allowedTools", tools, "--setting-sources", "", "--strict-mcp-config"]
    options += ["--json-schema", order.answer_schema] if order.answer_schema else []
    return (*options, "--max-turns", str(settings["max_turns"])) if settings.get("max_turns") else tuple(options)


@dataclass(slots=True)
class _Told:
    """What the events say together."""

    session: str = ""
    model: str = ""
    answer: str = ""
    end: Mapping[str, Any] | None = None
    calls: dict[str, Usage] = field(default_factory=dict)
    """What each call of the model used at least, for an end that is never told."""
    context: int = 0
    tools: int = 0
    retries: int = 0
    retry: Mapping[str, Any] = field(default_factory=dict)
    """The last call that is repeated."""
    is_waiting: bool = False
    """Whether that is the last thing that happened."""
    is_refused: bool = False
    fallbacks: list[str] = field(default_factory=list)

    def take(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "system":
                self.take_system(event)
            case "assistant":
                self.take_message(cli.mapping(event.get("message")), is_own=event.get("parent_tool_use_id") is None)
            case "result":
                self.end = event
                self.session = cli.session_of(event.get("session_id")) or self.session

    def take_system(self, event: Mapping[str, Any]) -> None:
        match event.get("subtype"):
            case "init":
                self.session = cli.session_of(event.get("session_id")) or self.session
                self.model = cli.short(event.get("model"), cli.NAME_CHARS) or self.model
            case "api_retry":
                self.retries += 1
                self.retry, self.is_waiting = event, True
            case "model_fallback":
                names = (
                    cli.short(event.get(f"{which}_model"), cli.NAME_CHARS) or "?" for which in ("original", "fallback")
                )
                self.fallbacks.append(" -> ".join(names))
            case "model_refusal_no_fallback":
                self.is_refused = True

    def take_message(self, message: Mapping[str, Any], *, is_own: bool) -> None:
        self.is_waiting = False
        model = cli.short(message.get("model"), cli.NAME_CHARS)
        if model == SYNTHETIC:
            return
        content = message.get("content")
        blocks = [cli.mapping(block) for block in content] if isinstance(content, list) else []
        self.tools += sum(block.get("type") == "tool_use" for block in blocks)
        if used := _usage_of_call(message.get("usage")):
            self.calls[cli.text(message.get("id"))] = used
        if is_own:
            self.model = model or self.model
            self.context = used.total if used else self.context
            said = "".join(cli.text(block.get("text")) for block in blocks if block.get("type") == "text")
            self.answer = said if said.strip() else self.answer

    def said(self, output: Output) -> Said:
        end = cli.mapping(self.end)
        ok = cli.ended_well(output) and end.get("subtype") == "success" and end.get("is_error") is False
        trouble, why = (Trouble.NONE, "") if ok else self.reason(output)
        is_told = end.get("is_error") is False and cli.text(end.get("result")).strip()
        form = end.get("structured_output")
        return Said(
            ok=ok,
            # A model that answered in words although a form was asked for may have filled it in there.
            text=json.dumps(form)
            if isinstance(form, dict)
            else cli.text(end.get("result"))
            if is_told
            else self.answer,
            trouble=trouble,
            why=why,
            # The id of a session that is not there is no session.
            session="" if trouble is Trouble.SESSION else self.session,
            model=self.model,
            usage=_usage(end) if _tells_usage(end) else self.used_at_least(),
            context=self.context,
            denials=_denials(end),
            retries=self.retries,
            fallbacks=tuple(self.fallbacks),
            retry_after_s=0.0 if ok else self.asked_to_wait(trouble),
            tool_calls=self.tools,
        )

    def reason(self, output: Output) -> tuple[Trouble, str]:
        how = cli.how_it_ended(output)
        if self.end is None or not output.ended or output.signal is not None:
            return self.cut(output, how)
        message, status = self.message(), cli.count(self.end.get("api_error_status"))
        if self.end.get("is_error") is False and self.end.get("subtype") == "success":
            return Trouble.ERROR, f"claude calls it a success and failed: {how}. {cli.last_line(output.stderr)}".strip()
        where = f"HTTP {status}" if status else how
        return self.kind(status, message), f"claude failed ({where}): {message or 'it does not say why'}"

    def cut(self, output: Output, how: str) -> tuple[Trouble, str]:
        if self.is_waiting and self.end is None:
            status = cli.count(self.retry.get("error_status"))
            trouble = cli.trouble_of(status) if status else Trouble.OVERLOADED
            return trouble, f"claude was still repeating a call that had failed (HTTP {status or 'none'}): {how}"
        message = cli.last_line(output.stderr)
        trouble = _by_message(message) if output.ended and output.signal is None else Trouble.NONE
        what = "ended without its closing event" if self.end is None else "was ended"
        return trouble or Trouble.CUT, f"claude {what}: {how}. {message}".strip()

    def message(self) -> str:
        """What the closing event says about a failure."""
        end = cli.mapping(self.end)
        errors = end.get("errors")
        listed = "; ".join(filter(None, (cli.short(each) for each in errors[:5]))) if isinstance(errors, list) else ""
        return cli.short(end.get("result")) or cli.short(listed) or cli.short(end.get("subtype"), cli.NAME_CHARS)

    def kind(self, status: int, message: str) -> Trouble:
        end = cli.mapping(self.end)
        if cli.text(end.get("subtype")) in LIMITS:
            return Trouble.LIMIT
        if self.is_refused or end.get("stop_reason") == "refusal":
            return Trouble.REFUSED
        if trouble := _by_message(message):
            return trouble
        if cli.text(end.get("terminal_reason")).startswith("aborted"):
            return Trouble.CUT
        trouble = cli.trouble_of(status, message)
        return Trouble.OVERLOADED if trouble is Trouble.ERROR and UNREACHABLE.search(message) else trouble

    def asked_to_wait(self, trouble: Trouble) -> float:
        """Seconds, where the pause before the last try was longer than its own would be."""
        if trouble not in (Trouble.RATE_LIMITED, Trouble.OVERLOADED):
            return 0.0
        delay = cli.amount(self.retry.get("retry_delay_ms"))
        return delay / 1000 if delay > BACKOFF_MS * 2.0 ** min(20, cli.count(self.retry.get("attempt")) - 1) else 0.0

    def used_at_least(self) -> Usage | None:
        used = NOTHING_USED
        for each in self.calls.values():
            used = used.plus(each)
        return used if self.calls else None


def _by_message(message: str) -> Trouble:
    return next((trouble for pattern, trouble in MESSAGES if pattern.search(message)), Trouble.NONE)


OF_MODEL = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
OF_CALL = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def _tells_usage(end: Mapping[str, Any]) -> bool:
    return any(isinstance(end.get(key), dict) for key in ("usage", "model_usage_since_last_result"))


def _usage(end: Mapping[str, Any]) -> Usage | None:
    """Of this run. `modelUsage` and `total_cost_usd` are about the whole session in versions that tell the first."""
    since = end.get("model_usage_since_last_result")
    if not isinstance(since, dict):
        used = _usage_of_call(end.get("usage"))
        return used and replace(used, cost_microusd=cli.told_microusd(end.get("total_cost_usd")))
    used = NOTHING_USED
    by_model = [cli.mapping(each) for each in since.values()]
    for each in by_model:
        known = _counted(each, OF_MODEL, each.get("thinkingTokens"))
        if known is None:
            return None
        used = used.plus(known)
    costs = [cli.told_microusd(each.get("costUSD")) for each in by_model]
    # A cost of some of the models is not that of the run.
    return replace(used, cost_microusd=sum(filter(None, costs)) if costs and None not in costs else None)


def _usage_of_call(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    return _counted(value, OF_CALL, cli.mapping(value.get("output_tokens_details")).get("thinking_tokens"))


def _counted(told: Mapping[str, Any], names: tuple[str, ...], thoughts: object) -> Usage | None:
    """What is told under these names; None if that is nonsense."""
    counts = cli.counts(told, *names)
    if counts is None:
        return None
    read, out, cached, written = counts
    return Usage(read, out, cached, written, min(out, cli.count(thoughts)))


def _denials(end: Mapping[str, Any]) -> tuple[str, ...]:
    denied = end.get("permission_denials")
    names = [cli.mapping(each).get("tool_name") for each in denied] if isinstance(denied, list) else []
    return tuple(cli.short(name, cli.NAME_CHARS) or "a tool" for name in names)
