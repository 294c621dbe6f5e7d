"""Scenarios as files: a made-up house for `orc simulate`, read and checked; and those that orc brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files

from orchestrator.adapters.config_file import parse_config
from orchestrator.adapters.library import parse_schedule
from orchestrator.adapters.schemas import validate
from orchestrator.adapters.strict_yaml import Document, dump, load_mapping
from orchestrator.core.codec import from_mapping
from orchestrator.core.config import Config
from orchestrator.core.nearest import guess
from orchestrator.core.recurring import Schedule
from orchestrator.core.scenario import (
    Burst,
    Checks,
    FakeAgent,
    FakeService,
    Incident,
    Person,
    Scenario,
    Trial,
    Work,
    copies_of,
)
from orchestrator.errors import InvalidFileError, NotFoundError

FOLDER = "scenarios"
USUAL = "busy-week"
"""The scenario that is played where none is named."""
_OF_A_BACKEND = (Trial.OUTAGE, Trial.DEAD_KEY, Trial.IDLE)


def shipped() -> tuple[str, ...]:
    """The names of the scenarios that orc brings along."""
    folder = files("orchestrator").joinpath(FOLDER)
    return tuple(sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml")))


def read_shipped(name: str) -> Scenario:
    """One of them. Raises NotFoundError."""
    names = shipped()
    if name not in names:
        there = ", ".join(names)
        raise NotFoundError(f"there is no scenario {name!r}{guess(name, names)} (there: {there})", hint="orc simulate")
    data = files("orchestrator").joinpath(FOLDER, f"{name}.yaml").read_bytes()
    return parse_scenario(data, name=f"{name}.yaml")


def parse_scenario(data: bytes, *, name: str) -> Scenario:
    """The scenario that a file holds. Raises InvalidFileError naming line, key and what is allowed."""
    document = load_mapping(data, file=name)
    validate(document.value, "scenario", file=name, lines=document.lines)
    facts = document.value
    config = _config(document, name)
    agents = {key: from_mapping(FakeAgent, value) for key, value in facts["agents"].items()}
    work = {key: from_mapping(Work, value) for key, value in (facts.get("work") or {}).items()}
    scenario = Scenario(
        title=facts["title"],
        start=datetime.strptime(facts["start"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
        days=float(facts["days"]),
        config=config,
        agents={
            key: each if each.family else replace(each, family=_family(config, each))
            for key, each in copies_of(agents).items()
        },
        services={key: from_mapping(FakeService, value) for key, value in (facts.get("services") or {}).items()},
        work=work,
        bursts=tuple(from_mapping(Burst, each) for each in facts.get("bursts") or ()),
        schedules=tuple(_schedule(document, key, name) for key in facts.get("schedules") or {}),
        incidents=tuple(from_mapping(Incident, each) for each in facts.get("incidents") or ()),
        person=from_mapping(Person, facts.get("person") or {}),
        checks=from_mapping(Checks, facts.get("checks") or {}),
        seed=facts.get("seed", 1),
        limits_of="the scenario",
    )
    _check_names(document, scenario, agents, name)
    return scenario


def _config(document: Document, name: str) -> Config:
    """What the scenario says in the words of orc.yaml; errors are told at their lines in the scenario."""
    words = {"version": 1, **(document.value.get("orc") or {})}
    words.setdefault("backends", {})
    for agent in document.value["agents"].values():
        # Nothing is started, so any backend will do.
        settings = words["backends"].setdefault(agent["backend"], {})
        settings.setdefault("type", "command")
        if settings["type"] == "command":
            settings.setdefault("argv", ["true"])
    try:
        return parse_config(dump(words).encode(), name=name)
    except InvalidFileError as error:
        raise _at_home(error, document, name, "orc") from error


def _at_home(error: InvalidFileError, document: Document, name: str, *part: str) -> InvalidFileError:
    """An error about a part of the scenario that was read as a file of its own, told where it stands."""
    keys = (*part, *(error.key.replace("[", ".").replace("]", "").split(".") if error.key else ()))
    line = _line_of(document, keys)
    return InvalidFileError(error.reason, file=name, line=line, key=".".join(keys), hint=error.hint)


def _line_of(document: Document, path: Sequence[str | int]) -> int:
    """The line of a value, else of the nearest thing around it."""
    paths = (tuple(path[:n]) for n in range(len(path), -1, -1))
    return next((document.lines[each] for each in paths if each in document.lines), 0)


def _family(config: Config, agent: FakeAgent) -> str:
    known = config.models.get(agent.model)
    return known.family if known else ""


def _schedule(document: Document, key: str, name: str) -> Schedule:
    try:
        return parse_schedule(key, dump(document.value["schedules"][key]).encode(), name)
    except InvalidFileError as error:
        raise _at_home(error, document, name, "schedules", key) from error


def _check_names(document: Document, scenario: Scenario, agents: Mapping[str, FakeAgent], name: str) -> None:
    """What one part says of another has to be there: a slip would be a trial that never comes."""
    backends = {each.backend for each in agents.values()}
    wanted: list[tuple[tuple[str | int, ...], str, set[str]]] = [
        (("bursts", at, "work"), each.work, set(scenario.work)) for at, each in enumerate(scenario.bursts)
    ]
    for at, each in enumerate(scenario.incidents):
        if each.what in _OF_A_BACKEND:
            wanted.append((("incidents", at, "backend"), each.backend, backends))
    wanted += [(("services", key), key, backends) for key in scenario.services]
    for key, work in scenario.work.items():
        wanted.append((("work", key, "project"), work.project, set(scenario.config.projects)))
        if work.agent:
            wanted.append((("work", key, "agent"), work.agent, set(scenario.agents)))
    for path, value, known in wanted:
        if value not in known:
            line = _line_of(document, path)
            told = f"{value!r} is not in this scenario (there: {', '.join(sorted(known)) or 'none'})"
            where = ".".join(map(str, path))
            raise InvalidFileError(told + guess(value, sorted(known)), file=name, line=line, key=where)
