"""Hypothesis strategies: any value of a dataclass of orc, made from its type hints."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import StrEnum
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

UNSAFE = "\x7f\u2028\u2029\ufeff\ufffe\uffff" + "".join(
    map(chr, [*range(9), 11, 12, *range(14, 32), *range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
)
"""Characters that no file of orc may hold."""
SAFE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=UNSAFE), max_size=30)
HOSTILE_TEXT = st.lists(
    st.sampled_from(
        ["---", "\n", "\r\n", "orc:", "#", " ", "- a", "\t", "é", "🙂", "no", "1e3", ": ", "'", '"', "{", "|"]
    ),
    max_size=8,
).map("".join)


def values_of(kind: type[T], text: st.SearchStrategy[str] = SAFE_TEXT | HOSTILE_TEXT) -> st.SearchStrategy[T]:
    """Instances of a dataclass; every `str` in them is drawn from `text`."""
    hints = typing.get_type_hints(kind)
    fields: dict[str, st.SearchStrategy[Any]] = {
        field.name: _of(hints[field.name], text)
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
    }
    return st.builds(kind, **fields)


def _of(hint: Any, text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(_of(each, text) for each in inner))
    if origin is tuple:
        return st.lists(_of(inner[0], text), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(text, _of(inner[1], text), max_size=3)
    if dataclasses.is_dataclass(hint):
        return values_of(typing.cast("type[Any]", hint), text)
    if issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: text,
        bool: st.booleans(),
        int: st.integers(-(10**17), 10**17),
        float: st.floats(allow_nan=False, allow_infinity=False),
        type(None): st.none(),
    }
    return simple[hint]
