"""Gate: judge a branch of any repository by the engine's own rules, checks and review, without a workspace.

Nothing is written into the repository. Its objects are borrowed by a repository in a temporary folder, where the merge
is built and from where the trees for the checks are made.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.adapters import clock
from orchestrator.adapters.borrowed import borrow_objects, find_broken_object, find_missing
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import ENGINE, Git, common_dir, merge_base, own_dir, reading, tree_of, version
from orchestrator.adapters.git_objects import commit_tree, diff_stat, merge_trees, read_blob
from orchestrator.adapters.yaml_text import replace_unsafe
from orchestrator.core.config import Project
from orchestrator.core.evidence import first_paths, list_paths
from orchestrator.core.gate import judge_diff, protected_paths
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
from orchestrator.engine.diff_facts import gather_facts
from orchestrator.engine.gate_bench import FILE_NAME, Bench, find_bench
from orchestrator.engine.gate_names import find_base, find_named, refuse_partial, refuse_unrelated, split_range
from orchestrator.engine.gate_runs import Tell, Workshop, open_workshop, run_checks
from orchestrator.errors import OrcError, UnavailableError

if TYPE_CHECKING:
    from orchestrator.engine.gate_review import Reviewer

OLDEST_GIT = (2, 38, 0)
MAKEFILE_BYTES = 256 * 1024


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


@dataclass(frozen=True, slots=True)
class _Terms:
    """How the branch is judged: as was asked for, else as the workspace says."""

    spec: JobSpec
    checks: tuple[Check, ...]
    setup: str
    with_base: bool
    project: Project
    """Which paths are documents, and which are protected."""
    note: str = ""
    """What a person should know about where it comes from."""


def gate_branch(start: Path, asked: Asked, tell: Tell) -> Gated:
    """Judge a branch of the repository that holds `start`. Raises OrcError if there is nothing to judge."""
    if version() < OLDEST_GIT:
        raise UnavailableError(f"git {'.'.join(map(str, version()))} is too old: this needs 2.38")
    began = time.monotonic()
    source = common_dir(start)
    with reading(Git(own_dir(start))) as names:
        branch, base = _find(names, asked)
    with open_workshop(tell) as shop, reading(borrow_objects(source, shop.folder / "borrowed.git")) as git:
        fork = _find_fork(git, source, branch, base)
        bench = find_bench(start, source, git, shop.folder / "bench", branch, base)
        reviewer = _find_reviewer(start, asked, bench)
        terms = _terms(asked, bench)
        seen = look_at(git, fork, branch, base, terms)
        if not is_refused(seen):
            seen = replace(seen, checks=_check(shop, git, seen, terms))
            if reviewer is not None and may_be_reviewed(seen):
                from orchestrator.engine.gate_review import review_branch

                seen = replace(seen, review=review_branch(shop, git, seen, asked.spec, reviewer))
        if not terms.checks:
            seen = replace(seen, suggestion=_suggest(git, base.commit))
    conclusion, reasons = conclude(seen)
    notes = (*(each for each in (terms.note, shop.note) if each), *notes_of(seen))
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
    if not asked.reviewer and not asked.command:
        return None
    from orchestrator.engine.gate_review import find_reviewer

    return find_reviewer(start, asked.reviewer, asked.command, bench)


def _terms(asked: Asked, bench: Bench | None) -> _Terms:
    note = bench.note if bench is not None else ""
    if bench is None or (project := bench.project) is None:
        return _Terms(asked.spec, asked.checks, asked.setup, asked.with_base, Project(), note)
    if project.checks and not asked.checks:
        note = f"The checks are those of the {FILE_NAME} of {bench.owner(FILE_NAME)}."
    setup = asked.setup or (project.setup.run if project.setup else "")
    return _Terms(asked.spec, asked.checks or project.checks, setup, asked.with_base, project, note)


# --- the diff ---


def look_at(git: Git, fork: str, branch: Named, base: Named, terms: _Terms) -> Seen:
    """What the objects alone tell: the diff and what the rules say of it, and whether it merges."""
    stat = diff_stat(git, fork, branch.commit)
    # As a record of the engine would hold them: a reviewer has to name each, and cannot say half a character.
    paths = tuple(replace(each, path=replace_unsafe(each.path)) for each in list_paths(stat.changes))
    seen = Seen(
        branch,
        base,
        merge_base=fork,
        tree=tree_of(git, branch.commit),
        stat=stat.summary(),
        commits=int(git.text("rev-list", "--count", branch.commit, f"^{base.commit}")),
        paths=paths,
        more_paths=stat.files - len(paths),
        protected=first_paths(map(replace_unsafe, protected_paths(stat.changes, terms.project.protected))),
        declared=terms.checks,
        setup=terms.setup,
    )
    broken = find_broken_object(git, branch.commit, base.commit)
    if broken:
        # Not even looked at any further, as a fetch would not have brought it.
        return replace(seen, rules=(RuleSeen("broken_objects", RuleOutcome.REFUSED, f"git refuses {broken}."),))
    facts = gather_facts(git, fork, branch.commit, stat.changes, report="", previous="")
    rules = see_rules(terms.spec, judge_diff(terms.spec, facts, terms.project.docs))
    return _merge(git, replace(seen, rules=(RuleSeen("broken_objects", RuleOutcome.OK), *rules)))


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


def _check(shop: Workshop, git: Git, seen: Seen, terms: _Terms) -> tuple[Checked, ...]:
    """The checks on each tree that they are due on, one after another; once for trees that are the same."""
    if not terms.checks:
        return ()
    due = [(Where.BRANCH, seen.branch.commit, seen.tree)]
    if seen.merged:
        due.append((Where.MERGED, seen.merged, seen.merged_tree))
    if terms.with_base:
        due.append((Where.BASE, seen.base.commit, tree_of(git, seen.base.commit)))
    done: dict[str, Checked] = {}
    found = []
    for where, commit, tree in due:
        known = done.get(tree)
        if known is None:
            told = f"the checks run on {place_words(where, seen)}"
            known = done[tree] = run_checks(shop, git, where, commit, tree, terms.checks, terms.setup, told)
            found.append(known)
        else:
            found.append(replace(known, where=where, commit=commit, same_as=known.where))
    return tuple(found)


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
