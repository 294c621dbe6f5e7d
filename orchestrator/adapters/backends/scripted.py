"""The backend `scripted`: a program that plays an agent's part from a YAML file, for demos and tests.

A script is `plays:` with a list of plays, or the list alone. The first play whose `match` fits is played:

    plays:
      - match: {kind: attempt, title: "log ?in", number: 1}   # regular expressions; numbers as they are
        times: 1                                              # then used up; without it, never
        write: {src/login.py: "print('hello')\\n"}
        commit: Add the login
        say: I added the login.
      - match: {kind: review}
        verdict: APPROVED
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.base import Capabilities, Launch, Order, Output, Standing
from orchestrator.adapters.backends.cli_parts import own_program, require_right, unused_setting
from orchestrator.adapters.programs import run_shell
from orchestrator.core.said import Said
from orchestrator.errors import InvalidFileError

USED = ("script", "env", "pass_env")
NO_PLAY = 3
"""Exit code when no play fits."""
SCRIPT_BYTES = 4 * 1024 * 1024

REGEX_MATCHES = ("job", "kind", "title", "task_kind", "task", "project")
NUMBER_MATCHES = ("number", "attempt")
VERDICTS = ("APPROVED", "REVISE", "REJECT")
ANSWERS = ("fixed", "disputed")


@dataclass(frozen=True, slots=True)
class ScriptedBackend:
    """Settings: `script`, the path of the YAML file; `pass_env` and `env` as for `command`."""

    name: str = "scripted"
    seen: str = ""
    capabilities: Capabilities = field(default_factory=Capabilities)

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if the script can be played, else what is wrong with it."""
        try:
            require_right(unused_setting(settings, self.name, USED), self.name)
            read_script(_script_path(settings))
        except InvalidFileError as error:
            return str(error)
        return ""

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """It needs nothing."""
        return Standing()

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """This module as a program. Raises InvalidFileError when no script is named."""
        require_right(unused_setting(settings, self.name, USED), self.name)
        # It is this module again.
        return Launch(
            argv=(*own_program("scripted", "yaml"), str(_script_path(settings))),
            env=dict(settings.get("env") or {}),
            pass_env=tuple(settings.get("pass_env") or ()),
        )

    def read(self, output: Output) -> Said | None:
        """None: its whole output is its answer."""
        return None


def _script_path(settings: Mapping[str, Any]) -> Path:
    script = settings.get("script")
    if not isinstance(script, str) or not script:
        raise InvalidFileError("must be the path of a YAML file with plays", key="script")
    return Path(script).expanduser().absolute()


# --- the script ---


@dataclass(frozen=True, slots=True)
class Play:
    """One entry of a script, validated. The keys are those of `KEYS`."""

    number: int
    match: Mapping[str, str | int]
    keys: Mapping[str, Any]


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(part, str) for pair in value.items() for part in pair)


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "match": (lambda value: isinstance(value, dict), "a mapping"),
    "times": (lambda value: _is_count(value) and value > 0, "a whole number above 0"),
    "write": (_is_text_map, "a mapping of paths to texts"),
    "append": (_is_text_map, "a mapping of paths to texts"),
    "delete": (_is_text_list, "a list of paths"),
    "run": (lambda value: isinstance(value, str), "a line of shell"),
    "commit": (lambda value: isinstance(value, str) and bool(value), "a commit message"),
    "stderr": (lambda value: isinstance(value, str), "a text"),
    "sleep": (_is_number, "a number of seconds"),
    "say": (lambda value: isinstance(value, str), "a text"),
    "reply": (lambda value: isinstance(value, str), "a text"),
    "verdict": (lambda value: value in VERDICTS, f"one of {', '.join(VERDICTS)}"),
    "items": (
        lambda value: isinstance(value, dict) and all(isinstance(item, bool) for item in value.values()),
        "a mapping of checklist ids to true or false",
    ),
    "claims": (
        lambda value: _is_text_map(value) and set(value.values()) <= {"supported", "contradicted", "unverifiable"},
        "a mapping of the ids of claims to supported, contradicted or unverifiable",
    ),
    "findings": (
        lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
        "a list of mappings",
    ),
    "follow_ups": (lambda value: isinstance(value, list), "a list"),
    "summary": (lambda value: isinstance(value, str), "a text"),
    "answers": (lambda value: value in ANSWERS, f"one of {', '.join(ANSWERS)}"),
    "to": (lambda value: value in ("file", "stdout"), "file or stdout"),
    "exit": (lambda value: _is_count(value) and value < 256, "an exit code from 0 to 255"),
    "signal": (lambda value: _is_count(value) and 0 < value < 65, "the number of a signal"),
}


def read_script(path: Path) -> tuple[Play, ...]:
    """The plays of a script. Raises InvalidFileError, which names the play and the key."""
    from orchestrator.adapters.strict_yaml import load

    try:
        with open(path, "rb") as file:
            data = file.read(SCRIPT_BYTES + 1)
    except OSError as error:
        raise InvalidFileError(
            f"cannot be read: {error.strerror}", file=str(path), hint="Correct `script` in the backend's settings."
        ) from error
    try:
        return parse_script(load(data, max_bytes=SCRIPT_BYTES).value)
    except InvalidFileError as error:
        raise error.in_file(str(path)) from error


def parse_script(content: object) -> tuple[Play, ...]:
    """The plays in the content of a YAML file. Raises InvalidFileError."""
    if isinstance(content, dict):
        unknown = set(content) - {"plays"}
        if unknown:
            raise InvalidFileError(f"has an unknown key {min(map(str, unknown))!r}; there is only `plays`")
        content = content.get("plays")
    if not isinstance(content, list) or not content:
        raise InvalidFileError("must hold a list of plays")
    return tuple(_parse_play(number, play) for number, play in enumerate(content, start=1))


def _parse_play(number: int, play: object) -> Play:
    where = f"play {number}"
    if not isinstance(play, dict):
        raise InvalidFileError("must be a mapping", key=where)
    for key, value in play.items():
        if key not in KEYS:
            raise InvalidFileError(f"there is no such key; there are {', '.join(KEYS)}", key=f"{where}.{key}")
        is_right, what = KEYS[key]
        if not is_right(value):
            raise InvalidFileError(f"must be {what}", key=f"{where}.{key}")
    match = play.get("match", {})
    for key, value in match.items():
        _check_match(f"{where}.match.{key}", key, value)
    for path in (*play.get("write", {}), *play.get("append", {}), *play.get("delete", [])):
        if not path or path.startswith("/") or ".." in path.split("/"):
            raise InvalidFileError(f"{path!r} is not a path inside the tree", key=where)
    return Play(number, match, {key: value for key, value in play.items() if key != "match"})


def _check_match(where: str, key: object, value: object) -> None:
    if key in NUMBER_MATCHES:
        if not _is_count(value):
            raise InvalidFileError("must be a whole number", key=where)
        return
    if key not in REGEX_MATCHES:
        known = ", ".join((*REGEX_MATCHES, *NUMBER_MATCHES))
        raise InvalidFileError(f"there is nothing of that name to match; there are {known}", key=where)
    if not isinstance(value, str):
        raise InvalidFileError("must be a regular expression", key=where)
    try:
        re.compile(value)
    except re.error as error:
        raise InvalidFileError(f"is not a regular expression: {error}", key=where) from error


# --- the program ---


@dataclass(frozen=True, slots=True)
class Scene:
    """What the program is told: its environment, the facts, the prompt."""

    environment: Mapping[str, str]
    facts: Mapping[str, Any]
    prompt: bytes

    def matched(self, key: str) -> str | int:
        """What a key of `match` is compared with."""
        number = int(self.environment.get("ORC_NUMBER") or 0)
        if key == "number":
            return number
        if key == "attempt":
            value = self.facts.get("attempt", number)
            return value if isinstance(value, int) else number
        if key in ("job", "kind", "project"):
            return self.environment.get(f"ORC_{key.upper()}", "")
        return str(self.facts.get({"task_kind": "kind"}.get(key, key), ""))


def main(argv: Sequence[str]) -> int:
    """Play the script argv[0] in the current folder. The exit code is the play's."""
    script = Path(argv[0])
    scene = Scene(os.environ, _read_facts(), sys.stdin.buffer.read())
    try:
        plays = read_script(script)
    except InvalidFileError as error:
        print(f"the script cannot be played: {error}", file=sys.stderr)
        return 2
    play = next((play for play in plays if fits(play, scene) and _claim(play, script)), None)
    if play is None:
        told = ", ".join(f"{key} {scene.matched(key)!r}" for key in ("job", "kind", "title", "number"))
        print(f"no play of {script.name} fits: {told}", file=sys.stderr)
        return NO_PLAY
    return perform(play, scene)


def fits(play: Play, scene: Scene) -> bool:
    """Whether every part of `match` fits. `kind` and `task_kind` must fit whole, the others somewhere."""
    for key, wanted in play.match.items():
        actual = scene.matched(key)
        if key in NUMBER_MATCHES:
            if actual != wanted:
                return False
        elif not (re.fullmatch if key in ("kind", "task_kind") else re.search)(str(wanted), str(actual)):
            return False
    return True


def perform(play: Play, scene: Scene) -> int:
    """Do what a play says, in the order of a working day: files, shell, commit, noise, wait, report, end."""
    keys = play.keys
    _change_files(keys)
    if "run" in keys and (code := run_shell(keys["run"], stdin=scene.prompt)) != 0:
        print(f"play {play.number}: the shell ended with {code}", file=sys.stderr)
        return code if code > 0 else 128 - code
    if "commit" in keys and run_shell("git add -A && git commit -q --allow-empty -F -", stdin=keys["commit"].encode()):
        print(f"play {play.number}: the commit failed", file=sys.stderr)
        return 1
    if "stderr" in keys:
        print(keys["stderr"], file=sys.stderr, flush=True)
    time.sleep(keys.get("sleep", 0))
    _report(build_report(keys, scene), keys.get("to", "file"))
    sys.stdout.flush()
    if "signal" in keys:
        os.kill(os.getpid(), keys["signal"])
    return int(keys.get("exit", 0))


def _change_files(keys: Mapping[str, Any]) -> None:
    for name in keys.get("delete", []):
        Path(name).unlink(missing_ok=True)
    for key, mode in (("write", "w"), ("append", "a")):
        for name, text in keys.get(key, {}).items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            with open(name, mode, encoding="utf-8") as file:
                file.write(text)


def build_report(keys: Mapping[str, Any], scene: Scene) -> str:
    """The text that a play leaves; '' if it leaves none."""
    if "reply" in keys:
        text: str = keys["reply"]
        for name in ("nonce", "commit", "job"):
            text = text.replace("{" + name + "}", str(scene.facts.get(name, "")))
        return text
    if "verdict" in keys:
        return json.dumps(build_verdict(keys, scene.facts))
    parts = [keys["say"]] if "say" in keys else []
    if "answers" in keys:
        answers = [
            {
                "id": fix["id"],
                "answer": keys["answers"],
                "reason": "done" if keys["answers"] == "fixed" else "not so",
            }
            for fix in scene.facts.get("fixes", [])
        ]
        parts.append("```json\n" + json.dumps({"answers": answers}) + "\n```")
    return "\n\n".join(parts)


def build_verdict(keys: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict with all that the facts ask for: every file read, and every item and claim good but where told."""
    given, results = keys.get("items", {}), keys.get("claims", {})
    items = [
        {"id": item["id"], "pass": given.get(item["id"], True), "evidence": "seen in the diff"}
        for item in facts.get("items", [])
    ]
    claims = [
        {"id": each["id"], "result": results.get(each["id"], "supported"), "evidence": "looked it up"}
        for each in facts.get("claims", [])
    ]
    return {
        "nonce": facts.get("nonce", ""),
        "job": facts.get("job", ""),
        "commit": facts.get("commit", ""),
        "verdict": keys["verdict"],
        "files": facts.get("files", []),
        "items": items,
        **({"claims": claims} if claims else {}),
        "findings": [_finding(finding) for finding in keys.get("findings", [])],
        **({"follow_ups": keys["follow_ups"]} if "follow_ups" in keys else {}),
        "summary": keys.get("summary", f"The scripted reviewer says {keys['verdict']}."),
    }


def _finding(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"severity": "blocking", "file": "", "line": 1, "problem": "", "fix": "", **given}


def _report(text: str, where: str) -> None:
    target = os.environ.get("ORC_RESULT")
    if not text:
        return
    if where == "file" and target:
        Path(target).write_text(text, encoding="utf-8")
    else:
        print(text, flush=True)


def _read_facts() -> Mapping[str, Any]:
    try:
        facts = json.loads(Path(os.environ["ORC_FACTS"]).read_bytes())
    except (KeyError, OSError, ValueError):
        return {}  # A run without facts: nothing of them can be matched.
    return facts if isinstance(facts, dict) else {}


def _claim(play: Play, script: Path) -> bool:
    """Use a play up once more; False if it was played `times` already. The marks stand beside the script."""
    times = play.keys.get("times")
    if times is None:
        return True
    folder = script.with_name(script.name + ".played")
    folder.mkdir(exist_ok=True)
    for count in range(times):
        try:
            os.close(os.open(folder / f"{play.number}.{count}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            continue
        return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
