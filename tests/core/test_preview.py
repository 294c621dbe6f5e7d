"""What can be seen of a deliverable, and which ones nobody could see."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import a_change, a_spec

from orchestrator.core.criteria import DOCUMENTS
from orchestrator.core.diffstat import Change
from orchestrator.core.job import Kind
from orchestrator.core.preview import EXCERPT_LINES, deliverables_of, excerpt, not_viewable, preview_of


def binary(path: str) -> Change:
    return replace(a_change(path, "A"), added=None, deleted=None)


def test_an_excerpt_begins_where_the_change_begins() -> None:
    old = "# Title\n\nold\n"
    assert excerpt("a.md", "# Title\n\nold\n\nnew\n", old).text == "new"
    assert excerpt("a.md", "# Title\n\nold\n\nnew\n", old).line == 5
    assert excerpt("a.md", "\n\n# Title\n").line == 3
    assert excerpt("a.md", "").about == "text, 0 lines"
    shorter = excerpt("a.md", "# Title\n", old)
    assert (shorter.line, shorter.text, shorter.about) == (1, "# Title", "text, 1 line")


def test_an_excerpt_has_an_end_and_nothing_that_a_terminal_obeys() -> None:
    found = excerpt("a.md", "\x1b[2J" + "x" * 500 + "\n" + "line\n" * 50)
    assert len(found.text.splitlines()) == EXCERPT_LINES
    assert max(map(len, found.text.splitlines())) == 160
    assert "\x1b" not in found.text


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xe0", "PNG image, 640 x 480, 24 bytes"),
        (b"\xff\xd8\xff\xe0", "JPEG image, 4 bytes"),
        (b"%PDF-1.7\n\xff", "PDF, 10 bytes"),
        (b"\0\1\2", "binary, 3 bytes"),
        (None, "larger than 512 kB"),
    ],
)
def test_what_is_no_text_is_told_by_its_sort_and_size(data: bytes | None, about: str) -> None:
    found = preview_of("out.bin", data, None)
    assert (found.about, found.text) == (about, "")


def test_deliverables_are_those_declared_else_the_documents_of_written_work() -> None:
    changes = (a_change("a.md"), a_change("b.py"), a_change("gone.md", "D"))
    made = [
        [each.path for each in deliverables_of(a_spec(kind=kind, deliverables=declared), changes, DOCUMENTS)]
        for kind, declared in [(Kind.WRITING, ()), (Kind.CODE, ()), (Kind.CODE, ("*.py",)), (Kind.OPS, ())]
    ]
    assert made == [["a.md"], [], ["b.py"], []]


def test_a_preview_that_is_still_right_need_not_be_made_again() -> None:
    spec, changes = a_spec(deliverables=("out/",)), (binary("out/a.docx"),)
    assert not_viewable(spec, changes, {"out/a.docx.preview.md"}) == []
    assert not_viewable(spec, changes, {"out/b.docx.preview.md"})


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ((binary("out/report.docx"),), True),
        ((binary("out/report.pdf"),), True),
        ((binary("out/report.docx"), a_change("out/report.docx.preview.md")), False),
        ((binary("out/report.docx"), a_change("out/report.docx.preview.md", "D")), True),
        ((binary("out/report.docx"), binary("out/report.docx.preview.png")), False),
        ((binary("out/report.docx"), a_change("out/report.docx.preview.exe")), True),
        ((binary("out/report.docx"), replace(a_change("out/report.docx.preview.md", "A"), added=0)), True),
        ((binary("out/chart.png"),), False),
        ((a_change("out/report.csv"),), False),
        ((binary("elsewhere/data.bin"), a_change("out/a.md")), False),
    ],
)
def test_a_deliverable_that_nobody_can_see_needs_a_preview(changes: tuple[Change, ...], refused: bool) -> None:
    found = not_viewable(a_spec(deliverables=("out/",)), changes)
    assert [each.rule for each in found if "docx" in each.file or "pdf" in each.file] == ["not_viewable"] * refused
