"""What a person's change to a shown file comes to: the steps to commit, and what then happens to the file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.adapters.card_file import parse_card_answer, show_card
from orchestrator.adapters.job_file import JobText, parse_job, read_job, show_job
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_paths import open_path
from orchestrator.adapters.ledger_snapshot import Folder, Snapshot
from orchestrator.adapters.orc_block import read_parts
from orchestrator.adapters.queue_folder import QueueFolder, Seen
from orchestrator.adapters.reading import ReadFile, Signature
from orchestrator.core.accept import cancel, edit, retry
from orchestrator.core.ids import is_job_id
from orchestrator.core.job import Job, Lane
from orchestrator.core.records import Card
from orchestrator.core.requests import (
    Answer,
    Cancel,
    ChangePriority,
    Edit,
    FoundJob,
    Leave,
    PutBack,
    Quarantine,
    Request,
    Retry,
    judge_answer,
    judge_job,
)
from orchestrator.core.transitions import Actor, Move
from orchestrator.engine.answer import answered, card_of, refuse_repeat
from orchestrator.engine.criteria import kind_problem
from orchestrator.engine.routing import check_stand_ins
from orchestrator.engine.skills import skills_problem
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError, RefusedError

_OTHER = re.compile(r"(?P<job>[a-z0-9-]+)\.(?P<kind>card|review)-(?P<number>[1-9][0-9]{0,5})\.yaml\Z")
MAX_VERSIONS = 1000
"""How many versions back a file may be."""


@dataclass(frozen=True, slots=True)
class View:
    """What changes are judged against: the ledger at one moment, and what `queue/` showed."""

    ws: Workspace
    queue: QueueFolder
    snapshot: Snapshot
    actor: Actor

    def folder(self, id_: object) -> Folder | None:
        """A job's folder in the ledger, open or ended; None for what is no job's id."""
        if not isinstance(id_, str) or not is_job_id(id_):
            return None
        return self.snapshot.folders.get(id_) or self.ws.ledger.closed(id_, self.snapshot.root)

    def home(self, job: Job) -> Path:
        """Where a job's file belongs."""
        return self.queue.path(job.lane, job.file_name)


@dataclass(frozen=True, slots=True)
class Other:
    """A file that belongs to a job but is not the job's own: a card or a review."""

    job: str
    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class Change:
    """What one file comes to. Once its steps are committed, it is taken away, shown anew, or kept in `rejected/`."""

    path: Path
    signature: Signature
    owner: str = ""
    """The job that the file is about, where the ledger had it already."""
    home: Path = Path()
    """Where the owner's file belongs after the steps; notes about the change lie there."""
    moves: tuple[Move, ...] = ()
    told: tuple[str, ...] = ()
    """What is on the ledger already, by the subjects of its commits: the answer to a question about a project."""
    is_drop: bool = False
    leave: bool = False
    note: str = ""
    refusal: str = ""
    filing: Filing | None = None
    name: str = ""
    """The name under which it is kept in `rejected/`; '' for its own."""


def other_file(name: str) -> Other | None:
    """What a name says that is not a job's."""
    found = _OTHER.match(name)
    if found is None or not is_job_id(found["job"]):
        return None
    return Other(found["job"], found["kind"], int(found["number"]))


def judge_file(view: View, seen: Seen, read: ReadFile, parsed: JobText, *, handled: set[str]) -> Change:
    """A job's file that was edited, moved or both. Raises OrcError if it cannot be granted at all."""
    block = parsed.block or {}
    id_, seq = block.get("id"), block.get("seq")
    if parsed.block is None and seen.shown is not None:
        id_, seq = seen.shown.id, seen.shown.seq or None
    folder = view.folder(id_)
    if folder is None:
        reason = "holds the part that orc writes about a job that this ledger does not have"
        raise InvalidFileError(reason, hint="To drop it as a new job, remove all from the mark on.")
    now = folder.job
    seq = seq if isinstance(seq, int) and not isinstance(seq, bool) else now.at.seq
    shown = find_version(view.ws, view.snapshot, now, seq)
    original = view.queue.path(shown.lane, shown.file_name) if shown else seen.path
    copy = seen.path != original and (view.queue.stands(original, seq) or now.id in handled)
    found = FoundJob(
        lane=seen.lane,
        text=parsed.text,
        markdown=parsed.markdown,
        spec=parsed.spec,
        seq=seq,
        intact=shown is not None and parsed.block == _block_of(shown),
        copy=copy,
    )
    return _grant(view, Change(seen.path, read.signature), now, judge_job(found, now, shown))


def judge_leftover(view: View, seen: Seen, read: ReadFile, folder: Folder) -> Change:
    """A drop that was accepted, but not taken away: it may have been written to since."""
    now = folder.job
    first = find_version(view.ws, view.snapshot, now, 1)
    if first is not None and read.data == first.text.encode():
        return Change(seen.path, read.signature, is_drop=True)
    parsed = parse_job(read.data, name=now.file_name)
    lane = first.lane if first else seen.lane
    found = FoundJob(lane=lane, text=parsed.text, markdown=parsed.markdown, spec=parsed.spec, seq=1)
    return _grant(view, Change(seen.path, read.signature), now, judge_job(found, now, first))


def judge_card(view: View, seen: Seen, read: ReadFile, other: Other) -> Change:
    """A card's file that was filled in, changed or moved."""
    folder = view.folder(other.job)
    if folder is None or f"card-{other.number}" not in folder.records:
        raise RefusedError(f"there is no card {other.number} of {other.job}")
    card = view.ws.ledger.record(Card, folder, f"card-{other.number}")
    given = parse_card_answer(read.data, name=seen.path.name)
    if given.card_id != card.id:
        raise RefusedError(f"the file is named after {card.id}, but is {given.card_id[:80]}")
    fresh = read_parts(show_card(card, folder.job.spec.heading), markdown=False, file=seen.path.name)
    requests = judge_answer(
        seen.lane,
        given.answer,
        given.message,
        card,
        intact=given.block == fresh.block,
        touched=given.text != fresh.text,
    )
    change = Change(seen.path, read.signature, home=view.queue.path(Lane.DECIDE, f"{card.id}.yaml"))
    return _grant(view, change, folder.job, requests)


def judge_review(view: View, seen: Seen, read: ReadFile, other: Other) -> Change:
    """A review's file is only for reading."""
    reason = "a review is written by its reviewer; the file is only for reading"
    home = view.queue.path(Lane.REVIEW, seen.path.name)
    return Change(seen.path, read.signature, other.job, home, refusal=reason)


def find_version(ws: Workspace, snapshot: Snapshot, now: Job, seq: int) -> Job | None:
    """A job as it was when its file was shown with `seq`; None if the ledger has no such version."""
    back = now.at.seq - seq
    if back == 0:
        return now
    if not 0 < back <= MAX_VERSIONS:
        return None
    name, ledger = f"job{now.suffix}", ws.ledger
    # Every step changes what is under `open/`: also the one with which a job ends or comes back.
    at = open_path(now.id)
    commits = ledger.git.text("rev-list", f"--max-count={back + 1}", snapshot.tip, "--", at).split()
    for commit in reversed(commits):
        root = ledger.root_of(commit)
        entry = ledger.objects.find(root, f"{at}/{name}")
        if entry is not None:
            job = read_job(ledger.objects.read(entry.oid), name=name)
        elif ended := ledger.closed(now.id, root):
            job = ended.job
        else:
            continue
        if job.at.seq == seq:
            return job
    return None


def _grant(view: View, change: Change, now: Job, requests: tuple[Request, ...]) -> Change:
    """The steps of what is asked for, or why it is not granted."""
    is_card = change.home != Path()
    change = replace(change, owner=now.id, home=change.home if is_card else view.home(now))
    job, moves, notes = now, [], []
    for request in requests:
        match request:
            case Quarantine(reason):
                return replace(change, refusal=reason)
            case Leave(reason):
                return replace(change, leave=True, note=reason)
            case PutBack(reason):
                notes.append(f"Not done: {reason}.")
            case _:
                try:
                    move = step_of(view.ws, job, request, view.actor)
                except (InvalidFileError, RefusedError) as error:
                    return replace(change, refusal=f"{error}" + (f" ({error.hint})" if error.hint else ""))
                moves.append(move)
                job = move.job
    home = change.home if is_card and not moves else view.home(job)
    return replace(change, moves=tuple(moves), home=home, note="\n".join(notes))


def step_of(ws: Workspace, job: Job, request: Request, actor: Actor) -> Move:
    """The step that grants a request. Raises RefusedError, InvalidFileError if it cannot be granted after all."""
    now = ws.stamp()
    match request:
        case Edit(text, spec, keys, priority, merged):
            parsed = parse_job(text.encode(), name=job.file_name) if merged or "fallback" in keys else None
            if merged and parsed is not None and parsed.spec != spec:
                raise RefusedError("it cannot be joined with what somebody else changed meanwhile")
            if "fallback" in keys and parsed is not None:
                check_stand_ins(ws, parsed, job.file_name)
            if "skills" in keys and (problem := skills_problem(ws, spec.skills)):
                raise RefusedError(problem)
            if {"kind", "checks", "project"} & set(keys) and (problem := kind_problem(ws, spec, job.at.project)):
                raise RefusedError(problem)
            told = set(keys) | ({"priority"} if priority is not job.priority else set())
            return edit(job, text, spec, now, actor=actor, keys=told or {"comments"}, priority=priority)
        case ChangePriority(priority):
            return edit(job, job.text, job.spec, now, actor=actor, keys={"priority"}, priority=priority)
        case Cancel():
            return cancel(job, now, actor=actor, why="its file was moved into cancelled/", card=card_of(ws, job))
        case Retry():
            refuse_repeat(ws, job)
            return retry(job, now, actor=actor, card=card_of(ws, job))
        case Answer(Card() as card, key, message):
            return answered(ws, job, card, key, message, actor)
        case _:
            raise TypeError(f"not a step: {request!r}")


def _block_of(job: Job) -> object:
    return read_parts(show_job(job), markdown=job.markdown, file=job.file_name).block
