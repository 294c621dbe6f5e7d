"""Configurations that cannot be: what is found, and that ordinary ones are left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import builders as b
import pytest

from orchestrator.core.config import Config, Limits, Project, ReviewDefaults
from orchestrator.core.job import Check, MergePolicy
from orchestrator.core.possible import find_impossible

AGENTS = {"engineer": b.AUTHOR, "critic": b.CRITIC}
CHECKED = Project("main", target="main", checks=(Check("make test"),))
RUN_S = 6 * 3600


def found(project: Project = CHECKED, *, agents: Any = None, **config: Any) -> list[tuple[str, bool]]:
    known = Config(projects={project.name: project}, **config)
    impossible = find_impossible(known, AGENTS if agents is None else agents, checks_s=RUN_S)
    return [(each.what, each.is_fatal) for each in impossible]


def test_what_orc_does_by_itself_is_possible() -> None:
    assert found() == []
    assert found(Project("main")) == []


@pytest.mark.parametrize(
    ("project", "least"),
    [
        (CHECKED, 4),
        (replace(CHECKED, merge=MergePolicy.BRANCH), 3),
        (Project("main"), 2),
    ],
)
def test_a_ceiling_of_starts_under_which_no_job_comes_through_is_fatal(project: Project, least: int) -> None:
    for starts in (least, least - 1):
        limits = Limits(starts=starts, attempts=1)
        assert found(project, limits=limits) == ([] if starts == least else [("limits of main", True)])


def test_limits_that_another_ends_before_are_told() -> None:
    assert found(review=ReviewDefaults(rounds=7), limits=Limits(reviews=6)) == [("limits", False)]
    assert found(review=ReviewDefaults(rounds=6), limits=Limits(reviews=6)) == []
    assert found(limits=Limits(attempts=13, starts=12)) == [("limits", False)]


def test_checks_that_may_take_longer_than_a_run_of_them_are_told() -> None:
    slow = replace(CHECKED, checks=(Check("a", timeout_s=RUN_S), Check("b", timeout_s=1)))
    assert found(slow) == [("checks of main", False)]
    assert found(replace(slow, checks=slow.checks[:1])) == []


def test_a_project_on_which_nobody_may_work_is_fatal() -> None:
    assert found(agents={"critic": b.CRITIC}) == [("agents of main", True)]
    elsewhere = b.an_agent("engineer", projects=("other",))
    assert found(agents={"engineer": elsewhere, "critic": b.CRITIC}) == [("agents of main", True)]
    assert found(agents={"engineer": b.an_agent("engineer", projects=("main",))}) == []
    assert found(agents={}) == []  # That is told of the agents themselves.
