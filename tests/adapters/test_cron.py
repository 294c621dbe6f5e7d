"""Cron expressions in their own time zones, on ordinary days and in the nights in which clocks are set."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice

import pytest

from orchestrator.adapters.cron import NAMES, explain, problem_of, slots_after


def due(cron: str, tz: str, after: str, count: int) -> list[str]:
    """The next times in UTC, to the minute."""
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    return [f"{slot:%m-%d %H:%M}" for slot in islice(slots_after(cron, tz, moment), count)]


@pytest.mark.parametrize(
    ("cron", "tz", "after", "expected"),
    [
        ("30 8 * * 1-5", "Europe/Berlin", "2026-11-20T07:30", ["11-23 07:30", "11-24 07:30"]),
        ("30 8 * * *", "America/New_York", "2026-11-20T00:00", ["11-20 13:30", "11-21 13:30"]),
        ("*/15 8-9 * * *", "UTC", "2026-11-20T08:40", ["11-20 08:45", "11-20 09:00", "11-20 09:15"]),
        ("0 3 L * *", "UTC", "2027-02-01T00:00", ["02-28 03:00", "03-31 03:00"]),
        ("0 9 * * MON#2", "UTC", "2026-11-10T00:00", ["12-14 09:00"]),
        # The hour that comes twice: once. The hour that is left out: right after it.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00", ["03-28 01:00", "03-29 00:30"]),
        ("15 2 * * *", "America/New_York", "2026-10-31T12:00", ["11-01 07:15", "11-02 07:15"]),
        # What is due every hour goes by the clock that never jumps.
        ("0 * * * *", "Europe/Berlin", "2026-10-25T00:30", ["10-25 01:00", "10-25 02:00"]),
        ("0 * * * *", "Europe/Berlin", "2027-03-28T00:30", ["03-28 01:00", "03-28 02:00"]),
        # Half an hour, and a day that was never there.
        ("0 0 * * *", "Australia/Lord_Howe", "2026-11-20T00:00", ["11-20 13:00"]),
    ],
)
def test_when_it_is_due(cron: str, tz: str, after: str, expected: list[str]) -> None:
    assert due(cron, tz, after, len(expected)) == expected


@pytest.mark.parametrize("cron", NAMES)
def test_each_name_for_a_time_is_known(cron: str) -> None:
    assert problem_of(cron, "UTC") == ("", "")
    assert due(cron, "UTC", "2026-11-20T00:00", 2)
    assert explain(cron)


@pytest.mark.parametrize(
    ("cron", "tz", "key", "told"),
    [
        ("61 * * * *", "UTC", "cron", "bad minute"),
        ("* * *", "UTC", "cron", "has 3 fields; it takes five"),
        ("* * * * * 5", "UTC", "cron", "has 6 fields"),
        ("@dayly", "UTC", "cron", "@daily"),
        ("0 0 30 2 *", "UTC", "cron", "bad day-of-month"),
        ("0 0 * * *", "Europe/Berln", "tz", "did you mean Europe/Berlin?"),
        ("0 0 * * *", "../etc/passwd", "tz", "is no time zone"),
        ("0 0 * * *", "", "tz", "is no time zone"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(cron: str, tz: str, key: str, told: str) -> None:
    found, problem = problem_of(cron, tz)
    assert found == key
    assert told in problem
