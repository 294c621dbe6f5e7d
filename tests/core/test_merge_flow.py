"""Approved work on its way to the target: built, checked, landed, blocked, built anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import BASE, COMMIT, HUMAN, NOW, a_job, a_merge, a_result, evidence_of, started, the_terms

from orchestrator.core.accept import edit
from orchestrator.core.evidence import checks_started
from orchestrator.core.evidence_record import Outcome
from orchestrator.core.job import Job, Priority, State
from orchestrator.core.merge import (
    MAX_REBUILDS,
    ask,
    collides_no_more,
    landed,
    landing_blocked,
    landing_free,
    merge_built,
    merge_checked,
    target_moved,
)
from orchestrator.core.records import Card, CardKind
from orchestrator.core.transitions import IllegalStepError, Move

MERGED = "d" * 40
TERMS = the_terms()


def merging(**at: Any) -> Job:
    return a_job(state=State.MERGING, **{"approved": COMMIT, "tip": COMMIT, "base": BASE, "tests": "passed", **at})


def landing(**at: Any) -> Job:
    return a_job(state=State.LANDING, **{"approved": COMMIT, "tip": COMMIT, "merged": MERGED, **at})


def blocked() -> tuple[Job, Card]:
    move = landing_blocked(landing(), "a.py is changed", "git stash", NOW, target="main")
    return move.job, move.records["card-1"]


def test_a_merge_that_was_built_is_checked_next() -> None:
    job = merging()
    at = merge_built(job, a_merge(job), TERMS, NOW).job.at
    assert (at.state, at.merged, at.target_was, at.approved, at.merge) == (State.MERGING, MERGED, BASE, COMMIT, 1)


def test_a_conflict_goes_back_to_the_author_on_the_newest_base() -> None:
    job = merging(rebuilds=2, weak=True)
    at = merge_built(job, a_merge(job, merged="", conflicts=("a.py", "b.py")), TERMS, NOW).job.at
    assert (at.state, at.spent, at.base, at.tip) == (State.READY, 1, "", "")
    assert (at.approved, at.merged, at.rebuilds, at.weak) == ("", "", 0, False)
    assert "a.py, b.py" in at.fixes[0].problem


def collides(job: Job, *, heir: str = "") -> Move:
    record = a_merge(job, merged="", conflicts=("a.py",))
    return merge_built(job, record, TERMS, NOW, heir=heir, sides=lambda: ("ours", "theirs"))


@pytest.mark.parametrize(
    ("conflicts", "heir", "spent", "state", "given"),
    [
        (0, "", 0, State.READY, ""),
        (0, "bob", 0, State.READY, ""),
        (1, "bob", 1, State.READY, "bob"),
        (1, "", 1, State.DECIDE, ""),
        (2, "bob", 1, State.DECIDE, ""),
        (7, "bob", 1, State.DECIDE, ""),
        # An attempt is spent as by all work that comes back, and at the limit a person is asked.
        (0, "", 2, State.DECIDE, ""),
        (1, "bob", 2, State.DECIDE, ""),
    ],
)
def test_a_conflict_goes_to_the_author_then_to_another_then_to_a_person(
    conflicts: int, heir: str, spent: int, state: State, given: str
) -> None:
    at = collides(merging(conflicts=conflicts, spent=spent), heir=heir).job.at
    assert (at.state, at.given, at.conflicts, at.spent) == (state, given, conflicts + 1, spent + 1)
    assert (at.approved, at.collided, at.base, at.tip) == ("", COMMIT, "", "")


def test_the_card_about_a_conflict_has_both_sides_and_is_about_no_commit() -> None:
    card = collides(merging(conflicts=2)).records["card-1"]
    assert (card.kind, card.facts, card.context) == (CardKind.CONFLICT, {}, "ours\ntheirs")
    assert "3 times" in card.question


def test_what_collides_no_more_has_the_approval_that_it_had() -> None:
    job = collides(merging()).job
    seen = evidence_of(job, tip=COMMIT)
    at = collides_no_more(job, seen, NOW, target="main").job.at
    assert (at.state, at.approved, at.tip, at.base) == (State.MERGING, COMMIT, COMMIT, BASE)
    assert (at.fixes, at.collided) == ((), "")


def test_a_conflict_that_nobody_began_with_was_nobodys_go() -> None:
    job = collides(merging(conflicts=1, spent=1), heir="bob").job
    assert (job.at.conflicts, job.at.spent, job.at.given) == (2, 2, "bob")
    at = collides_no_more(job, evidence_of(job, tip=COMMIT), NOW, target="main").job.at
    assert (at.conflicts, at.spent, at.given) == (1, 1, "")


@pytest.mark.parametrize("collided", ["", MERGED])
def test_an_approval_that_is_void_does_not_come_back(collided: str) -> None:
    job = a_job(collided=collided)
    with pytest.raises(IllegalStepError):
        collides_no_more(job, evidence_of(job, tip=COMMIT), NOW, target="main")


@pytest.mark.parametrize(("keys", "stands"), [(["title", "priority"], True), (["prompt"], False), (["merge"], False)])
def test_an_approval_waits_for_the_target_only_while_nothing_else_is_asked_for(
    keys: list[str], *, stands: bool
) -> None:
    job = collides(merging()).job
    after = edit(job, job.text, job.spec, NOW, actor=HUMAN, keys=keys, priority=Priority.P2).job
    assert bool(after.at.collided) is stands
    assert not started(job).at.collided


@pytest.mark.parametrize("tests", ["passed", "flaky", "none"])
def test_a_merged_tree_that_passes_is_landed(tests: str) -> None:
    job = checks_started(merging(merged=MERGED, crashes=1, failed_starts=1), "run", NOW).job
    assert job.at.starts == 1
    at = merge_checked(job, a_merge(job, tests=tests), TERMS, NOW).job.at
    assert (at.state, at.merged, at.run, at.crashes, at.failed_starts) == (State.LANDING, MERGED, "", 0, 0)


@pytest.mark.parametrize("tests", ["failed", "", "unknown"])
def test_a_merged_tree_that_does_not_pass_goes_back_and_is_no_longer_approved(tests: str) -> None:
    job = merging(merged=MERGED, run="x", crashes=2)
    at = merge_checked(job, a_merge(job, tests=tests, checks=(a_result(Outcome.FAILED),)), TERMS, NOW).job.at
    assert (at.state, at.approved, at.merged, at.tip, at.run, at.crashes) == (State.READY, "", "", "", "", 0)
    assert "make tests" in at.fixes[0].problem


@pytest.mark.parametrize("state", [State.LANDING, State.MERGING])
def test_a_target_that_moved_is_merged_anew_three_times_then_a_card(state: State) -> None:
    job = a_job(state=state, approved=COMMIT, merged=MERGED, target_was=BASE)
    for rebuild in range(1, MAX_REBUILDS + 1):
        job = target_moved(job, NOW, target="main").job
        assert (job.state, job.at.rebuilds, job.at.merged, job.at.approved) == (State.MERGING, rebuild, "", COMMIT)
    move = target_moved(job, NOW, target="main")
    assert move.records["card-1"].kind is CardKind.MOVING_TARGET
    assert (move.job.at.approved, move.job.at.merged) == (COMMIT, "")


def test_a_landing_in_a_persons_way_waits_with_its_merged_tree() -> None:
    job, card = blocked()
    assert (job.state, job.at.merged, job.at.approved) == (State.DECIDE, MERGED, COMMIT)
    assert (card.kind, card.facts, card.context) == (
        CardKind.LANDING,
        {"commit": COMMIT, "target": "main"},
        "git stash",
    )


def test_a_landing_goes_on_when_the_way_is_free_and_the_card_is_superseded() -> None:
    job, card = blocked()
    move = landing_free(job, card, NOW)
    assert (move.job.state, move.job.at.merged) == (State.LANDING, MERGED)
    assert not move.records["card-1"].open


def test_no_other_card_is_a_way_to_the_landing() -> None:
    job, card = blocked()
    for stale in (
        replace(card, kind=CardKind.CEILING),
        replace(card, number=2),
        replace(card, answer="retry"),
        replace(card, superseded="gone"),
    ):
        with pytest.raises(IllegalStepError):
            landing_free(job, stale, NOW)


@pytest.mark.parametrize("kind", [kind for kind in CardKind if kind is not CardKind.LANDING])
def test_only_a_blocked_landing_waits_with_a_merged_tree(kind: CardKind) -> None:
    at = ask(merging(merged=MERGED, target_was=BASE), kind, "What now?", NOW).job.at
    assert (at.approved, at.merged, at.target_was) == (COMMIT, "", "")


def test_work_is_done_when_it_is_on_the_target() -> None:
    job = landing()
    move = landed(job, a_merge(job, landed=MERGED), NOW, target="main", commit=MERGED, stat="1 file changed")
    assert (move.job.state, move.job.at.reason) == (State.DONE, f"on main as {MERGED[:12]}")
    assert dict(move.trailers)["Reviewed-Sha"] == COMMIT
    assert list(move.records) == ["merge-1"]


def test_a_branch_is_done_without_a_merge() -> None:
    job = landing(merged="")
    assert landed(job, None, NOW, target="orc/x", commit=COMMIT, stat="").job.state is State.DONE


def test_nothing_lands_that_was_not_approved() -> None:
    with pytest.raises(IllegalStepError):
        landed(landing(approved=""), None, NOW, target="main", commit=MERGED, stat="")
    with pytest.raises(IllegalStepError):
        landed(merging(), None, NOW, target="main", commit=MERGED, stat="")
