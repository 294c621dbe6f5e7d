"""What changed between two commits, as values: which paths, and how many lines. It reads nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field

GITLINK, SYMLINK = "160000", "120000"
"""Modes of what is no file: a commit of another repository, and a symbolic link."""


@dataclass(frozen=True, slots=True)
class Change:
    """One changed path. Renames are not detected: they are a removal and an addition."""

    path: str
    """May hold surrogate escapes where the name is not UTF-8."""
    status: str
    """A (added), M (modified), D (deleted) or T (the type changed: file, link, ...)."""
    added: int | None
    """Lines; None if the content is binary."""
    deleted: int | None
    old_mode: str
    """Six octal digits as in a git tree; `000000` where the path did not exist."""
    new_mode: str
    new_oid: str = field(default="", compare=False)
    """Id of the object at the tip, '' where nobody asked for it. Says nothing that the content does not."""
    old_oid: str = field(default="", compare=False)
    """The same before the change."""


@dataclass(frozen=True, slots=True)
class DiffStat:
    """All changes between two commits, in the order of their paths."""

    changes: tuple[Change, ...] = ()

    @property
    def files(self) -> int:
        """How many paths changed."""
        return len(self.changes)

    @property
    def insertions(self) -> int:
        """Added lines; binary files count as none."""
        return sum(change.added or 0 for change in self.changes)

    @property
    def deletions(self) -> int:
        """Deleted lines; binary files count as none."""
        return sum(change.deleted or 0 for change in self.changes)

    def summary(self) -> str:
        """`3 files changed, 10 insertions(+), 2 deletions(-)`, as git words it."""
        parts = [f"{self.files} {_plural('file', self.files)} changed"]
        if self.insertions:
            parts.append(f"{self.insertions} {_plural('insertion', self.insertions)}(+)")
        if self.deletions:
            parts.append(f"{self.deletions} {_plural('deletion', self.deletions)}(-)")
        return ", ".join(parts)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"
