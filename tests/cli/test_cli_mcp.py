"""The MCP server over its real transport: a client of the official SDK, and `orc mcp` as a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cli_world as w
import pytest

from orchestrator import __version__
from orchestrator.cli.main import IN_A_RUN
from orchestrator.errors import ExitCode

# Imported where it is used: it takes a second, of each process that only has to find the tests.
if TYPE_CHECKING:
    from mcp.client import Client

pytestmark = pytest.mark.skipif(find_spec("mcp") is None, reason="the extra `mcp` is not installed")
TOOLS = {"ask", "remember", "submit", "progress", "verdict"}
Calls = Callable[["Client"], Awaitable[None]]


def place(tmp_path: Path, kind: str = "attempt") -> tuple[dict[str, str], Path]:
    """The environment of a run of a kind, and its folder."""
    run = f"greet-0a1b2c3d.{kind}-1"
    folder = tmp_path / "orc" / "runs" / run
    for box in ("outbox", "answers"):
        (folder / box).mkdir(parents=True)
    return {"ORC_RUN": run, "ORC_RUN_DIR": str(folder), "ORC_RESULT": str(folder / "report")}, folder


def talk(env: dict[str, str], calls: Calls) -> None:
    """One session with `orc mcp` in this environment."""
    import anyio
    from mcp import StdioServerParameters
    from mcp.client import Client

    server = StdioServerParameters(
        command=sys.executable, args=["-m", "orchestrator", "mcp"], env={"PYTHONPATH": str(w.SOURCE), **env}
    )

    async def session() -> None:
        async with Client(server) as client:
            await calls(client)

    anyio.run(session)


async def call(client: Client, tool: str, **arguments: Any) -> tuple[bool, str]:
    """Whether it went well, and what was said."""
    result = await client.call_tool(tool, arguments)
    return not result.is_error, " ".join(getattr(part, "text", "") for part in result.content)


def requests(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "outbox").glob("[!.]*"))]


@pytest.mark.timeout(120)
def test_the_tools_write_what_the_commands_write(tmp_path: Path) -> None:
    env, folder = place(tmp_path)

    async def calls(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        assert all(tool.description and "\n " not in tool.description for tool in tools)
        options = ["a", "b", {"key": "c", "label": "see", "consequence": "It is seen."}]
        ok, told = await call(client, "ask", question="Which one?", options=options, default="c", expires_h=48)
        assert (ok, "what comes of it will stand in" in told) == (True, True)
        assert (await call(client, "remember", text="So it is.", type="lesson", tags=["tests"]))[0]
        assert (await call(client, "submit", job="prompt: more\n", name="more.yaml"))[0]
        assert (await call(client, "progress", text="half of it"))[0]
        ok, told = await call(client, "progress", text="two\nlines")
        assert (ok, "text" in told) == (False, True)
        ok, told = await call(client, "verdict", verdict={})
        assert (ok, "is no review" in told) == (False, True)

    talk(env, calls)
    by_tool = requests(folder)
    assert [each["kind"] for each in by_tool] == ["ask", "remember", "submit", "progress"]
    for path in (folder / "outbox").iterdir():
        path.unlink()
    (tmp_path / "more.yaml").write_text("prompt: more\n")
    offers = ["-o", "a", "-o", "b", "-c", "c", "see", "It is seen.", "--default", "c", "--expires", "48"]
    w.orc(tmp_path, "ask", "Which one?", *offers, env=env, code=0)
    w.orc(tmp_path, "remember", "So it is.", "--type", "lesson", "-t", "tests", env=env, code=0)
    w.orc(tmp_path, "submit", "more.yaml", env=env, code=0)
    w.orc(tmp_path, "progress", "half of it", env=env, code=0)
    assert requests(folder) == by_tool
    assert list((tmp_path / "orc" / "bell").iterdir()) == [tmp_path / "orc" / "bell" / env["ORC_RUN"]]


@pytest.mark.timeout(120)
def test_a_review_gives_its_verdict_and_has_no_other_tool_that_works(tmp_path: Path) -> None:
    env, folder = place(tmp_path, "review")
    verdict = {
        "nonce": "n0", "job": "greet-0a1b2c3d", "commit": "c0", "verdict": "REVISE", "files": [], "items": [],
        "findings": [{"severity": "blocking", "problem": "no colon"}],
    }  # fmt: skip

    async def calls(client: Client) -> None:
        ok, told = await call(client, "verdict", verdict={**verdict, "verdict": "FINE"})
        assert (ok, "verdict" in told) == (False, True)
        assert not (folder / "report").exists()
        assert (await call(client, "verdict", verdict=verdict))[0]
        ok, told = await call(client, "remember", text="So it is.")
        assert (ok, "a review may not remember" in told) == (False, True)

    talk(env, calls)
    assert json.loads((folder / "report").read_text()) == verdict
    assert requests(folder) == []


@pytest.mark.timeout(120)
def test_outside_of_a_run_the_tools_say_so(tmp_path: Path) -> None:
    async def calls(client: Client) -> None:
        ok, told = await call(client, "progress", text="half of it")
        assert (ok, "outside of a run" in told) == (False, True)

    talk({}, calls)
    assert "outside of a run" in w.orc(tmp_path, "ask", "Which one?", code=ExitCode.REFUSED).err


def test_an_option_that_looks_like_an_answer_of_orcs_own_is_refused_at_once(tmp_path: Path) -> None:
    env, folder = place(tmp_path)
    offers = ["-c", "approve", "Merge it", "", "-o", "b"]
    done = w.orc(tmp_path, "ask", "Which one?", *offers, env=env, code=ExitCode.INVALID_FILE)
    assert "'approve'" in done.err
    w.orc(tmp_path, "ask", "Which one?", "-o", "a", "--expires", "48", env=env, code=ExitCode.INVALID_FILE)
    assert requests(folder) == []


def test_a_run_that_has_asked_enough_is_told_at_once(tmp_path: Path) -> None:
    env, folder = place(tmp_path)
    for number in range(3):
        w.orc(tmp_path, "ask", f"Which one of {number}?", env=env, code=0)
    assert "ask 3 times" in w.orc(tmp_path, "ask", "And now?", env=env, code=ExitCode.REFUSED).err
    (answer,) = sorted((folder / "outbox").iterdir())[:1]
    (folder / "answers" / answer.name).write_text('{"accepted": false}')
    w.orc(tmp_path, "ask", "And now?", env=env, code=0)
    (folder / "outbox" / "none.yaml").write_text("prompt: [\n")
    w.orc(tmp_path, "submit", str(folder / "outbox" / "none.yaml"), env=env, code=ExitCode.INVALID_FILE)


@pytest.mark.parametrize("args", [("status",), ("show", "greet"), ("log",), ("run",), ("cancel", "greet"), ("doctor",)])
def test_every_other_verb_is_refused_inside_a_run_but_explained(tmp_path: Path, args: tuple[str, ...]) -> None:
    env, _ = place(tmp_path)
    done = w.orc(tmp_path, *args, env=env, code=ExitCode.REFUSED)
    assert "orc ask, remember, submit, progress, verdict" in done.err
    assert "Usage: orc" in w.orc(tmp_path, "help", args[0], env=env, code=0).out
    assert "Usage: orc" in w.orc(tmp_path, args[0], "--help", env=env, code=0).out


def test_the_plugin_starts_this_server_and_its_skill_names_every_tool() -> None:
    plugin = w.SOURCE / "integrations" / "claude-code"
    assert json.loads((plugin / ".claude-plugin/plugin.json").read_text())["version"] == __version__
    server = json.loads((plugin / ".mcp.json").read_text())["mcpServers"]["orc"]
    assert [server["command"], *server["args"]] == ["orc", "mcp"]
    assert set(server["env"]) == {"ORC_RUN", "ORC_RUN_DIR", "ORC_RESULT"}
    skill = (plugin / "skills/ask-orc/SKILL.md").read_text()
    assert set(IN_A_RUN) == TOOLS
    assert [tool for tool in TOOLS if f"`{tool}`" not in skill] == []


@pytest.mark.timeout(120)
def test_no_tool_says_that_a_project_is_finished(tmp_path: Path) -> None:
    """Whoever answers for a person is a person: what an agent may ask has no such verb, by whatever way it asks."""
    assert not {"approve", "answer", "reject", "finish"} & (TOOLS | set(IN_A_RUN))
    from mcp.shared.exceptions import MCPError

    env, folder = place(tmp_path)

    async def calls(client: Client) -> None:
        for name in ("approve", "answer", "finish"):
            try:
                ok, _ = await call(client, name, job="main.finish-1", key="done")
            except MCPError:
                ok = False
            assert not ok

    talk(env, calls)
    assert requests(folder) == []
