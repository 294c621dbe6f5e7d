"""`attempt-N.yaml`: one try at the work, and what is kept of any run: how it ended, what it was given, what it used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.config import Price
from orchestrator.core.job import Fix, Worker
from orchestrator.core.said import Trouble, Usage
from orchestrator.core.tally import Estimate


class RunStatus(StrEnum):
    """How a run ended, as its supervisor saw it."""

    ENDED = "ended"
    NOT_STARTED = "not_started"
    PREPARE_FAILED = "prepare_failed"
    SETUP_FAILED = "setup_failed"
    TIMEOUT = "timeout"
    SILENT = "silent"
    OUTPUT_LIMIT = "output_limit"
    STOPPED = "stopped"
    BROKEN = "broken"
    """The supervisor itself failed in the middle of it."""
    LOST = "lost"
    """It left no result: killed, or the machine went down."""
    UNREADABLE = "unreadable"
    """Its result cannot be understood. No supervisor writes this."""


@dataclass(frozen=True, slots=True)
class Used:
    """A text that went into a prompt, and the blob id of exactly the version that did."""

    name: str
    blob: str


@dataclass(frozen=True, slots=True)
class PromptPart:
    """One part of a prompt: about how many tokens it is, and why it is there."""

    name: str
    tokens: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Spoke:
    """What the agent's program told of its run, where its backend keeps to a form."""

    usage: Usage | None = None
    """Of this run; None if it told nothing."""
    so_far: Usage | None = None
    """Over its whole session, where the program counts so."""
    context: int = 0
    """Tokens of its newest call, with the answer; 0 if it told none."""
    model: str = ""
    """The model that answered, as the program names it."""
    trouble: Trouble = Trouble.NONE
    denials: tuple[str, ...] = ()
    retries: int = 0
    fallbacks: tuple[str, ...] = ()
    retry_after_s: float = 0.0
    """How long its service asks to be left alone, in seconds; 0 if it does not say."""
    tool_calls: int = 0
    cost_microusd: int | None = None
    """Millionths of a US dollar; None if neither the program nor a price says it."""
    priced: str = ""
    """Where the cost comes from: `reported`, or the date of the price in orc.yaml."""
    sandbox: str = ""
    """What kept its tools to the tree, such as `landlock 7`; `none` and why where nothing did; '' if it is not told."""
    price: Price | None = None
    """That price, so that anybody can work the cost out again."""


FIXED, DISPUTED = "fixed", "disputed"
UNANSWERED = "unanswered"
"""What is told of a fix of which the author said nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the author said to one numbered fix: `fixed`, or `disputed` with a reason."""

    id: str
    answer: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Escape:
    """Something that was done outside of the tree of a run while it went on."""

    rule: str
    """Which rule found it; the names are in `rule_words.ESCAPE_WORDS`."""
    place: str
    """A path or a ref."""
    text: str
    """What was done, in words."""
    attempt: int = 0
    """In which attempt."""

    @property
    def told(self) -> str:
        """The text, with its place before it."""
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`attempt-N.yaml`: one try at the work. Written when it starts, completed when it ends."""

    number: int
    worker: Worker
    base: str
    run: str
    started: str
    rule: str = ""
    """Which rule of the matching order chose the worker."""
    rule_number: int = 0
    """Its number in that order, 1 for the first; 0 where it was not written down."""
    soul: Used | None = None
    skills: tuple[Used, ...] = ()
    files: tuple[Used, ...] = ()
    """What its skills have beside their SKILL.md, as it lies in the folder of its run."""
    rules: Used | None = None
    rule_ids: tuple[str, ...] = ()
    prompt: str = ""
    """Blob id of the message."""
    system: str = ""
    """Blob id of the system prompt; '' where it is part of the message."""
    identity: str = ""
    """`degraded` where the program has no system prompt, so that the soul stands in front of the message."""
    parts: tuple[PromptPart, ...] = ()
    estimate: Estimate | None = None
    """What it was expected to use; None where an older version asked for nothing."""
    session: str = ""
    """The session of the agent's program; '' if it has none that could go on."""
    resumed: bool = False
    """Whether that session was begun by an earlier run."""
    why_fresh: str = ""
    """Why no earlier session went on; '' if the program has no sessions that could."""
    session_job: int = 0
    """Which job of its session this one was, 1 for the first; 0 without a session that can go on."""
    fixes: tuple[Fix, ...] = ()
    conflict: int = 0
    """The merge whose conflict it is to resolve; 0 if there is none."""
    forgeable: bool = False
    """No sandbox keeps what the agent wrote from writing elsewhere: the checks run it with the person's rights."""
    ended: str = ""
    status: RunStatus | None = None
    exit: int | None = None
    error: str = ""
    """The agent's last error line, or why it did not start."""
    tip: str = ""
    tree: str = ""
    own_commits: bool = False
    seconds: float = 0.0
    report: str = ""
    answers: tuple[Answer, ...] = ()
    spoke: Spoke | None = None
    escapes: tuple[Escape, ...] = ()
    """What it did outside of its own tree."""
    escape_rules: int = 0
    """The version of the rules that looked for it; 0 where nobody looked."""
