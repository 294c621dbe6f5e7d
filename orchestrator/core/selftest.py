"""The self-test of the gates: what a case says, what came of it, and how well the gates did. Values only.

A case is a piece of work or an answer that a gate must stop (a cheat), or one that it must let through (a control).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.core.codec import from_mapping


class Through(StrEnum):
    """Which part of the real program the cases of a gate are put through."""

    JOB = "job"
    """A job on a ledger: the look at its diff, the checks' results, the review, the merge."""
    VERDICT = "verdict"
    """A reviewer's answer to a job that waits for it."""
    OPINION = "opinion"
    """The first approval of a job: whether it is enough, or another reviewer is asked."""
    REVIEWER = "reviewer"
    """The choice of who reviews."""
    LANDING = "landing"
    """The look at the checkout that the work would land in."""
    BRANCH = "branch"
    """`orc gate` on a branch, with checks and reviewers that really run."""


class Needs(StrEnum):
    """Who is responsible for a case, where it is not the rules of its gate."""

    NOTHING = ""
    JUDGE = "judge"
    """A reviewer: no rule could tell the cheat without stopping honest work. It counts when a reviewer is measured."""
    GATE = "gate"
    """A gap: a rule could stop the cheat, or should not stop what is clean, and nobody has written it."""
    SPELLING = "spelling"
    """The list of misspellings, which need not be installed; where it is, the case counts like any other."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that went wrong once, and why there is a guard against it."""

    id: str
    name: str
    told: str
    rule: str = ""
    """The file in `rules/` that tells it in full, without its ending."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One thing that a gate refuses."""

    rule: str
    refuses: str
    incident: str
    test: str
    """FILE::NAME of the test that fails without it."""
    says: str = ""
    """A regular expression for what it says when it refuses; '' is its name."""

    def spoke(self, text: str) -> bool:
        """Whether it is this guard that said `text`."""
        return re.search(self.says, text) is not None if self.says else self.is_named_in(text)

    def is_named_in(self, text: str) -> bool:
        """Whether its name stands there as a word."""
        return re.search(rf"(?<![\w.]){re.escape(self.rule)}(?![\w.])", text) is not None


@dataclass(frozen=True, slots=True)
class Case:
    """One cheat or control. `refused_by` is the rule that must stop it; '' is a control, which must pass."""

    name: str
    told: str
    kind: str = "code"
    refused_by: str = ""
    needs: Needs = Needs.NOTHING
    reason: str = ""
    """Why no rule can tell a cheat that is left to a reviewer."""
    becomes: str = ""
    """How exactly it must end; '' is any good end for a control, any bad one for a cheat."""
    job: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] | None = None
    change: dict[str, Any] = field(default_factory=dict)
    again: dict[str, Any] | None = None
    after_review: dict[str, Any] = field(default_factory=dict)
    meanwhile: dict[str, Any] = field(default_factory=dict)
    said: str = "Done."
    checks: tuple[str, ...] = ("passed",)
    base_checks: tuple[str, ...] = ("failed",)
    merged_checks: tuple[str, ...] = ("passed",)
    shows: tuple[str, ...] = ()
    author: dict[str, Any] = field(default_factory=dict)
    reviewer: dict[str, Any] = field(default_factory=dict)
    reply: dict[str, Any] = field(default_factory=dict)
    moved: bool = False
    agents: dict[str, Any] = field(default_factory=dict)
    checkout: dict[str, Any] = field(default_factory=dict)
    outside: dict[str, Any] = field(default_factory=dict)
    committed: dict[str, Any] = field(default_factory=dict)
    criteria: dict[str, Any] = field(default_factory=dict)
    run: tuple[str, ...] = ()

    @property
    def is_cheat(self) -> bool:
        """Whether it must be stopped."""
        return bool(self.refused_by)


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: its guards, and the cases that try them. `event` and `trailer` say where the ledger tells of it."""

    name: str
    told: str
    through: Through
    guards: Mapping[str, Guard]
    cases: tuple[Case, ...]
    event: str = ""
    """First word of the commits with which the ledger tells what it decided; '' if it does not."""
    trailer: str = ""
    """The trailer of those commits that names the guards; '' is the subject."""
    sometimes: bool = False
    """Those commits are also about work that it does not look at, so that nothing follows from never having fired."""

    def counted(self, *, spelling: bool) -> tuple[Case, ...]:
        """The cases that this version answers for; `spelling`: a list of misspellings is at hand."""
        enough = (Needs.NOTHING, *((Needs.SPELLING,) if spelling else ()))
        return tuple(each for each in self.cases if each.needs in enough)

    def guards_named_in(self, text: str) -> tuple[str, ...]:
        """The rules of the guards that a trailer names."""
        return tuple(rule for rule, guard in self.guards.items() if guard.is_named_in(text))

    def guards_that_spoke(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The rules of the guards that said any of these texts."""
        told = tuple(texts)
        return tuple(rule for rule, guard in self.guards.items() if any(map(guard.spoke, told)))


def gate_of(value: Mapping[str, Any]) -> Gate:
    """A gate from a file that has passed the schema. Raises ValueError for what the schema cannot tell."""
    guards = {rule: Guard(rule=rule, **each) for rule, each in value["guards"].items()}
    cases = tuple(from_mapping(Case, each, where=each["name"]) for each in value["cases"])
    for case in cases:
        if case.is_cheat and case.needs is not Needs.GATE and case.refused_by not in guards:
            raise ValueError(f"{case.name}: the gate {value['gate']} has no guard {case.refused_by!r}")
        if case.is_cheat and (case.needs is Needs.JUDGE) != bool(case.reason):
            raise ValueError(f"{case.name}: a cheat has a reason if it is left to a reviewer, and only then")
    for guard in guards.values():
        re.compile(guard.says)
    keys = {key: value[key] for key in ("told", "event", "trailer", "sometimes") if key in value}
    return Gate(name=value["gate"], through=Through(value["through"]), guards=guards, cases=cases, **keys)


@dataclass(frozen=True, slots=True)
class Found:
    """What the real program made of a case."""

    passed: bool
    """Whether it got through."""
    end: str
    """Where it ended: a state, a verdict, a conclusion, a name."""
    texts: tuple[str, ...] = ()
    """What the program said of it."""


@dataclass(frozen=True, slots=True)
class Result:
    """One case, and how it went."""

    gate: str
    case: Case
    found: Found
    spoke: tuple[str, ...] = ()
    """The guards that spoke."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether a cheat was stopped by the guard that is to stop it, or a control got through."""
        if self.case.becomes and self.found.end != self.case.becomes:
            return False
        if self.case.is_cheat:
            return not self.found.passed and self.case.refused_by in self.spoke
        return self.found.passed

    @property
    def problem(self) -> str:
        """What is wrong, in words; '' if nothing is."""
        if self.ok:
            return ""
        said = "; ".join(self.found.texts)[:300] or "nothing"
        if not self.case.is_cheat:
            return f"a clean control was stopped: it ended as {self.found.end}, and was told: {said}"
        if self.found.passed:
            return f"slipped through as {self.found.end}, past {self.case.refused_by}"
        by = ", ".join(self.spoke) or "no guard that is known"
        return f"was stopped by {by}, not by {self.case.refused_by}; it ended as {self.found.end}, told: {said}"


@dataclass(frozen=True, slots=True)
class Score:
    """How one gate did."""

    gate: str
    told: str
    cheats: int
    caught: int
    controls: int
    passed: int
    seconds: float

    @property
    def is_perfect(self) -> bool:
        """Whether nothing slipped through and nothing clean was stopped."""
        return (self.caught, self.passed) == (self.cheats, self.controls)


def score(gate: Gate, results: Iterable[Result]) -> Score:
    """How a gate did on its own cases."""
    own = [each for each in results if each.gate == gate.name]
    cheats = [each for each in own if each.case.is_cheat]
    controls = [each for each in own if not each.case.is_cheat]
    caught, passed = sum(each.ok for each in cheats), sum(each.ok for each in controls)
    seconds = round(sum(each.seconds for each in own), 3)
    return Score(gate.name, gate.told, len(cheats), caught, len(controls), passed, seconds)


def share(part: int, whole: int) -> float | None:
    """A part of a whole, 0 to 1; None of nothing."""
    return round(part / whole, 4) if whole else None
