"""The backend `command`: any program that reads a prompt on stdin and works in its current folder.

Its report is what it writes to the file named by ORC_RESULT, else what it prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.base import Capabilities, Launch, Order, Output, Standing, text_list, text_map
from orchestrator.adapters.backends.cli_parts import require_right, unused_setting
from orchestrator.adapters.processes import program_problem
from orchestrator.core.said import Said

USED = ("argv", "env", "pass_env")


@dataclass(frozen=True, slots=True)
class CommandBackend:
    """Settings: `argv` (required), `env` (a mapping), `pass_env` (names of variables, such as a key)."""

    name: str = "command"
    seen: str = ""
    capabilities: Capabilities = field(default_factory=Capabilities)

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if the program can be started, else the reason and the way out."""
        wrong = _wrong_settings(settings)
        if wrong:
            return wrong
        argv = text_list(settings, "argv") or ()
        if "/" in argv[0] and not argv[0].startswith("/"):
            return ""  # Relative to the tree, which does not exist yet: the run itself will tell.
        return program_problem(argv, path=path, cwd="/")

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """Nothing is known of any program."""
        return Standing()

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """The program as it is named. Raises InvalidFileError for wrong settings."""
        require_right(_wrong_settings(settings), self.name)
        return Launch(
            argv=text_list(settings, "argv") or (),
            env=text_map(settings, "env") or {},
            pass_env=text_list(settings, "pass_env") or (),
        )

    def read(self, output: Output) -> Said | None:
        """None: its whole output is its answer."""
        return None


def _wrong_settings(settings: Mapping[str, Any]) -> str:
    if not text_list(settings, "argv"):
        return "`argv` must be a list of texts with the program first, for example [my-agent, --quiet]."
    if text_map(settings, "env") is None:
        return "`env` must map names to texts."
    if text_list(settings, "pass_env") is None:
        return "`pass_env` must be a list of names of environment variables."
    return unused_setting(settings, "command", USED)
