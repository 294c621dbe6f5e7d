"""Days in a time zone: which one a moment belongs to, and when that is over."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from orchestrator.adapters.cron import zone_of


def day_and_end(now: datetime, tz: str) -> tuple[str, datetime]:
    """The day of a moment, such as 2026-11-22, and the moment at which the next one begins, in UTC.

    A day may have 23 or 25 hours. Raises as `zone_of`.
    """
    zone = zone_of(tz)
    day = now.astimezone(zone).date()
    return day.isoformat(), datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
