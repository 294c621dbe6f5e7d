"""Both sides of a conflict within a budget: what one does not use is the other's, and lines stay whole."""

import pytest

from orchestrator.core.conflict import cut_sides

LINE = "x\n"


@pytest.mark.parametrize(
    ("ours", "theirs", "shown", "cut"),
    [
        (10, 10, (20, 20), (False, False)),
        (100, 3, (34, 6), (True, False)),
        (3, 100, (6, 34), (False, True)),
        (100, 100, (20, 20), (True, True)),
        (0, 30, (0, 40), (False, True)),
    ],
)
def test_two_sides_share_the_room_that_there_is(
    ours: int, theirs: int, shown: tuple[int, int], cut: tuple[bool, bool]
) -> None:
    sides = cut_sides(LINE * ours, LINE * theirs, 40)
    assert tuple(len(side.text) for side in sides) == shown
    assert tuple(side.is_cut for side in sides) == cut


def test_a_line_that_does_not_fit_is_left_out_whole() -> None:
    ours, theirs = cut_sides("x" * 100, "y\n", 40)
    assert (ours.text, ours.is_cut, theirs.text) == ("", True, "y\n")
