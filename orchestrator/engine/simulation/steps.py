"""The steps of a made-up house: what an action or the end of a run comes to, by the functions that make all steps.

What would have been a commit, a diff or a tree is a name here. Nothing is decided in this file that `core` decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from orchestrator.core import merge as merging
from orchestrator.core.accept import hold, release
from orchestrator.core.attempt import run_lost, start_attempt
from orchestrator.core.attempt_record import FIXED, Answer, Attempt, PromptPart, RunStatus
from orchestrator.core.board import AgentView
from orchestrator.core.config import Config, Price, Terms, terms
from orchestrator.core.evidence import checks_ended, checks_started, evidence_found
from orchestrator.core.evidence_record import ChangedPath, CheckResult, Evidence, Failure, Outcome
from orchestrator.core.gate import judge_checks
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Expects, Job, State
from orchestrator.core.judge import approval_stands, review_ended, review_started
from orchestrator.core.matching import rule_number
from orchestrator.core.records import Card, CardKind, MergeRecord
from orchestrator.core.review_record import Finding, Item, ReviewRecord, Verdict
from orchestrator.core.routine import Health, RoutineRecord
from orchestrator.core.routine_steps import reserve_routine, routine_ended
from orchestrator.core.run_end import Around, after_attempt, after_unmade_review, is_unmade, why_unmade
from orchestrator.core.scenario import FakeAgent, Scenario
from orchestrator.core.schedule import (
    ApplyDefault,
    Ask,
    BuildMerge,
    Freed,
    Gather,
    Hold,
    JobAction,
    Land,
    Release,
    Remind,
    Stand,
    StartAttempt,
    StartChecks,
    StartReview,
    StartRoutine,
)
from orchestrator.core.service import Service
from orchestrator.core.skills import tokens_of
from orchestrator.core.step import next_run
from orchestrator.core.suspicion import doubts_of
from orchestrator.core.tally import Estimate
from orchestrator.core.transitions import Move
from orchestrator.core.usage import estimate, learned_path, prompt_tokens, what_of
from orchestrator.core.verdict import Judgement
from orchestrator.core.waits import freed, remind
from orchestrator.engine.simulation.ledger import MadeLedger
from orchestrator.engine.simulation.runs import Play

STAT = "1 file changed, 12 insertions(+), 3 deletions(-)"
_PATHS = (ChangedPath("work.txt", "M", 12, 3),)
_SEEN = (Item("does-the-task", True, "work.txt does what was asked"),)


def name_of(*parts: object) -> str:
    """A name for what would be a commit or a tree."""
    return hashlib.sha1(" ".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class Steps:
    """Makes steps. `now` is the time that they bear."""

    scenario: Scenario
    seed: int
    agents: dict[str, FakeAgent]
    ledger: MadeLedger
    now: str = ""
    tips: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The newest commit of each target, and how many have landed there."""
    begun_at: dict[str, int] = field(default_factory=dict)
    """How many had landed when the attempt of a job began."""

    @property
    def config(self) -> Config:
        """What holds in the house."""
        return self.scenario.config

    def terms(self, job: Job) -> Terms:
        """What holds for a job."""
        project = self.config.projects[job.at.project]
        return terms(self.config, project, job.spec, allowance=job.at.allowance)

    def tip(self, job: Job) -> tuple[str, int]:
        """The commit at which the target of a job stands."""
        where = f"{job.at.project} {self.terms(job).target}"
        return self.tips.setdefault(where, (name_of(where), 0))

    def price(self, model: str) -> Price | None:
        """What a model costs, as far as that is known."""
        known = self.config.models.get(model)
        return known.price if known else None

    def told(self, job: Job, agent: str) -> int:
        """Tokens that an agent is told for a job."""
        return self.agents[agent].told + tokens_of(job.spec.prompt)

    # --- what is to be done ---

    def act(self, job: Job, action: JobAction, agents: dict[str, AgentView]) -> Move | None:
        """What an action comes to."""
        now = self.now
        match action:
            case Hold():
                return hold(job, action.reason, now, needs=action.needs)
            case Release():
                return release(job, now, needs=action.needs)
            case StartAttempt():
                return self._start(job, action, agents[action.agent])
            case Gather():
                return self._gather(job)
            case StartChecks():
                return self._check(job)
            case StartReview():
                return self._review(job, action, agents[action.reviewer])
            case StartRoutine():
                return reserve_routine(job, now)
            case Stand():
                return approval_stands(job, action.why, self.terms(job), now, stat=STAT)
            case BuildMerge():
                return self._merge(job, action.heir)
            case Land():
                return self._land(job)
            case Remind():
                return remind(job, now)
            case Freed():
                return freed(job, self.card(job), now)
            case Ask():
                target = "" if action.kind is CardKind.STALE else self.terms(job).target
                return merging.ask(job, action.kind, action.question, now, action.context, target=target)
            case ApplyDefault() | _:
                return None  # No agent of the house asks anything, no base is red, and nothing stands in the way.

    def card(self, job: Job) -> Card:
        """The newest card of a job."""
        return self.ledger.record(Card, job.id, job.at.card)

    def _expected(self, job: Job, view: AgentView, parts: tuple[PromptPart, ...], *, review: bool) -> Estimate:
        known = self.ledger.learned.get(learned_path(what_of(job, review=review), view.model))
        return estimate(known, prompt_tokens(parts), price=self.price(view.model))

    def _start(self, job: Job, action: StartAttempt, view: AgentView) -> Move:
        run = next_run(job, RunKind.ATTEMPT)
        parts = (PromptPart("message", self.told(job, action.agent)),)
        base, landed = self.tip(job)
        self.begun_at[job.id] = landed
        attempt = Attempt(
            number=run.number,
            worker=view.worker(),
            base=job.at.base or base,
            run=str(run),
            started=self.now,
            rule=action.rule,
            rule_number=rule_number(action.rule),
            parts=parts,
            estimate=self._expected(job, view, parts, review=False),
            fixes=job.at.fixes,
        )
        return start_attempt(job, attempt, self.now)

    def _gather(self, job: Job) -> Move:
        attempt = self.ledger.record(Attempt, job.id, job.at.attempt)
        is_asked = job.spec.expects is Expects.CHANGE
        changed = is_asked and attempt.tree != name_of(attempt.base, "tree")
        before = self.ledger.record(Evidence, job.id, job.at.evidence) if attempt.fixes and job.at.evidence else None
        is_same = changed and before is not None and before.base == attempt.base and before.tree == attempt.tree
        failures = (Failure("unchanged", "It is as it was."),) if is_same else ()
        if is_asked and not changed:
            failures = (Failure("empty", "Nothing was changed."),)
        evidence = Evidence(
            number=job.at.evidence + 1,
            attempt=attempt.number,
            base=attempt.base,
            tip=attempt.tip,
            merge_base=attempt.base,
            tree=attempt.tree,
            stat=STAT if changed else "nothing changed",
            paths=_PATHS if changed else (),
            failures=failures,
        )
        return evidence_found(job, evidence, self.terms(job), self.now)

    def _check(self, job: Job) -> Move:
        kind = RunKind.MERGE if job.state is State.MERGING else RunKind.CHECKS
        if not self.terms(job).checks or job.spec.expects is Expects.NO_CHANGE:
            # Where nothing was changed, the result is that of the base.
            return self.checked(job, Play(0.0), is_run=bool(self.terms(job).checks))
        return checks_started(job, str(next_run(job, kind)), self.now)

    def _review(self, job: Job, action: StartReview, view: AgentView) -> Move:
        run = next_run(job, RunKind.REVIEW)
        evidence = self.ledger.record(Evidence, job.id, job.at.evidence)
        attempt = self.ledger.record(Attempt, job.id, evidence.attempt)
        parts = (PromptPart("message", self.told(job, action.reviewer)),)
        review = ReviewRecord(
            number=run.number,
            attempt=evidence.attempt,
            evidence=evidence.number,
            commit=evidence.tip,
            base=evidence.merge_base,
            reviewer=view.worker(),
            author=attempt.worker,
            run=str(run),
            started=self.now,
            independence=action.independence,
            threshold=self.terms(job).threshold,
            parts=parts,
            estimate=self._expected(job, view, parts, review=True),
            suspicion=self.config.review.suspicion,
            share=self.config.review.second,
        )
        return review_started(job, review, self.now)

    def _merge(self, job: Job, heir: str) -> Move:
        onto, landed = self.tip(job)
        number, target = job.at.merge + 1, self.terms(job).target
        chance = Random(f"{self.seed} {job.id} merge {number}")
        is_alone = landed == self.begun_at.get(job.id, 0)
        collides = chance.random() < self.scenario.checks.conflicts and not is_alone
        merged = "" if collides else name_of(job.id, "merge", number)
        record = MergeRecord(
            number=number,
            approved=job.at.approved,
            onto=onto,
            target=target,
            target_was=onto,
            merged=merged,
            tree=name_of(merged, "tree") if merged else "",
            conflicts=("work.txt",) if collides else (),
        )
        return merging.merge_built(job, record, self.terms(job), self.now, heir=heir)

    def _land(self, job: Job) -> Move:
        target, (_, landed) = self.terms(job).target, self.tip(job)
        commit = job.at.merged or job.at.approved
        self.tips[f"{job.at.project} {target}"] = (commit, landed + 1)
        merge = self.ledger.record(MergeRecord, job.id, job.at.merge) if job.at.merged else None
        merge = replace(merge, landed=commit) if merge is not None else None
        return merging.landed(job, merge, self.now, target=target, commit=commit, stat=STAT)

    # --- how runs end ---

    def ended(self, job: Job, kind: RunKind, play: Play) -> Move:
        """The step that follows from a run that has ended."""
        match kind:
            case RunKind.ATTEMPT:
                return self._attempt_ended(job, play)
            case RunKind.REVIEW:
                return self._review_ended(job, play)
            case RunKind.ROUTINE:
                return self._routine_ended(job, play)
            case _:
                return self.checked(job, play)

    def _around(self, job: Job) -> Around:
        known: Callable[[str], Service] = lambda name: self.ledger.services.get(name, Service(name))  # noqa: E731
        return Around(self.config, lambda: self.terms(job), known, self.now)

    def _attempt_ended(self, job: Job, play: Play) -> Move:
        before = self.ledger.record(Attempt, job.id, job.at.attempt)
        start = job.at.tip or before.base
        # Where it is to change nothing, its report is the work, and the tree stays as it is.
        changes = play.changes and job.spec.expects is Expects.CHANGE
        tip = name_of(before.run) if changes else start
        ended = replace(
            before,
            ended=self.now,
            status=play.status or RunStatus.LOST,
            exit=play.exit,
            error=play.error,
            tip=tip,
            tree=name_of(tip, "tree"),
            seconds=round(play.seconds, 2),
            answers=tuple(Answer(fix.id, FIXED) for fix in before.fixes),
            spoke=play.spoke(self.price(before.worker.model)),
        )
        if play.status is None:
            records = {f"attempt-{before.number}": ended}
            return run_lost(job, self.config.limits, self.now, records=records, tip=tip)
        return after_attempt(job, ended, self._around(job), is_untouched=lambda: not play.changes, has_tree=True)

    def _review_ended(self, job: Job, play: Play) -> Move:
        before = self.ledger.record(ReviewRecord, job.id, job.at.review)
        ended = replace(
            before,
            ended=self.now,
            status=play.status or RunStatus.LOST,
            exit=play.exit,
            seconds=round(play.seconds, 2),
            verdict=Verdict.INCONCLUSIVE,
            spoke=play.spoke(self.price(before.reviewer.model)),
        )
        if play.status is None:
            lost = replace(ended, why="left no answer")
            return run_lost(job, self.config.limits, self.now, records={f"review-{before.number}": lost})
        if is_unmade(play.status, play.trouble):
            ended = replace(ended, why=why_unmade(play.status, play.trouble, play.error))
            return after_unmade_review(job, ended, self._around(job))
        verdict = play.verdict if play.status is RunStatus.ENDED and play.exit == 0 else Verdict.INCONCLUSIVE
        finding = Finding("blocking", f"Something is wrong, as {before.run} says.")
        judgement = Judgement(
            verdict,
            why="has not the form that was asked for" if verdict is Verdict.INCONCLUSIVE else "",
            score=1.0 if verdict is Verdict.APPROVED else 0.5,
            items=_SEEN,
            findings=(finding,) if verdict is Verdict.REVISE else (),
        )
        evidence = self.ledger.record(Evidence, job.id, before.evidence)
        done = self.ledger.record(Attempt, job.id, before.attempt)
        ended = replace(ended, verdict=verdict, why=judgement.why, score=judgement.score, items=_SEEN)
        ended = replace(ended, doubts=doubts_of(ended, evidence), findings=judgement.findings)
        asked, answers = done.fixes, done.answers
        return review_ended(job, ended, judgement, self.terms(job), self.now, stat=STAT, asked=asked, answers=answers)

    def _routine_ended(self, job: Job, play: Play) -> Move:
        before = self.ledger.record(RoutineRecord, job.id, job.at.routine)
        said = replace(before, seconds=round(play.seconds, 2), status=Health.OK, summary="all is well")
        return routine_ended(job, said, self.now)

    def checked(self, job: Job, play: Play, *, is_run: bool = True) -> Move:
        """The step that the checks lead to. `is_run`: there are some."""
        outcome = Outcome.PASSED if play.passes else Outcome.FAILED
        checks = self.terms(job).checks if is_run else ()
        results = tuple(CheckResult(each.label, each.run, outcome, int(not play.passes)) for each in checks)
        tests = judge_checks(results)
        if job.state is State.MERGING:
            merge = replace(self.ledger.record(MergeRecord, job.id, job.at.merge), tests=tests, checks=results)
            return merging.merge_checked(job, merge, self.terms(job), self.now)
        found = self.ledger.record(Evidence, job.id, job.at.evidence)
        evidence = replace(found, tests=tests, checks=results, checked_tree=found.tree)
        return checks_ended(job, evidence, self.terms(job), self.now)
