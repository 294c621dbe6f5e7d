"""Setting and taking away single keys of a job's or a soul's text, and leaving every other character as the person
wrote it.

It changes text only. A change that it cannot make without touching anything else it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.adapters.schemas import load_schema
from orchestrator.adapters.strict_yaml import dump, load
from orchestrator.core.document import FENCE, cut_front_matter
from orchestrator.errors import InvalidFileError, NotFoundError, RefusedError

KeyPath = tuple[str, ...]
"""A key, or a key and one below it: `("limits", "minutes")`."""


def find_key(name: str) -> KeyPath:
    """The key that a person means by `limits.minutes`, or by `minutes` alone where only one key is called so.

    Raises NotFoundError.
    """
    known = list(_known_keys())
    if (path := tuple(name.split("."))) in known:
        return path
    found = [each for each in known if each[-1] == name]
    if len(found) == 1:
        return found[0]
    from difflib import get_close_matches

    names = {".".join(each): each for each in known} | {each[-1]: each for each in known}
    near = get_close_matches(name, names, n=1)
    meant = f"; did you mean {'.'.join(names[near[0]])!r}?" if near else ""
    raise NotFoundError(f"a job has no key {name!r}{meant}", hint="orc new prints every key")


def _known_keys() -> Iterator[KeyPath]:
    for name, schema in load_schema("job")["properties"].items():
        yield (name,)
        for below in schema.get("properties", {}):
            yield (name, below)


def set_key(text: str, path: KeyPath, value: Any, *, markdown: bool) -> str:
    """The text with the key set. Raises RefusedError if that cannot be done without touching anything else."""
    try:
        dump(value)
    except ValueError as error:
        raise RefusedError(f"`{'.'.join(path)}`: {error}", hint="leave that out") from error
    if not markdown:
        return _checked(text, _with(_value(text), path, value), _setters(text, path, value), path)
    head, matter, tail, body = _cut(text)
    if path == ("prompt",) and body.strip() and isinstance(value, str):
        return head + matter + tail + value.strip("\n") + "\n"
    if not head:
        head, tail = f"{FENCE}\n", f"{FENCE}\n"
    changed = _checked(matter, _with(_value(matter), path, value), _setters(matter, path, value), path)
    return head + changed + tail + body


def unset_key(text: str, path: KeyPath, *, markdown: bool) -> str:
    """The text without the key; as it is if the key is not there. Raises RefusedError as `set_key` does."""
    head, matter, tail, body = _cut(text) if markdown else ("", text, "", "")
    before = _value(matter)
    while len(path) > 1 and isinstance(before.get(path[0]), dict) and set(before[path[0]]) == {path[1]}:
        path = path[:1]
    after = _without(before, path)
    if after == before:
        return text
    changed = _checked(matter, after, [lambda: _removed(matter, path)], path)
    if markdown and not changed.strip() and not body.startswith(FENCE):
        return body
    return head + changed + tail + body


def _cut(text: str) -> tuple[str, str, str, str]:
    """The opening fence, what stands between the fences, the closing fence, and the body."""
    matter, body = cut_front_matter(text)
    if matter is None:
        return "", "", "", body
    head = text.partition("\n")[0] + "\n"
    return head, matter, text[len(head) + len(matter) : len(text) - len(body)], body


# --- what it is to mean ---


def _value(text: str) -> dict[str, Any]:
    value = load(text).value
    return value if isinstance(value, dict) else {}


def _with(before: Mapping[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    first, *rest = path
    if rest:
        inner = before.get(first)
        value = _with(inner if isinstance(inner, dict) else {}, tuple(rest), value)
    return {**before, first: value}


def _without(before: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    first, *rest = path
    if rest and isinstance(before.get(first), dict):
        return {**before, first: _without(before[first], tuple(rest))}
    return {key: value for key, value in before.items() if key != first or rest}


def _checked(text: str, wanted: Mapping[str, Any], ways: list[Callable[[], str]], path: KeyPath) -> str:
    """The first of the ways that comes to what is wanted and to nothing else."""
    for way in ways:
        changed = way()
        try:
            if _value(changed) == wanted:
                is_crlf = 0 < text.count("\n") == text.count("\r\n")
                return changed.replace("\r\n", "\n").replace("\n", "\r\n") if is_crlf else changed
        except InvalidFileError:
            continue
    raise RefusedError(
        f"`{'.'.join(path)}` cannot be changed by itself in a file that is laid out like this one",
        hint="write it there by hand; orc edit JOB opens the file of a job",
    )


# --- where it stands ---


@dataclass(slots=True)
class _Node:
    """A value in the text: from, up to; a mapping has entries."""

    start: int
    end: int
    flow: bool = False
    block_scalar: bool = False
    entries: list[_Entry] | None = None


@dataclass(slots=True)
class _Entry:
    key: str
    start: int
    value: _Node = field(default_factory=lambda: _Node(0, 0))

    @property
    def end(self) -> int:
        return self.value.end


def _root(text: str) -> _Node | None:
    # The Python parser, whose marks count characters; what is hostile was refused when the text was read before.
    events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
    for event in events:
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            return _node(event, events)
    return None


def _node(event: Any, events: Iterator[Any]) -> _Node:
    each: Any
    node = _Node(event.start_mark.index, event.end_mark.index)
    if isinstance(event, yaml.ScalarEvent):
        node.block_scalar = event.style in ("|", ">")
        return node
    node.flow = bool(event.flow_style)
    is_mapping = isinstance(event, yaml.MappingStartEvent)
    node.entries = [] if is_mapping else None
    while not isinstance(each := next(events), yaml.CollectionEndEvent):
        if is_mapping:
            entry = _Entry(each.value, each.start_mark.index)
            entry.value = _node(next(events), events)
            assert node.entries is not None
            node.entries.append(entry)
            node.end = entry.end
        else:
            node.end = _node(each, events).end
    if node.flow:
        # A block's end is told where the next thing begins, behind comments: it ends with its last entry.
        end: Any = each.end_mark
        node.end = end.index
    return node


# --- changing it ---


def _setters(text: str, path: KeyPath, value: Any) -> list[Callable[[], str]]:
    return [lambda: _set(text, path, value, at_end=True), lambda: _set(text, path, value, at_end=False)]


def _set(text: str, path: KeyPath, value: Any, *, at_end: bool) -> str:
    root = _root(text)
    if root is None or not root.entries:
        if root is not None and root.flow:
            return text[: root.start] + "{" + _flow(path, value) + "}" + text[root.end :]
        return _line_end(text) + _block(path, value, 0)
    node, rest = root, list(path)
    while True:
        entry = next((each for each in node.entries or () if each.key == rest[0]), None)
        if entry is None:
            return _inserted(text, node, tuple(rest), value, at_end=at_end)
        if len(rest) == 1 or not entry.value.entries:
            return _replaced(text, node, entry, tuple(rest), value)
        node, rest = entry.value, rest[1:]


def _inserted(text: str, node: _Node, path: KeyPath, value: Any, *, at_end: bool) -> str:
    assert node.entries
    first, last = node.entries[0], node.entries[-1]
    if node.flow:
        key = '"' * text.startswith('"', first.start)  # What is JSON stays JSON.
        written = _flow((f"{key}{path[0]}{key}", *path[1:]), value)
        return f"{text[: last.end]}, {written}{text[last.end :]}"
    block = _block(path, value, _column(text, first.start))
    at = _line_after(text, last.end) if at_end else _line_of(text, first.start)
    return _line_end(text[:at]) + block + text[at:]


def _replaced(text: str, node: _Node, entry: _Entry, path: KeyPath, value: Any) -> str:
    old, lines = entry.value, _block(path, value, _column(text, entry.start))
    is_inline = not old.block_scalar and "\n" not in text[old.start : old.end] and not _is_block(old)
    if node.flow or (is_inline and (old.flow or lines.count("\n") == 1)):
        written = _flow(path, value) if node.flow or old.flow else lines.strip()
        gap = "" if text[old.start - 1] == " " else " "
        return text[: old.start] + gap + written.partition(": ")[2] + text[old.end :]
    end = _line_after(text, old.end)
    while text[:end].endswith("\n\n"):
        end -= 1  # Empty lines below a block of text are nobody's.
    return text[: _line_of(text, entry.start)] + lines + text[end:]


def _removed(text: str, path: KeyPath) -> str:
    node = _root(text)
    for name in path[:-1]:
        node = next((each.value for each in (node.entries or () if node else ()) if each.key == name), None)
    entries = (node.entries if node else None) or []
    at = next((index for index, each in enumerate(entries) if each.key == path[-1]), None)
    if node is None or at is None:
        return text
    entry = entries[at]
    if not node.flow:
        return text[: _line_of(text, entry.start)] + text[_line_after(text, entry.end) :]
    if at + 1 < len(entries):
        return text[: entry.start] + text[entries[at + 1].start :]
    start = entries[at - 1].end if at else entry.start
    return text[:start] + text[entry.end :]


def _is_block(node: _Node) -> bool:
    return bool(node.entries) and not node.flow


def _block(path: KeyPath, value: Any, indent: int) -> str:
    """The lines of a key with its value."""
    nested: Any = value
    for name in reversed(path):
        nested = {name: nested}
    return "".join(f"{' ' * indent}{line}\n" if line else "\n" for line in dump(nested).splitlines())


def _flow(path: KeyPath, value: Any) -> str:
    """`key: value` on one line."""
    nested: Any = value
    for name in path[1:][::-1]:
        nested = {name: nested}
    return f"{path[0]}: {_on_one_line(nested)}"


def _on_one_line(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_on_one_line(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_on_one_line, value)) + "]"
    plain = dump(value).rstrip("\n")
    # A text that needs no quotes on a line of its own may need them among brackets.
    return plain if not isinstance(value, str) or value.isalnum() else _quoted(value)


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


def _column(text: str, at: int) -> int:
    return at - _line_of(text, at)


def _line_of(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_after(text: str, at: int) -> int:
    """Where the line after the one that ends or holds `at` begins."""
    if at and text[at - 1 : at] == "\n":
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _line_end(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
