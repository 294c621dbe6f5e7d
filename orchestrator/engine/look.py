"""Looking: everything a decision rests on, gathered into one value. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.adapters.ledger import Ledger
from orchestrator.adapters.ledger_snapshot import Snapshot
from orchestrator.adapters.objects import EMPTY_TREE, Entry, Objects
from orchestrator.adapters.run_folder import RunFolder, read_spec
from orchestrator.adapters.run_values import RunSpec
from orchestrator.core.board import IN_BACKLOG
from orchestrator.core.config import Project
from orchestrator.core.ids import is_job_id
from orchestrator.core.job import Job, State
from orchestrator.core.schedule import Board, ProjectView
from orchestrator.engine.agents import view_agents
from orchestrator.engine.bases import view_project
from orchestrator.engine.launch import RunState, state_of
from orchestrator.engine.limits import look_at_spending
from orchestrator.engine.services import read_services
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

SPARE = 1_000
"""So many needs of jobs that are gone are kept, and at most as many again as there were, before all is begun anew."""
_CLOSED_DEPTH = 5
"""How deep in `closed/` the folders of jobs lie."""


@dataclass(slots=True)
class Noted:
    """What is looked up for the jobs that have needs or asked for checks of their base, kept from look to look.

    Nothing here is more than a memory: a new one comes to the same.
    """

    ended: Mapping[str, State] = field(default_factory=dict)
    """How the jobs ended that open ones need. Replaced when that changes, and never changed itself."""
    _asked: dict[str, State | None] = field(default_factory=dict)
    """The same, with those that have not ended or are unknown."""
    _rechecks: dict[str, tuple[str, str]] = field(default_factory=dict)
    """For each job that asked for it: on which project the checks are to be run again, and when it was asked."""
    _tip: str = ""
    _root: str = EMPTY_TREE
    _most: int = 0

    def update(self, ledger: Ledger, shown: Snapshot) -> None:
        """Take in what has changed in the ledger. Raises LedgerError."""
        if shown.tip == self._tip:
            return
        changed = ledger.changed_since(self._tip)
        is_new = changed is None or len(self._asked) > self._most
        if is_new:
            self._tip, self._root = "", shown.root
            self.ended, self._asked, self._rechecks = {}, {}, {}
        stale = self._asked.keys() & _ended_between(ledger.objects, self._root, shown.root)
        for id_ in shown.noted if is_new or changed is None else changed:
            job = shown.noted.get(id_)
            self._note_recheck(id_, job)
            # A job that asks about what it needs is looked at as well: the question goes when that has come.
            if job is not None and (job.state in IN_BACKLOG or job.at.stuck):
                stale |= {*job.spec.needs, *job.at.needs.values()} - self._asked.keys()
        self._look_up(ledger, shown.root, stale)
        if is_new:
            self._most = 2 * len(self._asked) + SPARE
        self._tip, self._root = shown.tip, shown.root

    def _look_up(self, ledger: Ledger, root: str, ids: Iterable[str]) -> None:
        is_other = False
        for id_ in ids:
            closed = ledger.closed(id_, root) if is_job_id(id_) else None
            state = closed.job.state if closed is not None else None
            is_other |= state is not self._asked.get(id_)
            self._asked[id_] = state
        if is_other:
            self.ended = {id_: state for id_, state in self._asked.items() if state is not None}

    def _note_recheck(self, id_: str, job: Job | None) -> None:
        self._rechecks.pop(id_, None)
        if job is not None and job.at.recheck:
            self._rechecks[id_] = (job.at.project, job.at.recheck)

    def newest_recheck(self, project: str) -> str:
        """When somebody last asked for the checks to be run on a project's base; '' if nobody did."""
        return max((asked for name, asked in self._rechecks.values() if name == project), default="")


def look(
    ws: Workspace,
    *,
    history: Mapping[str, Mapping[str, int]] | None = None,
    stopping: bool = False,
    since: str = "",
    noted: Noted | None = None,
    broken: str = "",
) -> Board:
    """The board as it is now. `since`: the version of the board for which it is to say what has changed.

    `noted` is what was kept from the look before; without it the same comes out, later. `broken` as on the board.
    """
    shown = ws.ledger.snapshot()
    noted = noted if noted is not None else Noted()
    noted.update(ws.ledger, shown)
    active = [folder.job for folder in shown.active]
    return Board(
        jobs=shown.jobs,
        waiting=shown.backlog,
        doing=active,
        version=shown.tip,
        before=since,
        changed=ws.ledger.changed_since(since),
        config=ws.config,
        projects={
            name: _view(ws, each, noted.newest_recheck(name))
            for name, each in ws.config.projects.items()
            if name in shown.projects
        },
        agents=view_agents(ws)[0],
        ended=noted.ended,
        history=history or {},
        services=read_services(ws),
        occupied=_occupied(ws, {job.at.run for job in active}),
        stopping=stopping,
        broken=broken,
        spending=look_at_spending(ws, shown),
    )


def _view(ws: Workspace, project: Project, recheck: str) -> ProjectView:
    # What is wrong with one project holds its jobs, and no others.
    try:
        return view_project(ws, project, recheck=recheck)
    except (OrcError, OSError) as error:
        return ProjectView(project, problem=error.message if isinstance(error, OrcError) else str(error))


def _occupied(ws: Workspace, named: set[str]) -> frozenset[str]:
    """Agents whose trees a run still uses that the ledger no longer names."""
    if not ws.paths.runs.is_dir():
        return frozenset()
    left = [RunFolder(path) for path in ws.paths.runs.iterdir() if path.name not in named]
    specs = [_spec_of(place) for place in left if state_of(place) is RunState.ALIVE]
    return frozenset(spec.agent for spec in specs if spec is not None and spec.agent)


def _spec_of(place: RunFolder) -> RunSpec | None:
    try:
        return read_spec(place)
    except OrcError:
        return None


def _ended_between(objects: Objects, old: str, new: str) -> set[str]:
    """The jobs that differ among the ended ones of two commits of the ledger: they ended, or were tried again."""
    before, after = (_oid(objects.find(root, "closed")) for root in (old, new))
    return set(_differing(objects, before, after, _CLOSED_DEPTH)) if before != after else set()


def _oid(entry: Entry | None) -> str:
    return entry.oid if entry is not None else EMPTY_TREE


def _differing(objects: Objects, old: str, new: str, depth: int) -> Iterator[str]:
    was, now = objects.tree(old), objects.tree(new)
    for name in was.keys() | now.keys():
        before, after = was.get(name), now.get(name)
        if before == after or name == "ids":
            continue
        if depth == 1:
            yield name
        else:
            yield from _differing(objects, _oid(before), _oid(after), depth - 1)
