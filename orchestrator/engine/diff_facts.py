"""What the engine sees of a change by itself, read from the objects of two commits: for a job, and for `orc gate`."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.adapters.documents import read_kind_facts, read_previews
from orchestrator.adapters.gate_facts import look_for_tampering, read_contents, read_diff_facts
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import diff_stat
from orchestrator.adapters.git_refs import tree_of
from orchestrator.adapters.spelling import speller
from orchestrator.core import gate, kinds, tamper
from orchestrator.core.attempt_record import Used
from orchestrator.core.config import Project
from orchestrator.core.criteria import Criteria
from orchestrator.core.diffstat import Change
from orchestrator.core.evidence import first_paths, list_paths
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.gate import judge_diff, protected_paths
from orchestrator.core.job import JobSpec


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
        keep=project.keep,
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
    asked, contents = criteria.checks, read_contents(git, changes)
    facts = read_diff_facts(
        git, seen.merge_base, seen.tip, changes, contents, report=report, previous=previous, keep=seen.keep
    )
    of_kind = read_kind_facts(git, seen.tip, changes, spec, asked, report=report)
    previews, more = read_previews(git, seen.tip, changes, spec, asked.documents, report=report)
    spelled_with = speller() if asked.spelling else ""
    found = look_for_tampering(git, seen.merge_base, changes, contents, spec)
    listed = tamper.list_tampering(found)
    return replace(
        seen,
        diff_rules=gate.VERSION,
        aside=facts.seen.aside,
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
