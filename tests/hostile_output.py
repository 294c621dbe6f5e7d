"""Output that no backend may trip over: what is no event at all, and events with a value of a wrong kind in them."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.adapters.backends.base import Backend, Output
from orchestrator.core.said import Said

JUNK: tuple[Any, ...] = (
    None,
    True,
    -5,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "x",
    "\x1b[31m\n\ud800",
    [],
    [[1]],
    {},
    {"a": {}},
)

NO_COUNTS: tuple[Any, ...] = (-5, True, 10**16, 1e308, float("nan"), float("inf"), "200", [7], {"a": 7})
"""What no number of tokens is, though it stands where one belongs."""

GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "words": b"I have done it all, success!\n",
    "binary": bytes(range(256)) * 50,
    "invalid UTF-8": b'{"type":"result","status":"succ\xff\xfeess"}\n{"event":"result\xc3"}\n',
    "a line of 20 MB": b'{"type":"result","status":"success","x":"' + b"x" * 20_000_000 + b'"}\n',
    "deeply nested": b'{"type":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "nested and open": b'{"type":{"a":' * 5000,
    "no objects": b'[1]\n"result"\n12\nnull\ntrue\nNaN\n',
    "a number of 10000 digits": b'{"type":"result","status":"success","n":' + b"9" * 10_000 + b"}\n",
    "empty objects": b"{}\n" * 1000,
    "types of a wrong kind": b'{"type":["result"],"event":{}}\n{"type":{"a":1}}\n{"type":7,"event":null}\n',
}


def as_lines(*events: dict[str, Any]) -> bytes:
    """Events as a program prints them."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def read_said(
    backend: Backend,
    stdout: bytes,
    *,
    exit: int | None = 0,
    signal: int | None = None,
    stderr: str = "",
    ended: bool = True,
) -> Said:
    """What a backend makes of an output."""
    said = backend.read(Output(io.BytesIO(stdout), stderr=stderr, exit=exit, signal=signal, ended=ended))
    assert said is not None
    return said


def broken(events: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """The events again and again, each time with one value at one place taken away or replaced by junk."""
    for path in _paths(list(events)):
        for junk in (..., *JUNK):
            changed = copy.deepcopy(list(events))
            _put(changed, path, junk)
            yield as_lines(*(event for event in changed if isinstance(event, dict)))


def read_broken(
    backend: Backend, events: Sequence[dict[str, Any]], *, exits: Sequence[int] = (0, 1)
) -> list[tuple[int, Said]]:
    """With each exit code: what is read where one value of the events is of a wrong kind. All of it is sane."""
    read = [(exit, read_said(backend, stdout, exit=exit)) for stdout in broken(events) for exit in exits]
    for _, said in read:
        assert_sane(said)
    return read


def assert_sane(said: Said) -> None:
    """Every value is of its own kind, no count is below nothing, and an end that is not well says why."""
    (said.text + said.why + said.model + "".join(said.denials)).encode()
    assert isinstance(said.text, str)
    assert isinstance(said.model, str)
    assert isinstance(said.session, str)
    assert said.ok == (not said.trouble) == (not said.why)
    assert "\n" not in said.why
    assert "\x1b" not in said.why + said.model + said.session
    assert said.tool_calls >= 0
    assert said.retries >= 0
    assert 0 <= said.retry_after_s < 10**9
    assert all(isinstance(name, str) and name for name in said.denials)
    if said.usage is not None:
        counts = [getattr(said.usage, key) for key in ("input", "output", "cache_read", "cache_write", "reasoning")]
        counts += [said.usage.cost_microusd or 0]
        assert all(isinstance(each, int) and each >= 0 for each in counts)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*at, key)
        yield from _paths(item, (*at, key))


def _put(value: Any, path: tuple[Any, ...], junk: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    if junk is ...:
        del value[path[-1]]
    else:
        value[path[-1]] = junk
