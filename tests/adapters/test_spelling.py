"""The list of misspellings, as a package that is there, that is broken, or that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from spelling_helpers import list_in_front

from orchestrator.adapters.spelling import known_misspellings, speller


def test_the_list_is_read_with_its_version(tmp_path: Path) -> None:
    text = "teh->the\nAls->also, as,\noff->of, disabled because it is a word\nno arrow\n\n"
    with list_in_front(tmp_path, text):
        assert known_misspellings() == {"teh": "the", "als": "also, as"}
        assert speller() == "codespell 9.9"


@pytest.mark.parametrize("text", [None, b"\xff\xfe->x"])
def test_without_a_list_that_can_be_read_there_is_none(tmp_path: Path, text: bytes | None) -> None:
    with list_in_front(tmp_path, text):
        assert known_misspellings() is None
        assert speller() == ""


def test_the_real_list_is_read_where_it_is_installed() -> None:
    known = known_misspellings()
    if known is None:
        pytest.skip("codespell is not installed: python -m pip install codespell")
    assert len(known) > 50_000
    assert known["recieved"] == "received"
    assert "the" not in known
