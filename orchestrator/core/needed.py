"""What the jobs came to that a job needs, as its author is told: where the work is, and what was reported."""

from __future__ import annotations

from dataclasses import dataclass

REPORT_CHARS = 2_000
"""So many characters of all reports together are shown."""
MOST_TOLD = 10
"""So many results are shown; of more, the ids."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What a needed job came to, once it has ended."""

    id: str
    title: str
    outcome: str
    """Where its work is now, or why there is none to merge."""
    report: str
    """The last one of its author."""

    def told(self, room: int) -> str:
        """All of it as text, with at most `room` characters of the report, and a mark where some are left out."""
        report = cut_middle(self.report.strip(), room, f"orc show {self.id} --json") or "(nothing was reported)"
        return f"Title: {self.title}\nOutcome: {self.outcome}\nReport:\n{report}"


def cut_middle(text: str, room: int, full: str) -> str:
    """The beginning and the end of a text that has more than `room` characters; `full` says where it is whole."""
    if len(text) <= room:
        return text
    head, tail = room * 3 // 4, room * 9 // 40
    end = len(text) - tail
    return f"{text[:head]}\u2026 [{end - head:,} chars cut, full: {full}]{text[end:]}"
