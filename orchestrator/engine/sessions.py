"""Sessions: an agent's conversation as the ledger has it, and what each ended attempt makes of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from uuid import NAMESPACE_URL, uuid5

from orchestrator.adapters.backends.base import Capabilities
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.board import AgentView
from orchestrator.core.job import Job
from orchestrator.core.sessions import Did, Plan, Session, after_run, given_up, plan_session
from orchestrator.core.transitions import Event, Move
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import LedgerError

log = logging.getLogger("orc.sessions")
TOLD = 300
"""Characters of a report that go into the note for the next session."""


def session_path(agent: str, project: str) -> str:
    """Where the ledger keeps the conversation of an agent in a project."""
    return f"workers/{agent}/{project}.yaml"


def session_of(ws: Workspace, agent: str, project: str) -> Session | None:
    """The newest conversation of an agent in a project; None if it has had none, or if what is noted of it is not known
    to this version: then it begins anew, and no job waits for a person because of a note that only saves tokens.
    """
    path = session_path(agent, project)
    data = ws.ledger.read_file(path)
    try:
        return None if data is None else parse_record(Session, data, path)
    except LedgerError as error:
        log.warning("%s begins anew: %s", agent, error.message)
        return None


def new_session_id(run: str) -> str:
    """The id of the session that a run begins: always the same for it, so that a start made up for is no second one."""
    return str(uuid5(NAMESPACE_URL, f"orc:{run}"))


def plan_for(ws: Workspace, job: Job, agent: AgentView, can: Capabilities, *, system: str) -> Plan:
    """With which session an attempt begins. Only a persistent agent takes one from job to job.

    There is nothing to plan, and nothing to give reasons for, where the program has no sessions to go on with.
    `system` is the blob id of the system prompt that the attempt is to have.
    """
    if can.resume == "no":
        return Plan()
    session = session_of(ws, agent.soul.name, job.at.project)
    if session is not None and not agent.soul.persistent and session.last_job != job.id:
        return Plan(why_fresh="the agent begins each job anew")
    known = ws.config.models.get(agent.model)
    return plan_session(
        session,
        worker=agent.worker(),
        system=system,
        folder=tree_folder(ws, agent.soul.name, job.at.project),
        resume=can.resume,
        takes_system=can.system_on_resume,
        limits=ws.config.sessions,
        window=known.window if known else 200_000,
        now=ws.now(),
        job=job.id,
        fixes=job.at.fixes,
    )


def tree_folder(ws: Workspace, agent: str, project: str) -> str:
    """The folder in which an agent works on a project."""
    return str(ws.paths.state / "trees" / agent / project)


def filings_after(ws: Workspace, moves: Iterable[Move]) -> Iterator[Filing]:
    """What ended attempts make of their agents' conversations."""
    for move in moves:
        if move.event not in (Event.COLLECT, Event.NOT_STARTED):
            continue
        for record in move.records.values():
            if isinstance(record, Attempt) and record.spoke is not None:
                # What has to be made again is not over: an outage or a stop, with the same fixes.
                is_over = move.event is Event.COLLECT and record.status is not RunStatus.STOPPED
                yield from _filings(ws, move.job, record, is_over=is_over)


def _filings(ws: Workspace, job: Job, attempt: Attempt, *, is_over: bool) -> Iterator[Filing]:
    if attempt.session:
        yield _filing(ws, job, attempt, is_over=is_over)
    elif attempt.resumed and (session := session_of(ws, attempt.worker.agent, job.at.project)) is not None:
        path = session_path(session.agent, session.project)
        subject = f"worker: {session.agent} in {session.project}, its session is over"
        trailers = (("Agent", session.agent), ("Session", session.id or "-"))
        yield Filing(subject, {path: format_record(given_up(session))}, trailers, with_step_of=job.id)


def _filing(ws: Workspace, job: Job, attempt: Attempt, *, is_over: bool) -> Filing:
    worker, spoke = attempt.worker, attempt.spoke
    assert spoke is not None
    session = Session(
        agent=worker.agent,
        project=job.at.project,
        backend=worker.backend,
        model=worker.model,
        system=attempt.system,
        id=attempt.session,
        started=attempt.started,
        last_used=attempt.ended,
        folder=tree_folder(ws, worker.agent, job.at.project),
    )
    told = " ".join(attempt.report.split())
    after = after_run(
        session_of(ws, worker.agent, job.at.project),
        session,
        usage=spoke.usage,
        so_far=spoke.so_far,
        context=spoke.context,
        did=Did(job.id, job.spec.heading, told[:TOLD]),
        fixes=attempt.fixes,
        is_over=is_over,
    )
    path = session_path(worker.agent, job.at.project)
    subject = f"worker: {worker.agent} in {job.at.project}, run {after.runs} of its session"
    trailers = (("Agent", worker.agent), ("Session", attempt.session))
    return Filing(subject, {path: format_record(after)}, trailers, with_step_of=job.id)
