"""A second book of a made-up house: what really runs and was really used, added up without what is on trial."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.core.config import Caps, ExecutionLimits
from orchestrator.core.job import Priority

WINDOW_S, STEP_S = 300, 10
"""The window, and the steps in which what ended is counted: one that is partly in the window counts whole."""
_ABOVE = 1.1
"""So far a person's P0 may go beyond the window."""
Key = tuple[str, str]
"""Whose it is: `total`, or a project or an agent by name."""


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that asks a model, with what was expected of it."""

    job: str
    project: str
    agent: str
    backend: str
    priority: Priority
    began: float
    tokens: int
    microusd: int
    is_review: bool = False

    @property
    def keys(self) -> tuple[Key, ...]:
        """Whose run it is."""
        return (("total", ""), ("project", self.project), ("agent", self.agent))


@dataclass(slots=True)
class Used:
    """What the runs used that ended on a day."""

    runs: int = 0
    tokens: int = 0
    microusd: int = 0


@dataclass(slots=True)
class Meter:
    """Counts on its own."""

    limits: ExecutionLimits
    live: dict[str, LiveRun] = field(default_factory=dict)
    days: dict[tuple[str, Key], Used] = field(default_factory=dict)
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _astray: list[tuple[float, int]] = field(default_factory=list)
    """What a clock that was set back leaves so far in the time to come that it may be forgotten, or not."""
    _old: list[tuple[float, int]] = field(default_factory=list)
    """What ended before the last minutes."""

    def begin(self, run: str, live: LiveRun) -> None:
        """A run begins."""
        self.live[run] = live

    def end(self, run: str, day: str, now: float, tokens: int, microusd: int) -> LiveRun:
        """A run has ended, and used so much."""
        live = self.live.pop(run)
        for key in live.keys:
            used = self.days.setdefault((day, key), Used())
            used.runs += 1
            used.tokens += tokens
            used.microusd += microusd
        self._recent.append((now, tokens))
        return live

    def window(self, now: float, late_s: float = 0.0) -> int:
        """Tokens of the last five minutes, and of `late_s` before them, with what is expected of what runs.

        By the machine's clock: what ended before that was set back counts as long as it is no further ahead than this.
        """
        while self._recent and self._recent[0][0] <= now - WINDOW_S - STEP_S:
            self._old.append(self._recent.popleft())
        reach, ended = WINDOW_S + late_s, (*self._recent, *self._astray) if late_s else self._recent
        used = sum(tokens for at, tokens in ended if now - reach < at <= now + reach)
        return used + sum(each.tokens for each in self.live.values())

    def set_clock(self, now: float, seconds: int) -> None:
        """The machine's clock is set: by that, what ended did so longer ago.

        What ended long ago by the clock of before may be of the last minutes by this one, if nothing has ended since:
        of what is still noted nobody can tell that.
        """
        parts = (self._recent, self._astray, self._old)
        known, astray, old = ([(at - seconds, tokens) for at, tokens in part] for part in parts)
        self._recent = deque(each for each in known if each[0] <= now + WINDOW_S)
        new = [each for each in known if each[0] > now + WINDOW_S]
        self._astray = [*astray, *new, *(each for each in old if each[0] > now - WINDOW_S - STEP_S)]
        self._old = [each for each in old if each[0] <= now - WINDOW_S - STEP_S]

    def reached(self, key: Key, day: str) -> str:
        """Which limit of somebody is reached, in words; '' if none is."""
        live = [each for each in self.live.values() if key in each.keys]
        used = self.days.get((day, key), Used())
        caps = self._caps(key)
        for what, limit, now in (
            ("runs at once", caps.at_once, len(live)),
            ("runs", caps.runs, used.runs + len(live)),
            ("tokens", caps.tokens, used.tokens + sum(each.tokens for each in live)),
            ("millionths of a dollar", caps.microusd, used.microusd + sum(each.microusd for each in live)),
        ):
            if limit is not None and now >= limit:
                return f"{' '.join(filter(None, key))}: {now:,} of {limit:,} {what}"
        return ""

    def places(self, key: Key, day: str) -> int:
        """How many more runs of somebody may begin, as far as runs are counted; 0 if any limit of theirs is reached."""
        if self.reached(key, day):
            return 0
        caps, live = self._caps(key), sum(key in each.keys for each in self.live.values())
        used = self.days.get((day, key), Used()).runs + live
        left = [most - now for most, now in ((caps.at_once, live), (caps.runs, used)) if most is not None]
        return min(left, default=sys.maxsize)

    def refusals(self, project: str, agent: str, day: str) -> Iterator[str]:
        """The limits that are reached of all for whom a run would count."""
        keys: tuple[Key, ...] = (("total", ""), ("project", project), ("agent", agent))
        return filter(None, (self.reached(key, day) for key in keys))

    def is_window_full(self, now: float, *, is_urgent: bool, late_s: float = 0.0) -> bool:
        """Whether nothing may begin because of the last minutes, and of `late_s` before. `is_urgent`: a person's P0."""
        budget = self.limits.window_tokens
        return budget is not None and self.window(now, late_s) >= budget * (_ABOVE if is_urgent else 1)

    def _caps(self, key: Key) -> Caps:
        scope, name = key
        if scope == "project":
            return self.limits.projects.get(name, self.limits.project)
        return self.limits.agents.get(name, self.limits.agent) if scope == "agent" else self.limits.total
