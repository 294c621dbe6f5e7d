"""Commands that begin with everything loaded are in all else like those that a person starts."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import cli_world as w
import pytest
from run_helpers import is_alive
from warm_python import run_warm

BROKEN = "prompt: [never closed\n"
DEATHS = {
    "import sys; sys.exit(7)": (7, ""),
    "import sys; sys.exit('told')": (1, "told\n"),
    "import os; os.kill(os.getpid(), 9)": (-signal.SIGKILL, ""),
}


@pytest.mark.parametrize("args", [("statsu",), ("show", "nothing", "--json"), ("status",), ("submit", "-")])
def test_a_warm_command_says_what_one_says_that_starts_from_nothing(tmp_path: Path, args: tuple[str, ...]) -> None:
    root = w.new_workspace(tmp_path / "work")
    cold = subprocess.run(
        w.orc_argv(*args), cwd=root, env=w.environment(), input=BROKEN, capture_output=True, text=True, check=False
    )
    assert w.orc(root, *args, stdin=BROKEN) == w.Done(cold.returncode, cold.stdout, cold.stderr)
    assert cold.stdout + cold.stderr


def test_each_has_an_environment_a_folder_arguments_and_an_input_of_its_own(tmp_path: Path) -> None:
    code = "import os, sys; print(sorted(os.environ), os.getcwd(), sys.argv, sys.stdin.read(), __name__)"
    done = run_warm(code, ["program", "é"], cwd=tmp_path, env={"ONE": "1"}, stdin="in", timeout=30)
    assert done.stdout == f"['ONE'] {tmp_path} ['program', 'é'] in __main__\n"
    assert run_warm("import os; print('ONE' in os.environ)", [""], cwd=tmp_path, env={}, timeout=30).stdout == "False\n"


@pytest.mark.parametrize("code", DEATHS)
def test_each_ends_in_its_own_way(tmp_path: Path, code: str) -> None:
    done = run_warm(code, ["x"], cwd=tmp_path, env=os.environ, timeout=30)
    assert (done.returncode, done.stderr) == DEATHS[code]


def test_an_error_is_told_with_its_traceback(tmp_path: Path) -> None:
    done = run_warm("1 / 0", ["x"], cwd=tmp_path, env=os.environ, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback ")
    assert "ZeroDivisionError" in done.stderr


def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired):
        run_warm(code, ["x"], cwd=tmp_path, env=os.environ, timeout=3)
    w.wait_until(lambda: not is_alive(int((tmp_path / "pid").read_text())))
    assert not is_alive(int((tmp_path / "pid").read_text()))
