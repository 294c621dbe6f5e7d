"""The limits in force: what the ledger has of what was used, what may not begin because of it, and the last minutes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from orchestrator.adapters.days import day_and_end
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_snapshot import Snapshot
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.core.board import AgentView, Board
from orchestrator.core.job import Job, State
from orchestrator.core.limits import Book, Pressure, Refusal, Scope, Spending, live_runs, turn_of
from orchestrator.core.matching import Matching, fits
from orchestrator.core.schedule import SetPressure
from orchestrator.core.service import until_of
from orchestrator.core.times import iso
from orchestrator.core.usage import LEARNED_FOLDER, PRESSURE_PATH, Learned
from orchestrator.engine.services import read_services
from orchestrator.engine.usage import ReadFile, read_day, read_window
from orchestrator.engine.workspace import Workspace


def look_at_spending(ws: Workspace, shown: Snapshot) -> Spending:
    """What was used lately. What it costs does not depend on the number of jobs, ended or open. Raises LedgerError."""
    now, read = ws.now(), ws.ledger.read_file
    day, end = day_and_end(now, ws.config.execution_limits.tz)
    window = read_window(read).used(int(now.timestamp()))
    return Spending(read_day(read, day), iso(end), window, _learned(ws, shown), read_pressure(read))


def _learned(ws: Workspace, shown: Snapshot) -> Mapping[str, Learned]:
    objects = ws.ledger.objects
    folder = objects.find(shown.root, LEARNED_FOLDER)
    names = objects.tree(folder.oid) if folder is not None else {}
    paths = {f"{LEARNED_FOLDER}/{name}": entry.oid for name, entry in names.items()}
    return {path: parse_record(Learned, objects.read(oid), path) for path, oid in paths.items()}


def read_pressure(read: ReadFile) -> Pressure | None:
    """What was last said of the last minutes; None if nothing was. Raises LedgerError."""
    data = read(PRESSURE_PATH)
    return None if data is None else parse_record(Pressure, data, PRESSURE_PATH)


def set_pressure(ws: Workspace, action: SetPressure) -> str:
    """Put it on the ledger that from now on only a P0 begins, or that all do again. The commit's subject, '' if not so.

    It is worked out once more from what the ledger has at that moment. Raises LedgerError.
    """
    with ws.ledger.writing() as writer:
        now = ws.now()
        live = live_runs(folder.job for folder in writer.start.active)
        used = read_window(writer.read_file).used(int(now.timestamp())) + sum(each.tokens for _, each in live)
        was, limits = read_pressure(writer.read_file), ws.config.execution_limits
        # A person may have given up some of them since they were counted.
        ready = min(action.ready, len(writer.start.backlog))
        pressure = turn_of(was, used, limits, ready, ws.config.slots, iso(now))
        if pressure is None:
            return ""
        filing = Filing(_subject(pressure), {PRESSURE_PATH: format_record(pressure)})
        writer.file(filing, now)
    return filing.subject


def _subject(pressure: Pressure) -> str:
    return f"pressure: {'only a P0 begins' if pressure.engaged else 'over'}, {pressure.told}"


@dataclass(slots=True)
class ToldLimits:
    """The limits that an engine has told of and that still hold."""

    keys: frozenset[tuple[str, str, str]] = frozenset()

    def news(self, board: Board) -> list[str]:
        """What has been reached since the last look. Runs at once are not told of, nor pressure, which tells itself."""
        book = Book(board.config.execution_limits, board.spending, live_runs(board.active), engaged=False)
        reached = book.list_refusals(board.projects, board.agents)
        found = {(each.code, str(each.scope), each.name): each for each in reached if each.code != "at_once"}
        told = [f"limit: {each.told}" for key, each in found.items() if key not in self.keys]
        self.keys = frozenset(found)
        return told


# --- what people are told -----------------------------------------------------------------------------------------


def book_of(ws: Workspace) -> Book:
    """What is used and set aside now. Raises LedgerError."""
    shown = ws.ledger.snapshot()
    spending = look_at_spending(ws, shown)
    engaged = spending.pressure is not None and spending.pressure.engaged
    live = live_runs(folder.job for folder in shown.active)
    return Book(ws.config.execution_limits, spending, live, engaged=engaged)


def list_refusals(ws: Workspace, book: Book) -> list[Refusal]:
    """Every limit that keeps something from beginning now."""
    agents = {*book.spending.day.agents, *book.limits.agents, *(each for _, each in _live_agents(ws))}
    return list(book.list_refusals(ws.config.projects, sorted(agents)))


def _live_agents(ws: Workspace) -> Iterator[tuple[str, str]]:
    jobs = (folder.job for folder in ws.ledger.snapshot().active)
    return ((project, reserved.agent) for project, reserved in live_runs(jobs))


def find_refusal(
    book: Book, job: Job, agents: Mapping[str, AgentView], stand_ins: Iterable[str] = ()
) -> Refusal | None:
    """Which limit keeps a job that is ready, or is to be reviewed, from going on; None if none does, or not surely.

    `stand_ins`: who may take it as well, because the services of the others rest.
    """
    if job.is_held or job.at.run or job.spec.routine or job.state not in (State.READY, State.REVIEWING):
        return None
    if refusal := book.refusal_of(job):
        return refusal
    refused = [book.refusal(Scope.AGENT, name) for name in (*_who_could(job, agents), *stand_ins)]
    return refused[0] if refused and all(refused) else None


def _who_could(job: Job, agents: Mapping[str, AgentView]) -> list[str]:
    """The agents that could take a job further, as far as it is told without looking at everything."""
    if job.state is State.REVIEWING:
        spent = (job.at.author.agent if job.at.author else "", *job.at.excluded)
        reviewers = (name for name, each in agents.items() if "review" in each.soul.roles and not each.unavailable)
        return [name for name in reviewers if name not in spent]
    if named := job.at.given or (job.at.agent if job.at.fixes else "") or job.spec.agent:
        return [named]
    return [name for name, each in agents.items() if fits(each, job) and not each.unavailable_for(job)]


class Reasons:
    """Which limits keep jobs from going on now; for many jobs the same is worked out once."""

    def __init__(self, ws: Workspace, agents: Mapping[str, AgentView]) -> None:
        self._agents, self._book = agents, book_of(ws)
        self.refusals = list_refusals(ws, self._book)
        self._matching = _matching_of(ws) if self.refusals else None

    def of(self, job: Job) -> Refusal | None:
        """As `find_refusal`."""
        if not self.refusals:
            return None
        matching = self._matching if job.state is State.READY else None
        return find_refusal(self._book, job, self._agents, matching.stand_ins(job) if matching is not None else ())


def _matching_of(ws: Workspace) -> Matching | None:
    """Who does what now; None while nothing rests, so that nobody stands in for anybody."""
    if not any(until_of(each) for each in read_services(ws).values()):
        return None
    from orchestrator.engine.look import look  # It looks at this module's spending.

    return Matching(look(ws), ws.now())


def waits_for_a_while(ws: Workspace, jobs: Iterable[Job], agents: Mapping[str, AgentView]) -> bool:
    """Whether one of these is kept from going on by a limit that ends before the day does."""
    refusals = map(Reasons(ws, agents).of, jobs)
    return any(refusal is not None and not refusal.until for refusal in refusals)


def waits_for_tomorrow(ws: Workspace, jobs: Iterable[Job], agents: Mapping[str, AgentView]) -> bool:
    """Whether there are such jobs and each is kept from going on by a limit that holds until the day is over."""
    reasons, is_any = Reasons(ws, agents), False
    for job in jobs if reasons.refusals else ():
        refusal = reasons.of(job)
        if refusal is None or not refusal.until:
            return False
        is_any = True
    return is_any
