"""What the gate says about a branch that it was shown: the values, and the one place that draws the conclusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.core.criteria import Checks
from orchestrator.core.evidence_record import ChangedPath, CheckResult, Evidence, Outcome
from orchestrator.core.gate import RULES, judge_checks, list_some
from orchestrator.core.job import Check, Expects, JobSpec, Kind
from orchestrator.core.kinds import RULES as KIND_RULES
from orchestrator.core.kinds import is_looked_for
from orchestrator.core.reproduction import NOT_SHOWN, judge_reproduction, reproduction_fixes
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.rule_words import RULE_WORDS
from orchestrator.core.tamper import RULES as TAMPER_RULES
from orchestrator.core.tamper import held_for


class Conclusion(StrEnum):
    """What it all comes to."""

    PASS = "PASS"
    REFUSED = "REFUSED"
    """A rule, a conflict or the reviewer says no."""
    CHECKS_FAILED = "CHECKS_FAILED"
    """A check fails that passes on the base."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Nothing can be said without a person: nothing was run, it could not be run, the base is red, the reviewer was
    unclear, or something was done that nobody allowed."""

    @property
    def words(self) -> str:
        """As people read it."""
        return self.value.replace("_", " ")


class Where(StrEnum):
    """The tree that the checks ran on."""

    BRANCH = "branch"
    MERGED = "merged"
    """The branch merged into its base, as an object."""
    BASE = "base"
    REPRODUCTION = "reproduction"
    """The merge base with the tests of the branch laid over it: there a check is to fail."""


class RuleOutcome(StrEnum):
    """What a rule says."""

    OK = "ok"
    REFUSED = "refused"
    HELD = "held"
    """The tamper guard found something, and nobody allowed it: a person has to look."""
    ALLOWED = "allowed"
    """It found something that was declared."""
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
    """One rule and what it says. One that found several things stands there for each of them."""

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

    @property
    def ran(self) -> bool:
        """Whether anything was run here, if only the setup."""
        return not self.problem or self.setup_failed or bool(self.results)


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
    evidence: Evidence
    """What the engine saw of the diff, as the ledger would keep it."""
    commits: int
    """How many commits the branch has that the base has not."""
    rules: tuple[RuleSeen, ...] = ()
    merged: str = ""
    """The commit that merges the branch into its base; '' if they collide, or nobody tried."""
    merged_tree: str = ""
    conflicts: tuple[str, ...] = ()
    declared: tuple[Check, ...] = ()
    reproduces: bool = False
    """The branch mends a defect: its tests are to fail without the rest of it."""
    setup: str = ""
    """What runs before them in each checkout."""
    checks: tuple[Checked, ...] = ()
    review: Reviewed | None = None
    suggestion: str = ""
    """What probably runs the tests of this repository, where nobody named anything."""

    @property
    def merge_base(self) -> str:
        """From where the diff is taken."""
        return self.evidence.merge_base

    @property
    def tree(self) -> str:
        """The tree of the branch."""
        return self.evidence.tree

    @property
    def stat(self) -> str:
        """The diff-stat in words."""
        return self.evidence.stat

    @property
    def paths(self) -> tuple[ChangedPath, ...]:
        """The changed paths, or the first of them."""
        return self.evidence.paths

    @property
    def more_paths(self) -> int:
        """How many changed paths are left out."""
        return self.evidence.more_paths

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
        ran = any(each.ran for each in self.seen.checks)
        if self.seen.review is not None and not self.seen.review.problem:
            return "checks and review" if ran else "review only: nothing was run"
        return "checks only: not reviewed" if ran else "diff only: nothing was run, not reviewed"


MOST_REASONS = 10
"""A rule can find very many things. All are listed, but not all are said to be why."""

# --- rules ---

_REPORT_RULES = ("unexpected_change", "missing_report")


def see_rules(spec: JobSpec, evidence: Evidence) -> tuple[RuleSeen, ...]:
    """Every rule with its outcome: those of the diff, those of the criteria, those of the tamper guard."""
    told: dict[str, list[RuleSeen]] = {}
    for each in evidence.failures:
        told.setdefault(each.rule, []).append(RuleSeen(each.rule, RuleOutcome.REFUSED, each.told))
    for found in evidence.tampering:
        outcome = RuleOutcome.ALLOWED if found.declared else RuleOutcome.HELD
        told.setdefault(found.rule, []).append(RuleSeen(found.rule, outcome, found.told))
    asked = evidence.kind_checks or Checks()
    seen: list[RuleSeen] = []
    for name in dict.fromkeys((*RULES, *KIND_RULES, *TAMPER_RULES, *told)):
        is_asked = _is_asked(name, spec)
        if name in KIND_RULES:
            is_asked = is_asked and is_looked_for(name, asked, speller=evidence.speller)
        # Of a rule that is not among the findings that are listed nothing is known, if there are more.
        is_asked = is_asked and not (name in TAMPER_RULES and evidence.more_tampering)
        seen += told.get(name) or [RuleSeen(name, RuleOutcome.OK if is_asked else RuleOutcome.NOT_ASKED)]
    return tuple(seen)


def _is_asked(rule: str, spec: JobSpec) -> bool:
    if rule == "plan_only":
        return spec.kind == Kind.CODE
    if rule in _REPORT_RULES:
        return spec.expects is Expects.NO_CHANGE
    if rule in ("missing_deliverable", "not_viewable"):
        return bool(spec.deliverables)
    if rule == "duplicate_passage":
        return not spec.repeats
    if rule == "no_reproduction":
        return spec.reproduces
    # There is no attempt before this one, and no report.
    return bool(spec.paths) if rule == "out_of_scope" else rule not in ("unchanged", "phantom")


# --- the conclusion ---


def conclude(seen: Seen) -> tuple[Conclusion, tuple[str, ...]]:
    """What follows from what was seen, and why. No approval outvotes a rule or a check."""
    refused = [each.text for each in seen.rules if each.outcome is RuleOutcome.REFUSED]
    if refused:
        more = len(refused) - MOST_REASONS
        return Conclusion.REFUSED, (*refused[:MOST_REASONS], *([f"… and {more} more"] if more > 0 else []))
    failed, unclear = judge_runs(seen)
    unclear += _held(seen)
    conflict = [f"It does not merge into {seen.base.name}: conflict in {list_some(seen.conflicts)}."]
    refusals = [*(conflict if seen.conflicts else []), *_not_shown(seen), *_refused_by_review(seen.review)]
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
    is_stopped = is_refused(seen) or bool(seen.conflicts) or bool(_not_shown(seen))
    return not is_stopped and not any(judge_runs(seen))


def judge_runs(seen: Seen) -> tuple[list[str], list[str]]:
    """What the checks say against the branch, and why they say nothing, each in sentences."""
    base = seen.on(Where.BASE)
    failed: list[str] = []
    unclear: list[str] = []
    if not seen.declared and seen.evidence.kind_checks and seen.evidence.kind_checks.command:
        unclear.append("Work of this kind is proved by a check command, and none was named.")
    unclear += _unshowable(seen)
    red = () if base is None else base.failing
    for each in seen.checks:
        if each.where in (Where.BASE, Where.REPRODUCTION) or each.same_as is not None:
            continue
        place = place_words(each.where, seen)
        if each.problem:
            is_fault = each.setup_failed and base is not None and not base.problem
            (failed if is_fault else unclear).append(f"The checks could not be run on {place}: {each.problem}")
            continue
        new = [run for run in each.failing if run not in red]
        old = [run for run in each.failing if run in red]
        passes = f", and passes on {seen.base.name}" if base is not None and not base.problem else ""
        late = {result.run for result in each.results if result.outcome is Outcome.TIMEOUT}
        for how, is_late in (("fails", False), ("does not end in time", True)):
            if runs := [run for run in new if (run in late) is is_late]:
                failed.append(f"{list_some(runs)} {how} on {place}{passes}.")
        if old:
            unclear.append(f"{list_some(old)} fails on {place}, and on {seen.base.name} as well: the base is red.")
    return failed, unclear


def reproduction_of(seen: Seen) -> str:
    """`shown` or `not shown`, by the checks on the base with the tests of the branch; '' where they said nothing."""
    checked = seen.on(Where.REPRODUCTION)
    return "" if checked is None or checked.problem else judge_reproduction(checked.results)


def _not_shown(seen: Seen) -> list[str]:
    """That the tests of the branch do not show the defect that it mends, in the words that an author is told."""
    checked = seen.on(Where.REPRODUCTION)
    if checked is None or reproduction_of(seen) != NOT_SHOWN:
        return []
    return [fix.problem for fix in reproduction_fixes(checked.results)]


def _unshowable(seen: Seen) -> list[str]:
    """Why nobody can say whether they show it."""
    if seen.reproduces and not seen.declared:
        return ["That a defect is mended is proved by a check, and none was named."]
    checked = seen.on(Where.REPRODUCTION)
    if checked is None or not checked.problem:
        return []
    return [f"The checks could not be run on {place_words(Where.REPRODUCTION, seen)}: {checked.problem}"]


def _held(seen: Seen) -> list[str]:
    """What the tamper guard found and nobody allowed, in one sentence."""
    told = held_for(seen.evidence)
    if not told:
        return []
    areas = dict.fromkeys(TAMPER_RULES[each.rule][0] for each in seen.evidence.tampering if not each.declared)
    way = " ".join(f"--allow {area}" for area in areas)
    return [f"It does what nobody allowed, so a person has to look: {'; '.join(told)}. If that is meant: {way}."]


def place_of(where: Where, seen: Seen) -> tuple[str, tuple[str, ...]]:
    """A tree as people call it: a template, and the names in it, which are other people's words."""
    if where is Where.MERGED:
        return "{} merged into {}", (seen.branch.name, seen.base.name)
    if where is Where.REPRODUCTION:
        return "the merge base with the tests of {}", (seen.branch.name,)
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
        doubts, who = review.record.doubts, review.record.reviewer.agent
        return [f"The approval of {who} is suspicious: {'; '.join(doubts)}. Ask another one."] if doubts else []
    return [f"The answer of {review.record.reviewer.agent} is no verdict: it {review.record.why}."]


def notes_of(seen: Seen) -> tuple[str, ...]:
    """What is no reason against the branch, but good to know."""
    notes = [each.note for each in (seen.branch, seen.base) if each.note]
    if not seen.commits:
        notes.append(f"{seen.base.name} has every commit of {seen.branch.name} already.")
    if protected := seen.evidence.protected:
        notes.append(f"It changes protected paths, which a person should look at: {list_some(protected)}.")
    notes += [f"{note[:1].upper()}{note[1:]}." for note in seen.evidence.notes]
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
