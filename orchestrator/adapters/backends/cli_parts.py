"""What the backends of command line programs share: checks of settings, values of hostile JSON, kinds of trouble."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from orchestrator.adapters.backends.base import Launch, Order, Output, Standing, json_lines, text_list, text_map
from orchestrator.adapters.programs import program_problem
from orchestrator.core.said import Said, Trouble
from orchestrator.errors import InvalidFileError

WHY_CHARS = 500
NAME_CHARS = 200
MOST = 10**15
"""A number above it is nonsense."""
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
OF_EVERY_TYPE = ("name", "type", "family", "model", "quick", "at_once")
"""Settings that are not the backend's own."""
OWN_CODE = (
    "import sys; from importlib import import_module; sys.path[:0] = sys.argv[1].split(':'); "
    "sys.exit(import_module(sys.argv[2]).main(sys.argv[3:]))"
)
# The file is a temporary one without a name: there is nothing to remove, and no pipe that a program could find empty.
FEED_CODE = """
import json, os, re, sys, tempfile
prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
CHANGE
file = tempfile.TemporaryFile()
file.write(prompt.encode())
file.flush()
os.lseek(file.fileno(), 0, os.SEEK_SET)
os.dup2(file.fileno(), 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


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


def settings_problem(
    settings: Mapping[str, Any],
    backend: str,
    *,
    used: Collection[str],
    refused: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """'' if the settings have the right form and each means something here. `refused` says of some why they do not."""
    known = next((why for name, why in refused.items() if settings.get(name)), "")
    return wrong_settings(settings) or known or unused_setting(settings, backend, used)


def unused_setting(settings: Mapping[str, Any], backend: str, used: Collection[str]) -> str:
    """'' if each setting that is given means something to the backend, else which does not, and the way out."""
    unused = next((key for key, value in settings.items() if value and key not in (*used, *OF_EVERY_TYPE)), "")
    if not unused:
        return ""
    known = ", ".join(f"`{key}`" for key in used)
    return f"`{unused}` means nothing to the type {backend}: take it out, or say it with one of {known}."


def require_right(wrong: str, backend: str) -> None:
    """Raises InvalidFileError if something is wrong."""
    if wrong:
        raise InvalidFileError(wrong, key=backend)


def model_of(settings: Mapping[str, Any], order: Order) -> str:
    """The model that a run asks for, else the one of the settings; '' if neither names one."""
    return order.model or str(settings.get("model") or "")


def key_of(settings: Mapping[str, Any], usual: str) -> str:
    """The variable that holds the key; '' where the person's own login is used instead."""
    return "" if settings.get("login") else str(settings.get("key_env") or usual)


def what_is_missing(settings: Mapping[str, Any], name: str, *, path: str, install: str, usual_key: str = "") -> str:
    """'' if the program and the key that it needs are there, else the reason and the way out."""
    program = settings.get("program") or name
    problem = program_problem((program,), path=path, cwd="/")
    if "is not on the PATH" in problem:
        # Whoever has not installed it yet is not helped by the list of folders.
        problem = f"The program {program!r} is not on the PATH."
    if problem:
        return f"{problem} {install}"
    key = key_of(settings, usual_key) if usual_key else ""
    return missing_key(key) if key else ""


def missing_key(key: str) -> str:
    """'' if the variable is set, else what to do."""
    if os.environ.get(key):
        return ""
    return f"The environment variable {key} is not set: put the key of the API there, or name another `key_env`."


def standing_of(
    settings: Mapping[str, Any],
    home: Path | None,
    *,
    key: str = "",
    logins: Collection[str] = (),
    log_in: str = "",
    tokens: Collection[str] = (),
) -> Standing:
    """With which key or login a program would begin, and whether that is there: by names alone, nothing is read.

    `key` is the usual variable, `logins` are the places below HOME where the program keeps a login of a person, of
    which one is enough (none: nobody knows), `log_in` is how a person gets one. `tokens` are variables that are as good
    where they are passed on.
    """
    if not settings.get("login"):
        name = key_of(settings, key)
        if os.environ.get(name):
            return Standing(f"the key in {name}, and an empty HOME")
        told = f"`login: true` below `backends: {settings.get('name') or 'NAME'}:` in orc.yaml"
        if there := _login_in(home, logins):
            other = f"; or, for your own login, which ~/{there} seems to be, say {told}"
        else:
            other = f"; or {log_in}, and say {told}" if log_in else ""
        return Standing(f"the key in {name}, which is not set", f"put the key of the API into {name}{other}")
    passed = [name for name in text_list(settings, "pass_env") or () if name in tokens and os.environ.get(name)]
    if passed:
        return Standing(f"the token in {passed[0]}, and your HOME")
    if not logins or home is None:
        return Standing("your own login, with your HOME (orc doctor --try tells whether it is one)")
    if there := _login_in(home, logins):
        return Standing(f"your own login, with your HOME: ~/{there} is there")
    return Standing(f"your own login, with your HOME, but ~/{' or ~/'.join(logins)} is not there", log_in)


def _login_in(home: Path | None, logins: Collection[str]) -> str:
    """Where below a HOME a login is kept; '' if nowhere."""
    return next((place for place in logins if home is not None and _holds_something(home / place)), "")


def _holds_something(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


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


def own_program(module: str, package: str) -> tuple[str, ...]:
    """A program of orc's own that needs a package: `main` of a module in this folder, whose arguments come behind."""
    found = importlib.util.find_spec(package)
    roots = [Path(__file__).resolve().parents[3], *([Path(found.origin).parents[1]] if found and found.origin else [])]
    # Isolated: the agent's folder may well hold packages of these names.
    python = (sys.executable, "-I", "-X", "utf8", "-c", OWN_CODE)
    return (*python, ":".join(map(str, roots)), f"{__package__}.{module}")


def behind_feed(change: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command, with a prompt that was changed on its way: `change` is Python that assigns `prompt` anew."""
    return (sys.executable, "-I", "-c", FEED_CODE.replace("CHANGE", change.strip()), *argv)


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
    return told_amount(value) or 0


def told_amount(value: object) -> float | None:
    """A quantity; None for all that is none, where nothing and nothing told are two things."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= MOST else None  # NaN is not in between either.


def counts(told: Mapping[str, Any], *names: str) -> tuple[int, ...] | None:
    """Numbers of things by these names, 0 for what is not told. None if one of them is nonsense: what is counted as
    nothing for that would not be counted against any limit, and nobody would see it."""
    values = [0 if told.get(name) is None else told_amount(told[name]) for name in names]
    known = [int(each) for each in values if each is not None]
    return tuple(known) if len(known) == len(values) else None


def told_microusd(value: object) -> int | None:
    """US dollars in millionths of one; None for all that is no sum of money."""
    told = told_amount(value)
    return None if told is None or told * 1_000_000 > MOST else round(told * 1_000_000)


# --- what was told ---


class Told(Protocol):
    """What the events of a program say together."""

    def take(self, event: Mapping[str, Any], /) -> None:
        """Take in one more event."""

    def said(self, output: Output, /) -> Said:
        """What all of them say, and the end of the program with them."""


def read_events(told: Told, output: Output) -> Said:
    """What a program said whose output is lines of JSON."""
    for line in json_lines(output.stdout):
        told.take(line)
    return told.said(output)


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


def ended_well(output: Output) -> bool:
    """Whether the process ended by itself and well. What it said is another matter."""
    return output.ended and output.signal is None and output.exit == 0


def how_it_ended(output: Output) -> str:
    """The end of a process in words."""
    if not output.ended:
        return "it was stopped"
    return f"it was killed by signal {output.signal}" if output.signal is not None else f"exit code {output.exit}"
