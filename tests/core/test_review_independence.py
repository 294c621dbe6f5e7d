"""How far a reviewer is from an author, and what is enough."""

from __future__ import annotations

import pytest

from orchestrator.core.job import Independence, Worker
from orchestrator.core.review import NONE, STRONG, WEAK, independence_of, is_enough

AUTHOR = Worker("engineer", "north", "north-1")


@pytest.mark.parametrize(
    ("reviewer", "found"),
    [
        (Worker("critic", "south", "south-1"), STRONG),
        (Worker("critic", "south", ""), STRONG),
        (Worker("critic", "south", "north-1"), STRONG),
        (Worker("critic", "north", "north-2"), WEAK),
        (Worker("critic", "", "south-1"), WEAK),
        (Worker("critic", "", "north-1"), NONE),
        (Worker("critic", "", ""), NONE),
        (Worker("critic", "north", "north-1"), NONE),
        (Worker("critic", "north", ""), NONE),
        (Worker("critic", " NORTH ", "North-1"), NONE),
        (Worker("critic", "North", "north-2"), WEAK),
        (Worker("engineer", "south", "south-1"), NONE),
    ],
)
def test_how_far_a_reviewer_is_from_the_author(reviewer: Worker, found: str) -> None:
    assert independence_of(AUTHOR, reviewer) == found
    assert independence_of(reviewer, AUTHOR) == found


def test_an_author_whose_family_is_not_declared_has_no_strong_reviewer() -> None:
    assert independence_of(Worker("engineer", "", ""), Worker("critic", "south", "south-1")) == NONE
    assert independence_of(Worker("engineer", "", "m"), Worker("critic", "south", "south-1")) == WEAK


@pytest.mark.parametrize(
    ("wanted", "enough"),
    [
        (Independence.FAMILY, {STRONG}),
        (Independence.MODEL, {STRONG, WEAK}),
        (Independence.HUMAN, set()),
    ],
)
def test_what_is_enough(wanted: Independence, enough: set[str]) -> None:
    assert {found for found in (STRONG, WEAK, NONE) if is_enough(found, wanted)} == enough
