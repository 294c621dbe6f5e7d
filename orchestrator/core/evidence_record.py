"""`evidence-N.yaml`: what the engine saw itself of the work, and the results of checks wherever they run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.attempt_record import Escape, Used
from orchestrator.core.criteria import Checks


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
