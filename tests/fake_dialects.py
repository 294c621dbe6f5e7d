"""Four model APIs as pure functions: a request's body becomes what was asked, a reply becomes a body or a stream.

No sockets, clock or chance here: `fake_models` brings those, and the identifier that makes each answer its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Event = tuple[str, Json | str]
"""One event of a stream: its name, '' where the API names none, and its data."""

PIECE = 48
"""Characters of text in one event."""
SIGNATURE = "c2lnbmVk"
CREATED = 1_790_000_000

_NOTES = re.compile(r"<(system-reminder|session_context|environment_context)>.*?</\1>\s*", re.S)


# --- what is asked and what is answered ---


@dataclass(frozen=True)
class Line:
    """One part of a conversation. A `note` is text that a client put beside a tool's result."""

    by: Literal["system", "user", "note", "model", "tool"]
    text: str
    tool: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Asked:
    """One request, the same for every API."""

    api: str
    model: str
    stream: bool
    system: str
    """From whatever place the API has for it."""
    prompt: str
    """The newest message of the user, without the notes that clients wrap around it."""
    users: tuple[str, ...]
    """Every message of the user, whole."""
    result: str | None
    """The tool's result that the request ends in; None if it ends in something else."""
    after: str
    """The tool that this result is of."""
    failed: bool
    """Whether the client calls that result an error."""
    tools: tuple[str, ...]
    """The names of the tools that are offered."""
    form: str = ""
    """The schema that the answer is to keep to, as JSON; '' if any answer will do."""


@dataclass(frozen=True)
class Tokens:
    """What an answer claims to have used; the fields mean the same as those of a run's usage."""

    input: int = 100
    output: int = 10
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Call:
    """A tool call. A text as `input` is a call of a tool without a schema, which only Responses knows."""

    name: str
    input: Mapping[str, Any] | str = field(default_factory=dict)
    namespace: str = ""

    @property
    def arguments(self) -> str:
        """The input as text."""
        return self.input if isinstance(self.input, str) else json.dumps(self.input, ensure_ascii=False)


@dataclass(frozen=True)
class Refusal:
    """An error in the words of an API; '' as kind is the usual one for the status."""

    status: int
    kind: str = ""
    message: str = ""

    @property
    def text(self) -> str:
        """What it says."""
        return self.message or f"the script says {self.status}"


@dataclass(frozen=True)
class Reply:
    """What the model says. With `breaks`, a stream ends in that error instead of well."""

    text: str | None = None
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    usage: Tokens = field(default_factory=Tokens)
    stop: str = ""
    """Why it stops, in the words of the API; '' is what is usual."""
    breaks: Refusal | None = None


@dataclass(frozen=True)
class Dialect:
    """One API. `unscripted` is a status that its clients do not repeat."""

    name: str
    lines: Callable[[Json], Iterable[Line]]
    tools: Callable[[Json], Iterable[str]]
    body: Callable[[Reply, str, str], Json]
    """Reply, model and identifier to the whole answer."""
    events: Callable[[Reply, str, str], Iterator[Event]]
    """The same to a stream."""
    refuse: Callable[[Refusal], Json]
    unscripted: int = 403

    def read(self, body: Json, *, model: str = "", stream: bool | None = None) -> Asked:
        """What is asked; Gemini has `model` and `stream` in its path instead."""
        lines = list(self.lines(body))
        users = [line.text for line in lines if line.by == "user"]
        spoken = [text for text in (_NOTES.sub("", each).strip() for each in users) if text]
        last = next((line for line in reversed(lines) if line.by not in ("system", "note")), Line("user", ""))
        return Asked(
            api=self.name,
            model=model or str(body.get("model", "")),
            stream=bool(body.get("stream")) if stream is None else stream,
            system="\n\n".join(line.text for line in lines if line.by == "system" and line.text),
            prompt=spoken[-1] if spoken else "",
            users=(*users, *(line.text for line in lines if line.by == "note")),
            result=last.text if last.by == "tool" else None,
            after=last.tool,
            failed=last.failed,
            tools=tuple(self.tools(body)),
            form=_form_of(body),
        )


def _form_of(body: Mapping[str, Any]) -> str:
    """Responses has a place for it; Claude Code makes a tool of it."""
    text, tools = body.get("text"), body.get("tools")
    found = [text.get("format")] if isinstance(text, dict) else []
    found += [tool for tool in tools or () if isinstance(tool, dict) and tool.get("name") == "StructuredOutput"]
    schemas = [each.get("schema") or each.get("input_schema") for each in found if isinstance(each, dict)]
    return json.dumps(schemas[0]) if schemas and schemas[0] else ""


def text_of(content: Any) -> str:
    """The text in a message's content, whatever its form."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text for text in map(text_of, content) if text)
    if isinstance(content, dict):
        return next((text_of(content[key]) for key in ("text", "parts", "content") if key in content), "")
    return ""


def _items(value: Any) -> list[Json]:
    """A list of objects, where a lone text stands for one text."""
    return [{"type": "text", "text": value}] if isinstance(value, str) else list(value or [])


def _pieces(text: str) -> list[str]:
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


# --- Anthropic Messages ---


def _messages_lines(body: Json) -> Iterator[Line]:
    called: dict[str, str] = {}
    yield Line("system", text_of(body.get("system")))
    for message in body.get("messages", []):
        blocks, role = _items(message["content"]), message["role"]
        if role == "assistant":
            called |= {block["id"]: block["name"] for block in blocks if block["type"] == "tool_use"}
            yield Line("model", text_of(blocks))
            continue
        results = [block for block in blocks if block["type"] == "tool_result"]
        texts = [block for block in blocks if block["type"] == "text"]
        if texts:
            yield Line("system" if role == "system" else "note" if results else "user", text_of(texts))
        for block in results:
            text = _NOTES.sub("", text_of(block.get("content"))).rstrip()
            yield Line("tool", text, called.get(block["tool_use_id"], ""), bool(block.get("is_error")))


def _messages_body(reply: Reply, model: str, tag: str) -> Json:
    content: list[Json] = []
    if reply.thinking:
        content.append({"type": "thinking", "thinking": reply.thinking, "signature": SIGNATURE})
    if reply.text is not None:
        content.append({"type": "text", "text": reply.text})
    for number, call in enumerate(reply.calls):
        content.append({"type": "tool_use", "id": f"toolu_{tag}_{number}", "name": call.name, "input": call.input})
    used = reply.usage
    return {
        **{"id": f"msg_{tag}", "type": "message", "role": "assistant", "model": model, "content": content},
        **{"stop_reason": reply.stop or ("tool_use" if reply.calls else "end_turn"), "stop_sequence": None},
        "usage": {
            **{"input_tokens": used.input, "output_tokens": used.output, "service_tier": "standard"},
            **{"cache_read_input_tokens": used.cache_read, "cache_creation_input_tokens": used.cache_write},
        },
    }


def _messages_deltas(block: Json) -> tuple[Json, list[Json]]:
    """A content block as it is opened, and what then comes into it."""
    kind = block["type"]
    if kind == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": each} for each in _pieces(block["text"])]
    if kind == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": each} for each in _pieces(block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {**block, "thinking": "", "signature": ""}, [*thoughts, signed]
    parts = _pieces(json.dumps(block["input"], ensure_ascii=False))
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": each} for each in parts]


def _messages_events(reply: Reply, model: str, tag: str) -> Iterator[Event]:
    whole = _messages_body(reply, model, tag)

    def event(kind: str, **data: Any) -> Event:
        return kind, {"type": kind, **data}

    begun = {**whole["usage"], "output_tokens": 1}
    yield event("message_start", message={**whole, "content": [], "stop_reason": None, "usage": begun})
    yield event("ping")
    for index, block in enumerate(whole["content"]):
        opened, deltas = _messages_deltas(block)
        yield event("content_block_start", index=index, content_block=opened)
        yield from (event("content_block_delta", index=index, delta=delta) for delta in deltas)
        yield event("content_block_stop", index=index)
    if reply.breaks:
        yield "error", _messages_refuse(reply.breaks)
        return
    stop = {key: whole[key] for key in ("stop_reason", "stop_sequence")}
    yield event("message_delta", delta=stop, usage=whole["usage"])
    yield event("message_stop")


def _messages_refuse(refusal: Refusal) -> Json:
    usual = {
        **{400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"},
        **{413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error"},
    }
    kind = refusal.kind or usual.get(refusal.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": refusal.text}}


# --- OpenAI Responses ---


def _responses_lines(body: Json) -> Iterator[Line]:
    called: dict[str, str] = {}
    yield Line("system", body.get("instructions") or "")
    items = body.get("input") or []
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        kind, role = item.get("type", "message"), item.get("role", "")
        if kind == "message" and role in ("system", "developer"):
            yield Line("system", text_of(item.get("content")))
        elif kind == "message" and role == "user":
            yield Line("user", text_of(item.get("content")))
        elif kind.endswith("_output"):
            output = item.get("output")
            text = text_of(output) or ("" if output is None else json.dumps(output))
            yield Line("tool", text, called.get(item.get("call_id", ""), ""))
        elif kind != "additional_tools":
            called[item.get("call_id", "")] = item.get("name", "")
            yield Line("model", text_of(item.get("content")))


def _responses_tools(body: Json) -> Iterator[str]:
    # Clients put the tools of newer models among the items of the input.
    among = [item.get("tools") for item in _items(body.get("input")) if item.get("type") == "additional_tools"]
    for tools in (body.get("tools"), *among):
        yield from (tool.get("name") or tool.get("type", "") for tool in tools or [])


def _responses_body(reply: Reply, model: str, tag: str) -> Json:
    output: list[Json] = []
    if reply.thinking:
        summary = [{"type": "summary_text", "text": reply.thinking}]
        output.append({"type": "reasoning", "id": f"rs_{tag}", "summary": summary, "encrypted_content": SIGNATURE})
    if reply.text is not None:
        content = [{"type": "output_text", "text": reply.text, "annotations": []}]
        message = {"type": "message", "id": f"msg_{tag}", "role": "assistant", "content": content}
        output.append({**message, "status": "completed"})
    for number, call in enumerate(reply.calls):
        free = isinstance(call.input, str)
        output.append(
            {
                **({"namespace": call.namespace} if call.namespace else {}),
                **{"type": "custom_tool_call" if free else "function_call", "id": f"fc_{tag}_{number}"},
                **{"call_id": f"call_{tag}_{number}", "name": call.name, "status": "completed"},
                "input" if free else "arguments": call.arguments,
            }
        )
    read = reply.usage.input + reply.usage.cache_read
    return {
        **{"id": f"resp_{tag}", "object": "response", "created_at": CREATED, "status": "completed", "model": model},
        **{"output": output, "parallel_tool_calls": True, "error": None, "incomplete_details": None},
        "usage": {
            **{"input_tokens": read, "input_tokens_details": {"cached_tokens": reply.usage.cache_read}},
            **{"output_tokens": reply.usage.output, "total_tokens": read + reply.usage.output},
            "output_tokens_details": {"reasoning_tokens": reply.usage.reasoning},
        },
    }


def _responses_steps(item: Json) -> tuple[Json, list[tuple[str, Json]]]:
    """An item as it is added, and the events that fill it: the end of their kind, and their data."""
    if item["type"] == "message":
        (part,) = item["content"]
        at = {"content_index": 0}
        deltas = [("output_text.delta", {**at, "delta": each}) for each in _pieces(part["text"])]
        first = ("content_part.added", {**at, "part": {**part, "text": ""}})
        last = [("output_text.done", {**at, "text": part["text"]}), ("content_part.done", {**at, "part": part})]
        return {**item, "content": []}, [first, *deltas, *last]
    if item["type"] == "reasoning":
        (part,) = item["summary"]
        at, name = {"summary_index": 0}, "reasoning_summary"
        text = part["text"]
        deltas = [(f"{name}_text.delta", {**at, "delta": each}) for each in _pieces(text)]
        first = (f"{name}_part.added", {**at, "part": {**part, "text": ""}})
        last = [(f"{name}_text.done", {**at, "text": text}), (f"{name}_part.done", {**at, "part": part})]
        return {**item, "summary": []}, [first, *deltas, *last]
    key, name = ("input", "custom_tool_call_input") if "input" in item else ("arguments", "function_call_arguments")
    deltas = [(f"{name}.delta", {"delta": each}) for each in _pieces(item[key])]
    return {**item, key: ""}, [*deltas, (f"{name}.done", {key: item[key]})]


def _responses_events(reply: Reply, model: str, tag: str) -> Iterator[Event]:
    whole = _responses_body(reply, model, tag)
    opened = {**whole, "status": "in_progress", "output": [], "usage": None}
    steps: list[tuple[str, Json]] = [("created", {"response": opened}), ("in_progress", {"response": opened})]
    for index, item in enumerate(whole["output"]):
        at = {"output_index": index}
        added, inside = _responses_steps(item)
        begun = added if item["type"] == "reasoning" else {**added, "status": "in_progress"}
        steps.append(("output_item.added", {**at, "item": begun}))
        steps += [(kind, {**at, "item_id": item["id"], **data}) for kind, data in inside]
        steps.append(("output_item.done", {**at, "item": item}))
    if reply.breaks:
        error = {"code": reply.breaks.kind or "server_error", "message": reply.breaks.text}
        steps.append(("failed", {"response": {**whole, "status": "failed", "output": [], "error": error}}))
    else:
        steps.append(("completed", {"response": whole}))
    for number, (kind, data) in enumerate(steps):
        yield f"response.{kind}", {"type": f"response.{kind}", "sequence_number": number, **data}


def _openai_refuse(refusal: Refusal) -> Json:
    usual = {400: "invalid_request_error", 401: "invalid_api_key", 403: "permission_denied", 404: "not_found"}
    kind = refusal.kind or {**usual, 429: "rate_limit_exceeded"}.get(refusal.status, "server_error")
    return {"error": {"message": refusal.text, "type": kind, "code": kind, "param": None}}


# --- OpenAI Chat completions ---


def _chat_lines(body: Json) -> Iterator[Line]:
    called: dict[str, str] = {}
    for message in body.get("messages", []):
        role, text = message.get("role"), text_of(message.get("content"))
        if role == "assistant":
            called |= {call["id"]: call["function"]["name"] for call in message.get("tool_calls") or []}
            yield Line("model", text)
        elif role == "tool":
            yield Line("tool", text, called.get(message.get("tool_call_id", ""), ""))
        else:
            yield Line("user" if role == "user" else "system", text)


def _chat_tools(body: Json) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools") or [] if "function" in tool]


def _chat_calls(reply: Reply, tag: str) -> list[Json]:
    return [
        {"id": f"call_{tag}_{at}", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for at, call in enumerate(reply.calls)
    ]


def _chat_usage(used: Tokens) -> Json:
    read = used.input + used.cache_read
    return {
        **{"prompt_tokens": read, "completion_tokens": used.output, "total_tokens": read + used.output},
        "prompt_tokens_details": {"cached_tokens": used.cache_read},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning},
    }


def _chat_body(reply: Reply, model: str, tag: str) -> Json:
    message: Json = {"role": "assistant", "content": reply.text}
    if reply.thinking:
        message["reasoning_content"] = reply.thinking
    if reply.calls:
        message["tool_calls"] = _chat_calls(reply, tag)
    reason = reply.stop or ("tool_calls" if reply.calls else "stop")
    choice = {"index": 0, "message": message, "finish_reason": reason}
    head = {"id": f"chatcmpl-{tag}", "object": "chat.completion", "created": CREATED, "model": model}
    return {**head, "choices": [choice], "usage": _chat_usage(reply.usage)}


def _chat_events(reply: Reply, model: str, tag: str) -> Iterator[Event]:
    whole = _chat_body(reply, model, tag)
    head = {"id": whole["id"], "object": "chat.completion.chunk", "created": CREATED, "model": model}
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": each} for each in _pieces(reply.thinking)]
    deltas += [{"content": each} for each in _pieces(reply.text or "")]
    for at, call in enumerate(_chat_calls(reply, tag)):
        function = call["function"]
        deltas.append({"tool_calls": [{**call, "index": at, "function": {**function, "arguments": ""}}]})
        parts = _pieces(function["arguments"])
        deltas += [{"tool_calls": [{"index": at, "function": {"arguments": each}}]} for each in parts]
    for delta in deltas:
        yield "", {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    if reply.breaks:
        yield "", _openai_refuse(reply.breaks)
        return
    last = {"index": 0, "delta": {}, "finish_reason": whole["choices"][0]["finish_reason"]}
    yield "", {**head, "choices": [last]}
    yield "", {**head, "choices": [], "usage": whole["usage"]}
    yield "", "[DONE]"


# --- Gemini generateContent ---


def _gemini_lines(body: Json) -> Iterator[Line]:
    yield Line("system", text_of(body.get("systemInstruction") or body.get("system_instruction")))
    for content in body.get("contents", []):
        parts = content.get("parts", [])
        if content.get("role", "user") != "user":
            yield Line("model", text_of(parts))
            continue
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if text := text_of([part for part in parts if "text" in part]):
            yield Line("note" if results else "user", text)
        for result in results:
            answer = result.get("response") or {}
            text = answer["output"] if isinstance(answer.get("output"), str) else json.dumps(answer)
            yield Line("tool", text, result.get("name", ""), "error" in answer)


def _gemini_tools(body: Json) -> list[str]:
    names = ("functionDeclarations", "function_declarations")
    found = [tool.get(name) or [] for tool in body.get("tools") or [] for name in names]
    return [declared["name"] for each in found for declared in each]


def _gemini_parts(reply: Reply) -> list[Json]:
    parts: list[Json] = [{"text": reply.thinking, "thought": True}] if reply.thinking else []
    parts += [{"text": reply.text}] if reply.text is not None else []
    calls = [{"name": call.name, "args": call.input} for call in reply.calls]
    return parts + [{"functionCall": call, "thoughtSignature": SIGNATURE} for call in calls]


def _gemini_chunk(parts: list[Json], model: str, tag: str, **end: Any) -> Json:
    candidate = {"index": 0, "content": {"role": "model", "parts": parts}, **end}
    return {"candidates": [candidate], "modelVersion": model, "responseId": tag}


def _gemini_body(reply: Reply, model: str, tag: str) -> Json:
    return _gemini_closed(_gemini_parts(reply), reply, model, tag)


def _gemini_closed(parts: list[Json], reply: Reply, model: str, tag: str) -> Json:
    """A chunk that says why the model stopped and what was used."""
    used, read = reply.usage, reply.usage.input + reply.usage.cache_read
    counts = {
        **{"promptTokenCount": read, "cachedContentTokenCount": used.cache_read},
        # The answer's tokens are told without those of the thoughts.
        **{"candidatesTokenCount": used.output - used.reasoning, "thoughtsTokenCount": used.reasoning},
        "totalTokenCount": read + used.output,
    }
    return {**_gemini_chunk(parts, model, tag, finishReason=reply.stop or "STOP"), "usageMetadata": counts}


def _gemini_events(reply: Reply, model: str, tag: str) -> Iterator[Event]:
    for part in _gemini_parts(reply):
        for each in [{**part, "text": text} for text in _pieces(part["text"])] if "text" in part else [part]:
            yield "", _gemini_chunk([each], model, tag)
    if reply.breaks:
        yield "", _gemini_refuse(reply.breaks)
    else:
        yield "", _gemini_closed([{"text": ""}], reply, model, tag)


def _gemini_refuse(refusal: Refusal) -> Json:
    usual = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
    usual |= {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
    kind = refusal.kind or usual.get(refusal.status, "INTERNAL")
    return {"error": {"code": refusal.status, "message": refusal.text, "status": kind}}


def _named_tools(body: Json) -> list[str]:
    return [tool.get("name") or tool.get("type", "") for tool in body.get("tools") or []]


ANTHROPIC = Dialect(
    "anthropic", _messages_lines, _named_tools, _messages_body, _messages_events, _messages_refuse, unscripted=403
)
RESPONSES = Dialect(
    "responses", _responses_lines, _responses_tools, _responses_body, _responses_events, _openai_refuse, unscripted=400
)
CHAT = Dialect("chat", _chat_lines, _chat_tools, _chat_body, _chat_events, _openai_refuse, unscripted=403)
GEMINI = Dialect("gemini", _gemini_lines, _gemini_tools, _gemini_body, _gemini_events, _gemini_refuse, unscripted=403)
