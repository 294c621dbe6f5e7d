"""Outbox: what runs ask becomes commits, and then an answer in the run's folder. Each request counts once.

A request is known again by its run and its content: the ledger has a record of it from the commit that grants or
refuses it, so a crash between that commit and the answer makes no second one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_text import format_record
from orchestrator.adapters.orc_block import clean
from orchestrator.adapters.outbox import Found, last_change, read_outbox, write_answer
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.run_folder import RunFolder, read_nonce, read_spec, secret_values
from orchestrator.adapters.strict_yaml import dump, replace_unsafe
from orchestrator.core.accept import accept
from orchestrator.core.card import shorten
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Job, Lane
from orchestrator.core.outbox import (
    MOST_REQUESTS,
    SCOPE,
    Request,
    Requested,
    RequestKind,
    ask_person,
    digest_of,
    folder_path,
    follow_up_id,
    follow_up_problem,
    lower_priority,
    memory_path,
    record_name,
    scope_problem,
)
from orchestrator.core.questions import LOOKED_AT, answer_in_words, earlier_answer
from orchestrator.core.records import Card
from orchestrator.core.requests import Drop, judge_drop
from orchestrator.core.review_record import FollowUp, ReviewRecord, Verdict
from orchestrator.core.suspicion import approved_before
from orchestrator.core.transitions import ENGINE, Event, Move
from orchestrator.core.twins import key_of
from orchestrator.engine.accept import project_problem, refuse_twin
from orchestrator.engine.criteria import kind_problem
from orchestrator.engine.launch import folder_of
from orchestrator.engine.routing import check_stand_ins
from orchestrator.engine.skills import skills_problem
from orchestrator.engine.story import asked_so_far
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError, OrcError

log = logging.getLogger("orc.outbox")
FRESH_S = 1.0
"""A folder that changed so lately may have changed once more within the file system's tick of the clock."""


@dataclass(slots=True)
class Taken:
    """What one look at one outbox came to."""

    step: Move | None
    """The step that ends the run, if it has ended: to a card, if it has asked something."""
    moves: list[Move] = field(default_factory=list)
    filings: list[Filing] = field(default_factory=list)
    place: RunFolder | None = None
    told: dict[str, Requested] = field(default_factory=dict)
    """What to answer, by the name of the request's file."""
    changed: int | None = None
    """The folder's last change, if all that it brought was looked at."""


@dataclass(slots=True)
class Outboxes:
    """Which outboxes have been looked at since their last change. May be lost: what is known stands in the ledger."""

    seen: dict[str, int] = field(default_factory=dict)

    def take(self, ws: Workspace, job: Job, step: Move | None) -> Taken:
        """What a job's run asks now; all of it, if `step` says that the run has ended. Commits nothing."""
        run = RunId.parse(job.at.run)
        if run is None or run.kind not in SCOPE:
            return Taken(step)
        place = folder_of(ws, job.at.run)
        changed = last_change(place)
        if step is None and (changed is None or self.seen.get(job.at.run) == changed):
            return Taken(step)
        look = _Look(ws, job, run, Taken(step, place=place), asked_so_far(ws, job.id))
        found, more = read_outbox(place, lambda: _redactor(place))
        if step is None:
            whole = [each for each in found if not each.torn]
            is_fresh = changed is None or ws.now().timestamp() - changed / 1e9 < FRESH_S
            look.taken.changed = None if is_fresh or len(whole) < len(found) else changed
            found = tuple(whole)
        for each in found:
            look.consider(each)
        if more:
            look.refuse_rest()
        if step is not None and (questions := look.questions()):
            look.taken.step = ask_person(job, step, questions, ws.terms(job), ws.stamp(), cards=look.cards())
        return look.taken

    def acknowledge(self, taken: Taken) -> None:
        """Tell the run what came of its requests, once the ledger has it."""
        if taken.place is None:
            return
        for name, asked in taken.told.items():
            try:
                with effect(Effect.OUTBOX_ANSWER):
                    write_answer(taken.place, name, asked.answer())
            except OSError as error:
                # The agent may have put something in the way; whoever reads the ledger finds the answer there.
                log.info("%s: %s was not answered: %s", taken.place.path.name, name, error)
        if taken.changed is not None:
            self.seen[taken.place.path.name] = taken.changed
        elif taken.step is not None:
            self.seen.pop(taken.place.path.name, None)


def _redactor(place: RunFolder) -> Redactor:
    """Takes out of a request what must not reach the ledger: the run's credential, and the nonce of a review."""
    secrets: list[str] = []
    # The run folder is the agent's to break; what it hides from us there it could have hidden in its words.
    with suppress(OrcError):
        secrets += secret_values(read_spec(place).launch, os.environ)
    nonce = read_nonce(place)
    return Redactor([*secrets, nonce] if nonce else secrets)


def take_follow_ups(ws: Workspace, step: Move) -> tuple[list[Move], list[Filing]]:
    """What a step makes of the follow-ups that reviewers proposed: jobs, and a record of each, also where there is no
    job. All of it belongs to the step with which the verdict counts. Commits nothing.
    """
    moves: list[Move] = []
    filings: list[Filing] = []
    reviews = [each for each in _counting_reviews(ws, step) if each.follow_ups]
    if not reviews:
        return moves, filings
    job, known = ws.open_job(step.job.id).job, asked_so_far(ws, step.job.id)
    for review in reviews:
        look = _Look(ws, job, RunId(job.id, RunKind.REVIEW, review.number), Taken(step), known)
        for proposed in review.follow_ups:
            look.propose(proposed)
        moves += look.taken.moves
        filings += look.taken.filings
    return moves, filings


def _counting_reviews(ws: Workspace, step: Move) -> Iterator[ReviewRecord]:
    """The reviews whose verdict counts from this step on: what asks for changes, or what the approval rests on."""
    if step.event not in (Event.VERDICT, Event.STAND):
        return
    own = [record for record in step.records.values() if isinstance(record, ReviewRecord)]
    is_approved = bool(step.job.at.approved)
    yield from (each for each in own if is_approved or each.verdict is Verdict.REVISE)
    folder = ws.open_job(step.job.id)
    if is_approved and (first := approved_before(folder.job.at.second)) is not None:
        yield ws.ledger.record(ReviewRecord, folder, f"review-{first.review}")


@dataclass(slots=True)
class _Look:
    """One look at the outbox of one run. `known` has what the runs of its job asked before."""

    ws: Workspace
    job: Job
    run: RunId
    taken: Taken
    known: dict[str, Requested]
    _cards: list[Card] | None = None

    def mine(self) -> list[Requested]:
        """What this run has asked so far."""
        return [each for each in self.known.values() if each.run == str(self.run)]

    def questions(self) -> list[Requested]:
        """The questions of this run that were granted."""
        return [each for each in self.mine() if each.kind == RequestKind.ASK and not each.refused]

    def cards(self) -> list[Card]:
        """The job's newest cards, newest first: what they have answered is not asked again."""
        if self._cards is None:
            folder = self.ws.ledger.folder(self.job.id)
            newest = range(self.job.at.card, max(0, self.job.at.card - LOOKED_AT), -1)
            self._cards = [self.ws.ledger.record(Card, folder, f"card-{number}") for number in newest]
        return self._cards

    def consider(self, found: Found) -> None:
        """Judge one file. Never raises because of what it holds."""
        content: object = found.value if found.value is not None else [found.name, found.problem]
        digest, kind = digest_of(str(self.run), content), str((found.value or {}).get("kind", ""))
        name = record_name(self.run, kind, digest)
        asked = self.known.get(name)
        if asked is None:
            if len(self.mine()) >= MOST_REQUESTS:
                self.refuse_rest()
                return
            asked = Requested(run=str(self.run), file=found.name, at=self.ws.stamp(), kind=kind)
            asked = self._refused(asked, found.problem) if found.value is None else self._grant(asked, found, digest)
            if asked.refused:
                self._file(name, asked, digest, {})
            self.known[name] = asked
        if found.can_be_answered:
            self.taken.told[found.name] = replace(asked, file=found.name)

    def refuse_rest(self) -> None:
        """Say once that a run asks more than it may; what is beyond is not looked at."""
        name = record_name(self.run, "", digest_of(str(self.run), "more"))
        if name not in self.known:
            why = f"a run may make {MOST_REQUESTS} requests; what it asked besides was not looked at"
            asked = Requested(run=str(self.run), file="*", at=self.ws.stamp(), refused=why)
            self._file(name, asked, "", {})
            self.known[name] = asked

    def propose(self, proposed: FollowUp) -> None:
        """Make a job of what a reviewer proposes, or keep why there is none."""
        digest = digest_of(str(self.run), [proposed.title, proposed.prompt, proposed.problem])
        name = record_name(self.run, RequestKind.SUBMIT, digest)
        if name in self.known:
            return
        asked = Requested(
            run=str(self.run),
            file="verdict",
            at=self.ws.stamp(),
            kind=RequestKind.SUBMIT,
            text=proposed.title or "a follow-up",
            context=proposed.prompt,
        )
        if problem := proposed.problem or self._twin(proposed):
            asked = self._refused(asked, problem)
        else:
            text = dump(clean({"title": proposed.title, "prompt": proposed.prompt}))
            named = f"{proposed.title}.yaml"
            request = Request(kind=RequestKind.SUBMIT, job=text, name=named)
            asked = self._submit(asked, request, digest, with_step_of=self.job.id)
        self._file(name, asked, digest, {}, with_step_of=asked.job or self.job.id)
        self.known[name] = asked

    def _twin(self, proposed: FollowUp) -> str:
        """Why this is no other job than one that a run of the same job has handed in; '' if it is."""
        same = (proposed.title, proposed.prompt)
        twin = next((each.job for each in self.known.values() if each.job and (each.text, each.context) == same), "")
        return f"the same was proposed before, and became {twin}" if twin else ""

    # --- granting ---

    def _grant(self, asked: Requested, found: Found, digest: str) -> Requested:
        assert found.value is not None
        request = Request.from_json(found.value)
        asked = replace(asked, text=request.told[:300], context=request.context)
        if problem := scope_problem(request, self.run, self.mine()) or request.problem:
            return self._refused(asked, problem)
        files: dict[str, bytes] = {}
        match request.kind:
            case RequestKind.REMEMBER:
                path = memory_path(request, digest, asked.at)
                asked, files = replace(asked, memory=path), {path: self._memory(request, path, asked.at)}
            case RequestKind.SUBMIT:
                asked = self._submit(asked, request, digest)
            case RequestKind.ASK:
                asked = self._question(replace(asked, text=request.text), request)
            case RequestKind.PROGRESS:
                pass
        if not asked.refused:
            # Where another job came first, there is none of this one, and it is judged again.
            self._file(record_name(self.run, asked.kind, digest), asked, digest, files, with_step_of=asked.job)
        return asked

    def _question(self, asked: Requested, request: Request) -> Requested:
        """A question for the person; or for nobody, if that person has answered it lately."""
        asked = replace(asked, choices=request.choices, default=request.default, expires_h=request.expires_h)
        if (card := earlier_answer(asked.text, self.cards(), asked.at)) is not None:
            note = f"{card.id} has answered it: {answer_in_words(card)}"
            return replace(asked, note=shorten(" ".join(replace_unsafe(note).split()), 1000))
        return replace(asked, note="it goes to the person when this run ends")

    def _refused(self, asked: Requested, why: str) -> Requested:
        return replace(asked, refused=" ".join(replace_unsafe(why).split())[:500])

    def _submit(self, asked: Requested, request: Request, digest: str, *, with_step_of: str = "") -> Requested:
        try:
            move, note = self._follow_up(request, digest)
        except OrcError as error:
            return self._refused(asked, _words(error))
        self.taken.moves.append(replace(move, with_step_of=with_step_of))
        return replace(asked, job=move.job.id, note=note)

    def _follow_up(self, request: Request, digest: str) -> tuple[Move, str]:
        """The step that makes a job of a request: by the same rules as a file that is dropped, and some more."""
        parsed = parse_job(request.job.encode("utf-8"), name=request.name)
        drop = judge_drop(Lane.INBOX, parsed.spec)
        if parsed.block is not None or not isinstance(drop, Drop):
            raise InvalidFileError("holds the part that orc writes", file=request.name)
        check_stand_ins(self.ws, parsed, request.name)
        so_far = sum(each.kind == RequestKind.SUBMIT and not each.refused for each in self.known.values())
        project = self.job.at.project
        problem = (
            follow_up_problem(parsed.spec, self.job, so_far=so_far)
            or project_problem(self.ws, project)
            or kind_problem(self.ws, parsed.spec, project)
            or skills_problem(self.ws, parsed.spec.skills)
        )
        if problem:
            raise OrcError(problem)
        priority, note = lower_priority(drop.priority)
        move = accept(
            parsed.text,
            parsed.spec,
            id_=self._free_id(request, digest),
            now=self.ws.stamp(),
            markdown=parsed.markdown,
            source=f"run {self.run}",
            actor=ENGINE,
            priority=priority,
            project=project,
            lowered=note,
        )
        refuse_twin(self.ws, move.job)
        key = key_of(move.job)
        twin = next((each.job for each in self.taken.moves if key_of(each.job) == key), None)
        if twin is not None:
            raise OrcError(f"{twin.id} asks for the same work")
        return move, note

    def _free_id(self, request: Request, digest: str) -> str:
        for turn in range(100):
            id_ = follow_up_id(request, digest, turn)
            if not self.ws.ledger.has(id_):
                return id_
        raise OrcError(f"no id is free for {request.name}")

    def _memory(self, request: Request, path: str, now: str) -> bytes:
        front: dict[str, Any] = {
            "id": path.rpartition("/")[2].removesuffix(".md"),
            "type": request.type,
            "title": request.title,
            "tags": list(request.tags),
            "project": self.job.at.project,
            "agent": self.job.at.agent,
            "source": str(self.run),
            "created": now,
        }
        text = dump(clean({key: each for key, each in front.items() if each}))
        return f"---\n{text}---\n\n{replace_unsafe(request.text).strip()}\n".encode()

    def _file(
        self, name: str, asked: Requested, digest: str, more: Mapping[str, bytes], *, with_step_of: str = ""
    ) -> None:
        path = f"{folder_path(self.job.id)}/{name}"
        head = f"{'refuse' if asked.refused else 'request'}: {self.run} {asked.kind or asked.file}"
        facts = (
            ("Run", str(self.run)),
            ("Kind", asked.kind),
            ("Request", digest),
            ("Follow-Up", asked.job),
            ("Memory", asked.memory),
            ("Reason", asked.refused),
        )
        self.taken.filings.append(
            Filing(
                f"{head}: {' '.join((asked.refused or asked.text).split())}"[:200],
                {path: format_record(asked), **more},
                tuple((key, value) for key, value in facts if value),
                with_step_of=with_step_of,
            )
        )


def _words(error: OrcError) -> str:
    return f"{error.message}. {error.hint}" if error.hint else error.message
