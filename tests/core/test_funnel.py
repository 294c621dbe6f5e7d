"""The funnel: which stage a step is about, what is counted, and when that is an alert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import builders as b
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.alerts import AlertKind, find_alerts, find_oldest, in_words, look_at_open
from orchestrator.core.attempt import attempt_ended
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.funnel import AHEAD, DAY_S, SLOT_S, STAGES, Happened, Stage, Tally, outcomes_of
from orchestrator.core.job import Held, Job, State
from orchestrator.core.records import CardKind
from orchestrator.core.step import Step
from orchestrator.core.transitions import TABLE, Event, Move

NOON = int(b.NOON.timestamp())
HOUR = 3600
ACCEPTED, STARTED, PRODUCED, REVIEWED, MERGED = STAGES


def a_step(event: str, was: str = "", to: str = "", *, job: str = b.ID, at: int = NOON, **facts: str) -> Happened:
    """A step; facts by the names of their trailers, with `_` for `-`."""
    told = facts.pop("told", "")
    return Happened(at, event, job, was, to, {key.replace("_", "-"): value for key, value in facts.items()}, told)


WAY = (
    a_step("accept", "-", "ready"),
    a_step("start", "ready", "running"),
    a_step("collect", "running", "collected"),
    a_step("evidence", "collected", "checking"),
    a_step("check", "checking", "checking"),
    a_step("checked", "checking", "reviewing", Tests="passed"),
    a_step("review", "reviewing", "reviewing"),
    a_step("verdict", "reviewing", "merging", Verdict="APPROVED"),
    a_step("merge", "merging", "merging"),
    a_step("checked", "merging", "landing", Tests="passed"),
    a_step("done", "landing", "done"),
)
"""A job's way without a fault."""


def tally_of(*steps: Happened) -> Tally:
    tally = Tally()
    for step in steps:
        tally.add(step)
    return tally


def lives(number: int, at: int = NOON, steps: Iterable[Happened] = WAY, gap_s: int = 60) -> list[Happened]:
    """So many jobs that go the same way, with a gap between their steps; all take each step at once."""
    return [
        replace(step, job=b.numbered_id(each), at=at + place * gap_s)
        for place, step in enumerate(steps)
        for each in range(number)
    ]


def kinds(*steps: Happened, now: int = NOON + HOUR, **more: Any) -> list[AlertKind]:
    return [alert.kind for alert in find_alerts(tally_of(*steps), now, **more)]


# --- which stage a step is about, and which reason -----------------------------------------------------------------


def test_a_job_without_a_fault_reaches_each_stage_once_and_drops_out_nowhere() -> None:
    found = [outcome for step in WAY for outcome in outcomes_of(step)]
    assert found == [(stage, "") for stage in STAGES]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (a_step("reject", job=""), [(ACCEPTED, "not_accepted")]),
        (a_step("card", "ready", "decide", Asks="base_red"), [(STARTED, "base_red")]),
        (a_step("not-started", "ready", "ready"), [(STARTED, "not_started")]),
        (a_step("not-started", "running", "ready"), [(PRODUCED, "not_started")]),
        (a_step("lost", "running", "decide", Asks="crashes"), [(PRODUCED, "lost")]),
        (a_step("lost", "reviewing", "reviewing"), [(REVIEWED, "lost")]),
        (a_step("collect", "running", "ready", Cut_Short="timeout"), [(PRODUCED, "timeout")]),
        (a_step("collect", "running", "ready"), [(PRODUCED, "cut_short")]),
        (a_step("collect", "running", "decide", Asks="attempts", Cut_Short="silent"), [(PRODUCED, "silent")]),
        (a_step("collect", "running", "decide", Asks="question"), [(PRODUCED, "question")]),
        (a_step("evidence", "collected", "ready", Refused_By="empty_diff"), [(PRODUCED, "empty_diff")]),
        (a_step("evidence", "collected", "ready", Refused_By="plan_only out_of_scope"), [(PRODUCED, "plan_only")]),
        (a_step("evidence", "collected", "decide", Refused_By="unchanged"), [(PRODUCED, "unchanged")]),
        (a_step("checked", "checking", "ready", Tests="failed"), [(PRODUCED, "checks_failed")]),
        (a_step("checked", "checking", "reviewing", Tests="none"), [(PRODUCED, "")]),
        (a_step("checked", "checking", "decide", Tests="none", Asks="human_review"), [(PRODUCED, "")]),
        (a_step("checked", "checking", "checking", Tests="passed"), []),
        (a_step("checked", "checking", "reviewing", Tests="passed", Reproduction="shown"), [(PRODUCED, "")]),
        (
            a_step("checked", "checking", "ready", Tests="passed", Reproduction="not shown"),
            [(PRODUCED, "no_reproduction")],
        ),
        (a_step("checked", "checking", "decide", Tests="passed"), [(PRODUCED, ""), (REVIEWED, "too_large")]),
        (a_step("verdict", "reviewing", "ready", Verdict="REVISE"), [(REVIEWED, "changes_asked")]),
        (a_step("verdict", "reviewing", "decide", Verdict="REJECT"), [(REVIEWED, "rejected")]),
        (a_step("verdict", "reviewing", "reviewing", Verdict="INCONCLUSIVE"), [(REVIEWED, "unclear")]),
        (a_step("verdict", "reviewing", "decide", Verdict="APPROVED", Asks="merge"), [(REVIEWED, "")]),
        (a_step("verdict", "reviewing", "done", Verdict="APPROVED"), [(REVIEWED, ""), (MERGED, "")]),
        (a_step("card", "reviewing", "decide", Asks="no_reviewer"), [(REVIEWED, "no_reviewer")]),
        (a_step("card", "reviewing", "decide", Asks="human_review"), []),
        (a_step("card", "reviewing", "decide"), [(REVIEWED, "asks_you")]),
        (a_step("answer", "decide", "merging", Answer="approve"), [(REVIEWED, "")]),
        (a_step("answer", "decide", "ready", Answer="revise"), [(REVIEWED, "you_asked_for_changes")]),
        (a_step("answer", "decide", "ready", Answer="retry"), []),
        (a_step("answer", "decide", "failed", Answer="drop"), []),
        (a_step("merge", "merging", "ready", told="merge: x conflict with main in a.py"), [(MERGED, "conflict")]),
        (a_step("merge", "merging", "ready", told="merge: x its base is gone"), [(MERGED, "not_mergeable")]),
        (a_step("checked", "merging", "ready", Tests="failed"), [(MERGED, "merged_tree_failed")]),
        (a_step("rebuild", "landing", "merging"), [(MERGED, "target_moved")]),
        (a_step("land", "landing", "decide", Asks="landing"), [(MERGED, "landing")]),
        (a_step("land", "landing", "landing"), []),
        (a_step("hold", "ready", "waiting"), []),
        (a_step("cancel", "running", "cancelled"), []),
        (a_step("base", job=""), []),
    ],
)
def test_each_step_says_which_stage_was_reached_or_why_it_was_not(
    step: Happened, expected: list[tuple[Stage, str]]
) -> None:
    assert list(outcomes_of(step)) == expected


def test_every_step_of_the_table_that_leads_back_or_asks_has_a_reason_unless_a_person_took_it() -> None:
    engines = [Event.LOST, Event.NOT_STARTED, Event.COLLECT, Event.EVIDENCE, Event.CARD, Event.MERGE, Event.REBUILD]
    for event in engines:
        for was, to in TABLE[event].steps:
            found = list(outcomes_of(a_step(event, was or "-", to)))
            is_forward = (event, to) in {(Event.COLLECT, State.COLLECTED), (Event.EVIDENCE, State.CHECKING)}
            is_built = (event, was, to) == (Event.MERGE, State.MERGING, State.MERGING)
            is_forward |= (event, was) == (Event.REBUILD, State.READY)
            assert found == [] if is_forward or is_built else all(code for _, code in found) and found, (event, was, to)


def test_every_open_state_but_the_question_is_on_the_way_to_a_stage() -> None:
    assert set(AHEAD) == {state for state in State if not state.ended} - {State.DECIDE}


def as_told(move: Move) -> Happened:
    """A step as its commit will tell it."""
    facts = dict(move.trailers)
    return Happened(NOON, move.event, facts["Job"], facts["From"], facts["To"], facts, move.subject)


@pytest.mark.parametrize("status", [RunStatus.TIMEOUT, RunStatus.SILENT, RunStatus.OUTPUT_LIMIT, RunStatus.STOPPED])
def test_how_an_attempt_was_cut_short_stands_on_its_commit(status: RunStatus) -> None:
    job = b.started(b.a_job())
    move = attempt_ended(job, b.an_attempt(job, status, tip=b.COMMIT), b.the_terms(), b.NOW)
    assert list(outcomes_of(as_told(move))) == [(PRODUCED, status.value)]


def test_an_attempt_that_came_to_its_end_was_not_cut_short() -> None:
    job = b.started(b.a_job())
    move = attempt_ended(job, b.an_attempt(job, RunStatus.ENDED, tip=b.COMMIT), b.the_terms(), b.NOW)
    assert "Cut-Short" not in dict(move.trailers)


@pytest.mark.parametrize("kind", sorted(set(CardKind) - {CardKind.MERGE, CardKind.HUMAN_REVIEW}))
def test_what_a_card_asks_stands_on_its_commit(kind: CardKind) -> None:
    job = b.a_job(state=State.REVIEWING, tip=b.COMMIT)
    move = Step(Event.CARD, job, b.NOW).ask(kind, "What now?")
    assert list(outcomes_of(as_told(move))) == [(REVIEWED, kind.value)]


# --- counting ------------------------------------------------------------------------------------------------------


def test_jobs_are_counted_once_for_each_stage_and_reasons_each_time() -> None:
    refused = a_step("evidence", "collected", "ready", Refused_By="empty_diff")
    tally = tally_of(*WAY[:3], refused, *WAY[1:3], refused, *WAY[1:])
    funnel = tally.count(NOON - DAY_S, NOON)
    assert funnel.reached == dict.fromkeys(STAGES, 1)
    assert funnel.drops == {PRODUCED: {"empty_diff": 2}}
    assert funnel.dropped == {"empty_diff": 2}
    assert funnel.runs == 4


def test_jobs_that_fail_or_are_given_up_are_counted() -> None:
    steps = (a_step("answer", "decide", "failed", Answer="drop"), a_step("cancel", "ready", "cancelled", job="x"))
    funnel = tally_of(*steps).count(NOON - DAY_S, NOON)
    assert (funnel.failed, funnel.cancelled) == (1, 1)


def test_what_is_older_than_the_time_is_not_counted_and_may_be_forgotten() -> None:
    tally = tally_of(*lives(3, NOON - 3 * DAY_S), *lives(2, NOON - HOUR))
    assert tally.count(NOON - DAY_S, NOON).reached[MERGED] == 2
    assert tally.count(NOON - 7 * DAY_S, NOON).reached[ACCEPTED] == 3  # The same ids.
    tally.forget(counts=NOON - DAY_S, stays=NOON - 7 * DAY_S)
    assert tally.count(0, NOON).reached[MERGED] == 2
    assert tally.p90("running") == 60
    tally.forget(counts=NOON - DAY_S, stays=NOON - DAY_S)
    assert tally.p90("running") is None


def test_the_days_of_a_week_come_to_the_week() -> None:
    tally = tally_of(*(step for day in range(7) for step in lives(day + 1, NOON - DAY_S * (6 - day))))
    midnight = NOON - NOON % DAY_S
    days = [tally.count(midnight - DAY_S * day, midnight - DAY_S * day + DAY_S - 1) for day in range(7)]
    assert [day.reached[MERGED] for day in days] == [7, 6, 5, 4, 3, 2, 1]
    assert sum(day.runs for day in days) == tally.count(NOON - 7 * DAY_S, NOON + HOUR).runs


def test_nine_of_ten_stays_are_within_the_90th_percentile() -> None:
    steps = []
    for number in range(10):
        id_ = b.numbered_id(number)
        steps.append(a_step("start", "ready", "running", job=id_))
        steps.append(a_step("collect", "running", "collected", job=id_, at=NOON + 10 * (number + 1)))
    steps.sort(key=lambda step: step.at)
    assert tally_of(*steps).p90("running") == 90
    assert tally_of(*steps[:14]).p90("running") is None


def test_a_stay_goes_on_through_steps_that_stay_in_the_state() -> None:
    steps = [each for number in range(5) for each in lives(1, NOON + number * HOUR, WAY[5:8])]
    assert tally_of(*steps).p90("reviewing") == 120


@st.composite
def histories(draw: st.DrawFn) -> list[Happened]:
    """Steps of the table, of a few jobs, in the order of time."""
    at, steps = NOON, []
    where: dict[str, State] = {}
    for _ in range(draw(st.integers(0, 60))):
        at += draw(st.integers(0, 7200))
        job = b.numbered_id(draw(st.integers(0, 6)))
        was = where.get(job)
        ways = [(event, to) for event, legal in TABLE.items() for to in sorted(legal.targets(was))]
        event, to = draw(st.sampled_from(ways)) if ways else (Event.EDIT, State.READY)
        verdict = draw(st.sampled_from(["APPROVED", "REVISE", "INCONCLUSIVE", "odd", ""]))
        facts = {"Verdict": verdict, "Tests": draw(st.sampled_from(["passed", "failed", ""]))}
        steps.append(Happened(at, event, job, was or "-", to, facts))
        where[job] = to
    return steps


@given(histories(), st.integers(0, 60))
def test_counts_do_not_depend_on_when_they_are_asked_for_or_on_what_was_forgotten(
    steps: list[Happened], cut: int
) -> None:
    whole, kept = tally_of(*steps), Tally()
    end = steps[-1].at if steps else NOON
    for number, step in enumerate(steps):
        kept.add(step)
        if number == cut:
            find_alerts(kept, step.at)
            kept.forget(counts=step.at - 2 * DAY_S, stays=step.at - 7 * DAY_S)
    assert kept.count(end - DAY_S, end) == whole.count(end - DAY_S, end)
    assert find_alerts(kept, end) == find_alerts(whole, end)


@given(histories())
def test_every_count_is_what_a_plain_count_of_the_steps_comes_to(steps: list[Happened]) -> None:
    end = steps[-1].at if steps else NOON
    first = (end - DAY_S) // SLOT_S * SLOT_S
    lately = [(step, found) for step in steps if step.at >= first for found in outcomes_of(step)]
    funnel = tally_of(*steps).count(end - DAY_S, end)
    for stage in STAGES:
        assert funnel.reached[stage] == len({step.job for step, found in lately if found == (stage, "")})
    drops = Counter(found for _, found in lately if found[1])
    assert {(stage, code): n for stage, each in funnel.drops.items() for code, n in each.items()} == drops


# --- alerts --------------------------------------------------------------------------------------------------------

REFUSED = (*WAY[:3], a_step("evidence", "collected", "ready", Refused_By="empty_diff"))
UNJUDGED = (*WAY[:6],)


def test_a_house_where_nothing_happens_is_well() -> None:
    assert kinds() == []


def test_a_house_where_everything_is_done_is_well_however_much_it_is() -> None:
    assert kinds(*lives(500)) == []


def test_a_house_that_sends_some_work_back_is_well() -> None:
    sent_back = [replace(a_step("verdict", "reviewing", "ready", Verdict="REVISE"), job=f"j{n}") for n in range(6)]
    assert kinds(*lives(50), *sent_back) == []


def test_one_reason_that_stops_everything_is_told_at_once_with_its_code_and_a_job() -> None:
    (alert,) = find_alerts(tally_of(*lives(5, NOON, REFUSED)), NOON + 240)
    assert alert.kind is AlertKind.ONE_REASON
    assert alert.about == "produced empty_diff"
    assert "5 of 5" in alert.text
    assert alert.command == f"orc show {b.numbered_id(4)}"
    assert alert.text.endswith(f"empty_diff (such as {b.numbered_id(4)})")


@pytest.mark.parametrize(("refused", "passed", "is_told"), [(4, 0, False), (5, 0, True), (8, 2, True), (7, 2, False)])
def test_one_reason_is_told_from_five_tries_on_and_from_four_of_five(refused: int, passed: int, is_told: bool) -> None:
    steps = lives(refused, NOON, REFUSED) + [replace(step, job=f"good-{step.job}") for step in lives(passed, NOON)]
    assert (AlertKind.ONE_REASON in kinds(*steps)) is is_told


def test_what_a_person_asks_for_alerts_nobody() -> None:
    asked = [replace(a_step("answer", "decide", "ready", Answer="revise"), job=f"j{n}") for n in range(9)]
    assert kinds(*asked) == []


def test_files_that_are_never_accepted_are_an_alert() -> None:
    (alert,) = find_alerts(tally_of(*[a_step("reject", job="")] * 6), NOON)
    assert (alert.kind, alert.command) == (AlertKind.ONE_REASON, "orc status")


def test_ten_runs_without_a_job_done_are_an_alert_once_an_hour_has_passed() -> None:
    steps = lives(10, NOON, WAY[:3])
    assert AlertKind.NOTHING_DONE not in kinds(*steps, now=NOON + HOUR // 2)
    assert AlertKind.NOTHING_DONE in kinds(*steps, now=NOON + 2 * HOUR)
    assert AlertKind.NOTHING_DONE not in kinds(*steps[:-1], now=NOON + 2 * HOUR)
    assert AlertKind.NOTHING_DONE not in kinds(*steps, *lives(1), now=NOON + 2 * HOUR)
    assert AlertKind.NOTHING_DONE not in kinds(*steps, now=NOON + DAY_S + HOUR)


def test_ten_runs_without_a_job_done_name_the_most_frequent_reason() -> None:
    found = find_alerts(tally_of(*lives(10, NOON, REFUSED)), NOON + 2 * HOUR)
    assert found[0].kind is AlertKind.NOTHING_DONE
    assert "empty_diff (10 times)" in found[0].text


def test_a_stage_that_nothing_reaches_is_an_alert_once_five_jobs_had_an_hour() -> None:
    steps = lives(5, NOON, UNJUDGED)
    assert kinds(*steps, now=NOON + HOUR // 2) == []
    assert kinds(*steps, now=NOON + 2 * HOUR) == [AlertKind.STAGE_EMPTY]
    assert kinds(*steps, now=NOON + 2 * HOUR, patience_s=4 * HOUR) == []
    assert kinds(*lives(4, NOON, UNJUDGED), now=NOON + 2 * HOUR) == []
    assert kinds(*steps, *lives(1), now=NOON + 2 * HOUR) == []


def test_jobs_that_were_given_up_or_are_kept_where_they_are_alert_nobody() -> None:
    steps = lives(6, NOON, WAY[:1])
    given_up = [replace(a_step("cancel", "ready", "cancelled"), job=b.numbered_id(n), at=NOON + 60) for n in range(2)]
    assert kinds(*steps, now=NOON + 2 * HOUR) == [AlertKind.STAGE_EMPTY]
    assert kinds(*steps, *given_up, now=NOON + 2 * HOUR) == []
    parked = frozenset({b.numbered_id(0), b.numbered_id(1)})
    assert kinds(*steps, now=NOON + 2 * HOUR, parked=parked) == []


def false_report(job: str, at: int, by: str = "ada") -> list[Happened]:
    return [
        a_step("start", "ready", "running", job=job, at=at, Author=by),
        a_step("evidence", "collected", "ready", job=job, at=at + 60, Refused_By="out_of_scope phantom"),
    ]


def test_an_agent_that_reports_twice_in_a_week_what_is_not_so_is_an_alert() -> None:
    week = 7 * DAY_S
    once, again = false_report("one", NOON - 6 * DAY_S), false_report("two", NOON)
    assert kinds(*once) == kinds(*once, *false_report("two", NOON, "bea")) == []
    (alert,) = find_alerts(tally_of(*once, *again), NOON + HOUR)
    assert (alert.kind, alert.about, alert.command) == (AlertKind.FALSE_REPORTS, "ada", "orc show two")
    assert alert.text == "ada reported 2 times in 7 days commits or files that were not there (such as two)"
    assert kinds(*once, *again, now=NOON + 2 * DAY_S) == []
    assert kinds(again[1], again[1]) == [], "nobody knows whose they are"
    tally = tally_of(*once, *again)
    tally.forget(counts=NOON + 2 * DAY_S, stays=NOON + 2 * DAY_S - week)
    assert tally.false_reports(0) == {"ada": ["two"]}


def stands_of(*jobs: Job) -> Any:
    return look_at_open({job.id: job for job in jobs})


def test_a_job_is_late_when_it_is_three_times_as_old_as_nine_of_ten_and_older_than_an_hour() -> None:
    job = b.a_job(state=State.REVIEWING)
    usual = tally_of(*lives(10, NOON - 4 * HOUR, gap_s=20 * 60))
    assert usual.p90("reviewing") == 2 * 20 * 60
    for age, is_late in ((3 * 2400, False), (3 * 2400 + 1, True)):
        (oldest,) = find_oldest(usual, stands_of(job), NOON + age)
        assert (oldest.state, oldest.job, oldest.jobs, oldest.age_s) == ("reviewing", b.ID, 1, age)
        assert oldest.is_late is is_late
        found = find_alerts(usual, NOON + age, [oldest])
        assert [each.kind for each in found] == [AlertKind.TOO_OLD] * is_late
    quick = tally_of(*lives(10, gap_s=1))
    assert not find_oldest(quick, stands_of(job), NOON + HOUR)[0].is_late
    assert find_oldest(quick, stands_of(job), NOON + HOUR + 1)[0].is_late


def test_where_nothing_is_known_of_a_state_a_day_is_late() -> None:
    job = b.a_job(state=State.DECIDE)
    assert not find_oldest(Tally(), stands_of(job), NOON + DAY_S)[0].is_late
    assert find_oldest(Tally(), stands_of(job), NOON + DAY_S + 1)[0].is_late


@pytest.mark.parametrize(
    ("at", "is_parked"),
    [
        ({"state": State.WAITING, "reason": "starts at 2027-01-01"}, True),
        ({"state": State.WAITING, "reason": "needs first-00000001"}, True),
        ({"state": State.WAITING, "reason": "needs gone-00000002, unknown"}, False),
        ({"state": State.WAITING, "reason": "no agent in souls/ fits: kind code"}, False),
        ({"state": State.REVIEWING, "held": Held("human:ada", b.NOW)}, True),
        ({"state": State.DECIDE}, False),
    ],
)
def test_who_keeps_a_job_where_it_is_knows_that_it_waits(at: dict[str, Any], is_parked: bool) -> None:
    first, job = b.a_job("first-00000001"), b.a_job(**at)
    stands = stands_of(first, job)
    assert stands.parked == (frozenset({job.id}) if is_parked else frozenset())
    assert stands.states["ready"].jobs == 1


def test_the_oldest_of_a_state_is_the_one_that_entered_it_first() -> None:
    jobs = [b.a_job(b.numbered_id(n), since=since) for n, since in enumerate((b.LATER, b.NOW, b.LATER))]
    standing = stands_of(*jobs).states["ready"]
    assert (standing.jobs, standing.oldest, standing.since) == (3, b.numbered_id(1), b.NOW)


def test_an_alert_is_the_same_whatever_its_numbers_are() -> None:
    before, after = (find_alerts(tally_of(*lives(n, NOON, REFUSED)), NOON + HOUR)[0] for n in (5, 6))
    assert before.key == after.key
    assert before.text != after.text


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (2 * DAY_S, "2 days")]
)
def test_times_are_told_as_a_person_says_them(seconds: int, words: str) -> None:
    assert in_words(seconds) == words
