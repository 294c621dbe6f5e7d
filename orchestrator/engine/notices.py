"""Notices: reading from the ledger what a person is to be told, and telling it.

A process of its own tells, `orc notify send`, which the engine starts when something has happened: whoever is told may
take a minute to answer, and the engine waits for nobody.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.adapters.cron import zone_of
from orchestrator.adapters.descendants import is_alive
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.locks import hold_lock
from orchestrator.adapters.messenger import send, way_problem
from orchestrator.adapters.notices import KEEP_S, NoticeBox, Place
from orchestrator.adapters.programs import start_in_background
from orchestrator.core.alerts import AlertKind
from orchestrator.core.config import About, NotifyPolicy
from orchestrator.core.funnel import Happened
from orchestrator.core.job import Priority, State
from orchestrator.core.notice import (
    DAY_S,
    MOST_FAILED,
    Delivery,
    Notice,
    Pending,
    ask,
    is_hopeless,
    is_news,
    message_of,
    notice_of_alert,
    notices_of,
    pause_s,
    plan,
    quiet_until,
    within_the_hour,
)
from orchestrator.core.records import Card
from orchestrator.core.times import iso, parse
from orchestrator.engine.finding import Finding, Health
from orchestrator.engine.health import standing_alerts
from orchestrator.engine.history import read_log
from orchestrator.engine.notes import read_note
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, OrcError

SPACE_S, AGAIN_S = 5.0, 60.0
"""How far apart two processes that tell are started at least; and how often is looked whether something waits."""
WAIT_S = 60.0
"""For another process that tells."""
_FACTS = ("Job", "From", "To", "Project", "Routine", "Status")
"""What of a step `notices_of` looks at."""


def box_of(ws: Workspace) -> NoticeBox:
    """The outbox of a workspace."""
    return NoticeBox(ws.paths.orcdir / "notices")


# --- the engine ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Notices:
    """When the engine has a process tell what happened."""

    _seen: tuple[str, tuple[str, ...], str, NotifyPolicy] = ("", (), "", NotifyPolicy())
    """The ledger's tip, the alerts that stood and on which day, and whom to tell, when it last did."""
    _next: float = 0.0
    _again: float = 0.0
    _pid: int = 0

    def look(self, ws: Workspace, alerts: tuple[str, ...], *, last: bool = False) -> None:
        """Start the process if there may be something to tell; `last`: whatever was when. Raises OSError."""
        now = time.monotonic()
        if not ws.config.notify.to or (now < self._next and not last):
            return
        stamp = ws.stamp()
        seen = (ws.ledger.tip(), alerts, stamp[:10] if alerts else "", ws.config.notify)
        if seen == self._seen:
            if now < self._again:
                return
            self._again = now + AGAIN_S
            if not box_of(ws).is_due(seen[0], stamp):
                return
        if self._pid and is_alive(self._pid) and not last:
            return  # What it has not read is told by the next one. The last one waits for it.
        argv = [sys.executable, "-P", "-m", "orchestrator", "-C", str(ws.paths.root), "notify", "send"]
        with effect(Effect.NOTICE_SEND):
            self._pid = start_in_background(argv)
        self._seen, self._next, self._again = seen, now + SPACE_S, now + AGAIN_S


# --- telling ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """One message and what came of it. `problem` is '' if it arrived."""

    way: str
    keys: tuple[str, ...]
    title: str
    problem: str


def send_notices(ws: Workspace) -> Iterator[Sent]:
    """Read what is new in the ledger and tell what is due, after another process that does. Raises BusyError, OrcError.

    A way that failed `MOST_FAILED` times is left alone until the next call: nobody waits for whom nobody reaches.
    """
    box = box_of(ws)
    ensure_folder(box.folder.parent)
    with hold_lock(box.lock, timeout=WAIT_S, what="the notices (another process tells them)"):
        box.settle()
        _read_new(ws, box)
        waiting = _open(ws, box)
        failed: Counter[str] = Counter()
        for delivery in _plan(ws, box, waiting)[0]:
            if failed[delivery.way] < MOST_FAILED:
                sent = _deliver(ws, box, delivery, waiting)
                failed[sent.way] += bool(sent.problem)
                yield sent
        due, again = _plan(ws, box, waiting)
        box.put_place(replace(box.place(), again="" if due or again is None else iso(again)))


def _plan(ws: Workspace, box: NoticeBox, waiting: dict[str, Pending]) -> tuple[list[Delivery], datetime | None]:
    quiet, now = ws.config.notify.quiet, ws.now()
    until = quiet_until(quiet, now.astimezone(zone_of(quiet.tz))) if quiet else None
    return plan(list(waiting.values()), box.place().used, ws.config.notify, now, until)


def _open(ws: Workspace, box: NoticeBox) -> dict[str, Pending]:
    """What is still to be told, by its key, the oldest first; what no way is left for is put away."""
    found = {}
    for one in box.pending():
        if one.waits_for(ws.config.notify.to):
            found[one.notice.key] = one
        else:
            box.put(one, is_over=True)
    return found


def _deliver(ws: Workspace, box: NoticeBox, delivery: Delivery, waiting: dict[str, Pending]) -> Sent:
    """Tell it, and keep how far that brought each of its notices: in the box, and in `waiting`."""
    way, policy, now = delivery.way, ws.config.notify, ws.stamp()
    chosen = [waiting[key] for key in delivery.keys]
    place = box.place()
    if not all(one.notice.urgent for one in chosen):
        # Noted before it is told: a kill in between must not make it more than a person wants to hear.
        used = (*within_the_hour(place.used.get(way, ()), parse(now)), now)
        box.put_place(replace(place, used={**place.used, way: used}))
    message = message_of([one.notice for one in chosen], ws.paths.root.name)
    problem = send(policy.to[way], message, ws.paths.root)
    for one in chosen:
        after = _after(one, way, problem, ws.stamp())
        waiting[one.notice.key] = after
        box.put(after, is_over=not after.waits_for(policy.to))
    return Sent(way, delivery.keys, str(message["title"]), problem)


def _after(one: Pending, way: str, problem: str, now: str) -> Pending:
    if not problem:
        return replace(one, told={**one.told, way: now})
    tries = one.tries.get(way, 0) + 1
    moment = parse(now)
    hopeless = is_hopeless(one.notice, moment)
    return replace(
        one,
        tries={**one.tries, way: tries},
        failed={**one.failed, way: problem},
        next={**one.next, way: iso(moment + timedelta(seconds=pause_s(tries)))},
        given_up=(*one.given_up, way) if hopeless else one.given_up,
    )


def _read_new(ws: Workspace, box: NoticeBox) -> None:
    place, now, tip = box.place(), ws.now(), ws.ledger.tip()
    wanted = ws.config.notify.about
    if place.tip:
        box.add(each for each in _new_notices(ws, place, tip) if each.about in wanted)
    if About.ALERT in wanted:
        for alert in standing_alerts(ws, read_note(ws)):
            notice = notice_of_alert(alert, ws.stamp())
            box.add([replace(notice, urgent=alert.kind is AlertKind.GATE_BROKEN)])
    swept = place.swept
    if not swept or (now - parse(swept)).total_seconds() > DAY_S:
        box.sweep(now.timestamp() - KEEP_S)
        swept = iso(now)
    box.put_place(replace(place, tip=tip, swept=swept))


def _new_notices(ws: Workspace, place: Place, tip: str) -> list[Notice]:
    if place.tip == tip:
        return []
    # All that is news, however many steps that are: a question among them is to be told as well.
    found, now = [], ws.now()
    which = ("--reverse", "--first-parent", f"--max-age={int(now.timestamp()) - DAY_S}", f"{place.tip}..{tip}", "--")
    try:
        entries = read_log(ws, *which, keys=_FACTS)
    except GitError:
        return []  # The ledger is another one than when it was last read: from here on.
    for entry in entries:
        if not is_news(entry.at, now):
            continue
        facts, event = entry.facts, entry.subject.partition(":")[0]
        where = (facts.get("Job", ""), facts.get("From", ""), facts.get("To", ""))
        step = Happened(entry.at, event, *where, facts, entry.subject)
        if (notice := notices_of(step, entry.commit)) is not None:
            found.append(_look_up(ws, notice) if notice.job else notice)
    return found


def _look_up(ws: Workspace, notice: Notice) -> Notice:
    """A notice with what the ledger says of its job now: whether it is a P0, and what its card asks."""
    try:
        folder = ws.ledger.folder(notice.job)
        if notice.about is About.CARD and folder.job.state is State.DECIDE:
            notice = ask(notice, ws.ledger.record(Card, folder, f"card-{folder.job.at.card}").question)
        return replace(notice, urgent=notice.urgent or folder.job.priority is Priority.P0)
    except OrcError:
        return notice


def try_way(ws: Workspace, name: str) -> Sent:
    """Send a test message on one way, whatever the hour. Raises NotFoundError, OrcError."""
    channel = ws.config.notify.to.get(name)
    if channel is None:
        known = ", ".join(ws.config.notify.to) or "none"
        raise NotFoundError(f"notify.to in orc.yaml has no {name!r} (there is {known})")
    now = ws.stamp()
    text = "This is a test: notices of this workspace arrive here."
    message = message_of([Notice(f"test-{now}", About.DONE, text, now)], ws.paths.root.name)
    message = {**message, "title": f"orc {ws.paths.root.name}: a test"}
    return Sent(name, (f"test-{now}",), str(message["title"]), send(channel, message, ws.paths.root))


def look_at_notices(ws: Workspace) -> Iterator[Finding]:
    """Each way to the person: whether it can be gone from here, and what waits for it in vain."""
    waiting = box_of(ws).pending() if ws.config.notify.to else []
    for way, channel in ws.config.notify.to.items():
        failed = [one.failed[way] for one in waiting if way in one.failed and one.waits_for([way])]
        if problem := way_problem(channel, ws.paths.root):
            yield Finding(f"notify {way}", Health.WARN, problem, "mend it under notify: to: in orc.yaml, or here")
        elif failed:
            text = f"{len(failed)} notice{'' if len(failed) == 1 else 's'} could not be told yet: {failed[-1]}"
            yield Finding(f"notify {way}", Health.WARN, text, f"orc notify test {way}")
        else:
            yield Finding(f"notify {way}", Health.OK, f"nothing speaks against it (orc notify test {way})")
