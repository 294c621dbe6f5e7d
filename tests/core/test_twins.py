"""What is the same work, and what is not; and that the quick look-up says what a look at every open job says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.job import Check, Expects, Job, JobSpec, Kind, MergePolicy, Priority, Standing, State
from orchestrator.core.twins import Works, key_of, may_repeat, refusal, work_key

SPEC = JobSpec("Put the log-in right.", title="Fix the log-in")
AT = Standing("fix-00000001", 1, State.READY, "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z", source="submit")


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "  Put the\nlog-in   right.\n"},
        {"priority": Priority.P5},
        {"merge": MergePolicy.BRANCH},
        {"hold": "later"},
        {"checks": (Check("make"),)},
        {"again": True},
        {"title": "Fix the  log-in"},
    ],
)
def test_how_it_is_to_be_handled_does_not_make_it_other_work(other: dict[str, object]) -> None:
    assert work_key(replace(SPEC, **other), "main") == work_key(SPEC, "main")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "Put the log-out right."},
        {"title": "Fix the log-out"},
        {"kind": Kind.RESEARCH},
        {"expects": Expects.NO_CHANGE},
        {"target": "release"},
        {"agent": "ada"},
        {"backend": "codex"},
        {"model": "other-1"},
        {"needs": ("first",)},
        {"paths": ("src/**",)},
        {"deliverables": ("guide.md",)},
        {"skills": ("tidy",)},
        {"not_before": "2027-01-01"},
        {"dedup_key": "k"},
    ],
)
def test_what_is_asked_for_or_of_whom_makes_it_other_work(other: dict[str, object]) -> None:
    assert work_key(replace(SPEC, **other), "main") != work_key(SPEC, "main")  # type: ignore[arg-type]


def test_projects_do_not_share_work_and_accents_are_the_same_however_they_are_written() -> None:
    assert work_key(SPEC, "main") != work_key(SPEC, "other")
    assert work_key(JobSpec("Caf\u00e9"), "main") == work_key(JobSpec("Cafe\u0301"), "main")
    # Parts do not run into each other.
    assert work_key(JobSpec("b", title="a"), "main") != work_key(JobSpec("a b"), "main")


def test_a_key_of_its_own_goes_before_all_that_a_job_says() -> None:
    one, two = JobSpec("Import Monday.", dedup_key="import"), JobSpec("Import what is there.", dedup_key=" import ")
    assert work_key(one, "main") == work_key(two, "main")
    assert work_key(one, "main") != work_key(one, "other")
    assert work_key(JobSpec("import"), "main") != work_key(one, "main")


def test_a_person_and_a_schedule_may_repeat_and_nobody_else() -> None:
    job = Job("", False, SPEC, AT)
    assert not may_repeat(job)
    assert may_repeat(replace(job, spec=replace(SPEC, again=True)))
    assert may_repeat(replace(job, at=replace(AT, source="schedule inbox 2026-11-22T10:00:00Z")))
    assert not may_repeat(replace(job, at=replace(AT, source="queue/inbox/schedule x.yaml")))
    assert refusal(job) == (
        "fix-00000001 asks for the same work and is ready; if it is to be done once more all the same, "
        "write `again: true` into it, as orc submit --again does"
    )


IDS = st.sampled_from([f"job-0000000{number}" for number in range(6)])
STEPS = st.lists(st.tuples(IDS, st.none() | st.sampled_from(["a", "b", "c"])), max_size=40)


@given(STEPS)
def test_the_look_up_names_exactly_the_open_jobs_with_the_key(steps: list[tuple[str, str | None]]) -> None:
    works, jobs = Works(), dict[str, Job]()
    for id_, prompt in steps:
        if prompt is None:
            jobs.pop(id_, None)
        else:
            jobs[id_] = Job("", False, JobSpec(prompt), replace(AT, id=id_))
        works.follow(id_, jobs.get(id_))
        fresh = Works()
        fresh.begin(jobs)
        for key in {work_key(JobSpec(each), "main") for each in "abc"}:
            wanted = {id_ for id_, job in jobs.items() if key_of(job) == key}
            assert set(works.named(key)) == set(fresh.named(key)) == wanted
    assert len(works.keys) == len(jobs)
