"""The backend claude: what it starts, by value, and what it makes of real and of hostile output."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostile_output import GARBAGE, NO_COUNTS, as_lines, assert_sane, read_broken, read_said

from orchestrator.adapters.backends.base import Order
from orchestrator.adapters.backends.claude import OF_MODEL
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.core.said import Trouble, Usage
from orchestrator.errors import InvalidFileError

CLAUDE = find_backend("claude")
ID = "6c9b337c-098f-45d6-80e8-f39dbce6403b"
OLD = "7c628c81-330e-4a3b-b364-ac42a3f73249"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    system = tmp_path / "run" / "system.md"
    return Order(
        tmp_path / "run", tmp_path / "tree", tmp_path / "state", "claude-sonnet-5", system, "You are Vera.\n", ID
    )


def after(argv: tuple[str, ...], option: str) -> str:
    """The value of an option that is there once."""
    assert argv.count(option) == 1
    return argv[argv.index(option) + 1]


def a_program(tmp_path: Path, script: str) -> str:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


# --- what it starts ---


def test_the_command_is_this_one(order: Order) -> None:
    launch = CLAUDE.launch({"max_turns": 7, "args": ["--effort", "low"], "base_url": "http://127.0.0.1:1"}, order)
    tools = "Bash,Glob,Grep,Read,Edit,NotebookEdit,Task,WebFetch,WebSearch,Write"
    assert launch.argv == (
        *("claude", "-p", " ", "--output-format", "stream-json", "--verbose", "--model", "claude-sonnet-5"),
        *("--session-id", ID, "--append-system-prompt-file", str(order.system)),
        *("--permission-mode", "acceptEdits", "--tools", tools, "--allowedTools", tools),
        *("--setting-sources", "", "--strict-mcp-config", "--max-turns", "7", "--effort", "low"),
    )
    assert launch.env == {
        "CLAUDE_CONFIG_DIR": str(order.state),
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_MAX_RETRIES": "3",
        "API_TIMEOUT_MS": "300000",
    }
    assert launch.pass_env == ("ANTHROPIC_API_KEY",)
    assert launch.files == {}


def test_a_session_goes_on_instead_of_a_new_one(order: Order) -> None:
    argv = CLAUDE.launch({}, replace(order, resume=OLD)).argv
    assert after(argv, "--resume") == OLD
    assert "--session-id" not in argv
    assert "--append-system-prompt-file" in argv


def test_a_reviewer_has_no_tool_that_edits(order: Order) -> None:
    launch = CLAUDE.launch({"env": {"CLAUDE_CODE_DISABLE_FILE_MENTIONS": "0"}}, replace(order, read_only=True))
    argv = launch.argv
    assert launch.env["CLAUDE_CODE_DISABLE_FILE_MENTIONS"] == launch.env["CLAUDE_CODE_DISABLE_CLAUDE_MDS"] == "1"
    assert "CLAUDE_CODE_DISABLE_FILE_MENTIONS" not in CLAUDE.launch({}, order).env
    assert after(argv, "--tools") == after(argv, "--allowedTools") == "Bash,Glob,Grep,Read"
    assert after(argv, "--permission-mode") == "default"


def test_the_form_of_a_verdict_is_told_and_what_is_filled_in_is_the_answer(order: Order) -> None:
    argv = CLAUDE.launch({}, replace(order, answer_schema='{"type":"object"}')).argv
    assert argv[argv.index("--json-schema") + 1] == '{"type":"object"}'
    end = {"type": "result", "subtype": "success", "is_error": False, "result": "Here it is."}
    filled = {"verdict": "REVISE"}
    assert json.loads(read_said(CLAUDE, as_lines({**end, "structured_output": filled})).text) == filled
    assert read_said(CLAUDE, as_lines({**end, "structured_output": "APPROVED"})).text == "Here it is."


def test_without_a_soul_no_file_is_named(order: Order) -> None:
    assert "--append-system-prompt-file" not in CLAUDE.launch({}, replace(order, system=None)).argv


def test_nothing_of_the_prompt_or_the_soul_is_in_the_arguments(order: Order) -> None:
    assert "Vera" not in repr(CLAUDE.launch({}, order))


def test_a_person_may_be_more_patient_but_not_turn_the_switches(order: Order) -> None:
    given = {"CLAUDE_CODE_MAX_RETRIES": 9, "DISABLE_AUTOUPDATER": "0", "CLAUDE_CONFIG_DIR": "/x", "A": "b"}
    env = CLAUDE.launch({"env": given}, order).env
    assert (env["CLAUDE_CODE_MAX_RETRIES"], env["A"]) == ("9", "b")
    assert (env["DISABLE_AUTOUPDATER"], env["CLAUDE_CONFIG_DIR"]) == ("1", str(order.state))


def test_a_key_of_another_name_reaches_it_under_its_own(tmp_path: Path, order: Order) -> None:
    program = a_program(tmp_path, 'echo "$ANTHROPIC_API_KEY,$OTHER,$1"')
    launch = CLAUDE.launch({"program": program, "key_env": "OTHER", "pass_env": ["MORE", "OTHER"]}, order)
    assert launch.pass_env == ("OTHER", "MORE")
    env = {"PATH": os.environ["PATH"], "OTHER": "secret", **launch.env}
    assert subprocess.run(launch.argv, env=env, capture_output=True, check=True).stdout == b"secret,,-p\n"
    token = CLAUDE.launch({"key_env": "CLAUDE_CODE_OAUTH_TOKEN"}, order)
    assert (token.argv[0], token.pass_env) == ("claude", ("CLAUDE_CODE_OAUTH_TOKEN",))


def test_a_login_takes_the_persons_home_and_no_key(tmp_path: Path, order: Order) -> None:
    launch = CLAUDE.launch({"login": True}, replace(order, person_home=tmp_path))
    assert launch.env["HOME"] == str(tmp_path)
    assert "CLAUDE_CONFIG_DIR" not in launch.env
    assert launch.pass_env == ()
    with pytest.raises(InvalidFileError, match="HOME"):
        CLAUDE.launch({"login": True}, order)


def test_a_problem_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    program = a_program(tmp_path, "exit 1")
    assert "npm install -g @anthropic-ai/claude-code" in CLAUDE.problem({}, path="/nowhere")
    assert "ANTHROPIC_API_KEY is not set" in CLAUDE.problem({"program": program}, path="")
    assert CLAUDE.problem({"program": program, "login": True}, path="") == ""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert CLAUDE.problem({"program": program}, path="") == ""


@pytest.mark.parametrize(
    "settings",
    [{"args": "x"}, {"env": {"A": []}}, {"pass_env": [1]}, {"key_env": "a b"}, {"max_turns": -1}, {"model": 3}],
)
def test_settings_of_a_wrong_form_are_told_and_refused(settings: dict[str, Any], order: Order) -> None:
    assert CLAUDE.problem(settings, path="/usr/bin")
    with pytest.raises(InvalidFileError):
        CLAUDE.launch(settings, order)


# --- what it said ---

INIT = {"type": "system", "subtype": "init", "session_id": ID, "model": "claude-sonnet-5", "tools": ["Bash", "Edit"]}
CALLED = {"input_tokens": 100, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 1}


def message(*blocks: dict[str, Any], id: str = "msg_1", model: str = "claude-sonnet-5", **more: Any) -> dict[str, Any]:
    inner = {"id": id, "type": "message", "role": "assistant", "model": model, "content": blocks, "usage": CALLED}
    return {"type": "assistant", "message": inner, "parent_tool_use_id": None, "session_id": ID, **more}


def say(text: str, **more: Any) -> dict[str, Any]:
    return message({"type": "text", "text": text}, **more)


CALL = message({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "true"}})
TOLD = {
    "type": "user",
    "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}]},
}
MODEL = {
    "inputTokens": 200,
    "outputTokens": 20,
    "cacheReadInputTokens": 60,
    "cacheCreationInputTokens": 40,
    "thinkingTokens": 5,
    "costUSD": 0.0015,
}
END = {
    "duration_api_ms": 128,
    "stop_reason": "end_turn",
    "session_id": ID,
    "total_cost_usd": 0.0045,
    "usage": {**CALLED, "output_tokens": 20, "output_tokens_details": {"thinking_tokens": 5}},
    "modelUsage": {"claude-sonnet-5": {**MODEL, "inputTokens": 600, "costUSD": 0.0045}},
    "model_usage_since_last_result": {"claude-sonnet-5": MODEL},
    "permission_denials": [],
    "terminal_reason": "completed",
    "is_error": False,
    "num_turns": 2,
    "subtype": "success",
    "api_error_status": None,
    "result": "done it",
    "type": "result",
}
RUN = [INIT, CALL, TOLD, say("done it", id="msg_2"), END]


def retry(status: int | None, ms: float, attempt: int = 1) -> dict[str, Any]:
    return {"type": "system", "subtype": "api_retry", "attempt": attempt, "retry_delay_ms": ms, "error_status": status}


def failed(told: str, status: int | None = None, *before: dict[str, Any], **more: Any) -> bytes:
    synthetic = say(told, model="<synthetic>", id="x")
    bad = {**END, "is_error": True, "api_error_status": status, "result": told, "terminal_reason": "api_error"}
    return as_lines(INIT, say("so far"), *before, synthetic, {**bad, **more})


def test_a_good_run_is_told_whole() -> None:
    said = read_said(CLAUDE, as_lines(*RUN))
    assert said.ok
    assert (said.trouble, said.why) == (Trouble.NONE, "")
    assert (said.text, said.session, said.model, said.tool_calls) == ("done it", ID, "claude-sonnet-5", 1)
    assert (said.retries, said.fallbacks, said.denials, said.so_far) == (0, (), (), None)


def test_tokens_and_cost_are_those_of_the_run_though_the_totals_are_of_the_session() -> None:
    other = {**MODEL, "inputTokens": 1000, "costUSD": 0.0001}
    end = {**END, "model_usage_since_last_result": {"claude-sonnet-5": MODEL, "claude-haiku-4-5": other}}
    assert read_said(CLAUDE, as_lines(*RUN)).usage == Usage(200, 20, 60, 40, 5, 1500)
    assert read_said(CLAUDE, as_lines(INIT, end)).usage == Usage(1200, 40, 120, 80, 10, 1600)


def test_a_version_that_counts_by_run_is_taken_at_its_word() -> None:
    end = {key: value for key, value in END.items() if key != "model_usage_since_last_result"}
    assert read_said(CLAUDE, as_lines(INIT, end)).usage == Usage(100, 20, 30, 20, 5, 4500)


def test_a_cost_that_was_not_told_is_none_and_one_of_nothing_is_told() -> None:
    unpriced = {key: value for key, value in MODEL.items() if key != "costUSD"}
    for told, cost in (
        ({"a": unpriced}, None),
        ({"a": {**MODEL, "costUSD": None}}, None),
        ({"a": MODEL, "b": unpriced}, None),
        ({}, None),
        ({"a": {**MODEL, "costUSD": 0}}, 0),
    ):
        used = read_said(CLAUDE, as_lines(INIT, {**END, "model_usage_since_last_result": told})).usage
        assert used is not None
        assert used.cost_microusd == cost
    old = {key: value for key, value in END.items() if key not in ("model_usage_since_last_result", "total_cost_usd")}
    assert read_said(CLAUDE, as_lines(INIT, old)).usage == Usage(100, 20, 30, 20, 5)


@pytest.mark.parametrize("told", NO_COUNTS)
@pytest.mark.parametrize("name", OF_MODEL)
def test_a_use_that_is_told_as_nonsense_is_not_known(name: str, told: Any) -> None:
    new = {**END, "model_usage_since_last_result": {"a": MODEL, "b": {**MODEL, name: told}}}
    assert read_said(CLAUDE, as_lines(*RUN[:-1], new)).usage is None
    if name != "inputTokens":
        return
    old = {key: value for key, value in END.items() if key != "model_usage_since_last_result"}
    old["usage"] = {**CALLED, "cache_read_input_tokens": told}
    assert read_said(CLAUDE, as_lines(*RUN[:-1], old)).usage is None


@pytest.mark.parametrize("told", [-1, 1e13, float("nan"), "3"])
def test_a_cost_that_is_told_as_nonsense_is_none(told: Any) -> None:
    end = {**END, "model_usage_since_last_result": {"a": {**MODEL, "costUSD": told}}}
    used = read_said(CLAUDE, as_lines(INIT, end)).usage
    assert used is not None
    assert used.cost_microusd is None


def test_the_conversation_is_as_long_as_its_newest_message_of_its_own() -> None:
    newest = say("x", id="msg_2")
    newest["message"]["usage"] = {**CALLED, "input_tokens": 300}
    helper = say("helper", id="msg_3", parent_tool_use_id="toolu_1")
    assert read_said(CLAUDE, as_lines(INIT, CALL, TOLD, newest, helper, END)).context == 351
    assert read_said(CLAUDE, as_lines(INIT, END)).context == 0


def test_what_an_unfinished_run_used_is_told_as_far_as_it_is_known() -> None:
    said = read_said(CLAUDE, as_lines(INIT, CALL, say("more"), TOLD, say("x", id="msg_2")), exit=None, signal=9)
    assert said.usage == Usage(200, 2, 60, 40)
    assert read_said(CLAUDE, as_lines(INIT), exit=1).usage is None


def test_the_answer_before_the_last_tool_stands_when_nothing_follows() -> None:
    said = read_said(CLAUDE, as_lines(INIT, say("all good"), CALL, TOLD, {**END, "result": ""}))
    assert (said.ok, said.text) == (True, "all good")


def test_the_words_of_a_helper_of_the_agent_are_not_the_answer() -> None:
    helper = say("helper", model="claude-haiku-4-5", parent_tool_use_id="toolu_1")
    said = read_said(CLAUDE, as_lines(INIT, say("mine"), helper), exit=None, signal=15)
    assert (said.text, said.model) == ("mine", "claude-sonnet-5")


def test_denials_retries_and_fallbacks_are_told() -> None:
    fallback = {"type": "system", "subtype": "model_fallback", "original_model": "a", "fallback_model": "b"}
    end = {**END, "permission_denials": [{"tool_name": "Bash", "tool_input": {}}, {"tool_name": "Write"}, 7]}
    said = read_said(CLAUDE, as_lines(INIT, retry(529, 600), retry(529, 1100, 2), fallback, say("x", model="b"), end))
    assert said.ok
    assert (said.denials, said.retries, said.fallbacks) == (("Bash", "Write", "a tool"), 2, ("a -> b",))
    assert (said.model, said.retry_after_s) == ("b", 0)


@pytest.mark.parametrize(
    ("stdout", "trouble", "words"),
    [
        (failed("API Error: Request rejected (429) · slow down", 429), Trouble.RATE_LIMITED, "HTTP 429): API Error"),
        (failed("You've hit your session limit · resets 3pm"), Trouble.RATE_LIMITED, "resets 3pm"),
        (failed("Credit balance is too low", 400), Trouble.RATE_LIMITED, "Credit balance"),
        (failed("API Error: 529 Overloaded. This is a server-side issue", 529), Trouble.OVERLOADED, "HTTP 529"),
        (failed("API Error: 500 broken", 500), Trouble.OVERLOADED, "HTTP 500"),
        (failed("API Error: Connection refused (ECONNREFUSED)"), Trouble.OVERLOADED, "refused"),
        (failed("API Error: Server error mid-response."), Trouble.OVERLOADED, "mid-response"),
        (failed("Invalid API key · Fix external API key", 401), Trouble.AUTH, "Invalid API key"),
        (failed("Failed to authenticate. API Error: 403 no", 403), Trouble.AUTH, "HTTP 403"),
        (failed("Not logged in · Please run /login"), Trouble.AUTH, "Not logged in"),
        (failed("API Error: 400 bad", 400), Trouble.REQUEST, "HTTP 400"),
        (failed("There's an issue with the selected model (x).", 404), Trouble.REQUEST, "selected model"),
        (failed("Prompt is too long · ~210000 tokens", 400), Trouble.REQUEST, "too long"),
        (failed("Request too large (max 32MB).", 413), Trouble.REQUEST, "too large"),
        (failed("API Error: can't help with this.", stop_reason="refusal"), Trouble.REFUSED, "can't help"),
        (failed("API Error: response exceeded the 64000 output token maximum."), Trouble.LIMIT, "64000"),
        (failed("odd"), Trouble.ERROR, "exit code 1): odd"),
        (failed(""), Trouble.ERROR, "exit code 1): success"),
        (
            as_lines(INIT, {**END, "subtype": "error_max_turns", "is_error": True, "result": None, "errors": ["n"]}),
            Trouble.LIMIT,
            "exit code 1): n",
        ),
        (failed("", result=None, subtype="error_max_budget_usd", errors=["Reached maximum"]), Trouble.LIMIT, "Reached"),
        (
            failed("", result=None, subtype="error_during_execution", terminal_reason="aborted_tools"),
            Trouble.CUT,
            "error_during",
        ),
    ],
)
def test_each_end_has_its_trouble(stdout: bytes, trouble: Trouble, words: str) -> None:
    said = read_said(CLAUDE, stdout, exit=1)
    assert not said.ok
    assert said.trouble is trouble
    assert words in said.why
    assert_sane(said)


def test_an_error_is_not_the_answer() -> None:
    assert read_said(CLAUDE, failed("API Error: 500 broken", 500), exit=1).text == "so far"


def test_a_refusal_is_known_by_its_event_too() -> None:
    event = {"type": "system", "subtype": "model_refusal_no_fallback", "original_model": "claude-sonnet-5"}
    assert read_said(CLAUDE, failed("API Error: odd", None, event), exit=1).trouble is Trouble.REFUSED


def test_a_session_that_is_gone_is_told_and_is_no_session_to_go_on_with() -> None:
    errors = [f"No conversation found with session ID: {OLD}"]
    end = {**END, "subtype": "error_during_execution", "is_error": True, "result": None, "errors": errors}
    said = read_said(CLAUDE, as_lines(end), exit=1, stderr=f"{errors[0]}\n")
    assert (said.trouble, said.session) == (Trouble.SESSION, "")
    used = f"Error: Session ID {ID} is already in use.\n"
    assert read_said(CLAUDE, b"", exit=1, stderr=used).trouble is Trouble.SESSION


@pytest.mark.parametrize(
    ("retries", "seconds"),
    [
        ([retry(429, 2082), retry(429, 2073, 2)], 2.073),
        ([retry(429, 593), retry(429, 1215, 2)], 0),
        ([retry(429, 593), retry(429, 1215, 2), retry(429, 60_000, 3)], 60),
        ([], 0),
    ],
)
def test_a_wait_that_the_service_asks_for_is_told_and_a_pause_of_its_own_is_not(
    retries: list[dict[str, Any]], seconds: float
) -> None:
    said = read_said(CLAUDE, failed("API Error: Request rejected (429)", 429, *retries), exit=1)
    assert said.retry_after_s == seconds
    assert said.retries == len(retries)


def test_one_that_is_stopped_while_it_repeats_a_call_is_told_by_that_call() -> None:
    for status, trouble in ((429, Trouble.RATE_LIMITED), (None, Trouble.OVERLOADED), (401, Trouble.AUTH)):
        said = read_said(CLAUDE, as_lines(INIT, say("x"), retry(status, 500)), exit=None, signal=15, ended=False)
        assert said.trouble is trouble
        assert "repeating" in said.why
    said = read_said(CLAUDE, as_lines(INIT, retry(429, 500), say("x")), exit=None, signal=15, ended=False)
    assert said.trouble is Trouble.CUT


@pytest.mark.parametrize("how", [{"exit": 0}, {"exit": 1}, {"exit": None, "signal": 9}, {"exit": 0, "ended": False}])
def test_without_its_closing_event_it_was_cut_whatever_the_exit_code(how: dict[str, Any]) -> None:
    said = read_said(CLAUDE, as_lines(*RUN[:-1]), stderr="error: unknown option '--nonsense'\n", **how)
    assert not said.ok
    assert said.trouble is Trouble.CUT
    assert "unknown option" in said.why
    assert (said.session, said.text) == (ID, "done it")


@pytest.mark.parametrize("how", [{"exit": 1}, {"exit": None, "signal": 15}, {"exit": 0, "ended": False}])
def test_a_closing_event_does_not_outvote_the_end_of_the_process(how: dict[str, Any]) -> None:
    said = read_said(CLAUDE, as_lines(*RUN), **how)
    assert not said.ok
    assert said.text == "done it"
    assert_sane(said)


def test_events_after_the_closing_one_change_nothing() -> None:
    later = {"type": "system", "subtype": "task_notification", "task_id": "b"}
    assert read_said(CLAUDE, as_lines(*RUN, later)).ok


def test_an_exit_code_of_0_makes_no_success_of_an_error() -> None:
    assert read_said(CLAUDE, failed("Interrupted", subtype="error_during_execution"), exit=0).ok is False
    bad: tuple[object, ...] = (None, 0, "", "false", [], {})
    for junk in bad:
        assert not read_said(CLAUDE, as_lines(*RUN[:-1], {**END, "is_error": junk})).ok
        assert not read_said(CLAUDE, as_lines(*RUN[:-1], {**END, "subtype": junk})).ok


def test_a_session_that_could_pass_for_an_option_is_none() -> None:
    for bad in ("--yolo", "a b", "../x", "", "x" * 200):
        assert read_said(CLAUDE, as_lines({**INIT, "session_id": bad}, {**END, "session_id": bad})).session == ""


# --- hostile output ---


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_read_and_is_never_a_success(name: str) -> None:
    for exit in (0, 1, None):
        said = read_said(CLAUDE, GARBAGE[name], exit=exit, stderr="\x1b[31m\x00{\n" * 3)
        assert not said.ok
        assert_sane(said)


def test_a_value_of_a_wrong_kind_anywhere_does_no_harm() -> None:
    fallback = {"type": "system", "subtype": "model_fallback", "original_model": "a", "fallback_model": "b"}
    denied = {**END, "permission_denials": [{"tool_name": "Bash"}]}
    read = read_broken(CLAUDE, [INIT, CALL, retry(429, 9000), fallback, say("x"), denied])
    assert {exit for exit, said in read if said.ok} == {0}
    bad = {**END, "is_error": True, "api_error_status": 429, "errors": ["a"], "result": None}
    read = read_broken(CLAUDE, [INIT, retry(429, 9000), bad], exits=(1,))
    assert {said.ok for _, said in read} == {False}
