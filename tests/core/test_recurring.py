"""Which slots of a schedule become jobs, by value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.recurring import (
    MOST_AT_ONCE,
    Catchup,
    Overlap,
    Schedule,
    SlotsTaken,
    Turn,
    decide,
    fill_in,
    jitter_of,
    slot_job_id,
)
from orchestrator.core.times import iso, parse

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOURS = [NOON + timedelta(hours=number) for number in range(48)]


def hourly(**keys: Any) -> Schedule:
    return Schedule(name="inbox", cron="0 * * * *", tz="UTC", job={"title": "Inbox"}, **keys)


def turn(now: datetime, *, known: SlotsTaken | None = None, is_open: bool = False, **keys: Any) -> Turn | None:
    """What is decided at `now` when 11:00 was the last slot."""
    schedule = hourly(**keys)
    known = known or SlotsTaken(iso(NOON - timedelta(hours=1)), schedule.timing, "inbox-1", made=1)
    after = (slot for slot in HOURS if slot > parse(known.slot))
    return decide(schedule, known, after, now, is_open=is_open)


def test_a_schedule_that_is_seen_for_the_first_time_makes_nothing_of_the_past() -> None:
    found = decide(hourly(), None, iter(HOURS), NOON + timedelta(minutes=5, seconds=7), is_open=False)
    assert found is not None
    assert (found.fire, found.taken) == ((), SlotsTaken("2026-11-20T12:05:00Z", "0 * * * * UTC"))


def test_other_times_begin_anew_and_never_earlier_than_before() -> None:
    known = SlotsTaken("2026-11-20T18:00:00Z", "5 * * * * UTC", "inbox-1", made=7)
    found = turn(NOON, known=known)
    assert found is not None
    assert (found.fire, found.taken.slot, found.taken.made) == ((), "2026-11-20T18:00:00Z", 7)


def test_nothing_is_due_before_its_minute() -> None:
    assert turn(NOON - timedelta(seconds=1)) is None
    found = turn(NOON)
    assert found is not None
    assert (found.fire, found.taken.slot, found.taken.made) == ((NOON,), iso(NOON), 2)


@pytest.mark.parametrize(
    ("catchup", "late", "fired", "missed"),
    [
        (Catchup.SKIP, timedelta(seconds=90), 1, 0),
        (Catchup.SKIP, timedelta(minutes=3), 0, 1),
        (Catchup.LAST, timedelta(minutes=59), 1, 0),
        (Catchup.LAST, timedelta(hours=3, minutes=10), 1, 3),
        (Catchup.ALL, timedelta(hours=3, minutes=10), 1, 3),
    ],
)
def test_what_came_while_no_engine_ran(catchup: Catchup, late: timedelta, fired: int, missed: int) -> None:
    found = turn(NOON + late, catchup=catchup, overlap=Overlap.ALLOW)
    assert found is not None
    assert (len(found.fire), found.taken.missed, found.taken.made) == (fired, missed, 1 + fired)
    assert found.taken.slot == iso((NOON + late).replace(minute=0, second=0))


def test_each_slot_within_the_grace_is_made_up_for_but_not_too_many() -> None:
    found = turn(NOON + timedelta(hours=40), catchup=Catchup.ALL, overlap=Overlap.ALLOW, grace_s=36_000)
    assert found is not None
    assert found.fire == tuple(HOURS[30:41])
    found = turn(NOON + timedelta(hours=40), catchup=Catchup.ALL, overlap=Overlap.ALLOW, grace_s=604_800)
    assert found is not None
    assert found.fire == tuple(HOURS[41 - MOST_AT_ONCE : 41])
    assert found.taken.missed == 41 - MOST_AT_ONCE


def test_a_slot_while_the_job_before_is_open_is_skipped_and_counted() -> None:
    found = turn(NOON, is_open=True)
    assert found is not None
    assert (found.fire, found.taken.skipped, found.taken.slot) == ((), 1, iso(NOON))
    assert found.why == "1 skipped, for the job before is still open"
    allowed = turn(NOON, is_open=True, overlap=Overlap.ALLOW)
    assert allowed is not None
    assert allowed.fire == (NOON,)


def test_a_clock_that_is_set_back_makes_nothing_due_again() -> None:
    first = turn(NOON + timedelta(hours=2))
    assert first is not None
    assert turn(NOON + timedelta(hours=1), known=first.taken) is None
    assert turn(NOON + timedelta(hours=2), known=first.taken) is None


def test_a_slot_has_one_jitter_and_one_job_id_for_ever() -> None:
    schedule = hourly(jitter_s=600)
    late = [jitter_of(schedule, slot) for slot in HOURS]
    assert late == [jitter_of(schedule, slot) for slot in HOURS]
    assert len(set(late)) > 20
    assert max(late) <= timedelta(seconds=600)
    assert turn(NOON + late[0] - timedelta(seconds=1), jitter_s=600) is None
    assert turn(NOON + late[0], jitter_s=600) is not None
    assert len({slot_job_id(schedule.name, slot) for slot in HOURS}) == len(HOURS)
    assert slot_job_id(schedule.name, NOON, by_hand=True) != slot_job_id(schedule.name, NOON)


@given(st.lists(st.integers(0, 47 * 3600), min_size=1, max_size=30), st.sampled_from(Catchup), st.integers(0, 7200))
def test_no_slot_becomes_two_jobs_and_each_is_counted_once(times: list[int], catchup: Catchup, grace_s: int) -> None:
    """Whenever an engine looks, with a clock that jumps to and fro."""
    schedule = hourly(catchup=catchup, overlap=Overlap.ALLOW, grace_s=grace_s)
    known = SlotsTaken(iso(NOON - timedelta(hours=1)), schedule.timing)
    fired: list[datetime] = []
    for seconds in times:
        after = [slot for slot in HOURS if slot > parse(known.slot)]
        found = decide(schedule, known, after, NOON + timedelta(seconds=seconds), is_open=False)
        if found is not None:
            fired += found.fire
            known = found.taken
    assert fired == sorted(set(fired))
    assert known.made == len(fired)
    assert known.made + known.missed == sum(slot <= parse(known.slot) for slot in HOURS)


def test_what_is_filled_in_stands_in_title_and_prompt_only() -> None:
    job = {"title": "Inbox of ${date}, $time", "prompt": "${schedule} ${slot} ${HOME} $5", "paths": ["${date}/*"]}
    schedule = Schedule(name="inbox", cron="0 * * * *", tz="UTC", job=job)
    assert fill_in(schedule, NOON, NOON) == {
        "title": "Inbox of 2026-11-20, 12:00",
        "prompt": "inbox 2026-11-20T12:00:00Z ${HOME} $5",
        "paths": ["${date}/*"],
    }
