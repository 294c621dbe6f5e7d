"""A reviewer whose answer has not the form of a verdict is asked once more, in the session that it is in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from api_world import api_of
from engine_world import World, attempt
from fake_dialects import Asked
from fake_models import FakeModels

from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.review_record import ReviewRecord, Verdict

pytestmark = [pytest.mark.usefixtures("no_lies"), pytest.mark.slow]
SOUL = "---\nbackend: api\nmodel: strong-1\nroles: [review]\n---\nYou look twice.\n"
WRITES = attempt(write={"code.py": "print('new')\n"})
USAGE = {"input": 1000, "output": 100, "cache_read": 0, "cache_write": 0}
FIRST, AGAIN = r"(?m)^You review one change", "cannot be taken for a verdict"
NOT_JSON = "is not exactly one JSON object (Expecting value: line 1 column 1 (char 0))"


def answers(match: str, text: str) -> dict[str, Any]:
    return {"match": match, "text": text, "usage": USAGE}


def form(**keys: Any) -> Callable[[Asked], dict[str, Any]]:
    """The form that the first message ended with, filled in as an approval, but for these keys."""

    def reply(asked: Asked) -> dict[str, Any]:
        text = next(each for each in asked.users if '{\n  "nonce"' in each)
        given = json.JSONDecoder().raw_decode(text[text.rindex('{\n  "nonce"') :])[0]
        return {"text": json.dumps({**given, "verdict": "APPROVED", "findings": [], "summary": "Read.", **keys})}

    return reply


def fills(match: str, **keys: Any) -> dict[str, Any]:
    return {"match": match, "reply": form(**keys), "usage": USAGE}


def play(world: World, service: FakeModels, *turns: dict[str, Any], job: str = "prompt: greet\n") -> ReviewRecord:
    """One job, until nothing more happens by itself; its first review."""
    service.play(turns)
    world.souls, world.plays = {"ada": "alpha work"}, [WRITES]
    world.config = {"backends": {"api": api_of(service)}, "models": {"strong-1": {"family": "north"}}}
    (world.root / "souls").mkdir(exist_ok=True)
    (world.root / "souls" / "rex.md").write_text(SOUL)
    world.set_up()
    world.drop("greet.yaml", job)
    world.run()
    review: ReviewRecord = world.records("greet")["review-1"]
    return review


def test_an_answer_in_prose_is_put_right_in_the_same_session(world: World, service: FakeModels) -> None:
    review = play(world, service, answers(FIRST, "Looks good to me, APPROVED!"), fills(AGAIN))
    assert world.state("greet") is State.DONE
    assert (review.verdict, review.asked_again, review.first_reply) == (
        *(Verdict.APPROVED, NOT_JSON),
        "Looks good to me, APPROVED!",
    )
    first, second = service.requests
    assert len(second.users) > len(first.users), "the service was sent the conversation so far"
    assert f"Your answer {NOT_JSON}" in second.prompt
    assert review.spoke is not None
    assert review.spoke.usage is not None
    assert review.spoke.usage.output == 200


def test_the_second_turn_counts_as_a_start(world: World, service: FakeModels) -> None:
    play(world, service, answers(FIRST, "Looks good to me."), fills(AGAIN))
    steps = world.steps("greet")
    begun = sum(step in ("start", "check", "review") for step in steps)
    assert world.job("greet").at.starts == begun + 1
    assert world.job("greet").at.review == 1


@pytest.mark.parametrize("keys", [{"nonce": "another"}, {"more": 1}, {"verdict": "FINE"}, {"items": []}])
def test_a_form_that_is_filled_in_wrongly_is_put_right(world: World, service: FakeModels, keys: dict[str, Any]) -> None:
    review = play(world, service, fills(FIRST, **keys), fills(AGAIN))
    assert review.asked_again
    assert world.state("greet") is State.DONE


def test_nobody_is_asked_twice_more_and_the_reviewer_is_left_out_as_before(world: World, service: FakeModels) -> None:
    review = play(world, service, answers(FIRST, "Looks good."), answers(AGAIN, "I said that it looks good."))
    assert len(service.requests) == 2
    assert (review.verdict, review.first_reply, review.reply) == (
        *(Verdict.INCONCLUSIVE, "Looks good."),
        "I said that it looks good.",
    )
    assert world.card("greet").kind is CardKind.NO_REVIEWER
    assert world.job("greet").at.excluded == ("rex",)


def test_what_contradicts_itself_is_no_matter_of_form(world: World, service: FakeModels) -> None:
    blocking = [{"severity": "blocking", "problem": "It loops."}]
    review = play(world, service, fills(FIRST, findings=blocking), fills(AGAIN))
    assert (review.verdict, review.asked_again) == (Verdict.INCONCLUSIVE, "")
    assert len(service.requests) == 1


def test_without_a_start_that_is_left_nobody_is_asked_again(world: World, service: FakeModels) -> None:
    job = "prompt: greet\nlimits: {starts: 3}\n"
    review = play(world, service, answers(FIRST, "Looks good."), fills(AGAIN), job=job)
    assert (review.again, review.asked_again) == (False, "")
    assert len(service.requests) == 1


def test_a_second_turn_that_fails_leaves_the_first_answer(world: World, service: FakeModels) -> None:
    broken = {"match": AGAIN, "status": 400, "message": "no"}
    review = play(world, service, answers(FIRST, "Looks good."), broken)
    assert (review.verdict, review.why) == (Verdict.INCONCLUSIVE, NOT_JSON)
    assert (review.asked_again, review.reply) == (NOT_JSON, "Looks good.")
    assert world.job("greet").at.excluded == ("rex",)
