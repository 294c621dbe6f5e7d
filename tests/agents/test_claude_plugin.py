"""Claude Code with the plugin of `integrations/`, as orc starts it: the tools of `orc mcp` reach the model and work."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from agent_kinds import CLAUDE, Kind
from agent_lab import Lab
from test_agents import lab, program, programs

NEEDED = pytest.mark.skipif(
    find_spec("mcp") is None, reason="the extra `mcp` is not installed: pip install -e '.[mcp]'"
)
pytestmark = [pytest.mark.agents, pytest.mark.timeout(200), NEEDED]

SOURCE = Path(__file__).resolve().parents[2]
PLUGIN = SOURCE / "integrations" / "claude-code"
__all__ = ["lab", "program", "programs"]


@pytest.fixture
def kind() -> Kind:
    return CLAUDE


@pytest.fixture(autouse=True)
def orc_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This checkout's orc, as a person would have it installed."""
    program = tmp_path / "bin" / "orc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {sys.executable} -m orchestrator "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_question_through_the_tools_of_the_plugin_lands_in_the_outbox(lab: Lab) -> None:
    asked = {"name": "mcp__orc__ask", "input": {"question": "Which page is meant?", "options": ["/login", "both"]}}
    lab.calls(asked, then="I have asked.")
    args = [f"--plugin-dir={PLUGIN}", f"--mcp-config={PLUGIN / '.mcp.json'}", "--allowedTools=mcp__orc"]
    result = lab.run(settings={"args": args})
    said = lab.well(result)
    first, last = lab.fake.requests[0], lab.fake.requests[-1]
    assert {f"mcp__orc__{name}" for name in ("ask", "remember", "submit", "progress", "verdict")} <= set(first.tools)
    assert not last.failed, lab.told(result)
    assert said.denials == ()
    outbox = lab.bench.orcdir / "runs" / result.run / "outbox"
    (request,) = [json.loads(path.read_text()) for path in outbox.iterdir()]
    assert (request["kind"], request["options"]) == ("ask", ["/login", "both"])
