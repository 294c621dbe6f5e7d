"""A mapping in buckets is what a dict would be, and its copies leave it as it was."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.by_bucket import ByBucket

IDS = st.sampled_from([f"job-{number:02x}00000{number % 3}" for number in (0, 1, 2, 3, 250)] + ["short", ""])
CHANGES = st.lists(st.dictionaries(IDS, st.none() | st.integers()), max_size=6)


@given(CHANGES)
def test_it_holds_what_a_dict_would_hold_after_the_same_changes(steps: list[dict[str, int | None]]) -> None:
    kept, plain = ByBucket[int](), dict[str, int]()
    for changes in steps:
        before, was = kept, dict(plain)
        kept = kept.changed(changes)
        plain = {id_: value for id_, value in {**plain, **changes}.items() if value is not None}
        assert dict(before) == was
    assert kept == plain
    assert dict(kept.items()) == plain
    assert sorted(kept.values()) == sorted(plain.values())
    assert list(kept) == [id_ for id_, _ in kept.items()]
    assert len(kept) == len(plain)
    assert all((id_ in kept) is (id_ in plain) for id_ in ("short", "job-000000000", "nobody"))


def test_what_did_not_change_is_shared_and_not_copied() -> None:
    many = ByBucket[int]().changed({f"job-{number:08x}": number for number in range(0, 2**32, 2**24)})
    other = many.changed({"job-07000000": -1, "job-08000000": None})
    assert (many["job-07000000"], other["job-07000000"]) == (7 * 2**24, -1)
    assert "job-08000000" not in other
    shared = [name for name, each in many._buckets.items() if other._buckets.get(name) is each]
    assert len(shared) == 254
    assert many.changed({}) is many
