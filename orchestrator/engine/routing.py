"""Whether `routing:` and `execution_limits:` in orc.yaml name agents that are there, and that may do that work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.adapters.config_file import FILE_NAME, line_in_config
from orchestrator.core.board import AgentView
from orchestrator.core.nearest import guess
from orchestrator.engine.criteria import slip_in
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError


def routing_problems(ws: Workspace, agents: Mapping[str, AgentView]) -> Iterator[InvalidFileError]:
    """What of `routing:` can have no effect. No error when the file is read: souls come and go without it."""
    for kind, route in ws.config.routing.items():
        if slip := slip_in(ws.paths.root, kind):
            line = line_in_config(ws.paths.root, "routing", kind)
            yield InvalidFileError(slip, file=FILE_NAME, line=line, key=f"routing.{kind}")
        for at, name in enumerate(route.agents):
            if why := _why_not(name, kind, agents):
                found = (line_in_config(ws.paths.root, *path) for path in (("routing", kind, at), ("routing", kind)))
                line = next(filter(None, found), 0)
                yield InvalidFileError(why, file=FILE_NAME, line=line, key=f"routing.{kind}")
        able = [each for each in agents.values() if not _may_not(each, kind)]
        if route.tier and all(ws.config.tier_of(each.model) != route.tier for each in able):
            why = f"no agent that may do work of kind {kind} has a model of the tier {route.tier!r}"
            line = line_in_config(ws.paths.root, "routing", kind, "tier")
            yield InvalidFileError(why, file=FILE_NAME, line=line, key=f"routing.{kind}.tier")


def limits_problems(ws: Workspace, agents: Mapping[str, AgentView]) -> Iterator[InvalidFileError]:
    """Limits of agents that are not there: whoever is meant has others."""
    for name in ws.config.execution_limits.agents:
        if name not in agents:
            path = ("execution_limits", "agents", name)
            why = f"agent {name!r} has no usable file in souls/{guess(name, agents)}"
            yield InvalidFileError(why, file=FILE_NAME, line=line_in_config(ws.paths.root, *path), key=".".join(path))


def _why_not(name: str, kind: str, agents: Mapping[str, AgentView]) -> str:
    if name in agents:
        return _may_not(agents[name], kind)
    able = [each for each in agents if not _may_not(agents[each], kind)]
    return f"agent {name!r} has no usable file in souls/" + (guess(name, able) or guess(name, agents))


def _may_not(agent: AgentView, kind: str) -> str:
    """Why an agent never gets work of a kind, '' if it may."""
    soul = agent.soul
    if "work" not in soul.roles:
        return f"agent {soul.name!r} does no work: its `roles:` are {', '.join(soul.roles)}"
    if soul.kinds and kind not in soul.kinds:
        return f"agent {soul.name!r} may not do work of kind {kind}: its `kinds:` are {', '.join(soul.kinds)}"
    return ""
