"""What runs use, as counts: tokens, and money in millionths of a US dollar; and what is expected of one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """What so many runs used."""

    runs: int = 0
    tokens: int = 0
    microusd: int = 0
    estimated: int = 0
    """Runs that told nothing of what they used, or were cut off: what was expected of them is counted, or what they
    told if that is more."""
    unpriced: int = 0
    """Runs of which nobody knows what they cost: they are not in the money."""

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.runs + other.runs,
            self.tokens + other.tokens,
            self.microusd + other.microusd,
            self.estimated + other.estimated,
            self.unpriced + other.unpriced,
        )


NOTHING = Tally()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is expected to use, and what that rests on. Tokens, but for `ratio`."""

    tokens: int
    microusd: int = 0
    prompt: int = 0
    """What it is told."""
    context: int = 0
    """The conversation that it goes on with."""
    beyond: int = 0
    """What came to that in three of four of the newest runs like it; else what is taken for granted."""
    ratio: float = 1.0
    """What runs like it used, as a multiple of these three together."""
    learned: int = 0
    """From how many runs that is known."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for the live run of a job, by this agent, until it ends in whatever way."""

    agent: str
    tokens: int
    microusd: int = 0

    @property
    def tally(self) -> Tally:
        """It as one run."""
        return Tally(1, self.tokens, self.microusd)
