"""What an audit keeps of what it has read: enough that a large ledger is not read again for each merge."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import audit_world as w
import pytest

from orchestrator.adapters import audit_chain
from orchestrator.adapters.audit_chain import Records, Store
from orchestrator.adapters.audit_rules import Step, lately_landing
from orchestrator.adapters.objects import EMPTY_TREE, FILE_MODE, Entry, Objects
from orchestrator.core.transitions import Event

UNKNOWN = ["f" * 40]


class Counting(Store):
    """Counts what is read of each kind."""

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects)
        self.reads: Counter[str] = Counter()

    def read(self, kind: str, oid: str) -> bytes:
        self.reads[kind] += 1
        return super().read(kind, oid)


def newest(world: w.World, store: Store, id_: str) -> Step:
    """The newest step of the ledger, as one of a job."""
    commit, job = store.commit(world.ledger.tip()), world.job(id_)
    return Step(commit, Event.MERGE, id_, job, job, Records(store), Records(store))


def test_who_waits_to_land_is_read_once_however_many_jobs_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_chain, "_CACHED", 6)
    with w.new_world(tmp_path / "world") as world:
        ids = [w.accept(world, f"job-{number:02x}000000", f"prompt: job {number}\n") for number in range(20)]
        merged = w.await_landing(world, "land-aa000000", "app.txt")
        w.accept(world, "last-bb000000", "prompt: x\n")
        store = Counting(world.ledger.objects)
        step = newest(world, store, ids[0])
        assert lately_landing(step, [merged, *UNKNOWN]) == {merged}
        assert store.reads["blob"] >= len(ids)
        store.reads.clear()
        assert lately_landing(step, [merged, *UNKNOWN]) == {merged}
        assert store.reads["blob"] == 0
        w.accept(world, "more-cc000000", "prompt: x\n")
        assert lately_landing(newest(world, store, ids[0]), UNKNOWN) == frozenset()
        assert store.reads["blob"] == 1, "of a bucket that has changed only the job that did"


def test_a_full_cache_forgets_the_older_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "_CACHED", 4)
    with w.new_world(tmp_path / "world") as world:
        store = Counting(world.ledger.objects)
        trees = [store.objects.write_tree({"a": Entry(FILE_MODE, f"{number:040x}")}) for number in range(5)]
        for tree in trees:
            store.tree(tree)
        store.reads.clear()
        store.tree(trees[3])
        store.tree(trees[2])
        assert store.reads["tree"] == 0
        store.tree(trees[0])
        assert store.reads["tree"] == 1
        assert store.tree(EMPTY_TREE) == {}
