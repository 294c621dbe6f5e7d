"""Where an agent finds the command `orc`, by which it asks for more and hands in its verdict."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.adapters.run_folder import find_orc, with_orc


def a_command(path: Path, *, mode: int = 0o755) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return str(path)


def test_it_is_where_the_engine_was_started_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = a_command(tmp_path / "place" / "orc")
    beside = a_command(tmp_path / "venv" / "bin" / "orc")
    python = a_command(tmp_path / "venv" / "bin" / "python")
    assert find_orc(program, python) == str(tmp_path / "place")
    monkeypatch.chdir(tmp_path)
    assert find_orc("place/orc", python) == str(tmp_path / "place")
    # Started as a module, or from within something else.
    for other in ("-c", "/x/orchestrator/__main__.py", str(tmp_path / "gone" / "orc")):
        assert find_orc(other, python) == str(tmp_path / "venv" / "bin")
    os.chmod(beside, 0o644)
    assert find_orc("-c", python) == ""


def test_it_is_behind_all_that_the_person_has() -> None:
    given = {"PATH": "/usr/bin:/bin", "HOME": "/home"}
    assert with_orc(given, "/venv/bin") == {"PATH": "/usr/bin:/bin:/venv/bin", "HOME": "/home"}
    assert with_orc(given, "/bin") == with_orc(given, "") == given
