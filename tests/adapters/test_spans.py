"""What took time is told where somebody asks for it, and nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from orchestrator.adapters.git import Git
from orchestrator.adapters.spans import TRACE, mark, span


def told(path: Path) -> list[tuple[str, str]]:
    """What and which, line by line."""
    return [(line["what"], line["name"]) for line in map(json.loads, path.read_text().splitlines())]


def test_a_span_has_its_process_and_both_its_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACE, str(tmp_path / "spans"))
    with span("git", "outer"):
        mark("run:started", "a.attempt-1")
    first, second = map(json.loads, (tmp_path / "spans").read_text().splitlines())
    assert (first["what"], first["pid"]) == ("run:started", os.getpid())
    assert second["begin"] <= first["begin"] == first["end"] <= second["end"]


def test_each_git_process_is_told_by_its_command_also_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRACE, str(tmp_path / "spans"))
    git = Git(tmp_path / "none.git")
    git.run("rev-parse", "HEAD", ok=(128,))
    git.run_bounded("version", max_bytes=10)
    assert told(tmp_path / "spans") == [("git", "rev-parse"), ("git", "version")]


def test_nothing_is_written_where_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRACE, raising=False)
    monkeypatch.chdir(tmp_path)
    with span("git", "status"):
        mark("run:started", "a")
    assert list(tmp_path.iterdir()) == []
