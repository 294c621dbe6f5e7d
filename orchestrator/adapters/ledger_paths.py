"""Where things lie in the ledger."""

from __future__ import annotations

from datetime import datetime

from orchestrator.core.ids import bucket

JOB_FILES = ("job.yaml", "job.md")
"""The job itself, in its folder in the ledger."""
PROJECTS = "projects"
"""The folder of what is known of projects."""
SERVICES = "services"


def open_path(id_: str) -> str:
    """Where a job lies while it is open."""
    return f"open/{bucket(id_)}/{id_}"


def closed_path(id_: str, ended: datetime) -> str:
    """Where an ended job lies: by day, and by the first two hex digits so that no folder grows large."""
    return f"closed/{ended:%Y/%m/%d}/{bucket(id_)}/{id_}"


def pointer_path(id_: str) -> str:
    """Where it is written in which folder an ended job lies."""
    return f"closed/ids/{id_[-8:-6]}/{id_[-6:-4]}/{id_}"


def goal_path(project: str) -> str:
    """Where it stands how a project does that is to be finished."""
    return f"projects/{project}/goal.yaml"


def finish_path(project: str, number: int) -> str:
    """Where a card lies that asks whether a project is finished."""
    return f"projects/{project}/finish-{number}.yaml"


def service_path(backend: str) -> str:
    """Where the ledger keeps what is known of the service behind a backend."""
    return f"{SERVICES}/{backend}.yaml"
