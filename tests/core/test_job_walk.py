"""Random ways of one job, driven by `decide` and by chance: no step is illegal, nothing is forgotten or skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from builders import (
    AUTHOR,
    COMMIT,
    CRITIC,
    HUMAN,
    LIMITS,
    NOON,
    a_board,
    a_merge,
    a_result,
    a_review,
    a_spec,
    an_agent,
    an_attempt,
    evidence_of,
    judged,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.accept import accept, cancel, edit, hold, release, retry
from orchestrator.core.answer import answer
from orchestrator.core.attempt import attempt_ended, not_started, run_lost, start_attempt
from orchestrator.core.attempt_record import DISPUTED, FIXED, Answer, RunStatus
from orchestrator.core.board import ProjectView
from orchestrator.core.config import Project
from orchestrator.core.evidence import checks_ended, checks_started, evidence_found
from orchestrator.core.evidence_record import Failure, Outcome
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import (
    Check,
    Expects,
    Fix,
    Independence,
    Job,
    JobSpec,
    MergePolicy,
    Priority,
    ReviewWishes,
    State,
)
from orchestrator.core.judge import approval_stands, review_ended, review_started
from orchestrator.core.merge import (
    ask,
    collides_no_more,
    landed,
    landing_blocked,
    landing_free,
    merge_built,
    merge_checked,
    target_moved,
)
from orchestrator.core.records import Card
from orchestrator.core.review_record import Finding
from orchestrator.core.schedule import (
    Ask,
    Board,
    BuildMerge,
    Gather,
    Hold,
    Land,
    Release,
    Stand,
    StartAttempt,
    StartChecks,
    StartReview,
    WatchLanding,
    decide,
    terms_of,
)
from orchestrator.core.step import next_run
from orchestrator.core.suspicion import is_extra
from orchestrator.core.times import iso
from orchestrator.core.transitions import Event, Move

CHECKED = Project(target="main", checks=(Check("make test"),))
"""Checks that have to run: without any, none of the counted starts is spent on them."""
AGENTS = (AUTHOR, CRITIC, an_agent("judge", family="east", roles=("review",)), an_agent("cousin", model="north-2"))
SPECS = st.builds(
    a_spec,
    merge=st.sampled_from(MergePolicy),
    expects=st.sampled_from(Expects),
    review=st.builds(ReviewWishes, independence=st.sampled_from([None, *Independence])),
)
CLEAR = ("APPROVED", "REVISE", "REJECT", "INCONCLUSIVE")
ENDS = [RunStatus.ENDED, RunStatus.ENDED, RunStatus.ENDED, RunStatus.TIMEOUT, RunStatus.SILENT, RunStatus.STOPPED]
Choose = Callable[[list[Any]], Any]


class Walk:
    """One job, its card, the time, and what must hold after every step."""

    def __init__(self, spec: JobSpec, choose: Choose) -> None:
        self.choose, self.now, self.tips = choose, NOON, 0
        self.card: Card | None = None
        self.passed: dict[str, str] = {}
        self.approved: set[str] = set()
        self.reviewer = ""
        self.asked: tuple[Fix, ...] = ()
        self.answers: tuple[Answer, ...] = ()
        known: dict[str, Any] = {"markdown": False, "source": "x", "actor": HUMAN, "project": "main"}
        self.job = accept("", spec, id_="walk-00000001", now=self.iso, priority=Priority.P2, **known).job

    @property
    def iso(self) -> str:
        return iso(self.now)

    @property
    def board(self) -> Board:
        return a_board(self.job, agents=AGENTS, projects={"main": ProjectView(CHECKED)})

    def take(self, move: Move) -> None:
        before, after = self.job.at, move.job.at
        assert after.seq == before.seq + 1
        for counted in ("starts", "attempt", "review", "evidence", "merge", "card", "allowance", "rounds", "spent"):
            # A conflict that is gone before anybody began with it was nobody's go.
            given_back = counted == "spent" and move.event is Event.REBUILD
            assert getattr(after, counted) >= getattr(before, counted) - given_back, counted
        terms = terms_of(self.board, self.job)
        assert after.starts <= terms.starts
        assert after.review <= terms.reviews
        told = dict(move.trailers)
        if move.event is Event.VERDICT and told["Verdict"] == "APPROVED" and "Doubts" not in told:
            self.approved.add(before.tip)
        if move.event is Event.VERDICT and told.keys() & {"Doubts", "Drawn"}:
            assert (after.state, after.approved, after.second is not None) == (State.REVIEWING, "", True)
        if after.state in (State.READY, State.RUNNING, State.MERGING, State.LANDING, State.DONE):
            assert after.second is None or move.event is not Event.VERDICT
        if is_extra(self.job) and move.event is not Event.VERDICT:
            assert after.state is not State.DECIDE or move.event is Event.STAND, "a draw is never a question"
        if move.event is Event.ANSWER and ("Answer", "approve") in move.trailers:
            self.approved.add(before.tip)
        if after.approved:
            assert after.approved in self.approved
        if after.state in (State.READY, State.RUNNING, State.COLLECTED, State.CHECKING, State.REVIEWING):
            assert not after.approved
        if after.state is State.DONE:
            nothing_to_merge = move.job.spec.expects is Expects.NO_CHANGE
            branch = terms.merge is MergePolicy.BRANCH
            assert after.approved == after.tip
            assert nothing_to_merge or branch or self.passed.get(after.merged) == after.approved
        self.card = move.records.get(f"card-{after.card}", self.card) if after.card else None
        self.job = move.job

    def step(self) -> None:
        """What is due; if nothing is, a run ends, a person answers, or time passes."""
        job = self.job
        if self.choose([*[False] * 19, True]):
            self.interfere()
        elif job.at.run:
            self.end_run(RunId.parse(job.at.run))
        elif job.state.ended:
            if job.state is State.CANCELLED:
                self.take(retry(job, self.iso, actor=HUMAN))
        else:
            self.do_what_is_due()

    def do_what_is_due(self) -> None:
        actions = decide(self.board, self.now)
        if actions:
            [action] = actions
            self.perform(action)
        elif self.job.state is State.DECIDE:
            self.answer()
        else:
            assert self.job.at.not_before, "an open job without a run, an action or a card waits for a time"
            assert datetime.fromisoformat(self.job.at.not_before) > self.now
            self.now += timedelta(minutes=15)

    def perform(self, action: object) -> None:
        job, terms = self.job, terms_of(self.board, self.job)
        match action:
            case Hold(_, reason, needs):
                self.take(hold(job, reason, self.iso, needs=needs))
            case Release(_, needs):
                self.take(release(job, self.iso, needs=needs))
            case StartAttempt() if job.at.collided and self.choose([True, False]):
                seen = evidence_of(job, number=job.at.evidence, tip=job.at.collided)
                self.take(collides_no_more(job, seen, self.iso, target="main"))
            case StartAttempt():
                self.take(start_attempt(job, an_attempt(job), self.iso))
            case Gather():
                failures = self.choose([(), (), (), ("out_of_scope",), ("unchanged",)])
                found = evidence_of(job, number=job.at.evidence + 1, failures=tuple(Failure(f, f) for f in failures))
                self.take(evidence_found(job, found, terms, self.iso))
            case StartChecks():
                self.take(checks_started(job, str(next_run(job, RunKind.CHECKS)), self.iso))
            case StartReview(_, reviewer, independence):
                assert reviewer not in (job.at.second.reviewers if job.at.second else ())
                self.reviewer = reviewer
                self.take(review_started(job, a_review(job, reviewer=reviewer, independence=independence), self.iso))
            case Stand(_, why):
                self.take(approval_stands(job, why, terms, self.iso, stat="1 file"))
            case Ask(_, kind, question, context):
                self.take(ask(job, kind, question, self.iso, context))
            case BuildMerge(_, heir):
                merged = f"{job.at.merge:04x}" * 10
                wrong = self.choose([False, False, False, True])
                record = a_merge(job, merged="", conflicts=("a.py",)) if wrong else a_merge(job, merged=merged)
                self.take(merge_built(job, record, terms, self.iso, heir=heir))
                assert self.job.at.conflicts - job.at.conflicts == wrong
                assert self.job.at.conflicts <= 2 or self.job.state is not State.READY
            case Land():
                self.land()
            case WatchLanding():
                if self.choose([True, False]):
                    assert self.card is not None
                    self.take(landing_free(job, self.card, self.iso))
                else:
                    self.answer()
            case _:
                raise AssertionError(f"nobody performs {action}")

    def land(self) -> None:
        job, at = self.job, self.job.at
        how = self.choose(["lands", "lands", "moved", "blocked"])
        if how == "moved" and at.merged:
            self.take(target_moved(job, self.iso, target="main"))
        elif how == "blocked":
            self.take(landing_blocked(job, "in the way", "git stash", self.iso, target="main"))
        else:
            self.take(landed(job, None, self.iso, target="main", commit=at.merged or at.approved, stat="1 file"))

    def end_run(self, run: RunId | None) -> None:
        assert run is not None
        job, terms = self.job, terms_of(self.board, self.job)
        how = self.choose(["ends"] * 6 + ["lost", "not started"])
        if how == "lost":
            self.take(run_lost(job, LIMITS, self.iso))
        elif how == "not started":
            self.take(not_started(job, "no program", LIMITS, self.iso))
        elif run.kind is RunKind.ATTEMPT:
            self.tips += 1
            attempt = an_attempt(job, self.choose(ENDS), tip=f"{self.tips:040x}")
            said = self.choose([FIXED, DISPUTED])
            self.asked = job.at.fixes
            self.answers = tuple(Answer(fix.id, said, "it ends") for fix in job.at.fixes)
            self.take(attempt_ended(job, replace(attempt, answers=self.answers), terms, self.iso))
        elif run.kind is RunKind.REVIEW:
            judgement = judged(self.choose([*CLEAR, "APPROVED"]), findings=(Finding("blocking", "It loops."),))
            review = a_review(job, reviewer=self.reviewer, independence=self.choose(["family", "model"]))
            review = replace(review, doubts=self.choose([(), (), ("it took 1.0 s",)]), share=self.choose([0, 0, 100]))
            if job.at.starts < terms.starts:
                review = replace(review, again=True, asked_again=self.choose(["", "", "is empty"]))
            asked, answers = self.asked, self.answers
            self.take(
                review_ended(job, review, judgement, terms, self.iso, stat="1 file", asked=asked, answers=answers)
            )
        else:
            self.end_checks(self.choose(["passed", "passed", "flaky", "none", "failed"]))

    def end_checks(self, tests: str) -> None:
        job, terms = self.job, terms_of(self.board, self.job)
        checks = (a_result(Outcome.FAILED),) if tests == "failed" else ()
        if job.state is State.CHECKING:
            found, large = evidence_of(job, tests=tests, checks=checks), self.choose(["", "", "", "", "too large"])
            self.take(checks_ended(job, found, terms, self.iso, too_large=large))
            return
        if tests != "failed":
            self.passed[job.at.merged] = job.at.approved
        record = a_merge(job, number=job.at.merge, merged=job.at.merged, tests=tests, checks=checks)
        self.take(merge_checked(job, record, terms, self.iso))

    def answer(self) -> None:
        assert self.card is not None
        assert self.card.open
        key = self.choose([option.key for option in self.card.options if option.key != "drop"])
        terms = terms_of(self.board, self.job)
        message = "engineer" if key == "give" else "shorter"
        self.take(answer(self.job, self.card, key, message, terms, self.iso, actor=HUMAN))

    def interfere(self) -> None:
        """A person changes something in between."""
        job = self.job
        if job.state.ended:
            return
        if job.state in (State.WAITING, State.DECIDE) and self.choose([True, False]):
            self.take(retry(job, self.iso, actor=HUMAN))
        elif not job.at.run and self.choose([True, False, False]):
            self.take(cancel(job, self.iso, actor=HUMAN))
        else:
            priority = self.choose(list(Priority))
            self.take(edit(job, job.text, job.spec, self.iso, actor=HUMAN, keys=["priority"], priority=priority))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spec=SPECS, data=st.data())
def test_every_way_of_a_job_is_legal_and_ends_only_in_approved_work(spec: JobSpec, data: st.DataObject) -> None:
    walk = Walk(spec, lambda options: data.draw(st.sampled_from(options)))
    for _ in range(60):
        if walk.job.state is State.DONE:
            break
        walk.step()
    at = walk.job.at
    assert at.state is not State.DONE or at.approved == at.tip


def straight(spec: JobSpec, *, first: str = "") -> Job:
    """The job at its end, if everything goes well."""
    walk = Walk(spec, lambda options: first if first in options else options[0])
    for _ in range(40):
        if walk.job.state.ended:
            break
        walk.step()
    return walk.job


def test_when_all_goes_well_the_work_is_done_after_one_attempt_and_one_review() -> None:
    at = straight(a_spec(merge=MergePolicy.AUTO)).at
    assert (at.state, at.attempt, at.review, at.starts, at.card) == (State.DONE, 1, 1, 4, 0)
    assert at.approved == at.tip != COMMIT


def test_with_merge_ask_the_way_goes_over_one_card() -> None:
    at = straight(a_spec(merge=MergePolicy.ASK)).at
    assert (at.state, at.card, at.attempt) == (State.DONE, 1, 1)


def test_with_only_unclear_reviewers_the_human_decides() -> None:
    at = straight(a_spec(merge=MergePolicy.AUTO), first="INCONCLUSIVE").at
    assert (at.state, at.review, at.card) == (State.DONE, 2, 1)
