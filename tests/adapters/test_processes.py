"""Starting, watching and ending processes; taking secrets out of streams."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_helpers import is_alive, wait_until

from orchestrator.adapters.descendants import descendants_of_run, kill_descendants
from orchestrator.adapters.programs import program_problem
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.shims import SHIM_CODE

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
ROOT = Path(__file__).resolve().parents[2]


class TestProgramProblem:
    def test_a_program_on_the_path_is_none(self, tmp_path: Path) -> None:
        assert program_problem(["sh"], path="/bin:/usr/bin", cwd=tmp_path) == ""

    def test_a_program_that_is_not_on_the_path_is_named_with_the_way_out(self, tmp_path: Path) -> None:
        problem = program_problem(["no-such-agent"], path="/bin:/usr/bin", cwd=tmp_path)
        assert "'no-such-agent' is not on the PATH" in problem
        assert "install it" in problem

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        assert "does not exist" in program_problem([f"{tmp_path}/agent"], path="", cwd=tmp_path)

    def test_a_file_that_is_not_executable_says_how_to_make_it_so(self, tmp_path: Path) -> None:
        (tmp_path / "agent").write_text("#!/bin/sh\n")
        assert "chmod +x" in program_problem(["agent"], path=str(tmp_path), cwd="/")

    def test_a_folder_is_not_a_program(self, tmp_path: Path) -> None:
        assert "it is a folder" in program_problem([str(tmp_path)], path="", cwd="/")

    def test_a_later_entry_of_the_path_wins_over_a_broken_one(self, tmp_path: Path) -> None:
        (tmp_path / "sh").write_text("")
        assert program_problem(["sh"], path=f"{tmp_path}:/bin", cwd="/") == ""

    def test_a_relative_program_is_looked_for_in_the_folder_where_it_would_start(self, tmp_path: Path) -> None:
        (tmp_path / "agent").write_text("#!/bin/sh\n")
        (tmp_path / "agent").chmod(0o755)
        assert program_problem(["./agent"], path="", cwd=tmp_path) == ""
        assert "does not exist" in program_problem(["./agent"], path="", cwd="/")

    @pytest.mark.parametrize("argv", [[], [""], ["sh\0"], ["sh", "a\0b"], ["a/\0"]])
    def test_what_cannot_be_a_command_is_refused(self, argv: list[str]) -> None:
        assert program_problem(argv, path="/bin", cwd="/")


@linux_only
class TestDescendants:
    def start(self, script: str, run_dir: Path, run_id: str = "job.attempt-1") -> subprocess.Popen[bytes]:
        environment = {"PATH": os.environ["PATH"], "ORC_RUN": run_id, "ORC_RUN_DIR": str(run_dir)}
        return subprocess.Popen(["/bin/sh", "-c", script], env=environment, start_new_session=True)

    def test_a_marked_process_is_found_and_killed_without_its_parent(self, tmp_path: Path) -> None:
        # The shell ends, so that nothing but the marker tells whose process `sleep` is.
        parent = self.start("setsid sleep 1000 >/dev/null 2>&1 &", tmp_path)
        parent.wait()
        wait_until(lambda: descendants_of_run("job.attempt-1", run_dir=tmp_path))
        (pid,) = descendants_of_run("job.attempt-1", run_dir=tmp_path)
        assert kill_descendants("job.attempt-1", run_dir=tmp_path) == [pid]
        assert not is_alive(pid)

    def test_the_same_run_id_in_another_workspace_is_left_alone(self, tmp_path: Path) -> None:
        with self.start("exec sleep 1000", tmp_path / "one", "base.main.abc") as mine:
            with self.start("exec sleep 1000", tmp_path / "two", "base.main.abc") as other:
                wait_until(lambda: descendants_of_run("base.main.abc", run_dir=tmp_path / "two"))
                assert kill_descendants("base.main.abc", run_dir=tmp_path / "one") == [mine.pid]
                assert is_alive(other.pid)
                other.kill()
            assert mine.wait() == -signal.SIGKILL

    def test_a_run_id_that_begins_the_same_is_left_alone(self, tmp_path: Path) -> None:
        with self.start("exec sleep 1000", tmp_path, "job.attempt-11") as other:
            wait_until(lambda: descendants_of_run("job.attempt-11", run_dir=tmp_path))
            assert kill_descendants("job.attempt-1", run_dir=tmp_path) == []
            assert is_alive(other.pid)
            other.kill()

    def test_children_of_a_marked_process_that_hide_the_marker_are_killed_with_it(self, tmp_path: Path) -> None:
        with self.start(f"env -i /bin/sh -c 'echo $$ > {tmp_path}/pid; exec sleep 1000'; true", tmp_path):
            wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
            hidden = int((tmp_path / "pid").read_text())
            assert hidden in kill_descendants("job.attempt-1", run_dir=tmp_path)
        wait_until(lambda: not is_alive(hidden))

    def test_processes_that_fork_as_fast_as_they_can_are_all_killed(self, tmp_path: Path) -> None:
        script = "while :; do setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' & sleep 0.01; done"
        with self.start(script, tmp_path):
            wait_until(lambda: len(descendants_of_run("job.attempt-1", run_dir=tmp_path)) > 20)
            kill_descendants("job.attempt-1", run_dir=tmp_path)
            assert descendants_of_run("job.attempt-1", run_dir=tmp_path) == []

    def test_a_process_never_kills_itself_or_those_above_it(self, tmp_path: Path) -> None:
        code = (
            "import os; from orchestrator.adapters.descendants import kill_descendants as kill; "
            "from pathlib import Path; "
            f"print(kill('job.attempt-1', run_dir=Path({str(tmp_path)!r}), root=os.getppid()))"
        )
        with self.start(
            f'PYTHONPATH={ROOT} {sys.executable} -c "{code}" > {tmp_path}/killed; exit 7', tmp_path
        ) as shell:
            assert shell.wait() == 7
        assert (tmp_path / "killed").read_text() == "[]\n"

    def test_a_run_that_never_was_has_no_descendants(self, tmp_path: Path) -> None:
        assert kill_descendants("nobody.attempt-1", run_dir=tmp_path) == []


def test_the_shim_imports_nothing_heavy() -> None:
    argv = [sys.executable, "-I", "-S", "-X", "importtime", "-c", SHIM_CODE, str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr  # It asks for a folder: everything was imported.
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "orchestrator" in imported
    assert not imported & {"yaml", "jsonschema", "click", "git", "rich", "filelock", "watchdog", "asyncio", "logging"}


def test_a_shim_starts_fast() -> None:
    argv = [sys.executable, "-I", "-S", "-c", SHIM_CODE, str(ROOT)]
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(argv, capture_output=True, check=False)
        times.append(time.monotonic() - began)
    # Many times what an idle machine needs: this guards against a heavy import, not against a busy machine.
    assert min(times) < 0.5


class TestRedactor:
    @given(
        secrets=st.lists(st.text("abc", min_size=6, max_size=12), max_size=3),
        text=st.text("abcd", max_size=80),
        cuts=st.lists(st.integers(0, 80), max_size=6),
        data=st.data(),
    )
    def test_a_stream_in_pieces_holds_no_secret_whatever_the_pieces(
        self, secrets: list[str], text: str, cuts: list[int], data: st.DataObject
    ) -> None:
        for secret in secrets:
            position = data.draw(st.integers(0, len(text)))
            text = text[:position] + secret + text[position:]
        redactor, out = Redactor(secrets), b""
        places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
        for start, end in itertools.pairwise(places):
            out += redactor.feed(text[start:end].encode())
        out += redactor.flush()
        assert not any(secret.encode() in out for secret in secrets)
        if not any(secret in text for secret in secrets):
            assert out == text.encode()

    def test_a_secret_that_begins_another_does_not_uncover_the_rest_of_it(self) -> None:
        redactor = Redactor(["secret", "secret-long"])
        assert redactor.feed(b"x secret") + redactor.feed(b"-long y") + redactor.flush() == b"x [redacted] y"

    def test_what_may_become_a_secret_is_held_back_and_nothing_else(self) -> None:
        redactor = Redactor(["topsecret"])
        assert redactor.feed(b"hello tops") == b"hello "
        assert redactor.feed(b"ide\n") == b"topside\n"

    def test_a_secret_inside_json_is_found_in_its_escaped_form(self) -> None:
        assert Redactor(['pass"word\\1']).whole(rb'{"key": "pass\"word\\1"}') == b'{"key": "[redacted]"}'

    def test_a_word_too_short_to_be_a_secret_is_left(self) -> None:
        assert Redactor(["yes", ""]).whole(b"yes it is") == b"yes it is"
