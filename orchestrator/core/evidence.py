"""What follows from what the engine saw itself: the diff, then the checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.core.config import Terms
from orchestrator.core.diffstat import Change
from orchestrator.core.evidence_record import ChangedPath, Evidence, Failure
from orchestrator.core.gate import PASSING
from orchestrator.core.job import Fix, Job, State
from orchestrator.core.records import CardKind
from orchestrator.core.reproduction import SHOWN, is_reproduction_due, must_be_asked, reproduction_fixes
from orchestrator.core.rounds import still_open
from orchestrator.core.step import Step, check_fixes
from orchestrator.core.tamper import held_for
from orchestrator.core.transitions import Event, Move

KEPT_PATHS = 1_000
"""The most paths that one record lists."""
KEPT_PATH_CHARS = 500_000
"""The most characters that their names may have together."""


def first_paths(names: Iterable[str]) -> tuple[str, ...]:
    """As many of the first paths as a record lists: a diff may have more than a file of the ledger can hold."""
    kept: list[str] = []
    left = KEPT_PATH_CHARS
    for name in names:
        left -= len(name)
        if left < 0 or len(kept) == KEPT_PATHS:
            break
        kept.append(name)
    return tuple(kept)


def list_paths(changes: tuple[Change, ...]) -> tuple[ChangedPath, ...]:
    """The changed paths that evidence lists, in the order of the diff: all, if they are not too many."""
    count = len(first_paths(each.path for each in changes))
    return tuple(ChangedPath(each.path, each.status, each.added, each.deleted) for each in changes[:count])


def evidence_found(job: Job, evidence: Evidence, terms: Terms, now: str) -> Move:
    """The engine has looked at the diff: on to the checks, or back with a system note, whatever anyone says of it."""
    facts = {
        "attempt": evidence.attempt,
        "base": evidence.base,
        "tip": evidence.tip,
        "diff_stat": evidence.stat,
        "refused_by": " ".join(each.rule for each in evidence.failures),
        "tampering": tampering_rules(evidence),
        "escapes": escape_rules(evidence),
    }
    changes = {"evidence": evidence.number, "protected": evidence.protected, "tests": ""}
    changes["tampering"] = held_for(evidence)
    step = Step(Event.EVIDENCE, job, now, {f"evidence-{evidence.number}": evidence}, changes, facts)
    if not evidence.failures:
        return step.to(State.CHECKING, evidence.stat)
    told = f"{evidence.stat}; refused: {evidence.failures[0].text}"
    if any(each.rule == "unchanged" for each in evidence.failures):
        question = f"{job.id} was sent back and came again unchanged. Try once more?"
        asked = "\n".join(f"{fix.id}: {fix.problem}" for fix in job.at.fixes)
        return step.ask(CardKind.ATTEMPTS, question, f"{told}\nWhat it was sent back for:\n{asked}", told=told)
    return step.send_back((*map(_fix, evidence.failures), *still_open(job.at.fixes)), terms, told)


def _fix(failure: Failure) -> Fix:
    return Fix("", failure.text, file=failure.file, line=failure.line, source="engine")


def tampering_rules(evidence: Evidence) -> str:
    """The rules of the tamper guard that hold the work for a person, each once."""
    return " ".join(dict.fromkeys(each.rule for each in evidence.tampering if not each.declared))


def escape_rules(evidence: Evidence) -> str:
    """The rules about what was done outside of the tree that found something, each once."""
    return " ".join(dict.fromkeys(each.rule for each in evidence.escapes))


def checks_started(job: Job, run: str, now: str) -> Move:
    """A run of the checks is reserved: on the attempt's tree, on the base with its tests, or on the merged tree."""
    step = Step(Event.CHECK, job, now, facts={"run": run})
    return step.to(job.state, f"the checks run as {run}", run=run, starts=job.at.starts + 1)


def checks_ended(job: Job, evidence: Evidence, terms: Terms, now: str, *, too_large: str = "") -> Move:
    """The checks ran on exactly the attempt's tree, or their result for it was known.

    `too_large` says why nobody can review the whole diff; a person then decides, knowing what the checks say.
    """
    step = _checked(job, evidence, now, {"tests": evidence.tests, "tree": evidence.checked_tree})
    if is_reproduction_due(job, evidence):
        return step.to(State.CHECKING, f"tests: {evidence.tests}; on the base with the new tests they are to fail")
    if evidence.tests in PASSING and must_be_asked(job, evidence):
        question = f"{job.id} is to show the defect that it mends, and no check is declared. Take it?"
        return step.ask(CardKind.HUMAN_REVIEW, question, evidence.stat, told="no check is declared")
    if evidence.tests in PASSING:
        return _passed(step, evidence, f"tests: {evidence.tests}", too_large)
    failed = ", ".join(each.name for each in evidence.checks if not each.passed)
    fixes = (*check_fixes(evidence.checks), *still_open(job.at.fixes))
    return step.send_back(fixes, terms, f"tests: failed ({failed})")


def reproduction_ended(job: Job, evidence: Evidence, terms: Terms, now: str, *, too_large: str = "") -> Move:
    """The checks ran on the base with the new tests: a failure there is what shows the defect. `too_large` as above."""
    facts = {"tests": evidence.tests, "tree": evidence.reproduction_tree, "reproduction": evidence.reproduction}
    step, told = _checked(job, evidence, now, facts), f"the defect is {evidence.reproduction} by the new tests"
    if evidence.reproduction == SHOWN:
        return _passed(step, evidence, told, too_large)
    fixes = (*reproduction_fixes(evidence.reproduction_checks), *still_open(job.at.fixes))
    return step.send_back(fixes, terms, told)


def _checked(job: Job, evidence: Evidence, now: str, facts: Mapping[str, str]) -> Step:
    changes = {"run": "", "tests": evidence.tests, "crashes": 0, "failed_starts": 0}
    return Step(Event.CHECKED, job, now, {f"evidence-{evidence.number}": evidence}, changes, facts)


def _passed(step: Step, evidence: Evidence, told: str, too_large: str) -> Move:
    if not too_large:
        return step.to(State.REVIEWING, told)
    question = f"The diff of {step.job.id} is too large to be reviewed whole. Take it?"
    told = f"{told}; too large to be reviewed whole"
    return step.ask(CardKind.TOO_LARGE, question, f"{evidence.stat}: {too_large}", told=told)
