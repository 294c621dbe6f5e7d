"""The gate's rules for one kind of work: what its criteria have the engine check before anybody is asked.

The rules of `gate` hold for all work; these are those that a file in `criteria/` turns on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.core.claims import REPORT, judge_claims
from orchestrator.core.criteria import Checks
from orchestrator.core.diffstat import Change
from orchestrator.core.job import Expects, JobSpec
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
from orchestrator.core.records import Claim, Failure

VERSION = 2
"""Of these rules. Whoever proves a refusal again must look with the same ones."""
RULES = (
    "not_viewable",
    "unread_document",
    "duplicate_passage",
    "misspelling",
    "length",
    "dead_link",
    "missing_claims",
    "claims_form",
    "missing_locator",
    "dead_locator",
)
"""Every rule by the name under which the ledger records its refusals."""


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What the engine saw of the work, as far as the criteria ask for it."""

    changes: tuple[Change, ...]
    documents: tuple[Document, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    """Documents that could not be read: (path, why)."""
    claims: tuple[Claim, ...] = ()
    bad_claims: tuple[Failure, ...] = ()
    """What is wrong with the form of the lists of claims."""
    paths: frozenset[str] = frozenset()
    """Files and folders of the tree, where links, locators or previews are looked at."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """How many lines the files have that locators name."""
    known: Mapping[str, str] | None = None
    """Misspellings and the right words; None if there is no list at hand."""


def judge_kind(spec: JobSpec, checks: Checks, facts: KindFacts) -> tuple[Failure, ...]:
    """Every rule of the criteria that refuses this work, with file, line and passage; empty if none does."""
    found: list[Failure] = []
    if checks.viewable:
        found += first_failures(not_viewable(spec, facts.changes, facts.paths), "not_viewable")
    if spec.expects is not Expects.NO_CHANGE and not facts.changes:
        return tuple(found)  # There is nothing to read, and that is refused elsewhere.
    unread = [Failure("unread_document", f"It {why}, so nobody can check it.", path) for path, why in facts.unread]
    found += first_failures(unread, "unread_document")
    texts = [each for each in facts.documents if each.path != REPORT]
    if checks.duplicates:
        found += duplicate_passages(facts.documents, checks.duplicates)
    if checks.spelling and facts.known is not None:
        found += misspellings(facts.documents, checks.spelling, facts.known)
    if checks.length:
        found += wrong_lengths(facts.documents, checks.length)
    if checks.links and checks.links.relative:
        found += dead_links(texts, facts.paths.__contains__)
    if checks.claims:
        found += facts.bad_claims
        found += judge_claims(facts.claims, broken=bool(facts.bad_claims), lines_of=facts.lines.get)
    return tuple(found)


def told_to_author(spec: JobSpec, checks: Checks) -> str:
    """What an author must know of the criteria beforehand, a line for each rule; '' if there is nothing."""
    lines = []
    if spec.reproduces:
        lines.append("Tests come with the change that show the defect: with them alone on the base, a check fails.")
    if checks.viewable and spec.deliverables:
        lines.append(
            "A deliverable that is neither text nor an image has a preview beside it: NAME.preview.md, .txt or .png."
        )
    if checks.duplicates:
        lines.append(f"No passage of {checks.duplicates.words} words stands twice in the documents.")
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
        strange = [each.path for each in facts.documents if each.text and not is_english(each.text)]
        if strange:
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            yield f"the spelling was not checked where the text is not in English: {', '.join(strange[:3])}{more}"
