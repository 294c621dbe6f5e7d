"""The list of misspellings, as a package that is there, that is broken, or that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from spelling_helpers import install_list

from orchestrator.adapters.spelling import known_misspellings, speller


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    known_misspellings.cache_clear()
    yield
    known_misspellings.cache_clear()


def test_the_list_is_read_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_list(tmp_path, "teh->the\nAls->also, as,\noff->of, disabled because it is a word\nno arrow\n\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert known_misspellings() == {"teh": "the", "als": "also, as"}
    assert speller() == "codespell 9.9"


@pytest.mark.parametrize("text", [None, b"\xff\xfe->x"])
def test_without_a_list_that_can_be_read_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes | None
) -> None:
    install_list(tmp_path, text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert known_misspellings() is None
    assert speller() == ""


def test_the_real_list_is_read_where_it_is_installed() -> None:
    known = known_misspellings()
    if known is None:
        pytest.skip("codespell is not installed: python -m pip install codespell")
    assert len(known) > 50_000
    assert known["recieved"] == "received"
    assert "the" not in known
