"""An agent's question: the answers that it offers, the one that holds by itself, and what was answered before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from builders import BASE, HUMAN, LATER, NOON, NOW, a_board, a_job, a_spec, an_attempt, the_terms

from orchestrator.core.answer import answer, apply_default
from orchestrator.core.attempt import attempt_ended
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.card import MOST_CONTEXT, MOST_QUESTION, OPTIONS, Effect, choices_on, effect_of, new_card
from orchestrator.core.job import Fix, Held, Job, State
from orchestrator.core.merge import ask
from orchestrator.core.outbox import Request, Requested, RequestKind, ask_person
from orchestrator.core.questions import (
    CHOSEN,
    RESERVED,
    SAME_FOR,
    answer_in_words,
    choices_of,
    earlier_answer,
    offer_problem,
    question_digest,
)
from orchestrator.core.records import Card, CardKind, Option
from orchestrator.core.schedule import ApplyDefault, Remind, decide
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import ENGINE, IllegalStepError, Move
from orchestrator.errors import RefusedError

QUESTION = "Which page is meant?"
PAGES = ("/login", {"key": "both", "label": "Both pages", "consequence": "Twice the tests."})
HOURS = 48
EXPIRES = NOON + timedelta(hours=HOURS)
SECOND = timedelta(seconds=1)


def running(**at: Any) -> Job:
    known = {"attempt": 1, "run": "fix-login-7f3a09c2.attempt-1", "agent": "engineer", "tip": BASE, "base": BASE}
    return a_job(state=State.RUNNING, **{**known, **at})


def question(text: str = QUESTION, options: Sequence[Any] = PAGES, **keys: Any) -> Requested:
    return Requested("fix-login-7f3a09c2.attempt-1", "1.json", NOW, "ask", text, choices=choices_of(options), **keys)


def asked(*questions: Requested, job: Job | None = None, cards: Sequence[Card] = (), now: str = NOW) -> Move:
    job = job or running()
    ended = replace(an_attempt(job), ended=now, status=RunStatus.ENDED, exit=0)
    terms = the_terms(job.spec)
    return ask_person(job, attempt_ended(job, ended, terms, now), questions, terms, now, cards=cards)


def card_of(move: Move) -> Card:
    card: Card = move.records[f"card-{move.job.at.card}"]
    return card


def replied(move: Move, key: str, message: str = "", now: str = LATER) -> Move:
    return answer(move.job, card_of(move), key, message, the_terms(), now, actor=HUMAN)


def with_default(**at: Any) -> Move:
    return asked(question(default="both", expires_h=HOURS), job=running(**at))


# --- what is offered ---


def test_an_option_has_its_key_or_a_letter_and_never_promises_more_than_a_reply() -> None:
    one, two = choices_of(PAGES)
    assert one == Option("a", "/login", CHOSEN)
    assert two == Option("both", "Both pages", f"{CHOSEN} Twice the tests.")


def test_a_long_text_is_cut_visibly_and_whole_in_what_follows_from_it() -> None:
    (one,) = choices_of(["x" * 41])
    assert (len(one.label), one.label[-1]) == (40, "…")
    assert one.consequence == f"{CHOSEN} {'x' * 41}"


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "one\ntwo", "\u202eevil", "a\tb\rc"])
def test_no_option_brings_anything_but_printable_text_on_one_line(text: str) -> None:
    (one,) = choices_of([{"key": "a", "label": text, "consequence": text}])
    assert one.label.isprintable()
    assert one.consequence.isprintable()


@pytest.mark.parametrize(
    ("keys", "default", "hours", "told"),
    [
        (("one", "two"), "", 0, ""),
        (("yes", "no"), "no", 48, ""),
        (("approve", "two"), "", 0, "'approve'"),
        (("merge", "two"), "", 0, "'merge'"),
        (("one", "reply"), "", 0, "'reply'"),
        (("one", "one"), "", 0, "the same key"),
        (("one", "two"), "three", 0, "the default 'three'"),
        (("one",), "one", 0, "the default 'one'"),
        (("one", "two"), "", 48, "needs a default"),
        (("one\n", "two"), "", 0, "is no key"),
        (("One", "two"), "", 0, "is no key"),
        (("\u0430pprove", "two"), "", 0, "is no key"),
        (("", "two"), "", 0, "is no key"),
        (("1", "two"), "", 0, "is no key"),
        (("true", "two"), "", 0, "'true'"),
        (("x" * 21, "two"), "", 0, "is no key"),
    ],
)
def test_what_an_agent_may_offer(keys: tuple[str, ...], default: str, hours: int, told: str) -> None:
    choices = tuple(Option(key, key, CHOSEN) for key in keys)
    problem = offer_problem(choices, default, hours)
    assert told in problem
    assert bool(problem) is bool(told)


def test_no_key_of_any_card_may_be_an_agents() -> None:
    assert {option.key for options in OPTIONS.values() for option in options} <= RESERVED
    assert {effect.value for effect in Effect} <= RESERVED


def test_a_request_says_what_is_wrong_with_its_options() -> None:
    value = {"protocol": 1, "kind": "ask", "text": "x", "options": ["a", {"key": "drop", "label": "b"}]}
    assert "'drop'" in Request.from_json(value).problem
    assert Request.from_json({**value, "options": [], "expires_h": 48.0}).expires_h == 48
    assert Request(RequestKind.PROGRESS, "x").problem == ""


# --- the card ---


def test_the_options_of_one_question_stand_on_its_card_before_those_that_every_question_has() -> None:
    move = asked(question(context="There are two."))
    card = card_of(move)
    assert (move.job.state, card.kind, card.question, card.context) == (
        State.DECIDE,
        CardKind.QUESTION,
        QUESTION,
        "There are two.",
    )
    assert [option.key for option in card.options] == ["a", "both", "reply", "drop"]
    assert [option.key for option in choices_on(card)] == ["a", "both"]
    assert (card.default, card.expires, move.job.at.expires) == ("", "", "")


@pytest.mark.parametrize(
    "questions",
    [
        (question(options=("/login",)),),
        (question(options=()),),
        (question(), question("And when?")),
        (replace(question(options=()), options=("/login", "both")),),
    ],
)
def test_what_is_no_choice_between_answers_stands_in_the_context(questions: tuple[Requested, ...]) -> None:
    card = card_of(asked(*questions))
    assert choices_on(card) == ()
    assert QUESTION in card.context
    assert all(option.label in card.context for each in questions for option in each.choices)


def test_several_questions_have_no_default() -> None:
    card = card_of(asked(question(default="both", expires_h=HOURS), question("And when?")))
    assert (card.default, card.expires) == ("", "")


def test_what_is_too_long_for_a_card_is_cut_visibly_and_nothing_of_the_question_is_lost() -> None:
    long = "Why? " * 50
    card = new_card(a_job(), CardKind.QUESTION, long, NOW, context="because")
    assert (len(card.question) <= MOST_QUESTION, card.question[-1]) == (True, "…")
    assert card.context == f"because\nThe whole question: {long}"
    card = new_card(a_job(), CardKind.QUESTION, "Why?", NOW, context="x" * 5000)
    assert len(card.context) == MOST_CONTEXT
    assert card.context.endswith("\n… (the rest is cut)")


# --- answers ---


def test_an_option_is_answered_by_its_key_and_the_author_is_told_all_of_it() -> None:
    move = replied(asked(question()), "both")
    assert move.job.state is State.READY
    (fix,) = move.job.at.fixes
    assert fix == Fix("F1", f"You asked: {QUESTION}", "The answer: both: Both pages (Twice the tests.)", source="human")


def test_words_may_go_with_an_option_and_are_needed_without_one() -> None:
    move = asked(question())
    (fix,) = replied(move, "a", "but not the old one").job.at.fixes
    assert fix.fix == "The answer: a: /login. but not the old one"
    (fix,) = replied(move, "reply", "neither").job.at.fixes
    assert fix.fix == "The answer: neither"
    with pytest.raises(RefusedError, match="needs words"):
        replied(move, "reply")
    with pytest.raises(RefusedError, match="it offers a, both, reply, drop"):
        replied(move, "approve")


def test_whatever_an_agent_calls_its_answer_it_is_a_reply() -> None:
    card = card_of(asked(question()))
    forged = replace(card, options=(Option("approve", "Merge it", "x"), *card.options))
    assert effect_of(forged, "approve") is Effect.REPLY
    assert effect_of(card, "both") is Effect.REPLY
    assert (effect_of(card, "drop"), effect_of(card, "keep"), effect_of(card, "c")) == (Effect.DROP, None, None)


# --- by default ---


def test_a_default_is_due_to_the_second_and_holds_once() -> None:
    move = with_default()
    job, card = move.job, card_of(move)
    assert (card.default, card.expires, job.at.expires) == ("both", iso(EXPIRES), iso(EXPIRES))
    assert ApplyDefault(job.id) not in decide(a_board(job), EXPIRES - SECOND)
    assert ApplyDefault(job.id) in decide(a_board(job), EXPIRES)
    with pytest.raises(IllegalStepError, match="has not expired"):
        apply_default(job, card, iso(EXPIRES - SECOND))
    done = apply_default(job, card, iso(EXPIRES))
    closed = card_of(done)
    assert (closed.answer, closed.by, closed.answered) == ("both", ENGINE.name, iso(EXPIRES))
    assert (done.actor, done.job.state, done.job.at.expires) == (ENGINE, State.READY, "")
    assert "by default" in done.subject
    (fix,) = done.job.at.fixes
    assert fix.fix.startswith(f"The answer: nobody answered by {card.expires}, so your default holds: both: Both pages")
    for again in ((done.job, closed), (done.job, card), (job, closed)):
        with pytest.raises(IllegalStepError):
            apply_default(*again, iso(EXPIRES))
    assert not [each for each in decide(a_board(done.job), EXPIRES) if isinstance(each, ApplyDefault)]


def test_whoever_is_reminded_when_the_default_is_due_is_not_reminded_as_well() -> None:
    job = with_default().job
    due = [each for each in decide(a_board(job), EXPIRES) if each == Remind(job.id) or each == ApplyDefault(job.id)]
    assert due == [ApplyDefault(job.id)]


def test_an_expiry_is_a_moment_whatever_the_clocks_on_the_walls_do() -> None:
    # In the night to 2026-10-25 they are put back by an hour in Berlin.
    before = datetime(2026, 10, 24, 22, 30, tzinfo=UTC)
    card = card_of(asked(question(default="both", expires_h=HOURS), now=iso(before)))
    assert parse(card.expires) - before == timedelta(hours=HOURS)
    assert card.expires.endswith("Z")


def test_a_job_that_somebody_holds_is_not_answered_by_time() -> None:
    held: dict[str, Any] = {"held": Held("human:ada", NOW)}
    move = with_default(**held)
    job = replace(move.job, spec=a_spec(hold=""))
    assert ApplyDefault(job.id) not in decide(a_board(job), EXPIRES)
    with pytest.raises(IllegalStepError):
        apply_default(job, card_of(move), iso(EXPIRES))


@pytest.mark.parametrize("kind", [kind for kind in CardKind if kind is not CardKind.QUESTION])
def test_time_never_approves_drops_or_merges(kind: CardKind) -> None:
    move = ask(a_job(state=State.REVIEWING), kind, "What now?", NOW)
    for option in OPTIONS[kind]:
        card = replace(card_of(move), default=option.key, expires=NOW)
        if (kind, option.key) == (CardKind.LIKE, "keep"):
            # A job that is like another goes on as it would have without the question.
            assert apply_default(move.job, card, LATER).job.state is State.READY
            continue
        with pytest.raises(IllegalStepError):
            apply_default(move.job, card, LATER)
    card = replace(card_of(asked(question())), default="drop", expires=NOW)
    with pytest.raises(IllegalStepError):
        apply_default(asked(question()).job, card, LATER)


def test_a_default_without_an_expiry_is_only_told() -> None:
    move = asked(question(default="both"))
    assert (card_of(move).default, card_of(move).expires, move.job.at.expires) == ("both", "", "")
    assert not [e for e in decide(a_board(move.job), NOON + timedelta(days=99)) if isinstance(e, ApplyDefault)]


def test_an_answer_takes_the_expiry_away() -> None:
    assert replied(with_default(), "a").job.at.expires == ""


# --- asked before ---


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (QUESTION, True),
        ("which  page is\nMEANT", True),
        ("Which page is meant?!", True),
        ("Which pages are meant?", False),
    ],
)
def test_a_question_is_known_again_by_its_words(text: str, same: bool) -> None:
    assert (question_digest(text) == question_digest(QUESTION)) is same


def answered_card(key: str = "both", message: str = "", now: str = LATER) -> Card:
    return card_of(replied(asked(question()), key, message, now))


def again(card: Card, now: str, *questions: Requested, **at: Any) -> Move:
    job = running(card=1, attempt=2, run="fix-login-7f3a09c2.attempt-2", **at)
    return asked(*(questions or (question(),)), job=job, cards=[card], now=now)


def test_what_was_answered_lately_is_not_asked_again_but_told_and_costs_an_attempt() -> None:
    card = answered_card()
    move = again(card, LATER)
    assert (move.job.state, move.job.at.spent, move.job.at.card) == (State.READY, 1, 1)
    (fix,) = move.job.at.fixes
    assert fix.fix == f"The answer: {answer_in_words(card)}"
    assert fix.problem == f"You asked again what was answered at {LATER}: {QUESTION}"
    assert ("Answered-Before", card.id) in move.trailers
    assert "card-1" not in move.records


def test_an_agent_that_asks_the_same_for_ever_comes_to_a_person() -> None:
    move = again(answered_card(), LATER, spent=the_terms().attempts - 1)
    assert (move.job.state, card_of(move).kind) == (State.DECIDE, CardKind.ATTEMPTS)


def test_a_new_question_is_asked_beside_an_old_one() -> None:
    move = again(answered_card(), LATER, question(), question("And when?", ()))
    assert (move.job.state, card_of(move).question, move.job.at.spent) == (State.DECIDE, "And when?", 0)
    assert [fix.problem.partition(":")[0] for fix in move.job.at.fixes] == [
        f"You asked again what was answered at {LATER[:13]}"
    ]


@pytest.mark.parametrize(
    ("card", "now", "is_known"),
    [
        (answered_card(), parse(LATER) + SAME_FOR, True),
        (answered_card(), parse(LATER) + SAME_FOR + SECOND, False),
        (answered_card("reply", "neither"), NOON + SAME_FOR, True),
        (answered_card("drop"), NOON + SAME_FOR, False),
        (card_of(asked(question())), NOON, False),
        (replace(card_of(asked(question())), superseded="gone"), NOON, False),
        (replace(answered_card(), facts={}), NOON, False),
        (replace(answered_card(), kind=CardKind.MERGE), NOON, False),
    ],
)
def test_an_answer_holds_for_seven_days(card: Card, now: datetime, is_known: bool) -> None:
    assert earlier_answer(QUESTION, [card], iso(now)) == (card if is_known else None)


def test_the_newest_answer_holds() -> None:
    newer = replace(answered_card("a"), number=2)
    assert earlier_answer(QUESTION, [newer, answered_card()], LATER) == newer
    assert earlier_answer("And when?", [newer], LATER) is None


def test_a_run_that_asked_nothing_ends_as_ever() -> None:
    assert asked().job.state is State.COLLECTED
