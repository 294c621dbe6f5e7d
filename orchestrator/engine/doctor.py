"""Doctor: look at everything work depends on, without a model, and name the way out of what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.adapters.git import version
from orchestrator.adapters.library import scan_criteria, scan_rules, scan_skills
from orchestrator.core.review import independence_of, is_enough
from orchestrator.core.schedule import AgentView
from orchestrator.engine.bases import view_project
from orchestrator.engine.look import view_agents
from orchestrator.engine.rules import check_rules
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

LEAST_FREE_BYTES = 1_000_000_000
GOOD_GIT = (2, 45, 1)


class Health(StrEnum):
    """How one thing is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `hint` is the way out of what is wrong."""

    what: str
    health: Health
    text: str
    hint: str = ""


def examine(ws: Workspace) -> list[Finding]:
    """Everything that was looked at, in an order in which it can be put right."""
    findings: list[Finding] = []
    for look_at in (_git, _config, _projects, _agents, _reviewers, _library, _rules, _disk):
        try:
            findings += look_at(ws)
        except (OrcError, OSError) as error:
            hint = error.hint if isinstance(error, OrcError) else ""
            findings.append(Finding(look_at.__name__.strip("_"), Health.FAIL, str(error), hint))
    return findings


def _git(ws: Workspace) -> Iterator[Finding]:
    found = ".".join(map(str, version()))
    if version() < GOOD_GIT:
        text = f"git {found} works; 2.45.1 or a distribution's patched older one mends known holes"
        yield Finding("git", Health.WARN if version() < (2, 39, 5) else Health.OK, text)
    else:
        yield Finding("git", Health.OK, f"git {found}")
    yield Finding("ledger", Health.OK, f"orc/state at {ws.ledger.tip()[:12]}")


def _config(ws: Workspace) -> Iterator[Finding]:
    if ws.config_problem:
        yield Finding("orc.yaml", Health.FAIL, ws.config_problem, "mend it; the last good one is in force until then")
    else:
        number = len(ws.config.projects)
        text = f"{number} project{'s' if number > 1 else ''}, {ws.config.slots} slots"
        yield Finding("orc.yaml", Health.OK, text)


def _projects(ws: Workspace) -> Iterator[Finding]:
    for name, project in ws.config.projects.items():
        view = view_project(ws, project)
        if view.problem:
            text = view.problem.removeprefix(f"project {name}: ")
            hint = "commit something first, or name another `target:` in orc.yaml" if "branch" in text else ""
            yield Finding(f"project {name}", Health.FAIL, text, hint)
        elif not project.checks:
            text = "declares no checks: nothing is run on the work, and `merge: auto` becomes `ask`"
            yield Finding(f"project {name}", Health.WARN, text, "set `checks:` in orc.yaml")
        else:
            yield Finding(f"project {name}", Health.OK, f"base of {project.target}: {view.base}")


def _agents(ws: Workspace) -> Iterator[Finding]:
    agents, problems = view_agents(ws)
    for problem in problems:
        yield Finding("souls", Health.FAIL, problem)
    if not agents:
        yield Finding("souls", Health.FAIL, "there is no agent", "write souls/NAME.md, or: orc init")
    for name, agent in agents.items():
        if agent.problem:
            hint = f"mend `backends: {agent.soul.backend}:` in orc.yaml, or souls/{name}.md"
            yield Finding(f"agent {name}", Health.FAIL, agent.problem, hint)
        elif not agent.family:
            text = "declares no family, so it can neither judge others nor be judged by them"
            yield Finding(f"agent {name}", Health.WARN, text, f"set `family:` in souls/{name}.md")
        else:
            yield Finding(f"agent {name}", Health.OK, f"{agent.soul.backend}, family {agent.family}")


def _reviewers(ws: Workspace) -> Iterator[Finding]:
    agents, _ = view_agents(ws)
    wanted = ws.config.review.independence
    for name, author in agents.items():
        if "work" in author.soul.roles and not _judges(author, agents.values(), ws):
            text = f"nobody may judge the work of {name}: each of its jobs will ask you"
            yield Finding(f"reviewers of {name}", Health.WARN, text, f"add an agent of another {wanted} to souls/")


def _judges(author: AgentView, agents: Iterable[AgentView], ws: Workspace) -> list[str]:
    wanted = ws.config.review.independence
    return [
        each.soul.name
        for each in agents
        if "review" in each.soul.roles
        and not each.problem
        and is_enough(independence_of(author.worker(), each.worker()), wanted)
    ]


def _library(ws: Workspace) -> Iterator[Finding]:
    root = ws.paths.root
    for what, shelf in (("skills", scan_skills(root)), ("criteria", scan_criteria(root)), ("rules", scan_rules(root))):
        for problem in shelf.problems:
            yield Finding(what, Health.FAIL, str(problem))
        if not shelf.problems:
            yield Finding(what, Health.OK, f"{len(shelf.good)} read")


def _rules(ws: Workspace) -> Iterator[Finding]:
    for problem in check_rules(ws.paths.root):
        text, _, hint = str(problem).partition("; run: ")
        yield Finding("generated rules", Health.WARN, text, hint or "orc rules build")


def _disk(ws: Workspace) -> Iterator[Finding]:
    free = shutil.disk_usage(ws.paths.root).free
    text = f"{free / 1e9:.1f} GB free"
    yield Finding(
        "disk",
        Health.OK if free > LEAST_FREE_BYTES else Health.FAIL,
        text,
        "" if free > LEAST_FREE_BYTES else "make room",
    )
