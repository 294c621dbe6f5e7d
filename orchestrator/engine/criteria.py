"""The criteria that are in force for a job: those of the workspace, else the shipped ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.adapters.library import find_criteria, list_kinds, scan_criteria
from orchestrator.adapters.places import find_root
from orchestrator.core.config import terms
from orchestrator.core.criteria import Criteria, criteria_for, slip_of_kind
from orchestrator.core.job import Kind
from orchestrator.errors import NotFoundError

if TYPE_CHECKING:
    from orchestrator.core.job import Job, JobSpec
    from orchestrator.engine.workspace import Workspace

_SHIPPED = frozenset(map(str, Kind))


def criteria_in(root: Path, kind: str) -> Criteria:
    """What is asked of a kind of work below `root`. Raises InvalidFileError if the file for it there is broken."""
    found = find_criteria(root, judged_as(root, kind))
    assert found is not None  # That kind has a file.
    return found


def criteria_of(ws: Workspace, job: Job) -> Criteria:
    """What is asked of a job's kind. Raises InvalidFileError if the workspace's own file for it is broken."""
    return criteria_in(ws.paths.root, job.spec.kind)


def threshold_of(ws: Workspace, job: Job, criteria: Criteria) -> float:
    """The share of items that must pass: the job's own, else that of its criteria, else the workspace's."""
    own = job.spec.review.threshold
    return ws.terms(job).threshold if own is not None or criteria.threshold is None else criteria.threshold


def judged_as(root: Path, kind: str) -> str:
    """The kind whose criteria below `root` hold for work of a kind: that kind, else `other`."""
    return kind if kind in _SHIPPED or kind in list_kinds(root) else Kind.OTHER.value


def slip_in(root: Path, kind: str) -> str:
    """What is wrong with a kind that looks like a slip of the pen for one that has criteria below `root`; else ''."""
    return "" if kind in _SHIPPED else slip_of_kind(kind, list_kinds(root))


def kinds_at(start: Path) -> tuple[str, ...]:
    """The kinds that have criteria in the workspace that holds `start`; where there is none, the shipped ones."""
    try:
        return list_kinds(find_root(start))
    except NotFoundError:
        return tuple(map(str, Kind))


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
