"""What a job asks for, word for word, and what keeps two that read alike from being the same work."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from orchestrator.core.job import JobSpec
from orchestrator.core.twins import settings_of

MOST_FILLED = 6
"""Two texts that are the same but for so many words on each side are one template, filled in for two jobs."""
MOST_REMEMBERED, _MOST_KEPT = 4000, 80
"""Characters of a text, and of a word, that are remembered as they were read: longer ones would fill the memory."""
_QUOTED = re.compile(r"`([^`\n]{1,80})`|\"([^\"\n]{1,80})\"|“([^”\n]{1,80})”|„([^“”\n]{1,80})[“”]|«([^»\n]{1,80})»")
_EDGES = "`'\"“”„\u2018\u2019«»()[]{}<>,;:!?*…|"
_MARKED = re.compile(r"[/\\_@=#$%]|::|\w\.\w|^-{1,2}\w|[a-z][A-Z]")
_ENDS = ("ings", "ing", "edly", "ed", "es", "s")
_EVERYWHERE = """
a an and are as at be been but by can could did do does for from had has have how i if in into is it its just let me my
of on or our please should so some such than that the their them then there these they this those to too us was we were
what when where which who why will with would you your
"""
_COUNTING = """
one two three four five six seven eight nine ten eleven twelve first second third fourth fifth sixth seventh eighth
ninth tenth monday tuesday wednesday thursday friday saturday sunday
"""
_STOP, _COUNTED = frozenset(_EVERYWHERE.split()), frozenset(_COUNTING.split())


@dataclass(frozen=True, slots=True)
class Said:
    """What a job asks for, made ready to be held against others."""

    same: tuple[object, ...]
    """How, where and by whom it is to be done: jobs that differ in it are not alike, whatever they say."""
    order: tuple[str, ...]
    """Its words, the title's first, without those that every text has."""
    words: frozenset[str]
    names: frozenset[str]
    """What it names: numbers, versions, paths, dates, CamelCase, ALL CAPITALS, options, what stands in quotes."""
    all: frozenset[str]
    """Both together."""


def said(spec: JobSpec) -> Said | None:
    """What a job asks for; None for one with a key of its own, which alone says what is the same."""
    if spec.dedup_key:
        return None
    read = _read if len(spec.prompt) <= MOST_REMEMBERED else _read.__wrapped__
    order, names = read(spec.title, spec.prompt)
    words = frozenset(order)
    return Said(settings_of(spec), order, words, names, words | names)


@lru_cache(maxsize=1024)
def _read(title: str, prompt: str) -> tuple[tuple[str, ...], frozenset[str]]:
    order: list[str] = []
    names: set[str] = set()
    for text in (title, prompt):
        names.update(_plain(each) for found in _QUOTED.findall(text) for each in found if each.strip())
        is_first = True
        for raw in text.split():
            word, is_name = (_word if len(raw) <= _MOST_KEPT else _word.__wrapped__)(raw)
            if not word and not is_first and raw.strip(_EDGES + ".") == "A":
                word, is_name = "a", True  # Part A is not part B.
            if word:
                order.append(word)
            if is_name:
                names.add(word)
            is_first = raw.endswith((".", "!", "?", ":"))
    return tuple(order), frozenset(names)


@lru_cache(maxsize=65536)
def _word(raw: str) -> tuple[str, bool]:
    """The word of a part of a text, '' if every text has it; and whether it is the name of something."""
    bare = unicodedata.normalize("NFKC", raw).strip(_EDGES).rstrip(".-").strip(_EDGES)
    plain = bare.casefold()
    if any(char.isdigit() for char in plain) or _MARKED.search(bare) or plain in _COUNTED:
        return plain, True
    if len(bare) > 1 and bare.isupper():
        return plain, True
    plain = "".join(char for char in plain if char.isalnum() or unicodedata.category(char)[0] == "M")
    if plain in _STOP:
        return "", False
    return _stem(plain), len(plain) == 1


def _stem(word: str) -> str:
    if not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    end = next((end for end in _ENDS if word.endswith(end) and len(word) - len(end) >= 3), "")
    if end == "s" and word.endswith("ss"):
        end = ""
    stem = word[: len(word) - len(end)]
    if end and len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "aeiouls":
        stem = stem[:-1]
    return stem[:-1] if stem.endswith("e") and len(stem) > 3 else stem


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


# --- two texts ----------------------------------------------------------------------------------------------------


class Other(StrEnum):
    """Why two jobs that are alike are not the same work."""

    NAMES = "each names something that the other does not"
    FILLED = "the same is said of something else"


def names_differ(one: Said, two: Said) -> bool:
    """Whether each of the two names something that the other does not."""
    return not (one.names <= two.all or two.names <= one.all)


def is_template(one: Said, two: Said) -> bool:
    """Whether both say the same, in the same order, and in the same places a few words that each has for itself."""
    mine, others = one.words - two.words, two.words - one.words
    if not mine or not others or max(len(mine), len(others)) > MOST_FILLED:
        return False
    if _frame(one.order, mine) != _frame(two.order, others):
        return False
    # A word that was only spelled otherwise is no other one.
    slips = {(a, b) for a in mine for b in others if _is_slip(a, b)}
    return not (mine == {a for a, _ in slips} and others == {b for _, b in slips})


def _frame(order: tuple[str, ...], own: frozenset[str]) -> list[str]:
    """A text with one gap, '', in each place where it has words of its own."""
    frame: list[str] = []
    for word in order:
        if word not in own:
            frame.append(word)
        elif frame[-1:] != [""]:
            frame.append("")
    return frame


def _is_slip(one: str, two: str) -> bool:
    """Whether two words differ by one letter that is left out, or by two that changed places."""
    short, long = sorted((one, two), key=len)
    if len(short) < 5 or len(long) - len(short) > 1:
        return False
    if len(short) < len(long):
        return any(short == long[:at] + long[at + 1 :] for at in range(len(long)))
    return any(long == short[:at] + short[at + 1] + short[at] + short[at + 2 :] for at in range(len(short) - 1))
