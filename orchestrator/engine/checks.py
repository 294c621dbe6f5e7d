"""Runs of a project's checks: on the work of a job, on the merged tree, on the base that jobs start from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.run_values import CommandSpec, LimitsSpec, RunKind, RunSpec
from orchestrator.core.config import Project
from orchestrator.core.evidence import checks_started
from orchestrator.core.ids import RunId
from orchestrator.core.ids import RunKind as Kind
from orchestrator.core.job import Job, State
from orchestrator.core.possible import CHECKS_S
from orchestrator.core.records import BaseRecord
from orchestrator.core.step import next_run
from orchestrator.core.transitions import Move
from orchestrator.engine.bases import base_filing, base_record, check_key, find_start, mirror_with
from orchestrator.engine.evidence import commit_to_check
from orchestrator.engine.launch import Start, export_in, spec_for
from orchestrator.engine.workspace import Workspace


def reserve_checks(ws: Workspace, job: Job) -> Move:
    """The step that starts a run of the checks."""
    kind = Kind.MERGE if job.state is State.MERGING else Kind.CHECKS
    return checks_started(job, str(next_run(job, kind)), ws.stamp())


def checks_start(ws: Workspace, job: Job, run: RunId) -> Start:
    """The run of the checks on a job's work, or on the merged tree, from what the ledger holds of it."""
    project, agreed = ws.project(job.at.project), ws.terms(job)
    tree = export_tree(ws, project, commit_to_check(ws, job))
    spec = spec_for(ws, run, RunKind.CHECKS, job, tree, None, project, CHECKS_S // 60)
    commands = tuple(CommandSpec(check.run, check.timeout_s, check.label) for check in agreed.checks)
    setup = project.setup
    return Start(replace(spec, commands=commands, setup=CommandSpec(setup.run, setup.timeout_s) if setup else None))


def export_tree(ws: Workspace, project: Project, commit: str, *, read_only: bool = False) -> dict[str, Any]:
    """A checkout of one commit, in one of the project's folders for it that no other run uses."""
    kind = ".reviews" if read_only else ".checks"
    pool = ws.paths.state / "trees" / kind / project.name
    return export_in(pool, ws.paths.mirror(project.name), commit, read_only=read_only)


def base_run(project: str, tree: str) -> str:
    """The id of the run of the checks on a project's base."""
    return f"base.{project}.{tree[:12]}"


def reserve_base(ws: Workspace, name: str, *, is_red: bool) -> Filing:
    """The commit that says that the base of a project is being checked. `is_red`: it counts as red meanwhile.

    Where somebody asked for it, what went wrong before is forgotten.
    """
    project = ws.project(name)
    start = find_start(ws, name, project.target)
    key = check_key(start.tree, project.checks, project)
    before = base_record(ws, name)
    record = BaseRecord(start.commit, start.tree, key, run=base_run(name, start.tree), at=ws.stamp())
    if before is not None and before.commit == start.commit and (is_red or before.tries == 1):
        record = replace(record, problem=before.problem, tries=before.tries)
    return base_filing(name, record, f"is checked at {start.commit[:12]}")


def base_start(ws: Workspace, name: str, record: BaseRecord) -> Start:
    """The run of the checks on a project's base."""
    project = ws.project(name)
    mirror_with(ws, name, project.target, record.commit)
    tree = export_tree(ws, project, record.commit)
    spec = RunSpec(
        run=record.run,
        kind=RunKind.CHECKS,
        job="",
        number=1,
        orcdir=ws.paths.orcdir,
        agent=None,
        project=name,
        tree=tree,
        limits=LimitsSpec(wall_s=CHECKS_S, silent_s=0),
        setup=CommandSpec(project.setup.run, project.setup.timeout_s) if project.setup else None,
        commands=tuple(CommandSpec(check.run, check.timeout_s, check.label) for check in project.checks),
    )
    return Start(spec)
