"""The shim: one run from its specification to its result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_helpers import Bench, git, is_alive, wait_until

from orchestrator.adapters.locks import lease_is_free
from orchestrator.adapters.run_folder import RunFolder, read_events, read_result, read_spec, write_result
from orchestrator.adapters.run_values import RunResult, RunSpec
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.evidence_record import Outcome
from orchestrator.errors import InvalidFileError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def events(folder: RunFolder) -> list[str]:
    return [str(event["event"]) for event in read_events(folder)]


class TestAttempt:
    def test_what_the_agent_wrote_is_sealed_under_its_ref(self, bench: Bench) -> None:
        spec = bench.shell("echo 'x = 1' > new.py; echo done")
        result = bench.run(spec)
        assert (result.status, result.exit, result.report) == (RunStatus.ENDED, 0, "done\n")
        assert result.sealed is not None
        assert not result.sealed.own_commits
        assert git("rev-parse", str(spec["tree"]["seal_ref"]), cwd=bench.mirror) == result.sealed.commit
        assert git("show", f"{result.sealed.commit}:new.py", cwd=bench.mirror) == "x = 1"
        assert git("merge-base", bench.commit, result.sealed.commit, cwd=bench.mirror) == bench.commit

    def test_commits_of_the_agent_are_kept(self, bench: Bench) -> None:
        result = bench.run(bench.shell("echo 1 > a; git add -A; git commit -q -m mine; echo 2 > b"))
        assert result.sealed is not None
        assert result.sealed.own_commits
        log = git("log", "--format=%an %s", f"{bench.commit}..{result.sealed.commit}", cwd=bench.mirror)
        assert "engineer mine" in log
        assert git("show", f"{result.sealed.commit}:b", cwd=bench.mirror) == "2"

    @pytest.mark.parametrize(
        ("script", "limits", "status"),
        [
            ("echo kept > work; exit 7", {}, RunStatus.ENDED),
            ("echo kept > work; sleep 1000", {"wall_s": 1}, RunStatus.TIMEOUT),
            ("echo kept > work; yes", {"output_bytes": 10_000}, RunStatus.OUTPUT_LIMIT),
        ],
    )
    def test_the_work_is_sealed_however_it_ended(
        self, bench: Bench, script: str, limits: dict[str, float], status: RunStatus
    ) -> None:
        result = bench.run(bench.shell(script, limits=limits))
        assert result.status is status
        assert result.sealed is not None
        assert git("show", f"{result.sealed.commit}:work", cwd=bench.mirror) == "kept"

    def test_an_agent_that_never_started_leaves_nothing_to_seal(self, bench: Bench) -> None:
        result = bench.run(bench.spec(launch={"argv": ["/nonexistent/agent"]}))
        assert (result.status, result.sealed) == (RunStatus.NOT_STARTED, None)

    def test_the_events_tell_the_story(self, bench: Bench) -> None:
        run = bench.start(bench.shell("true", setup={"run": "true", "timeout_s": 5}))
        run.wait()
        assert events(run.folder) == ["preparing", "prepared", "setup", "started", "ended", "sealed"]

    def test_the_bell_rings_when_the_result_is_there(self, bench: Bench) -> None:
        run = bench.start(bench.shell("true"))
        bell = bench.orcdir / "bell" / run.folder.path.name
        wait_until(bell.exists)
        assert read_result(run.folder) is not None
        run.wait()

    def test_home_and_temporary_files_are_gone_afterwards(self, bench: Bench) -> None:
        run = bench.start(bench.shell('echo x > "$HOME/.key"; mkdir "$TMPDIR/d"; chmod 0 "$TMPDIR/d"'))
        assert run.wait().exit == 0
        assert not run.folder.home.exists()
        assert not run.folder.tmp.exists()

    def test_the_heartbeat_beats_from_the_start(self, bench: Bench) -> None:
        run = bench.start(bench.shell("echo $$ > pid; exec sleep 1000"))
        wait_until(lambda: (bench.tree / "pid").exists())
        assert json.loads(run.folder.heartbeat.read_text())["pid"] == run.shim
        run.folder.stop.touch()
        run.wait()

    def test_a_stop_before_the_start_starts_nothing(self, bench: Bench) -> None:
        spec = bench.shell("echo started > started")
        folder = bench.folder_of(spec)
        folder.spec.write_text(json.dumps(spec))
        folder.stop.touch()
        result = bench.start_folder(folder).wait()
        assert (result.status, result.sealed) == (RunStatus.STOPPED, None)
        assert not (bench.tree / "started").exists()

    def test_git_in_an_exported_tree_does_not_find_the_repository_around_it(self, bench: Bench) -> None:
        git("init", "-q", cwd=bench.root)
        spec = bench.spec("review", launch={"argv": ["/bin/sh", "-c", "git rev-parse --git-dir; echo $?"]})
        assert bench.run(spec).report == "128\n"

    def test_a_hostile_run_folder_does_not_stop_the_result(self, bench: Bench) -> None:
        script = (
            'cd "$ORC_RUN_DIR"; rm -rf events.jsonl stdout home; mkdir -p result.json/x; ln -s /etc/passwd stdout; '
            "ln -s /nonexistent/events events.jsonl; ln -s / home; echo said"
        )
        run = bench.start(bench.shell(script))
        result = run.wait()
        assert (result.status, result.report) == (RunStatus.ENDED, "said\n")
        assert result.sealed is not None
        assert Path("/etc/passwd").exists()


class TestSetup:
    def test_a_setup_that_fails_starts_no_agent_and_says_why(self, bench: Bench) -> None:
        run = bench.start(bench.shell("touch started", setup={"run": "echo no net >&2; exit 3", "timeout_s": 5}))
        result = run.wait()
        assert (result.status, result.sealed) == (RunStatus.SETUP_FAILED, None)
        assert "exit code 3: no net" in result.error
        assert not (bench.tree / "started").exists()
        assert run.folder.setup_log.read_text() == "no net\n"

    def test_a_setup_that_hangs_is_a_failed_setup(self, bench: Bench) -> None:
        result = bench.run(bench.shell("true", setup={"run": "sleep 1000", "timeout_s": 0.5}))
        assert result.status is RunStatus.SETUP_FAILED
        assert "did not end within 0.5 s" in result.error

    def test_the_setup_sees_no_key(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_KEY", "key-value-123456")
        setup = {"run": 'test -z "$AGENT_KEY"', "timeout_s": 5}
        launch = {"argv": ["/bin/sh", "-c", 'test -n "$AGENT_KEY"'], "pass_env": ["AGENT_KEY"]}
        result = bench.run(bench.spec(setup=setup, launch=launch))
        assert (result.status, result.exit) == (RunStatus.ENDED, 0)

    def count(self, bench: Bench, command: str = "", agent: str = "true", keep: tuple[str, ...] = ("cache/",)) -> int:
        counter = bench.root / "counter"
        setup = {"run": f"mkdir -p cache; echo x >> {counter}; {command}", "timeout_s": 5}
        result = bench.run(bench.shell(agent, setup=setup, tree={"keep": list(keep)}))
        assert result.status is RunStatus.ENDED, result.error
        return len(counter.read_text().splitlines())

    def test_a_warm_tree_is_not_set_up_again(self, bench: Bench) -> None:
        assert [self.count(bench) for _ in range(3)] == [1, 1, 1]

    def test_another_setup_command_runs(self, bench: Bench) -> None:
        assert [self.count(bench, command) for command in ("true", "true", ":")] == [1, 1, 2]

    def test_a_setup_is_repeated_where_nothing_is_kept_of_it(self, bench: Bench) -> None:
        assert [self.count(bench, keep=()) for _ in range(2)] == [1, 2]


class TestChecks:
    def test_a_check_that_passes(self, bench: Bench) -> None:
        run = bench.start(bench.checks({"run": "cat README; echo note >&2"}))
        result = run.wait()
        assert (result.status, result.exit, result.error) == (RunStatus.ENDED, 0, "")
        (check,) = result.commands
        assert (check.outcome, check.exit) == (Outcome.PASSED, 0)
        assert sorted(check.tail.splitlines()) == ["a project", "note"]
        assert run.folder.stdout.read_text() == "a project\n"

    def test_a_check_that_fails_is_run_twice_and_the_others_still_run(self, bench: Bench) -> None:
        counter = bench.root / "counter"
        failing = {"name": "tests", "run": f"echo x >> {counter}; echo 'E: broken' >&2; exit 3"}
        result = bench.run(bench.checks(failing, {"name": "lint", "run": "true"}))
        assert [(check.name, check.outcome, check.exit) for check in result.commands] == [
            ("tests", Outcome.FAILED, 3),
            ("lint", Outcome.PASSED, 0),
        ]
        assert counter.read_text() == "x\nx\n"
        assert (result.status, result.exit) == (RunStatus.ENDED, 1)
        assert result.error == "tests: E: broken"

    def test_a_check_that_passes_the_second_time_is_flaky(self, bench: Bench) -> None:
        mark = bench.root / "mark"
        result = bench.run(bench.checks({"run": f"test -e {mark} || {{ touch {mark}; echo once; exit 1; }}"}))
        assert result.commands[0].outcome is Outcome.FLAKY
        assert result.commands[0].tail == "once\n", "what went wrong the first time"
        assert result.exit == 0

    def test_a_check_that_hangs_is_a_timeout_and_not_run_again(self, bench: Bench) -> None:
        counter = bench.root / "counter"
        hanging = {"run": f"echo x >> {counter}; sleep 1000", "timeout_s": 0.5}
        result = bench.run(bench.checks(hanging, {"name": "next", "run": "true"}))
        assert [check.outcome for check in result.commands] == [Outcome.TIMEOUT, Outcome.PASSED]
        assert counter.read_text() == "x\n"
        assert (result.status, result.exit) == (RunStatus.ENDED, 1)

    def test_checks_that_take_too_long_together_end_the_run(self, bench: Bench) -> None:
        result = bench.run(bench.checks({"run": "sleep 1000"}, {"run": "true"}, limits={"wall_s": 1}))
        assert result.status is RunStatus.TIMEOUT
        assert (result.exit, len(result.commands)) == (None, 1)

    def test_a_check_that_writes_without_end_fails_once_and_the_others_still_run(self, bench: Bench) -> None:
        counter = bench.root / "counter"
        loud = {"run": f"echo x >> {counter}; yes"}
        run = bench.start(bench.checks(loud, {"run": "echo fine"}, limits={"output_bytes": 100_000}))
        result = run.wait()
        assert [check.outcome for check in result.commands] == [Outcome.FAILED, Outcome.PASSED]
        assert (result.status, result.exit, counter.read_text()) == (RunStatus.ENDED, 1, "x\n")
        assert result.commands[0].tail.endswith("It wrote more than 100000 bytes and was ended.")
        assert run.folder.stdout.stat().st_size == 100_000 + len("fine\n")

    def test_a_server_that_a_check_leaves_does_not_outlive_it(self, bench: Bench) -> None:
        script = "setsid sh -c 'echo $$ > pid; exec sleep 1000' & while ! [ -s pid ]; do sleep 0.01; done; cat pid"
        result = bench.run(bench.checks({"run": script}))
        assert result.commands[0].outcome is Outcome.PASSED
        server = int(result.commands[0].tail)
        assert not is_alive(server)
        assert server in result.survivors

    def test_a_stop_ends_checks(self, bench: Bench) -> None:
        run = bench.start(bench.checks({"run": f"touch {bench.root}/begun; sleep 1000"}))
        wait_until((bench.root / "begun").exists)
        run.folder.stop.touch()
        assert run.wait().status is RunStatus.STOPPED


class TestBrokenRuns:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is not JSON"),
            ("{", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ("[]", "must be a JSON object"),
            ('{"protocol": 2}', "protocol: is 2"),
            ('{"protocol": 1}', "run: is missing"),
        ],
    )
    def test_a_specification_that_makes_no_sense_leaves_a_result(self, bench: Bench, text: str, words: str) -> None:
        folder = bench.folder_of({"run": "odd.attempt-1"})
        folder.spec.write_text(text)
        result = bench.start_folder(folder).wait()
        assert result.status is RunStatus.PREPARE_FAILED
        assert words in result.error
        assert result.run == "odd.attempt-1"

    def test_a_missing_specification_leaves_a_result(self, bench: Bench) -> None:
        result = bench.start_folder(bench.folder_of({"run": "odd.attempt-1"})).wait()
        assert result.status is RunStatus.PREPARE_FAILED
        assert "spec.json" in result.error

    def test_a_tree_that_cannot_be_prepared_leaves_a_result(self, bench: Bench) -> None:
        result = bench.run(bench.shell("true", tree={"mirror": str(bench.root / "nowhere.git")}))
        assert result.status is RunStatus.PREPARE_FAILED
        assert result.error

    def test_a_supervisor_that_breaks_in_the_middle_says_so(self, bench: Bench) -> None:
        launch = {"argv": ["/bin/sh", "-c", "echo kept > work"], "stdin": "prompt.md", "backend": "nobody"}
        result = bench.run(bench.spec(launch=launch))
        assert result.status is RunStatus.BROKEN
        assert "nobody" in result.error

    def test_a_run_happens_once(self, bench: Bench) -> None:
        run = bench.start(bench.shell(f"echo x >> {bench.root}/counter"))
        first = run.wait()
        again = bench.start_folder(run.folder)
        assert again.wait() == first
        assert (bench.root / "counter").read_text() == "x\n"

    def test_two_shims_do_not_supervise_one_run(self, bench: Bench) -> None:
        run = bench.start(bench.shell("echo $$ > pid; exec sleep 1000"))
        wait_until(lambda: (bench.tree / "pid").exists())
        second = subprocess.run(
            [sys.executable, "-m", "orchestrator.engine.run", str(run.folder.path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 5
        assert "another process supervises this run" in second.stderr
        assert run.is_running()
        run.folder.stop.touch()
        run.wait()

    def test_a_shim_started_by_hand_takes_the_lease_itself(self, bench: Bench) -> None:
        spec = bench.shell("echo by hand")
        folder = bench.folder_of(spec)
        folder.spec.write_text(json.dumps(spec))
        (folder.path / "prompt.md").write_text("")
        command = [sys.executable, "-m", "orchestrator.engine.run", str(folder.path)]
        subprocess.run(command, cwd=ROOT, check=True)
        result = read_result(folder)
        assert result is not None
        assert result.report == "by hand\n"


class TestLease:
    def test_it_is_held_exactly_as_long_as_the_shim_lives(self, bench: Bench) -> None:
        run = bench.start(bench.shell("echo $$ > pid; exec sleep 1000"))
        assert run.is_running()
        wait_until(lambda: (bench.tree / "pid").exists())
        assert run.is_running()
        assert read_result(run.folder) is None
        run.folder.stop.touch()
        wait_until(lambda: not run.is_running())
        assert read_result(run.folder) is not None, "the lease falls free after the result is there"
        run.wait()

    def test_a_run_outlives_the_engine_that_started_it(self, bench: Bench) -> None:
        spec = bench.shell(f"while ! [ -e {bench.root}/go ]; do sleep 0.02; done; echo survived")
        folder = bench.folder_of(spec)
        folder.spec.write_text(json.dumps(spec))
        (folder.path / "prompt.md").write_text("")
        engine = (
            "import os, sys; from pathlib import Path; "
            "from orchestrator.adapters.locks import take_lease; "
            "from orchestrator.adapters.shims import spawn_shim; "
            "folder, lease = map(Path, sys.argv[1:]); spawn_shim(folder, take_lease(lease)); os.kill(os.getpid(), 9)"
        )
        folder.lease.parent.mkdir(exist_ok=True)
        dead = subprocess.run(
            [sys.executable, "-c", engine, str(folder.path), str(folder.lease)], cwd=ROOT, check=False
        )
        assert dead.returncode == -signal.SIGKILL
        assert not lease_is_free(folder.lease)
        (bench.root / "go").touch()
        wait_until(lambda: lease_is_free(folder.lease))
        result = read_result(folder)
        assert result is not None
        assert result.report == "survived\n"

    def test_neither_agent_nor_daemon_inherits_the_lease(self, bench: Bench) -> None:
        run = bench.start(bench.shell("ls -l /proc/self/fd; echo $ORC_LEASE_FD"))
        report = run.wait().report
        assert "lease" not in report
        assert "fd" not in report.splitlines()[-1]


class TestResult:
    def test_it_appears_whole_or_not_at_all(self, bench: Bench) -> None:
        run = bench.start(bench.shell("head -c 60000 /dev/zero | tr '\\0' x"))
        seen: list[RunResult | None] = []
        while run.is_running():
            seen.append(read_result(run.folder))
        run.wait()
        assert {result.status for result in seen if result} <= {RunStatus.ENDED}
        assert not list(run.folder.path.glob(".tmp-*"))

    def test_what_is_written_is_what_is_read(self, bench: Bench) -> None:
        spec = bench.checks({"run": "true"}, setup={"run": "true", "timeout_s": 1})
        parsed = RunSpec.from_json(json.loads(json.dumps(spec)))
        assert RunSpec.from_json(json.loads(json.dumps(parsed.to_json()))) == parsed
        run = bench.start(bench.shell("echo 1 > a"))
        result = run.wait()
        write_result(run.folder, result)
        assert read_result(run.folder) == result
        assert read_spec(run.folder).run == result.run

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "null", '{"protocol": 1}', '{"protocol": 9}', "\xff", "[" * 100_000, '{"protocol":1,"run":7}'],
    )
    def test_one_that_cannot_be_understood_is_called_so(self, tmp_path: Path, text: str) -> None:
        folder = RunFolder(tmp_path)
        folder.result.write_text(text, encoding="latin-1")
        result = read_result(folder)
        assert result is not None
        assert result.status is RunStatus.UNREADABLE
        assert "result.json" in result.error

    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
    def test_one_that_is_no_plain_file_is_called_unreadable(self, tmp_path: Path, make: object) -> None:
        folder = RunFolder(tmp_path)
        assert callable(make)
        make(folder.result)
        result = read_result(folder)
        assert result is not None
        assert result.status is RunStatus.UNREADABLE

    def test_a_missing_one_is_none(self, tmp_path: Path) -> None:
        assert read_result(RunFolder(tmp_path)) is None

    def test_a_missing_launch_is_refused_where_it_is_needed(self, bench: Bench) -> None:
        with pytest.raises(InvalidFileError, match="launch: is missing"):
            RunSpec.from_json(bench.spec(launch=None))
