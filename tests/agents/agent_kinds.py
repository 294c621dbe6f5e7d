"""What the tests must know of each real agent: the API it speaks, its tools, and how to make it give up sooner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.adapters.backends.base import Backend
from orchestrator.adapters.backends.registry import find_backend

Turn = dict[str, Any]


def _tool(name: str, **given: object) -> Turn:
    return {"name": name, "input": given}


def _patch(path: str, text: str) -> Turn:
    added = "".join(f"+{line}\n" for line in text.splitlines())
    return {"name": "apply_patch", "input": f"*** Begin Patch\n*** Add File: {path}\n{added}*** End Patch\n"}


@dataclass(frozen=True)
class Kind:
    """One agent program."""

    name: str
    api: str
    """The API that it speaks, as the model service here calls it."""
    model: str
    key_env: str
    write: Callable[[str, str], Turn]
    """The call that writes a text to a path."""
    shell: Callable[[str], Turn]
    """The call that runs a command."""
    read: Callable[[str], Turn]
    """The call that reads the file at a path, with the program's own tool where it has one."""
    edits: frozenset[str]
    """The tools that edit, which a review must not have."""
    refusal: Turn
    """How its service says that it will not."""
    hasty: Mapping[str, Any] = field(default_factory=dict)
    """Settings with which it gives up sooner on a service that is down."""
    waits: bool = False
    """Whether it waits for as long as a service says, however long that is."""
    repeats_cut: bool = True
    """Whether it asks again when a stream breaks off."""

    @property
    def backend(self) -> Backend:
        """How orc drives it."""
        return find_backend(self.name)


CLAUDE = Kind(
    name="claude",
    api="anthropic",
    model="claude-sonnet-5",
    key_env="ANTHROPIC_API_KEY",
    write=lambda path, text: _tool("Write", file_path=path, content=text),
    shell=lambda command: _tool("Bash", command=command, description="A command"),
    read=lambda path: _tool("Read", file_path=path),
    edits=frozenset({"Write", "Edit", "NotebookEdit"}),
    refusal={"text": "No.", "stop": "refusal"},
    hasty={"env": {"CLAUDE_CODE_MAX_RETRIES": "1"}},
)
CODEX = Kind(
    name="codex",
    api="responses",
    model="gpt-5.5",
    key_env="CODEX_API_KEY",
    write=_patch,
    shell=lambda command: _tool("exec_command", cmd=command),
    read=lambda path: _tool("exec_command", cmd=f"cat {path}"),
    edits=frozenset(),
    refusal={"status": 400, "type": "invalid_prompt", "message": "Invalid prompt: it goes against the usage policy."},
    waits=True,
)
GEMINI = Kind(
    name="gemini",
    api="gemini",
    model="gemini-2.5-flash",
    key_env="GEMINI_API_KEY",
    write=lambda path, text: _tool("write_file", file_path=path, content=text),
    shell=lambda command: _tool("run_shell_command", command=command),
    read=lambda path: _tool("read_file", file_path=path),
    edits=frozenset({"write_file", "replace"}),
    refusal={"stop": "SAFETY"},
    repeats_cut=False,
)
OPENCODE = Kind(
    name="opencode",
    api="chat",
    model="some-model",
    key_env="OPENAI_API_KEY",
    write=lambda path, text: _tool("write", filePath=path, content=text),
    shell=lambda command: _tool("bash", command=command, description="A command"),
    read=lambda path: _tool("read", filePath=path),
    edits=frozenset({"write", "edit", "apply_patch", "patch", "multiedit"}),
    refusal={"text": "No.", "stop": "content_filter"},
    waits=True,
)
KINDS = (CLAUDE, CODEX, GEMINI, OPENCODE)
