"""What an author is told of the jobs that its job needs."""

from __future__ import annotations

import pytest

from orchestrator.core.needed import Needed, cut_middle

HEAD, TAIL = "first " * 250, "last! " * 75


def test_a_report_that_fits_is_told_whole() -> None:
    assert cut_middle("x" * 2000, 2000, "orc show a-00000001 --json") == "x" * 2000
    told = Needed("a-00000001", "Make it", "done, on main as 4f1c2aa9", "\n It is made. \n").told(2000)
    assert told == "Title: Make it\nOutcome: done, on main as 4f1c2aa9\nReport:\nIt is made."
    assert Needed("a-00000001", "Make it", "done", " ").told(2000).endswith("Report:\n(nothing was reported)")


def test_of_a_long_report_the_beginning_and_the_end_are_told() -> None:
    told = cut_middle(f"{HEAD}{'middle ' * 1000}{TAIL}", 2000, "orc show a-00000001 --json")
    assert told == f"{HEAD}\u2026 [7,000 chars cut, full: orc show a-00000001 --json]{TAIL}"
    assert (len(HEAD), len(TAIL)) == (1500, 450)


@pytest.mark.parametrize("room", [200, 666, 1000])
def test_no_character_is_split_and_what_is_left_out_is_counted(room: int) -> None:
    text = "".join(chr(0x1F600 + at % 60) for at in range(5000))
    head, _, rest = cut_middle(text, room, "x").partition("\u2026 [")
    number, _, tail = rest.partition(" chars cut, full: x]")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + int(number.replace(",", "")) + len(tail) == len(text)
    assert len(head) + len(tail) <= room
