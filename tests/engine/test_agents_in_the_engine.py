"""An agent with a system prompt, sessions and counts, from the queue to the ledger: orc's own API agent against a model
service on loopback. The programs of others are in tests/agents, where they are installed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_world import KEY, PRICE, WRITES, api_of, says
from cli_world import orc
from engine_world import World, attempt, git
from fake_dialects import Asked
from fake_models import FakeModels

from orchestrator.core.attempt_record import Attempt
from orchestrator.core.job import State
from orchestrator.core.review_record import Verdict
from orchestrator.core.said import Trouble
from orchestrator.engine.prompt import show_prompt
from orchestrator.engine.sessions import session_of
from orchestrator.engine.workspace import open_workspace

SOUL = """---
backend: api
model: strong-1
roles: [work]
persistent: {persistent}
voice:
  tag: Speaks like a lighthouse keeper.
---

## Values
Keeps the lamp burning.

## Boundaries
- Never lets it go out.
"""
pytestmark = pytest.mark.usefixtures("no_lies")


def set_up(world: World, service: FakeModels, *turns: dict[str, Any], persistent: bool = True, **config: Any) -> None:
    service.play(turns)
    world.souls = {"bea": "beta review"}
    world.config = {
        "backends": {"api": api_of(service)},
        "models": {"strong-1": {"family": "north", "price": PRICE}},
        **config,
    }
    (world.root / "souls").mkdir(exist_ok=True)
    (world.root / "souls" / "keeper.md").write_text(SOUL.format(persistent=str(persistent).lower()))
    world.set_up()


def test_a_job_is_done_and_its_attempt_says_what_was_used_and_what_it_cost(world: World, service: FakeModels) -> None:
    set_up(world, service, WRITES, says())
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    found: Attempt = world.records("greet")["attempt-1"]
    assert found.report == "It is done."
    assert (found.identity, found.resumed, bool(found.session)) == ("", False, True)
    assert found.spoke is not None
    assert found.spoke.usage is not None
    assert found.spoke.usage.output >= 100
    used = found.spoke.usage
    assert found.spoke.cost_microusd == used.input * 3 + used.output * 15 + used.cache_read + used.cache_write * 2
    assert found.spoke.priced == "2026-11-21"
    assert found.worker.family == "north"


def test_who_the_agent_is_arrives_as_system_prompt_and_the_voice_last_before_the_task(
    world: World, service: FakeModels
) -> None:
    set_up(world, service, WRITES, says())
    world.drop("greet.yaml", "prompt: Say good morning\n")
    world.run()
    first = service.requests[0]
    assert "Keeps the lamp burning." in first.system
    assert "Keeps the lamp burning." not in first.prompt
    before, _, after = first.prompt.partition("<voice>Speaks like a lighthouse keeper.</voice>")
    assert "Say good morning" not in before
    boundaries, _, task = after.partition("# The task: ")
    assert " ".join(boundaries.split()) == "<boundaries> - Never lets it go out. </boundaries>"
    assert task.startswith("Say good morning")
    with open_workspace(world.root) as ws:
        shown = show_prompt(ws, world.job("greet"), attempt=1)
    assert (shown.system.strip(), shown.message.strip()) == (first.system.strip(), first.prompt.strip())


@pytest.mark.slow
def test_what_a_review_asks_for_goes_into_the_same_conversation(world: World, service: FakeModels) -> None:
    again = {"times": 1, "match": "F1", "tools": [{"name": "write", "input": {"path": "more.py", "content": "1\n"}}]}
    set_up(world, service, WRITES, {**again, "after_tool": False}, says(), persistent=False)
    asks = {"findings": [{"problem": "It does not stop.", "fix": "Stop."}]}
    world.plays = [{"match": {"kind": "review", "number": 1}, "verdict": "REVISE", **asks}]
    world.write_plays()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    first, second = (world.records("greet")[f"attempt-{number}"] for number in (1, 2))
    assert (second.resumed, second.session) == (True, first.session)
    fixing = next(each for each in service.requests if "It does not stop." in each.prompt)
    assert len(fixing.users) > 1, "the service was sent the conversation so far"


@pytest.mark.slow
def test_after_two_reviews_in_a_row_that_asked_for_changes_the_third_attempt_begins_a_new_conversation(
    world: World, service: FakeModels
) -> None:
    asks = {1: "It does not stop.", 2: "It is too loud."}
    more = [
        {
            "times": 1,
            "match": problem,
            "after_tool": False,
            "tools": [{"name": "write", "input": {"path": f"more{number}.py", "content": "1\n"}}],
        }
        for number, problem in asks.items()
    ]
    set_up(world, service, WRITES, *more, says("I turned it down."), persistent=False)
    world.plays = [
        {
            "match": {"kind": "review", "number": number},
            "verdict": "REVISE",
            "findings": [{"problem": problem, "fix": "Mend it."}],
        }
        for number, problem in asks.items()
    ]
    world.write_plays()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    first, second, third = (world.records("greet")[f"attempt-{number}"] for number in (1, 2, 3))
    assert (second.resumed, second.session) == (True, first.session)
    assert (third.resumed, third.why_fresh) == (False, "2 reviews in a row asked for changes")
    told = next(each.prompt for each in service.requests if "It is too loud." in each.prompt)
    assert "I turned it down." in told


@pytest.mark.slow
def test_a_persistent_agent_goes_on_from_job_to_job_and_another_begins_anew(world: World, service: FakeModels) -> None:
    other = {"times": 1, "match": "second", "tools": [{"name": "write", "input": {"path": "b.py", "content": "2\n"}}]}
    set_up(world, service, WRITES, {**other, "after_tool": False}, says())
    world.drop("first.yaml", "prompt: the first\n")
    world.run()
    world.drop("second.yaml", "prompt: the second\n")
    world.run()
    one, two = (world.records(name)["attempt-1"] for name in ("first", "second"))
    assert (two.resumed, two.session) == (True, one.session)
    with open_workspace(world.root) as ws:
        session = session_of(ws, "keeper", "main")
    assert session is not None
    assert (session.jobs, session.runs) == (2, 2)
    soul = world.root / "souls" / "keeper.md"
    soul.write_text(soul.read_text().replace("persistent: true", "persistent: false"))
    world.drop("third.yaml", "prompt: the third\n")
    world.run()
    assert not world.records("third")["attempt-1"].resumed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"jobs": 1}, "it has done 1 jobs"),
        ({"hours": 0}, "it was begun at "),
        ({"window": 0.001}, " of 200000 tokens of its window are used"),
    ],
    ids=["jobs", "age", "window"],
)
def test_a_session_that_is_over_leaves_a_note_for_the_next(
    world: World, service: FakeModels, limits: dict[str, float], why: str
) -> None:
    other = {"times": 1, "match": "second", "tools": [{"name": "write", "input": {"path": "b.py", "content": "2\n"}}]}
    set_up(world, service, WRITES, {**other, "after_tool": False}, says("I lit it."), sessions=limits)
    world.drop("first.yaml", "prompt: the first\n")
    world.run()
    world.drop("second.yaml", "prompt: the second\n")
    world.run()
    two = world.records("second")["attempt-1"]
    assert not two.resumed
    assert why in two.why_fresh
    asked = next(each.prompt for each in service.requests if "the second" in each.prompt)
    assert "I lit it." in asked
    assert world.id("first") in asked


@pytest.mark.slow
def test_a_session_that_is_gone_is_on_record_and_the_next_attempt_begins_another_with_the_note(
    world: World, service: FakeModels
) -> None:
    other = {"times": 1, "match": "second", "tools": [{"name": "write", "input": {"path": "b.py", "content": "2\n"}}]}
    set_up(world, service, WRITES, {**other, "after_tool": False}, says("I lit it."))
    world.drop("first.yaml", "prompt: the first\n")
    world.run()
    kept = list((world.root / ".git/orc/agents/keeper/api").rglob("*.json"))
    assert kept
    for file in kept:
        file.unlink()
    world.drop("second.yaml", "prompt: the second\n")
    world.run()
    job = world.job("second")
    assert (job.state, job.at.spent, job.at.attempt, job.at.failed_starts) == (State.DONE, 0, 2, 0)
    old = world.records("first")["attempt-1"].session
    gone, new = (world.records("second")[f"attempt-{number}"] for number in (1, 2))
    assert (gone.resumed, gone.session, gone.spoke.trouble) == (True, "", Trouble.SESSION)
    assert (new.resumed, new.why_fresh, new.session_job) == (False, "the last one could not be gone on with", 1)
    assert new.session not in ("", old)
    asked = next(each.prompt for each in service.requests if "the second" in each.prompt)
    assert "I lit it." in asked
    with open_workspace(world.root) as ws:
        shown = [show_prompt(ws, job, attempt=number) for number in (1, 2)]
    assert shown[0].session == "was to go on with a session that is over"
    assert shown[1].session == "a new session: the last one could not be gone on with"
    assert "From your last session" in shown[1].message
    told = orc(world.root, "show", job.id).out
    assert "session that was gone on with is over" in told
    assert f"session {new.session}, new: the last one could not be gone on with (its job 1)" in told
    assert any("the session of keeper is gone, so the next attempt begins a new one" in each for each in world.subjects)


@pytest.mark.slow
def test_a_session_that_its_program_gives_up_is_not_offered_again(world: World, service: FakeModels) -> None:
    too_long = {"times": 1, "match": "second", "status": 400, "message": "prompt is too long"}
    other = {"times": 1, "match": "second", "tools": [{"name": "write", "input": {"path": "b.py", "content": "2\n"}}]}
    set_up(world, service, WRITES, too_long, {**other, "after_tool": False}, says("I lit it."))
    for name in ("first", "second"):
        world.drop(f"{name}.yaml", f"prompt: the {name}\n")
        world.run()
    assert world.state("second") is State.DONE
    one, two = (world.records("second")[f"attempt-{number}"] for number in (1, 2))
    assert (one.resumed, one.session) == (True, "")
    assert (two.resumed, two.why_fresh) == (False, "the last one could not be gone on with")
    asked = next(each.prompt for each in reversed(service.requests) if "the second" in each.prompt)
    assert "I lit it." in asked
    with open_workspace(world.root) as ws:
        session = session_of(ws, "keeper", "main")
    assert session is not None
    assert session.id == two.session


@pytest.mark.slow
def test_what_a_program_was_denied_and_repeated_and_which_model_answered_instead_is_on_record_and_shown(
    world: World, service: FakeModels
) -> None:
    set_up(world, service)
    session = "8c1c2a3e-0000-4000-8000-0123456789ab"
    system = {"type": "system", "session_id": session}
    answer = {"id": "m", "model": "weak-1", "content": [{"type": "text", "text": "Done."}], "usage": {}}
    events: list[dict[str, Any]] = [
        {**system, "subtype": "init", "model": "strong-1"},
        *(
            {**system, "subtype": "api_retry", "attempt": at, "retry_delay_ms": 600, "error_status": 529}
            for at in (1, 2)
        ),
        {**system, "subtype": "model_fallback", "original_model": "strong-1", "fallback_model": "weak-1"},
        {"type": "assistant", "parent_tool_use_id": None, "message": answer},
        {
            **{"type": "result", "subtype": "success", "is_error": False, "result": "Done.", "session_id": session},
            "permission_denials": [{"tool_name": "Bash"}, {"tool_name": "Write"}],
        },
    ]
    (world.root / "events").write_text("".join(f"{json.dumps(each)}\n" for each in events))
    program = world.root / "claude"
    program.write_text(f"#!/bin/sh\necho \"print('new')\" > code.py\ncat '{world.root}/events'\n")
    program.chmod(0o755)
    config, soul = world.root / "orc.yaml", world.root / "souls" / "keeper.md"
    config.write_text(config.read_text().replace("backends:\n", "backends:\n  claude: {program: ./claude}\n", 1))
    soul.write_text(soul.read_text().replace("backend: api", "backend: claude"))
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    spoke = world.records("greet")["attempt-1"].spoke
    assert (spoke.denials, spoke.retries, spoke.fallbacks) == (("Bash", "Write"), 2, ("strong-1 -> weak-1",))
    shown = orc(world.root, "show", world.id("greet")).out
    for told in ("model weak-1, 2 calls repeated", "fell back: strong-1 -> weak-1", "denied: Bash", "denied: Write"):
        assert told in shown
    told_as_json = orc(world.root, "show", world.id("greet"), "--json").json()["records"]["attempt-1"]["spoke"]
    assert (told_as_json["denials"], told_as_json["retries"]) == (["Bash", "Write"], 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "trouble"), [(401, Trouble.AUTH), (429, Trouble.RATE_LIMITED), (529, Trouble.OVERLOADED)]
)
def test_a_service_that_fails_costs_no_attempt_and_is_tried_again(
    world: World, service: FakeModels, status: int, trouble: Trouble
) -> None:
    set_up(world, service, {"times": 1, "status": status}, WRITES, says())
    world.drop("greet.yaml", "prompt: greet\n")
    world.run(until=lambda ws: "not_started" in str(world.subjects))
    world.run()
    assert world.state("greet") is State.DONE
    job = world.job("greet")
    assert (job.at.spent, job.at.starts >= 2) == (0, True)
    assert world.records("greet")["attempt-1"].spoke.trouble is trouble


@pytest.mark.slow
def test_a_reviewer_whose_service_fails_has_said_nothing_and_is_asked_again(world: World, service: FakeModels) -> None:
    def approve(asked: Asked) -> dict[str, Any]:
        form: dict[str, Any] = json.loads(asked.prompt[asked.prompt.rindex("\n{\n") :])
        return {"text": json.dumps({**form, "verdict": "APPROVED", "findings": []})}

    set_up(world, service, {"times": 1, "status": 529}, {"reply": approve})
    (world.root / "souls" / "bea.md").unlink()
    soul = world.root / "souls" / "keeper.md"
    soul.write_text(soul.read_text().replace("roles: [work]", "roles: [review]"))
    (world.root / "souls" / "ada.md").write_text("---\nbackend: player\nfamily: alpha\nroles: [work]\n---\nAda.\n")
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.write_plays()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run(until=lambda ws: "could not be made" in str(world.subjects))
    assert world.job("greet").at.excluded == ()
    world.run()
    assert world.state("greet") is State.DONE
    reviews = [record for stem, record in world.records("greet").items() if stem.startswith("review")]
    assert [record.verdict for record in reviews] == [Verdict.INCONCLUSIVE, Verdict.APPROVED]
    assert "Keeps the lamp burning." not in service.requests[-1].prompt
    assert "Keeps the lamp burning." in service.requests[-1].system


def test_the_key_is_nowhere_in_the_ledger_or_what_a_run_left(world: World, service: FakeModels) -> None:
    shell = {"times": 1, "tools": [{"name": "bash", "input": {"command": "env; echo KEY=$ANTHROPIC_API_KEY"}}]}
    set_up(world, service, shell, {**WRITES}, says(f"the key is {KEY}"))
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert KEY not in "".join(str(each) for each in service.requests)
    # What ended runs left is put away for people to read.
    kept = [path for path in (world.root / "state" / "logs").rglob("*") if path.is_file()]
    assert {"spec.json", "stdout", "result.json"} <= {path.name for path in kept}
    assert [path for path in kept if KEY.encode() in path.read_bytes()] == []
    assert KEY not in git(world.root, "log", "-p", "orc/state")


def test_a_model_that_orc_yaml_does_not_know_is_told_with_the_nearest(world: World, service: FakeModels) -> None:
    set_up(world, service)
    soul = world.root / "souls" / "keeper.md"
    soul.write_text(soul.read_text().replace("strong-1", "strnog-1"))
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.WAITING
    assert "did you mean 'strong-1'" in world.job("greet").at.reason
