"""Hot files: three conflicts in seven days, and nothing is remembered for longer or without bound."""

from __future__ import annotations

from datetime import timedelta

import pytest
from builders import NOON

from orchestrator.core.hot import HOT, MOST, Clashes, HotFile, find_hot, note_clash

DAY = timedelta(days=1)


def clashes(*days: float, paths: tuple[str, ...] = ("a.py",)) -> Clashes:
    known = Clashes()
    for day in days:
        known = note_clash(known, paths, NOON + day * DAY)
    return known


@pytest.mark.parametrize(
    ("days", "today", "found"),
    [
        ((), 0, 0),
        ((0, 0), 0, 0),
        ((0, 0, 0), 0, 3),
        ((0, 3, 6), 6.9, 3),
        ((0, 3, 6), 7, 0),
        ((0, 1, 2, 3, 6), 7.5, 4),
        ((0, 1, 2), 30, 0),
    ],
)
def test_a_file_is_hot_after_three_conflicts_in_seven_days(days: tuple[float, ...], today: float, found: int) -> None:
    hot = find_hot("main", clashes(*days), NOON + today * DAY)
    assert hot == ([HotFile("main", "a.py", found)] if found else [])


def test_the_worst_comes_first() -> None:
    known = note_clash(clashes(0, 0, 0, paths=("a.py", "b.py")), ["b.py"], NOON)
    assert [each.path for each in find_hot("main", known, NOON)] == ["b.py", "a.py"]


def test_what_is_old_is_forgotten_and_the_rest_has_bounds() -> None:
    known = clashes(0, 0, 0)
    assert note_clash(known, ["b.py"], NOON + 8 * DAY).files == clashes(8, paths=("b.py",)).files
    for number in range(2 * MOST):
        known = note_clash(known, [f"{number}.py", "a.py"], NOON)
    files = {each.path: each.at for each in known.files}
    assert len(files) == len(files["a.py"]) == MOST >= HOT
    assert "0.py" not in files
