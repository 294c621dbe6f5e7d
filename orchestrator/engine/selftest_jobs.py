"""Cases of the self-test that are jobs: the look at the diff, checks, reviews and the merge, on a real ledger.

What an agent or a reviewer would have done is played; what the engine makes of it is the engine's own work.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.adapters.git_objects import read_blob
from orchestrator.adapters.git_refs import tree_of
from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.run_values import RunResult
from orchestrator.adapters.yaml_text import dump
from orchestrator.core.actions import Ask, StartReview
from orchestrator.core.agent import Soul
from orchestrator.core.attempt import attempt_ended, start_attempt
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.board import AgentView, Board, ProjectView
from orchestrator.core.claims import claims_asked
from orchestrator.core.codec import from_mapping
from orchestrator.core.config import Config, Project
from orchestrator.core.evidence_record import CheckResult, Evidence, Outcome
from orchestrator.core.ids import job_id
from orchestrator.core.job import Job, JobSpec, Priority, Standing, State, Worker
from orchestrator.core.judge import review_ended
from orchestrator.core.matching import Matching
from orchestrator.core.records import Card
from orchestrator.core.review import independence_of
from orchestrator.core.review_record import Lately, ReviewRecord, Verdict
from orchestrator.core.selftest import Case, Found
from orchestrator.core.transitions import Move
from orchestrator.core.verdict import MAX_REPLY, Judgement
from orchestrator.engine.accept import new_job
from orchestrator.engine.attempts import attempt_ref
from orchestrator.engine.collect import end_review
from orchestrator.engine.evidence import checks_result, gather, reviewed_patch
from orchestrator.engine.merge import build_merge
from orchestrator.engine.reviews import reserve_review
from orchestrator.engine.selftest_outside import play_outside
from orchestrator.engine.selftest_stage import BASE, VISITOR, Stage, criteria_in_force, make_commit
from orchestrator.errors import UnavailableError

AUTHOR: Mapping[str, Any] = {"agent": "author", "family": "alpha", "model": "alpha-1", "backend": "player"}
REVIEWER: Mapping[str, Any] = {"family": "beta", "model": "beta-1"}
REVISION: Mapping[str, Any] = {
    "set": {"verdict": "REVISE", "findings": [{"severity": "blocking", "problem": "It is wrong.", "file": "app.py"}]}
}
READ_BYTES = 1024 * 1024
SLOW_S = 90.0
"""So long a reviewer takes whose case does not say it: long enough to have read the change."""


def play_job(stage: Stage, case: Case) -> Found:
    """A job from its acceptance to where its gates let it go; what is fit to land has got through."""
    with criteria_in_force(stage.ws.paths.root, case.kind, case.criteria):
        return _play_job(stage, case)


def _play_job(stage: Stage, case: Case) -> Found:
    way = _Way(stage, case, _accept(stage, case))
    way.work(case.change)
    if not way.is_at(State.REVIEWING):
        return way.found()
    if case.shows:
        return _hidden(way)
    if case.again is not None:
        way.review(REVISION)
        way.work(case.again)
        if not way.is_at(State.REVIEWING):
            return way.found()
    way.review(case.reply)
    if way.is_at(State.REVIEWING) and way.job.at.second is not None:
        # Whoever is asked besides is taken in as well: what stops the work must be the gate that the case is about.
        way.review(case.reply)
    if way.is_at(State.MERGING):
        return way.merge()
    return way.found()


def play_opinion(stage: Stage, case: Case) -> Found:
    """The first approval of a job: it has got through if it is enough, without another reviewer who confirms it."""
    way = _Way(stage, case, _accept(stage, case))
    way.work(case.change)
    if way.is_at(State.REVIEWING):
        way.review(case.reply)
    return Found(way.is_at(State.MERGING), way.job.state.value, tuple(way.texts))


def _accept(stage: Stage, case: Case) -> Move:
    keys = {"prompt": "Do what the case says.\n", "kind": case.kind, "target": case.name, **case.job}
    parsed = parse_job(dump(keys).encode(), name=f"{case.name}.yaml")
    id_ = job_id(case.name, secrets.token_hex(4))
    return new_job(stage.ws, parsed, id_, source="selftest", priority=Priority.P2, actor=VISITOR)


def _hidden(way: _Way) -> Found:
    """Whether the reviewer would be shown all that the case says has to be seen."""
    patch = reviewed_patch(way.stage.ws, way.job, way.evidence())[0].decode("utf-8", "replace")
    hidden = [text for text in way.case.shows if text not in patch]
    return Found(bool(hidden), "hidden" if hidden else "shown", ("the reviewer is shown it whole",) * (not hidden))


@dataclass
class _Way:
    """One job on its way, and what the engine said of it."""

    stage: Stage
    case: Case
    last: Move
    texts: list[str] = field(default_factory=list)
    tip: str = ""
    base: str = ""

    @property
    def job(self) -> Job:
        """The job as it is now."""
        return self.last.job

    def is_at(self, state: State) -> bool:
        """Whether it stands in this state."""
        return self.job.state is state

    def found(self) -> Found:
        """What has come of it."""
        passed = self.job.state in (State.LANDING, State.DONE)
        return Found(passed, self.job.state.value, tuple(self.texts))

    def evidence(self) -> Evidence:
        """What the engine saw of the newest attempt."""
        ws = self.stage.ws
        return ws.ledger.record(Evidence, ws.open_job(self.job.id), f"evidence-{self.job.at.evidence}")

    def _commit(self, *moves: Move) -> None:
        self.stage.ws.commit(moves)
        self.last = moves[-1]

    def _decide(self, move: Move) -> None:
        """A step in which a gate decided: what the ledger and the card tell of it is kept."""
        self._commit(move)
        self.texts += [move.subject, *(f"{key}: {value}" for key, value in move.trailers)]
        cards = [each for each in move.records.values() if isinstance(each, Card)]
        self.texts += [f"{each.kind} {each.question} {each.context}" for each in cards]

    def work(self, files: Mapping[str, Any]) -> None:
        """An attempt is made, looked at and checked, as far as the gates let it go."""
        ws, git, case = self.stage.ws, self.stage.git, self.case
        if not self.base:
            self.base = make_commit(git, f"refs/heads/{case.name}", BASE if case.base is None else case.base)
        number = self.job.at.attempt + 1
        self.tip = make_commit(git, attempt_ref(self.job.id, number), files, self.tip or self.base)
        author, now = from_mapping(Worker, {**AUTHOR, **case.author}), ws.stamp()
        run = f"{self.job.id}.attempt-{number}"
        attempt = Attempt(number, author, self.base, run, now, fixes=self.job.at.fixes)
        started = start_attempt(self.job, attempt, now)
        attempt = replace(attempt, ended=now, status=RunStatus.ENDED, exit=0, report=case.said)
        attempt = replace(attempt, tip=self.tip, tree=tree_of(git, self.tip))
        before = (self.last,) if number == 1 else ()
        if case.outside or case.committed:
            attempt = play_outside(self.stage, case, started.job, attempt)
        self._commit(*before, started, attempt_ended(started.job, attempt, ws.terms(started.job), now))
        self._decide(gather(ws, self.job).move)
        if self.is_at(State.CHECKING):
            self._decide(checks_result(ws, self.job, results_of(case.checks)))
        if self.is_at(State.CHECKING):
            self._decide(checks_result(ws, self.job, results_of(case.base_checks)))

    def review(self, reply: Mapping[str, Any]) -> None:
        """The work is reviewed, with the answer of a reviewer that the case gives."""
        reserved = self.reserve()
        if reserved is None:
            return
        review, evidence = reserved
        ended, judgement = answer(review, evidence, reply, self.stage.ws.stamp())
        self._decide(self.judged(self.job, ended, judgement, evidence))

    def reserve(self) -> tuple[ReviewRecord, Evidence] | None:
        """A review begins, as the engine begins it; None if it cannot."""
        ws = self.stage.ws
        who, author = {**REVIEWER, **self.case.reviewer}, self.job.at.author or Worker("")
        agent = AgentView(self.stage.reviewer, who["family"], who["model"])
        far = independence_of(author, agent.worker())
        said = Lately(**{"approved": 0, "judged": 0, **self.case.reviewer.get("lately", {})})
        reserved = reserve_review(ws, self.job, StartReview(self.job.id, agent.soul.name, far), agent, said)
        review = reserved.move.records.get(f"review-{reserved.move.job.at.review}")
        if review is None:
            self._decide(reserved.move)
            return None
        ws.commit([reserved.move], files={self.job.id: reserved.files})
        self.last = reserved.move
        return review, self.evidence()

    def judged(self, job: Job, ended: ReviewRecord, judgement: Judgement, evidence: Evidence) -> Move:
        """The step that follows from a reviewer's answer."""
        ws = self.stage.ws
        return review_ended(job, ended, judgement, ws.terms(job), ws.stamp(), stat=evidence.stat)

    def merge(self) -> Found:
        """What was approved is merged onto the target as it is by now, and checked again."""
        ws, git, case = self.stage.ws, self.stage.git, self.case
        if case.after_review:
            make_commit(git, attempt_ref(self.job.id, self.job.at.attempt), case.after_review, self.tip)
        if case.meanwhile:
            make_commit(git, f"refs/heads/{case.name}", case.meanwhile, self.base)
        self._decide(build_merge(ws, self.job).move)
        if not self.is_at(State.MERGING):
            return self.found()
        if case.after_review:
            return self._foreign()
        self._decide(checks_result(ws, self.job, results_of(case.merged_checks)))
        return self.found()

    def _foreign(self) -> Found:
        """Whether what came after the review is in the merged commit."""
        git, merged, later = self.stage.git, self.job.at.merged, self.case.after_review
        came = [path for path, text in later.items() if read_blob(git, merged, path, READ_BYTES) == str(text).encode()]
        if came:
            return Found(True, "merged", tuple(came))
        return Found(False, "not merged", ("exactly the approved commit is merged",))


def results_of(outcomes: Iterable[str]) -> tuple[CheckResult, ...]:
    """Results of checks, as the supervisor would have left them."""
    codes = {Outcome.PASSED: 0, Outcome.FLAKY: 0, Outcome.FAILED: 1, Outcome.TIMEOUT: None}
    return tuple(
        CheckResult(f"check {number}", f"check {number}", Outcome(each), codes[Outcome(each)])
        for number, each in enumerate(outcomes, 1)
    )


# --- what a reviewer says ---------------------------------------------------------------------------------------------


def answer(
    review: ReviewRecord, evidence: Evidence, reply: Mapping[str, Any], now: str
) -> tuple[ReviewRecord, Judgement]:
    """The review with the answer that the case gives, read by the engine."""
    nonce = secrets.token_hex(16)
    status = RunStatus(reply.get("status", RunStatus.ENDED))
    code = reply.get("exit", 0) if status is RunStatus.ENDED else None
    seconds, text = float(reply.get("seconds", SLOW_S)), _reply(review, evidence, reply, nonce)
    result = RunResult(review.run, status, seconds=seconds, exit=code, report=text)
    return end_review(review, evidence, result, nonce, now)


def _reply(review: ReviewRecord, evidence: Evidence, reply: Mapping[str, Any], nonce: str) -> str:
    changed = reply.get("items", {})
    items = [{"id": each, "pass": True, "evidence": "seen", **changed.get(each, {})} for each in review.items_asked]
    answer = {
        "nonce": nonce,
        "job": review.run.rpartition(".")[0],
        "commit": review.commit,
        "verdict": "APPROVED",
        "files": [each.path for each in evidence.paths],
        "items": items,
        "claims": [
            {"id": each.id, "result": "supported", "evidence": "seen", **reply.get("claims", {}).get(each.id, {})}
            for each in claims_asked(evidence, review.draw)
        ],
        "findings": [],
        "summary": "Read to its end.",
        **reply.get("set", {}),
    }
    for key in reply.get("drop", ()):
        del answer[key]
    text = json.dumps(answer)
    words = {"answer": text, "half": text[: len(text) // 2], "long": text + " " * MAX_REPLY}
    told = str(reply.get("raw", "{{answer}}"))
    for key, value in words.items():
        told = told.replace(f"{{{{{key}}}}}", value)
    return told


class VerdictPlayer:
    """Puts answers before one job that waits for its review; nothing of it is committed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._way: tuple[_Way, ReviewRecord, Evidence] | None = None

    def play(self, case: Case) -> Found:
        """What the engine makes of the answer; an approval has got through, and for a control every clear verdict."""
        way, review, evidence = self._ready()
        job = replace(way.job, at=replace(way.job.at, tip="f" * 40)) if case.moved else way.job
        ended, judgement = answer(review, evidence, case.reply, self._stage.ws.stamp())
        move = way.judged(job, ended, judgement, evidence)
        verdict = next(value for key, value in move.trailers if key == "Verdict")
        passed = verdict == Verdict.APPROVED or (not case.is_cheat and verdict != Verdict.INCONCLUSIVE)
        return Found(passed, verdict, (move.subject,))

    def _ready(self) -> tuple[_Way, ReviewRecord, Evidence]:
        if self._way is None:
            change = {"app.py": "def total(prices):\n    return round(sum(prices), 2)\n", "more.py": "more = 1\n"}
            case = Case(name="an-answer-is-awaited", told="", change=change)
            way = _Way(self._stage, case, _accept(self._stage, case))
            way.work(change)
            reserved = way.reserve()
            if reserved is None:
                raise UnavailableError("no review could be begun: " + "; ".join(way.texts))
            self._way = (way, *reserved)
        return self._way


# --- who reviews ------------------------------------------------------------------------------------------------------


def play_choice(case: Case) -> Found:
    """Who would review work of this author, of these agents; nobody is a card for the person."""
    spec = JobSpec.from_file({"prompt": "Do it.", "kind": case.kind, **case.job})
    at = Standing("choice-00000000", 1, State.REVIEWING, "", "", author=from_mapping(Worker, {**AUTHOR, **case.author}))
    at = replace(at, excluded=tuple(case.reviewer.get("excluded", ())))
    agents = {name: _agent(name, keys) for name, keys in case.agents.items()}
    job, project = Job("", False, spec, at), Project(target="main")
    board = Board({job.id: job}, Config(projects={"main": project}), {"main": ProjectView(project)}, agents)
    chosen = Matching(board).reviewer(job)
    if isinstance(chosen, StartReview):
        return Found(True, chosen.reviewer, (chosen.independence,))
    assert isinstance(chosen, Ask)  # No case begins with an approval that was drawn.
    return Found(False, str(chosen.kind), (chosen.question, chosen.context))


def _agent(name: str, keys: Mapping[str, Any]) -> AgentView:
    roles = tuple(keys.get("roles", ("work", "review")))
    soul = Soul(name=name, backend="player", roles=roles, drain=keys.get("drain", ""))
    return AgentView(soul, keys.get("family", ""), keys.get("model", ""), keys.get("problem", ""))
