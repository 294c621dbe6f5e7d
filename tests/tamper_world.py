"""Changes as the tamper guard sees them: two versions of some files, and the rules that must tell of it."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.diffstat import Change
from orchestrator.core.evidence_record import Tampering
from orchestrator.core.job import Area
from orchestrator.core.tamper import MAX_BYTES, Looked, blobs_to_read, find_tampering

FILE, LINK, NONE = "100644", "120000", "000000"
Files = Mapping[str, str]


def oid(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def changes_of(old: Files, new: Files, links: frozenset[str] = frozenset()) -> tuple[Change, ...]:
    """What differs between two trees, as git says it."""
    found = []
    for path in sorted(old.keys() | new.keys()):
        was, now = old.get(path), new.get(path)
        if was == now and path not in links:
            continue
        status = "A" if was is None else "D" if now is None else "T" if path in links else "M"
        modes = NONE if was is None else FILE, NONE if now is None else LINK if path in links else FILE
        # Of a file with a NUL byte git counts no lines.
        lines = None if "\0" in (was or "") + (now or "") else 1
        found.append(Change(path, status, lines, lines, *modes, oid(now) if now else "", oid(was) if was else ""))
    return tuple(found)


def look(old: Files, new: Files, *, is_home: bool = True, links: frozenset[str] = frozenset()) -> Looked:
    changes = changes_of(old, new, links)
    known = {oid(text): text.encode() for text in (*old.values(), *new.values()) if len(text.encode()) <= MAX_BYTES}
    return Looked(changes, {each: known[each] for each in blobs_to_read(changes) if each in known}, is_home)


def found_in(old: Files, new: Files, *allows: Area, is_home: bool = True) -> tuple[Tampering, ...]:
    return find_tampering(look(old, new, is_home=is_home), allows)


@dataclass(frozen=True)
class Case:
    """A change to one or more files, and the rules that must tell of it: none for a clean one."""

    old: Files
    new: Files
    rules: frozenset[str] = field(default_factory=frozenset)


def clean(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def cheat(rules: str, path: str, old: str, new: str | None) -> Case:
    return Case({path: clean(old)}, {} if new is None else {path: clean(new)}, frozenset(rules.split()))


def fine(path: str, old: str, new: str) -> Case:
    return Case({path: clean(old)} if old else {}, {path: clean(new)})
