"""The deterministic gate: what the diff itself must show before anybody is asked for an opinion.

Each rule looks at facts that the engine gathered on the exact commit. No approval outvotes a failure of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orchestrator.core.diffstat import GITLINK, SYMLINK, Change
from orchestrator.core.evidence_record import CheckResult, Failure, Outcome
from orchestrator.core.globs import matches
from orchestrator.core.job import Expects, JobSpec, Kind
from orchestrator.core.phantoms import NOTHING_SEEN, Seen, find_phantoms, open_claims
from orchestrator.core.suite_files import is_of_tests

VERSION = 4
"""Of these rules, and of what they take for tests. Whoever proves a refusal again must look with the same ones."""
CHECKED = ("passed", "flaky")
"""What `judge_checks` says when checks ran and let the work through."""
PASSING = (*CHECKED, "none")
"""What lets work go on; anything else, also a result that nobody knows, does not."""


@dataclass(frozen=True, slots=True)
class DiffFacts:
    """What the engine saw of one attempt, from merge-base to tip."""

    changes: tuple[Change, ...]
    whitespace_only: frozenset[str] = frozenset()
    empty_files: frozenset[str] = frozenset()
    """Changed paths that are empty at the tip."""
    links: tuple[tuple[str, str], ...] = ()
    """Changed symbolic links: (path, what it points to)."""
    marked: frozenset[str] = frozenset()
    """Changed paths in which the marks of a conflict were left."""
    hidden: frozenset[str] = frozenset()
    """Programs that git takes for binary files since this change, so that a diff shows no line of them."""
    report: str = ""
    tree: str = ""
    previous_tree: str = ""
    """Tree of the attempt before, if there was one that fixes were asked for."""
    is_previous_but_for_space: bool = False
    """Whether the two differ in white space alone that means nothing."""
    twins: frozenset[str] = frozenset()
    """Added paths that on many disks take the place of another file: their names differ in capitals only."""
    folders: frozenset[str] = frozenset()
    """Of the places from which changed links go up again, those that are folders of the tree and no links."""
    notes: frozenset[str] = frozenset()
    """Added texts at the top of the tree: named like no program, and full of sentences."""
    seen: Seen = NOTHING_SEEN
    """What the repository has of what the report claims."""


# With the marks that turn the direction of writing a program can look like a text.
_ODD_NAME = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]|(^|/)\.git(/|$)", re.I)
_PROGRAM = re.compile(
    r"\.(c|cc|cpp|cs|go|h|hpp|java|jsx?|[cm]js|kts?|lua|php|pl|ps1|pyi?|rb|rs|scala|sh|sql|swift|tsx?)\Z", re.I
)
"""A program is no document, wherever it stands: what builds the documents of a project stands among them."""

Rule = Callable[[JobSpec, DiffFacts, tuple[str, ...]], str]
"""(job, facts, globs of documents) → why it is refused, '' if it is not."""


def empty_diff(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """Work that changes nothing is not work."""
    if spec.expects is Expects.NO_CHANGE or facts.changes:
        return ""
    return "The diff is empty: nothing was changed. Make the change itself, in the files of this tree."


def plan_only(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """A plan is not code."""
    if spec.kind != Kind.CODE or spec.expects is Expects.NO_CHANGE or not facts.changes:
        return ""
    if any(not _is_words(change.path, spec, facts, docs) for change in facts.changes) or spec.deliverables:
        return ""
    paths = list_some(change.path for change in facts.changes)
    return f"Only documents were changed ({paths}). A plan or a note is not code: change the code."


def whitespace_only(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """A change that vanishes when white space that means nothing is ignored."""
    if not facts.changes or spec.expects is Expects.NO_CHANGE:
        return ""
    is_code = spec.kind == Kind.CODE
    asked = [each.path for each in facts.changes if not (is_code and _is_words(each.path, spec, facts, docs))]
    if not asked or any(path not in facts.whitespace_only for path in asked):
        return ""
    return f"Only white space was changed, or a mode that means nothing ({list_some(asked)})."


def unexpected_change(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """An investigation that changed files."""
    if spec.expects is not Expects.NO_CHANGE or not facts.changes:
        return ""
    return f"The job expects a report and no change, but {list_some(c.path for c in facts.changes)} changed."


def missing_report(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """An investigation without a report."""
    if spec.expects is not Expects.NO_CHANGE or len(set(facts.report.casefold().split())) >= 5:
        return ""
    return "The job expects a report; the agent's answer is empty. Write the findings as the final answer."


def missing_deliverable(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """A declared deliverable that was not made, is empty or was removed."""
    # A link brings nothing along.
    changed = (c for c in facts.changes if c.status != "D" and c.new_mode != SYMLINK)
    made = {c.path for c in changed if c.path not in facts.empty_files}
    missing = [each for each in spec.deliverables if not any(matches(path, (each,)) for path in made)]
    if not missing:
        return ""
    return f"The declared deliverable {list_some(missing)} was not changed, or is empty."


def out_of_scope(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """Paths outside those that the job allows."""
    if not spec.paths:
        return ""
    outside = [change.path for change in facts.changes if not matches(change.path, spec.paths)]
    if not outside:
        return ""
    return f"Changed outside the allowed paths ({', '.join(spec.paths)}): {list_some(outside)}. Undo those changes."


def hostile_entry(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """Entries that reach out of the tree or that other tools would run."""
    links = [change.path for change in facts.changes if change.new_mode == GITLINK]
    if links:
        return f"A repository inside the repository is not accepted: {list_some(links)}."
    escaping = [path for path, points_to in facts.links if _escapes(path, points_to, facts.folders)]
    known = {path for path, _ in facts.links}
    escaping += [c.path for c in facts.changes if c.new_mode == SYMLINK and c.path not in known]
    if escaping:
        return f"A symbolic link points out of the tree: {list_some(escaping)}."
    odd = [c.path for c in facts.changes if c.status != "D" and _ODD_NAME.search(c.path)]
    if odd:
        return f"File names like these are not accepted: {list_some(odd)}."
    if facts.twins:
        twins = list_some(sorted(facts.twins))
        return f"These names differ from others in capitals only, which many disks take for the same: {twins}."
    return ""


def conflict_marks(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """A conflict that was committed instead of resolved."""
    if not facts.marked:
        return ""
    return f"The marks of a conflict (<<<<<<< and >>>>>>>) were left in {list_some(sorted(facts.marked))}. Resolve it."


def hidden_lines(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """A program of which nobody who reads the diff sees a line."""
    if not facts.hidden:
        return ""
    paths = list_some(sorted(facts.hidden))
    return f"NUL bytes make git take a program for a binary file, so no line of it is shown: {paths}. Take them out."


def no_reproduction(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """A defect is mended, and nothing comes along that could show it."""
    if not spec.reproduces or not facts.changes:
        return ""
    if any(change.status != "D" and is_of_tests(change.path) for change in facts.changes):
        return ""
    return "The job mends a defect, and no test comes with the change. Add one that fails without the rest of it."


def unchanged_since_review(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """The same tree again after fixes were asked for."""
    if not facts.previous_tree or not (facts.previous_tree == facts.tree or facts.is_previous_but_for_space):
        return ""
    return "Nothing has changed since the last attempt, though fixes were asked for."


def phantom(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> str:
    """A report that claims to have made a commit or a file that is not there."""
    if spec.expects is Expects.NO_CHANGE or not facts.changes:
        return ""
    found = find_phantoms(open_claims(facts.report, facts.changes), facts.seen, spec.prompt)
    told = [f"no commit {list_some(found.commits)} is in this work"] if found.commits else []
    told += [f"no file {list_some(found.missing)} is in its tree"] if found.missing else []
    told += [f"{list_some(found.standing)} is not deleted"] if found.standing else []
    if not told:
        return ""
    return f"The report claims what is not so: {'; '.join(told)}. Make it so, or report what is; the work may stay."


RULES: dict[str, Rule] = {
    "empty_diff": empty_diff,
    "plan_only": plan_only,
    "whitespace_only": whitespace_only,
    "unexpected_change": unexpected_change,
    "missing_report": missing_report,
    "missing_deliverable": missing_deliverable,
    "out_of_scope": out_of_scope,
    "hostile_entry": hostile_entry,
    "conflict_marks": conflict_marks,
    "hidden_lines": hidden_lines,
    "no_reproduction": no_reproduction,
    "unchanged": unchanged_since_review,
    "phantom": phantom,
}
"""Every rule of the diff gate by the name under which the ledger records its refusals."""


def judge_diff(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> tuple[Failure, ...]:
    """Every rule that refuses this work, with the reason; empty if none does."""
    found = ((name, rule(spec, facts, docs)) for name, rule in RULES.items())
    return tuple(Failure(name, text) for name, text in found if text)


def judge_checks(results: Iterable[CheckResult]) -> str:
    """What the checks come to: `none`, `passed`, `flaky` (passed only when run again) or `failed`."""
    outcomes = [each.outcome for each in results]
    if not outcomes:
        return "none"
    if any(each not in (Outcome.PASSED, Outcome.FLAKY) for each in outcomes):
        return "failed"
    return "flaky" if Outcome.FLAKY in outcomes else "passed"


def protected_paths(changes: Iterable[Change], protected: tuple[str, ...]) -> tuple[str, ...]:
    """Changed paths that only a human may let through."""
    return tuple(change.path for change in changes if matches(change.path, protected))


def is_program(path: str) -> bool:
    """Whether a path is that of a program, by its ending."""
    return _PROGRAM.search(path) is not None


def _is_document(path: str, docs: tuple[str, ...]) -> bool:
    return matches(path, docs) and not is_program(path)


def _is_words(path: str, spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> bool:
    """Whether a path is that of a document, or of a text that is none of the program and that the job does not name."""
    return _is_document(path, docs) or (path in facts.notes and path.casefold() not in spec.prompt.casefold())


def follow_link(path: str, points_to: str) -> tuple[tuple[str, ...], str] | None:
    """(the places from which a link goes up after it went down, where it leads); None if it leaves the tree.

    `..` after a name is taken from where that name leads, which may be another link: so each of these places has to be
    a folder of the tree, or nobody knows where the link leads.
    """
    if points_to.startswith("/"):
        return None
    at = path.split("/")[:-1]
    # The folder that the link lies in, and those above it, are no links.
    sure = len(at)
    climbed: list[str] = []
    for step in points_to.split("/"):
        if step == "..":
            if not at:
                return None
            if len(at) > sure:
                climbed.append("/".join(at))
            at.pop()
            sure = min(sure, len(at))
        elif step not in ("", "."):
            at.append(step)
    return tuple(climbed), "/".join(at)


def _escapes(path: str, points_to: str, folders: frozenset[str]) -> bool:
    followed = follow_link(path, points_to)
    if followed is None:
        return True
    climbed, reached = followed
    return not folders.issuperset(climbed) or ".git" in reached.lower().split("/")


def list_some(names: Iterable[str], limit: int = 5) -> str:
    """The first of these names, as people read them, and how many more there are."""
    listed = [name if name.isprintable() else repr(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
