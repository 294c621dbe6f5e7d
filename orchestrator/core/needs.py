"""Why a job cannot start yet: a person, its needs, its date, a gate, its project, a pause, no agent that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from orchestrator.core.board import IN_BACKLOG, Board, age
from orchestrator.core.job import Job, State
from orchestrator.core.matching import Matching
from orchestrator.core.step import is_due
from orchestrator.core.waits import CIRCLE, NEEDS, PAUSES, RED_BASE, STARTS

_SHOWN = 8
"""So many jobs are named: of a circle, and of those that wait for one."""


class Holds:
    """The reasons of one board at one time; what they have in common is worked out once, so that each job is cheap."""

    def __init__(self, board: Board, now: datetime, matching: Matching | None = None) -> None:
        self._board, self._now = board, now
        self._matching = matching or Matching(board)
        self._by_name: Mapping[str, list[str]] | None = None
        self._newest_first: dict[str, list[str]] = {}
        self._found: dict[str, Mapping[str, str]] = {}
        self._circles: Mapping[str, str] = {}

    def look_up(self, jobs: Iterable[Job]) -> bool:
        """Find what these jobs need, and all that they wait for. Whether any of that goes round in a circle.

        `reason` does so for one job; for many it is cheaper at once.
        """
        ahead = [job for job in jobs if job.spec.needs and job.id not in self._found]
        if not ahead:
            return bool(self._circles)
        while ahead:
            job = ahead.pop()
            if job.id not in self._found:
                self._found[job.id] = needs = self._find(job)
                # A job that has begun waits for nobody.
                further = (self._board.backlog.get(id_) for id_ in needs.values() if id_ not in self._found)
                ahead += [each for each in further if each is not None and each.spec.needs]
        self._circles = _circles({id_: list(needs.values()) for id_, needs in self._found.items()})
        return bool(self._circles)

    def reason(self, job: Job) -> tuple[str, dict[str, str]]:
        """Why a job cannot start yet ('' if it can), and the id that each of its needs was found to mean."""
        needs = self._needs_of(job)
        if job.is_held:
            return job.why, dict(needs)
        problems = (self._need_problem(text, needs.get(text, "")) for text in job.spec.needs)
        told = next((problem for problem in problems if problem), "")
        rest: tuple[Callable[[Job], str], ...]
        rest = (self._date_problem, self._gate_problem, self._project_problem, self._agent_problem)
        if job.spec.routine:
            rest = (self._date_problem, self._pause_problem)
        for find in rest:
            told = told or find(job)
        return told, dict(needs)

    def _needs_of(self, job: Job) -> Mapping[str, str]:
        """The ids that are meant by a job's needs."""
        self.look_up((job,))
        return self._found.get(job.id, {})

    def _find(self, job: Job) -> dict[str, str]:
        """The ids that are meant: by id, else the newest open job whose id is this name and eight digits."""
        found = {}
        for text in job.spec.needs:
            id_ = job.at.needs.get(text, "")
            if not id_ and (text in self._board.jobs or text in self._board.ended):
                id_ = text
            if not id_:
                id_ = self._newest(text, job.id)
            if id_:
                found[text] = id_
        return found

    def _newest(self, name: str, besides: str) -> str:
        """The newest open job of this name, but for the one that asks; '' if there is none."""
        if self._by_name is None:
            self._by_name = _by_name(self._board.jobs)
        if name not in self._newest_first:
            jobs = (self._board.jobs[id_] for id_ in self._by_name.get(name, ()))
            self._newest_first[name] = [job.id for job in sorted(jobs, key=age, reverse=True)]
        return next((id_ for id_ in self._newest_first[name] if id_ != besides), "")

    def _need_problem(self, text: str, found: str) -> str:
        if not found:
            return f"{NEEDS}{text!r}: no open job has this name (an ended one is named by its whole id)"
        if found in self._board.jobs:
            circle = self._circles.get(found)
            return f"{CIRCLE}{circle}" if circle else f"{NEEDS}{found}"
        state = self._board.ended.get(found)
        if state is State.DONE:
            return ""
        told = f"which was {state}; retry it or cancel this one" if state else "unknown"
        return f"{NEEDS}{found}, {told}"

    def _date_problem(self, job: Job) -> str:
        if not job.spec.not_before:
            return ""
        try:
            start = self.start_of(job.spec.not_before)
        except ValueError:
            return f"not_before: {job.spec.not_before!r} is not a date or a time"
        return f"{STARTS}{job.spec.not_before}" if start > self._now else ""

    @staticmethod
    def start_of(text: str) -> datetime:
        """The moment that a date or a time names; UTC if it does not say. Raises ValueError."""
        start = datetime.fromisoformat(text)
        return start if start.tzinfo else start.replace(tzinfo=UTC)

    def _gate_problem(self, job: Job) -> str:
        return f"{self._board.broken}, so nobody could judge the work" if self._board.broken else ""

    def _project_problem(self, job: Job) -> str:
        view = self._board.projects.get(job.at.project)
        if view is None:
            return f"project {job.at.project!r} is not in orc.yaml"
        if view.problem:
            return view.problem
        if view.is_red and not job.spec.repairs_base:
            return f"the checks of {view.project.name} fail {RED_BASE}"
        return ""

    def _agent_problem(self, job: Job) -> str:
        problem = self._matching.problem(job)
        return problem if is_due(job.at.not_before, self._now) else self._pause_problem(job, problem)

    def _pause_problem(self, job: Job, problem: str = "") -> str:
        """That a job pauses, and why: for `problem`, else for what it was told before; '' if it does not."""
        if is_due(job.at.not_before, self._now):
            return ""
        pause = f"{PAUSES}{job.at.not_before}: "
        # Once held, the reason is this sentence already; what follows the colon is what it was before.
        return (pause + (problem or job.at.reason.removeprefix(pause) or "its last start failed"))[:400]


def needed_by(jobs: Iterable[Job]) -> Mapping[str, list[str]]:
    """The jobs that wait for another one, by the id of that one."""
    found: dict[str, list[str]] = {}
    for job in sorted((job for job in jobs if job.spec.needs and job.state in IN_BACKLOG), key=age):
        for text in job.spec.needs:
            found.setdefault(job.at.needs.get(text, text), []).append(job.id)
    return found


def blocked_by(id_: str, needed: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The jobs that wait for one, also through others; the nearest first, of the same distance the oldest."""
    found = {id_: None}
    ahead = [id_]
    for each in ahead:
        new = [job for job in needed.get(each, ()) if job not in found]
        found.update(dict.fromkeys(new))
        ahead += new
    return tuple(found)[1:]


def blocked_in_words(ids: Sequence[str]) -> str:
    """`2 jobs wait for it: a, b`; '' for none."""
    if not ids:
        return ""
    shown = ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")
    return f"{len(ids)} {'jobs wait' if len(ids) > 1 else 'job waits'} for it: {shown}"


def name_of(id_: str) -> str:
    """The name by which a job may be needed: its id without the digits."""
    return id_[:-9]


def _by_name(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id_ in ids:
        found.setdefault(name_of(id_), []).append(id_)
    return found


def _circles(needs: Mapping[str, list[str]]) -> dict[str, str]:
    """The circle, in words, that each job waits in or for which it waits; a job that waits for none is left out."""
    return _loops(_stuck(needs))


def _stuck(needs: Mapping[str, list[str]]) -> dict[str, str]:
    """Jobs whose needs can never all be met because of a circle, each with one need that is stuck as well."""
    waiting = {id_: sum(need in needs for need in each) for id_, each in needs.items()}
    needed_by: dict[str, list[str]] = {}
    for id_, each in needs.items():
        for need in each:
            needed_by.setdefault(need, []).append(id_)
    free = [id_ for id_, count in waiting.items() if not count]
    for id_ in free:
        for other in needed_by.get(id_, ()):
            waiting[other] -= 1
            if not waiting[other]:
                free.append(other)
    stuck = {id_ for id_, count in waiting.items() if count}
    return {id_: next(need for need in needs[id_] if need in stuck) for id_ in stuck}


def _loops(onward: Mapping[str, str]) -> dict[str, str]:
    """The loop that each walk along `onward` ends in. Without recursion: a chain may have ten thousand jobs."""
    told: dict[str, str] = {}
    for start in sorted(onward):
        path: dict[str, None] = {}
        at = start
        while at not in told and at not in path:
            path[at] = None
            at = onward[at]
        if at not in told:
            steps = list(path)
            told[at] = _in_words(steps[steps.index(at) :])
        told.update(dict.fromkeys(path, told[at]))
    return told


def _in_words(loop: list[str]) -> str:
    first = loop.index(min(loop))
    turned = loop[first:] + loop[:first]
    shown = turned if len(turned) <= _SHOWN else [*turned[: _SHOWN - 1], "…"]
    return " → ".join([*shown, turned[0]])
