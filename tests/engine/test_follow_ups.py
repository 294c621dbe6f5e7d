"""What reviewers propose besides becomes jobs when their verdict counts: once, by the rules of an agent's own jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crash_helpers import KILLED, RUN, check_ledger, check_repository, check_runs, make_world
from crash_helpers import World as CrashWorld
from engine_world import World, attempt, git

from orchestrator.adapters.effects import Effect
from orchestrator.adapters.ledger import REF
from orchestrator.core.accept import accept, cancel
from orchestrator.core.job import JobSpec, Priority, State
from orchestrator.core.outbox import Requested
from orchestrator.core.transitions import ENGINE, Actor
from orchestrator.engine.find import find_job
from orchestrator.engine.story import asked_so_far
from orchestrator.engine.workspace import open_workspace

pytestmark = pytest.mark.slow

WRITES = attempt(write={"code.py": "print('new')\n"}, match={"title": "greet"})
OTHERS = attempt(run="echo $ORC_JOB > $ORC_JOB.py")
MORE = {"title": "Mend the clock", "prompt": "It is an hour late.\n\nMend it, with a test."}
FINDING = {"severity": "blocking", "file": "code.py", "line": 1, "problem": "no colon", "fix": "add one"}
LONG = 300


def reviews(number: int, verdict: str = "APPROVED", *, of: str = "greet", **more: Any) -> dict[str, Any]:
    return {"match": {"kind": "review", "number": number, "title": of}, "verdict": verdict, **more}


def play(world: World, *plays: dict[str, Any], job: str = "title: greet\nprompt: greet\n") -> None:
    world.plays = [*plays, WRITES, OTHERS]
    world.set_up()
    world.drop("greet.yaml", job)
    world.run()


def asked(world: World, name: str = "greet") -> list[Requested]:
    with open_workspace(world.root) as ws:
        return list(asked_so_far(ws, find_job(ws, world.id(name)).job.id).values())


def made(world: World) -> list[str]:
    """The ids of the jobs that were made of proposals."""
    out = git(world.root, "log", REF, "--format=%(trailers:key=Job,valueonly)", "--grep", "^accept: .* from run ")
    return out.split()


@pytest.mark.usefixtures("no_lies")
class TestFollowUps:
    def test_an_approval_may_propose_other_work_which_becomes_a_job(self, world: World) -> None:
        play(world, reviews(1, follow_ups=[MORE]))
        (id_,) = made(world)
        with open_workspace(world.root) as ws:
            job = find_job(ws, id_).job
        assert (job.spec.title, job.spec.prompt) == (MORE["title"], MORE["prompt"])
        assert (job.at.source, job.at.origin) == (f"run {world.id('greet')}.review-1", "engine")
        assert (job.priority, job.at.project) == (Priority.P2, "main")
        assert job.state is State.DONE
        (request,) = asked(world)
        assert (request.job, request.refused, request.text) == (id_, "", MORE["title"])

    def test_what_asks_for_changes_may_propose_other_work_at_once_and_not_again(self, world: World) -> None:
        work = [attempt(1, write={"code.py": "a\n"}), attempt(2, write={"code.py": "a:\n"}, answers="fixed")]
        work = [{**each, "match": {**each["match"], "title": "greet"}} for each in work]
        play(
            world,
            *work,
            reviews(1, "REVISE", findings=[FINDING], follow_ups=[MORE]),
            reviews(2, follow_ups=[MORE, {"title": "Another", "prompt": "Do that."}]),
        )
        assert len(made(world)) == 2
        refused = [each for each in asked(world) if each.refused]
        assert [each.run.rpartition(".")[2] for each in refused] == ["review-2"]
        assert "the same was proposed before, and became mend-the-clock-" in refused[0].refused

    def test_what_is_wrong_with_a_proposal_is_kept_and_the_verdict_stands(self, world: World) -> None:
        wrong = [{"title": "No prompt"}, {**MORE, "prompt": "x" * 5000}, "prose"]
        play(world, reviews(1, follow_ups=wrong))
        assert world.state("greet") is State.DONE
        assert made(world) == []
        assert {each.refused for each in asked(world)} == {
            "has not a title and a prompt alone",
            "its prompt is longer than 4000 characters",
        }

    def test_of_work_that_is_rejected_or_unclear_nothing_follows(self, world: World) -> None:
        play(world, reviews(1, "REJECT", follow_ups=[MORE]))
        assert world.state("greet") is State.DECIDE
        assert (made(world), asked(world)) == ([], [])

    def test_a_job_that_was_proposed_proposes_none(self, world: World) -> None:
        play(world, reviews(1, follow_ups=[MORE]), reviews(1, of="Mend", follow_ups=[{**MORE, "title": "And so on"}]))
        (id_,) = made(world)
        with open_workspace(world.root) as ws:
            (request,) = asked_so_far(ws, id_).values()
        assert "was itself handed in by an agent" in request.refused

    def test_two_approvals_of_one_work_propose_what_both_of_them_say_once_it_is_approved(self, world: World) -> None:
        world.souls = {"ada": "alpha work", "bea": "beta review", "cid": "gamma review"}
        world.config = {"review": {"second": 100}}
        other = {"title": "Another", "prompt": "Do that."}
        play(world, reviews(1, follow_ups=[MORE]), reviews(2, follow_ups=[MORE, other]))
        assert world.state("greet") is State.DONE
        steps = git(world.root, "log", REF, "--reverse", "--format=%s").splitlines()
        second = [line for line in steps if line.startswith(f"verdict: {world.id('greet')}")][1]
        accepted = [line for line in steps if line.startswith("accept: ") and " from run " in line]
        assert len(accepted) == 2
        assert steps.index(second) < min(map(steps.index, accepted))

    def test_an_approval_that_stands_proposes_what_it_did(self, world: World) -> None:
        world.config = {"review": {"second": 100}}
        play(world, reviews(1, follow_ups=[MORE]))
        assert "stand" in world.steps("greet")
        assert len(made(world)) == 1

    def test_a_proposal_of_a_step_that_does_not_fit_any_more_is_no_job(self, world: World) -> None:
        world.set_up()
        world.drop("greet.yaml", "prompt: greet\nhold: true\n")
        world.run()
        person = Actor("human:ada")
        known: dict[str, Any] = {"markdown": False, "source": "run x", "actor": ENGINE, "project": "main"}
        with open_workspace(world.root) as ws:
            job = find_job(ws, world.id("greet")).job
            late = cancel(job, ws.stamp(), actor=person, why="late")
            more = accept("prompt: x\n", JobSpec("x"), id_="x-00000001", now=ws.stamp(), priority=Priority.P2, **known)
            ws.commit([cancel(job, ws.stamp(), actor=person, why="meanwhile")])
            assert ws.commit([late, replace(more, with_step_of=job.id)]) == []
            assert "x-00000001" not in ws.ledger.snapshot().folders

    def test_a_second_reviewer_that_disagrees_leaves_nothing_of_what_the_first_proposed(self, world: World) -> None:
        world.souls = {"ada": "alpha work", "bea": "beta review", "cid": "gamma review"}
        world.config = {"review": {"second": 100}}
        play(world, reviews(1, follow_ups=[MORE]), reviews(2, "REJECT"))
        assert (made(world), asked(world)) == ([], [])


PLAYS = """\
plays:
- match: {{kind: attempt, title: first}}
  write: {{first.py: "first = 1\\n"}}
  run: {begin}; {end}
  say: done
- match: {{kind: attempt}}
  write: {{more.py: "more = 1\\n"}}
  run: {begin}; {end}
  say: done
- match: {{kind: review, title: first}}
  run: {begin}; {end}
  verdict: APPROVED
  follow_ups: [{{title: more, prompt: do more}}, {{title: bad}}]
- match: {{kind: review}}
  run: {begin}; {end}
  verdict: APPROVED
"""


@pytest.fixture
def dying(tmp_path: Path) -> CrashWorld:
    made_world = make_world(tmp_path, plays=PLAYS)
    made_world.job("first")
    return made_world


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize(
    "times", [pytest.param(6, marks=pytest.mark.slow), 7, 8, pytest.param(9, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("side", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_wherever_an_engine_dies_a_proposal_becomes_one_job(dying: CrashWorld, side: str, times: int) -> None:
    dying.kill_at = [f"{Effect.LEDGER_REF}:{side}:{times}"]
    assert dying.orc(*RUN) == KILLED
    dying.settle()
    log = dying.ledger_log()
    assert log.count("accept: more-") == 1
    assert (log.count("request: first-"), log.count("refuse: first-")) == (1, 1)
    dying.act("show", dying.id_of("first"))
    for told in (
        "proposes: more",
        "submit: more -> more-",
        "submit: bad (refused: has not a title and a prompt alone)",
    ):
        assert told in dying.said()
    check_runs(dying)
    check_ledger(dying)
    check_repository(dying)
