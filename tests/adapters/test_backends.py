"""What every backend must do when a run starts it, and what only the scripted one does."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from run_helpers import Bench, StartedRun, is_alive, wait_until

from orchestrator.adapters.backends.base import SAME_SESSION, Backend, Order
from orchestrator.adapters.backends.registry import BACKENDS, find_backend
from orchestrator.adapters.backends.scripted import parse_script
from orchestrator.adapters.run_folder import CUT, REPORT_BYTES
from orchestrator.adapters.run_values import RunResult
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.config import BackendConfig
from orchestrator.errors import InvalidFileError, NotFoundError

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PDEATHSIG and a subreaper")


def an_order(folder: Path) -> Order:
    """What a run asks of backends that need no more."""
    return Order(run_folder=folder, tree=folder, state=folder)


class Agent(Protocol):
    """One backend, told what its program is to do."""

    backend: Backend

    def does(self, script: str) -> Mapping[str, Any]:
        """Settings for an agent that runs a shell script, with the prompt on its stdin."""

    def says(self, text: str, *, to: str) -> Mapping[str, Any]:
        """Settings for an agent that reports a text."""


class CommandAgent:
    backend = find_backend("command")

    def does(self, script: str) -> Mapping[str, Any]:
        return {"argv": ["/bin/sh", "-c", script]}

    def says(self, text: str, *, to: str) -> Mapping[str, Any]:
        target = '"$ORC_RESULT"' if to == "file" else "/dev/stdout"
        return self.does(f"cat >/dev/null; printf '%s' '{text}' > {target}")


class ScriptedAgent:
    backend = find_backend("scripted")

    def __init__(self, folder: Path) -> None:
        self.script = folder / "script.yaml"

    def plays(self, *plays: Mapping[str, Any]) -> Mapping[str, Any]:
        self.script.write_text(json.dumps({"plays": plays}))
        return {"script": str(self.script)}

    def does(self, script: str) -> Mapping[str, Any]:
        return self.plays({"run": script})

    def says(self, text: str, *, to: str) -> Mapping[str, Any]:
        return self.plays({"say": text, "to": to})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(params=["command", "scripted"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Agent:
    return CommandAgent() if request.param == "command" else ScriptedAgent(tmp_path)


def start(
    bench: Bench,
    agent: Agent,
    settings: Mapping[str, Any],
    prompt: str = "p\n",
    *,
    facts: Mapping[str, Any] | None = None,
    argv: Sequence[str] = (),
    **limits: float,
) -> StartedRun:
    assert agent.backend.problem(settings, path=os.environ["PATH"]) == ""
    launch = agent.backend.launch(settings, an_order(bench.orcdir / "runs"))
    told = {
        "argv": list(argv or launch.argv),
        "env": launch.env,
        "pass_env": list(launch.pass_env),
        "stdin": "prompt.md",
    }
    return bench.start(bench.spec(launch=told, limits=limits), prompt=prompt, facts=facts)


def play(bench: Bench, agent: Agent, settings: Mapping[str, Any], prompt: str = "p\n", **changes: Any) -> RunResult:
    return start(bench, agent, settings, prompt, **changes).wait()


class TestEveryBackend:
    def test_the_prompt_arrives_whole_on_stdin(self, bench: Bench, agent: Agent) -> None:
        prompt = "".join(f"-line {number} 'with' \"quotes\" $HOME ü\n" for number in range(10_000))
        assert len(prompt.encode()) > 300_000
        result = play(bench, agent, agent.does("cat > got.txt"), prompt)
        assert (result.status, result.exit) == (RunStatus.ENDED, 0)
        assert (bench.tree / "got.txt").read_text() == prompt

    def test_it_works_in_the_tree(self, bench: Bench, agent: Agent) -> None:
        play(bench, agent, agent.does('pwd -P > where; echo "$ORC_TREE" > told; cat README > copy'))
        assert (bench.tree / "where").read_text().strip() == str(bench.tree.resolve())
        assert (bench.tree / "told").read_text().strip() == str(bench.tree)
        assert (bench.tree / "copy").read_text() == "a project\n"

    def test_it_sees_the_allowed_environment_only(
        self, bench: Bench, agent: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CANARY_TOKEN", "canary-value-123456")
        monkeypatch.setenv("AGENT_KEY", "key-value-123456")
        settings = {**agent.does("env > env.txt; cat /dev/null"), "pass_env": ["AGENT_KEY", "NOT_SET"]}
        play(bench, agent, settings)
        text = (bench.tree / "env.txt").read_text()
        assert "canary" not in text.lower()
        seen = dict(line.split("=", 1) for line in text.splitlines())
        assert seen["AGENT_KEY"] == "key-value-123456"
        assert set(seen) - {"PWD", "OLDPWD", "_", "SHLVL"} == {
            *("PATH", "LANG", "LC_ALL", "TERM", "NO_COLOR", "HOME", "TMPDIR", "AGENT_KEY"),
            *("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
            *("GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES"),
            *("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"),
            *("ORC_RUN", "ORC_RUN_DIR", "ORC_KIND", "ORC_JOB", "ORC_NUMBER", "ORC_PROJECT"),
            *("ORC_TREE", "ORC_BASE", "ORC_RESULT", "ORC_FACTS"),
        }
        assert seen["HOME"].startswith(str(bench.orcdir / "runs"))

    def test_a_key_that_it_prints_is_redacted_everywhere(
        self, bench: Bench, agent: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AGENT_KEY", "key-value-123456")
        script = (
            "head -c 65530 /dev/zero | tr '\\0' x; printf 'key-val'; sleep 0.3; echo ue-123456; "
            'echo "<$AGENT_KEY>" >&2; echo "report <$AGENT_KEY>" > "$ORC_RESULT"; exit 1'
        )
        run = start(bench, agent, {**agent.does(script), "pass_env": ["AGENT_KEY"]})
        result = run.wait()
        for file in (run.folder.stdout, run.folder.stderr, run.folder.result, run.folder.events):
            assert "key-value-123456" not in file.read_text()
        assert "<[redacted]>" in run.folder.stderr.read_text()
        assert run.folder.stdout.read_text().endswith("x[redacted]\n")
        assert result.report == "report <[redacted]>\n"
        assert (run.folder.path / "report").read_text() == "report <key-value-123456>\n", "the agent's own file"

    def test_a_report_in_the_file_wins_over_stdout(self, bench: Bench, agent: Agent) -> None:
        result = play(bench, agent, agent.says("all done", to="file"))
        assert (result.report, result.report_from) == ("all done", "file")

    def test_without_a_file_stdout_is_the_report(self, bench: Bench, agent: Agent) -> None:
        result = play(bench, agent, agent.says("all done", to="stdout"))
        assert (result.report.strip(), result.report_from) == ("all done", "stdout")

    def test_a_report_that_is_a_link_is_not_followed(self, bench: Bench, agent: Agent, tmp_path: Path) -> None:
        (tmp_path / "private").write_text("not for the agent")
        result = play(bench, agent, agent.does(f'ln -s {tmp_path}/private "$ORC_RESULT"; echo visible'))
        assert result.report == "visible\n"
        assert "report" in result.notes[0]

    def test_a_report_that_is_a_pipe_does_not_hang_the_run(self, bench: Bench, agent: Agent) -> None:
        result = play(bench, agent, agent.does('mkfifo "$ORC_RESULT"; echo visible'))
        assert (result.status, result.report) == (RunStatus.ENDED, "visible\n")

    def test_a_report_that_is_too_long_is_cut_and_marked(self, bench: Bench, agent: Agent) -> None:
        result = play(bench, agent, agent.does("head -c 200000 /dev/zero | tr '\\0' y > \"$ORC_RESULT\""))
        assert len(result.report) == REPORT_BYTES
        assert result.report.endswith(CUT)

    def test_the_end_of_a_long_stdout_cannot_pass_for_a_whole_answer(self, bench: Bench, agent: Agent) -> None:
        script = "head -c 200000 /dev/zero | tr '\\0' z; printf '\\n{\"verdict\": \"APPROVED\"}'"
        result = play(bench, agent, agent.does(script))
        assert result.report.startswith(CUT)
        assert result.report.endswith('{"verdict": "APPROVED"}')

    def test_failure_comes_with_the_exit_code_and_the_last_line_of_stderr(self, bench: Bench, agent: Agent) -> None:
        script = "echo first >&2; printf '\\033[31mfatal: no credit\\033[0m\\n\\n' >&2; kill -9 $$"
        result = play(bench, agent, agent.does(script))
        assert result.status is RunStatus.ENDED
        assert result.exit != 0
        play_exit = play(bench, agent, agent.does("echo 'out of luck' >&2; exit 41"))
        assert play_exit.exit == 41
        assert "fatal: no credit" in result.error or "ended with -9" in result.error
        assert play_exit.error in ("out of luck", "play 1: the shell ended with 41")

    def test_a_program_that_is_missing_was_not_started_and_says_why(self, bench: Bench, agent: Agent) -> None:
        result = play(bench, agent, agent.does("true"), argv=["/nonexistent/agent"])
        assert result.status is RunStatus.NOT_STARTED
        assert result.exit is None
        assert "/nonexistent/agent" in result.error
        assert "does not exist" in result.error

    def test_a_program_without_its_interpreter_was_not_started(self, bench: Bench, agent: Agent) -> None:
        program = bench.root / "agent"
        program.write_text("#!/nonexistent/interpreter\n")
        program.chmod(0o755)
        result = play(bench, agent, agent.does("true"), argv=[str(program)])
        assert result.status is RunStatus.NOT_STARTED
        assert str(program) in result.error

    def test_one_that_hangs_is_ended_when_its_time_is_over(self, bench: Bench, agent: Agent) -> None:
        result = play(bench, agent, agent.does("trap '' TERM; while :; do sleep 1; done"), wall_s=1)
        assert result.status is RunStatus.TIMEOUT
        assert result.signal in (signal.SIGKILL, signal.SIGTERM)
        assert "longer than 1 s" in result.error

    def test_one_that_says_nothing_is_ended_as_silent(self, bench: Bench, agent: Agent) -> None:
        result = play(bench, agent, agent.does("exec sleep 1000"), silent_s=1)
        assert result.status is RunStatus.SILENT

    def test_one_that_talks_is_not_silent(self, bench: Bench, agent: Agent) -> None:
        script = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done"
        result = play(bench, agent, agent.does(script), silent_s=1.2)
        assert (result.status, result.report) == (RunStatus.ENDED, "1\n2\n3\n4\n5\n6\n7\n8\n")

    def test_endless_output_is_ended_and_the_files_stay_small(self, bench: Bench, agent: Agent) -> None:
        run = start(bench, agent, agent.does("yes & yes >&2"), output_bytes=300_000)
        result = run.wait()
        assert result.status is RunStatus.OUTPUT_LIMIT
        size = run.folder.stdout.stat().st_size + run.folder.stderr.stat().st_size
        assert size == result.output_bytes == 300_000

    @linux_only
    @pytest.mark.parametrize(
        "escape",
        [
            "setsid sh -c 'echo $$ > pid; exec sleep 1000' >/dev/null 2>&1 &",
            "(setsid sh -c 'trap \"\" TERM HUP INT; echo $$ > pid; sleep 1000; sleep 1000' &) &",
            "nohup sh -c 'echo $$ > pid; exec sleep 1000' &",
            "(env -i setsid /bin/sh -c 'echo $$ > pid; exec sleep 1000' &)",
        ],
        ids=["setsid", "double fork, deaf, pipes open", "nohup", "without the marker"],
    )
    def test_a_daemon_that_it_leaves_dies_with_the_run(self, bench: Bench, agent: Agent, escape: str) -> None:
        result = play(bench, agent, agent.does(f"{escape}\nwhile ! [ -s pid ]; do sleep 0.01; done"))
        daemon = int((bench.tree / "pid").read_text())
        assert result.status is RunStatus.ENDED
        assert not is_alive(daemon)
        assert daemon in result.survivors

    def test_the_stop_file_ends_it(self, bench: Bench, agent: Agent) -> None:
        run = start(bench, agent, agent.does("echo $$ > pid; echo begun > work; while :; do sleep 1; done"))
        wait_until(lambda: (bench.tree / "work").exists())
        run.folder.stop.touch()
        result = run.wait()
        assert result.status is RunStatus.STOPPED
        assert not is_alive(int((bench.tree / "pid").read_text()))
        assert result.sealed is not None, "what it did until then is kept"

    def test_a_signal_to_the_shim_ends_it(self, bench: Bench, agent: Agent) -> None:
        run = start(bench, agent, agent.does("echo $$ > pid; echo begun > work; exec sleep 1000"))
        wait_until(lambda: (bench.tree / "work").exists())
        os.kill(run.shim, signal.SIGTERM)
        assert run.wait().status is RunStatus.STOPPED
        assert not is_alive(int((bench.tree / "pid").read_text()))

    @linux_only
    def test_when_the_shim_is_killed_the_lease_is_free_and_the_backend_dies(self, bench: Bench, agent: Agent) -> None:
        run = start(bench, agent, agent.does("echo $PPID > parent; echo $$ > pid; exec sleep 1000"))
        wait_until(lambda: (bench.tree / "pid").exists() and (bench.tree / "pid").read_text().strip())
        # The program that the shim started is the shell itself, or the scripted player above it.
        shell, parent = (int((bench.tree / name).read_text()) for name in ("pid", "parent"))
        program = shell if parent == run.shim else parent
        assert run.is_running()
        os.kill(run.shim, signal.SIGKILL)
        wait_until(lambda: not run.is_running())
        wait_until(lambda: not is_alive(program))
        bench.kill_strays(run.folder)
        wait_until(lambda: not is_alive(shell))

    def test_settings_that_make_no_sense_are_a_problem_and_no_launch(self, agent: Agent, tmp_path: Path) -> None:
        assert agent.backend.problem({}, path="/bin")
        with pytest.raises(InvalidFileError):
            agent.backend.launch({}, an_order(tmp_path))

    def test_it_is_found_by_its_name(self, agent: Agent) -> None:
        assert find_backend(agent.backend.name) is agent.backend


SETTINGS_OF: dict[str, dict[str, Any]] = {"command": {"argv": ("x",)}, "agy": {"login": True}}
"""Without these a type has another problem."""


@pytest.mark.parametrize(
    ("type_", "key", "value"),
    [
        ("command", "key_env", "KEY"),
        ("command", "login", True),
        ("command", "args", ("--quiet",)),
        ("command", "base_url", "http://127.0.0.1:1"),
        ("scripted", "argv", ("x",)),
        ("claude", "argv", ("claude",)),
        ("claude", "provider", "chat"),
        ("codex", "script", "plays.yaml"),
        ("gemini", "provider", "chat"),
        ("opencode", "argv", ("opencode",)),
        ("anthropic", "program", "claude"),
        ("agy", "key_env", "KEY"),
    ],
)
def test_a_setting_that_means_nothing_to_a_type_is_a_problem_and_no_launch(
    type_: str, key: str, value: object, tmp_path: Path
) -> None:
    backend, settings = find_backend(type_), {**SETTINGS_OF.get(type_, {}), key: value}
    if type_ == "scripted":
        settings["script"] = str(tmp_path / "plays.yaml")
        (tmp_path / "plays.yaml").write_text("[]")
    told = backend.problem(settings, path="/bin")
    assert f"`{key}` means nothing to the type {type_}" in told
    assert "take it out" in told
    with pytest.raises(InvalidFileError, match=f"`{key}`"):
        backend.launch(settings, replace(an_order(tmp_path), model="m", person_home=tmp_path))


@pytest.mark.parametrize("type_", BACKENDS)
def test_settings_that_nobody_gave_are_no_problem(type_: str) -> None:
    plain = asdict(BackendConfig(name="mine", type=type_, model="m", family="f", env={"A": "b"}, pass_env=("C",)))
    assert "means nothing" not in find_backend(type_).problem({**plain, **SETTINGS_OF.get(type_, {})}, path="/bin")


def test_an_unknown_backend_names_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_backend("comand")
    assert "'command'" in caught.value.hint


def test_a_command_that_is_not_installed_is_a_problem() -> None:
    assert "not on the PATH" in find_backend("command").problem({"argv": ["no-such-agent"]}, path="/bin")


class TestScripted:
    @pytest.fixture
    def actor(self, tmp_path: Path) -> ScriptedAgent:
        return ScriptedAgent(tmp_path)

    def test_the_first_play_that_fits_is_played(self, bench: Bench, actor: ScriptedAgent) -> None:
        settings = actor.plays(
            {"match": {"kind": "review"}, "say": "review"},
            {"match": {"title": "^log ?out"}, "say": "other title"},
            {"match": {"kind": "attempt", "title": "log ?in", "job": "^job-", "number": 1}, "say": "this"},
            {"say": "too late"},
        )
        assert play(bench, actor, settings, facts={"title": "Fix login"}).report == "this"

    def test_a_play_is_used_up(self, bench: Bench, actor: ScriptedAgent) -> None:
        settings = actor.plays({"times": 2, "say": "early"}, {"say": "late"})
        assert [play(bench, actor, settings).report for _ in range(3)] == ["early", "early", "late"]

    def test_no_play_that_fits_is_a_failure_with_a_reason(self, bench: Bench, actor: ScriptedAgent) -> None:
        result = play(bench, actor, actor.plays({"match": {"number": 99}, "say": "never"}))
        assert result.exit == 3
        assert "no play of script.yaml fits: job 'job-00000001', kind 'attempt'" in result.error

    def test_files_and_commits_of_a_play_are_sealed(self, bench: Bench, actor: ScriptedAgent) -> None:
        settings = actor.plays(
            {
                "write": {"src/new.py": "x = 1\n"},
                "append": {"README": "more\n"},
                "delete": ["Makefile"],
                "commit": "Do it",
            }
        )
        result = play(bench, actor, settings)
        assert result.sealed is not None
        assert result.sealed.own_commits
        assert (bench.tree / "README").read_text() == "a project\nmore\n"
        assert not (bench.tree / "Makefile").exists()

    def test_a_verdict_is_complete_and_bound_to_the_facts(self, bench: Bench, actor: ScriptedAgent) -> None:
        facts = {
            **{"job": "job-00000001", "title": "t", "commit": "c" * 40, "nonce": "n1", "files": ["a", "b"]},
            "items": [{"id": "tests", "question": "?", "required": True}, {"id": "docs", "question": "?"}],
        }
        settings = actor.plays({"verdict": "REVISE", "items": {"docs": False}, "findings": [{"problem": "no docs"}]})
        verdict = json.loads(play(bench, actor, settings, facts=facts).report)
        assert set(verdict) == {"nonce", "job", "commit", "verdict", "files", "items", "findings", "summary"}
        assert (verdict["nonce"], verdict["commit"], verdict["files"]) == ("n1", "c" * 40, ["a", "b"])
        assert [(item["id"], item["pass"]) for item in verdict["items"]] == [("tests", True), ("docs", False)]
        assert verdict["findings"][0]["severity"] == "blocking"

    def test_a_literal_reply_has_its_names_filled_in(self, bench: Bench, actor: ScriptedAgent) -> None:
        settings = actor.plays({"reply": 'Sure! {"nonce": "{nonce}", "commit": "{commit}"}', "to": "stdout"})
        result = play(bench, actor, settings, facts={"nonce": "n1", "commit": "c1"})
        assert result.report == 'Sure! {"nonce": "n1", "commit": "c1"}\n'

    def test_every_fix_is_answered(self, bench: Bench, actor: ScriptedAgent) -> None:
        facts = {"fixes": [{"id": "F1"}, {"id": "F2"}]}
        report = play(bench, actor, actor.plays({"say": "I did.", "answers": "fixed"}), facts=facts).report
        assert report.startswith("I did.\n\n```json\n")
        answers = json.loads(report.partition("```json\n")[2].removesuffix("\n```"))["answers"]
        assert [(answer["id"], answer["answer"]) for answer in answers] == [("F1", "fixed"), ("F2", "fixed")]

    def test_exit_signal_and_stderr_are_as_written(self, bench: Bench, actor: ScriptedAgent) -> None:
        result = play(bench, actor, actor.plays({"stderr": "overloaded", "exit": 9}))
        assert (result.exit, result.error) == (9, "overloaded")
        assert play(bench, actor, actor.plays({"signal": 9})).signal == 9

    def test_a_package_of_the_same_name_in_the_tree_is_not_imported(self, bench: Bench, actor: ScriptedAgent) -> None:
        for _ in range(2):
            settings = actor.plays({"write": {"orchestrator/__init__.py": "raise SystemExit(66)\n"}, "say": "fine"})
            assert play(bench, actor, settings).report == "fine"

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (None, "list of plays"),
            ({"play": []}, "unknown key 'play'"),
            ([{"wirte": {}}], "play 1.wirte: there is no such key"),
            ([{}, {"sleep": "long"}], "play 2.sleep: must be a number of seconds"),
            ([{"match": {"titel": "x"}}], "play 1.match.titel: there is nothing of that name"),
            ([{"match": {"title": "("}}], "play 1.match.title: is not a regular expression"),
            ([{"match": {"number": "1"}}], "play 1.match.number: must be a whole number"),
            ([{"verdict": "approved"}], "play 1.verdict: must be one of APPROVED, REVISE, REJECT"),
            ([{"write": {"../out": "x"}}], "'../out' is not a path inside the tree"),
            ([{"delete": ["/etc/passwd"]}], "'/etc/passwd' is not a path inside the tree"),
            (["say"], "play 1: must be a mapping"),
        ],
    )
    def test_a_mistake_in_a_script_is_named(self, content: object, words: str) -> None:
        with pytest.raises(InvalidFileError) as caught:
            parse_script(content)
        assert words in str(caught.value)

    def test_a_script_that_is_no_yaml_is_a_problem_with_file_and_line(self, tmp_path: Path) -> None:
        script = tmp_path / "script.yaml"
        script.write_text("plays:\n  - say: [\n")
        problem = find_backend("scripted").problem({"script": str(script)}, path="")
        assert f"{script}:" in problem

    def test_a_script_that_is_missing_is_a_problem(self, tmp_path: Path) -> None:
        assert "cannot be read" in find_backend("scripted").problem({"script": str(tmp_path / "no.yaml")}, path="")


@pytest.mark.parametrize("name", [name for name in BACKENDS if find_backend(name).capabilities.resume != "no"])
def test_the_session_that_goes_on_is_named_in_the_arguments_alone(name: str, tmp_path: Path) -> None:
    order = Order(run_folder=tmp_path, tree=tmp_path, state=tmp_path, model="m", read_only=True, person_home=tmp_path)
    launch = find_backend(name).launch({}, replace(order, resume=SAME_SESSION, session="another"))
    assert any(SAME_SESSION in word for word in launch.argv)
    assert SAME_SESSION not in json.dumps([launch.env, launch.files])
    assert not any("another" in word for word in launch.argv)
