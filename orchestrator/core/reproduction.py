"""Whether the tests that come with a change show the defect that it mends: they fail where the rest of it is missing.

They are laid over the base that the change is judged against, and the job's checks are run on that tree.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.core.diffstat import Change
from orchestrator.core.evidence_record import CheckResult, Evidence, Outcome
from orchestrator.core.gate import CHECKED
from orchestrator.core.job import Fix, Job
from orchestrator.core.suite_files import is_of_tests

SHOWN, NOT_SHOWN = "shown", "not shown"


def is_reproduction_due(job: Job, evidence: Evidence) -> bool:
    """Whether the checks passed on the work, and are to be run on the base with its tests next."""
    is_asked = job.spec.reproduces and bool(evidence.reproduction_tree)
    return is_asked and evidence.tests in CHECKED and not evidence.reproduction


def must_be_asked(job: Job, evidence: Evidence) -> bool:
    """Whether only a person can let the work on: no check is declared that could show the defect."""
    return job.spec.reproduces and evidence.tests not in CHECKED and not evidence.reproduction


def judge_reproduction(results: Iterable[CheckResult]) -> str:
    """What checks on the base with the new tests come to: `shown` if one failed. A time-out shows nothing."""
    return SHOWN if any(each.outcome is Outcome.FAILED for each in results) else NOT_SHOWN


def reproduction_fixes(results: Iterable[CheckResult]) -> tuple[Fix, ...]:
    """What is asked of the author where the defect is not shown."""
    late = [each for each in results if each.outcome is Outcome.TIMEOUT]
    fix = "Add or change a test so that it fails on the base for the reason that the job tells of, and passes now."
    if not late:
        told = "The tests that came with the change pass on the base as well, so they do not show the defect."
        return (Fix("", told, fix, source="engine"),)
    told = "On the base, with the tests that came with the change, the check `{}` took too long, which shows no defect."
    return tuple(Fix("", told.format(each.run), f"{fix} It must end in time.", source="engine") for each in late)


def laid_over(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Those changes that are laid over the base: of test files, and of what lies beside tests."""
    return tuple(each for each in changes if is_of_tests(each.path))
