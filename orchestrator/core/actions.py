"""What `schedule.decide` may ask the engine to do. Values only; the engine looks again before it acts."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.records import CardKind


@dataclass(frozen=True, slots=True)
class Hold:
    """The job cannot start yet; `reason` says what it waits for, `needs` what its needs were found to be."""

    job: str
    reason: str
    needs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Release:
    """What the job waited for has come."""

    job: str
    needs: dict[str, str]


@dataclass(frozen=True, slots=True)
class CheckBase:
    """Run a project's checks on the commit that new work would start from."""

    project: str


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Give a job to an agent."""

    job: str
    agent: str
    rule: str
    """Which rule of the matching order chose the agent."""


@dataclass(frozen=True, slots=True)
class StartRoutine:
    """Do the maintenance that a job names. It takes no slot, and no agent."""

    job: str


@dataclass(frozen=True, slots=True)
class Gather:
    """Look at what an attempt changed."""

    job: str


@dataclass(frozen=True, slots=True)
class StartChecks:
    """Run the checks on the job's tree, or on its merged tree."""

    job: str


@dataclass(frozen=True, slots=True)
class StartReview:
    """Give the work to a reviewer."""

    job: str
    reviewer: str
    independence: str


@dataclass(frozen=True, slots=True)
class Stand:
    """The second review that was drawn cannot be had: the approval stands without it."""

    job: str
    why: str


@dataclass(frozen=True, slots=True)
class BuildMerge:
    """Build the merged tree. `heir` takes the work over if it collides a second time; '' if nobody could."""

    job: str
    heir: str = ""


@dataclass(frozen=True, slots=True)
class Land:
    """Put the merged tree on the target branch."""

    job: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the human, because nothing else can go on."""

    job: str
    kind: CardKind
    question: str
    context: str = ""
    base: str = ""
    """For a question about a red base: which one."""


@dataclass(frozen=True, slots=True)
class BaseMended:
    """The base about which the job asks is red no more."""

    job: str


@dataclass(frozen=True, slots=True)
class Freed:
    """What the job waited for, and asks about, has come."""

    job: str


@dataclass(frozen=True, slots=True)
class ApplyDefault:
    """Nobody has answered the job's question in time."""

    job: str


@dataclass(frozen=True, slots=True)
class WatchLanding:
    """Look whether what stood in the way of landing is gone."""

    job: str


@dataclass(frozen=True, slots=True)
class Remind:
    """A person is to be reminded that the job waits."""

    job: str


JobAction = (
    Hold
    | Release
    | StartAttempt
    | StartRoutine
    | Gather
    | StartChecks
    | StartReview
    | Stand
    | BuildMerge
    | Land
    | Ask
    | WatchLanding
    | BaseMended
    | Freed
    | ApplyDefault
    | Remind
)


@dataclass(frozen=True, slots=True)
class SetPressure:
    """From now on only a P0 begins, or all do again: see `limits.Pressure`. What is decided with it rests on it."""

    engaged: bool
    ready: int


Action = JobAction | CheckBase | SetPressure
