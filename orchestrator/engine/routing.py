"""Whether `routing:`, `fallback:` and `execution_limits:` in orc.yaml name agents that are there, and that may do it.

None of this is an error when the file is read: souls come and go without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from orchestrator.adapters.config_file import FILE_NAME, line_in_config
from orchestrator.core.board import AgentView
from orchestrator.core.nearest import guess
from orchestrator.engine.criteria import slip_in
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError


def routing_problems(ws: Workspace, agents: Mapping[str, AgentView]) -> Iterator[InvalidFileError]:
    """What of `routing:` can have no effect."""
    for kind, route in ws.config.routing.items():
        if slip := slip_in(ws.paths.root, kind):
            line = line_in_config(ws.paths.root, "routing", kind)
            yield InvalidFileError(slip, file=FILE_NAME, line=line, key=f"routing.{kind}")
        for at, name in enumerate(route.agents):
            if why := _why_not(name, kind, agents):
                yield InvalidFileError(
                    why, file=FILE_NAME, line=_line_in_list(ws, "routing", kind, at), key=f"routing.{kind}"
                )
        able = [each for each in agents.values() if not _may_not(each, kind)]
        if route.tier and all(ws.config.tier_of(each.model) != route.tier for each in able):
            why = f"no agent that may do work of kind {kind} has a model of the tier {route.tier!r}"
            line = line_in_config(ws.paths.root, "routing", kind, "tier")
            yield InvalidFileError(why, file=FILE_NAME, line=line, key=f"routing.{kind}.tier")


def fallback_problems(ws: Workspace, agents: Mapping[str, AgentView]) -> Iterator[InvalidFileError]:
    """What of `fallback:` can have no effect: an agent that is not there, or that does no work, or that would stand in
    for itself."""
    for name, others in ws.config.fallback.items():
        if why := _why_no_work(name, agents):
            line = line_in_config(ws.paths.root, "fallback", name)
            yield InvalidFileError(why, file=FILE_NAME, line=line, key=f"fallback.{name}")
        for at, other in enumerate(others):
            why = f"{name} does not stand in for itself" if other == name else _why_no_work(other, agents)
            if why:
                line = _line_in_list(ws, "fallback", name, at)
                yield InvalidFileError(why, file=FILE_NAME, line=line, key=f"fallback.{name}")


def limits_problems(ws: Workspace, agents: Mapping[str, AgentView]) -> Iterator[InvalidFileError]:
    """Limits of agents that are not there: whoever is meant has others."""
    for name in ws.config.execution_limits.agents:
        if name not in agents:
            path = ("execution_limits", "agents", name)
            line = line_in_config(ws.paths.root, *path)
            yield InvalidFileError(_unknown(name, agents), file=FILE_NAME, line=line, key=".".join(path))


def _line_in_list(ws: Workspace, *path: str | int) -> int:
    """The line of an entry of a list; that of the list where it is no list but one word."""
    found = (line_in_config(ws.paths.root, *each) for each in (path, path[:-1]))
    return next(filter(None, found), 0)


def _unknown(name: str, *nearest: Iterable[str]) -> str:
    """That there is no such agent, and the one it is nearest to: of the first of these that have any."""
    guesses = (guess(name, known) for known in nearest)
    return f"agent {name!r} has no usable file in souls/" + next(filter(None, guesses), "")


def _why_not(name: str, kind: str, agents: Mapping[str, AgentView]) -> str:
    if name in agents:
        return _may_not(agents[name], kind)
    return _unknown(name, [each for each in agents if not _may_not(agents[each], kind)], agents)


def _why_no_work(name: str, agents: Mapping[str, AgentView]) -> str:
    """Why an agent gets no work of any kind, '' if it may."""
    if name in agents:
        return _does_none(agents[name])
    return _unknown(name, [each for each in agents if not _does_none(agents[each])], agents)


def _may_not(agent: AgentView, kind: str) -> str:
    """Why an agent never gets work of a kind, '' if it may."""
    soul = agent.soul
    if soul.kinds and kind not in soul.kinds and "work" in soul.roles:
        return f"agent {soul.name!r} may not do work of kind {kind}: its `kinds:` are {', '.join(soul.kinds)}"
    return _does_none(agent)


def _does_none(agent: AgentView) -> str:
    soul = agent.soul
    return "" if "work" in soul.roles else f"agent {soul.name!r} does no work: its `roles:` are {', '.join(soul.roles)}"
