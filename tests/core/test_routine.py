"""Maintenance by value: what is news, what stands still, which share of the work it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOON, a_board, a_job, a_spec, numbered_id

from orchestrator.core.advance import Act, Advanced, act_for, choose, is_still, noted
from orchestrator.core.costs import Facts, Sums
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Held, Job, Purpose, State
from orchestrator.core.recurring import Quiet, SlotsTaken, is_known_due, looked_at, tries_of, with_quiet
from orchestrator.core.routine import Health, Report, RoutineRecord, cut_lines, is_news, worst
from orchestrator.core.schedule import StartAttempt, StartRoutine, decide
from orchestrator.core.share import Share, share_of
from orchestrator.core.times import iso

OLD = iso(NOON - timedelta(hours=25))
ROUTINE = a_spec(prompt="", routine="pack", purpose=Purpose.MAINTENANCE)


def still(number: int = 1, **at: Any) -> Job:
    given = {"since": OLD, "attempt": 1, "project": f"p{number}", **at}
    return a_job(numbered_id(number), given.pop("state", State.READY), **given)


def test_a_routine_begins_when_all_slots_are_taken_and_takes_none() -> None:
    house = a_job(numbered_id(1, "house"), spec=ROUTINE, project="")
    work = a_job(numbered_id(2, "work"))
    actions = decide(a_board(house, work), NOON)
    assert {type(action) for action in actions} == {StartRoutine, StartAttempt}
    alone = decide(a_board(house, agents=()), NOON)
    assert [action.job for action in alone if isinstance(action, StartRoutine)] == [house.id]


def test_one_routine_runs_at_a_time_the_most_urgent_first() -> None:
    first = a_job(numbered_id(1, "house"), spec=ROUTINE, project="", priority=1)
    other = a_job(numbered_id(2, "house"), spec=ROUTINE, project="", priority=4)
    begun = [action.job for action in decide(a_board(other, first), NOON) if isinstance(action, StartRoutine)]
    assert begun == [first.id]
    run = str(RunId(first.id, RunKind.ROUTINE, 1))
    running = replace(first, at=replace(first.at, state=State.RUNNING, run=run, routine=1))
    assert not [action for action in decide(a_board(other, running), NOON) if isinstance(action, StartRoutine)]
    held = replace(other, spec=replace(ROUTINE, hold=""), at=replace(other.at, held=Held("human:Ada", OLD)))
    assert not [action for action in decide(a_board(held), NOON) if isinstance(action, StartRoutine)]


@pytest.mark.parametrize(
    ("job", "stands"),
    [
        (still(), True),
        (still(since=iso(NOON - timedelta(hours=23))), False),
        (still(attempt=0), False),
        (still(state=State.WAITING), False),
        (still(state=State.DECIDE), False),
        (still(state=State.REVIEWING), True),
        (still(state=State.RUNNING, run="x"), False),
        (replace(still(), spec=a_spec(purpose=Purpose.MAINTENANCE)), False),
        (still(source="advance other-00000001"), False),
    ],
)
def test_only_what_was_begun_and_waits_for_nobody_stands_still(job: Job, stands: bool) -> None:
    assert is_still(job, NOON) is stands


def test_at_most_three_are_dealt_with_one_of_a_project_and_none_again_within_a_day() -> None:
    jobs = [still(number, since=iso(NOON - timedelta(hours=40 - number))) for number in range(1, 6)]
    same = still(9, project="p1", since=iso(NOON - timedelta(hours=50)))
    chosen = [each.job.id for each in choose([*jobs, same], Advanced(), NOON)]
    assert chosen == [same.id, jobs[1].id, jobs[2].id]
    after = noted(Advanced({"long-ago-00000000": OLD}), dict.fromkeys(chosen, iso(NOON)), NOON)
    assert set(after.jobs) == set(chosen)
    later = NOON + timedelta(hours=23)
    assert [each.job.id for each in choose([*jobs, same], after, later)] == [jobs[0].id, jobs[3].id, jobs[4].id]
    assert same.id in [each.job.id for each in choose([same], after, NOON + timedelta(hours=24))]


def test_what_was_sent_back_twice_is_to_be_divided() -> None:
    assert act_for(still(rounds=2)) is Act.REPLAN
    assert act_for(still(rounds=2, state=State.REVIEWING)) is Act.NUDGE


def test_only_what_the_newest_run_has_not_said_is_news() -> None:
    before = RoutineRecord(1, "x", "snapshot", OLD, key="a")
    assert [is_news(Report("", key=key), before) for key in ("", "a", "b")] == [False, False, True]
    assert (is_news(Report("", key="a"), None), is_news(Report(""), None)) == (True, False)


def test_the_worst_part_decides_and_a_long_report_says_what_it_leaves_out() -> None:
    assert (worst([Health.OK, Health.FAIL, Health.WARN]), worst([])) == (Health.FAIL, Health.OK)
    assert cut_lines(map(str, range(41)))[-2:] == ("38", "… and 2 more lines")
    assert len(cut_lines(map(str, range(40)))) == 40


def test_what_was_found_for_an_earlier_slot_holds_for_the_next_until_a_job_is_made_of_it() -> None:
    known = SlotsTaken("2026-11-22T08:00:00Z", "* * * * * UTC")
    early, late, far = (f"2026-11-22T08:{minute}:00Z" for minute in ("15", "30", "45"))
    found = looked_at(known, Quiet(), early, due=True, why="disk fail")
    assert is_known_due(found, known, early)
    assert is_known_due(found, known, late), "the look took longer than it is from slot to slot"
    assert not is_known_due(found, replace(known, slot=late), far), "a job was made of it"
    assert not is_known_due(replace(found, asked=far), known, late), "asked by a clock that was ahead"
    assert not is_known_due(looked_at(known, Quiet(), early, due=False, why=""), known, late)
    lost = Quiet(known.slot, asked=early, tries=2)
    assert [tries_of(lost, known, slot) for slot in (early, late)] == [2, 2], "slots come, and each look hangs"
    assert tries_of(lost, replace(known, slot=early), late) == 0
    assert tries_of(replace(lost, asked=far), known, late) == 0


def test_quiet_slots_are_dealt_with_until_the_ledger_has_a_newer_one() -> None:
    known = SlotsTaken("2026-11-22T08:00:00Z", "x", last="2026-11-22T08:00:00Z")
    first = looked_at(known, Quiet(), "2026-11-22T08:15:00Z", due=False, why="")
    second = looked_at(known, first, "2026-11-22T08:30:00Z", due=False, why="")
    seen = with_quiet(known, second)
    assert (seen.slot, seen.last, seen.quiet) == ("2026-11-22T08:30:00Z", "2026-11-22T08:30:00Z", 2)
    third = looked_at(known, second, "2026-11-22T08:45:00Z", due=True, why="")
    assert (third.due, with_quiet(known, third)) == (True, seen)
    newer = replace(seen, slot="2026-11-22T08:45:00Z")
    assert with_quiet(newer, third) == newer
    assert looked_at(newer, third, "2026-11-22T09:00:00Z", due=False, why="").quiet == 1


def test_the_share_is_told_by_jobs_and_by_tokens_and_warns_only_where_it_says_something() -> None:
    house, work = Facts(purpose="maintenance"), Facts(purpose="work")
    days = [{house: Sums(done=3), work: Sums(runs=2, input=900, done=1)}, {house: Sums(runs=1, input=100, failed=1)}]
    share = share_of(days)
    assert (share.by_count, share.by_tokens, share.warning) == (80, 10, "")
    assert share.told == "maintenance: 80 % of 5 jobs, 10 % of 1,000 tokens in 7 days"
    assert (Share().told, Share().warning) == ("", "")
    assert "may come too short" in Share(81, 100).warning
    assert "left to itself" in Share(29, 100).warning
    assert [Share(*each).warning for each in ((30, 100), (80, 100), (18, 19), (0, 100))] == ["", "", "", ""]
