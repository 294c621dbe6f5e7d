"""A Messages service on loopback that answers from a script: no key, no network, no model.

It knows what `claude -p` needs of the protocol and nothing more. A request that no turn of the script fits is refused
with a status that the client does not repeat, and is kept in `unanswered`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NO_TURN = 403
USAGE = {"input_tokens": 1, "output_tokens": 1}


@dataclass(frozen=True)
class Text:
    """The model says something and stops."""

    text: str


@dataclass(frozen=True)
class Call:
    """The model calls a tool."""

    tool: str
    arguments: dict[str, Any]


Reply = Text | Call


@dataclass(frozen=True)
class Asked:
    """One request. `after` is the tool whose result it brings, '' if it brings none."""

    key: str
    model: str
    offered: tuple[str, ...]
    prompt: str
    after: str
    result: str
    is_error: bool

    @classmethod
    def of(cls, body: dict[str, Any], key: str) -> Asked:
        """The request in a body."""
        said = [(message["role"], block) for message in body["messages"] for block in _blocks(message["content"])]
        prompt = "\n".join(block["text"] for role, block in said if role == "user" and block["type"] == "text")
        calls = {block["id"]: block["name"] for _, block in said if block["type"] == "tool_use"}
        answers = [message for message in body["messages"] if message["role"] == "user"]
        results = [block for block in _blocks(answers[-1]["content"]) if block["type"] == "tool_result"]
        last: dict[str, Any] = results[-1] if results else {}
        return cls(
            key=key,
            model=body["model"],
            offered=tuple(tool["name"] for tool in body.get("tools", [])),
            prompt=prompt,
            after=calls.get(last.get("tool_use_id", ""), ""),
            result="\n".join(block.get("text", "") for block in _blocks(last.get("content", ""))),
            is_error=bool(last.get("is_error", False)),
        )


@dataclass(frozen=True)
class Turn:
    """What is answered when `match` is found in the prompt and the result of the tool `after` has just come back."""

    match: str
    reply: Reply | Callable[[Asked], Reply]
    after: str = ""

    def fits(self, asked: Asked) -> bool:
        """Whether this turn answers the request."""
        return self.after == asked.after and re.search(self.match, asked.prompt, re.M) is not None

    def answer(self, asked: Asked) -> Reply:
        """The reply to a request."""
        return self.reply if isinstance(self.reply, Text | Call) else self.reply(asked)


@dataclass
class FakeAnthropic:
    """The service, as a context. The first turn that fits answers, as often as it is asked."""

    script: Sequence[Turn]
    requests: list[Asked] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)

    def __enter__(self) -> FakeAnthropic:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """What ANTHROPIC_BASE_URL must be."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def reply_to(self, asked: Asked) -> Reply | None:
        """The answer of the script, None if it has none."""
        self.requests.append(asked)
        turn = next((turn for turn in self.script if turn.fits(asked)), None)
        if turn is None:
            self.unanswered.append(f"after {asked.after or 'nothing'}: {asked.prompt[-200:]}")
        return turn.answer(asked) if turn else None


def events_of(reply: Reply, model: str, number: int) -> Iterator[dict[str, Any]]:
    """A reply as the events of a stream."""
    message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": model, "usage": USAGE}
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "stop_sequence": None}}
    block: dict[str, Any] = {"type": "text", "text": ""}
    if isinstance(reply, Text):
        stop, delta = "end_turn", {"type": "text_delta", "text": reply.text}
    else:
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": reply.tool, "input": {}}
        stop, delta = "tool_use", {"type": "input_json_delta", "partial_json": json.dumps(reply.arguments)}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": USAGE}
    yield {"type": "message_stop"}


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _handler_of(fake: FakeAnthropic) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
            if self.path.partition("?")[0] != "/v1/messages" or not body.get("stream"):
                return self._refuse(f"the script knows no {self.path} without a stream")
            reply = fake.reply_to(Asked.of(body, self.headers.get("x-api-key", "")))
            if reply is None:
                return self._refuse(f"no turn fits {fake.unanswered[-1]}")
            events = events_of(reply, body["model"], len(fake.requests))
            stream = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
            return self._send(200, "text/event-stream", stream)

        def do_HEAD(self) -> None:
            self._send(200, "text/plain", "")

        def _refuse(self, why: str) -> None:
            error = {"type": "error", "error": {"type": "permission_error", "message": why}}
            self._send(NO_TURN, "application/json", json.dumps(error))

        def _send(self, status: int, kind: str, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is said: `requests` is the log."""

    return Handler
