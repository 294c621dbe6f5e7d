"""Projects that are to be finished, with real git and the real engine: asked about once, and finished by a person."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters import clock
from orchestrator.adapters.audit import audit
from orchestrator.core.goal import FinishCard, Goal, ProjectState
from orchestrator.core.job import State
from orchestrator.engine.accept import take_in
from orchestrator.engine.answer import cancel_job, retry_job
from orchestrator.engine.find import find_goal, find_job
from orchestrator.engine.goal import answer_goal, card_of_goal, look_at_goal
from orchestrator.engine.people import person_of
from orchestrator.engine.report import summarize
from orchestrator.engine.workspace import open_workspace
from orchestrator.errors import RefusedError

GOAL = "Both files are there."
PLAYS = [
    attempt(match={"title": "one"}, write={"one.py": "one = 1\n"}),
    attempt(match={"title": "two"}, write={"two.py": "two = 2\n"}),
    attempt(write={"more.py": "more = 3\n"}),
]


@pytest.fixture
def world(repo: Path) -> World:
    return World(repo, [*PLAYS]).set_up(goal=GOAL)


def job(world: World, name: str) -> None:
    world.drop(f"{name}.yaml", f"title: {name}\nprompt: {name}\n")


def goal(world: World) -> Goal:
    with open_workspace(world.root) as ws:
        known = find_goal(ws, "main")
    assert known is not None
    return known


def card(world: World, name: str = "") -> FinishCard:
    with open_workspace(world.root) as ws:
        return card_of_goal(ws, goal(world), name)


def say(world: World, key: str, message: str = "") -> str:
    """Answer as a person does; the id of the job that comes of it, if any."""
    with open_workspace(world.root) as ws:
        known = find_goal(ws, "main")
        assert known is not None
        _, more = answer_goal(ws, known, card_of_goal(ws, known), key, message, person_of(ws.paths.git_dir))
        return more.job.id if more is not None else ""


def told(world: World) -> list[str]:
    """The events of the project, oldest first, as the ledger has them."""
    words = ("goal", "count", "pending", "withdraw", "finish", "more", "reopen", "reminder")
    subjects = git(world.root, "log", "orc/state", "--reverse", "--format=%s").splitlines()
    return [word for each in subjects if (word := each.partition(":")[0]) in words]


def put_forward(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """The wall clock of this process goes so much ahead."""
    real = clock.now

    def now() -> datetime:
        return real() + by

    monkeypatch.setattr(clock, "now", now)


def lies(world: World, since: str | None = None) -> list[str]:
    door = world.root / ".git"
    return [lie.text for lie in audit(door, {"main": door}, since=since).lies]


def test_a_project_waits_for_a_person_when_its_jobs_have_ended_and_is_done_when_they_say_so(world: World) -> None:
    job(world, "one")
    job(world, "two")
    world.run()
    known, asked = goal(world), card(world)
    assert (known.state, known.done, asked.id) == (ProjectState.PENDING_APPROVAL, 2, "main.finish-1")
    merged = world.job("one").at.merged[:12]
    assert f"  {world.id('one')}: one; on main as {merged}, 1 file changed, 1 insertion(+)" in asked.context
    assert "Used: 2 attempts, 2 reviews, " in asked.context
    assert asked.context.endswith("Open risks: none.")
    world.run()
    assert told(world) == ["goal", "count", "count", "pending"]
    say(world, "done")
    world.run()
    assert goal(world).state is ProjectState.DONE
    assert told(world)[4:] == ["finish"]
    author = git(world.root, "log", "-1", "--format=%an", "--grep", "^finish: main", "orc/state")
    assert author == "human:Ada Lovelace" == card(world).by
    with pytest.raises(RefusedError, match="answered already: done, by human:Ada Lovelace"):
        say(world, "done")
    assert lies(world) == []


def test_without_a_goal_nothing_is_new(repo: Path) -> None:
    world = World(repo, [*PLAYS]).set_up()
    job(world, "one")
    world.run()
    assert told(world) == []
    assert git(world.root, "ls-tree", "-r", "--name-only", "orc/state", "projects/").split() == [
        "projects/main/base.yaml"
    ]
    with open_workspace(world.root) as ws:
        assert find_goal(ws, "main") is None
        assert summarize(ws).projects == ()
        assert summarize(ws).closing_line() == "Nothing is left to do."


def test_a_job_that_waits_keeps_the_question_back_and_one_that_is_given_up_is_told_as_a_risk(world: World) -> None:
    world.drop("two.yaml", "title: two\nprompt: two\nhold: for Anna\n")
    job(world, "one")
    world.run()
    assert (goal(world).state, goal(world).done) == (ProjectState.OPEN, 1)
    with open_workspace(world.root) as ws:
        cancel_job(ws, find_job(ws, world.id("two")).job, person_of(ws.paths.git_dir), "Anna says no")
    world.run()
    assert f"  {world.id('two')}: cancelled: Anna says no" in card(world).context
    assert told(world) == ["goal", "count", "count", "pending"]
    assert lies(world) == []


def test_a_project_of_which_nothing_is_done_is_not_asked_about(world: World) -> None:
    world.drop("two.yaml", "title: two\nprompt: two\nhold: true\n")
    world.run()
    with open_workspace(world.root) as ws:
        cancel_job(ws, find_job(ws, world.id("two")).job, person_of(ws.paths.git_dir), "no")
    world.run()
    assert (goal(world).state, goal(world).cancelled) == (ProjectState.OPEN, 1)
    assert told(world) == ["goal", "count"]


def test_a_new_job_withdraws_the_question_and_another_is_asked_when_it_has_ended(world: World) -> None:
    job(world, "one")
    world.run()
    job(world, "two")
    world.run()
    assert told(world) == ["goal", "count", "pending", "withdraw", "count", "pending"]
    assert card(world, "main.finish-1").superseded == f"{world.id('two')} came in"
    assert card(world).id == "main.finish-2"
    with open_workspace(world.root) as ws:
        old, person = card_of_goal(ws, goal(world), "main.finish-1"), person_of(ws.paths.git_dir)
        with pytest.raises(RefusedError, match="may no longer be answered: two-"):
            answer_goal(ws, goal(world), old, "done", "", person)
    assert lies(world) == []


def test_a_new_job_reopens_a_project_that_is_finished(world: World) -> None:
    job(world, "one")
    world.run()
    say(world, "done")
    job(world, "two")
    world.run()
    assert told(world) == ["goal", "count", "pending", "finish", "reopen", "count", "pending"]
    assert (goal(world).state, goal(world).done) == (ProjectState.PENDING_APPROVAL, 2)
    assert lies(world) == []


def test_more_becomes_a_job_and_the_person_is_asked_again(world: World) -> None:
    job(world, "one")
    world.run()
    with pytest.raises(RefusedError, match="more of what"):
        say(world, "more", " ")
    id_ = say(world, "more", "Write about the rest.")
    with open_workspace(world.root) as ws:
        made = find_job(ws, id_).job
    assert (made.spec.prompt.strip(), made.at.project, made.at.source) == (
        "Write about the rest.",
        "main",
        "main.finish-1",
    )
    world.run()
    assert world.show("more.py") == "more = 3"
    assert told(world) == ["goal", "count", "pending", "more", "count", "pending"]
    assert card(world, "main.finish-1").message == "Write about the rest."
    assert lies(world) == []


def test_a_job_that_is_taken_up_again_withdraws_the_question_and_is_counted_once(world: World) -> None:
    world.drop("two.yaml", "title: two\nprompt: two\nhold: true\n")
    job(world, "one")
    world.run()
    with open_workspace(world.root) as ws:
        person = person_of(ws.paths.git_dir)
        cancel_job(ws, find_job(ws, world.id("two")).job, person, "no")
        assert look_at_goal(ws, ws.project("main")) == "pending: main waits for your approval (main.finish-1)"
        retry_job(ws, find_job(ws, world.id("two")).job, person)
        assert look_at_goal(ws, ws.project("main")) == ""
    assert (goal(world).state, goal(world).cancelled, goal(world).risks) == (ProjectState.OPEN, 0, ())
    assert told(world) == ["goal", "count", "count", "pending", "withdraw"]
    assert lies(world) == []


def test_a_goal_that_is_taken_away_takes_the_question_with_it(world: World) -> None:
    job(world, "one")
    world.run()
    config = world.root / "orc.yaml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "goal:" not in line))
    world.run()
    assert card(world, "main.finish-1").superseded == "the goal was taken away"
    job(world, "two")
    world.run()
    assert told(world) == ["goal", "count", "pending", "goal"]
    assert lies(world) == []


def test_a_person_is_reminded_and_time_decides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job(world, "one")
    world.run()
    for days, reminders in ((1, 1), (3, 2), (8, 3), (90, 3)):
        with monkeypatch.context() as patched:
            put_forward(patched, timedelta(days=days, minutes=1))
            world.run()
            with open_workspace(world.root) as ws:
                [need] = summarize(ws).needs
        assert (goal(world).state, told(world).count("reminder")) == (ProjectState.PENDING_APPROVAL, reminders)
        assert need.id == "main.finish-1"
        assert need.waits is not None
        assert need.waits.reminders == reminders
    assert lies(world) == []


def test_boards_say_that_a_project_waits(world: World) -> None:
    job(world, "one")
    world.run()
    with open_workspace(world.root) as ws:
        summary = summarize(ws)
    [line], [need] = summary.projects, summary.needs
    assert (line.project, line.state, line.ended, line.card) == ("main", "pending_approval", "1 done", "main.finish-1")
    assert (need.command, need.answers) == ("orc approve main.finish-1", ("done", "more"))
    assert need.what == f"Is main finished (1 done)? Its goal: {GOAL}"
    assert summary.closing_line() == "No job is left; main waits for your approval (orc status)."
    assert world.state("one") is State.DONE


def test_the_ledger_holds_from_wherever_it_is_proved(world: World) -> None:
    job(world, "one")
    world.run()
    say(world, "more", "Write about the rest.")
    world.run()
    for commit in git(world.root, "rev-list", "orc/state").split()[1::5]:
        assert lies(world, commit) == []


# --- the card as a file ---------------------------------------------------------------------------------------------


def file_of(world: World, number: int = 1) -> Path:
    return world.root / "queue" / "decide" / f"main.finish-{number}.yaml"


def fill_in(world: World, answer: str, message: str = "") -> None:
    """Write an answer into the shown file, as an editor saves it."""
    text = file_of(world).read_text().replace("answer:\n", f"answer: {answer}\n", 1)
    file_of(world).write_text(text.replace("message:\n", f"message: {message}\n", 1))


def test_the_question_is_a_file_that_is_answered_by_editing_it(world: World) -> None:
    job(world, "one")
    world.run()
    shown = file_of(world).read_text()
    assert "# Is main finished? Its goal: Both files are there." in shown.splitlines()
    assert "#   done - It is finished." in shown
    assert "1 done" in shown
    fill_in(world, "done")
    world.run()
    assert (goal(world).state, card(world).by.partition(":")[0]) == (ProjectState.DONE, "human")
    assert any(each.startswith("finish: main done") for each in world.subjects)
    assert list((world.root / "queue" / "decide").iterdir()) == []
    assert lies(world) == []


def test_more_in_the_file_becomes_a_job(world: World) -> None:
    job(world, "one")
    world.run()
    fill_in(world, "more", "Another file.")
    world.run()
    assert told(world) == ["goal", "count", "pending", "more", "count", "pending"]
    assert (file_of(world).exists(), file_of(world, 2).exists()) == (False, True)
    assert lies(world) == []


def test_what_cannot_be_granted_in_the_file_is_kept_and_told_and_the_question_stays(world: World) -> None:
    job(world, "one")
    world.run()
    honest = file_of(world).read_bytes()
    for text, why in (
        (file_of(world).read_text().replace("answer:\n", "answer: yes\n", 1), "this card offers done, more"),
        (file_of(world).read_text().replace("answer:\n", "answer: more\n", 1), "more of what?"),
        ("# mine\n" + file_of(world).read_text().replace("1 done", "9 done"), "only `answer:` and `message:`"),
    ):
        file_of(world).write_text(text)
        world.run()
        rejected = world.root / "queue" / "rejected"
        assert why in "".join(each.read_text() for each in rejected.glob("main.finish-1*.why.txt"))
        assert (file_of(world).read_bytes(), goal(world).state) == (honest, ProjectState.PENDING_APPROVAL)
    file_of(world).unlink()
    world.run()
    assert file_of(world).read_bytes() == honest
    say(world, "done")
    world.run()
    assert not file_of(world).exists()


def test_an_answer_in_the_file_counts_once_whenever_the_engine_dies(world: World) -> None:
    job(world, "one")
    world.run()
    fill_in(world, "more", "Another file.")
    with world.engine() as engine:
        while not take_in(engine.ws, engine.queue).told:
            threading.Event().wait(0.02)
    written = file_of(world).read_bytes()
    # Committed; the next engine finds the file as the person left it, and what the ledger has already.
    assert b"Another file." in written
    world.run()
    assert not file_of(world).exists()
    assert told(world).count("more") == 1
    assert list((world.root / "queue" / "rejected").iterdir()) == []


def test_a_question_that_was_withdrawn_takes_its_file_along(world: World) -> None:
    job(world, "one")
    world.run()
    job(world, "two")
    world.run()
    assert (file_of(world).exists(), file_of(world, 2).exists()) == (False, True)
    # By then somebody has answered the first one: that is no answer to the second.
    file_of(world).write_text(
        file_of(world, 2).read_text().replace("\nanswer:\n", "\nanswer: done\n", 1).replace("finish-2", "finish-1")
    )
    world.run()
    assert goal(world).state is ProjectState.PENDING_APPROVAL
    (why,) = (world.root / "queue" / "rejected").glob("*.why.txt")
    assert "main.finish-1 may no longer be answered" in why.read_text()
