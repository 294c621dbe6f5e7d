"""Routines: a job that names one is done by it and by nothing else; what was advanced had stood still, and rarely.

What a routine found is not asked: it looked at a house that is not on the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from orchestrator.adapters.audit_chain import Commit, Store
from orchestrator.adapters.audit_follow_ups import folder_of
from orchestrator.adapters.audit_rules import SKEW_S, Finding, Rule, Step, check_trailers, differ
from orchestrator.adapters.objects import Entry
from orchestrator.core.advance import COOLDOWN, MOST, PATH, SOURCE, Advanced, is_still
from orchestrator.core.goal import GoalEvent
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Job
from orchestrator.core.routine import Routine, RoutineRecord
from orchestrator.core.routine_steps import routine_facts
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, Event

WORD = "advance"
FOLDER = "routines/"
_BETWEEN = frozenset({Event.ACCEPT.value, *(event.value for event in GoalEvent)})
"""What may be said between a job that looks into another one and the record of it."""
_OF_ATTEMPTS = frozenset({Event.START, Event.COLLECT, Event.EVIDENCE, Event.REVIEW, Event.MERGE, Event.DONE})


def judge_kind_of_run(step: Step) -> Iterator[Finding]:
    """A routine has no attempt, no review and no project; an agent's job is no routine, and becomes none."""
    name = step.after.spec.routine
    if name and step.event in _OF_ATTEMPTS:
        yield Rule.ROUTINE, f"says {step.event} of {step.id}, which is the routine {name}"
    if name and step.at.project:
        yield Rule.ROUTINE, f"is for the project {step.at.project}, but a routine is for none"
    if step.before is not None and step.before.spec.routine != name:
        yield Rule.ROUTINE, f"makes {name or 'a job of agents'} of {step.before.spec.routine or 'a job of agents'}"


def judge_run(step: Step) -> Iterator[Finding]:
    """A run of a routine is reserved: of the one that the job names, and nothing is known of its end."""
    record = step.new.get(RoutineRecord, step.at.routine)
    if record is None:
        return
    if step.after.spec.routine not in tuple(Routine):
        yield Rule.ROUTINE, f"runs {step.after.spec.routine or 'nothing'}, which is no routine"
    yield from differ(Rule.ROUTINE, "the routine", record.routine, step.after.spec.routine)
    run = str(RunId(step.id, RunKind.ROUTINE, record.number))
    yield from differ(Rule.ROUTINE, "the run", (record.run, step.at.run), (run, run))
    if record.ended or record.status is not None:
        yield Rule.ROUTINE, "starts a routine that has ended already"
    yield from check_trailers(step, {"Routine": record.routine})


def judge_ran(step: Step) -> Iterator[Finding]:
    """A routine has ended, and says how."""
    record = step.new.get(RoutineRecord, step.at.routine)
    if record is None:
        return
    if step.was.run != record.run or step.at.run:
        yield Rule.ROUTINE, f"ends {record.run}, but {step.was.run or 'nothing'} was running"
    if not record.ended or record.status is None:
        yield Rule.ROUTINE, "does not say how the routine ended"
    elif record.ended < record.started:
        yield Rule.TIME, f"says the routine ended at {record.ended}, before it started"
    yield from check_trailers(step, dict(_named(routine_facts(record))))


def _named(facts: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((key.replace("_", "-").title(), value) for key, value in facts.items())


@dataclass(slots=True)
class Advances:
    """What was seen of jobs that stood still, on the walk along the ledger."""

    made: dict[str, Job] = field(default_factory=dict)
    """By id the jobs that stood still and got one that looks into it, of which the record has not been seen yet."""
    sure: bool = True
    """Whether all of those were seen; not, where the walk may have begun right behind one."""

    def accepted(self, step: Step, root: str) -> Iterator[Finding]:
        """A job that looks into another one: that stands still. `root`: the ledger before the step."""
        is_ours = step.event is Event.ACCEPT and step.at.origin == ENGINE.name and step.at.source.startswith(SOURCE)
        if not is_ours:
            return
        id_ = step.at.source.removeprefix(SOURCE)
        job = folder_of(step.new.store, root, id_).job()
        # It was decided a little before it was written.
        now = datetime.fromtimestamp(step.commit.committer.seconds + SKEW_S, UTC)
        if job is None or not is_still(job, now):
            yield Rule.ROUTINE, f"has somebody look at {id_}, which does not stand still"
            return
        yield from differ(Rule.ROUTINE, "the project", step.at.project, job.at.project)
        self.made[id_] = job

    def judge(
        self, store: Store, commit: Commit, changes: Mapping[str, tuple[Entry | None, Entry | None]]
    ) -> Iterator[Finding]:
        """What a commit says of jobs that were advanced follows from those before it."""
        paths = [path for path in changes if path.startswith(FOLDER)]
        if not paths:
            if commit.word not in _BETWEEN:
                yield from self.end()
                self.sure = True
            return
        made, self.made = self.made, {}
        if paths != [PATH] or commit.word != WORD or len(changes) > 1:
            yield Rule.ROUTINE, f"changes {paths[0]}, but is not about jobs that were advanced"
            return
        before, after = changes[PATH]
        if after is None:
            yield Rule.ROUTINE, f"removes {PATH}"
            return
        was = store.record(Advanced, before, PATH) if before is not None else Advanced()
        yield from self._judge_record(commit, was, store.record(Advanced, after, PATH), made)

    def _judge_record(self, commit: Commit, was: Advanced, now: Advanced, made: Mapping[str, Job]) -> Iterator[Finding]:
        at = commit.committer.seconds
        new = {job: when for job, when in now.jobs.items() if was.jobs.get(job) != when}
        for job, when in new.items():
            if abs(parse(when).timestamp() - at) > SKEW_S:
                yield Rule.TIME, f"says that {job} was advanced at {when}, which is not when it was committed"
            if (last := was.jobs.get(job)) and parse(when) - parse(last) < COOLDOWN:
                yield Rule.ROUTINE, f"advances {job} again, which was advanced at {last}"
        cold = iso(datetime.fromtimestamp(at - SKEW_S, UTC) - COOLDOWN + timedelta(seconds=2 * SKEW_S))
        for job in sorted(was.jobs.keys() - now.jobs.keys()):
            if was.jobs[job] > cold:
                yield Rule.ROUTINE, f"forgets that {job} was advanced at {was.jobs[job]}"
        if len(new) > MOST:
            yield Rule.ROUTINE, f"advances {len(new)} jobs at once, of which {MOST} are the most"
        if self.sure and (unsaid := sorted(made.keys() - new.keys())):
            yield Rule.ROUTINE, f"does not say that {unsaid[0]} was advanced"
        projects = [job.at.project for job in made.values()]
        if len(set(projects)) < len(projects):
            yield Rule.ROUTINE, "advances two jobs of one project at once"

    def end(self) -> Iterator[Finding]:
        """The record is written with the jobs."""
        for id_ in self.made:
            yield Rule.ROUTINE, f"says nothing of it that somebody is to look at {id_}"
        self.made.clear()
