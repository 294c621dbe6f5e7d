"""What orc asks of every backend: can it run, how is its program started, what did it say. It starts nothing itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from orchestrator.core.said import NOTHING_USED, Said, Usage

if TYPE_CHECKING:
    from orchestrator.adapters.run_values import LaunchSpec

LINE_BYTES = 8 * 1024 * 1024
"""A longer line of output is left out: no event that matters is as long."""
SAME_SESSION = "the-same-session"
"""As `Order.resume`: the session of the run itself, whose id takes its place in the arguments once it is known."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do, and what its `Said` tells. `tests/agents` holds each to what it says here."""

    system_prompt: Literal["flag", "file", "none"] = "none"
    """How it takes a system prompt; with `none` it goes in front of the prompt, and the run is marked."""
    resume: Literal["anywhere", "same folder", "no"] = "no"
    """From where a later run can go on with the session of an earlier one."""
    system_on_resume: bool = False
    """Whether a session that goes on is told a new system prompt; else it keeps the one that it began with."""
    names_session: bool = False
    """Whether it takes the id of a new session from us; else it is read from what it prints."""
    usage: Literal["run", "session", "none"] = "none"
    """What its token counts are about. With `session`, what earlier runs used is subtracted."""
    cost: bool = False
    """Whether it tells what it cost, if only for models whose price it knows."""
    structured: bool = False
    """Whether it can be told the form of its answer (`Order.answer_schema`)."""
    family: str = ""
    """The family of its models, where it has models of one family only."""
    note: str = ""
    """What authors who run on it have to be told, at the end of the system prompt. A backend adds no words itself."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a backend stands on this machine, as far as that can be seen without starting it or asking anybody."""

    login: str = ""
    """With what it logs in, and whether that is there, in words; no secret. '' for programs that need none."""
    way_out: str = ""
    """What to do where it is not there; '' if it is, or if that cannot be seen."""
    sandbox: str = ""
    """As in `Said`, as a run here would tell it."""
    package: str = ""
    """The Python package that it works with, where its program is orc's own."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a run asks of a backend."""

    run_folder: Path
    """The run's own folder; `home` and `tmp` below it are HOME and TMPDIR, empty, and removed afterwards."""
    tree: Path
    """The folder that the agent works in, its current folder; in a review only the one in which that folder is."""
    state: Path
    """A folder of this agent and backend that outlives the run: where sessions are kept."""
    model: str = ""
    system: Path | None = None
    """The file with the system prompt; None if there is none."""
    system_text: str = ""
    """What that file holds: it is not written yet when a program is only being planned."""
    session: str = ""
    """A UUID for a new session, for backends that take one."""
    resume: str = ""
    """The session to go on with; '' for a new one."""
    read_only: bool = False
    """A review: it may look and run commands, and edit nothing."""
    answer_schema: str = ""
    """A JSON Schema that the answer is to keep to, '' for none; backends without `structured` leave it."""
    person_home: Path | None = None
    """The person's HOME, where they have allowed their login to be used; else None."""
    skills: Path | None = None
    """The folder in the run's own that the message sends the agent to for its skills; None if there is none."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A program to start with the prompt on its stdin. `pass_env` names variables of the engine that it may see."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    """Files that must be there when it starts, by absolute path: below `Order.run_folder` or `Order.state` only."""

    def to_spec(self, **more: Any) -> LaunchSpec:
        """The same as part of a run's specification; `more` are its other keys."""
        from orchestrator.adapters.run_values import LaunchSpec  # Only who starts a run needs its values.

        given = {"stdin": "prompt.md", **more}
        return LaunchSpec(argv=self.argv, env=self.env, pass_env=self.pass_env, files=self.files, **given)


@dataclass(frozen=True, slots=True)
class Output:
    """What a program left when it ended."""

    stdout: BinaryIO
    """All it printed, from the beginning, redacted."""
    stderr: str = ""
    """The end of its messages, redacted."""
    exit: int | None = None
    """None after a signal, and if it was never started."""
    signal: int | None = None
    ended: bool = True
    """False if it was ended by us: a limit of time or output, or a request to stop."""
    before: Usage = NOTHING_USED
    """What the runs before used in the same session."""


class Backend(Protocol):
    """One kind of agent program."""

    @property
    def name(self) -> str:
        """How the configuration calls it."""

    @property
    def seen(self) -> str:
        """The version of its program, or of the package that is it, which it was tried with; '' if with none. Any
        other may do as well: it is only told."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if it can run with these settings and this PATH, else the reason and the way out."""

    def standing(self, settings: Mapping[str, Any], *, home: Path | None) -> Standing:
        """What it would log in with, where `home` is the person's, and what would hold its tools. Reads no secret."""

    def launch(self, settings: Mapping[str, Any], order: Order) -> Launch:
        """How to start it. Raises InvalidFileError for settings that `problem` refuses."""

    def read(self, output: Output) -> Said | None:
        """What it said; None for programs that keep to no form, whose whole output is the answer. Never raises."""


def json_lines(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """The JSON objects among the lines of a file; what is none, or is longer than `LINE_BYTES`, is left out."""
    file.seek(0)
    while line := file.readline(LINE_BYTES + 1):
        if len(line) > LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(LINE_BYTES)
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def text_list(settings: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    """`settings[key]` as texts, () if it is absent, None if it is anything but a list of texts."""
    value = settings.get(key) or ()
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return None


def text_map(settings: Mapping[str, Any], key: str) -> dict[str, str] | None:
    """`settings[key]` as a mapping of texts (numbers become texts), {} if absent, None if it is anything else."""
    value = settings.get(key) or {}
    if not isinstance(value, Mapping):
        return None
    if not all(isinstance(name, str) and isinstance(item, str | int | float) for name, item in value.items()):
        return None
    return {name: str(item) for name, item in value.items()}
