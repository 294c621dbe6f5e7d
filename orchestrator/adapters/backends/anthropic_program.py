"""The program of the backend `anthropic`: one conversation with the Messages API in the current folder.

The prompt comes on stdin. What happens is told in JSON lines on stdout, the last of which is of type `end`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.adapters import landlock
from orchestrator.adapters.backends.anthropic_conversation import CACHED, Block, Conversation
from orchestrator.adapters.backends.anthropic_service import CallFailed, Service, open_client, usage_of
from orchestrator.adapters.backends.tree_bounds import bounds_of
from orchestrator.adapters.backends.tree_server import ConfinedTools, NotConfinedError
from orchestrator.adapters.backends.tree_tool_list import ToolResult
from orchestrator.adapters.backends.tree_tools import TreeTools
from orchestrator.adapters.files import ensure_folder
from orchestrator.core.said import NOTHING_USED, Trouble, Usage

if TYPE_CHECKING:
    from anthropic.types import Message

OK = "ok"
ALIVE_SECONDS = 30.0
"""A run that waits says so this often: else it would be taken for one that hangs."""
CUT_ANSWERS = 3
"""How often in a row an answer that was cut at its limit is gone on with."""
TOLD_CHARS = 500

GO_ON = "Your answer was cut off because it was too long. Go on exactly where it stopped, and repeat nothing."
SAY_SOMETHING = "Your answer was empty. Go on, or if you are done, answer with what was asked for."
NOT_RUN = "This call was cut off because the answer was too long, and was not run. Do it in smaller steps."

Tools = TreeTools | ConfinedTools

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


@dataclass(slots=True)
class Teller:
    """Writes the events."""

    _last: float = field(default_factory=time.monotonic)

    def tell(self, kind: str, **facts: Any) -> None:
        """One event, one line."""
        self._last = time.monotonic()
        print(json.dumps({"type": kind, **facts}), flush=True)

    def alive(self) -> None:
        """Say that something goes on, if nothing was said for a while."""
        if time.monotonic() - self._last > ALIVE_SECONDS:
            self.tell("alive")


@dataclass(frozen=True, slots=True)
class Ending:
    """How the conversation ended."""

    status: str
    why: str = ""
    stop_reason: str = ""
    retry_after_s: float = 0.0
    goes_on: bool = True
    """Whether the session can be gone on with."""


@dataclass(slots=True)
class Talk:
    """One run: asks, does what the model calls for, asks again."""

    service: Service
    tools: Tools
    conversation: Conversation
    teller: Teller
    max_turns: int
    most_tokens: int
    """Of the whole run, each counted once; 0 for no limit."""
    text: str = ""
    model: str = ""
    tool_calls: int = 0
    cut: int = 0
    """Answers in a row that were cut off."""

    def run(self, prompt: str) -> Ending:
        """Until the model is done, or cannot go on."""
        self.conversation.add("user", [{"type": "text", "text": prompt}])
        turns = 0
        ending = None
        while ending is None:
            if self.max_turns and turns >= self.max_turns:
                return Ending(Trouble.LIMIT, f"It was not done after {turns} turns.", "max_turns")
            if self.most_tokens and self.service.usage.total >= self.most_tokens:
                told = f"It was not done after {self.service.usage.total} tokens."
                return Ending(Trouble.LIMIT, told, "max_run_tokens")
            try:
                message = self.service.ask(self.conversation.marked())
            except CallFailed as failure:
                # What the service refuses as it is, it will refuse again with more added to it.
                goes_on = failure.status not in (400, 413)
                return Ending(failure.trouble, failure.why, "", failure.wait_s, goes_on)
            turns += 1
            self._tell_turn(message)
            ending = self._take(message)
        return ending

    def _take(self, message: Message) -> Ending | None:
        """Do what an answer asks for and add both to the conversation. None if the model is to go on."""
        stop, self.model = str(message.stop_reason), message.model
        if stop == "refusal":
            return Ending(Trouble.REFUSED, _refusal(message), stop)
        blocks = blocks_to_keep(message)
        said = "".join(block["text"] for block in blocks if block["type"] == "text")
        self.text = self.text + said if self.cut else said
        if stop == "model_context_window_exceeded":
            return Ending(Trouble.LIMIT, "The conversation fills the model's context.", stop, goes_on=False)
        calls = [block for block in blocks if block["type"] == "tool_use"]
        is_cut = stop in ("max_tokens", "pause_turn") or not (calls or self.text.strip())
        self.cut = self.cut + 1 if is_cut else 0
        if self.cut > CUT_ANSWERS:
            return Ending(Trouble.LIMIT, f"{self.cut} answers in a row were cut off, or empty.", stop)
        self.conversation.add("assistant", blocks)
        if calls:
            half = blocks[-1] if stop == "max_tokens" else None  # Its end may be missing.
            self.conversation.add("user", [self._run_call(call, is_half=call is half) for call in calls])
        elif is_cut:
            asked = GO_ON if stop == "max_tokens" else SAY_SOMETHING
            self.conversation.add("user", [{"type": "text", "text": asked}])
        self.conversation.save()
        self.teller.tell("saved", session=self.conversation.session)
        return None if calls or is_cut else Ending(OK, "", stop)

    def _tell_turn(self, message: Message) -> None:
        said = "".join(block.text for block in message.content if block.type == "text")
        self.teller.tell(
            "turn",
            model=message.model,
            stop_reason=message.stop_reason,
            usage=asdict(usage_of(message.usage)),
            text=said[:TOLD_CHARS],
        )

    def _run_call(self, call: Block, *, is_half: bool) -> Block:
        began = time.monotonic()
        arguments = call["input"]
        result = ToolResult(NOT_RUN, is_error=True) if is_half else self.tools.run(call["name"], arguments)
        self.tool_calls += 1
        about = next((str(arguments[key]) for key in ("command", "path", "pattern") if key in arguments), "")
        self.teller.tell(
            "tool",
            name=call["name"],
            about=about[:TOLD_CHARS],
            error=result.text[:TOLD_CHARS] if result.is_error else "",
            denied=result.is_denied,
            seconds=round(time.monotonic() - began, 3),
        )
        content = result.text or "(nothing)"
        return {"type": "tool_result", "tool_use_id": call["id"], "content": content, "is_error": result.is_error}


def blocks_to_keep(message: Message) -> list[Block]:
    """What of an answer can be sent back: without empty texts, unfinished thoughts, and what the answer alone has."""
    kept: list[Block] = []
    for block in message.content:
        if block.type == "text" and block.text:
            kept.append({"type": "text", "text": block.text})
        elif block.type == "tool_use":
            given = block.input if isinstance(block.input, dict) else {}
            kept.append({"type": "tool_use", "id": block.id, "name": block.name, "input": given})
        elif block.type == "thinking" and block.signature:
            kept.append({"type": "thinking", "thinking": block.thinking, "signature": block.signature})
        elif block.type == "redacted_thinking":
            kept.append({"type": "redacted_thinking", "data": block.data})
    # Thoughts alone are no answer, and are refused when sent back.
    return kept if any(block["type"] in ("text", "tool_use") for block in kept) else []


def _refusal(message: Message) -> str:
    details = message.stop_details
    told = [str(part) for part in (details.category, details.explanation) if part] if details else []
    return "The model refuses the task" + (f": {', '.join(told)}" if told else ".")


# --- the program ---


def main(argv: Sequence[str]) -> int:
    """Hold the conversation. 0 if it ended well, else 1; why is in the event `end`."""
    options = _parse(argv)
    teller = Teller()
    key = os.environ.get(options.key_env, "").strip()
    prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    conversation = Conversation(Path(options.state) / f"{_session_name(options)}.json", options.model)
    wrong = _why_not(options, key, prompt, conversation)
    if wrong is not None:
        return _end(teller, conversation, wrong)
    tools: Tools | None = None
    try:
        tools = _begin_tools(options, environment_without(os.environ, options.key_env), teller)
        service = Service(
            open_client(key, stall_s=options.stall_s),
            _request(options, tools),
            teller.tell,
            teller.alive,
            tries=options.tries,
            wait_s=options.wait_s,
        )
        sandbox = _sandbox(options, tools)
        talk = Talk(service, tools, conversation, teller, options.max_turns, options.max_run_tokens)
        about = {"session": conversation.file.stem, "model": options.model, "resumed": bool(options.resume)}
        teller.tell("start", **about, sandbox=sandbox, tools=[tool.name for tool in tools.tools()])
        return _end(teller, conversation, _run(talk, prompt), talk)
    except NotConfinedError as error:
        why = f"The tools could not be confined: {error}. `args: [--confine=no]` in orc.yaml does without."
        return _end(teller, conversation, Ending(Trouble.ERROR, why))
    finally:
        if isinstance(tools, ConfinedTools):
            tools.close()


def _run(talk: Talk, prompt: str) -> Ending:
    try:
        return talk.run(prompt)
    except Exception as error:
        traceback.print_exc()
        return Ending(Trouble.ERROR, f"The program failed: {type(error).__name__}: {error}")


def _begin_tools(options: argparse.Namespace, environment: Mapping[str, str], teller: Teller) -> Tools:
    """The tools, held to the tree where the kernel can; they get ready while the package is loaded."""
    tree = Path.cwd()
    if options.confine == "no" or landlock.why_not():
        return TreeTools(tree, environment, options.read_only, teller.alive, options.skills)
    added = {"may_read": options.may_read, "may_write": options.may_write}
    try:
        ensure_folder(Path(options.state))  # What is not there cannot be seen to be out of reach.
        path = environment.get("PATH", "")
        bounds = bounds_of(tree, Path(options.run), state=Path(options.state), path=path, **added)
    except OSError as error:
        raise NotConfinedError(str(error)) from error
    tools = ConfinedTools(tree, environment, bounds, options.read_only, teller.alive, options.skills)
    tools.begin()
    return tools


def _sandbox(options: argparse.Namespace, tools: Tools) -> str:
    """What holds the tools to the tree, in a word. Raises NotConfinedError."""
    if isinstance(tools, ConfinedTools):
        tools.confirm()
        return f"landlock {tools.version}"
    return f"none: {'switched off' if options.confine == 'no' else landlock.why_not()}"


def _end(teller: Teller, conversation: Conversation, ending: Ending, talk: Talk | None = None) -> int:
    usage: Usage = talk.service.usage if talk else NOTHING_USED
    teller.tell(
        "end",
        status=str(ending.status),
        why=ending.why,
        stop_reason=ending.stop_reason,
        text=talk.text if talk else "",
        session=conversation.session if ending.goes_on else "",
        model=talk.model if talk else "",
        usage=asdict(usage),
        retry_after_s=ending.retry_after_s,
        retries=talk.service.retries if talk else 0,
        tool_calls=talk.tool_calls if talk else 0,
    )
    return 0 if ending.status == OK else 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="orc-anthropic", allow_abbrev=False)
    parser.add_argument("--state", required=True, help="the folder with the sessions")
    parser.add_argument("--run", required=True, help="the folder of the run, with HOME and TMPDIR")
    parser.add_argument("--model", default="")
    parser.add_argument("--system", default="", help="the file with the system prompt")
    parser.add_argument("--session", default="", help="the id of the new session")
    parser.add_argument("--resume", default="", help="the session to go on with")
    parser.add_argument("--read-only", action="store_true", help="without the tools that write")
    parser.add_argument("--skills", type=Path, help="a folder outside of this one whose files may be read")
    parser.add_argument("--confine", choices=("yes", "no"), default="yes", help="hold the tools to the tree")
    parser.add_argument("--may-read", type=Path, action="append", default=[], help="a folder outside, for commands")
    parser.add_argument("--may-write", type=Path, action="append", default=[], help="the same, to write in")
    parser.add_argument("--key-env", default="ANTHROPIC_API_KEY", help="the variable with the key")
    parser.add_argument("--max-turns", type=int, default=0, help="answers of the model; 0 for no limit")
    parser.add_argument("--max-tokens", type=int, default=32_000, help="of one answer")
    parser.add_argument("--max-run-tokens", type=int, default=0, help="of all answers and prompts; 0 for no limit")
    parser.add_argument("--tries", type=_at_least(1), default=6, help="requests for one answer")
    parser.add_argument("--wait-s", type=float, default=60.0, help="the longest wait between two of them")
    parser.add_argument("--stall-s", type=float, default=300.0, help="how long the service may be silent")
    return parser.parse_args(list(argv))


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        return max(least, int(text))

    return number


def _session_name(options: argparse.Namespace) -> str:
    given = options.resume or options.session
    return given if _SESSION.fullmatch(given) else str(uuid.uuid4())


def _why_not(options: argparse.Namespace, key: str, prompt: str, conversation: Conversation) -> Ending | None:
    """Why there is nothing to begin; None if there is."""
    if not key:
        return Ending(Trouble.AUTH, f"The environment variable {options.key_env}, where the key is to be, is not set.")
    if not options.model:
        return Ending(Trouble.REQUEST, "No model is named: give one in the soul, or as `model` of the backend.")
    if not prompt.strip():
        return Ending(Trouble.REQUEST, "The prompt is empty.")
    if options.resume:
        wrong = conversation.load()
        if wrong:
            return Ending(Trouble.SESSION, wrong)
    return None


def _request(options: argparse.Namespace, tools: Tools) -> dict[str, Any]:
    """What all requests of a run have in common, and what the service therefore need not read twice."""
    offered: list[Block] = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in tools.tools()
    ]
    offered[-1]["cache_control"] = CACHED
    request: dict[str, Any] = {"model": options.model, "max_tokens": options.max_tokens, "tools": offered}
    system = Path(options.system).read_bytes().decode("utf-8", "replace").strip() if options.system else ""
    if system:
        request["system"] = [{"type": "text", "text": system, "cache_control": CACHED}]
    return request


def environment_without(environment: Mapping[str, str], key_name: str) -> dict[str, str]:
    """What commands may see: nothing of the API and not its key under any name; and no pager that waits for keys."""
    key = environment[key_name]
    seen = {name: text for name, text in environment.items() if not name.startswith("ANTHROPIC_") and text != key}
    return {**seen, "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}
