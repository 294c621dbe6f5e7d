"""What `orc gate` found as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from orchestrator.core.gated import reproduction_of

if TYPE_CHECKING:
    from orchestrator.core.gated import Gated, Reviewed


def json_of(found: Gated, again: Sequence[str]) -> dict[str, Any]:
    """As `--json` shows it."""
    seen = found.seen
    shown = ("name", "commit", "ref")
    checks = [
        {
            "on": each.where,
            "commit": each.commit,
            "tree": each.tree,
            "tests": each.tests,
            "problem": each.problem,
            "same_as": each.same_as,
            "results": [asdict(result) for result in each.results],
        }
        for each in seen.checks
    ]
    return {
        "verdict": found.conclusion,
        "scope": found.scope,
        "reasons": list(found.reasons),
        "notes": list(found.notes),
        "branch": {**{key: getattr(seen.branch, key) for key in shown}, "tree": seen.tree},
        "base": {**{key: getattr(seen.base, key) for key in shown}, "merge_base": seen.merge_base},
        "commits": seen.commits,
        "stat": seen.stat,
        "paths": [asdict(path) for path in seen.paths],
        "more_paths": seen.more_paths,
        "protected": list(seen.evidence.protected),
        "rules": [asdict(rule) for rule in seen.rules],
        "merge": {"tree": seen.merged_tree, "conflicts": list(seen.conflicts)},
        "checks": checks,
        "reproduction": reproduction_of(seen),
        "suggestion": seen.suggestion,
        "review": _review_json(seen.review),
        "seconds": dict(found.seconds),
        "again": list(again),
    }


def _review_json(review: Reviewed | None) -> dict[str, Any] | None:
    if review is None:
        return None
    record = review.record
    return {
        "reviewer": asdict(record.reviewer),
        "verdict": record.verdict,
        "score": record.score,
        "why": record.why,
        "problem": review.problem,
        "summary": record.summary,
        "items": [asdict(item) for item in record.items],
        "claims": [asdict(claim) for claim in record.claims],
        "findings": [asdict(finding) for finding in record.findings],
        "nonce_sha256": record.nonce_sha256,
        "seconds": review.seconds,
    }
