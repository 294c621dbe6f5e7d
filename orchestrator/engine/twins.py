"""The open jobs by what they ask for: of which a new one is the twin, and which it is like.

What is known here follows the ledger, is made where it is asked for first, and costs the same for any number of jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.adapters.ledger import Ledger, Writer
from orchestrator.adapters.ledger_snapshot import Snapshot
from orchestrator.core.config import Config
from orchestrator.core.job import Job
from orchestrator.core.likes import bounds_of, near_refusal, with_likeness
from orchestrator.core.similar import Bounds, Likeness, Likes, Means
from orchestrator.core.transitions import Move
from orchestrator.core.twins import Works, key_of, may_repeat, refusal


@dataclass(frozen=True, slots=True)
class Judged:
    """What an open job means for a new one."""

    twin: Job | None = None
    """The open job in question."""
    refused: str = ""
    """Why the new one is not accepted; '' if it is."""
    near: Likeness | None = None
    bounds: Bounds | None = None
    """What likeness is held against; None: such a job is held against none."""


@dataclass(slots=True)
class Twins:
    """The open jobs as of the commit `at`, with the steps of the writer that was last seen."""

    works: Works = field(default_factory=Works)
    likes: Likes | None = None
    """None: nothing was held against them since all was forgotten. To read what every job says takes its time."""
    at: str = ""
    _jobs: Mapping[str, Job] = field(default_factory=dict)
    """All of them as of that commit."""
    _writer: Writer | None = None
    _steps: list[str] = field(default_factory=list)
    """The jobs that have taken a step of that writer, one for each step."""

    def forget(self) -> None:
        """What the last writer did came to nothing: all is made anew when it is asked for."""
        self.at, self._writer = "", None

    def refusing(self, ledger: Ledger, config: Config, job: Job) -> Judged | None:
        """Why a new job would not be accepted now; None if it would. It is asked again under the lock."""
        snapshot = ledger.snapshot()
        self._follow_ledger(ledger, snapshot)
        judged = self._judge(job, config, snapshot.jobs.get, asks=False)
        return judged if judged.refused else None

    def repeating(self, ledger: Ledger, config: Config, job: Job) -> Judged | None:
        """Which open job an ended one would repeat if it were opened again, refused or asked about; None if none."""
        snapshot = ledger.snapshot()
        self._follow_ledger(ledger, snapshot)
        judged = self._judge(job, config, snapshot.jobs.get)
        is_near = judged.near is not None and judged.near.means is not Means.PASSED
        return judged if judged.refused or is_near else None

    def admit(self, ledger: Ledger, config: Config, move: Move, writer: Writer, done: Sequence[Move]) -> Move | None:
        """The step that makes a job, with what it is like; None if an open job keeps it from being accepted.

        `done` are the steps that the writer has already.
        """
        if writer is not self._writer:
            self._follow_ledger(ledger, writer.start)
            self._writer = writer
        for each in done[len(self._steps) :]:
            self._follow(each.job.id, writer.job(each.job.id))
            self._steps.append(each.job.id)
        # A job that comes with the step of another is not handed in once more: about such a one a person is asked.
        judged = self._judge(move.job, config, writer.job, refuses=not move.with_step_of)
        if judged.refused:
            return None
        if judged.bounds is None or not (self._steps or writer.start.projects.get(move.job.at.project)):
            return move
        hours = config.duplicates_of(move.job.at.project).hours
        return with_likeness(move, judged.near, judged.bounds, judged.twin, hours)

    def _judge(
        self,
        job: Job,
        config: Config,
        look_up: Callable[[str], Job | None],
        *,
        refuses: bool = True,
        asks: bool = True,
    ) -> Judged:
        if may_repeat(job):
            return Judged()
        key = key_of(job)
        for id_ in self.works.named(key):
            # What is known of it may be out of date: only the job itself is believed.
            twin = look_up(id_)
            if twin is not None and id_ != job.id and key_of(twin) == key:
                return Judged(twin, refusal(twin))
        if job.spec.dedup_key:
            return Judged()
        own = config.duplicates_of(job.at.project)
        bounds = bounds_of(own.ask, own.block)
        if not refuses:
            bounds = Bounds(bounds.least, 0)
        if not asks:
            bounds = Bounds(0, bounds.block)  # The nearer they must be, the fewer are looked at.
        near = self._likes(look_up).judge(job, bounds) if bounds.least else None
        twin = look_up(near.twin) if near is not None else None
        if near is None or twin is None:
            return Judged(bounds=bounds)
        why = near_refusal(near, twin, bounds) if near.means is Means.REFUSED else ""
        return Judged(twin, why, near, bounds)

    def _follow_ledger(self, ledger: Ledger, snapshot: Snapshot) -> None:
        changed = ledger.changed_since(self.at)
        if changed is None:
            self.works.begin(snapshot.jobs)
            self.likes = None
        for id_ in changed or ():
            self._follow(id_, snapshot.jobs.get(id_))
        self.at, self._jobs, self._writer, self._steps = snapshot.tip, snapshot.jobs, None, []

    def _follow(self, id_: str, job: Job | None) -> None:
        self.works.follow(id_, job)
        if self.likes is not None:
            self.likes.follow(id_, job)

    def _likes(self, look_up: Callable[[str], Job | None]) -> Likes:
        if self.likes is None:
            self.likes = Likes()
            self.likes.begin(self._jobs)
            for id_ in self._steps:
                self.likes.follow(id_, look_up(id_))
        return self.likes
