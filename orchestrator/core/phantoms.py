"""What of an author's report is not so: commits and files that it claims to have made, and that are not there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from orchestrator.core.diffstat import Change
from orchestrator.core.report_claims import Claimed, claims_in

MOST_PATTERNS = 500
_SOME_ID = re.compile(r"\b[0-9a-f]{7,64}\b")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the repository has of what a report claims."""

    commits: frozenset[str] = frozenset()
    """Claimed commits that are in the work."""
    older: frozenset[str] = frozenset()
    """Claimed commits that were there before the work began."""
    aside: tuple[str, ...] = ()
    """Whole ids of other commits that are at hand and that a claimed one may mean."""
    paths: frozenset[str] = frozenset()
    """Of the tree, those that `of_interest` chooses."""
    ignores: tuple[tuple[str, str], ...] = ()
    """(folder, pattern) of what Git ignores."""


NOTHING_SEEN = Seen()


class Phantoms(NamedTuple):
    """What a report claims and what is not so."""

    commits: tuple[str, ...]
    missing: tuple[str, ...]
    standing: tuple[str, ...]
    """Said to be deleted, and still there."""


def open_claims(report: str, changes: Iterable[Change]) -> Claimed:
    """What a report claims, but for the paths of which the diff alone shows that it is so."""
    found, changes = claims_in(report), tuple(changes)
    near = of_interest(found, (each.path for each in changes))
    gone = near & {each.path for each in changes if each.status == "D"}
    return Claimed(
        tuple(path for path in found.made if not _is_among(path, near)),
        tuple(path for path in found.deleted if path not in near and not _is_among(path, gone)),
        found.commits,
        found.own,
    )


def of_interest(claimed: Claimed, paths: Iterable[str]) -> frozenset[str]:
    """Those of these paths that have the name of a claimed one, or stand where one would need a folder."""
    wanted = [_same(path) for path in (*claimed.made, *claimed.deleted)]
    names = {path.rpartition("/")[2] for path in wanted}
    folders = {path[:at] for path in wanted for at, sign in enumerate(path) if sign == "/"}
    if not wanted:
        return frozenset()
    return frozenset(path for path in paths if (same := _same(path)).rpartition("/")[2] in names or same in folders)


def find_phantoms(claimed: Claimed, seen: Seen, task: str) -> Phantoms:
    """What of these claims is not so. A commit that the task names itself is no claim, nor is an ignored file."""
    named = tuple(_SOME_ID.findall(task))
    told = [each for each in claimed.commits if each not in seen.commits and each not in task]
    told = [each for each in told if not each.startswith(named)]
    told = [each for each in told if not any(whole.startswith(each) for whole in seen.aside)]
    missing = [path for path in claimed.made if not _is_among(path, seen.paths)]
    return Phantoms(
        tuple(each for each in told if each in claimed.own or each not in seen.older),
        tuple(path for path in missing if not is_ignored(path, seen.ignores)),
        tuple(path for path in claimed.deleted if path in seen.paths),
    )


def _same(path: str) -> str:
    return path.casefold() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


def _is_among(claimed: str, paths: Iterable[str]) -> bool:
    """Whether one of the paths may be meant, named from another folder, or has what is no folder above it."""
    same = _same(claimed)
    return any(
        same == path or path.endswith(f"/{same}") or same.endswith(f"/{path}") or same.startswith(f"{path}/")
        for path in map(_same, paths)
    )


_ONE = re.compile(r"\[[^\]]{1,50}\]|\\.")


def ignore_patterns(text: str) -> list[str]:
    """The patterns of a `.gitignore`, as `is_ignored` takes them.

    What takes something back is left out: then more counts as ignored.
    """
    found = []
    for line in islice(text.splitlines(), 2 * MOST_PATTERNS):
        plain = line.strip()
        pattern = _ONE.sub("?", plain).strip("/").removesuffix("/**").replace("/**/", "/*")
        if pattern and plain[0] not in "#!":
            found.append(pattern)
    return found[:MOST_PATTERNS]


def is_ignored(path: str, ignores: Iterable[tuple[str, str]]) -> bool:
    """Whether Git may ignore a path, which may be named from the folder of the pattern."""
    begins = [0, *(at for at, sign in enumerate(path, 1) if sign == "/")]
    ends = [*(at - 1 for at in begins[1:]), len(path)]
    for folder, pattern in ignores:
        if pattern.startswith("**/"):
            found = _fits(path, begins, ends, pattern[3:])
        elif "/" in pattern:
            inside = [len(folder) + 1] if folder and path.startswith(f"{folder}/") else []
            found = _fits(path, [0, *inside], ends, pattern)
        else:
            found = any(_fits(path, [begin], [end], pattern) for begin, end in zip(begins, ends, strict=True))
        if found:
            return True
    return False


def _fits(text: str, begins: list[int], ends: list[int], pattern: str) -> bool:
    """Whether something in a text from one of these places to another one fits a pattern.

    Everything fits what stands between the first `*` of the pattern and its last.
    """
    head, star, rest = pattern.partition("*")
    after = [at + len(head) for at in begins if _is_like(text[at : at + len(head)], head)]
    if not star or not after:
        return any(at in ends for at in after)
    tail = rest.rpartition("*")[2]
    return any(end - len(tail) >= after[0] and _is_like(text[end - len(tail) : end], tail) for end in ends)


def _is_like(text: str, pattern: str) -> bool:
    if text == pattern or "?" not in pattern:
        return text == pattern
    return len(text) == len(pattern) and all(sign in ("?", own) for own, sign in zip(text, pattern, strict=True))
