"""The same work twice: one job, whoever asks for it by whatever door, and each other one is told of it."""

from __future__ import annotations

import json
import shlex
import subprocess
from contextlib import ExitStack
from pathlib import Path

import cli_world as w
import pytest
from desk_world import PROMPT, Desk
from engine_world import World, attempt

from orchestrator.adapters.audit import audit
from orchestrator.core import accept as accepting
from orchestrator.core.transitions import Move
from orchestrator.engine.accept import submit
from orchestrator.engine.answer import cancel_job, retry_job
from orchestrator.engine.people import person_of
from orchestrator.engine.story import asked_so_far
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import RefusedError

WORK = "title: sweep\nprompt: Sweep the floor.\nhold: true\n"


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace)


def lies(root: Path, since: str | None = None) -> list[str]:
    return [f"{lie.rule}: {lie.text}" for lie in audit(root / ".git", {"main": root / ".git"}, since=since).lies]


def test_a_drop_of_what_is_open_already_is_kept_and_told_which_job_it_is(desk: Desk) -> None:
    first = desk.accepted()
    desk.drop("the-same.yaml", f"priority: P4\n{PROMPT}")
    desk.until(lambda: bool(desk.rejected))
    [reason] = desk.rejected
    assert f"{first.id} asks for the same work and is ready" in reason
    assert "again: true" in reason
    assert list(desk.jobs()) == [first.id]
    [kept] = list((desk.ws.paths.queue / "rejected").glob("*.yaml"))
    # The way out is taken in the very file.
    desk.drop("the-same.yaml", kept.read_text() + "again: true\n")
    desk.until(lambda: len(desk.jobs()) == 2)
    assert lies(desk.ws.paths.root) == []


def test_two_drops_in_one_look_become_one_job(desk: Desk) -> None:
    desk.drop("one.yaml")
    desk.drop("two.yaml")
    desk.until(lambda: bool(desk.rejected))
    desk.settle()
    [job] = desk.jobs().values()
    assert job.id in desk.rejected[0]


def test_when_it_has_ended_or_asks_for_something_else_it_may_be_asked_for_anew(desk: Desk) -> None:
    ada = person_of(desk.ws.paths.git_dir)
    first = submit(desk.ws, PROMPT.encode(), "first.yaml").job
    with pytest.raises(RefusedError, match=first.id):
        submit(desk.ws, PROMPT.encode(), "second.yaml")
    cancel_job(desk.ws, first, ada, "no")
    second = submit(desk.ws, PROMPT.encode(), "second.yaml").job
    # The first one is opened again only if a person means it; a third one is not accepted.
    with pytest.raises(RefusedError, match=f"not given another go: {second.id} asks for the same work and is ready"):
        retry_job(desk.ws, desk.ws.ledger.folder(first.id).job, ada)
    retry_job(desk.ws, desk.ws.ledger.folder(first.id).job, ada, again=True)
    with pytest.raises(RefusedError, match="asks for the same work"):
        submit(desk.ws, PROMPT.encode(), "third.yaml")
    # With an edit the second asks for something else, and what it asked before may be asked for once the first ended.
    for each in (first, second):
        cancel_job(desk.ws, desk.ws.ledger.folder(each.id).job, ada, "no")
    open_ = submit(desk.ws, PROMPT.encode(), "open.yaml").job
    spec = submit(desk.ws, b"prompt: Other.\n", "other.yaml").job.spec
    now = desk.ws.stamp()
    edit = accepting.edit(open_, "prompt: Else.\n", spec, now, actor=ada, keys=["prompt"], priority=open_.priority)
    # In one update of the ledger: what was read of the job before is out of date in the middle of it.
    again = submit_move(desk.ws, PROMPT)
    assert [each.job.id for each in desk.ws.commit([edit, again])] == [open_.id, again.job.id]
    assert desk.ws.commit([submit_move(desk.ws, PROMPT)]) == []


def submit_move(ws: Workspace, text: str) -> Move:
    from orchestrator.engine.accept import free_id, judge_new, new_job

    parsed, priority = judge_new(ws, text.encode(), "job.yaml")
    id_ = free_id(ws, ws.ledger.snapshot(), "job.yaml")
    return new_job(ws, parsed, id_, source="submit", priority=priority, actor=person_of(ws.paths.git_dir))


def test_a_twin_that_was_accepted_all_the_same_is_found_out(desk: Desk) -> None:
    first = submit(desk.ws, PROMPT.encode(), "first.yaml").job
    tip = desk.ws.ledger.tip()
    move = submit_move(desk.ws, PROMPT)
    with desk.ws.ledger.writing() as writer:
        writer.commit(move, desk.ws.now())
    told = [f"twin: accepts {move.job.id}, though {first.id} asks for the same work and is open"]
    assert lies(desk.ws.paths.root) == told
    assert lies(desk.ws.paths.root, since=tip) == told


@pytest.mark.usefixtures("no_lies")
def test_what_an_agent_hands_in_twice_or_is_open_already_is_refused_and_it_is_told(repo: Path) -> None:
    jobs = ["prompt: more\nkind: ops\n", "# the same\nprompt: more\nkind: ops\n", "prompt: there\n"]
    jobs += ["prompt: more\nagain: true\n", "prompt: more\ndedup_key: mine\n"]
    lines = []
    for number, text in enumerate(jobs):
        asks = shlex.quote(json.dumps({"protocol": 1, "kind": "submit", "name": "more.yaml", "job": text}))
        lines.append(f'printf %s {asks} > "$ORC_RUN_DIR"/outbox/.part; mv "$ORC_RUN_DIR"/outbox/.part ')
        lines[-1] += f'"$ORC_RUN_DIR"/outbox/{number}.json'
    play = attempt(match={"title": "first"}, run="\n".join(lines), write={"a.py": "a = 1\n"})
    world = World(repo, [play, attempt(write={"b.py": "b = 1\n"})]).set_up()
    world.drop("there.yaml", "prompt: there\nhold: true\n")
    world.drop("first.yaml", "title: first\nprompt: first\n")
    world.run()
    with open_workspace(world.root) as ws:
        asked = sorted(asked_so_far(ws, world.id("first")).values(), key=lambda each: each.file)
    assert [bool(each.job) for each in asked] == [True, False, False, False, False]
    assert asked[1].refused == f"{asked[0].job} asks for the same work"
    assert asked[2].refused.startswith(f"{world.id('there')} asks for the same work and is waiting")
    assert [each.refused for each in asked[3:]] == [
        "only a person may set `again`",
        "only a person may set `dedup_key`",
    ]
    assert w.git(world.root, "log", "--format=%s", "orc/state").count("accept: more-") == 1


def test_submit_again_is_the_way_to_say_so(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    first = w.submit(root, WORK, name="sweep")
    refused = w.orc(root, "submit", "-", "--json", stdin=WORK, code=4)
    assert first in refused.json()["error"]["message"]
    w.orc(root, "submit", "-", "--again", stdin=WORK, code=0)
    note = root / "note.md"
    note.write_text("---\ntitle: sweep\nhold: true\n---\nSweep the floor.\n")
    w.orc(root, "submit", str(note), code=4)
    second = w.orc(root, "submit", str(note), "--again", code=0).out.strip()
    assert "again: true" in w.git(root, "show", f"orc/state:open/{second[-8:-6]}/{second}/job.md")
    assert w.orc(root, "verify", code=0)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_at_once_by_drop_and_by_command_become_one_job(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    (tmp_path / "work.yaml").write_text(WORK)
    with ExitStack() as stack:

        def start(name: str, *args: str) -> subprocess.Popen[bytes]:
            out = stack.enter_context((tmp_path / name).open("wb"))
            popen = subprocess.Popen(w.orc_argv(*args), cwd=root, env=w.environment(), stdout=out)
            return stack.enter_context(popen)

        engine = start("engine", "run", "--quiet")
        handed = [start(f"by-{number}", "submit", str(tmp_path / "work.yaml"), "--json") for number in range(25)]
        for number in range(25):
            part = root / "queue" / "inbox" / f".drop-{number}.part"
            part.write_text(WORK)
            part.rename(root / "queue" / "inbox" / f"drop-{number}.yaml")
        for process in handed:
            process.wait(120)
        left = [*(root / "queue" / "inbox").glob("drop-*"), *(root / "queue" / "inbox").glob(".accept-*")]
        w.wait_until(lambda: not any(each.exists() for each in left), seconds=120)
        w.wait_until(lambda: not any((root / "queue" / "inbox").glob(".accept-*")), seconds=60)
        engine.terminate()
        engine.wait(60)
    said = [json.loads((tmp_path / f"by-{number}").read_text()) for number in range(25)]
    with open_workspace(root) as ws:
        [job] = ws.ledger.snapshot().jobs.values()
    ids = [each["job"] for each in said if "job" in each]
    assert ids in ([], [job.id])
    refused = [each["error"]["message"] for each in said if "error" in each]
    assert len(refused) == 25 - len(ids)
    assert all(job.id in each for each in refused)
    notes = [each.read_text() for each in (root / "queue" / "rejected").iterdir() if each.suffix != ".yaml"]
    notes = [each for each in notes if job.id in each]
    assert len(notes) == 24 + len(ids), notes
    assert lies(root) == []
