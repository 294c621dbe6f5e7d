"""Services: what the ledger knows of those behind backends, what an ended run makes of it, and what people are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial

from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_paths import SERVICES, service_path
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.core.config import Config
from orchestrator.core.service import (
    Ended,
    Service,
    Use,
    bounded,
    reopened,
    told_of_bound,
    told_of_change,
    told_of_rest,
    trailers_of,
    what_to_do,
)
from orchestrator.core.service_load import follow
from orchestrator.core.times import iso
from orchestrator.core.transitions import Actor
from orchestrator.engine.agents import backend_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, RefusedError

ReadFile = Callable[[str], bytes | None]


def read_services(ws: Workspace) -> dict[str, Service]:
    """What is known of each service, by backend. Raises LedgerError. It is asked in every tick: unchanged files are not
    read again."""
    objects = ws.ledger.objects
    folder = objects.find(ws.ledger.snapshot().root, SERVICES)
    if folder is None:
        return {}
    names = objects.tree(folder.oid)
    found = (_parse(objects.read(entry.oid), f"{SERVICES}/{name}") for name, entry in sorted(names.items()))
    return {each.backend: each for each in found}


@lru_cache(maxsize=256)
def _parse(data: bytes, path: str) -> Service:
    return parse_record(Service, data, path)


def service_of(read: ReadFile, backend: str) -> Service:
    """What is known of one service. Raises LedgerError."""
    path = service_path(backend)
    data = read(path)
    return Service(backend) if data is None else _parse(data, path)


def follow_run(read: ReadFile, run: Ended, uses: Iterable[Use], config: Config) -> Filing | None:
    """What an ended run makes of its service, and of those with the same key; None if nothing changes."""
    found = follow(run, uses, partial(service_of, read), config)
    if not found.changed:
        return None
    was, now = next(iter(found.changed.values()))
    trailers = (*trailers_of(run, found.used), ("Most", str(found.most)))
    files = {service_path(name): format_record(each) for name, (_, each) in found.changed.items()}
    return Filing(f"service: {now.backend} {told_of_change(was, now)}"[:200], files, trailers)


def bound_services(ws: Workspace) -> list[str]:
    """Put it on the ledger where a service would be waited for longer than any pause is, because a clock was ahead.

    The subjects of the commits. Raises LedgerError.
    """
    now = iso(ws.now())
    if all(bounded(known, now) == known for known in read_services(ws).values()):
        return []
    told = []
    with ws.ledger.writing() as writer:
        at = ws.now()
        for backend in read_services(ws):
            was = service_of(writer.read_file, backend)
            known = bounded(was, iso(at))
            if known != was:
                subject = f"service: {backend} {told_of_bound(known)}"[:200]
                writer.file(Filing(subject, {service_path(backend): format_record(known)}), at)
                told.append(subject)
    return told


# --- a person -----------------------------------------------------------------------------------------------------


def reopen(ws: Workspace, backend: str, actor: Actor) -> Service:
    """A person has a service tried at once. Raises NotFoundError, RefusedError if nothing speaks against it."""
    if backend_of(ws.config, backend) is None and backend not in read_services(ws):
        known = ", ".join(sorted(ws.config.backends)) or "none"
        raise NotFoundError(f"backend {backend!r} is not in orc.yaml (there: {known})", hint="orc workers")
    with ws.ledger.writing() as writer:
        was = service_of(writer.read_file, backend)
        now = reopened(was)
        if now == was:
            raise RefusedError(f"nothing keeps runs from {backend}", hint="orc status")
        trailers = (("Actor", actor.name),)
        filing = Filing(
            f"service: {backend} is to be tried at once", {service_path(backend): format_record(now)}, trailers, actor
        )
        writer.file(filing, ws.now())
    return was


# --- what is told -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """A service that takes nothing, or less than it may, as a person is told of it."""

    backend: str
    state: str
    """`shut`, `rests`, or `less`."""
    model: str
    until: str
    """When one run tries it; '' where that is not waited for."""
    text: str
    command: str
    """What has it tried at once."""

    def to_json(self) -> dict[str, str]:
        """As `--json` shows it."""
        return asdict(self)


def told_services(ws: Workspace) -> list[Told]:
    """What is to be told of services now: those that are shut, that rest, and that get less at once than they may."""
    now = iso(ws.now())
    return [told for service in read_services(ws).values() for told in _told(service, now)]


def _told(service: Service, now: str) -> Iterator[Told]:
    known = bounded(service, now)
    name, command = service.backend, f"orc reopen {service.backend}"
    if service.shut is not None:
        when = _when(service.shut.until, now, known.shut.until if known.shut else "")
        text = f"backend {name} is shut {when}: {what_to_do(service)}, then: {command}"
        yield Told(name, "shut", "", service.shut.until, text, command)
    for rest, soon in zip(service.rests, known.rests, strict=True):
        when = _when(rest.until, now, soon.until)
        yield Told(name, "rests", rest.model, rest.until, f"backend {name} rests {when}: {told_of_rest(rest)}", command)
    if service.limit:
        yield Told(name, "less", "", "", f"backend {name} gets {service.limit} runs at once for now", command)


def _when(until: str, now: str, bound: str) -> str:
    """Until when nothing begins; an engine at work sees to it that this is at `bound` at the latest."""
    if bound != until:
        return f"until {until} by a clock that was ahead, which `orc run` makes {bound}"
    return f"until {until}, then one run tries it" if now < until else "but for one run that tries it"
