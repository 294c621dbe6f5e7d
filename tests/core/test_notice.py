"""What a person is told, when, and how much of it at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.alerts import Alert, AlertKind
from orchestrator.core.config import About, Channel, NotifyPolicy, Quiet
from orchestrator.core.funnel import Happened
from orchestrator.core.notice import (
    MOST_LINES,
    MOST_TEXT,
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
)
from orchestrator.core.times import iso

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
COMMIT = "0123456789abcdef0123"
DESK = NotifyPolicy(to={"desk": Channel(desktop=True)})


def step(event: str, was: str, to: str, job: str = "fix-1") -> Happened:
    return Happened(int(NOW.timestamp()), event, job, was, to, {}, f"{event}: {job} told")


@pytest.mark.parametrize(
    ("happened", "about"),
    [
        (step("checked", "merging", "decide"), About.CARD),
        (step("card", "ready", "decide"), About.CARD),
        (step("remind", "decide", "decide"), About.CARD),
        (step("edit", "decide", "decide"), None),
        (step("answer", "decide", "failed"), About.FAILED),
        (step("done", "landing", "done"), About.DONE),
        (step("reject", "", ""), About.REJECTED),
        (step("accept", "", "ready"), None),
        (step("start", "ready", "running"), None),
        (step("cancel", "ready", "cancelled"), None),
        (step("pending", "", "", job=""), About.CARD),
        (step("reminder", "", "", job=""), About.CARD),
        (step("withdraw", "", "", job=""), None),
    ],
)
def test_what_is_an_occasion_for_a_notice(happened: Happened, about: About | None) -> None:
    notice = notices_of(happened, COMMIT)
    assert (notice.about if notice else None) is about


def test_a_notice_is_told_by_the_commit_that_it_is_about() -> None:
    notice = notices_of(step("card", "ready", "decide"), COMMIT)
    assert notice == Notice(
        "cards-0123456789abcdef",
        About.CARD,
        "card: fix-1 told",
        "2026-11-22T12:00:00Z",
        job="fix-1",
        command="orc show fix-1",
        urgent=True,
    )


def test_words_of_others_are_one_short_line_without_what_a_terminal_obeys() -> None:
    told = Happened(0, "card", "fix-1", "ready", "decide", {}, "card: \x1b[31mred\x07\r\nnext\u202e" + "x" * 900)
    notice = notices_of(told, COMMIT)
    assert notice is not None
    assert notice.text.startswith("card: [31mred next xxx")
    assert (len(notice.text), notice.text[-3:]) == (MOST_TEXT, "...")


def test_an_alert_is_told_once_a_day() -> None:
    alert = Alert(AlertKind.TOO_OLD, "decide", "old", "orc status")
    keys = [notice_of_alert(alert, at).key for at in ("2026-11-22T01:00:00Z", "2026-11-22T23:00:00Z")]
    assert keys[0] == keys[1] != notice_of_alert(alert, "2026-11-23T00:00:00Z").key
    other = Alert(AlertKind.TOO_OLD, "ready", "old", "orc status")
    assert notice_of_alert(other, "2026-11-22T01:00:00Z").key != keys[0]


@pytest.mark.parametrize(
    ("text", "question", "told"),
    [
        ("verdict: fix-1 approved", "Merge fix-1 into main?", "Merge fix-1 into main?"),
        ("collect: fix-1 asks", "Red or\nblue?", "fix-1: Red or blue?"),
        ("remind: fix-1 waits for you, reminder 1", "Red?", "fix-1 waits for you, reminder 1: Red?"),
    ],
)
def test_a_card_is_told_in_its_own_words(text: str, question: str, told: str) -> None:
    notice = Notice("a", About.CARD, text, iso(NOW), job="fix-1")
    assert ask(notice, question).text == told
    assert len(ask(notice, "x" * 1000).text) == MOST_TEXT


# --- when -----------------------------------------------------------------------------------------------------------


def pending(key: str, *, urgent: bool = False, **more: object) -> Pending:
    return Pending(Notice(key, About.FAILED, f"{key} failed", iso(NOW), urgent=urgent), **more)  # type: ignore[arg-type]


def test_few_are_told_one_by_one_and_many_together() -> None:
    few = [pending("a"), pending("b", urgent=True)]
    assert plan(few, {}, DESK, NOW, None) == ([Delivery("desk", ("b",)), Delivery("desk", ("a",))], None)
    many = [pending(str(number)) for number in range(6)]
    assert plan(many, {}, DESK, NOW, None) == ([Delivery("desk", ("0", "1", "2", "3", "4", "5"))], None)


def test_after_a_full_hour_the_rest_waits_and_what_is_urgent_does_not() -> None:
    used = {"desk": [iso(NOW - timedelta(minutes=each)) for each in (50, 40, 30, 20, 10)]}
    found, again = plan([pending("a"), pending("b", urgent=True)], used, DESK, NOW, None)
    assert (found, again) == ([Delivery("desk", ("b",))], NOW + timedelta(minutes=10))
    found, again = plan([pending("a")], used, DESK, NOW + timedelta(minutes=11), None)
    assert (found, again) == ([Delivery("desk", ("a",))], None)


def test_in_quiet_hours_only_what_is_urgent_is_told() -> None:
    until = NOW + timedelta(hours=2)
    found, again = plan([pending("a"), pending("b", urgent=True)], {}, DESK, NOW, until)
    assert (found, again) == ([Delivery("desk", ("b",))], until)


def test_each_way_goes_by_itself() -> None:
    policy = NotifyPolicy(to={"desk": Channel(desktop=True), "hook": Channel(webhook="https://example.org")})
    one = pending("a", told={"desk": iso(NOW)}, next={"hook": iso(NOW + timedelta(minutes=1))})
    assert plan([one], {}, policy, NOW, None) == ([], NOW + timedelta(minutes=1))
    assert plan([one], {}, policy, NOW + timedelta(minutes=1), None)[0] == [Delivery("hook", ("a",))]
    assert one.waits_for(policy.to) == ["hook"]
    assert pending("a", given_up=("hook",), told={"desk": "x"}).waits_for(policy.to) == []


def test_what_a_clock_noted_that_was_wrong_keeps_nothing_back() -> None:
    later = iso(NOW + timedelta(days=900))
    one = pending("a", next={"desk": later})
    assert plan([one], {"desk": [later] * 9}, DESK, NOW, None) == ([Delivery("desk", ("a",))], None)


@given(
    st.lists(st.booleans(), max_size=30),
    st.lists(st.integers(0, 7200), max_size=12),
    st.integers(1, 8),
)
def test_nothing_is_told_twice_at_once_and_never_more_than_allowed(
    urgent: list[bool], ago: list[int], hourly: int
) -> None:
    box = [pending(str(number), urgent=each) for number, each in enumerate(urgent)]
    used = {"desk": [iso(NOW - timedelta(seconds=each)) for each in ago]}
    policy = NotifyPolicy(to=DESK.to, hourly=hourly)
    found, again = plan(box, used, policy, NOW, None)
    keys = [key for each in found for key in each.keys]
    assert len(keys) == len(set(keys))
    plain = [each for each in found if not box[int(each.keys[0])].notice.urgent]
    assert len(plain) + sum(each < 3600 for each in ago) <= max(hourly, sum(each < 3600 for each in ago))
    # What is not told now has a time at which it is looked at again.
    assert len(keys) == len(box) or (again is not None and again > NOW)


@pytest.mark.parametrize(
    ("start", "end", "at", "until"),
    [
        ("22:00", "07:00", "2026-11-22T21:59", None),
        ("22:00", "07:00", "2026-11-22T22:00", "2026-11-23T07:00"),
        ("22:00", "07:00", "2026-11-23T06:59", "2026-11-23T07:00"),
        ("22:00", "07:00", "2026-11-23T07:00", None),
        ("12:00", "13:30", "2026-11-22T12:10", "2026-11-22T13:30"),
        ("12:00", "13:30", "2026-11-22T13:30", None),
        # The night in which clocks are set back: seven o'clock is seven o'clock.
        ("22:00", "07:00", "2026-10-24T23:00", "2026-10-25T07:00"),
    ],
)
def test_quiet_hours_are_those_of_the_persons_clock(start: str, end: str, at: str, until: str | None) -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = quiet_until(Quiet(start, end, "Europe/Berlin"), datetime.fromisoformat(at).replace(tzinfo=zone))
    assert found == (datetime.fromisoformat(until).replace(tzinfo=zone) if until else None)


def test_what_fails_is_tried_again_ever_later_and_given_up_after_a_day() -> None:
    assert [pause_s(tries) for tries in (1, 2, 3, 7, 50)] == [60, 120, 240, 3600, 3600]
    notice = pending("a").notice
    assert not is_hopeless(notice, NOW + timedelta(hours=23))
    assert is_hopeless(notice, NOW + timedelta(hours=25))


def test_what_happened_more_than_a_day_ago_is_no_news() -> None:
    at = int(NOW.timestamp())
    assert is_news(at, NOW + timedelta(hours=23))
    assert not is_news(at, NOW + timedelta(hours=25))


def test_a_folder_may_have_any_name() -> None:
    told = message_of([pending("a").notice], "a\udcff \x1b[31mshop\n")
    assert told["title"] == "orc a [31mshop: a job failed"


def test_a_message_tells_one_thing_or_a_digest() -> None:
    one = Notice("a", About.CARD, "fix-1 asks", iso(NOW), job="fix-1", command="orc show fix-1")
    told = message_of([one], "shop")
    assert (told["title"], told["text"]) == ("orc shop: a question for you", "fix-1 asks (orc show fix-1)")
    many = [pending(str(number)).notice for number in range(MOST_LINES + 5)]
    told = message_of(many, "shop")
    assert (told["title"], told["count"]) == ("orc shop: 25 notices", 25)
    assert str(told["text"]).splitlines()[-1] == "and 5 more"
    assert told["key"] == message_of(many[::-1], "shop")["key"]
