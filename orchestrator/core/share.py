"""The share of maintenance: how much of what a house does keeps it in order, and when that is unusual."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from orchestrator.core.costs import Lines
from orchestrator.core.job import Purpose

DAYS = 7
LEAST, MOST = 30, 80
"""Per cent of the ended jobs: outside of these somebody should look."""
ENOUGH = 20
"""With fewer jobs a share says nothing."""


@dataclass(frozen=True, slots=True)
class Share:
    """The jobs that ended in some days, and the tokens of their runs: those for maintenance, and all."""

    jobs: int = 0
    all_jobs: int = 0
    tokens: int = 0
    all_tokens: int = 0

    @property
    def by_count(self) -> int | None:
        """Per cent of the jobs; None if none has ended."""
        return round(100 * self.jobs / self.all_jobs) if self.all_jobs else None

    @property
    def by_tokens(self) -> int | None:
        """Per cent of the tokens; None if none were used."""
        return round(100 * self.tokens / self.all_tokens) if self.all_tokens else None

    @property
    def told(self) -> str:
        """`maintenance: 41 % of 220 jobs, 3 % of 1,200,000 tokens in 7 days`; '' where no job of it has ended."""
        if not self.jobs:
            return ""
        tokens = f", {self.by_tokens} % of {self.all_tokens:,} tokens" if self.by_tokens is not None else ""
        jobs = f"{self.all_jobs:,} job{'s' if self.all_jobs > 1 else ''}"
        return f"maintenance: {self.by_count} % of {jobs}{tokens} in {DAYS} days"

    def to_json(self) -> dict[str, object]:
        """As `--json` shows it."""
        return {**asdict(self), "by_count": self.by_count, "by_tokens": self.by_tokens, "warning": self.warning}

    @property
    def warning(self) -> str:
        """What somebody should look at; '' where the share is usual, or too few jobs have ended to tell.

        Nor where there is no maintenance at all: whoever has never asked for any is not to be told of it each day.
        """
        share = self.by_count
        if share is None or not self.jobs or self.all_jobs < ENOUGH or LEAST <= share <= MOST:
            return ""
        what = "what you want done may come too short" if share > MOST else "the house may be left to itself"
        return f"{self.told}, where {LEAST} to {MOST} % is usual: {what}"


def share_of(days: Iterable[Lines]) -> Share:
    """The share in some days. By tokens routines count for nothing, for they ask no model."""
    jobs = all_jobs = tokens = all_tokens = 0
    for lines in days:
        for facts, sums in lines.items():
            ended = sums.done + sums.failed + sums.cancelled
            is_maintenance = facts.purpose == Purpose.MAINTENANCE
            jobs, all_jobs = jobs + ended * is_maintenance, all_jobs + ended
            tokens, all_tokens = tokens + sums.tokens * is_maintenance, all_tokens + sums.tokens
    return Share(jobs, all_jobs, tokens, all_tokens)
