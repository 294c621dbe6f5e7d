"""What the tests must know of each real agent: the API it speaks, its tools, and where it is unlike the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.adapters.backends.base import Backend
from orchestrator.adapters.backends.registry import find_backend

Turn = dict[str, Any]
TEMPORARY = ("slash_tmp", "tmpdir_env_var")
"""What Codex calls the folders for temporary files."""


def _tool(name: str, **given: object) -> Turn:
    return {"name": name, "input": given}


def _patch(path: str, text: str) -> Turn:
    added = "".join(f"+{line}\n" for line in text.splitlines())
    return {"name": "apply_patch", "input": f"*** Begin Patch\n*** Add File: {path}\n{added}*** End Patch\n"}


@dataclass(frozen=True)
class Forbidden:
    """A file that an author is not allowed to make, and what is told of it."""

    make: Callable[[str], Turn]
    """The call that would make the file at a path outside the tree."""
    told: tuple[str, ...]
    """The tools that were denied, as the run's record names them; () where the program tells of none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What forbids it, where nothing does by itself."""


@dataclass(frozen=True)
class Kind:
    """One agent. What has a default is said only where the agent is unlike the others."""

    name: str
    api: str
    """The API that it speaks, as the model service here calls it: anthropic, responses, chat or gemini."""
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
    forbidden: Forbidden
    denied_edit: tuple[str, ...]
    """What is told when a review calls `write` nevertheless."""
    has_program: bool = True
    """Whether it is a program that somebody else makes, and that has to be installed."""
    hasty: Mapping[str, Any] = field(default_factory=dict)
    """Settings with which it gives up sooner on a service that is down."""
    waits: bool = False
    """Whether it waits for as long as a service says, however long that is."""
    repeats_cut: bool = True
    """Whether it asks again when a stream breaks off."""
    tells_context: bool = False
    """Whether it tells how long the conversation is by now."""
    priced: Mapping[str, Any] = field(default_factory=dict)
    """For one that knows only some prices: what to change here, and in `settings`, to be on a service of these."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings beside the program and the service."""
    form_tool: str = ""
    """The tool by which its model fills in the form of an answer; '' if the answer is the form."""
    gone: str = "00000000-0000-4000-8000-000000000000"
    """An id that no session of it has."""
    refuses_plugins: bool = False
    """Whether it is not started where the repository brings plugins for it."""
    stops_circles: bool = False
    """Whether it stops a model that says the same again and again."""

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
    forbidden=Forbidden(
        make=lambda path: _tool("Bash", command=f"touch {path}", description="A command"),
        told=("Bash",),
        settings={"args": ["--disallowedTools=Bash(touch:*)"]},
    ),
    denied_edit=(),
    hasty={"env": {"CLAUDE_CODE_MAX_RETRIES": "1"}},
    tells_context=True,
    form_tool="StructuredOutput",
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
    forbidden=Forbidden(
        make=lambda path: _patch(path, "made"),
        told=("apply_patch",),
        # The tests' own folder lies below one that it may write to.
        settings={"args": [f"-c=sandbox_workspace_write.exclude_{each}=true" for each in TEMPORARY]},
    ),
    denied_edit=("apply_patch",),
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
    forbidden=Forbidden(
        make=lambda path: _tool("write_file", file_path=path, content="made"),
        told=("write_file",),
    ),
    denied_edit=("write_file",),
    repeats_cut=False,
    stops_circles=True,
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
    forbidden=Forbidden(
        make=lambda path: _tool("bash", command=f"touch {path}", description="A command"),
        told=("bash",),
        settings={"env": {"OPENCODE_PERMISSION": '{"bash": {"*": "allow", "touch *": "deny"}}'}},
    ),
    denied_edit=("write",),
    waits=True,
    tells_context=True,
    priced={"api": "anthropic", "model": "claude-sonnet-4-5", "settings": {"provider": "anthropic"}},
    gone="ses_0123456789abcdefABCDEFGHIJ",
    refuses_plugins=True,
)
ANTHROPIC = Kind(
    name="anthropic",
    api="anthropic",
    model="claude-sonnet-5",
    key_env="ANTHROPIC_API_KEY",
    write=lambda path, text: _tool("write", path=path, content=text),
    shell=lambda command: _tool("bash", command=command),
    read=lambda path: _tool("read", path=path),
    edits=frozenset({"write", "edit"}),
    refusal={"text": "No.", "stop": "refusal"},
    forbidden=Forbidden(make=lambda path: _tool("write", path=path, content="made"), told=("write",)),
    denied_edit=("write",),
    has_program=False,
    hasty={"args": ["--tries=2", "--wait-s=5"]},
    tells_context=True,
)
KINDS = (CLAUDE, CODEX, GEMINI, OPENCODE)
"""Those with a program of their own."""
EVERY_KIND = (*KINDS, ANTHROPIC)
