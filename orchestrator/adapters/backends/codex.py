"""The backend `codex`: OpenAI's Codex CLI without its screen, its events read line by line.

Its settings come from us alone and its sessions lie below the agent's state folder. A repository's own settings, hooks
and tool servers are not read, for no folder is ever trusted. It is the only one whose commands run in a sandbox: they
write to the tree, the run's folder and the temporary folders; in a review, not to the tree. A session that goes on
keeps its first system prompt.
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
from orchestrator.errors import InvalidFileError

KEY = "CODEX_API_KEY"
LOGINS = (".codex/auth.json",)
LOG_IN = "run `codex login`"
INSTALL = "Install it with `npm install -g @openai/codex`, or name it in `program`."
USED = ("program", "key_env", "base_url", "login", "args", "env", "pass_env")
REFUSED = {"max_turns": "Codex cannot bound its turns: take `max_turns` out; the time limit of a run holds."}
VENDOR = "https://api.openai.com"
PROVIDER = "orc"
ARGUMENT_BYTES = 100_000
RETRIES = 2
"""Its own are thirty calls; the engine tries again anyway."""
FAST = ("analytics.enabled=false", "check_for_update_on_startup=false")
"""The first costs five seconds at the end where there is no network."""
THREAD = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""It takes any other word for the name of a thread, and begins a new one without a word."""
TOOLS = ("command_execution", "file_change", "mcp_tool_call", "collab_tool_call", "web_search")
STATUS = re.compile(r"status:? (\d{3})\b")
RETRY = re.compile(r"\s*Reconnecting\.\.\.")
REJECTED = re.compile(r"^.{0,80}codex_core::tools::router: error=(.{0,300}?)rejected(?:: | by user approval)", re.M)
GONE = re.compile(r"no rollout found|thread/resume failed|no (saved )?(session|thread|conversation)", re.I)
MESSAGES = (
    (re.compile(r"quota exceeded|usage limit|rate limit|too many requests", re.I), Trouble.RATE_LIMITED),
    (re.compile(r"context window", re.I), Trouble.REQUEST),
    (re.compile(r"usage policy|flagged|invalid_prompt|content.?(policy|filter)", re.I), Trouble.REFUSED),
    (re.compile(r"missing environment variable|not logged in|log ?in again|refresh token|api key", re.I), Trouble.AUTH),
)
DOWN = re.compile(
    r"high demand|overloaded|at capacity|stream disconnected|connection failed|error sending|network|timed? ?out", re.I
)
AGAIN = re.compile(r"try again in ((?:\d{1,9}(?:\.\d{1,9})?\s?[a-z]{1,7}[\s,]*)+)", re.I)
PART = re.compile(r"(\d+(?:\.\d+)?)\s?([a-z]+)", re.I)
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class CodexBackend:
    """Settings: `program`, `key_env`, `base_url`, `login`, `model`, `args`, `env`, `pass_env`.

    Where its sandbox cannot start, `args: [--dangerously-bypass-approvals-and-sandbox]` goes without.
    """

    name: str = "codex"
    seen: str = "0.169.0"
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            system_prompt="file", resume="anywhere", usage="session", structured=True, family="openai"
        )
    )

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if the program and its key are there, else what is missing."""
        return _wrong(settings) or cli.what_is_missing(settings, self.name, path=path, install=INSTALL, usual_key=KEY)

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """Its key, or the login that it keeps."""
        return cli.standing_of(settings, home, key=KEY, logins=LOGINS, log_in=LOG_IN)

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """The CLI with its prompt on stdin. Raises InvalidFileError."""
        cli.require_right(_wrong(settings), self.name)
        key = cli.key_of(settings, KEY)
        soul = f"developer_instructions={_toml(order.system_text)}" if order.system_text else ""
        argv = (settings.get("program") or self.name, *_options(settings, order, key))
        argv += _as_argument(soul) if soul and not key else ()
        return cli.launch_of(
            settings,
            argv,
            behind=(*(("resume", order.resume) if order.resume else ()), "-"),
            key=key,
            own={"CODEX_HOME": str(order.state)} if key else {"HOME": str(cli.need_home(order, self.name))},
            # An argument has at most 128 KiB, a file has not. An agent has one run at a time, so its configuration is
            # that of the run; without a soul it is emptied, or that of an earlier run would count.
            files={**({str(order.state / "config.toml"): f"{soul}\n"} if key else {}), **_answer_file(order)},
        )

    def read(self, output: Output) -> Said | None:
        """What it said: the last answer, and why it ended."""
        return cli.read_events(_Told(), output)


def _wrong(settings: Mapping[str, Any]) -> str:
    return cli.settings_problem(settings, "codex", used=USED, refused=REFUSED)


def _options(settings: Mapping[str, Any], order: Order, key: str) -> tuple[str, ...]:
    model = cli.model_of(settings, order)
    options = ["exec", "--json", "--skip-git-repo-check", *(("-m", model) if model else ())]
    options += [word for path in _answer_file(order) for word in ("--output-schema", path)]
    values = [*FAST, *(_sandbox(order)), *_provider(settings, key)]
    # A login shell would lose a PATH that was set for the run.
    values += ["allow_login_shell=false", "shell_environment_policy.ignore_default_excludes=false"]
    # A review is not to be told by the author what to think, in instructions or by a skill.
    values += ["project_doc_max_bytes=0", "skills.include_instructions=false"] if order.read_only else []
    return (*options, *(word for value in values for word in ("-c", value)))


def _answer_file(order: Order) -> dict[str, str]:
    return {str(order.run_folder / "answer.schema.json"): order.answer_schema} if order.answer_schema else {}


def _sandbox(order: Order) -> tuple[str, ...]:
    """What its commands may write to, and that they may use the network, without which many tests cannot run."""
    tree, run = str(order.tree), str(order.run_folder)
    if order.read_only:
        # Not `read-only`, in which a command has not even a temporary folder.
        may = {":root": "read", ":tmpdir": "write", ":slash_tmp": "write", run: "write", tree: "read"}
        files = ",".join(f"{_toml(path)}={_toml(access)}" for path, access in may.items())
        permissions = (f"permissions.orc.filesystem={{{files}}}", "permissions.orc.network.enabled=true")
        return ('default_permissions="orc"', *permissions)
    # The tree's repository lies in it, and is read-only unless it is named itself: `git commit` would fail.
    roots = f"[{_toml(f'{tree}/.git')},{_toml(run)}]"
    return ('sandbox_mode="workspace-write"', f"sandbox_workspace_write={{writable_roots={roots},network_access=true}}")


def _provider(settings: Mapping[str, Any], key: str) -> tuple[str, ...]:
    base = str(settings.get("base_url") or "").rstrip("/")
    if not key:
        return (f"openai_base_url={_toml(f'{base}/v1')}",) if base else ()
    # The one that is built in tries a WebSocket first, and for seconds where there is none.
    values = {"name": PROVIDER, "base_url": f"{base or VENDOR}/v1", "env_key": key, "wire_api": "responses"}
    texts = ",".join(f"{name}={_toml(value)}" for name, value in values.items())
    table = f"{{{texts},request_max_retries={RETRIES},stream_max_retries={RETRIES}}}"
    # Its commands need no key; names that look like one are taken out anyway.
    hidden = f"shell_environment_policy.exclude=[{_toml(key)}]"
    return (f"model_provider={_toml(PROVIDER)}", f"model_providers.{PROVIDER}={table}", hidden)


def _as_argument(soul: str) -> tuple[str, ...]:
    """For a person's own login, whose configuration is not ours to write."""
    if len(soul.encode("utf-8", "replace")) > ARGUMENT_BYTES:
        raise InvalidFileError(f"the system prompt is longer than the {ARGUMENT_BYTES} bytes that fit beside a login")
    return ("-c", soul)


def _toml(value: str) -> str:
    """A string of TOML: JSON's form, with the one control character escaped that JSON leaves as it is."""
    return json.dumps(cli.text(value), ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(slots=True)
class _Told:
    """What the events say together."""

    session: str = ""
    answer: str = ""
    end: Mapping[str, Any] | None = None
    """How the last turn ended."""
    error: str = ""
    waiting: str = ""
    """Why a call is being repeated, if that is the last thing that happened."""
    retries: int = 0
    tools: int = 0

    def take(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "thread.started":
                thread = event.get("thread_id")
                self.session = thread if isinstance(thread, str) and THREAD.fullmatch(thread) else ""
            case "turn.started":
                self.end = None
            case "turn.completed" | "turn.failed":
                self.end, self.waiting = event, ""
            case "error":
                self.take_error(cli.short(event.get("message")))
            case "item.started":
                self.waiting = ""
            case "item.completed":
                self.take_item(cli.mapping(event.get("item")))

    def take_error(self, message: str) -> None:
        if RETRY.match(message):
            self.retries += 1
            self.waiting = message
        else:
            self.error = message or self.error

    def take_item(self, item: Mapping[str, Any]) -> None:
        self.waiting = ""
        kind = item.get("type")
        if kind == "agent_message":
            said = cli.text(item.get("text"))
            self.answer = said if said.strip() else self.answer
        elif isinstance(kind, str) and kind in TOOLS:
            self.tools += 1

    def said(self, output: Output) -> Said:
        ok = cli.ended_well(output) and cli.mapping(self.end).get("type") == "turn.completed"
        trouble, why = (Trouble.NONE, "") if ok else self.reason(output)
        so_far = _usage(self.end)
        return Said(
            ok=ok,
            text=self.answer,
            trouble=trouble,
            why=why,
            session=self.session,
            usage=so_far and so_far.minus(output.before),
            so_far=so_far,
            denials=_denials(output.stderr),
            retries=self.retries,
            retry_after_s=_delay(why) if trouble in (Trouble.RATE_LIMITED, Trouble.OVERLOADED) else 0.0,
            tool_calls=self.tools,
        )

    def reason(self, output: Output) -> tuple[Trouble, str]:
        how = cli.how_it_ended(output)
        if cli.mapping(self.end).get("type") == "turn.failed":
            whole = cli.text(cli.mapping(cli.mapping(self.end).get("error")).get("message"))
            message = cli.short(whole) or self.error or cli.last_line(output.stderr) or "it does not say why"
            return _trouble(message), f"codex failed: {_inner(whole) or message}"
        is_ours = not output.ended or output.signal is not None
        if is_ours and self.waiting:
            return _trouble(self.waiting), f"codex was still waiting for its service: {how}. {self.waiting}"
        if self.end is not None:
            return (Trouble.CUT if is_ours else Trouble.ERROR), f"codex finished its turn and failed: {how}"
        message = self.error or cli.last_line(output.stderr)
        trouble = Trouble.CUT if is_ours or output.exit == 0 else _at_start(message, begun=bool(self.session))
        return trouble, f"codex ended without its closing event: {how}. {message}".strip()


def _at_start(message: str, *, begun: bool) -> Trouble:
    """The trouble of an end without an event, by its last words; CUT where they tell nothing."""
    if not begun and GONE.search(message):
        return Trouble.SESSION
    trouble = _trouble(message)
    return Trouble.CUT if trouble is Trouble.ERROR else trouble


def _trouble(message: str) -> Trouble:
    status = STATUS.search(message)
    code = int(status.group(1)) if status else 0
    if not code:
        for pattern, trouble in MESSAGES:
            if pattern.search(message):
                return trouble
    if not code and message.startswith("{"):
        return Trouble.REQUEST  # It shows the whole answer of the service for a 400 and for nothing else.
    trouble = cli.trouble_of(code, message)
    return Trouble.OVERLOADED if trouble is Trouble.ERROR and DOWN.search(message) else trouble


def _inner(whole: str) -> str:
    """The message within an answer of the service that is shown whole, '' if it is none."""
    try:
        answer = cli.mapping(json.loads(whole)) if whole.startswith("{") else {}
    except (ValueError, RecursionError):
        return ""
    return cli.short(cli.mapping(answer.get("error")).get("message"))


def _delay(message: str) -> float:
    """Seconds out of `try again in 1.5s`, `6m0s` or `2 days 3 hours`; 0 if it says none."""
    found = AGAIN.search(message)
    total = 0.0
    for number, unit in PART.findall(found.group(1)) if found else ():
        total += float(number) * UNITS.get(unit.lower() if unit.lower() == "ms" else unit[0].lower(), 0)
    return min(total, 10.0**8)


def _denials(stderr: str) -> tuple[str, ...]:
    """A tool call that was refused is no event, only a line on stderr."""
    return tuple("apply_patch" if what.startswith("patch") else "a tool" for what in REJECTED.findall(stderr))


def _usage(end: Mapping[str, Any] | None) -> Usage | None:
    """Over the whole thread. Its input includes what was read from and written to the cache."""
    used = cli.mapping(end).get("usage")
    if not isinstance(used, dict):
        return None
    counts = cli.counts(used, "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_input_tokens")
    if counts is None:
        return None
    read, out, cached, written = counts
    return Usage(
        input=max(0, read - cached - written),
        output=out,
        cache_read=cached,
        cache_write=written,
        reasoning=min(out, cli.count(used.get("reasoning_output_tokens"))),
    )
