from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.ids import RunId, RunKind, bucket, card_id, is_job_id, job_id, slug

HEX = st.text("0123456789abcdef", min_size=8, max_size=8)


@given(name=st.text(max_size=80), tail=HEX)
def test_every_file_name_gives_a_job_id(name: str, tail: str) -> None:
    assert is_job_id(job_id(name, tail))


@given(name=st.text(max_size=80))
def test_a_slug_is_short_plain_and_stable(name: str) -> None:
    made = slug(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made)
    assert len(made) <= 40
    assert slug(made) == made


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Fix Login!", "fix-login"),
        ("Größe ändern", "groe-andern"),
        ("--a--", "a"),
        ("日本", "job"),
        ("", "job"),
        ("../../etc/passwd", "etc-passwd"),
        ("x" * 39 + "-y", "x" * 39),
    ],
)
def test_a_slug_keeps_what_people_can_read(name: str, expected: str) -> None:
    assert slug(name) == expected


@pytest.mark.parametrize(
    "text",
    ["", "fix", "fix-7f3a09c", "fix-7f3a09c22z", "Fix-7f3a09c2", "-7f3a09c2", "a/b-7f3a09c2", "fix-7f3a09c2\n",
     "fix-7F3A09C2", "..-7f3a09c2", "a" * 55 + "-7f3a09c2", "fix.x-7f3a09c2"],
)  # fmt: skip
def test_what_is_not_a_job_id_is_told_apart(text: str) -> None:
    assert not is_job_id(text)


@given(name=st.text(max_size=20), tail=HEX)
def test_the_bucket_is_of_the_random_part(name: str, tail: str) -> None:
    assert bucket(job_id(name, tail)) == tail[:2]


@given(name=st.text(max_size=60), tail=HEX, kind=st.sampled_from(list(RunKind)), number=st.integers(1, 10**9))
def test_a_run_id_comes_back_as_it_was(name: str, tail: str, kind: RunKind, number: int) -> None:
    run = RunId(job_id(name, tail), kind, number)
    assert RunId.parse(str(run)) == run


@pytest.mark.parametrize(
    "text",
    ["", "fix-7f3a09c2", "fix-7f3a09c2.attempt-0", "fix-7f3a09c2.attempt-01", "fix-7f3a09c2.attempt--1",
     "fix-7f3a09c2.card-1", "fix.attempt-1", "fix-7f3a09c2.attempt-1\n", "../fix-7f3a09c2.attempt-1",
     "base.main.0123456789ab", "fix-7f3a09c2.attempt-\u0661"],
)  # fmt: skip
def test_what_is_not_a_run_id_is_none(text: str) -> None:
    assert RunId.parse(text) is None


def test_a_card_is_named_after_its_job() -> None:
    assert card_id("fix-login-7f3a09c2", 2) == "fix-login-7f3a09c2.card-2"
