"""The backend opencode: what it starts, by value, what it refuses to start in, and what it makes of output."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hostile_output import GARBAGE, NO_COUNTS, as_lines, assert_sane, read_broken, read_said

from orchestrator.adapters.backends.base import Launch, Order
from orchestrator.adapters.backends.opencode import PLUGINS_CODE
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.core.said import Trouble, Usage
from orchestrator.errors import InvalidFileError

OPENCODE = find_backend("opencode")
SESSION = "ses_e03159501ffekYsf49gKrmmj5P"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    (tmp_path / "tree").mkdir()
    return Order(
        tmp_path / "run", tmp_path / "tree", tmp_path / "state", model="m1", system=tmp_path / "system.md", session="s"
    )


def changed(order: Order, **more: Any) -> Order:
    return Order(**{key: getattr(order, key) for key in Order.__slots__} | more)


def config(launch: Launch) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(launch.env["OPENCODE_CONFIG_CONTENT"])
    return content


# --- what it starts ---


def test_the_command_names_the_tree_and_goes_on_with_a_session(order: Order) -> None:
    # Not the tree of the order: a review gets one out of several when it begins.
    plain = ("opencode", "run", "--format", "json", "--title", "orc", "--dir", ".")
    assert OPENCODE.launch({}, order).argv[4:] == plain
    again = OPENCODE.launch({"args": ["--variant", "high"]}, changed(order, resume=SESSION))
    assert again.argv[4:] == (*plain, f"--session={SESSION}", "--variant", "high")


def test_the_key_is_named_and_never_written_down(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    launch = OPENCODE.launch({"key_env": "MY_KEY", "base_url": "http://127.0.0.1:1/"}, order)
    assert launch.pass_env == ("MY_KEY",)
    assert "sk-very-secret" not in repr(launch)
    provider = config(launch)["provider"]["orc"]
    assert provider["npm"] == "@ai-sdk/openai-compatible"
    assert provider["options"] == {"apiKey": "{env:MY_KEY}", "baseURL": "http://127.0.0.1:1/v1"}
    assert config(launch)["model"] == config(launch)["small_model"] == "orc/m1"


@pytest.mark.parametrize(
    ("provider", "package", "end", "own"),
    [
        ("chat", "@ai-sdk/openai-compatible", "/v1", "https://api.openai.com/v1"),
        ("anthropic", "@ai-sdk/anthropic", "/v1", None),
        ("responses", "@ai-sdk/openai", "/v1", None),
        ("gemini", "@ai-sdk/google", "/v1beta", None),
    ],
)
def test_each_provider_has_its_package_and_its_url(
    provider: str, package: str, end: str, own: str | None, order: Order
) -> None:
    def made(**settings: str) -> dict[str, Any]:
        content = config(OPENCODE.launch({"provider": provider, **settings}, order))
        value: dict[str, Any] = content["provider"][content["enabled_providers"][0]]
        return value

    assert made()["npm"] == package
    assert made()["options"].get("baseURL") == own
    assert made(base_url="http://h:1")["options"]["baseURL"] == f"http://h:1{end}"


def test_an_author_has_the_system_prompt_alone_and_may_do_all(order: Order) -> None:
    launch = OPENCODE.launch({}, order)
    assert config(launch)["instructions"] == [str(order.system)]
    assert "AGENTS.md" in OPENCODE.capabilities.note
    assert config(launch)["permission"] == {"*": "allow"}
    assert launch.env["XDG_DATA_HOME"] == str(order.state / "work")
    assert launch.files == {}


def test_a_reviewer_has_the_soul_alone_and_may_not_edit(order: Order) -> None:
    launch = OPENCODE.launch({}, changed(order, read_only=True))
    assert config(launch)["instructions"] == [str(order.system)]
    # The last rule that fits counts.
    assert list(config(launch)["permission"].items()) == [("*", "allow"), ("edit", "deny"), ("read", "deny")]
    assert launch.env["XDG_DATA_HOME"] == str(order.state / "review")
    assert launch.env["OPENCODE_DISABLE_EXTERNAL_SKILLS"] == "1"


def test_the_projects_own_settings_are_off_whatever_the_settings_say(order: Order) -> None:
    launch = OPENCODE.launch({"env": {"OPENCODE_DISABLE_PROJECT_CONFIG": "0", "A": "b"}}, order)
    assert launch.env["OPENCODE_DISABLE_PROJECT_CONFIG"] == launch.env["OPENCODE_PURE"] == "1"
    assert launch.env["A"] == "b"


def test_a_login_is_the_persons_and_takes_no_key(tmp_path: Path, order: Order) -> None:
    launch = OPENCODE.launch({"login": True}, changed(order, person_home=tmp_path, model="anthropic/claude-x"))
    assert launch.pass_env == ()
    assert launch.env["HOME"] == str(tmp_path)
    assert launch.env["XDG_DATA_HOME"] == str(tmp_path / ".local/share")
    assert config(launch)["model"] == "anthropic/claude-x"
    assert "provider" not in config(launch)
    with pytest.raises(InvalidFileError, match="HOME"):
        OPENCODE.launch({"login": True}, order)


def test_without_a_model_it_is_not_started(order: Order) -> None:
    with pytest.raises(InvalidFileError, match="needs a model"):
        OPENCODE.launch({}, changed(order, model=""))
    assert config(OPENCODE.launch({"model": "m2"}, changed(order, model="")))["model"] == "orc/m2"


def test_a_problem_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "npm install -g opencode-ai" in OPENCODE.problem({}, path="/nowhere")
    assert "OPENAI_API_KEY is not set" in OPENCODE.problem({"program": "/bin/sh"}, path="")
    assert "K2 is not set" in OPENCODE.problem({"program": "/bin/sh", "key_env": "K2"}, path="")
    assert OPENCODE.problem({"program": "/bin/sh", "login": True}, path="") == ""
    assert "chat, anthropic, responses, gemini" in OPENCODE.problem({"provider": "x"}, path="")
    assert "max_turns" in OPENCODE.problem({"max_turns": 3}, path="")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert OPENCODE.problem({"program": "/bin/sh"}, path="") == ""


# --- what it refuses to start in ---


def start(order: Order) -> subprocess.CompletedProcess[str]:
    launch = OPENCODE.launch({"program": "/bin/echo"}, order)
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(launch.argv, cwd=order.tree, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (".opencode/plugin/x.js", ""),
        (".opencode/plugins/x.ts", ""),
        ("opencode.json", '{"plugins": ["./x.js"]}'),
        ("opencode.jsonc", '{"plugin": ["./x.js"]}'),
        (".opencode/opencode.json", '{"pl\\u0075gins": ["./x.js"]}'),
        (".opencode/opencode.jsonc", '{"{file:x}": ["./x.js"]}'),
        ("opencode.json", '\x00{"{env:X}": ["./x.js"]}'),
        ("opencode.json/x", ""),
    ],
)
def test_a_tree_with_plugins_of_its_own_is_refused(path: str, content: str, order: Order) -> None:
    file = order.tree / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    ended = start(order)
    assert ended.returncode == PLUGINS_CODE
    assert ended.stdout == ""
    said = read_said(OPENCODE, b"", exit=ended.returncode, stderr=ended.stderr)
    assert said.trouble is Trouble.ERROR
    assert "brings OpenCode plugins" in said.why


def test_a_link_that_leads_nowhere_yet_is_refused(order: Order) -> None:
    (order.tree / ".opencode").mkdir()
    (order.tree / ".opencode" / "plugin").symlink_to("later")
    assert start(order).returncode == PLUGINS_CODE


def test_a_tree_with_harmless_settings_is_fine(order: Order) -> None:
    (order.tree / "opencode.json").write_text('{"theme": "dark"}')
    (order.tree / ".opencode" / "agent").mkdir(parents=True)
    ended = start(order)
    assert ended.returncode == 0
    assert ended.stdout.startswith("run --format json")


# --- what it said ---


def event(kind: str, message: str = "msg_1", **part: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": 1, "sessionID": SESSION, "part": {"messageID": message, **part}}


def finish(reason: str, message: str = "msg_1", cost: float = 0) -> dict[str, Any]:
    tokens = {"total": 56, "input": 11, "output": 7, "reasoning": 5, "cache": {"write": 2, "read": 33}}
    return event("step_finish", message, type="step-finish", reason=reason, tokens=tokens, cost=cost)


def tool(name: str = "write", message: str = "msg_1", **state: Any) -> dict[str, Any]:
    return event("tool_use", message, type="tool", tool=name, callID="c", state={"status": "completed", **state})


def error(name: str, **data: Any) -> dict[str, Any]:
    return {"type": "error", "timestamp": 1, "sessionID": SESSION, "error": {"name": name, "data": data}}


def text(words: str, message: str = "msg_1") -> dict[str, Any]:
    return event("text", message, type="text", text=words)


REJECTION = "The user rejected permission to use this specific tool call."
BEGIN = event("step_start", type="step-start")
BEGIN_2 = event("step_start", "msg_2", type="step-start")
RUN = [
    BEGIN,
    text("I will."),
    tool(),
    finish("tool-calls", cost=0.0003729),
    BEGIN_2,
    text("done it", "msg_2"),
    finish("stop", "msg_2", cost=0.0000731),
]


def test_a_good_run_is_told_whole_and_its_steps_are_added_up() -> None:
    said = read_said(OPENCODE, as_lines(*RUN))
    assert said.ok
    assert (said.text, said.session, said.tool_calls) == ("done it", SESSION, 1)
    assert said.usage == Usage(input=22, output=24, cache_read=66, cache_write=4, reasoning=10, cost_microusd=446)


def test_the_conversation_is_as_long_as_its_newest_step() -> None:
    assert read_said(OPENCODE, as_lines(*RUN)).context == 11 + 7 + 5 + 2 + 33
    assert read_said(OPENCODE, as_lines(BEGIN)).context == 0


@pytest.mark.parametrize("told", NO_COUNTS)
@pytest.mark.parametrize("path", [("input",), ("output",), ("reasoning",), ("cache", "read"), ("cache", "write")])
def test_a_use_that_is_told_as_nonsense_is_not_known(path: tuple[str, ...], told: Any) -> None:
    events = copy.deepcopy([*RUN, BEGIN_2, finish("stop", "msg_3")])
    step: Any = events[-1]["part"]["tokens"]
    for key in path[:-1]:
        step = step[key]
    step[path[-1]] = told
    assert read_said(OPENCODE, as_lines(*events)).usage is None


@pytest.mark.parametrize("told", [-1, 1e13, float("nan"), "3"])
def test_a_cost_that_is_told_as_nonsense_is_none(told: Any) -> None:
    last = finish("stop", "msg_3")
    last["part"]["cost"] = told
    used = read_said(OPENCODE, as_lines(*RUN, BEGIN_2, last)).usage
    assert used is not None
    assert used.cost_microusd is None


def test_a_cost_of_nothing_is_no_price() -> None:
    said = read_said(OPENCODE, as_lines(BEGIN, text("hi"), finish("stop")))
    assert said.ok
    assert said.usage is not None
    assert said.usage.cost_microusd is None


@pytest.mark.parametrize(
    ("events", "how", "trouble", "words"),
    [
        (
            [BEGIN, error("UnknownError", message='{"message":"broken","type":"server_error"}')],
            {"exit": 1},
            Trouble.OVERLOADED,
            "broken",
        ),
        ([BEGIN, error("APIError", message="Connection reset by server")], {"exit": 1}, Trouble.OVERLOADED, "reset"),
        ([BEGIN, error("UnknownError", message="rate_limit_exceeded")], {"exit": 1}, Trouble.RATE_LIMITED, "rate"),
        ([error("APIError", message="no", statusCode=401)], {"exit": 1}, Trouble.AUTH, "HTTP 401): no"),
        ([error("APIError", message="no", statusCode=403)], {"exit": 1}, Trouble.AUTH, "HTTP 403"),
        ([error("APIError", message="slow", statusCode=429)], {"exit": 1}, Trouble.RATE_LIMITED, "slow"),
        ([error("APIError", message="x", statusCode=500)], {"exit": 1}, Trouble.OVERLOADED, "HTTP 500"),
        ([error("APIError", message="x", statusCode=404)], {"exit": 1}, Trouble.REQUEST, "HTTP 404"),
        ([error("APIError", message="connect ECONNREFUSED")], {"exit": 1}, Trouble.OVERLOADED, "ECONNREFUSED"),
        ([error("ContextOverflowError", message="too long")], {"exit": 1}, Trouble.REQUEST, "too long"),
        (
            [BEGIN, finish("content-filter"), error("ContentFilterError", message="b")],
            {"exit": 1},
            Trouble.REFUSED,
            "b",
        ),
        ([BEGIN, finish("content-filter")], {}, Trouble.REFUSED, "filter"),
        ([error("Odd")], {"exit": 1}, Trouble.ERROR, "Odd"),
        ([*RUN, error("Odd")], {}, Trouble.ERROR, "Odd"),
        ([BEGIN, text("half"), finish("length")], {}, Trouble.LIMIT, "limit of tokens"),
        ([BEGIN, tool(status="error", error=REJECTION), finish("tool-calls")], {}, Trouble.DENIED, "write was denied"),
        (RUN[:4], {}, Trouble.CUT, "exit code 0"),
        (RUN[:6], {}, Trouble.CUT, "exit code 0"),
        ([*RUN, BEGIN], {}, Trouble.CUT, "exit code 0"),
        (RUN, {"exit": None, "signal": 15}, Trouble.CUT, "signal 15"),
        (RUN, {"exit": 1}, Trouble.CUT, "exit code 1"),
        (RUN, {"ended": False}, Trouble.CUT, "stopped"),
        ([], {}, Trouble.CUT, "exit code 0"),
        ([], {"exit": 1, "stderr": "\x1b[91m\x1b[1mError: \x1b[0mSession not found\n"}, Trouble.SESSION, "not found"),
        ([], {"exit": 127, "stderr": "sh: opencode: not found\n"}, Trouble.ERROR, "opencode: not found"),
    ],
)
def test_each_end_has_its_trouble(events: list[Any], how: dict[str, Any], trouble: Trouble, words: str) -> None:
    said = read_said(OPENCODE, as_lines(*events), **how)
    assert not said.ok
    assert said.trouble is trouble
    assert words in said.why
    assert_sane(said)


def test_a_service_that_asks_to_wait_is_heard() -> None:
    for wait, seconds in (("7", 7.0), ("1.5", 1.5), ("-3", 0.0), ("1e99", 0.0), ("soon", 0.0), (7, 0.0)):
        limited = error("APIError", message="x", statusCode=429, responseHeaders={"retry-after": wait})
        assert read_said(OPENCODE, as_lines(limited), exit=1).retry_after_s == seconds


def test_denials_that_did_not_stop_it_and_repeated_calls_are_counted() -> None:
    missing = {"tool": "edit", "error": "Model tried to call unavailable tool 'edit'. Available tools: bash."}
    events = [BEGIN, BEGIN, BEGIN, tool("invalid", input=missing), tool("bash", status="error", error=REJECTION)]
    said = read_said(OPENCODE, as_lines(*events, finish("tool-calls"), *RUN[4:]))
    assert said.ok
    assert said.denials == ("edit", "bash")
    assert said.retries == 2
    assert said.tool_calls == 2


def test_a_session_that_could_pass_for_an_option_is_none() -> None:
    for bad in ("--dir", "a b", "../x", "x" * 200, 7):
        assert read_said(OPENCODE, as_lines(*({**each, "sessionID": bad} for each in RUN))).session == ""


# --- hostile output ---


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_read_and_is_never_a_success(name: str) -> None:
    for exit in (0, 1, PLUGINS_CODE, None):
        said = read_said(OPENCODE, GARBAGE[name], exit=exit, stderr="\x1b[91m\x00{\n" * 3)
        assert not said.ok
        assert_sane(said)


def test_a_value_of_a_wrong_kind_anywhere_does_no_harm() -> None:
    assert {exit for exit, said in read_broken(OPENCODE, RUN) if said.ok} == {0}
    bad = error("APIError", message="x", statusCode=429, responseHeaders={"retry-after": "7"})
    assert {said.ok for _, said in read_broken(OPENCODE, [bad])} == {False}


def test_a_last_step_that_does_not_say_stop_is_no_success() -> None:
    for junk in (None, True, 1, "STOP", "stopped", ["stop"], {"stop": True}):
        assert not read_said(OPENCODE, as_lines(*RUN[:-1], finish(junk, "msg_2"))).ok  # type: ignore[arg-type]
