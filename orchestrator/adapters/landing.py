"""What a landing leaves in a person's checkout when it is cut off in the middle, and how that is undone.

A push that moves a branch with its files leaves a note while it is under way, and its git holds a lock. A note without
a holder tells of a push that did not come to its end. What cannot be explained by it is a person's, and stays.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import remove
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_checkout import dirty_paths, in_checkout, landing_lock, landing_notes, locks_of
from orchestrator.adapters.git_objects import split_z
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.library import blob_id
from orchestrator.adapters.reading import safe_read
from orchestrator.errors import BusyError, HostileFileError

OURS_S = 60.0
"""How long after its note a push may have made a lock, in seconds."""
_ABSENT = "0" * 40
_MOST_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class _Change:
    """A path that a push changes, and the blobs before and after ("000…": it is not there)."""

    path: str
    old: str
    new: str


def heal_landings(mirror: Git, git: Git) -> None:
    """Undo what pushes from `mirror` left half done in the person's repository `git`, unless one is under way."""
    if not any(landing_notes(mirror).glob("*.json")):
        return
    with suppress(BusyError), landing_lock(mirror, timeout=0):
        for note in sorted(landing_notes(mirror).glob("*.json")):
            _heal(git, note)


def _heal(git: Git, note: Path) -> None:
    try:
        facts = json.loads(note.read_bytes())
        checkout, branch = Path(facts["checkout"]), str(facts["branch"])
        old, new = str(facts["old"]), str(facts["new"])
    except (OSError, ValueError, KeyError, TypeError):
        remove(note)
        return
    with effect(Effect.TARGET_MOVE):
        _free_locks(git, branch, checkout, note.lstat().st_mtime)
        # Else it stays as it is, and is told as an obstacle when something is to land there.
        with suppress(GitError, OSError, HostileFileError):
            _take_back(git, checkout, branch, old, new)
        remove(note)


def _free_locks(git: Git, branch: str, checkout: Path, noted: float) -> None:
    for lock in locks_of(git, branch, [checkout] if checkout.exists() else []):
        try:
            if -1 < lock.lstat().st_mtime - noted < OURS_S:
                remove(lock)
        except FileNotFoundError:
            continue


def _take_back(git: Git, checkout: Path, branch: str, old: str, new: str) -> None:
    """Put the files of the checkout back to where the branch still is, if all that differs is what the push wrote."""
    if rev_parse(git, f"refs/heads/{branch}") != old or not checkout.exists():
        return
    here = in_checkout(git, checkout)
    changes = _changes(here, old, new)
    if not {change.path for change in changes}.issuperset(dirty_paths(here)):
        return
    found = {change: _blob_at(checkout / change.path) for change in changes}
    # Empty: its name was flushed, its content was not.
    known = (_ABSENT, blob_id(b""))
    if any(blob not in (*known, change.old, change.new) for change, blob in found.items()):
        return
    here.run("read-tree", "--reset", old)
    back = [change.path for change in changes if change.old != _ABSENT]
    here.run(
        "checkout-index", "--force", "--index", "-z", "--stdin", stdin=b"".join(os.fsencode(f"{p}\0") for p in back)
    )
    for change, blob in found.items():
        if change.old == _ABSENT != blob:
            remove(checkout / change.path)


def _changes(git: Git, old: str, new: str) -> list[_Change]:
    words = split_z(git.run("diff-tree", "-r", "-z", "--no-renames", "--raw", old, new).out)
    facts = [words[number].split() for number in range(0, len(words) - 1, 2)]
    return [_Change(path, fact[2], fact[3]) for fact, path in zip(facts, words[1::2], strict=True)]


def _blob_at(path: Path) -> str:
    """The blob that a file would be; raises HostileFileError for what is no plain file."""
    try:
        return blob_id(safe_read(path, max_bytes=_MOST_BYTES).data)
    except FileNotFoundError:
        return _ABSENT
