"""Gate: judge a branch of any repository by the engine's own rules, checks and review, without a workspace.

Nothing is written into the repository. Its objects are borrowed by a repository in a temporary folder, where the merge
is built and from where the trees for the checks are made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.adapters import clock
from orchestrator.adapters.borrowed import borrow_objects, find_broken_object, find_missing
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import ENGINE, Git, reading
from orchestrator.adapters.git_objects import commit_tree, diff_stat, lay_over, merge_trees, read_blob
from orchestrator.adapters.git_person import common_dir, own_dir
from orchestrator.adapters.git_process import version
from orchestrator.adapters.git_refs import merge_base, tree_of
from orchestrator.adapters.yaml_text import replace_unsafe
from orchestrator.core.config import Project
from orchestrator.core.criteria import Criteria, unknown_kind
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.gate import CHECKED
from orchestrator.core.gated import (
    Checked,
    Gated,
    Named,
    RuleOutcome,
    RuleSeen,
    Seen,
    Where,
    conclude,
    is_refused,
    may_be_reviewed,
    notes_of,
    place_words,
    see_rules,
    suggest_check,
)
from orchestrator.core.job import Check, JobSpec
from orchestrator.core.reproduction import laid_over
from orchestrator.core.trials import find_broken, tell_first
from orchestrator.engine.criteria import criteria_in, slip_in
from orchestrator.engine.diff_facts import judge_work, see_diff
from orchestrator.engine.gate_bench import FILE_NAME, Bench, find_bench
from orchestrator.engine.gate_names import find_base, find_named, refuse_partial, refuse_unrelated, split_range
from orchestrator.engine.gate_runs import Checking, Tell, Workshop, make_ready, open_workshop, run_checks
from orchestrator.errors import InvalidFileError, NotFoundError, OrcError, UnavailableError

if TYPE_CHECKING:
    from orchestrator.adapters.shims import Nursery
    from orchestrator.engine.gate_review import Reviewer

OLDEST_GIT = (2, 38, 0)
MAKEFILE_BYTES = 256 * 1024
GATES_HINT = "a defect of orc: report it, and go back to the version before"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants to have judged, and how."""

    branch: str
    spec: JobSpec
    base: str = ""
    """'' is the repository's default branch."""
    checks: tuple[Check, ...] = ()
    """Without any, and likewise without a setup, those of the workspace."""
    setup: str = ""
    with_base: bool = True
    """Whether the checks run on the base as well, to compare with."""
    reviewer: str = ""
    """An agent of the workspace, or BACKEND:MODEL; '' is nobody."""
    command: tuple[str, ...] = ()
    """A program that reviews instead."""
    judge: Reviewer | None = None
    """Somebody who was found already, in the place of both."""
    by_tried_gates: bool = True
    """Whether the gates are tried first. Only a self-test goes without, which says itself what each of them does."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """How the branch is judged: as was asked for, else as the workspace says."""

    spec: JobSpec
    checks: tuple[Check, ...]
    setup: str
    with_base: bool
    project: Project
    """Which paths are documents, and which are protected."""
    criteria: Criteria
    """What is asked of work of its kind."""
    note: str = ""
    """What a person should know about where it comes from."""


def gate_branch(start: Path, asked: Asked, tell: Tell, *, nursery: Nursery | None = None) -> Gated:
    """Judge a branch of the repository that holds `start`. Raises OrcError if there is nothing to judge.

    The gates are tried in memory first, as by an engine: while one of them fails its own test, nothing is judged.
    `nursery` is one that is being warmed already.
    """
    began = time.monotonic()
    if version() < OLDEST_GIT:
        raise UnavailableError(f"git {'.'.join(map(str, version()))} is too old: this needs 2.38")
    source = common_dir(start)
    with reading(Git(own_dir(start))) as names:
        branch, base = _find(names, asked)
    with open_workshop(tell, nursery) as shop, reading(borrow_objects(source, shop.folder / "borrowed.git")) as git:
        fork = _find_fork(git, source, branch, base)
        bench = find_bench(start, source, git, shop.folder / "bench", branch, base)
        reviewer = _find_reviewer(start, asked, bench)
        terms = _terms(asked, bench, _find_criteria(shop, asked, bench, reviewer))
        broken = find_broken_object(git, branch.commit, base.commit)
        with _made_ready(shop, git, branch, terms, is_sound=not broken) as ready:
            _try_gates(asked)
            seen = look_at(git, fork, branch, base, terms, broken)
            if not is_refused(seen):
                seen = replace(seen, checks=_check(shop, git, seen, terms, ready))
        if reviewer is not None and may_be_reviewed(seen):
            from orchestrator.engine.gate_review import review_branch

            review = review_branch(shop, git, seen, terms.spec, reviewer, terms.criteria)
            seen = replace(seen, review=review)
        if not terms.checks:
            seen = replace(seen, suggestion=_suggest(git, base.commit))
    conclusion, reasons = conclude(seen)
    of_kind = unknown_kind(asked.spec.kind, terms.criteria.kind)
    notes = (*(each for each in (terms.note, shop.note, of_kind) if each), *notes_of(seen))
    return Gated(seen, conclusion, reasons, notes, _seconds(seen, time.monotonic() - began))


def _find(git: Git, asked: Asked) -> tuple[Named, Named]:
    tip, base = split_range(asked.branch)
    branch = find_named(git, tip)
    wanted = base or asked.base
    return branch, find_named(git, wanted) if wanted else find_base(git, branch)


def _find_fork(git: Git, source: Path, branch: Named, base: Named) -> str:
    """The commit that the branch began at. Raises OrcError if there is none, or if not everything is here."""
    fork = merge_base(git, base.commit, branch.commit)
    if fork is None:
        raise refuse_unrelated(branch, base, is_shallow=(git.git_dir / "shallow").exists())
    new = (branch.commit, f"^{base.commit}")
    if missing := find_missing(git, source, (fork, branch.commit, base.commit), new):
        raise refuse_partial(branch, base, missing)
    return fork


def _find_reviewer(start: Path, asked: Asked, bench: Bench | None) -> Reviewer | None:
    if asked.judge is not None or not (asked.reviewer or asked.command):
        return asked.judge
    from orchestrator.engine.gate_review import find_reviewer

    return find_reviewer(start, asked.reviewer, asked.command, bench)


def _find_criteria(shop: Workshop, asked: Asked, bench: Bench | None, reviewer: Reviewer | None) -> Criteria:
    """What is asked of this kind of work by the workspace of the repository, else by the reviewer's; else as shipped.

    Raises InvalidFileError, and NotFoundError for a kind that looks like a slip of the pen.
    """
    if bench is None or bench.project is None:
        bench = reviewer.bench if reviewer is not None else None
    root = bench.places["criteria"] if bench is not None else shop.folder
    if slip := slip_in(root, asked.spec.kind):
        raise NotFoundError(slip)
    if bench is None:
        return criteria_in(root, asked.spec.kind)
    try:
        return criteria_in(root, asked.spec.kind)
    except InvalidFileError as error:
        if root == bench.root:
            raise
        # Not the file that the person sees in the folder.
        raise error.in_file(f"{error.file} of {bench.owner('criteria')}") from error


def _terms(asked: Asked, bench: Bench | None, criteria: Criteria) -> _Terms:
    note = bench.note if bench is not None else ""
    if bench is None or (project := bench.project) is None:
        return _Terms(asked.spec, asked.checks, asked.setup, asked.with_base, Project(), criteria, note)
    if project.checks and not asked.checks:
        note = f"The checks are those of the {FILE_NAME} of {bench.owner(FILE_NAME)}."
    setup = asked.setup or (project.setup.run if project.setup else "")
    return _Terms(asked.spec, asked.checks or project.checks, setup, asked.with_base, project, criteria, note)


def _try_gates(asked: Asked) -> None:
    if asked.by_tried_gates and (told := tell_first(find_broken())):
        raise UnavailableError(f"{told}; nothing was judged", hint=GATES_HINT)


# --- the diff ---


def look_at(git: Git, fork: str, branch: Named, base: Named, terms: _Terms, broken: str) -> Seen:
    """What the objects alone tell: the diff and what the rules say of it, and whether it merges.

    `broken` is what git's own check says about them.
    """
    evidence, changes = see_diff(git, fork, branch.commit, terms.project)
    commits = int(git.text("rev-list", "--count", branch.commit, f"^{base.commit}"))
    seen = Seen(branch, base, _as_recorded(evidence), commits, declared=terms.checks, setup=terms.setup)
    seen = replace(seen, reproduces=terms.spec.reproduces)
    if broken:
        # Not even looked at any further, as a fetch would not have brought it.
        return replace(seen, rules=(RuleSeen("broken_objects", RuleOutcome.REFUSED, f"git refuses {broken}."),))
    evidence = _as_recorded(judge_work(git, evidence, changes, terms.spec, terms.criteria))
    rules = (RuleSeen("broken_objects", RuleOutcome.OK), *see_rules(terms.spec, evidence))
    return _merge(git, replace(seen, evidence=evidence, rules=rules))


def _as_recorded(seen: Evidence) -> Evidence:
    """Names as a record of the engine would hold them: a reviewer has to name each, and cannot say half a character."""
    found = (replace(each, path=replace_unsafe(each.path), text=replace_unsafe(each.text)) for each in seen.tampering)
    return replace(
        seen,
        paths=tuple(replace(each, path=replace_unsafe(each.path)) for each in seen.paths),
        protected=tuple(map(replace_unsafe, seen.protected)),
        tampering=tuple(found),
    )


def _merge(git: Git, seen: Seen) -> Seen:
    """The branch merged into its base, as an object of the borrowing repository."""
    if seen.merge_base == seen.base.commit:
        return replace(seen, merged=seen.branch.commit, merged_tree=seen.tree)
    with effect(Effect.MERGE_BUILD):
        built = merge_trees(git, seen.base.commit, seen.branch.commit)
        if built.tree is None:
            return replace(seen, conflicts=tuple(map(replace_unsafe, built.conflicts)))
        parents = [seen.base.commit, seen.branch.commit]
        commit = commit_tree(git, built.tree, parents, "Merged to be judged\n", author=ENGINE, when=clock.now())
    return replace(seen, merged=commit, merged_tree=built.tree)


# --- the checks ---


@contextmanager
def _made_ready(shop: Workshop, git: Git, branch: Named, terms: _Terms, *, is_sound: bool) -> Iterator[list[Checking]]:
    """The branch is checked out for its checks while the rules still judge it; nothing of it is run before they have.

    What git itself would refuse to fetch is not checked out. Whoever runs the checks takes the run off the list.
    """
    ready: list[Checking] = []
    try:
        if terms.checks and is_sound:
            with suppress(UnavailableError):  # It is tried once more, and told, when the checks are due.
                ready.append(make_ready(shop, git, Where.BRANCH, branch.commit, terms.checks, terms.setup))
        yield ready
    finally:
        for each in ready:
            each.drop()


def _check(shop: Workshop, git: Git, seen: Seen, terms: _Terms, ready: list[Checking]) -> tuple[Checked, ...]:
    """The checks on each tree that they are due on, one after another; once for trees that are the same."""
    if not terms.checks:
        return ()
    due = [(Where.BRANCH, seen.branch.commit, seen.tree)]
    if seen.merged:
        due.append((Where.MERGED, seen.merged, seen.merged_tree))
    if terms.with_base:
        due.append((Where.BASE, seen.base.commit, tree_of(git, seen.base.commit)))
    done: dict[str, Checked] = {}

    def run(where: Where, commit: str, tree: str) -> Checked:
        if known := done.get(tree):
            return replace(known, where=where, commit=commit, same_as=known.where)
        told = f"the checks run on {place_words(where, seen)}"
        own = ready.pop() if ready and ready[0].commit == commit else None
        done[tree] = run_checks(shop, git, where, commit, tree, terms.checks, terms.setup, told, ready=own)
        return done[tree]

    found = [run(*each) for each in due]
    # Only where they pass on the work does it say anything that they fail without the rest of it.
    if seen.reproduces and found[0].tests in CHECKED:
        found.append(run(Where.REPRODUCTION, *_build_reproduction(git, seen)))
    return tuple(found)


def _build_reproduction(git: Git, seen: Seen) -> tuple[str, str]:
    """The merge base with the tests of the branch laid over it, as objects: the commit and its tree."""
    changes = diff_stat(git, seen.merge_base, seen.branch.commit).changes
    with effect(Effect.MERGE_BUILD):
        tree = lay_over(git, seen.merge_base, laid_over(changes))
        told = "The merge base, with the tests of the branch\n"
        return commit_tree(git, tree, [seen.merge_base], told, author=ENGINE, when=clock.now()), tree


def _suggest(git: Git, commit: str) -> str:
    """What probably runs the tests. It is only said, never run: nobody asked for it."""
    names = git.text("ls-tree", "-z", "--name-only", commit).split("\0")
    makefile = b""
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if name in names:
            with suppress(OrcError):
                makefile = read_blob(git, commit, name, MAKEFILE_BYTES) or b""
            break
    return suggest_check(names, makefile.decode("utf-8", "replace"))


def _seconds(seen: Seen, total: float) -> dict[str, float]:
    ran = [each for each in seen.checks if each.same_as is None]
    checks = sum(result.seconds for each in ran for result in each.results)
    review = seen.review.seconds if seen.review else 0.0
    spent = {"all": total, "checks": checks, "review": review, "orc": max(0.0, total - checks - review)}
    return {name: round(value, 3) for name, value in spent.items()}
