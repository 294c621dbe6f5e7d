"""What people ask about costs. A question about N days reads N files of the ledger, and by job those of their jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from orchestrator.core.costs import (
    FOLDER,
    NONE,
    By,
    Lines,
    Sums,
    Told,
    Total,
    add_up,
    day_path,
    group,
    jobs_folder,
    parse_lines,
    total_of,
)
from orchestrator.core.share import DAYS, Share, share_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import LedgerError

MOST_DAYS = 3660


@dataclass(frozen=True, slots=True)
class CostReport:
    """What some days came to."""

    first: date
    last: date
    by: By
    groups: Mapping[str, Total]
    total: Total
    daily: Mapping[str, Total]
    """Each of the days, also those on which nothing was."""
    unpriced: Mapping[str, Sums]
    """By model, the runs whose use is known and whose cost is not."""
    counted_since: str
    """The first day of which anything is known; '' if none is."""
    share: Share = field(default_factory=Share)
    """That of maintenance, of all projects in the last seven days up to now."""


def look_at_costs(ws: Workspace, first: date, last: date, by: By, project: str = "") -> CostReport:
    """What the days from `first` to `last` came to, both counted, in UTC. Raises LedgerError."""
    days = [f"{first + timedelta(days=number):%Y-%m-%d}" for number in range((last - first).days + 1)]
    read = {day: _lines(ws, day_path(day)) for day in days}
    grouped = {day: _of_jobs(ws, day) for day in days} if by is By.JOB else read
    empty = {day: Total() for day in days}
    return CostReport(
        first=first,
        last=last,
        by=by,
        groups=group(grouped, by, project),
        total=total_of(read, project),
        daily={**empty, **group(read, By.DAY, project)},
        unpriced=_unpriced(read, project),
        counted_since=_counted_since(ws),
        share=look_at_share(ws),
    )


def _lines(ws: Workspace, path: str) -> Lines:
    try:
        return parse_lines(ws.ledger.read_file(path) or b"")
    except (ValueError, TypeError) as error:
        raise LedgerError(f"{path} in the ledger cannot be read: {error}", hint="orc verify") from error


def _of_jobs(ws: Workspace, day: str) -> Lines:
    objects, folder = ws.ledger.objects, jobs_folder(day)
    entry = objects.find(ws.ledger.snapshot().root, folder)
    names = objects.tree(entry.oid) if entry is not None else {}
    objects.read_ahead(each.oid for each in names.values())
    return add_up(_lines(ws, f"{folder}/{name}") for name in names)


def _unpriced(days: Mapping[str, Lines], project: str) -> dict[str, Sums]:
    found: dict[str, Sums] = {}
    for lines in days.values():
        for facts, sums in lines.items():
            is_known = facts.told in (Told.WHOLE, Told.AT_LEAST)
            if is_known and not facts.priced and project in ("", facts.project):
                name = facts.model or NONE
                found[name] = found.get(name, Sums()).plus(sums)
    return dict(sorted(found.items(), key=lambda each: (-each[1].tokens, each[0])))


def _counted_since(ws: Workspace) -> str:
    objects, path = ws.ledger.objects, [FOLDER]
    for _ in range(3):
        entry = objects.find(ws.ledger.snapshot().root, "/".join(path))
        names = sorted(objects.tree(entry.oid)) if entry is not None else []
        if not names:
            return ""
        path.append(names[0])
    return "-".join(path[1:])


def look_at_share(ws: Workspace) -> Share:
    """The share of maintenance in the last days, today among them. Raises LedgerError."""
    today = ws.now().date()
    return share_of(_lines(ws, day_path(f"{today - timedelta(days=number):%Y-%m-%d}")) for number in range(DAYS))
