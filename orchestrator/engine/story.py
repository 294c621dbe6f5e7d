"""Story: everything that the ledger holds of one job, in the order in which it came about."""

from __future__ import annotations

from typing import Any

from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.adapters.ledger_text import parse_record
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.ids import bucket
from orchestrator.core.outbox import Requested, folder_path
from orchestrator.core.records import RECORDS, Card, Reverted
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.routine import RoutineRecord
from orchestrator.engine.workspace import Workspace


def records_of(ws: Workspace, folder: Folder) -> dict[str, Any]:
    """Every record of a job by file stem, in the order in which they came about."""
    kinds = {stem: RECORDS[kind] for stem in folder.records if (kind := stem.partition("-")[0]) in RECORDS}
    found = {stem: ws.ledger.record(kind, folder, stem) for stem, kind in kinds.items() if "." not in stem}
    attempts = [record for record in found.values() if isinstance(record, Attempt)]

    def order(stem: str) -> tuple[int, int, int]:
        record, number = found[stem], int(stem.partition("-")[2])
        match record:
            case Attempt() | RoutineRecord():
                attempt = number
            case Evidence() | ReviewRecord():
                attempt = record.attempt
            case Card():
                attempt = sum(each.started <= record.asked for each in attempts)
            case _:
                attempt = max((each.number for each in attempts if each.tip == record.approved), default=len(attempts))
        return (attempt, list(RECORDS.values()).index(type(record)), number)

    return {stem: found[stem] for stem in sorted(found, key=order)}


def reverts_path(id_: str) -> str:
    """Where the ledger keeps the reverts of a job."""
    return f"reverts/{bucket(id_)}/{id_}"


def reverts_of(ws: Workspace, id_: str) -> list[Reverted]:
    """The reverts of a job, the oldest first."""
    objects, path = ws.ledger.objects, reverts_path(id_)
    entry = objects.find(ws.ledger.root_of(ws.ledger.tip()), path)
    names = objects.tree(entry.oid) if entry else {}
    found = [parse_record(Reverted, objects.read(each.oid), f"{path}/{name}") for name, each in names.items()]
    return sorted(found, key=lambda each: each.at)


def asked_so_far(ws: Workspace, job: str) -> dict[str, Requested]:
    """What the runs of a job have asked, as the ledger has it, by file name."""
    path, objects = folder_path(job), ws.ledger.objects
    entry = objects.find(ws.ledger.root_of(ws.ledger.tip()), path)
    names = objects.tree(entry.oid) if entry else {}
    found = {name: parse_record(Requested, objects.read(each.oid), f"{path}/{name}") for name, each in names.items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].at, item[1].file)))
