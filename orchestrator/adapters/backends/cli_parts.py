"""What the backends of command line programs share: checks of settings, values of hostile JSON, kinds of trouble."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orchestrator.adapters.backends.base import Launch, Order, text_list, text_map
from orchestrator.adapters.processes import program_problem
from orchestrator.core.said import Trouble
from orchestrator.errors import InvalidFileError

WHY_CHARS = 500
NAME_CHARS = 200
MOST = 10**15
"""A number above it is nonsense, and counts as nothing."""
NAME_OF_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
SERVICE_DOWN = re.compile(
    r"fetch failed|ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|connection refused"
    r"|socket hang up|premature close|^terminated$|Incomplete JSON segment|connection (was )?(reset|closed)"
    r"|server_error|overloaded|without a finish reason",
    re.I,
)
BUSY = re.compile(r"rate.?limit|too many requests|RESOURCE_EXHAUSTED|insufficient_quota", re.I)
BAD_KEY = re.compile(r"API key (not valid|expired|not found)|invalid (api|x-api-)key|UNAUTHENTICATED", re.I)


# --- settings ---


def wrong_settings(settings: Mapping[str, Any]) -> str:
    """'' if the settings have the right form, else what is wrong with them."""
    for key in ("args", "pass_env"):
        if text_list(settings, key) is None:
            return f"`{key}` must be a list of texts."
    if text_map(settings, "env") is None:
        return "`env` must map names to texts."
    for key in ("program", "key_env", "base_url", "model", "provider"):
        if not isinstance(settings.get(key) or "", str):
            return f"`{key}` must be a text."
    if settings.get("key_env") and not NAME_OF_VARIABLE.fullmatch(settings["key_env"]):
        return "`key_env` must be the name of an environment variable, not the key itself."
    turns = settings.get("max_turns") or 0
    if not isinstance(turns, int) or turns < 0:
        return "`max_turns` must be a whole number, 0 for no limit."
    return ""


def refused_setting(settings: Mapping[str, Any], refused: Mapping[str, str]) -> str:
    """What `refused` says of the first of its settings that is given, else ''."""
    return next((why for name, why in refused.items() if settings.get(name)), "")


def require_right(settings: Mapping[str, Any], backend: str, wrong: str = "") -> None:
    """Raises InvalidFileError, with what `wrong_settings` says, else with `wrong`."""
    if wrong := wrong_settings(settings) or wrong:
        raise InvalidFileError(wrong, key=backend)


def key_of(settings: Mapping[str, Any], usual: str) -> str:
    """The variable that holds the key; '' where the person's own login is used instead."""
    return "" if settings.get("login") else str(settings.get("key_env") or usual)


def what_is_missing(settings: Mapping[str, Any], name: str, *, path: str, install: str, key: str = "") -> str:
    """'' if the program and the key that it needs are there, else the reason and the way out."""
    missing = missing_program(settings, name, path=path, install=install)
    return missing or (missing_key(key) if key else "")


def missing_program(settings: Mapping[str, Any], name: str, *, path: str, install: str) -> str:
    """'' if the program is on the PATH, else the reason and how to install it."""
    program = settings.get("program") or name
    problem = program_problem((program,), path=path, cwd="/")
    if "is not on the PATH" in problem:
        # Whoever has not installed it yet is not helped by the list of folders.
        problem = f"The program {program!r} is not on the PATH."
    return f"{problem} {install}" if problem else ""


def missing_key(key: str) -> str:
    """'' if the variable is set, else what to do."""
    if os.environ.get(key):
        return ""
    return f"The environment variable {key} is not set: put the key of the API there, or name another `key_env`."


def launch_of(
    settings: Mapping[str, Any],
    argv: tuple[str, ...],
    *,
    own: Mapping[str, str],
    key: str = "",
    wanted: str = "",
    usual: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, str] = MappingProxyType({}),
    behind: tuple[str, ...] = (),
) -> Launch:
    """The program with what the person adds to its arguments (before `behind`) and to its environment.

    The person's `env` wins over `usual`, and `own` over both. `key` names the variable that the program may see, and
    `wanted` the name that it must have there.
    """
    whole = (*argv, *(text_list(settings, "args") or ()), *behind)
    passed = ((key,) if key else ()) + (text_list(settings, "pass_env") or ())
    return Launch(
        argv=under_name(whole, key=key, wanted=wanted) if key and wanted else whole,
        env={**usual, **(text_map(settings, "env") or {}), **own},
        pass_env=tuple(dict.fromkeys(passed)),
        files=dict(files),
    )


def need_home(order: Order, backend: str) -> Path:
    """The person's HOME. Raises InvalidFileError when there is none to use."""
    if order.person_home is None:
        raise InvalidFileError("`login` needs the HOME of a person, and there is none", key=f"{backend}.login")
    return order.person_home


def under_name(argv: tuple[str, ...], *, key: str, wanted: str) -> tuple[str, ...]:
    """The command, with the variable `key` under the name that the program looks for. No argument holds its value."""
    if key == wanted:
        return argv
    return ("/bin/sh", "-c", f'export {wanted}="${key}"; unset {key}; exec "$@"', "sh", *argv)


# --- values ---


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """The value if it is a text, else ''. Half a character, which JSON can hold and no file can, becomes `?`."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def short(value: object, chars: int = WHY_CHARS) -> str:
    """A text on one line, without the controls of a terminal, cut."""
    cut = value[: 8 * chars] if isinstance(value, str) else ""
    return " ".join(CONTROL.sub(" ", text(cut)).split())[:chars]


def session_of(value: object) -> str:
    """An id that is safe as an argument of a later command, else ''."""
    return value if isinstance(value, str) and SESSION.fullmatch(value) else ""


def count(value: object) -> int:
    """A number of things; 0 for all that is none."""
    return int(amount(value))


def amount(value: object) -> float:
    """A quantity; 0 for all that is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return value if 0 <= value <= MOST else 0  # NaN is not in between either.


# --- trouble ---


def trouble_of(status: int, message: str = "") -> Trouble:
    """What an HTTP status and a message of a model's service are about; ERROR if neither tells."""
    if status in (401, 403) or BAD_KEY.search(message):
        return Trouble.AUTH
    if status in (402, 429):
        return Trouble.RATE_LIMITED
    if status == 408 or 500 <= status < 600:
        return Trouble.OVERLOADED
    if 400 <= status < 500:
        return Trouble.REQUEST
    if BUSY.search(message):
        return Trouble.RATE_LIMITED
    return Trouble.OVERLOADED if SERVICE_DOWN.search(message) else Trouble.ERROR


def last_line(stderr: str) -> str:
    """The last line that is one of words, for an end that explains itself nowhere else."""
    lines = [short(line) for line in stderr.splitlines()[-200:]]
    said = [line for line in lines if re.search(r"[A-Za-z]{3}", line) and not line.startswith("at ")]
    return said[-1] if said else ""


def how_it_ended(*, exit: int | None, signal: int | None, ended: bool) -> str:
    """The end of a process in words."""
    if not ended:
        return "it was stopped"
    return f"it was killed by signal {signal}" if signal is not None else f"exit code {exit}"
