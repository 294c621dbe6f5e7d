"""The person's own repository: where it is, and what their git is told to use there.

Never for anything an agent can write: here git looks around and reads the person's configuration.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator.adapters.git_process import ENVIRONMENT, SETTINGS, Output, git_options, run_git
from orchestrator.errors import NotFoundError

_PERSONAL = (
    *("PATH", "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    *("GIT_EDITOR", "VISUAL", "EDITOR", "TERM"),
)


def common_dir(start: Path) -> Path:
    """The git folder shared by all worktrees of the PERSON's repository that holds `start`. Raises NotFoundError."""
    return Path(_discover(start, "--git-common-dir"))


def own_dir(start: Path) -> Path:
    """The git folder of the PERSON's checkout that holds `start`, with its own HEAD. Raises NotFoundError."""
    return Path(_discover(start, "--git-dir"))


def top_level(start: Path) -> Path:
    """The top folder of the PERSON's checkout that holds `start`. Raises NotFoundError."""
    return Path(_discover(start, "--show-toplevel"))


def _discover(start: Path, what: str) -> str:
    output = _ask_as_person(("-C", str(start)), "rev-parse", "--path-format=absolute", what)
    if output.code != 0:
        raise _not_found(start, output.err.strip())
    return os.fsdecode(output.out).removesuffix("\n")


def _not_found(start: Path, said: str) -> NotFoundError:
    if "dubious ownership" in said:
        return NotFoundError(
            f"git does not trust the repository at {start}",
            cause="It belongs to another user.",
            hint=f"git config --global --add safe.directory {start}",
        )
    if "must be run in a work tree" in said:
        return NotFoundError(
            f"{start} is not in a checkout",
            cause="It is a bare repository, or a folder inside .git: there are no files to work on.",
            hint="git clone it, and go to the clone",
        )
    cause = "" if "not a git repository" in said else said
    return NotFoundError(f"{start} is not in a git repository", cause=cause, hint="go to yours; or make one: git init")


def personal_config(git_dir: Path, key: str) -> str:
    """A setting as the PERSON's own git sees it in their repository; "" if it is not set."""
    return os.fsdecode(_ask_as_person((f"--git-dir={git_dir}",), "config", "--get", key).out).removesuffix("\n")


def personal_editor(git_dir: Path) -> str:
    """The editor that the PERSON's git would open here, as a line of shell; "" if it has none for this terminal."""
    return os.fsdecode(_ask_as_person((f"--git-dir={git_dir}",), "var", "GIT_EDITOR").out).removesuffix("\n")


def _ask_as_person(place: Sequence[str], *args: str) -> Output:
    # The person's own configuration is read here, for `safe.directory`, their name and their editor; none of the
    # commands that are asked runs anything that it names.
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in _PERSONAL}
    given = {name: os.environ[name] for name in _PERSONAL if name in os.environ}
    # An editor that is set to nothing is none; a configuration that is set to nothing is empty.
    environment |= {name: value for name, value in given.items() if value or name.startswith("GIT_CONFIG")}
    told = git_options(setting for setting in SETTINGS if not setting.startswith(("safe.", "core.editor=")))
    return run_git(["git", *place, *told, *args], environment, None, 60.0, ())
