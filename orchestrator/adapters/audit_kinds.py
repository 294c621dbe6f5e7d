"""Whether the engine looked for what the criteria of a job's kind demand, held against the criteria themselves.

Reads the ledger only: the criteria lie beside the evidence, as they were at that step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.adapters.audit_chain import BadObjectError
from orchestrator.adapters.audit_rules import Finding, GoneError, Rule, Step, differ
from orchestrator.adapters.library import parse_criteria
from orchestrator.core import kinds
from orchestrator.core.attempt_record import Used
from orchestrator.core.codec import to_mapping
from orchestrator.core.criteria import Checks, criteria_file
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.job import Kind
from orchestrator.core.review_record import ReviewRecord
from orchestrator.errors import InvalidFileError, LedgerError

_BLOB = re.compile(r"[0-9a-f]{40}")


def judge_criteria(step: Step, evidence: Evidence) -> Iterator[Finding]:
    """The evidence names the criteria of the job's kind, and what it says of their demands is what they demand."""
    named, said = evidence.criteria, evidence.kind_checks
    if named is None or said is None:
        # The rules of the diff are counted since later than criteria are named.
        if evidence.diff_rules or evidence.kind_rules or named is not None or said is not None:
            yield Rule.EVIDENCE, "does not name the criteria of its kind and what they demand"
        return
    yield from _judge_name(step, Rule.EVIDENCE, named)
    kept = step.new.entries.get(criteria_file(evidence.number))
    if kept is not None:
        yield from differ(Rule.EVIDENCE, "the version of the criteria", named.blob, kept.oid)
    try:
        demanded = read_demands(step, evidence, named)
    except GoneError:
        return  # A doubt, which is told where the work itself is proved.
    if demanded != said:
        yield Rule.EVIDENCE, f"looked for {_in_words(said)}, but {named.name} demands {_in_words(demanded)}"


def judge_asked(step: Step, review: ReviewRecord) -> Iterator[Finding]:
    """A review asks what the criteria of the job's kind ask, and demands as much."""
    named = review.criteria
    if named is None:
        return
    yield from _judge_name(step, Rule.REVIEW, named)
    kept = step.new.entries.get(criteria_file(review.number, "review"))
    yield from differ(Rule.REVIEW, "the version of the criteria", named.blob, kept.oid if kept else "")
    if kept is None:
        return
    criteria = parse_criteria(str(step.after.spec.kind), step.new.store.read("blob", kept.oid), named.name)
    asked = tuple(item.id for item in criteria.items)
    required = tuple(item.id for item in criteria.items if item.required)
    yield from differ(Rule.REVIEW, "what is asked", review.items_asked, asked)
    yield from differ(Rule.REVIEW, "what is required", review.required, required)
    # Without either it is that of the workspace, which is not on the ledger.
    if criteria.threshold is not None and step.after.spec.review.threshold is None:
        yield from differ(Rule.REVIEW, "the threshold", review.threshold, criteria.threshold)


def _judge_name(step: Step, rule: Rule, named: Used) -> Iterator[Finding]:
    kind = step.after.spec.kind
    # Of a kind that orc does not ship nobody can tell afterwards whether there were criteria for it.
    if kind in set(Kind) or named.name != f"criteria/{Kind.OTHER}.yaml":
        yield from differ(rule, "the criteria of its kind", named.name, f"criteria/{kind}.yaml")


def read_demands(step: Step, evidence: Evidence, named: Used) -> Checks:
    """What the named version of the criteria has the engine look for.

    Raises GoneError if nobody has it any more, InvalidFileError if it could never have been used.
    """
    if not _BLOB.fullmatch(named.blob):
        raise InvalidFileError(f"has no version {named.blob!r}", file=named.name)
    try:
        # Where it is not kept beside the evidence it may still lie in the repository, if a person committed it there.
        data = step.new.store.read("blob", named.blob)
    except BadObjectError:
        raise
    except (LedgerError, ValueError):  # Git says so in the one way or the other.
        raise GoneError(f"the version {named.blob[:12]} of {named.name} is not kept anywhere") from None
    try:
        return parse_criteria(str(step.after.spec.kind), data, named.name).checks
    except InvalidFileError as error:
        if evidence.kind_rules == kinds.VERSION:
            raise
        raise GoneError(f"{named.name} was written for another version of orc: {error.reason}") from error


def _in_words(checks: Checks) -> str:
    told = [key if value in (True, {}) else f"{key} {value}" for key, value in to_mapping(checks).items()]
    return ", ".join(told) or "nothing"
