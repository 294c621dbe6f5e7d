"""Making `queue/` show the ledger, as a checkout shows HEAD. What a person changed there is never written over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.adapters.card_file import show_card, show_review
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.ledger import Ledger
from orchestrator.adapters.ledger_snapshot import Ended, Folder, Snapshot
from orchestrator.adapters.objects import EMPTY_TREE
from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.adapters.reading import safe_read
from orchestrator.core.goal import parse_finish_id
from orchestrator.core.job import Lane, State
from orchestrator.core.records import Card
from orchestrator.core.review_record import ReviewRecord
from orchestrator.engine.goal_queue import GoalCards
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError, LedgerError

KEPT = 200
"""How many ended jobs each of `done/`, `failed/` and `cancelled/` shows."""
WALKED = 1000
"""After how many ended jobs no earlier day is looked at, at a start, to find the newest."""
ENDED_LANES = (Lane.DONE, Lane.FAILED, Lane.CANCELLED)
_CLOSED_DEPTH = 5
"""`closed/<yyyy>/<mm>/<dd>/<2 hex>/<id>`: folders below `closed`."""


class _LedgerAt(Ledger):
    """The ledger as it was at one commit."""

    def __init__(self, ws: Workspace, commit: str) -> None:
        super().__init__(ws.ledger.git, ws.ledger.objects, ws.paths.orcdir)
        self._commit = commit

    def tip(self) -> str:
        return self._commit


@dataclass(slots=True)
class Projection:
    """What `queue/` shows. Call `start` once, before the first look at the folder; then `refresh` after each change."""

    ws: Workspace
    queue: QueueFolder
    _tip: str = ""
    _looked: str = ""
    """The commit of the ledger that was looked at last."""
    _root: str = ""
    _trees: dict[str, str] = field(default_factory=dict)
    """The ledger's folder of each open job as it is shown."""
    _files: dict[str, frozenset[Path]] = field(default_factory=dict)
    _ended: dict[Lane, list[str]] = field(default_factory=lambda: {lane: [] for lane in ENDED_LANES})
    """The newest ended jobs, newest first."""
    _goals: GoalCards = field(init=False)
    _read: dict[str, Folder] = field(default_factory=dict)
    """Ended jobs that were read to begin with; the first refresh needs them once more, if the ledger is as it was."""

    def __post_init__(self) -> None:
        self._goals = GoalCards(self.ws, self.queue)

    @property
    def mark(self) -> Path:
        """The file that names the commit of the ledger that `queue/` fully shows."""
        return self.ws.paths.state / "projected"

    def start(self) -> None:
        """Find out what an earlier engine showed, so that what differs from it is known to be a person's change."""
        self.queue.prepare()
        self.queue.clear_torn()
        before = self._snapshot_before()
        then = before or self.ws.ledger.snapshot()
        for id_, folder in then.folders.items():
            self._recall(folder, must_exist=before is None)
            if before is not None:
                self._trees[id_] = folder.tree
        self._goals.recall(then.root, must_exist=before is None)
        ended_then = self._newest_ended(then.root)
        known = [each for ended in ended_then.values() for each in ended]
        root = self.ws.ledger.snapshot().root
        for folder in self.ws.ledger.folders_at({each.path: each.tree for each in known}):
            self._recall(folder, must_exist=True)
            if root == then.root:
                self._read[folder.job.id] = folder
        ended_now = ended_then if root == then.root else self._newest_ended(root)
        self._ended = {lane: [each.id for each in ended] for lane, ended in ended_now.items()}
        self._root = root
        shown, wanted = {each.id for each in known}, {id_ for ids in self._ended.values() for id_ in ids}
        # Of those that were shown before, recalling has found out which ones are not there as they were.
        self.queue.changed_ids |= shown ^ wanted if before is not None else shown | wanted

    def missing(self) -> list[Path]:
        """Files of open jobs that `queue/` should show and does not have. Changes nothing."""
        folders = self.ws.ledger.snapshot().folders.values()
        paths = [path for folder in folders for path, _ in self._views(folder)]
        paths += [path for _, path, _ in self._goals.views(self.ws.ledger.snapshot().root)]
        return [path for path in paths if not path.exists()]

    def _snapshot_before(self) -> Snapshot | None:
        try:
            tip = safe_read(self.mark).data.decode("ascii").strip()
            return _LedgerAt(self.ws, tip).snapshot() if tip else None
        except (FileNotFoundError, InvalidFileError, LedgerError, ValueError):
            return None

    def _recall(self, folder: Folder, *, must_exist: bool) -> None:
        paths = set()
        for path, data in self._views(folder):
            self.queue.recall(path, data, id=folder.job.id, seq=folder.job.at.seq, must_exist=must_exist)
            paths.add(path)
        self._files[folder.job.id] = frozenset(paths)

    def refresh(self) -> None:
        """Make `queue/` show the ledger as it is now. Only jobs that changed are written."""
        if self.queue.folders_missing:
            self.queue.prepare()
        snapshot = self.ws.ledger.snapshot()
        again, self.queue.changed_ids = self.queue.changed_ids, set()
        if snapshot.tip != self._tip or again:
            self._refresh(snapshot, again)
        self.queue.fresh_notes.clear()

    def _refresh(self, snapshot: Snapshot, again: set[str]) -> None:
        closed = list(self._closed_since(snapshot.root))
        differing = self.ws.ledger.changed_since(self._looked)
        self._looked = snapshot.tip
        cards = {id_ for id_ in again if parse_finish_id(id_)}
        self._goals.refresh(snapshot.root, cards)
        again -= cards
        looked_at = snapshot.folders.keys() | self._trees.keys() if differing is None else differing | again
        for id_ in looked_at & snapshot.folders.keys():
            folder = snapshot.folders[id_]
            changed = self._trees.get(id_) != folder.tree
            if changed or id_ in again:
                self._drop_ended(id_)
                shown = self._show(folder, changed=changed)
                self._trees[id_] = folder.tree if shown else ""
        for id_ in closed:
            if id_ not in snapshot.folders:
                self._show_ended(id_, snapshot.root)
        for id_ in (looked_at | again) - snapshot.folders.keys():
            self._trees.pop(id_, None)
            self._show_again(id_, snapshot.root)
        self._read.clear()
        self._root = snapshot.root
        if not self.queue.changed_ids and snapshot.tip != self._tip:
            self._tip = snapshot.tip
            with effect(Effect.QUEUE_WRITE):
                ensure_folder(self.mark.parent)
                write_atomic(self.mark, f"{snapshot.tip}\n".encode(), sync=False)

    # --- ended jobs ---

    def _show_ended(self, id_: str, root: str) -> None:
        folder = self.ws.ledger.closed(id_, root)
        if folder is None:
            return
        self._drop_ended(id_)
        self._show(folder, changed=True)
        ids = self._ended[folder.job.lane]
        ids.insert(0, id_)
        for old in ids[KEPT:]:
            self._hide(old, self._shown_at(old))
            self._files.pop(old, None)
        del ids[KEPT:]

    def _show_again(self, id_: str, root: str) -> None:
        read = self._read.get(id_) if root == self._root else None
        folder = read or self.ws.ledger.closed(id_, root)
        if folder is not None and id_ in self._ended[folder.job.lane]:
            self._show(folder, changed=False)
        else:
            self._hide(id_, self._shown_at(id_))
            self._files.pop(id_, None)

    def _drop_ended(self, id_: str) -> None:
        for ids in self._ended.values():
            if id_ in ids:
                ids.remove(id_)

    def _closed_since(self, root: str) -> Iterator[str]:
        """Jobs that ended since the last refresh, found by what differs between two trees."""
        if self._root and self._root != root:
            old, new = (self._tree_at(each, "closed") for each in (self._root, root))
            yield from self._added(old, new, _CLOSED_DEPTH)

    def _tree_at(self, root: str, path: str) -> str:
        entry = self.ws.ledger.objects.find(root, path)
        return entry.oid if entry else EMPTY_TREE

    def _added(self, old: str, new: str, depth: int) -> Iterator[str]:
        was, now = self.ws.ledger.objects.tree(old), self.ws.ledger.objects.tree(new)
        for name, entry in now.items():
            before = was[name].oid if name in was else EMPTY_TREE
            if before == entry.oid or name == "ids":
                continue
            if depth == 1:
                yield name
            else:
                yield from self._added(before, entry.oid, depth - 1)

    def _newest_ended(self, root: str) -> dict[Lane, list[Ended]]:
        found: dict[Lane, list[Ended]] = {lane: [] for lane in ENDED_LANES}
        left = WALKED
        for path, day in self._days(root):
            # Of a day all: only what is read of them says which are the newest.
            trees = self._ended_on(path, day)
            left -= len(trees)
            for ended in sorted(self.ws.ledger.ended_at(trees), key=lambda each: (each.since, each.id), reverse=True):
                if len(found[ended.lane]) < KEPT:
                    found[ended.lane].append(ended)
            if left <= 0 or all(len(ids) == KEPT for ids in found.values()):
                break
        return found

    def _ended_on(self, path: str, day: str) -> dict[str, str]:
        """The folders of the jobs that ended on a day, by path."""
        objects = self.ws.ledger.objects
        buckets = objects.tree(day)
        objects.read_ahead(each.oid for each in buckets.values())
        return {
            f"{path}/{bucket}/{id_}": entry.oid
            for bucket, each in buckets.items()
            for id_, entry in objects.tree(each.oid).items()
        }

    def _days(self, root: str) -> Iterator[tuple[str, str]]:
        """The folders of days under `closed/`, with their paths, newest first."""
        objects = self.ws.ledger.objects
        years = objects.tree(self._tree_at(root, "closed"))
        for year in sorted(years.keys() - {"ids"}, reverse=True):
            months = objects.tree(years[year].oid)
            for month in sorted(months, reverse=True):
                days = objects.tree(months[month].oid)
                yield from ((f"closed/{year}/{month}/{day}", days[day].oid) for day in sorted(days, reverse=True))

    # --- one job ---

    def _show(self, folder: Folder, *, changed: bool) -> bool:
        """Show a job's files, then hide those that it no longer has; whether all that could be done."""
        id_, seq = folder.job.id, folder.job.at.seq
        views = dict(self._views(folder))
        before = self._shown_at(id_)
        shown = [self.queue.show(path, data, id=id_, seq=seq) for path, data in views.items()]
        hidden = self._hide(id_, before - views.keys())
        if changed:
            for path in before | views.keys():
                self.queue.clear_note(path)
        self._files[id_] = frozenset(views) | (before if not hidden else frozenset())
        if all(shown) and hidden:
            return True
        self.queue.changed_ids.add(id_)
        return False

    def _shown_at(self, id_: str) -> frozenset[Path]:
        """Where a job's files lie: as they were shown, and where a person put one that was left there."""
        return self._files.get(id_, frozenset()) | frozenset(self.queue.adopted.pop(id_, ()))

    def _hide(self, id_: str, paths: Iterable[Path]) -> bool:
        done = [self.queue.hide(path) for path in paths]
        return all(done)

    def _views(self, folder: Folder) -> Iterator[tuple[Path, bytes]]:
        job, ledger = folder.job, self.ws.ledger
        yield self.queue.path(job.lane, job.file_name), ledger.objects.read(folder.records["#job"])
        stem = f"card-{job.at.card}"
        if job.state is State.DECIDE and stem in folder.records:
            card = ledger.record(Card, folder, stem)
            if card.open:
                yield self.queue.path(Lane.DECIDE, f"{job.id}.{stem}.yaml"), show_card(card, job.spec.heading)
        if job.lane is Lane.REVIEW:
            for number in range(1, job.at.review + 1):
                if (stem := f"review-{number}") not in folder.records:
                    continue
                review = ledger.record(ReviewRecord, folder, stem)
                if review.evidence == job.at.evidence:
                    yield self.queue.path(Lane.REVIEW, f"{job.id}.{stem}.yaml"), show_review(review)
