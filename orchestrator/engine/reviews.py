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
from orchestrator.adapters.git_objects import read_patch
from orchestrator.adapters.library import prompt_templates
from orchestrator.adapters.run_values import RunKind
from orchestrator.adapters.schemas import load_schema
from orchestrator.core.claims import claims_asked
from orchestrator.core.ids import RunId
from orchestrator.core.ids import RunKind as Kind
from orchestrator.core.job import Expects, Job
from orchestrator.core.judge import review_started
from orchestrator.core.prompt import review_prompt
from orchestrator.core.records import Attempt, Evidence, ReviewRecord, Used
from orchestrator.core.schedule import AgentView, StartReview
from orchestrator.core.step import next_run
from orchestrator.core.transitions import Move
from orchestrator.core.verdict import hash_nonce
from orchestrator.engine.agents import backend_for, launch_spec, soul_of
from orchestrator.engine.bases import mirror_with
from orchestrator.engine.checks import export_tree
from orchestrator.engine.criteria import criteria_of, threshold_of
from orchestrator.engine.launch import Start, folder_of, spec_for
from orchestrator.engine.rules import rules_for_prompt
from orchestrator.engine.sessions import new_session_id
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError


def reserve_review(ws: Workspace, job: Job, action: StartReview, agent: AgentView) -> Move:
    """The step that starts a review."""
    run, criteria, rules = next_run(job, Kind.REVIEW), criteria_of(ws, job), rules_for_prompt(ws.paths.root)
    folder = ws.open_job(job.id)
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{evidence.attempt}")
    now = ws.stamp()
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
        soul=Used(f"souls/{agent.soul.name}.md", agent.soul.blob),
        rules=rules.used,
        rule_ids=rules.ids,
        identity="degraded" if backend_for(ws, agent.soul)[1].capabilities.system_prompt == "none" else "",
    )
    return review_started(job, review, now)


def review_start(ws: Workspace, job: Job, run: RunId) -> Start:
    """The run of a review, from what the ledger holds of it, with a nonce that only it and its reviewer know."""
    folder = ws.open_job(job.id)
    review = ws.ledger.record(ReviewRecord, folder, f"review-{run.number}")
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{review.evidence}")
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{review.attempt}")
    project = ws.project(job.at.project)
    mirror = mirror_with(ws, project.name, ws.terms(job).target, review.commit, job=job.id)
    patch, cut = read_patch(mirror, evidence.merge_base, evidence.tip, max_bytes=ws.config.review.max_diff_bytes)
    if cut:
        raise OrcError("the diff is too large to be reviewed whole")
    asked = [item for item in criteria_of(ws, job).items if item.id in review.items_asked]
    nonce = secrets.token_hex(16)
    claims = claims_asked(evidence, hash_nonce(nonce))
    soul = soul_of(ws, review.reviewer.agent)
    assembled = review_prompt(
        prompt_templates("review"),
        job,
        soul=soul,
        evidence=evidence,
        items=asked,
        claims=claims,
        nonce=nonce,
        diff=patch.decode("utf-8", "replace"),
        report=_report(job, attempt),
        rules=rules_for_prompt(ws.paths.root).text,
        previous=(attempt.fixes, attempt.answers),
    )
    has_system = not review.identity
    system = assembled.system if has_system else ""
    tree = export_tree(ws, project, evidence.tip, read_only=True)
    spec = spec_for(ws, run, RunKind.REVIEW, job, tree, review.reviewer.agent, project, ws.config.limits.review_minutes)
    return Start(
        replace(spec, launch=launch_spec(ws, soul, _order(ws, review, Path(tree["path"]), system))),
        assembled.message if has_system else assembled.in_one(),
        {
            **_facts(job, evidence, attempt),
            "nonce": nonce,
            "items": [asdict(item) for item in asked],
            "claims": [asdict(each) for each in claims],
        },
        patch or b" ",
        system=system,
    )


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


def _facts(job: Job, evidence: Evidence, attempt: Attempt) -> dict[str, Any]:
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
        "previous": [{"id": fix.id, "problem": fix.problem} for fix in attempt.fixes],
    }


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
