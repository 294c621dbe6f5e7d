"""A person's change to a job's file from the keyboard: the same request as an edit of that file in `queue/`.

The difference from the version that was shown is judged by the rules for files, and committed as the same step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.adapters.files import ensure_folder, remove
from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.job_text import set_key, unset_key
from orchestrator.core.job import Job
from orchestrator.core.requests import Edit, FoundJob, Quarantine, judge_job
from orchestrator.core.transitions import Actor, Move
from orchestrator.engine.change import find_version, step_of
from orchestrator.engine.launch import RunState, folder_of, state_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import BusyError, InvalidFileError, NotFoundError, RefusedError

HOLD = ("hold",)
TRIES = 20
"""How often a change is judged anew because the job took a step at the same moment."""
_DRAFT = re.compile(r"(?P<job>[a-z0-9-]+)\.v(?P<seq>[1-9][0-9]{0,8})(?:-[0-9]+)?\.(?:yaml|md)\Z")


@dataclass(frozen=True, slots=True)
class Edited:
    """What a change came to: the job after it, and the keys that it changed (none: it asked for nothing)."""

    job: Job
    keys: tuple[str, ...] = ()


def edit_job(ws: Workspace, shown: Job, data: bytes, actor: Actor) -> Edited:
    """Commit what `data` changes in the text of `shown`. Raises InvalidFileError, RefusedError."""
    parsed = parse_job(data, name=shown.file_name)
    if parsed.block is not None:
        raise InvalidFileError("holds the part that orc writes", file=shown.file_name, hint="Remove it, mark and all.")
    (edited,) = change_jobs(ws, [shown.id], lambda _: parsed.text, actor, shown=shown)
    return edited


def change_jobs(
    ws: Workspace, ids: Iterable[str], change: Callable[[Job], str], actor: Actor, *, shown: Job | None = None
) -> list[Edited]:
    """Commit other texts of open jobs: of all that are named, or of none if one is refused.

    `change` gives the new text of a job; `shown` is the version that it was made from, if that is not the newest.
    Raises RefusedError, also for a job that has ended, and InvalidFileError.
    """
    done: dict[str, Edited] = {id_: Edited(ws.open_job(id_).job) for id_ in ids}
    left = list(done)
    for _ in range(TRIES):
        now = {id_: ws.open_job(id_).job for id_ in left}
        steps = {id_: _step(ws, job, shown or job, change(job), actor) for id_, job in now.items()}
        moves = [move for move in steps.values() if move is not None]
        committed = {move.job.id: move for move in (ws.commit(moves) if moves else [])}
        for id_, move in steps.items():
            if move is None:
                done[id_] = Edited(now[id_])
            elif id_ in committed:
                done[id_] = Edited(move.job, tuple(dict(move.trailers)["Keys"].split(", ")))
        left = [id_ for id_, move in steps.items() if move is not None and id_ not in committed]
        if not left:
            return list(done.values())
    raise BusyError(f"{', '.join(left)} took steps all the time", hint="the same again")


def _step(ws: Workspace, now: Job, shown: Job, text: str, actor: Actor) -> Move | None:
    spec = parse_job(text.encode(), name=now.file_name).spec
    found = FoundJob(lane=shown.lane, text=text, markdown=shown.markdown, spec=spec, seq=shown.at.seq)
    for request in judge_job(found, now, shown):
        match request:
            case Quarantine(reason):
                raise RefusedError(f"{now.id}: {reason}")
            case Edit():
                return step_of(ws, now, request, actor)
    return None


# --- holding ----------------------------------------------------------------------------------------------------


def hold_jobs(ws: Workspace, ids: Iterable[str], why: str, actor: Actor) -> list[Edited]:
    """Write `hold:` into open jobs. One that is held already keeps its reason, unless there is a new one."""
    why = " ".join(why.split())

    def held(job: Job) -> str:
        if job.spec.hold is not None and why in ("", job.spec.hold):
            return job.text
        return set_key(job.text, HOLD, why or True, markdown=job.markdown)

    return change_jobs(ws, ids, held, actor)


def release_jobs(ws: Workspace, ids: Iterable[str], actor: Actor) -> list[Edited]:
    """Take `hold:` out of jobs. Raises RefusedError if one of them is not held."""

    def released(job: Job) -> str:
        if job.spec.hold is None:
            raise RefusedError(f"{job.id} is not held: it is {job.state}", hint=f"orc show {job.id}")
        return unset_key(job.text, HOLD, markdown=job.markdown)

    return change_jobs(ws, ids, released, actor)


def live_run(ws: Workspace, job: Job) -> str:
    """The run of a job that goes on by itself or has yet to be collected; '' if there is none."""
    run = job.at.run
    return run if run and state_of(folder_of(ws, run)) is not RunState.MISSING else ""


# --- what a person is writing ------------------------------------------------------------------------------------


def open_draft(ws: Workspace, job: Job) -> Path:
    """A new file with the job's text, to be edited. It stays until `remove_draft`, whatever happens meanwhile."""
    folder = ws.paths.orcdir / "edits"
    ensure_folder(folder)
    number = 1
    while True:
        mark = "" if number == 1 else f"-{number}"
        path = folder / f"{job.id}.v{job.at.seq}{mark}{job.suffix}"
        try:
            with path.open("xb") as file:
                file.write(job.text.encode())
        except FileExistsError:
            number += 1
        else:
            return path


def drafts_of(ws: Workspace, id_: str) -> list[Path]:
    """Edits of a job that were begun and neither taken nor thrown away."""
    return sorted((ws.paths.orcdir / "edits").glob(f"{id_}.v*"))


def is_draft(ws: Workspace, path: Path) -> bool:
    """Whether the file is one that `open_draft` made here."""
    return path.absolute().parent == ws.paths.orcdir / "edits" and _DRAFT.match(path.name) is not None


def remove_draft(path: Path) -> None:
    """What was written has been taken, or is no change."""
    remove(path)


def version_shown(ws: Workspace, job: Job, path: Path) -> Job:
    """The version from which a file was made: a draft's name tells, any other file is about the newest.

    Raises NotFoundError if it is the draft of another job or of a version that is not there.
    """
    found = _DRAFT.match(path.name)
    if found is None:
        return job
    shown = find_version(ws, ws.ledger.snapshot(), job, int(found["seq"])) if found["job"] == job.id else None
    if shown is None:
        raise NotFoundError(f"{path.name} is not made from any version of {job.id}", hint="give it another name")
    return shown
