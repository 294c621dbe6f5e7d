"""What the ledger says of a project that is to be finished is worked out again, and a forged end of it is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import audit_world as w
import pytest

from orchestrator.adapters.audit import Lie
from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.git import Git
from orchestrator.adapters.ledger import REF, Filing
from orchestrator.adapters.ledger_paths import goal_path
from orchestrator.adapters.ledger_text import format_record
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.core import accept as accepting
from orchestrator.core.attempt import unserved
from orchestrator.core.attempt_record import Attempt, RunStatus, Spoke
from orchestrator.core.goal import (
    FinishCard,
    Goal,
    GoalEvent,
    GoalMove,
    ProjectState,
    answer_finish,
    ask_finish,
    next_step,
)
from orchestrator.core.said import Trouble
from orchestrator.core.times import iso
from orchestrator.core.transitions import ENGINE
from orchestrator.engine.goal_counts import filing_of, read_card, read_goal

GOAL = "Log-in works."
HELD = "later-0a0000aa"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[w.World]:
    with w.new_world(tmp_path / "world") as world:
        yield world


def stands(world: w.World) -> tuple[Goal, FinishCard | None]:
    known = read_goal(world.ledger.read_file, "main")
    assert known is not None
    return known, read_card(world.ledger.read_file, known)


def put(world: w.World, filing: Filing) -> None:
    with world.ledger.writing() as writer:
        writer.file(filing, world.now())


def look(world: w.World, wanted: str = GOAL) -> None:
    """What the engine does about the project in a tick."""
    known, card = stands(world) if world.ledger.read_file(goal_path("main")) else (None, None)
    open_jobs = world.ledger.snapshot().projects.get("main", 0)
    step = next_step(known, card, "main", wanted, open_jobs, world.now())
    assert step is not None
    put(world, filing_of(step))


def answer(world: w.World, key: str, message: str = "", *, open_jobs: int = 0) -> GoalMove:
    """The step that a person's answer is."""
    known, card = stands(world)
    return answer_finish(known, card, key, message, open_jobs, iso(world.now()), actor=w.ADA)


def cancelled(world: w.World) -> None:
    world.commit(accepting.cancel(world.job(HELD), iso(world.now()), actor=w.ADA, why="not now"))


def asked(world: w.World) -> None:
    """One job is done and another was given up, and a person is asked."""
    w.accept(world, HELD, "prompt: Later.\nhold: true\n")
    look(world)
    w.auto_merged(world)
    cancelled(world)
    look(world)
    assert stands(world)[0].state is ProjectState.PENDING_APPROVAL


def lived(world: w.World) -> None:
    """Every step that a project can take."""
    asked(world)
    w.left_branch(world)
    look(world)
    world.clock = world.clock.replace(day=28)
    look(world)
    put(world, filing_of(answer(world, "more", "The changelog.")))
    look(world)
    put(world, filing_of(answer(world, "done")))
    world.commit(accepting.retry(world.ledger.folder(HELD).job, iso(world.now()), actor=w.ADA))
    cancelled(world)
    look(world)
    look(world, "Another.")


def lies(world: w.World) -> list[Lie]:
    return list(w.verify(world.root).lies)


def test_every_step_of_a_project_is_proved_from_wherever_one_begins(world: w.World) -> None:
    lived(world)
    log = Git(world.root / ".git").text("log", "--format=%H %s", REF).splitlines()
    assert {event.value for event in GoalEvent} - {line.split()[1].rstrip(":") for line in log} == set()
    assert lies(world) == []
    # Those right after which something is owed, and some others.
    begins = [older for newer, older in pairwise(log) if newer.split()[1] in ("count:", "withdraw:", "reopen:")]
    for line in [*begins, *log[1::9]]:
        assert w.verify(world.root, since=line.split()[0]).lies == ()


def test_nobody_but_a_person_says_that_it_is_finished(world: w.World) -> None:
    asked(world)
    step = answer(world, "done")
    put(world, filing_of(replace(step, actor=ENGINE)))
    [lie] = [each for each in lies(world) if each.rule is Rule.GOAL]
    assert lie.text == "says finish of main, but finish is not for the engine"


def test_a_card_in_a_persons_name_that_the_engine_filed_is_found_out(world: w.World) -> None:
    asked(world)
    filing = filing_of(answer(world, "done"))
    put(world, replace(filing, actor=ENGINE))
    assert {each.rule for each in lies(world)} == {Rule.ACTOR}


def test_no_project_is_finished_or_asked_about_while_a_job_is_open(world: w.World) -> None:
    asked(world)
    step = answer(world, "done")
    with world.ledger.writing() as writer:
        # As if whoever wrote the ledger did not care for the project.
        writer.commit(accepting.retry(world.ledger.folder(HELD).job, iso(world.now()), actor=w.ADA), world.now())
    put(world, filing_of(step))
    texts = [each.text for each in lies(world)]
    assert "says finish of main, but main.finish-1 may no longer be answered: 1 of its jobs is open" in texts


def test_a_question_before_its_time_is_found_out(world: w.World) -> None:
    w.accept(world, HELD, "prompt: Later.\nhold: true\n")
    look(world)
    known, _ = stands(world)
    put(world, filing_of(ask_finish(known, iso(world.now()))))
    [lie] = lies(world)
    assert (lie.rule, lie.text) == (Rule.GOAL, "says pending of main, but 1 of its jobs is open")


def test_a_job_that_is_not_counted_is_noticed(world: w.World) -> None:
    asked(world)
    w.forge(world.root, drop(GoalEvent.COUNT, 1))
    first = lies(world)[0]
    assert (first.rule, first.text) == (Rule.GOAL, f"says nothing of it that main is open, though {w.LOGIN} is done")


def test_the_newest_step_of_a_job_is_to_be_counted_as_well(world: w.World) -> None:
    look(world)
    w.auto_merged(world)
    w.forge(world.root, drop(GoalEvent.COUNT, 1))
    [lie] = lies(world)
    assert lie.text.startswith("says nothing of it that main is open")


def test_a_step_that_is_about_the_goal_and_about_a_service_is_followed_by_a_commit_for_each(world: w.World) -> None:
    look(world)
    w.accept(world, w.REPORT, "prompt: Find out why.\nkind: research\nexpects: no_change\n")
    for _ in range(3):  # From then on the service gets two at once, and each clean run counts.
        w.start(world, w.REPORT)
        job, now = world.job(w.REPORT), iso(world.now())
        attempt = world.record(Attempt, w.REPORT, job.at.attempt)
        away = replace(attempt, ended=now, status=RunStatus.ENDED, exit=1, spoke=Spoke(trouble=Trouble.RATE_LIMITED))
        world.commit(unserved(job, "429", now, records={f"attempt-{attempt.number}": away}))
    world.clock += timedelta(hours=1)
    w.start(world, w.REPORT)
    w.collect(world, w.REPORT, {}, "It fails because the cache is never emptied.")
    w.look(world, w.REPORT)
    w.check(world, w.REPORT, ())
    w.review(world, w.REPORT)
    newest = Git(world.root / ".git").text("log", "-3", "--format=%H %s", REF).splitlines()
    assert [line.split()[1] for line in newest] == ["service:", "count:", "verdict:"]
    assert stands(world)[0].done == 1
    assert lies(world) == []
    for line in newest:
        assert w.verify(world.root, since=line.split()[0]).lies == ()
    tip = newest[0].split()[0]
    for left_out, rule in (("service", Rule.SERVICE), ("count", Rule.GOAL)):

        def forger(draft: w.Draft, word: str = left_out) -> None:
            draft.dropped = draft.event == word and f" {draft.old.oid} " in f" {tip} {newest[1].split()[0]} "

        w.forge(world.root, forger)
        assert rule in {each.rule for each in lies(world)}, left_out
        Git(world.root / ".git").run("update-ref", REF, tip)


def test_a_question_that_was_not_withdrawn_is_noticed(world: w.World) -> None:
    asked(world)
    w.accept(world, "more-0a0000bb", "prompt: More.\nhold: true\n")
    w.forge(world.root, drop(GoalEvent.WITHDRAW, 1))
    assert [each.text for each in lies(world)] == ["says nothing of it that main is open, though more-0a0000bb came in"]


@pytest.mark.parametrize(
    ("event", "old", "new", "about"),
    [
        (GoalEvent.COUNT, "done: 1\n", "done: 7\n", "`done` of main is 7, but it is 1"),
        (GoalEvent.COUNT, f"on main as {'{merged}'}", "on main as 000000000000", "`delivered` of main"),
        (GoalEvent.PENDING, "state: pending_approval\n", "state: done\n", "`state` of main is done"),
        (GoalEvent.PENDING, "goal: Log-in works.\n", "goal: Nothing.\n", "`goal` of main is Nothing."),
        (GoalEvent.GOAL, "seq: 1\n", "seq: 2\n", "`seq` of main is 2, but it is 1"),
    ],
)
def test_a_number_that_was_changed_is_noticed(world: w.World, event: GoalEvent, old: str, new: str, about: str) -> None:
    asked(world)
    old = old.replace("{merged}", world.job(w.LOGIN).at.merged[:12])
    w.forge(world.root, swap(event, old, new))
    assert any(each.rule is Rule.GOAL and about in each.text for each in lies(world)), lies(world)


def test_a_risk_that_was_left_out_of_the_card_is_noticed(world: w.World) -> None:
    asked(world)
    _, card = stands(world)
    assert card is not None
    assert "not now" in card.context
    w.forge(world.root, swap(GoalEvent.PENDING, "cancelled: not now", "nothing", path="projects/main/finish-1.yaml"))
    [lie] = lies(world)
    assert lie.rule is Rule.GOAL
    assert lie.text.startswith("says that the card of main is ")


def test_no_other_commit_touches_it(world: w.World) -> None:
    asked(world)
    known, _ = stands(world)
    done = replace(known, seq=known.seq + 1, state=ProjectState.DONE, since=iso(world.now()))
    put(world, Filing("base: main passed", {goal_path("main"): format_record(done)}))
    [lie] = lies(world)
    assert (lie.rule, lie.text) == (Rule.GOAL, "changes how main stands, but says 'base'")


def test_a_job_is_not_counted_where_none_ended(world: w.World) -> None:
    asked(world)
    known, _ = stands(world)
    more = replace(known, seq=known.seq + 1, done=9)
    put(world, filing_of(GoalMove(GoalEvent.COUNT, known.state, more, "x is done")))
    [lie] = lies(world)
    assert lie.text == "says count of main, but no job came in, ended or was taken up again in the step before"


def drop(event: GoalEvent, nth: int) -> Callable[[w.Draft], None]:
    """Leave out the nth commit of an event."""
    seen = 0

    def forger(draft: w.Draft) -> None:
        nonlocal seen
        if draft.event == event:
            seen += 1
            draft.dropped = seen == nth

    return forger


def swap(event: GoalEvent, old: str, new: str, *, path: str = "projects/main/goal.yaml") -> Callable[[w.Draft], None]:
    """Write something else in the first commit of an event."""
    seen = 0

    def forger(draft: w.Draft) -> None:
        nonlocal seen
        if draft.event != event:
            return
        seen += 1
        if seen > 1:
            return
        entry = draft.changes[path]
        assert entry is not None
        text = draft.objects.read(entry.oid).decode()
        assert old in text, text
        draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", text.replace(old, new).encode()))

    return forger
