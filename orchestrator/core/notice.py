"""Notices: what a person is told without asking, when, and how much of it at once.

A notice is told at least once, and its key goes with it, so that whoever gets it twice can see that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta

from orchestrator.core.alerts import Alert
from orchestrator.core.config import About, NotifyPolicy, Quiet
from orchestrator.core.funnel import REJECT, Happened
from orchestrator.core.goal import GoalEvent
from orchestrator.core.job import State
from orchestrator.core.routine import Health, Routine
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import Event

HOUR_S, DAY_S = 3_600, 86_400
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60, HOUR_S
"""After a failure it is tried again so much later, twice as long after each further one."""
GIVE_UP_S = DAY_S
"""Who cannot be reached for so long is not told of it any more; the notice says so."""
MOST_FAILED = 3
"""So often one way is tried in vain before what else is to go there waits: each try may take a minute."""
MOST_TEXT = 300
"""Characters of one notice. Agents choose some of the words."""
MOST_LINES, MOST_TOLD = 20, 100
"""So many notices are named in the words of a digest, and so many in its data; the others are counted."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell. Times as in the ledger."""

    key: str
    """The same thing has the same key, whoever finds it."""
    about: About
    text: str
    at: str
    job: str = ""
    command: str = ""
    """What shows more, or answers."""
    urgent: bool = False
    """A card, or a job with the highest priority: told at once and by itself, in quiet hours too."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A notice, and how far it has come on each way: `told` by name, when; `tries` that failed, and the last reason."""

    notice: Notice
    told: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    next: dict[str, str] = field(default_factory=dict)
    """When a way that failed is tried again."""
    given_up: tuple[str, ...] = ()

    def waits_for(self, ways: Iterable[str]) -> list[str]:
        """The ways on which it is still to go."""
        return [way for way in ways if way not in self.told and way not in self.given_up]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What goes to one way as one message."""

    way: str
    keys: tuple[str, ...]


# --- what is to be told -------------------------------------------------------------------------------------------


def notices_of(step: Happened, commit: str, *, urgent: bool = False) -> Notice | None:
    """The notice of a step of the ledger; None if it is no occasion for one. `urgent`: its job is a P0."""
    about = _about(step)
    if about is None:
        return None
    about_what = step.job or step.facts.get("Project", "")
    return Notice(
        f"{about.value}-{commit[:16]}",
        about,
        _words(step.told),
        iso_of(step.at),
        job=step.job,
        command=f"orc show {about_what}" if about_what else "orc status",
        urgent=urgent or about is About.CARD,
    )


def ask(notice: Notice, question: str) -> Notice:
    """The notice of a card, in the words of the card."""
    reminder, _, waits = notice.text.partition(f"{Event.REMIND}: ")
    if not reminder and waits:
        return replace(notice, text=_words(f"{waits}: {question}"))
    return replace(notice, text=_words(question if notice.job in question else f"{notice.job}: {question}"))


def _about(step: Happened) -> About | None:
    if step.event == REJECT:
        return About.REJECTED
    if step.event in (GoalEvent.PENDING, GoalEvent.REMINDER) and not step.job:
        return About.CARD
    if step.event == Event.REMIND or (step.to == State.DECIDE and step.was != State.DECIDE):
        return About.CARD
    if step.was == step.to:
        return None
    if step.event == Event.RAN:
        return _about_routine(step)
    return {State.FAILED.value: About.FAILED, State.DONE.value: About.DONE}.get(step.to)


def _about_routine(step: Happened) -> About | None:
    """Of maintenance a person is told what is written for them, and what is not well."""
    if step.facts.get("Status") == Health.FAIL:
        return About.ALERT
    return About.DONE if step.facts.get("Routine") in (Routine.BRIEFING, Routine.DAY_REVIEW) else None


def notice_of_alert(alert: Alert, now: str) -> Notice:
    """The notice of an alert that stands: the same on one day, another on the next."""
    key = hashlib.sha256(alert.key.encode()).hexdigest()[:16]
    return Notice(f"{About.ALERT.value}-{now[:10]}-{key}", About.ALERT, _words(alert.text), now, command=alert.command)


def _words(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= MOST_TEXT else line[: MOST_TEXT - 3] + "..."


def iso_of(seconds: int) -> str:
    """Seconds since 1970 as the ledger writes a time."""
    return iso(datetime.fromtimestamp(seconds, UTC))


# --- when, and how much at once -----------------------------------------------------------------------------------


def plan(
    pending: Sequence[Pending],
    lately: Mapping[str, Sequence[str]],
    policy: NotifyPolicy,
    now: datetime,
    silent_until: datetime | None,
) -> tuple[list[Delivery], datetime | None]:
    """What to tell now on each way, and when to look again; None: when something new has happened.

    `lately`: when each way was last used for what `hourly` counts; `silent_until`: when the quiet hours end in which
    `now` lies.
    """
    found: list[Delivery] = []
    again: list[datetime] = []
    for way in policy.to:
        hour = within_the_hour(lately.get(way, ()), now)
        due = []
        for each in pending:
            if way in each.waits_for([way]):
                moment = parse(each.next[way]) if way in each.next else now
                # A later one was noted by a clock that was wrong.
                if now < moment <= now + timedelta(seconds=LONGEST_PAUSE_S):
                    again.append(moment)
                else:
                    due.append(each)
        found += [Delivery(way, (each.notice.key,)) for each in due if each.notice.urgent]
        rest = [each for each in due if not each.notice.urgent]
        if not rest:
            continue
        if silent_until is not None:
            again.append(silent_until)
        elif len(hour) + len(rest) <= policy.hourly:
            found += [Delivery(way, (each.notice.key,)) for each in rest]
        elif len(hour) >= policy.hourly:
            again.append(parse(hour[0]) + timedelta(seconds=HOUR_S))
        else:
            found.append(Delivery(way, tuple(each.notice.key for each in rest)))
    return found, min(again, default=None)


def quiet_until(quiet: Quiet, local: datetime) -> datetime | None:
    """When the quiet hours end in which `local`, a time in their zone, lies; None outside of them."""
    start, end = time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)
    clock = local.time()
    is_over_night = start >= end
    inside = clock >= start or clock < end if is_over_night else start <= clock < end
    if not inside:
        return None
    day = local.date() + timedelta(days=1 if is_over_night and clock >= start else 0)
    return datetime.combine(day, end, local.tzinfo)


def within_the_hour(times: Iterable[str], now: datetime) -> list[str]:
    """Those of these times that are less than an hour ago, the oldest first. A clock that was wrong does not count."""
    return sorted(at for at in times if abs((now - parse(at)).total_seconds()) < HOUR_S)


def pause_s(tries: int) -> int:
    """How long to wait after so many failures, in seconds."""
    return int(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries - 1, 10)))


def is_hopeless(notice: Notice, now: datetime) -> bool:
    """Whether it was tried for long enough."""
    return (now - parse(notice.at)).total_seconds() > GIVE_UP_S


def is_news(at: int, now: datetime) -> bool:
    """Whether what happened then, in seconds since 1970, is still to be told where nobody looked since."""
    return now.timestamp() - at <= DAY_S


def message_of(notices: Sequence[Notice], workspace: str) -> Mapping[str, object]:
    """The object that is sent. `text` says all of it in words."""
    first, workspace = notices[0], _words(workspace)
    if len(notices) == 1:
        text = f"{first.text} ({first.command})" if first.command else first.text
        title = f"orc {workspace}: {_TITLES[first.about]}"
    else:
        lines = [f"- {each.text}" for each in notices[:MOST_LINES]]
        left = len(notices) - len(lines)
        text = "\n".join([*lines, f"and {left} more"] if left else lines)
        title = f"orc {workspace}: {len(notices)} notices"
    key = first.key if len(notices) == 1 else f"digest-{digest_key(notices)}"
    told = [
        {"key": each.key, "about": each.about.value, "text": each.text, "at": each.at}
        | ({"job": each.job} if each.job else {})
        | ({"command": each.command} if each.command else {})
        for each in notices[:MOST_TOLD]
    ]
    return {"schema": 1, "key": key, "title": title, "text": text, "count": len(notices), "notices": told}


def digest_key(notices: Iterable[Notice]) -> str:
    """The same for the same notices."""
    return hashlib.sha256("\n".join(sorted(each.key for each in notices)).encode()).hexdigest()[:16]


_TITLES = {
    About.CARD: "a question for you",
    About.FAILED: "a job failed",
    About.DONE: "a job is done",
    About.REJECTED: "a file was not accepted",
    About.ALERT: "an alert",
}
