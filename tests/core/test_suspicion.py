"""Approvals that are not enough by themselves: what makes one suspicious, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import (
    AUTHOR,
    COMMIT,
    HUMAN,
    ID,
    LATER,
    LIMITS,
    NOON,
    NOW,
    a_board,
    a_job,
    a_review,
    a_run,
    a_spec,
    an_agent,
    evidence_of,
    judged,
    the_terms,
)

from orchestrator.core.actions import Ask, Stand, StartReview
from orchestrator.core.answer import answer
from orchestrator.core.attempt import not_started, run_lost
from orchestrator.core.config import SUSPICION, Config, Suspicion
from orchestrator.core.evidence_record import ChangedPath
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Independence, Job, MergePolicy, ReviewWishes, Second, SecondWhy, State
from orchestrator.core.judge import approval_stands, review_ended
from orchestrator.core.merge import ask
from orchestrator.core.records import CardKind
from orchestrator.core.review_record import Finding, Item, Lately, ReviewRecord, Verdict
from orchestrator.core.schedule import decide
from orchestrator.core.suspicion import doubts_of, is_drawn
from orchestrator.core.transitions import Move

SHOWN = (Item("correct", True, "a.py:3"), Item("safe", True, "nothing is read"))
BARE = (Item("correct", True, "a.py:3"), Item("safe", False, " "))
REMARK = (Finding("remark", "A name could be better."),)
SLOW, QUICK = 45.0, 3.2
EASY = replace(SUSPICION, reviews=5, approvals=0.8)


def an_approval(**keys: Any) -> ReviewRecord:
    known = {"verdict": Verdict.APPROVED, "items": SHOWN, "seconds": SLOW, "suspicion": SUSPICION}
    return replace(a_review(reviewing_job()), **{**known, "lately": Lately(0, 0), **keys})


def reviewing_job(**at: Any) -> Job:
    known = {"tip": COMMIT, "attempt": 1, "evidence": 1, "review": 1, "tests": "passed", "agent": "engineer"}
    run = a_run(ID, RunKind.REVIEW, at.get("review", 1))
    return a_job(state=State.REVIEWING, spec=a_spec(merge=MergePolicy.AUTO), **{**known, "run": run, **at})


def limits(**keys: Any) -> Suspicion:
    return replace(SUSPICION, **keys)


@pytest.mark.parametrize(
    ("keys", "lines", "doubts"),
    [
        ({}, 5, ()),
        ({"seconds": QUICK}, 5, ("it took 3.2 s",)),
        ({"seconds": 20.0}, 5, ()),
        ({"seconds": QUICK, "suspicion": limits(seconds=0.0)}, 5, ()),
        ({"seconds": QUICK, "suspicion": None}, 5, ()),
        ({"seconds": QUICK, "verdict": Verdict.REVISE}, 5, ()),
        ({"seconds": QUICK, "verdict": Verdict.INCONCLUSIVE}, 5, ()),
        ({"items": BARE}, 5, ("no evidence for safe",)),
        ({"items": ()}, 5, ("no evidence for anything",)),
        ({}, 300, ()),
        ({}, 301, ("no remark on 301 changed lines",)),
        ({"findings": REMARK}, 301, ()),
        ({"suspicion": limits(lines=0)}, 9000, ()),
        ({"lately": Lately(19, 19)}, 5, ()),
        ({"lately": Lately(20, 20)}, 5, ("critic approved 20 of the last 20 it judged",)),
        ({"lately": Lately(49, 50)}, 5, ()),
        ({"lately": Lately(50, 50)}, 5, ("critic approved 50 of the last 50 it judged",)),
        ({"lately": Lately(50, 50), "suspicion": limits(approvals=1.0)}, 5, ()),
        ({"lately": Lately(9, 10), "suspicion": EASY}, 5, ("critic approved 9 of the last 10 it judged",)),
        ({"seconds": 0.04, "items": BARE}, 5, ("it took 0.0 s", "no evidence for safe")),
    ],
)  # fmt: skip
def test_what_makes_an_approval_suspicious(keys: dict[str, Any], lines: int, doubts: tuple[str, ...]) -> None:
    paths = (ChangedPath("a.py", "M", lines - 1, 1), ChangedPath("logo.png", "A", None, None))
    assert doubts_of(an_approval(**keys), evidence_of(reviewing_job(), paths=paths)) == doubts


def test_the_defaults_can_be_changed_one_by_one() -> None:
    assert Config.from_file({"review": {"suspicion": {"lines": 50}}}).review.suspicion == limits(lines=50)
    assert Config.from_file({}).review.suspicion == SUSPICION


# --- what follows


def ended(job: Job, verdict: str, review: ReviewRecord, **found: Any) -> Move:
    return review_ended(job, review, judged(verdict, **found), the_terms(job.spec), NOW, stat="1 file changed")


def doubted(**keys: Any) -> ReviewRecord:
    return an_approval(seconds=QUICK, doubts=("it took 3.2 s",), **keys)


def test_a_suspicious_approval_approves_nothing_and_another_reviewer_is_to_be_asked() -> None:
    move = ended(reviewing_job(), "APPROVED", doubted())
    at = move.job.at
    assert (at.state, at.approved, at.run, at.excluded, at.inconclusive) == (State.REVIEWING, "", "", (), 0)
    told = "critic approved it, but it took 3.2 s"
    assert at.second == Second(SecondWhy.APPROVAL, 1, ("critic",), told)
    assert at.reason == told
    assert told in move.subject
    assert dict(move.trailers)["Doubts"] == "it took 3.2 s"


def asked_again(**second: Any) -> Job:
    move = ended(reviewing_job(), "APPROVED", doubted(**second))
    return replace(move.job, at=replace(move.job.at, review=2, run=a_run(ID, RunKind.REVIEW, 2)))


def second(**keys: Any) -> ReviewRecord:
    review = an_approval(number=2, **keys)
    return replace(review, reviewer=replace(review.reviewer, agent="judge"))


@pytest.mark.parametrize("items", [(), (Item("correct", True, " "), Item("safe", True, ""))])
def test_a_second_approval_that_rests_on_nothing_is_not_enough(items: tuple[Item, ...]) -> None:
    move = ended(asked_again(), "APPROVED", second(items=items))
    card = move.records["card-1"]
    assert (move.job.state, move.job.at.approved, card.kind) == (State.DECIDE, "", CardKind.SUSPICIOUS)
    assert "critic approved it, but it took 3.2 s" in card.context
    assert "judge approved it as well, without evidence" in card.context


def test_a_second_approval_is_enough_also_if_it_is_quick_too() -> None:
    job = asked_again()
    review = second(seconds=QUICK, doubts=("it took 3.2 s",))
    move = ended(job, "APPROVED", review)
    assert (move.job.state, move.job.at.approved, move.job.at.second) == (State.MERGING, COMMIT, None)
    assert "approved by judge, as by critic before" in move.subject
    assert dict(move.trailers)["Second-Of"] == "1"
    assert "Doubts" not in dict(move.trailers)


def test_two_approvals_are_as_weak_as_the_weaker_of_them() -> None:
    job = asked_again(independence="model")
    move = ended(job, "APPROVED", an_approval(number=2))
    assert (move.job.state, move.job.at.weak) == (State.DECIDE, True)
    assert move.records["card-1"].kind is CardKind.MERGE


def test_a_second_reviewer_that_disagrees_sends_its_fixes_to_the_author() -> None:
    move = ended(asked_again(), "REVISE", an_approval(number=2), findings=(Finding("blocking", "It loops."),))
    at = move.job.at
    assert (at.state, at.second, at.rounds, [each.problem for each in at.fixes]) == (
        State.READY,
        None,
        1,
        ["It loops."],
    )


def test_a_second_reviewer_that_rejects_it_asks_the_person() -> None:
    move = ended(asked_again(), "REJECT", an_approval(number=2))
    assert (move.job.state, move.job.at.second) == (State.DECIDE, None)


def test_a_second_reviewer_without_a_clear_verdict_leaves_the_question_open() -> None:
    job = asked_again()
    move = ended(
        job, "INCONCLUSIVE", replace(an_approval(number=2), reviewer=replace(doubted().reviewer, agent="judge"))
    )
    assert (move.job.state, move.job.at.second, move.job.at.excluded) == (State.REVIEWING, job.at.second, ("judge",))


def asked(job: Job, **families: str) -> StartReview | Ask | Stand:
    agents = [an_agent(name, family=family, roles=("review",)) for name, family in families.items()]
    job = replace(job, at=replace(job.at, run="", author=AUTHOR.worker()))
    [action] = decide(a_board(job, agents=(AUTHOR, *agents)), NOON)
    assert isinstance(action, StartReview | Ask | Stand)
    return action


def test_neither_the_author_nor_the_first_reviewer_is_asked_for_the_second_opinion() -> None:
    assert asked(reviewing_job(), critic="south", judge="south") == StartReview(ID, "critic", "family")
    assert asked(asked_again(), critic="south", judge="south") == StartReview(ID, "judge", "family")


def test_with_nobody_else_to_ask_the_person_is_asked_and_told_why() -> None:
    action = asked(asked_again(), critic="south", same="north")
    assert isinstance(action, Ask)
    assert action.kind is CardKind.SUSPICIOUS
    assert "nobody else to ask" in action.question
    assert "critic approved it, but it took 3.2 s" in action.context
    assert "critic was asked already" in action.context


def test_a_ceiling_between_the_two_reviews_forgets_nothing() -> None:
    job = asked_again()
    job = replace(job, at=replace(job.at, run="", review=6, author=AUTHOR.worker()))
    [action] = decide(a_board(job), NOON)
    assert isinstance(action, Ask)
    move = ask(job, action.kind, action.question, NOW, action.context)
    again = answer(move.job, move.records["card-1"], "retry", "", the_terms(), NOW, actor=HUMAN).job
    assert (action.kind, again.state, again.at.second) == (CardKind.CEILING, State.REVIEWING, job.at.second)


@pytest.mark.parametrize(("key", "state"), [("approve", State.MERGING), ("review", State.REVIEWING)])
def test_whatever_the_person_answers_the_suspicion_is_settled(key: str, state: State) -> None:
    job = replace(asked_again(), at=replace(asked_again().at, run=""))
    move = ask(job, CardKind.SUSPICIOUS, "Take it?", NOW, "it took 3.2 s")
    after = answer(move.job, move.records["card-1"], key, "", the_terms(), NOW, actor=HUMAN).job
    assert (after.state, after.at.second) == (state, None)


# --- approvals that are drawn by lot


def test_about_so_many_of_a_hundred_are_drawn_and_always_the_same() -> None:
    jobs = [f"job-{number:08x}" for number in range(10_000)]
    drawn = {job for job in jobs if is_drawn(job, COMMIT, 5)}
    assert 400 < len(drawn) < 600
    assert drawn == {job for job in jobs if is_drawn(job, COMMIT, 5)}
    assert drawn < {job for job in jobs if is_drawn(job, COMMIT, 50)}
    assert drawn != {job for job in jobs if is_drawn(job, "b" * 40, 5)}
    assert not any(is_drawn(job, COMMIT, 0) for job in jobs)
    assert all(is_drawn(job, COMMIT, 100) for job in jobs)


def test_the_share_can_be_changed_or_switched_off() -> None:
    assert Config.from_file({}).review.second == 5
    assert Config.from_file({"review": {"second": 0}}).review.second == 0


def drawn(**keys: Any) -> ReviewRecord:
    return an_approval(**{"share": 100, **keys})


def test_an_approval_that_is_drawn_waits_for_another_reviewer_and_is_not_called_suspicious() -> None:
    move = ended(reviewing_job(), "APPROVED", drawn())
    at = move.job.at
    told = "critic approved it, and of the approvals that raise no doubt it was drawn by lot to be judged twice"
    assert (at.state, at.approved, at.second) == (State.REVIEWING, "", Second(SecondWhy.DRAW, 1, ("critic",), told))
    assert move.records["review-1"].drawn
    assert dict(move.trailers)["Drawn"] == "100 %"
    assert "Doubts" not in dict(move.trailers)


@pytest.mark.parametrize(
    ("keys", "before"),
    [
        ({"share": 0}, None),
        ({"independence": "model"}, None),
        ({}, Second(SecondWhy.DISPUTE, 1, ("judge",), "the author disputes it", sides="F1")),
    ],
)
def test_weak_approvals_and_those_of_a_dispute_are_not_drawn(keys: dict[str, Any], before: Second | None) -> None:
    move = ended(reviewing_job(second=before), "APPROVED", drawn(**keys))
    assert (move.job.at.approved, move.job.at.second, move.records["review-1"].drawn) == (COMMIT, None, False)


def test_a_suspicious_approval_is_not_drawn_besides() -> None:
    at = ended(reviewing_job(), "APPROVED", drawn(seconds=QUICK, doubts=("it took 3.2 s",))).job.at
    assert at.second is not None
    assert at.second.why is SecondWhy.APPROVAL


def waiting_for_second(**at: Any) -> Job:
    job = ended(reviewing_job(), "APPROVED", drawn()).job
    return replace(job, at=replace(job.at, **at))


def second_running() -> Job:
    return waiting_for_second(review=2, run=a_run(ID, RunKind.REVIEW, 2))


@pytest.mark.parametrize("keys", [{}, {"items": ()}, {"independence": "model"}, {"seconds": QUICK}])
def test_whatever_a_confirmation_rests_on_an_approval_that_was_drawn_is_none_the_worse(keys: dict[str, Any]) -> None:
    move = ended(second_running(), "APPROVED", second(share=100, **keys))
    at = move.job.at
    assert (at.state, at.approved, at.second, at.weak, at.card) == (State.MERGING, COMMIT, None, False, 0)
    assert dict(move.trailers)["Second-Of"] == "1"
    assert "Drawn" not in dict(move.trailers)


def test_a_second_reviewer_that_was_drawn_and_disagrees_is_heard() -> None:
    changes = ended(second_running(), "REVISE", second(), findings=(Finding("blocking", "It loops."),)).job.at
    assert (changes.state, changes.second, len(changes.fixes)) == (State.READY, None, 1)
    assert ended(second_running(), "REJECT", second()).job.state is State.DECIDE


def test_unclear_answers_of_second_reviewers_never_make_a_draw_a_question() -> None:
    first = ended(second_running(), "INCONCLUSIVE", second()).job
    assert (first.state, first.at.excluded, first.at.inconclusive) == (State.REVIEWING, ("judge",), 1)
    again = replace(first, at=replace(first.at, review=3, run=a_run(ID, RunKind.REVIEW, 3)))
    assert ended(again, "INCONCLUSIVE", an_approval(number=3)).job.state is State.REVIEWING


def test_with_nobody_else_to_ask_an_approval_that_was_drawn_stands() -> None:
    assert asked(waiting_for_second(), critic="south", judge="south") == StartReview(ID, "judge", "family")
    action = asked(waiting_for_second(), critic="south", same="north")
    assert isinstance(action, Stand)
    assert "critic was asked already" in action.why


@pytest.mark.parametrize("at", [{"crashes": 1}, {"failed_starts": 1}, {"review": 6}, {"starts": 12}])
def test_a_second_review_that_cannot_be_had_at_once_is_not_waited_for(at: dict[str, Any]) -> None:
    assert isinstance(asked(waiting_for_second(not_before=LATER, **at), critic="south", judge="south"), Stand)


def test_a_person_who_wants_to_look_at_it_is_asked_also_about_an_approval_that_was_drawn() -> None:
    job = waiting_for_second()
    job = replace(job, spec=a_spec(review=ReviewWishes(independence=Independence.HUMAN)))
    action = asked(job, critic="south", judge="south")
    assert isinstance(action, Ask)
    assert action.kind is CardKind.HUMAN_REVIEW


def test_an_approval_that_stands_is_one_like_any_other() -> None:
    job = waiting_for_second(not_before=LATER, crashes=1)
    move = approval_stands(job, "nobody else can judge it", the_terms(job.spec), NOW, stat="1 file")
    at = move.job.at
    assert (at.state, at.approved, at.second, at.weak) == (State.MERGING, COMMIT, None, False)
    assert (at.not_before, at.crashes) == ("", 0)
    assert "the approval by critic stands without a second review: nobody else can judge it" in move.subject
    assert dict(move.trailers)["Second-Of"] == "1"


def test_where_a_person_is_asked_before_the_merge_that_is_asked_of_an_approval_that_stands_too() -> None:
    move = approval_stands(waiting_for_second(), "nobody is there", the_terms(), NOW, stat="1 file")
    assert (move.job.state, move.records["card-1"].kind) == (State.DECIDE, CardKind.MERGE)
    assert "critic approved it" in move.records["card-1"].question


def test_a_second_review_that_dies_or_does_not_start_is_no_question_at_any_limit() -> None:
    job = second_running()
    assert run_lost(job, replace(LIMITS, crashes=1), NOW).job.state is State.REVIEWING
    assert not_started(job, "no program", replace(LIMITS, failed_starts=1), NOW).job.state is State.REVIEWING
