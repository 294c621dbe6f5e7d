"""Trials: an engine tries its gates in memory before it trusts them, and once a day as long as it runs."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from orchestrator.core.funnel import DAY_S
from orchestrator.core.trials import Broken, find_broken, tell_first

log = logging.getLogger("orc.trials")


@dataclass(slots=True)
class Trials:
    """What the last trial of the gates came to."""

    broken: tuple[Broken, ...] = ()
    _next: float = 0.0
    """When they are tried next, on the clock of `time.monotonic`."""

    def is_due(self) -> bool:
        """Whether they are to be tried: at first, and then once a day."""
        return time.monotonic() >= self._next

    def look(self) -> bool:
        """Try them. Whether something else came out than before."""
        before, self.broken = self.broken, find_broken()
        self._next = time.monotonic() + DAY_S
        for each in self.broken:
            log.error("the gate %s: %s %s", each.gate, each.guard, each.why)
        return self.broken != before

    @property
    def told(self) -> str:
        """What is wrong with the first gate that fails, and how many more do; '' if none does."""
        return tell_first(self.broken)
