"""A job: what a person asked for (`JobSpec`), and where it stands (`Job`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any

from orchestrator.core.codec import from_mapping
from orchestrator.core.tally import NOTHING, Reservation, Tally


class Kind(StrEnum):
    """The sorts of work that orc knows by itself. A job's may be another, for which a person wrote criteria."""

    CODE = "code"
    WRITING = "writing"
    RESEARCH = "research"
    OPS = "ops"
    OTHER = "other"
    """None of these, with the strictest criteria; they hold as well for a kind that nobody wrote criteria for."""


class Priority(IntEnum):
    """P0 (drop everything; only a person may ask for it) to P5 (when nothing else is to be done)."""

    P0 = 0
    P1 = 1
    P2 = 2
    P3 = 3
    P4 = 4
    P5 = 5

    @property
    def lane(self) -> Lane:
        """The lane in which a ready job of this priority waits for its turn."""
        if self <= Priority.P1:
            return Lane.URGENT
        return Lane.NORMAL if self is Priority.P2 else Lane.BACKGROUND


class Lane(StrEnum):
    """A folder of `queue/`."""

    INBOX = "inbox"
    URGENT = "urgent"
    NORMAL = "normal"
    BACKGROUND = "background"
    WAITING = "waiting"
    RUNNING = "running"
    REVIEW = "review"
    DECIDE = "decide"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


READY_LANES = (Lane.URGENT, Lane.NORMAL, Lane.BACKGROUND)
DROP_LANES = (Lane.INBOX, *READY_LANES)
LANE_PRIORITY = {Lane.URGENT: Priority.P1, Lane.NORMAL: Priority.P2, Lane.BACKGROUND: Priority.P3}


class State(StrEnum):
    """Where a job stands. Each open state has exactly one handler in `schedule.decide`."""

    READY = "ready"
    """Waits for a slot and an agent."""
    WAITING = "waiting"
    """Held: needs that are not done, a start date, a red base, a pause after a failed start."""
    RUNNING = "running"
    """An attempt is being made."""
    COLLECTED = "collected"
    """The attempt ended and its work is under a ref; the engine has yet to look at the diff."""
    CHECKING = "checking"
    """The diff stands; the checks are to be run on exactly that tree."""
    REVIEWING = "reviewing"
    """Diff and checks stand; another agent is to judge."""
    MERGING = "merging"
    """Approved; the merged tree is to be built and checked."""
    LANDING = "landing"
    """The merged tree passed; it is to be put on the target branch."""
    DECIDE = "decide"
    """A card asks the human."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to a job in this state by itself."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)


_LANES = {
    State.WAITING: Lane.WAITING,
    State.RUNNING: Lane.RUNNING,
    State.COLLECTED: Lane.REVIEW,
    State.CHECKING: Lane.REVIEW,
    State.REVIEWING: Lane.REVIEW,
    State.MERGING: Lane.REVIEW,
    State.LANDING: Lane.REVIEW,
    State.DECIDE: Lane.DECIDE,
    State.DONE: Lane.DONE,
    State.FAILED: Lane.FAILED,
    State.CANCELLED: Lane.CANCELLED,
}


class MergePolicy(StrEnum):
    """What happens with approved work: ask the human, merge by itself, or leave a branch for a pull request."""

    ASK = "ask"
    AUTO = "auto"
    BRANCH = "branch"


class Independence(StrEnum):
    """How far the reviewer must be from the author."""

    FAMILY = "family"
    MODEL = "model"
    HUMAN = "human"


class Expects(StrEnum):
    """Whether the work is to change files, or to be a report that changes nothing."""

    CHANGE = "change"
    NO_CHANGE = "no_change"


class Purpose(StrEnum):
    """Whether a job brings what somebody wants, or keeps the house in order; by that costs are told apart."""

    WORK = "work"
    MAINTENANCE = "maintenance"


class Area(StrEnum):
    """What a job must declare before it may change it without a person being asked."""

    TESTS = "tests"
    """Tests taken away or weakened, and how they are run."""
    CI = "ci"
    ORC = "orc"
    """orc's own configuration, rules, souls and skills, and the files that agents are instructed by."""
    KEYS = "keys"
    """What looks like a private key or a token of a service."""
    PROGRAMS = "programs"
    """Compiled programs, which nobody can review."""
    BINARIES = "binaries"
    """Other binary files, of which a diff shows nothing."""


@dataclass(frozen=True, slots=True)
class Check:
    """A command that the engine runs itself in a clean checkout; exit 0 passes. `timeout_s` in seconds."""

    run: str
    name: str = ""
    timeout_s: int = 1800

    @property
    def label(self) -> str:
        """The name to show: the given one, or the command."""
        return self.name or self.run


@dataclass(frozen=True, slots=True)
class ReviewWishes:
    """How a job is to be reviewed; None means what the workspace says."""

    rounds: int | None = None
    threshold: float | None = None
    by: tuple[str, ...] = ()
    independence: Independence | None = None


@dataclass(frozen=True, slots=True)
class LimitWishes:
    """A job's own ceilings; None means what the workspace says."""

    attempts: int | None = None
    minutes: int | None = None
    starts: int | None = None
    reviews: int | None = None
    tokens: int | None = None
    """What all runs of the job together may use."""
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a person wrote, validated. Only `prompt` or `routine` is required; None means what the workspace says."""

    prompt: str
    title: str = ""
    kind: str = Kind.CODE.value
    """What sort of work it is; the criteria and the evidence that is asked for depend on it."""
    purpose: Purpose = Purpose.WORK
    routine: str = ""
    """The maintenance that orc does itself, without an agent and without a model; see `core.routine`."""
    priority: Priority | None = None
    project: str = ""
    target: str = ""
    agent: str = ""
    fallback: tuple[str, ...] = ()
    """Who may take it, in this order, while the service of whoever is to do it takes nothing."""
    backend: str = ""
    model: str = ""
    skills: tuple[str, ...] = ()
    voice: str = "on"
    """`off`: without the agent's voice."""
    needs: tuple[str, ...] = ()
    dedup_key: str = ""
    """Jobs of a project with the same one ask for the same work, whatever else they say."""
    again: bool = False
    """It is to be done although an open job asks for the same work."""
    not_before: str = ""
    hold: str | None = None
    """Why a person keeps it from going on, '' without a reason; None: nobody does."""
    checks: tuple[Check, ...] | None = None
    paths: tuple[str, ...] = ()
    allows: tuple[Area, ...] = ()
    """What it may change, as the person says, that is held for a person otherwise."""
    expects: Expects = Expects.CHANGE
    deliverables: tuple[str, ...] = ()
    repairs_base: bool = False
    reproduces: bool = False
    """It mends a defect: the tests that come with the change must fail on the base."""
    repeats: bool = False
    """It repeats itself on purpose, as a song does: no passage is refused for standing twice."""
    review: ReviewWishes = field(default_factory=ReviewWishes)
    merge: MergePolicy | None = None
    limits: LimitWishes = field(default_factory=LimitWishes)

    @classmethod
    def from_file(cls, value: Mapping[str, Any]) -> JobSpec:
        """The spec of a mapping that has passed the job schema. Raises ValueError on what the schema let through."""
        items = dict(value)
        if "priority" in items:
            items["priority"] = None
        items["hold"] = _hold_of(items.get("hold"))
        if items.get("routine"):
            items = {"prompt": "", "kind": Kind.OPS, "purpose": Purpose.MAINTENANCE, **items}
        if items.get("checks") is not None:
            items["checks"] = [{"run": each} if isinstance(each, str) else each for each in items.get("checks", ())]
        spec = from_mapping(cls, items)
        if "priority" in value:
            if value["priority"] not in Priority.__members__:
                raise ValueError(f"priority: {value['priority']!r} is not one of {', '.join(Priority.__members__)}")
            spec = replace(spec, priority=Priority[value["priority"]])
        return spec

    @property
    def heading(self) -> str:
        """The title, or the first line of the prompt, at most 100 characters; of a routine its name."""
        first = self.title or next((line for line in self.prompt.splitlines() if line.strip()), "")
        first = " ".join(first.split()) or f"the routine {self.routine}"
        return first if len(first) <= 100 else first[:99] + "…"


def _hold_of(value: Any) -> str | None:
    """`hold: true` and `hold: why` of a file; `false` is the same as no such key."""
    if isinstance(value, bool) or value is None:
        return "" if value else None
    return " ".join(str(value).split())


MOST_UNSERVED = 100
"""Then what a service turns away counts against the job as well: nothing goes on for ever."""
EDITABLE_ALWAYS = frozenset({"title", "priority", "hold", "merge", "review", "limits"})
"""Keys that may change while a job is open; every other key only before its first attempt, or while it waits."""
KEEP_APPROVAL = frozenset({"title", "priority", "hold", "comments"})
"""Keys whose change says nothing about what was approved."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One numbered thing that the next attempt must do and answer."""

    id: str
    problem: str
    fix: str = ""
    file: str = ""
    line: int = 0
    source: str = ""
    """Who asks for it: `engine`, `reviewer`, or `human`."""
    check: str = ""
    """How one sees that it is done."""
    earlier: str = ""
    """The fix of the round before that it is again, as the reviewer says."""
    key: str = ""
    """What it is about, the same in each round in which it is asked for; '' where nobody asks again."""
    by: tuple[str, ...] = ()
    """The reviewers who have asked for it."""
    disputes: tuple[str, ...] = ()
    """Why the author disputed it, each time after which it was asked for again."""

    @property
    def told(self) -> str:
        """`F1 (app.py:3): It loops.`"""
        line = f":{self.line}" if self.line else ""
        return f"{self.id}{f' ({self.file}{line})' if self.file else ''}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Worker:
    """Who did something: the agent, and what it ran on."""

    agent: str
    family: str = ""
    model: str = ""
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Who keeps a job from going on, and since when. Why stands in the person's own text, under `hold:`."""

    by: str
    """`human:NAME`; `engine` for a job whose schedule has it held."""
    since: str

    @property
    def who(self) -> str:
        """The person's name; '' if its schedule made it so: then it waits for anybody."""
        return "" if self.by == "engine" else self.by.removeprefix("human:")


class SecondWhy(StrEnum):
    """Why another reviewer is asked about work that was judged already."""

    APPROVAL = "approval"
    """It was approved, and the approval is suspicious."""
    DISPUTE = "dispute"
    """The author disputes for the second time what it is to change."""
    DRAW = "draw"
    """It was approved, and the approval was drawn by lot."""


@dataclass(frozen=True, slots=True)
class Second:
    """Another reviewer is to be asked about the present work, which does not learn what those before it said."""

    why: SecondWhy
    review: int
    """The review that it follows from."""
    reviewers: tuple[str, ...]
    """Those that are not asked again."""
    told: str
    """Why, in words."""
    sides: str = ""
    """Of a dispute: what is asked for, and what the author says."""
    weak: bool = False
    """What it follows from is an approval by a reviewer that is not independent enough to merge by itself."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The engine's block of a job: everything about where it stands. All of it is in the ledger, nothing elsewhere."""

    id: str
    seq: int
    state: State
    created: str
    since: str
    """When it entered this state."""
    source: str = ""
    """Where it came from: the path it was dropped at, or `submit`."""
    origin: str = "human"
    priority: int = 2
    project: str = "main"
    reason: str = ""
    """Why it stands where it stands, in words."""
    attempt: int = 0
    """Serial number of the newest attempt."""
    spent: int = 0
    """Attempts that count against the agent: not those that orc or the machine cut short."""
    crashes: int = 0
    """Runs lost in a row without a result."""
    failed_starts: int = 0
    """Starts in a row that came to nothing."""
    starts: int = 0
    """Runs of any kind ever reserved for this job."""
    unserved: int = 0
    """Those of them that their service turned away. They are not counted against the job, up to `MOST_UNSERVED`."""
    review: int = 0
    """Serial number of the newest review."""
    unserved_reviews: int = 0
    """The same of reviews."""
    allowance: int = 0
    """How often a human has granted a fresh set of attempts, starts and reviews."""
    rounds: int = 0
    """Reviews that asked for changes."""
    asked: tuple[str, ...] = ()
    """What each of them asked for, as a digest, since a person last granted another go."""
    evidence: int = 0
    merge: int = 0
    routine: int = 0
    """Number of the newest run of its routine."""
    rebuilds: int = 0
    """How often the merged tree was built anew because the target had moved."""
    card: int = 0
    """Number of the newest card."""
    run: str = ""
    """The live run, '' if there is none."""
    reserved: Reservation | None = None
    """What is set aside for it, where it asks a model; None without such a run."""
    used: Tally = NOTHING
    """What the ended runs of the job used."""
    agent: str = ""
    """The worker that makes the attempts."""
    author: Worker | None = None
    """Who made the newest attempt, and what it ran on."""
    reviewer: Worker | None = None
    """Who makes the newest review, and what it runs on."""
    former: tuple[Worker, ...] = ()
    """Who else had a hand in the work that the newest attempt goes on with."""
    base: str = ""
    """Commit from which the work starts and against which it is judged."""
    tip: str = ""
    """Commit that holds the newest work."""
    approved: str = ""
    """Commit that was approved; only this one may be merged."""
    merged: str = ""
    """Commit that carries the work on the target branch, once built."""
    target_was: str = ""
    """Where the target stood when `merged` was built."""
    fixes: tuple[Fix, ...] = ()
    excluded: tuple[str, ...] = ()
    """Reviewers that gave no clear verdict on the present work."""
    inconclusive: int = 0
    """Unclear verdicts on the present work."""
    second: Second | None = None
    """Another reviewer is to be asked; None: any reviewer will do."""
    not_before: str = ""
    """No start before this time (a pause after a failed start)."""
    needs: dict[str, str] = field(default_factory=dict)
    """What the job needs, as written, to the id of the job that was found for it."""
    held: Held | None = None
    """As long as the person's text says `hold:`: nothing new is begun for it, in whatever state it is."""
    asked_base: str = ""
    """The red base about which this job asks, or has asked, for all jobs of its project."""
    recheck: str = ""
    """When a person asked for the checks to be run on the base again."""
    protected: tuple[str, ...] = ()
    """Changed paths that only a human may let through."""
    tampering: tuple[str, ...] = ()
    """What was done to tests, CI or orc's own files and the job does not declare: only a human may let it through."""
    weak: bool = False
    """The approval came from a reviewer that is not independent enough to merge by itself."""
    tests: str = ""
    """What the checks said about the present work: passed, failed, flaky, none."""
    conflicts: int = 0
    """How often approved work of this job collided with what had come in."""
    collided: str = ""
    """Commit that was approved and collided. Its approval comes back if it collides no more before anything else is
    done about it; '' once somebody has begun to work on it, or asked for something else."""
    reminded: str = ""
    """When a person was last reminded that the job waits."""
    given: str = ""
    """The agent that goes on with it, as a person or a conflict has it: in place of its author."""
    stuck: str = ""
    """Since when it waits for what does not come by itself; '' if it does not."""
    expires: str = ""
    """When the default of its open card is applied; '': never."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job: the person's text, what it says, and where it stands."""

    text: str
    markdown: bool
    spec: JobSpec
    at: Standing

    @property
    def id(self) -> str:
        """`fix-login-7f3a09c2`."""
        return self.at.id

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.at.state

    @property
    def priority(self) -> Priority:
        """P0 to P5."""
        return Priority(self.at.priority)

    @property
    def lane(self) -> Lane:
        """The folder of `queue/` in which it is shown."""
        return self.priority.lane if self.state is State.READY else _LANES[self.state]

    @property
    def suffix(self) -> str:
        """`.md` or `.yaml`."""
        return ".md" if self.markdown else ".yaml"

    @property
    def file_name(self) -> str:
        """`fix-login-7f3a09c2.yaml`."""
        return self.id + self.suffix

    @property
    def is_held(self) -> bool:
        """Whether a person keeps it from going on."""
        return self.at.held is not None and not self.state.ended

    @property
    def why(self) -> str:
        """Why it stands where it stands: that somebody holds it, else the reason of its last step."""
        held = self.at.held
        if held is None or not self.is_held:
            return self.at.reason
        told = f"held by {held.who or 'its schedule'} since {held.since}"
        return f"{told}: {self.spec.hold}" if self.spec.hold else told

    def moved(self, state: State, now: str, **changes: Any) -> Job:
        """The same job one step further: `seq` + 1, in `state` since `now`."""
        at = replace(self.at, seq=self.at.seq + 1, state=state, since=now, **changes)
        return replace(self, at=at)
