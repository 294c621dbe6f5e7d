"""Services: what the ledger says of those behind backends is worked out again from the runs that ended.

Which steps say something of a service follows from the ledger alone, and so does what comes of it, but for two things
that orc.yaml says: how many runs are configured, which the commit names, and which backends have the same key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from orchestrator.adapters.audit_chain import Commit, Records, Store
from orchestrator.adapters.audit_rules import Finding, Rule, Step, clean_name, differ, show
from orchestrator.adapters.ledger_paths import SERVICES, service_path
from orchestrator.adapters.ledger_text import one_line
from orchestrator.core.service import (
    Ended,
    Service,
    after_run,
    after_run_elsewhere,
    bounded,
    ended_by,
    reopened,
    told_of_bound,
    told_of_change,
    trailers_of,
    use_of,
)
from orchestrator.core.times import iso
from orchestrator.core.transitions import Actor, ActorKind

_PATH = re.compile(rf"{SERVICES}/(?P<backend>[^/]+)\.yaml\Z")
_ANY = 1_000_000
"""Whether anything changes does not depend on how many runs are configured."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """The run that a step of a job ended."""

    run: Ended
    parent: str
    """The commit before the step."""
    must: bool
    """A commit about its service has to follow."""


def services_in(paths: Iterable[str]) -> list[str]:
    """The backends of whose services something is among these paths."""
    return sorted(found["backend"] for path in paths if (found := _PATH.match(path)))


def spoken_by(step: Step) -> Spoken | None:
    """What a step says of a service; None if nothing. Raises OrcError."""
    run = ended_by(step.event, step.before, step.after, step.new.get)
    if run is None:
        return None
    store, root = step.new.store, step.commit.tree
    known, parent = _service_at(store, root, run.worker.backend), step.commit.parents[0]
    # All open jobs are looked at for it: only where it matters.
    used = _in_use(store, parent, run.worker.backend) if known.limit else 0
    is_other = after_run(known, run, most=_ANY, used=used) != known
    # Before there was such a record of any service, nobody counted.
    is_new = step.at.unserved > step.was.unserved or store.find(root, SERVICES) is not None
    return Spoken(run, parent, must=is_other and is_new)


def not_counted(spoken: Spoken) -> Finding:
    """A run that says something of its service, and that nobody has counted."""
    run = spoken.run
    return Rule.SERVICE, f"says nothing of the service behind {run.worker.backend}, though {run.run} went {run.went}"


def judge_service(
    store: Store, commit: Commit, parent: Commit, paths: Iterable[str], spoken: Spoken | None, *, sure: bool
) -> Iterator[Finding]:
    """A commit about services says what follows from the step before it, that a person has one tried at once, or that a
    pause which a clock that was ahead began is no longer than one can be.

    `sure`: whether `spoken` is known; it is not for the first commit after those that are believed.
    """
    paths = set(paths)
    backends = services_in(paths)
    for path in sorted(paths - {service_path(name) for name in backends}):
        yield Rule.SERVICE, f"changes {path} beside services"
    is_by_person = Actor(commit.author.name).kind is ActorKind.HUMAN
    if is_by_person or commit.trailer("Went") is None:
        if spoken is not None and spoken.must:
            yield not_counted(spoken)
        judge = _judge_reopened if is_by_person else _judge_bounded
        yield from judge(store, commit, parent, backends)
    elif spoken is not None:
        yield from _judge_counted(store, commit, parent, backends, spoken)
    elif sure:
        yield Rule.SERVICE, f"changes what is known of {', '.join(backends)}, but no run ended in the step before"


def _judge_reopened(store: Store, commit: Commit, parent: Commit, backends: list[str]) -> Iterator[Finding]:
    if len(backends) != 1:
        yield Rule.SERVICE, f"opens {len(backends)} services"
    for name in backends:
        was, now = _service_at(store, parent.tree, name), _service_at(store, commit.tree, name)
        yield from _compare(name, now, reopened(was))
        yield from differ(Rule.MESSAGE, "its subject", commit.subject, f"service: {name} is to be tried at once")
    if clean_name(commit.trailer("Actor") or "") != commit.author.name:
        yield Rule.ACTOR, f"says that {commit.trailer('Actor')} did it, but its author is {commit.author.name}"


def _judge_bounded(store: Store, commit: Commit, parent: Commit, backends: list[str]) -> Iterator[Finding]:
    at = iso(datetime.fromtimestamp(commit.committer.seconds, UTC))
    for name in backends:
        wanted = bounded(_service_at(store, parent.tree, name), at)
        yield from _compare(name, _service_at(store, commit.tree, name), wanted)
        yield from differ(Rule.MESSAGE, "its subject", commit.subject, f"service: {name} {told_of_bound(wanted)}"[:200])


def _judge_counted(
    store: Store, commit: Commit, parent: Commit, backends: list[str], spoken: Spoken
) -> Iterator[Finding]:
    run, own = spoken.run, spoken.run.worker.backend
    said = commit.trailer("Most") or ""
    if not re.fullmatch("[1-9][0-9]{0,6}", said):
        yield Rule.SERVICE, f"does not say how many runs at once are configured, but {show(said)}"
        return
    used = _in_use(store, spoken.parent, own)
    first = own if own in backends else backends[0]
    for name in dict.fromkeys((own, *backends)):
        was, now = _service_at(store, parent.tree, name), _service_at(store, commit.tree, name)
        is_own = name == own
        wanted = after_run(was, run, most=int(said), used=used) if is_own else after_run_elsewhere(was, run)
        yield from _compare(name, now, wanted)
        if name == first:
            told = one_line(f"service: {name} {told_of_change(was, wanted)}")[:200]
            yield from differ(Rule.MESSAGE, "its subject", commit.subject, told)
    trailers = tuple((key, one_line(value)) for key, value in (*trailers_of(run, used), ("Most", said)))
    yield from differ(Rule.MESSAGE, "its trailers", commit.trailers, trailers)


def _compare(name: str, said: Service, wanted: Service) -> Iterator[Finding]:
    for field in fields(Service):
        found = getattr(wanted, field.name)
        yield from differ(Rule.SERVICE, f"`{field.name}` of {name}", getattr(said, field.name), found)


def _service_at(store: Store, root: str, backend: str) -> Service:
    path = service_path(backend)
    entry = store.find(root, path)
    return store.record(Service, entry, path) if entry is not None else Service(backend)


def _in_use(store: Store, commit: str, backend: str) -> int:
    """How many runs there were on a service at a commit. Raises OrcError."""
    place = store.find(store.commit(commit).tree, "open")
    buckets = store.tree(place.oid).values() if place is not None else ()
    folders = (each.oid for bucket in buckets for each in store.tree(bucket.oid).values())
    jobs = (Records(store, entries=store.tree(oid)).job() for oid in folders)
    uses = (use_of(job) for job in jobs if job is not None)
    return sum(use is not None and use.is_run and use.backend == backend for use in uses)
