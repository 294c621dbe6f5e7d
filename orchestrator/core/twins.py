"""Twins: jobs that ask for the very same work as one that is open already.

What is the same work is told by a key that is worked out from the job alone, so there is nothing to keep in step with
the ledger: `Works` finds an open job by its key at once, is made from the open jobs and follows them, and what it says
is believed only when the job that it names still stands in the ledger with that key.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.job import Job, JobSpec

BY_SCHEDULE = "schedule "
"""So the source of a job begins that a schedule made: whether a slot becomes one is that schedule's to say."""
AGAIN = "if it is to be done once more all the same, write `again: true` into it, as orc submit --again does"
_ASKED = ("kind", "expects", "target", "agent", "backend", "model", "not_before")
_ASKED_LISTS = ("needs", "paths", "deliverables", "skills")


def settings_of(spec: JobSpec) -> tuple[object, ...]:
    """What a job asks for beside its words: how, where, when, of whom. Jobs that differ in it are other work."""
    lists = (tuple(sorted(getattr(spec, name))) for name in _ASKED_LISTS)
    return (*(str(getattr(spec, name)) for name in _ASKED), *lists)


def work_key(spec: JobSpec, project: str) -> str:
    """By what the same work is known again: the job's own `dedup_key` in its project, else all that it asks for.

    How it is to be checked, reviewed and merged says nothing about what is asked for, nor does its priority.
    """
    asked: list[object]
    if spec.routine:
        asked = ["routine", spec.routine]
    elif spec.dedup_key:
        asked = ["key", project, _plain(spec.dedup_key)]
    else:
        asked = ["text", project, _plain(spec.title), _plain(spec.prompt), *settings_of(spec)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


def key_of(job: Job) -> str:
    """The key of a job's work."""
    return work_key(job.spec, job.at.project)


def may_repeat(job: Job) -> bool:
    """Whether a new job may ask for what an open one asks for already: a person says so, or a schedule decides it."""
    return job.spec.again or job.at.source.startswith(BY_SCHEDULE)


def refusal(twin: Job) -> str:
    """Why a job is not accepted, and the way out."""
    return f"{same_told(twin)}; {AGAIN}"


def same_told(twin: Job) -> str:
    """What an open job has in common with another that asks for the very same."""
    return f"{twin.id} asks for the same work and is {twin.state}"


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass(slots=True)
class Works:
    """The open jobs by the key of their work."""

    keys: dict[str, str] = field(default_factory=dict)
    """The key of each job."""
    jobs: dict[str, dict[str, None]] = field(default_factory=dict)
    """The jobs of each key, those that came first first."""

    def follow(self, id_: str, job: Job | None) -> None:
        """A job is as it is now; None: it is not open any more."""
        key, before = key_of(job) if job is not None else "", self.keys.get(id_, "")
        if key == before:
            return
        if before:
            del self.jobs[before][id_]
            if not self.jobs[before]:
                del self.jobs[before]
            del self.keys[id_]
        if key:
            self.keys[id_] = key
            self.jobs.setdefault(key, {})[id_] = None

    def begin(self, jobs: Mapping[str, Job]) -> None:
        """Forget all, and begin with these."""
        self.keys.clear()
        self.jobs.clear()
        for id_, job in jobs.items():
            self.follow(id_, job)

    def named(self, key: str) -> tuple[str, ...]:
        """The jobs that had this key when they were last seen."""
        return tuple(self.jobs.get(key, ()))
