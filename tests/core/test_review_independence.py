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
        (Worker("critic", "south", "north-1"), NONE),
        (Worker("critic", "south", "proxy/north-1-20260101"), NONE),
        (Worker("critic", "south", "north"), NONE),
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


@pytest.mark.parametrize(
    ("author", "reviewer", "found"),
    [
        (("anthropic", "claude-sonnet-4-5"), ("router", "anthropic/claude-sonnet-4-5"), NONE),
        (("anthropic", "claude-sonnet-4-5"), ("router", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"), NONE),
        (("anthropic", "claude-sonnet-4-5"), ("router", "sonnet"), NONE),
        (("anthropic", "claude-sonnet-4-5"), ("router", "anthropic/claude-opus-4-1"), WEAK),
        (("anthropic", "claude-sonnet-4-5"), ("router", "openai/gpt-5"), STRONG),
        (("openai", "gpt-5"), ("openai", "gpt-5-mini"), WEAK),
        (("mine", "house-model-1"), ("yours", "garden-model-1"), STRONG),
    ],
)
def test_the_names_of_models_go_before_the_families_that_are_declared(
    author: tuple[str, str], reviewer: tuple[str, str], found: str
) -> None:
    assert independence_of(Worker("engineer", *author), Worker("critic", *reviewer)) == found
    assert independence_of(Worker("critic", *reviewer), Worker("engineer", *author)) == found


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
