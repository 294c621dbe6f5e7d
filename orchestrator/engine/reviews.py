"""Reviews: what a reviewer is shown of the work, bound to one commit by a nonce."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.base import Order
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.adapters.library import blob_id, prompt_templates
from orchestrator.adapters.run_values import RunKind
from orchestrator.adapters.schemas import load_schema
from orchestrator.core.attempt import not_started
from orchestrator.core.attempt_record import UNANSWERED, Answer, Attempt, Used
from orchestrator.core.claims import claims_asked
from orchestrator.core.criteria import criteria_file
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.ids import RunId
from orchestrator.core.ids import RunKind as Kind
from orchestrator.core.job import Expects, Fix, Job
from orchestrator.core.judge import approval_stands, review_started
from orchestrator.core.prompt import fill_review, review_prompt
from orchestrator.core.review_record import Lately, ReviewRecord
from orchestrator.core.schedule import AgentView, StartReview
from orchestrator.core.step import next_run
from orchestrator.core.transitions import Move
from orchestrator.core.usage import what_of
from orchestrator.engine.agents import backend_for, launch_spec, may_be_asked_again, soul_of, suspicion_of
from orchestrator.engine.attempts import Reserved, library_filing
from orchestrator.engine.checks import export_tree
from orchestrator.engine.criteria import criteria_of, threshold_of
from orchestrator.engine.evidence import reviewed_patch
from orchestrator.engine.launch import Start, folder_of, spec_for
from orchestrator.engine.rules import rules_for_prompt
from orchestrator.engine.sessions import new_session_id
from orchestrator.engine.usage import expect
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError


def reserve_review(ws: Workspace, job: Job, action: StartReview, agent: AgentView, lately: Lately) -> Reserved:
    """The step that starts a review, with the prompt as the reviewer will get it, but for the diff and the nonce.

    `lately` is what this reviewer said before.
    """
    now = ws.stamp()
    try:
        review, texts = _prepare(ws, job, action, agent, now)
        suspicion, share = suspicion_of(ws.config, agent.soul), ws.config.review.second
        # To be asked once more is one more start.
        again = may_be_asked_again(ws.config, agent.soul) and job.at.starts + 1 < ws.terms(job).starts
        expected = expect(ws, what_of(job, review=True), agent.model, review.parts)
        review = replace(review, suspicion=suspicion, lately=lately, share=share, again=again, estimate=expected)
    except OrcError as error:
        return Reserved(not_started(job, error.message, ws.config.limits, now))
    filing = library_filing(ws, [review.soul] if review.soul else [])
    return Reserved(review_started(job, review, now), texts, (filing,) if filing else ())


def let_stand(ws: Workspace, job: Job, why: str) -> Move:
    """The step with which an approval stands without the second review that was drawn."""
    evidence = ws.ledger.record(Evidence, ws.open_job(job.id), f"evidence-{job.at.evidence}")
    return approval_stands(job, why, ws.terms(job), ws.stamp(), stat=evidence.stat)


def _prepare(
    ws: Workspace, job: Job, action: StartReview, agent: AgentView, now: str
) -> tuple[ReviewRecord, dict[str, bytes]]:
    """The record of a review that is to begin, and the texts that go beside it."""
    run, criteria, rules = next_run(job, Kind.REVIEW), criteria_of(ws, job), rules_for_prompt(ws.paths.root)
    folder = ws.open_job(job.id)
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{evidence.attempt}")
    patch, draw = _whole_patch(ws, job, evidence), secrets.token_hex(8) if evidence.claims else ""
    told = review_prompt(
        prompt_templates("review"),
        job,
        soul=agent.soul,
        evidence=evidence,
        items=criteria.items,
        claims=claims_asked(evidence, draw),
        diff=patch.decode("utf-8", "replace"),
        report=_report(job, attempt),
        rules=rules.text,
        previous=(attempt.fixes, attempt.answers),
    )
    has_system = backend_for(ws, agent.soul)[1].capabilities.system_prompt != "none"
    system = told.system.encode("utf-8", "replace") if has_system else b""
    message = (told.message if has_system else told.in_one()).encode("utf-8", "replace")
    review = ReviewRecord(
        number=run.number,
        attempt=evidence.attempt,
        evidence=evidence.number,
        commit=evidence.tip,
        base=evidence.merge_base,
        reviewer=agent.worker(),
        author=attempt.worker,
        run=str(run),
        started=now,
        independence=action.independence,
        threshold=threshold_of(ws, job, criteria),
        required=tuple(item.id for item in criteria.items if item.required),
        items_asked=tuple(item.id for item in criteria.items),
        criteria=Used(f"criteria/{criteria.kind}.yaml", criteria.blob),
        draw=draw,
        soul=Used(f"souls/{agent.soul.name}.md", agent.soul.blob),
        rules=rules.used,
        rule_ids=rules.ids,
        prompt=blob_id(message),
        system=blob_id(system) if system else "",
        diff=blob_id(patch),
        parts=told.parts,
        identity="" if has_system else "degraded",
    )
    texts = {f"review-{run.number}.prompt.md": message, criteria_file(run.number, "review"): criteria.source}
    if system:
        texts[f"review-{run.number}.system.md"] = system
    return review, texts


def _whole_patch(ws: Workspace, job: Job, evidence: Evidence) -> bytes:
    patch, is_cut = reviewed_patch(ws, job, evidence)
    if is_cut:
        raise OrcError("the diff is too large to be reviewed whole")
    return patch


def review_start(ws: Workspace, job: Job, run: RunId) -> Start:
    """The run of a review, from what the ledger holds of it, with a nonce that only it and its reviewer know."""
    folder = ws.open_job(job.id)
    review = ws.ledger.record(ReviewRecord, folder, f"review-{run.number}")
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{review.evidence}")
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{review.attempt}")
    patch, project = _whole_patch(ws, job, evidence), ws.project(job.at.project)
    if blob_id(patch) != review.diff:
        raise OrcError("the diff is not the one that the review was reserved with", hint="It is reserved anew.")
    nonce = secrets.token_hex(16)
    message, system = read_texts(ws, folder, review)
    diff = patch.decode("utf-8", "replace")
    told = fill_review(message, base=evidence.merge_base, commit=evidence.tip, diff=diff, nonce=nonce)
    # Its file may name another program by now: what was recorded counts.
    soul = replace(soul_of(ws, review.reviewer.agent), backend=review.reviewer.backend)
    tree = export_tree(ws, project, evidence.tip, read_only=True)
    spec = spec_for(ws, run, RunKind.REVIEW, job, tree, review.reviewer.agent, project, ws.config.limits.review_minutes)
    order = _order(ws, review, Path(tree["path"]), system)
    return Start(
        replace(spec, launch=launch_spec(ws, soul, order, again=review.again)),
        told,
        {
            **review_facts(job, evidence, attempt),
            "nonce": nonce,
            "items": _items(ws, job, review),
            "claims": [asdict(each) for each in claims_asked(evidence, review.draw)],
        },
        patch or b" ",
        system=system,
    )


def read_texts(ws: Workspace, folder: Folder, review: ReviewRecord) -> tuple[str, str]:
    """The message of a review, still without diff and nonce, and its system prompt; '' for what it has not."""
    texts = (folder.records.get(f"review-{review.number}.{name}") for name in ("prompt", "system"))
    message, system = (ws.ledger.objects.read(oid).decode("utf-8", "replace") if oid else "" for oid in texts)
    return message, system


def _items(ws: Workspace, job: Job, review: ReviewRecord) -> list[dict[str, Any]]:
    """The questions that were asked; their words, if the criteria still have them."""
    known = {item.id: item.question for item in criteria_of(ws, job).items}
    asked = review.items_asked
    return [{"id": id_, "question": known.get(id_, ""), "required": id_ in review.required} for id_ in asked]


def _report(job: Job, attempt: Attempt) -> str:
    """What the author says of it: shown only where there is nothing else to see."""
    return attempt.report if job.spec.expects is Expects.NO_CHANGE else ""


def _order(ws: Workspace, review: ReviewRecord, tree: Path, system: str) -> Order:
    run_folder = folder_of(ws, review.run).path
    return Order(
        run_folder=run_folder,
        tree=tree,
        # Of this run alone, and removed with it: each review is a session of its own.
        state=run_folder / "home" / ".orc-agent",
        model=review.reviewer.model,
        system=run_folder / "system.md" if system else None,
        system_text=system,
        session=new_session_id(review.run),
        read_only=True,
        answer_schema=answer_schema(),
    )


def review_facts(job: Job, evidence: Evidence, attempt: Attempt) -> dict[str, Any]:
    """What a reviewer's program may know as data."""
    return {
        "job": job.id,
        "title": job.spec.heading,
        "kind": job.spec.kind,
        "task": job.spec.prompt,
        "commit": evidence.tip,
        "base": evidence.merge_base,
        "files": [path.path for path in evidence.paths],
        "evidence": {"stat": evidence.stat, "tests": evidence.tests},
        "report": _report(job, attempt),
        "previous": [_asked_before(fix, attempt) for fix in attempt.fixes],
    }


def _asked_before(fix: Fix, attempt: Attempt) -> dict[str, Any]:
    """One fix of the round before, and what the author says of it."""
    answer = next((each for each in attempt.answers if each.id == fix.id), Answer(fix.id, UNANSWERED))
    about = {"id": fix.id, "problem": fix.problem, "file": fix.file, "line": fix.line, "fix": fix.fix}
    return {**about, "check": fix.check, "answer": answer.answer, "reason": answer.reason}


@cache
def answer_schema() -> str:
    """The form of a verdict as JSON, in the part of JSON Schema that services of models take: every key is required."""
    return json.dumps(_plain(load_schema("verdict")), separators=(",", ":"))


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: schema[key] for key in ("type", "description", "enum") if key in schema}
    if "properties" in schema:
        found["properties"] = {name: _plain(each) for name, each in schema["properties"].items()}
        found |= {"required": list(schema["properties"]), "additionalProperties": False}
    if "items" in schema:
        found["items"] = _plain(schema["items"])
    # An `enum` without a type is refused by some.
    return {"type": "string", **found} if "enum" in schema else found
