"""Questions with answers to choose from, answers that hold by themselves, and jobs that wait for what does not come."""

from __future__ import annotations

import json
import os
import shlex
import signal
from datetime import datetime, timedelta
from typing import Any

import pytest
from engine_world import World, attempt, git
from warm_python import run_warm

from orchestrator.adapters import clock
from orchestrator.adapters.audit import audit
from orchestrator.adapters.effects import KILL_AT
from orchestrator.core.job import State
from orchestrator.core.outbox import Requested
from orchestrator.core.questions import CHOSEN
from orchestrator.core.records import CardKind
from orchestrator.engine.report import Summary, summarize
from orchestrator.engine.story import asked_so_far
from orchestrator.engine.tick import tick
from orchestrator.engine.workspace import open_workspace
from orchestrator.errors import RefusedError

pytestmark = pytest.mark.slow

WRITES = {"code.py": "print('new')\n"}
PAGES = ["/login", {"key": "both", "label": "Both pages", "consequence": "Twice the tests."}]
QUESTION: dict[str, Any] = {"protocol": 1, "kind": "ask", "text": "Which page is meant?", "options": PAGES}
HOURS = 48
NEEDS = "prompt: {name}\nneeds: [{need}]\n"


def puts(request: object, name: str = "1.json") -> str:
    """A line of shell that puts a request into the outbox as a program without our command does."""
    box = '"$ORC_RUN_DIR"/outbox'
    return f"printf %s {shlex.quote(json.dumps(request))} > {box}/.part && mv {box}/.part {box}/{name}"


def ask(world: World, request: dict[str, Any], *more: dict[str, Any]) -> None:
    """A job whose first attempt asks; a second one that needs it."""
    world.plays = [attempt(1, run=puts(request), match={"title": "greet"}), *more, attempt(write=WRITES)]
    world.set_up()
    world.drop("greet.yaml", "title: greet\nprompt: greet\n")
    world.run()


def put_forward(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """The wall clock of this process goes so much ahead."""
    real = clock.now

    def now() -> datetime:
        return real() + by

    monkeypatch.setattr(clock, "now", now)


def look(world: World, times: int = 3) -> None:
    """What the engine does by itself, but for new runs: their supervisors have the real clock."""
    with world.engine() as engine:
        engine.stopping = True
        for _ in range(times):
            tick(engine)
            assert engine.problems == {}


def summary(world: World) -> Summary:
    with open_workspace(world.root) as ws:
        return summarize(ws)


def asked(world: World) -> list[Requested]:
    with open_workspace(world.root) as ws:
        return list(asked_so_far(ws, world.id("greet")).values())


def prove(world: World) -> None:
    door = world.root / ".git"
    assert [(lie.subject, lie.text) for lie in audit(door, {"main": door}).lies] == []


def fixes(world: World, number: int) -> list[tuple[str, str]]:
    return [(fix.problem, fix.fix) for fix in world.records("greet")[f"attempt-{number}"].fixes]


# --- answers to choose from ---


def test_an_option_is_answered_by_its_key_and_reaches_the_author(world: World) -> None:
    ask(world, QUESTION)
    card = world.card("greet")
    assert card.question == QUESTION["text"]
    assert [(option.key, option.label) for option in card.options[:2]] == [("a", "/login"), ("both", "Both pages")]
    assert [option.key for option in card.options[2:]] == ["reply", "drop"]
    assert card.options[1].consequence == f"{CHOSEN} Twice the tests."
    (need,) = summary(world).needs
    assert need.answers == ("a", "both", "reply", "drop")
    world.answer("greet", "both")
    world.run()
    assert fixes(world, 2) == [("You asked: Which page is meant?", "The answer: both: Both pages (Twice the tests.)")]
    prompt = world.show(f"{ledger_folder(world)}/attempt-2.prompt.md", "orc/state")
    assert "both: Both pages (Twice the tests.)" in prompt
    assert world.job("greet").at.spent == 0
    assert world.state("greet") is State.DONE
    prove(world)


def ledger_folder(world: World) -> str:
    names = git(world.root, "ls-tree", "-r", "--name-only", "orc/state").splitlines()
    (path,) = [name for name in names if name.endswith(f"{world.id('greet')}/attempt-2.prompt.md")]
    return path.rpartition("/")[0]


def test_an_option_is_answered_in_the_file_of_the_card(world: World) -> None:
    ask(world, QUESTION)
    path = world.root / "queue/decide" / f"{world.card('greet').id}.yaml"
    text = path.read_text()
    assert "both - Both pages. The author goes on with this answer. Twice the tests." in " ".join(text.split())
    assert f"orc show {world.id('greet')}" in text
    path.write_text(text.replace("answer:\n", "answer: both\n", 1))
    world.run()
    assert fixes(world, 2)[0][1].startswith("The answer: both: Both pages")
    assert world.state("greet") is State.DONE
    prove(world)


def test_a_card_tells_which_jobs_wait_for_its_own(world: World) -> None:
    ask(world, QUESTION)
    world.drop("first.yaml", NEEDS.format(name="first", need=world.id("greet")))
    world.run()
    world.drop("second.yaml", NEEDS.format(name="second", need=world.id("first")))
    world.run()
    (need,) = summary(world).needs
    assert need.blocks == (world.id("first"), world.id("second"))
    world.answer("greet", "drop")
    world.run()
    (need,) = summary(world).needs
    assert (need.blocks, need.id) == ((), f"held.{world.id('first')}")
    assert need.waits is not None, "a need that was given up does not come by itself"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([{"key": "approve", "label": "Merge it"}, "no"], "'approve'"),
        ([{"key": "merge", "label": "Merge it"}, "no"], "'merge'"),
        ([{"key": "a\n", "label": "x"}, "no"], "is no key"),
        ([{"key": "\x1b[2J", "label": "x"}, "no"], "does not have the form"),
        ([{"key": "a", "label": "x"}, {"key": "a", "label": "y"}], "the same key"),
    ],
)
def test_an_option_that_looks_like_something_else_is_refused(world: World, options: list[Any], told: str) -> None:
    ask(world, {**QUESTION, "options": options})
    (request,) = asked(world)
    assert told in request.refused
    assert "card" not in "".join(world.records("greet"))
    prove(world)


def test_hostile_words_of_an_option_reach_nobody_as_they_are(world: World) -> None:
    label = "\x1b[31mMerge\n[approve] Merge it"
    ask(world, {**QUESTION, "options": [{"key": "one", "label": label[:40], "consequence": label}, "two"]})
    card = world.card("greet")
    assert all(text.isprintable() for option in card.options for text in (option.label, option.consequence))
    assert "\x1b" not in (world.root / "queue/decide" / f"{card.id}.yaml").read_text()
    prove(world)


# --- by default ---


def test_a_default_holds_when_its_time_has_come_and_not_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(world, {**QUESTION, "default": "both", "expires_h": HOURS})
    card = world.card("greet")
    (need,) = summary(world).needs
    assert (need.default, need.expires) == ("both", card.expires)
    with monkeypatch.context() as patched:
        put_forward(patched, timedelta(hours=HOURS - 1))
        look(world)
        assert world.state("greet") is State.DECIDE
    put_forward(monkeypatch, timedelta(hours=HOURS + 1))
    look(world)
    assert world.state("greet") is State.READY
    assert world.steps("greet").count("default") == 1
    closed = world.records("greet")["card-1"]
    assert (closed.answer, closed.by) == ("both", "engine")
    author = git(
        world.root, "log", "-1", "--format=%an %(trailers:key=Actor,valueonly)", "--grep=^default: ", "orc/state"
    )
    assert author.split() == ["engine", "engine"]
    (fix,) = world.job("greet").at.fixes
    assert "nobody answered" in fix.fix
    with pytest.raises(RefusedError):
        world.answer("greet", "a")
    prove(world)


def test_whoever_answers_before_the_engine_looks_is_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(world, {**QUESTION, "default": "both", "expires_h": HOURS})
    put_forward(monkeypatch, timedelta(hours=HOURS + 1))
    world.answer("greet", "a")
    look(world)
    assert world.records("greet")["card-1"].answer == "a"
    assert "default" not in world.steps("greet")
    prove(world)


ENGINE_AHEAD = f"""
import sys
from datetime import timedelta
from pathlib import Path
from orchestrator.adapters import clock
real = clock.now
clock.now = lambda: real() + timedelta(hours={HOURS + 1})
from orchestrator.engine.loop import engine_of
from orchestrator.engine.tick import tick
from orchestrator.engine.workspace import open_workspace
with open_workspace(Path(sys.argv[1])) as ws, engine_of(ws) as engine:
    engine.stopping = True
    for _ in range(3):
        tick(engine)
"""


@pytest.mark.parametrize(
    "point", [f"{name}:{when}" for name in ("ledger.objects", "ledger.ref") for when in ("before", "after")]
)
def test_a_default_is_applied_once_wherever_the_engine_is_killed(world: World, point: str) -> None:
    def engine(kill_at: str = "") -> int:
        env = {**os.environ, KILL_AT: kill_at}
        return run_warm(ENGINE_AHEAD, ["-c", str(world.root)], cwd=world.root, env=env, timeout=50).returncode

    ask(world, {**QUESTION, "default": "both", "expires_h": HOURS})
    assert engine(point) == -signal.SIGKILL
    assert engine() == 0
    assert world.steps("greet").count("default") == 1
    assert world.records("greet")["card-1"].answer == "both"
    assert world.state("greet") is State.READY
    prove(world)


LOOK = """
import sys, time
from pathlib import Path
from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.engine.accept import take_in
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.workspace import open_workspace
with open_workspace(Path(sys.argv[1])) as ws:
    queue = QueueFolder(ws.paths.queue)
    projection = Projection(ws, queue)
    projection.start()
    projection.refresh()
    until = time.monotonic() + 3
    while time.monotonic() < until:
        taken = take_in(ws, queue)
        projection.refresh()
        time.sleep(0.05)
"""


@pytest.mark.parametrize(("key", "message"), [("reply", "Both: first the one,\nthen the other.  "), ("drop", "")])
@pytest.mark.parametrize(
    "point", ["ledger.objects:after", "ledger.ref:before", "ledger.ref:after", "queue.write:before"]
)
def test_an_answer_in_a_file_counts_once_and_is_not_refused_wherever_the_engine_is_killed(
    world: World, point: str, key: str, message: str
) -> None:
    def engine(kill_at: str = "") -> int:
        env = {**os.environ, KILL_AT: kill_at}
        return run_warm(LOOK, ["-c", str(world.root)], cwd=world.root, env=env, timeout=50).returncode

    ask(world, QUESTION)
    card = world.card("greet")
    path = world.root / "queue/decide" / f"{card.id}.yaml"
    said = "".join(f"  {line}\n" for line in message.splitlines())
    filled = path.read_text().replace("answer:\n", f"answer: {key}\n", 1)
    path.write_text(filled.replace("message:\n", f"message: |\n{said}", 1) if said else filled)
    assert engine(point) == -signal.SIGKILL
    assert engine() == 0
    closed = world.records("greet")["card-1"]
    assert (closed.answer, closed.message) == (key, message.strip())
    assert world.steps("greet").count("answer") == 1
    assert not path.exists()
    assert [each.name for each in (world.root / "queue/rejected").iterdir() if each.name != ".gitignore"] == []
    prove(world)


# --- asked before ---


def test_what_was_answered_is_not_asked_again(world: World) -> None:
    again = {**QUESTION, "text": "which page is  MEANT"}
    ask(world, QUESTION, attempt(2, run=puts(again), match={"title": "greet"}))
    world.answer("greet", "both")
    world.run()
    records = world.records("greet")
    assert [stem for stem in records if stem.startswith("card-")] == ["card-1"]
    assert fixes(world, 3) == [
        ("You asked: Which page is meant?", "The answer: both: Both pages (Twice the tests.)"),
        (
            f"You asked again what was answered at {records['card-1'].answered}: Which page is meant?",
            "The answer: both: Both pages (Twice the tests.)",
        ),
    ]
    first, second = asked(world)
    assert first.note == "it goes to the person when this run ends"
    assert second.note.endswith("card-1 has answered it: both: Both pages (Twice the tests.)")
    assert world.job("greet").at.spent == 1
    assert world.state("greet") is State.DONE
    prove(world)


# --- what does not come by itself ---


@pytest.fixture
def stuck(world: World) -> World:
    """A job for which there is no agent, and another that needs it."""
    world.plays = [attempt(write=WRITES)]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\nagent: cyd\n")
    world.run()
    return world


def test_a_stuck_job_is_brought_to_mind_then_asked_about_and_goes_on_when_it_can(
    stuck: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = stuck.job("greet").at.stuck
    for days, reminders in ((2, 1), (4, 2)):
        with monkeypatch.context() as patched:
            put_forward(patched, timedelta(days=days))
            look(stuck)
            (need,) = summary(stuck).needs
        assert need.waits is not None
        assert (need.waits.since, need.waits.reminders) == (since, reminders)
    put_forward(monkeypatch, timedelta(days=8))
    look(stuck)
    card = stuck.card("greet")
    assert (card.kind, [option.key for option in card.options]) == (CardKind.STALE, ["retry", "give", "drop"])
    assert "agent 'cyd' has no file in souls/" in card.question
    assert stuck.steps("greet") == ["accept", "hold", "remind", "remind", "card"]
    look(stuck)
    assert stuck.state("greet") is State.DECIDE
    (stuck.root / "souls/cyd.md").write_text("---\nbackend: player\nfamily: alpha\nroles: [work]\n---\nYou are cyd.\n")
    look(stuck)
    assert stuck.state("greet") is State.READY
    assert stuck.steps("greet")[-1] == "supersede"
    assert stuck.records("greet")["card-1"].superseded == "what it waited for has come"
    prove(stuck)


@pytest.mark.parametrize(
    ("key", "message", "state"),
    [("retry", "", State.WAITING), ("give", "ada", State.READY), ("drop", "", State.CANCELLED)],
)
def test_a_person_tries_again_reassigns_or_gives_up(
    stuck: World, monkeypatch: pytest.MonkeyPatch, key: str, message: str, state: State
) -> None:
    put_forward(monkeypatch, timedelta(days=8))
    look(stuck)
    stuck.answer("greet", key, message)
    look(stuck)
    assert stuck.state("greet") is state
    prove(stuck)


def test_a_job_of_a_project_that_is_gone_can_be_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\nagent: cyd\n")
    world.run()
    config = world.root / "orc.yaml"
    config.write_text(config.read_text().replace("  main:\n", "  other:\n"))
    put_forward(monkeypatch, timedelta(days=8))
    look(world)
    assert "project 'main' is not in orc.yaml" in world.card("greet").question
    world.answer("greet", "drop")
    assert world.state("greet") is State.CANCELLED
