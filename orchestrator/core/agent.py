"""What a person writes about an agent: its soul and the skills it may use. Reads no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BODY_LIMIT = 6_000
"""Characters a soul's body may have: it goes into every prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Soul:
    """An agent as its file in `souls/` describes it. `blob` is the Git blob id of exactly that file."""

    name: str
    backend: str
    model: str = ""
    family: str = ""
    roles: tuple[str, ...] = ("work", "review")
    skills: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    voice: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    body: str = ""
    blob: str = ""

    @property
    def boundaries(self) -> str:
        """The body's Boundaries section, word for word: a voice may change the tone, never these."""
        return section_of(self.body, "Boundaries")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A skill in the Agent Skills format. `trigger` is the regular expression in `metadata.trigger`, or empty."""

    name: str
    description: str
    license: str = ""
    compatibility: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    allowed_tools: tuple[str, ...] = ()
    body: str = ""
    blob: str = ""

    @property
    def trigger(self) -> str:
        return self.metadata.get("trigger", "")


def section_of(body: str, title: str) -> str:
    """The text under the Markdown heading `title` up to the next heading of its level; empty if there is none."""
    found: list[str] = []
    depth = 0
    fenced = False
    for line in body.splitlines():
        if line.startswith(("```", "~~~")):
            fenced = not fenced
        level = 0 if fenced else _heading_level(line)
        if depth and level and level <= depth:
            break
        if depth:
            found.append(line)
        elif level and line[level:].strip().casefold() == title.casefold():
            depth = level
    return "\n".join(found).strip()


def _heading_level(line: str) -> int:
    level = len(line) - len(line.lstrip("#"))
    return level if 1 <= level <= 6 and line[level : level + 1] == " " else 0
