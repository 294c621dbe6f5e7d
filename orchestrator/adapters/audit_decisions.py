"""What each decision on the ledger rests on, recomputed from the records that it cites.

Reads the ledger only; what has to be looked up in a project's repository is in `audit_work`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.adapters.audit_cards import (
    judge_answer,
    judge_answered_before,
    judge_card,
    judge_default,
    judge_supersede,
)
from orchestrator.adapters.audit_follow_ups import judge_accept
from orchestrator.adapters.audit_kinds import judge_criteria
from orchestrator.adapters.audit_reviews import judge_review, judge_stand, judge_verdict
from orchestrator.adapters.audit_routines import judge_kind_of_run, judge_ran, judge_run
from orchestrator.adapters.audit_rules import SKEW_S, Finding, Rule, Step, StepRule, check_trailers, differ
from orchestrator.core.attempt import former_authors, place_in_session
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.escapes import escapes_of
from orchestrator.core.evidence import escape_rules, tampering_rules
from orchestrator.core.evidence_record import CheckResult, Evidence, Outcome
from orchestrator.core.gate import PASSING, judge_checks
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import KEEP_APPROVAL, Expects, Job, MergePolicy, State
from orchestrator.core.records import CardKind, MergeRecord
from orchestrator.core.reproduction import SHOWN, is_reproduction_due, judge_reproduction, must_be_asked
from orchestrator.core.requests import changed_keys
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.rounds import dispute_of, same_dispute
from orchestrator.core.service import TURNED_AWAY, ended_by
from orchestrator.core.sessions import Session
from orchestrator.core.tamper import held_for
from orchestrator.core.times import parse
from orchestrator.core.transitions import Event
from orchestrator.core.waits import comes_by_itself, needs_reminder, wait_of


def judge_start(step: Step) -> Iterator[Finding]:
    """An attempt is reserved: the record, the prompt exactly as it was given, nothing known yet of the end."""
    attempt = step.new.get(Attempt, step.at.attempt)
    if attempt is None:
        return
    run = str(RunId(step.id, RunKind.ATTEMPT, attempt.number))
    yield from differ(Rule.ATTEMPT, "the run", attempt.run, run)
    yield from differ(Rule.ATTEMPT, "the job's run", step.at.run, attempt.run)
    yield from differ(Rule.ATTEMPT, "the author", step.at.author, attempt.worker)
    yield from differ(Rule.ATTEMPT, "the job's agent", step.at.agent, attempt.worker.agent)
    yield from differ(Rule.ATTEMPT, "the base", step.at.base, attempt.base)
    yield from differ(Rule.ATTEMPT, "what was asked for", attempt.fixes, step.was.fixes)
    former = former_authors(step.was, attempt.worker)
    yield from differ(Rule.ATTEMPT, "who else had a hand in the work", step.at.former, former)
    if attempt.status is not None or attempt.ended or attempt.tip:
        yield Rule.ATTEMPT, "starts an attempt that has ended already"
    if step.was.given:
        yield from differ(Rule.ATTEMPT, "the agent that goes on with it", attempt.worker.agent, step.was.given)
    if step.at.collided:
        yield Rule.APPROVAL, "begins to work, but keeps the approval of the work before"
    if attempt.conflict:
        merge = step.new.get(MergeRecord, attempt.conflict)
        if attempt.conflict != step.was.merge or merge is None or not merge.conflicts:
            yield Rule.ATTEMPT, f"is to resolve the conflict of merge {attempt.conflict}, which is not open"
    prompt = step.new.entries.get(f"attempt-{attempt.number}.prompt.md")
    if prompt is not None:
        yield from differ(Rule.ATTEMPT, "the prompt", attempt.prompt, prompt.oid)
    system = step.new.entries.get(f"attempt-{attempt.number}.system.md")
    yield from differ(Rule.ATTEMPT, "the system prompt", attempt.system, system.oid if system else "")
    if attempt.resumed:
        yield from _judge_session(step, attempt)
    told = {"Attempt": attempt.number, "Author": attempt.worker.agent, "Author-Model": attempt.worker.model}
    told |= {"Author-Family": attempt.worker.family, "Base": attempt.base, "Prompt": attempt.prompt}
    yield from check_trailers(step, told)


def _judge_session(step: Step, attempt: Attempt) -> Iterator[Finding]:
    """An attempt goes on with a conversation: it is this agent's in this project, with the same program and model."""
    session = _session_of(step, attempt)
    yield from differ(Rule.ATTEMPT, "the session", attempt.session, session.id if session else "")
    if session is not None:
        with_what = (attempt.worker.backend, attempt.worker.model)
        yield from differ(Rule.ATTEMPT, "the session's backend and model", with_what, (session.backend, session.model))


def _session_of(step: Step, attempt: Attempt) -> Session | None:
    """The conversation of an attempt's agent as the ledger has it at this step."""
    path = f"workers/{attempt.worker.agent}/{step.at.project}.yaml"
    entry = step.new.store.find(step.commit.tree, path)
    return step.new.store.record(Session, entry, path) if entry else None


def judge_collect(step: Step) -> Iterator[Finding]:
    """An attempt ended: only one that came to its end by itself is looked at further."""
    attempt = step.new.get(Attempt, step.was.attempt)
    if attempt is None:
        return
    yield from differ(Rule.ATTEMPT, "the newest work", step.at.tip, attempt.tip or step.was.tip)
    wanted = attempt.status is RunStatus.ENDED
    card = step.card() if step.asks else None
    asks = card is not None and card.kind is CardKind.QUESTION
    second = (
        dispute_of(step.was.fixes, attempt.answers, step.was.review) if step.after.state is State.COLLECTED else None
    )
    yield from differ(Rule.ATTEMPT, "why another reviewer is asked", step.at.second, second)
    again = bool(step.commit.trailer("Answered-Before"))
    if again:
        yield from judge_answered_before(step)
    if (step.after.state is State.COLLECTED or asks or again) is not wanted:
        yield Rule.ATTEMPT, f"goes on to {step.after.state}, but the attempt's status is {attempt.status}"
    if attempt.ended and attempt.ended < attempt.started:
        yield Rule.TIME, f"says attempt {attempt.number} ended at {attempt.ended}, before it started"
    if attempt.session_job:  # Older versions did not count.
        place = place_in_session(_session_of(step, attempt), attempt.session, step.id)
        yield from differ(Rule.ATTEMPT, "the attempt's place in its session", attempt.session_job, place)
    told: dict[str, object] = {"Attempt": attempt.number, "Tip": attempt.tip, "Exit": attempt.exit}
    if step.commit.trailer("Cut-Short") is not None:  # Older versions did not say.
        told["Cut-Short"] = None if wanted else attempt.status
    yield from check_trailers(step, {**told, "Session-Job": attempt.session_job or None})


def judge_lost(step: Step) -> Iterator[Finding]:
    """A run came to nothing: no new work but an attempt's, and no verdict."""
    attempt = step.new.get(Attempt, step.was.attempt)
    if step.at.tip != step.was.tip and (
        step.before is None or step.before.state is not State.RUNNING or attempt is None or attempt.tip != step.at.tip
    ):
        yield Rule.ATTEMPT, f"says the newest work is {step.at.tip}, which no attempt left"
    review = step.new.get(ReviewRecord, step.was.review)
    if review is not None and review != step.old.get(ReviewRecord, step.was.review):
        yield from differ(Rule.VERDICT, "the verdict", review.verdict, Verdict.INCONCLUSIVE)
    yield from _check_unserved(step)


def _check_unserved(step: Step) -> Iterator[Finding]:
    """What a service turned away, and nothing else, is not counted against a job."""
    run = ended_by(step.event, step.before, step.after, step.new.get)
    is_unserved = run is not None and run.went in TURNED_AWAY
    is_review = step.before is not None and step.before.state is State.REVIEWING
    for name, counts in (("unserved", is_unserved), ("unserved_reviews", is_unserved and is_review)):
        grown = getattr(step.at, name) - getattr(step.was, name)
        if grown and not (counts and grown == 1):
            yield Rule.COUNTER, f"takes {name} from {getattr(step.was, name)} to {getattr(step.at, name)}"


# --- checks -------------------------------------------------------------------------------------------------------


def judge_check(step: Step) -> Iterator[Finding]:
    """A run of the checks is reserved, under a name that no other run has."""
    kind = RunKind.MERGE if step.after.state is State.MERGING else RunKind.CHECKS
    yield from differ(Rule.CHECKS, "the run", step.at.run, str(RunId(step.id, kind, step.at.starts)))
    if kind is RunKind.MERGE and not step.at.merged:
        yield Rule.CHECKS, "checks a merged tree, but none was built"
    yield from check_trailers(step, {"Run": step.at.run})


def judge_checked(step: Step) -> Iterator[Finding]:
    """The checks ran: on the tree under judgement, with the result that the ledger says, and what follows from it."""
    record: Evidence | MergeRecord | None
    if step.before is not None and step.before.state is State.MERGING:
        record = step.new.get(MergeRecord, step.was.merge)
    else:
        record = step.new.get(Evidence, step.was.evidence)
    if record is None or step.before is None:
        yield Rule.CHECKS, "has no record of what the checks ran on"
    elif isinstance(record, Evidence):
        yield from _judge_work_checked(step, step.before, record)
    else:
        yield from _check_results(step.before, record.tests, record.checks)
        if record.merged != step.was.merged:
            merged = step.was.merged or "none"
            yield Rule.CHECKS, f"checks merge {record.number}, but the job's merged commit is {merged}"
        if (step.after.state is State.LANDING) is not (record.tests in PASSING):
            yield Rule.CHECKS, f"goes on to {step.after.state}, but the tests came to {record.tests or 'nothing'}"
        yield from check_trailers(step, {"Tests": record.tests, "Tree": record.tree})


def _judge_work_checked(step: Step, before: Job, record: Evidence) -> Iterator[Finding]:
    """The checks ran on the attempt's tree, or on the base with its tests."""
    old = step.old.get(Evidence, record.number)
    told = {"Tests": record.tests, "Tree": record.checked_tree, "Reproduction": ""}
    yield from _check_results(before, record.tests, record.checks)
    yield from differ(Rule.CHECKS, "the tree that was checked", record.checked_tree, record.tree)
    yield from differ(Rule.CHECKS, "the outcome of the tests", step.at.tests, record.tests)
    if old is not None and record.reproduction != old.reproduction:
        yield from _judge_reproduction(before, old, record)
        told |= {"Tree": record.reproduction_tree, "Reproduction": record.reproduction}
    elif record.reproduction_checks or record.reproduction_key:
        yield Rule.CHECKS, "has results of checks on the base with the new tests, but does not say what they show"
    yield from _judge_onward(step, before, record)
    yield from check_trailers(step, told)


def _judge_onward(step: Step, before: Job, record: Evidence) -> Iterator[Finding]:
    """Work goes on once nothing that was checked speaks against it; no check is left out."""
    state, card = step.after.state, step.card() if step.asks else None
    if record.more_paths and state is State.REVIEWING:
        yield Rule.EVIDENCE, f"goes on by itself, though {record.more_paths} changed paths are not listed"
    if is_reproduction_due(before, record):
        if state is not State.CHECKING:
            yield Rule.CHECKS, f"goes on to {state}, but the new tests have not run on the base"
        return
    is_asked = must_be_asked(before, record)
    wanted = CardKind.HUMAN_REVIEW if is_asked else CardKind.TOO_LARGE
    goes_on = (card is not None and card.kind is wanted) or (state is State.REVIEWING and not is_asked)
    came_to = record.tests if record.tests not in PASSING or not record.reproduction else record.reproduction
    if goes_on is not (came_to in (*PASSING, SHOWN)):
        yield Rule.CHECKS, f"goes on to {state}, but the tests came to {came_to or 'nothing'}"


def _judge_reproduction(before: Job, old: Evidence, record: Evidence) -> Iterator[Finding]:
    """What the checks came to on the base with the new tests; what they came to on the work stays as it was."""
    if not is_reproduction_due(before, old):
        yield Rule.CHECKS, f"says that the defect is {record.reproduction}, but nothing was to be shown"
    was = (old.tests, old.checks, old.checked_tree, old.check_key)
    is_now = (record.tests, record.checks, record.checked_tree, record.check_key)
    if was != is_now:
        yield Rule.CHECKS, "changes what the checks said about the work itself"
    results = record.reproduction_checks
    yield from differ(Rule.CHECKS, "whether the defect is shown", record.reproduction, judge_reproduction(results))
    yield from _check_results(before, judge_checks(results), results)
    for each in results:
        if each.outcome is Outcome.FAILED and each.exit == 0:
            yield Rule.CHECKS, f"says that `{each.run}` failed, but it ended with exit 0"


def _check_results(job: Job, tests: str, checks: tuple[CheckResult, ...]) -> Iterator[Finding]:
    yield from differ(Rule.CHECKS, "the outcome of the tests", tests, judge_checks(checks))
    for each in checks:
        if each.passed and each.exit != 0:
            yield Rule.CHECKS, f"says that `{each.run}` {each.outcome}, but it ended with exit {each.exit}"
    if job.spec.checks is not None:
        ran, asked = [each.run for each in checks], [each.run for each in job.spec.checks]
        stopped = ran == asked[: len(ran)] and any(not each.passed for each in checks)
        if ran != asked and not stopped:
            yield Rule.CHECKS, f"ran {', '.join(ran) or 'no check'}, but the job asks for {', '.join(asked) or 'none'}"


_APPROVING = (Event.VERDICT, Event.STAND, Event.ANSWER, Event.REBUILD)


def judge_standing(step: Step) -> Iterator[Finding]:
    """Whatever the event: nothing is approved but by a verdict or a person, nothing merged or done without that."""
    approved, state = step.at.approved, step.after.state
    if approved and approved != step.was.approved and step.event not in _APPROVING:
        yield Rule.APPROVAL, f"approves {approved[:12]} by {step.event}"
    nothing_to_merge = state is State.DONE and step.after.spec.expects is Expects.NO_CHANGE
    nothing_to_merge |= step.event is Event.RAN and bool(step.after.spec.routine)
    if state in (State.MERGING, State.LANDING, State.DONE) and not approved and not nothing_to_merge:
        yield Rule.APPROVAL, f"takes the job to {state}, but nothing is approved"
    # A person may have a dispute judged once more, by somebody who is no party to it.
    again = same_dispute(step.was.fixes, step.was.review) if step.event is Event.ANSWER else None
    if step.at.second not in (None, step.was.second, again) and step.event not in (Event.VERDICT, Event.COLLECT):
        yield Rule.STANDING, f"asks for another reviewer by {step.event}"
    by_landing = step.event is Event.DONE or nothing_to_merge
    if state is State.DONE and not by_landing:
        yield Rule.LANDING, f"says done by {step.event}, but nothing landed"
    yield from _judge_waiting(step)
    merged = step.at.merged
    if merged and merged != step.was.merged and step.event is not Event.MERGE:
        yield Rule.MERGE, f"says that {merged[:12]} is the merged commit, but builds none"
    if state is State.LANDING and not merged and step.after.spec.merge not in (None, MergePolicy.BRANCH):
        yield Rule.LANDING, "is to land, but no merged commit was built"


def _judge_waiting(step: Step) -> Iterator[Finding]:
    """A job is stuck where it waits or asks about that, and expires only with its open card."""
    card = step.card() if step.after.state is State.DECIDE else None
    yield from differ(Rule.STANDING, "when its card expires", step.at.expires, card.expires if card else "")
    asks = card is not None and card.kind is CardKind.STALE
    if step.at.stuck and step.after.state is not State.WAITING and not asks:
        yield Rule.STANDING, f"says that it is stuck since {step.at.stuck}, but it is {step.after.state}"


def judge_hold(step: Step) -> Iterator[Finding]:
    """Since when a job waits for what does not come by itself goes on from reason to reason."""
    stuck = step.at.stuck
    if not stuck:
        return  # Older versions did not say.
    if comes_by_itself(step.at.reason) or step.at.held is not None:
        yield Rule.STANDING, f"says that it is stuck since {stuck}, but it waits for what comes by itself"
    elif step.was.stuck:
        yield from differ(Rule.STANDING, "since when the job waits", stuck, step.was.stuck)
    elif abs(parse(stuck).timestamp() - step.commit.committer.seconds) > SKEW_S:
        yield Rule.TIME, f"says that it is stuck since {stuck}, which is not when it was committed"


def judge_evidence(step: Step) -> Iterator[Finding]:
    """The engine looked at exactly the newest attempt, and what it found decides where the job goes."""
    evidence, attempt = step.new.get(Evidence, step.at.evidence), step.new.get(Attempt, step.was.attempt)
    if evidence is None or attempt is None:
        yield Rule.EVIDENCE, "has no evidence of any attempt"
        return
    cited = (evidence.attempt, evidence.base, evidence.tip)
    yield from differ(
        Rule.EVIDENCE, "what was looked at", cited, (attempt.number, attempt.base, attempt.tip or attempt.base)
    )
    yield from differ(Rule.EVIDENCE, "the protected paths", step.at.protected, evidence.protected)
    yield from differ(Rule.EVIDENCE, "what is held for a person", step.at.tampering, held_for(evidence))
    attempts = [found for number in range(1, attempt.number + 1) if (found := step.new.get(Attempt, number))]
    outside, looked = escapes_of(attempts), attempt.escape_rules
    yield from differ(Rule.EVIDENCE, "what was done outside of the trees", evidence.escapes, outside)
    yield from differ(Rule.EVIDENCE, "who looked outside of the tree", evidence.escape_rules, looked)
    shown = evidence.reproduction or evidence.reproduction_checks or evidence.reproduction_key
    if evidence.tests or evidence.checks or evidence.checked_tree or shown:
        yield Rule.CHECKS, "has results of checks that have not run"
    card = step.card() if step.asks else None
    state, refused = step.after.state, bool(evidence.failures)
    if refused and (state is State.CHECKING or (card is not None and card.kind is not CardKind.ATTEMPTS)):
        yield Rule.EVIDENCE, f"goes on to {state}, but the gate refused it ({evidence.failures[0].rule})"
    if not refused and (state is State.READY or (card is not None and card.kind is not CardKind.TOO_LARGE)):
        yield Rule.EVIDENCE, f"goes back to {state}, but the gate refused nothing"
    told = {"Attempt": evidence.attempt, "Base": evidence.base, "Tip": evidence.tip, "Diff-Stat": evidence.stat}
    told |= {"Refused-By": " ".join(each.rule for each in evidence.failures), "Tampering": tampering_rules(evidence)}
    told |= {"Escapes": escape_rules(evidence)}
    yield from check_trailers(step, told)
    yield from judge_criteria(step, evidence)


def judge_merge(step: Step) -> Iterator[Finding]:
    """The merged tree was built of exactly the approved commit, or collides with what came in meanwhile."""
    merge = step.new.get(MergeRecord, step.at.merge)
    if merge is None:
        return
    yield from differ(Rule.MERGE, "the commit that was approved", merge.approved, step.was.approved)
    if sum(map(bool, (merge.merged, merge.conflicts, merge.problem))) != 1:
        yield Rule.MERGE, "has not exactly one of a merged commit, conflicts and a problem"
    yield from differ(Rule.MERGE, "the merged commit", step.at.merged, merge.merged)
    if (step.after.state is State.MERGING) is not bool(merge.merged):
        yield Rule.MERGE, f"goes on to {step.after.state}, but the merge came to {merge.merged or 'none'}"
    if merge.merged:
        yield from differ(Rule.MERGE, "where the target stood", step.at.target_was, merge.target_was)
        yield from differ(Rule.APPROVAL, "the approved commit", step.at.approved, merge.approved)
    yield from _judge_conflict(step, merge)
    told = {"Approved": merge.approved, "Onto": merge.onto, "Merged": merge.merged, "Tree": merge.tree}
    yield from check_trailers(step, told)


def _judge_conflict(step: Step, merge: MergeRecord) -> Iterator[Finding]:
    """The first conflict goes to the author, the second to somebody else, every further one to a person."""
    was, at, collides = step.was, step.at, bool(merge.conflicts)
    if collides and not (was.conflicts or at.conflicts):
        return  # Older versions did not count.
    yield from differ(Rule.COUNTER, "the number of conflicts", at.conflicts, was.conflicts + collides)
    waits = merge.approved if collides else ""
    yield from differ(Rule.APPROVAL, "the approval that waits for the target to move", at.collided, waits)
    if collides and at.state is State.READY:
        to_another = at.given not in ("", was.agent)
        if at.conflicts > 2 or (at.conflicts == 2 and not to_another):
            yield Rule.MERGE, f"goes back to {at.given or was.agent} with conflict {at.conflicts}"
    if at.given != was.given and not (collides and at.conflicts == 2 and at.state is State.READY):
        yield Rule.MERGE, f"gives the work to {at.given or 'nobody'}, but not because of a second conflict"


def judge_rebuild(step: Step) -> Iterator[Finding]:
    """A merge is built anew: of the same work, or of work whose approval waited for the target to move."""
    was, at = step.was, step.at
    if step.before is None or step.before.state is not State.READY:
        work, before = (at.base, at.tip, at.approved, at.fixes), (was.base, was.tip, was.approved, was.fixes)
        yield from differ(Rule.MERGE, "the work", work, before)
        return
    evidence = step.new.get(Evidence, was.evidence)
    seen = (evidence.base, evidence.tip) if evidence is not None else ("", "")
    yield from differ(Rule.APPROVAL, "the work", (at.base, at.tip, at.fixes), (*seen, ()))
    given_back = (was.conflicts - at.conflicts, was.spent - at.spent, at.given)
    yield from differ(Rule.COUNTER, "the go that nobody had at the conflict", given_back, (1, 1, ""))
    if not was.collided or (at.approved, at.tip) != (was.collided, was.collided):
        yield Rule.APPROVAL, f"approves {at.approved[:12]} again, whose approval did not wait for the target to move"
    yield from check_trailers(step, {"Approved": at.approved})


def judge_remind(step: Step) -> Iterator[Finding]:
    """A person is reminded of a job that waits for one, once it has waited so long, and it stays as it is."""
    if step.before is None:
        return
    now = step.at.reminded
    if not now or abs(parse(now).timestamp() - step.commit.committer.seconds) > SKEW_S:
        yield Rule.TIME, f"reminds at {now or 'no time'}, which is not when it was committed"
        return
    wait = wait_of(step.before, parse(now))
    if wait is None or not needs_reminder(step.before, parse(now)):
        yield Rule.TIME, "reminds of a job of which no reminder is due"
        return
    yield from differ(Rule.STANDING, "the reason", step.at.reason, step.was.reason)
    yield from check_trailers(step, {"Waits-Since": wait.since, "Reminder": wait.reminders})


def judge_retry(step: Step) -> Iterator[Finding]:
    """Another go is anybody's: who was given the work before has no claim to it."""
    yield from differ(Rule.STANDING, "the agent that goes on with it", step.at.given, "")


def judge_edit(step: Step) -> Iterator[Finding]:
    """An approval that waits for the target to move is void once something else is asked for."""
    if step.before is None or not step.at.collided:
        return
    changed = changed_keys(step.before.spec, step.after.spec) - KEEP_APPROVAL
    if changed:
        yield Rule.APPROVAL, f"changes {', '.join(sorted(changed))}, but keeps an approval of what was asked before"


def judge_done(step: Step) -> Iterator[Finding]:
    """What landed is the merged commit, or for a branch that is left for a pull request the approved one."""
    commit, target = step.commit.trailer("Merged") or "", step.commit.trailer("Target") or ""
    merge = step.new.get(MergeRecord, step.was.merge)
    if target == f"orc/{step.id}" and commit == step.was.approved:
        if step.after.spec.merge not in (None, MergePolicy.BRANCH):
            yield Rule.LANDING, f"leaves a branch, but the job asks for merge: {step.after.spec.merge}"
    elif not step.was.merged or merge is None:
        yield Rule.LANDING, f"says {commit[:12] or 'nothing'} landed, but no merged commit was built"
    else:
        yield from differ(Rule.LANDING, "the commit that landed", commit, step.was.merged)
        yield from differ(Rule.LANDING, "the merged commit of the record", merge.merged, step.was.merged)
        yield from differ(Rule.LANDING, "the target", (target, merge.landed), (merge.target, merge.target))
        if merge.tests not in PASSING:
            yield Rule.LANDING, f"landed a tree whose tests came to {merge.tests or 'nothing'}"
    yield from check_trailers(step, {"Reviewed-Sha": step.was.approved})


DECISIONS: Mapping[Event, StepRule] = {
    Event.ACCEPT: judge_accept,
    Event.HOLD: judge_hold,
    Event.START: judge_start,
    Event.COLLECT: judge_collect,
    Event.LOST: judge_lost,
    Event.NOT_STARTED: judge_lost,
    Event.EVIDENCE: judge_evidence,
    Event.CHECK: judge_check,
    Event.CHECKED: judge_checked,
    Event.REVIEW: judge_review,
    Event.VERDICT: judge_verdict,
    Event.STAND: judge_stand,
    Event.ANSWER: judge_answer,
    Event.DEFAULT: judge_default,
    Event.SUPERSEDE: judge_supersede,
    Event.MERGE: judge_merge,
    Event.REBUILD: judge_rebuild,
    Event.EDIT: judge_edit,
    Event.REMIND: judge_remind,
    Event.RETRY: judge_retry,
    Event.RUN: judge_run,
    Event.RAN: judge_ran,
    Event.DONE: judge_done,
}
ALWAYS: tuple[StepRule, ...] = (judge_standing, judge_card, judge_kind_of_run)
