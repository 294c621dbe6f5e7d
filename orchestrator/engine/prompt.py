"""Prompt: exactly what an agent or a reviewer gets, or would get, and why each part is there. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import read_patch
from orchestrator.adapters.library import blob_id
from orchestrator.core.attempt_record import Attempt, PromptPart, Used
from orchestrator.core.job import Job
from orchestrator.core.matching import Matching
from orchestrator.core.nearest import guess
from orchestrator.core.prompt import WHY_IN_REVIEW, fill_review
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.schedule import AgentView
from orchestrator.engine.attempts import prepare_attempt, start_of
from orchestrator.engine.look import look
from orchestrator.engine.reviews import read_texts
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, OrcError, RefusedError

PATCH_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """The prompt of one attempt, or of one review. Both numbers are 0 for an attempt that has not begun."""

    job: str
    attempt: int
    review: int
    agent: str
    rule: str
    backend: str
    model: str
    system: str
    """'' where the program has no system prompt: then all is in the message."""
    message: str
    parts: tuple[PromptPart, ...]
    skills: tuple[Used, ...]
    """Each with the other files that went along with it."""
    soul: Used | None
    rules: Used | None
    session: str
    """What it goes on with, or why it begins anew."""
    left_out: str = ""
    """What the message here has not, and why; '' if it has all."""

    @property
    def tokens(self) -> int:
        """About how many tokens the whole is."""
        return sum(part.tokens for part in self.parts)


def show_prompt(ws: Workspace, job: Job, *, agent: str = "", attempt: int = 0) -> ShownPrompt:
    """The prompt of an attempt that began, or with 0 the one that the next attempt would get now.

    Raises NotFoundError if there is no such attempt, or no agent for the next one; RefusedError for an ended job.
    """
    if attempt:
        return _given(ws, job, attempt)
    if job.state.ended:
        raise RefusedError(f"{job.id} has ended", hint=f"orc prompt {job.id} --attempt {job.at.attempt or 1}")
    board = look(ws)
    name, rule = (agent, "asked for on the command line") if agent else _choose(Matching(board), job)
    if name not in board.agents:
        known = ", ".join(sorted(board.agents)) or "none"
        near = guess(name, board.agents)
        raise NotFoundError(f"there is no agent {name!r} (there: {known})" + near, hint="orc workers")
    return _would_be(ws, job, board.agents[name], rule)


def show_review(ws: Workspace, job: Job, number: int) -> ShownPrompt:
    """The prompt of a review that began, but for its nonce. Raises NotFoundError if there is none."""
    folder = ws.ledger.folder(job.id)
    try:
        review = ws.ledger.record(ReviewRecord, folder, f"review-{number}")
    except NotFoundError as error:
        raise NotFoundError(error.message, hint=f"orc show {job.id}") from error
    stored, system = read_texts(ws, folder, review)
    if not stored:
        raise NotFoundError(f"the ledger does not have what review {number} of {job.id} was told")
    diff, why = _diff_of(ws, job, review)
    message = stored if why else fill_review(stored, base=review.base, commit=review.commit, diff=diff)
    reviewer = review.reviewer
    return ShownPrompt(
        job=job.id,
        attempt=review.attempt,
        review=number,
        agent=reviewer.agent,
        rule=f"independent by {review.independence}",
        backend=reviewer.backend,
        model=reviewer.model,
        system=system,
        message=message,
        parts=tuple(replace(part, why=WHY_IN_REVIEW.get(part.name, "")) for part in review.parts),
        skills=(),
        soul=review.soul,
        rules=review.rules,
        session="a new session: every review has one",
        left_out="; ".join(filter(None, (why, "the nonce, of which only a hash is kept"))),
    )


def _diff_of(ws: Workspace, job: Job, review: ReviewRecord) -> tuple[str, str]:
    """The patch that a review was shown, made again and compared with what is recorded; or why it cannot be shown."""
    why = f"the diff, which this version of Git makes otherwise: git diff {review.base} {review.commit}"
    # In the mirror it was made; a person's repository may say otherwise how diffs are shown.
    for opened in (partial(Git, ws.paths.mirror(job.at.project)), partial(ws.git, job.at.project)):
        try:
            patch, _ = read_patch(opened(), review.base, review.commit, max_bytes=PATCH_BYTES)
        except OrcError as error:
            why = f"the diff, which cannot be made again: {error.message}"
            continue
        if blob_id(patch) == review.diff:
            return patch.decode("utf-8", "replace"), ""
    return "", why


def _choose(matching: Matching, job: Job) -> tuple[str, str]:
    chosen = matching.worker(job, frozenset())
    if chosen is None:
        why = matching.problem(job) or "nobody can take it"
        raise NotFoundError(
            f"no agent would get {job.id}: {why}", hint=f"orc doctor, or orc prompt {job.id} --agent NAME"
        )
    return chosen


def _would_be(ws: Workspace, job: Job, agent: AgentView, rule: str) -> ShownPrompt:
    prepared = prepare_attempt(ws, job, agent, start_of(ws, job))
    plan, worker = prepared.plan, agent.worker()
    return ShownPrompt(
        job=job.id,
        attempt=0,
        review=0,
        agent=worker.agent,
        rule=rule,
        backend=worker.backend,
        model=worker.model,
        system=prepared.system.decode("utf-8", "replace"),
        message=prepared.message.decode("utf-8", "replace"),
        parts=prepared.parts,
        skills=(*prepared.used.skills, *prepared.used.files),
        soul=Used(f"souls/{worker.agent}.md", agent.soul.blob),
        rules=prepared.used.rules.used,
        session=f"goes on with {plan.resume}" if plan.resume else _new_session(plan.why_fresh),
    )


def _given(ws: Workspace, job: Job, number: int) -> ShownPrompt:
    folder = ws.ledger.folder(job.id)
    try:
        attempt = ws.ledger.record(Attempt, folder, f"attempt-{number}")
    except NotFoundError as error:
        raise NotFoundError(error.message, hint=f"orc show {job.id}") from error
    texts = {name: folder.records.get(f"attempt-{number}.{name}") for name in ("system", "prompt")}
    system, message = (ws.ledger.objects.read(oid).decode("utf-8", "replace") if oid else "" for oid in texts.values())
    return ShownPrompt(
        job=job.id,
        attempt=number,
        review=0,
        agent=attempt.worker.agent,
        rule=attempt.rule,
        backend=attempt.worker.backend,
        model=attempt.worker.model,
        system=system,
        message=message,
        parts=attempt.parts,
        skills=(*attempt.skills, *attempt.files),
        soul=attempt.soul,
        rules=attempt.rules,
        session=_went_on(attempt) if attempt.resumed else _new_session(attempt.why_fresh),
    )


def _went_on(attempt: Attempt) -> str:
    return f"went on with {attempt.session}" if attempt.session else "was to go on with a session that is over"


def _new_session(why: str) -> str:
    return f"a new session: {why}" if why else "a new session"
