"""The only place that reads the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current time in UTC, without a fraction of a second."""
    return datetime.now(UTC).replace(microsecond=0)
