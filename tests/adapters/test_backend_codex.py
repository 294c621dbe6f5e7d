"""The backend codex: what it starts, by value, and what it makes of real and of hostile output."""

from __future__ import annotations

import io
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostile_output import GARBAGE, NO_COUNTS, as_lines, assert_sane, read_broken, read_said

from orchestrator.adapters.backends.base import Launch, Order, Output
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.core.said import Trouble, Usage
from orchestrator.errors import InvalidFileError

CODEX = find_backend("codex")
ID = "01a1fd09-bba8-7340-bec6-a541b4378c28"


@pytest.fixture
def order(tmp_path: Path) -> Order:
    system = tmp_path / "run" / "system.md"
    return Order(tmp_path / "run", tmp_path / "tree", tmp_path / "state", "gpt-5.5", system, "You are Vera.\n")


def configured(launch: Launch) -> dict[str, Any]:
    """What `-c` and the configuration file say together, as Codex reads them."""
    found: dict[str, Any] = {}
    settings = [value for option, value in zip(launch.argv, launch.argv[1:], strict=False) if option == "-c"]
    for setting in (*settings, *launch.files.values()):
        _merge(found, tomllib.loads(setting))
    return found


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def a_program(tmp_path: Path) -> str:
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


# --- what it starts ---


def test_the_form_of_a_verdict_is_in_a_file_of_the_run(order: Order) -> None:
    launch = CODEX.launch({}, replace(order, answer_schema='{"type":"object"}'))
    path = launch.argv[launch.argv.index("--output-schema") + 1]
    assert launch.files[path] == '{"type":"object"}'
    assert Path(path).parent == order.run_folder


def test_the_command_reads_the_prompt_from_stdin_and_tells_events(order: Order) -> None:
    launch = CODEX.launch({"args": ["-c", "model_reasoning_effort='low'"]}, order)
    assert launch.argv[:6] == ("codex", "exec", "--json", "--skip-git-repo-check", "-m", "gpt-5.5")
    assert launch.argv[-3:] == ("-c", "model_reasoning_effort='low'", "-")
    assert launch.env == {"CODEX_HOME": str(order.state)}
    assert launch.pass_env == ("CODEX_API_KEY",)


def test_its_service_is_asked_by_its_own_key_and_is_not_asked_for_ever(order: Order) -> None:
    found = configured(CODEX.launch({"base_url": "http://127.0.0.1:1/", "key_env": "TEAM"}, order))
    assert found["model_provider"] == "orc"
    assert found["model_providers"]["orc"] == {
        "name": "orc",
        "base_url": "http://127.0.0.1:1/v1",
        "env_key": "TEAM",
        "wire_api": "responses",
        "request_max_retries": 2,
        "stream_max_retries": 2,
    }
    assert found["shell_environment_policy"] == {"ignore_default_excludes": False, "exclude": ["TEAM"]}
    assert (found["analytics"], found["check_for_update_on_startup"]) == ({"enabled": False}, False)
    assert found["allow_login_shell"] is False
    vendor = configured(CODEX.launch({}, order))["model_providers"]["orc"]
    assert vendor["base_url"] == "https://api.openai.com/v1"


def test_an_author_may_write_to_the_tree_its_repository_and_the_run_folder(order: Order) -> None:
    found = configured(CODEX.launch({}, order))
    assert found["sandbox_mode"] == "workspace-write"
    roots = [f"{order.tree}/.git", str(order.run_folder)]
    assert found["sandbox_workspace_write"] == {"writable_roots": roots, "network_access": True}
    assert "default_permissions" not in found


def test_a_reviewer_may_not_write_to_the_tree_and_is_not_told_what_to_think(order: Order) -> None:
    found = configured(CODEX.launch({}, replace(order, read_only=True)))
    assert found["default_permissions"] == "orc"
    assert found["permissions"]["orc"]["filesystem"] == {
        ":root": "read",
        ":tmpdir": "write",
        ":slash_tmp": "write",
        str(order.run_folder): "write",
        str(order.tree): "read",
    }
    assert "sandbox_mode" not in found
    assert found["project_doc_max_bytes"] == 0
    assert found["skills"] == {"include_instructions": False}
    assert "skills" not in configured(CODEX.launch({}, order))


def test_a_path_with_quotes_stays_one(tmp_path: Path, order: Order) -> None:
    tree = tmp_path / 'a "b" \\ ü'
    for read_only in (False, True):
        found = configured(CODEX.launch({}, replace(order, tree=tree, run_folder=tree, read_only=read_only)))
        assert str(tree) in repr(found).replace("\\\\", "\\")


def test_a_thread_goes_on_and_its_id_comes_last(order: Order) -> None:
    argv = CODEX.launch({"args": ["--x"]}, replace(order, resume=ID)).argv
    assert argv[-4:] == ("--x", "resume", ID, "-")


@pytest.mark.parametrize(
    "soul",
    [
        "You are Vera.\n",
        "'''\"\"\" \\ \\n \\u0041 = [x] # no comment\r\n\t",
        "".join(map(chr, range(0x2100))),
        "é 😀 \u2028 \ufeff \uffff",
        "x" * 500_000,
    ],
)
def test_the_soul_arrives_letter_by_letter(soul: str, order: Order) -> None:
    launch = CODEX.launch({}, replace(order, system_text=soul))
    assert list(launch.files) == [str(order.state / "config.toml")]
    assert configured(launch)["developer_instructions"] == soul
    assert max(map(len, launch.argv)) < 10_000


def test_half_a_character_in_a_soul_does_no_harm(order: Order) -> None:
    launch = CODEX.launch({}, replace(order, system_text="a \ud800 b"))
    assert configured(launch)["developer_instructions"] == "a ? b"


def test_without_a_soul_that_of_an_earlier_run_is_gone(order: Order) -> None:
    launch = CODEX.launch({}, replace(order, system=None, system_text=""))
    assert [text.strip() for text in launch.files.values()] == [""]


def test_a_login_takes_the_persons_home_and_writes_nothing_there(tmp_path: Path, order: Order) -> None:
    order = replace(order, person_home=tmp_path)
    launch = CODEX.launch({"login": True}, order)
    assert (launch.env, launch.pass_env, launch.files) == ({"HOME": str(tmp_path)}, (), {})
    found = configured(launch)
    assert found["developer_instructions"] == "You are Vera.\n"
    assert "model_provider" not in found
    with pytest.raises(InvalidFileError, match="longer"):
        CODEX.launch({"login": True}, replace(order, system_text="x" * 200_000))
    with pytest.raises(InvalidFileError, match="HOME"):
        CODEX.launch({"login": True}, replace(order, person_home=None))


def test_a_problem_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODEX_API_KEY", raising=False)
    program = a_program(tmp_path)
    assert "npm install -g @openai/codex" in CODEX.problem({}, path="/nowhere")
    assert "CODEX_API_KEY is not set" in CODEX.problem({"program": program}, path="")
    assert CODEX.problem({"program": program, "login": True}, path="") == ""
    assert "max_turns" in CODEX.problem({"program": program, "login": True, "max_turns": 3}, path="")
    monkeypatch.setenv("CODEX_API_KEY", "k")
    assert CODEX.problem({"program": program}, path="") == ""


@pytest.mark.parametrize(
    "settings",
    [{"args": "x"}, {"env": {"A": []}}, {"pass_env": [1]}, {"key_env": "a b"}, {"max_turns": -1}, {"model": 3}],
)
def test_settings_of_a_wrong_form_are_told_and_refused(settings: dict[str, Any], order: Order) -> None:
    assert CODEX.problem(settings, path="/usr/bin")
    with pytest.raises(InvalidFileError):
        CODEX.launch(settings, order)


# --- what it said ---

START = {"type": "thread.started", "thread_id": ID}
TURN = {"type": "turn.started"}
RUNS = {"id": "item_0", "type": "command_execution", "command": "/bin/bash -c 'true'", "exit_code": 0}
USED = {
    "input_tokens": 260,
    "cached_input_tokens": 60,
    "cache_write_input_tokens": 10,
    "output_tokens": 20,
    "reasoning_output_tokens": 8,
}
END = {"type": "turn.completed", "usage": USED}


def done(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "item.completed", "item": {"id": "item_1", "type": kind, **more}}


def say(text: str) -> dict[str, Any]:
    return done("agent_message", text=text)


def error(message: str) -> dict[str, Any]:
    return {"type": "error", "message": message}


def failed(message: str) -> bytes:
    return as_lines(START, TURN, say("so far"), error(message), {"type": "turn.failed", "error": {"message": message}})


RUN = [
    START,
    TURN,
    done("reasoning", text="hmm"),
    say("I will."),
    {"type": "item.started", "item": RUNS},
    done("command_execution", exit_code=0, status="completed"),
    done("file_change", changes=[{"path": "/x", "kind": "add"}], status="completed"),
    say("done it"),
    END,
]


def test_a_good_run_is_told_whole() -> None:
    said = read_said(CODEX, as_lines(*RUN), stderr="Reading prompt from stdin...\n")
    assert said.ok
    assert (said.trouble, said.why) == (Trouble.NONE, "")
    assert (said.text, said.session, said.model, said.tool_calls) == ("done it", ID, "", 2)
    # What was read from or written to the cache counts once.
    assert said.usage == said.so_far == Usage(input=190, output=20, cache_read=60, cache_write=10, reasoning=8)


@pytest.mark.parametrize("told", NO_COUNTS)
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "cached_input_tokens", "cache_write_input_tokens"])
def test_a_use_that_is_told_as_nonsense_is_not_known(name: str, told: Any) -> None:
    said = read_said(CODEX, as_lines(*RUN[:-1], {**END, "usage": {**USED, name: told}}))
    assert (said.ok, said.usage, said.so_far) == (True, None, None)


def test_what_earlier_runs_of_the_thread_used_is_subtracted() -> None:
    before = Usage(input=100, output=15, cache_read=20, reasoning=3)
    said = CODEX.read(Output(io.BytesIO(as_lines(*RUN)), exit=0, before=before))
    assert said is not None
    assert said.usage == Usage(input=90, output=5, cache_read=40, cache_write=10, reasoning=5)
    assert said.so_far == Usage(input=190, output=20, cache_read=60, cache_write=10, reasoning=8)


def test_a_warning_and_a_call_that_was_repeated_are_no_failure() -> None:
    warning = done("error", message="Model metadata for `my-model` not found…")
    again = error("Reconnecting... 1/2 (unexpected status 503 Service Unavailable: full)")
    said = read_said(CODEX, as_lines(START, TURN, warning, again, say("ok"), END))
    assert (said.ok, said.retries, said.tool_calls) == (True, 1, 0)


def test_a_refused_call_is_a_denial() -> None:
    router = "2026-11-21T07:33:12.112896Z ERROR codex_core::tools::router: error="
    patch = f"{router}patch rejected: writing outside of the project; rejected by user approval settings\n"
    other = f"{router}exec_command failed: rejected by user approval settings\n"
    stderr = f"Reading prompt from stdin...\n{patch}{other}{router}patch does not fit\n"
    said = read_said(CODEX, as_lines(*RUN), stderr=stderr)
    assert said.ok
    assert said.denials == ("apply_patch", "a tool")


DEMAND = "We\u2019re currently experiencing high demand, which may cause temporary errors."
FULL = "unexpected status 503 Service Unavailable: full, url: http://127.0.0.1:1/v1/responses"
NO_KEY = "unexpected status 401 Unauthorized: Incorrect API key provided: x, url: http://127.0.0.1:1/v1/responses"
NO_ROOM = "Codex ran out of room in the model's context window. Start a new thread."
LOST = "stream disconnected before completion: Transport error: network error"
POLICY = '{"error": {"message": "Invalid prompt: it goes against the usage policy.", "code": "invalid_prompt"}}'


@pytest.mark.parametrize(
    ("message", "trouble", "words"),
    [
        ("exceeded retry limit, last status: 429 Too Many Requests", Trouble.RATE_LIMITED, "429"),
        ("Quota exceeded. Check your plan and billing details.", Trouble.RATE_LIMITED, "Quota"),
        ("You\u2019ve hit your usage limit. Try again later.", Trouble.RATE_LIMITED, "usage limit"),
        (DEMAND, Trouble.OVERLOADED, "high demand"),
        (FULL, Trouble.OVERLOADED, "503"),
        ("unexpected status 529 <unknown status code>: full", Trouble.OVERLOADED, "529"),
        (LOST, Trouble.OVERLOADED, "disconnected"),
        (NO_KEY, Trouble.AUTH, "Incorrect API key"),
        ("unexpected status 403 Forbidden: no", Trouble.AUTH, "403"),
        ("Missing environment variable: `CODEX_API_KEY`.", Trouble.AUTH, "Missing"),
        ("unexpected status 404 Not Found: The model gpt-9 does not exist", Trouble.REQUEST, "gpt-9"),
        ("unexpected status 413 Payload Too Large: no", Trouble.REQUEST, "413"),
        (NO_ROOM, Trouble.REQUEST, "ran out of room"),
        ('{"error": {"message": "bad thing", "type": "x"}}', Trouble.REQUEST, "codex failed: bad thing"),
        (POLICY, Trouble.REFUSED, "codex failed: Invalid prompt"),
        ("odd", Trouble.ERROR, "codex failed: odd"),
        ("", Trouble.ERROR, "does not say why"),
    ],
)
def test_each_end_has_its_trouble(message: str, trouble: Trouble, words: str) -> None:
    said = read_said(CODEX, failed(message), exit=1)
    assert not said.ok
    assert said.trouble is trouble
    assert words in said.why
    assert (said.text, said.session, said.usage) == ("so far", ID, None)
    assert_sane(said)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("Please try again in 1.5s.", 1.5),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 6m0s. Visit x", 360),
        ("or try again in 2 days 3 hours 4 minutes.", 2 * 86400 + 3 * 3600 + 240),
        ("try again in 999999999 days", 1e8),
        ("Try again later.", 0),
        ("try again in a while", 0),
    ],
)
def test_a_wait_that_the_service_asks_for_is_told(asked: str, seconds: float) -> None:
    said = read_said(CODEX, failed(f"rate limit exceeded: {asked}"), exit=1)
    assert said.trouble is Trouble.RATE_LIMITED
    assert said.retry_after_s == pytest.approx(seconds)
    assert_sane(said)


@pytest.mark.parametrize(
    ("stderr", "trouble"),
    [
        (f"Error: thread/resume: thread/resume failed: no rollout found for thread id {ID}\n", Trouble.SESSION),
        ("Error loading config.toml: unknown variant `zzz`\n", Trouble.CUT),
        ("error: unexpected argument '--nonsense' found\n", Trouble.CUT),
        ("", Trouble.CUT),
    ],
)
def test_an_end_before_the_first_event_says_what_it_printed(stderr: str, trouble: Trouble) -> None:
    said = read_said(CODEX, b"", exit=1, stderr=stderr)
    assert said.trouble is trouble
    assert stderr.strip() in said.why


def test_one_that_is_stopped_while_it_waits_for_its_service_is_told_by_that() -> None:
    limited = error("Reconnecting... 1/2 (exceeded retry limit, last status: 429 Too Many Requests)")
    down = error("Reconnecting... waiting for network (Connection failed: error sending request)")
    for event, trouble in ((limited, Trouble.RATE_LIMITED), (down, Trouble.OVERLOADED)):
        said = read_said(CODEX, as_lines(START, TURN, event), exit=None, signal=15, ended=False)
        assert said.trouble is trouble
        assert "still waiting" in said.why
    said = read_said(CODEX, as_lines(START, TURN, limited, say("x")), exit=None, signal=15, ended=False)
    assert said.trouble is Trouble.CUT


@pytest.mark.parametrize("how", [{"exit": 0}, {"exit": 1}, {"exit": None, "signal": 9}, {"exit": 0, "ended": False}])
def test_without_its_closing_event_it_was_cut_whatever_the_exit_code(how: dict[str, Any]) -> None:
    said = read_said(CODEX, as_lines(*RUN[:-1]), **how)
    assert said.trouble is Trouble.CUT
    assert (said.session, said.text) == (ID, "done it")
    assert_sane(said)


@pytest.mark.parametrize("how", [{"exit": 1}, {"exit": None, "signal": 15}, {"exit": 0, "ended": False}])
def test_a_closing_event_does_not_outvote_the_end_of_the_process(how: dict[str, Any]) -> None:
    said = read_said(CODEX, as_lines(*RUN), **how)
    assert not said.ok
    assert_sane(said)


def test_a_turn_that_failed_or_began_again_is_no_success() -> None:
    assert not read_said(CODEX, as_lines(*RUN, {"type": "turn.failed", "error": {"message": "x"}})).ok
    assert not read_said(CODEX, as_lines(*RUN, TURN)).ok


def test_only_what_it_would_not_take_for_a_name_is_a_session() -> None:
    for bad in ("--yolo", "nonsense-1", "../x", "", "x" * 200, ID.upper(), f"{ID}\n"):
        assert read_said(CODEX, as_lines({**START, "thread_id": bad}, say("x"), END)).session == ""


# --- hostile output ---


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_read_and_is_never_a_success(name: str) -> None:
    for exit in (0, 1, 2, None):
        said = read_said(CODEX, GARBAGE[name], exit=exit, stderr="\x1b[31m\x00{\nstatus: 9999\n" * 3)
        assert not said.ok
        assert_sane(said)


def test_a_value_of_a_wrong_kind_anywhere_does_no_harm() -> None:
    assert {exit for exit, said in read_broken(CODEX, RUN) if said.ok} == {0}
    bad = [START, TURN, error("Reconnecting... 1/2"), {"type": "turn.failed", "error": {"message": '{"error": 1}'}}]
    assert {said.ok for _, said in read_broken(CODEX, bad, exits=(1,))} == {False}


def test_a_message_that_is_made_to_be_slow_is_read_at_once() -> None:
    for message in ("try again in " + "1 a, " * 100_000, "status" * 100_000, "{" * 100_000, " " * 400_000):
        said = read_said(CODEX, failed(message), exit=1, stderr=message)
        assert not said.ok
        assert_sane(said)
