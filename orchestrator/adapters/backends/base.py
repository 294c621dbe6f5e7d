"""What orc asks of every backend: can it run, and how is its program started. A backend starts nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from orchestrator.adapters.run_values import LaunchSpec


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do."""

    system_prompt: Literal["flag", "file", "none"] = "none"
    """How it takes a system prompt; with `none` it goes in front of the prompt."""
    resume: bool = False
    """Whether a later run can go on with the session of an earlier one."""
    usage: bool = False
    """Whether it tells how many tokens it used."""
    structured: bool = False
    """Whether it can be forced to answer by a schema."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A program to start with the prompt on its stdin. `pass_env` names variables of the engine that it may see."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()

    def to_spec(self, *, stdin: str = "prompt.md") -> LaunchSpec:
        """The same as part of a run's specification."""
        from orchestrator.adapters.run_values import LaunchSpec  # Only who starts a run needs its values.

        return LaunchSpec(argv=self.argv, env=self.env, pass_env=self.pass_env, stdin=stdin)


class Backend(Protocol):
    """One kind of agent program."""

    @property
    def name(self) -> str:
        """How the configuration calls it."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def problem(self, settings: Mapping[str, Any], *, path: str) -> str:
        """'' if it can run with these settings and this PATH, else the reason and the way out."""

    def launch(self, settings: Mapping[str, Any], *, run_folder: Path) -> Launch:
        """How to start it for the run in `run_folder`. Raises InvalidFileError for settings that `problem` refuses."""


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
