"""What an agent's program said when it ended: the one form for whatever a backend prints; and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.core.config import Price


class Trouble(StrEnum):
    """Why a program did not do what it was asked. It says nothing of whether the work is good."""

    NONE = ""
    RATE_LIMITED = "rate_limited"
    """429, or a plan that is used up."""
    OVERLOADED = "overloaded"
    """The service is down, too busy or cannot be reached."""
    AUTH = "auth"
    """The key or the login was refused, or there is none."""
    REFUSED = "refused"
    """The model, or a filter of its service, refuses the task."""
    LIMIT = "limit"
    """A limit of turns, tokens or money was reached."""
    SESSION = "session"
    """The session that was to go on is not there any more."""
    DENIED = "denied"
    """The program stopped because a tool was denied."""
    REQUEST = "request"
    """The service calls the request wrong: an unknown model, a prompt that is too long."""
    CUT = "cut"
    """It ended without its closing event, whatever its exit code."""
    ERROR = "error"
    """Anything else that it calls an error itself."""

    @property
    def is_of_service(self) -> bool:
        """Whether the agent is not at fault, so that it costs no attempt."""
        return self in (Trouble.RATE_LIMITED, Trouble.OVERLOADED, Trouble.AUTH, Trouble.SESSION)


MOST_COUNTED = 10**17
"""What programs tell is added up so far: no file of the ledger holds a number much longer."""


def bounded(number: int) -> int:
    """A count that every file can hold, whatever programs said of their runs."""
    return max(0, min(MOST_COUNTED, number))


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run used. Tokens; money in millionths of a US dollar.

    `input` leaves out what was read from or written to the cache; `output` includes `reasoning`.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost_microusd: int | None = None
    """As the backend told; None if it tells none."""

    @property
    def total(self) -> int:
        """All tokens, each counted once."""
        return self.input + self.output + self.cache_read + self.cache_write

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return self._combined(other, 1)

    def minus(self, other: Usage) -> Usage:
        """What came since `other`, never below nothing: some backends count over a whole session."""
        return self._combined(other, -1)

    def _combined(self, other: Usage, sign: int) -> Usage:
        values: dict[str, int | None] = {}
        for field in fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            both = mine is not None or (others is not None and sign > 0)
            values[field.name] = bounded((mine or 0) + sign * (others or 0)) if both else None
        return Usage(**values)  # type: ignore[arg-type]


NOTHING_USED = Usage()


def cost_of(usage: Usage | None, price: Price | None) -> tuple[int | None, str]:
    """What a run cost in millionths of a US dollar, and where that comes from: `reported`, or the date of the price.

    A price goes before what the program says: it is the person's, and the same for all programs.
    """
    if usage is None:
        return None, ""
    if price is None:
        return usage.cost_microusd, "reported" if usage.cost_microusd is not None else ""
    parts = (
        usage.input * price.input,
        usage.output * price.output,
        usage.cache_read * price.cache_read,
        usage.cache_write * price.cache_write,
    )
    return bounded(round(sum(parts))), price.date


@dataclass(frozen=True, slots=True)
class Said:
    """What a program said. `ok` only if it ended well, the closing event is there, and that event says so."""

    ok: bool = False
    text: str = ""
    """The last answer, whole."""
    trouble: Trouble = Trouble.NONE
    why: str = ""
    """One sentence for people; '' if `ok`."""
    session: str = ""
    """The id under which the conversation can go on; '' if it cannot."""
    model: str = ""
    """The model that answered, as the program names it; '' if it does not."""
    usage: Usage | None = None
    """Of this run alone; None if the program told nothing."""
    so_far: Usage | None = None
    """Over the whole session, where the program counts so: what the next run is to subtract."""
    context: int = 0
    """Tokens of the newest call, with its answer: so long the conversation is. 0 if the program does not tell."""
    denials: tuple[str, ...] = ()
    """Tool calls that were denied."""
    retries: int = 0
    """How often a call was repeated after an error."""
    fallbacks: tuple[str, ...] = ()
    """Models that answered instead, as `from -> to`."""
    retry_after_s: float = 0.0
    """How long the service asks to wait; 0 if it does not say."""
    tool_calls: int = 0
    sandbox: str = ""
    """What kept its tools to the tree, such as `landlock 7`; `none` and why where nothing did; '' if it is not told."""

    def with_uses_of(self, other: Said) -> Said:
        """The same, with what was used and done besides in another go of the same session."""
        used = self.usage.plus(other.usage) if self.usage and other.usage else self.usage or other.usage
        return replace(
            self,
            usage=used,
            denials=(*self.denials, *other.denials),
            retries=self.retries + other.retries,
            fallbacks=(*self.fallbacks, *other.fallbacks),
            tool_calls=self.tool_calls + other.tool_calls,
        )
