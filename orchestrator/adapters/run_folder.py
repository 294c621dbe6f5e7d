"""The folder of a run: its paths, reading and writing what is in it, and what a run may see of its machine.

What a run wrote is hostile: every read is bounded, follows no link, and never raises for its content.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.adapters.files import write_atomic
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.run_values import LaunchSpec, RunResult, RunSpec
from orchestrator.core.attempt_record import RunStatus
from orchestrator.errors import HostileFileError, InvalidFileError, OrcError

REPORT_BYTES = 65536
SPEC_BYTES = 4 * 1024 * 1024
RESULT_BYTES = 4 * 1024 * 1024
EVENTS_BYTES = 4 * 1024 * 1024
CUT = "\n[a part beyond 64 KiB is left out here]\n"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths inside the folder of one run."""

    path: Path

    @property
    def spec(self) -> Path:
        """What the run is to do."""
        return self.path / "spec.json"

    @property
    def facts(self) -> Path:
        """What the agent may know, as data."""
        return self.path / "facts.json"

    @property
    def lease(self) -> Path:
        """Locked for as long as the run lives. It lies beside the folder, which the agent is told of and can empty."""
        return self.path.parent.parent / "leases" / self.path.name

    @property
    def heartbeat(self) -> Path:
        """Touched every 30 s."""
        return self.path / "heartbeat"

    @property
    def events(self) -> Path:
        """One JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def stdout(self) -> Path:
        """Output of the program, redacted and bounded."""
        return self.path / "stdout"

    @property
    def stderr(self) -> Path:
        """Messages of the program, redacted and bounded."""
        return self.path / "stderr"

    @property
    def setup_log(self) -> Path:
        """Output of the project's setup, bounded."""
        return self.path / "setup.log"

    @property
    def shim_log(self) -> Path:
        """What the supervising process itself complains of; usually empty."""
        return self.path / "shim.log"

    @property
    def result(self) -> Path:
        """The last file that a run writes."""
        return self.path / "result.json"

    @property
    def stop(self) -> Path:
        """Its existence asks the run to end."""
        return self.path / "stop"

    @property
    def go(self) -> Path:
        """Its existence lets a run that is held begin with what it is for."""
        return self.path / "go"

    @property
    def report(self) -> Path:
        """Where the agent puts its report or its verdict."""
        return self.path / "report"

    @property
    def outbox(self) -> Path:
        """Where the agent puts what it asks of the engine, one file each."""
        return self.path / "outbox"

    @property
    def answers(self) -> Path:
        """Where the engine puts what came of it, under the same names."""
        return self.path / "answers"

    @property
    def home(self) -> Path:
        """HOME of the program."""
        return self.path / "home"

    @property
    def tmp(self) -> Path:
        """TMPDIR of the program."""
        return self.path / "tmp"


# --- reading and writing ---


def read_bounded(path: Path, limit: int) -> tuple[bytes, bool]:
    """At most `limit` bytes from the beginning of a plain file, and whether there was more.

    Never follows a link, never hangs. Raises FileNotFoundError, HostileFileError, OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise HostileFileError(f"cannot be opened as a plain file: {error.strerror}", file=path.name) from error
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise HostileFileError("is not a plain file", file=path.name)
        data = file.read(limit + 1)
    return data[:limit], len(data) > limit


def read_nonce(folder: RunFolder) -> str:
    """What a review was bound to, '' where it is gone. The agent may break the folder: never raises, never hangs."""
    try:
        value = json.loads(read_bounded(folder.facts, SPEC_BYTES)[0]).get("nonce", "")
    except (OrcError, OSError, ValueError, AttributeError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def write_spec(folder: RunFolder, spec: RunSpec) -> None:
    """Put the specification into the folder."""
    # Not flushed: no run outlives a power cut, and the ledger knows that it was started.
    write_atomic(folder.spec, _encode(spec.to_json()), mode=0o600, sync=False)


def read_spec(folder: RunFolder) -> RunSpec:
    """Raises InvalidFileError when it is missing, too large, not JSON or not a specification."""
    try:
        return RunSpec.from_json(_decode(folder.spec, SPEC_BYTES))
    except InvalidFileError as error:
        raise error.in_file("spec.json") from error
    except OSError as error:
        raise InvalidFileError(f"cannot be read: {error.strerror}", file="spec.json") from error


def write_result(folder: RunFolder, result: RunResult, *, durable: bool = True) -> None:
    """Put the result into the folder: whole or not at all, and so that it outlasts a power cut if that is asked for."""
    write_atomic(folder.result, _encode(result.to_json()), mode=0o600, sync=durable)


def read_result(folder: RunFolder) -> RunResult | None:
    """None while there is none. One that cannot be understood has the status UNREADABLE and says why in `error`."""
    try:
        return RunResult.from_json(_decode(folder.result, RESULT_BYTES))
    except FileNotFoundError:
        return None
    except (InvalidFileError, OSError) as error:
        return RunResult(run=folder.path.name, status=RunStatus.UNREADABLE, error=f"result.json: {error}")


def read_events(folder: RunFolder) -> list[dict[str, Any]]:
    """The events so far; lines that are no objects are left out, also the half line of a crash."""
    try:
        data, _ = read_bounded(folder.events, EVENTS_BYTES)
    except (OSError, HostileFileError):
        return []
    events = []
    for line in data.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def read_report(folder: RunFolder, redactor: Redactor) -> tuple[str, str]:
    """The agent's report file, at most 64 KiB of it, and a note: '' or why it is not what the agent meant."""
    try:
        data, _ = read_bounded(folder.report, 2 * REPORT_BYTES)
    except FileNotFoundError:
        return "", ""
    except (OSError, HostileFileError) as error:
        return "", f"The report was not read: {error}"
    # Redacted before it is cut: half a secret would not be recognised.
    text = redactor.whole(data).decode("utf-8", "replace")
    return cut_report(text), "" if len(text) <= REPORT_BYTES else "The report was too long and was cut."


def cut_report(text: str) -> str:
    """A report that is not too long; a mark stands where its end is missing."""
    return text if len(text) <= REPORT_BYTES else text[: REPORT_BYTES - len(CUT)] + CUT


def read_end(file: BinaryIO) -> str:
    """The last 64 KiB of an open output file; a mark stands where the beginning is missing."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - REPORT_BYTES))
    text = file.read().decode("utf-8", "replace")
    if size <= REPORT_BYTES and len(text) <= REPORT_BYTES:
        return text
    # The mark makes sure that what follows cannot pass for a whole answer.
    return CUT + text[-(REPORT_BYTES - len(CUT)) :]


def _encode(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, indent=1, default=str).encode("utf-8", "replace") + b"\n"


def _decode(path: Path, limit: int) -> object:
    data, more = read_bounded(path, limit)
    if more:
        raise InvalidFileError(f"is larger than {limit} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"is not JSON: {error}") from error


# --- what a run may see ---


def find_orc(program: str, python: str) -> str:
    """The folder with the command `orc` by which this process was started, '' if there is none.

    `program` is the process's `sys.argv[0]`. One that was started in another way has it beside its `python`, if at all.
    """
    for path in (program, os.path.join(os.path.dirname(python), "orc")):
        if os.path.basename(path) == "orc" and os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.dirname(os.path.abspath(path))
    return ""


def with_orc(environment: Mapping[str, str], folder: str) -> dict[str, str]:
    """`environment` with the folder of `orc`, if it is known, at the end of PATH: so an agent finds its way back in.

    At the end, so that nothing else in that folder goes before a program of the person's.
    """
    path = environment["PATH"]
    is_there = not folder or folder in path.split(os.pathsep)
    return {**environment, "PATH": path if is_there else f"{path}{os.pathsep}{folder}"}


def build_environment(folder: RunFolder, spec: RunSpec, parent: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a run's programs, without the backend's own part.

    An allow-list: of the engine's environment nothing is inherited but PATH and the language.
    """
    tree, home, tmp = str(spec.tree["path"]), str(folder.home), str(folder.tmp)
    author = spec.tree.get("author") or {}
    language = parent.get("LANG") or "C.UTF-8"
    environment = {
        "PATH": parent.get("PATH") or os.defpath,
        "LANG": language,
        "LC_ALL": parent.get("LC_ALL") or language,
        "TERM": "dumb",
        "NO_COLOR": "1",
        "HOME": home,
        "TMPDIR": tmp,
        "XDG_CONFIG_HOME": f"{home}/.config",
        "XDG_CACHE_HOME": f"{home}/.cache",
        "XDG_DATA_HOME": f"{home}/.local/share",
        "XDG_STATE_HOME": f"{home}/.local/state",
        "GIT_CONFIG_NOSYSTEM": "1",
        # An exported tree has no repository of its own, and git would go up to the one that the run folder lies in.
        "GIT_CEILING_DIRECTORIES": os.path.dirname(tree),
        "ORC_RUN": spec.run,
        "ORC_RUN_DIR": str(folder.path),
        "ORC_KIND": str(spec.kind),
        "ORC_JOB": spec.job,
        "ORC_NUMBER": str(spec.number),
        "ORC_PROJECT": spec.project,
        "ORC_TREE": tree,
        "ORC_BASE": str(spec.tree.get("commit", "")),
        "ORC_RESULT": str(folder.report),
        "ORC_FACTS": str(folder.facts),
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{role}_NAME"] = str(author.get("name", "orc"))
        environment[f"GIT_{role}_EMAIL"] = str(author.get("email", "orc@orc.invalid"))
    return environment


def add_launch_environment(
    environment: Mapping[str, str], launch: LaunchSpec, parent: Mapping[str, str]
) -> dict[str, str]:
    """`environment` with what the backend asks for. It cannot change the ORC_ names, which are the run's marker."""
    passed = {name: parent[name] for name in launch.pass_env if name in parent}
    marker = {name: value for name, value in environment.items() if name.startswith("ORC_")}
    return {**environment, **passed, **launch.env, **marker}


def secret_values(launch: LaunchSpec | None, parent: Mapping[str, str]) -> tuple[str, ...]:
    """The values that must not appear in anything a run writes."""
    return tuple(parent[name] for name in (launch.pass_env if launch else ()) if name in parent)
