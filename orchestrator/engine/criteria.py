"""The criteria that are in force for a job: those of the workspace, else the shipped ones."""

from __future__ import annotations

from pathlib import Path

from orchestrator.adapters.library import scan_criteria
from orchestrator.core.config import terms
from orchestrator.core.criteria import Criteria, criteria_for, slip_of_kind
from orchestrator.core.job import Job, JobSpec, Kind
from orchestrator.engine.workspace import Workspace

_SHIPPED = frozenset(map(str, Kind))


def criteria_in(root: Path, kind: str) -> Criteria:
    """What is asked of a kind of work below `root`. Raises InvalidFileError if the file for it there is broken."""
    shelf = scan_criteria(root)
    name = judged_as(root, kind)
    for problem in shelf.problems:
        if problem.file == f"criteria/{name}.yaml":
            raise problem
    return shelf.good[name]


def criteria_of(ws: Workspace, job: Job) -> Criteria:
    """What is asked of a job's kind. Raises InvalidFileError if the workspace's own file for it is broken."""
    return criteria_in(ws.paths.root, job.spec.kind)


def threshold_of(ws: Workspace, job: Job, criteria: Criteria) -> float:
    """The share of items that must pass: the job's own, else that of its criteria, else the workspace's."""
    own = job.spec.review.threshold
    return ws.terms(job).threshold if own is not None or criteria.threshold is None else criteria.threshold


def judged_as(root: Path, kind: str) -> str:
    """The kind whose criteria below `root` hold for work of a kind: that kind, else `other`."""
    return kind if kind in _SHIPPED or kind in _kinds_in(root) else Kind.OTHER.value


def slip_in(root: Path, kind: str) -> str:
    """What is wrong with a kind that looks like a slip of the pen for one that has criteria below `root`; else ''."""
    return "" if kind in _SHIPPED else slip_of_kind(kind, _kinds_in(root))


def _kinds_in(root: Path) -> tuple[str, ...]:
    """The kinds that have criteria, be their file broken or not."""
    shelf = scan_criteria(root)
    return (*shelf.good, *(Path(problem.file).stem for problem in shelf.problems))


def kind_problem(ws: Workspace, spec: JobSpec, project: str) -> str:
    """Why a job cannot be accepted: its kind is a slip, or is proved by a command that there is not; '' if it can."""
    if slip := slip_in(ws.paths.root, spec.kind):
        return slip
    if terms(ws.config, ws.project(project), spec).checks:
        return ""
    if spec.reproduces:
        why = "that a defect is mended is proved by a check"
    elif criteria_for(spec.kind, scan_criteria(ws.paths.root).good).checks.command:
        why = f"work of the kind {spec.kind} is proved by a check command"
    else:
        return ""
    return f"{why}, and neither the job nor its project has `checks:`"
