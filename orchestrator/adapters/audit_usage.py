"""What runs used: each sum on the ledger is worked out again from the step that counts it. Reads the ledger only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TypeVar

from orchestrator.adapters.audit_chain import Commit, Records, Store
from orchestrator.adapters.audit_rules import Finding, Rule, Step, differ
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.board import IN_BACKLOG
from orchestrator.core.job import Job, State
from orchestrator.core.limits import Pressure, is_engaged, live_runs
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.sessions import Session
from orchestrator.core.tally import Estimate
from orchestrator.core.times import iso
from orchestrator.core.transitions import Event
from orchestrator.core.usage import (
    DAY_PATH,
    PRESSURE_PATH,
    WINDOW_PATH,
    Charge,
    Day,
    Learned,
    Window,
    add_to_day,
    add_to_learned,
    add_to_window,
    charge_of,
    estimate,
    learned_path,
    prompt_tokens,
    reserve,
    what_of,
)

T = TypeVar("T")
_STARTS = (Event.START, Event.REVIEW)
PRESSURE = "pressure"
"""The first word of a commit about the last minutes."""


def is_usage(path: str) -> bool:
    """Whether a file of the ledger is about what runs used, and changes with the step that ends one."""
    return path.startswith("usage/")


def check_usage(step: Step) -> Iterator[Finding]:
    """What is set aside for a run is what was expected of it; when it ends, it is counted once and nowhere else."""
    if step.event in _STARTS:
        yield from _check_reserved(step)
        yield from differ(Rule.USAGE, "what the job has used", step.at.used, step.was.used)
        return
    charge = charge_of(step.before, step.after, step.event, _completed(step)) if step.before is not None else None
    if charge is None:
        yield from differ(Rule.USAGE, "what is set aside", step.at.reserved, step.was.reserved)
        yield from differ(Rule.USAGE, "what the job has used", step.at.used, step.was.used)
        return
    yield from differ(Rule.USAGE, "what is set aside", step.at.reserved, None)
    yield from differ(Rule.USAGE, "what the job has used", step.at.used, step.was.used.plus(charge.tally))


def _check_reserved(step: Step) -> Iterator[Finding]:
    record = _begun(step)
    expected = record.estimate if record is not None else None
    if record is None or expected is None:
        yield from differ(Rule.USAGE, "what is set aside", step.at.reserved, None)
        store = step.new.store
        if record is not None and store.find(store.commit(step.commit.parents[0]).tree, "usage") is not None:
            yield Rule.USAGE, "begins a run without a word of what it is expected to use, though runs are counted"
        return
    yield from differ(Rule.USAGE, "what is set aside", step.at.reserved, reserve(record))
    is_review = isinstance(record, ReviewRecord)
    worker = record.reviewer if isinstance(record, ReviewRecord) else record.worker
    learned = _before(step, Learned, learned_path(what_of(step.after, review=is_review), worker.model))
    context = _context(step, record)
    found = estimate(learned, prompt_tokens(record.parts), context)
    if not (learned and learned.costs):
        # Nothing was known but the price, which is not on the ledger.
        found = Estimate(found.tokens, max(0, expected.microusd), *_rest(found))
    yield from differ(Rule.USAGE, "what the run is expected to use", expected, found)


def _rest(found: Estimate) -> tuple[int, int, int, float, int]:
    return (found.prompt, found.context, found.beyond, found.ratio, found.learned)


def _context(step: Step, record: Attempt | ReviewRecord) -> int:
    if not isinstance(record, Attempt) or not record.resumed:
        return 0
    session = _at(step, step.commit.tree, Session, f"workers/{record.worker.agent}/{step.at.project}.yaml")
    return session.context if session is not None else 0


def _begun(step: Step) -> Attempt | ReviewRecord | None:
    if step.event is Event.START:
        return step.new.get(Attempt, step.at.attempt)
    return step.new.get(ReviewRecord, step.at.review)


def _completed(step: Step) -> Attempt | ReviewRecord | None:
    """The record of the run that ends, if the step completes it."""
    kind: type[Attempt] | type[ReviewRecord]
    was_running = step.before is not None and step.before.state is State.RUNNING
    kind, number = (Attempt, step.was.attempt) if was_running else (ReviewRecord, step.was.review)
    found = step.new.get(kind, number)
    return found if found is not None and found != step.old.get(kind, number) else None


def check_counted(step: Step, paths: set[str]) -> Iterator[Finding]:
    """The files of the ledger in which a run is counted, of which `paths` change with the step."""
    charge = charge_of(step.before, step.after, step.event, _completed(step)) if step.before is not None else None
    days = {path for path in paths if DAY_PATH.match(path)}
    wanted = _wanted(step, charge, days) if charge is not None else {}
    for path in sorted(paths - wanted.keys()):
        yield Rule.USAGE, f"changes {path}, in which it counts nothing"
    for path, (kind, found) in sorted(wanted.items()):
        yield from differ(Rule.USAGE, f"what is counted in {path}", _at(step, step.commit.tree, kind, path), found)
    if charge is not None and len(days) != 1:
        yield Rule.USAGE, f"counts its run in {len(days)} days"
    for path in days:
        yield from _check_day(step, path)


def _wanted(step: Step, charge: Charge, days: set[str]) -> dict[str, tuple[type[object], object]]:
    at = step.commit.committer.seconds
    window = add_to_window(_before(step, Window, WINDOW_PATH) or Window(), charge, at)
    found: dict[str, tuple[type[object], object]] = {WINDOW_PATH: (Window, window)}
    for path in days:
        found[path] = (Day, add_to_day(_before(step, Day, path) or Day(), charge))
    if charge.learned is not None:
        path = learned_path(charge.learned.what, charge.learned.model)
        if (learned := add_to_learned(_before(step, Learned, path), charge)) is not None:
            found[path] = (Learned, learned)
    return found


def _check_day(step: Step, path: str) -> Iterator[Finding]:
    """In which time zone a day ends is not on the ledger, but none is further away than the next day."""
    found = DAY_PATH.match(path)
    assert found is not None
    try:
        said = date(*map(int, found.groups()))
    except ValueError:
        yield Rule.USAGE, f"counts its run in {path}, which is no day"
        return
    now = datetime.fromtimestamp(step.commit.committer.seconds, UTC).date()
    if abs((said - now).days) > 1:
        yield Rule.USAGE, f"counts its run in {path}, but it ended on {now}"


def judge_pressure(store: Store, commit: Commit, parent: Commit, paths: set[str]) -> Iterator[Finding]:
    """What is said of the last minutes is what the ledger had of them, and the state changes with it."""
    for path in sorted(paths ^ {PRESSURE_PATH}):
        yield Rule.USAGE, f"{'changes' if path in paths else 'does not change'} {path}"
    was, now = (_read(store, commit.tree, Pressure, PRESSURE_PATH) for commit in (parent, commit))
    if now is None:
        yield Rule.USAGE, f"removes {PRESSURE_PATH}"
        return
    seconds, root = commit.committer.seconds, parent.tree
    window = (_read(store, root, Window, WINDOW_PATH) or Window()).used(seconds)
    jobs = list(_open_jobs(store, root))
    used = window + sum(reserved.tokens for _, reserved in live_runs(jobs))
    yield from differ(Rule.USAGE, "the tokens in five minutes", now.used, used)
    yield from differ(Rule.TIME, "since when it is so", now.since, iso(datetime.fromtimestamp(seconds, UTC)))
    if now.ready > sum(job.state in IN_BACKLOG for job in jobs):
        yield Rule.USAGE, f"says that {now.ready} jobs are ready, but not so many are open"
    before = was is not None and was.engaged
    if now.engaged is before or is_engaged(before, used, now.budget or None, now.ready, now.slots) is before:
        yield Rule.USAGE, f"says {'that only a P0 begins' if now.engaged else 'that all begin again'}, which is not so"


def _open_jobs(store: Store, root: str) -> Iterator[Job]:
    place = store.find(root, "open")
    buckets = store.tree(place.oid).values() if place is not None else ()
    for entry in (each for bucket in buckets for each in store.tree(bucket.oid).values()):
        job = Records(store, entries=store.tree(entry.oid)).job()
        if job is not None:
            yield job


def _before(step: Step, kind: type[T], path: str) -> T | None:
    store = step.new.store
    return _at(step, store.commit(step.commit.parents[0]).tree, kind, path)


def _at(step: Step, root: str, kind: type[T], path: str) -> T | None:
    return _read(step.new.store, root, kind, path)


def _read(store: Store, root: str, kind: type[T], path: str) -> T | None:
    entry = store.find(root, path)
    return store.record(kind, entry, path) if entry is not None else None
