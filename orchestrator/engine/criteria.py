"""The criteria that are in force for a job: those of the workspace, else the shipped ones."""

from __future__ import annotations

from pathlib import Path

from orchestrator.adapters.library import scan_criteria
from orchestrator.core.config import terms
from orchestrator.core.criteria import Criteria, criteria_for
from orchestrator.core.job import Job, JobSpec
from orchestrator.engine.workspace import Workspace


def criteria_in(root: Path, kind: str) -> Criteria:
    """What is asked of a kind of work below `root`. Raises InvalidFileError if the file for it there is broken."""
    shelf = scan_criteria(root)
    for problem in shelf.problems:
        if problem.file == f"criteria/{kind}.yaml":
            raise problem
    return criteria_for(kind, shelf.good)


def criteria_of(ws: Workspace, job: Job) -> Criteria:
    """What is asked of a job's kind. Raises InvalidFileError if the workspace's own file for it is broken."""
    return criteria_in(ws.paths.root, job.spec.kind)


def threshold_of(ws: Workspace, job: Job, criteria: Criteria) -> float:
    """The share of items that must pass: the job's own, else that of its criteria, else the workspace's."""
    own = job.spec.review.threshold
    return ws.terms(job).threshold if own is not None or criteria.threshold is None else criteria.threshold


def command_problem(ws: Workspace, spec: JobSpec, project: str) -> str:
    """Why a job cannot be accepted as it is: it is proved by a command, and there is none. '' if it can."""
    if terms(ws.config, ws.project(project), spec).checks:
        return ""
    if spec.reproduces:
        why = "that a defect is mended is proved by a check"
    elif criteria_for(spec.kind, scan_criteria(ws.paths.root).good).checks.command:
        why = f"work of the kind {spec.kind} is proved by a check command"
    else:
        return ""
    return f"{why}, and neither the job nor its project has `checks:`"
