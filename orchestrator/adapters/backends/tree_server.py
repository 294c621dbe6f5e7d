"""The tools over a tree in a process of their own, which the kernel holds to the tree; and who talks with it.

The process gives up all else before it does anything, and all commands of a run are started by it: so one of them can
end what an earlier one left running, and none reaches the process that has the key. A command can do to it what it
likes, for the model fools nobody but itself with that; so nothing is believed of what comes from there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters import landlock
from orchestrator.adapters.backends.tree_bounds import Bounds
from orchestrator.adapters.backends.tree_tool_list import BASH_MAX_SECONDS, BASH_SECONDS, Tool, ToolResult
from orchestrator.adapters.backends.tree_tools import TreeTools
from orchestrator.adapters.descendants import end_with_parent
from orchestrator.adapters.line_process import BrokenProcessError, LineProcess

START_S = 60.0
SPARE_S = 60.0
"""So much longer than it may take a call is waited for."""
ANSWER_CHARS = 256 * 1024

CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from orchestrator.adapters.backends.tree_server import serve; sys.exit(serve(int(sys.argv[2])))"
)
BROKEN = (
    "The process that runs the tools {why}, and was ended with what it had started. Another one begins with the next "
    "call. Look at what was done before you go on."
)


class NotConfinedError(Exception):
    """The tools cannot be held to the tree, though the kernel could."""


@dataclass(slots=True)
class ConfinedTools:
    """The tools of a folder, held to `bounds`. `environment` and `wait` are those of `TreeTools`."""

    root: Path
    environment: Mapping[str, str]
    bounds: Bounds
    read_only: bool = False
    wait: Callable[[], None] = lambda: None
    skills: Path | None = None
    version: int = 0
    """Of Landlock, once it is confirmed."""
    _process: LineProcess = field(init=False)

    def __post_init__(self) -> None:
        orc = str(Path(__file__).resolve().parents[3])
        # Isolated and without `site`: nothing in the tree or the environment decides what is imported.
        argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", CODE, orc, str(os.getpid())]
        self._process = LineProcess(argv, self.root, self.environment, self.wait)

    def tools(self) -> tuple[Tool, ...]:
        """What the model may call."""
        return TreeTools(self.root, {}, self.read_only).tools()

    def begin(self) -> None:
        """Start the process, without waiting for it. Raises NotConfinedError."""
        try:
            self._process.begin()
        except BrokenProcessError as error:
            raise NotConfinedError(f"their process {error}") from error

    def confirm(self) -> None:
        """Wait until the process is held to its bounds. Raises NotConfinedError."""
        skills = str(self.skills) if self.skills else None
        told = {"root": str(self.root), "read_only": self.read_only, "skills": skills, **self.bounds.to_json()}
        try:
            answer = self._process.ask(told, START_S)
        except BrokenProcessError as error:
            self.end()
            raise NotConfinedError(f"their process {error}") from error
        version = answer.get("version")
        if not isinstance(version, int) or version < landlock.LEAST:
            self.end()
            raise NotConfinedError(str(answer.get("problem") or "it does not say that it is confined")[:500])
        self.version = version

    def run(self, name: str, arguments: object) -> ToolResult:
        """Do one call. Never raises for what a model can bring about."""
        try:
            if not self._process.has_begun:
                self.begin()
                self.confirm()
            answer = self._process.ask({"name": name, "arguments": arguments}, _seconds(arguments) + SPARE_S)
        except BrokenProcessError as error:
            self.end()
            return ToolResult(BROKEN.format(why=error), is_error=True)
        except NotConfinedError as error:
            return ToolResult(f"The tools cannot be used: {error}.", is_error=True)
        text = answer.get("text")
        clean = text[:ANSWER_CHARS].encode("utf-8", "replace").decode() if isinstance(text, str) else ""
        return ToolResult(clean, is_error=answer.get("error") is True, is_denied=answer.get("denied") is True)

    def close(self) -> None:
        """Let the process end. What its commands left running is left to whoever supervises the run."""
        self._process.close()

    def end(self) -> None:
        """End the process and all that it has started."""
        self._process.end()


def _seconds(arguments: object) -> float:
    """How long a call may take."""
    asked = arguments.get("timeout_s") if isinstance(arguments, Mapping) else None
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not BASH_SECONDS < asked <= BASH_MAX_SECONDS:
        return BASH_SECONDS
    return float(asked)


# --- the process ---


def serve(parent: int) -> int:
    """Give up all that is not told on the first line of stdin, say so, and do calls until stdin or `parent` ends."""
    told = json.loads(sys.stdin.buffer.readline())
    bounds = Bounds.from_json(told)
    try:
        version = landlock.restrict(bounds.rules)
        _prove(bounds.closed)
    except OSError as error:
        _tell({"problem": f"the kernel did not take it: {error}"})
        return 1
    end_with_parent(parent)
    skills = Path(told["skills"]) if told["skills"] else None
    tools = TreeTools(Path(told["root"]), dict(os.environ), bool(told["read_only"]), skills=skills)
    _tell({"version": version})
    for line in sys.stdin.buffer:
        call = json.loads(line)
        result = tools.run(call["name"], call["arguments"])
        _tell({"text": result.text, "error": result.is_error, "denied": result.is_denied})
    return 0


def _prove(closed: Sequence[Path]) -> None:
    """See that what must be out of reach is. Raises OSError."""
    for folder in closed:
        try:
            os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except (PermissionError, FileNotFoundError):
            continue
        raise OSError(f"{folder} can still be listed")


def _tell(answer: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()
