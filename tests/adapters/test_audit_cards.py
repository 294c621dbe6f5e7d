"""What `orc verify` proves of questions that time answers, of those answered before, and of jobs that are stuck."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import audit_world as w
import pytest

from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.git import Git
from orchestrator.adapters.ledger import REF
from orchestrator.core.accept import cancel, hold
from orchestrator.core.answer import apply_default
from orchestrator.core.attempt import attempt_ended
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.merge import ask as ask_about
from orchestrator.core.outbox import Requested, ask_person
from orchestrator.core.questions import choices_of
from orchestrator.core.records import Card, CardKind
from orchestrator.core.times import iso
from orchestrator.core.waits import freed, remind, stale_question

ASKS, STUCK = "asks-1d00000a", "stuck-1e00000b"


def ask(world: w.World, text: str) -> None:
    """The attempt ends with a question, which has two answers and a default."""
    job, now = world.job(ASKS), iso(world.now())
    attempt = world.record(Attempt, ASKS, job.at.attempt)
    ended = replace(attempt, ended=now, status=RunStatus.ENDED, exit=0)
    offer: dict[str, Any] = {"choices": choices_of(("one", "two")), "default": "a", "expires_h": 48}
    asked = Requested(attempt.run, "1.json", now, "ask", text, **offer)
    cards = [world.record(Card, ASKS, number) for number in range(job.at.card, 0, -1)]
    move = attempt_ended(job, ended, w.terms_of(job), now)
    world.commit(ask_person(job, move, [asked], w.terms_of(job), now, cards=cards))


def asks(world: w.World) -> None:
    """Asks; its default holds; asks the same again, and is told that."""
    w.accept(world, ASKS, w.TEXT.format(merge="auto"))
    w.start(world, ASKS)
    ask(world, "Which page is meant?")
    world.clock += timedelta(hours=48)
    job = world.job(ASKS)
    world.commit(apply_default(job, world.record(Card, ASKS, job.at.card), iso(world.now())))
    w.start(world, ASKS)
    ask(world, "which page  is meant")
    world.commit(cancel(world.job(ASKS), iso(world.now()), actor=w.ADA, why="no longer needed"))


def is_stuck(world: w.World) -> None:
    """Waits for what does not come by itself until a person is asked; then it comes."""
    w.accept(world, STUCK, w.TEXT.format(merge="auto") + "agent: nobody\n")
    reason = "agent 'nobody' has no file in souls/"
    job = world.commit(hold(world.job(STUCK), reason, iso(world.now()), needs={}))
    begun = world.clock
    world.clock = begun + timedelta(hours=24)
    job = world.commit(remind(job, iso(world.now())))
    world.clock = begun + timedelta(days=7)
    job = world.commit(ask_about(job, CardKind.STALE, stale_question(reason), iso(world.now())))
    job = world.commit(freed(job, world.record(Card, STUCK, job.at.card), iso(world.now())))
    world.commit(cancel(job, iso(world.now()), actor=w.ADA, why="no longer needed"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest world, of which each test has a copy."""
    root = tmp_path_factory.mktemp("honest") / "world"
    with w.new_world(root) as world:
        asks(world)
        is_stuck(world)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "world"))


def test_an_honest_ledger_holds(root: Path) -> None:
    report = w.verify(root)
    assert (report.lies, report.unverifiable, report.jobs) == ((), (), 2)
    subjects = Git(root / ".git").text("log", "--reverse", "--format=%s", REF).splitlines()
    told = [subject.partition(":")[0] for subject in subjects[1:]]
    assert told == [
        *("accept", "start", "collect", "default", "start", "collect", "cancel"),
        *("accept", "hold", "remind", "card", "supersede", "cancel"),
    ]


# --- forgeries ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lie:
    """In which step which text of a file is forged, which rule must notice, and words of what it says."""

    job: str
    event: str
    name: str
    pattern: str
    new: str
    rule: Rule
    words: str
    to: str = ""


def forger(lie: Lie) -> Callable[[w.Draft], None]:
    def forge(draft: w.Draft) -> None:
        is_meant = draft.is_(lie.job, lie.event, lie.to) if lie.event else draft.job == lie.job
        if is_meant and any(path.endswith(f"/{lie.name}") for path in draft.changes):
            draft.write(lie.name, re.sub(lie.pattern, lie.new, draft.read(lie.name)))

    return forge


CARD, JOB = "card-1.yaml", "job.yaml"
LONG_AGO, HARDLY = '"2026-01-01T00:00:00Z"', '"2026-11-29T11:00:00Z"'
LIES = {
    "a default before its time": Lie(
        ASKS, "default", CARD, "answered: .*", f"answered: {LONG_AGO}", Rule.TIME, "before it expires"
    ),
    "a default that no agent has offered": Lie(
        ASKS, "default", CARD, "answer: a\n", "answer: drop\n", Rule.CARD, "which no agent has offered"
    ),
    "another of its answers": Lie(ASKS, "default", CARD, "answer: a\n", "answer: b\n", Rule.CARD, "answer by default"),
    "a default by a person": Lie(
        ASKS, "default", CARD, "by: engine\n", "by: human:ada\n", Rule.CARD, "answer by default"
    ),
    "a default that tells the author something else": Lie(
        ASKS, "default", JOB, "a: one", "b: two", Rule.CARD, "told something else"
    ),
    "an answer of an agent that looks like one of ours": Lie(
        ASKS, "collect", CARD, "key: a\n", "key: approve\n", Rule.CARD, "looks like an answer", "decide"
    ),
    "an answer of an agent that promises more": Lie(
        ASKS,
        "collect",
        CARD,
        "consequence: The author.*",
        "consequence: It is merged.",
        Rule.CARD,
        "not look",
        "decide",
    ),
    "an expiry without a default": Lie(
        ASKS, "collect", CARD, "default: a\n", "", Rule.CARD, "needs a default", "decide"
    ),
    "orc's own answer as the default": Lie(
        ASKS, "collect", CARD, "default: a\n", "default: drop\n", Rule.CARD, "the default 'drop'", "decide"
    ),
    "an expiry that the card does not have": Lie(
        ASKS, "collect", JOB, "expires: .*", f"expires: {LONG_AGO}", Rule.STANDING, "when its card expires", "decide"
    ),
    "an old answer that says something else": Lie(
        ASKS, "collect", JOB, "a: one", "b: two", Rule.CARD, "told something else", "ready"
    ),
    "an old answer from too long ago": Lie(
        ASKS, "", CARD, "answered: .*", f"answered: {LONG_AGO}", Rule.CARD, "answered it lately"
    ),
    "stuck since long ago": Lie(STUCK, "hold", JOB, "stuck: .*", f"stuck: {LONG_AGO}", Rule.TIME, "stuck since"),
    "a question about a job that has hardly waited": Lie(
        STUCK, "", JOB, "stuck: .*", f"stuck: {HARDLY}", Rule.TIME, "not waited long"
    ),
    "another question about what a job waits for": Lie(
        STUCK, "card", CARD, "It has waited", "It will wait", Rule.CARD, "the question"
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_forgery_is_found_out(root: Path, name: str) -> None:
    w.forge(root, forger(LIES[name]))
    told = [lie.text for lie in w.verify(root).lies if lie.rule is LIES[name].rule]
    assert any(LIES[name].words in text for text in told), told


def test_an_answer_that_nobody_gave_before_is_found_out(root: Path) -> None:
    def forge(draft: w.Draft) -> None:
        if draft.is_(ASKS, "collect", "ready"):
            draft.trail("Answered-Before", f"{ASKS}.card-7")

    w.forge(root, forge)
    assert any("no such card" in lie.text for lie in w.verify(root).lies)
