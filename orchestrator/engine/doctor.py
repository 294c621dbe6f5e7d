"""Doctor: look at everything work depends on, without a model, and name the way out of what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from orchestrator.adapters.git_process import version
from orchestrator.adapters.library import Shelf, scan_criteria, scan_rules, scan_schedules, scan_skills
from orchestrator.adapters.locks import lock_is_free
from orchestrator.adapters.spelling import speller
from orchestrator.core.handlers import find_unhandled
from orchestrator.core.job import Kind
from orchestrator.core.possible import find_impossible
from orchestrator.core.review import independence_of, is_enough
from orchestrator.core.schedule import AgentView
from orchestrator.core.trials import find_broken, tell_broken
from orchestrator.engine.agent_programs import look_at_programs, way_to_log_in
from orchestrator.engine.agents import backend_for, view_agents
from orchestrator.engine.bases import view_project
from orchestrator.engine.finding import Finding, Health
from orchestrator.engine.lint import look_at_skills_lint, look_at_souls
from orchestrator.engine.mend import (
    look_at_half_made,
    look_at_ignores,
    look_at_queue,
    look_at_rules,
    look_at_run_folders,
)
from orchestrator.engine.mend_git import look_at_kept, look_at_locks, look_at_trees
from orchestrator.engine.notes import read_note, tell_silence
from orchestrator.engine.notices import look_at_notices
from orchestrator.engine.routing import fallback_problems, limits_problems, routing_problems
from orchestrator.engine.services import told_services
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

LEAST_FREE_BYTES = 1_000_000_000
GOOD_GIT = (2, 45, 1)


def examine(ws: Workspace) -> list[Finding]:
    """Everything that was looked at, in an order in which it can be put right. Changes nothing."""
    findings: list[Finding] = []
    for look_at in (
        *(
            _git,
            look_at_locks,
            _engine,
            _states,
            _gates,
            _config,
            _projects,
            _possible,
            _agents,
            _services,
            _routing,
            _limits,
            _reviewers,
        ),
        *(_library, look_at_rules, look_at_ignores, look_at_souls, look_at_skills_lint),
        *(look_at_queue, look_at_run_folders, look_at_half_made, look_at_trees, look_at_kept, look_at_notices, _disk),
    ):
        try:
            findings += look_at(ws)
        except (OrcError, OSError) as error:
            hint = error.hint if isinstance(error, OrcError) else ""
            name = look_at.__name__.removeprefix("look_at").strip("_").replace("_", " ")
            findings.append(Finding(name, Health.FAIL, str(error), hint))
    return findings


def mend(ws: Workspace, findings: Iterable[Finding]) -> list[Finding]:
    """Mend what can be. Each finding as it is then: `fixed`, with what was done, or with why it could not be."""
    done: dict[str, tuple[bool, str]] = {}
    after = []
    for finding in findings:
        fix = finding.fix
        if fix is None:
            after.append(finding)
            continue
        if fix.key not in done:
            try:
                done[fix.key] = (True, fix.act(ws))
            except (OrcError, OSError) as error:
                done[fix.key] = (False, error.message if isinstance(error, OrcError) else str(error))
        fixed, told = done[fix.key]
        text = f"{finding.text} - {'mended' if fixed else 'not mended'}: {told}"
        after.append(replace(finding, fixed=fixed, text=text, hint="" if fixed else finding.hint))
    return after


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


def _engine(ws: Workspace) -> Iterator[Finding]:
    if lock_is_free(ws.paths.orcdir / "engine.lock"):
        return
    told = tell_silence(ws, read_note(ws))
    yield Finding("engine", Health.WARN if told else Health.OK, told or "at work")


def _services(ws: Workspace) -> Iterator[Finding]:
    for told in told_services(ws):
        if told.state == "shut":
            yield Finding(f"backend {told.backend}", Health.WARN, told.text)


def _states(ws: Workspace) -> Iterator[Finding]:
    missing = find_unhandled()
    if missing:
        text = f"nothing takes a job further that is {' or '.join(missing)}"
        yield Finding("states", Health.FAIL, text, "a defect of orc: report it, and go back to the version before")


def _gates(ws: Workspace) -> Iterator[Finding]:
    for name, text in tell_broken(find_broken()).items():
        hint = "a defect of orc: report it, and go back to the version before; until then nothing is merged"
        yield Finding(f"gate {name}", Health.FAIL, text, hint)


def _possible(ws: Workspace) -> Iterator[Finding]:
    for each in find_impossible(ws.config, view_agents(ws)[0]):
        yield Finding(each.what, Health.FAIL if each.is_fatal else Health.WARN, each.text, each.hint)


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
        if agent.problem:  # Before all else: an agent that drains has to be able to end what it has begun.
            told = agent.soul.backend in ws.config.backends
            settings = f"`backends: {agent.soul.backend}:` in orc.yaml, or " if told else ""
            hint = f"mend {settings}`backend:` in souls/{name}.md"
            way = way_to_log_in(ws.config, ws.paths.root, agent)
            yield Finding(f"agent {name}", Health.FAIL, agent.problem, way or hint)
        elif agent.soul.drain:
            text = f"gets nothing new: {agent.soul.drain}"
            yield Finding(f"agent {name}", Health.WARN, text, f"orc retire {name}, or: orc drain {name} --undo")
        elif not agent.family:
            text = "declares no family, so it can neither judge others nor be judged by them"
            yield Finding(f"agent {name}", Health.WARN, text, f"set `family:` in souls/{name}.md")
        else:
            model = f", model {agent.model}" if agent.model else ""
            yield Finding(f"agent {name}", Health.OK, f"{agent.soul.backend}{model}, family {agent.family}")
    yield from look_at_programs(ws.config, ws.paths.root, agents)


def _routing(ws: Workspace) -> Iterator[Finding]:
    agents = view_agents(ws)[0]
    for problem in routing_problems(ws, agents):
        yield Finding("routing", Health.FAIL, str(problem), "orc workers; until then the other agents take such jobs")
    for problem in fallback_problems(ws, agents):
        yield Finding("fallback", Health.FAIL, str(problem), "orc workers; until then nobody stands in by this line")


def _limits(ws: Workspace) -> Iterator[Finding]:
    agents, _ = view_agents(ws)
    for problem in limits_problems(ws, agents):
        yield Finding("limits", Health.FAIL, str(problem), "orc workers; until then the limit holds for nobody")
    if not ws.config.execution_limits.has_money_of_its_own:
        return
    unseen: dict[str, list[str]] = {}
    for name, agent in agents.items():
        known = ws.config.models.get(agent.model)
        is_priced = known is not None and known.price is not None
        if not (is_priced or agent.problem or backend_for(ws, agent.soul)[1].capabilities.cost):
            unseen.setdefault(agent.model, []).append(name)
    for model, names in unseen.items():
        text = (
            f"no limit in US dollars sees what {', '.join(names)} cost: nothing says what {model or 'no model'} costs"
        )
        yield Finding("limits", Health.WARN, text, "write its `price:` under `models:` in orc.yaml, or limit tokens")


def _reviewers(ws: Workspace) -> Iterator[Finding]:
    agents, _ = view_agents(ws)
    wanted = ws.config.review.independence
    for name, author in agents.items():
        # An author that cannot start itself is told of above, and makes nothing to judge. One that drains still may.
        if "work" not in author.soul.roles or author.problem:
            continue
        may = _reviewers_of(author, agents.values(), ws)
        if any(not each.unavailable for each in may):
            continue
        if may:
            yield _reviewers_away(name, may)
        else:
            text = f"nobody may judge the work of {name}: each of its jobs will ask you"
            yield Finding(f"reviewers of {name}", Health.WARN, text, f"add an agent of another {wanted} to souls/")


def _reviewers_away(author: str, may: Iterable[AgentView]) -> Finding:
    """That all who may judge an author's work cannot start or drain, and the way out for each of them."""
    why = {each.soul.name: "cannot start" if each.problem else "drains" for each in may}
    told = ", ".join(f"{name} {what}" for name, what in why.items())
    text = f"those who may judge the work of {author} get no reviews: {told}. Until one does, its jobs will ask you"
    ways = [f"orc drain {name} --undo" for name, what in why.items() if what == "drains"]
    if broken := [name for name, what in why.items() if what != "drains"]:
        ways.append(f"mend what stands above about {', '.join(broken)}")
    return Finding(f"reviewers of {author}", Health.WARN, text, ", or: ".join(ways))


def _reviewers_of(author: AgentView, agents: Iterable[AgentView], ws: Workspace) -> list[AgentView]:
    """Who may judge an author's work by their families and roles, whether they can start or not."""
    wanted = ws.config.review.independence
    return [
        each
        for each in agents
        if "review" in each.soul.roles and is_enough(independence_of(author.worker(), each.worker()), wanted)
    ]


def _library(ws: Workspace) -> Iterator[Finding]:
    root = ws.paths.root
    shelves: dict[str, Shelf[Any]] = {
        "skills": scan_skills(root),
        "criteria": scan_criteria(root),
        "rules": scan_rules(root),
        "schedules": scan_schedules(root),
    }
    for what, shelf in shelves.items():
        for problem in shelf.problems:
            yield Finding(what, Health.FAIL, str(problem))
        if not shelf.problems:
            yield Finding(what, Health.OK, f"{len(shelf.good)} read")
    for kind in sorted(scan_criteria(root).good.keys() - set(Kind)):
        if near := get_close_matches(kind, list(Kind), n=1):
            text = f"criteria/{kind}.yaml makes {kind} a kind of its own; did you mean {near[0]}.yaml?"
            yield Finding(
                "criteria", Health.WARN, text, f"if it is meant for jobs of the kind {near[0]}, rename the file"
            )
    unspelled = sorted(kind for kind, each in scan_criteria(root).good.items() if each.checks.spelling)
    if unspelled and not speller():
        text = (
            f"not checked for {' and '.join(unspelled)}: codespell is not installed; no other kind of job asks for it"
        )
        yield Finding("spelling", Health.WARN, text, "python -m pip install codespell, in the environment of orc")


def _disk(ws: Workspace) -> Iterator[Finding]:
    free = shutil.disk_usage(ws.paths.root).free
    text = f"{free / 1e9:.1f} GB free"
    yield Finding(
        "disk",
        Health.OK if free > LEAST_FREE_BYTES else Health.FAIL,
        text,
        "" if free > LEAST_FREE_BYTES else "make room",
    )
