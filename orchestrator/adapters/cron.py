"""Cron expressions: when they are due, in their own time zone, also in the two nights in which clocks are set.

The computing is cronsim's (https://github.com/cuu508/cronsim), which follows Debian's cron: what falls into the hour
that is left out comes right after it, and what stands in the hour that comes twice comes once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

NAMES: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")


def slots_after(cron: str, tz: str, after: datetime) -> Iterator[datetime]:
    """The moments after `after` at which an expression is due, in UTC, in order. Ends where none comes in fifty years.

    The expression and the zone are ones in which `problem_of` finds nothing wrong.
    """
    from cronsim import CronSim

    last = after.astimezone(UTC)
    for local in CronSim(_expanded(cron), last.astimezone(zone_of(tz))):
        moment = local.astimezone(UTC)
        if moment > last:
            last = moment
            yield moment


def explain(cron: str) -> str:
    """An expression in English words."""
    from cronsim import CronSim

    return str(CronSim(_expanded(cron), _SOME_DAY).explain())


def zone_of(tz: str) -> tzinfo:
    """A time zone by its IANA name. Raises KeyError, ValueError or OSError for a name that is none."""
    return ZoneInfo(tz)


def zone_problem(tz: str) -> str:
    """Why a name is none of a time zone; '' if it is one."""
    try:
        zone_of(tz)
    except (KeyError, ValueError, OSError):
        near = get_close_matches(tz, sorted(available_timezones()), n=1)
        return f"{tz!r} is no time zone of the IANA database" + (f"; did you mean {near[0]}?" if near else "")
    return ""


def problem_of(cron: str, tz: str) -> tuple[str, str]:
    """Which key of a schedule, `cron` or `tz`, is wrong, and why; two empty texts if nothing is."""
    from cronsim import CronSim, CronSimError

    if problem := zone_problem(tz):
        return "tz", problem
    if cron.startswith("@"):
        known = ", ".join(NAMES)
        return ("", "") if cron in NAMES else ("cron", f"{cron!r} is no name for a time (there are {known})")
    if len(cron.split()) != len(_FIELDS):
        return "cron", f"{cron!r} has {len(cron.split())} fields; it takes five: {', '.join(_FIELDS)}"
    try:
        next(CronSim(cron, _SOME_DAY))
    except CronSimError as error:
        return "cron", f"{cron!r}: {str(error)[:1].lower()}{str(error)[1:]}"
    except StopIteration:
        return "cron", f"{cron!r} is never due: there is no such day"
    return "", ""


def _expanded(cron: str) -> str:
    return NAMES.get(cron, cron)
