"""What the gate says about a branch that it was shown: the values, and the one place that draws the conclusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.core.gate import RULES, judge_checks, list_some
from orchestrator.core.job import Check, Expects, JobSpec, Kind
from orchestrator.core.records import ChangedPath, CheckResult, Failure, ReviewRecord, Verdict


class Conclusion(StrEnum):
    """What it all comes to."""

    PASS = "PASS"
    REFUSED = "REFUSED"
    """A rule, a conflict or the reviewer says no."""
    CHECKS_FAILED = "CHECKS_FAILED"
    """A check fails that passes on the base."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Nothing can be said: nothing was run, it could not be run, the base is red, the reviewer was unclear."""

    @property
    def words(self) -> str:
        """As people read it."""
        return self.value.replace("_", " ")


RULE_WORDS = {
    "broken_objects": "the objects are sound",
    "empty_diff": "something is changed",
    "plan_only": "not only documents",
    "whitespace_only": "not only white space",
    "unexpected_change": "nothing is changed",
    "missing_report": "there is a report",
    "missing_deliverable": "the deliverables are there",
    "out_of_scope": "only the allowed paths",
    "hostile_entry": "no harmful link, repository or name",
    "unchanged": "something new since the last attempt",
}
"""What the rules of the diff ask for."""


class Where(StrEnum):
    """The tree that the checks ran on."""

    BRANCH = "branch"
    MERGED = "merged"
    """The branch merged into its base, as an object."""
    BASE = "base"


class RuleOutcome(StrEnum):
    """What a rule of the diff says."""

    OK = "ok"
    REFUSED = "refused"
    NOT_ASKED = "not asked"
    """It looks at something that nobody declared for this branch."""


@dataclass(frozen=True, slots=True)
class Named:
    """A commit by the name that it was asked for by."""

    name: str
    commit: str
    ref: str = ""
    """The full name of the ref; '' if it was named in another way."""
    note: str = ""
    """What a person should know about how the name was read."""


@dataclass(frozen=True, slots=True)
class RuleSeen:
    """One rule of the diff and what it says."""

    rule: str
    outcome: RuleOutcome
    text: str = ""

    @property
    def words(self) -> str:
        """What it asks for, as people read it."""
        return RULE_WORDS.get(self.rule, f"rule {self.rule}")


@dataclass(frozen=True, slots=True)
class Checked:
    """The checks on one tree."""

    where: Where
    commit: str
    tree: str
    results: tuple[CheckResult, ...] = ()
    problem: str = ""
    """Why they could not be run; '' if they were."""
    setup_failed: bool = False
    same_as: Where | None = None
    """The place whose tree this is too, so that they ran once for both."""

    @property
    def tests(self) -> str:
        """passed, failed, flaky or none; `not run` where they could not be run."""
        return "not run" if self.problem else judge_checks(self.results)

    @property
    def failing(self) -> tuple[str, ...]:
        """The commands that do not pass here."""
        return tuple(each.run for each in self.results if not each.passed)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The review, as the ledger would keep it; `problem` says why there could not be one."""

    record: ReviewRecord
    problem: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the gate saw of a branch, before any conclusion."""

    branch: Named
    base: Named
    merge_base: str
    tree: str
    stat: str
    commits: int
    """How many commits the branch has that the base has not."""
    paths: tuple[ChangedPath, ...] = ()
    more_paths: int = 0
    rules: tuple[RuleSeen, ...] = ()
    protected: tuple[str, ...] = ()
    merged: str = ""
    """The commit that merges the branch into its base; '' if they collide, or nobody tried."""
    merged_tree: str = ""
    conflicts: tuple[str, ...] = ()
    declared: tuple[Check, ...] = ()
    setup: str = ""
    """What runs before them in each checkout."""
    checks: tuple[Checked, ...] = ()
    review: Reviewed | None = None
    suggestion: str = ""
    """What probably runs the tests of this repository, where nobody named anything."""

    def on(self, where: Where) -> Checked | None:
        """The checks on one tree; None if they were not due there."""
        return next((each for each in self.checks if each.where is where), None)


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate saw, and what follows from it."""

    seen: Seen
    conclusion: Conclusion
    reasons: tuple[str, ...] = ()
    """Why it is not a pass, each in one sentence or two."""
    notes: tuple[str, ...] = ()
    """What a person should know beside it."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """`all`, and of these `checks` and `review`; `orc` is what is left."""

    @property
    def scope(self) -> str:
        """What the conclusion rests on."""
        ran = bool(self.seen.declared)
        if self.seen.review is not None:
            return "checks and review" if ran else "review only: nothing was run"
        return "checks only: not reviewed" if ran else "diff only: nothing was run, not reviewed"


# --- rules ---

_CODE_RULES = ("plan_only", "whitespace_only")
_REPORT_RULES = ("unexpected_change", "missing_report")


def see_rules(spec: JobSpec, failures: Iterable[Failure]) -> tuple[RuleSeen, ...]:
    """Every rule of the diff with its outcome, in their order; `failures` are what `judge_diff` found."""
    found = {each.rule: each.text for each in failures}
    seen = []
    for name in (*RULES, *(rule for rule in found if rule not in RULES)):
        if name in found:
            seen.append(RuleSeen(name, RuleOutcome.REFUSED, found[name]))
        else:
            seen.append(RuleSeen(name, RuleOutcome.OK if _is_asked(name, spec) else RuleOutcome.NOT_ASKED))
    return tuple(seen)


def _is_asked(rule: str, spec: JobSpec) -> bool:
    if rule in _CODE_RULES:
        return spec.kind is Kind.CODE
    if rule in _REPORT_RULES:
        return spec.expects is Expects.NO_CHANGE
    if rule == "missing_deliverable":
        return bool(spec.deliverables)
    # There is no attempt before this one.
    return bool(spec.paths) if rule == "out_of_scope" else rule != "unchanged"


# --- the conclusion ---


def conclude(seen: Seen) -> tuple[Conclusion, tuple[str, ...]]:
    """What follows from what was seen, and why. No approval outvotes a rule or a check."""
    refused = [each.text for each in seen.rules if each.outcome is RuleOutcome.REFUSED]
    if refused:
        return Conclusion.REFUSED, tuple(refused)
    failed, unclear = judge_runs(seen)
    conflict = [f"It does not merge into {seen.base.name}: conflict in {list_some(seen.conflicts)}."]
    refusals = [*(conflict if seen.conflicts else []), *_refused_by_review(seen.review)]
    if refusals:
        return Conclusion.REFUSED, (*refusals, *failed)
    if failed:
        return Conclusion.CHECKS_FAILED, (*failed, *unclear)
    unclear = [*unclear, *_unclear_review(seen.review)]
    if not unclear and not seen.declared and seen.review is None:
        unclear = ["Nothing was run and nobody reviewed it, so only the diff was looked at."]
    return (Conclusion.INCONCLUSIVE if unclear else Conclusion.PASS), tuple(unclear)


def is_refused(seen: Seen) -> bool:
    """Whether a rule of the diff says no: then nothing is run."""
    return any(each.outcome is RuleOutcome.REFUSED for each in seen.rules)


def may_be_reviewed(seen: Seen) -> bool:
    """Whether nothing decides already: a review is the last thing that is paid for."""
    return not is_refused(seen) and not seen.conflicts and not any(judge_runs(seen))


def judge_runs(seen: Seen) -> tuple[list[str], list[str]]:
    """What the checks say against the branch, and why they say nothing, each in sentences."""
    base = seen.on(Where.BASE)
    failed: list[str] = []
    unclear: list[str] = []
    red = () if base is None else base.failing
    for each in seen.checks:
        if each.where is Where.BASE or each.same_as is not None:
            continue
        place = place_words(each.where, seen)
        if each.problem:
            is_fault = each.setup_failed and base is not None and not base.problem
            (failed if is_fault else unclear).append(f"The checks could not be run on {place}: {each.problem}")
            continue
        new = [run for run in each.failing if run not in red]
        old = [run for run in each.failing if run in red]
        if new:
            passes = f", and passes on {seen.base.name}" if base is not None and not base.problem else ""
            failed.append(f"{list_some(new)} fails on {place}{passes}.")
        if old:
            unclear.append(f"{list_some(old)} fails on {place}, and on {seen.base.name} as well: the base is red.")
    return failed, unclear


def place_of(where: Where, seen: Seen) -> tuple[str, tuple[str, ...]]:
    """A tree as people call it: a template, and the names in it, which are other people's words."""
    if where is Where.MERGED:
        return "{} merged into {}", (seen.branch.name, seen.base.name)
    return "{}", (seen.base.name if where is Where.BASE else seen.branch.name,)


def place_words(where: Where, seen: Seen) -> str:
    """The same as text."""
    template, names = place_of(where, seen)
    return template.format(*names)


def _refused_by_review(review: Reviewed | None) -> list[str]:
    if review is None or review.record.verdict not in (Verdict.REVISE, Verdict.REJECT):
        return []
    count = len(review.record.findings)
    what = "rejects it" if review.record.verdict is Verdict.REJECT else "asks for changes"
    told = f" ({count} finding{'s' * (count != 1)})" if count else ""
    return [f"The reviewer {review.record.reviewer.agent} {what}{told}."]


def _unclear_review(review: Reviewed | None) -> list[str]:
    if review is None:
        return []
    if review.problem:
        return [f"It could not be reviewed: {review.problem}"]
    if review.record.verdict is Verdict.APPROVED:
        return []
    return [f"The answer of {review.record.reviewer.agent} is no verdict: it {review.record.why}."]


def notes_of(seen: Seen) -> tuple[str, ...]:
    """What is no reason against the branch, but good to know."""
    notes = [each.note for each in (seen.branch, seen.base) if each.note]
    if not seen.commits:
        notes.append(f"{seen.base.name} has every commit of {seen.branch.name} already.")
    if seen.protected:
        notes.append(f"It changes protected paths, which a person should look at: {list_some(seen.protected)}.")
    base, branch = seen.on(Where.BASE), seen.on(Where.BRANCH)
    if base is not None and base.problem:
        notes.append(f"The checks could not be run on {seen.base.name}, so there is no comparison: {base.problem}")
    if base is not None and branch is not None and not branch.problem:
        mended = [run for run in base.failing if run not in branch.failing]
        if mended:
            notes.append(f"{seen.base.name} is red: {list_some(mended)} fails there and passes on {seen.branch.name}.")
    flaky = dict.fromkeys(each.run for at in seen.checks for each in at.results if each.outcome == "flaky")
    if flaky:
        notes.append(f"{list_some(list(flaky))} failed once and passed when it was run again.")
    if seen.review is not None and not seen.review.problem:
        who = seen.review.record.reviewer.agent
        notes.append(f"Who made {seen.branch.name} is not known, so neither is how far {who} is from its author.")
    return tuple(notes)


def suggest_check(files: Iterable[str], makefile: str) -> str:
    """What probably runs the tests of a repository with these files at its top; '' if nothing tells."""
    there, lines = set(files), makefile.splitlines()
    for target in ("test", "check"):
        if any(line.partition(":")[0].split() == [target] and ":" in line for line in lines):
            return f"make {target}"
    known = {
        "package.json": "npm ci && npm test",
        "Cargo.toml": "cargo test",
        "go.mod": "go test ./...",
        "pytest.ini": "python3 -m pytest",
        "pyproject.toml": "python3 -m pytest",
        "tox.ini": "tox",
        "pom.xml": "mvn -q test",
    }
    return next((command for name, command in known.items() if name in there), "")
