"""Reads, through the hardened door, what the tamper guard looks into: to gather its findings, and to prove them."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.adapters.git import Git, rev_parse
from orchestrator.adapters.git_objects import read_small_blobs
from orchestrator.core.diffstat import Change
from orchestrator.core.job import Area
from orchestrator.core.records import Tampering
from orchestrator.core.tamper import MAX_ALL_BYTES, MAX_BYTES, Looked, blobs_to_read, find_tampering, needs_home


def look_for_tampering(
    git: Git, base: str, changes: tuple[Change, ...], allows: Iterable[Area]
) -> tuple[Tampering, ...]:
    """What was done to the tests, to CI and to orc's own files by `changes`, which begin at `base`."""
    blobs = read_small_blobs(git, blobs_to_read(changes), MAX_BYTES, MAX_ALL_BYTES)
    is_home = needs_home(changes) and rev_parse(git, f"{base}:orc.yaml") is not None
    return find_tampering(Looked(changes, blobs, is_home), allows)
