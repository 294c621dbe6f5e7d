"""Looking: everything a decision rests on, gathered into one value. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.adapters.run_folder import RunFolder, read_spec
from orchestrator.adapters.run_values import RunSpec
from orchestrator.core.board import IN_BACKLOG
from orchestrator.core.config import Project
from orchestrator.core.job import Job, State
from orchestrator.core.schedule import Board, ProjectView
from orchestrator.engine.agents import view_agents
from orchestrator.engine.bases import view_project
from orchestrator.engine.launch import RunState, state_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError


def look(
    ws: Workspace,
    *,
    history: Mapping[str, Mapping[str, int]] | None = None,
    stopping: bool = False,
    since: str = "",
) -> Board:
    """The board as it is now. `since`: the version of the board for which it is to say what has changed."""
    shown = ws.ledger.snapshot()
    jobs = shown.jobs
    rechecks = [(job.at.project, job.at.recheck) for job in shown.noted.values()]
    return Board(
        jobs=jobs,
        waiting=shown.backlog,
        version=shown.tip,
        before=since,
        changed=ws.ledger.changed_since(since),
        config=ws.config,
        projects={
            name: _view(ws, each, max((asked for project, asked in rechecks if project == name), default=""))
            for name, each in ws.config.projects.items()
            if name in shown.projects
        },
        agents=view_agents(ws)[0],
        ended=_ended_needs(ws, shown.noted, jobs),
        history=history or {},
        occupied=_occupied(ws, {folder.job.at.run for folder in shown.active}),
        stopping=stopping,
    )


def _view(ws: Workspace, project: Project, recheck: str) -> ProjectView:
    # What is wrong with one project holds its jobs, and no others.
    try:
        return view_project(ws, project, recheck=recheck)
    except (OrcError, OSError) as error:
        return ProjectView(project, problem=error.message if isinstance(error, OrcError) else str(error))


def _occupied(ws: Workspace, named: set[str]) -> frozenset[str]:
    """Agents whose trees a run still uses that the ledger no longer names."""
    if not ws.paths.runs.is_dir():
        return frozenset()
    left = [RunFolder(path) for path in ws.paths.runs.iterdir() if path.name not in named]
    specs = [_spec_of(place) for place in left if state_of(place) is RunState.ALIVE]
    return frozenset(spec.agent for spec in specs if spec is not None and spec.agent)


def _spec_of(place: RunFolder) -> RunSpec | None:
    try:
        return read_spec(place)
    except OrcError:
        return None


def _ended_needs(ws: Workspace, noted: Mapping[str, Job], jobs: Mapping[str, Job]) -> dict[str, State]:
    """How the jobs ended that open ones need: looked up one by one, so the number of ended jobs does not matter."""
    found: dict[str, State] = {}
    root = ws.ledger.snapshot().root
    for job in noted.values():
        if job.state not in IN_BACKLOG:
            continue
        for need in (*job.spec.needs, *job.at.needs.values()):
            if need in jobs or need in found:
                continue
            closed = ws.ledger.closed(need, root) if len(need) > 9 else None
            if closed is not None:
                found[need] = closed.job.state
    return found
