"""Checks values against the JSON Schemas in `orchestrator/schemas`, the authority on every file a person writes.

Says what is wrong in terms of the file: its line, its key, and what would be allowed there.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.core.nearest import nearest
from orchestrator.errors import InvalidFileError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a file down to a value."""
Lines = Mapping[Path, int]
"""The line (1-based) on which the value at a path stands."""

_TYPE_NAMES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "empty",
    "number": "a number",
    "object": "a mapping of keys to values",
    "string": "text",
}


@cache
def load_schema(schema_name: str) -> Mapping[str, Any]:
    """The schema as it was written. Raises FileNotFoundError for a name that is none."""
    text = files("orchestrator").joinpath("schemas", f"{schema_name}.schema.json").read_text(encoding="utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


OF_PEOPLE = frozenset({"config", "job", "criteria", "schedule", "soul"})
"""The schemas of files in which `3.0` is no whole number, as JSON Schema has it: none of what is made of them takes it,
and only here the line is known."""


def validate(
    value: object, schema_name: str, *, file: str = "", lines: Lines | None = None, known: pathlib.Path | None = None
) -> None:
    """Raise InvalidFileError for the first mistake in the file, saying how many more there are.

    `known` is a folder in which it is noted what was found to be good: loading the validator takes longer than all else
    that a command does which only looks.
    """
    if known is None:
        _validate(value, schema_name, file, lines)
        return
    digest = hashlib.sha256(json.dumps([load_schema(schema_name), value], sort_keys=True).encode()).hexdigest()
    note = known / f"{schema_name}-{file.replace('/', '%')}"
    with suppress(OSError):
        if note.read_text("ascii") == digest:
            return
    _validate(value, schema_name, file, lines)
    with suppress(OSError), effect(Effect.CACHE_WRITE):
        ensure_folder(known)
        write_atomic(note, digest.encode(), sync=False)


def _validate(value: object, schema_name: str, file: str, lines: Lines | None) -> None:
    problems = find_problems(value, schema_name, file=file, lines=lines)
    if not problems:
        return
    first = problems[0]
    if len(problems) > 1:
        others = "; ".join(str(one.in_file("")) for one in problems[1:4])
        more = f" ({len(problems) - 1} more: {others})"
        raise InvalidFileError(first.reason + more, file=file, line=first.line, key=first.key, hint=first.hint)
    raise first


def find_problems(
    value: object, schema_name: str, *, file: str = "", lines: Lines | None = None
) -> list[InvalidFileError]:
    """Every mistake, in the order of the lines they stand on."""
    found = []
    for error in _leaves(_validator(schema_name).iter_errors(value)):
        for path, reason in _explain(error):
            line = _line_of(lines or {}, path)
            hint = str(error.schema.get("description", "")) if isinstance(error.schema, dict) else ""
            found.append(InvalidFileError(reason, file=file, line=line, key=_key_name(path), hint=hint))
    return sorted(found, key=lambda one: (one.line, one.key, one.reason))


@cache
def _validator(schema_name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator, validators

    kind = Draft202012Validator
    if schema_name in OF_PEOPLE:
        types = kind.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
        kind = validators.extend(kind, type_checker=types)  # type: ignore[no-untyped-call]
    return kind(load_schema(schema_name), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _leaves(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    """The mistakes themselves. Of alternatives (`anyOf`, `oneOf`), those of the one that fits best."""
    from jsonschema.exceptions import best_match

    for error in errors:
        if error.context and (nearest := best_match(error.context)) is not None:
            yield from _leaves(iter([nearest]))
        else:
            yield error


def _explain(error: ValidationError) -> Iterator[tuple[Path, str]]:
    path: Path = tuple(error.absolute_path)
    rule, value = str(error.validator), error.instance
    limit: Any = error.validator_value
    if rule == "additionalProperties" and isinstance(value, dict) and isinstance(error.schema, dict):
        known = [str(key) for key in error.schema.get("properties", {})]
        patterns = error.schema.get("patternProperties", {})
        forms = " or ".join(patterns)
        for key in _unlisted(value, known, patterns):
            told = f"{_shown(key)} does not have the form {forms}" if forms and not known else _unknown(str(key), known)
            yield (*path, key), told
    elif rule == "required" and isinstance(value, dict):
        # One error per missing key: its name is only in the message otherwise.
        missing = [key for key in limit if key not in value and error.message.startswith(repr(key))]
        yield from (((*path, key), "this key is missing") for key in missing)
    else:
        yield path, _reason(rule, limit, value, error)


def _unlisted(value: Mapping[str, object], known: Sequence[str], patterns: Mapping[str, object]) -> list[str]:
    return [key for key in value if key not in known and not any(re.search(p, str(key)) for p in patterns)]


def _unknown(key: str, known: Sequence[str]) -> str:
    near = nearest(key, known)
    guess = f"; did you mean `{near}`?" if near else "."
    return f"unknown key{guess} Allowed here: {', '.join(sorted(known)) or 'nothing'}"


def _reason(rule: str, limit: Any, value: object, error: ValidationError) -> str:
    match rule:
        case "type":
            wanted = [limit] if isinstance(limit, str) else limit
            return f"must be {' or '.join(_TYPE_NAMES.get(t, t) for t in wanted)}, is {_shown(value)}"
        case "enum":
            allowed = [_shown(one) for one in limit]
            near = nearest(str(value), map(str, limit))
            guess = f"; did you mean `{near}`?" if near else ""
            return f"is {_shown(value)}; allowed: {', '.join(allowed)}{guess}"
        case "const":
            return f"must be {_shown(limit)}, is {_shown(value)}"
        case "minLength" | "maxLength":
            size = len(str(value))
            word = "at least" if rule == "minLength" else "at most"
            return f"has {size} characters; {word} {limit} are allowed"
        case "minItems" | "maxItems" | "minProperties" | "maxProperties":
            size = len(value) if isinstance(value, (list, dict)) else 0
            return f"has {size} entries; {'at least' if rule.startswith('min') else 'at most'} {limit} are allowed"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
            return f"is {_shown(value)}; must be {words.get(rule, 'less than')} {limit}"
        case "pattern":
            return f"{_shown(value)} does not have the form {limit}"
        case "format":
            return f"{_shown(value)} is not a valid {limit}"
        case "uniqueItems":
            return "holds the same entry twice"
    return error.message


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _key_name(path: Path) -> str:
    """`items[2].question`."""
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def _line_of(lines: Lines, path: Path) -> int:
    """The line of the value, else of the nearest thing around it, else 0."""
    for length in range(len(path), -1, -1):
        if line := lines.get(path[:length]):
            return line
    return 0
