"""What a step adds to the costs of its day, and that every grouping adds up to the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.attempt_record import Attempt, RunStatus, Spoke, Used
from orchestrator.core.config import Price
from orchestrator.core.costs import (
    By,
    Facts,
    Lines,
    Sums,
    Told,
    add_to,
    add_up,
    added_files,
    by_job,
    charges_of,
    day_path,
    earns_nothing,
    format_lines,
    group,
    jobs_path,
    parse_lines,
    total_of,
)
from orchestrator.core.ending import Read
from orchestrator.core.job import Job, JobSpec, Purpose, Standing, State, Worker
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.said import Trouble, Usage, cost_of

ID = "fix-login-7f3a09c2"
ENGINEER, CRITIC = Worker("engineer", "north", "north-1", "api"), Worker("critic", "south", "south-1", "other")
AT = Standing(ID, 3, State.RUNNING, "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", priority=4, attempt=1)
JOB = Job("", False, JobSpec("Fix it.", purpose=Purpose.MAINTENANCE), replace(AT, run=f"{ID}.attempt-1"))
USED = Usage(1000, 100, 10, 20)
SPOKE = Spoke(USED, cost_microusd=4550, priced="2026-11-21")
ATTEMPT = Attempt(
    *(1, ENGINEER, "base", f"{ID}.attempt-1", "2026-11-22T10:00:00Z"),
    skills=(Used("testing", "b"), Used("git", "a")),
    ended="2026-11-22T10:05:00Z",
    status=RunStatus.ENDED,
    spoke=SPOKE,
)
REVIEW = ReviewRecord(
    *(2, 1, 1, "commit", "base", CRITIC, ENGINEER, f"{ID}.review-2", "2026-11-22T10:00:00Z"),
    independence="family",
    threshold=0.8,
    ended="2026-11-22T10:09:00Z",
    status=RunStatus.ENDED,
    verdict=Verdict.APPROVED,
    spoke=SPOKE,
)
FACTS = Facts(
    project="main",
    goal="All is well.",
    kind="code",
    purpose="maintenance",
    lane="background",
    part="attempt",
    agent="engineer",
    model="north-1",
    backend="api",
    skills="git + testing",
    told="whole",
    priced="2026-11-21",
)
SUMS = Sums(1, 1000, 100, 10, 20, 4550)


def reader(*records: Any) -> Read:
    def read(kind: type[Any], number: int) -> Any:
        return next((each for each in records if type(each) is kind and each.number == number), None)

    return read


def after(state: State = State.COLLECTED, **changes: Any) -> Job:
    return replace(JOB, at=replace(JOB.at, state=state, run="", **changes))


def test_a_run_that_ended_is_charged_once_to_its_job_with_all_that_it_can_be_told_by() -> None:
    assert charges_of(JOB, after(), reader(ATTEMPT), "All is well.") == {FACTS: SUMS}
    # The next step of the job has no run behind it.
    assert charges_of(after(), after(State.CHECKING), reader(ATTEMPT), "") == {}
    # While it goes on, an edit adds nothing.
    assert charges_of(JOB, JOB.moved(State.RUNNING, JOB.at.since, priority=0), reader(ATTEMPT), "") == {}


@pytest.mark.parametrize(
    ("record", "told", "priced", "sums"),
    [
        (replace(ATTEMPT, spoke=replace(SPOKE, trouble=Trouble.CUT)), "at_least", "2026-11-21", SUMS),
        (replace(ATTEMPT, spoke=Spoke(USED)), "whole", "", replace(SUMS, microusd=0)),
        (replace(ATTEMPT, spoke=Spoke(USED, cost_microusd=7, priced="reported")), "whole", "reported", None),
        (replace(ATTEMPT, spoke=Spoke()), "unknown", "", Sums(1)),
        (replace(ATTEMPT, spoke=None, status=RunStatus.LOST), "unknown", "", Sums(1)),
        # It was cancelled while it ran: nobody has collected what it used.
        (replace(ATTEMPT, spoke=None, status=None, ended=""), "unknown", "", Sums(1)),
    ],
)
def test_how_well_it_is_known_stands_with_it(record: Attempt, told: str, priced: str, sums: Sums | None) -> None:
    expected = sums or replace(SUMS, microusd=7)
    wanted = {replace(FACTS, told=told, priced=priced): expected}
    assert charges_of(JOB, after(), reader(record), "All is well.") == wanted


@pytest.mark.parametrize("status", [RunStatus.NOT_STARTED, RunStatus.PREPARE_FAILED, RunStatus.SETUP_FAILED])
def test_what_never_began_has_cost_nothing(status: RunStatus) -> None:
    record = replace(ATTEMPT, status=status, spoke=None)
    assert charges_of(JOB, after(State.READY), reader(record), "") == {}


def test_retries_and_reviews_are_charged_to_the_job_that_they_serve() -> None:
    again = replace(JOB, at=replace(JOB.at, run=f"{ID}.attempt-2"))
    [facts] = charges_of(again, after(), reader(replace(ATTEMPT, number=2)), "")
    assert (facts.part, facts.agent) == ("retry", "engineer")
    judged = replace(JOB, at=replace(JOB.at, state=State.REVIEWING, run=f"{ID}.review-2", review=2))
    charges = charges_of(judged, after(State.DONE), reader(ATTEMPT, REVIEW), "")
    assert {(each.part, each.agent): sums for each, sums in charges.items()} == {
        ("review", "critic"): SUMS,
        ("", "engineer"): Sums(done=1),
    }
    assert {each.job for each in by_job(charges, ID)} == {ID}
    # The checks ask no model.
    checked = replace(JOB, at=replace(JOB.at, state=State.CHECKING, run=f"{ID}.checks-3"))
    assert charges_of(checked, after(State.REVIEWING), reader(ATTEMPT), "") == {}


def test_a_job_that_is_given_up_while_it_runs_is_charged_then_and_not_when_it_is_taken_up_again() -> None:
    record, given_up = replace(ATTEMPT, spoke=None, status=None, ended=""), JOB.moved(State.CANCELLED, JOB.at.since)
    assert given_up.at.run == JOB.at.run
    charges = charges_of(JOB, given_up, reader(record), "All is well.")
    unknown = replace(FACTS, told="unknown", priced="")
    assert charges == {unknown: Sums(1), replace(FACTS, part="", told="", priced=""): Sums(cancelled=1)}
    again = given_up.moved(State.READY, JOB.at.since, run="")
    assert charges_of(given_up, again, reader(record), "") == {}


def test_a_job_that_a_schedule_made_is_known_by_it() -> None:
    made = replace(JOB, at=replace(JOB.at, source="schedule inbox 2026-11-22T08:00:00Z"))
    [facts] = charges_of(made, replace(made, at=replace(made.at, run="", state=State.READY)), reader(ATTEMPT), "")
    assert facts.schedule == "inbox"
    dropped = replace(JOB, at=replace(JOB.at, source="queue/inbox/schedule inbox.yaml"))
    [facts] = charges_of(dropped, replace(dropped, at=replace(dropped.at, run="")), reader(ATTEMPT), "")
    assert facts.schedule == ""


def test_a_step_adds_to_what_its_day_had() -> None:
    seconds = 1_795_340_000  # 2026-11-22
    files: dict[str, bytes] = {}
    for _ in range(3):
        files |= added_files(JOB, after(), reader(ATTEMPT), "All is well.", seconds, files.get)
    assert files.keys() == {day_path("2026-11-22"), jobs_path("2026-11-22", ID)}
    expected = SUMS.plus(SUMS).plus(SUMS)
    assert parse_lines(files[day_path("2026-11-22")]) == {FACTS: expected}
    key = Facts(job=ID, project="main", told="whole", priced="2026-11-21")
    assert parse_lines(files[jobs_path("2026-11-22", ID)]) == {key: expected}


# --- sums -----------------------------------------------------------------------------------------------------------

WORDS = ("", "a", 'ä\n"{,')
POOL = [
    Facts(
        **{name: WORDS[(seed * 7 + at * at + seed * at) % 3] for at, name in enumerate(Facts.__dataclass_fields__)}
        | {"told": ("", *Told)[seed % 4], "priced": WORDS[seed % 3]}
    )
    for seed in range(24)
] + [Facts(), Facts(project="a"), Facts(project="a", kind="a"), Facts(kind="a")]
COUNTS = st.one_of(st.integers(0, 3), st.integers(0, 10**15))
LINES = st.dictionaries(
    st.sampled_from(POOL), st.tuples(*[COUNTS] * 9).filter(any).map(lambda each: Sums(*each)), max_size=6
)


@given(st.dictionaries(st.sampled_from(["2026-11-20", "2026-11-21", "2026-11-22"]), LINES), st.sampled_from(WORDS))
def test_whatever_one_adds_up_by_comes_to_the_same_sum(days: dict[str, Lines], project: str) -> None:
    whole = total_of(days, project)
    for by in By:
        parts = group(days, by, project)
        for name in Sums.__dataclass_fields__:
            for part in ("all", "at_least", "unpriced"):
                said = sum(getattr(getattr(each, part), name) for each in parts.values())
                assert said == getattr(getattr(whole, part), name), (by, part, name)
        assert sum(each.unknown for each in parts.values()) == whole.unknown


@given(LINES, LINES)
def test_lines_are_read_as_they_were_written_and_add_up_in_any_order(one: Lines, two: Lines) -> None:
    assert add_up((one, two)) == add_up((two, one))
    both = add_up((one, two))
    data = format_lines(both)
    assert parse_lines(data) == both
    assert format_lines(parse_lines(data)) == data
    assert add_to(format_lines(one), two) == add_to(format_lines(two), one) == data
    # By job nothing is left out either.
    assert sum(each.microusd for each in by_job(both, ID).values()) == sum(each.microusd for each in both.values())


@pytest.mark.parametrize(
    "data",
    [b"[]\n", b'{"runs":"1"}\n', b'{"runs":-1}\n', b'{"runs":1.5}\n', b'{"who":"me"}\n', b'{"agent":1}\n', b"{\n"],
)
def test_lines_of_another_form_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"line of costs|Expecting"):
        parse_lines(data)


@given(st.builds(Usage, *[st.integers(0, 10**9)] * 4), st.floats(0, 1000), st.floats(0, 1000))
def test_a_cost_is_a_whole_number_of_millionths(usage: Usage, first: float, second: float) -> None:
    cost, priced = cost_of(usage, Price("2026-11-21", first, second))
    assert type(cost) is int
    assert priced == "2026-11-21"


def test_a_schedule_that_delivers_nothing_is_found() -> None:
    lines = {Facts(schedule="scout"): Sums(runs=3, microusd=9, failed=2), Facts(schedule="inbox"): Sums(runs=1, done=1)}
    groups = group({"2026-11-22": lines}, By.SCHEDULE)
    assert {name: earns_nothing(each) for name, each in groups.items()} == {"scout": True, "inbox": False}
