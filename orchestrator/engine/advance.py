"""Advance: jobs that have stood still for a day get a small job that looks into it. It asks no model itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from string import Template

from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.advance import PATH, SOURCE, Act, Advanced, Stalled, choose, is_still, noted
from orchestrator.core.ids import job_id
from orchestrator.core.job import Job, Priority
from orchestrator.core.routine import Report, cut_lines
from orchestrator.core.transitions import ENGINE, Move
from orchestrator.engine.accept import new_job
from orchestrator.engine.agents import view_agents
from orchestrator.engine.limits import Reasons
from orchestrator.engine.waiting import why_waiting
from orchestrator.engine.workspace import Workspace

PRIORITY = Priority.P4


def advance(ws: Workspace, dry_run: bool) -> Report:
    """Have somebody look at the jobs that stand still, at most three of them. Raises OrcError."""
    before, now = _before(ws), ws.now()
    chosen = choose(_candidates(ws), before, now)
    if not chosen:
        return Report("no job stands still for a day")
    moves = [_job_about(ws, each) for each in chosen]
    lines = [f"{each.act}: {each.job.id}, {each.job.state} since {each.since}" for each in chosen]
    if not dry_run:
        done = {move.job.id for move in ws.commit(moves, [_filing(ws, before, chosen)])}
        lines = [
            f"{line} -> {move.job.id if move.job.id in done else 'somebody looks at it already'}"
            for line, move in zip(lines, moves, strict=True)
        ]
    number = len(chosen)
    told = f"{number} job{'s' * (number > 1)} stood still, and somebody is to look at {'them' if number > 1 else 'it'}"
    key = hashlib.sha256("\n".join(sorted(move.job.id for move in moves)).encode()).hexdigest()[:16]
    return Report(told, cut_lines(lines), key, figures={"stood_still": number})


def _candidates(ws: Workspace) -> Iterator[Job]:
    """The jobs that stand still, but for those that a limit keeps where they are, or a service that rests."""
    jobs = [job for job in ws.ledger.snapshot().jobs.values() if is_still(job, ws.now())]
    reasons, resting = Reasons(ws, view_agents(ws)[0]), why_waiting(ws, jobs)
    return (job for job in jobs if job.id not in resting and reasons.of(job) is None)


def _job_about(ws: Workspace, stalled: Stalled) -> Move:
    """The step that makes the job which looks into one that stands still; of one day it is the same each time."""
    job = stalled.job
    words = {
        "job": job.id,
        "title": job.spec.heading,
        "since": stalled.since,
        "rounds": str(job.at.rounds),
        "state": job.state.value,
        "reason": job.why or "nothing",
    }
    title = "How to go on with" if stalled.act is Act.REPLAN else "Why stands still:"
    keys = {
        "title": f"{title} {job.spec.heading}"[:200],
        "prompt": Template(_text(stalled.act)).safe_substitute(words),
        "kind": "other",
        "purpose": "maintenance",
        "expects": "no_change",
        "priority": PRIORITY.name,
        "project": job.at.project,
        "dedup_key": f"advance {job.id}",
    }
    parsed = parse_job(dump(keys).encode(), name=f"advance-{job.id}.yaml")
    digest = hashlib.sha256(f"{job.id} {ws.stamp()[:10]}".encode()).hexdigest()[:8]
    source = f"{SOURCE}{job.id}"
    return new_job(ws, parsed, job_id(f"advance-{job.id[:-9]}", digest), source=source, priority=PRIORITY, actor=ENGINE)


def _text(act: Act) -> str:
    return files("orchestrator").joinpath("prompts", f"advance.{act}.md").read_text("utf-8")


def _before(ws: Workspace) -> Advanced:
    data = ws.ledger.read_file(PATH)
    return Advanced() if data is None else parse_record(Advanced, data, PATH)


def _filing(ws: Workspace, before: Advanced, chosen: tuple[Stalled, ...]) -> Filing:
    stamp = ws.stamp()
    record = noted(before, {each.job.id: stamp for each in chosen}, ws.now())
    jobs = ", ".join(each.job.id for each in chosen)
    return Filing(f"advance: {jobs}"[:200], {PATH: format_record(record)}, (("Routine", "advance"),))
