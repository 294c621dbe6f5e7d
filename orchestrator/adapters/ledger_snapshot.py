"""The ledger's jobs at one commit, as values: what one commit has in common with the last one is shared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.board import IN_BACKLOG
from orchestrator.core.by_bucket import ByBucket
from orchestrator.core.job import Job, Lane


@dataclass(frozen=True, slots=True)
class Folder:
    """One job's folder in the ledger: the job, and the blob of each record by file stem (`attempt-1`)."""

    tree: str
    job: Job
    records: Mapping[str, str]
    path: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended job's folder, and what its place in the queue rests on."""

    id: str
    tree: str
    path: str
    lane: Lane
    since: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every open job at one commit of the ledger."""

    tip: str
    root: str
    buckets: Mapping[str, str] = field(default_factory=dict)
    folders: ByBucket[Folder] = field(default_factory=ByBucket)
    jobs: ByBucket[Job] = field(default_factory=ByBucket)
    backlog: ByBucket[Job] = field(default_factory=ByBucket)
    """Those of the jobs that are ready or waiting: nearly all, where there are many."""
    noted: ByBucket[Job] = field(default_factory=ByBucket)
    """Those that have needs, or were asked to look at their base again: few."""
    projects: Mapping[str, int] = field(default_factory=dict)
    """How many jobs each project has."""
    doing: ByBucket[Folder] = field(default_factory=ByBucket)
    """The folders of the jobs that are not in the backlog."""

    @property
    def active(self) -> list[Folder]:
        """The folders of the jobs that are not in the backlog: few."""
        return list(self.doing.values())

    def after(self, tip: str, root: str, buckets: Mapping[str, str], changes: Mapping[str, Folder | None]) -> Snapshot:
        """The snapshot of a later commit, at which some jobs are others, or not open any more (None)."""
        projects = Counter(self.projects)
        jobs: dict[str, Job | None] = {}
        backlog, noted, doing = jobs.copy(), jobs.copy(), dict[str, Folder | None]()
        for id_, folder in changes.items():
            job = folder.job if folder else None
            waits = job is not None and job.state in IN_BACKLOG
            jobs[id_] = job
            backlog[id_] = job if waits else None
            doing[id_] = None if waits else folder
            noted[id_] = job if job is not None and (job.spec.needs or job.at.needs or job.at.recheck) else None
            if id_ in self.jobs:
                projects[self.jobs[id_].at.project] -= 1
            if job is not None:
                projects[job.at.project] += 1
        return Snapshot(
            tip,
            root,
            buckets,
            folders=self.folders.changed(changes),
            jobs=self.jobs.changed(jobs),
            backlog=self.backlog.changed(backlog),
            noted=self.noted.changed(noted),
            projects={name: count for name, count in projects.items() if count},
            doing=self.doing.changed(doing),
        )
