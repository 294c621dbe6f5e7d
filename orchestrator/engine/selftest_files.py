"""The cases, guards and incidents of the self-test, as they come with orc in `orchestrator/selftest/`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from orchestrator.adapters.schemas import validate
from orchestrator.adapters.strict_yaml import load_mapping
from orchestrator.core.codec import from_mapping
from orchestrator.core.selftest import Gate, Incident, gate_of
from orchestrator.errors import InvalidFileError

INCIDENTS = "incidents.yaml"
FILE_BYTES = 1024 * 1024


@cache
def read_incidents() -> dict[str, Incident]:
    """What went wrong once, by id."""
    listed = _load(INCIDENTS)["incidents"]
    return {each["id"]: from_mapping(Incident, each) for each in listed}


@cache
def read_gates(*, checked: bool = False) -> tuple[Gate, ...]:
    """Every gate with its guards and cases, in the order of their files. Raises InvalidFileError.

    `checked`: held against the schema first, which takes a while and says where a mistake is.
    """
    names = sorted(each.name for each in files("orchestrator").joinpath("selftest").iterdir())
    gates = tuple(_gate(name, checked=checked) for name in names if name.endswith(".yaml") and name != INCIDENTS)
    seen: set[str] = set()
    for gate in gates:
        file = f"selftest/{gate.name}.yaml"
        for name in (gate.name, *(each.name for each in gate.cases)):
            if name in seen:
                raise InvalidFileError(f"the name {name!r} is used twice", file=file)
            seen.add(name)
        unknown = [each.incident for each in gate.guards.values() if each.incident not in read_incidents()]
        if unknown:
            raise InvalidFileError(f"there is no incident {unknown[0]!r}", file=file)
    return gates


def _gate(name: str, *, checked: bool) -> Gate:
    value = _load(name, schema="selftest" if checked else "")
    try:
        return gate_of(value)
    except (ValueError, TypeError) as error:
        raise InvalidFileError(str(error), file=f"selftest/{name}") from error


def _load(name: str, *, schema: str = "") -> dict[str, Any]:
    data, file = files("orchestrator").joinpath("selftest", name).read_bytes(), f"selftest/{name}"
    document = load_mapping(data, file=file, max_bytes=FILE_BYTES)
    if schema:
        validate(document.value, schema, file=file, lines=document.lines)
    found: dict[str, Any] = document.value
    return found
