"""The model service that the tests of real agents talk to: every API over real HTTP, streamed and plain."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_models
import pytest
from fake_models import FakeModels, fingerprint

APIS = ("anthropic", "responses", "chat", "gemini")
KEY = "sk-a-key-for-tests"
KEY_HEADER = {
    "anthropic": "x-api-key",
    "responses": "authorization",
    "chat": "authorization",
    "gemini": "x-goog-api-key",
}
TOOL_USED = {"name": "write", "input": {"path": "a b", "content": "ü\n" * 60}}
USAGE = {"input": 70, "output": 20, "cache_read": 30, "cache_write": 0, "reasoning": 5}


Json = dict[str, Any]


def _anthropic(prompt: str, system: str, result: str | None) -> Json:
    used = {"type": "tool_use", "id": "t1", "name": "write", "input": {}}
    back = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": result}]}
    reminder = {"type": "text", "text": "<system-reminder>\nnot the prompt\n</system-reminder>"}
    messages = [{"role": "user", "content": [reminder, {"type": "text", "text": prompt}]}]
    after = [{"role": "assistant", "content": [used]}, {"role": "user", "content": [back]}]
    tools = [{"name": "write", "input_schema": {}}]
    return {
        "system": [{"type": "text", "text": system}],
        "messages": messages + after[: 2 * bool(result)],
        "tools": tools,
    }


def _responses(prompt: str, system: str, result: str | None) -> Json:
    used = {"type": "function_call", "call_id": "c1", "name": "write", "arguments": "{}"}
    after = [used, {"type": "function_call_output", "call_id": "c1", "output": result}]
    said = (("developer", system), ("user", prompt))
    first = [{"role": role, "content": [{"type": "input_text", "text": text}]} for role, text in said]
    return {"input": [*first, *after[: 2 * bool(result)]], "tools": [{"type": "custom", "name": "write"}]}


def _chat(prompt: str, system: str, result: str | None) -> Json:
    call = {"id": "c1", "type": "function", "function": {"name": "write", "arguments": "{}"}}
    after: list[Json] = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    after.append({"role": "tool", "tool_call_id": "c1", "content": result})
    first = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    tools = [{"type": "function", "function": {"name": "write"}}]
    return {"messages": [*first, *after[: 2 * bool(result)]], "tools": tools}


def _gemini(prompt: str, system: str, result: str | None) -> Json:
    after: list[Json] = [{"role": "model", "parts": [{"functionCall": {"name": "write", "args": {}}}]}]
    answer = {"functionResponse": {"name": "write", "response": {"output": result}}}
    after.append({"role": "user", "parts": [answer]})
    first = {"role": "user", "parts": [{"text": prompt}]}
    tools = [{"functionDeclarations": [{"name": "write"}]}]
    told = {"systemInstruction": {"parts": [{"text": system}]}, "tools": tools}
    return {**told, "contents": [first, *after[: 2 * bool(result)]]}


BODIES = {"anthropic": _anthropic, "responses": _responses, "chat": _chat, "gemini": _gemini}


def body_of(api: str, prompt: str, *, system: str = "", result: str | None = None, stream: bool = False) -> Json:
    """A request with one tool; with `result`, the model has called it and this is what came back."""
    more: Json = {} if api == "gemini" else {"model": "m-1", "stream": stream}
    return {**BODIES[api](prompt, system, result), **more}


def path_of(api: str, *, stream: bool = False) -> str:
    """Where a client of this API sends its requests."""
    gemini = "/v1beta/models/m-1:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
    paths = {"anthropic": "/v1/messages?beta=true", "responses": "/v1/responses", "chat": "/v1/chat/completions"}
    return {**paths, "gemini": gemini}[api]


@dataclass(frozen=True)
class Client:
    """What a client of one API does."""

    api: str
    fake: FakeModels

    @contextmanager
    def asking(self, prompt: str, *, stream: bool = False, **more: Any) -> Iterator[http.client.HTTPResponse]:
        """A request, and its answer as it begins."""
        connection = http.client.HTTPConnection("127.0.0.1", self.fake.port, timeout=20)
        try:
            body = json.dumps(body_of(self.api, prompt, stream=stream, **more))
            headers = {KEY_HEADER[self.api]: ("Bearer " if self.api in ("responses", "chat") else "") + KEY}
            connection.request("POST", path_of(self.api, stream=stream), body, headers)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def ask(self, prompt: str, **more: Any) -> tuple[int, Any]:
        """The status, and the whole answer."""
        with self.asking(prompt, **more) as response:
            return response.status, json.loads(response.read())

    def stream(self, prompt: str, **more: Any) -> list[Any]:
        """The data of every event of a stream."""
        with self.asking(prompt, stream=True, **more) as response:
            assert response.headers["content-type"] == "text/event-stream"
            return [*events_in(response.read().decode())]


def events_in(text: str) -> Iterator[Any]:
    """The data of the events of a stream, each checked against its name."""
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        data = fields["data"] if fields["data"] == "[DONE]" else json.loads(fields["data"])
        assert fields.get("event", "") in ("", data["type"] if isinstance(data, dict) and "type" in data else "")
        yield data


def said_in(api: str, whole: Any) -> tuple[str, str, list[tuple[str, Any]]]:
    """Thoughts, text and tool calls of a whole answer."""
    if api == "anthropic":
        parts = whole["content"]
        calls = [(part["name"], part["input"]) for part in parts if part["type"] == "tool_use"]
        return _join(parts, "thinking"), _join(parts, "text"), calls
    if api == "responses":
        items = whole["output"]
        thoughts = "".join(_join(item["summary"], "text") for item in items if item["type"] == "reasoning")
        text = "".join(_join(item["content"], "text") for item in items if item["type"] == "message")
        calls = [(item["name"], json.loads(item["arguments"])) for item in items if item["type"] == "function_call"]
        return thoughts, text, calls
    if api == "chat":
        message = whole["choices"][0]["message"]
        made = [call["function"] for call in message.get("tool_calls", [])]
        calls = [(call["name"], json.loads(call["arguments"])) for call in made]
        return message.get("reasoning_content", ""), message["content"] or "", calls
    parts = whole["candidates"][0]["content"]["parts"]
    thoughts = _join([part for part in parts if part.get("thought")], "text")
    calls = [(part["functionCall"]["name"], part["functionCall"]["args"]) for part in parts if "functionCall" in part]
    return thoughts, _join([part for part in parts if not part.get("thought")], "text"), calls


def _join(parts: list[Any], key: str) -> str:
    return "".join(part.get(key, "") for part in parts)


def put_together(api: str, events: list[Any]) -> tuple[str, str, list[tuple[str, Any]]]:
    """The same from the pieces in a stream."""
    if api == "anthropic":
        blocks: list[Any] = []
        for event in events:
            if event["type"] == "content_block_start":
                blocks.append({**event["content_block"], "json": ""})
            if event["type"] == "content_block_delta":
                ((key, value),) = ((key, event["delta"][key]) for key in event["delta"] if key != "type")
                key = "json" if key == "partial_json" else key
                blocks[event["index"]][key] += value
        whole = [{**block, "input": json.loads(block["json"])} if block["json"] else block for block in blocks]
        return said_in(api, {"content": whole})
    if api == "responses":
        text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        arguments = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
        done = said_in(api, {"output": [event["item"] for event in events if event["type"].endswith("item.done")]})
        assert done == said_in(api, events[-1]["response"])
        return done[0], text, [(done[2][0][0], json.loads("".join(arguments)))]
    if api == "chat":
        assert events[-1] == "[DONE]"
        deltas = [event["choices"][0]["delta"] for event in events[:-1] if event["choices"]]
        pieces = [call["function"] for delta in deltas for call in delta.get("tool_calls", [])]
        call = (pieces[0]["name"], json.loads(_join(pieces, "arguments")))
        return _join(deltas, "reasoning_content"), _join(deltas, "content"), [call]
    parts = [part for event in events for part in event["candidates"][0]["content"]["parts"]]
    return said_in(api, {"candidates": [{"content": {"parts": parts}}]})


def counted(api: str, value: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Input without the cache, output with the thoughts, cache, thoughts: read as each API means them."""
    if api == "anthropic":
        used = value["usage"]
        return used["input_tokens"], used["output_tokens"], used["cache_read_input_tokens"], USAGE["reasoning"]
    if api == "gemini":
        used = value["usageMetadata"]
        cached, thoughts = used["cachedContentTokenCount"], used["thoughtsTokenCount"]
        return used["promptTokenCount"] - cached, used["candidatesTokenCount"] + thoughts, cached, thoughts
    used = value["usage"]
    read, wrote = ("input", "output") if api == "responses" else ("prompt", "completion")
    cached = used[f"{read}_tokens_details"]["cached_tokens"]
    thoughts = used[f"{wrote}_tokens_details"]["reasoning_tokens"]
    return used[f"{read}_tokens"] - cached, used[f"{wrote}_tokens"], cached, thoughts


def last_usage(api: str, events: list[Any]) -> tuple[int, int, int, int]:
    """What a stream says was used."""
    told = [event for event in events if isinstance(event, dict)]
    return counted(
        api,
        told[-1]["response"]
        if api == "responses"
        else next(event for event in reversed(told) if "usage" in event or "usageMetadata" in event),
    )


@pytest.fixture
def fake() -> Iterator[FakeModels]:
    with FakeModels([]) as service:
        yield service


@pytest.fixture(params=APIS)
def client(request: pytest.FixtureRequest, fake: FakeModels) -> Client:
    return Client(request.param, fake)


ANSWER = {"thinking": "I think. " * 20, "text": "It is so: ü. " * 20, "tools": [TOOL_USED], "usage": USAGE}
AS_SAID = (ANSWER["thinking"], ANSWER["text"], [("write", TOOL_USED["input"])])


class TestEveryApi:
    def test_a_plain_answer_holds_all_that_the_script_says(self, client: Client) -> None:
        client.fake.play([ANSWER])
        status, whole = client.ask("hello")
        assert status == 200
        assert said_in(client.api, whole) == AS_SAID
        assert counted(client.api, whole) == (70, 20, 30, 5)

    def test_a_stream_says_the_same_in_pieces(self, client: Client) -> None:
        client.fake.play([ANSWER])
        events = client.stream("hello")
        assert put_together(client.api, events) == AS_SAID
        assert last_usage(client.api, events) == (70, 20, 30, 5)

    def test_the_log_tells_what_was_asked_and_never_the_key(self, client: Client, tmp_path: Path) -> None:
        client.fake.log = tmp_path / "log"
        client.fake.play([{"text": "yes"}])
        client.ask("do it", system="You are a critic.", result="done\nwell")
        client.ask("again")
        text = (tmp_path / "log").read_text()
        assert KEY not in text
        first, second = map(json.loads, text.splitlines())
        told = {name: first[name] for name in ("api", "model", "prompt", "result", "after", "after_tool", "tools")}
        assert told == {
            **{"api": client.api, "model": "m-1", "prompt": "do it", "result": "done\nwell", "after": "write"},
            **{"after_tool": True, "tools": ["write"]},
        }
        assert first["system"] == "You are a critic."
        assert not any("critic" in text for text in first["users"])
        assert KEY_HEADER[client.api] in first["headers"]
        assert (first["key"], first["status"], first["turn"]) == (fingerprint(KEY), 200, 0)
        assert (second["after_tool"], second["result"], second["prompt"]) == (False, None, "again")

    @pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
    def test_an_error_has_its_status_headers_and_message(self, client: Client, status: int) -> None:
        client.fake.play([{"status": status, "message": "not today", "headers": {"retry-after": 7}}])
        for stream in (False, True):
            with client.asking("hello", stream=stream) as response:
                assert (response.status, response.headers["retry-after"]) == (status, "7")
                assert json.loads(response.read())["error"]["message"] == "not today"

    def test_an_error_inside_a_stream_comes_instead_of_its_end(self, client: Client) -> None:
        client.fake.play([{"text": "so far", "stream_error": True, "message": "broken", "status": 503}])
        with client.asking("hello", stream=True) as response:
            assert response.status == 200
            text = response.read().decode()
        assert "so far" in text
        assert "broken" in text.split("\n\n")[-2]
        ends = ("message_stop", "response.completed", "[DONE]", "finishReason")
        assert not any(end in text for end in ends)

    def test_a_stream_that_is_cut_ends_without_its_end(self, client: Client) -> None:
        client.fake.play([{"text": "a long answer " * 50, "cut_after": 3}])
        with client.asking("hello", stream=True) as response, pytest.raises(http.client.IncompleteRead) as caught:
            response.read()
        assert len([*events_in(caught.value.partial.decode() or "\n\n")]) <= 3
        with client.asking("hello") as response, pytest.raises(http.client.IncompleteRead):
            response.read()

    def test_what_no_turn_fits_is_refused_and_told(self, client: Client) -> None:
        client.fake.play([{"match": "never", "text": "no"}])
        status, _ = client.ask("something else")
        assert status in (400, 403)
        assert "something else" in client.fake.unanswered[0]

    def test_nonsense_is_refused_in_the_words_of_the_api(self, client: Client) -> None:
        request = urllib.request.Request(client.fake.url + path_of(client.api), b"[1]")
        with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request):
            pass
        with caught.value as answer:
            assert answer.code == 400
            assert "no request of" in json.loads(answer.read())["error"]["message"]


class TestConditions:
    @pytest.mark.parametrize(
        ("condition", "holds", "fails"),
        [
            ({"match": "^write"}, {"prompt": "write it"}, {"prompt": "do not write it"}),
            ({"system": "critic"}, {"prompt": "p", "system": "a critic"}, {"prompt": "a critic"}),
            ({"match_tool": "^ok"}, {"prompt": "p", "result": "ok then"}, {"prompt": "ok then"}),
            ({"after_tool": True}, {"prompt": "p", "result": "r"}, {"prompt": "p"}),
            ({"after_tool": False}, {"prompt": "p"}, {"prompt": "p", "result": "r"}),
            ({"after_tool": "write"}, {"prompt": "p", "result": "r"}, {"prompt": "p"}),
        ],
    )
    def test_a_turn_answers_only_where_its_condition_holds(
        self, client: Client, condition: Any, holds: Any, fails: Any
    ) -> None:
        client.fake.play([{**condition, "text": "this"}, {"text": "another"}])
        assert said_in(client.api, client.ask(**holds)[1])[1] == "this"
        assert said_in(client.api, client.ask(**fails)[1])[1] == "another"

    def test_model_api_and_tools_are_conditions_too(self, client: Client) -> None:
        others = [{"api": api, "text": "wrong"} for api in APIS if api != client.api]
        wrong: list[Json] = [{"model": "m-2", "text": "wrong"}, {"has_tools": False, "text": "wrong"}, *others]
        client.fake.play([*wrong, {"model": "^m-1$", "api": client.api, "has_tools": True, "text": "right"}])
        assert said_in(client.api, client.ask("p")[1])[1] == "right"

    def test_a_turn_answers_so_often_and_then_the_next_one(self, client: Client) -> None:
        client.fake.play([{"times": 2, "status": 500}, {"text": "now"}])
        assert [client.ask("p")[0] for _ in range(4)] == [500, 500, 200, 200]

    def test_groups_of_the_match_are_filled_into_the_answer(self, client: Client) -> None:
        tools = [{"name": "write", "input": {"path": "{{1}}", "content": "{{how}} {{unknown}}"}}]
        client.fake.play([{"match": r"file (\S+) with (?P<how>\w+)", "text": "wrote {{1}}", "tools": tools}])
        _, text, calls = said_in(client.api, client.ask("file a.txt with care")[1])
        assert text == "wrote a.txt"
        assert calls == [("write", {"path": "a.txt", "content": "care {{unknown}}"})]

    def test_a_function_can_make_the_answer(self, client: Client) -> None:
        client.fake.play([{"reply": lambda asked: {"text": asked.prompt.upper()}}])
        assert said_in(client.api, client.ask("loud")[1])[1] == "LOUD"

    def test_a_key_that_means_nothing_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="matches"):
            FakeModels([{"matches": "a"}])


class TestTheServer:
    def test_a_hang_is_never_answered_and_ends_with_the_service(self) -> None:
        with FakeModels([{"hang": True}]) as fake:
            connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=20)
            connection.request("POST", "/v1/messages", json.dumps(body_of("anthropic", "hello")))
            while not fake.requests:
                time.sleep(0.01)
            connection.sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.getresponse()
        connection.close()

    def test_an_answer_can_be_late(self, fake: FakeModels) -> None:
        fake.play([{"text": "late", "delay": 0.4}])
        began = time.monotonic()
        Client("chat", fake).ask("p")
        assert time.monotonic() - began >= 0.4

    def test_many_are_served_at_once(self, fake: FakeModels) -> None:
        fake.play([{"text": "p", "delay": 0.05}])
        texts: list[str] = []
        asking = [
            threading.Thread(target=lambda: texts.append(Client("chat", fake).ask("p")[1]["id"])) for _ in range(16)
        ]
        for each in asking:
            each.start()
        for each in asking:
            each.join()
        assert len(set(texts)) == 16, "every answer has an id of its own"

    def test_models_and_counts_of_tokens(self, fake: FakeModels) -> None:
        for path in ("/v1/models", "/v1beta/models"):
            with urllib.request.urlopen(fake.url + path) as answer:
                value = json.load(answer)
            assert (value["data"][0]["id"], value["models"][0]["name"]) == ("fake-model", "models/fake-model")
        for path, key in (
            ("/v1/messages/count_tokens", "input_tokens"),
            ("/v1beta/models/m:countTokens", "totalTokens"),
        ):
            with urllib.request.urlopen(urllib.request.Request(fake.url + path, b"x" * 400)) as answer:
                assert json.load(answer) == {key: 100}
        assert fake.requests == []

    def test_a_body_in_chunks_is_read(self, fake: FakeModels) -> None:
        fake.play([{"match": "^hello$", "text": "yes"}])
        connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=20)
        body = json.dumps(body_of("chat", "hello")).encode()
        connection.request("POST", "/v1/chat/completions", iter([body[:30], body[30:]]), encode_chunked=True)
        with connection.getresponse() as response:
            assert response.status == 200
        connection.close()

    def test_it_runs_by_itself(self, tmp_path: Path) -> None:
        (tmp_path / "script.yaml").write_text("- match: 'say (\\w+)'\n  text: '{{1}}'\n")
        words = ["--port", "0", "--script", str(tmp_path / "script.yaml"), "--log", str(tmp_path / "log")]
        command = [sys.executable, fake_models.__file__, *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            assert service.stdout is not None
            url = f"http://127.0.0.1:{int(service.stdout.readline())}/v1/chat/completions"
            body = json.dumps(body_of("chat", "say cheese")).encode()
            with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
                assert json.load(answer)["choices"][0]["message"]["content"] == "cheese"
            service.terminate()
        assert json.loads((tmp_path / "log").read_text())["prompt"] == "say cheese"


def test_responses_knows_tools_without_a_schema_and_namespaces(fake: FakeModels) -> None:
    call = {"name": "apply_patch", "input": "*** Begin Patch\n", "namespace": "functions"}
    fake.play([{"tools": [call]}])
    (item,) = Client("responses", fake).ask("p")[1]["output"]
    assert (item["type"], item["input"], item["namespace"]) == ("custom_tool_call", "*** Begin Patch\n", "functions")
    events = Client("responses", fake).stream("p")
    assert any(event["type"] == "response.custom_tool_call_input.delta" for event in events)


def test_the_tools_of_newer_clients_are_found_among_the_items(fake: FakeModels) -> None:
    fake.play([{"has_tools": True, "text": "seen"}])
    body = {"model": "m-1", "input": [{"type": "additional_tools", "tools": [{"type": "custom", "name": "exec"}]}]}
    request = urllib.request.Request(fake.url + "/v1/responses", json.dumps(body).encode())
    with urllib.request.urlopen(request):
        assert fake.requests[0].tools == ("exec",)
