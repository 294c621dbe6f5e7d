"""What needs the person beside cards: jobs that time will not free, and files that could not be accepted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.adapters.reading import safe_read
from orchestrator.core.job import Job, Lane, State
from orchestrator.core.waits import Wait, wait_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

WHY = ".why.txt"
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for the person, and the command that answers it."""

    id: str
    what: str
    command: str
    answers: tuple[str, ...] = ()
    """The answers that a card offers; () for what is no card."""
    waits: Wait | None = None
    """For whom it waits and since when; None if that is not known."""
    blocks: tuple[str, ...] = ()
    """The open jobs that wait for a card's job, also through others."""
    default: str = ""
    """The answer that holds at `expires`, or that the author of a question would take; '' without one."""
    expires: str = ""
    """When the default is applied; '': never."""


def stuck_jobs(jobs: Iterable[Job], now: datetime) -> list[Need]:
    """Jobs that wait for what time does not bring: no agent can take them, or what they need will never be done."""
    by_reason: dict[str, list[tuple[Job, Wait]]] = {}
    for job in jobs:
        wait = wait_of(job, now) if job.state is State.WAITING and not job.is_held else None
        if wait is not None:
            by_reason.setdefault(job.at.reason, []).append((job, wait))
    found = []
    for reason, held in by_reason.items():
        id_, longest = held[0][0].id, min((wait for _, wait in held), key=lambda wait: wait.since)
        who = f"{id_} cannot start" if len(held) == 1 else f"{id_} and {len(held) - 1} more cannot start"
        found.append(Need(f"held.{id_}", f"{who}: {reason}", f"orc doctor, or orc cancel {id_}", waits=longest))
    return found


def long_held(jobs: Iterable[Job], now: datetime) -> list[Need]:
    """Jobs that somebody has held for so long that a reminder is due."""
    found = []
    for job in jobs:
        wait = wait_of(job, now)
        if wait is not None and job.is_held and job.state is not State.DECIDE and wait.reminders:
            found.append(Need(f"held.{job.id}", f"{job.id} is {job.why}", f"orc release {job.id}", waits=wait))
    return found


def rejected_files(ws: Workspace) -> list[Need]:
    """Files that could not be accepted, until somebody takes them away; of more than `SHOWN`, how many more."""
    folder = ws.paths.queue / Lane.REJECTED
    listed = sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []
    names = [each for each in listed if not each.endswith(WHY)]
    found = []
    for name in names[:SHOWN]:
        told = _text(folder / f"{name}{WHY}").partition("\n")[0].strip()
        way_out = f"mend queue/rejected/{name} and drop it again, or delete it"
        found.append(Need(f"rejected/{name}", told or "it could not be accepted", way_out))
    if len(names) > SHOWN:
        told = f"{len(names) - SHOWN} more could not be accepted"
        found.append(Need("rejected/", told, f"the reasons lie beside them: queue/rejected/*{WHY}"))
    return found


def stray_folders(ws: Workspace) -> list[Need]:
    """Folders in `queue/` that nobody looks into, because they are none of its own, with what may be jobs in them."""
    way_out = "move what is to be done into queue/inbox/"
    return [
        Need(f"queue/{name}", f"{name} is no folder of the queue: no file in it is looked at", way_out)
        for name in QueueFolder(ws.paths.queue).strays()
    ]


def _text(path: Path) -> str:
    """What a small file of ours says; '' if it is not there or something else lies in its place."""
    try:
        return safe_read(path).data.decode("utf-8", "replace")
    except (OrcError, OSError):
        return ""
