"""Whether `routing:`, `fallback:` and `execution_limits:` in orc.yaml name agents that are there, and that may do it.

None of this is an error when the file is read: souls come and go without it. What a job names under `fallback:` is one
when it is taken in, for whoever handed it in is there to put it right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from orchestrator.adapters.config_file import FILE_NAME, line_in_config
from orchestrator.adapters.job_file import JobText
from orchestrator.adapters.library import read_souls
from orchestrator.core.agent import Soul
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
    souls = {name: each.soul for name, each in agents.items()}
    for name, others in ws.config.fallback.items():
        if why := _why_no_work(name, souls):
            line = line_in_config(ws.paths.root, "fallback", name)
            yield InvalidFileError(why, file=FILE_NAME, line=line, key=f"fallback.{name}")
        for at, other in enumerate(others):
            why = f"{name} does not stand in for itself" if other == name else _why_no_work(other, souls)
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


def check_stand_ins(ws: Workspace, parsed: JobText, file: str = "") -> None:
    """Raise InvalidFileError, with its line, for the first name in a job's `fallback:` that can never stand in.

    A name whose file is there and broken is let pass: that is told elsewhere, and is put right without the job.
    """
    if not parsed.spec.fallback:
        return
    souls, problems = read_souls(ws.paths.root, known=ws.paths.known)
    broken = {problem.file for problem in problems}
    for at, name in enumerate(parsed.spec.fallback):
        if f"souls/{name}.md" not in broken and (why := _why_no_work(name, souls)):
            line = parsed.lines.get(("fallback", at)) or parsed.lines.get(("fallback",), 0)
            raise InvalidFileError(why, file=file, line=line, key="fallback", hint="orc workers lists who there is.")


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


def _why_no_work(name: str, souls: Mapping[str, Soul]) -> str:
    """Why an agent gets no work of any kind, '' if it may."""
    if name in souls:
        return _does_none(souls[name])
    return _unknown(name, [each for each in souls if not _does_none(souls[each])], souls)


def _may_not(agent: AgentView, kind: str) -> str:
    """Why an agent never gets work of a kind, '' if it may."""
    soul = agent.soul
    if soul.kinds and kind not in soul.kinds and "work" in soul.roles:
        return f"agent {soul.name!r} may not do work of kind {kind}: its `kinds:` are {', '.join(soul.kinds)}"
    return _does_none(soul)


def _does_none(soul: Soul) -> str:
    return "" if "work" in soul.roles else f"agent {soul.name!r} does no work: its `roles:` are {', '.join(soul.roles)}"
