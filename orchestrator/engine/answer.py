"""What a person decides from the keyboard: answers to cards, retries, cancellations. Each is one commit."""

from __future__ import annotations

from pathlib import Path

from orchestrator.adapters.ledger import REF, Folder
from orchestrator.core import accept as accepting
from orchestrator.core.answer import answer
from orchestrator.core.ids import is_job_id
from orchestrator.core.job import Job, Lane, State
from orchestrator.core.records import Card, Evidence
from orchestrator.core.transitions import Actor, Move
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, RefusedError

LATELY = 400
"""So many of the newest steps are looked at where an ended job is not named by its whole id."""


def find_job(ws: Workspace, name: str) -> Folder:
    """The job that a person means: by id, by its name without the digits, the id's beginning, or a card's or run's id.

    Open jobs come first; those that ended long ago must be named by the whole id. Raises NotFoundError.
    """
    id_ = Path(name).name.split(".", 1)[0]
    if not id_:
        raise NotFoundError(f"{name!r} names no job", hint="orc status")
    # A whole id of an ended job needs no look at the open ones.
    if is_job_id(id_) and (ended := ws.ledger.closed(id_, ws.ledger.root_of(ws.ledger.tip()))):
        return ended
    folders = ws.ledger.snapshot().folders
    if id_ in folders:
        return folders[id_]
    if found := _one_of(name, id_, list(folders)):
        return folders[found]
    if is_job_id(id_):
        return ws.ledger.folder(id_)
    return ws.ledger.folder(_one_of(name, id_, _lately_ended(ws, id_)) or id_)


def _one_of(name: str, id_: str, ids: list[str]) -> str:
    """The one that is meant, '' if none is. Raises NotFoundError if it may be several."""
    named = [each for each in ids if each[:-9] == id_] or [each for each in ids if each.startswith(id_)]
    if len(named) > 1:
        some = ", ".join(sorted(named)[:5]) + (" …" if len(named) > 5 else "")
        raise NotFoundError(f"{name!r} may be any of {some}", hint="give more of the id")
    return named[0] if named else ""


def _lately_ended(ws: Workspace, start: str) -> list[str]:
    """Ids of ended jobs that begin so: those that `queue/` still shows, and those of the ledger's newest steps."""
    lanes = [ws.paths.queue / lane for lane in (Lane.DONE, Lane.FAILED, Lane.CANCELLED)]
    ids = {path.stem for lane in lanes if lane.is_dir() for path in lane.iterdir()}
    form = "--format=%(trailers:key=Job,valueonly)"
    ids |= set(ws.ledger.git.text("log", f"--max-count={LATELY}", form, REF).split())
    return [id_ for id_ in ids if id_.startswith(start) and is_job_id(id_) and ws.ledger.closed(id_)]


def open_card(ws: Workspace, name: str) -> tuple[Job, Card]:
    """The card that a person means: by its own id, or as the open one of a job. Raises NotFoundError, RefusedError."""
    folder = find_job(ws, name)
    job = folder.job
    stem = Path(name).name.removesuffix(".yaml").partition(".")[2]
    if job.state is not State.DECIDE and not stem:
        raise RefusedError(f"{job.id} asks nothing: it is {job.state}", hint=f"orc show {job.id}")
    if stem and not stem.startswith("card-"):
        raise NotFoundError(f"{name!r} is not the id of a card", hint=f"orc show {job.id}")
    return job, ws.ledger.record(Card, folder, stem or f"card-{job.at.card}")


def card_of(ws: Workspace, job: Job) -> Card | None:
    """The card that a job asks now, if it asks one."""
    if job.state is not State.DECIDE:
        return None
    return ws.ledger.record(Card, ws.ledger.folder(job.id), f"card-{job.at.card}")


def evidence_of(ws: Workspace, job: Job) -> Evidence | None:
    """What the engine saw of a job's newest work, if it has looked at any."""
    if not job.at.evidence:
        return None
    return ws.ledger.record(Evidence, ws.ledger.folder(job.id), f"evidence-{job.at.evidence}")


def give_answer(ws: Workspace, job: Job, card: Card, key: str, message: str, actor: Actor) -> Move:
    """Commit an answer. Raises RefusedError if the card may no longer be answered so."""
    return _commit(ws, answer(job, card, key, message, ws.terms(job), ws.stamp(), actor=actor))


def cancel_job(ws: Workspace, job: Job, actor: Actor, why: str) -> Move:
    """Give an open job up. Raises RefusedError if it has ended."""
    if job.state.ended:
        raise RefusedError(f"{job.id} is {job.state} already", hint=f"orc show {job.id}")
    return _commit(ws, accepting.cancel(job, ws.stamp(), actor=actor, why=why, card=card_of(ws, job)))


def retry_job(ws: Workspace, job: Job, actor: Actor) -> Move:
    """Give an ended or stuck job another go. Raises RefusedError if it is under way or done."""
    if job.state not in (State.FAILED, State.CANCELLED, State.DECIDE, State.WAITING):
        why = "it is done; submit a new job, or orc revert" if job.state is State.DONE else f"it is {job.state}"
        raise RefusedError(f"{job.id} cannot be retried: {why}", hint=f"orc show {job.id}")
    return _commit(ws, accepting.retry(job, ws.stamp(), actor=actor, card=card_of(ws, job)))


def _commit(ws: Workspace, move: Move) -> Move:
    if not ws.commit([move]):
        raise RefusedError(f"{move.job.id} moved on at the same moment", hint=f"orc show {move.job.id}, then again")
    return move
