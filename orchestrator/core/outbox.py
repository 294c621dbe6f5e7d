"""What a run may ask of the engine through its outbox: the kinds, who may ask what, how often, and what is kept of it.

Values only: reading the folder is for `adapters/outbox.py`, committing for `engine/outbox.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from orchestrator.core.attempt import ended_facts
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.card import Offer
from orchestrator.core.config import Terms
from orchestrator.core.ids import RunId, RunKind, bucket, job_id
from orchestrator.core.job import Job, JobSpec, Priority, State
from orchestrator.core.questions import (
    FEWEST_CHOICES,
    choices_of,
    earlier_answer,
    offer_problem,
    question_digest,
    reply_again,
)
from orchestrator.core.records import Card, CardKind, Option
from orchestrator.core.review import numbered
from orchestrator.core.step import Step
from orchestrator.core.transitions import Event, Move

PROTOCOL = 1
SMALL_BYTES, LARGE_BYTES = 16 * 1024, 64 * 1024
"""The largest file of a request; the second number is for one that hands in a job."""
MOST_REQUESTS = 20
"""Requests of one run that are looked at, those that are refused among them."""
MOST_OF_A_JOB = 10
"""Follow-up jobs that all runs of one job together may hand in."""


class RequestKind(StrEnum):
    """What a request asks for."""

    ASK = "ask"
    REMEMBER = "remember"
    SUBMIT = "submit"
    PROGRESS = "progress"


MOST: Mapping[RequestKind, int] = {RequestKind.ASK: 3, RequestKind.REMEMBER: 5, RequestKind.SUBMIT: 3}
"""How many of a kind one run may make; of the others as many as requests at all."""
SCOPE: Mapping[RunKind, frozenset[RequestKind]] = {
    RunKind.ATTEMPT: frozenset(RequestKind),
    RunKind.REVIEW: frozenset({RequestKind.PROGRESS}),
}
"""What a run of a kind may ask. A run of the checks has no outbox. A verdict is no request: it is the run's result."""
ONLY_A_PERSON = (
    *("merge", "review", "limits", "checks", "repairs_base", "repeats", "target", "hold", "allows"),
    *("purpose", "routine", "dedup_key", "again"),
)
"""Keys of a job with which an agent could let work through, or in, that a person has not allowed, or hide its cost."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has passed its schema."""

    kind: RequestKind
    text: str = ""
    context: str = ""
    options: tuple[str | Mapping[str, str], ...] = ()
    default: str = ""
    expires_h: int = 0
    type: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    job: str = ""
    name: str = "follow-up.yaml"
    run: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Request:
        """The request of an object that `schemas/request.schema.json` allows."""
        given = {key: item for key, item in value.items() if key != "protocol"}
        given["kind"] = RequestKind(given["kind"])
        for key in ("options", "tags"):
            given[key] = tuple(given.get(key, ()))
        given["expires_h"] = int(given.get("expires_h", 0))  # 48.0 is a whole number as well.
        return cls(**given)

    @property
    def choices(self) -> tuple[Option, ...]:
        """The answers that a question offers."""
        return choices_of(self.options)

    @property
    def problem(self) -> str:
        """What is wrong with it that its schema cannot see; '' if nothing is."""
        return offer_problem(self.choices, self.default, self.expires_h) if self.kind is RequestKind.ASK else ""

    @property
    def told(self) -> str:
        """It in one line."""
        return " ".join((self.title or self.text or f"hands in {self.name}").split())


@dataclass(frozen=True, slots=True)
class Requested:
    """`requests/<2 hex>/<job>/<run>.<kind>.<digest>.yaml`: what a run asked, and what came of it."""

    run: str
    file: str
    """The name under which it lay in the outbox."""
    at: str
    kind: str = ""
    """'' if it could not be read."""
    text: str = ""
    context: str = ""
    options: tuple[str, ...] = ()
    """In place of `choices`, where an older version wrote it."""
    choices: tuple[Option, ...] = ()
    """The answers that it offers."""
    default: str = ""
    """The key of the one that its author would take."""
    expires_h: int = 0
    """After so many hours without an answer that one holds; 0: never."""
    refused: str = ""
    """Why it was refused, '' if it was not."""
    note: str = ""
    """What was not done quite as it was asked."""
    job: str = ""
    """The job that was made of it."""
    memory: str = ""
    """Where on the ledger the memory lies."""

    def answer(self) -> dict[str, object]:
        """What the run is told, as an object."""
        told = {"refused": self.refused, "note": self.note, "job": self.job, "memory": self.memory}
        head = {"protocol": PROTOCOL, "request": self.file, "accepted": not self.refused}
        return {**head, **{key: value for key, value in told.items() if value}}


# --- names --------------------------------------------------------------------------------------------------------


def digest_of(run: str, content: object) -> str:
    """By what a request is known again: its run and what it says, whatever its file's name or the order of its keys."""
    if isinstance(content, Mapping):
        content = {key: item for key, item in content.items() if key != "run"}
    text = json.dumps([run, content], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def folder_path(job: str) -> str:
    """Where the ledger keeps what the runs of a job asked."""
    return f"requests/{bucket(job)}/{job}"


def record_name(run: RunId, kind: str, digest: str) -> str:
    """The file of a request in that folder."""
    return f"{run.kind}-{run.number}.{kind or 'unread'}.{digest[:16]}.yaml"


def memory_path(request: Request, digest: str, now: str) -> str:
    """Where a memory is kept: by month."""
    return f"memory/items/{now[:7]}/{job_id(request.title or request.text[:60], digest[:8])}.md"


def follow_up_id(request: Request, digest: str, turn: int) -> str:
    """The id of the job that a request becomes: the same each time, so that it becomes one job and no second."""
    return job_id(request.name.rpartition(".")[0], hashlib.sha256(f"{digest}:{turn}".encode()).hexdigest()[:8])


# --- scope --------------------------------------------------------------------------------------------------------


def scope_problem(request: Request, run: RunId, before: Iterable[Requested]) -> str:
    """Why a run may not ask this, given what it asked `before`; '' if it may."""
    allowed = SCOPE.get(run.kind, frozenset())
    if request.run not in ("", str(run)):
        return f"it is of another run ({request.run})"
    if request.kind not in allowed:
        if run.kind is RunKind.REVIEW:
            return f"a review may give its verdict and tell its progress, not {request.kind}"
        return f"a run of the kind {run.kind} may not {request.kind}"
    granted = sum(each.kind == request.kind and not each.refused for each in before)
    most = MOST.get(request.kind, MOST_REQUESTS)
    return f"a run may {request.kind} at most {most} times" if granted >= most else ""


def follow_up_problem(spec: JobSpec, asking: Job, *, so_far: int) -> str:
    """Why an agent may not hand in this job while it works on `asking`; '' if it may."""
    if asking.at.origin != "human":
        came = (
            "comes from a schedule" if asking.at.source.startswith("schedule ") else "was itself handed in by an agent"
        )
        return f"the job you work on {came}; say in your report what else is to be done"
    if so_far >= MOST_OF_A_JOB:
        return f"the runs of {asking.id} have handed in {so_far} jobs already"
    if spec.project not in ("", asking.at.project):
        return f"it names project {spec.project!r}, and you work on {asking.at.project!r}"
    defaults = JobSpec(prompt="")
    set_ = [each.name for each in fields(JobSpec) if getattr(spec, each.name) != getattr(defaults, each.name)]
    taken = [key for key in ONLY_A_PERSON if key in set_]
    return f"only a person may set {', '.join(f'`{key}`' for key in taken)}" if taken else ""


def lower_priority(wanted: Priority) -> tuple[Priority, str]:
    """The priority that an agent gets, and what to say of it: P0 is for people."""
    if wanted is Priority.P0:
        return Priority.P1, "P0 is for people, so it became P1"
    return wanted, ""


# --- questions ----------------------------------------------------------------------------------------------------


def ask_person(
    job: Job, move: Move, questions: Iterable[Requested], terms: Terms, now: str, *, cards: Iterable[Card] = ()
) -> Move:
    """The step that ends an attempt which has asked: to the person, not to the evidence. `job` is it before the step.

    What one of the job's earlier `cards`, newest first, has answered lately is not asked again: the author is told that
    answer once more, and a run that asked nothing else has spent an attempt. A new question spends none. An attempt
    that did not come to its end by itself goes its usual way instead.
    """
    asked, cards = list(questions), list(cards)
    ended = [record for record in move.records.values() if isinstance(record, Attempt)]
    if not asked or not ended or move.event is not Event.COLLECT or move.job.state is not State.COLLECTED:
        return move
    attempt, at = ended[0], move.job.at
    known = [(each, earlier_answer(each.text, cards, now)) for each in asked]
    answers = list({card.number: card for _, card in known if card is not None}.values())
    new = [each for each, card in known if card is None]
    changes: dict[str, Any] = {"run": "", "tip": at.tip, "crashes": at.crashes, "failed_starts": at.failed_starts}
    fixes = numbered((*job.at.fixes, *map(reply_again, answers))) if answers else job.at.fixes
    facts = {**ended_facts(attempt), "answered_before": " ".join(card.id for card in answers)}
    step = Step(Event.COLLECT, job, now, move.records, {**changes, "fixes": fixes}, facts)
    if not new:
        return step.send_back(fixes, terms, f"attempt {attempt.number} asks what {answers[-1].id} has answered")
    return _ask(step, attempt, new)


def _ask(step: Step, attempt: Attempt, asked: list[Requested]) -> Move:
    """The card of an attempt's questions. With a single one, its answers may be chosen."""
    first = asked[0]
    offer = Offer(digests=tuple(question_digest(each.text) for each in asked))
    question, context = " ".join(first.text.split()), first.context
    if len(asked) > 1 or len(first.choices) < FEWEST_CHOICES:
        context = "\n".join(_question(each, number) for number, each in enumerate(asked, 1))
    else:
        offer = replace(offer, choices=first.choices, default=first.default, hours=first.expires_h)
    if len(asked) > 1:
        question = f"{attempt.worker.agent} has {len(asked)} questions"
    told = f"attempt {attempt.number} asks: {first.text}"
    return step.ask(CardKind.QUESTION, question, context, told=told, offer=offer)


def _question(asked: Requested, number: int) -> str:
    offered = [(each.key, each.label) for each in asked.choices] or zip("abcd", asked.options, strict=False)
    options = [f"  {key}) {text}" for key, text in offered]
    return "\n".join([f"{number}. {asked.text}", *([asked.context] if asked.context else []), *options])
