"""What a person writes about an agent: its soul and the skills it may use. Reads no files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import fsum, log1p

BODY_LIMIT = 6_000
"""Characters a soul's body may have: it goes into every prompt."""
VOICE_LIMIT = 500
"""Characters of a voice tag: it goes into every message."""
SECTIONS = ("Values", "Voice", "Boundaries")
"""What a soul's body should say."""
ALIKE = 0.5
"""Agents whose voices have so much in common are taken for each other: one says what the other says in other words."""


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
    persistent: bool = False
    """Whether it goes on with one session from job to job."""
    drain: str = ""
    """Why it gets nothing new; '' if it does."""
    body: str = ""
    blob: str = ""


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


def voice_tag(soul: Soul) -> str:
    """How the agent is to sound, at most 500 characters; '' if its file says nothing.

    Where it is made of the others the directive gives way, at the end of a sentence: all of it is in the system prompt.
    """
    if tag := _line(soul.voice.get("tag", "")):
        return _cut(tag, VOICE_LIMIT)
    name, directive, manner = _tag_parts(soul)
    if not (directive or manner):
        return ""
    room = VOICE_LIMIT - len(name) - len(manner) - 2
    return " ".join(filter(None, (name, _cut(directive, room), manner)))


def _tag_parts(soul: Soul) -> tuple[str, str, str]:
    """What a tag is made of: who speaks, the directive, and tone and quirk."""
    directive, tone, quirk = (_sentence(soul.voice.get(key, "")) for key in ("directive", "tone", "quirk"))
    return f"You are {soul.name}.", directive, " ".join(filter(None, (tone, quirk)))


def _line(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    line = _line(text)
    return f"{line}." if line and line[-1] not in ".!?…" else line


def _cut(text: str, limit: int) -> str:
    """At most `limit` characters of a text, to the end of a sentence if one ends there."""
    if len(text) <= limit:
        return text
    end = max(text.rfind(mark, 0, limit) for mark in (". ", "! ", "? "))
    return text[: end + 1] if end > 0 else text[: limit - 1] + "…"


def _whole_voice(soul: Soul) -> str:
    """Its tag as if there were room for all of it."""
    return _line(soul.voice.get("tag", "")) or " ".join(filter(None, _tag_parts(soul)))


def _voice_words(soul: Soul) -> frozenset[str]:
    _, directive, manner = _tag_parts(soul)
    voice = f"{soul.voice.get('tag', '')} {directive} {manner} {section_of(soul.body, 'Voice')}"
    return frozenset(re.findall(r"\w+", voice.casefold()))


def lint_soul(soul: Soul, *, is_model: bool) -> tuple[str, ...]:
    """What a person should put right in a soul that can be used. `is_model`: a model reads it, not any program.

    A program that is no model needs no sections; of a soul that has one of them all are expected.
    """
    found = []
    missing = [title for title in SECTIONS if not section_of(soul.body, title)]
    if missing and (is_model or len(missing) < len(SECTIONS)):
        told = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        found.append(f"has no section {told}")
    if (length := len(_whole_voice(soul))) > VOICE_LIMIT:
        told = f"has a voice of {length} characters, of which only {VOICE_LIMIT} fit into each message"
        found.append(f"{told}: the rest of its directive is in the system prompt alone")
    return tuple(found)


def lint_voices(souls: Iterable[Soul]) -> tuple[tuple[str, str, float], ...]:
    """Pairs of agents that sound alike, by name, and how much."""
    return tuple((a, b, how) for (a, b), how in compare_voices(souls).items() if how >= ALIKE)


def compare_voices(souls: Iterable[Soul]) -> Mapping[tuple[str, str], float]:
    """How alike each two agents sound, from 0 to 1: what their voices share of all the words of both.

    A word counts the less the more voices have it: what everybody says tells nobody from anybody.
    """
    voices = {soul.name: words for soul in souls if (words := _voice_words(soul))}
    had_by = Counter(word for words in voices.values() for word in words)

    def weigh(words: Iterable[str]) -> float:
        return fsum(log1p(len(voices) / had_by[word]) for word in words)

    return {
        (a, b): weigh(voices[a] & voices[b]) / weigh(voices[a] | voices[b]) for a, b in combinations(sorted(voices), 2)
    }


def without_section(body: str, title: str) -> str:
    """The body without the Markdown sections of that name."""
    return "\n".join(line for line, depth, _ in _by_section(body, title) if not depth)


def section_of(body: str, title: str) -> str:
    """The text under the Markdown heading `title` up to the next heading of its level; empty if there is none."""
    return "\n".join(line for line, depth, is_heading in _by_section(body, title) if depth and not is_heading).strip()


def _by_section(body: str, title: str) -> Iterator[tuple[str, int, bool]]:
    """Each line, the level of the section `title` that it is in (0: none), and whether it is that section's heading."""
    depth = 0
    fenced = False
    for line in body.splitlines():
        if line.startswith(("```", "~~~")):
            fenced = not fenced
        level = 0 if fenced else _heading_level(line)
        begins = bool(level) and (not depth or level <= depth)
        if begins:
            depth = level if line[level:].strip().casefold() == title.casefold() else 0
        yield line, depth, begins and bool(depth)


def _heading_level(line: str) -> int:
    level = len(line) - len(line.lstrip("#"))
    return level if 1 <= level <= 6 and line[level : level + 1] == " " else 0
