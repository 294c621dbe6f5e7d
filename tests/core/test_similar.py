"""Which jobs are like each other, and which only look so; and that the quick look-up misses none."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from like_jobs import DUPLICATES, LOOK_ALIKES, Text

from orchestrator.core.config import Duplicates
from orchestrator.core.job import Job, JobSpec, Standing, State
from orchestrator.core.likes import bounds_of, bounds_told, parse_bounds
from orchestrator.core.similar import ALL, Bounds, Likeness, Likes, Means, in_words
from orchestrator.core.wording import Other, is_template, names_differ, said

AT = Standing("new-00000000", 1, State.READY, "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z")
DEFAULT = bounds_of(Duplicates().ask, Duplicates().block)
ANY = Bounds(1, 0)
"""Whatever has a word in common is told."""


def job(prompt: str, id_: str = "new-00000000", title: str = "", **spec: Any) -> Job:
    return Job("", False, JobSpec(prompt, title=title, **spec), replace(AT, id=id_))


def likes(*jobs: Job) -> Likes:
    made = Likes()
    made.begin({each.id: each for each in jobs})
    return made


def judged(old: Text, new: Text, bounds: Bounds = DEFAULT, *others: Job) -> Likeness | None:
    open_jobs = likes(job(old[1], "old-00000001", old[0]), *others)
    return open_jobs.judge(job(new[1], title=new[0]), bounds)


def stopped(pair: tuple[Text, Text], *others: Job) -> Means | None:
    near = judged(*pair, DEFAULT, *others)
    return near.means if near is not None and near.twin == "old-00000001" else None


# --- what the defaults tell apart ---------------------------------------------------------------------------------


def test_the_defaults_catch_most_duplicates_and_stop_nothing_that_only_looks_like_one() -> None:
    caught = [stopped(pair) for pair in DUPLICATES]
    wrong = [pair for pair in LOOK_ALIKES if stopped(pair) in (Means.ASKED, Means.REFUSED)]
    assert wrong == []
    assert (len(caught), caught.count(Means.REFUSED), caught.count(Means.ASKED)) == (18, 12, 4)


def test_nor_do_they_where_many_other_jobs_are_open() -> None:
    texts = [text for pair in (*DUPLICATES, *LOOK_ALIKES) for text in pair]
    for pair in DUPLICATES:
        others = [job(t[1], f"x-{n:08}", t[0]) for n, t in enumerate(texts) if t not in pair]
        found, alone = stopped(pair, *others), stopped(pair)
        assert (found is None) == (alone is None), pair
    for pair in LOOK_ALIKES:
        others = [job(t[1], f"x-{n:08}", t[0]) for n, t in enumerate(texts) if t not in pair]
        assert stopped(pair, *others) in (None, Means.PASSED), pair


def test_without_the_guards_many_of_them_would_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    for guard in ("names_differ", "is_template"):
        monkeypatch.setattr(f"orchestrator.core.similar.{guard}", lambda one, two: False)
    assert sum(stopped(pair) in (Means.ASKED, Means.REFUSED) for pair in LOOK_ALIKES) == 13


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Mend the tests in test_a.py today", "Mend the tests in test_b.py today"),
        ("Mend chapter 3 of the long book", "Mend chapter 4 of the long book"),
        ("Move the shop to version v2.0", "Move the shop to version v2.1"),
        ("Document src/net/client for people", "Document src/net/server for people"),
        ("Document UserStore for new people", "Document JobStore for new people"),
        ("Document user_store for new people", "Document job_store for new people"),
        ("Document the option -q for people", "Document the option -v for people"),
        ("Explain HTTP for new people", "Explain SMTP for new people"),
        ("Rename `owner` in the whole shop", "Rename `buyer` in the whole shop"),
        ('Write "good morning" on the page', 'Write "good evening" on the page'),
        ("Read part A of the long book", "Read part B of the long book"),
        ("Tell them on monday what is new", "Tell them on friday what is new"),
        ("Mend issue #41 of the long list", "Mend issue #57 of the long list"),
        ("Ask ada@example.org for the long list", "Ask bob@example.org for the long list"),
    ],
)
def test_jobs_that_each_name_something_else_are_passed_and_it_is_said_why(old: str, new: str) -> None:
    near = judged(("", old), ("", new), ANY)
    assert near is not None
    assert (near.means, near.why) == (Means.PASSED, Other.NAMES)
    # It takes both sides, and another order of words does not help.
    again = judged(("", old), ("", f"{' '.join(reversed(old.split()))} please"), ANY)
    assert again is not None
    assert again.why is None


def test_a_name_that_the_other_merely_writes_without_quotes_is_no_other_name() -> None:
    near = judged(("", "Rename `owner` in the shop, see issue 41"), ("", "In the shop rename owner (issue 41), 'soon'"))
    assert near is not None
    assert near.why is None


def test_a_template_is_known_by_its_order_and_by_how_little_is_filled_in() -> None:
    base = "Write a text about {} for the front page of the shop and keep it short"

    def why(one: str, two: str, text: str = base) -> Other | None:
        near = judged(("", base.format(one)), ("", text.format(two)), ANY)
        return near.why if near is not None else None

    assert why("sperm whales", "dolphins") is Other.FILLED
    assert why("a b", "dolphins") is Other.FILLED
    assert why("dolphins", "dolphins and whales") is None
    assert why("dolphins", "whales", "Keep it short, for the front page of the shop: a text about {}") is None
    assert why("colour", "color") is None
    assert why("dolphins", "dolhpins") is None
    assert why("the red chair with folding legs made from old wood", "lamps") is None


@pytest.mark.parametrize(
    "name", ["kind", "target", "agent", "backend", "model", "not_before", "skills", "needs", "paths"]
)
def test_what_differs_beside_the_words_makes_it_other_work(name: str) -> None:
    value: Any = ("x",) if name in ("skills", "needs", "paths") else "research"
    old = job("Mend the log-in page soon", "old-00000001", **{name: value})
    assert likes(old).judge(job("Soon, mend the log-in page"), DEFAULT) is None
    assert likes(old).judge(replace(old, at=AT), DEFAULT) == Likeness("old-00000001", ALL, Means.REFUSED)


def test_projects_and_jobs_with_a_key_of_their_own_are_not_held_against_others() -> None:
    text = "Mend the log-in page soon"
    other = replace(job(text, "old-00000001"), at=replace(AT, id="old-00000001", project="shop"))
    assert likes(other, job(text, "old-00000002", dedup_key="k")).judge(job(text), DEFAULT) is None
    assert likes(job(text, "old-00000003")).judge(job(text, dedup_key="k"), DEFAULT) is None


def test_texts_without_a_word_of_their_own_are_like_nothing() -> None:
    assert judged(("", "Do it"), ("", "do it!"), ANY) is None
    assert judged(("", "..."), ("", "-"), ANY) is None


def test_the_bounds_decide_and_each_may_be_switched_off() -> None:
    texts = ("", "Mend the log-in page of the big shop"), ("", "Mend soon the log-in page of the shop")
    score = judged(*texts, ANY).score  # type: ignore[union-attr]
    expected = {
        Bounds(score, score + 1): Means.ASKED,
        Bounds(score, score): Means.REFUSED,
        Bounds(0, score): Means.REFUSED,
        Bounds(score, 0): Means.ASKED,
    }
    for bounds, means in expected.items():
        assert judged(*texts, bounds) == Likeness("old-00000001", score, means)
    for bounds in (Bounds(score + 1, 0), Bounds(0, score + 1), Bounds(0, 0)):
        assert judged(*texts, bounds) is None


def test_of_several_the_most_like_is_named_that_nothing_speaks_against() -> None:
    near = job("Mend the log-in page of the shop for 7 people", "a-00000001")
    guarded = job("Mend the log-in page of the shop soon for 8 people", "a-00000000")
    found = likes(guarded, near).judge(job("Mend soon the log-in page of the shop for 7 people"), DEFAULT)
    assert found is not None
    assert (found.twin, found.why) == ("a-00000001", None)
    both = likes(job("Mend the shop soon", "b-00000002"), job("Soon mend the shop", "b-00000001"))
    assert both.judge(job("mend shop soon"), DEFAULT) == Likeness("b-00000001", ALL, Means.REFUSED)


def test_words_are_told_as_they_are_and_bounds_are_read_back() -> None:
    assert Likeness("a-00000001", 869, Means.ASKED).told == "0.86 a-00000001 asked"
    assert Likeness("a-1", 600, Means.PASSED, Other.NAMES).told.endswith(
        "passed (each names something that the other does not)"
    )
    assert [in_words(each) for each in (0, 9, 799, 800, 1000)] == ["0.00", "0.00", "0.79", "0.80", "1.00"]
    assert parse_bounds(bounds_told(DEFAULT)) == DEFAULT
    for odd in ("", "0.6", "0.6 0.8", "nan 0.800", "0.600 1.500", "0.600  0.800"):
        with pytest.raises(ValueError, match=r".*"):
            parse_bounds(odd)


# --- any texts ----------------------------------------------------------------------------------------------------

WORDS = ["mend", "page", "shop", "fast", "slow", "test_a.py", "7", "`x`", "Users", "HTTP", "the", "log-in", "chairs"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join) | st.text(max_size=60)


@settings(deadline=None)
@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=5))
def test_likeness_is_the_same_from_both_sides_and_between_0_and_1(one: str, two: str, rest: list[str]) -> None:
    others = [job(text, f"x-{number:08}", agent="other") for number, text in enumerate(rest)]
    there = likes(job(one, "old-00000001"), *others).judge(job(two), ANY)
    back = likes(job(two, "old-00000001"), *others).judge(job(one), ANY)
    assert there == back
    assert there is None or 0 < there.score <= ALL


@settings(deadline=None)
@given(TEXTS, st.lists(TEXTS, max_size=5))
def test_a_text_is_wholly_like_itself(text: str, rest: list[str]) -> None:
    others = [job(each, f"x-{number:08}") for number, each in enumerate(rest)]
    near = likes(job(text, "a-00000001"), *others).judge(job(f" {text}\n"), Bounds(ALL, 0))
    if near is None:
        assert likes(job(text)).judge(job(text, "b-00000001"), ANY) is None, "only what has no words"
    else:
        assert (near.score, near.why) == (ALL, None)


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=12), TEXTS, st.sampled_from([300, 600, 800]), st.randoms())
def test_the_look_up_finds_what_a_look_at_every_job_finds(
    texts: list[str], new: str, least: int, rng: random.Random
) -> None:
    jobs = {f"x-{number:08}": job(text, f"x-{number:08}") for number, text in enumerate(texts)}
    quick = likes(*jobs.values())
    gone = {id_ for id_ in jobs if rng.random() < 0.3}
    for id_ in gone:
        quick.follow(id_, None)
        del jobs[id_]
    for id_ in jobs:
        if rng.random() < 0.3:
            jobs[id_] = job(rng.choice(texts), id_)
            quick.follow(id_, jobs[id_])
    found = quick.judge(job(new), Bounds(least, 0))
    assert found == likes(*jobs.values()).judge(job(new), Bounds(least, 0))
    every = likes(*jobs.values()).judge(job(new), ANY)
    if found is None and every is not None:
        assert every.score < least
    elif found is not None:
        assert found.score >= least


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXTS, max_size=30), TEXTS, st.sampled_from([1, 300, 600, 800]), st.sampled_from([0, 1, 2, 8]))
def test_what_is_found_is_what_its_definition_says(texts: list[str], new: str, least: int, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # With so few texts hardly a word is one that many have.
        patch.setattr("orchestrator.core.similar.FEW", few)
        jobs = {f"x-{number:08}": job(text, f"x-{number:08}") for number, text in enumerate([*texts, *texts[:9]])}
        open_jobs = likes(*jobs.values())
        for id_ in list(jobs)[3::4]:
            open_jobs.follow(id_, None)
            del jobs[id_]
        found = open_jobs.judge(job(new), Bounds(least, 0))
    assert found == by_definition(job(new), jobs, least)


def by_definition(new: Job, jobs: dict[str, Job], least: int) -> Likeness | None:
    one, every = said(new.spec), {id_: said(each.spec) for id_, each in jobs.items()}
    assert one is not None
    texts = [one.words, *(each.words for each in every.values() if each is not None)]

    def weight(words: frozenset[str]) -> int:
        having = (sum(word in text for text in texts) for word in words)
        return sum(round(ALL * (1 + math.log((len(texts) + 1) / (each + 1)))) for each in having)

    near: list[tuple[bool, int, str, Other | None]] = []
    for id_, two in every.items():
        assert two is not None
        score = ALL * weight(one.words & two.words) // max(weight(one.words | two.words), 1)
        why = Other.NAMES if names_differ(one, two) else Other.FILLED if is_template(one, two) else None
        if score >= least and one.words:
            near.append((why is not None, -score, id_, why))
    if not near:
        return None
    is_passed, score, id_, why = min(near, key=lambda each: each[:3])
    return Likeness(id_, -score, Means.PASSED if is_passed else Means.ASKED, why)
