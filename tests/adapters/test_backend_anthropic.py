"""The backend `anthropic` against a Messages service on loopback: real processes, real HTTP, no network."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from fake_models import FakeModels, Handler
from hostile_output import NO_COUNTS
from run_helpers import Bench

from orchestrator.adapters import landlock
from orchestrator.adapters.backends.anthropic import AnthropicBackend
from orchestrator.adapters.backends.anthropic_service import retry_after
from orchestrator.adapters.backends.base import Order, Output
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.said import Said, Trouble, Usage
from orchestrator.errors import InvalidFileError

# Each starts a process that loads the SDK, which takes more than a second.
pytestmark = pytest.mark.slow
KEY = "sk-ant-not-a-key-4711"
BACKEND = AnthropicBackend()
SANDBOX = f"none: {landlock.why_not()}" if landlock.why_not() else f"landlock {landlock.version()}"
QUICK = ["--wait-s=0.2", "--tries=3", "--stall-s=5"]


class KeepingHandler(Handler):
    """A connection of the service that keeps what was sent, letter by letter."""

    bodies: ClassVar[list[dict[str, Any]]] = []

    def _body(self) -> bytes:
        raw = super()._body()
        self.bodies.append(json.loads(raw))
        return raw


def script(*turns: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Turns one after the other, each once unless it says otherwise; `times: 0` is for ever."""
    counted = [{"times": 1, **turn} for turn in turns]
    return [{key: value for key, value in turn.items() if (key, value) != ("times", 0)} for turn in counted]


@dataclass
class Place:
    """A tree, a folder for sessions, a service."""

    root: Path
    fake: FakeModels
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in (self.tree, self.state, self.root / "run" / "home"):
            folder.mkdir(parents=True)
        (self.tree / "README").write_text("one\ntwo\n")
        (self.root / "system.md").write_text("You are the engineer.\n")
        self.settings = {"base_url": self.fake.url, "args": QUICK}

    @property
    def tree(self) -> Path:
        return self.root / "tree"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def order(self, **changes: Any) -> Order:
        given = {"model": "claude-test", "system": self.root / "system.md", "session": str(uuid4())}
        return Order(run_folder=self.root / "run", tree=self.tree, **{"state": self.state, **given, **changes})

    def output(self, prompt: str = "do it", *, args: Sequence[str] = (), **changes: Any) -> Output:
        """What the program leaves."""
        settings = {**self.settings, "args": [*QUICK, *args]}
        launch = BACKEND.launch(settings, self.order(**changes))
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root / "run" / "home"), "LANG": "C.UTF-8", **launch.env}
        env |= dict.fromkeys(launch.pass_env, KEY)
        done = subprocess.run(
            launch.argv, cwd=self.tree, env=env, input=prompt.encode(), capture_output=True, check=False
        )
        return Output(io.BytesIO(done.stdout), done.stderr.decode()[-4096:], done.returncode)

    def say(self, *turns: Mapping[str, Any], prompt: str = "do it", args: Sequence[str] = (), **changes: Any) -> Said:
        """What the program said when the service answered so."""
        self.fake.play(script(*turns))
        KeepingHandler.bodies.clear()
        output = self.output(prompt, args=args, **changes)
        assert "Traceback" not in output.stderr
        said = BACKEND.read(output)
        assert said is not None
        return said

    def bodies(self) -> list[dict[str, Any]]:
        """The requests."""
        return list(KeepingHandler.bodies)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with FakeModels([]) as fake:
        fake.server.RequestHandlerClass = KeepingHandler
        yield Place(tmp_path, fake)


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """A turn in which the model calls a tool."""
    return {"tools": [{"name": name, "input": arguments}]}


def result_of(body: Mapping[str, Any]) -> str:
    """The newest tool result in a request."""
    blocks = [block for block in body["messages"][-1]["content"] if block["type"] == "tool_result"]
    return str(blocks[-1]["content"])


# --- a run that goes well ---


def test_files_are_written_through_tools_and_the_last_text_is_the_answer(place: Place) -> None:
    said = place.say(
        {"text": "I look first.", **call("read", path="README")},
        {"thinking": "hm", "text": "Now I write.", **call("write", path="src/a.txt", content="a\n")},
        {"tools": call("bash", command="cat src/a.txt")["tools"] + call("read", path="none")["tools"]},
        {"text": "Done."},
    )
    told = {"usage": Usage(400, 40), "context": 110, "tool_calls": 4, "sandbox": SANDBOX}
    assert said == Said(ok=True, text="Done.", session=said.session, model="claude-test", **told)  # type: ignore[arg-type]
    assert (place.tree / "src" / "a.txt").read_text() == "a\n"
    bodies = place.bodies()
    assert result_of(bodies[1]) == "1\tone\n2\ttwo"
    assert [block["type"] for block in bodies[2]["messages"][-2]["content"]] == ["thinking", "text", "tool_use"]
    both = bodies[3]["messages"][-1]["content"]
    assert [block["is_error"] for block in both] == [False, True]
    assert both[0]["content"].endswith("\na\n")
    assert "does not exist" in both[1]["content"]
    assert [message["role"] for message in bodies[3]["messages"]] == ["user", "assistant"] * 3 + ["user"]


def test_the_request_carries_soul_prompt_tools_and_marks_for_the_cache(place: Place) -> None:
    said = place.say(call("read", path="README"), call("read", path="README"), {"text": "ok"}, prompt="the task")
    assert said.ok
    first, _, third = place.bodies()
    mark = {"type": "ephemeral"}
    assert first["system"] == [{"type": "text", "text": "You are the engineer.", "cache_control": mark}]
    assert first["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "the task", "cache_control": mark}]}
    ]
    assert first["stream"] is True
    assert [tool["name"] for tool in first["tools"]] == ["read", "write", "edit", "glob", "grep", "bash"]
    assert [tool["name"] for tool in first["tools"] if "cache_control" in tool] == ["bash"]
    assert ["cache_control" in json.dumps(message) for message in third["messages"]] == [
        False,
        False,
        True,
        False,
        True,
    ]
    assert len(re.findall("cache_control", json.dumps(third))) == 4
    assert third["tools"] == first["tools"]
    assert third["system"] == first["system"]


def test_usage_is_summed_over_the_turns(place: Place) -> None:
    said = place.say(
        {**call("read", path="README"), "usage": {"input": 7, "output": 5, "cache_write": 1000}},
        {"text": "ok", "usage": {"input": 11, "output": 3, "cache_read": 900, "cache_write": 100}},
    )
    assert said.usage == Usage(input=18, output=8, cache_read=900, cache_write=1100)


def test_a_prompt_of_300_kilobytes_arrives_whole(place: Place) -> None:
    prompt = "".join(f"{number:07d} ü\n" for number in range(30_000))
    assert len(prompt.encode()) > 300_000
    assert place.say({"text": "ok"}, prompt=prompt).ok
    assert place.bodies()[0]["messages"][0]["content"][0]["text"] == prompt


def test_without_a_soul_there_is_no_system_prompt(place: Place) -> None:
    assert place.say({"text": "ok"}, system=None).ok
    assert "system" not in place.bodies()[0]


def test_a_review_is_offered_nothing_that_writes(place: Place) -> None:
    said = place.say(call("write", path="x", content="x"), {"text": "{}"}, read_only=True)
    assert said.ok
    assert [tool["name"] for tool in place.bodies()[0]["tools"]] == ["read", "glob", "grep", "bash"]
    assert "no tool 'write'" in result_of(place.bodies()[1])
    assert said.denials == ("write",)
    assert not (place.tree / "x").exists()


def test_commands_do_not_see_the_key(place: Place) -> None:
    place.settings |= {"key_env": "MY_KEY", "env": {"TWIN": KEY, "ANTHROPIC_LOG": "", "HARMLESS": "seen"}}
    said = place.say(call("bash", command="env"), {"text": "ok"})
    assert said.ok
    environment = result_of(place.bodies()[1])
    assert "HARMLESS=seen" in environment
    assert KEY not in environment
    assert "ANTHROPIC" not in environment
    assert "MY_KEY" not in environment


def test_a_path_outside_is_refused_and_the_model_told(place: Place) -> None:
    (place.root / "secret").write_text("nobody may see this")
    said = place.say(
        call("read", path=str(place.root / "secret")), call("write", path="../out", content="x"), {"text": "ok"}
    )
    assert said.ok
    for body in place.bodies()[1:]:
        result = body["messages"][-1]["content"][0]
        assert result["is_error"] is True
    assert said.denials == ("read", "write")
    assert "outside" in result_of(place.bodies()[1])
    assert "nobody" not in json.dumps(place.bodies())
    assert not (place.root / "out").exists()


def test_a_package_in_the_tree_is_not_taken_for_ours(place: Place) -> None:
    for name in ("anthropic", "orchestrator", "json"):
        (place.tree / f"{name}.py").write_text("raise SystemExit(99)\n")
    assert place.say({"text": "ok"}).ok


@pytest.mark.skipif(bool(landlock.why_not()), reason=f"NOT TRIED: {landlock.why_not()}; {landlock.NEEDS} would do")
def test_commands_are_held_to_the_tree_and_the_run_says_so(place: Place) -> None:
    (place.root / "secret").write_text("nobody may see this")
    tried = f"cat {place.root}/secret; ls {place.state}; cat /proc/$PPID/environ /proc/[0-9]*/environ; echo x > ../out"
    said = place.say(call("bash", command=f"{tried}; echo mine > ~/a; cat ~/a"), {"text": "ok"}, args=[])
    assert said.ok
    assert said.sandbox == SANDBOX
    told = result_of(place.bodies()[1])
    assert "mine" in told
    assert "nobody" not in told
    assert KEY not in told
    assert not (place.root / "out").exists()
    more = [f"--may-read={place.root / 'secret'}", f"--may-write={place.root / 'cache'}"]
    (place.root / "cache").mkdir()
    line = f"cat {place.root}/secret; echo x > {place.root}/cache/out"
    assert place.say(call("bash", command=line), {"text": "ok"}, args=more).sandbox == SANDBOX
    assert "nobody may see this" in result_of(place.bodies()[1])
    assert (place.root / "cache" / "out").read_text() == "x\n"


def test_a_review_is_held_too_though_its_session_lies_in_its_home(place: Place) -> None:
    (place.root / "secret").write_text("nobody may see this")
    turns = (call("bash", command=f"cat {place.root}/secret README"), {"text": "{}"})
    said = place.say(*turns, read_only=True, state=place.root / "run" / "home" / ".orc-agent")
    assert said.ok
    assert said.sandbox == SANDBOX
    assert ("nobody" in result_of(place.bodies()[1])) == bool(landlock.why_not())


def test_where_nothing_holds_the_commands_the_run_says_so_and_its_commands_cannot_say_otherwise(place: Place) -> None:
    forged = json.dumps({"type": "start", "sandbox": "landlock 9"})
    command = f"echo '{forged}' > /proc/$PPID/fd/1; cat ../secret"
    (place.root / "secret").write_text("seen")
    said = place.say(call("bash", command=command), {"text": "ok"}, args=["--confine=no"])
    assert said.ok
    assert said.sandbox == "none: switched off"
    assert "seen" in result_of(place.bodies()[1])


# --- sessions ---


def test_a_session_goes_on_where_it_ended(place: Place) -> None:
    session = str(uuid4())
    first = place.say(call("write", path="a", content="1"), {"text": "I wrote a."}, session=session, prompt="write a")
    assert first.session == session
    second = place.say(call("read", path="a"), {"text": "It is 1."}, session="", resume=session, prompt="read a")
    assert (second.ok, second.text, second.session) == (True, "It is 1.", session)
    assert second.usage == Usage(200, 20)  # Of this run alone.
    told = place.bodies()[0]["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "user", "assistant", "user"]
    assert [told[0]["content"][0]["text"], told[3]["content"][0]["text"]] == ["write a", "I wrote a."]
    assert told[4]["content"][0]["text"] == "read a"


def test_a_session_that_stopped_in_the_middle_can_go_on(place: Place) -> None:
    first = place.say(call("read", path="README"), {"status": 401}, prompt="first")
    assert first.trouble is Trouble.AUTH
    second = place.say({"text": "ok"}, session="", resume=first.session, prompt="second")
    assert second.ok
    told = place.bodies()[0]["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "user"]
    assert [block["type"] for block in told[-1]["content"]] == ["tool_result", "text"]


def test_thoughts_are_not_shown_to_another_model(place: Place) -> None:
    first = place.say({"thinking": "hm", "text": "Hello."})
    assert place.say({"text": "ok"}, session="", resume=first.session).ok
    assert "thinking" in json.dumps(place.bodies()[0]["messages"])
    assert place.say({"text": "ok"}, session="", resume=first.session, model="claude-other").ok
    assert "thinking" not in json.dumps(place.bodies()[0]["messages"])


@pytest.mark.parametrize("kept", [None, "{", '{"messages": [{"role": "user"}]}'])
def test_a_session_that_is_not_there_is_a_trouble_of_its_own(place: Place, kept: str | None) -> None:
    session = str(uuid4())
    if kept is not None:
        (place.state / f"{session}.json").write_text(kept)
    said = place.say({"text": "ok"}, session="", resume=session)
    assert (said.ok, said.trouble, said.session) == (False, Trouble.SESSION, "")
    assert session in said.why
    assert place.bodies() == []


def test_a_session_cannot_be_a_path(place: Place) -> None:
    (place.root / "evil.json").write_text('{"messages": [{"role": "user", "content": [{}]}]}')
    said = place.say({"text": "ok"}, session="", resume="../evil")
    assert said.trouble is Trouble.SESSION
    assert place.say({"text": "ok"}, session="../new").ok
    assert not (place.root / "new.json").exists()


def test_nothing_is_kept_of_a_conversation_that_never_began(place: Place) -> None:
    said = place.say({"status": 401})
    assert said.session == ""
    assert list(place.state.iterdir()) == []


# --- a service in trouble ---


def test_the_wait_that_the_service_asks_for_is_kept(place: Place) -> None:
    began = time.monotonic()
    said = place.say({"status": 429, "headers": {"retry-after": "2"}}, {"text": "ok"}, args=["--wait-s=10"])
    assert (said.ok, said.text, said.retries) == (True, "ok", 1)
    assert 1.95 <= time.monotonic() - began < 30


def test_a_limit_that_never_ends_is_told_as_such(place: Place) -> None:
    said = place.say({"status": 429, "headers": {"retry-after": "0.05"}, "times": 0})
    assert (said.ok, said.trouble, said.retries) == (False, Trouble.RATE_LIMITED, 2)
    assert "429" in said.why
    assert len(place.bodies()) == 3


@pytest.mark.parametrize(("status", "trouble"), [(429, Trouble.RATE_LIMITED), (529, Trouble.OVERLOADED)])
def test_a_wait_beyond_the_bound_is_left_to_the_engine(place: Place, status: int, trouble: Trouble) -> None:
    said = place.say({"status": status, "headers": {"retry-after": "90"}, "times": 0}, args=["--wait-s=60"])
    assert (said.trouble, said.retry_after_s, said.retries) == (trouble, 90.0, 0)
    assert len(place.bodies()) == 1


@pytest.mark.parametrize("status", [500, 529])
def test_a_service_that_is_down_is_asked_again_and_then_overloaded(place: Place, status: int) -> None:
    said = place.say({"status": status, "times": 0})
    assert (said.trouble, said.retries, len(place.bodies())) == (Trouble.OVERLOADED, 2, 3)
    assert place.say({"status": status, "times": 2}, {"text": "ok"}).ok


def test_a_service_that_forbids_to_ask_again_is_obeyed(place: Place) -> None:
    said = place.say({"status": 529, "headers": {"x-should-retry": "false"}, "times": 0})
    assert (said.trouble, len(place.bodies())) == (Trouble.OVERLOADED, 1)


@pytest.mark.parametrize(
    ("status", "message", "trouble"),
    [
        (401, "invalid x-api-key", Trouble.AUTH),
        (403, "not allowed", Trouble.AUTH),
        (400, "Your credit balance is too low", Trouble.RATE_LIMITED),
        (400, "prompt is too long", Trouble.REQUEST),
        (404, "model: claude-test", Trouble.REQUEST),
        (413, "too large", Trouble.REQUEST),
    ],
)
def test_what_asking_again_does_not_help_is_told_at_once(
    place: Place, status: int, message: str, trouble: Trouble
) -> None:
    said = place.say({"status": status, "message": message, "times": 0})
    assert (said.ok, said.trouble, said.retries) == (False, trouble, 0)
    assert message in said.why
    assert len(place.bodies()) == 1


def test_a_session_that_the_service_refuses_is_not_offered_again(place: Place) -> None:
    first = place.say({"text": "ok"})
    second = place.say({"status": 400, "message": "prompt is too long"}, session="", resume=first.session)
    assert (second.trouble, second.session) == (Trouble.REQUEST, "")


@pytest.mark.parametrize(
    "broken",
    [
        {"text": "half of it", "cut_after": 4},
        {"text": "half", "cut_after": 0},
        {"text": "half", "stream_error": True, "status": 529},
        {"text": "half", "chunk_delay": 30},
        {"hang": True},
    ],
    ids=["cut", "cut before it began", "error inside", "stalled", "no answer"],
)
def test_a_stream_that_breaks_off_is_asked_for_again(place: Place, broken: Mapping[str, Any]) -> None:
    said = place.say(broken, {"text": "whole"}, args=["--stall-s=1"])
    assert (said.ok, said.text, said.retries) == (True, "whole", 1)
    assert place.bodies()[0]["messages"] == place.bodies()[1]["messages"]


def test_streams_that_always_break_off_are_a_service_in_trouble(place: Place) -> None:
    said = place.say({"text": "half", "cut_after": 4, "times": 0})
    assert (said.ok, said.trouble, said.text) == (False, Trouble.OVERLOADED, "")
    assert said.usage == Usage(300, 3)  # What was told before it broke.


def test_half_a_call_is_not_run(place: Place) -> None:
    said = place.say({**call("write", path="x", content="x" * 500), "cut_after": 6, "times": 1}, {"text": "ok"})
    assert (said.ok, said.retries) == (True, 1)
    assert not (place.tree / "x").exists()


def test_a_service_that_is_not_there_is_overloaded(place: Place) -> None:
    place.settings["base_url"] = "http://127.0.0.1:1"
    said = place.say()
    assert (said.trouble, said.retries) == (Trouble.OVERLOADED, 2)
    assert "reached" in said.why


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59"}, 0),
    ],
)
def test_the_time_to_wait_is_read_in_every_form(headers: Mapping[str, str], seconds: float) -> None:
    assert retry_after(headers) == seconds


def test_a_date_to_wait_for_is_understood() -> None:
    assert retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}) > 1e9


# --- a model that does not end well ---


def test_a_refusal_is_told_as_one(place: Place) -> None:
    said = place.say({"text": "I cannot", "stop": "refusal"})
    assert (said.ok, said.trouble) == (False, Trouble.REFUSED)
    assert "refuses" in said.why
    assert said.usage == Usage(100, 10)


def test_an_answer_that_was_cut_is_gone_on_with(place: Place) -> None:
    said = place.say({"text": "one ", "stop": "max_tokens"}, {"text": "two ", "stop": "max_tokens"}, {"text": "three"})
    assert (said.ok, said.text) == (True, "one two three")
    assert [message["role"] for message in place.bodies()[2]["messages"]] == ["user", "assistant"] * 2 + ["user"]


def test_an_answer_that_is_cut_for_ever_is_a_limit(place: Place) -> None:
    said = place.say({"text": "x", "stop": "max_tokens", "times": 0})
    assert (said.ok, said.trouble, len(place.bodies())) == (False, Trouble.LIMIT, 4)


def test_of_a_cut_answer_the_last_call_is_not_run(place: Place) -> None:
    calls = [call("write", path=name, content="x")["tools"][0] for name in ("whole", "half")]
    said = place.say({"tools": calls, "stop": "max_tokens"}, {"text": "ok"})
    assert said.ok
    assert (place.tree / "whole").exists()
    assert not (place.tree / "half").exists()
    assert "was not run" in result_of(place.bodies()[1])


def test_an_empty_answer_is_asked_for_again(place: Place) -> None:
    said = place.say({"text": ""}, {"text": "ok"})
    assert (said.ok, said.text) == (True, "ok")
    assert place.say({"text": "", "times": 0}).trouble is Trouble.LIMIT


def test_a_full_context_is_a_limit_that_ends_the_session(place: Place) -> None:
    said = place.say(call("read", path="README"), {"text": "x", "stop": "model_context_window_exceeded"})
    assert (said.trouble, said.session) == (Trouble.LIMIT, "")


def test_a_model_that_calls_for_ever_is_stopped_after_its_turns(place: Place) -> None:
    place.settings["max_turns"] = 3
    said = place.say({**call("bash", command="echo x >> log"), "times": 0})
    assert (said.ok, said.trouble, said.tool_calls) == (False, Trouble.LIMIT, 3)
    assert len(place.bodies()) == 3
    assert (place.tree / "log").read_text() == "x\n" * 3
    assert place.say({"text": "ok"}, session="", resume=said.session).ok


def test_a_run_is_stopped_after_its_tokens(place: Place) -> None:
    said = place.say({**call("bash", command="echo x >> log"), "times": 0}, args=["--max-run-tokens=1"])
    assert (said.ok, said.trouble, said.tool_calls) == (False, Trouble.LIMIT, 1)
    assert "tokens" in said.why
    assert len(place.bodies()) == 1


# --- reading what was printed ---


def read(*lines: object, exit: int | None = 0, signal: int | None = None, ended: bool = True, stderr: str = "") -> Said:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    said = BACKEND.read(Output(io.BytesIO(text.encode()), stderr, exit, signal, ended))
    assert said is not None
    return said


def test_no_output_is_success_without_its_end() -> None:
    turn = {"type": "turn", "model": "m", "usage": {"input": 3, "output": 4}}
    said = read(turn, turn, {"type": "tool"}, {"type": "saved", "session": "s"}, ended=False, exit=None)
    used = {"usage": Usage(6, 8), "context": 7, "tool_calls": 1}
    assert said == Said(trouble=Trouble.CUT, why=said.why, session="s", model="m", **used)  # type: ignore[arg-type]
    assert read(stderr="Traceback\nModuleNotFoundError: x\n", exit=1).why.endswith("ModuleNotFoundError: x")


def test_a_session_that_went_on_is_known_before_its_first_turn() -> None:
    assert read({"type": "start", "session": "s", "resumed": True}, exit=None, ended=False).session == "s"
    assert read({"type": "start", "session": "s", "resumed": False}, exit=None, ended=False).session == ""


def test_success_needs_the_exit_code_too() -> None:
    end = {"type": "end", "status": "ok", "text": "t"}
    assert read(end).ok
    for code in (1, None):
        said = read(end, exit=code)
        assert (said.ok, said.trouble) == (False, Trouble.ERROR)
        assert said.why


@pytest.mark.parametrize("how", [{"exit": 0, "ended": False}, {"exit": 0, "signal": 15}, {"exit": None, "signal": 9}])
def test_one_that_was_ended_did_not_succeed_though_it_says_so(how: dict[str, Any]) -> None:
    said = read({"type": "end", "status": "ok", "text": "t"}, **how)
    assert (said.ok, said.trouble, said.text) == (False, Trouble.CUT, "t")
    assert "stopped" in said.why or "signal" in said.why


def test_the_conversation_is_as_long_as_its_newest_turn() -> None:
    turns = [{"type": "turn", "model": "m", "usage": {"input": size, "output": 4}} for size in (100, 300)]
    end = {"type": "end", "status": "ok", "text": "t", "usage": {"input": 400, "output": 8}}
    assert read(*turns, end).context == 304


@pytest.mark.parametrize("told", NO_COUNTS)
def test_a_use_that_is_told_as_nonsense_is_not_known(told: Any) -> None:
    end = {"type": "end", "status": "ok", "text": "t", "usage": {"input": 400, "output": told}}
    said = read(end)
    assert (said.ok, said.usage) == (True, None)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        "null",
        {"type": ["end"]},
        {"type": "turn", "usage": [1], "model": 7},
        {"type": "turn", "usage": {"input": "9", "output": -5, "cache_read": True, "reasoning": None}},
        {"type": "saved", "session": {"a": 1}},
        {"type": "end", "status": ["ok"], "text": 3, "usage": {"input": 1e400}, "retries": "x", "retry_after_s": -1},
        {"type": "end", "status": "", "retry_after_s": "90"},
    ],
)
def test_what_is_printed_may_be_anything(line: object) -> None:
    said = read(line, exit=1)
    assert not said.ok
    assert said.trouble is not Trouble.NONE
    assert said.why
    assert said.usage in (None, Usage())


# --- settings ---


def test_a_problem_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("MY_KEY", KEY)
    assert "ANTHROPIC_API_KEY" in BACKEND.problem({}, path="")
    assert BACKEND.problem({"key_env": "MY_KEY"}, path="") == ""
    assert "login" in BACKEND.problem({"key_env": "MY_KEY", "login": True}, path="")
    for wrong in ({"args": "x"}, {"env": ["x"]}, {"max_turns": -1}, {"max_turns": "3"}, {"base_url": 3}):
        settings = {"key_env": "MY_KEY", **wrong}
        assert next(iter(wrong)) in BACKEND.problem(settings, path="")
        with pytest.raises(InvalidFileError):
            BACKEND.launch(settings, Order(Path("/run"), Path("/tree"), Path("/state")))


def test_only_the_one_key_goes_along(place: Place) -> None:
    launch = BACKEND.launch({"key_env": "MY_KEY", "pass_env": ["CI"]}, place.order())
    assert launch.pass_env == ("MY_KEY", "CI")
    assert launch.env == {}
    assert BACKEND.launch({"base_url": "http://x"}, place.order()).env == {"ANTHROPIC_BASE_URL": "http://x"}


def test_a_model_must_be_named(place: Place) -> None:
    said = place.say({"text": "ok"}, model="")
    assert (said.trouble, place.bodies()) == (Trouble.REQUEST, [])
    place.settings["model"] = "claude-default"
    assert place.say({"text": "ok"}, model="").model == "claude-default"


def test_the_backend_itself_does_not_load_the_package() -> None:
    code = (
        "import sys; from orchestrator.adapters.backends.registry import find_backend; "
        "find_backend('anthropic').problem({}, path=''); print([n for n in sys.modules if n.split('.')[0] in "
        "('anthropic', 'httpx2', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- a whole run ---


def test_a_run_ends_with_its_work_sealed_and_its_words_read(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "bench")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    place.fake.play(script(call("write", path="new.txt", content="new\n"), {"text": f"Done, {KEY}."}))
    session = str(uuid4())
    launch = BACKEND.launch(place.settings, place.order(session=session))
    told = {
        "argv": list(launch.argv),
        "env": launch.env,
        "pass_env": list(launch.pass_env),
        "stdin": "prompt.md",
        "backend": "anthropic",
        "session": session,
        "state": str(place.state),
    }
    result = bench.run(bench.spec(launch=told), prompt="write new.txt")
    assert (result.status, result.exit, result.error) == (RunStatus.ENDED, 0, "")
    assert result.said is not None
    assert (result.said.ok, result.said.session, result.said.usage) == (True, session, Usage(200, 20))
    assert result.report.startswith("Done, ")
    assert KEY not in result.report
    assert result.sealed is not None
