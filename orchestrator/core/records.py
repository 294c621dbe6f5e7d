"""What the ledger keeps beside a job: attempts, evidence, reviews, merges, cards. One dataclass per file.

File names are `<record>-<n>.yaml` in the job's folder; the text of each is the dataclass as YAML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.core.config import Price, Suspicion
from orchestrator.core.criteria import Checks
from orchestrator.core.job import Fix, Worker
from orchestrator.core.routine import RoutineRecord
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


@dataclass(frozen=True, slots=True)
class ChangedPath:
    """One path of the diff-stat; None for lines means binary."""

    path: str
    status: str
    added: int | None = 0
    deleted: int | None = 0


class Outcome(StrEnum):
    """How one check ended."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"
    """Failed, then passed when run again on the same tree."""
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check that the engine ran itself."""

    name: str
    run: str
    outcome: Outcome
    exit: int | None = None
    seconds: float = 0.0
    tail: str = ""

    @property
    def passed(self) -> bool:
        """Whether it lets work through. A time-out does not."""
        return self.outcome in (Outcome.PASSED, Outcome.FLAKY)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a gate refused: the rule, and what an agent or a person can do about it."""

    rule: str
    text: str
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`guide.md:12`, `guide.md`, or ''."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file

    @property
    def told(self) -> str:
        """The text, with its place before it."""
        return f"{self.place}: {self.text}" if self.file else self.text


@dataclass(frozen=True, slots=True)
class Claim:
    """One key claim of a research report, what it rests on, and where in the work it is listed."""

    id: str
    claim: str
    locator: str = ""
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Preview:
    """What can be seen of a deliverable: what it is, and of a text its first lines from `line` on."""

    path: str
    """'' for the agent's final answer."""
    about: str
    line: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Tampering:
    """Something that was done to the tests, to CI or to orc's own files."""

    rule: str
    """Which rule found it; the names are in `tamper.RULES`."""
    path: str
    text: str
    """What was done, in words."""
    line: int = 0
    """In the new version; in the old one if it is about what is gone; 0: the file."""
    declared: bool = False
    """The job allows it, so it holds nothing up."""

    @property
    def place(self) -> str:
        """`tests/test_login.py:12`."""
        return f"{self.path}:{self.line}" if self.line else self.path

    @property
    def told(self) -> str:
        """The text, with its place before it."""
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """`evidence-N.yaml`: what the engine saw itself, on one exact commit."""

    number: int
    attempt: int
    base: str
    tip: str
    merge_base: str
    tree: str
    stat: str
    """The diff-stat in words: `2 files changed, 10 insertions(+), 1 deletion(-)`."""
    paths: tuple[ChangedPath, ...] = ()
    more_paths: int = 0
    """How many changed paths are left out, because there are too many; then only a person lets the work through."""
    failures: tuple[Failure, ...] = ()
    diff_rules: int = 0
    """The version of the rules of the diff; 0 for the ones before they were counted."""
    docs: tuple[str, ...] = ()
    """Globs of documents that the gate was told; () where nobody wrote them down."""
    protected: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()
    """Globs of protected paths that the gate was told; () where nobody wrote them down."""
    keep: tuple[str, ...] = ()
    """Patterns of what is never taken out of an agent's tree, as the gate was told."""
    aside: tuple[str, ...] = ()
    """Commits beside the work that its report may mean by those it names."""
    tampering: tuple[Tampering, ...] = ()
    more_tampering: int = 0
    """How many findings are left out, because there are too many."""
    tamper_rules: int = 0
    """The version of the rules that found it; 0 where nobody looked."""
    escapes: tuple[Escape, ...] = ()
    """What this and the earlier attempts did outside of their own trees."""
    escape_rules: int = 0
    """The version of the rules that looked after this attempt; 0 where nobody looked."""
    notes: tuple[str, ...] = ()
    tests: str = ""
    """passed, failed, flaky or none; '' until the checks have run."""
    checks: tuple[CheckResult, ...] = ()
    checked_tree: str = ""
    check_key: str = ""
    """Names (tree, commands, environment) under which the result may be used again."""
    reproduction_tree: str = ""
    """The merge base with the changed tests laid over it; '' where the job is not to reproduce a defect."""
    reproduction: str = ""
    """`shown` or `not shown`, by the checks on that tree; '' until they have run."""
    reproduction_checks: tuple[CheckResult, ...] = ()
    reproduction_key: str = ""
    """As `check_key`, of that tree."""
    criteria: Used | None = None
    """The criteria of the job's kind; None where nobody wrote them down."""
    kind_checks: Checks | None = None
    """What they told the gate to check."""
    kind_rules: int = 0
    """The version of the rules that checked it; 0 where nobody did."""
    speller: str = ""
    """What the spelling was checked with, and its version; '' if it was not."""
    claims: tuple[Claim, ...] = ()
    """The key claims that the work lists."""
    previews: tuple[Preview, ...] = ()
    """What can be seen of the first deliverables."""
    more_deliverables: int = 0
    """How many deliverables are not among the previews."""

    @property
    def tests_in_words(self) -> str:
        """What the checks said, or why they have not."""
        return self.tests or ("not run, for the diff was refused" if self.failures else "not run yet")


class Verdict(StrEnum):
    """What a reviewer's answer comes to."""

    APPROVED = "APPROVED"
    REVISE = "REVISE"
    REJECT = "REJECT"
    INCONCLUSIVE = "INCONCLUSIVE"


CLEAR = frozenset({Verdict.APPROVED, Verdict.REVISE, Verdict.REJECT})
"""The verdicts that say something about the work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark of a reviewer; `blocking` ones must be answered by a change."""

    severity: str
    problem: str
    file: str = ""
    line: int = 0
    fix: str = ""
    check: str = ""
    """How one sees that it is done."""
    earlier: str = ""
    """The fix that was asked for before and is not done, such as F1; '' for something new."""


@dataclass(frozen=True, slots=True)
class Item:
    """One yes/no question of the criteria, answered."""

    id: str
    passed: bool
    evidence: str = ""


class ClaimResult(StrEnum):
    """What looking up a claim again came to."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNVERIFIABLE = "unverifiable"


@dataclass(frozen=True, slots=True)
class Recheck:
    """One claim that a reviewer looked up again, and what it found there."""

    id: str
    result: ClaimResult
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Other work that a reviewer proposes as a job of its own."""

    title: str
    prompt: str = ""
    problem: str = ""
    """Why it can be no job, whoever wants it; '' if nothing is wrong with its form."""


@dataclass(frozen=True, slots=True)
class Lately:
    """Of the newest clear verdicts of a reviewer, `judged` in all, so many were approvals."""

    approved: int
    judged: int


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """`review-N.yaml`: one reviewer's judgement of one exact commit."""

    number: int
    attempt: int
    evidence: int
    commit: str
    base: str
    reviewer: Worker
    author: Worker
    run: str
    started: str
    independence: str
    """family, model (weak) or human: how far the reviewer is from the author."""
    threshold: float
    required: tuple[str, ...] = ()
    items_asked: tuple[str, ...] = ()
    criteria: Used | None = None
    """Whose questions these are, as `review-N.criteria.yaml` has them; None: an older version did not keep them."""
    soul: Used | None = None
    rules: Used | None = None
    rule_ids: tuple[str, ...] = ()
    prompt: str = ""
    """Blob id of the message without the diff and the nonce, as `review-N.prompt.md` has it."""
    system: str = ""
    """As in `Attempt`."""
    draw: str = ""
    """What the claims that are looked up again were drawn with: random, from when the review was reserved."""
    diff: str = ""
    """Blob id of the patch that stood in the message."""
    parts: tuple[PromptPart, ...] = ()
    estimate: Estimate | None = None
    """As in `Attempt`."""
    ended: str = ""
    status: RunStatus | None = None
    exit: int | None = None
    verdict: Verdict | None = None
    score: float | None = None
    why: str = ""
    """For an unclear verdict: what was wrong with it."""
    nonce_sha256: str = ""
    reply: str = ""
    """The reviewer's answer as given, with the nonce replaced by its hash."""
    items: tuple[Item, ...] = ()
    claims: tuple[Recheck, ...] = ()
    findings: tuple[Finding, ...] = ()
    summary: str = ""
    follow_ups: tuple[FollowUp, ...] = ()
    """What it proposes besides. It becomes jobs when the verdict counts."""
    identity: str = ""
    """As in `Attempt`."""
    spoke: Spoke | None = None
    suspicion: Suspicion | None = None
    """What makes an approval suspicious, for this reviewer at that time; None: an older version asked for nothing."""
    lately: Lately | None = None
    """What the reviewer said before, when this review began."""
    seconds: float = 0.0
    """How long its run took."""
    doubts: tuple[str, ...] = ()
    """Why the approval is suspicious."""
    share: int = 0
    """Of approvals that are not suspicious so many percent were to be judged twice, when this review began."""
    drawn: bool = False
    """The approval is one of them."""
    again: bool = False
    """If its answer had not the form that was asked for, the reviewer could be asked once more in the same session."""
    asked_again: str = ""
    """It was: what was wrong with the form of its first answer. Counts as one more start."""
    first_reply: str = ""
    """That answer, as `reply`."""


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """`merge-N.yaml`: the merged tree that was built, checked and landed."""

    number: int
    approved: str
    onto: str
    """The commit it was merged onto: the newest of the target and the merges that wait to land on it."""
    target: str
    target_was: str
    merged: str = ""
    tree: str = ""
    conflicts: tuple[str, ...] = ()
    tests: str = ""
    checks: tuple[CheckResult, ...] = ()
    check_key: str = ""
    landed: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reverted:
    """`reverts/<2 hex>/<job>/<commit>.yaml`: a merged job that a person undid."""

    job: str
    commit: str
    target: str
    stat: str
    at: str
    by: str


class CardKind(StrEnum):
    """What a card asks about."""

    MERGE = "merge"
    ATTEMPTS = "attempts"
    ROUNDS = "rounds"
    UNCLEAR = "unclear"
    NO_REVIEWER = "no_reviewer"
    HUMAN_REVIEW = "human_review"
    REJECTED = "rejected"
    CEILING = "ceiling"
    CRASHES = "crashes"
    CANNOT_START = "cannot_start"
    TOO_LARGE = "too_large"
    LANDING = "landing"
    MOVING_TARGET = "moving_target"
    CONFLICT = "conflict"
    BASE_RED = "base_red"
    QUESTION = "question"
    SUSPICIOUS = "suspicious"
    DISPUTED = "disputed"
    STALE = "stale"
    LIKE = "like"


@dataclass(frozen=True, slots=True)
class Option:
    """One answer a card offers, and what it leads to."""

    key: str
    label: str
    consequence: str


@dataclass(frozen=True, slots=True)
class Card:
    """`card-N.yaml`: a question for the human, bound to the facts it was asked on."""

    id: str
    job: str
    number: int
    kind: CardKind
    question: str
    options: tuple[Option, ...]
    asked: str
    context: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    """What it is bound to: `commit`, `target`, `diff`. If one changes, the card is superseded.
    `questions`: by which digests the questions of an agent are known again."""
    default: str = ""
    """The answer that holds at `expires`, or that the author would give; '' without one."""
    expires: str = ""
    """When the default is applied; '': never."""
    answer: str = ""
    message: str = ""
    answered: str = ""
    by: str = ""
    superseded: str = ""
    """Why it may no longer be answered; '' while it may."""

    @property
    def open(self) -> bool:
        """Whether it still waits for an answer."""
        return not self.answer and not self.superseded


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """`projects/<name>/base.yaml`: what the checks said about the commit that new work starts from."""

    commit: str
    tree: str
    key: str
    tests: str = ""
    """'' while they run; passed, failed, flaky, none."""
    run: str = ""
    checks: tuple[CheckResult, ...] = ()
    at: str = ""
    problem: str = ""
    """Why the checks could not be run at all."""
    tries: int = 0
    """How often in a row they could not be run."""


RECORDS: Mapping[str, type[Any]] = {
    "attempt": Attempt,
    "evidence": Evidence,
    "review": ReviewRecord,
    "card": Card,
    "merge": MergeRecord,
    "routine": RoutineRecord,
}
"""The records of a job by the first part of their file name."""
