"""The backend `command`: any program that reads a prompt on stdin and works in its current folder.

Its report is what it writes to the file named by ORC_RESULT, else what it prints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.base import Capabilities, Launch, Order, Output, Standing, text_list, text_map
from orchestrator.adapters.backends.cli_parts import last_line, require_right, unused_setting
from orchestrator.adapters.programs import program_problem
from orchestrator.core.said import Said, Trouble

TURNED_AWAY = {
    69: (Trouble.OVERLOADED, "it says that its service cannot be reached (exit code 69)"),
    75: (Trouble.RATE_LIMITED, "it says that its service is limited (exit code 75)"),
    77: (Trouble.AUTH, "it says that its key was refused (exit code 77)"),
}
"""Exit codes of sysexits.h (unavailable, try again later, no permission), and what each means here."""
RETRY_AFTER = re.compile(r"^retry-after:[ \t]{0,8}([0-9]{1,9})[ \t]*\r?$", re.I | re.M)
TAIL_BYTES = 4096
"""Whether it says when to come back is looked for in so much of the end of its output."""
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
        """None, for its whole output is its answer; unless its exit code says that its service turned it away."""
        if not output.ended or output.exit not in TURNED_AWAY:
            return None
        output.stdout.seek(max(0, output.stdout.seek(0, 2) - TAIL_BYTES))
        printed = output.stdout.read(TAIL_BYTES).decode("utf-8", "replace")
        waits = RETRY_AFTER.findall(f"{printed}\n{output.stderr[-TAIL_BYTES:]}")
        trouble, told = TURNED_AWAY[output.exit]
        line = last_line(output.stderr)
        return Said(
            trouble=trouble,
            why=f"{told}{f': {line}' if line else ''}",
            retry_after_s=float(waits[-1]) if waits and trouble is not Trouble.AUTH else 0.0,
        )


def _wrong_settings(settings: Mapping[str, Any]) -> str:
    if not text_list(settings, "argv"):
        return "`argv` must be a list of texts with the program first, for example [my-agent, --quiet]."
    if text_map(settings, "env") is None:
        return "`env` must map names to texts."
    if text_list(settings, "pass_env") is None:
        return "`pass_env` must be a list of names of environment variables."
    return unused_setting(settings, "command", USED)
