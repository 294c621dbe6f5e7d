"""The gate's rules for one kind of work: what its criteria have the engine check before anybody is asked.

The rules of `gate` hold for all work; these are those that a file in `criteria/` turns on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.claims import REPORT, judge_claims
from orchestrator.core.criteria import Checks, Duplicates, Length, Spelling
from orchestrator.core.diffstat import Change
from orchestrator.core.evidence_record import Claim, Failure
from orchestrator.core.job import Expects, JobSpec
from orchestrator.core.placeholders import placeholders
from orchestrator.core.preview import not_viewable
from orchestrator.core.prose import (
    Document,
    dead_links,
    duplicate_passages,
    first_failures,
    is_english,
    misspellings,
    wrong_lengths,
)

VERSION = 5
"""Of these rules, and of what criteria may say. Whoever proves a refusal again must look with the same ones."""


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What the engine saw of the work, as far as the criteria ask for it."""

    changes: tuple[Change, ...]
    documents: tuple[Document, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    """Documents that could not be read: (path, why)."""
    passed_over: tuple[tuple[str, str], ...] = ()
    """Pages in HTML that were not read, which stops nothing: they may be as large as their pictures and programs."""
    claims: tuple[Claim, ...] = ()
    bad_claims: tuple[Failure, ...] = ()
    """What is wrong with the form of the lists of claims."""
    paths: frozenset[str] = frozenset()
    """Files and folders of the tree, where links, locators or previews are looked at."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """How many lines the files have that locators name."""
    known: Mapping[str, str] | None = None
    """Misspellings and the right words; None if there is no list at hand."""


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the work: the rules whose names its refusals bear, what the criteria demand of it, what it finds."""

    rules: tuple[str, ...]
    demand: Callable[[Checks], Any]
    """What the criteria say of it; nothing, or False, where they do not have the engine look."""
    find: Callable[[Any, JobSpec, KindFacts], Iterable[Failure]]
    """What it finds, from that demand, the job and the facts."""
    needs_list: bool = False
    """It can be done only where a list of misspellings is at hand."""


def _texts(facts: KindFacts) -> list[Document]:
    """The changed documents, without the agent's final answer."""
    return [each for each in facts.documents if each.path != REPORT]


def _unviewable(_: object, spec: JobSpec, facts: KindFacts) -> Iterable[Failure]:
    return first_failures(not_viewable(spec, facts.changes, facts.paths), "not_viewable")


def _unread(_: object, spec: JobSpec, facts: KindFacts) -> Iterable[Failure]:
    unread = [Failure("unread_document", f"It {why}, so nobody can check it.", path) for path, why in facts.unread]
    return first_failures(unread, "unread_document")


def _duplicates(wanted: Duplicates, spec: JobSpec, facts: KindFacts) -> Iterable[Failure]:
    return () if spec.repeats else duplicate_passages(facts.documents, wanted)


def _placeholders(_: object, spec: JobSpec, facts: KindFacts) -> Iterable[Failure]:
    return placeholders(_texts(facts), spec.prompt)


def _misspellings(wanted: Spelling, spec: JobSpec, facts: KindFacts) -> Iterable[Failure]:
    return misspellings(facts.documents, wanted, facts.known) if facts.known is not None else ()


def _lengths(wanted: Length, spec: JobSpec, facts: KindFacts) -> Iterable[Failure]:
    return wrong_lengths(facts.documents, wanted)


def _dead_links(_: object, spec: JobSpec, facts: KindFacts) -> Iterable[Failure]:
    return dead_links(_texts(facts), facts.paths.__contains__)


def _claims(_: object, spec: JobSpec, facts: KindFacts) -> Iterable[Failure]:
    broken = bool(facts.bad_claims)
    judged = judge_claims(facts.claims, broken=broken, lines_of=facts.lines.get, tree=facts.paths)
    return (*facts.bad_claims, *judged)


_CLAIM_RULES = ("missing_claims", "claims_form", "missing_locator", "dead_locator")
_AT_DELIVERABLES = _Look(("not_viewable",), lambda checks: checks.viewable, _unviewable)
_AT_TEXTS = (
    _Look(("unread_document",), lambda checks: checks.reads_documents, _unread),
    _Look(("duplicate_passage",), lambda checks: checks.duplicates, _duplicates),
    _Look(("placeholder",), lambda checks: checks.placeholders, _placeholders),
    _Look(("misspelling",), lambda checks: checks.spelling, _misspellings, needs_list=True),
    _Look(("length",), lambda checks: checks.length, _lengths),
    _Look(("dead_link",), lambda checks: checks.links and checks.links.relative, _dead_links),
    _Look(_CLAIM_RULES, lambda checks: checks.claims, _claims),
)
_LOOK_OF: Mapping[str, _Look] = {rule: look for look in (_AT_DELIVERABLES, *_AT_TEXTS) for rule in look.rules}
RULES = tuple(_LOOK_OF)
"""Every rule by the name under which the ledger records its refusals."""


def judge_kind(spec: JobSpec, checks: Checks, facts: KindFacts) -> tuple[Failure, ...]:
    """Every rule of the criteria that refuses this work, with file, line and passage; empty if none does."""
    # Where nothing changed there is nothing to read, and that is refused elsewhere.
    has_texts = spec.expects is Expects.NO_CHANGE or bool(facts.changes)
    asked = ((look, look.demand(checks)) for look in (_AT_DELIVERABLES, *(_AT_TEXTS if has_texts else ())))
    return tuple(found for look, wanted in asked if wanted for found in look.find(wanted, spec, facts))


def is_looked_for(rule: str, checks: Checks, *, speller: str) -> bool:
    """Whether the criteria have the engine look at what one of the `RULES` is about. `speller` as in the evidence."""
    look = _LOOK_OF[rule]
    return bool(look.demand(checks)) and (bool(speller) or not look.needs_list)


def told_to_author(spec: JobSpec, checks: Checks) -> str:
    """What an author must know of the criteria beforehand, a line for each rule; '' if there is nothing."""
    lines = []
    if spec.reproduces:
        lines.append("Tests come with the change that show the defect: with them alone on the base, a check fails.")
    if checks.viewable and spec.deliverables:
        lines.append(
            "A deliverable that is neither text nor an image has a preview beside it: NAME.preview.md, .txt or .png."
        )
    if checks.duplicates and not spec.repeats:
        lines.append(f"No passage of {checks.duplicates.words} words stands twice in the documents.")
    if checks.placeholders:
        lines.append("No placeholder is left, such as a paragraph that begins with TODO.")
    if checks.spelling:
        lines.append("No word is misspelled.")
    if checks.length and checks.length.min_words:
        lines.append(f"Each document has at least {checks.length.min_words} words.")
    if checks.length and checks.length.max_words:
        lines.append(f"Each document has at most {checks.length.max_words} words.")
    if checks.links and checks.links.relative:
        lines.append("Relative links lead to files and headings that are there.")
    if checks.claims:
        where = "your final answer" if spec.expects is Expects.NO_CHANGE else "a changed document"
        lines.append(f"Each key claim stands with its source in {where}, in a fenced yaml block of this form:")
        lines.append(_CLAIMS_FORM)
    return "\n".join(lines)


_CLAIMS_FORM = """```yaml
claims:
  - id: c1
    claim: One sentence that the answer rests on.
    locator: a URL, path:line, or a work and the page
```
A reviewer looks some of them up again at the place that you name."""


def notes_on(checks: Checks, facts: KindFacts, speller: str) -> Iterable[str]:
    """What was asked for and could not be checked."""
    if checks.spelling and not speller:
        yield "the spelling was not checked, for codespell is not installed"
    elif checks.spelling:
        strange = [each.path for each in facts.documents if each.text and not is_english(each.text, each.path)]
        if strange:
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            yield f"the spelling was not checked where the text is not in English: {', '.join(strange[:3])}{more}"
    if facts.passed_over:
        (path, why), others = facts.passed_over[0], len(facts.passed_over) - 1
        yield f"nothing was looked for in {path}, which {why}" + (f" (and in {others} more)" if others else "")
