"""Small values for the tests of the core: one of each, with what a test is about given by keyword."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from orchestrator.core.agent import Soul
from orchestrator.core.attempt import start_attempt
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.board import AgentView, Board, ProjectView
from orchestrator.core.config import Config, Limits, Project, Terms, terms
from orchestrator.core.diffstat import Change
from orchestrator.core.evidence_record import CheckResult, Evidence, Outcome
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Job, JobSpec, Standing, State, Worker
from orchestrator.core.records import MergeRecord
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.step import next_run
from orchestrator.core.times import iso
from orchestrator.core.transitions import Actor
from orchestrator.core.verdict import Judgement, Question, hash_nonce

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOW = iso(NOON)
LATER = iso(NOON + timedelta(hours=1))
HUMAN = Actor("human:ada")
LIMITS = Limits()

COMMIT = "a" * 40
BASE = "b" * 40
NONCE = "nonce-3f2a"
ID = "fix-login-7f3a09c2"


def a_spec(**keys: Any) -> JobSpec:
    """A spec with a prompt."""
    return JobSpec(**{"prompt": "Put the login right.", **keys})


def a_job(id_: str = ID, state: State = State.READY, *, spec: JobSpec | None = None, **at: Any) -> Job:
    """A job in `state`; further keywords are fields of its standing."""
    standing = Standing(**{"id": id_, "seq": 1, "state": state, "created": NOW, "since": NOW, **at})
    return Job("prompt: Put the login right.\n", False, spec or a_spec(), standing)


def numbered_id(number: int, name: str = "job") -> str:
    """`job-0000002a`."""
    return f"{name}-{number:08x}"


def a_run(job: str, kind: RunKind, number: int = 1) -> str:
    """The id of a run as text."""
    return str(RunId(job, kind, number))


def the_terms(spec: JobSpec | None = None, *, project: Project | None = None, allowance: int = 0) -> Terms:
    """The terms of a spec under the default configuration, with the target `main`."""
    return terms(Config(), project or Project(target="main"), spec or a_spec(), allowance=allowance)


def an_agent(name: str, *, family: str = "north", model: str = "", problem: str = "", **soul: Any) -> AgentView:
    """An agent of a family; its model is that family's unless given."""
    about = Soul(**{"name": name, "backend": "command", **soul})
    return AgentView(about, family, model or f"{family}-1", problem)


AUTHOR = an_agent("engineer", family="north")
CRITIC = an_agent("critic", family="south", roles=("review",))


def a_board(*jobs: Job, agents: Iterable[AgentView] = (AUTHOR, CRITIC), **keys: Any) -> Board:
    """A board with these jobs, an author and a reviewer of another family, and the project `main`."""
    project = Project(target="main")
    return Board(
        jobs={job.id: job for job in jobs},
        agents={agent.soul.name: agent for agent in agents},
        **{"config": Config(), "projects": {"main": ProjectView(project)}, **keys},
    )


def a_change(path: str, status: str = "M", *, old_mode: str = "100644", new_mode: str = "100644") -> Change:
    """One changed path."""
    return Change(path=path, status=status, added=1, deleted=0, old_mode=old_mode, new_mode=new_mode)


def an_attempt(job: Job, status: RunStatus | None = None, *, tip: str = "", error: str = "") -> Attempt:
    """The next attempt of a job that does not run, or its present one."""
    number = job.at.attempt if job.state is State.RUNNING else job.at.attempt + 1
    worker = Worker("engineer", "north", "north-1", "command")
    run = a_run(job.id, RunKind.ATTEMPT, number)
    return Attempt(number, worker, BASE, run, NOW, status=status, tip=tip, error=error)


def started(job: Job) -> Job:
    """The job with its next attempt running."""
    return start_attempt(job, an_attempt(job), NOW).job


def evidence_of(job: Job, *, tests: str = "", **keys: Any) -> Evidence:
    """What the engine saw of a job's tip."""
    stat = "1 file changed, 1 insertion(+)"
    known = {"attempt": job.at.attempt, "base": BASE, "tip": job.at.tip, "merge_base": BASE, "tree": "c" * 40}
    return Evidence(**{"number": job.at.evidence or 1, **known, "stat": stat, "tests": tests, **keys})


def a_result(outcome: Outcome = Outcome.PASSED, name: str = "tests") -> CheckResult:
    """One check's result."""
    passed = outcome in (Outcome.PASSED, Outcome.FLAKY)
    return CheckResult(name, f"make {name}", outcome, 0 if passed else 1, 1.5, "its last words")


def a_review(job: Job, *, reviewer: str = "critic", independence: str = "family", commit: str = "") -> ReviewRecord:
    """The next review of a job, or its present one."""
    number = job.at.review if job.at.run else job.at.review + 1
    run = next_run(replace(job, at=replace(job.at, review=number - 1)), RunKind.REVIEW)
    judge, author = Worker(reviewer, "south", "south-1"), job.at.author or Worker("engineer", "north", "north-1")
    about: dict[str, Any] = {
        "attempt": job.at.attempt,
        "evidence": job.at.evidence,
        "base": BASE,
        "commit": commit or job.at.tip,
    }
    return ReviewRecord(
        number=number,
        reviewer=judge,
        author=author,
        run=str(run),
        started=NOW,
        independence=independence,
        threshold=0.8,
        **about,
    )


def a_merge(job: Job, **keys: Any) -> MergeRecord:
    """The record of a job's next merge, built."""
    known = {"approved": job.at.approved, "onto": BASE, "target": "main", "target_was": BASE, "merged": "d" * 40}
    return MergeRecord(**{"number": job.at.merge + 1, **known, "tree": "e" * 40, **keys})


ITEMS = ("does-the-task", "correct", "readable", "documented", "small")


def a_question(**keys: Any) -> Question:
    """What a reviewer was asked: two files, five items of which two are required."""
    known = {"job": ID, "commit": COMMIT, "nonce_sha256": hash_nonce(NONCE), "files": frozenset({"a.py", "b.py"})}
    asked = {"items": ITEMS, "required": frozenset({"does-the-task", "correct"}), "threshold": 0.8}
    return Question(**{**known, **asked, **keys})


def a_verdict(verdict: str = "APPROVED", **keys: Any) -> dict[str, Any]:
    """A clean answer to `a_question`, as a mapping; keywords replace its keys."""
    items = [{"id": id_, "pass": True, "evidence": f"{id_} is shown by a.py:1"} for id_ in ITEMS]
    about = {"nonce": NONCE, "job": ID, "commit": COMMIT, "verdict": verdict, "files": ["a.py", "b.py"]}
    return {**about, "items": items, "findings": [], "summary": "It does what was asked.", **keys}


def a_finding(severity: str = "blocking", **keys: Any) -> dict[str, Any]:
    """A reviewer's remark, as a mapping."""
    return {"severity": severity, "file": "a.py", "line": 3, "problem": "It loops for ever.", "fix": "Stop.", **keys}


def failing(*ids: str) -> list[dict[str, Any]]:
    """The items of `a_question`, of which these fail."""
    return [{"id": id_, "pass": id_ not in ids, "evidence": "looked at it"} for id_ in ITEMS]


def as_reply(value: object) -> str:
    """A mapping as a reviewer would send it."""
    return json.dumps(value)


def judged(verdict: str, **keys: Any) -> Judgement:
    """A judgement without having read an answer."""
    return Judgement(Verdict(verdict), **keys)


def same_beginning(one: str, other: str) -> str:
    """What two texts have in common up to where they differ."""
    pairs = zip(one, other, strict=False)
    return "".join(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
