"""The backend `opencode`: OpenCode without its screen, over any API, its events read line by line.

Its settings come from us alone. A repository that brings OpenCode plugins of its own is refused: no setting keeps
the program from running them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends import cli_parts as cli
from orchestrator.adapters.backends.base import Capabilities, Launch, Order, Output, Standing
from orchestrator.core.said import NOTHING_USED, Said, Trouble, Usage
from orchestrator.errors import InvalidFileError

KEY = "OPENAI_API_KEY"
LOGINS = (".local/share/opencode/auth.json",)
LOG_IN = "run `opencode auth login`"
INSTALL = "Install it with `npm install -g opencode-ai`, or name it in `program`."
USED = ("program", "provider", "key_env", "base_url", "login", "args", "env", "pass_env")
REFUSED = {"max_turns": "OpenCode cannot bound its turns: take `max_turns` out; the time limit of a run holds."}
PROVIDERS = {
    "chat": ("orc", "@ai-sdk/openai-compatible", "/v1"),
    "anthropic": ("anthropic", "@ai-sdk/anthropic", "/v1"),
    "responses": ("openai", "@ai-sdk/openai", "/v1"),
    "gemini": ("google", "@ai-sdk/google", "/v1beta"),
}
"""By `provider`: its id there, the package that comes with it, and the end of its base URL."""
CHAT_URL = "https://api.openai.com"
"""Where `chat` is without a `base_url`: its package knows no vendor."""
PLUGINS_CODE = 77
# In some versions, OPENCODE_DISABLE_PROJECT_CONFIG and OPENCODE_PURE do not keep it from importing these.
NO_PLUGINS = f"""
refuse() {{
  echo "the repository brings OpenCode plugins ($1), which would run inside the agent" >&2
  exit {PLUGINS_CODE}
}}
for d in .opencode/plugin .opencode/plugins; do
  if [ -e "$d" ] || [ -L "$d" ]; then refuse "$d"; fi
done
for f in opencode.json opencode.jsonc .opencode/opencode.json .opencode/opencode.jsonc; do
  if [ -e "$f" ] || [ -L "$f" ]; then
    [ -f "$f" ] || refuse "$f"
    grep -qaE 'plugin|\\\\u|\\{{(file|env):' "$f"; [ $? -eq 1 ] || refuse "$f"
  fi
done
exec "$@"
"""
NOTE = "The project's own instructions, if it has any, are in AGENTS.md of your folder: read them first."
SWITCHES = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
    "OPENCODE_PURE": "1",
}
REJECTED = re.compile(r"rejected permission|permission.{0,40}(denied|rejected)|prevents you from using", re.I)
SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
REASONS = {
    "length": (Trouble.LIMIT, "the answer was cut at the limit of tokens"),
    "content-filter": (Trouble.REFUSED, "a filter of the service stopped the answer"),
}
ERRORS = {
    "ContextOverflowError": Trouble.REQUEST,
    "ContentFilterError": Trouble.REFUSED,
    "MessageOutputLengthError": Trouble.LIMIT,
    "ProviderAuthError": Trouble.AUTH,
    "MessageAbortedError": Trouble.CUT,
}


@dataclass(frozen=True, slots=True)
class OpencodeBackend:
    """Settings: `program`, `provider`, `model`, `key_env`, `base_url`, `login`, `args`, `env`, `pass_env`.

    With `login`, `model` is named as OpenCode does: `provider/model`.
    """

    name: str = "opencode"
    seen: str = "1.18.33"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            system_prompt="file", resume="same folder", system_on_resume=True, usage="run", cost=True, note=NOTE
        )
    )

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if the program and the key are there, else what is missing."""
        return _wrong(settings) or cli.what_is_missing(settings, self.name, path=path, install=INSTALL, usual_key=KEY)

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """Its key, or the login that it keeps."""
        return cli.standing_of(settings, home, key=KEY, logins=LOGINS, log_in=LOG_IN)

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """The CLI, behind a look for plugins in the tree. Raises InvalidFileError."""
        cli.require_right(_wrong(settings), self.name)
        options = ["--format", "json", "--title", "orc", "--dir", "."]
        options += [f"--session={order.resume}"] if order.resume else []
        argv = ("/bin/sh", "-c", NO_PLUGINS, "sh", settings.get("program") or self.name, "run", *options)
        config = json.dumps(_config(settings, order))
        own = {**SWITCHES, **_places(order, login=bool(settings.get("login"))), "OPENCODE_CONFIG_CONTENT": config}
        return cli.launch_of(settings, argv, key=cli.key_of(settings, KEY), own=own)

    def read(self, output: Output) -> Said | None:
        """What it said: the last answer, the steps added up, and why it ended."""
        return cli.read_events(_Told(), output)


def _wrong(settings: Mapping[str, Any]) -> str:
    if wrong := cli.settings_problem(settings, "opencode", used=USED, refused=REFUSED):
        return wrong
    if (settings.get("provider") or "chat") not in PROVIDERS:
        return f"`provider` must be one of {', '.join(PROVIDERS)}."
    return ""


def _places(order: Order, *, login: bool) -> dict[str, str]:
    """Where it keeps its sessions. Two first runs at once in one folder fail: reviews have their own."""
    if login:
        home = cli.need_home(order, "opencode")
        return {"HOME": str(home), "XDG_DATA_HOME": str(home / ".local" / "share")}
    data = {"XDG_DATA_HOME": str(order.state / ("review" if order.read_only else "work"))}
    # Skills of the tree are words of the author in the reviewer's system prompt.
    return {**data, "OPENCODE_DISABLE_EXTERNAL_SKILLS": "1"} if order.read_only else data


def _config(settings: Mapping[str, Any], order: Order) -> dict[str, Any]:
    model = cli.model_of(settings, order)
    config: dict[str, Any] = {
        "autoupdate": False,
        "share": "disabled",
        "snapshot": False,
        "instructions": [str(order.system)] if order.system else [],
        # Its `read` puts the AGENTS.md of a file's folder beside the file, and no switch stops that; bash reads too.
        "permission": {"*": "allow", "edit": "deny", "read": "deny"} if order.read_only else {"*": "allow"},
    }
    if settings.get("login"):
        return {**config, "model": model, "small_model": model} if model else config
    if not model:
        raise InvalidFileError("OpenCode needs a model", key="opencode.model", hint="Name one in `model`.")
    kind = settings.get("provider") or "chat"
    id_, package, end = PROVIDERS[kind]
    url = str(settings.get("base_url") or (CHAT_URL if kind == "chat" else "")).rstrip("/")
    options = {"apiKey": f"{{env:{settings.get('key_env') or KEY}}}", **({"baseURL": url + end} if url else {})}
    provider = {"npm": package, "name": id_, "options": options, "models": {model: {"name": model, "tool_call": True}}}
    return {
        **config,
        "model": f"{id_}/{model}",
        "small_model": f"{id_}/{model}",
        "enabled_providers": [id_],
        "provider": {id_: provider},
    }


@dataclass(slots=True)
class _Told:
    """What the events say together."""

    session: str = ""
    answer: str = ""
    usage: Usage | None = None
    is_counted: bool = True
    """No step has told nonsense of what it used."""
    context: int = 0
    cost: float | None = 0.0
    """US dollars; None once a step has told nonsense."""
    reason: str = ""
    """Why the last step finished; '' while one is open."""
    error: Mapping[str, Any] | None = None
    denials: list[str] = field(default_factory=list)
    rejected: bool = False
    """Whether the last tool call was."""
    started: set[str] = field(default_factory=set)
    retries: int = 0
    tools: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        part = cli.mapping(event.get("part"))
        self.session = cli.session_of(event.get("sessionID")) or self.session
        match event.get("type"):
            case "step_start":
                message = cli.text(part.get("messageID"))
                # The same message begun once more is a call that was repeated.
                self.retries += bool(message) and message in self.started
                self.started.add(message)
                self.reason, self.rejected = "", False
            case "text":
                answer = cli.text(part.get("text"))
                self.answer = answer if answer.strip() else self.answer
            case "tool_use":
                self.take_tool(part)
            case "step_finish":
                self.reason = cli.short(part.get("reason"), cli.NAME_CHARS)
                self.take_usage(part)
            case "error":
                self.error = cli.mapping(event.get("error"))

    def take_tool(self, part: Mapping[str, Any]) -> None:
        state = cli.mapping(part.get("state"))
        name = cli.short(part.get("tool"), cli.NAME_CHARS)
        self.tools += 1
        self.rejected = state.get("status") == "error" and bool(REJECTED.search(cli.text(state.get("error"))[:1000]))
        if self.rejected:
            self.denials.append(name or "a tool")
        elif name == "invalid" and "unavailable tool" in cli.text(cli.mapping(state.get("input")).get("error")):
            self.denials.append(cli.short(cli.mapping(state.get("input")).get("tool"), cli.NAME_CHARS) or "a tool")

    def take_usage(self, part: Mapping[str, Any]) -> None:
        tokens = cli.mapping(part.get("tokens"))
        own = cli.counts(tokens, "input", "output", "reasoning")
        cache = cli.counts(cli.mapping(tokens.get("cache")), "read", "write")
        cost = 0.0 if part.get("cost") is None else cli.told_amount(part["cost"])
        self.cost = self.cost + cost if self.cost is not None and cost is not None else None
        if own is None or cache is None:
            self.is_counted = False
            return
        (read, out, reasoning), (cached, written) = own, cache
        used = Usage(read, out + reasoning, cached, written, reasoning)
        self.usage, self.context = (self.usage or NOTHING_USED).plus(used), used.total

    def said(self, output: Output) -> Said:
        ok = cli.ended_well(output) and self.reason == "stop" and self.error is None
        trouble, why = (Trouble.NONE, "") if ok else self.why(output)
        # It tells 0 for every model that it has no price of.
        cost = cli.told_microusd(self.cost) if self.cost else None
        headers = cli.mapping(cli.mapping(cli.mapping(self.error).get("data")).get("responseHeaders"))
        wait = cli.text(headers.get("retry-after"))
        return Said(
            ok=ok,
            text=self.answer,
            trouble=trouble,
            why=why,
            session=self.session,
            usage=replace(self.usage, cost_microusd=cost) if self.usage and self.is_counted else None,
            context=self.context,
            denials=tuple(self.denials),
            retries=self.retries,
            retry_after_s=cli.amount(float(wait)) if SECONDS.fullmatch(wait) else 0.0,
            tool_calls=self.tools,
        )

    def why(self, output: Output) -> tuple[Trouble, str]:
        end = cli.how_it_ended(output)
        if self.error is not None:
            return _failure(self.error)
        last = cli.last_line(output.stderr)
        if output.ended and output.exit and not self.started:
            known = {PLUGINS_CODE: Trouble.ERROR}
            trouble = (
                Trouble.SESSION if "Session not found" in last else known.get(output.exit, cli.trouble_of(0, last))
            )
            return trouble, f"opencode did not begin ({end}): {last or 'it does not say why'}"
        if output.ended and self.rejected:
            return Trouble.DENIED, f"opencode stopped because {self.denials[-1]} was denied"
        if output.ended and self.reason in REASONS:
            trouble, why = REASONS[self.reason]
            return trouble, f"opencode: {why}"
        return Trouble.CUT, f"opencode ended in the middle of its work: {end}. {last}".strip()


def _failure(error: Mapping[str, Any]) -> tuple[Trouble, str]:
    name, data = cli.short(error.get("name"), cli.NAME_CHARS), cli.mapping(error.get("data"))
    status = cli.count(data.get("statusCode"))
    what = cli.short(data.get("message")) or "it does not say why"
    trouble = ERRORS.get(name) or cli.trouble_of(status, what)
    return trouble, f"opencode failed ({f'HTTP {status}' if status else name or 'an error'}): {what}"
