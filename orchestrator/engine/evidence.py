"""Evidence: the engine looks at the diff itself, and at what the checks said about exactly that tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import ENGINE, Git
from orchestrator.adapters.git_objects import commit_tree, diff_stat, lay_over, read_patch
from orchestrator.adapters.git_refs import merge_base
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.criteria import criteria_file, unknown_kind
from orchestrator.core.diffstat import Change
from orchestrator.core.escapes import escapes_of
from orchestrator.core.evidence import checks_ended, evidence_found, reproduction_ended
from orchestrator.core.evidence_record import CheckResult, Evidence
from orchestrator.core.gate import PASSING, judge_checks
from orchestrator.core.job import Job, State
from orchestrator.core.merge import merge_checked
from orchestrator.core.records import MergeRecord
from orchestrator.core.reproduction import SHOWN, is_reproduction_due, judge_reproduction, laid_over
from orchestrator.core.rounds import is_about_words, is_all_disputed
from orchestrator.core.times import parse
from orchestrator.core.transitions import Move
from orchestrator.engine.attempts import Reserved
from orchestrator.engine.bases import check_key, known_checks, mirror_with, remember_checks
from orchestrator.engine.criteria import criteria_of
from orchestrator.engine.diff_facts import judge_work, see_diff
from orchestrator.engine.workspace import Workspace

REPRODUCTION = "The base, with the tests of the change\n"


def gather(ws: Workspace, job: Job) -> Reserved:
    """Look at what an attempt changed, on the exact commit, and judge it by the rules.

    The criteria go into the job's folder as they were, for nobody else keeps what was in force at this moment.
    """
    folder = ws.open_job(job.id)
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{job.at.attempt}")
    project, agreed = ws.project(job.at.project), ws.terms(job)
    tip = attempt.tip or attempt.base
    git = mirror_with(ws, project.name, agreed.target, attempt.base, tip, job=job.id)
    # The base is part of the tip's history unless the agent rewrote it; then the diff is judged from the base itself.
    base = merge_base(git, attempt.base, tip) or attempt.base
    seen, changes = see_diff(git, base, tip, project)
    previous, criteria = _previous_tree(ws, job, git), criteria_of(ws, job)
    found = judge_work(git, seen, changes, job.spec, criteria, report=attempt.report, previous=previous)
    is_asked = job.spec.reproduces and not found.failures
    evidence = replace(
        found,
        number=job.at.evidence + 1,
        attempt=attempt.number,
        base=attempt.base,
        reproduction_tree=build_reproduction(git, base, changes) if is_asked else "",
        notes=(*filter(None, (unknown_kind(job.spec.kind, criteria.kind),)), *_notes(attempt), *found.notes),
        escapes=escapes_of(_attempts(ws, job)),
        escape_rules=attempt.escape_rules,
    )
    kept = {criteria_file(evidence.number): criteria.source}
    return Reserved(evidence_found(job, evidence, agreed, ws.stamp()), kept)


def _attempts(ws: Workspace, job: Job) -> Iterator[Attempt]:
    folder = ws.open_job(job.id)
    return (ws.ledger.record(Attempt, folder, f"attempt-{number}") for number in range(1, job.at.attempt + 1))


def _previous_tree(ws: Workspace, job: Job, git: Git) -> str:
    """The tree of the attempt that was sent back, if this one started from it; '' if there is none."""
    folder = ws.open_job(job.id)
    now = ws.ledger.record(Attempt, folder, f"attempt-{job.at.attempt}")
    if not now.fixes or job.at.evidence == 0 or is_all_disputed(now.fixes, now.answers):
        return ""
    before = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
    if is_about_words(before, now.fixes):
        return ""
    return before.tree if before.base == now.base and before.paths else ""


def _notes(attempt: Attempt) -> tuple[str, ...]:
    notes = []
    if attempt.exit is None:
        notes.append(f"the agent's program was killed: {attempt.error}".rstrip(": "))
    elif attempt.exit:
        notes.append(f"the agent's program ended with exit {attempt.exit}: {attempt.error}")
    answered = {answer.id for answer in attempt.answers}
    silent = [fix.id for fix in attempt.fixes if fix.id not in answered]
    if silent:
        notes.append(f"the author did not answer {', '.join(silent)}")
    return tuple(notes)


# --- checks -----------------------------------------------------------------------------------------------------


def build_reproduction(git: Git, base: str, changes: tuple[Change, ...]) -> str:
    """The tree of `base` with the tests of the change laid over it, built as merges are: as objects alone."""
    with effect(Effect.MERGE_BUILD):
        return lay_over(git, base, laid_over(changes))


def tree_to_check(ws: Workspace, job: Job) -> tuple[str, str]:
    """The tree whose checks are due, and the key under which their result is known."""
    project, agreed = ws.project(job.at.project), ws.terms(job)
    folder = ws.open_job(job.id)
    if job.state is State.MERGING:
        tree = ws.ledger.record(MergeRecord, folder, f"merge-{job.at.merge}").tree
    else:
        evidence = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
        # Where the checks were taken away meanwhile, there is no more to be shown than that none is declared.
        is_second = bool(agreed.checks) and is_reproduction_due(job, evidence)
        tree = evidence.reproduction_tree if is_second else evidence.tree
    return tree, check_key(tree, agreed.checks, project)


def commit_to_check(ws: Workspace, job: Job) -> str:
    """The commit in the project's mirror whose checks are due.

    That of the base with the new tests is built anew each time, for no ref holds it.
    """
    place = job.at.project, ws.terms(job).target
    if job.state is State.MERGING:
        mirror_with(ws, *place, job.at.merged, job=job.id)
        return job.at.merged
    evidence = ws.ledger.record(Evidence, ws.open_job(job.id), f"evidence-{job.at.evidence}")
    if not is_reproduction_due(job, evidence):
        mirror_with(ws, *place, job.at.tip, job=job.id)
        return job.at.tip
    git, base = mirror_with(ws, *place, evidence.base, evidence.tip, job=job.id), evidence.merge_base
    tree = build_reproduction(git, base, diff_stat(git, base, evidence.tip).changes)
    with effect(Effect.MERGE_BUILD):
        return commit_tree(git, tree, [base], REPRODUCTION, author=ENGINE, when=parse(job.at.created))


def known_result(ws: Workspace, job: Job) -> Move | None:
    """The step that the checks lead to, if no run is needed: none are declared, or the result is known."""
    if not ws.terms(job).checks:
        return checks_result(ws, job, ())
    known = known_checks(ws, tree_to_check(ws, job)[1])
    return None if known is None else checks_result(ws, job, known)


def checks_result(ws: Workspace, job: Job, results: tuple[CheckResult, ...]) -> Move:
    """The step that the results of the checks lead to."""
    tree, key = tree_to_check(ws, job)
    tests, folder, now = judge_checks(results), ws.open_job(job.id), ws.stamp()
    if results:
        remember_checks(ws, key, results)
    if job.state is State.MERGING:
        merge = ws.ledger.record(MergeRecord, folder, f"merge-{job.at.merge}")
        return merge_checked(job, replace(merge, tests=tests, checks=results, check_key=key), ws.terms(job), now)
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
    if is_reproduction_due(job, evidence) and results:
        judged = judge_reproduction(results)
        done = replace(evidence, reproduction=judged, reproduction_checks=results, reproduction_key=key)
        too_large = _too_large(ws, job, done) if judged == SHOWN else ""
        return reproduction_ended(job, done, ws.terms(job), now, too_large=too_large)
    done = replace(evidence, tests=tests, checks=results, checked_tree=tree, check_key=key)
    too_large = _too_large(ws, job, done) if tests in PASSING else ""
    return checks_ended(job, done, ws.terms(job), now, too_large=too_large)


def _too_large(ws: Workspace, job: Job, evidence: Evidence) -> str:
    """Why the whole diff cannot be put before a reviewer, '' if it can."""
    if evidence.more_paths:
        return f"more than the {len(evidence.paths)} files that a review lists"
    limit = ws.config.review.max_diff_bytes
    is_cut = reviewed_patch(ws, job, evidence)[1]
    return f"more than {limit} bytes, which is review.max_diff_bytes in orc.yaml" if is_cut else ""


def reviewed_patch(ws: Workspace, job: Job, evidence: Evidence) -> tuple[bytes, bool]:
    """The change as a reviewer sees it, and whether it is cut, for it is too large."""
    project, target = ws.project(job.at.project), ws.terms(job).target
    git = mirror_with(ws, project.name, target, evidence.base, evidence.tip, job=job.id)
    return _patch(git.git_dir, evidence.merge_base, evidence.tip, ws.config.review.max_diff_bytes)


# Asked for when the checks have passed, when the review is reserved, and when it starts: commits do not change.
@lru_cache(maxsize=2)
def _patch(git_dir: Path, base: str, tip: str, max_bytes: int) -> tuple[bytes, bool]:
    return read_patch(Git(git_dir), base, tip, max_bytes=max_bytes)
