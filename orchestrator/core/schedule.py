"""What to do next. `decide` looks at a snapshot of everything and returns actions; it touches nothing.

Order of service: what is nearest to done first (land, merge, judge, check), then new attempts by lane, priority and
age. One attempt at a time for each agent; one merge at a time for each target branch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from datetime import datetime

from orchestrator.core.actions import (
    Action,
    ApplyDefault,
    Ask,
    BaseMended,
    BuildMerge,
    CheckBase,
    Freed,
    Gather,
    Hold,
    JobAction,
    Land,
    Release,
    Remind,
    SetPressure,
    Stand,
    StartAttempt,
    StartChecks,
    StartReview,
    StartRoutine,
    WatchLanding,
)
from orchestrator.core.backlog import AGEING_S, Backlog, Order
from orchestrator.core.board import (
    AgentView,
    BaseState,
    Board,
    ProjectView,
    age,
    oldest_first,
    run_kind,
    terms_of,
    unheld,
)
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Job, Priority, State
from orchestrator.core.limits import Book, Scope, is_engaged, live_runs
from orchestrator.core.matching import Matching
from orchestrator.core.needs import Holds
from orchestrator.core.records import CardKind
from orchestrator.core.skills import tokens_of
from orchestrator.core.step import is_due
from orchestrator.core.suspicion import is_extra
from orchestrator.core.tally import Reservation
from orchestrator.core.times import iso
from orchestrator.core.usage import estimate, learned_path, what_of
from orchestrator.core.waits import needs_reminder

__all__ = [
    "AGEING_S",
    "Action",
    "AgentView",
    "ApplyDefault",
    "Ask",
    "BaseMended",
    "BaseState",
    "Board",
    "BuildMerge",
    "CheckBase",
    "Freed",
    "Gather",
    "Hold",
    "JobAction",
    "Land",
    "ProjectView",
    "Release",
    "Remind",
    "SetPressure",
    "Stand",
    "StartAttempt",
    "StartChecks",
    "StartReview",
    "StartRoutine",
    "WatchLanding",
    "decide",
    "terms_of",
]


def decide(board: Board, now: datetime, backlog: Backlog | None = None) -> tuple[Action, ...]:
    """Every action that is due now, in the order in which to perform them.

    `backlog` is what was kept from the decision before; without it the same comes out, later.
    """
    backlog = backlog if backlog is not None else Backlog()
    matching = Matching(board, now)
    looked = backlog.look(board, now, Holds(board, now, matching))
    if board.broken:
        # What waits to start is told why; all else stays as it is until there are gates again that can judge it.
        return tuple(looked)
    pressure = _pressure(board, backlog.ready)
    actions: list[Action] = [pressure] if pressure is not None else []
    actions += _landings(board, now, matching)
    collected = oldest_first(unheld(board), State.COLLECTED)
    actions += [Gather(job.id) for job in collected if is_due(job.at.not_before, now)]
    actions += _checks(board, now)
    red = list(_red_bases(board))
    asking = {action.job for action in red if isinstance(action, Ask)}
    attempts = _Attempts(board, backlog, asking, matching, pressure)
    actions += _reviews(board, now, attempts, matching)
    actions += red
    actions += _expired(board, now)
    settled = {action.job for action in (*actions, *looked) if isinstance(action, ApplyDefault | Freed)}
    late = (job for job in board.active if needs_reminder(job, now) and job.id not in settled)
    actions += [Remind(job.id) for job in sorted(late, key=age)]
    actions += [action for action in looked if action.job not in asking]
    actions += attempts.start()
    actions += _routines(board, backlog)
    return tuple(actions)


def _pressure(board: Board, ready: int) -> SetPressure | None:
    """The change of what may begin that follows from the last minutes; None if there is none."""
    was, limits = _was_engaged(board), board.config.execution_limits
    used = Book(limits, board.spending, live_runs(board.active), engaged=was).in_window
    is_now = is_engaged(was, used, limits.window_tokens, ready, board.config.slots)
    return SetPressure(is_now, ready) if is_now is not was else None


def _was_engaged(board: Board) -> bool:
    return board.spending.pressure is not None and board.spending.pressure.engaged


def _landings(board: Board, now: datetime, matching: Matching) -> Iterable[Action]:
    """Land what is checked; build the next merge only where nothing else is between build and landing."""
    jobs = unheld(board)
    busy: set[tuple[str, str]] = set()
    # Of what is held only this is looked up: whether it was on the target already when somebody held it.
    yield from (Land(job.id) for job in oldest_first(board.active, State.LANDING) if job.is_held)
    for job in oldest_first(jobs, State.LANDING):
        if (where := _target(board, job)) not in busy:
            busy.add(where)
            if is_due(job.at.not_before, now):
                yield Land(job.id)
    merging = oldest_first(jobs, State.MERGING)
    busy |= {_target(board, job) for job in merging if job.at.merged or job.at.run}
    for job in merging:
        if not (job.at.merged or job.at.run) and is_due(job.at.not_before, now):
            if (where := _target(board, job)) in busy:
                continue
            busy.add(where)
            # Its author has the first go at a conflict; only the second goes to somebody else.
            yield BuildMerge(job.id, matching.heir(job) if job.at.conflicts == 1 else "")
    yield from _watched(board, jobs)


def _watched(board: Board, jobs: Iterable[Job]) -> Iterable[WatchLanding]:
    """Of the landings that are blocked, one for each target: the others stand on it, and land when it has landed."""
    blocked = [job for job in jobs if job.state is State.DECIDE and job.at.merged and job.at.approved]
    # They were built on each other in the order in which they were blocked, which is not that of their age.
    first: dict[tuple[str, str], Job] = {}
    for job in sorted(blocked, key=lambda job: (job.at.since, *age(job))):
        first.setdefault(_target(board, job), job)
    return [WatchLanding(job.id) for job in first.values()]


def _red_bases(board: Board) -> Iterable[Action]:
    """One question for each red base, however many jobs it holds; it is taken back when the base is mended."""
    for job in oldest_first(board.active, State.DECIDE):
        view = board.projects.get(job.at.project)
        if job.at.asked_base and view is not None and _is_mended(view, job.at.asked_base):
            yield BaseMended(job.id)
    for name, view in board.projects.items():
        if not view.is_red:
            continue
        # Nearly always the question stands, and then the many that wait are not looked at.
        if any(job.at.asked_base == view.commit and job.at.project == name for job in board.active):
            continue
        jobs = [job for job in board.jobs.values() if job.at.project == name]
        if any(job.at.asked_base == view.commit for job in jobs):
            continue
        held = [job for job in jobs if not (job.spec.repairs_base or job.is_held)]
        held = oldest_first(held, State.READY, State.WAITING)
        if held:
            jobs_held = f"{len(held)} job{'s' * (len(held) != 1)}"
            told = "could not be checked" if view.could_not_run else "is red"
            question = f"The base of {name} {told} at {view.commit[:12]}, which holds {jobs_held}. What now?"
            way_out = f"Mend {view.project.target}, or submit a job with `repairs_base: true`."
            if view.could_not_run:
                way_out = "Put right what kept them from running; they are tried again from time to time."
            yield Ask(held[0].id, CardKind.BASE_RED, question, f"{view.why_red}\n{way_out}", base=view.commit)


def _routines(board: Board, backlog: Backlog) -> Iterable[Action]:
    """One after the other, beside all else: none asks a model, and none takes a slot from what does."""
    is_busy = any(run_kind(job) is RunKind.ROUTINE for job in board.active)
    if board.stopping or is_busy or (job := backlog.next_routine()) is None:
        return
    yield _over_ceiling(board, job) or StartRoutine(job.id)


def _expired(board: Board, now: datetime) -> Iterable[ApplyDefault]:
    """Questions that nobody has answered in time, and for which somebody has named a default."""
    stamp = iso(now)
    due = (job for job in unheld(board) if job.at.expires and job.at.expires <= stamp)
    return [ApplyDefault(job.id) for job in oldest_first(due, State.DECIDE)]


def _is_mended(view: ProjectView, asked_base: str) -> bool:
    """Whether it is known that the base which somebody was asked about is red no more."""
    if view.problem:
        return False
    return view.base in (BaseState.GREEN, BaseState.NO_CHECKS) or view.commit != asked_base


def _target(board: Board, job: Job) -> tuple[str, str]:
    return (job.at.project, terms_of(board, job).target)


def _checks(board: Board, now: datetime) -> Iterable[Action]:
    """Checks of merged trees first, then of attempts, then of bases."""
    free = board.config.check_slots - sum(run_kind(job) in (RunKind.CHECKS, RunKind.MERGE) for job in board.active)
    free -= sum(view.base is BaseState.RUNNING for view in board.projects.values())
    due = [
        job
        for job in unheld(board)
        if (job.state is State.CHECKING or (job.state is State.MERGING and job.at.merged))
        and not job.at.run
        and is_due(job.at.not_before, now)
    ]
    for job in sorted(due, key=lambda each: (each.state is State.CHECKING, each.priority, *age(each))):
        if not terms_of(board, job).checks:
            yield StartChecks(job.id)  # It comes to a result at once: no run, no slot, no start.
        elif over := _over_ceiling(board, job):
            yield over
        elif free > 0 and not board.stopping:
            free -= 1
            yield StartChecks(job.id)
    for name, view in board.projects.items():
        is_open = view.base is BaseState.UNKNOWN and not view.problem
        if is_open and free > 0 and not board.stopping and _waits_for_base(board, name):
            free -= 1
            yield CheckBase(name)


def _waits_for_base(board: Board, project: str) -> bool:
    jobs = [*board.backlog.values(), *(job for job in oldest_first(board.active, State.DECIDE) if job.at.asked_base)]
    return any(job.at.project == project and not (job.spec.repairs_base or job.is_held) for job in jobs)


UNLANDED_PER_SLOT = 4
LEAST_UNLANDED = 8
"""No new job of a project is begun while so many of it, or so many for each slot, are on their way from an attempt to
the target: work that waits to land grows stale, and each merge makes the ones behind it dearer."""
_UNLANDED = (State.COLLECTED, State.CHECKING, State.REVIEWING, State.MERGING, State.LANDING)


class _Slots:
    """Slots and agents that are taken, counted up as actions are decided."""

    def __init__(self, board: Board, book: Book) -> None:
        self._board, self.book = board, book
        self._capped: frozenset[str] | None = None
        self._unlanded = Counter(job.at.project for job in unheld(board) if job.state in _UNLANDED)
        self._most_unlanded = max(LEAST_UNLANDED, UNLANDED_PER_SLOT * board.config.slots)
        runs = [job for job in board.active if run_kind(job) in (RunKind.ATTEMPT, RunKind.REVIEW)]
        self.slots, self.used = board.config.slots, len(runs)
        self.background = sum(job.priority >= Priority.P3 for job in runs)
        self.busy = {job.at.agent for job in runs if run_kind(job) is RunKind.ATTEMPT} | board.occupied

    def take(self, job: Job, agent: str, *, review: bool = False) -> None:
        """A run of this job, by this agent, is decided."""
        self.used += 1
        self.background += job.priority >= Priority.P3
        if not review:
            self.busy.add(agent)
        self.book.take(job.at.project, self._expected(job, agent, review=review))
        self._capped = None

    def _expected(self, job: Job, agent: str, *, review: bool) -> Reservation:
        """About what will be set aside: of its prompt only what the job itself says is known by now."""
        model, spending = self._board.agents[agent].model, self._board.spending
        known = self._board.config.models.get(model)
        learned = spending.learned.get(learned_path(what_of(job, review=review), model))
        expected = estimate(learned, tokens_of(job.spec.prompt), price=known.price if known else None)
        return Reservation(agent, expected.tokens, expected.microusd)

    @property
    def capped(self) -> frozenset[str]:
        """The agents that have reached a limit of theirs."""
        if self._capped is None:
            refused = (name for name in self._board.agents if self.book.refusal(Scope.AGENT, name))
            self._capped = frozenset(refused)
        return self._capped

    def is_behind(self, job: Job) -> bool:
        """Whether a job is to wait until more of its project's work has landed. What was begun or is urgent is not."""
        if job.at.attempt or job.priority <= Priority.P1:
            return False
        return self._unlanded[job.at.project] >= self._most_unlanded

    def keeps_last_for_background(self, job: Job) -> bool:
        """With three slots or more: whether this job would take the last one, and nothing of the background runs."""
        is_last = self.used == self.slots - 1
        return self.slots >= 3 and is_last and not self.background and job.priority < Priority.P3

    def free_for(self, job: Job) -> bool:
        """A slot, or, when all are taken, the one more that is kept for a person's P0."""
        if self.used < self.slots:
            return True
        return self.used == self.slots and job.priority is Priority.P0 and job.at.origin == "human"


def _reviews(board: Board, now: datetime, attempts: _Attempts, matching: Matching) -> Iterable[Action]:
    taken = attempts.taken
    waiting = oldest_first(unheld(board), State.REVIEWING)
    for job in sorted(waiting, key=lambda each: each.priority):
        if job.at.run:
            continue
        if is_extra(job) and (why := _why_no_second(board, job)):
            yield Stand(job.id, why)
            continue
        if not is_due(job.at.not_before, now):
            continue
        action = _over_ceiling(board, job, review=True) or matching.reviewer(job, taken.capped)
        if isinstance(action, Ask | Stand):
            yield action
        elif action is not None and taken.free_for(job) and not (board.stopping or taken.book.refusal_of(job)):
            yield from attempts.start_share(job)
            # That may have taken the last slot, or reached a limit, or what its reviewer's service has room for.
            may = taken.free_for(job) and action.reviewer not in taken.capped and not taken.book.refusal_of(job)
            if may and matching.has_room(action.reviewer):
                taken.take(job, action.reviewer, review=True)
                matching.note_review(action.reviewer)
                yield action


def _why_no_second(board: Board, job: Job) -> str:
    """Why there is no second review of work whose approval was drawn; '' if there may be one.

    It is tried once. A draw never keeps work waiting and never becomes a question.
    """
    if job.at.crashes or job.at.failed_starts:
        return f"it could not be made: {job.at.reason}"
    over = _over_ceiling(board, job, review=True)
    return "no more starts or reviews are granted" if over is not None else ""


def _over_ceiling(board: Board, job: Job, *, review: bool = False) -> Ask | None:
    """The durable ceilings, which hold whatever loops."""
    agreed = terms_of(board, job)
    if job.at.starts - job.at.unserved >= agreed.starts:
        question = f"{job.id} has used all of its {agreed.starts} starts. Grant another set?"
        return Ask(job.id, CardKind.CEILING, question)
    if review and job.at.review - job.at.unserved_reviews >= agreed.reviews:
        question = f"{job.id} has used all of its {agreed.reviews} reviews. Grant another set?"
        return Ask(job.id, CardKind.CEILING, question)
    used = job.at.used
    if agreed.tokens is not None and used.tokens >= agreed.tokens:
        question = f"{job.id} has used {used.tokens:,} tokens, of {agreed.tokens:,}. Grant another set?"
        return Ask(job.id, CardKind.CEILING, question)
    if agreed.microusd is not None and used.microusd >= agreed.microusd:
        cost, most = used.microusd / 1_000_000, agreed.microusd / 1_000_000
        question = f"{job.id} has cost {cost:,.2f} US dollars, of {most:,.2f}. Grant another set?"
        return Ask(job.id, CardKind.CEILING, question)
    return None


class _Attempts:
    """The attempts that one decision starts."""

    def __init__(
        self, board: Board, backlog: Backlog, asking: Set[str], matching: Matching, pressure: SetPressure | None
    ) -> None:
        self._board, self._backlog, self._matching = board, backlog, matching
        self._asking = set(asking)
        is_pressed = pressure.engaged if pressure is not None else _was_engaged(board)
        limits = board.config.execution_limits
        self.taken = _Slots(board, Book(limits, board.spending, live_runs(board.active), engaged=is_pressed))
        self._started: set[str] = set()

    def start(self) -> Iterable[Action]:
        """Start all that can be started, in the order of service."""
        if self._board.stopping:
            return
        order = self._backlog.in_order()
        for job in order:
            yield from self.start_share(job)
            if job.id in self._started:
                continue
            if not self.taken.free_for(job):
                if job.priority > Priority.P0:
                    return
                continue
            yield from self._start(job, order)

    def start_share(self, job: Job) -> Iterable[Action]:
        """Before `job` takes the last free slot: that goes to the background lane, if something of it can start and
        nothing of it runs."""
        if not self.taken.keeps_last_for_background(job):
            return
        order, number = self._backlog.in_order(low=True), len(self._started)
        for each in order:
            yield from self._start(each, order)
            if len(self._started) > number:
                break
        self.taken.background = max(
            self.taken.background, 1
        )  # Tried once: if nothing could start, the slot is anybody's.

    def _start(self, job: Job, order: Order) -> Iterable[Action]:
        """Start a job if it can be; if none like it can, the rest of its line is left out."""
        if job.id in self._asking or job.id in self._started:
            return
        if self.taken.is_behind(job) or self.taken.book.refusal_of(job):
            order.drop_line()
            return
        if over := _over_ceiling(self._board, job):
            self._asking.add(job.id)
            yield over
            return
        base = self._board.projects[job.at.project].base
        is_known = base not in (BaseState.UNKNOWN, BaseState.RUNNING) or job.spec.repairs_base
        chosen = self._matching.worker(job, self.taken.busy | self.taken.capped) if is_known else None
        if chosen is None:
            order.drop_line()
            return
        self.taken.take(job, chosen[0])
        self._matching.note_attempt(chosen[0])
        self._started.add(job.id)
        yield StartAttempt(job.id, *chosen)
