"""`orc.yaml` as a file: read and checked, and the commented one that `orc init` writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.adapters.cron import zone_problem
from orchestrator.adapters.reading import safe_read
from orchestrator.adapters.schemas import Lines, load_schema, validate
from orchestrator.adapters.strict_yaml import Document, load_mapping
from orchestrator.adapters.templates import SCHEMA_LINE, render_prose, render_section, render_value
from orchestrator.core.config import Config
from orchestrator.core.nearest import guess
from orchestrator.errors import InvalidFileError, NotFoundError, OrcError

FILE_NAME = "orc.yaml"

_LAST = ("models", "routing", "sessions", "review", "limits", "execution_limits", "logs", "notify")
"""What stands at the end of a new file."""


def read_config(root: Path, *, known: Path | None = None) -> Config:
    """The configuration of the workspace `root`; `known` as in `schemas.validate`.

    Raises NotFoundError without one, InvalidFileError for a wrong one.
    """
    try:
        data = safe_read(root / FILE_NAME).data
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no {FILE_NAME} in {root}", cause="This folder is not a workspace of orc.", hint="orc init"
        ) from error
    return parse_config(data, name=FILE_NAME, known=known)


@lru_cache(maxsize=8)  # It is read at every tick.
def parse_config(data: bytes, *, name: str = FILE_NAME, known: Path | None = None) -> Config:
    """The configuration that a file holds. Raises InvalidFileError naming line, key and what is allowed."""
    document = load_mapping(data, file=name)
    validate(document.value, "config", file=name, lines=document.lines, known=known)
    _fill_types(document)
    _check_names(document, name)
    _check_ways(document, name)
    try:
        return Config.from_file(document.value)
    except ValueError as error:
        raise InvalidFileError(str(error), file=name) from error


def line_in_config(root: Path, *path: str | int) -> int:
    """The line of `orc.yaml` in the workspace `root` on which a value stands; 0 if that cannot be told."""
    try:
        return _lines_of(safe_read(root / FILE_NAME).data).get(path, 0)
    except (OrcError, OSError):
        return 0


@lru_cache(maxsize=1)  # A board that is shown asks several times a second.
def _lines_of(data: bytes) -> Lines:
    return load_mapping(data, file=FILE_NAME).lines


def config_template(*, target: str, checks: Sequence[str] = (), schema_path: str = "") -> str:
    """The `orc.yaml` of a new workspace: one project `main`, every other key commented out with its meaning.

    `target` is the branch that work lands on, `checks` the commands found for it, `schema_path` where
    editors find the schema.
    """
    schema = load_schema("config")
    parts = schema["properties"]
    lines = [SCHEMA_LINE.format(schema_path)] if schema_path else []
    lines += [
        "# The configuration of orc. To use a key that is commented out, take the # in front of it away.",
        "",
        *render_section(schema, given={"version": 1}, skip=("projects", "backends", *_LAST)),
        "",
        *_project_lines(parts["projects"], target, checks),
        "",
        *_backend_lines(parts["backends"]),
        "",
        *render_section(schema, given={}, skip=[key for key in parts if key not in _LAST]),
    ]
    return "\n".join(lines) + "\n"


def _project_lines(schema: Mapping[str, Any], target: str, checks: Sequence[str]) -> list[str]:
    given = {"path": ".", "target": target, "checks": list(checks), "merge": "ask"}
    return [
        *render_prose(schema["description"]),
        "projects:",
        "  main:",
        *render_section(schema["additionalProperties"], given=given, indent=4),
    ]


def _backend_lines(schema: Mapping[str, Any]) -> list[str]:
    from orchestrator.adapters.backends.registry import BACKENDS

    keys = dict(schema["additionalProperties"]["properties"])
    keys["type"] = {"description": f"{keys['type']['description']} There are: {', '.join(BACKENDS)}."}
    told = [line for key, sub in keys.items() for line in render_prose(f"{key}: {sub['description']}")]
    return [*render_prose(schema["description"]), *told, *render_value("backends", schema["examples"][0], used=False)]


def _fill_types(document: Document) -> None:
    """A backend that has the name of a type is of that type, unless it says otherwise: by `type`, or by `argv`."""
    from orchestrator.adapters.backends.registry import BACKENDS

    for key, settings in (document.value.get("backends") or {}).items():
        if key in BACKENDS and "argv" not in settings:
            settings.setdefault("type", key)


def _check_names(document: Document, name: str) -> None:
    # Here, not in the schema: which types there are is known to their registry alone, which models to the file.
    from orchestrator.adapters.backends.registry import BACKENDS

    models = document.value.get("models") or {}
    for key, settings in (document.value.get("backends") or {}).items():
        _check_name(document, name, ("backends", key, "type"), settings.get("type", "command"), BACKENDS)
        if models and settings.get("model"):
            _check_name(document, name, ("backends", key, "model"), settings["model"], models)
        if not settings.keys() & {"type", "argv"}:
            raise InvalidFileError(
                f"says neither `type:` nor `argv:`, and no type has this name (there: {', '.join(BACKENDS)})"
                + guess(key, BACKENDS),
                file=name,
                line=document.lines["backends", key],
                key=f"backends.{key}",
            )
    limits = document.value.get("execution_limits") or {}
    for key in limits.get("projects") or {}:
        _check_name(
            document, name, ("execution_limits", "projects", key), key, document.value.get("projects") or ["main"]
        )
    if problem := zone_problem(limits.get("tz", "UTC")):
        path = ("execution_limits", "tz")
        raise InvalidFileError(problem, file=name, line=document.lines[path], key=".".join(path))
    tiers = {tier for each in models.values() if (tier := each.get("tier"))}
    for kind, route in (document.value.get("routing") or {}).items():
        if isinstance(route, dict):
            _check_name(document, name, ("routing", kind, "tier"), route["tier"], tiers)


def _check_ways(document: Document, name: str) -> None:
    notify = document.value.get("notify") or {}
    if quiet := notify.get("quiet"):
        from orchestrator.adapters.cron import zone_problem

        if problem := zone_problem(quiet["tz"]):
            raise InvalidFileError(
                problem, file=name, line=document.lines["notify", "quiet", "tz"], key="notify.quiet.tz"
            )
        if quiet["start"] == quiet["end"]:
            raise InvalidFileError(
                "is as `start`, so that most would be told at no hour; `about` says what you are told of",
                file=name,
                line=document.lines["notify", "quiet", "end"],
                key="notify.quiet.end",
            )
    for way, channel in (notify.get("to") or {}).items():
        if "webhook" in channel:
            from orchestrator.adapters.messenger import address_problem

            if problem := address_problem(channel["webhook"]):
                line = document.lines["notify", "to", way, "webhook"]
                raise InvalidFileError(problem, file=name, line=line, key=f"notify.to.{way}.webhook")


def _check_name(document: Document, file: str, path: tuple[str, str, str], value: str, known: Iterable[str]) -> None:
    known = sorted(known)
    if value in known:
        return
    near = get_close_matches(value, known, n=1)
    guess = f"; did you mean `{near[0]}`?" if near else ""
    allowed = f"allowed: {', '.join(known)}" if known else "no model under models: has one"
    raise InvalidFileError(f"is {value!r}; {allowed}{guess}", file=file, line=document.lines[path], key=".".join(path))
