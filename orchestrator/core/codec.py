"""Frozen dataclasses to plain mappings and back, by their type hints. Defaults are left out, so files stay short.

Only what the ledger's records use is supported: str, int, float, bool, StrEnum, nested dataclasses, `X | None`,
`tuple[X, ...]` and `dict[str, X]`. Anything else in a record is a programming error and raises TypeError.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def to_mapping(value: Any) -> dict[str, Any]:
    """The mapping of a dataclass instance, in field order, without the fields that have their default."""
    result: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if item == _default(field):
            continue
        result[field.name] = _plain(item)
    return result


def from_mapping(kind: type[T], value: object, *, where: str = "") -> T:
    """An instance of the dataclass `kind`. Unknown keys and values of a wrong type raise ValueError naming the key."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where or kind.__name__}: expected a mapping")
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy looks at the instances' hash
    unknown = [str(key) for key in value if key not in hints]
    if unknown:
        raise ValueError(f"{where or kind.__name__}: unknown key {unknown[0]!r}")
    prefix = f"{where}." if where else ""
    # Nearly all are plain values of the very type: nothing is to be looked into.
    items = {
        key: item if type(item) is hints[key] else _read(hints[key], item, prefix + key) for key, item in value.items()
    }
    try:
        return kind(**items)
    except TypeError as error:
        raise ValueError(f"{where or kind.__name__}: {error}") from None


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    raise TypeError(f"a record cannot hold {type(value).__name__}")


def _read(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        return _read(next(option for option in options if option is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where}: expected a list")
        item = typing.get_args(hint)[0]
        return tuple(_read(item, each, f"{where}[{at}]") for at, each in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected a mapping")
        item = typing.get_args(hint)[1]
        return {str(key): _read(item, each, f"{where}.{key}") for key, each in value.items()}
    return _read_single(hint, value, where)


def _read_single(hint: type, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where=where)
    if issubclass(hint, StrEnum):
        try:
            return hint(value)
        except ValueError:
            raise ValueError(f"{where}: {value!r} is not one of {', '.join(hint)}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"{where}: expected {hint.__name__}, got {type(value).__name__}")
    return value
