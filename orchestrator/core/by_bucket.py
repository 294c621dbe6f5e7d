"""Values by the id of their job, of which a changed copy is cheap."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from itertools import chain
from typing import TypeVar

from orchestrator.core.ids import bucket

V = TypeVar("V")


class ByBucket(Mapping[str, V]):
    """An immutable mapping in the buckets that the ledger has for ids.

    What is held for thousands of open jobs has a new version at every step of one of them. A copy by `changed` shares
    all buckets but those of the jobs that differ. The order is that of the buckets, not that of insertion.
    """

    __slots__ = ("_buckets", "_count")

    def __init__(self, buckets: Mapping[str, dict[str, V]] | None = None) -> None:
        self._buckets = buckets or {}
        self._count = sum(map(len, self._buckets.values()))

    def changed(self, changes: Mapping[str, V | None]) -> ByBucket[V]:
        """A copy with other values for some ids; None takes an id out."""
        if not changes:
            return self
        buckets, fresh = dict(self._buckets), set[str]()
        for id_, value in changes.items():
            name = bucket(id_)
            if name not in fresh:
                fresh.add(name)
                buckets[name] = dict(buckets.get(name, ()))
            if value is None:
                buckets[name].pop(id_, None)
            else:
                buckets[name][id_] = value
        for name in fresh:
            if not buckets[name]:
                del buckets[name]
        return ByBucket(buckets)

    def __getitem__(self, id_: str) -> V:
        return self._buckets[bucket(id_)][id_]

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, str) and id_ in self._buckets.get(bucket(id_), ())

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._buckets.values())

    def __len__(self) -> int:
        return self._count

    # The views of `Mapping` look each key up again.

    def values(self) -> ValuesView[V]:
        """The values, by bucket."""
        return _Values(self)

    def items(self) -> ItemsView[str, V]:
        """The ids and their values, by bucket."""
        return _Items(self)


class _Values(ValuesView[V]):
    _mapping: ByBucket[V]

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable(each.values() for each in self._mapping._buckets.values())


class _Items(ItemsView[str, V]):
    _mapping: ByBucket[V]

    def __iter__(self) -> Iterator[tuple[str, V]]:
        return chain.from_iterable(each.items() for each in self._mapping._buckets.values())
