"""What the runner of the agents' tests says of a run: which programs were driven, and that none is a failure."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from cli_install import MAY_SKIP, judge, read_report

TESTS = """
import pytest

@pytest.mark.parametrize("kind", ["claude", "codex"])
def test_work(kind): pass

@pytest.mark.parametrize("pair", ["codex-by-gemini"])
def test_both(pair): pass

@pytest.mark.parametrize("kind", ["opencode", "claude"])
def test_less(kind):
    if kind == "claude":
        pytest.skip("not this one")
    assert False

def test_of_claudes_friend(): pass
"""


def test_a_run_is_counted_by_the_programs_that_its_tests_name(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "test_some.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert read_report(report) == ({"claude": 1, "codex": 2, "gemini": 1, "others": 1}, 1)


def test_a_run_without_a_report_has_driven_nothing(tmp_path: Path) -> None:
    assert read_report(tmp_path / "report.xml") == ({}, 0)


@pytest.mark.parametrize(
    ("passed", "shut_in", "allowed", "code"),
    [
        ({"claude": 2}, True, "", 0),
        ({}, True, "", 1),
        ({}, True, "1", 0),
        # Some tests need no network of their own, and pass where none can be had.
        ({"claude": 2}, False, "", 1),
        ({"claude": 2}, False, "1", 0),
    ],
)
def test_driving_nothing_is_a_failure_unless_it_is_allowed(
    passed: dict[str, int],
    shut_in: bool,
    allowed: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(MAY_SKIP, allowed)
    assert judge(0, Counter(passed), 3, shut_in=shut_in) == code
    said = capsys.readouterr().err
    assert said.startswith(f"passed: {'claude 2' if passed else 'none'}; skipped: 3\n")
    assert ("no real program was driven" in said) is not (shut_in and bool(passed))
    assert (MAY_SKIP in said) is bool(code)


def test_a_failure_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(3, Counter(), 0, shut_in=False) == 3
    assert "no real program" not in capsys.readouterr().err
