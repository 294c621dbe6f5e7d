"""A model service on loopback that answers from a script: no key, no network, no model.

It speaks Anthropic Messages, OpenAI Responses, OpenAI Chat completions and Gemini; the forms are in `fake_dialects`.
In a test: `with FakeModels([{"text": "hello"}]) as fake:`, then `fake.url` and `fake.requests`. By itself:
`python tests/fake_models.py --port 0 --script S --log L`, which prints its port; S is YAML, L gets a JSON line for each
request.

A script is a list of turns. The first turn whose conditions all hold answers; a request that none fits is refused with
a status that clients do not repeat, and is kept in `unanswered`.

Conditions: `api`; regular expressions for `model`, `system`, `match` (the user's newest message) and `match_tool` (the
tool's result that the request ends in); `after_tool` (true, false, or that tool's name); `has_tools` (true or false);
`times` (the turn answers so often; without it, always).

Answers: `text`, `thinking`, `tools` (a list of `name`, `input` and perhaps `namespace`), `usage` (input, output,
cache_read, cache_write, reasoning), `stop`; or `status`, an error with `headers`, `type` and `message`; with
`stream_error: true` it comes at the end of a stream that began well. `delay` and `chunk_delay` (seconds), `cut_after`
(so many events, then the connection is lost), `hang` (never an answer). `{{1}}` or `{{name}}` in an answer's texts is
that group of `match`. In Python, `reply` may be a function that makes the answer from what was asked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import select
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fake_dialects import (
    ANTHROPIC,
    CHAT,
    GEMINI,
    RESPONSES,
    Asked,
    Call,
    Dialect,
    Event,
    Json,
    Refusal,
    Reply,
    Tokens,
)

PATHS = (
    (re.compile(r"/messages$"), ANTHROPIC),
    (re.compile(r"/responses$"), RESPONSES),
    (re.compile(r"/chat/completions$"), CHAT),
    (re.compile(r"/models/(?P<model>[^/:]+):(?P<how>generateContent|streamGenerateContent)$"), GEMINI),
)
COUNTS = (("/messages/count_tokens", "input_tokens"), (":countTokens", "totalTokens"))
CONDITIONS = frozenset({"api", "model", "system", "match", "match_tool", "after_tool", "has_tools", "times"})
ANSWERS = frozenset(
    {"text", "thinking", "tools", "usage", "stop", "status", "headers", "type", "message", "stream_error"}
    | {"delay", "chunk_delay", "cut_after", "hang", "reply"}
)
KEY_HEADERS = ("x-api-key", "x-goog-api-key", "authorization")


# --- the script ---


@dataclass
class Turn:
    """One entry of a script. Raises ValueError for a key that means nothing."""

    entry: Mapping[str, Any]
    used: int = 0

    def __post_init__(self) -> None:
        unknown = set(self.entry) - CONDITIONS - ANSWERS
        if unknown:
            raise ValueError(f"a turn has no {sorted(unknown)}: {self.entry}")

    def fits(self, asked: Asked) -> bool:
        """Whether this turn answers the request."""
        return self.used < self.entry.get("times", sys.maxsize) and all(
            _holds(name, wanted, asked) for name, wanted in self.entry.items() if name in CONDITIONS
        )

    def answer(self, asked: Asked) -> Mapping[str, Any]:
        """The answer's keys, with the groups of `match` filled in."""
        entry = {**self.entry, **self.entry["reply"](asked)} if "reply" in self.entry else self.entry
        found = re.search(self.entry.get("match", ""), asked.prompt)
        filled: Mapping[str, Any] = _fill({key: entry[key] for key in entry if key in ANSWERS - {"reply"}}, found)
        return filled


def _holds(name: str, wanted: Any, asked: Asked) -> bool:
    if name == "api":
        return bool(wanted == asked.api)
    if name == "has_tools":
        return bool(wanted) == bool(asked.tools)
    if name == "after_tool":
        has_result = asked.result is not None
        return has_result == wanted if isinstance(wanted, bool) else has_result and asked.after == wanted
    if name == "match_tool":
        return asked.result is not None and re.search(wanted, asked.result) is not None
    text = {"model": asked.model, "system": asked.system, "match": asked.prompt}.get(name)
    return text is None or re.search(wanted, text) is not None


def _fill(value: Any, found: re.Match[str] | None) -> Any:
    if isinstance(value, Mapping):
        return {key: _fill(item, found) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(item, found) for item in value]
    if not isinstance(value, str) or found is None:
        return value
    groups = {str(at): text for at, text in enumerate((found[0], *found.groups()))} | found.groupdict()
    return re.sub(r"\{\{(\w+)\}\}", lambda hole: groups.get(hole[1], hole[0]) or "", value)


def reply_of(answer: Mapping[str, Any]) -> Reply:
    """What the model says, from the keys of an answer."""
    return Reply(
        text=answer.get("text"),
        thinking=answer.get("thinking", ""),
        calls=tuple(Call(**call) for call in answer.get("tools", [])),
        usage=Tokens(**answer.get("usage", {})),
        stop=answer.get("stop", ""),
        breaks=refusal_of(answer) if answer.get("stream_error") else None,
    )


def refusal_of(answer: Mapping[str, Any]) -> Refusal:
    """The error in an answer."""
    return Refusal(int(answer.get("status", 500)), answer.get("type", ""), answer.get("message", ""))


def read_script(path: Path) -> list[Mapping[str, Any]]:
    """The turns in a file of YAML."""
    import yaml  # A script in Python needs none.

    return list(yaml.safe_load(path.read_text(encoding="utf-8")) or [])


# --- the service ---


@dataclass(frozen=True)
class Request:
    """A line of the log. `asked` is None for lists of models, counts of tokens and paths that mean nothing."""

    method: str
    path: str
    """Without the query, which may hold a key."""
    headers: tuple[str, ...]
    """Their names, small."""
    key: str
    """`fingerprint` of the key that came with it, '' if none did."""
    asked: Asked | None
    status: int
    """What it was answered with; 0 if with nothing."""
    turn: int | None = None
    """Which turn of the script answered."""

    def to_json(self) -> Json:
        """As a line of the log."""
        line = asdict(self)
        asked = line.pop("asked") or {}
        return {**line, **asked, "after_tool": asked.get("result") is not None}


def fingerprint(key: str) -> str:
    """By this a key is known in the log, where the key itself does not belong."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


@dataclass
class FakeModels:
    """The service, as a context; it is there for as long as the context lasts."""

    script: Sequence[Mapping[str, Any]]
    port: int = 0
    log: Path | None = None
    models: tuple[str, ...] = ("fake-model",)
    log_lines: list[Request] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.play(self.script)

    def __enter__(self) -> FakeModels:
        self.server = Server(("127.0.0.1", self.port), self)
        self.port = self.server.server_port
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it is, without /v1."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Asked]:
        """What models were asked so far, oldest first."""
        with self._lock:
            return [line.asked for line in self.log_lines if line.asked is not None]

    def play(self, script: Sequence[Mapping[str, Any]]) -> None:
        """Begin a new script, and forget what was asked."""
        with self._lock:
            self._turns = [Turn(entry) for entry in script]
            self.log_lines, self.unanswered = [], []

    def choose(self, asked: Asked) -> tuple[int | None, Mapping[str, Any]]:
        """The number of the turn that answers, and its answer; None and {} if none fits."""
        with self._lock:
            for number, turn in enumerate(self._turns):
                if turn.fits(asked):
                    turn.used += 1
                    return number, turn.answer(asked)
            self.unanswered.append(f"{asked.api} {asked.model} after {asked.after or 'nothing'}: {asked.prompt[-200:]}")
        return None, {}

    def note(self, request: Request) -> None:
        """Keep a request in the log."""
        with self._lock:
            self.log_lines.append(request)
            if self.log:
                with self.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(request.to_json(), ensure_ascii=False) + "\n")


class Server(ThreadingHTTPServer):
    """The sockets of a service, a thread for each connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], fake: FakeModels) -> None:
        super().__init__(address, Handler)
        self.fake = fake
        self.stopping = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is none of our errors; everything else is told on stderr."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_HEAD(self) -> None:
        """Whether anybody is there."""
        self._note(None, 200)
        self._begin(200, {"content-length": "0"})

    def do_GET(self) -> None:
        """The list of models, in the words of all APIs at once."""
        if not urlsplit(self.path).path.endswith("/models"):
            return self._nothing_here()
        names = self.server.fake.models
        listed = [{"id": name, "type": "model", "object": "model", "display_name": name} for name in names]
        methods = ["generateContent", "countTokens"]
        named = [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in names]
        self._note(None, 200)
        self._send(200, {"object": "list", "data": listed, "models": named, "has_more": False})

    def do_POST(self) -> None:
        """A question to a model, or how long one would be."""
        raw, path = self._body(), urlsplit(self.path).path
        for end, key in COUNTS:
            if path.endswith(end):
                self._note(None, 200)
                return self._send(200, {key: max(1, len(raw) // 4)})
        for pattern, dialect in PATHS:
            if found := pattern.search(path):
                return self._answer(dialect, raw, found.groupdict())
        self._nothing_here()

    def _answer(self, dialect: Dialect, raw: bytes, groups: Mapping[str, str]) -> None:
        try:
            body = json.loads(raw)
            stream = groups["how"].startswith("stream") if groups else None
            asked = dialect.read(body, model=groups.get("model", ""), stream=stream)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._note(None, 400)
            refusal = Refusal(400, message=f"this is no request of {dialect.name}: {error!r}")
            return self._send(400, dialect.refuse(refusal))
        number, answer = self.server.fake.choose(asked)
        if number is None:
            self._note(asked, dialect.unscripted)
            refusal = Refusal(dialect.unscripted, message="no turn of the script fits this request")
            return self._send(dialect.unscripted, dialect.refuse(refusal))
        status = int(answer.get("status", 200)) if not answer.get("stream_error") else 200
        self._note(asked, 0 if answer.get("hang") else status, number)
        if answer.get("hang"):
            return self._wait_for_the_end()
        self.server.stopping.wait(float(answer.get("delay", 0)))
        self._perform(dialect, asked, answer, status)

    def _perform(self, dialect: Dialect, asked: Asked, answer: Mapping[str, Any], status: int) -> None:
        headers, tag = answer.get("headers", {}), uuid.uuid4().hex[:16]
        if status != 200:
            self._send(status, dialect.refuse(refusal_of(answer)), headers)
        elif not asked.stream and answer.get("stream_error"):
            self._send(refusal_of(answer).status, dialect.refuse(refusal_of(answer)), headers)
        elif not asked.stream:
            whole = dialect.body(reply_of(answer), asked.model, tag)
            self._send(200, whole, headers, cut="cut_after" in answer)
        else:
            self._stream(dialect.events(reply_of(answer), asked.model, tag), answer, headers)

    # --- what goes over the wire ---

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _begin(self, status: int, headers: Mapping[str, Any]) -> None:
        self.send_response(status)
        for name, value in {"request-id": f"req_{uuid.uuid4().hex[:16]}", **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()

    def _send(self, status: int, value: Json, headers: Mapping[str, Any] | None = None, *, cut: bool = False) -> None:
        data = json.dumps(value).encode()
        about = {"content-type": "application/json", "content-length": len(data)}
        self._begin(status, {**about, **(headers or {})})
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._hang_up()

    def _stream(self, events: Iterator[Event], answer: Mapping[str, Any], headers: Mapping[str, Any]) -> None:
        about = {"content-type": "text/event-stream", "cache-control": "no-cache", "transfer-encoding": "chunked"}
        self._begin(200, {**about, **headers})
        for number, (name, data) in enumerate(events):
            if number == answer.get("cut_after"):
                return self._hang_up()
            text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            event = (f"event: {name}\n" if name else "") + f"data: {text}\n\n"
            self._chunk(event.encode())
            if "chunk_delay" in answer and self.server.stopping.wait(answer["chunk_delay"]):
                return self._hang_up()
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def _wait_for_the_end(self) -> None:
        self.close_connection = True
        while not self.server.stopping.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.1)
            if readable and self.connection.recv(1, socket.MSG_PEEK) == b"":
                return

    def _nothing_here(self) -> None:
        self._note(None, 404)
        self._send(404, {"error": {"message": f"nothing is at {urlsplit(self.path).path}", "type": "not_found_error"}})

    def _note(self, asked: Asked | None, status: int, turn: int | None = None) -> None:
        names = tuple(sorted(name.lower() for name in self.headers))
        path = urlsplit(self.path).path
        self.server.fake.note(Request(self.command, path, names, fingerprint_of(self), asked, status, turn))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said: the service keeps its own log."""


def fingerprint_of(handler: Handler) -> str:
    """The fingerprint of the key that came with a request, wherever its API puts it."""
    sent = [handler.headers.get(name, "").removeprefix("Bearer ") for name in KEY_HEADERS]
    sent += parse_qs(urlsplit(handler.path).query).get("key", [])
    return next((fingerprint(key) for key in sent if key), "")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until it is interrupted; the port is the first line on stdout."""
    parser = argparse.ArgumentParser(description="A model service that answers from a script; it prints its port.")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--script", type=Path, help="the turns, as YAML")
    parser.add_argument("--log", type=Path, help="where every request becomes a line of JSON")
    options = parser.parse_args(argv)
    script = read_script(options.script) if options.script else []
    with FakeModels(script, port=options.port, log=options.log) as fake:
        print(fake.port, flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
