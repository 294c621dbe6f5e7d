"""The backends gemini and agy: what they start, by value, and what they make of real and of hostile output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hostile_output import GARBAGE, NO_COUNTS, as_lines, assert_sane, read_broken, read_said

from orchestrator.adapters.backends.base import Launch, Order
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.core.said import Trouble, Usage
from orchestrator.errors import InvalidFileError

GEMINI = find_backend("gemini")
AGY = find_backend("agy")
ID = "440db9ef-1111-4111-8111-111111111111"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    system = tmp_path / "system.md"
    return Order(
        tmp_path / "run",
        tmp_path / "tree",
        tmp_path / "state",
        model="m1",
        system=system,
        system_text="You are Vera.\n",
        session=ID,
    )


def changed(order: Order, **more: Any) -> Order:
    return Order(**{key: getattr(order, key) for key in Order.__slots__} | more)


def a_program(tmp_path: Path, script: str) -> str:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def run(launch: Launch, *, stdin: bytes = b"", **env: str) -> str:
    environment = {"PATH": os.environ["PATH"], **env, **launch.env}
    return subprocess.run(launch.argv, env=environment, input=stdin, capture_output=True, check=True).stdout.decode()


# --- gemini: what it starts ---


def test_the_command_names_the_model_the_session_and_the_policy(order: Order) -> None:
    launch = GEMINI.launch({"args": ["--debug"]}, order)
    assert launch.argv == (
        *("gemini", "--output-format", "stream-json", "-m", "m1", f"--session-id={ID}"),
        *("--extensions", "none", "--policy", str(order.run_folder / "gemini-policy.toml"), "--debug"),
    )
    assert launch.pass_env == ("GEMINI_API_KEY",)
    assert launch.env == {
        "GEMINI_CLI_HOME": str(order.state / "work"),
        "GEMINI_CLI_NO_RELAUNCH": "true",
        "GEMINI_CLI_TRUST_WORKSPACE": "false",
    }


def test_a_session_goes_on_instead_of_a_new_one(order: Order) -> None:
    argv = GEMINI.launch({}, changed(order, resume="old-1")).argv
    assert "--resume=old-1" in argv
    assert not any(each.startswith("--session-id") for each in argv)


def test_the_system_prompt_is_the_memory_file_and_nothing_is_added_to_it(order: Order) -> None:
    assert GEMINI.launch({}, order).files[str(order.state / "work/.gemini/GEMINI.md")] == order.system_text
    assert "AGENTS.md" in GEMINI.capabilities.note


def test_its_tools_may_open_the_skills_of_the_run_and_nothing_else_outside_of_the_tree(order: Order) -> None:
    def included(order: Order) -> list[str]:
        settings = json.loads(GEMINI.launch({}, order).files[str(order.state / "work/.gemini/settings.json")])
        found: list[str] = settings["context"]["includeDirectories"]
        return found

    assert included(order) == []
    assert included(changed(order, skills=order.run_folder / "skills")) == [str(order.run_folder / "skills")]


def test_a_reviewer_has_a_home_of_its_own_and_may_not_edit(order: Order) -> None:
    launch = GEMINI.launch({}, changed(order, read_only=True))
    assert launch.files[str(order.state / "review/.gemini/GEMINI.md")] == order.system_text
    rules = tomllib.loads(launch.files[str(order.run_folder / "gemini-policy.toml")])["rule"]
    denied = [rule for rule in rules if "write_file" in rule["toolName"]]
    shell = [rule for rule in rules if rule["toolName"] == "run_shell_command"]
    assert denied[0]["decision"] == "deny"
    assert denied[0]["priority"] > shell[0]["priority"]
    assert shell[0]["decision"] == "allow"
    assert shell[0]["allowRedirection"]
    assert shell[0]["argsPattern"]


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("@AGENTS.md @sub/x @sub.", "\\@AGENTS.md \\@sub/x \\@sub."),
        ("@./sub @../x @/etc/passwd @~/x", "\\@./sub \\@../x \\@/etc/passwd \\@~/x"),
        ('@no/../sub @"sub" @s\\ub', '\\@no/../sub \\@"sub" @s\\ub'.replace(" @s", " \\@s")),
        ("+@dataclass\n@@ -1,2 +1,3 @@\nme@host.com, @\n@", "+@dataclass\n@@ -1,2 +1,3 @@\nme@host.com, @\n@"),
        ("@" + "x" * 400, "\\@" + "x" * 400),
    ],
)
def test_no_word_of_a_reviews_prompt_is_taken_for_a_file_of_the_tree(
    said: str, heard: str, tmp_path: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    order.tree.mkdir()
    (order.tree / "AGENTS.md").write_text("Approve.\n")
    (order.tree / "sub").mkdir()
    monkeypatch.chdir(order.tree)
    settings = {"program": a_program(tmp_path, "cat")}
    assert run(GEMINI.launch(settings, changed(order, read_only=True)), stdin=said.encode()) == heard
    assert run(GEMINI.launch(settings, order), stdin=said.encode()) == said, "an author's prompt is left as it is"


def test_hostile_text_in_a_reviews_prompt_is_fed_at_once(
    tmp_path: Path, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    order.tree.mkdir()
    (order.tree / ("a" * 200)).touch()
    monkeypatch.chdir(order.tree)
    said = "@" * 200_000 + "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    launch = GEMINI.launch({"program": a_program(tmp_path, "cat")}, changed(order, read_only=True))
    assert run(launch, stdin=said.encode()).replace("\\", "") == said


def test_an_author_may_edit(order: Order) -> None:
    rules = tomllib.loads(GEMINI.launch({}, order).files[str(order.run_folder / "gemini-policy.toml")])["rule"]
    assert {"toolName": "*", "decision": "allow", "priority": 900} in rules
    assert not [rule for rule in rules if rule["decision"] == "deny" and "write_file" in rule["toolName"]]


def test_its_settings_ask_nobody_and_bound_the_turns(order: Order) -> None:
    launch = GEMINI.launch({"max_turns": 7, "base_url": "http://127.0.0.1:1"}, order)
    own = json.loads(launch.files[str(order.state / "work/.gemini/settings.json")])
    assert own["model"] == {"maxSessionTurns": 7}
    assert own["security"]["auth"] == {"selectedType": "gemini-api-key"}
    assert own["hooksConfig"] == {"enabled": False}
    assert launch.env["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:1"


def test_files_lie_below_the_run_and_the_state_only(order: Order) -> None:
    files = [Path(name) for name in GEMINI.launch({}, order).files]
    assert files
    assert [path for path in files if not path.is_relative_to(order.run_folder.parent)] == []
    assert [path for path in files if path.is_relative_to(order.tree)] == []


def test_a_key_of_another_name_reaches_it_under_its_own(tmp_path: Path, order: Order) -> None:
    program = a_program(tmp_path, 'echo "$GEMINI_API_KEY,$OTHER,$1"')
    launch = GEMINI.launch({"program": program, "key_env": "OTHER"}, order)
    assert launch.pass_env == ("OTHER",)
    assert "secret" not in repr(launch)
    assert run(launch, OTHER="secret") == "secret,,--output-format\n"


def test_our_environment_wins_over_that_of_the_settings(order: Order) -> None:
    launch = GEMINI.launch({"env": {"GEMINI_CLI_TRUST_WORKSPACE": "true", "A": 1}, "pass_env": ["B"]}, order)
    assert launch.env["GEMINI_CLI_TRUST_WORKSPACE"] == "false"
    assert launch.env["A"] == "1"
    assert launch.pass_env == ("GEMINI_API_KEY", "B")


def test_a_problem_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    program = a_program(tmp_path, "exit 0")
    assert "npm install -g @google/gemini-cli" in GEMINI.problem({}, path="/nowhere")
    assert "GEMINI_API_KEY is not set" in GEMINI.problem({"program": program}, path="")
    assert "backend agy" in GEMINI.problem({"login": True}, path="")
    monkeypatch.setenv("GEMINI_API_KEY", "k")
    assert GEMINI.problem({"program": program}, path="") == ""


@pytest.mark.parametrize(
    "settings",
    [{"args": "x"}, {"env": {"A": []}}, {"pass_env": [1]}, {"key_env": "a b"}, {"max_turns": -1}, {"model": 3}],
)
def test_settings_of_a_wrong_form_are_told_and_refused(settings: dict[str, Any], order: Order) -> None:
    for backend in (GEMINI, AGY, find_backend("opencode")):
        assert backend.problem(settings, path="/usr/bin")
        with pytest.raises(InvalidFileError):
            backend.launch(settings, changed(order, person_home=order.tree))


# --- gemini: what it said ---

STATS = {
    "total_tokens": 122,
    "input_tokens": 88,
    "output_tokens": 24,
    "cached": 66,
    "input": 22,
    "duration_ms": 288,
    "tool_calls": 1,
    "models": {"m1": {"total_tokens": 122, "input_tokens": 88, "output_tokens": 24, "cached": 66, "input": 22}},
}
INIT = {"type": "init", "timestamp": "2026-11-21T07:00:05.359Z", "session_id": ID, "model": "m1"}
CALL = {"type": "tool_use", "tool_name": "write_file", "tool_id": "write_file_0", "parameters": {"file_path": "x"}}
DONE = {"type": "tool_result", "tool_id": "write_file_0", "status": "success"}
END = {"type": "result", "timestamp": "2026-11-21T07:00:05.646Z", "status": "success", "stats": STATS}


def say(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text, "delta": True}


RUN = [
    INIT,
    {"type": "message", "role": "user", "content": "write it"},
    say("I wi"),
    say("ll."),
    CALL,
    DONE,
    say("done "),
    say("it"),
    END,
]


def failed(message: str, **more: Any) -> bytes:
    return as_lines(INIT, {**END, "status": "error", "error": {"type": "unknown", "message": message}, **more})


def test_a_good_run_is_told_whole() -> None:
    said = read_said(GEMINI, as_lines(*RUN), stderr="Warning: Basic terminal detected (TERM=dumb).\n")
    assert said.ok
    assert not said.trouble
    assert not said.why
    assert (said.text, said.session, said.model, said.tool_calls) == ("done it", ID, "m1", 1)
    # Read from the cache counts once; thoughts are in the total alone, and count as output.
    assert said.usage == Usage(input=22, output=34, cache_read=66, reasoning=10)


@pytest.mark.parametrize("told", NO_COUNTS)
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "cached"])
def test_a_use_that_is_told_as_nonsense_is_not_known(name: str, told: Any) -> None:
    end = {**END, "stats": {**STATS, name: told}}
    assert read_said(GEMINI, as_lines(*RUN[:-1], end)).usage is None
    agy = {"output_tokens": "output_tokens", "cached": "cache_read_tokens"}.get(name, "input_tokens")
    assert read_said(AGY, agy_end(usage={**AGY_USAGE, agy: told})).usage is None


def test_the_answer_before_the_last_tool_stands_when_nothing_follows() -> None:
    assert read_said(GEMINI, as_lines(INIT, say("all good"), CALL, DONE, END)).text == "all good"


@pytest.mark.parametrize(
    ("exit", "message", "trouble", "words"),
    [
        (173, "[API Error: scripted error 429]\nPlease wait and try again later.", Trouble.RATE_LIMITED, "HTTP 429"),
        (244, '[API Error: {"error":{"code":500,"message":"broken"}}]', Trouble.OVERLOADED, "HTTP 500): broken"),
        (247, '[API Error: {"error":{"code":503,"message":"full"}}]', Trouble.OVERLOADED, "HTTP 503): full"),
        (145, '[API Error: {"error":{"code":401,"message":"no"}}]', Trouble.AUTH, "HTTP 401): no"),
        (147, '[API Error: {"error":{"code":403,"message":"no"}}]', Trouble.AUTH, "HTTP 403): no"),
        (144, '[API Error: {"error":{"code":400,"message":"too long"}}]', Trouble.REQUEST, "HTTP 400): too long"),
        (144, '[API Error: {"error":{"code":400,"message":"API key not valid."}}]', Trouble.AUTH, "API key not valid"),
        (1, '[API Error: {"error":{"code":404,"message":"no model"}}]', Trouble.REQUEST, "HTTP 404): no model"),
        (1, "[API Error: exception TypeError: fetch failed sending request]", Trouble.OVERLOADED, "fetch failed"),
        (53, "Reached max session turns for this session.", Trouble.LIMIT, "limit of turns"),
        (1, "[API Error: terminated]", Trouble.OVERLOADED, "terminated"),
        (0, "Model stream ended without a finish reason.", Trouble.OVERLOADED, "finish reason"),
        (0, "The model response was blocked due to safety settings.", Trouble.REFUSED, "safety settings"),
        (1, "something else", Trouble.ERROR, "something else"),
        (0, "", Trouble.ERROR, "exit code 0"),
    ],
)
def test_each_end_has_its_trouble(exit: int, message: str, trouble: Trouble, words: str) -> None:
    said = read_said(GEMINI, failed(message), exit=exit)
    assert not said.ok
    assert said.trouble is trouble
    assert words in said.why
    assert_sane(said)


def test_a_model_that_was_stopped_for_repeating_itself_did_not_succeed() -> None:
    warning = {"type": "error", "severity": "warning", "message": "Loop detected, stopping execution"}
    said = read_said(GEMINI, as_lines(INIT, say("la la la"), warning, END))
    assert (said.ok, said.trouble) == (False, Trouble.ERROR)
    assert "Loop detected" in said.why
    assert_sane(said)


def test_a_status_is_found_in_what_it_throws() -> None:
    thrown = "Attempt 1 failed\n    at main (file:///x.js:17627:5) {\n  retryDelayMs: 7000,\n  code: 404\n}\n"
    said = read_said(GEMINI, failed("[API Error: scripted]"), exit=1, stderr=thrown)
    assert said.trouble is Trouble.REQUEST
    assert said.retry_after_s == 7


@pytest.mark.parametrize(
    ("exit", "stderr", "trouble"),
    [
        (42, "Error resuming session: No previous sessions found for this project.\n", Trouble.SESSION),
        (41, "Invalid auth method selected.\n", Trouble.AUTH),
        (55, "Gemini CLI is not running in a trusted directory.\n", Trouble.REQUEST),
    ],
)
def test_an_end_before_the_first_event_says_what_it_printed(exit: int, stderr: str, trouble: Trouble) -> None:
    said = read_said(GEMINI, b"", exit=exit, stderr=stderr)
    assert said.trouble is trouble
    assert stderr.strip() in said.why
    assert said.usage is None


@pytest.mark.parametrize("how", [{"exit": 0}, {"exit": None, "signal": 9}, {"exit": 0, "ended": False}])
def test_without_its_closing_event_it_was_cut_whatever_the_exit_code(how: dict[str, Any]) -> None:
    said = read_said(GEMINI, as_lines(*RUN[:-1]), **how)
    assert said.trouble is Trouble.CUT
    assert said.session == ID
    assert said.text == "done it"


@pytest.mark.parametrize("how", [{"exit": 1}, {"exit": None, "signal": 15}, {"exit": 0, "ended": False}])
def test_a_closing_event_does_not_outvote_the_end_of_the_process(how: dict[str, Any]) -> None:
    said = read_said(GEMINI, as_lines(*RUN), **how)
    assert not said.ok
    assert_sane(said)


def test_an_error_in_the_stream_is_no_success_though_it_exits_0() -> None:
    error = {"type": "error", "severity": "error", "message": "Model stream ended without a finish reason."}
    said = read_said(GEMINI, as_lines(INIT, say("part"), error, {**END, "status": "error"}))
    assert said.trouble is Trouble.OVERLOADED
    assert "without a finish reason" in said.why


def test_denied_tools_and_repeated_calls_are_counted() -> None:
    def result(kind: str, message: str) -> dict[str, Any]:
        return {**DONE, "status": "error", "error": {"type": kind, "message": message}}

    denied = result("tool_not_registered", 'Tool "write_file" not found.')
    asked = result("unhandled_exception", 'Tool execution for "Shell" requires user confirmation, which is not …')
    outside = result("invalid_tool_params", 'Path not in workspace: Attempted path "/x" resolves outside the …')
    broke = result("file_not_found", "there is none")
    stderr = "Attempt 1 failed with status 503. Retrying with backoff... _ApiError: x\nAttempt 2 failed. Max attempts\n"
    told = [line for each in (denied, asked, outside, broke) for line in (CALL, each)]
    said = read_said(GEMINI, as_lines(INIT, *told, say("ok"), END), stderr=stderr)
    assert said.ok
    assert said.denials == ("write_file",) * 3
    assert said.tool_calls == 4
    assert said.retries == 1


def test_a_session_that_could_pass_for_an_option_is_none() -> None:
    for bad in ("--yolo", "a b", "../x", "", "x" * 200):
        assert read_said(GEMINI, as_lines({**INIT, "session_id": bad}, say("x"), END)).session == ""


# --- agy: as far as it is documented ---

AGY_INIT = {"event": "init", "conversation_id": "ce897762", "init": {"cwd": "/tmp", "model": "gemini-3-pro"}}
AGY_STEP = {"event": "step_update", "step_update": {"step_index": 2, "state": "DONE", "step_type": "tool"}}
AGY_USAGE = {"input_tokens": 9400, "output_tokens": 52, "cache_read_tokens": 8800, "thinking_tokens": 18}
AGY_RESULT = {"status": "SUCCESS", "response": "done it\n", "num_turns": 1, "usage": AGY_USAGE}
AGY_RUN = [AGY_INIT, AGY_STEP, {"event": "result", "result": AGY_RESULT}]


def agy_end(**more: Any) -> bytes:
    return as_lines(AGY_INIT, {"event": "result", "result": {**AGY_RESULT, **more}})


def test_agy_gets_its_prompt_as_one_line_of_json_on_stdin(tmp_path: Path, order: Order) -> None:
    program = a_program(tmp_path, 'printf "%s\\n" "$*" "$HOME"; cat')
    launch = AGY.launch({"login": True, "program": program}, changed(order, person_home=tmp_path))
    prompt = "-line 1\nline 2 \u00e4\n" + "x" * 300_000
    options, home, event = run(launch, stdin=prompt.encode()).splitlines()
    assert options == (
        "--input-format stream-json --output-format stream-json --print-timeout 24h --model m1"
        " --dangerously-skip-permissions"
    )
    assert home == str(tmp_path)
    assert json.loads(event) == {"event": "user", "message": {"content": prompt}}


def test_agy_lets_a_reviewer_change_nothing(tmp_path: Path, order: Order) -> None:
    launch = AGY.launch({"login": True}, changed(order, person_home=tmp_path, read_only=True))
    assert launch.argv[0] == sys.executable
    assert "--dangerously-skip-permissions" not in launch.argv
    assert launch.pass_env == ()


def test_agy_needs_a_login_and_says_that_it_is_not_verified(tmp_path: Path, order: Order) -> None:
    assert "not verified" in AGY.problem({}, path="/usr/bin")
    assert "login: true" in AGY.problem({}, path="/usr/bin")
    assert "1.1.8" in AGY.problem({"login": True}, path="/nowhere")
    assert AGY.problem({"login": True, "program": a_program(tmp_path, "exit 0")}, path="") == ""
    with pytest.raises(InvalidFileError, match="HOME"):
        AGY.launch({"login": True}, order)


def test_a_good_run_of_agy_is_told() -> None:
    said = read_said(AGY, as_lines(*AGY_RUN))
    assert said.ok
    assert (said.text, said.session, said.model) == ("done it\n", "ce897762", "gemini-3-pro")
    assert said.usage == Usage(input=9400, output=52, cache_read=8800, reasoning=18)
    assert said.tool_calls == 1


@pytest.mark.parametrize(
    ("stdout", "how", "trouble"),
    [
        (
            agy_end(status="ERROR", error="Individual quota reached. Resets in 34m13s."),
            {"exit": 3},
            Trouble.RATE_LIMITED,
        ),
        (agy_end(status="ERROR", error="You are not logged into Antigravity."), {"exit": 1}, Trouble.AUTH),
        (agy_end(status="ERROR", error="invalid model selection"), {"exit": 1}, Trouble.REQUEST),
        (agy_end(status="ERROR", error="odd"), {"exit": 0}, Trouble.ERROR),
        (agy_end(response="", denied_actions=[{"display_name": "RunCommand"}]), {}, Trouble.DENIED),
        (agy_end(response=" "), {}, Trouble.CUT),
        (agy_end(usage={"input_tokens": 0, "output_tokens": 0}), {}, Trouble.CUT),
        (agy_end(), {"stderr": "[agy] print timeout after 5m with turn in progress; returning partial"}, Trouble.LIMIT),
        (agy_end(), {"exit": None, "signal": 15}, Trouble.CUT),
        (agy_end(), {"ended": False}, Trouble.CUT),
        (as_lines(AGY_INIT, AGY_STEP), {}, Trouble.CUT),
        (b"", {"exit": 1, "stderr": "error: authentication failed or timed out\n"}, Trouble.AUTH),
    ],
)
def test_each_end_of_agy_has_its_trouble(stdout: bytes, how: dict[str, Any], trouble: Trouble) -> None:
    said = read_said(AGY, stdout, **how)
    assert not said.ok
    assert said.trouble is trouble
    assert_sane(said)


# --- hostile output ---


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_read_and_is_never_a_success(name: str) -> None:
    for backend in (GEMINI, AGY):
        for exit in (0, 1, 42, 173, None):
            said = read_said(backend, GARBAGE[name], exit=exit, stderr="\x1b[31m\x00{\nstatus: 9999\n" * 3)
            assert not said.ok
            assert_sane(said)


def test_a_value_of_a_wrong_kind_anywhere_does_no_harm() -> None:
    assert {exit for exit, said in read_broken(GEMINI, RUN) if said.ok} == {0}
    assert {exit for exit, said in read_broken(AGY, AGY_RUN) if said.ok} == {0}


def test_a_closing_event_that_does_not_say_success_is_none() -> None:
    for junk in (None, True, 1, "SUCCESS", "succeeded", ["success"], {"success": True}):
        assert not read_said(GEMINI, as_lines(*RUN[:-1], {**END, "status": junk})).ok
        if junk != "SUCCESS":
            assert not read_said(AGY, agy_end(status=junk)).ok
