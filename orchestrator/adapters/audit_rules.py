"""The values that all rules of the audit share, and the rules about commits that are no step of a job.

Each rule looks at one commit or step and yields what is wrong with it; none reads anything but the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.adapters.audit_chain import Commit, Records
from orchestrator.adapters.objects import Entry
from orchestrator.core.job import Job, Standing, State
from orchestrator.core.records import Card
from orchestrator.core.transitions import Event

SKEW_S = 300
"""How far a clock may have been set back between two steps, in seconds."""
COMMITTER, COMMITTER_EMAIL = "orc", "engine@orc.invalid"
MAX_SUBJECT = 200


class Rule(StrEnum):
    """What a lie is about; the names are shown to people and used by scripts."""

    HISTORY = "history"
    """The branch is one line of commits from one root, all committed by orc."""
    OBJECT = "object"
    """Every object is what its id says and can be read."""
    MESSAGE = "message"
    """Subject and trailers say what the commit does."""
    ACTOR = "actor"
    TIME = "time"
    SCOPE = "scope"
    """A step touches its own job and nothing else."""
    TEXT = "text"
    """What a person wrote changes only by that person's edit."""
    STEP = "step"
    """The table of legal steps."""
    HOLD = "hold"
    """Whether a person keeps a job from going on, and that it stays where it is then."""
    STANDING = "standing"
    """A step changes only what its event may change."""
    COUNTER = "counter"
    RECORD = "record"
    """Which records a step writes, and what it may change in those that exist."""
    ATTEMPT = "attempt"
    EVIDENCE = "evidence"
    CHECKS = "checks"
    REVIEW = "review"
    INDEPENDENCE = "independence"
    NONCE = "nonce"
    VERDICT = "verdict"
    APPROVAL = "approval"
    CARD = "card"
    MERGE = "merge"
    LANDING = "landing"
    LIMIT = "limit"
    GOAL = "goal"
    """Where a project stands that is to be finished, and that a person said so."""
    SCHEDULE = "schedule"
    """Each slot of a schedule becomes one job at most."""
    USAGE = "usage"
    """What runs were expected to use and what they used, and that each is counted once."""
    TWIN = "twin"
    """No new job asks for the very same work as one that is open, or for nearly the same, unless it says so."""
    COST = "cost"
    """What a run has cost, and that each is counted once, on its day and for its job."""
    SERVICE = "service"
    """What is known of the service behind a backend, from the runs that ended."""
    ROUTINE = "routine"
    """What orc does by itself: only what a job names, and without an agent."""
    FILING = "filing"


Finding = tuple[Rule, str]
"""A rule and, as the end of a sentence that begins "commit … ", what is wrong."""


class GoneError(Exception):
    """What would prove or disprove a decision is not there any more; the message ends "cannot be verified: "."""


@dataclass(frozen=True, slots=True)
class Step:
    """One commit about one job: the job and its folder before and after."""

    commit: Commit
    event: Event
    id: str
    before: Job | None
    after: Job
    old: Records
    new: Records

    @property
    def at(self) -> Standing:
        """Where the job stands after the step."""
        return self.after.at

    @property
    def was(self) -> Standing:
        """Where it stood before; for the first step, as if it had stood there with nothing counted."""
        if self.before is not None:
            return self.before.at
        first = {field: getattr(self.at, field) for field in FIRST}
        return Standing(**{**first, "seq": 0})

    @property
    def asks(self) -> bool:
        """Whether the step ends with a new card."""
        return self.at.state is State.DECIDE and (self.before is None or self.before.state is not State.DECIDE)

    def card(self) -> Card | None:
        """The card that the step asks with."""
        return self.new.get(Card, self.at.card)


def lately_landing(step: Step, commits: Iterable[str]) -> frozenset[str]:
    """Those of `commits` that waited to land when the step was decided, which may be a little before it was written."""
    store, at, left = step.old.store, step.commit, frozenset(commits)
    found: frozenset[str] = frozenset()
    while left - found and at.parents and at.committer.seconds >= step.commit.committer.seconds - SKEW_S:
        at = store.commit(at.parents[0])
        place = store.find(at.tree, "open")
        found |= left & store.waiting(place.oid) if place else frozenset()
    return found


FIRST = ("id", "state", "created", "since", "source", "origin", "priority", "project", "reason")
StepRule = Callable[[Step], Iterator[Finding]]


def differ(rule: Rule, what: str, said: object, found: object) -> Iterator[Finding]:
    """A finding if what the ledger says is not what was found."""
    if said != found:
        yield rule, f"says that {what} is {show(said)}, but it is {show(found)}"


def show(value: object) -> str:
    text = " ".join(str(value).split()) if value not in (None, "", ()) else "nothing"
    return text if len(text) <= 160 else f"{text[:157]}..."


# --- one commit ---------------------------------------------------------------------------------------------------


def check_commit(commit: Commit, parent: Commit | None) -> Iterator[Finding]:
    """One line of commits, by orc, in time."""
    if len(commit.parents) > 1:
        yield Rule.HISTORY, f"has {len(commit.parents)} parents, but the ledger is one line of commits"
    if (commit.committer.name, commit.committer.email) != (COMMITTER, COMMITTER_EMAIL):
        yield Rule.HISTORY, f"was committed by {commit.committer.name} <{commit.committer.email}>, not by orc"
    if commit.author.email != email_of(commit.author.name):
        yield Rule.ACTOR, f"has the author {commit.author.name} with the address {commit.author.email}"
    if commit.author.seconds != commit.committer.seconds:
        yield Rule.TIME, "was written and committed at different times"
    if parent is not None and commit.committer.seconds < parent.committer.seconds - SKEW_S:
        yield Rule.TIME, f"is {parent.committer.seconds - commit.committer.seconds} s older than the commit before it"


def check_root(commit: Commit, names: set[str]) -> Iterator[Finding]:
    """The first commit begins the ledger and holds nothing else."""
    if commit.word != "init" or names != {"ledger.yaml"}:
        yield Rule.HISTORY, "is the first of the ledger, but does not begin one"


FILED = (
    "rejected",
    "reverts",
    "projects",
    "library",
    "workers",
    "missions",
    "schedules",
    "memory",
    "requests",
    "services",
    "routines",
)
"""Folders of the ledger that are about something other than one job."""


def check_filing(commit: Commit, changes: Mapping[str, tuple[Entry | None, Entry | None]]) -> Iterator[Finding]:
    """A commit that is no step of a job."""
    if commit.word in {event.value for event in Event} or commit.word == "init":
        yield Rule.SCOPE, f"says {commit.word!r}, but changes no job"
    for path, (_, after) in changes.items():
        if path.partition("/")[0] not in FILED:
            yield Rule.FILING, f"changes {path}, which is not about any job and not the engine's to file"
        elif after is None:
            yield Rule.FILING, f"removes {path}"
        elif after.mode != "100644":
            yield Rule.FILING, f"files {path} with the mode {after.mode}"
    if (actor := commit.trailer("Actor")) is not None and clean_name(actor) != commit.author.name:
        yield Rule.ACTOR, f"says that {actor} did it, but its author is {commit.author.name}"


def check_trailers(step: Step, facts: Mapping[str, object]) -> Iterator[Finding]:
    """The trailers say what the records say; an empty fact has no trailer."""
    for key, value in facts.items():
        found = "" if value in ("", None, ()) else " ".join(str(value).split())
        yield from differ(Rule.MESSAGE, f"the trailer {key}", (step.commit.trailer(key) or "").strip(), found)


def clean_name(name: str) -> str:
    """An actor's name as an author line can hold it."""
    return name.replace("<", "").replace(">", "").replace("\n", " ")


def email_of(name: str) -> str:
    """The address that goes with an actor's name."""
    plain = "".join(char if char.isalnum() or char in "-._" else "-" for char in name.removeprefix("human:"))
    return f"{plain or 'unknown'}@orc.invalid"
