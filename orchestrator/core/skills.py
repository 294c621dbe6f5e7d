"""Which skills go into a prompt, and which of them whole. Reads no files and starts nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.core.agent import Skill
from orchestrator.errors import NotFoundError

BUDGET_TOKENS = 6_000
"""Tokens that all skills of a prompt may have together."""
MOST_TRIGGERED = 3
SEARCHED_CHARACTERS = 4_000
"""So much of a task is searched for triggers: what it is about stands at its beginning."""
SKILLS = "SKILLS"
"""How a prompt names the folder of a run that has its skills' files: so what it says of them is always the same."""
ASKED = "asked for"
OWN = "the agent's own"
_SHOWN_CHARACTERS = 40

Search = Callable[[str, str], str]
"""The longest text that a regular expression matches in another; '' if none."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A skill that goes into a prompt, and why. One that is not `whole` is only named: its description and its path."""

    skill: Skill
    why: str
    whole: bool = True
    folder: str = ""
    """Where its files lie during the run, from `SKILLS`; '' where none are brought along."""
    files: tuple[str, ...] = ()
    """Its other files, from that folder."""

    @property
    def path(self) -> str:
        """Its file."""
        return f"{self.folder}/SKILL.md" if self.folder else skill_path(self.skill.name)

    @property
    def tokens(self) -> int:
        """About how many tokens of it go into the prompt."""
        text = self.skill.body if self.whole else f"{self.skill.description} {self.path}"
        return tokens_of(text.strip())


def tokens_of(text: str) -> int:
    """About how many tokens a text is: a quarter of its letters, and two for three Chinese, Japanese or Korean ones."""
    dense = 0 if text.isascii() else sum("\u2e80" <= char <= "\uffdc" for char in text)
    return (len(text) - dense + 3) // 4 + (2 * dense + 2) // 3


def skill_path(name: str) -> str:
    """A skill's file, from the workspace's folder."""
    return f"skills/{name}/SKILL.md"


def skill_of_path(path: str) -> str:
    """The inverse of `skill_path`; '' for the path of anything else."""
    name = path.removeprefix("skills/").removesuffix("/SKILL.md")
    return name if path == skill_path(name) and "/" not in name else ""


def split_pin(asked: str) -> tuple[str, str]:
    """The skill's name, and the beginning of the blob id of the version that is asked for; '' for the newest."""
    name, _, blob = asked.partition("@")
    return name, blob


def longest_match(pattern: str, text: str) -> str:
    """The longest text that `pattern` matches in `text`. A match of nothing is none: it would be found everywhere."""
    return max((found[0] for found in re.finditer(pattern, text)), key=len, default="")


def choose_skills(
    known: Mapping[str, Skill],
    *,
    wanted: Iterable[str],
    brought: Iterable[str],
    text: str,
    budget_tokens: int = BUDGET_TOKENS,
    search: Search = longest_match,
) -> tuple[Chosen, ...]:
    """The skills of a prompt by name: those of the job (`wanted`), of the agent (`brought`), and triggered ones.

    `known` has each skill by name, and each pinned version under exactly the `name@blob` that asks for it. The job's
    version goes before the agent's. `text` is the job's title and prompt. Raises NotFoundError for an unknown name.

    `search` is a parameter because a person's regular expression may take for ever: the engine gives one with a limit
    of time, which this layer cannot have.
    """
    found: dict[str, Chosen] = {}
    for names, why in ((wanted, ASKED), (brought, OWN)):
        for asked in names:
            found.setdefault(split_pin(asked)[0], Chosen(_named(known, asked), why))
    triggered = _triggered(known, found, text[:SEARCHED_CHARACTERS], search)
    found |= {each.skill.name: each for each in triggered}
    # What is given up first stands first: the least specific trigger, and of the others the last by name.
    others = [[name for name in sorted(found, reverse=True) if found[name].why == why] for why in (OWN, ASKED)]
    _fit(found, [each.skill.name for each in reversed(triggered)] + others[0] + others[1], budget_tokens)
    return tuple(found[name] for name in sorted(found))


def _named(known: Mapping[str, Skill], asked: str) -> Skill:
    if asked not in known:
        raise NotFoundError(f"skill {asked!r} has no folder in skills/", hint="orc skills list")
    return known[asked]


def _triggered(known: Mapping[str, Skill], found: Mapping[str, Chosen], text: str, search: Search) -> list[Chosen]:
    """Those whose trigger matches and that are not there already, the most specific first."""
    matches = [
        (matched, skill)
        for name, skill in known.items()
        if skill.trigger and name not in found and "@" not in name and (matched := search(skill.trigger, text))
    ]
    matches.sort(key=lambda each: (-len(each[0]), each[1].name))
    return [Chosen(skill, f'triggered by "{_shown(matched)}"') for matched, skill in matches[:MOST_TRIGGERED]]


def _shown(matched: str) -> str:
    line = " ".join(matched.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


def _fit(found: dict[str, Chosen], order: Iterable[str], budget_tokens: int) -> None:
    """Give up bodies in that order until the rest fits."""
    total = sum(each.tokens for each in found.values())
    for name in order:
        if total <= budget_tokens:
            return
        short = replace(found[name], whole=False)
        if short.tokens < found[name].tokens:
            total -= found[name].tokens - short.tokens
            found[name] = short
