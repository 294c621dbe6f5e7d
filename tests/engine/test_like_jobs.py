"""Nearly the same work twice: passed, asked about or refused, by whatever door it comes in, and proved afterwards."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cli_world as w
import pytest
from desk_world import Desk
from engine_world import World, attempt

from orchestrator.adapters.audit import audit
from orchestrator.adapters.ledger import REF
from orchestrator.core.answer import apply_default
from orchestrator.core.config import Duplicates
from orchestrator.core.job import Job, State
from orchestrator.core.likes import with_likeness
from orchestrator.core.records import Card, CardKind
from orchestrator.core.similar import Bounds, Likeness, Likes, Means
from orchestrator.core.step import Step
from orchestrator.core.times import iso, parse
from orchestrator.core.transitions import Event, Move
from orchestrator.engine.accept import free_id, judge_new, new_job, submit
from orchestrator.engine.answer import cancel_job, give_answer, retry_job
from orchestrator.engine.people import person_of
from orchestrator.engine.story import asked_so_far
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import RefusedError

WORK = "The search box loses its text when the page is reloaded. Keep the text."
ASKED = "When the page is reloaded the search box of the shop loses its text and its place. Keep the text."
REFUSED = "The search box loses its text when the page is reloaded. Please keep the text there."


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace)


def lies(root: Path, since: str | None = None) -> list[str]:
    return [f"{lie.rule}: {lie.text}" for lie in audit(root / ".git", {"main": root / ".git"}, since=since).lies]


def hand_in(ws: Workspace, prompt: str, more: str = "") -> Job:
    return submit(ws, f"prompt: {json.dumps(prompt)}\n{more}".encode(), "job.yaml").job


def card_of(ws: Workspace, job: Job) -> Card:
    return ws.ledger.record(Card, ws.open_job(job.id), f"card-{job.at.card}")


def near_of(ws: Workspace, job: Job) -> list[str]:
    root = ws.paths.root
    told = w.git(root, "log", "orc/state", f"--grep=^accept: {job.id}", "--format=%(trailers:key=Near,valueonly)")
    return [line for line in told.splitlines() if line]


# --- the doors ------------------------------------------------------------------------------------------------------


def test_a_drop_that_is_much_like_an_open_job_is_kept_and_told_which_it_is(desk: Desk) -> None:
    first = hand_in(desk.ws, WORK)
    desk.drop("like.yaml", f"prompt: {REFUSED}\n")
    desk.until(lambda: bool(desk.rejected))
    [reason] = desk.rejected
    told = f"{first.id} asks for nearly the same work (likeness 1.00, and from 0.80 on none is accepted) and is ready"
    assert told in reason
    assert list(desk.jobs()) == [first.id]
    log = w.git(desk.ws.paths.root, "log", "-1", "--format=%B", "orc/state")
    assert "File: queue/inbox/like.yaml" in log
    assert told in log
    [kept] = list((desk.ws.paths.queue / "rejected").glob("*.yaml"))
    # The way out is taken in the very file.
    desk.drop("like.yaml", kept.read_text() + "again: true\n")
    desk.until(lambda: len(desk.jobs()) == 2)
    assert lies(desk.ws.paths.root) == []


def test_a_drop_that_is_rather_like_one_becomes_a_question_and_waits_for_its_answer(desk: Desk) -> None:
    first = hand_in(desk.ws, WORK)
    desk.drop("like.yaml", f"prompt: {ASKED}\n")
    desk.until(lambda: len(desk.jobs()) == 2)
    [job] = [each for each in desk.jobs().values() if each.id != first.id]
    card = card_of(desk.ws, job)
    assert (job.state, card.kind) == (State.DECIDE, CardKind.LIKE)
    assert card.facts["twin"] == first.id
    assert first.id in card.question
    assert card.facts["likeness"] in card.question
    assert [option.key for option in card.options] == ["keep", "drop"]
    assert near_of(desk.ws, job) == [f"{card.facts['likeness']} {first.id} asked"]
    assert [each.name for each in (desk.ws.paths.queue / "decide").glob("*card-1*")]
    ada = person_of(desk.ws.paths.git_dir)
    assert give_answer(desk.ws, job, card, "keep", "", ada).job.state is State.READY
    assert lies(desk.ws.paths.root) == []


def test_two_drops_in_one_look_are_held_against_each_other(desk: Desk) -> None:
    desk.drop("one.yaml", f"prompt: {WORK}\n")
    desk.drop("two.yaml", f"prompt: {REFUSED}\n")
    desk.until(lambda: bool(desk.rejected))
    desk.settle()
    [job] = desk.jobs().values()
    assert job.id in desk.rejected[0]
    assert lies(desk.ws.paths.root) == []


def test_a_hundred_jobs_from_a_template_pass_unasked_and_the_ledger_has_what_they_are_like(desk: Desk) -> None:
    for number in range(1, 101):
        desk.drop(
            f"job-{number}.yaml", f"title: job {number}\nprompt: Write {number} into out/{number}.txt and stop.\n"
        )
    desk.until(lambda: len(desk.jobs()) == 100)
    jobs = list(desk.jobs().values())
    assert {job.state for job in jobs} == {State.READY}
    assert desk.rejected == []
    for about in ("whales", "dolphins", "seals", "otters", "crabs"):
        job = hand_in(desk.ws, f"Summarise the long article about {about} in two sentences for the front page.")
        assert job.state is State.READY
    [told] = near_of(desk.ws, job)
    assert told.endswith("passed (the same is said of something else)")
    assert lies(desk.ws.paths.root) == []


def test_submit_tells_the_file_the_twin_the_likeness_and_both_ways_out(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    first = w.submit(root, f"prompt: {WORK}\nhold: true\n", name="first")
    (root / "like.yaml").write_text(f"prompt: {REFUSED}\nhold: true\n")
    refused = w.orc(root, "submit", "like.yaml", "--json", code=4).json()["error"]
    assert refused["message"].startswith(f"like.yaml: {first} asks for nearly the same work (likeness 1.00, ")
    assert "again: true" in refused["message"]
    w.orc(root, "submit", "like.yaml", "--again", code=0)
    asked = w.orc(root, "submit", "-", "--json", stdin=f"prompt: {ASKED}\nhold: true\n", code=0)
    value = asked.json()
    assert (value["lane"], value["asks"]) == ("decide", f"{value['job']}.card-1")
    assert f"orc answer {value['asks']} keep|drop" in asked.err
    shown = w.orc(root, "show", value["job"], code=0).out
    assert "Do both?" in shown
    w.orc(root, "answer", value["asks"], "drop", code=0)
    assert w.orc(root, "show", value["job"], "--json", code=0).json()["job"]["state"] == "cancelled"
    w.orc(root, "verify", code=0)


@pytest.mark.usefixtures("no_lies")
def test_an_agent_is_told_that_its_follow_up_is_like_an_open_job_or_a_person_is_asked(repo: Path) -> None:
    lines = []
    for number, text in enumerate((REFUSED, ASKED)):
        asks = {"protocol": 1, "kind": "submit", "name": "more.yaml", "job": f"prompt: {text}\nkind: ops\n"}
        lines.append(f'printf %s {shlex.quote(json.dumps(asks))} > "$ORC_RUN_DIR"/outbox/.part')
        lines.append(f'mv "$ORC_RUN_DIR"/outbox/.part "$ORC_RUN_DIR"/outbox/{number}.json')
    play = attempt(match={"title": "first"}, run="\n".join(lines), write={"a.py": "a = 1\n"})
    world = World(repo, [play]).set_up()
    world.drop("there.yaml", f"prompt: {WORK}\nkind: ops\nhold: true\n")
    world.drop("first.yaml", "title: first\nprompt: first\n")
    world.run()
    with open_workspace(world.root) as ws:
        asked = sorted(asked_so_far(ws, world.id("first")).values(), key=lambda each: each.file)
        assert [bool(each.job) for each in asked] == [False, True]
        assert asked[0].refused.startswith(f"{world.id('there')} asks for nearly the same work (likeness 1.00")
        job = ws.ledger.snapshot().jobs[asked[1].job]
        assert (job.state, card_of(ws, job).kind) == (State.DECIDE, CardKind.LIKE)


# --- what is not asked, and when it is over -------------------------------------------------------------------------


def test_nobody_is_asked_about_what_ended_or_may_be_there_again_or_where_the_bounds_are_off(desk: Desk) -> None:
    ws, ada = desk.ws, person_of(desk.ws.paths.git_dir)
    first = hand_in(ws, WORK)
    assert hand_in(ws, ASKED, "again: true\n").state is State.READY
    assert hand_in(ws, ASKED, "dedup_key: mine\n").state is State.READY
    assert hand_in(ws, ASKED, "agent: ada\n").state is State.READY
    for each in ws.ledger.snapshot().jobs.values():
        cancel_job(ws, each, ada, "no")
    second = hand_in(ws, ASKED)
    assert second.state is State.READY
    with pytest.raises(RefusedError, match=second.id):
        hand_in(ws, ASKED + " Soon.")
    ws.config = replace(ws.config, duplicates=Duplicates(ask=0, block=0))
    assert hand_in(ws, ASKED + " Soon.").state is State.READY
    project = replace(ws.config.projects["main"], duplicates=Duplicates(ask=0.5, block=0, hours=0))
    ws.config = replace(ws.config, projects={"main": project})
    third = hand_in(ws, REFUSED)
    card = card_of(ws, third)
    assert (third.state, card.default, card.expires, third.at.expires) == (State.DECIDE, "", "", "")
    assert first.id not in card.question
    assert lies(ws.paths.root) == []


def test_what_is_like_a_job_that_was_edited_is_told_by_how_it_reads_now(desk: Desk) -> None:
    first = desk.accepted(text=f"prompt: {WORK}\n")
    path = desk.path(first)
    path.write_text(path.read_text().replace(WORK, "Paint the fence of the garden in green."))
    desk.until(lambda: "fence" in desk.jobs()[first.id].spec.prompt)
    assert hand_in(desk.ws, REFUSED).state is State.READY
    with pytest.raises(RefusedError, match=first.id):
        hand_in(desk.ws, "Paint the garden fence green, please.")
    assert lies(desk.ws.paths.root) == []


def test_after_a_day_without_an_answer_both_are_done(desk: Desk) -> None:
    ws = desk.ws
    hand_in(ws, WORK)
    job = hand_in(ws, ASKED)
    card = card_of(ws, job)
    assert (card.default, parse(card.expires) - parse(card.asked)) == ("keep", timedelta(hours=24))
    assert job.at.expires == card.expires
    move = apply_default(job, card, iso(parse(card.expires)))
    assert (move.job.state, move.job.at.fixes, move.job.at.spent) == (State.READY, (), 0)
    assert "by default" in move.subject


def test_a_broken_update_of_the_ledger_leaves_no_job_behind_that_others_are_held_against(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in(desk.ws, "Paint the fence of the garden in green.")

    def fail(*_: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as broken:
        broken.setattr("orchestrator.adapters.ledger.Ledger._publish", fail)
        with pytest.raises(OSError, match="no space"):
            hand_in(desk.ws, WORK)
    assert hand_in(desk.ws, REFUSED).state is State.READY
    assert lies(desk.ws.paths.root) == []


# --- what is proved -------------------------------------------------------------------------------------------------

BOUNDS = Bounds(600, 800)
FORGED: list[tuple[str, Callable[[Move, Likeness, Job], Move], str]] = [
    ("nothing is said", lambda move, near, twin: move, "twin: does not ask|message: says that the bounds"),
    (
        "it is asked about, and is refused",
        lambda move, near, twin: with_likeness(move, replace(near, means=Means.ASKED), BOUNDS, twin, 24),
        "twin: accepts .* is open and as like it as 1.00",
    ),
    (
        "other bounds would do",
        lambda move, near, twin: with_likeness(move, near, Bounds(0, 0), twin, 24),
        "message: says that the trailer Near is 1.00 .* refused, but it is nothing",
    ),
    (
        "the bounds are none",
        lambda move, near, twin: said(move, ("Near-Limits", "2 3")),
        "message: says that the bounds",
    ),
]


def said(move: Move, *trailers: tuple[str, str]) -> Move:
    return replace(move, trailers=(*move.trailers, *trailers))


def raw(ws: Workspace, prompt: str) -> Move:
    parsed, priority = judge_new(ws, f"prompt: {prompt}\n".encode(), "job.yaml")
    id_ = free_id(ws, ws.ledger.snapshot(), "job.yaml")
    return new_job(ws, parsed, id_, source="submit", priority=priority, actor=person_of(ws.paths.git_dir))


def forge(ws: Workspace, move: Move) -> list[str]:
    """Put a step on the ledger that the engine would not take: what is said of it, also without what came before."""
    tip = ws.ledger.tip()
    with ws.ledger.writing() as writer:
        writer.commit(move, ws.now())
    found = lies(ws.paths.root)
    # Who begins there has not seen that the jobs before said what they were held against.
    if ("Near-Limits" in dict(move.trailers)) or move.job.state is State.DECIDE:
        assert lies(ws.paths.root, since=tip) == found
    return found


def undo(ws: Workspace, tip: str) -> None:
    w.git(ws.paths.root, "update-ref", REF, tip)
    assert lies(ws.paths.root) == []


@pytest.mark.parametrize(("make", "words"), [each[1:] for each in FORGED], ids=[each[0] for each in FORGED])
def test_a_job_that_was_accepted_in_spite_of_its_likeness_is_found_out(
    desk: Desk, make: Callable[[Move, Likeness, Job], Move], words: str
) -> None:
    first = hand_in(desk.ws, WORK)
    hand_in(desk.ws, "Paint the fence of the garden in green.")
    near = Likeness(first.id, 1000, Means.REFUSED)
    found = forge(desk.ws, make(raw(desk.ws, REFUSED), near, first))
    assert any(re.search(words, each) for each in found), found


def test_every_word_of_the_question_is_held_against_the_ledger(desk: Desk) -> None:
    ws, first = desk.ws, hand_in(desk.ws, WORK)
    other = hand_in(ws, "Paint the fence of the garden in green.")
    near = Likes()
    near.begin(ws.ledger.snapshot().jobs)
    move = raw(ws, ASKED)
    like = near.judge(move.job, BOUNDS)
    assert like is not None
    assert forge(ws, with_likeness(move, like, BOUNDS, first, 24)) == []
    cancel_job(ws, ws.ledger.snapshot().jobs[move.job.id], person_of(ws.paths.git_dir), "no")
    move = with_likeness(raw(ws, ASKED), like, BOUNDS, first, 24)
    [(name, card)] = move.records.items()
    wrong = [
        replace(card, facts={**card.facts, "twin": other.id}),
        replace(card, question="Shall I?"),
        replace(card, default="drop"),
        replace(card, expires=iso(parse(card.asked) + timedelta(hours=9000))),
        replace(card, kind=CardKind.STALE),
        replace(card, options=card.options[:1]),
    ]
    for each in wrong:
        begun = ws.ledger.tip()
        job = replace(move.job, at=replace(move.job.at, expires=each.expires))
        found = forge(ws, replace(move, job=job, records={name: each}))
        assert found, each
        undo(ws, begun)
    for forged in (replace(like, score=like.score - 50), replace(like, twin=other.id)):
        begun = ws.ledger.tip()
        assert forge(ws, with_likeness(raw(ws, ASKED), forged, BOUNDS, first, 24)), forged
        undo(ws, begun)


def test_the_card_of_a_like_job_is_asked_with_as_it_comes_in_and_never_later(desk: Desk) -> None:
    first, ws = hand_in(desk.ws, WORK), desk.ws
    question = "Do both?"
    move = Step(Event.CARD, first, ws.stamp()).ask(CardKind.LIKE, question)
    assert any("which is asked as it comes in" in each for each in forge(ws, move))


# --- another go -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [REFUSED, ASKED])
def test_an_ended_job_that_an_open_one_is_like_by_now_is_opened_again_only_if_that_is_meant(
    desk: Desk, prompt: str
) -> None:
    ada = person_of(desk.ws.paths.git_dir)
    first = hand_in(desk.ws, WORK)
    cancel_job(desk.ws, first, ada, "no")
    first = desk.ws.ledger.folder(first.id).job
    twin = hand_in(desk.ws, prompt)
    with pytest.raises(RefusedError) as refused:
        retry_job(desk.ws, first, ada)
    told = rf"{first.id} is not given another go: {twin.id} asks for nearly the same work \(likeness \d\.\d\d\) and is"
    assert re.match(told, refused.value.message)
    assert refused.value.hint.endswith(f"orc retry {first.id} --again")
    assert retry_job(desk.ws, first, ada, again=True).job.state is State.READY
    # A job that is open needs no such word: nothing is brought back.
    assert retry_job(desk.ws, job_on_card(desk, twin), ada).job.state is State.READY
    assert lies(desk.ws.paths.root) == []


def job_on_card(desk: Desk, job: Job) -> Job:
    step = Step(Event.CARD, job, desk.ws.stamp())
    if job.state is not State.DECIDE:
        desk.commit(step.ask(CardKind.CANNOT_START, "It cannot be started. Try again?", ""))
    return desk.jobs()[job.id]


def test_nor_is_one_whose_file_is_moved_back(desk: Desk) -> None:
    first = desk.accepted(text=f"prompt: {WORK}\n")
    queue = desk.ws.paths.queue
    desk.path(first).rename(queue / "cancelled" / first.file_name)
    desk.until(lambda: not desk.jobs())
    desk.settle()
    twin = hand_in(desk.ws, REFUSED)
    (queue / "cancelled" / first.file_name).rename(queue / "normal" / first.file_name)
    desk.until(lambda: bool(desk.rejected))
    assert f"{twin.id} asks for nearly the same work (likeness 1.00) and is ready" in desk.rejected[0]
    assert f"orc retry {first.id} --again" in desk.rejected[0]
    assert list(desk.jobs()) == [twin.id]


def test_retry_tells_of_the_open_job_and_again_means_it(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    first = w.submit(root, f"hold: true\nprompt: {WORK}\n", name="first")
    w.orc(root, "cancel", first, code=0)
    second = w.submit(root, f"hold: true\nprompt: {REFUSED}\n", name="second")
    refused = w.orc(root, "retry", first, code=4)
    assert f"{second} asks for nearly the same work (likeness 1.00)" in refused.err
    assert "--again" in refused.err
    w.orc(root, "cancel", second, code=0)
    # With the other ended there is nothing to be told.
    w.orc(root, "retry", first, code=0)
    w.orc(root, "retry", second, "--again", code=0)
    assert w.orc(root, "verify", code=0)
