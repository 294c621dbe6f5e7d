"""Find: the job that a person means by what was typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.adapters.ledger import REF
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.core.ids import is_job_id
from orchestrator.core.job import Lane
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError

if TYPE_CHECKING:
    from orchestrator.core.goal import Goal

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


def find_goal(ws: Workspace, name: str) -> Goal | None:
    """The project that is meant, by a card's id, or by its name unless a job has that very name; None if none is.

    Raises LedgerError.
    """
    if ".finish-" not in name and name not in ws.config.projects:
        return None
    from orchestrator.core.goal import parse_finish_id  # Slow to load, and most names are those of jobs.
    from orchestrator.engine.goal_counts import read_goal

    named = parse_finish_id(Path(name).name.removesuffix(".yaml"))
    if named is not None:
        return read_goal(ws.ledger.read_file, named[0])
    known = read_goal(ws.ledger.read_file, name) if name in ws.config.projects else None
    if known is None:
        return None
    try:
        job = find_job(ws, name).job
    except NotFoundError:
        return known
    return None if job.id[:-9] == name else known


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
