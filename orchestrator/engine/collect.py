"""Collect: what ended runs left behind becomes steps. A result counts once, and only for the run the ledger names."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from orchestrator.adapters.descendants import kill_descendants
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import rev_parse, tree_of
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.mirrors import open_mirror, publish_ref
from orchestrator.adapters.run_folder import RunFolder, read_nonce, read_result
from orchestrator.adapters.run_values import RunResult
from orchestrator.adapters.worktrees import TreeSpec, seal_tree, was_sealed_torn
from orchestrator.adapters.yaml_text import replace_unsafe
from orchestrator.core.attempt import not_started, place_in_session, run_lost
from orchestrator.core.attempt_record import Attempt, RunStatus, Spoke
from orchestrator.core.claims import claims_asked
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.gate import judge_checks
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Job, Worker
from orchestrator.core.judge import review_ended
from orchestrator.core.records import BaseRecord
from orchestrator.core.report import parse_answers
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.run_end import Around, after_attempt, after_unmade_review, is_unmade, why_unmade
from orchestrator.core.said import Said, Trouble, cost_of
from orchestrator.core.suspicion import doubts_of
from orchestrator.core.transitions import Move
from orchestrator.core.verdict import Judgement, Question, blot_nonce, hash_nonce, judge_reply
from orchestrator.engine.attempts import attempt_ref, attempt_tree
from orchestrator.engine.bases import base_filing, base_record, not_checked, remember_checks
from orchestrator.engine.escapes import with_escapes
from orchestrator.engine.evidence import checks_result
from orchestrator.engine.launch import RunState, folder_of, state_of
from orchestrator.engine.routine import collect_routine
from orchestrator.engine.run_logs import put_away
from orchestrator.engine.services import service_of
from orchestrator.engine.sessions import session_of, tree_folder
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

log = logging.getLogger("orc.collect")
REPORT_LIMIT = 8_000
_NOT_BEGUN = (RunStatus.NOT_STARTED, RunStatus.PREPARE_FAILED, RunStatus.UNREADABLE)


def running(ws: Workspace) -> list[Job]:
    """The jobs for which the ledger names a run."""
    return [folder.job for folder in ws.ledger.snapshot().active if folder.job.at.run]


def collect_run(ws: Workspace, job: Job) -> Move | None:
    """The step that follows from a job's run, if it has ended or died."""
    run = RunId.parse(job.at.run)
    if run is None:
        return None
    place = folder_of(ws, job.at.run)
    match state_of(place):
        case RunState.ENDED:
            return _ended(ws, job, run, place)
        case RunState.DEAD:
            return _dead(ws, job, run, place)
        case _:
            return None


def _ended(ws: Workspace, job: Job, run: RunId, place: RunFolder) -> Move:
    result = read_result(place) or RunResult(str(run), RunStatus.UNREADABLE)
    match run.kind:
        case RunKind.ATTEMPT:
            return _attempt(ws, job, run, place, result)
        case RunKind.REVIEW:
            return _review(ws, job, run, place, result)
        case RunKind.CHECKS | RunKind.MERGE:
            return _checks(ws, job, result)
        case RunKind.ROUTINE:
            return collect_routine(ws, job, result)


def _dead(ws: Workspace, job: Job, run: RunId, place: RunFolder) -> Move:
    """A run died without a result. What an agent had made by then is sealed first."""
    now = ws.stamp()
    end_strays(place)
    if run.kind is RunKind.ATTEMPT:
        attempt = ws.ledger.record(Attempt, ws.open_job(job.id), f"attempt-{run.number}")
        tip = seal_work(ws, job, run)
        # Kept in any case; but where the power went, files may be empty, and nobody is to go on from such a tree.
        whole = "" if was_sealed_torn(TreeSpec.from_json(attempt_tree(ws, job, attempt))) else tip
        ended = with_escapes(ws, job, replace(attempt, ended=now, status=RunStatus.LOST, tip=tip), tip)
        return run_lost(job, ws.config.limits, now, records={f"attempt-{run.number}": ended}, tip=whole)
    if run.kind is RunKind.REVIEW:
        review = ws.ledger.record(ReviewRecord, ws.open_job(job.id), f"review-{run.number}")
        # A reviewer that died has said nothing: never an approval.
        lost = replace(review, ended=now, status=RunStatus.LOST, verdict=Verdict.INCONCLUSIVE, why="left no answer")
        return run_lost(job, ws.config.limits, now, records={f"review-{run.number}": lost})
    return run_lost(job, ws.config.limits, now)


def end_strays(place: RunFolder) -> None:
    """End what a dead supervisor left behind: nothing may write on in a tree that is about to be sealed."""
    with effect(Effect.RUN_STOP):
        kill_descendants(place.path.name, run_dir=place.path)


# --- attempts ---------------------------------------------------------------------------------------------------


def _attempt(ws: Workspace, job: Job, run: RunId, place: RunFolder, result: RunResult) -> Move:
    now = ws.stamp()
    before = ws.ledger.record(Attempt, ws.open_job(job.id), f"attempt-{run.number}")
    tip = is_published(ws, job, run) or seal_work(ws, job, run)
    session = _session(before, result.said)
    ended = replace(
        with_escapes(ws, job, before, tip),
        ended=now,
        status=result.status,
        exit=result.exit,
        error=result.error[:500],
        tip=tip,
        tree=_tree(ws, job, tip),
        own_commits=bool(result.sealed and result.sealed.own_commits),
        seconds=round(result.seconds, 2),
        report=result.report[:REPORT_LIMIT],
        answers=parse_answers(result.report, before.fixes),
        spoke=spoke_of(ws, result.said, before.worker),
        session=session,
        session_job=place_in_session(session_of(ws, before.worker.agent, job.at.project), session, job.id),
    )

    def is_untouched() -> bool:
        return ended.tree == _tree(ws, job, job.at.tip or before.base)

    has_tree = Path(tree_folder(ws, before.worker.agent, job.at.project)).is_dir()
    return after_attempt(job, ended, _around(ws, job, now), is_untouched=is_untouched, has_tree=has_tree)


def _around(ws: Workspace, job: Job, now: str) -> Around:
    return Around(ws.config, partial(ws.terms, job), partial(service_of, ws.ledger.read_file), now)


def _session(before: Attempt, said: Said | None) -> str:
    """The session that the agent's program was in at the end; '' if it cannot go on with it."""
    if said is None:
        return ""
    if said.trouble is Trouble.SESSION:
        return ""
    if said.trouble.is_of_service and not before.resumed and not (said.usage and said.usage.total):
        return ""  # It was turned away before a conversation began.
    # Who was cut off before it could tell is in the session that it was begun in; whoever fails otherwise gave that up.
    stands = said.ok or said.trouble is Trouble.CUT or said.trouble.is_of_service
    return said.session or (before.session if stands else "")


def spoke_of(ws: Workspace, said: Said | None, worker: Worker) -> Spoke | None:
    """What the agent's program said of its run, with what it cost."""
    if said is None:
        return None
    usage = said.usage
    if said.ok and usage is not None and not usage.total:
        usage = None  # Nobody answers without having read anything: that is no number, but the want of one.
    known = ws.config.models.get(worker.model)
    price = known.price if known and usage is not None else None
    cost, priced = cost_of(usage, price)
    return Spoke(
        usage=usage,
        so_far=said.so_far,
        context=said.context,
        model=said.model[:200],
        trouble=said.trouble,
        denials=tuple(each[:200] for each in said.denials[:20]),
        retries=said.retries,
        fallbacks=tuple(each[:200] for each in said.fallbacks[:20]),
        retry_after_s=round(max(0.0, said.retry_after_s), 3),
        tool_calls=said.tool_calls,
        cost_microusd=cost,
        priced=priced,
        sandbox=said.sandbox[:200],
        price=price,
    )


def is_published(ws: Workspace, job: Job, run: RunId) -> str:
    """The attempt's work, brought from the mirror into the project's repository under its ref; '' if there is none."""
    project, ref = job.at.project, attempt_ref(job.id, run.number)
    source = ws.project_git_dir(project)
    mirror = ws.asking(open_mirror(ws.paths.mirror(project), source))
    tip = rev_parse(mirror, ref)
    if tip is None:
        return ""
    if rev_parse(ws.git(project), ref) != tip:
        with effect(Effect.WORK_PUBLISH):
            publish_ref(mirror, source, ref)
    return tip


def seal_work(ws: Workspace, job: Job, run: RunId) -> str:
    """Take out what a run left that could not do it itself; '' if its tree was never made."""
    try:
        attempt = ws.ledger.record(Attempt, ws.ledger.folder(job.id), f"attempt-{run.number}")
        spec = TreeSpec.from_json(attempt_tree(ws, job, attempt))
        with effect(Effect.TREE_SEAL):
            try:
                seal_tree(spec, when=ws.now())
            except GitError:
                # Once more: a disk that was full for a moment says nothing about the work.
                seal_tree(spec, when=ws.now())
    except (OrcError, OSError) as error:
        if isinstance(error, GitError) and error.was_killed:
            raise  # That is nothing about the work: it is told, and tried again at the next tick.
        log.warning("%s: its work could not be taken out: %s", run, error)
        return ""
    return is_published(ws, job, run)


def _tree(ws: Workspace, job: Job, tip: str) -> str:
    return tree_of(ws.git(job.at.project), tip) if tip else ""


# --- checks -----------------------------------------------------------------------------------------------------


def _checks(ws: Workspace, job: Job, result: RunResult) -> Move:
    if result.status is not RunStatus.ENDED:
        why = f"the checks could not be run ({result.status.value.replace('_', ' ')}): {result.error}"
        return not_started(job, why, ws.config.limits, ws.stamp())
    results = result.check_results()
    if [each.run for each in results] != [check.run for check in ws.terms(job).checks]:
        why = "the checks that ran are not those that are declared now; they run again"
        return not_started(job, why, ws.config.limits, ws.stamp())
    return checks_result(ws, job, results)


def collect_bases(ws: Workspace) -> Iterator[Filing]:
    """What the checks say about the bases that were being checked."""
    for name in ws.config.projects:
        record = base_record(ws, name)
        if record is None or not record.run:
            continue
        place = folder_of(ws, record.run)
        state = state_of(place)
        if state is RunState.ENDED:
            yield _base_ended(ws, name, record, place)
        elif state is RunState.DEAD:
            yield _base_lost(ws, name, record, place, "the run of the checks died")


def _base_lost(ws: Workspace, name: str, record: BaseRecord, place: RunFolder, why: str) -> Filing:
    """Checks that died or could not begin are run again, once; only then is it a problem, and somebody is asked."""
    end_strays(place)
    # The run that is reserved next bears the same name.
    put_away(ws.paths, place)
    return base_filing(name, not_checked(record, why, ws.stamp()), f"was not checked: {why}")


def _base_ended(ws: Workspace, name: str, record: BaseRecord, place: RunFolder) -> Filing:
    at, result = ws.stamp(), read_result(place)
    if result is None or result.status in _NOT_BEGUN:
        # A disk that was full for a moment, say: that is nothing about the project.
        why = (result.error or result.status.value) if result else "the result cannot be read"
        return _base_lost(ws, name, record, place, why)
    if result.status is not RunStatus.ENDED:
        why = result.error or result.status.value
        return base_filing(name, not_checked(record, why, at, is_sure=True), f"could not be checked: {why}")
    results = result.check_results()
    if [each.run for each in results] != [check.run for check in ws.project(name).checks]:
        # Declared otherwise while they ran. Without a key nothing is known, so they run again.
        return base_filing(name, replace(record, run="", key="", at=at), "is checked again: the checks have changed")
    tests = judge_checks(results)
    remember_checks(ws, record.key, results)
    done = replace(record, run="", tests=tests, checks=results, at=at, problem="", tries=0)
    return base_filing(name, done, f"at {record.commit[:12]}: tests {tests}")


# --- reviews ----------------------------------------------------------------------------------------------------


def _review(ws: Workspace, job: Job, run: RunId, place: RunFolder, result: RunResult) -> Move:
    now, folder = ws.stamp(), ws.open_job(job.id)
    before = ws.ledger.record(ReviewRecord, folder, f"review-{run.number}")
    trouble = result.said.trouble if result.said is not None else Trouble.NONE
    if is_unmade(result.status, trouble):
        ended = replace(
            before,
            ended=now,
            status=result.status,
            seconds=round(result.seconds, 2),
            verdict=Verdict.INCONCLUSIVE,
            why=why_unmade(result.status, trouble, result.error),
            spoke=spoke_of(ws, result.said, before.reviewer),
        )
        return after_unmade_review(job, ended, _around(ws, job, now))
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{before.evidence}")
    ended, judgement = end_review(before, evidence, result, read_nonce(place), now)
    ended = replace(ended, spoke=spoke_of(ws, result.said, before.reviewer))
    done = ws.ledger.record(Attempt, folder, f"attempt-{before.attempt}")
    return review_ended(
        job, ended, judgement, ws.terms(job), now, stat=evidence.stat, asked=done.fixes, answers=done.answers
    )


def end_review(
    review: ReviewRecord, evidence: Evidence, result: RunResult, nonce: str, now: str
) -> tuple[ReviewRecord, Judgement]:
    """The record of a review whose run left a result, and what its answer comes to."""
    # As the ledger keeps it: to leave out what no file may hold only then could make another answer of it.
    reply = replace_unsafe(blot_nonce(result.report, nonce))
    first_reply, asked_again = _first_answer(review, evidence, result, nonce)
    judgement = _judge_result(review, evidence, result, reply, nonce)
    ended = replace(
        review,
        ended=now,
        status=result.status,
        exit=result.exit,
        seconds=round(result.seconds, 2),
        verdict=judgement.verdict,
        score=judgement.score,
        why=judgement.why,
        nonce_sha256=hash_nonce(nonce),
        reply=reply,
        items=judgement.items,
        claims=judgement.claims,
        findings=judgement.findings,
        summary=judgement.summary[:1000],
        follow_ups=judgement.follow_ups,
        asked_again=asked_again,
        first_reply=first_reply,
    )
    return replace(ended, doubts=doubts_of(ended, evidence)), judgement


def _first_answer(review: ReviewRecord, evidence: Evidence, result: RunResult, nonce: str) -> tuple[str, str]:
    """What a reviewer that was asked once more answered before, as the ledger keeps it, and what was wrong with it."""
    if not (result.asked_again and review.again and nonce):
        return "", ""
    reply = replace_unsafe(blot_nonce(result.first_report, nonce))
    found = judge_reply(reply, question_of(review, evidence, hash_nonce(nonce)), blotted=True)
    return (reply, found.why) if found.malformed else ("", "")


def _judge_result(review: ReviewRecord, evidence: Evidence, result: RunResult, reply: str, nonce: str) -> Judgement:
    """What a review came to, judged on the reply as the ledger keeps it, so that anybody can judge it again."""
    if not nonce:
        return Judgement(Verdict.INCONCLUSIVE, why="cannot be bound: the review's nonce is gone")
    if result.status is not RunStatus.ENDED or result.exit != 0:
        how = f"exit {result.exit}" if result.status is RunStatus.ENDED else result.status.value
        return Judgement(Verdict.INCONCLUSIVE, why=f"did not come to its end ({how}): {result.error}".rstrip(": "))
    return judge_reply(reply, question_of(review, evidence, hash_nonce(nonce)), blotted=True)


def question_of(review: ReviewRecord, evidence: Evidence, nonce_sha256: str) -> Question:
    """What a reviewer was asked, from the records."""
    return Question(
        job=review.run.rsplit(".", 1)[0],
        commit=review.commit,
        nonce_sha256=nonce_sha256,
        files=frozenset(path.path for path in evidence.paths),
        items=review.items_asked,
        required=frozenset(review.required),
        threshold=review.threshold,
        claims=tuple(each.id for each in claims_asked(evidence, review.draw)),
    )
