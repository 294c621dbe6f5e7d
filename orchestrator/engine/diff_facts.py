"""What the engine sees of a change by itself, read from the objects of two commits: for a job, and for `orc gate`."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.adapters.documents import read_kind_facts, read_previews
from orchestrator.adapters.git import Git, tree_of
from orchestrator.adapters.git_objects import diff_stat, read_small_blobs, whitespace_only_paths
from orchestrator.adapters.spelling import speller
from orchestrator.adapters.tampering import look_for_tampering
from orchestrator.core import kinds, tamper
from orchestrator.core.config import Project
from orchestrator.core.criteria import Criteria
from orchestrator.core.diffstat import Change
from orchestrator.core.evidence import first_paths, list_paths
from orchestrator.core.gate import SYMLINK, DiffFacts, judge_diff, protected_paths
from orchestrator.core.job import JobSpec
from orchestrator.core.records import Evidence, Used

EMPTY_BLOBS = frozenset(
    {
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    }
)
"""Ids of the file without content, in repositories of either format."""
LINK_BYTES = 4096


def see_diff(git: Git, base: str, tip: str, project: Project) -> tuple[Evidence, tuple[Change, ...]]:
    """What is changed from `base`, a merge base, to `tip`: the evidence so far, of which nothing is judged yet."""
    stat = diff_stat(git, base, tip)
    paths = list_paths(stat.changes)
    seen = Evidence(
        number=1,
        attempt=1,
        base=base,
        tip=tip,
        merge_base=base,
        tree=tree_of(git, tip),
        stat=stat.summary(),
        paths=paths,
        more_paths=stat.files - len(paths),
        protected=first_paths(protected_paths(stat.changes, project.protected)),
        docs=project.docs,
        guarded=project.protected,
    )
    return seen, stat.changes


def judge_work(
    git: Git,
    seen: Evidence,
    changes: tuple[Change, ...],
    spec: JobSpec,
    criteria: Criteria,
    *,
    report: str = "",
    previous: str = "",
) -> Evidence:
    """The evidence of `see_diff`, judged: by the rules of the diff, by the criteria of its kind, by the tamper guard.

    `report` is the author's final answer, `previous` the tree that was sent back, '' for none.
    """
    facts, asked = _gather_facts(git, seen, changes, report=report, previous=previous), criteria.checks
    of_kind = read_kind_facts(git, seen.tip, changes, spec, asked, report=report)
    previews, more = read_previews(git, changes, spec, asked.documents, report=report)
    spelled_with = speller() if asked.spelling else ""
    found = look_for_tampering(git, seen.merge_base, changes, spec.allows)
    listed = tamper.list_tampering(found)
    return replace(
        seen,
        failures=(*judge_diff(spec, facts, seen.docs), *kinds.judge_kind(spec, asked, of_kind)),
        tampering=listed,
        more_tampering=len(found) - len(listed),
        tamper_rules=tamper.VERSION,
        notes=tuple(kinds.notes_on(asked, of_kind, spelled_with)),
        criteria=Used(f"criteria/{criteria.kind}.yaml", criteria.blob),
        kind_checks=asked,
        kind_rules=kinds.VERSION,
        speller=spelled_with,
        claims=of_kind.claims,
        previews=previews,
        more_deliverables=more,
    )


def _gather_facts(git: Git, seen: Evidence, changes: tuple[Change, ...], *, report: str, previous: str) -> DiffFacts:
    """What the rules of the diff look at."""
    kept = [change for change in changes if change.status != "D"]
    return DiffFacts(
        changes=changes,
        whitespace_only=frozenset(whitespace_only_paths(git, seen.merge_base, seen.tip, changes)),
        empty_files=frozenset(c.path for c in kept if c.new_mode != SYMLINK and c.new_oid in EMPTY_BLOBS),
        links=_links(git, [change for change in kept if change.new_mode == SYMLINK]),
        report=report,
        tree=seen.tree,
        previous_tree=previous,
    )


def _links(git: Git, changes: list[Change]) -> tuple[tuple[str, str], ...]:
    """What symbolic links point to; one that is too long to be a path points out of the tree, to be sure."""
    targets = read_small_blobs(git, (change.new_oid for change in changes), LINK_BYTES)
    found = ((change.path, targets.get(change.new_oid) or b"/") for change in changes)
    return tuple((path, target.decode("utf-8", "surrogateescape")) for path, target in found)
